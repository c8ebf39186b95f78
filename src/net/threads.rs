//! Which runtime a lane's sockets live on: the control lane's on a thread of its own, so that nothing that runs
//! elsewhere delays a beat; the others' on the runtime that the node was started on.

use super::NetError;
use super::preface::Lane;
use parking_lot::Mutex;
use std::thread::JoinHandle;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// The two runtimes of a node.
pub(crate) struct Threads {
    ambient: Handle,
    control: Handle,
    thread: Mutex<Option<(oneshot::Sender<()>, JoinHandle<()>)>>,
}

/// The task could not run to its end: its runtime has ended.
pub(crate) struct Ended;

impl Threads {
    /// Starts the control lane's thread. Called on the ambient runtime.
    pub(crate) fn start() -> Result<Threads, NetError> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(NetError::Thread)?;
        let control = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let body = move || {
            // Either it is told to stop, or whoever could tell is gone.
            let _ = runtime.block_on(stopped);
        };
        let thread = std::thread::Builder::new().name("mobula-control".into()).spawn(body).map_err(NetError::Thread)?;
        Ok(Threads { ambient: Handle::current(), control, thread: Mutex::new(Some((stop, thread))) })
    }

    /// The runtime of a lane.
    pub(crate) fn of(&self, lane: Lane) -> &Handle {
        match lane {
            Lane::Control => &self.control,
            Lane::Calls | Lane::Bulk => &self.ambient,
        }
    }

    /// Runs `work` on the lane's runtime, to its end or until the caller goes.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        lane: Lane,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Ended> {
        struct Abort(tokio::task::AbortHandle);
        impl Drop for Abort {
            fn drop(&mut self) {
                self.0.abort();
            }
        }
        let task = self.of(lane).spawn(work);
        let _abort = Abort(task.abort_handle());
        task.await.map_err(|_| Ended)
    }

    /// Ends the control lane's thread, and waits for that.
    pub(crate) async fn stop(&self) {
        let running = self.thread.lock().take();
        if let Some((stop, thread)) = running {
            drop(stop);
            // The thread only drops its runtime, whose tasks have been told to end.
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}

impl From<Ended> for NetError {
    fn from(_: Ended) -> NetError {
        NetError::Closed
    }
}
