//! The compute pool: threads for blocking methods and synchronous tasks, ended when they have been idle for a while.
//!
//! As many as the node has processors are started at once when they are needed: more would only take turns. But how much runs
//! at a time is not the pool's business: tasks have slots that the head granted, and actors their own bounds, and what runs may
//! wait for what does not. So where nothing was begun for a moment though work waits, it is relieved by as many more threads.

use crossbeam::channel::{self, Receiver, RecvTimeoutError, Sender};
use parking_lot::{Mutex, MutexGuard};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;

use crate::limits::COMPUTE_THREADS;

/// Work for the pool.
pub(crate) type Work = Box<dyn FnOnce() + Send>;

/// How long a thread waits for work before it ends.
const IDLE: Duration = Duration::from_secs(10);
/// How long nothing is begun before others relieve the threads that run.
const RELIEF: Duration = Duration::from_millis(2);

/// Each blocking call of an actor occupies one of that actor's places, and each task a slot: the queue holds at most those.
pub(crate) struct Compute {
    pool: Arc<Pool>,
    queue: Sender<Work>,
    runtime: Handle,
}

struct Pool {
    work: Receiver<Work>,
    threads: Mutex<Threads>,
    /// As many are started at once.
    prompt: usize,
}

#[derive(Default)]
struct Threads {
    running: usize,
    idle: usize,
    /// Work that no thread has taken note of. What the queue holds is less: a thread that took some may still count as idle.
    waiting: usize,
    /// Work that was taken so far.
    taken: u64,
    /// Threads that wait inside of their work: as many more may run.
    parked: usize,
    /// Whether it is looked whether they are to be relieved.
    watched: bool,
}

impl Threads {
    /// Whether work waits that no idle thread will take.
    fn are_short(&self) -> bool {
        self.waiting > self.idle
    }
}

impl Compute {
    /// A pool of `prompt` threads, and more where those do not get on; none runs yet.
    pub(crate) fn new(prompt: usize, runtime: Handle) -> Self {
        let (queue, work) = channel::unbounded();
        let pool = Arc::new(Pool { work, threads: Mutex::default(), prompt: prompt.max(1) });
        Compute { pool, queue, runtime }
    }

    /// Runs `work` on the next free thread. A panic ends the work, not the thread.
    pub(crate) fn run(&self, work: Work) {
        let mut threads = self.pool.threads.lock();
        // The queue's receiver lives in this pool, so it takes everything.
        let _ = self.queue.send(work);
        threads.waiting += 1;
        self.start(threads);
    }

    /// The calling thread, one of the pool's, waits inside of its work: another one takes its place. False if `most` wait
    /// already.
    pub(crate) fn park(&self, most: usize) -> bool {
        let mut threads = self.pool.threads.lock();
        if threads.parked >= most {
            return false;
        }
        threads.parked += 1;
        self.start(threads);
        true
    }

    /// It goes on. Another one ends when its work is over.
    pub(crate) fn unpark(&self) {
        self.pool.threads.lock().parked -= 1;
    }

    /// Starts a thread if work waits for one, or looks later whether it still does.
    fn start(&self, mut threads: MutexGuard<'_, Threads>) {
        if !threads.are_short() {
            return;
        }
        if threads.running < self.pool.prompt + threads.parked {
            drop(threads);
            return self.pool.start_one();
        }
        if !std::mem::replace(&mut threads.watched, true) {
            drop(threads);
            self.runtime.spawn(relieve(self.pool.clone()));
        }
    }
}

/// Starts more threads where work waits and nothing is begun.
async fn relieve(pool: Arc<Pool>) {
    let mut seen = pool.threads.lock().taken;
    loop {
        tokio::time::sleep(RELIEF).await;
        let short = {
            let mut threads = pool.threads.lock();
            if !threads.are_short() {
                threads.watched = false;
                return;
            }
            let room = (COMPUTE_THREADS + threads.parked).saturating_sub(threads.running);
            match std::mem::replace(&mut seen, threads.taken) == threads.taken {
                true => room.min(threads.waiting - threads.idle),
                false => 0,
            }
        };
        (0..short).for_each(|_| pool.start_one());
    }
}

impl Pool {
    fn start_one(self: &Arc<Self>) {
        self.threads.lock().running += 1;
        let pool = self.clone();
        let started = std::thread::Builder::new().name("mobula-compute".into()).spawn(move || pool.serve());
        if let Err(error) = started {
            // What is queued waits for a thread that runs; without any, it runs here rather than never.
            tracing::warn!(%error, "no thread for the compute pool could be started");
            let mut threads = self.threads.lock();
            threads.running -= 1;
            let alone = threads.running == threads.parked;
            drop(threads);
            if alone {
                let counted = self.work.try_iter().inspect(|_| self.threads.lock().waiting -= 1);
                counted.for_each(run_caught);
            }
        }
    }

    fn serve(&self) {
        loop {
            {
                let mut threads = self.threads.lock();
                let most = if threads.waiting == 0 { self.prompt } else { COMPUTE_THREADS };
                if threads.running > most + threads.parked {
                    threads.running -= 1;
                    return;
                }
                threads.idle += 1;
            }
            let next = self.work.recv_timeout(IDLE);
            let mut threads = self.threads.lock();
            threads.idle -= 1;
            match next {
                Ok(work) => {
                    threads.waiting -= 1;
                    threads.taken += 1;
                    drop(threads);
                    run_caught(work);
                }
                // Work that came between the time-out and the lock found this thread counted as idle: take it.
                Err(RecvTimeoutError::Timeout) if !self.work.is_empty() => {}
                Err(_) => {
                    threads.running -= 1;
                    return;
                }
            }
        }
    }
}

fn run_caught(work: Work) {
    if catch_unwind(AssertUnwindSafe(work)).is_err() {
        tracing::error!("work of the compute pool panicked outside of a method");
    }
}
