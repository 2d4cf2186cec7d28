//! What an operator is told when something that a start needs is refused: the error of whoever
//! refused it, and the next step. One function per door.
//!
//! Every match names every variant: a new error does not compile before somebody thought of what to
//! do about it.

use std::error::Error;
use std::io;

use node_peer::BindError;
use node_runner::{Engine, ImageError, LeftoverError};
use node_store::{CompactError, JournalFault, OpenError, StateFault};

use super::certificate::CertificateFileError;
use super::identity::IdentityError;
use crate::admin::{AddressFileError, AdminError};
use crate::api::ApiError;
use crate::failure::Failure;

const WRITABLE: &str = "`data_dir` must be a directory that this user can write";

const FULL: &str = "free space where `data_dir` lies, or raise the quota or limit that is full; \
                    what was acknowledged is not lost";

/// What to do about a listener that broke.
const STOPPED_SERVING: &str = "start again with `assay run`; the log says what came before";

/// Where the operator's listener is set.
const ADMIN: &str = "admin.listen";

/// The store does not open.
pub(crate) fn store(error: OpenError) -> Failure {
    let hint = store_hint(&error);
    Failure::unavailable(error).hint(hint)
}

/// What to do about a store that does not open.
pub(crate) fn store_hint(error: &OpenError) -> &'static str {
    if io_kind(error).is_some_and(is_full) {
        return FULL;
    }
    match error {
        OpenError::Directory { .. }
        | OpenError::LockFile { .. }
        | OpenError::Freezer { .. }
        | OpenError::MoveAside { .. }
        | OpenError::Mark { .. } => WRITABLE,
        OpenError::Locked { .. } => "another `assay run` uses this `data_dir`; stop it first",
        OpenError::State { source, .. } => state_hint(source),
        OpenError::NewerSchema { .. } => {
            "start the build that wrote it, or a newer one; this one could grant a lease twice"
        }
        OpenError::NoStore { .. } => {
            "name the node's data directory with `--data-dir`, or its `--config`"
        }
        OpenError::HalfRestored { .. } => "`assay restore` with the same file finishes it",
        OpenError::Journal { source } => source.next_step(),
        OpenError::Compact { source } => match source {
            CompactError::Io(_) => WRITABLE,
            CompactError::State(fault) => state_hint(fault),
            CompactError::Journal(fault) => fault.next_step(),
        },
    }
}

fn state_hint(fault: &StateFault) -> &'static str {
    match fault {
        StateFault::Io { .. } => WRITABLE,
        StateFault::Corrupt { .. } => {
            "look at the disk of `data_dir`; then start again: what is damaged is moved aside and \
             rebuilt"
        }
        StateFault::Foreign { .. } => "start the build that made it, or set another `data_dir`",
        StateFault::Busy => "wait a moment, then start again with `assay run`",
    }
}

/// What the system said, where it was the system that refused.
fn io_kind(error: &OpenError) -> Option<io::ErrorKind> {
    let of_state = |fault: &StateFault| match fault {
        StateFault::Io { source } => Some(source.kind()),
        StateFault::Corrupt { .. } | StateFault::Foreign { .. } | StateFault::Busy => None,
    };
    match error {
        OpenError::Directory { source, .. }
        | OpenError::LockFile { source, .. }
        | OpenError::Freezer { source, .. }
        | OpenError::MoveAside { source, .. }
        | OpenError::Mark { source, .. } => Some(source.kind()),
        OpenError::State { source, .. } => of_state(source),
        OpenError::Journal { source: JournalFault::Io { source, .. } } => Some(source.kind()),
        OpenError::Compact { source } => match source {
            CompactError::Io(source) => Some(source.kind()),
            CompactError::State(fault) => of_state(fault),
            CompactError::Journal(_) => None,
        },
        OpenError::Locked { .. }
        | OpenError::NoStore { .. }
        | OpenError::HalfRestored { .. }
        | OpenError::NewerSchema { .. }
        | OpenError::Journal { .. } => None,
    }
}

fn is_full(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(kind, StorageFull | QuotaExceeded | FileTooLarge)
}

