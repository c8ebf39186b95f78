//! Placement groups: bundles of resources on nodes that are chosen together, all of them or none, for actors and tasks.

use parking_lot::Mutex;
use std::fmt;
use std::future::IntoFuture;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

use super::client::Cluster;
use super::needed::Needed;
use crate::actor::inbox::Host;
use crate::directory::AskError;
use crate::directory::client::Reason;
use crate::directory::request::{CreateGroup, FullName, GroupError, GroupState, Grouped, Patience, RemoveGroup};
use crate::id::{GroupId, Life};
use crate::limits::{LISTED_FIRST, LISTED_LAST};
use crate::node::runtime::Node;
use crate::schedule::{InvalidOption, Packing, Resources, Why};

/// Why there is no placement group.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PlacementError {
    /// A bundle is not allowed.
    #[error(transparent)]
    Invalid(#[from] InvalidOption),
    /// The head refuses it, or it is no more.
    #[error(transparent)]
    Refused(#[from] GroupError),
    /// `.timeout(..)` ran out.
    #[error("the bundles of placement group {group} were not all placed within {after:?}: it was {waiting}")]
    Timeout {
        /// The group.
        group: GroupId,
        /// The bound.
        after: Duration,
        /// What it was waiting for.
        waiting: String,
    },
    /// The head could not be asked.
    #[error(transparent)]
    Head(#[from] AskError),
}

type Placed = Result<Vec<Life>, PlacementError>;

/// A placement group that is not there yet: bundles and options, then `.await`, which waits until all its bundles are
/// placed, or [`create`](NewPlacementGroup::create), which does not wait.
///
/// # Cancel safety
/// Dropped while it is awaited, the group is removed again.
#[must_use = "no group is made until this is awaited, or created"]
pub struct NewPlacementGroup {
    cluster: Cluster,
    bundles: Vec<Resources>,
    packing: Packing,
    name: Option<String>,
    detached: bool,
    patience: Patience,
    limit: Option<Duration>,
    invalid: Option<InvalidOption>,
}

/// A placement group. It holds its resources until it is removed, or the node that made it ends, whether or not a handle is
/// left. Clones are the same group.
///
/// Bundles whose node ends are placed again on others, all of them or none, as its strategy asks for. What wants them waits
/// for that: tasks, and actors that are started again.
#[derive(Clone)]
pub struct PlacementGroup {
    node: Arc<Node>,
    id: GroupId,
    bundles: usize,
    standing: Standing,
}

/// How a handle knows where the bundles are.
#[derive(Clone)]
enum Standing {
    /// The head answers whoever asked for the group, and says what the answer waits for.
    Answered(watch::Receiver<Option<Placed>>, Reason),
    /// The group is another's: the head is asked how it stands.
    Listed,
}

impl Cluster {
    /// A new placement group: `.bundle(..)` for each bundle, then `.await`.
    ///
    /// ```standalone_crate
    /// # use mobula::prelude::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # #[task] fn square(x: u64) -> u64 { x * x }
    /// let cluster = Cluster::local().cpus(2.0).await?;
    /// let group = cluster.placement_group().bundle([("cpu", 1.0)]).bundle([("cpu", 0.5)]).await?;
    /// assert_eq!(square::call(&cluster, 3).within(&group).await?, 9);
    /// group.remove().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn placement_group(&self) -> NewPlacementGroup {
        let (bundles, packing) = (Vec::new(), Packing::default());
        let (cluster, name, limit, invalid) = (self.clone(), None, None, None);
        NewPlacementGroup { cluster, bundles, packing, name, detached: false, patience: Patience::Fail, limit, invalid }
    }

    /// The placement group that has this name in the cluster's namespace, whoever made it; it may still wait for its
    /// bundles.
    ///
    /// # Errors
    /// [`NotGrouped::NotNamed`](crate::error::NotGrouped) if no group has the name, or the head was away for too long.
    pub async fn lookup_placement_group(&self, name: &str) -> Result<PlacementGroup, PlacementError> {
        let (node, mut after) = (self.node(), None);
        let of_name = |full: &FullName| full.namespace == *self.namespace() && &*full.name == name;
        loop {
            let page = node.groups_after(after).await?;
            let Some(last) = page.last() else { return Err(GroupError::NotNamed(name.into()).into()) };
            if let Some(line) = page.iter().find(|line| line.name.as_ref().is_some_and(of_name)) {
                let (node, bundles) = (node.clone(), line.bundles.len());
                return Ok(PlacementGroup { node, id: line.group, bundles, standing: Standing::Listed });
            }
            after = Some(last.group);
        }
    }
}

impl NewPlacementGroup {
    /// One more bundle: resources of one node, by name and amount.
    pub fn bundle<'a>(mut self, resources: impl IntoIterator<Item = (&'a str, f64)>) -> Self {
        let mut needed = Needed::default();
        resources.into_iter().for_each(|(name, amount)| needed.resource(name, amount));
        match needed.finish() {
            Ok(needs) => self.bundles.push(needs.resources),
            Err(invalid) => drop(self.invalid.get_or_insert(invalid)),
        }
        self
    }

    /// How its bundles are placed; packed if nothing is said.
    pub fn strategy(mut self, packing: Packing) -> Self {
        self.packing = packing;
        self
    }

    /// Gives it a name, which no other group of this cluster's namespace has.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Lets it outlive the node that makes it; with a name, others find it by
    /// [`lookup_placement_group`](Cluster::lookup_placement_group), and remove it.
    pub fn detached(mut self) -> Self {
        self.detached = true;
        self
    }

    /// Waits for nodes to come if those that there are could not hold it, were they empty; else the head refuses it at once.
    pub fn wait_for_nodes(mut self) -> Self {
        self.patience = Patience::Wait;
        self
    }

    /// Gives up unless all its bundles are placed so long after this is first polled: [`PlacementError::Timeout`] says what it
    /// was waiting for, and the group is removed again. [`create`](NewPlacementGroup::create) does not wait.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Asks for it, and does not wait: [`PlacementGroup::ready`] does. What is put into it meanwhile waits for it.
    ///
    /// # Errors
    /// A bundle is not allowed. What the head says of it comes by `ready`.
    pub fn create(self) -> Result<PlacementGroup, PlacementError> {
        let node = self.cluster.node().clone();
        let create = self.request()?;
        let (said, placed) = watch::channel(None);
        let asking = node.client().ask(create.clone());
        let group = PlacementGroup::new(&node, &create, Standing::Answered(placed, asking.reason()));
        node.runtime().spawn(async move {
            // Whoever waited may have stopped.
            let _ = said.send(Some(answer(asking.await)));
        });
        Ok(group)
    }

    fn request(self) -> Result<CreateGroup, PlacementError> {
        if let Some(invalid) = self.invalid {
            return Err(invalid.into());
        }
        let group = self.cluster.node().next_group();
        let namespace = self.cluster.namespace().clone();
        let name = self.name.map(|name| FullName { namespace, name: name.into() });
        let NewPlacementGroup { bundles, packing, detached, patience, .. } = self;
        Ok(CreateGroup { group, bundles, packing, name, detached, patience })
    }
}

