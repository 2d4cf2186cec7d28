//! What making a data set costs: throughput and memory on generated records, beside reading and
//! hashing the same bytes. `docs/benchmarks.md` keeps what was measured.
//!
//! `cargo run --release --example dataset -p node-evaluator -- generate FOLDER MIB`, then
//! `... -- prepare jsonl|parquet|text FOLDER OUT`
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program for the person before it")]

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use node_evaluator::dataset::{prepare_from, Recipe, Source, SourceKind, Split};
use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

/// Rows of a row group, as in FineWeb-Edu.
const ROWS: usize = 1_000;

struct Words(u64);

impl Words {
    fn number(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }

    /// A document of some 4 KiB on average, in words whose frequencies fall with their rank.
    fn document(&mut self) -> String {
        let mut text = String::new();
        for _ in 0..self.number(1_300) + 50 {
            let rank = 1 << self.number(14);
            let word = self.number(rank);
            text.push_str(&format!("w{word:x}"));
            text.push_str(if word.is_multiple_of(19) { ".\n" } else { " " });
        }
        text
    }
}

/// The same documents as text, lines of JSON and Parquet, each in four files.
fn generate(folder: &Path, mib: usize) {
    let mut words = Words(0x2545_f491_4f6c_dd1d);
    let schema =
        Arc::new(parse_message_type("message m { optional binary text (UTF8); }").unwrap());
    let snappy = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let snappy = Arc::new(snappy);
    for part in 0..4 {
        let file = |suffix| File::create(folder.join(format!("part-{part}.{suffix}"))).unwrap();
        let mut lines = BufWriter::new(file("jsonl"));
        let mut table =
            SerializedFileWriter::new(file("parquet"), schema.clone(), snappy.clone()).unwrap();
        let mut bytes = 0;
        while bytes < mib * (1 << 20) / 4 {
            let texts: Vec<String> = (0..ROWS).map(|_| words.document()).collect();
            bytes += texts.iter().map(String::len).sum::<usize>();
            for text in &texts {
                serde_json::to_writer(&mut lines, &serde_json::json!({ "text": text })).unwrap();
                lines.write_all(b"\n").unwrap();
            }
            let values: Vec<ByteArray> = texts.iter().map(|text| text.as_str().into()).collect();
            let mut group = table.next_row_group().unwrap();
            let mut column = group.next_column().unwrap().unwrap();
            column.typed::<ByteArrayType>().write_batch(&values, Some(&[1; ROWS]), None).unwrap();
            column.close().unwrap();
            group.close().unwrap();
        }
        table.close().unwrap();
        lines.flush().unwrap();
    }
}

fn prepare(kind: &str, folder: &Path, out: &Path) {
    let kind = match kind {
        "jsonl" => SourceKind::JsonLines,
        "parquet" => SourceKind::Parquet,
        _ => SourceKind::Text,
    };
    let mut recipe = Recipe::text(&[]);
    recipe.sources = vec![Source { path: folder.to_owned(), kind }];
    let (start, mut read) = (Instant::now(), None);
    let dataset = prepare_from(&recipe, out, &mut |progress| {
        if progress.sorted == 1 {
            read.get_or_insert(start.elapsed());
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    let seconds = start.elapsed().as_secs_f64();
    let bytes: u64 = Split::ALL.iter().map(|split| dataset.bytes(*split)).sum();
    let megabytes = bytes as f64 / 1e6;
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    println!("{megabytes:.0} MB of text in {seconds:.1} s: {:.0} MB/s", megabytes / seconds);
    println!("  of which reading took {:.1} s; {peak}", read.unwrap().as_secs_f64());
    println!("  {}", dataset.digest());
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["generate", folder, mib] => generate(Path::new(folder), mib.parse().unwrap()),
        ["prepare", kind, folder, out] => prepare(kind, Path::new(folder), Path::new(out)),
        _ => println!("generate FOLDER MIB | prepare jsonl|parquet|text FOLDER OUT"),
    }
}
