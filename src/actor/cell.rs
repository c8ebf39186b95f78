//! The cell: the task that owns an actor and runs its calls, one at a time or several `&self` methods at once.
//!
//! `&self` methods of a group begin in order and end in any; a `&mut self` method waits for what runs and holds back
//! what follows; the end of the actor passes ahead of everything (PROTOCOLS §1.12).

use futures_util::future::{BoxFuture, join_all};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::oneshot;
use tokio::time::Sleep;

use super::checkpoint;
use super::context::ActorContext;
use super::dispatch::{GroupLimit, Methods};
use super::error::{EndReason, panic_message};
use super::inbox::Inbox;
use super::job::{Access, Begun, BegunShared, BlockingJob, JobItem, NextJob, TakenJobs, Verdict};
use super::mailbox::{Item, Next};
use super::restart::{self, Renewal};
use crate::limits::{CELL_BUDGET, MAILBOX_CAPACITY, MAILBOX_SWEEP};

/// An actor that has been constructed, and what its calls come from.
pub struct Cell<A: Methods> {
    actor: A,
    ctx: ActorContext<A>,
    grave: Grave<A>,
}

impl<A: Methods> Cell<A> {
    pub(crate) fn new(actor: A, ctx: ActorContext<A>) -> Self {
        let grave = Grave { inbox: ctx.inbox().clone(), taken: TakenJobs::default() };
        Cell { actor, ctx, grave }
    }
}

/// Buries the actor when its task ends, however it ends: by itself, by a panic in a destructor, with its runtime. Why it ended
/// was said to its mailbox, unless it is its runtime that goes.
struct Grave<A: Methods> {
    inbox: Arc<Inbox<A>>,
    taken: TakenJobs<A>,
}

impl<A: Methods> Drop for Grave<A> {
    fn drop(&mut self) {
        self.inbox.bury(EndReason::ShutDown, std::mem::take(&mut self.taken));
    }
}

/// The life of an actor that runs one call at a time.
///
/// The cell is used where the future captured it, and what seldom runs has memory of its own then: this future is most of what
/// an idle actor takes.
#[expect(clippy::manual_async_fn, reason = "an async function would keep its argument twice")]
pub fn drive_exclusive<A: Methods>(mut cell: Cell<A>) -> impl Future<Output = ()> + Send {
    async move {
        // Captured whole, it is dropped in the order of its fields: the actor goes before its end is told.
        let _: &Cell<A> = &cell;
        let inbox = cell.grave.inbox.clone();
        let mut budget = CELL_BUDGET;
        let reason = loop {
            checkpoint::between_calls(&cell.actor, &cell.ctx);
            let job = match next_taken(&inbox, &mut cell.grave.taken, &mut budget) {
                Some(job) => job,
                None => match poll_fn(|cx| poll_job(&inbox, &mut cell.grave.taken, &mut budget, cx)).await {
                    Next::Job(job) => job,
                    Next::Drained => break Box::pin(stop(&inbox, &mut cell.actor, &mut cell.ctx)).await,
                    Next::Closed => break inbox.end_reason(),
                },
            };
            let begun = job.begin(&mut cell.actor, &mut cell.ctx, &inbox);
            // Most methods are over by now: what they left behind is looked at where it lies.
            if let Begun::Over(Verdict::Continue) = begun {
                continue;
            }
            let verdict = match alone(&inbox, begun).await {
                Alone::Over(verdict) => verdict,
                Alone::Closed => break inbox.end_reason(),
                Alone::Blocking(job) => match Box::pin(compute(&inbox, cell.actor, cell.ctx, job)).await {
                    Some((actor, ctx, verdict)) => {
                        (cell.actor, cell.ctx) = (actor, ctx);
                        verdict
                    }
                    None => return,
                },
            };
            let Verdict::Panicked(reason) = verdict else { continue };
            let Some(renewal) = inbox.renewal() else { break *reason };
            match Box::pin(restart::again(&inbox, renewal, Some(cell.actor), cell.ctx, reason)).await {
                Ok((actor, ctx)) => {
                    (cell.actor, cell.ctx) = (actor, ctx);
                    inbox.mailbox().return_taken(&mut cell.grave.taken, renewal.take_returned());
                }
                // Whoever buries it finds the reason there.
                Err(reason) => return inbox.mailbox().close(reason),
            }
        };
        inbox.mailbox().close(reason);
    }
}

/// An actor whose `&self` methods may run concurrently.
#[diagnostic::on_unimplemented(
    message = "an actor whose `&self` methods run concurrently must be `Sync`",
    label = "`{Self}` is shared between threads here",
    note = "let it hold a `Mutex` or an atomic where it holds a `Cell` or a `RefCell`"
)]
pub trait Concurrent: Sync {}
#[diagnostic::do_not_recommend]
impl<A: Sync> Concurrent for A {}

