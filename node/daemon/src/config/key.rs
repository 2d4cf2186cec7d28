//! What is known about a configuration key before any value is seen.
//!
//! One table per section drives everything: defaults, flags, variables, unknown-key errors,
//! `assay config show` and the reference in `docs/configuration.md`.

/// A configuration key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name with the section: `chain.netuid`.
    pub path: &'static str,
    /// What its value looks like.
    pub kind: Kind,
    /// What holds when nobody sets it.
    pub default: Default,
    /// What it does; sentences for the reference.
    pub about: &'static str,
    /// A value as it stands in a file.
    pub example: &'static str,
    /// The flag that sets it, if one does beside `--set`.
    pub flag: Option<&'static str>,
    /// Bittensor's variable for it, if there is one.
    pub bittensor_variable: Option<&'static str>,
}

/// What a value looks like; decides how a variable's or a flag's text is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any text: names, addresses.
    Text,
    /// A path; what is relative starts at the working directory, `~/` at the home.
    Path,
    /// A whole number.
    Integer,
    /// `true` or `false`.
    Boolean,
    /// A list of texts; in variables and flags separated by commas.
    List,
    /// A list of paths, written like one of texts.
    Paths,
    /// A table from text to text; in variables and flags `name=value,name=value`.
    Map,
}

/// What holds when nobody sets a key.
#[derive(Clone, Copy, Debug)]
pub enum Default {
    /// Nothing: the key has to be set.
    Required,
    /// Nothing: the key may stay unset.
    Unset,
    /// This text, read like a variable's.
    Value(&'static str),
    /// Something that follows from other keys or from the host, in words.
    Derived(&'static str),
}

impl Key {
    /// A key without flag and Bittensor variable.
    pub(super) const fn new(path: &'static str, kind: Kind, default: Default) -> Self {
        Self { path, kind, default, about: "", example: "", flag: None, bittensor_variable: None }
    }

    pub(super) const fn about(mut self, about: &'static str) -> Self {
        self.about = about;
        self
    }

    pub(super) const fn example(mut self, example: &'static str) -> Self {
        self.example = example;
        self
    }

    pub(super) const fn flag(mut self, flag: &'static str) -> Self {
        self.flag = Some(flag);
        self
    }

    pub(super) const fn bittensor(mut self, variable: &'static str) -> Self {
        self.bittensor_variable = Some(variable);
        self
    }

    /// The node's own variable for this key: `ASSAY_CHAIN__NETUID`.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("{}{}", super::layer::VARIABLE_PREFIX, self.path.to_uppercase().replace('.', "__"))
    }

    /// Whether `path` is this key, or an entry of it where the key is a table.
    #[must_use]
    pub fn covers(&self, path: &str) -> bool {
        match path.strip_prefix(self.path) {
            Some("") => true,
            Some(rest) => self.kind == Kind::Map && rest.starts_with('.'),
            None => false,
        }
    }
}
