//! Calls into foreign libraries that may panic or never return.
//!
//! A thread that hangs in a library cannot be ended. It is left behind, and until it returns no
//! second one is started for the same question: a driver that hangs costs one thread, or one per
//! GPU that hangs, however often it is asked.

use std::collections::BTreeSet;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

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

/// The questions that no answer has come to.
static OPEN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// One open question; it is none any more when this is dropped.
struct Open {
    question: String,
}

impl Open {
    fn begin(question: &str) -> Option<Self> {
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        let question = question.to_owned();
        // Made only if it is the first: dropping a second one would end the first.
        open.insert(question.clone()).then(|| Self { question })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        OPEN.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.question);
    }
}

/// Work that was begun.
pub(crate) struct Begun<T> {
    answer: Receiver<Result<T, String>>,
    limit: Duration,
    until: Instant,
}

impl<T> Begun<T> {
    /// Its value, at the latest when the limit that it was begun with has passed.
    pub(crate) fn wait(self) -> Result<T, Missed> {
        let left = self.until.saturating_duration_since(Instant::now());
        match self.answer.recv_timeout(left) {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(words)) => Err(Missed::Panicked { words }),
            Err(_) => Err(Missed::Deadline { limit: self.limit }),
        }
    }
}

/// Begins `work` on a thread of its own. It has `limit` from now on; `question` names it.
pub(crate) fn begin<T: Send + 'static>(
    question: &str,
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<Begun<T>, Missed> {
    let open = Open::begin(question).ok_or(Missed::StillWaiting)?;
    let (sender, answer) = mpsc::sync_channel(1);
    let until = Instant::now() + limit;
    thread::Builder::new()
        .name(question.to_owned())
        .spawn(move || {
            let result = quietly(work);
            // Before the answer, so that whoever got it can ask again at once.
            drop(open);
            // Nobody listens any more after the deadline.
            drop(sender.send(result));
        })
        .map_err(|error| Missed::NoThread { kind: error.kind() })?;
    Ok(Begun { answer, limit, until })
}

/// The value of `work`, or the words of its panic.
pub(crate) fn quietly<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let words = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("no reason given");
        node_core::limits::clip_detail(words)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    fn run<T: Send + 'static>(
        question: &str,
        limit: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Missed> {
        begin(question, limit, work)?.wait()
    }

    #[test]
    fn hanging_work_is_given_up_and_not_started_again_until_it_ends() {
        assert_eq!(run("a", LIMIT, || 7), Ok(7));
        let panicked = run("a", LIMIT, || -> u8 { panic!("boom {}", 1) });
        assert_eq!(panicked, Err(Missed::Panicked { words: "boom 1".to_owned() }));

        let (release, held) = mpsc::channel::<()>();
        let (over, is_over) = mpsc::channel::<()>();
        let short = Duration::from_millis(20);
        let hanging = run("a", short, move || {
            held.recv().ok();
            over.send(()).ok();
        });
        assert_eq!(hanging, Err(Missed::Deadline { limit: short }));
        assert_eq!(run("a", LIMIT, || 8), Err(Missed::StillWaiting));

        release.send(()).unwrap();
        is_over.recv_timeout(LIMIT).unwrap();
        let answer = (0..1_000_000).find_map(|_| {
            thread::yield_now();
            run("a", LIMIT, || 9).ok()
        });
        assert_eq!(answer, Some(9));
    }

    #[test]
    fn work_that_hangs_keeps_no_other_question_from_being_asked() {
        let (release, held) = mpsc::channel::<()>();
        let hanging = begin("b 0", LIMIT, move || held.recv().ok()).unwrap();
        assert_eq!(run("b 1", LIMIT, || 1), Ok(1));
        drop(release);
        assert_eq!(hanging.wait(), Ok(None));
    }
}
