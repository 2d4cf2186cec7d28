//! `assay miner pack`.

use std::io;
use std::path::PathBuf;

use clap::Args;
use node_core::commitment::{Commitment, Location};
use node_evaluator::archive::{pack, PackError};

use super::submission::{judge_archive, verdict_text};
use crate::cli::flags::ConfigFlags;
use crate::config::Nas;
use crate::exit::ExitReason;
use crate::failure::Failure;
use crate::output;

const EXAMPLES: &str = "\
Examples:
  assay miner pack my-model/                         writes <content digest>.zip
  assay miner pack my-model/ --out submission.zip

Exit codes: 0 written; 1 a validator would refuse it, or it cannot be packed.";

/// Pack a project's folder into an archive.
///
/// The same files give the same bytes. Names that begin with a dot and `__pycache__` are left out.
/// Prints the content digest, the verdict of `check`, and the commitment to write on chain once the
/// archive can be fetched. What a validator would refuse is not written.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct PackCommand {
    /// The project's folder
    dir: PathBuf,

    /// The archive to write [default: ./<content digest>.zip]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    #[command(flatten)]
    flags: ConfigFlags,
}

/// The archive cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the archive `{path}`")]
struct WriteError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl PackCommand {
    /// Writes the archive.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if the folder cannot be packed, a validator would refuse it, or the archive
    /// cannot be written.
    pub(super) fn execute(self) -> Result<ExitReason, Failure> {
        let nas = self.flags.settings().section(Nas::read).map_err(Failure::bad_configuration)?;
        let policy = nas.rules()?;
        let packed = pack(&self.dir, &policy.archive).map_err(pack_failure)?;
        let submission = judge_archive(packed.bytes, &policy);
        let content = submission.admitted()?;
        let path = self.out.unwrap_or_else(|| PathBuf::from(format!("{content}.zip")));
        std::fs::write(&path, &submission.bytes).map_err(|source| {
            Failure::new(ExitReason::Failed, WriteError { path: path.clone(), source })
                .hint("name a file in a folder that can be written with `--out`")
        })?;
        let bare = Commitment { content, location: Location::Peers };
        let text = format!(
            "archive     {} ({} bytes)\nverdict     {}\ncontent     {content}\n\
             commitment  {bare}<location>",
            path.display(),
            submission.bytes.len(),
            verdict_text(&submission.verdict),
        );
        output::print(&text)?;
        Ok(ExitReason::Done)
    }
}

/// The failure to make an archive of a folder, with the next step.
pub(super) fn pack_failure(error: PackError) -> Failure {
    let hint = match &error {
        PackError::Refused { .. } | PackError::TooLarge { .. } => {
            "move what is no part of the submission out of the folder"
        }
        PackError::NotAFile { .. } => "replace links and devices by plain files",
        PackError::Read { .. } | PackError::NameNotText { .. } | PackError::Write { .. } => {
            "name the folder that holds `architecture.py`"
        }
    };
    Failure::new(ExitReason::Failed, error).hint(hint)
}

#[cfg(test)]
mod tests {
    use node_core::admission::{Rejection, Rule};

    use super::*;
    use crate::failure::told;

    /// Every way in which a folder is not packed. A new one does not compile until it stands here.
    fn unpacked() -> Vec<PackError> {
        let path = || PathBuf::from("my-model");
        let denied = || io::Error::from(io::ErrorKind::PermissionDenied);
        let rejection = Rejection::new(Rule::ALL[0], "it is no archive");
        let all = vec![
            PackError::Read { path: path(), source: denied() },
            PackError::NotAFile { path: path() },
            PackError::NameNotText { path: path() },
            PackError::TooLarge { dir: path(), files_max: 64, bytes_max: 1 << 20 },
            PackError::Write { source: denied().into() },
            PackError::Refused { rejection },
        ];
        for error in &all {
            match error {
                PackError::Read { .. }
                | PackError::NotAFile { .. }
                | PackError::NameNotText { .. }
                | PackError::TooLarge { .. }
                | PackError::Write { .. }
                | PackError::Refused { .. } => {}
            }
        }
        all
    }

    #[test]
    fn each_folder_that_is_not_packed_says_what_next() {
        insta::assert_snapshot!(told(unpacked().into_iter().map(pack_failure)));
    }
}
