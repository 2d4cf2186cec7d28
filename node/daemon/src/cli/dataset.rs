//! `assay dataset`: the text that submissions are trained and measured on.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use node_core::id::Digest;
use node_evaluator::dataset::{
    prepare_from, Dataset, OpenError, PrepareError, Progress, Recipe, Replace, Source, SourceKind,
    Split,
};
use tokio::signal::unix::{signal, SignalKind};

use super::runtime::block_on;
use crate::exit::ExitReason;
use crate::failure::Failure;
use crate::output;

/// How often a long preparation says how far it is.
const REPORT_EVERY: Duration = Duration::from_secs(5);

const PREPARE_EXAMPLES: &str = "\
Examples:
  assay dataset prepare --text book-1.txt book-2.txt --out ~/.local/share/assay/datasets/nas
  assay dataset prepare --text corpus/*.txt --out /srv/datasets/nas
  assay dataset prepare --parquet fineweb-edu/data --revision 'fineweb-edu v1.3.0' \
--shard-mib 256 --out /srv/datasets/nas
  assay dataset prepare --jsonl a.jsonl b.jsonl --field content --out /srv/datasets/nas
  assay config show | grep challenge.nas.dataset     where a node looks for it

Takes twice the text's room on the disk of --out while it works. Ctrl-C leaves nothing behind.";

const VERIFY_EXAMPLES: &str = "\
Examples:
  assay dataset verify ~/.local/share/assay/datasets/nas
  assay dataset verify /srv/datasets/nas --digest 32c6a520...

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

/// Make a data set from plain text, JSON lines or Parquet.
///
/// The same text gives the same data set, whatever the order of the files and however often a
/// document stands in them: validators that use the same files, revision and shard size get the
/// same digest, and leases and receipts carry it.
#[derive(Debug, Args)]
#[command(after_help = PREPARE_EXAMPLES)]
#[command(group(clap::ArgGroup::new("source").required(true).multiple(true)))]
struct PrepareCommand {
    /// UTF-8 text files, or folders that are searched for .txt and .md; cut into documents of some
    /// 2 KiB at blank lines
    #[arg(long, value_name = "PATH", num_args = 1.., group = "source")]
    text: Vec<PathBuf>,

    /// Files with a JSON object per line, or folders that are searched for .jsonl, .ndjson and
    /// .json; a document each
    #[arg(long, value_name = "PATH", num_args = 1.., group = "source")]
    jsonl: Vec<PathBuf>,

    /// Parquet files, or folders that are searched for .parquet; a document per row
    #[arg(long, value_name = "PATH", num_args = 1.., group = "source")]
    parquet: Vec<PathBuf>,

    /// The field or column with the text
    #[arg(long, value_name = "NAME", default_value = "text")]
    field: String,

    /// Which version of its sources the data set is made from; stands in the manifest
    #[arg(long, value_name = "NAME")]
    revision: Option<String>,

    /// Size of a shard; a split has 900 at most
    #[arg(long, value_name = "MIB", default_value_t = 16,
          value_parser = clap::value_parser!(u64).range(1..=4096))]
    shard_mib: u64,

    /// Remove another data set in the folder once the new one is complete
    #[arg(long)]
    replace: bool,

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

    /// The digest that it must have: of the manifest, and so of everything
    #[arg(long, value_name = "HEX")]
    digest: Option<Digest>,
}

impl DatasetCommand {
    /// Runs the subcommand.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if it could not do what it was asked.
    pub fn execute(self) -> Result<ExitReason, Failure> {
        let dataset = match self.command {
            DatasetSubcommand::Prepare(arguments) => match arguments.execute()? {
                Some(dataset) => dataset,
                None => return Ok(ExitReason::LeftAtOnce),
            },
            DatasetSubcommand::Verify(arguments) => arguments.execute()?,
        };
        output::print(&dataset_text(&dataset))?;
        Ok(ExitReason::Done)
    }
}

impl VerifyCommand {
    fn execute(self) -> Result<Dataset, Failure> {
        let dataset = Dataset::open(&self.dir).map_err(open_failure)?;
        match self.digest {
            Some(expected) if expected != dataset.digest() => {
                let text = format!("the data set has the digest {}", dataset.digest());
                let hint = "its files fit its manifest, which is another one: fetch it again";
                Err(Failure::new(ExitReason::Failed, text).hint(hint))
            }
            _ => Ok(dataset),
        }
    }
}

impl PrepareCommand {
    /// `None` if a signal ended it.
    fn execute(self) -> Result<Option<Dataset>, Failure> {
        let kinds = [
            (SourceKind::Text, self.text),
            (SourceKind::JsonLines, self.jsonl),
            (SourceKind::Parquet, self.parquet),
        ];
        let sources = kinds
            .into_iter()
            .flat_map(|(kind, paths)| paths.into_iter().map(move |path| Source { path, kind }));
        let recipe = Recipe {
            sources: sources.collect(),
            field: self.field,
            revision: self.revision,
            shard_bytes: self.shard_mib << 20,
            replace: if self.replace { Replace::Yes } else { Replace::No },
        };
        let prepared = block_on(interruptible(&recipe, &self.out)).and_then(|prepared| prepared);
        match prepared.map_err(Failure::unexpected)? {
            Err(PrepareError::Stopped) => {
                output::print_error("stopped; nothing was made");
                Ok(None)
            }
            result => result.map(Some).map_err(prepare_failure),
        }
    }
}

/// Prepares until a signal comes.
async fn interruptible(
    recipe: &Recipe,
    out: &Path,
) -> std::io::Result<Result<Dataset, PrepareError>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    static IS_STOPPED: AtomicBool = AtomicBool::new(false);
    let (recipe, out) = (recipe.clone(), out.to_owned());
    let mut work = tokio::task::spawn_blocking(move || {
        let mut said = Instant::now();
        prepare_from(&recipe, &out, &mut |progress| {
            if said.elapsed() >= REPORT_EVERY {
                said = Instant::now();
                output::print_error(&progress_text(progress));
            }
            match IS_STOPPED.load(Ordering::Relaxed) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        })
    });
    loop {
        tokio::select! {
            done = &mut work => return done.map_err(std::io::Error::other),
            _ = interrupt.recv() => IS_STOPPED.store(true, Ordering::Relaxed),
            _ = terminate.recv() => IS_STOPPED.store(true, Ordering::Relaxed),
        }
    }
}

fn progress_text(progress: &Progress) -> String {
    let Progress { read_bytes, source_bytes, documents, sorted } = progress;
    let [read, all] = [read_bytes, source_bytes].map(|bytes| bytes / 1_000_000);
    match sorted {
        0 => format!("reading: {read} of {all} MB, {documents} documents"),
        _ => format!("writing: {sorted} of 256 parts, {documents} documents"),
    }
}

fn dataset_text(dataset: &Dataset) -> String {
    let mut text = format!("dataset     {}\n", dataset.digest());
    if let Some(revision) = dataset.manifest().revision() {
        text.push_str(&format!("revision    {revision}\n"));
    }
    for split in Split::ALL {
        let (bytes, documents) = (dataset.bytes(split), dataset.manifest().documents(split));
        let name = split.to_string();
        text.push_str(&format!("{name:<10}  {documents} documents, {bytes} bytes\n"));
    }
    text
}

fn prepare_failure(error: PrepareError) -> Failure {
    let hint = match &error {
        PrepareError::Read { .. } => "name files and folders that can be read",
        PrepareError::EmptyFolder { .. } => "name the files, or use the flag of their kind",
        PrepareError::NotText { .. } | PrepareError::TooLong { .. } => {
            "mend the file, or leave it out"
        }
        PrepareError::Json { .. } | PrepareError::NoColumn { .. } => {
            "`--field` names the field or column with the text"
        }
        PrepareError::Table { .. } => "fetch the file again, or leave it out",
        PrepareError::Revision => "give `--revision` a short name, a tag or a commit",
        PrepareError::TooManyShards { .. } => "make larger ones with `--shard-mib`",
        PrepareError::EmptySplit { .. } => {
            "give `--text`, `--jsonl` or `--parquet` more: a data set needs some 100 documents, \
             which are 200 KiB of plain text"
        }
        PrepareError::Occupied { .. } => "name another folder, or allow it with `--replace`",
        PrepareError::Write { .. } | PrepareError::Encode { .. } | PrepareError::Open { .. } => {
            "`--out` has to be a folder that this user can write, on a disk with room for twice \
             the text"
        }
        PrepareError::Stopped => "`assay dataset prepare` begins anew",
    };
    let exit = match &error {
        PrepareError::Revision => ExitReason::BadConfiguration,
        _ => ExitReason::Failed,
    };
    Failure::new(exit, error).hint(hint)
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

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::failure::told;

    fn path() -> PathBuf {
        PathBuf::from("/srv/corpus")
    }

    fn denied() -> io::Error {
        io::ErrorKind::PermissionDenied.into()
    }

    fn not_json() -> serde_json::Error {
        serde_json::from_str::<u8>("x").unwrap_err()
    }

    /// Every way in which a data set does not open. A new one does not compile until it stands
    /// here.
    fn unopened() -> Vec<OpenError> {
        let (expected, got) = (Digest([1; 32]), Digest([2; 32]));
        let all = vec![
            OpenError::Read { path: path(), source: denied() },
            OpenError::Manifest { path: path(), source: not_json() },
            OpenError::Format { got: "assay-dataset/9".to_owned() },
            OpenError::ShardName { file: "../train".to_owned() },
            OpenError::Altered { path: path(), expected, got },
        ];
        for error in &all {
            match error {
                OpenError::Read { .. }
                | OpenError::Manifest { .. }
                | OpenError::Format { .. }
                | OpenError::ShardName { .. }
                | OpenError::Altered { .. } => {}
            }
        }
        all
    }

    /// Every way to make no data set. A new one does not compile until it stands here.
    fn unprepared() -> Vec<PrepareError> {
        let (path, split) = (path(), Split::ALL[0]);
        let open = OpenError::Read { path: path.clone(), source: denied() };
        let all = vec![
            PrepareError::Read { path: path.clone(), source: denied() },
            PrepareError::EmptyFolder { path: path.clone(), suffixes: "txt or .md".to_owned() },
            PrepareError::NotText { path: path.clone(), record: 3 },
            PrepareError::TooLong { path: path.clone(), record: 3 },
            PrepareError::Json { path: path.clone(), line: 3, source: not_json() },
            PrepareError::Table { path: path.clone(), source: "no magic number".into() },
            PrepareError::NoColumn { path: path.clone(), field: "text".to_owned() },
            PrepareError::Revision,
            PrepareError::TooManyShards { split },
            PrepareError::EmptySplit { split, documents: 3 },
            PrepareError::Occupied { dir: path.clone() },
            PrepareError::Write { path, source: denied() },
            PrepareError::Encode { source: not_json() },
            PrepareError::Open { source: open },
            PrepareError::Stopped,
        ];
        for error in &all {
            match error {
                PrepareError::Read { .. }
                | PrepareError::EmptyFolder { .. }
                | PrepareError::NotText { .. }
                | PrepareError::TooLong { .. }
                | PrepareError::Json { .. }
                | PrepareError::Table { .. }
                | PrepareError::NoColumn { .. }
                | PrepareError::Revision
                | PrepareError::TooManyShards { .. }
                | PrepareError::EmptySplit { .. }
                | PrepareError::Occupied { .. }
                | PrepareError::Write { .. }
                | PrepareError::Encode { .. }
                | PrepareError::Open { .. }
                | PrepareError::Stopped => {}
            }
        }
        all
    }

    #[test]
    fn each_way_to_have_no_data_set_says_what_next() {
        let unopened = unopened().into_iter().map(open_failure);
        let unprepared = unprepared().into_iter().map(prepare_failure);
        insta::assert_snapshot!(told(unopened.chain(unprepared)));
    }
}
