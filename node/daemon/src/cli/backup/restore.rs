//! `assay restore`.

use std::path::{Path, PathBuf};

use clap::Args;
use node_core::limits::SETTLING_BLOCKS;
use node_store::{BackupReport, Begun, OpenError, RestoreError, Restoring};

use super::source::refuse_other_user;
use super::{described, line};
use crate::cli::ConfigFlags;
use crate::config::DataDir;
use crate::exit::ExitReason;
use crate::failure::Failure;
use crate::output;
use crate::run::identity::{claim, Identity};
use crate::run::refused;

const EXAMPLES: &str = "\
Examples:
  assay restore assay.jsonl --data-dir /var/lib/assay
  runuser -u assay -- assay restore /srv/backups/assay.jsonl --config /etc/assay/assay.toml

Stop the node that the copy is of, for good, before you start the restored one: what it signed after
the copy is not known here. So the restored node signs nothing for an epoch that may have been
signed for: it waits for 64 blocks, and then for the next epoch to begin. `assay status` says until
when. It also catches up with its peers first, since leases that it granted after the copy are not
known either.

Into a directory in which no node has lived: no state/, freezer/, signed.journal, commit.mark or
identity.json. If signed.journal is still there, no copy is needed: start the node, which rebuilds
its rows from chain and peers.

Exit codes: 0 restored; 64 the directory is not empty, or the file is no whole backup; 69 a node
runs there, or it cannot be written. Cut off at any moment, the same command begins anew or
finishes.";

/// Put a backup back into an empty data directory.
///
/// Everything in the file is checked before anything has its place, and read back afterwards.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct RestoreCommand {
    /// What `assay backup` wrote
    #[arg(value_name = "FILE")]
    file: PathBuf,

    #[command(flatten)]
    flags: ConfigFlags,
}

impl RestoreCommand {
    /// Fills the data directory.
    ///
    /// # Errors
    ///
    /// A [`Failure`] with the next step.
    pub fn execute(self) -> Result<ExitReason, Failure> {
        let settings = self.flags.settings();
        let data_dir = settings.section(DataDir::read).map_err(Failure::bad_configuration)?;
        let dir = data_dir.path();
        refuse_other_user(dir)?;
        let restoring = match Restoring::begin(dir).map_err(not_restored)? {
            Begun::Empty(restoring) => restoring,
            Begun::Finished => {
                output::print(&finished(dir))?;
                return Ok(ExitReason::Done);
            }
        };
        let report = restoring.fill(&self.file).map_err(not_restored)?;
        let owner = report.head.owner;
        let own = Identity { hotkey: owner.hotkey, netuid: owner.netuid, genesis: owner.genesis };
        claim(restoring.inside(), own).map_err(refused::identity)?;
        restoring.finish().map_err(not_restored)?;
        output::print(&restored(dir, &self.file, &report))?;
        Ok(ExitReason::Done)
    }
}

fn not_restored(error: RestoreError) -> Failure {
    match &error {
        RestoreError::NotEmpty { .. } => Failure::bad_configuration(error).hint(
            "name an empty directory with `--data-dir`; where `signed.journal` lies, no copy is \
             needed: start the node, which rebuilds its rows from chain and peers",
        ),
        RestoreError::Backup { source } => {
            let hint = source.next_step();
            Failure::bad_configuration(error).hint(hint)
        }
        RestoreError::Open { source: OpenError::Locked { .. } } => Failure::unavailable(error)
            .hint(
                "stop the node that uses this directory first, or name another with `--data-dir`",
            ),
        RestoreError::Open { .. }
        | RestoreError::Write { .. }
        | RestoreError::State { .. }
        | RestoreError::Place { .. } => Failure::unavailable(error).hint(
            "the directory has to be one that this user can write, with room; the same command \
             again begins anew or finishes",
        ),
        RestoreError::Read { .. } | RestoreError::Differs { .. } => Failure::unexpected(error)
            .hint(
                "nothing has its place yet; look at the disk of `--data-dir`, then give the same \
                 command again",
            ),
    }
}

fn finished(dir: &Path) -> String {
    let mut text = String::new();
    line(&mut text, "restored", &dir.display().to_string());
    line(&mut text, "from", "the file of a restore that had been cut off; it is complete now");
    text + &next()
}

