//! What a configuration may depend on beside files and flags: variables, home, working directory.
//!
//! A value, so that tests state it instead of changing the process.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::passwords::PasswordVariables;

/// The process's surroundings.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// Environment variables with UTF-8 names and values, none of which carries a password.
    pub variables: BTreeMap<String, String>,
    /// Those that carry one.
    pub passwords: PasswordVariables,
    /// The working directory.
    pub working_dir: PathBuf,
}

impl Surroundings {
    /// Those of this process. Variables that are not UTF-8 are left out.
    ///
    /// What carries a password is taken out of the environment, so that no child inherits it; a
    /// second call does not find it any more. To be called before there is a second thread, which
    /// might be reading the environment.
    #[must_use]
    pub fn of_process() -> Self {
        let (passwords, others): (Vec<_>, Vec<_>) =
            std::env::vars_os().partition(|(name, _)| PasswordVariables::carries(name));
        for (name, _) in &passwords {
            std::env::remove_var(name);
        }
        let passwords = PasswordVariables::new(passwords);
        let variables = others
            .into_iter()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let working_dir = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
        Self { variables, passwords, working_dir }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_carries_a_password_leaves_the_environment_and_is_never_shown() {
        std::env::set_var("BT_WALLET_PASSWORD", "visible");
        std::env::set_var("BT_PW_A_TEST", "visible");
        let surroundings = Surroundings::of_process();
        for name in ["BT_WALLET_PASSWORD", "BT_PW_A_TEST"] {
            assert!(std::env::var_os(name).is_none(), "{name} is still there for children");
            assert!(!surroundings.variables.contains_key(name), "{name}");
            let value = surroundings.passwords.get(name).unwrap().unwrap();
            assert_eq!(value.as_str(), "visible");
        }
        assert!(surroundings.variable("PATH").is_some(), "the others stay");
        assert!(!format!("{surroundings:?}").contains("visible"));
    }
}
