//! Replays the corpus of the fuzz targets (`tests/fuzz/corpus`), one folder per target. Its seeds
//! are made here: good messages, and damage to each. What a fuzzer adds beside them is
//! replayed too.
//!
//! After a message has changed, `ASSAY_CORPUS=write` in the environment of
//! `cargo test -p node-peer --test corpus the_corpus_has` writes the seeds.
#![allow(clippy::unwrap_used, reason = "a test states facts; a broken one should stop at once")]

mod common;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use common::DevKey;
use node_peer::fuzzing::{target, Reading, TARGETS};
use prost::Message;
use proto::v1;
use sha2::{Digest as _, Sha256};

fn fuzz_crate() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz")
}

fn corpus() -> PathBuf {
    fuzz_crate().join("corpus")
}

/// Not valid in a text, so that nobody takes a seed for one.
fn filler(number: u8) -> Vec<u8> {
    vec![0x80 | number; 32]
}

fn lease() -> Option<v1::HeldLease> {
    Some(v1::HeldLease { assignment: filler(1), lease: filler(2), attempt: 3 })
}

fn seal() -> v1::Seal {
    let signature = [filler(5), filler(6)].concat();
    v1::Seal { lease: lease(), worker: filler(3), result: filler(4), signature }
}

fn ending(ending: v1::ending::Ending) -> Option<v1::Ending> {
    Some(v1::Ending { ending: Some(ending) })
}

fn receipt(is_scored: bool) -> v1::Receipt {
    let metrics = v1::Metrics {
        sum_nll_nanonats: u64::MAX,
        batches: 195,
        loss_curve_microbpb: vec![0, 1, u32::MAX],
        wall_ms: 61_000,
        hooks_used: [0, 3].map(|hook| v1::HookUse { hook, uses: 195 }).to_vec(),
        architecture: vec![1, 1 << 40, u64::MAX],
        flags: vec![0, 2],
        idle_parameters: Some(195),
        embedding_parameters: Some(65_536),
        probes: [0, 8].map(|task| v1::ProbeFigure { task, ..Default::default() }).to_vec(),
        ..v1::Metrics::default()
    };
    let nothing = v1::Nothing {};
    let detail = v1::Detail { text: "line one\nline two \u{fffd}".to_owned() };
    let evidence = v1::Evidence {
        genesis: filler(1),
        netuid: 65_535,
        assignment: filler(2),
        submission: filler(3),
        tier: 1,
        unit: 0,
        content: filler(4),
        lease: filler(5),
        attempt: 6,
        run: filler(7),
        coordinator: filler(8),
        worker: filler(9),
        policy: filler(10),
        dataset: filler(11),
        image: filler(12),
        device: "cpu_slot (one CPU)".to_owned(),
        ending: ending(if is_scored {
            v1::ending::Ending::Completed(nothing)
        } else {
            v1::ending::Ending::SubmissionFailed(detail)
        }),
        metrics: is_scored.then_some(metrics),
        started_at_unix_ms: 1_700_000_000_000,
        ended_at_unix_ms: 1_700_000_600_000,
        salt: filler(15),
        coordinator_sealed: if is_scored { filler(16) } else { Vec::new() },
        shown_before: vec![
            v1::Shown { coordinator: filler(17), sealed: Vec::new() },
            v1::Shown { coordinator: filler(18), sealed: filler(19) },
        ],
    };
    v1::Receipt { evidence: Some(evidence), signature: [filler(13), filler(14)].concat() }
}

fn grant() -> v1::Grant {
    let assignment = v1::Assignment {
        id: filler(2),
        submission: filler(3),
        content: filler(4),
        tier: 1,
        unit: 0,
        replica: 1,
        seed: filler(5),
        policy: filler(6),
    };
    v1::Grant {
        lease: filler(1),
        assignment: Some(assignment),
        attempt: 1,
        coordinator: filler(7),
        ttl_ms: 60_000,
        total_ms: 14_400_000,
    }
}

fn hold(answer: v1::hold_answer::Answer) -> v1::HoldAnswer {
    v1::HoldAnswer { answer: Some(answer) }
}

fn answer(answer: v1::lease_answer::Answer) -> v1::LeaseAnswer {
    v1::LeaseAnswer { answer: Some(answer) }
}

/// A stream of chunks whose archive is announced and sent whole.
fn archive_stream() -> Vec<u8> {
    let (first, second) = (filler(1), filler(2));
    let whole = [first.clone(), second.clone()].concat();
    let sha256 = Sha256::digest(&whole).to_vec();
    let archive = Some(v1::Archive { total_bytes: whole.len() as u64, sha256 });
    let chunks =
        [v1::Chunk { data: first, archive }, v1::Chunk { data: second, ..v1::Chunk::default() }];
    chunks.iter().flat_map(Message::encode_length_delimited_to_vec).collect()
}

