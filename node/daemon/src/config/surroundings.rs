//! What a configuration may depend on beside files and flags: variables, home, working directory.
//!
//! A value, so that tests state it instead of changing the process.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The process's surroundings.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// Environment variables with UTF-8 names and values.
    pub variables: BTreeMap<String, String>,
    /// The working directory.
    pub working_dir: PathBuf,
}

impl Surroundings {
    /// Those of this process. Variables that are not UTF-8 are left out.
    #[must_use]
    pub fn of_process() -> Self {
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let working_dir = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
        Self { variables, working_dir }
    }

    /// A variable that is set and not empty.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The user's home; the root where none is known.
    #[must_use]
    pub fn home(&self) -> PathBuf {
        self.variable("HOME").map_or_else(|| PathBuf::from("/"), PathBuf::from)
    }

    /// The directory for state: `$XDG_DATA_HOME/assay`, else `~/.local/share/assay`.
    #[must_use]
    pub fn data_home(&self) -> PathBuf {
        self.xdg("XDG_DATA_HOME", ".local/share")
    }

    /// The directory for settings: `$XDG_CONFIG_HOME/assay`, else `~/.config/assay`.
    #[must_use]
    pub fn config_home(&self) -> PathBuf {
        self.xdg("XDG_CONFIG_HOME", ".config")
    }

    /// `text` as an absolute path: `~/` is the home, anything relative starts here.
    #[must_use]
    pub fn absolute(&self, text: &str) -> PathBuf {
        match text.strip_prefix('~') {
            Some("") => self.home(),
            Some(rest) if rest.starts_with('/') => self.home().join(rest.trim_start_matches('/')),
            _ => self.working_dir.join(text),
        }
    }

    fn xdg(&self, variable: &str, fallback: &str) -> PathBuf {
        let base = self.variable(variable).map(Path::new).filter(|path| path.is_absolute());
        base.map_or_else(|| self.home().join(fallback), Path::to_path_buf).join("assay")
    }
}
