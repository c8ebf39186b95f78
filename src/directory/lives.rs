//! The lives of nodes as the head keeps them: door, standing, room, orders not yet acknowledged.

use crate::directory::answers::Answers;
use crate::directory::elders::{ELDEST, RoomId};
use crate::directory::message::{Command, Order};
use crate::directory::request::{Advertised, Join, Member};
use crate::directory::room::{BundleId, Room};
use crate::directory::state::Keeps;
use crate::id::{ActorId, GrantId, GroupId, Life, NodeId};
use crate::schedule::{Fit, Offer, Requirement};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// For whom something new may be placed on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    All,
    /// It comes to its end: for what it asks for itself.
    ItsOwn,
    /// It is about to leave.
    Nothing,
}

#[derive(Debug)]
pub(super) struct Living {
    pub(super) join: Arc<Join>,
    /// The session it spoke on last; none once that closed.
    pub(super) door: Option<u64>,
    pub(super) keeps: Keeps,
    /// It has told this head what runs there.
    pub(super) known: bool,
    /// What of it is free, and what placement groups hold there.
    pub(super) room: Room,
    pub(super) takes: Takes,
    /// Its CPUs, in ten-thousandths, at least one.
    cpus: u64,
    /// Grants on it, and those that it owns.
    pub(super) lent: BTreeSet<GrantId>,
    pub(super) held: BTreeSet<GrantId>,
    /// Actors placed there, and those for which resources are reserved there.
    pub(super) hosted: BTreeSet<ActorId>,
    pub(super) reserved: BTreeSet<ActorId>,
    /// Actors in processes of their own that were started there: what they take is taken there.
    pub(super) isolated: BTreeSet<ActorId>,
    /// Actors that run there, by its own count.
    pub(super) load: u64,
    pub(super) orders: Orders,
    pub(super) answers: Answers,
    /// The version of membership that its door was told.
    pub(super) told: u64,
    member: Arc<Member>,
}

impl Living {
    fn new(life: Life, join: Arc<Join>, keeps: Keeps) -> Living {
        let Join { node, boot, process, hosts, .. } = *join;
        let (host_name, addresses) = (join.host_name.clone(), join.addresses.clone());
        let member = Arc::new(Member { life, node, boot, process, host_name, hosts, addresses, suspect: false });
        Living {
            room: Room::new(&join.resources),
            lent: BTreeSet::new(),
            held: BTreeSet::new(),
            cpus: join.resources.get("cpu").as_ten_thousandths().max(1),
            join,
            door: None,
            keeps,
            known: false,
            takes: Takes::All,
            hosted: BTreeSet::new(),
            reserved: BTreeSet::new(),
            isolated: BTreeSet::new(),
            load: 0,
            orders: Orders::default(),
            answers: Answers::default(),
            told: 0,
            member,
        }
    }

    /// As the others know it.
    pub(super) fn member(&self) -> &Arc<Member> {
        &self.member
    }

    /// Whether it is silent.
    pub(super) fn suspect(&self) -> bool {
        self.member.suspect
    }

    /// Sets that, and says whether it was so before.
    pub(super) fn set_suspect(&mut self, suspect: bool) -> bool {
        let was = self.member.suspect;
        if was != suspect {
            Arc::make_mut(&mut self.member).suspect = suspect;
        }
        was
    }

    /// Whether something new may be placed there, whoever asks for it.
    pub(super) fn open(&self) -> bool {
        self.takes == Takes::All && self.join.hosts && self.is_heard()
    }

    /// Whether something new may be placed there that it asks for itself.
    pub(super) fn open_to_itself(&self) -> bool {
        self.takes != Takes::Nothing && self.join.hosts && self.is_heard()
    }

    /// Whether nothing is placed there, nor kept for who waits, and nothing of it granted; nor does it hold anything of others.
    pub(super) fn is_unused(&self) -> bool {
        let actors = [&self.hosted, &self.reserved, &self.isolated];
        let grants = [&self.lent, &self.held];
        actors.iter().all(|actors| actors.is_empty())
            && grants.iter().all(|grants| grants.is_empty())
            && !self.room.has_bundles()
            && !self.room.is_kept()
    }