fn requests() -> Vec<(&'static str, Vec<u8>)> {
    use v1::release_reason::Reason;
    let [image, dataset, policy] = [1, 2, 3].map(filler);
    let acquire = v1::AcquireRequest { device: 1, leases_max: 4, image, dataset, policy };
    let renewals = [1, 2, 3].map(|stage| v1::Renewal { lease: lease(), stage });
    let restarted = v1::ending::Ending::WorkerRestarted(v1::Nothing {});
    let ended = Reason::RunEnded(ending(restarted).unwrap());
    let reason = Some(v1::ReleaseReason { reason: Some(ended) });
    vec![
        ("acquire_request", acquire.encode_to_vec()),
        ("renew_request", v1::RenewRequest { renewals: renewals.to_vec() }.encode_to_vec()),
        ("seal_request", v1::SealRequest { seals: vec![seal(), seal()] }.encode_to_vec()),
        (
            "complete_request",
            v1::CompleteRequest { receipts: vec![receipt(true), receipt(false)] }.encode_to_vec(),
        ),
        ("release_request", v1::ReleaseRequest { lease: lease(), reason }.encode_to_vec()),
        ("explain_request", v1::ExplainRequest { submission: filler(1) }.encode_to_vec()),
        ("since_request", v1::SinceRequest { after: 41, of: filler(1) }.encode_to_vec()),
        ("get_request", v1::GetRequest { content: filler(1), offset: 999 }.encode_to_vec()),
    ]
}

fn answers() -> Vec<(&'static str, Vec<u8>)> {
    use v1::hold_answer::Answer as Hold;
    use v1::lease_answer::Answer as Lease;
    let nothing = v1::Nothing {};
    let refused = || "stale_attempt".to_owned();
    let granted = v1::acquire_response::Answer::Granted(v1::Grants { grants: vec![grant()] });
    let seals = v1::Seals { seals: vec![seal(), seal()] };
    let holds = [Hold::Kept(nothing), Hold::Reveal(seals), Hold::Refused(refused())];
    let leases = [Lease::Accepted(nothing), Lease::AlreadyDone(nothing), Lease::Refused(refused())];
    let answers = leases.map(answer).to_vec();
    let released = answers.first().cloned();
    let standing = v1::ReplicaStanding {
        assignment: filler(1),
        replica: 1,
        attempt: 2,
        holder: Some(filler(2)),
        state: "running".to_owned(),
    };
    let explained = v1::ExplainResponse {
        summary: "waits for two replicas".to_owned(),
        replicas: vec![standing],
        claims: vec![filler(3)],
        required: 2,
    };
    let info = v1::InfoResponse {
        protocol_version: 1,
        hotkey: filler(1),
        genesis: filler(2),
        netuid: 7,
        software_version: "assay 0.1.0".to_owned(),
    };
    let entry = v1::ReceiptEntry { sequence: 42, receipt: Some(receipt(true)) };
    vec![
        ("acquire_response", v1::AcquireResponse { answer: Some(granted) }.encode_to_vec()),
        ("renew_response", v1::RenewResponse { answers: holds.map(hold).to_vec() }.encode_to_vec()),
        ("complete_response", v1::CompleteResponse { answers }.encode_to_vec()),
        ("release_response", v1::ReleaseResponse { answer: released }.encode_to_vec()),
        ("explain_response", explained.encode_to_vec()),
        ("receipt_entry", entry.encode_to_vec()),
        ("info_response", info.encode_to_vec()),
        ("archive", archive_stream()),
    ]
}

/// A good message and what may become of it on the way.
fn seeds(good: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mut flipped = good.to_vec();
    flipped[good.len() / 3] ^= 0x41;
    let mut longer = good.to_vec();
    longer[1] = longer[1].wrapping_add(1);
    vec![
        ("good", good.to_vec()),
        ("cut", good[..good.len() * 2 / 3].to_vec()),
        ("flipped", flipped),
        ("longer", longer),
        ("twice", good.repeat(2)),
        // A field that nobody knows: number 1000, a varint.
        ("newer", [good, &[0xc0, 0x3e, 0x01]].concat()),
    ]
}

/// Every ending that a message can carry.
fn endings() -> Vec<v1::ending::Ending> {
    use v1::ending::Ending;
    let nothing = v1::Nothing {};
    let detail = || v1::Detail { text: "CUDA error: no device\n".to_owned() };
    vec![
        Ending::Completed(nothing),
        Ending::NotCausalBatch(195),
        Ending::SubmissionFailed(detail()),
        Ending::ContractViolated(detail()),
        Ending::TooManyParameters(u64::MAX),
        Ending::TooSlowRanMs(600_000),
        Ending::OutOfMemory(nothing),
        Ending::OutOfDeviceMemory(nothing),
        Ending::OutOfPids(nothing),
        Ending::TooMuchOutput(nothing),
        Ending::TooMuchCpuTimeUsedMs(900_000),
        Ending::KilledExitCode(-9),
        Ending::EngineFailed(detail()),
        Ending::DeviceFailed(detail()),
        Ending::ImageMissing(nothing),
        Ending::DatasetMissing(nothing),
        Ending::ProfileMismatch(detail()),
        Ending::WorkerRestarted(nothing),
        Ending::LeaseLost(nothing),
        Ending::Stopped(nothing),
        Ending::TokenizerRefused(detail()),
        Ending::TokenizerLossyBatch(3),
        Ending::UntrainedNotCausalTokens(129),
        Ending::UntrainedBatchDependentTokens(64),
        Ending::UntrainedNotFiniteTokens(130),
    ]
}

