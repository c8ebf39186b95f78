//! A head under test: nodes that join, ask and report by hand; every record and every word is kept.

use crate::clock::Moment;
use crate::directory::message::{Ask, Command, How, News, Order, Question, Reply, RequestId, ToHead};
use crate::directory::record::Record;
use crate::directory::request::{
    ActorType, Advertised, AdvertisedType, Arguments, Beat, Boot, Choose, End, Ended, FullName, GiveBack, Gone,
    Granted, Holdings, Hosted, Hosting, Join, Leave, LifeEnd, Needs, Page, Patience, Query, Rejoin, Spawn, Standing,
    Summary, Want,
};
use crate::directory::{Config, Directory, Door, Effect, Effects, Event, FromHead, Keeps, Reign};
use crate::id::{ActorId, Epoch, GrantId, Key, Life, NodeId, Placement};
use crate::schedule::{Amount, Class, Labels, Resources, Strategy};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub(crate) const COUNTER: Key = Key(11);
pub(crate) const MAKE: Key = Key(12);

pub(crate) fn node(n: u8) -> NodeId {
    NodeId([n; 32])
}

pub(crate) fn cpus(n: f64) -> Resources {
    Resources::none().with("cpu", Amount::new(n).unwrap()).unwrap()
}

pub(crate) fn kind() -> ActorType {
    ActorType { key: COUNTER, name: "tests::Counter".into() }
}

pub(crate) fn name(name: &str) -> FullName {
    FullName { namespace: "default".into(), name: name.into() }
}

/// A worker's join: host `n / 10`, two CPUs.
pub(crate) fn join(n: u8, attempt: u64) -> Join {
    Join {
        attempt,
        node: node(n),
        boot: Boot([n / 10; 16]),
        process: u32::from(n),
        host_name: format!("host-{}", n / 10).into(),
        hosts: true,
        addresses: vec![format!("tcp://10.0.0.{n}:7400").into()],
        resources: cpus(2.0),
        labels: Labels::default(),
        advertised: Arc::new(Advertised::new([AdvertisedType {
            key: COUNTER,
            name: "tests::Counter".into(),
            constructors: vec![MAKE],
        }])),
        served: Epoch::default(),
        claims: None,
    }
}

pub(crate) fn spawn(life: Life, serial: u64) -> Spawn {
    Spawn {
        actor: ActorId { life, serial },
        kind: kind(),
        constructor: MAKE,
        name: None,
        needs: Needs::default(),
        restarts: 0,
        restart_window: None,
        detached: false,
        isolated: false,
        arguments: Arguments::Encoded(bytes::Bytes::from_static(b"args")),
        patience: Patience::Fail,
    }
}

pub(crate) fn choose(life: Life, serial: u64, cpu: f64) -> Choose {
    let needs = Needs { resources: cpus(cpu), ..Needs::default() };
    Choose { actor: ActorId { life, serial }, kind: kind(), constructor: MAKE, needs, patience: Patience::Fail }
}

/// So many slots of a task that takes this much.
pub(crate) fn want(class: u32, cpu: f64, slots: u32) -> Want {
    let needs = Needs { resources: cpus(cpu), ..Needs::default() };
    let (class, priority, patience) = (Class(class), 0, Patience::Wait);
    Want { class, kind: kind(), signature: MAKE, needs, slots, priority, patience }
}

/// What is within placement groups is found by them.
fn check_groups(directory: &Directory) {
    let of = |strategy| if let Strategy::Bundle { group, .. } = strategy { Some(group) } else { None };
    let actors = directory.actors.all.iter();
    let actors = actors.filter_map(|(id, actor)| of(actor.need.strategy).map(|group| (group, *id)));
    assert_eq!(directory.actors.grouped, actors.collect());
    let grants = directory.grants.all.iter().filter_map(|(id, grant)| Some((grant.bundle?.0, *id)));
    assert_eq!(directory.grants.grouped, grants.collect());
}

pub(crate) struct Head {
    pub(crate) directory: Directory,
    pub(crate) now: Moment,
    pub(crate) journal: Vec<Record>,
    /// Every effect, in order.
    pub(crate) log: Vec<Effect>,
    pub(crate) doors: BTreeMap<Life, Door>,
    next: u64,
}

impl Head {
    pub(crate) fn new() -> Head {
        Head::with(Vec::new(), 1, Moment(1_000))
    }

    /// The head of a later epoch, with this journal.
    pub(crate) fn with(journal: Vec<Record>, epoch: u64, now: Moment) -> Head {
        let config = Config::new(Reign { epoch: Epoch(epoch), instance: epoch * 7 });
        let directory = Directory::start(now, config, journal.clone());
        Head { directory, now, journal, log: Vec::new(), doors: BTreeMap::new(), next: epoch * 1_000 }
    }

