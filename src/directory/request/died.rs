//! `Died`: proof that a node's process is dead, by its parent (`wait`) or by a living node of that host (pidfd), over the
//! reporter's own session (§2.4). Only a node of the same boot of the same machine can have seen it.

use crate::clock::Moment;
use crate::directory::request::{Boot, LifeEnd};
use crate::directory::state::{Directory, Effects};
use crate::id::{Life, NodeId};
use crate::limits::DEAD_NODES;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

/// A node's process is dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Died {
    /// Which node.
    pub node: NodeId,
    /// The life that was seen to die. None by a parent, whose child has this identity once: a join of it that is still
    /// under way is refused too.
    pub life: Option<Life>,
}

/// Why that is no proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum DiedError {
    /// The reporter is elsewhere.
    #[error("only a node of the same machine, since its last boot, can prove a node dead")]
    OtherHost,
}

/// Nodes whose parents reported them dead, lest a belated join begin a life that nobody lives.
#[derive(Debug, Default)]
pub(in crate::directory) struct DeadNodes {
    boots: BTreeMap<NodeId, Boot>,
    in_order: VecDeque<NodeId>,
}

impl DeadNodes {
    fn add(&mut self, node: NodeId, boot: Boot) {
        if self.boots.insert(node, boot).is_none() {
            self.in_order.push_back(node);
        }
        if self.in_order.len() > DEAD_NODES
            && let Some(oldest) = self.in_order.pop_front()
        {
            self.boots.remove(&oldest);
        }
    }

    pub(in crate::directory) fn holds(&self, node: NodeId, boot: Boot) -> bool {
        self.boots.get(&node) == Some(&boot)
    }
}

impl Directory {
    pub(in crate::directory) fn died(
        &mut self,
        now: Moment,
        reporter: Life,
        died: &Died,
        effects: &mut Effects,
    ) -> Result<(), DiedError> {
        let Some(boot) = self.lives.get(reporter).map(|living| living.join.boot) else { return Ok(()) };
        let current = self.lives.of_node(died.node);
        if let Some(life) = current.filter(|life| died.life.is_none_or(|seen| seen == *life)) {
            if self.lives.get(life).is_some_and(|living| living.join.boot != boot) || life == reporter {
                return Err(DiedError::OtherHost);
            }
            self.end_life(now, life, LifeEnd::Proved { by: reporter }, effects);
        }
        if died.life.is_none() {
            self.dead.add(died.node, boot);
        }
        Ok(())
    }
}