/// The life of an actor whose `&self` methods run concurrently.
pub async fn drive_shared<A: Methods + Concurrent>(cell: Cell<A>) {
    let Cell { mut grave, mut ctx, actor } = cell;
    let inbox = grave.inbox.clone();
    let mut actor = Arc::new(actor);
    let mut groups = Groups::new(inbox.clone(), A::GROUPS);
    let mut budget = CELL_BUDGET;
    let reason = loop {
        checkpoint::between_calls(&*actor, &ctx);
        let job = match poll_fn(|cx| groups.poll_step(&mut grave.taken, &mut budget, cx)).await {
            Step::Ended(verdict) => Err(verdict),
            Step::Closed => break inbox.end_reason(),
            Step::Begin(group, job) => {
                groups.begin(group, job.begin_shared(actor.clone(), ctx.fork()), &actor);
                continue;
            }
            Step::Alone(job) => Ok(Some(job)),
            Step::Drained => Ok(None),
        };
        let verdict = match job {
            Err(verdict) => verdict,
            Ok(job) => {
                // Nothing runs, so nobody else holds the actor.
                let Some(lone) = Arc::get_mut(&mut actor) else { break EndReason::Stopped };
                let Some(job) = job else { break Box::pin(stop(&inbox, lone, &mut ctx)).await };
                match alone(&inbox, job.begin(lone, &mut ctx, &inbox)).await {
                    Alone::Over(verdict) => verdict,
                    Alone::Closed => break inbox.end_reason(),
                    Alone::Blocking(job) => {
                        let job = |actor: &mut Arc<A>, ctx: &mut ActorContext<A>| {
                            Arc::get_mut(actor).map_or(Verdict::Continue, |actor| job(actor, ctx))
                        };
                        match Box::pin(compute(&inbox, actor, ctx, job)).await {
                            Some((actor_back, ctx_back, verdict)) => {
                                (actor, ctx) = (actor_back, ctx_back);
                                verdict
                            }
                            None => return,
                        }
                    }
                }
            }
        };
        let Verdict::Panicked(reason) = verdict else { continue };
        let Some(renewal) = inbox.renewal() else { break *reason };
        match Box::pin(groups.again(renewal, actor, ctx, reason)).await {
            Ok((made, ctx_back)) => (actor, ctx) = (Arc::new(made), ctx_back),
            Err(reason) => return inbox.mailbox().close(reason),
        }
    };
    inbox.mailbox().close(reason);
    groups.refuse();
    groups.quiesce().await;
    drop((groups, actor));
}

/// A call that was taken from the mailbox earlier, unless others have their turn.
#[inline]
fn next_taken<A: Methods>(inbox: &Inbox<A>, taken: &mut TakenJobs<A>, budget: &mut usize) -> Option<JobItem<A>> {
    *budget = budget.checked_sub(1)?;
    inbox.mailbox().next_taken(taken)
}

/// The next call; after `CELL_BUDGET` of them, other tasks of the thread have their turn.
#[inline]
fn poll_job<A: Methods>(
    inbox: &Inbox<A>,
    taken: &mut TakenJobs<A>,
    budget: &mut usize,
    cx: &mut Context<'_>,
) -> Poll<NextJob<A>> {
    if *budget == 0 {
        *budget = CELL_BUDGET;
        cx.waker().wake_by_ref();
        return Poll::Pending;
    }
    let next = inbox.mailbox().poll_next(taken, cx);
    *budget = if next.is_ready() { *budget - 1 } else { CELL_BUDGET };
    next
}

/// How far a call that has the actor for itself came in the cell's own task.
enum Alone<A: Methods> {
    Over(Verdict),
    /// It goes on in the compute pool.
    Blocking(BlockingJob<A>),
    /// The actor ended first.
    Closed,
}

fn alone<'a, A: Methods>(inbox: &'a Inbox<A>, mut begun: Begun<'a, A>) -> impl Future<Output = Alone<A>> + Send {
    poll_fn(move |cx| match &mut begun {
        Begun::Over(verdict) => Poll::Ready(Alone::Over(std::mem::replace(verdict, Verdict::Continue))),
        Begun::Running(method) => match method.as_mut().poll(cx) {
            Poll::Ready(verdict) => Poll::Ready(Alone::Over(verdict)),
            Poll::Pending => inbox.mailbox().poll_closed(cx).map(|()| Alone::Closed),
        },
        taken => match std::mem::replace(taken, Begun::Over(Verdict::Continue)) {
            Begun::Blocking(job) => Poll::Ready(Alone::Blocking(job)),
            _ => Poll::Ready(Alone::Over(Verdict::Continue)),
        },
    })
}

