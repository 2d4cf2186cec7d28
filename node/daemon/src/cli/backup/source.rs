//! Where a store is read: at the node that runs, or in the directory of one that does not.

use std::io::Write;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use node_store::{BackupHead, OpenError, Owner, ReadError, Store};

use crate::admin::{OperatorRefusal, StoreSummary};
use crate::cli::operator::{NotFetched, Operator, Unanswered};
use crate::cli::runtime::block_on;
use crate::cli::ConfigFlags;
use crate::config::DataDir;
use crate::exit::ExitReason;
use crate::failure::Failure;
use crate::run::identity::{self, Identity};
use crate::run::refused::{identity as identity_failure, store_hint};
use crate::status::{find, unix_now, Found};

/// How long a node may take to read all of its store.
const LOOK_THROUGH_MAX: Duration = Duration::from_secs(600);

const LOOK: &str = "`assay status` says how the node is; try again, or stop it and try then";

const AS_ITS_USER: &str = "run it as the node's user: `runuser -u assay -- assay ...`";

/// No node has claimed the data directory.
#[derive(Debug, thiserror::Error)]
#[error("no node has run with the data directory `{0}`")]
struct Unclaimed(PathBuf);

/// The files belong to somebody else, and would belong to two afterwards.
#[derive(Debug, thiserror::Error)]
#[error("`{path}` belongs to user {owner}, and this is user {user}")]
struct OtherUser {
    path: PathBuf,
    owner: u32,
    user: u32,
}

/// What the node said no with.
#[derive(Debug, thiserror::Error)]
#[error("the node refuses: {0}")]
struct Refused(String);

/// A store, at whoever has it now.
#[derive(Debug)]
pub(super) enum Source {
    /// The node that runs.
    Running(Operator),
    /// A stopped node's data directory.
    Stopped { store: Box<Store>, dir: PathBuf },
}

impl Source {
    /// Finds the node that runs with these settings, else its directory, which is locked then.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if there is neither, or if a node has the directory and does not answer.
    pub(super) fn find(flags: &ConfigFlags) -> Result<Self, Failure> {
        let data_dir =
            flags.settings().section(DataDir::read).map_err(Failure::bad_configuration)?;
        let found = block_on(find(&data_dir)).map_err(Failure::unexpected)?;
        if found.is_ok_and(|status| status.found == Found::Running) {
            return Operator::of_directory(&data_dir).map(Self::Running);
        }
        let dir = data_dir.path().to_owned();
        let store = Box::new(open(&dir)?);
        Ok(Self::Stopped { store, dir })
    }

    /// Which of both it is.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Running(_) => "the running node",
            Self::Stopped { .. } => "the data directory of a stopped node",
        }
    }

    /// Which of both it is, as a word.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Running(_) => "running",
            Self::Stopped { .. } => "stopped",
        }
    }

    /// Copies the store into `out`. Whether it is whole, its last line says.
    ///
    /// # Errors
    ///
    /// A [`Failure`] with the next step.
    pub(super) fn copy(&self, out: &mut dyn Write) -> Result<(), Failure> {
        match self {
            Self::Running(operator) => operator.fetch("/store/backup", out).map_err(not_fetched),
            Self::Stopped { store, dir } => {
                let head = head(dir)?;
                store.export(&head, out).map(|_copied| ()).map_err(not_read)
            }
        }
    }

    /// Reads all of the store.
    ///
    /// # Errors
    ///
    /// A [`Failure`] with the next step.
    pub(super) fn look_through(&self) -> Result<StoreSummary, Failure> {
        match self {
            Self::Running(operator) => operator
                .post_within(LOOK_THROUGH_MAX, "/store/verify", &())
                .map_err(unanswered)?
                .map_err(refused),
            Self::Stopped { store, .. } => {
                let report = store.verify().map_err(not_read)?;
                Ok(StoreSummary::from(&report))
            }
        }
    }
}

fn open(dir: &Path) -> Result<Store, Failure> {
    refuse_other_user(dir)?;
    Store::open_to_read(dir).map_err(not_opened)
}

fn not_opened(error: OpenError) -> Failure {
    let hint = match &error {
        OpenError::Locked { .. } => {
            "a node has this directory and does not answer: `assay status` says why; try again \
             when it does, or stop it"
        }
        OpenError::Directory { .. }
        | OpenError::NoStore { .. }
        | OpenError::HalfRestored { .. }
        | OpenError::LockFile { .. }
        | OpenError::State { .. }
        | OpenError::Freezer { .. }
        | OpenError::MoveAside { .. }
        | OpenError::NewerSchema { .. }
        | OpenError::Journal { .. }
        | OpenError::Compact { .. }
        | OpenError::Mark { .. } => store_hint(&error),
    };
    Failure::unavailable(error).hint(hint)
}

/// Refuses to make files beside those of another user, who could not use them.
///
/// # Errors
///
/// A [`Failure`] that names both. A directory that is not there is nobody's.
pub(super) fn refuse_other_user(path: &Path) -> Result<(), Failure> {
    let Ok(metadata) = path.metadata() else { return Ok(()) };
    let (owner, user) = (metadata.uid(), rustix::process::geteuid().as_raw());
    if owner == user {
        return Ok(());
    }
    let path = path.to_owned();
    Err(Failure::bad_configuration(OtherUser { path, owner, user }).hint(AS_ITS_USER))
}

/// Whose store lies in a stopped node's directory.
fn head(dir: &Path) -> Result<BackupHead, Failure> {
    let known = identity::read(dir).map_err(identity_failure)?;
    let Some(Identity { hotkey, netuid, genesis }) = known else {
        return Err(Failure::unavailable(Unclaimed(dir.to_owned()))
            .hint("name the node's data directory with `--data-dir`, or its `--config`"));
    };
    Ok(BackupHead { owner: Owner { genesis, netuid, hotkey }, made_at: unix_now() })
}

