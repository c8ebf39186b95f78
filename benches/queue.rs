//! What one task costs in its owner's queue: submitted, pushed and finished, beside a bare queue as the control.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mobula::clock::Moment;
use mobula::id::{GrantId, Life};
use mobula::schedule::queue::{Bounds, Class, Effect, Queue, Submission, TaskNumber};
use std::collections::VecDeque;
use std::hint::black_box;
use std::time::Duration;

const TASKS: u64 = 10_000;
const RAN: Duration = Duration::from_micros(20);

fn submission(class: Class, token: u64) -> Submission<'static, u64> {
    Submission { class, priority: 0, waits_for: 0, follows: &[], token }
}

struct Owner {
    queue: Queue<u32, u64>,
    class: Class,
    now: Moment,
    effects: Vec<Effect>,
    pushed: VecDeque<TaskNumber>,
}

impl Owner {
    fn new(grants: u64) -> Owner {
        let mut queue = Queue::new(Bounds::default());
        let class = queue.class(0).expect("the first class");
        (1..=grants).for_each(|n| queue.granted(Moment(0), GrantId(n), class, Life(n), 4));
        Owner { queue, class, now: Moment(0), effects: Vec::new(), pushed: VecDeque::new() }
    }

    fn flush(&mut self) {
        self.now = self.now + Duration::from_micros(10);
        self.queue.tick(self.now, &mut self.effects);
        self.queue.flush(self.now, &mut self.effects);
        for effect in self.effects.drain(..) {
            match effect {
                Effect::Push { tasks, .. } => self.pushed.extend(tasks),
                other => drop(black_box(other)),
            }
        }
    }

    /// Submits so many at once, and finishes what is pushed by so many between two flushes.
    fn run(&mut self, at_once: usize) {
        for token in 0..TASKS {
            let submitted = self.queue.submit(submission(self.class, token));
            assert!(submitted.is_ok());
        }
        self.flush();
        while !self.pushed.is_empty() {
            for _ in 0..at_once {
                let Some(task) = self.pushed.pop_front() else { break };
                black_box(self.queue.finished(task, RAN));
            }
            self.flush();
        }
        assert_eq!(self.queue.queued(), 0);
    }
}

fn tasks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("queue");
    group.throughput(Throughput::Elements(TASKS));
    group.bench_function("control: VecDeque", |bencher| {
        let mut queue = VecDeque::new();
        bencher.iter(|| {
            (0..TASKS).for_each(|token| queue.push_back(black_box(token)));
            while let Some(token) = queue.pop_front() {
                black_box(token);
            }
        });
    });
    for (grants, at_once) in [(1, 32), (16, 32), (1_000, 32), (16, 1)] {
        let mut owner = Owner::new(grants);
        group.bench_function(format!("{grants} grants, {at_once} finish at once"), |bencher| {
            bencher.iter(|| owner.run(at_once));
        });
    }
}

criterion_group!(benches, tasks);
criterion_main!(benches);
