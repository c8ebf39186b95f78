//! Bugs that can be planted: what the simulation is there for, it must find. Each is one that a change could bring, in what
//! drives the state machines or between them and the network or disk; ARCHITECTURE.md says after how many seeds each is found.

use std::fmt;

macro_rules! bugs {
    ($($(#[$what:meta])+ $bug:ident = $name:literal,)+) => {
        /// A bug to plant, to see that it is found.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Bug {
            $($(#[$what])+ $bug,)+
        }

        impl Bug {
            /// All of them.
            pub const ALL: [Bug; [$($name),+].len()] = [$(Bug::$bug),+];
        }

        impl fmt::Display for Bug {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(Bug::$bug => $name,)+
                })
            }
        }
    };
}

bugs! {
    /// Requests are handed to mailboxes twice, now and then.
    Redelivers = "redelivers",
    /// A node counts its lease from when a beat was answered, not from when it was sent.
    LeaseFromAnswer = "lease-from-answer",
    /// A caller is told of an answer twice, now and then.
    RepeatsAnswers = "repeats-answers",
    /// An actor that is killed says No of the calls that it had begun.
    DeniesBegun = "denies-begun",
    /// An actor that panics tries its calls again in the same incarnation.
    RetriesInPlace = "retries-in-place",
    /// An actor is started again before all that ran has ended.
    RestartsBeside = "restarts-beside",
    /// Attempts are not counted.
    RetriesForever = "retries-forever",
    /// Calls that are tried again go to the end of the line.
    ReordersRetries = "reorders-retries",
    /// The head answers before its records are on disk.
    AnswersBeforeSync = "answers-before-sync",
    /// A head that starts reigns under the epoch of the one before it.
    KeepsEpoch = "keeps-epoch",
    /// A host does not report that an actor has ended.
    ForgetsEnd = "forgets-end",
    /// An owner does not count what it sends, now and then.
    SendsUncounted = "sends-uncounted",
    /// A node that sends another one's object on does not hold it until it has landed.
    ForgetsTransit = "forgets-transit",
    /// A last handle's end is not told to the owner, now and then.
    KeepsHolds = "keeps-holds",
    /// A release is said twice, now and then.
    ReleasesTwice = "releases-twice",
    /// A loss is not told to those who hold what is lost.
    HidesLosses = "hides-losses",
    /// A node keeps tasks in line that it has given back.
    RunsRecalled = "runs-recalled",
    /// An owner forgets the tasks that a recall brings.
    ForgetsRecalled = "forgets-recalled",
    /// A node takes grants of an earlier head that it did not report to the one that reigns.
    TakesOldGrants = "takes-old-grants",
    /// The head grants a slot more than it has taken, now and then.
    GrantsTwice = "grants-twice",
    /// An owner does not tell the head of slots that it gives back, now and then.
    KeepsSlots = "keeps-slots",
    /// A head that starts forgets where placement groups are.
    ForgetsBundles = "forgets-bundles",
    /// The head keeps what an earlier run of an actor has saved, in the place of what a later one does.
    TakesStaleSaves = "takes-stale-saves",
    /// A head that starts forgets what was saved of actors.
    ForgetsSaves = "forgets-saves",
    /// What was saved before stays beside an actor, in the place of what it saves.
    KeepsFormer = "keeps-former",
    /// A supervisor whose strategy is rest-for-one forgets the children after the one that has ended.
    ForgetsLater = "forgets-later",
    /// A supervisor does not wait for the ends of children that it stops.
    StartsBeside = "starts-beside",
    /// The restarts of a supervisor's children are not counted.
    MendsForever = "mends-forever",
    /// A host does not tell of an actor's end, now and then, who waits for it.
    ForgetsWatchers = "forgets-watchers",
    /// A node takes calls of runs of actors that the head has replaced.
    TakesStale = "takes-stale",
    /// A host begins a task without the result of the one that it stands behind.
    RunsAhead = "runs-ahead",
}
