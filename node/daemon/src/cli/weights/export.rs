//! `assay weights export`.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use node_store::{write_interchange, History};

use super::place::Place;
use crate::cli::runtime::block_on;
use crate::cli::ConfigFlags;
use crate::exit::ExitReason;
use crate::failure::Failure;
use crate::output;
use crate::status::{find, Found};

const EXAMPLES: &str = "\
Examples:
  assay weights export                              to stdout
  assay weights export history.json --data-dir /var/lib/assay
  assay weights export | ssh new assay weights import - --netuid 3

To move a validator: stop the node, export, import on the other machine, start it there. Whatever
the old machine signs after the export is unknown to the new one: never run both.

The format is described in docs/journal.md. It holds no key and no password; where a subnet takes
hash commits it holds their salts, so keep it to yourself until they are revealed.

Exit codes: 0 written; 69 no node has run here, its journal is missing or damaged, or the file
cannot be written.";

/// Write everything this hotkey signed to a file that `import` reads.
///
/// Reads the journal only, so it works beside a running node; nothing is changed.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ExportCommand {
    /// Where to; `-` is stdout. A file is replaced when the new one is complete
    #[arg(value_name = "FILE", default_value = "-")]
    file: PathBuf,

    #[command(flatten)]
    flags: ConfigFlags,
}

/// The file cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write `{path}`")]
struct NotWritten {
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl ExportCommand {
    pub(super) fn execute(self) -> Result<ExitReason, Failure> {
        let place = Place::of(&self.flags)?;
        let owner = place.owner()?;
        let history = place.history(owner)?;
        if self.file.as_os_str() == "-" {
            let mut text = Vec::new();
            write_interchange(&history, &mut text).map_err(Failure::unexpected)?;
            let text = String::from_utf8(text).map_err(Failure::unexpected)?;
            output::print(&text)?;
        } else {
            write_file(&self.file, &history).map_err(|source| {
                Failure::unavailable(NotWritten { path: self.file.clone(), source })
                    .hint("name a file in a directory that is there and may be written")
            })?;
        }
        let (epochs, signatures) = (history.epochs(), history.signatures());
        output::print_error(&format!("exported {epochs} epochs with {signatures} signatures"));
        if place.is_restored(&owner)? {
            output::print_error(
                "warning: this journal was put back from a copy; what was signed after that copy \
                 is not in there, and who imports it does not know that. Let this node go on until \
                 it signs again",
            );
        }
        if is_running(&place) {
            output::print_error(
                "warning: the node is running; what it signs from now on is not in there. Stop it \
                 before you move it",
            );
        }
        Ok(ExitReason::Done)
    }
}

fn write_file(path: &Path, history: &History) -> io::Result<()> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let mut options = OpenOptions::new();
    let file: File = options.write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
    let mut out = BufWriter::new(file);
    write_interchange(history, &mut out)?;
    out.flush()?;
    out.get_ref().sync_all()?;
    std::fs::rename(&partial, path)
}

fn is_running(place: &Place) -> bool {
    matches!(block_on(find(&place.data_dir)), Ok(Ok(status)) if status.found != Found::NotRunning)
}