fn answer(answer: Result<Result<Grouped, GroupError>, AskError>) -> Placed {
    Ok(answer??.hosts)
}

impl IntoFuture for NewPlacementGroup {
    type Output = Result<PlacementGroup, PlacementError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let (node, limit) = (self.cluster.node().clone(), self.limit);
            let create = self.request()?;
            let mut wanted = Wanted { node: &node, group: Some(create.group) };
            let (said, placed) = watch::channel(None);
            let asking = node.client().ask(create.clone());
            let reason = asking.reason();
            let hosts = within(limit, create.group, async { answer(asking.await) }, || waits_for(reason.why())).await?;
            wanted.group = None;
            said.send_replace(Some(Ok(hosts)));
            Ok(PlacementGroup::new(&node, &create, Standing::Answered(placed, reason)))
        })
    }
}

/// Bounds the wait for a group, if it is to be bounded.
async fn within(
    limit: Option<Duration>,
    group: GroupId,
    placed: impl Future<Output = Placed>,
    waiting: impl FnOnce() -> String,
) -> Placed {
    let Some(after) = limit else { return placed.await };
    let mut placed = std::pin::pin!(placed);
    match tokio::time::timeout(after, &mut placed).await {
        Ok(placed) => placed,
        // Said before what was asked is forgotten.
        Err(_) => Err(PlacementError::Timeout { group, after, waiting: waiting() }),
    }
}

fn waits_for(why: Option<Why>) -> String {
    match why {
        Some(why) => format!("waiting for room for all its bundles: {why}"),
        None => "waiting for the head".to_owned(),
    }
}

