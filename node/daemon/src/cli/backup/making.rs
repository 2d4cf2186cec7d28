//! Making a copy, and putting it away where a signal comes before it is whole.
//!
//! The copy is made on a thread of its own: a disk or a node that hangs keeps no signal waiting.
//! Whoever ends the making claims it first, the thread to give the file its name, or the signal to
//! remove it. So a copy that was told to be interrupted is not there, and the other way round.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use node_store::{check_backup, BackupReport};
use tokio::sync::oneshot;

use super::file::NewFile;
use super::source::Source;
use crate::cli::runtime::block_on;
use crate::cli::signals::Signals;
use crate::failure::Failure;

/// How far a copy is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Step {
    #[default]
    Copy,
    Sync,
    Check,
}

impl Step {
    /// What was being done, after "while".
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Copy => "the store was copied",
            Self::Sync => "the copy was made durable",
            Self::Check => "the copy was read back",
        }
    }
}

/// What became of a copy.
#[derive(Debug)]
pub(super) enum Made {
    /// It has its name.
    Whole(BackupReport),
    /// A signal came meanwhile, and nothing is left of it.
    Interrupted(Step),
}

/// Why a signal did not put everything away.
#[derive(Debug, thiserror::Error)]
#[error("interrupted, and `{path}` cannot be removed")]
struct Left {
    path: std::path::PathBuf,
    #[source]
    source: std::io::Error,
}

/// How far a copy is, and whether somebody is ending it.
#[derive(Debug, Default)]
struct Progress(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    step: Step,
    is_claimed: bool,
}

impl Progress {
    fn enter(&self, step: Step) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).step = step;
    }

    /// Claims the end of it; `None` if the other side has.
    fn claim(&self) -> Option<Step> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = !std::mem::replace(&mut state.is_claimed, true);
        is_first.then_some(state.step)
    }
}

/// Copies `source` into the file at `path`, reads it back, and gives it its name.
///
/// - `replaces`: whether a file at `path` may be there.
///
/// # Errors
///
/// A [`Failure`] with the next step; the file does not exist then, or is what it was.
pub(super) fn make(source: Source, path: &Path, replaces: bool) -> Result<Made, Failure> {
    block_on(until_made(source, path, replaces)).map_err(Failure::unexpected)?
}

async fn until_made(source: Source, path: &Path, replaces: bool) -> Result<Made, Failure> {
    // Before there is a file that a signal would have to remove.
    let mut signals = Signals::listen().map_err(Failure::unexpected)?;
    let file = NewFile::create(path, replaces)?;
    let partial = file.partial().to_owned();
    let progress = Arc::new(Progress::default());
    let (sender, mut made) = oneshot::channel();
    let of_thread = Arc::clone(&progress);
    std::thread::Builder::new()
        .name("backup".to_owned())
        // Nobody listens any more after a signal: the process is about to end.
        .spawn(move || drop(sender.send(work(&source, file, &of_thread))))
        .map_err(Failure::unexpected)?;
    loop {
        tokio::select! {
            ended = &mut made => return ended.map_err(Failure::unexpected)?,
            () = signals.next() => {}
        }
        // If the thread was first, the file is getting its name: that does not take long.
        if let Some(step) = progress.claim() {
            return match std::fs::remove_file(&partial) {
                Ok(()) => Ok(Made::Interrupted(step)),
                // The thread failed just now, and removed it.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    Ok(Made::Interrupted(step))
                }
                Err(source) => Err(Failure::unexpected(Left { path: partial, source })
                    .hint("remove it; it holds vectors before they are revealed")),
            };
        }
    }
}

fn work(source: &Source, mut file: NewFile, progress: &Progress) -> Result<Made, Failure> {
    source.copy(file.out())?;
    progress.enter(Step::Sync);
    file.sync()?;
    progress.enter(Step::Check);
    let report = check_backup(file.partial()).map_err(|error| {
        let hint = error.next_step();
        Failure::unexpected(error).hint(hint)
    })?;
    if progress.claim().is_none() {
        return Ok(Made::Interrupted(Step::Check));
    }
    file.keep()?;
    Ok(Made::Whole(report))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_copy_is_claimed_once_and_by_whoever_is_first() {
        let progress = Progress::default();
        progress.enter(Step::Sync);
        assert_eq!(progress.claim(), Some(Step::Sync));
        assert_eq!(progress.claim(), None);
    }
}
