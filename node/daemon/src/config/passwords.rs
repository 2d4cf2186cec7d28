//! Variables that carry a key's password. They leave the process's environment when it is read:
//! no child inherits them, and nothing that shows variables can show them.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::sync::Arc;

use node_chain::PASSWORD_VARIABLE_PREFIX;
use zeroize::Zeroizing;

/// Bittensor's variable with the password itself.
pub const PASSWORD_VARIABLE: &str = "BT_WALLET_PASSWORD";

/// Bittensor's variable with the path of a file that holds the password. No secret itself.
pub const PASSWORD_FILE_VARIABLE: &str = "BT_WALLET_PASSWORD_FILE";

/// Values of variables that carry passwords; wiped when the last copy goes, and never shown.
#[derive(Clone, Default)]
pub struct PasswordVariables(Arc<BTreeMap<String, Option<Zeroizing<String>>>>);

impl PasswordVariables {
    /// Whether a variable's value is a password.
    pub(super) fn carries(name: &OsStr) -> bool {
        name == PASSWORD_VARIABLE
            || name.as_encoded_bytes().starts_with(PASSWORD_VARIABLE_PREFIX.as_bytes())
    }

    /// These variables. A name that is not UTF-8 belongs to no key that can be configured.
    pub(crate) fn new(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let text = |value: OsString| value.into_string().ok().map(Zeroizing::new);
        let named = variables
            .into_iter()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, text(value))));
        Self(Arc::new(named.collect()))
    }

    /// A variable that is set and not empty. The inner `None` says that it is not UTF-8.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Option<&Zeroizing<String>>> {
        let value = self.0.get(name)?;
        let is_empty = value.as_ref().is_some_and(|value| value.is_empty());
        (!is_empty).then_some(value.as_ref())
    }
}

impl fmt::Debug for PasswordVariables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_shown_and_the_values_never() {
        let variables = [("BT_PW_X", "visible"), (PASSWORD_VARIABLE, "")];
        let variables = variables.map(|(name, value)| (name.into(), value.into()));
        let passwords = PasswordVariables::new(variables);
        assert_eq!(passwords.get("BT_PW_X").unwrap().unwrap().as_str(), "visible");
        assert!(passwords.get(PASSWORD_VARIABLE).is_none(), "an empty one is none");
        let shown = format!("{passwords:?}");
        assert!(shown.contains("BT_PW_X") && !shown.contains("visible"), "{shown}");
    }

    #[test]
    fn only_what_carries_a_password_is_taken() {
        for name in ["BT_PW__HOME_X", "BT_WALLET_PASSWORD"] {
            assert!(PasswordVariables::carries(OsStr::new(name)), "{name}");
        }
        for name in ["BT_WALLET_PASSWORD_FILE", "BT_WALLET_NAME", "BT_P", "PATH"] {
            assert!(!PasswordVariables::carries(OsStr::new(name)), "{name}");
        }
    }
}