/// A file in the data directory cannot be read or written.
pub(crate) fn data_file(error: impl Into<Box<dyn Error + Send + Sync>>) -> Failure {
    let error = error.into();
    let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
    let hint = if kind.is_some_and(is_full) { FULL } else { WRITABLE };
    Failure::unavailable(error).hint(hint)
}

/// The data directory is somebody else's, or does not say whose.
pub(crate) fn identity(error: IdentityError) -> Failure {
    let hint = match &error {
        IdentityError::File { .. } => WRITABLE,
        IdentityError::Damaged { .. } => {
            "put a copy of the file back; without one, see docs/operating.md, \"Moving a \
             validator\""
        }
        IdentityError::Other { .. } => {
            "set another `data_dir`, one per hotkey, subnet and chain; whose this one is stands \
             in its `identity.json`"
        }
    };
    Failure::unavailable(error).hint(hint)
}

/// The operator's listener is not there.
pub(crate) fn admin(error: AdminError) -> Failure {
    let hint = match &error {
        AdminError::Bind { source, .. } => address_hint(ADMIN, source.kind()),
        AdminError::Publish(published) => match published {
            AddressFileError::Read { .. }
            | AddressFileError::Write { .. }
            | AddressFileError::Malformed { .. } => WRITABLE.to_owned(),
        },
        AdminError::Serve(_) => STOPPED_SERVING.to_owned(),
    };
    Failure::unavailable(error).hint(hint)
}

/// The listener for peers is not there.
pub(crate) fn peers(error: BindError) -> Failure {
    let hint = match &error {
        BindError::Listen { source, .. } => address_hint("peer.listen", source.kind()),
        BindError::Tls(_) => {
            "move `peer.key` in the data directory away: a new one is made".to_owned()
        }
        BindError::Reflection(_) => "use another build: this one is broken".to_owned(),
    };
    Failure::unavailable(error).hint(hint)
}

/// The public listener is not there.
pub(crate) fn public(error: ApiError) -> Failure {
    let hint = match &error {
        ApiError::Bind { source, .. } => address_hint("api.listen", source.kind()),
        ApiError::Token { .. } => {
            "name a file that this user can read in `api.token_file`, or leave it out".to_owned()
        }
        ApiError::ShortToken { .. } => {
            "`openssl rand -hex 32` makes one that nobody guesses".to_owned()
        }
        ApiError::Serve(_) => STOPPED_SERVING.to_owned(),
    };
    Failure::unavailable(error).hint(hint)
}

/// What to do about an address that cannot be had.
fn address_hint(key: &str, kind: io::ErrorKind) -> String {
    match kind {
        io::ErrorKind::AddrInUse => format!(
            "another program listens there, perhaps another node: `ss -tlnp` names it; stop it, or \
             set another `{key}`"
        ),
        io::ErrorKind::AddrNotAvailable => format!(
            "that address is none of this machine's: set `{key}` to {}",
            // Who gets to the operator's listener is not asked who they are.
            match key {
                ADMIN => "`127.0.0.1` and a port",
                _ => "one that `ip address` shows, or `0.0.0.0` for all of them, and a port",
            }
        ),
        io::ErrorKind::PermissionDenied => {
            format!("ports below 1024 are for root: set `{key}` to a higher one, and forward to it")
        }
        _ => format!("set another `{key}`"),
    }
}

/// What an earlier life left in the engine cannot be found or removed.
pub(crate) fn leftovers(error: LeftoverError) -> Failure {
    let hint = match &error {
        LeftoverError::List { .. } => Engine::HINT,
        LeftoverError::Remove { .. } => {
            "`docker rm --force` it, or start the engine anew; then start again"
        }
    };
    Failure::unavailable(error).hint(hint)
}

/// The evaluator image cannot be looked up.
pub(crate) fn image(error: ImageError) -> Failure {
    let hint = error.hint();
    Failure::unavailable(error).hint(hint)
}

