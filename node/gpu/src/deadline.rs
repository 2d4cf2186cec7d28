//! Calls into foreign libraries that may panic or never return.
//!
//! A thread that hangs in a library cannot be ended. It is left behind, and until it returns no
//! second one is started: a driver that hangs costs one thread, however often it is asked.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Missed {
    /// It takes too long.
    #[error("no answer within {} ms", limit.as_millis())]
    Deadline { limit: Duration },
    /// An earlier call has not come back.
    #[error("an earlier question is still unanswered")]
    StillWaiting,
    /// The library panicked.
    #[error("the library panicked: {words}")]
    Panicked { words: String },
    /// The system gives no thread.
    #[error("cannot start a thread: {kind}")]
    NoThread { kind: std::io::ErrorKind },
}

static IS_WAITING: AtomicBool = AtomicBool::new(false);

/// Clears the flag when the work is over, however it ends.
struct Waiting;

impl Waiting {
    fn begin() -> Option<Self> {
        let is_first =
            IS_WAITING.compare_exchange(false, true, Ordering::AcqRel, Ordering::Acquire).is_ok();
        is_first.then_some(Self)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        IS_WAITING.store(false, Ordering::Release);
    }
}

/// Runs `work` on a thread of its own and waits for its value, but not longer than `limit`.
pub(crate) fn run<T: Send + 'static>(
    name: &str,
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Missed> {
    let waiting = Waiting::begin().ok_or(Missed::StillWaiting)?;
    let (sender, receiver) = mpsc::sync_channel(1);
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            let result = catch_unwind(AssertUnwindSafe(work));
            // Before the answer, so that whoever got it can ask again at once.
            drop(waiting);
            // Nobody listens any more after the deadline.
            drop(sender.send(result));
        })
        .map_err(|error| Missed::NoThread { kind: error.kind() })?;
    match receiver.recv_timeout(limit) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(panic)) => {
            let words = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("no reason given");
            Err(Missed::Panicked { words: node_core::limits::clip_detail(words) })
        }
        Err(_) => Err(Missed::Deadline { limit }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // One test, because the flag is the process's.
    #[test]
    fn hanging_work_is_given_up_and_not_started_again_until_it_ends() {
        let limit = Duration::from_secs(10);
        assert_eq!(run("t", limit, || 7), Ok(7));
        let panicked = run("t", limit, || -> u8 { panic!("boom {}", 1) });
        assert_eq!(panicked, Err(Missed::Panicked { words: "boom 1".to_owned() }));

        let (release, held) = mpsc::channel::<()>();
        let (over, is_over) = mpsc::channel::<()>();
        let short = Duration::from_millis(20);
        let hanging = run("t", short, move || {
            held.recv().ok();
            over.send(()).ok();
        });
        assert_eq!(hanging, Err(Missed::Deadline { limit: short }));
        assert_eq!(run("t", limit, || 8), Err(Missed::StillWaiting));

        release.send(()).unwrap();
        is_over.recv_timeout(limit).unwrap();
        let answer = (0..1_000_000).find_map(|_| {
            thread::yield_now();
            run("t", limit, || 9).ok()
        });
        assert_eq!(answer, Some(9));
    }
}