fn not_fetched(error: NotFetched) -> Failure {
    match error {
        NotFetched::Unanswered(lost) => unanswered(lost),
        NotFetched::Refused(refusal) => refused(refusal),
        NotFetched::Write(_) => Failure::unavailable(error)
            .hint("name a file in a directory that may be written and has room"),
    }
}

fn unanswered(lost: Unanswered) -> Failure {
    match lost {
        Unanswered::NoAnswer(_) => lost.failure(LOOK),
        Unanswered::TooOld => Failure::new(ExitReason::NotRunning, lost)
            .hint("stop the node, and do it from its data directory; or restart it first"),
    }
}

fn refused(refusal: OperatorRefusal) -> Failure {
    let (exit, hint) = match refusal.refused.as_str() {
        "not_ready" => (ExitReason::NotRunning, "`assay status` says what it waits for"),
        "busy" => (ExitReason::Failed, "wait until the other `assay verify` is done; try again"),
        "unreadable" => {
            (ExitReason::Failed, "stop the node and start it anew: `assay run` says what it lost")
        }
        _ => (ExitReason::Failed, AS_ITS_USER),
    };
    Failure::new(exit, Refused(refusal.message)).hint(hint)
}

fn not_read(error: ReadError) -> Failure {
    let hint = match &error {
        ReadError::Write { .. } => {
            return Failure::unavailable(error)
                .hint("name a file in a directory that may be written and has room");
        }
        ReadError::Damaged { .. } | ReadError::Freezer { .. } => {
            "`assay verify` lists what is damaged"
        }
        ReadError::Journal { source } => source.next_step(),
        ReadError::State { .. } | ReadError::Closed => {
            "start the node with `assay run`: it moves aside what is damaged, and says so"
        }
        ReadError::Busy => "wait until the other `assay backup` is done, then try again",
        ReadError::ChangedTooMuch => "`assay backup` again, when the node has less to do",
    };
    Failure::unexpected(error).hint(hint)
}

#[cfg(test)]
mod tests {
    use std::io;

    use node_core::rows::Table;
    use node_store::{DamagedRecord, FreezerFault, JournalFault, RecordFault, StateFault};

    use super::*;
    use crate::failure::told;

    fn path() -> PathBuf {
        PathBuf::from("/var/lib/assay")
    }

    fn denied() -> io::Error {
        io::ErrorKind::PermissionDenied.into()
    }

    /// Every way in which a store cannot be read or copied. A new one does not compile until it
    /// stands here.
    fn unread() -> Vec<ReadError> {
        let fault = RecordFault::WrongKey { belongs_to: "0201".to_owned() };
        let damaged = DamagedRecord { table: Table::ALL[0], key: "00".to_owned(), fault };
        let all = vec![
            ReadError::State { source: StateFault::Corrupt { detail: "a byte".to_owned() } },
            ReadError::Journal { source: JournalFault::Damaged { path: path(), line: 3 } },
            ReadError::Freezer { source: FreezerFault::Astray { path: path(), offset: 7 } },
            ReadError::Damaged { source: damaged },
            ReadError::Write { source: denied() },
            ReadError::Busy,
            ReadError::ChangedTooMuch,
            ReadError::Closed,
        ];
        for error in &all {
            match error {
                ReadError::State { .. }
                | ReadError::Journal { .. }
                | ReadError::Freezer { .. }
                | ReadError::Damaged { .. }
                | ReadError::Write { .. }
                | ReadError::Busy
                | ReadError::ChangedTooMuch
                | ReadError::Closed => {}
            }
        }
        all
    }

    /// What a running node says no with, and what becomes of a request otherwise. A new way does
    /// not compile until it stands here.
    fn unfetched() -> Vec<NotFetched> {
        let refusal = |word: &str| {
            let message = format!("it is `{word}`");
            NotFetched::Refused(OperatorRefusal { refused: word.to_owned(), message })
        };
        let silent = Unanswered::NoAnswer("the connection was closed".to_owned());
        let all = vec![
            NotFetched::Unanswered(silent),
            NotFetched::Unanswered(Unanswered::TooOld),
            refusal("not_ready"),
            refusal("busy"),
            refusal("unreadable"),
            refusal("not_the_operator"),
            NotFetched::Write(denied()),
        ];
        for error in &all {
            match error {
                NotFetched::Unanswered(Unanswered::NoAnswer(_) | Unanswered::TooOld)
                | NotFetched::Refused(_)
                | NotFetched::Write(_) => {}
            }
        }
        all
    }

    #[test]
    fn each_way_to_get_no_copy_says_what_next() {
        let unopened = [
            OpenError::Locked { pid: Some(7), path: path() },
            OpenError::NoStore { path: path() },
            OpenError::HalfRestored { path: path() },
        ];
        let unopened = unopened.into_iter().map(not_opened);
        let unread = unread().into_iter().map(not_read);
        let unfetched = unfetched().into_iter().map(not_fetched);
        insta::assert_snapshot!(told(unopened.chain(unread).chain(unfetched)));
    }

    #[test]
    fn a_directory_without_an_owner_or_of_somebody_else_is_refused_with_a_next_step() {
        let dir = tempfile::tempdir().unwrap();
        let unclaimed = head(dir.path()).unwrap_err();
        assert!(unclaimed.to_string().contains("`--data-dir`"), "{unclaimed}");
        std::fs::write(dir.path().join("identity.json"), "x").unwrap();
        let damaged = head(dir.path()).unwrap_err();
        assert!(damaged.to_string().contains("put a copy of the file back"), "{damaged}");
    }
}
