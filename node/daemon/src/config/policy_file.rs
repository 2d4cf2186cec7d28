//! A policy from a file: a built-in one with what the file changes.
//!
//! Tables are merged, key by key; a key that no policy has is refused. A list of tables, the tiers,
//! is as long as the file's, and each is merged over the built-in one in its place, or over the
//! last. Any other list is replaced.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use figment::providers::{Format as _, Toml};
use figment::Figment;
use node_core::policy::{Policy, PolicyRefused};
use serde_json::Value;

use super::layer::toml_problem;
use crate::failure::Failure;

/// Bytes of such a file; all numbers of a policy are a hundredth of that.
const FILE_BYTES_MAX: u64 = 256 << 10;

/// Why a file is no policy.
#[derive(Debug, thiserror::Error)]
pub enum PolicyFileError {
    /// It cannot be read.
    #[error("cannot read the policy `{}`", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is too large.
    #[error("the policy `{}` has more than {FILE_BYTES_MAX} bytes", path.display())]
    TooLarge {
        /// Which.
        path: PathBuf,
    },
    /// It is not TOML.
    #[error("the policy `{}` is no TOML: {problem}", path.display())]
    NotToml {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// It sets what no policy has.
    #[error("the policy `{}` sets `{field}`, which no policy has", path.display())]
    Unknown {
        /// Which.
        path: PathBuf,
        /// The key.
        field: String,
    },
    /// A value is of another kind.
    #[error("the policy `{}` cannot be understood: {problem}", path.display())]
    Kind {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// It has the name of what is built in.
    #[error("the policy `{}` has no `name` of its own: `{name}` is built in", path.display())]
    Unnamed {
        /// Which.
        path: PathBuf,
        /// What is built in.
        name: String,
    },
    /// The node cannot hold to it.
    #[error("the policy `{}` cannot be held to", path.display())]
    Refused {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: PolicyRefused,
    },
}

impl From<PolicyFileError> for Failure {
    fn from(error: PolicyFileError) -> Self {
        let hint = match &error {
            PolicyFileError::Read { .. } => {
                "set `challenge.nas.policy_file` to a file that this user can read; `assay policy \
                 show` prints such a one"
            }
            PolicyFileError::TooLarge { .. }
            | PolicyFileError::NotToml { .. }
            | PolicyFileError::Unknown { .. }
            | PolicyFileError::Kind { .. }
            | PolicyFileError::Unnamed { .. }
            | PolicyFileError::Refused { .. } => {
                "`assay policy show` prints every number that a policy has, as such a file"
            }
        };
        Self::bad_configuration(error).hint(hint)
    }
}

/// Reads what a file makes of a built-in policy.
///
/// - `taken`: names that are no file's.
///
/// # Errors
///
/// [`PolicyFileError`].
pub(super) fn read(path: &Path, base: &Policy, taken: &[&str]) -> Result<Policy, PolicyFileError> {
    let text = text(path)?;
    merged(&text, base, taken).map_err(|problem| problem.at(path))
}

fn text(path: &Path) -> Result<String, PolicyFileError> {
    let mut text = String::new();
    let read = File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text))
        .map_err(|source| PolicyFileError::Read { path: path.to_owned(), source })?;
    if read as u64 > FILE_BYTES_MAX {
        return Err(PolicyFileError::TooLarge { path: path.to_owned() });
    }
    Ok(text)
}

/// What is wrong, without the file's name.
#[derive(Debug)]
enum Problem {
    NotToml(String),
    Unknown(String),
    Kind(String),
    Unnamed(String),
    Refused(PolicyRefused),
}

impl Problem {
    fn at(self, path: &Path) -> PolicyFileError {
        let path = path.to_owned();
        match self {
            Self::NotToml(problem) => PolicyFileError::NotToml { path, problem },
            Self::Unknown(field) => PolicyFileError::Unknown { path, field },
            Self::Kind(problem) => PolicyFileError::Kind { path, problem },
            Self::Unnamed(name) => PolicyFileError::Unnamed { path, name },
            Self::Refused(source) => PolicyFileError::Refused { path, source },
        }
    }
}

