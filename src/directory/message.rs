//! What nodes and the head say to each other on the control lane.
//!
//! ```text
//! node → head   Join | Rejoin | Beat | Leave | Ask {life, request, settled, what} | Settle | Status
//! head → node   (epoch, instance) + Joined | JoinRefused | WhoAreYou | Beaten | Ended | Order | Answer | Waits | Members
//!               | DialMe | Status
//! ```
//!
//! A node opens each session with Join, Rejoin or Beat. What it asks it numbers itself and asks again over a later session
//! until it is answered; what it has settled it says, so that the head forgets those answers (§2.8). Orders are numbered by
//! the head for each life and acknowledged by beats, so that a new session brings what the old one lost.

use crate::directory::fence::Reign;
use crate::directory::request::{
    Beat, Change, Checkpoint, Choose, ChooseError, Chosen, CreateGroup, DialMe, DialMeError, Died, DiedError, End,
    EndError, Ended, Entrust, EntrustError, GetOrSpawn, GiveBack, GiveUp, Gone, Granted, GroupError, Grouped, Heirs,
    Host, Hosted, Join, JoinError, Joined, LastSaved, Leave, LifeEnd, Locate, LocateError, Located, Lookup,
    LookupError, NotKept, Page, Prospect, Query, Rejoin, RemoveGroup, ReportError, Retire, Revoked, Snapshot, Spawn,
    SpawnError, Spawned, StillKept, Want, WantError, Withdraw,
};
use crate::id::{ActorId, GrantId, Life, NodeId, ObjectId, Placement};
use crate::schedule::Why;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A request's number: made by the asking process, rises with each, also across its lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RequestId(pub u64);

/// From a node to the head.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ToHead {
    /// A node begins a life.
    Join(Arc<Join>),
    /// A life of an earlier head's reign says what runs there.
    Rejoin(Rejoin),
    /// A life goes on.
    Beat(Beat),
    /// A life ends by its own will.
    Leave(Leave),
    /// A request of a life.
    Ask(Ask),
    /// What the head may forget without a request that says so: the first word of a client on a session, and now and then.
    Settle(Life, Settled),
    /// A look at the cluster; needs no life.
    Status {
        /// The asker's number for it.
        number: u64,
        /// What it wants to see.
        query: Query,
    },
}

/// One request of a life.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ask {
    /// Whose it is.
    pub life: Life,
    /// Its number.
    pub request: RequestId,
    /// Requests whose answers have arrived, or that nobody waits for any more: the head forgets them first.
    pub settled: Vec<RequestId>,
    /// What is asked.
    pub what: Request,
}

/// Which answers need not be kept for being asked again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Settled {
    /// Those of these requests.
    These(Vec<RequestId>),
    /// All but those of these.
    AllBut(Vec<RequestId>),
}

/// From the head to a node, under its fence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FromHead {
    /// Which head says so.
    pub reign: Reign,
    /// What it says.
    pub news: News,
}

/// What the head says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum News {
    /// The life has begun.
    Joined(Joined),
    /// No life for this node.
    JoinRefused {
        /// The join it answers.
        attempt: u64,
        /// Why.
        why: JoinError,
    },
    /// A beat of a life that this head has not heard of since its start: rejoin.
    WhoAreYou {
        /// The life that beat.
        life: Life,
    },
    /// A beat (or rejoin) arrived.
    Beaten {
        /// Whose.
        life: Life,
        /// Its number.
        beat: u64,
    },
    /// This life is over: fence, and join anew.
    Ended {
        /// The life.
        life: Life,
        /// Why.
        why: LifeEnd,
    },
    /// Something to do.
    Order(Order),
    /// The answer to a request.
    Answer {
        /// Its number.
        request: RequestId,
        /// The answer.
        reply: Reply,
    },
    /// A request waits, and for what.
    Waits {
        /// Its number.
        request: RequestId,
        /// For what.
        why: Why,
    },
    /// Who is in the cluster, or what changed.
    Members(Members),
    /// A peer cannot dial this node: dial it.
    DialMe(Caller),
    /// A page of a look at the cluster.
    Status {
        /// The asker's number.
        number: u64,
        /// What it wanted to see.
        page: Page,
    },
}

/// Who wants to be dialled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caller {
    /// Its life.
    pub life: Life,
    /// Its id, which the dialler must find proved.
    pub node: NodeId,
    /// Where it listens.
    pub addresses: Vec<Arc<str>>,
}

/// Membership: all of it, or what changed since a version. A change is one version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Members {
    /// Everyone.
    All(Snapshot),
    /// What changed.
    Changes {
        /// The version before the first of them.
        after: u64,
        /// In their order.
        changes: Vec<Change>,
    },
}

/// A numbered order to a node. A node obeys each number once, in order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// The life that is to obey.
    pub life: Life,
    /// From 1 in each reign.
    pub number: u64,
    /// What to do.
    pub what: Command,
}

