//! What the node logs, always to stderr.

use figment::value::Value;

use super::key::{Default, Key, Kind};
use super::reader::{choice, text, Complaint, Reader};
use super::Section;

const LEVEL: Key = Key::new("log.level", Kind::Text, Default::Value("info"))
    .about(
        "`error`, `warn`, `info`, `debug` or `trace`; also per part of the program, as in \
         `info,node_chain=debug`.",
    )
    .example("\"info,node_chain=debug\"")
    .flag("--log-level");

const FORMAT: Key = Key::new("log.format", Kind::Text, Default::Value("text"))
    .about("`text` for people, `json` for machines: one object per line.")
    .example("\"json\"")
    .flag("--log-format");

pub(super) const SECTION: Section =
    Section { name: "log", about: "What the node logs, always to stderr.", keys: &[LEVEL, FORMAT] };

/// What the node logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// A filter that parses.
    pub level: String,
    /// How a line looks.
    pub format: LogFormat,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

impl Log {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let level = reader.take(&LEVEL, level);
        let words = [("text", LogFormat::Text), ("json", LogFormat::Json)];
        let format = reader.take(&FORMAT, |value| choice(&words, value));
        Some(Self { level: level?, format: format? })
    }
}

fn level(value: &Value) -> Result<String, Complaint> {
    let level = text(value)?;
    tracing_subscriber::EnvFilter::builder().parse(&level).map_err(|error| {
        Complaint::new(
            format!("not a log filter: {error}"),
            "`error`, `warn`, `info`, `debug`, `trace`, or `info,node_chain=debug`",
        )
    })?;
    Ok(level)
}
