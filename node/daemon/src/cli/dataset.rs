//! `assay dataset`: the text that submissions are trained and measured on.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use node_evaluator::dataset::{prepare, Dataset, OpenError, PrepareError, Split};

use crate::exit::ExitReason;
use crate::failure::Failure;
use crate::output;

const PREPARE_EXAMPLES: &str = "\
Examples:
  assay dataset prepare --text book-1.txt book-2.txt --out ~/.local/share/assay/datasets/nas
  assay dataset prepare --text corpus/*.txt --out /srv/datasets/nas
  assay config show | grep challenge.nas.dataset     where a node looks for it";

const VERIFY_EXAMPLES: &str = "\
Examples:
  assay dataset verify ~/.local/share/assay/datasets/nas

Exit codes: 0 every file is as the manifest says; 1 one is not; 69 there is no data set.";

/// Prepare and verify data sets.
#[derive(Debug, Args)]
pub struct DatasetCommand {
    #[command(subcommand)]
    command: DatasetSubcommand,
}

#[derive(Debug, Subcommand)]
enum DatasetSubcommand {
    Prepare(PrepareCommand),
    Verify(VerifyCommand),
}

/// Make a data set from plain text files.
///
/// The same text gives the same data set, whatever the order of the files: validators that use the
/// same files get the same digest, and leases and receipts carry it.
#[derive(Debug, Args)]
#[command(after_help = PREPARE_EXAMPLES)]
struct PrepareCommand {
    /// UTF-8 text files
    #[arg(long, value_name = "FILE", num_args = 1.., required = true)]
    text: Vec<PathBuf>,

    /// The folder to make; complete once it exists
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Read a data set and compare every file with its manifest.
#[derive(Debug, Args)]
#[command(after_help = VERIFY_EXAMPLES)]
struct VerifyCommand {
    /// The data set's folder
    dir: PathBuf,
}

impl DatasetCommand {
    /// Runs the subcommand.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if it could not do what it was asked.
    pub fn execute(self) -> Result<ExitReason, Failure> {
        let dataset = match self.command {
            DatasetSubcommand::Prepare(arguments) => {
                prepare(&arguments.text, &arguments.out).map_err(prepare_failure)
            }
            DatasetSubcommand::Verify(arguments) => {
                Dataset::open(&arguments.dir).map_err(open_failure)
            }
        }?;
        output::print(&dataset_text(&dataset))?;
        Ok(ExitReason::Done)
    }
}

fn dataset_text(dataset: &Dataset) -> String {
    let mut text = format!("dataset     {}\n", dataset.digest());
    for split in Split::ALL {
        let (bytes, documents) = (dataset.bytes(split), dataset.manifest().documents(split));
        let name = split.to_string();
        text.push_str(&format!("{name:<10}  {documents} documents, {bytes} bytes\n"));
    }
    text
}

fn prepare_failure(error: PrepareError) -> Failure {
    let hint = match &error {
        PrepareError::Read { .. } => "name UTF-8 text files that can be read",
        PrepareError::TooLarge => "leave some of them out",
        PrepareError::EmptySplit { .. } => {
            "a data set needs some 200 KiB of text: documents are cut at blank lines"
        }
        PrepareError::Occupied { .. } => "name another folder, or remove this one",
        PrepareError::Write { .. } | PrepareError::Encode { .. } | PrepareError::Open { .. } => {
            "is there room on the disk, and may you write there?"
        }
    };
    Failure::new(ExitReason::Failed, error).hint(hint)
}

fn open_failure(error: OpenError) -> Failure {
    let (exit, hint) = match &error {
        OpenError::Read { .. } => {
            (ExitReason::Unavailable, "make one with `assay dataset prepare`")
        }
        OpenError::Manifest { .. }
        | OpenError::Format { .. }
        | OpenError::ShardName { .. }
        | OpenError::Altered { .. } => {
            (ExitReason::Failed, "make it again with `assay dataset prepare`, in another folder")
        }
    };
    Failure::new(exit, error).hint(hint)
}
