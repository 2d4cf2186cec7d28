//! Everything that each check can say, as a snapshot per check: a text that changes is seen, and a
//! check without texts fails.
//!
//! The tables stand beside the checks, in the function `findings` of each file's tests.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{
    advisories, chain, devices, exposure, hangs, host, kernel, own, probe, running, storage,
    Finding, Level, Topic, UNFINISHED,
};
use crate::config::{Config, FlagValue, Settings, Surroundings};

/// A home, which is the working directory, too, with a whole configuration in it.
pub(super) struct Operator {
    dir: tempfile::TempDir,
}

impl Operator {
    pub(super) fn new() -> Self {
        let operator = Self { dir: tempfile::tempdir().unwrap() };
        operator.write(
            "assay.toml",
            "data_dir = \"data\"\n\
             [chain]\nnetuid = 3\nendpoints = [\"ws://127.0.0.1:1\"]\n\
             [wallet]\nname = \"w\"\nhotkey = \"h\"\n\
             [challenge.nas]\ndataset = \"dataset\"\n",
        );
        operator
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(super) fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    /// Adds to the end of the configuration, whose last table is `challenge.nas`.
    pub(super) fn append(&self, lines: &str) {
        let text = std::fs::read_to_string(self.path("assay.toml")).unwrap();
        self.write("assay.toml", &(text + lines));
    }

    pub(super) fn settings(&self) -> Settings {
        Settings::load(Some(&self.path("assay.toml")), &[], self.surroundings())
    }

    /// - `set`: as behind `--set`.
    pub(super) fn settings_without_file(&self, set: &[&str]) -> Settings {
        let values = set.iter().filter_map(|one| one.split_once('='));
        let values = values.map(|(key, text)| FlagValue {
            flag: "--set".to_owned(),
            key: key.to_owned(),
            text: text.to_owned(),
        });
        Settings::without_file(&values.collect::<Vec<_>>(), self.surroundings())
    }

    pub(super) fn config(&self) -> Config {
        self.settings().config().unwrap()
    }

    /// The same findings on every machine.
    pub(super) fn here(&self, found: Vec<Finding>) -> Vec<Finding> {
        let dir = self.dir.path().display().to_string();
        found.into_iter().map(|finding| finding.replaced(&dir, "$DIR")).collect()
    }

    fn surroundings(&self) -> Surroundings {
        let home = self.dir.path().display().to_string();
        Surroundings {
            variables: BTreeMap::from([("HOME".to_owned(), home)]),
            working_dir: self.dir.path().to_owned(),
            ..Surroundings::default()
        }
    }
}

fn all() -> Vec<Finding> {
    [
        host::tests::findings(),
        storage::tests::findings(),
        kernel::tests::findings(),
        exposure::tests::findings(),
        chain::tests::findings(),
        own::tests::findings(),
        advisories::tests::findings(),
        devices::tests::findings(),
        probe::tests::findings(),
        running::tests::findings(),
    ]
    .concat()
}

/// A topic's name and reason, and its findings in the order of their tables.
fn of_name(name: &str, all: &[Finding]) -> String {
    let topics = Topic::all().filter(|topic| topic.name() == name);
    let parts = topics.map(|topic| {
        let found: Vec<&Finding> = all.iter().filter(|one| one.topic() == topic).collect();
        assert!(!found.is_empty(), "nothing is said of {topic:?}: give its file's tests its texts");
        format!("why: {}\n\n{}", topic.why(), super::told(found))
    });
    parts.collect::<Vec<_>>().join("\n\n")
}

#[test]
fn every_text_of_every_check_is_known() {
    let all = all();
    let mut names: Vec<&str> = Topic::all().map(Topic::name).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        insta::assert_snapshot!(name.to_owned(), of_name(name, &all));
    }
}

#[test]
fn a_check_that_gives_no_answer_is_told_with_what_to_do() {
    let crash = std::io::Error::other("task 7 panicked");
    let found = [hangs(Topic::Engine), Finding::of_error(Topic::Dataset, &crash, UNFINISHED)];
    insta::assert_snapshot!("unfinished", super::told(&found));
}

/// A part of a sentence, which stands behind `next:`; none says what only a checkout can do.
#[test]
fn whatever_is_not_in_order_has_a_next_step_for_whoever_has_the_package_alone() {
    for finding in all() {
        let said = super::told([&finding]);
        let Some(next) = finding.next_step() else {
            assert_eq!(finding.level(), Level::Ok, "nothing is to be done: {said}");
            continue;
        };
        assert!(finding.level() != Level::Ok, "something is to be done about nothing: {said}");
        assert!(next.len() > 10 && !next.ends_with('.'), "{said}");
        assert!(next.chars().next().is_some_and(|first| !first.is_uppercase()), "{said}");
        let others = ["apt-get ", "systemctl ", "docker save "];
        let is_for_all = others.iter().any(|other| next.contains(other));
        assert!(!next.contains("scripts/") || is_for_all, "{said}");
    }
}
