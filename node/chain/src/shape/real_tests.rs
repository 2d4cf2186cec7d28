//! The check against runtimes that exist: the local chain's, and the real chain's where their
//! metadata files are at hand (`golden_tests` says where).
#![allow(clippy::unwrap_used, reason = "a broken fact should stop the test at once")]

use std::path::PathBuf;

use super::*;
use crate::golden_tests::runtimes;

/// The local chain's metadata in every flavour, as the repository keeps it.
fn kept_files() -> Vec<(PathBuf, ShapeReport)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../chain-metadata/metadata");
    let Ok(files) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = files.map(|file| file.unwrap().path());
    let paths = paths.filter(|path| path.extension().is_some_and(|end| end == "scale"));
    paths
        .map(|path| {
            let report = shapes_in_file(&std::fs::read(&path).unwrap()).unwrap();
            (path, report)
        })
        .collect()
}

fn names<'a>(rows: impl IntoIterator<Item = &'a ShapeRow>) -> Vec<&'a str> {
    rows.into_iter().map(|row| row.name.as_str()).collect()
}

/// The real chain can do everything, and what it lacks is what it lacked at that time.
#[test]
fn every_real_runtime_can_do_everything() {
    let mut runtimes = runtimes();
    // The local chain has its own test.
    runtimes.pop();
    for runtime in runtimes {
        let report = runtime.shapes();
        let (name, spec) = report.spec.clone().unwrap();
        assert_eq!((name.as_str(), spec), ("node-subtensor", runtime.spec_version));
        for capability in Capability::ALL {
            let fatal: Vec<_> = report.fatal_for(*capability).collect();
            assert!(fatal.is_empty(), "spec {spec}: {fatal:?}");
        }
        let problems = report.problems();
        for row in &problems {
            assert_eq!(row.verdict.name(), "fallback", "spec {spec}: {row:?}");
        }
        let found = names(problems);
        let missing = |name: &str| found.contains(&name);
        assert!(missing("SubtensorModule.SubnetEpochConsensus"), "since spec 475");
        assert_eq!(missing("SubtensorModule.LastEpochBlock"), spec < 425);
        assert_eq!(missing("SubtensorModule.InvalidRevealRound"), spec < 425);
        assert_eq!(missing("SubtensorModule.ColdkeySwapAnnounced"), spec < 393);
        assert_eq!(
            found.len(),
            match spec {
                365 => 15,
                393 => 13,
                _ => 3,
            }
        );
    }
}

#[test]
fn the_local_chain_can_be_read_and_given_weights() {
    let report = runtimes().last().unwrap().shapes();
    let reports = kept_files();
    for (path, report) in &reports {
        let fatal: Vec<_> = Capability::ALL.iter().flat_map(|one| report.fatal_for(*one)).collect();
        assert!(fatal.is_empty(), "{}: {fatal:?}", path.display());
    }
    for capability in [Capability::Reading, Capability::PlainWeights, Capability::Serving] {
        let fatal: Vec<_> = report.fatal_for(capability).collect();
        assert!(fatal.is_empty(), "{fatal:?}");
    }
}