/// Runs a blocking method on the compute pool; nothing comes back if the pool is gone.
async fn compute<A: Methods, H: Send + 'static>(
    inbox: &Inbox<A>,
    mut holder: H,
    mut ctx: ActorContext<A>,
    job: impl FnOnce(&mut H, &mut ActorContext<A>) -> Verdict + Send + 'static,
) -> Option<(H, ActorContext<A>, Verdict)> {
    let (done, wait) = oneshot::channel();
    inbox.host().compute(Box::new(move || {
        let verdict = job(&mut holder, &mut ctx);
        let _ = done.send((holder, ctx, verdict));
    }));
    wait.await.ok()
}

/// `on_stop`, unless the actor is killed meanwhile.
async fn stop<A: Methods>(inbox: &Inbox<A>, actor: &mut A, ctx: &mut ActorContext<A>) -> EndReason {
    let mut on_stop = pin!(async move { actor.on_stop(ctx).await });
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| on_stop.as_mut().poll(cx))) {
        Ok(Poll::Ready(())) => Poll::Ready(inbox.mailbox().drained()),
        Ok(Poll::Pending) => inbox.mailbox().poll_closed(cx).map(|()| inbox.end_reason()),
        Err(panic) => Poll::Ready(on_stop_panicked(&*panic)),
    })
    .await
}

fn on_stop_panicked(panic: &(dyn std::any::Any + Send)) -> EndReason {
    EndReason::Panicked { message: format!("`on_stop`: {}", panic_message(panic)) }
}

enum Step<A: Methods> {
    /// A call that ran has ended.
    Ended(Verdict),
    /// This one may begin beside what runs.
    Begin(u8, JobItem<A>),
    /// This one may begin, and nothing else runs.
    Alone(JobItem<A>),
    Drained,
    Closed,
}

/// What runs in each group and what waits for a place in it.
struct Groups<A: Methods> {
    inbox: Arc<Inbox<A>>,
    groups: Vec<Group<A>>,
    running: FuturesUnordered<Run>,
    /// An exclusive call: waits until nothing runs, and nothing passes it.
    exclusive: Option<JobItem<A>>,
    /// Calls taken from the mailbox that have not begun: at most a mailbox full.
    held: usize,
    /// When it next takes out what nobody waits for, if there was no room.
    sweep: Option<Pin<Box<Sleep>>>,
    drained: bool,
}

/// A call that runs beside others.
struct Run {
    group: u8,
    stage: RunStage,
}

enum RunStage {
    Method(BoxFuture<'static, Verdict>),
    /// On the compute pool, which cannot be told to stop.
    Compute(oneshot::Receiver<Verdict>),
}

impl Future for Run {
    type Output = (u8, Verdict);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let group = self.group;
        let verdict = match &mut self.stage {
            RunStage::Method(method) => method.as_mut().poll(cx),
            RunStage::Compute(done) => done.poll_unpin(cx).map(|verdict| verdict.unwrap_or(Verdict::Continue)),
        };
        verdict.map(|verdict| (group, verdict))
    }
}

struct Group<A: Methods> {
    free: usize,
    line: VecDeque<JobItem<A>>,
}

impl<A: Methods> Groups<A> {
    fn new(inbox: Arc<Inbox<A>>, limits: &[GroupLimit]) -> Self {
        let groups = limits.iter().map(|limit| Group { free: limit.concurrency.max(1), line: VecDeque::new() });
        Groups {
            inbox,
            groups: groups.collect(),
            running: FuturesUnordered::new(),
            exclusive: None,
            held: 0,
            sweep: None,
            drained: false,
        }
    }

