pub(crate) mod entry {
    use crate::sync::Mutex;
    use std::mem;
    use std::sync::Arc;

    pub(crate) trait Watch: Send + Sync {
        fn settled(self: Arc<Self>, key: usize);
    }

    /// An object: it is settled once, and tells who watched.
    #[derive(Default)]
    pub(crate) struct Entry(Mutex<State>);

    #[derive(Default)]
    struct State {
        settled: bool,
        watchers: Vec<Arc<dyn Watch>>,
    }

    impl Entry {
        pub(crate) fn watch(self: &Arc<Self>, watch: &Arc<dyn Watch>, _: usize) -> Option<()> {
            let mut state = self.0.lock();
            (!state.settled).then(|| state.watchers.push(watch.clone()))
        }

        pub(crate) fn is_settled(&self) -> bool {
            self.0.lock().settled
        }

        pub(crate) fn settle(&self) {
            let watchers = {
                let mut state = self.0.lock();
                state.settled = true;
                mem::take(&mut state.watchers)
            };
            watchers.into_iter().for_each(|watch| watch.settled(0));
        }
    }
}
