//! Children that write down when they start and stop.

use crate::common::bounded;
use mobula::id::ActorId;
use mobula::prelude::*;
use mobula::{ChildContext, Handle, Spawn};
use tokio::sync::watch;

/// What was written, in order.
#[actor]
pub struct Diary {
    lines: watch::Sender<Vec<String>>,
}

#[methods(concurrency = 64)]
impl Diary {
    #[constructor]
    pub fn empty() -> Self {
        Self { lines: watch::Sender::default() }
    }

    pub fn write(&self, line: String) {
        self.lines.send_modify(|lines| lines.push(line));
    }

    /// All lines, once that are so many.
    pub async fn lines(&self, at_least: usize) -> Vec<String> {
        let mut lines = self.lines.subscribe();
        lines.wait_for(|lines| lines.len() >= at_least).await.expect("the sender is this actor's own").clone()
    }
}

/// A child.
#[actor]
pub struct Part {
    name: String,
    diary: DiaryHandle,
    below: Option<PartHandle>,
}

#[methods]
impl Part {
    #[constructor(default)]
    pub async fn new(name: String, diary: DiaryHandle) -> Self {
        diary.write(format!("{name} starts")).await.expect("the diary lives");
        Self { name, diary, below: None }
    }

    #[constructor]
    pub async fn over(name: String, diary: DiaryHandle, below: PartHandle) -> Self {
        Self { below: Some(below), ..Self::new(name, diary).await }
    }

    pub fn name(&self) -> String {
        self.name.clone()
    }

    pub fn process(&self) -> u32 {
        std::process::id()
    }

    pub fn below(&self) -> Option<ActorId> {
        self.below.as_ref().map(Handle::id)
    }

    pub fn falls(&mut self) {
        panic!("on purpose");
    }

    pub fn halts(&mut self, ctx: &mut ActorContext<Self>) {
        ctx.stop();
    }

    pub async fn never(&mut self) {
        self.diary.write(format!("{} waits", self.name)).await.expect("the diary lives");
        std::future::pending().await
    }

    #[on_stop]
    async fn last(&mut self) {
        // The diary may have ended with the test.
        let _ = self.diary.write(format!("{} stops", self.name)).await;
    }
}

/// Makes such a child.
pub fn part(name: &'static str, diary: &DiaryHandle) -> impl Fn(&ChildContext<'_>) -> Spawn<PartHandle> + use<> {
    let diary = diary.clone();
    move |cluster| Part::spawn(cluster, name.to_owned(), &diary)
}

/// Makes it panic, and waits until it has ended.
pub async fn fall(part: &PartHandle) {
    assert!(matches!(bounded(part.falls()).await, Err(CallError::Panicked { .. })));
    bounded(part.ended()).await.unwrap();
}