fn merged(text: &str, base: &Policy, taken: &[&str]) -> Result<Policy, Problem> {
    // Its message is a drawing of several lines otherwise.
    toml_edit::ImDocument::parse(text)
        .map_err(|error| Problem::NotToml(toml_problem(&error, text)))?;
    let changes: Value = Figment::from(Toml::string(text))
        .extract()
        .map_err(|error| Problem::NotToml(error.to_string()))?;
    let mut all = serde_json::to_value(base).map_err(|error| Problem::Kind(error.to_string()))?;
    merge(&mut all, changes, "").map_err(Problem::Unknown)?;
    let policy: Policy =
        serde_json::from_value(all).map_err(|error| Problem::Kind(error.to_string()))?;
    if taken.contains(&policy.name.as_str()) {
        return Err(Problem::Unnamed(policy.name));
    }
    policy.check().map_err(Problem::Refused)?;
    Ok(policy)
}

/// Puts changes over a value.
///
/// - `at`: where the value is, for messages; empty for the whole.
/// - The error is the path of a key that is not there.
fn merge(value: &mut Value, change: Value, at: &str) -> Result<(), String> {
    let below = |key: &str| if at.is_empty() { key.to_owned() } else { format!("{at}.{key}") };
    match (value, change) {
        (Value::Object(known), Value::Object(changes)) => {
            for (key, change) in changes {
                let field = below(&key);
                let Some(value) = known.get_mut(&key) else { return Err(field) };
                merge(value, change, &field)?;
            }
            Ok(())
        }
        (Value::Array(known), Value::Array(changes)) if are_tables(known) => {
            let over = |index: usize| known.get(index).or(known.last()).cloned();
            let tables = changes.into_iter().enumerate().map(|(index, change)| {
                let mut table = over(index).unwrap_or_default();
                merge(&mut table, change, &format!("{at}[{index}]"))?;
                Ok(table)
            });
            let tables: Result<Vec<Value>, String> = tables.collect();
            *known = tables?;
            Ok(())
        }
        (value, change) => {
            *value = change;
            Ok(())
        }
    }
}