/// Messages beside the good ones, which carry one of everything that they can: each is taken.
fn more_messages() -> Vec<(&'static str, String, Vec<u8>)> {
    use v1::release_reason::Reason;
    let mut all = Vec::new();
    for (number, one) in endings().into_iter().enumerate() {
        let kind = format!("ending_{number:02}");
        let reason = Some(Reason::RunEnded(ending(one.clone()).unwrap()));
        let reason = Some(v1::ReleaseReason { reason });
        let release = v1::ReleaseRequest { lease: lease(), reason };
        all.push(("release_request", kind.clone(), release.encode_to_vec()));
        let mut receipt = receipt(number == 0);
        if let Some(evidence) = &mut receipt.evidence {
            evidence.ending = ending(one);
        }
        let entry = v1::ReceiptEntry { sequence: 43, receipt: Some(receipt) };
        all.push(("receipt_entry", kind, entry.encode_to_vec()));
    }
    for device in 1..=3 {
        let [image, dataset, policy] = [1, 2, 3].map(filler);
        let acquire = v1::AcquireRequest { device, leases_max: 1, image, dataset, policy };
        all.push(("acquire_request", format!("device_{device}"), acquire.encode_to_vec()));
    }
    all
}

fn good_messages() -> Vec<(&'static str, Vec<u8>)> {
    requests().into_iter().chain(answers()).collect()
}

fn certificate() -> Vec<u8> {
    common::certificate(&DevKey::named("Bob")).certificate().to_vec()
}

/// Certificates are made of new keys each time, so they are kept and not compared.
fn write_corpus() {
    let mut all = good_messages();
    if !corpus().join("certificate").exists() {
        all.push(("certificate", certificate()));
    }
    for (name, good) in all {
        let folder = corpus().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        for (kind, bytes) in seeds(&good) {
            std::fs::write(folder.join(kind), bytes).unwrap();
        }
    }
    for (name, kind, bytes) in more_messages() {
        std::fs::write(corpus().join(name).join(kind), bytes).unwrap();
    }
}

#[test]
fn the_corpus_has_every_seed_as_it_is_made_today() {
    if std::env::var_os("ASSAY_CORPUS").is_some_and(|what| what == "write") {
        write_corpus();
    }
    for (name, good) in good_messages() {
        for (kind, bytes) in seeds(&good) {
            let path = corpus().join(name).join(kind);
            let kept = std::fs::read(&path).unwrap_or_default();
            assert!(kept == bytes, "{} is not what it should be", path.display());
        }
    }
    for (name, kind, bytes) in more_messages() {
        let path = corpus().join(name).join(kind);
        let kept = std::fs::read(&path).unwrap_or_default();
        assert!(kept == bytes, "{} is not what it should be", path.display());
        let read = (target(name).unwrap().read)(&bytes);
        assert_eq!(read, Ok(Reading::Taken), "{}", path.display());
    }
}

#[test]
fn every_target_takes_its_good_seed() {
    for target in TARGETS {
        let good = std::fs::read(corpus().join(target.name).join("good")).unwrap();
        assert_eq!((target.read)(&good), Ok(Reading::Taken), "{}", target.name);
    }
}

#[test]
fn no_file_of_the_corpus_breaks_a_target() {
    let mut replayed = BTreeSet::new();
    for folder in std::fs::read_dir(corpus()).unwrap() {
        let folder = folder.unwrap();
        let name = folder.file_name().into_string().unwrap();
        // The others are replayed by `node-evaluator`, which knows that no folder is forgotten.
        let Some(target) = target(&name) else { continue };
        for file in std::fs::read_dir(folder.path()).unwrap() {
            let path = file.unwrap().path();
            let read = (target.read)(&std::fs::read(&path).unwrap());
            assert!(read.is_ok(), "{}: {read:?}", path.display());
        }
        replayed.insert(target.name);
    }
    let all: BTreeSet<_> = TARGETS.iter().map(|target| target.name).collect();
    assert_eq!(replayed, all, "every target has a corpus");
}

#[test]
fn every_target_has_a_fuzz_target_of_its_name() {
    let manifest = std::fs::read_to_string(fuzz_crate().join("Cargo.toml")).unwrap();
    for target in TARGETS {
        let name = target.name;
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} is not in the manifest");
        let source = fuzz_crate().join(format!("src/bin/{name}.rs"));
        let source = std::fs::read_to_string(source).unwrap();
        assert!(source.contains(&format!("\"{name}\"")), "{name} fuzzes something else");
    }
}