/// The key of connections cannot be kept or made.
pub(crate) fn certificate(error: CertificateFileError) -> Failure {
    let hint = match &error {
        CertificateFileError::File { .. } => WRITABLE,
        CertificateFileError::Make(_) => {
            "move `peer.key` in the data directory away: a new one is made"
        }
    };
    Failure::unavailable(error).hint(hint)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::path::PathBuf;

    use node_core::id::{BlockHash, Hotkey, Netuid};
    use node_core::rows::Table;
    use node_runner::{EngineError, EngineFault};
    use node_store::{DamagedRecord, RecordFault};

    use super::super::identity::Identity;
    use super::*;
    use crate::failure::told;

    fn path() -> PathBuf {
        PathBuf::from("/var/lib/assay")
    }

    fn io(kind: io::ErrorKind) -> io::Error {
        kind.into()
    }

    const DENIED: io::ErrorKind = io::ErrorKind::PermissionDenied;

    fn state(source: StateFault) -> OpenError {
        OpenError::State { path: path(), source }
    }

    /// Every way in which the journal cannot be used. A new one does not compile until it stands
    /// here.
    fn journal_faults() -> Vec<JournalFault> {
        let (expected_bytes, got_bytes, line) = (9, 7, 3);
        let no_step = serde_json::from_str::<u8>("x").unwrap_err();
        let all = vec![
            JournalFault::Io { path: path(), source: io(DENIED) },
            JournalFault::Missing { path: path(), expected_bytes },
            JournalFault::Gone { path: path() },
            JournalFault::Short { path: path(), expected_bytes, got_bytes },
            JournalFault::Damaged { path: path(), line },
            JournalFault::Foreign { path: path(), line, step: "x".to_owned(), source: no_step },
            JournalFault::TooLarge { path: path(), got_bytes },
        ];
        for fault in &all {
            match fault {
                JournalFault::Io { .. }
                | JournalFault::Missing { .. }
                | JournalFault::Gone { .. }
                | JournalFault::Short { .. }
                | JournalFault::Damaged { .. }
                | JournalFault::Foreign { .. }
                | JournalFault::TooLarge { .. } => {}
            }
        }
        all
    }

    /// Every way in which a store does not open.
    fn unopened() -> Vec<OpenError> {
        let fault = RecordFault::NewerSchema { got: 9, known: 1 };
        let newer = DamagedRecord { table: Table::ALL[0], key: "00".to_owned(), fault };
        let gone = JournalFault::Gone { path: path() };
        let detail = || "a byte".to_owned();
        let others = [
            OpenError::Directory { path: path(), source: io(DENIED) },
            OpenError::Locked { pid: Some(7), path: path() },
            OpenError::Locked { pid: None, path: path() },
            OpenError::LockFile { path: path(), source: io(DENIED) },
            OpenError::NoStore { path: path() },
            OpenError::HalfRestored { path: path() },
            state(StateFault::Io { source: io(DENIED) }),
            state(StateFault::Corrupt { detail: detail() }),
            state(StateFault::Foreign { detail: detail() }),
            state(StateFault::Busy),
            OpenError::Freezer { path: path(), source: io(DENIED) },
            OpenError::MoveAside { path: path(), source: io(DENIED) },
            OpenError::NewerSchema { source: newer },
            OpenError::Compact { source: CompactError::Io(io(DENIED)) },
            OpenError::Compact { source: CompactError::State(StateFault::Busy) },
            OpenError::Compact { source: CompactError::Journal(gone) },
            OpenError::Mark { path: path(), source: io(DENIED) },
        ];
        let journals = journal_faults().into_iter().map(|source| OpenError::Journal { source });
        others.into_iter().chain(journals).collect()
    }

    /// Every listener that is not there.
    fn unheard() -> Vec<Failure> {
        let listen = SocketAddr::from(([127, 0, 0, 1], 80));
        let bound = |kind| admin(AdminError::Bind { listen, source: io(kind) });
        let file = |error| admin(AdminError::Publish(error));
        vec![
            bound(io::ErrorKind::AddrInUse),
            bound(io::ErrorKind::AddrNotAvailable),
            bound(DENIED),
            bound(io::ErrorKind::Other),
            file(AddressFileError::Read { path: path(), source: io(DENIED) }),
            file(AddressFileError::Write { path: path(), source: io(DENIED) }),
            file(AddressFileError::Malformed { path: path() }),
            admin(AdminError::Serve(io(DENIED))),
            peers(BindError::Listen { address: listen, source: io(DENIED) }),
            peers(BindError::Tls("no".into())),
            peers(BindError::Reflection("no".into())),
            public(ApiError::Bind { listen, source: io(DENIED) }),
            public(ApiError::Bind { listen, source: io(io::ErrorKind::AddrNotAvailable) }),
            public(ApiError::Token { path: path(), source: io(DENIED) }),
            public(ApiError::ShortToken { path: path() }),
            public(ApiError::Serve(io(DENIED))),
        ]
    }

    /// Everything else that is refused at the start.
    fn others() -> Vec<Failure> {
        let bad = serde_json::from_str::<u8>("x").unwrap_err();
        let own =
            Identity { hotkey: Hotkey([1; 32]), netuid: Netuid(1), genesis: BlockHash([2; 32]) };
        let (known, own) = (Box::new(own), Box::new(own));
        let answered = EngineFault::Answered { status: 500, message: "no".to_owned() };
        let (tag, id) = ("x:y".to_owned(), "z".to_owned());
        let lost = EngineFault::Lost { message: "it hung up".to_owned() };
        vec![
            identity(IdentityError::File { path: path(), source: io(DENIED) }),
            identity(IdentityError::Damaged { path: path(), source: bad }),
            identity(IdentityError::Other { directory: path(), known, own }),
            leftovers(LeftoverError::List { source: answered.clone() }),
            leftovers(LeftoverError::Remove { container_id: id.clone(), source: answered.clone() }),
            image(ImageError::Engine { tag: tag.clone(), source: answered }),
            image(ImageError::Engine { tag: tag.clone(), source: EngineFault::Silent }),
            image(ImageError::Engine { tag: tag.clone(), source: lost }),
            image(ImageError::UnreadableId { tag, id }),
            certificate(CertificateFileError::File { path: path(), source: io(DENIED) }),
            data_file(io(DENIED)),
            data_file(io(io::ErrorKind::StorageFull)),
        ]
    }

    /// Every way to have no engine, as a start tells it. A new one does not compile until it stands
    /// here.
    fn engines() -> Vec<Failure> {
        let endpoint = || "unix:///var/run/docker.sock".to_owned();
        let all = vec![
            EngineError::UnsupportedEndpoint { endpoint: "ssh://host".to_owned() },
            EngineError::NoSocket { tried: "/var/run/docker.sock".to_owned() },
            EngineError::PermissionDenied { endpoint: endpoint() },
            EngineError::NotAnswering { endpoint: endpoint(), source: EngineFault::Silent },
            EngineError::LacksLimits { endpoint: endpoint(), missing: "a pids limit".to_owned() },
            EngineError::UnknownRuntime {
                endpoint: endpoint(),
                runtime: "runsc".to_owned(),
                known: "runc".to_owned(),
            },
        ];
        for error in &all {
            match error {
                EngineError::UnsupportedEndpoint { .. }
                | EngineError::NoSocket { .. }
                | EngineError::PermissionDenied { .. }
                | EngineError::NotAnswering { .. }
                | EngineError::LacksLimits { .. }
                | EngineError::UnknownRuntime { .. } => {}
            }
        }
        let refused = |error: EngineError| {
            let hint = error.hint();
            Failure::unavailable(error).hint(hint)
        };
        all.into_iter().map(refused).collect()
    }

    #[test]
    fn each_refusal_at_the_start_says_what_next() {
        let stores = unopened().into_iter().map(store);
        let all: Vec<Failure> = stores.chain(unheard()).chain(others()).chain(engines()).collect();
        for failure in &all {
            assert_eq!(failure.exit().code(), 69, "{failure}");
        }
        insta::assert_snapshot!(told(all));
    }

    #[test]
    fn a_full_disk_is_told_as_one_wherever_it_shows() {
        for kind in [io::ErrorKind::StorageFull, io::ErrorKind::FileTooLarge] {
            for error in [
                OpenError::Directory { path: path(), source: io(kind) },
                OpenError::Mark { path: path(), source: io(kind) },
                state(StateFault::Io { source: io(kind) }),
                OpenError::Journal { source: JournalFault::Io { path: path(), source: io(kind) } },
                OpenError::Compact { source: CompactError::Io(io(kind)) },
            ] {
                assert!(store_hint(&error).starts_with("free space"), "{error}");
            }
        }
    }
}