fn are_tables(values: &[Value]) -> bool {
    !values.is_empty() && values.iter().all(Value::is_object)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::told;

    const TAKEN: [&str; 2] = ["dev", "standard"];

    fn problem(text: &str) -> String {
        merged(text, &Policy::dev(), &TAKEN).unwrap_err().at(Path::new("p.toml")).to_string()
    }

    #[test]
    fn a_file_changes_what_it_names_and_nothing_else() {
        let text = "name = \"four-gpus\"\n[run]\ndevice_count = 4\n\
                    [admission.untrained]\nfinite_tokens = [64]\n\
                    [[scoring.funnel.tiers]]\n[[scoring.funnel.tiers]]\nseeds = 3\n";
        let policy = merged(text, &Policy::standard(), &TAKEN).unwrap();
        let mut expected = Policy::standard();
        expected.name = "four-gpus".to_owned();
        expected.run.device_count = 4;
        expected.admission.untrained.finite_tokens = vec![64];
        expected.scoring.funnel.tiers.truncate(2);
        expected.scoring.funnel.tiers[1].seeds = 3;
        assert_eq!(policy, expected);
        assert_ne!(policy.digest(), Policy::standard().digest());
    }

    #[test]
    fn what_is_shown_of_a_policy_is_a_file_that_gives_it_again() {
        let mut policy = Policy::standard();
        policy.name = "mine".to_owned();
        policy.scoring.funnel.tiers[2].seeds = 2;
        policy.meter.tokens.vocabulary_max = 40_000;
        let text = toml::to_string(&policy).unwrap();
        assert_eq!(merged(&text, &Policy::dev(), &TAKEN).unwrap(), policy);
    }

    #[test]
    fn each_mistake_is_named() {
        let named = |rest: &str| problem(&format!("name = \"mine\"\n{rest}"));
        let no_toml = problem("name = ");
        assert!(no_toml.contains("`p.toml` is no TOML: line 1: "), "{no_toml}");
        assert!(!no_toml.contains('\n'), "{no_toml}");
        let unknown = named("[run]\ndevices = 2\n");
        assert!(unknown.contains("sets `run.devices`, which no policy has"), "{unknown}");
        let unknown = named("[[scoring.funnel.tiers]]\nseed = 2\n");
        assert!(unknown.contains("sets `scoring.funnel.tiers[0].seed`"), "{unknown}");
        let kind = named("[run]\ndevice_count = \"two\"\n");
        assert!(kind.contains("cannot be understood: invalid type"), "{kind}");
        let unnamed = problem("hold_blocks = 7\n");
        assert!(unnamed.contains("has no `name` of its own"), "{unnamed}");
        let refused = merged("name = \"mine\"\n[run]\ndevice_count = 9\n", &Policy::dev(), &TAKEN);
        assert!(matches!(refused, Err(Problem::Refused(PolicyRefused::Bounds { .. }))));
    }

    /// Every way in which numbers are no policy. A new one does not compile until it stands here.
    fn refusals() -> Vec<PolicyRefused> {
        let all = vec![
            PolicyRefused::Bounds { field: "run.pids".to_owned(), got: 0, least: 1, most: 9 },
            PolicyRefused::Name,
            PolicyRefused::FirstTier { meter: 1, tier: 2 },
            PolicyRefused::Nest { tier: 1, cpu_ms: 3, wall_ms: 2 },
            PolicyRefused::Order { lower: "similar_ppm", upper: "same_ppm" },
            PolicyRefused::NobodyPaid { problem: "no tier pays" },
            PolicyRefused::Predictions { bytes: 1 << 40 },
            PolicyRefused::Pools { ppm: 1_000_001 },
        ];
        for refusal in &all {
            match refusal {
                PolicyRefused::Bounds { .. }
                | PolicyRefused::Name
                | PolicyRefused::FirstTier { .. }
                | PolicyRefused::Nest { .. }
                | PolicyRefused::Order { .. }
                | PolicyRefused::NobodyPaid { .. }
                | PolicyRefused::Predictions { .. }
                | PolicyRefused::Pools { .. } => {}
            }
        }
        all
    }

    /// Every way in which a file is no policy. A new one does not compile until it stands here.
    fn no_policies() -> Vec<PolicyFileError> {
        let path = || PathBuf::from("p.toml");
        let gone = io::ErrorKind::NotFound.into();
        let others = [
            PolicyFileError::Read { path: path(), source: gone },
            PolicyFileError::TooLarge { path: path() },
            PolicyFileError::NotToml { path: path(), problem: "line 1: no value".to_owned() },
            PolicyFileError::Unknown { path: path(), field: "run.devices".to_owned() },
            PolicyFileError::Kind { path: path(), problem: "invalid type".to_owned() },
            PolicyFileError::Unnamed { path: path(), name: "dev".to_owned() },
        ];
        let refused = |source| PolicyFileError::Refused { path: path(), source };
        let all: Vec<PolicyFileError> =
            others.into_iter().chain(refusals().into_iter().map(refused)).collect();
        for error in &all {
            match error {
                PolicyFileError::Read { .. }
                | PolicyFileError::TooLarge { .. }
                | PolicyFileError::NotToml { .. }
                | PolicyFileError::Unknown { .. }
                | PolicyFileError::Kind { .. }
                | PolicyFileError::Unnamed { .. }
                | PolicyFileError::Refused { .. } => {}
            }
        }
        all
    }

    #[test]
    fn each_file_that_is_no_policy_says_what_next() {
        insta::assert_snapshot!(told(no_policies().into_iter().map(Failure::from)));
    }
}
