//! The compute pool: threads for blocking methods and synchronous tasks, started when none is idle and ended when they have
//! been idle for a while.
//!
//! How much runs at once is not its business: tasks have slots that the head granted, and actors their own bounds. What it
//! bounds is threads, far above what slots of whole CPUs take.

use crossbeam::channel::{self, Receiver, RecvTimeoutError, Sender};
use parking_lot::{Mutex, MutexGuard};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

/// Work for the pool.
pub(crate) type Work = Box<dyn FnOnce() + Send>;

/// How long a thread waits for work before it ends.
const IDLE: Duration = Duration::from_secs(10);

/// Each blocking call of an actor occupies one of that actor's places, and each task a slot: the queue holds at most those.
pub(crate) struct Compute {
    queue: Sender<Work>,
    work: Receiver<Work>,
    threads: Arc<Mutex<Threads>>,
    most: usize,
}

#[derive(Default)]
struct Threads {
    running: usize,
    idle: usize,
    /// Work that no thread has taken note of. What the queue holds is less: a thread that took some may still count as idle.
    waiting: usize,
    /// Threads that wait inside of their work: as many more may run.
    parked: usize,
}

impl Compute {
    /// A pool of at most `most` threads; none runs yet.
    pub(crate) fn new(most: usize) -> Self {
        let (queue, work) = channel::unbounded();
        Compute { queue, work, threads: Arc::default(), most: most.max(1) }
    }

    /// Runs `work` on the next free thread. A panic ends the work, not the thread.
    pub(crate) fn run(&self, work: Work) {
        let mut threads = self.threads.lock();
        // The queue's receiver lives in this pool, so it takes everything.
        let _ = self.queue.send(work);
        threads.waiting += 1;
        self.start(threads);
    }

    /// The calling thread, one of the pool's, waits inside of its work: another one takes its place. False if `most` wait
    /// already.
    pub(crate) fn park(&self, most: usize) -> bool {
        let mut threads = self.threads.lock();
        if threads.parked >= most {
            return false;
        }
        threads.parked += 1;
        self.start(threads);
        true
    }

    /// It goes on. Another one ends when its work is over.
    pub(crate) fn unpark(&self) {
        self.threads.lock().parked -= 1;
    }

    /// Starts a thread if work waits for one and one more may run.
    fn start(&self, mut threads: MutexGuard<'_, Threads>) {
        if threads.waiting <= threads.idle || threads.running >= self.most + threads.parked {
            return;
        }
        threads.running += 1;
        drop(threads);
        let (work, threads, most) = (self.work.clone(), self.threads.clone(), self.most);
        let serves = move || serve(&work, &threads, most);
        let started = std::thread::Builder::new().name("mobula-compute".into()).spawn(serves);
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
}

fn serve(work: &Receiver<Work>, threads: &Mutex<Threads>, most: usize) {
    loop {
        {
            let mut threads = threads.lock();
            if threads.running > most + threads.parked {
                threads.running -= 1;
                return;
            }
            threads.idle += 1;
        }
        let next = work.recv_timeout(IDLE);
        let mut state = threads.lock();
        state.idle -= 1;
        match next {
            Ok(work) => {
                state.waiting -= 1;
                drop(state);
                run_caught(work);
            }
            // Work that came between the time-out and the lock found this thread counted as idle: take it.
            Err(RecvTimeoutError::Timeout) if !work.is_empty() => {}
            Err(_) => {
                state.running -= 1;
                return;
            }
        }
    }
}

fn run_caught(work: Work) {
    if catch_unwind(AssertUnwindSafe(work)).is_err() {
        tracing::error!("work of the compute pool panicked outside of a method");
    }
}