    /// Whether it is known, has a session and is not silent.
    pub(super) fn is_heard(&self) -> bool {
        self.known && !self.suspect() && self.door.is_some()
    }

    /// Whether an actor of this need that came at this ticket can be put there now.
    pub(super) fn will_do(&self, life: Life, need: &Requirement, ticket: u64) -> bool {
        let fits = |offer: &Offer<'_>| matches!(need.fit(offer), Fit::Now(_));
        self.join.advertised.makes(need) && self.offers(life, need, ticket).any(|(offer, _)| fits(&offer))
    }

    /// Whether the room would do for what takes something, were it empty.
    pub(super) fn suits(&self, (life, bundle): RoomId, need: &Requirement) -> bool {
        let fits = |offer: &Offer<'_>| !matches!(need.fit(offer), Fit::Never(_));
        let mut offers = self.offers(life, need, ELDEST);
        !need.resources.is_empty()
            && self.join.advertised.makes(need)
            && offers.any(|(offer, of)| of == bundle && fits(&offer))
    }

    pub(super) fn cpus(&self) -> u64 {
        self.cpus
    }

    /// Actors there, and tasks that declare nothing.
    pub(super) fn load(&self) -> u64 {
        let placed = (self.hosted.len() + self.reserved.len() + self.isolated.len()) as u64;
        self.load.max(placed) + u64::from(self.room.weightless_taken())
    }

    /// What it offers to `need`, which came at this ticket: the whole node, or those bundles that are asked for.
    pub(super) fn offers<'a>(
        &'a self,
        life: Life,
        need: &Requirement,
        ticket: u64,
    ) -> impl Iterator<Item = (Offer<'a>, Option<BundleId>)> {
        let Join { node, labels, .. } = &*self.join;
        let offer =
            move |total, free| Offer { life, node: *node, total, free, labels, cpus: self.cpus, actors: self.load() };
        let rooms = self.room.offered(&self.join.resources, need.strategy, ticket);
        rooms.into_iter().map(move |(total, free, bundle)| (offer(total, free), bundle))
    }
}

/// Orders of one life in one reign, kept until a beat acknowledges them. At most two an actor.
#[derive(Debug, Default)]
pub(super) struct Orders {
    last: u64,
    unacknowledged: VecDeque<Order>,
}

impl Orders {
    pub(super) fn give(&mut self, life: Life, what: Command) -> Order {
        self.last += 1;
        let order = Order { life, number: self.last, what };
        self.unacknowledged.push_back(order.clone());
        order
    }

    pub(super) fn acknowledged(&mut self, number: u64) {
        while self.unacknowledged.front().is_some_and(|order| order.number <= number) {
            self.unacknowledged.pop_front();
        }
    }

    pub(super) fn unacknowledged(&self) -> impl Iterator<Item = &Order> {
        self.unacknowledged.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.unacknowledged.len()
    }
}

#[derive(Debug, Default)]
pub(super) struct Lives {
    all: BTreeMap<Life, Living>,
    by_node: BTreeMap<NodeId, Life>,
    by_door: BTreeMap<u64, Life>,
    last: Life,
    /// Nodes of one binary advertise the same: it is kept once.
    advertised: BTreeSet<Arc<Advertised>>,
}

impl Lives {
    pub(super) fn next(&self) -> Life {
        self.last.next()
    }

    pub(super) fn last(&self) -> Life {
        self.last
    }

    /// The next life comes after this one.
    pub(super) fn begin_after(&mut self, life: Life) {
        self.last = self.last.max(life);
    }

    pub(super) fn insert(&mut self, life: Life, join: &Arc<Join>, keeps: Keeps) {
        let mut join = Join::clone(join);
        match self.advertised.get(&join.advertised) {
            Some(same) => join.advertised = same.clone(),
            None => drop(self.advertised.insert(join.advertised.clone())),
        }
        self.last = self.last.max(life);
        self.by_node.insert(join.node, life);
        self.all.insert(life, Living::new(life, Arc::new(join), keeps));
    }

