//! The table of small projects and the verdicts on them (`cases.toml`), for all tests that read it.

use std::collections::BTreeMap;
use std::io::{Cursor, Write as _};

use node_core::admission::{Rejection, Verdict};
use node_core::policy::Policy;
use serde::Deserialize;

const TABLE: &str = include_str!("cases.toml");

/// What follows after a case's code.
const LOOP: &str = "\n\n\ndef train(ctx):\n    pass\n";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    case: Vec<Case>,
}

/// A row.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    pub(crate) name: String,
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    files: BTreeMap<String, String>,
    #[serde(default)]
    bare: bool,
    #[serde(default = "dev")]
    pub(crate) policy: String,
    #[serde(default)]
    pub(crate) rule: Option<String>,
    #[serde(default)]
    file: Option<String>,
    #[serde(default)]
    line: Option<u32>,
    #[serde(default)]
    flags: Vec<String>,
    #[serde(default)]
    flag_count: Option<usize>,
}

fn dev() -> String {
    "dev".to_owned()
}

/// Every row.
pub(crate) fn cases() -> Vec<Case> {
    toml::from_str::<Table>(TABLE).unwrap().case
}

impl Case {
    /// The project's files.
    pub(crate) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        if !self.bare {
            let model = "def build_model(ctx):\n    pass\n".to_owned();
            files.insert("architecture.py".to_owned(), model);
            let code = self.code.as_deref().map(expanded).unwrap_or_default();
            files.insert("training.py".to_owned(), format!("{code}{LOOP}"));
        }
        for (path, text) in &self.files {
            files.insert(path.clone(), expanded(text));
        }
        files.into_iter().map(|(path, text)| (path, text.into_bytes())).collect()
    }

    /// The archive that a miner would send.
    pub(crate) fn zipped(&self) -> Vec<u8> {
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (path, content) in self.files() {
            zip.start_file(path, zip::write::SimpleFileOptions::default()).unwrap();
            zip.write_all(&content).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    /// The rules that it is judged by.
    pub(crate) fn rules(&self) -> Policy {
        match self.policy.as_str() {
            "dev" => Policy::dev(),
            "dev-open" => Policy::dev_open(),
            other => panic!("no policy {other}"),
        }
    }

    /// Compares a verdict with what the table says.
    pub(crate) fn check(&self, verdict: &Verdict) {
        let name = &self.name;
        match (verdict, &self.rule) {
            (Verdict::Admitted { flags, .. }, None) => self.check_flags(flags),
            (Verdict::Rejected { rejection }, Some(rule)) => {
                assert_eq!(rejection.rule.id(), rule, "{name}: {rejection}");
                let file = self.file.as_deref().or(self.line.map(|_| "training.py"));
                if file.is_some() {
                    assert_eq!(rejection.file.as_deref(), file, "{name}: {rejection}");
                }
                if self.line.is_some() {
                    assert_eq!(rejection.line, self.line, "{name}: {rejection}");
                    let is_of_source = rule != "archive-not-text";
                    assert_eq!(rejection.snippet.is_some(), is_of_source, "{name}");
                }
                assert!(!rejection.detail.contains('\n') && rejection.detail.len() > 10);
            }
            _ => panic!("{name}: {verdict:?}"),
        }
    }

    fn check_flags(&self, flags: &[Rejection]) {
        if let Some(count) = self.flag_count {
            assert_eq!(flags.len(), count, "{}", self.name);
            return;
        }
        let rules: Vec<&str> = flags.iter().map(|flag| flag.rule.id()).collect();
        assert_eq!(rules, self.flags, "{}: {flags:?}", self.name);
    }
}

/// The text with every `<<TEXT*COUNT>>` written out.
fn expanded(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("<<") {
        let (repeated, behind) = after.split_once(">>").unwrap();
        let (piece, count) = repeated.rsplit_once('*').unwrap();
        out.push_str(before);
        out.push_str(&piece.repeat(count.parse().unwrap()));
        rest = behind;
    }
    out + rest
}
