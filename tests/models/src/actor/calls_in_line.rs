use super::line::{InLine, Line, Missing};
use crate::check;
use crate::object::entry::Entry;
use crate::sync::Mutex;
use loom::thread;
use std::sync::Arc;

struct Call {
    number: usize,
    lacks: Option<Arc<Entry>>,
    went: Arc<Mutex<Vec<usize>>>,
}

impl InLine for Call {
    fn missing(self: Arc<Self>) -> Option<Missing> {
        let lacks = self.lacks.as_ref().filter(|entry| !entry.is_settled());
        lacks.map(|entry| Missing::Value(entry.clone()))
    }

    fn go(self: Arc<Self>) {
        self.went.lock().push(self.number);
    }
}

/// Calls as `actor/slot` makes them: one that lacks nothing enters the line only while something stands in it.
fn call(line: &Arc<Line>, number: usize, lacks: Option<&Arc<Entry>>, went: &Arc<Mutex<Vec<usize>>>) {
    let call = Arc::new(Call { number, lacks: lacks.cloned(), went: went.clone() });
    match call.lacks.is_some() || line.is_occupied() {
        true => line.enter(call),
        false => call.go(),
    }
}

#[test]
fn every_call_goes_and_in_the_order_of_its_caller() {
    check(3, || {
        let (line, went) = (Arc::new(Line::default()), Arc::<Mutex<Vec<usize>>>::default());
        let (first, second) = (Arc::new(Entry::default()), Arc::new(Entry::default()));
        let caller = thread::spawn({
            let (line, went, first, second) = (line.clone(), went.clone(), first.clone(), second.clone());
            move || {
                call(&line, 0, Some(&first), &went);
                call(&line, 1, Some(&second), &went);
                call(&line, 2, None, &went);
            }
        });
        second.settle();
        first.settle();
        caller.join().unwrap();
        assert_eq!(*went.lock(), [0, 1, 2], "none stands in the line for ever, and none overtakes (I3)");
        assert!(!line.is_occupied());
    });
}

#[test]
fn two_that_settle_at_once_move_one_line() {
    check(2, || {
        let (line, went) = (Arc::new(Line::default()), Arc::<Mutex<Vec<usize>>>::default());
        let (first, second) = (Arc::new(Entry::default()), Arc::new(Entry::default()));
        call(&line, 0, Some(&first), &went);
        call(&line, 1, Some(&second), &went);
        let other = thread::spawn(move || second.settle());
        first.settle();
        other.join().unwrap();
        assert_eq!(*went.lock(), [0, 1]);
        assert!(!line.is_occupied());
    });
}