    pub(crate) fn restarted(self) -> Head {
        Head::with(self.journal, self.directory.reign().epoch.0 + 1, self.now)
    }

    pub(crate) fn apply(&mut self, event: Event) -> Vec<Effect> {
        let mut effects = Effects::new();
        self.directory.apply(self.now, event, &mut effects);
        let mut these = Vec::new();
        while let Some(effect) = effects.pop() {
            if let Effect::Journal(record) = &effect {
                self.journal.push(record.clone());
            }
            these.push(effect);
        }
        self.log.extend(these.iter().cloned());
        check_groups(&self.directory);
        these
    }

    pub(crate) fn pass(&mut self, time: Duration) -> Vec<Effect> {
        self.now = self.now + time;
        self.apply(Event::Tick)
    }

    pub(crate) fn door(&mut self, n: u8) -> Door {
        self.next += 1;
        Door { id: self.next, node: node(n), keeps: Keeps::Lease }
    }

    pub(crate) fn joins(&mut self, join: Join) -> Life {
        let Join { node: id, attempt, .. } = join;
        let door = Door { node: id, ..self.door(0) };
        let effects = self.apply(Event::Said(door, ToHead::Join(Arc::new(join))));
        let life = effects.iter().find_map(|effect| match effect {
            Effect::Send(_, FromHead { news: News::Joined(joined), .. }) if joined.attempt == attempt => {
                Some(joined.life)
            }
            _ => None,
        });
        let life = life.unwrap_or_else(|| panic!("joined: {effects:?}"));
        self.doors.insert(life, door);
        life
    }

    pub(crate) fn worker(&mut self, n: u8) -> Life {
        let attempt = self.now.0 + u64::from(n);
        self.joins(join(n, attempt))
    }

    pub(crate) fn driver(&mut self, n: u8) -> Life {
        self.joins(Join { hosts: false, addresses: Vec::new(), resources: Resources::none(), ..join(n, 1) })
    }

    pub(crate) fn beats(&mut self, life: Life) -> Vec<Effect> {
        let door = self.doors[&life];
        self.beats_at(life, door, 0)
    }

    pub(crate) fn beats_at(&mut self, life: Life, door: Door, orders: u64) -> Vec<Effect> {
        self.next += 1;
        let epoch = self.directory.reign().epoch;
        let beat = Beat { life, epoch, number: self.next, orders, members: 0, actors: 0 };
        self.doors.insert(life, door);
        self.apply(Event::Said(door, ToHead::Beat(beat)))
    }

    /// Rejoins with all that the journal has there, running.
    pub(crate) fn rejoins(&mut self, life: Life, n: u8) -> Vec<Effect> {
        let door = self.door(n);
        self.beats_at(life, door, 0);
        let epoch = self.directory.reign().epoch;
        let beat = Beat { life, epoch, number: self.next, orders: 0, members: 0, actors: 0 };
        let placed = self.journal.iter().filter_map(|record| match record {
            Record::Placed { actor, placement, host, .. } if *host == life => Some((*actor, *placement)),
            _ => None,
        });
        let hosted =
            placed.map(|(actor, placement)| Hosting { actor, placement, standing: Standing::Running }).collect();
        self.apply(Event::Said(
            door,
            ToHead::Rejoin(Rejoin { beat, hosted, reserved: Vec::new(), holdings: Holdings::default() }),
        ))
    }

    /// Asks, and gives the request's number.
    pub(crate) fn asks<Q: Question>(&mut self, life: Life, question: Q) -> RequestId {
        self.next += 1;
        let request = RequestId(self.next);
        self.asks_again(life, request, question);
        request
    }

    pub(crate) fn asks_again<Q: Question>(&mut self, life: Life, request: RequestId, question: Q) -> Vec<Effect> {
        let door = self.doors[&life];
        let ask = Ask { life, request, settled: Vec::new(), what: question.into() };
        self.apply(Event::Said(door, ToHead::Ask(ask)))
    }

    /// What was answered to a request, as of now.
    pub(crate) fn reply(&self, request: RequestId) -> Option<Reply> {
        self.log.iter().rev().find_map(|effect| match effect {
            Effect::Send(_, FromHead { news: News::Answer { request: of, reply }, .. }) if *of == request => {
                Some(reply.clone())
            }
            _ => None,
        })
    }

    pub(crate) fn answer<Q: Question>(&self, request: RequestId) -> Option<Q::Answer> {
        self.reply(request).map(|reply| Q::answer(reply).expect("an answer of the request's own type"))
    }

    /// Asks what must be answered at once.
    pub(crate) fn asked<Q: Question>(&mut self, life: Life, question: Q) -> Q::Answer {
        let request = self.asks(life, question);
        self.answer::<Q>(request).expect("an answer at once")
    }