    /// What happens next: an end, then a beginning, then a look into the mailbox.
    fn poll_step(&mut self, taken: &mut TakenJobs<A>, budget: &mut usize, cx: &mut Context<'_>) -> Poll<Step<A>> {
        if self.inbox.mailbox().poll_closed(cx).is_ready() {
            return Poll::Ready(Step::Closed);
        }
        if let Poll::Ready(Some((group, verdict))) = self.running.poll_next_unpin(cx) {
            if let Some(group) = self.groups.get_mut(usize::from(group)) {
                group.free += 1;
            }
            return Poll::Ready(Step::Ended(verdict));
        }
        loop {
            if let Some(step) = self.startable() {
                return Poll::Ready(step);
            }
            if self.exclusive.is_some() || self.drained {
                return Poll::Pending;
            }
            if self.held >= MAILBOX_CAPACITY && !self.makes_room(cx) {
                return Poll::Pending;
            }
            match poll_job(&self.inbox, taken, budget, cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Next::Closed) => return Poll::Ready(Step::Closed),
                Poll::Ready(Next::Drained) => self.drained = true,
                Poll::Ready(Next::Job(job)) => self.hold(job),
            }
        }
    }

    /// Takes calls out that nobody waits for any more, now and then: else those of one group, whose calls hang, would stand
    /// before all others. Whether there is room then.
    fn makes_room(&mut self, cx: &mut Context<'_>) -> bool {
        let sweep = self.sweep.get_or_insert_with(|| Box::pin(tokio::time::sleep(MAILBOX_SWEEP)));
        if sweep.as_mut().poll(cx).is_pending() {
            return false;
        }
        self.sweep = None;
        for group in &mut self.groups {
            let (left, held) = group.line.drain(..).partition(JobItem::is_unwanted);
            group.line = held;
            for job in VecDeque::into_iter(left) {
                self.held -= 1;
                // They leave the mailbox. Nobody is told.
                job.refuse(EndReason::Stopped);
            }
        }
        self.held < MAILBOX_CAPACITY || self.makes_room(cx)
    }

    fn hold(&mut self, job: JobItem<A>) {
        match job.access() {
            Access::Shared(group) if usize::from(group) < self.groups.len() => {
                self.groups[usize::from(group)].line.push_back(job);
                self.held += 1;
            }
            Access::Shared(_) | Access::Exclusive => {
                self.inbox.set_held_back(true);
                self.exclusive = Some(job);
            }
        }
    }

    /// A call that may begin now.
    fn startable(&mut self) -> Option<Step<A>> {
        for (index, group) in (0u8..).zip(&mut self.groups) {
            if group.free > 0
                && let Some(job) = group.line.pop_front()
            {
                group.free -= 1;
                self.held -= 1;
                return Some(Step::Begin(index, job));
            }
        }
        if !self.running.is_empty() || self.held > 0 {
            return None;
        }
        match self.exclusive.take() {
            Some(job) => {
                self.inbox.set_held_back(false);
                Some(Step::Alone(job))
            }
            None => self.drained.then_some(Step::Drained),
        }
    }

    /// Lets a call run beside the others.
    fn begin(&mut self, group: u8, begun: BegunShared<A>, actor: &Arc<A>)
    where
        A: Sync,
    {
        let stage = match begun {
            BegunShared::Over(verdict) => RunStage::Method(Box::pin(std::future::ready(verdict))),
            BegunShared::Running(method) => RunStage::Method(method),
            BegunShared::Blocking(job) => {
                let (done, wait) = oneshot::channel();
                let actor = actor.clone();
                self.inbox.host().compute(Box::new(move || {
                    let verdict = job(&actor);
                    drop(actor);
                    let _ = done.send(verdict);
                }));
                RunStage::Compute(wait)
            }
        };
        self.running.push(Run { group, stage });
    }

    /// Ends what runs, as far as it can be; a panic in a destructor is no reason not to go on. The rest is on the compute pool.
    fn drop_running(&mut self) -> Vec<oneshot::Receiver<Verdict>> {
        let mut computing = Vec::new();
        for run in std::mem::take(&mut self.running) {
            match run.stage {
                RunStage::Compute(done) => computing.push(done),
                RunStage::Method(method) => drop(catch_unwind(AssertUnwindSafe(|| drop(method)))),
            }
        }
        computing
    }

    /// Waits until nothing runs any more: whoever is told of the actor's end may rely on that.
    async fn quiesce(&mut self) {
        let computing = self.drop_running();
        join_all(computing).await;
    }

    /// What was taken from the mailbox and never began is refused like what still stands in it.
    fn refuse(&mut self) {
        let lines = self.groups.iter_mut().flat_map(|group| group.line.drain(..));
        for job in lines.chain(self.exclusive.take()) {
            self.inbox.refuse_left(job, &self.inbox.end_reason());
        }
    }

    /// A call panicked: starts the actor again, once nothing of its former run runs any more. What has not begun stays.
    async fn again(
        &mut self,
        renewal: &Renewal<A>,
        former: Arc<A>,
        ctx: ActorContext<A>,
        panicked: Box<EndReason>,
    ) -> Result<(A, ActorContext<A>), EndReason> {
        renewal.set_ends_run(true);
        let computing = self.drop_running();
        renewal.set_ends_run(false);
        join_all(computing).await;
        for (group, limit) in self.groups.iter_mut().zip(A::GROUPS) {
            group.free = limit.concurrency.max(1);
        }
        let again = restart::again(&self.inbox, renewal, Arc::into_inner(former), ctx, panicked).await?;
        for job in renewal.take_returned().rev().map(Item::Call) {
            match job.access() {
                Access::Shared(group) if usize::from(group) < self.groups.len() => {
                    self.groups[usize::from(group)].line.push_front(job);
                    self.held += 1;
                }
                // It ran alone, so nothing was held back by another.
                Access::Shared(_) | Access::Exclusive => self.hold(job),
            }
        }
        Ok(again)
    }
}

impl<A: Methods> Drop for Groups<A> {
    fn drop(&mut self) {
        self.refuse();
    }
}