/// A group that is being made: removed again if nobody waits for it any more.
struct Wanted<'a> {
    node: &'a Arc<Node>,
    group: Option<GroupId>,
}

impl Drop for Wanted<'_> {
    fn drop(&mut self) {
        if let Some(group) = self.group {
            self.node.client().report(RemoveGroup { group });
        }
    }
}

impl PlacementGroup {
    fn new(node: &Arc<Node>, create: &CreateGroup, standing: Standing) -> Self {
        PlacementGroup { node: node.clone(), id: create.group, bundles: create.bundles.len(), standing }
    }

    /// Its identity.
    #[must_use]
    pub fn id(&self) -> GroupId {
        self.id
    }

    /// How many bundles it has.
    #[must_use]
    pub fn bundles(&self) -> usize {
        self.bundles
    }

    /// Waits until all its bundles are placed, when it is awaited: that gives the life of each bundle's node, in their order,
    /// as the head has it now. Bundles whose node has ended are placed again. To drop it changes nothing.
    ///
    /// Awaited, it fails if the head refuses the group, since no nodes could hold it or its name is taken; if the group was
    /// removed; or if the head was away for too long.
    pub fn ready(&self) -> GroupReady {
        GroupReady { group: self.clone(), limit: None }
    }

    /// Notes why it waits, as often as the head says so.
    async fn placed(&self, seen: &Mutex<Option<Why>>) -> Placed {
        let Standing::Answered(mut placed, _) = self.standing.clone() else { return self.listed(seen).await };
        let said = placed.wait_for(Option::is_some).await.ok().and_then(|said| said.clone());
        said.unwrap_or_else(|| Err(GroupError::NotKnown(self.id).into()))?;
        // They may be elsewhere by now.
        self.listed(seen).await
    }

    /// What it waits for, as far as that is known here.
    fn waiting(&self, seen: &Mutex<Option<Why>>) -> String {
        match &self.standing {
            Standing::Answered(placed, reason) if placed.borrow().is_none() => waits_for(reason.why()),
            _ => match seen.lock().clone() {
                None => "waiting for room for all its bundles".to_owned(),
                why => waits_for(why),
            },
        }
    }

    /// Asks how it stands, again and again while it waits.
    async fn listed(&self, seen: &Mutex<Option<Why>>) -> Placed {
        // Numbers begin at one.
        let before = GroupId { life: self.id.life, serial: self.id.serial.saturating_sub(1) };
        let mut pause = LISTED_FIRST;
        loop {
            let page = self.node.groups_after(Some(before)).await?;
            let Some(line) = page.into_iter().find(|line| line.group == self.id) else {
                return Err(GroupError::NotKnown(self.id).into());
            };
            match line.state {
                GroupState::Placed(hosts) => return Ok(hosts),
                GroupState::Waiting | GroupState::Partly(_) => *seen.lock() = line.why,
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LISTED_LAST);
        }
    }

    /// Removes it: its resources are free, tasks within it fail, named and detached actors within it are killed. Other actors
    /// within it keep what they hold until they end. Removing it again changes nothing.
    ///
    /// # Errors
    /// The head was away for too long.
    pub async fn remove(&self) -> Result<(), PlacementError> {
        // The head answers every removal alike.
        let _known = self.node.client().ask(RemoveGroup { group: self.id }).await?;
        Ok(())
    }
}

/// A wait for the bundles of a placement group: `.await`, or a bound first.
#[derive(Debug)]
#[must_use = "nobody waits until this is awaited"]
pub struct GroupReady {
    group: PlacementGroup,
    limit: Option<Duration>,
}

impl GroupReady {
    /// Gives up so long after this is first polled: [`PlacementError::Timeout`] says what the group was waiting for. The group
    /// is not changed.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }
}

impl IntoFuture for GroupReady {
    type Output = Result<Vec<Life>, PlacementError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let GroupReady { group, limit } = self;
            let seen = Mutex::new(None);
            within(limit, group.id, group.placed(&seen), || group.waiting(&seen)).await
        })
    }
}

impl Node {
    fn next_group(&self) -> GroupId {
        let actor = self.next_actor();
        GroupId { life: Host::life(self), serial: actor.serial }
    }
}

impl fmt::Debug for NewPlacementGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewPlacementGroup").field("bundles", &self.bundles).finish_non_exhaustive()
    }
}

impl fmt::Debug for PlacementGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PlacementGroup({}, {} bundles)", self.id, self.bundles)
    }
}