fn restored(dir: &Path, file: &Path, report: &BackupReport) -> String {
    let mut text = String::new();
    line(&mut text, "restored", &dir.display().to_string());
    line(&mut text, "from", &file.display().to_string());
    text + &described(report) + &next()
}

fn next() -> String {
    format!(
        "\nBefore you start it: stop the node that this is a copy of, for good.\n\
         It catches up with its peers, and signs nothing before the first epoch that begins when\n\
         {SETTLING_BLOCKS} blocks have passed; `assay status` says which block that is.\n"
    )
}

#[cfg(test)]
mod tests {
    use std::io;

    use node_core::rows::Table;
    use node_store::{
        BackupError, CommitError, ImportError, MigrationError, ReadError, StateFault,
    };

    use super::*;
    use crate::failure::told;

    fn path() -> PathBuf {
        PathBuf::from("/var/lib/assay")
    }

    fn denied() -> io::Error {
        io::ErrorKind::PermissionDenied.into()
    }

    fn not_json() -> serde_json::Error {
        serde_json::from_str::<u8>("x").unwrap_err()
    }

    /// Every way in which a copy cannot be trusted. A new one does not compile until it stands
    /// here.
    fn copies() -> Vec<BackupError> {
        let old = MigrationError::NoStep { table: Table::ALL[0], from: 1 };
        let all = vec![
            BackupError::Io { path: path(), source: denied() },
            BackupError::Line { path: path(), line: 3, source: not_json() },
            BackupError::Migration { path: path(), line: 3, source: old },
            BackupError::Format { path: path() },
            BackupError::Newer { path: path(), what: "format 9".to_owned() },
            BackupError::Incomplete { path: path() },
            BackupError::Failed { path: path(), reason: "the disk is full".to_owned() },
        ];
        for error in &all {
            match error {
                BackupError::Io { .. }
                | BackupError::Line { .. }
                | BackupError::Migration { .. }
                | BackupError::Format { .. }
                | BackupError::Newer { .. }
                | BackupError::Incomplete { .. }
                | BackupError::Failed { .. } => {}
            }
        }
        all
    }

    /// Every way in which the store does not take what is written. A new one does not compile until
    /// it stands here.
    fn unwritten() -> Vec<ImportError> {
        let all = vec![
            ImportError::Full { has_bytes: 9, adds_bytes: 1 },
            ImportError::Encode { source: not_json() },
            ImportError::Commit { source: CommitError::Journal { source: denied() } },
        ];
        for error in &all {
            match error {
                ImportError::Full { .. }
                | ImportError::Encode { .. }
                | ImportError::Commit { .. } => {}
            }
        }
        all
    }

    /// Every way in which nothing is restored. A new one does not compile until it stands here.
    fn unrestored() -> Vec<RestoreError> {
        let others = [
            RestoreError::Open { source: OpenError::Locked { pid: Some(7), path: path() } },
            RestoreError::Open { source: OpenError::Directory { path: path(), source: denied() } },
            RestoreError::NotEmpty { path: path(), found: "freezer" },
            RestoreError::State { source: StateFault::Busy },
            RestoreError::Read { source: ReadError::Closed },
            RestoreError::Differs { table: "leases", expected: 3, got: 2 },
            RestoreError::Place { path: path(), source: denied() },
        ];
        let copies = copies().into_iter().map(|source| RestoreError::Backup { source });
        let unwritten = unwritten().into_iter().map(|source| RestoreError::Write { source });
        let all: Vec<RestoreError> = others.into_iter().chain(copies).chain(unwritten).collect();
        for error in &all {
            match error {
                RestoreError::Open { .. }
                | RestoreError::NotEmpty { .. }
                | RestoreError::Backup { .. }
                | RestoreError::Write { .. }
                | RestoreError::State { .. }
                | RestoreError::Read { .. }
                | RestoreError::Differs { .. }
                | RestoreError::Place { .. } => {}
            }
        }
        all
    }

    #[test]
    fn each_way_to_restore_nothing_says_what_next() {
        insta::assert_snapshot!(told(unrestored().into_iter().map(not_restored)));
    }
}
