//! Reads measured runs from a file, within limits.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use node_core::scaling::{Run, Runs, RunsRefused};
use serde::Deserialize;

use crate::failure::Failure;

/// Bytes of a file. Lower: the longest list of runs with many fields does not fit. Higher: a wrong
/// file is read for long before it is refused.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Columns of CSV.
const COLUMNS: [&str; 4] = ["parameters", "tokens", "seed", "bits_per_byte"];

/// Why a file's runs are not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadRefused {
    #[error("cannot read `{path}`")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the file has more than {FILE_BYTES_MAX} bytes")]
    TooLong,
    #[error("line {line} is no run")]
    Json {
        line: usize,
        #[source]
        source: serde_json::Error,
    },
    #[error("the first line names no column `{column}`")]
    Column { column: &'static str },
    #[error("line {line} has no number as `{column}`")]
    Number { line: usize, column: &'static str },
    #[error("cannot use the runs")]
    Runs {
        #[source]
        source: RunsRefused,
    },
}

#[derive(Deserialize)]
struct Line {
    parameters: u64,
    tokens: u64,
    #[serde(default)]
    seed: u64,
    bits_per_byte: f64,
}

/// The runs of a file.
///
/// # Errors
///
/// A [`Failure`] that names the line and the next step.
pub(in crate::cli) fn runs(path: &Path) -> Result<Runs, Failure> {
    let hint = "each line is a run, as `assay scaling fit --help` shows";
    read(path).and_then(|text| parse(&text)).map_err(|refused| {
        let hint = match &refused {
            ReadRefused::Read { .. } => "name a text file that can be read",
            _ => hint,
        };
        Failure::bad_configuration(refused).hint(hint)
    })
}

fn read(path: &Path) -> Result<String, ReadRefused> {
    let mut text = String::new();
    let read = File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text))
        .map_err(|source| ReadRefused::Read { path: path.to_owned(), source })?;
    if read as u64 > FILE_BYTES_MAX {
        return Err(ReadRefused::TooLong);
    }
    Ok(text)
}

fn parse(text: &str) -> Result<Runs, ReadRefused> {
    let mut lines =
        (1..).zip(text.lines().map(str::trim)).filter(|(_, line)| !line.is_empty()).peekable();
    let is_json = lines.peek().is_none_or(|(_, line)| line.starts_with('{'));
    let runs = if is_json {
        lines.map(|(line, text)| from_json(line, text)).collect::<Result<_, _>>()
    } else {
        let header = lines.next().map(|(_, header)| header).unwrap_or_default();
        let places = places(header)?;
        lines.map(|(line, text)| from_csv(&places, line, text)).collect()
    }?;
    Runs::new(runs).map_err(|source| ReadRefused::Runs { source })
}

fn from_json(line: usize, text: &str) -> Result<Run, ReadRefused> {
    let Line { parameters, tokens, seed, bits_per_byte } =
        serde_json::from_str(text).map_err(|source| ReadRefused::Json { line, source })?;
    Ok(Run { parameters, tokens, seed, bits_per_byte })
}

/// Where each of [`COLUMNS`] stands.
fn places(header: &str) -> Result<[usize; 4], ReadRefused> {
    let names: Vec<&str> = header.split(',').map(str::trim).collect();
    let mut places = [0; 4];
    for (place, column) in places.iter_mut().zip(COLUMNS) {
        let found = names.iter().position(|name| *name == column);
        *place = found.ok_or(ReadRefused::Column { column })?;
    }
    Ok(places)
}

fn from_csv(places: &[usize; 4], line: usize, text: &str) -> Result<Run, ReadRefused> {
    let fields: Vec<&str> = text.split(',').map(str::trim).collect();
    let [parameters, tokens, seed, bits_per_byte] = places.map(|place| fields.get(place).copied());
    let whole = |field: Option<&str>, column| {
        let number = field.and_then(|field| field.parse().ok());
        number.ok_or(ReadRefused::Number { line, column })
    };
    let loss = bits_per_byte.and_then(|field| field.parse().ok());
    Ok(Run {
        parameters: whole(parameters, "parameters")?,
        tokens: whole(tokens, "tokens")?,
        seed: whole(seed, "seed")?,
        bits_per_byte: loss.ok_or(ReadRefused::Number { line, column: "bits_per_byte" })?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_lines_and_csv_with_other_columns_say_the_same() {
        let json =
            "\n{\"parameters\":10,\"tokens\":200,\"seed\":3,\"bits_per_byte\":1.5,\"x\":1}\n";
        let csv = "name, bits_per_byte, seed, tokens, parameters\na, 1.5, 3, 200, 10\n";
        assert_eq!(parse(json).unwrap(), parse(csv).unwrap());
        let run = Run { parameters: 10, tokens: 200, seed: 3, bits_per_byte: 1.5 };
        assert_eq!(parse(json).unwrap().all(), [run]);
        assert!(parse("").unwrap().all().is_empty());
    }

    #[test]
    fn each_bad_line_is_refused_by_its_number() {
        let json = |line: &str| {
            parse(&format!("{{\"parameters\":1,\"tokens\":1,\"bits_per_byte\":1}}\n{line}"))
        };
        assert!(matches!(json("{}"), Err(ReadRefused::Json { line: 2, .. })));
        assert!(matches!(json("{\"parameters\":-1}"), Err(ReadRefused::Json { line: 2, .. })));
        let csv = |line: &str| parse(&format!("parameters,tokens,seed,bits_per_byte\n{line}"));
        for (line, column) in [
            ("x,1,1,1", "parameters"),
            ("1", "tokens"),
            ("1,1,-1,1", "seed"),
            ("1,1,1,?", "bits_per_byte"),
        ] {
            let refused = csv(line).unwrap_err();
            assert!(
                matches!(refused, ReadRefused::Number { line: 2, column: c } if c == column),
                "{refused}"
            );
        }
        assert!(matches!(csv("1,1,1,NaN"), Err(ReadRefused::Runs { .. })));
        assert!(matches!(parse("a,b\n1,2"), Err(ReadRefused::Column { column: "parameters" })));
    }

    #[test]
    fn a_file_that_is_too_long_or_no_text_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("runs.jsonl");
        std::fs::write(&path, vec![b' '; (1 << 20) + 1]).unwrap();
        assert!(matches!(read(&path), Err(ReadRefused::TooLong)));
        std::fs::write(&path, [0xff, 0xfe]).unwrap();
        assert!(matches!(read(&path), Err(ReadRefused::Read { .. })));
        assert!(matches!(read(dir.path()), Err(ReadRefused::Read { .. })));
    }
}