/// What a node is ordered to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// Make an actor and report `Hosted`.
    Host(Host),
    /// End an actor, if it is there under this placement, and report `Ended`.
    End {
        /// Which.
        actor: ActorId,
        /// Under which placement; another is left alone.
        placement: Placement,
        /// How.
        how: How,
        /// What to tell those who still call it.
        why: Gone,
    },
    /// The node is about to leave: an actor comes to its end there, is reported `Ended`, and goes on elsewhere.
    Move {
        /// Which.
        actor: ActorId,
        /// Under which placement; another is left alone.
        placement: Placement,
    },
    /// Slots for tasks.
    Grant(Granted),
    /// Keep no more than these slots: give the others back as their tasks finish.
    Recall {
        /// Of which grant.
        grant: GrantId,
        /// Slots that may be kept.
        keep: u32,
    },
    /// A grant is over at once.
    Revoke {
        /// Which.
        grant: GrantId,
        /// Why.
        why: Revoked,
    },
    /// To a grant's node: nobody is to use it any more. Nothing new begins under it, and it is given back once nothing runs.
    Vacate {
        /// Which.
        grant: GrantId,
    },
}

/// How an actor is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum How {
    /// What its mailbox holds is run first, then `on_stop`.
    Stop,
    /// At its next await.
    Kill,
}

/// A request that has an answer of its own type.
pub trait Question: Into<Request> {
    /// What the head answers.
    type Answer;
    /// The answer in `reply`, if it is one of this request's.
    fn answer(reply: Reply) -> Option<Self::Answer>;
}

macro_rules! questions {
    ($($(#[$doc:meta])* $name:ident => $reply:ident($answer:ty),)*) => {
        /// What a life asks of the head.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        pub enum Request { $($(#[$doc])* $name($name),)* }

        $(impl From<$name> for Request {
            fn from(request: $name) -> Request { Request::$name(request) }
        }

        impl Question for $name {
            type Answer = $answer;
            fn answer(reply: Reply) -> Option<$answer> {
                match reply {
                    Reply::$reply(answer) => Some(answer),
                    _ => None,
                }
            }
        })*
    };
}

questions! {
    /// Place and make an actor.
    Spawn => Spawned(Result<Spawned, SpawnError>),
    /// The actor of a name, made if there is none.
    GetOrSpawn => Spawned(Result<Spawned, SpawnError>),
    /// Nodes for an ephemeral actor.
    Choose => Chosen(Result<Chosen, ChooseError>),
    /// Where an actor is.
    Locate => Located(Result<Located, LocateError>),
    /// The actor of a name.
    Lookup => Found(Result<Spawned, LookupError>),
    /// End an actor; answered when it has ended.
    End => Ended(Result<Gone, EndError>),
    /// An ordered actor was made, or could not be.
    Hosted => Reported(Result<(), ReportError>),
    /// An actor that the head knows, or for which it reserved resources, has ended.
    Ended => Reported(Result<(), ReportError>),
    /// What was saved of an actor is to be kept for its next host.
    Checkpoint => Kept(Result<(), NotKept>),
    /// Which checkpoints are needed that lie with the asker.
    StillKept => StillKept(Vec<Option<LastSaved>>),
    /// Proof that a node is dead.
    Died => Died(Result<(), DiedError>),
    /// Ask a peer that cannot be dialled to dial.
    DialMe => Dialled(Result<(), DialMeError>),
    /// Slots for tasks are wanted.
    Want => Wanted(Result<Prospect, WantError>),
    /// Slots are free again.
    GiveBack => Reported(Result<(), ReportError>),
    /// A placement group is to be made; answered when it is.
    CreateGroup => Grouped(Result<Grouped, GroupError>),
    /// A placement group ends.
    RemoveGroup => Reported(Result<(), ReportError>),
    /// An object was given to another owner.
    Entrust => Entrusted(Result<(), EntrustError>),
    /// Nobody holds an object any more that was.
    Withdraw => Reported(Result<(), ReportError>),
    /// Which objects those of owners that have ended are now.
    Heirs => Heirs(Vec<(ObjectId, ObjectId)>),
    /// Nothing new is to be placed on the asker, which has nothing to do and is about to leave.
    Retire => Retired(bool),
    /// Nobody waits for what `GetOrSpawn` would have made.
    GiveUp => Reported(Result<(), ReportError>),
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    /// To `Spawn` and `GetOrSpawn`.
    Spawned(Result<Spawned, SpawnError>),
    /// To `Choose`.
    Chosen(Result<Chosen, ChooseError>),
    /// To `Locate`.
    Located(Result<Located, LocateError>),
    /// To `Lookup`.
    Found(Result<Spawned, LookupError>),
    /// To `End`.
    Ended(Result<Gone, EndError>),
    /// To `Hosted`, `Ended`, `GiveBack`, `RemoveGroup` and `Withdraw`.
    Reported(Result<(), ReportError>),
    /// To `Checkpoint`.
    Kept(Result<(), NotKept>),
    /// To `StillKept`, in the order of its actors.
    StillKept(Vec<Option<LastSaved>>),
    /// To `Died`.
    Died(Result<(), DiedError>),
    /// To `DialMe`.
    Dialled(Result<(), DialMeError>),
    /// To `Want`.
    Wanted(Result<Prospect, WantError>),
    /// To `CreateGroup`.
    Grouped(Result<Grouped, GroupError>),
    /// To `Entrust`.
    Entrusted(Result<(), EntrustError>),
    /// To `Heirs`: those that were given, and what they are now.
    Heirs(Vec<(ObjectId, ObjectId)>),
    /// To `Retire`: whether it is so.
    Retired(bool),
}

impl Reply {
    /// The life where it says that an actor is.
    pub(super) fn names(&self) -> Option<Life> {
        match self {
            Reply::Spawned(Ok(spawned)) | Reply::Found(Ok(spawned)) => Some(spawned.life),
            Reply::Located(Ok(located)) => Some(located.life),
            _ => None,
        }
    }
}
