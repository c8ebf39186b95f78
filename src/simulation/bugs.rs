//! Bugs that can be planted: what the simulation is there for, it must find. Each is one that a change could bring, in what
//! drives the state machines or between them and the network or disk; ARCHITECTURE.md says after how many seeds each is found.

use std::fmt;

/// A bug to plant, to see that it is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// Requests are handed to mailboxes twice, now and then.
    Redelivers,
    /// A node counts its lease from when a beat was answered, not from when it was sent.
    LeaseFromAnswer,
    /// A caller is told of an answer twice, now and then.
    RepeatsAnswers,
    /// An actor that is killed says No of the calls that it had begun.
    DeniesBegun,
    /// An actor that panics tries its calls again in the same incarnation.
    RetriesInPlace,
    /// An actor is started again before all that ran has ended.
    RestartsBeside,
    /// Attempts are not counted.
    RetriesForever,
    /// Calls that are tried again go to the end of the line.
    ReordersRetries,
    /// The head answers before its records are on disk.
    AnswersBeforeSync,
    /// A head that starts reigns under the epoch of the one before it.
    KeepsEpoch,
    /// A host does not report that an actor has ended.
    ForgetsEnd,
    /// A node takes calls of runs of actors that the head has replaced.
    TakesStale,
    /// An owner does not count what it sends, now and then.
    SendsUncounted,
    /// A node that sends another one's object on does not hold it until it has landed.
    ForgetsTransit,
    /// A last handle's end is not told to the owner, now and then.
    KeepsHolds,
    /// A release is said twice, now and then.
    ReleasesTwice,
    /// A loss is not told to those who hold what is lost.
    HidesLosses,
    /// A node keeps tasks in line that it has given back.
    RunsRecalled,
    /// An owner forgets the tasks that a recall brings.
    ForgetsRecalled,
    /// A node takes grants of an earlier head that it did not report to the one that reigns.
    TakesOldGrants,
    /// The head grants a slot more than it has taken, now and then.
    GrantsTwice,
    /// An owner does not tell the head of slots that it gives back, now and then.
    KeepsSlots,
    /// A head that starts forgets where placement groups are.
    ForgetsBundles,
    /// A host begins a task without the result of the one that it stands behind.
    RunsAhead,
}

impl Bug {
    /// All of them.
    pub const ALL: [Bug; 24] = [
        Bug::Redelivers,
        Bug::LeaseFromAnswer,
        Bug::RepeatsAnswers,
        Bug::DeniesBegun,
        Bug::RetriesInPlace,
        Bug::RestartsBeside,
        Bug::RetriesForever,
        Bug::ReordersRetries,
        Bug::AnswersBeforeSync,
        Bug::KeepsEpoch,
        Bug::ForgetsEnd,
        Bug::TakesStale,
        Bug::SendsUncounted,
        Bug::ForgetsTransit,
        Bug::KeepsHolds,
        Bug::ReleasesTwice,
        Bug::HidesLosses,
        Bug::RunsRecalled,
        Bug::ForgetsRecalled,
        Bug::TakesOldGrants,
        Bug::GrantsTwice,
        Bug::KeepsSlots,
        Bug::ForgetsBundles,
        Bug::RunsAhead,
    ];
}

impl fmt::Display for Bug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Bug::Redelivers => "redelivers",
            Bug::LeaseFromAnswer => "lease-from-answer",
            Bug::RepeatsAnswers => "repeats-answers",
            Bug::DeniesBegun => "denies-begun",
            Bug::RetriesInPlace => "retries-in-place",
            Bug::RestartsBeside => "restarts-beside",
            Bug::RetriesForever => "retries-forever",
            Bug::ReordersRetries => "reorders-retries",
            Bug::AnswersBeforeSync => "answers-before-sync",
            Bug::KeepsEpoch => "keeps-epoch",
            Bug::ForgetsEnd => "forgets-end",
            Bug::TakesStale => "takes-stale",
            Bug::SendsUncounted => "sends-uncounted",
            Bug::ForgetsTransit => "forgets-transit",
            Bug::KeepsHolds => "keeps-holds",
            Bug::ReleasesTwice => "releases-twice",
            Bug::HidesLosses => "hides-losses",
            Bug::RunsRecalled => "runs-recalled",
            Bug::ForgetsRecalled => "forgets-recalled",
            Bug::TakesOldGrants => "takes-old-grants",
            Bug::GrantsTwice => "grants-twice",
            Bug::KeepsSlots => "keeps-slots",
            Bug::ForgetsBundles => "forgets-bundles",
            Bug::RunsAhead => "runs-ahead",
        })
    }
}