    /// The last order for this actor.
    pub(crate) fn ordered(&self, id: ActorId) -> Option<Order> {
        self.log.iter().rev().find_map(|effect| match effect {
            Effect::Send(_, FromHead { news: News::Order(order), .. }) => match &order.what {
                Command::Host(host) if host.spawn.actor == id => Some(order.clone()),
                Command::End { actor, .. } | Command::Move { actor, .. } if *actor == id => Some(order.clone()),
                _ => None,
            },
            _ => None,
        })
    }

    /// Carries out the last order for this actor as its host would.
    pub(crate) fn obeys(&mut self, id: ActorId) {
        let order = self.ordered(id).expect("an order");
        match order.what {
            Command::Host(host) => {
                let report = Hosted { actor: id, placement: host.placement, made: Ok(()) };
                assert_eq!(self.asked(order.life, report), Ok(()));
            }
            Command::End { placement, why, .. } => {
                assert_eq!(self.asked(order.life, Ended { actor: id, placement, why }), Ok(()));
            }
            Command::Move { placement, .. } => {
                let why = Gone::NodeEnded { life: order.life, why: LifeEnd::Left };
                assert_eq!(self.asked(order.life, Ended { actor: id, placement, why }), Ok(()));
            }
            Command::Grant(_) | Command::Recall { .. } | Command::Revoke { .. } | Command::Vacate { .. } => {}
        }
    }

    /// Spawns and makes an actor.
    pub(crate) fn spawned(&mut self, spawn: Spawn) -> (ActorId, Life, Placement) {
        let (id, life) = (spawn.actor, spawn.actor.life);
        let request = self.asks(life, spawn);
        self.obeys(id);
        let made = self.answer::<Spawn>(request).expect("an answer").expect("made");
        (made.actor, made.life, made.placement)
    }

    pub(crate) fn ends(&mut self, life: Life, actor: ActorId, how: How) -> RequestId {
        self.asks(life, End { actor, how })
    }

    /// What a life was ordered about grants, in order, each once.
    pub(crate) fn grant_orders(&self, life: Life) -> Vec<Command> {
        let mut last = 0;
        let orders = self.log.iter().filter_map(|effect| match effect {
            Effect::Send(_, FromHead { news: News::Order(order), .. }) if order.life == life && order.number > last => {
                last = order.number;
                Some(order.what.clone())
            }
            _ => None,
        });
        orders.filter(|what| !matches!(what, Command::Host(_) | Command::Move { .. } | Command::End { .. })).collect()
    }

    /// The grants that a life was given.
    pub(crate) fn granted(&self, life: Life) -> Vec<Granted> {
        let grants = self.grant_orders(life).into_iter().filter_map(|what| match what {
            Command::Grant(granted) => Some(granted),
            _ => None,
        });
        grants.collect()
    }

    pub(crate) fn gives_back(&mut self, life: Life, grant: GrantId, keep: u32) {
        assert_eq!(self.asked(life, GiveBack { grant, keep }), Ok(()));
    }

    pub(crate) fn free(&self, life: Life) -> Resources {
        self.directory.lives.get(life).expect("a life").room.free().clone()
    }

    pub(crate) fn leaves(&mut self, life: Life) -> Vec<Effect> {
        let door = self.doors[&life];
        self.apply(Event::Said(door, ToHead::Leave(Leave { life })))
    }

    /// Rejoins with nothing but these holdings.
    pub(crate) fn rejoins_with(&mut self, life: Life, n: u8, holdings: Holdings) -> Vec<Effect> {
        let door = self.door(n);
        self.beats_at(life, door, 0);
        let epoch = self.directory.reign().epoch;
        let beat = Beat { life, epoch, number: self.next, orders: 0, members: 0, actors: 0 };
        self.apply(Event::Said(
            door,
            ToHead::Rejoin(Rejoin { beat, hosted: Vec::new(), reserved: Vec::new(), holdings }),
        ))
    }

    pub(crate) fn gone(&self, id: ActorId) -> Option<Gone> {
        self.journal.iter().find_map(|record| match record {
            Record::Gone { actor, why } if *actor == id => Some(why.clone()),
            _ => None,
        })
    }

    pub(crate) fn summary(&self) -> Summary {
        match self.directory.status(Query::Summary) {
            Page::Summary(summary) => summary,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn news_to(&self, life: Life) -> Vec<News> {
        let door = self.doors[&life].id;
        let to = |effect: &Effect| match effect {
            Effect::Send(to, message) if *to == door => Some(message.news.clone()),
            _ => None,
        };
        self.log.iter().filter_map(to).collect()
    }
}
