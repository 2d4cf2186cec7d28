//! How long admission takes without a container: `cargo run --release --example admission_latency
//! -p node-evaluator`. Prints the table that docs/benchmarks.md keeps.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{Cursor, Write as _};
use std::path::Path;
use std::time::Instant;

use node_core::admission::Verdict;
use node_core::policy::Policy;
use node_evaluator::admit::admit;
use node_evaluator::archive::{content_digest, read_archive};
use node_evaluator::gates::Gates;
use zip::write::SimpleFileOptions;

const ROUNDS: usize = 41;

/// Bytes of all files together.
const BYTES: usize = 2_000_000;

type Files = BTreeMap<String, Vec<u8>>;

fn fixture(path: &str) -> std::io::Result<Vec<u8>> {
    let references = Path::new(env!("CARGO_MANIFEST_DIR")).join("reference");
    std::fs::read(references.join("transformer-rope").join(path))
}

/// The reference transformer, with `modules` more that are like it and one tokenizer to fill up.
fn project(modules: usize) -> Result<Files, Box<dyn Error>> {
    let model = fixture("architecture.py")?;
    let mut files = BTreeMap::from([
        ("architecture.py".to_owned(), model.clone()),
        ("training.py".to_owned(), fixture("training.py")?),
    ]);
    for module in 0..modules {
        files.insert(format!("layers/block_{module}.py"), model.clone());
    }
    let bytes: usize = files.values().map(Vec::len).sum();
    let entries = (0..).map(|n: u64| format!("\"{:x}\": {n},\n", n.wrapping_mul(0x9e37_79b9_7f4a)));
    let mut tokenizer = String::new();
    for entry in entries {
        if bytes + tokenizer.len() + entry.len() > BYTES {
            break;
        }
        tokenizer.push_str(&entry);
    }
    files.insert("tokenizer.json".to_owned(), tokenizer.into_bytes());
    Ok(files)
}

fn zipped(files: &Files) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (path, content) in files {
        zip.start_file(path.as_str(), SimpleFileOptions::default())?;
        zip.write_all(content)?;
    }
    Ok(zip.finish()?.into_inner())
}

/// Milliseconds of the fastest, the median and the slowest round.
fn milliseconds(mut round: impl FnMut()) -> [f64; 3] {
    let mut took: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let started = Instant::now();
            round();
            started.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    took.sort_by(f64::total_cmp);
    [took[0], took[ROUNDS / 2], took[ROUNDS - 1]]
}

#[allow(clippy::print_stdout, reason = "a table is what it is for")]
fn main() -> Result<(), Box<dyn Error>> {
    let policy = Policy::dev();
    let gates = Gates::check(&policy);
    println!("| a project of | median, ms | fastest and slowest |\n|---|---|---|");
    for modules in [0, 30, 138] {
        let files = project(modules)?;
        let is_python = |path: &str| Path::new(path).extension().is_some_and(|end| end == "py");
        let python = files.iter().filter(|(path, _)| is_python(path));
        let python: usize = python.map(|(_, content)| content.len()).sum();
        let all: usize = files.values().map(Vec::len).sum();
        let (bytes, digest) = (zipped(&files)?, content_digest(&files));
        let (verdict, _) = admit(&bytes, &digest, &gates);
        if !matches!(verdict, Verdict::Admitted { .. }) {
            return Err(format!("not admitted: {verdict:?}").into());
        }
        let [fastest, median, slowest] = milliseconds(|| drop(admit(&bytes, &digest, &gates)));
        let kib = python / 1024;
        println!(
            "| {all} bytes, {kib} KiB of Python | {median:.1} | {fastest:.1} to {slowest:.1} |"
        );
        let [fastest, median, slowest] =
            milliseconds(|| drop(read_archive(&bytes, &policy.archive)));
        println!("| its archive alone | {median:.1} | {fastest:.1} to {slowest:.1} |");
    }
    Ok(())
}
