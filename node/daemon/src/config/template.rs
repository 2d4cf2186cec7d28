//! A configuration file in which every key stands with what it does: what was chosen as it holds,
//! everything else behind a sign.
//!
//! The words are those of the reference (`docs/configuration.md`), from the same table. Every line
//! has its whole key, so that taking a sign away changes nothing but that key.
//!
//! Not here: what is chosen (`cli::init`), and how the file gets onto the disk.

use figment::value::Value;

use super::key::{Default, Key, Kind};
use super::layer;
use super::origin::Origin;
use super::reference;
use super::settings::Settings;
use super::text;
use super::SECTIONS;

/// Columns of a line of words.
const COLUMNS: usize = 98;

const HEAD: &str = "\
# The configuration of an Assay node, written by `assay init`.
#
# What was chosen stands without a sign. A line that begins with `# ` and a key shows its default,
# or an example where it has none, and does nothing until the sign is taken away. A flag or a
# variable beats this file: `assay config show --origin` says what holds, and why; `assay doctor`
# whether it works.
#
# There is no secret in here, and none belongs here: see `wallet.password_file`.
";

/// The file for what was set, by whatever.
///
/// Left out, so that the default holds: what has a user, a password or a key in its URL, see
/// [`withheld`].
#[must_use]
pub fn template(settings: &Settings) -> String {
    let mut out = HEAD.to_owned();
    for section in SECTIONS {
        let title = format!("{}: {}", section.name, section.about);
        out.push_str(&format!("\n#\n{}#\n", comment(&title)));
        for key in section.keys {
            out.push_str(&entry(settings, key));
        }
    }
    out
}

/// Keys that were set to what no file should hold, each with where it was set.
#[must_use]
pub fn withheld(settings: &Settings) -> Vec<(&'static str, Origin)> {
    let secret = |key: &'static Key| {
        let (value, origin) = settings.chosen(key)?;
        text::holds_credentials(key.path, &value).then_some((key.path, origin))
    };
    super::keys().filter_map(secret).collect()
}

fn entry(settings: &Settings, key: &Key) -> String {
    let mut out = format!("\n{}", comment(key.about));
    out.push_str(&comment(&format!("Default: {}.", reference::default(key))));
    let chosen = settings.chosen(key);
    match chosen.filter(|(value, _)| !text::holds_credentials(key.path, value)) {
        Some((value, _)) => {
            let value = text::whole(&anchored(settings, key, value));
            out.push_str(&format!("{} = {value}\n", key.path));
        }
        None => out.push_str(&format!("# {} = {}\n", key.path, sample(key))),
    }
    out
}

/// The value as it means the same from wherever the file is read: a path from the root, or from the
/// home if it was written so.
fn anchored(settings: &Settings, key: &Key, value: Value) -> Value {
    match (key.kind, value) {
        (Kind::Path | Kind::Paths, Value::String(tag, path)) if !path.starts_with('~') => {
            let path = settings.surroundings.absolute(&path);
            Value::String(tag, path.display().to_string())
        }
        (Kind::Paths, Value::Array(tag, paths)) => {
            let paths = paths.into_iter().map(|path| anchored(settings, key, path));
            Value::Array(tag, paths.collect())
        }
        (_, value) => value,
    }
}

/// The default as it stands in a file; where that is nothing, the example.
fn sample(key: &Key) -> String {
    match key.default {
        Default::Value("") if matches!(key.kind, Kind::List | Kind::Paths) => "[]".to_owned(),
        Default::Value(default) => {
            let settings = layer::settings_of(key.path, default, &Origin::Default);
            settings.first().map_or_else(String::new, |setting| text::whole(&setting.value))
        }
        Default::Required | Default::Unset | Default::Derived(_) => key.example.to_owned(),
    }
}

fn comment(words: &str) -> String {
    wrapped(words, COLUMNS).iter().map(|line| format!("# {line}\n")).collect()
}

