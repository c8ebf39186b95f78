//! The parts of a node, as the files around it reach them.

use std::sync::Arc;

use super::Node;
use crate::node::actors::Actors;
use crate::node::bulk::Bulk;
use crate::node::busy_poll::BusyPoll;
use crate::node::checkpoints::Checkpoints;
use crate::node::compute::Compute;
use crate::node::give::Givings;
use crate::node::isolated::Processes;
use crate::node::links::Links;
use crate::node::look::Looks;
use crate::node::objects::Objects;
use crate::node::prober::Prober;
use crate::node::spawn::Seeds;
use crate::node::store::NodeStore;
use crate::node::tasks::Tasks;
use crate::object::promised::Promised;
use crate::task::registry::Tasks as TaskTable;

impl Node {
    pub(in crate::node) fn processes(&self) -> &Processes {
        &self.processes
    }

    pub(in crate::node) fn looks(&self) -> &Looks {
        &self.looks
    }

    pub(in crate::node) fn actors(&self) -> &Actors {
        &self.actors
    }

    pub(in crate::node) fn links(&self) -> &Links {
        &self.links
    }

    pub(in crate::node) fn busy_poll(&self) -> &Arc<BusyPoll> {
        &self.busy_poll
    }

    pub(in crate::node) fn prober(&self) -> &Prober {
        &self.prober
    }

    pub(in crate::node) fn seeds(&self) -> &Seeds {
        &self.seeds
    }

    pub(in crate::node) fn promised(&self) -> &Promised {
        &self.promised
    }

    pub(in crate::node) fn objects(&self) -> &Objects {
        &self.objects
    }

    pub(in crate::node) fn givings(&self) -> &Givings {
        &self.givings
    }

    pub(in crate::node) fn checkpoints(&self) -> &Checkpoints {
        &self.checkpoints
    }

    pub(in crate::node) fn bulk(&self) -> &Bulk {
        &self.bulk
    }

    pub(in crate::node) fn node_store(&self) -> &NodeStore {
        &self.store
    }

    pub(in crate::node) fn task_table(&self) -> &TaskTable {
        &self.task_table
    }

    pub(in crate::node) fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    pub(in crate::node) fn compute(&self) -> &Compute {
        &self.compute
    }
}
