//! A lock for what is held for a few instructions, and never while anybody else's code runs.
//!
//! A lock at which threads can sleep looks for them each time that it is let go of, with an instruction that waits for all
//! stores before it: in a call within a process that would be a twentieth of its time. Letting go of this one is a store. Who finds
//! it taken spins, then lets other threads have the processor, and from then on looks now and then: its holder may have lost its
//! own, also to a thread of higher priority.

use crossbeam::utils::Backoff;
use spin::mutex::{SpinMutex, SpinMutexGuard};

use crate::limits::LOCK_NAP;

pub(crate) struct Mutex<T>(SpinMutex<T>);

pub(crate) type MutexGuard<'a, T> = SpinMutexGuard<'a, T>;

impl<T> Mutex<T> {
    pub(crate) const fn new(value: T) -> Self {
        Mutex(SpinMutex::new(value))
    }

    #[inline]
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        match self.0.try_lock() {
            Some(guard) => guard,
            None => self.wait(),
        }
    }

    #[cold]
    fn wait(&self) -> MutexGuard<'_, T> {
        let backoff = Backoff::new();
        loop {
            match backoff.is_completed() {
                true => std::thread::sleep(LOCK_NAP),
                false => backoff.snooze(),
            }
            if let Some(guard) = self.0.try_lock() {
                return guard;
            }
        }
    }

    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.0.get_mut()
    }

    pub(crate) fn into_inner(self) -> T {
        self.0.into_inner()
    }
}

#[cfg(test)]
mod tests {
    use super::Mutex;
    use std::sync::mpsc::channel;
    use std::thread::scope;

    #[test]
    fn of_many_threads_one_at_a_time_has_what_it_guards() {
        const EACH: usize = 10_000;
        let numbers = Mutex::new(Vec::new());
        scope(|scope| {
            for thread in 0..8 {
                let numbers = &numbers;
                scope.spawn(move || {
                    for number in 0..EACH {
                        numbers.lock().push((thread, number));
                    }
                });
            }
        });
        let numbers = numbers.into_inner();
        for thread in 0..8 {
            let own = numbers.iter().filter(|(by, _)| *by == thread).map(|(_, number)| *number);
            assert!(own.eq(0..EACH), "each of thread {thread}'s once, in its order");
        }
    }

    #[test]
    fn who_finds_it_taken_for_long_has_it_once_it_is_let_go_of() {
        let (lock, (found, was_found)) = (Mutex::new(1), channel());
        scope(|scope| {
            let held = lock.lock();
            let waiting = scope.spawn(|| {
                assert!(lock.0.try_lock().is_none());
                found.send(()).unwrap();
                std::mem::replace(&mut *lock.lock(), 3)
            });
            was_found.recv().unwrap();
            // Longer than it spins.
            (0..100).for_each(|_| std::thread::sleep(crate::limits::LOCK_NAP));
            assert!(!waiting.is_finished());
            let mut held = held;
            *held = 2;
            drop(held);
            assert_eq!(waiting.join().unwrap(), 2);
        });
        assert_eq!(lock.into_inner(), 3);
    }
}