/// `words` in lines of at most `columns` characters. A word that is longer has its own line.
#[must_use]
pub fn wrapped(words: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in words.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= columns => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{FlagValue, Surroundings};
    use super::*;

    fn surroundings(dir: &Path) -> Surroundings {
        let home = ("HOME".to_owned(), dir.display().to_string());
        Surroundings {
            variables: [home].into_iter().collect(),
            working_dir: dir.to_owned(),
            ..Surroundings::default()
        }
    }

    fn chosen(values: &[(&str, &str)]) -> Vec<FlagValue> {
        let value = |(key, text): &(&str, &str)| FlagValue {
            flag: format!("--set {key}"),
            key: (*key).to_owned(),
            text: (*text).to_owned(),
        };
        values.iter().map(value).collect()
    }

    /// The whole configuration that the node reads from a file of these choices, and the one that
    /// it has with them as flags.
    fn round_trip(values: &[(&str, &str)]) -> (String, String) {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings::without_file(&chosen(values), surroundings(dir.path()));
        let path = dir.path().join("written.toml");
        std::fs::write(&path, template(&settings)).unwrap();
        let read = Settings::load(Some(&path), &[], surroundings(dir.path()));
        let shown = |settings: &Settings| format!("{:#?}", settings.config().unwrap());
        (shown(&read), shown(&settings))
    }

    #[test]
    fn paths_mean_the_same_from_wherever_the_file_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let chosen = chosen(&[
            ("chain.netuid", "3"),
            ("data_dir", "data"),
            ("wallet.path", "~/wallets"),
            ("challenge.nas.content_dirs", "one,/srv/two"),
        ]);
        let settings = Settings::without_file(&chosen, surroundings(dir.path()));
        let path = dir.path().join("written.toml");
        std::fs::write(&path, template(&settings)).unwrap();
        let elsewhere = Surroundings { working_dir: "/".into(), ..surroundings(dir.path()) };
        let read = Settings::load(Some(&path), &[], elsewhere).config().unwrap();
        assert_eq!(read.data_dir.path(), dir.path().join("data"));
        assert_eq!(read.wallet.path, dir.path().join("wallets"));
        let contents = [dir.path().join("one"), "/srv/two".into()];
        assert_eq!(read.challenge.nas.content_dirs, contents);
    }

    #[test]
    fn a_file_without_choices_gives_the_defaults() {
        let (read, defaults) = round_trip(&[("chain.netuid", "3")]);
        assert_eq!(read, defaults);
    }

    #[test]
    fn a_file_gives_what_was_chosen_whatever_its_kind() {
        let values = [
            ("chain.netuid", "3"),
            ("chain.network", "test"),
            ("chain.endpoints", "ws://127.0.0.1:9944,wss://node.example:443"),
            ("wallet.name", "a \"quoted\" name\\"),
            ("data_dir", "/var/lib/assay"),
            ("devices.cpu_slots", "7"),
            ("peer.publish_axon", "true"),
            ("peer.advertise", "203.0.113.7:8091"),
            ("peer.endpoints", "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY=127.0.0.1:8092"),
            ("challenge.nas.content_dirs", "/srv/one,/srv/two"),
            ("review.endpoint", "https://llm.example/v1/chat/completions"),
            ("review.model", "reviewer"),
        ];
        let (read, given) = round_trip(&values);
        assert_eq!(read, given);
        for text in ["/v1/chat/completions", "quoted", "203.0.113.7:8091", "/srv/two"] {
            assert!(read.contains(text), "{text} is not in {read}");
        }
    }

    #[test]
    fn every_key_stands_in_it_once_and_is_valid_without_its_sign() {
        let dir = tempfile::tempdir().unwrap();
        let text = template(&Settings::without_file(&[], surroundings(dir.path())));
        let uncovered = |line: &str| {
            let rest = line.strip_prefix("# ")?;
            let is_key = super::super::keys()
                .any(|key| rest.strip_prefix(key.path).is_some_and(|rest| rest.starts_with(" = ")));
            is_key.then(|| rest.to_owned())
        };
        let lines: Vec<String> = text.lines().filter_map(uncovered).collect();
        assert_eq!(lines.len(), super::super::keys().count(), "{lines:#?}");
        let path = dir.path().join("uncovered.toml");
        std::fs::write(&path, lines.join("\n")).unwrap();
        let read = Settings::load(Some(&path), &[], surroundings(dir.path()));
        let config = read.config().map_err(|errors| errors.to_string()).unwrap();
        assert_eq!(config.chain.netuid.0, 3, "the example");
    }

    #[test]
    fn no_line_of_words_is_wider_than_a_hundred_columns() {
        let dir = tempfile::tempdir().unwrap();
        let text = template(&Settings::without_file(&[], surroundings(dir.path())));
        for line in text.lines().filter(|line| !line.contains(" = ")) {
            assert!(line.chars().count() <= 100, "{line}");
        }
        for key in super::super::keys() {
            let first = wrapped(key.about, COLUMNS).remove(0);
            assert!(text.contains(&format!("# {first}\n")), "{}", key.path);
        }
    }

    #[test]
    fn an_endpoint_with_a_key_in_it_is_left_out_and_named() {
        let dir = tempfile::tempdir().unwrap();
        let keyed = [("chain.netuid", "3"), ("chain.endpoints", "wss://node.example/v1/0123abc")];
        let settings = Settings::without_file(&chosen(&keyed), surroundings(dir.path()));
        let text = template(&settings);
        assert!(!text.contains("0123abc"), "{text}");
        let left_out: Vec<&str> = withheld(&settings).iter().map(|(key, _)| *key).collect();
        assert_eq!(left_out, ["chain.endpoints"]);
    }
}