    pub(super) fn remove(&mut self, life: Life) -> Option<Living> {
        let gone = self.all.remove(&life)?;
        self.by_node.remove(&gone.join.node);
        gone.door.map(|door| self.by_door.remove(&door));
        // Held here, by the life that goes and by its joining record: nobody else advertises it.
        if Arc::strong_count(&gone.join.advertised) == 2 {
            self.advertised.remove(&gone.join.advertised);
        }
        Some(gone)
    }

    /// A group was removed: its bundles go with the last actor in each.
    pub(super) fn close_bundles(&mut self, group: GroupId) {
        self.all.values_mut().for_each(|living| living.room.close_bundles(group));
    }

    pub(super) fn get(&self, life: Life) -> Option<&Living> {
        self.all.get(&life)
    }

    pub(super) fn get_mut(&mut self, life: Life) -> Option<&mut Living> {
        self.all.get_mut(&life)
    }

    pub(super) fn of_node(&self, node: NodeId) -> Option<Life> {
        self.by_node.get(&node).copied()
    }

    pub(super) fn at_door(&self, door: u64) -> Option<Life> {
        self.by_door.get(&door).copied()
    }

    /// `life` speaks on `door` from now on. False if it has a newer one already.
    pub(super) fn attach(&mut self, life: Life, door: u64) -> bool {
        let Some(living) = self.all.get_mut(&life) else { return false };
        match living.door {
            Some(newer) if newer > door => return false,
            Some(older) if older != door => drop(self.by_door.remove(&older)),
            _ => {}
        }
        living.door = Some(door);
        self.by_door.insert(door, life);
        true
    }

    pub(super) fn detach(&mut self, door: u64) -> Option<Life> {
        let life = self.by_door.remove(&door)?;
        if let Some(living) = self.all.get_mut(&life) {
            living.door = None;
        }
        Some(life)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Life, &Living)> {
        self.all.iter().map(|(life, living)| (*life, living))
    }

    pub(super) fn after(&self, life: Life) -> impl Iterator<Item = (Life, &Living)> {
        self.all.range(life.next()..).map(|(life, living)| (*life, living))
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// The nodes on which `need` may be placed now, whoever waits for them.
    pub(super) fn offers<'a>(&'a self, need: &'a Requirement) -> impl Iterator<Item = Offer<'a>> {
        self.offers_at(need, ELDEST, None)
    }

    /// The same for what came at this ticket, and is asked for by this life.
    pub(super) fn offers_at<'a>(
        &'a self,
        need: &'a Requirement,
        ticket: u64,
        of: Option<Life>,
    ) -> impl Iterator<Item = Offer<'a>> {
        // Most nodes share what they advertise: it is looked through once.
        let mut last: Option<(&'a Arc<Advertised>, bool)> = None;
        let mut makes = move |advertised: &'a Arc<Advertised>| match last {
            Some((same, makes)) if Arc::ptr_eq(same, advertised) => makes,
            _ => last.insert((advertised, advertised.makes(need))).1,
        };
        let is_open =
            move |life: Life, living: &Living| if of == Some(life) { living.open_to_itself() } else { living.open() };
        let open = self.iter().filter(move |(life, living)| is_open(*life, living) && makes(&living.join.advertised));
        open.flat_map(move |(life, living)| living.offers(life, need, ticket).map(|(offer, _)| offer))
    }

    /// Whether any member could make it, were it reachable and empty.
    pub(super) fn anyone_makes(&self, need: &Requirement) -> bool {
        self.all.values().any(|living| living.join.hosts && living.join.advertised.makes(need))
    }

    /// The same, and what it takes and says of its node is there.
    pub(super) fn anyone_holds(&self, need: &Requirement) -> bool {
        let will_do = |offer: &Offer<'_>| !matches!(need.fit(offer), Fit::Never(_));
        let mut makers = self.iter().filter(|(_, living)| living.join.hosts && living.join.advertised.makes(need));
        makers.any(|(life, living)| living.offers(life, need, ELDEST).any(|(offer, _)| will_do(&offer)))
    }
}
