//! Where the node keeps its state.

use std::path::{Path, PathBuf};

use super::key::{Default, Key, Kind};
use super::reader::Reader;
use super::Section;

const DATA_DIR: Key = Key::new(
    "data_dir",
    Kind::Path,
    Default::Derived("`$XDG_DATA_HOME/assay`, else `~/.local/share/assay`"),
)
.about(
    "Everything the node keeps: its store, the journal of what it signed, fetched submissions. \
     One node at a time; a second one is refused. `assay status` finds the node by it.",
)
.example("\"/var/lib/assay\"")
.flag("--data-dir");

pub(super) const SECTION: Section =
    Section { name: "data_dir", about: "Where the node keeps its state.", keys: &[DATA_DIR] };

/// The data directory, absolute; it may not exist yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataDir(PathBuf);

impl DataDir {
    /// A data directory at an absolute path.
    #[must_use]
    pub fn at(path: PathBuf) -> Self {
        Self(path)
    }

    /// Reads this section alone; for [`super::Settings::section`].
    pub fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let home = reader.surroundings().data_home();
        let surroundings = reader.surroundings().clone();
        let given =
            reader.take_optional(&DATA_DIR, |value| super::reader::path(value, &surroundings))?;
        Some(Self(given.unwrap_or_else(|| {
            reader.derive(&DATA_DIR, home.display().to_string(), "the home directory");
            home
        })))
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Where the running node writes its admin address.
    #[must_use]
    pub fn admin_address_file(&self) -> PathBuf {
        self.0.join("admin.addr")
    }

    /// Where the node leaves its latest status.
    #[must_use]
    pub fn status_file(&self) -> PathBuf {
        self.0.join("status.json")
    }
}
