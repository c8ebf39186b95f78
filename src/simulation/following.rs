//! Tasks that take the results of others of their queue: they are pushed behind these, or wait for them here.

use super::checks::tasks::End;
use super::node::Node;
use super::owning::Sent;
use super::stage::Stage;
use crate::schedule::TaskNumber;
use crate::schedule::queue::Cancelled;

impl Node {
    /// A task's result is there, or never will be: so are those that take it.
    pub(super) fn takers_hear(&mut self, stage: &mut Stage, task: u64, end: End) {
        for taker in self.owner.takers.remove(&task).unwrap_or_default() {
            let Some(number) = self.owner.numbers.get(&taker).copied() else { continue };
            if end == End::Value {
                self.own(stage, |owner, _| owner.queue.ready(number));
            } else if let Cancelled::Queued(queued) = self.own(stage, |owner, _| owner.queue.cancel(number)) {
                self.task_ends(stage, queued, End::Never);
            }
        }
    }

    /// A task came back whose argument has failed since it was sent: that is seen before it is sent again.
    pub(super) fn sees_argument(&mut self, stage: &mut Stage, number: TaskNumber) {
        let Some(after) = self.owner.queue.get(number).and_then(|queued| queued.after) else { return };
        if !matches!(stage.tasks.end(after), None | Some(End::Value))
            && let Cancelled::Queued(queued) = self.own(stage, |owner, _| owner.queue.cancel(number))
        {
            self.task_ends(stage, queued, End::Never);
        }
    }

    /// A task was not run, for it lacks what it was to take.
    pub(super) fn goes_back(&mut self, stage: &mut Stage, sent: &Sent) {
        let returns = if stage.tasks.is_over(sent.task()) { Ok(()) } else { stage.tasks.returns(sent.task()) };
        stage.check(returns);
        self.own(stage, |owner, _| owner.queue.failed(sent.number));
        self.enqueue_again(stage, sent.queued);
    }
}
