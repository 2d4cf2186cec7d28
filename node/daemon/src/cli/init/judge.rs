//! Whether an answer fits: what the configuration itself says of it, and whether what it names is
//! there.

use crate::config::{withheld, DataDir, Nas, Origin, Settings, Wallet};
use crate::hotkey;

use super::ask::{Objection, Weight};

/// What to do with a value that no file should hold.
pub(super) const SECRET_HINT: &str =
    "start the node with it in the variable instead (`ASSAY_CHAIN__ENDPOINTS` for endpoints)";

/// What is wrong with the value that these settings have for `key`.
pub(super) fn objection(key: &str, settings: &Settings) -> Option<Objection> {
    wrong(key, settings).or_else(|| secret(key, settings)).or_else(|| doubt(key, settings))
}

/// What the configuration says of it, as it would of a file.
fn wrong(key: &str, settings: &Settings) -> Option<Objection> {
    let errors = settings.config().err()?;
    let error = errors.0.into_iter().find(|error| error.key == key)?;
    let hint = error.hint.unwrap_or_default();
    Some(Objection { problem: error.problem, hint, weight: Weight::Wrong })
}

/// What comes from a variable is left out of the file, and goes on coming from there.
fn secret(key: &str, settings: &Settings) -> Option<Objection> {
    let is_typed =
        |(withheld, origin): &(&str, Origin)| *withheld == key && matches!(origin, Origin::Flag(_));
    let objection = || Objection {
        problem: "it holds a user, a password or a key, and no secret is written".to_owned(),
        hint: SECRET_HINT.to_owned(),
        weight: Weight::Wrong,
    };
    withheld(settings).iter().any(is_typed).then(objection)
}

/// What is not there, and may come.
fn doubt(key: &str, settings: &Settings) -> Option<Objection> {
    let doubtful = |problem: String, hint: &str| {
        Some(Objection { problem, hint: hint.to_owned(), weight: Weight::Doubtful })
    };
    match key {
        "wallet.hotkey" => {
            let wallet = settings.section(Wallet::read).ok()?;
            let (problem, hint) = hotkey::read(&wallet).err()?.in_a_line();
            doubtful(problem, &hint.unwrap_or_default())
        }
        "data_dir" => {
            let data_dir = settings.section(DataDir::read).ok()?;
            let found = std::fs::metadata(data_dir.path()).ok().filter(|found| !found.is_dir())?;
            let kind = if found.is_file() { "a file" } else { "no directory" };
            let problem = format!("`{}` is {kind}", data_dir.path().display());
            doubtful(problem, "name a directory, or one that is to be made")
        }
        "challenge.nas.dataset" => {
            let nas = settings.section(Nas::read).ok()?;
            let manifest = nas.dataset.join("MANIFEST.json");
            if manifest.is_file() {
                return None;
            }
            let problem = format!("there is no data set in `{}`", nas.dataset.display());
            doubtful(problem, "`assay dataset prepare` makes one")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{FlagValue, Surroundings};

    fn judged(dir: &std::path::Path, key: &str, text: &str) -> Option<Objection> {
        let home = ("HOME".to_owned(), dir.display().to_string());
        let surroundings = Surroundings {
            variables: [home].into_iter().collect(),
            working_dir: dir.to_owned(),
            ..Surroundings::default()
        };
        let value =
            FlagValue { flag: "--flag".to_owned(), key: key.to_owned(), text: text.to_owned() };
        objection(key, &Settings::without_file(&[value], surroundings))
    }

    #[test]
    fn what_the_configuration_refuses_is_wrong_with_its_reason() {
        let dir = tempfile::tempdir().unwrap();
        for (key, text, problem) in [
            ("chain.netuid", "70000", "not a whole number from 0 to 65535"),
            ("chain.network", "finey", "not a known network"),
            ("chain.endpoints", "http://h", "`http://h` is not a WebSocket URL"),
            ("wallet.name", "../x", "a path, not a name"),
            ("challenge.nas.policy", "prod", "not a known value"),
            ("devices.gpus", "on", "not a known value"),
            ("devices.cpu_slots", "-1", "not a whole number from 0 to 256"),
            ("chain.endpoints", "wss://h/v1/key", "it holds a user"),
        ] {
            let found = judged(dir.path(), key, text).unwrap();
            assert!(found.problem.starts_with(problem), "{key}: {found:?}");
            assert_eq!(found.weight, Weight::Wrong, "{key}");
            assert!(!found.hint.is_empty(), "{key}");
        }
    }

    #[test]
    fn what_is_not_there_yet_is_doubtful_and_what_is_there_is_fine() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        for (key, text) in [
            ("wallet.hotkey", "default"),
            ("data_dir", "file"),
            ("challenge.nas.dataset", "nowhere"),
        ] {
            let found = judged(dir.path(), key, text).unwrap();
            assert_eq!(found.weight, Weight::Doubtful, "{key}");
            assert!(!found.hint.is_empty() && !found.problem.contains("error:"), "{found:?}");
        }
        std::fs::create_dir(dir.path().join("set")).unwrap();
        std::fs::write(dir.path().join("set/MANIFEST.json"), "").unwrap();
        for (key, text) in [
            ("chain.netuid", "3"),
            ("data_dir", "."),
            ("data_dir", "to/be/made"),
            ("challenge.nas.dataset", "set"),
            ("chain.endpoints", "ws://127.0.0.1:9944,wss://node.example:443"),
        ] {
            assert_eq!(judged(dir.path(), key, text), None, "{key}");
        }
    }
}
