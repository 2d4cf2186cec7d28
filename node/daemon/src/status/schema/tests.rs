//! The schema accepts what nodes write, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use jsonschema::Validator;
use node_core::evidence::ProbeFigure;
use node_core::funnel::{Passage, Scale, Task, Trainer, UnitPlan};
use node_core::health::observation::{
    ProbeFigures, ProbeResult, ProbeStep, Reading, Recovery, Sample, Throttle,
};
use node_core::health::{Action, Cause, Check, Failure, Finding, Level, Order, Standing};
use node_core::id::{AssignmentId, Attempt, Digest, Hotkey, SubmissionId, Uid};
use node_core::inventory::{DeviceId, Nearness, Place, SliceFacts};
use node_core::lease::{Explanation, Reopened, ReplicaStanding, Spent};
use node_core::publish::KeyStanding;
use node_core::reward::FamilyId;
use node_core::unit::{BlockNumber, EpochIndex, UnixMs};
use serde_json::{json, Value};

use super::super::answer::StatusAnswer;
use super::super::device::GpuStatus;
use super::super::find::{Found, FoundStatus};
use super::super::funnel::{
    ChampionStatus, FamilyStatus, HeldStatus, PlaceStatus, ReferenceStatus, UnitStatus,
};
use super::super::report::*;
use super::super::waits::WaitsFor;
use super::super::{sample, HealthStatus};
use super::*;

fn validator() -> Validator {
    let schema = schema();
    jsonschema::meta::validate(&schema).map_err(|error| error.to_string()).unwrap();
    jsonschema::validator_for(&schema).unwrap()
}

fn answer(report: StatusReport) -> Value {
    let now = report.as_of;
    let found = FoundStatus { report, found: Found::Running };
    serde_json::to_value(StatusAnswer::of(found, now)).unwrap()
}

fn faults(validator: &Validator, value: &Value) -> Vec<String> {
    let said = validator.iter_errors(value);
    said.map(|error| format!("{}: {error}", error.instance_path)).collect()
}

fn unit(task: Task) -> UnitStatus {
    UnitStatus {
        tier: 2,
        plan: UnitPlan { unit: 1, seed: 0, task },
        points: Some(7),
        ending: None,
        nanobpb: Some(1_900_000_000),
        parameters: Some(4),
        embedding_parameters: None,
        tokens: Some(9),
        probes: vec![ProbeFigure { task: 1, score_ppm: 2, loss_micronats: 3, floor_micronats: 4 }],
    }
}

/// Each cause that a device can have, in the order of [`Cause::NAMES`].
fn causes() -> Vec<Cause> {
    let detail = || "what was seen".to_owned();
    vec![
        Cause::Unproven,
        Cause::ProbeDue,
        Cause::Xid { code: 79 },
        Cause::XidAgain { code: 31 },
        Cause::EccUncorrected,
        Cause::Lost { detail: detail() },
        Cause::Silent { waited_ms: 1 },
        Cause::Sensor { check: Check::RowRemap, detail: detail() },
        Cause::Throttled { detail: detail() },
        Cause::MemoryHeld { held_mib: 1 },
        Cause::ProbeFailed { step: Some(ProbeStep::Kernel), detail: detail() },
        Cause::Slower { step: ProbeStep::Matrix, percent: 40 },
        Cause::RunFailed { detail: detail() },
        Cause::NoProbe { detail: detail() },
    ]
}

fn figures() -> ProbeFigures {
    ProbeFigures { took_ms: 1, memory_mib: 2, bandwidth_mb_s: 3, matrix_gflop_s: 4 }
}

fn probes() -> Vec<ProbeResult> {
    let detail = || "what was found".to_owned();
    vec![
        ProbeResult::Right(figures()),
        ProbeResult::Wrong { step: ProbeStep::Memory, detail: detail() },
        ProbeResult::TimedOut { limit_ms: 1 },
        ProbeResult::Died { detail: detail() },
        ProbeResult::NotStarted { detail: detail() },
    ]
}

/// A sample with each kind of reading.
fn readings() -> Sample {
    Sample {
        temperature_c: Reading::Value(41),
        slowdown_c: Reading::Unsupported,
        memory_used_mib: Reading::Unreadable { detail: "no".to_owned() },
        throttle: Reading::Value(Throttle::default()),
        recovery: Reading::Value(Recovery::DrainAndReset),
        ecc_uncorrected: Reading::Value(0),
        ecc_corrected: Reading::Unsupported,
        is_remap_pending: Reading::Value(true),
        utilisation: Reading::Value(9),
        power_mw: Reading::Value(70_000),
    }
}

fn gpu() -> GpuStatus {
    let near = [
        Nearness::System,
        Nearness::Numa,
        Nearness::HostBridge,
        Nearness::Switch,
        Nearness::Board,
        Nearness::NvLink { links: 18 },
    ];
    let near: BTreeMap<DeviceId, Nearness> = near
        .into_iter()
        .enumerate()
        .map(|(place, near)| (DeviceId(format!("GPU-{place}")), near))
        .collect();
    GpuStatus {
        place: Place { pci_address: Some("00000000:3B:00.0".to_owned()), numa_node: None, near },
        compute_capability: "9.0".to_owned(),
        driver_version: None,
        slice: Some(SliceFacts {
            parent: DeviceId("GPU-1".to_owned()),
            gpu_instance: 1,
            compute_instance: 0,
        }),
    }
}

/// GPUs with every cause, standing and result of a probe.
fn devices() -> Vec<super::super::DeviceStatus> {
    let bare = sample::gpu_with_held_memory();
    let health = |place: usize, cause: Cause| HealthStatus {
        standing: Standing::ALL[place % Standing::ALL.len()],
        since: UnixMs(1),
        unusable: None,
        order: Some(Order { is_drain: true, reason: "fan".to_owned(), at: UnixMs(2) }),
        level: Level::ALL[place % Level::ALL.len()],
        findings: vec![
            cause.finding(),
            Finding::new(Check::Ecc, Level::Info, "some", Action::CheckCooling),
        ],
        sample: Some(readings()),
        failures: vec![Failure { at: UnixMs(3), cause: cause.clone() }],
        probe: probes().get(place % probes().len()).cloned(),
        probes: 1,
        baseline: Some(figures()),
        cause: Some(cause),
    };
    let with = |(place, cause): (usize, Cause)| super::super::DeviceStatus {
        health: Some(health(place, cause)),
        gpu: Some(gpu()),
        ..bare.clone()
    };
    let mut devices: Vec<_> = causes().into_iter().enumerate().map(with).collect();
    devices.push(sample::gone_gpu());
    devices
}

fn waits() -> Vec<WaitsFor> {
    let (required, have, coordinator) = (2, 1, Hotkey([2; 32]));
    vec![
        WaitsFor::Content { failure: None },
        WaitsFor::Admission,
        WaitsFor::Decision,
        WaitsFor::Mending { assignment: AssignmentId([7; 32]) },
        WaitsFor::Device {
            device: DeviceId("cpu-0".to_owned()),
            obstacle: "busy".to_owned(),
            others: 0,
        },
        WaitsFor::Run { required, have, state: "running".to_owned(), coordinator },
        WaitsFor::Replicas { required, have, replicas: vec![(0, "open".to_owned())] },
        WaitsFor::Coordinator { required, have, coordinator: Some(coordinator) },
        WaitsFor::Window { tier: 1 },
    ]
}

/// Submissions that wait for everything, with units of every kind.
fn submissions() -> Vec<SubmissionStatus> {
    let bare = sample::healthy().submissions.remove(0);
    let text = |trainer, scale| Task::Text { trainer, scale };
    let tasks = [
        text(Trainer::Own, Scale::Quartered(1)),
        text(Trainer::Reference, Scale::LongSequences),
        text(Trainer::Own, Scale::LargeBatches),
        Task::Probes,
    ];
    let passages = [Passage::Passes, Passage::Audit, Passage::Out, Passage::Open];
    let with = |(place, waits): (usize, WaitsFor)| SubmissionStatus {
        waits_for: Some(waits),
        place: Some(PlaceStatus { tier: 2, points: None, passage: passages[place % 4] }),
        units: tasks.into_iter().map(unit).collect(),
        ..bare.clone()
    };
    waits().into_iter().enumerate().map(with).collect()
}

fn evaluation() -> EvaluationStatus {
    let assignment = AssignmentId([4; 32]);
    let replica = ReplicaStanding {
        assignment,
        replica: 1,
        attempt: Attempt(2),
        holder: Some(Hotkey([3; 32])),
        state: "granted".to_owned(),
    };
    let before = Reopened {
        block: BlockNumber(9),
        attempt: Attempt(3),
        spent: Spent { workers_lost: 1, faults: 2, not_started: 3 },
        last: "engine_failed".to_owned(),
    };
    EvaluationStatus {
        submission: SubmissionId([5; 32]),
        explanation: Explanation {
            summary: "one of two".to_owned(),
            replicas: vec![replica],
            claims: vec![Hotkey([6; 32])],
            required: 2,
        },
        exhausted: vec![assignment],
        reopened: vec![ReopenedStatus { assignment, replica: 1, before }],
    }
}

/// A report in which nothing is left out, and every variant of every type occurs.
fn full() -> StatusReport {
    let mut report = sample::degraded();
    report.devices = devices();
    report.submissions = submissions();
    report.evaluations = vec![evaluation()];
    report.refusals = vec![RefusalStatus {
        at: UnixMs(1),
        peer: Hotkey([2; 32]),
        call: "acquire".to_owned(),
        submission: Some(SubmissionId([5; 32])),
        reason: "not_ready".to_owned(),
    }];
    let champion = ChampionStatus {
        author: Some(Hotkey([7; 32])),
        submission: Some(SubmissionId([5; 32])),
        since: Some(BlockNumber(1)),
        quality_nano: -7,
    };
    let id = FamilyId(Digest([8; 32]));
    let family = FamilyStatus {
        id,
        owner: Some(Hotkey([7; 32])),
        architecture: champion.clone(),
        recipe: Some(champion),
    };
    report.funnel.families = Some(vec![family]);
    report.funnel.held =
        vec![HeldStatus { submission: SubmissionId([5; 32]), nearest: id, until: BlockNumber(2) }];
    report.funnel.references =
        vec![ReferenceStatus { name: "ssm".to_owned(), units: vec![unit(Task::Probes)] }];
    report.weights.reveal_due = Some(RevealStatus {
        epoch: EpochIndex(1),
        opens_in: EpochIndex(2),
        is_now: true,
        from: Some(BlockNumber(3)),
        until: None,
    });
    let standings =
        [KeyStanding::Published, KeyStanding::Endorsed, KeyStanding::New, KeyStanding::Contradicts];
    let peer = report.peers[1].clone();
    let peers = standings.into_iter().enumerate().map(|(place, standing)| PeerStatus {
        uid: Some(Uid(u16::try_from(place).unwrap())),
        certificate: Some(standing),
        ..peer.clone()
    });
    report.peers.extend(peers);
    report.counters = BTreeMap::from([("weights_landed".to_owned(), 3)]);
    report
}

#[test]
fn the_samples_of_causes_are_all_of_them() {
    let names: Vec<String> = causes()
        .iter()
        .map(|cause| serde_json::to_value(cause).unwrap()["cause"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(names, Cause::NAMES);
}

#[test]
fn the_schema_accepts_every_report_that_is_shown_anywhere() {
    let validator = validator();
    let reports = [sample::starting(), sample::healthy(), sample::degraded(), full()];
    for (place, report) in reports.into_iter().enumerate() {
        let faults = faults(&validator, &answer(report));
        assert!(faults.is_empty(), "report {place}: {faults:#?}");
    }
    let report = sample::healthy();
    let mut found = FoundStatus { report, found: Found::NotRunning };
    for address in [None, "127.0.0.1:9".parse().ok()] {
        if let Some(address) = address {
            found.found = Found::NotAnswering { address, reason: "it hangs".to_owned() };
        }
        let answer = StatusAnswer::of(found.clone(), UnixMs(0));
        let faults = faults(&validator, &serde_json::to_value(answer).unwrap());
        assert!(faults.is_empty(), "{faults:#?}");
    }
}

/// Where every named value stands.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                let at = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
                found.push(at.clone());
                places(value, &at, found);
            }
        }
        Value::Array(all) => {
            for (place, value) in all.iter().enumerate() {
                places(value, &format!("{at}/{place}"), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Names of these objects are data: one that is missing is no fault.
const MAPS: [&str; 2] = ["/report/counters/", "/gpu/place/near/"];

#[test]
fn a_report_with_a_field_missing_or_of_a_wrong_type_is_refused() {
    let validator = validator();
    let mut report = full();
    // One of each is enough to take apart.
    report.devices.truncate(2);
    report.submissions.truncate(2);
    report.peers.truncate(1);
    let whole = answer(report);
    let mut all = Vec::new();
    places(&whole, "", &mut all);
    assert!(all.len() > 300, "{} places", all.len());
    for place in &all {
        let (parent, name) = place.rsplit_once('/').unwrap();
        let mut without = whole.clone();
        without.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(name);
        let is_data = MAPS.iter().any(|map| place.contains(map));
        assert!(is_data || !validator.is_valid(&without), "without {place} it is accepted");
        let mut wrong = whole.clone();
        *wrong.pointer_mut(place).unwrap() = json!({"of no": ["such type"]});
        assert!(!validator.is_valid(&wrong), "{place} may be of any type");
    }
}

#[test]
fn a_word_that_no_enum_has_is_refused() {
    let validator = validator();
    for place in ["/health", "/source", "/report/submissions/0/stage"] {
        let mut value = answer(sample::healthy());
        *value.pointer_mut(place).unwrap() = json!("unheard_of");
        assert!(!validator.is_valid(&value), "{place}");
    }
    let mut value = answer(sample::healthy());
    value["report"]["node"]["hotkey"] = json!("0xd43593c7");
    assert!(!validator.is_valid(&value), "an address in hex");
}

#[test]
fn every_property_says_what_it_is_in_words_of_json() {
    fn look(schema: &Value, at: &str, wrong: &mut Vec<String>) {
        let properties = schema.get("properties").and_then(Value::as_object);
        for (name, property) in properties.into_iter().flatten() {
            let said = property["description"].as_str().unwrap_or_default();
            if said.is_empty() || said.contains("[`") || said.contains("`None`") {
                wrong.push(format!("{at}.{name}: `{said}`"));
            }
        }
        match schema {
            Value::Object(object) => {
                for (name, inner) in object {
                    look(inner, &format!("{at}/{name}"), wrong);
                }
            }
            Value::Array(all) => all.iter().for_each(|inner| look(inner, at, wrong)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let mut wrong = Vec::new();
    look(&schema(), "", &mut wrong);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_value_of_a_full_report_stands_at_a_path_that_is_documented() {
    fn paths(value: &Value, at: &str, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(object) => {
                for (name, value) in object {
                    let is_data = at.ends_with(".counters") || at.ends_with(".place.near");
                    let name = if is_data { "*" } else { name };
                    let at = if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") };
                    if !is_data {
                        found.insert(at.clone());
                    }
                    paths(value, &at, found);
                }
            }
            Value::Array(all) => {
                all.iter().for_each(|value| paths(value, &format!("{at}[]"), found));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let mut there = BTreeSet::new();
    paths(&answer(full()), "", &mut there);
    let documented: BTreeSet<String> =
        fields::fields(&schema()).into_iter().map(|field| field.path).collect();
    let missing: Vec<&String> = there.difference(&documented).collect();
    assert!(missing.is_empty(), "not documented: {missing:#?}");
    let page = page();
    for path in there {
        assert!(page.contains(&format!("| `{path}` | ")), "docs/status.md lacks `{path}`");
    }
}

/// `ASSAY_TEST_WRITE_DOCS=1` adds new ones to the list, and takes none away.
#[test]
fn no_field_is_ever_removed() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let path = path.join("../../tests/golden/status-fields.txt");
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    let mut golden: BTreeSet<String> = golden.lines().map(str::to_owned).collect();
    let now: BTreeSet<String> =
        fields::fields(&schema()).into_iter().map(|field| field.path).collect();
    if std::env::var_os("ASSAY_TEST_WRITE_DOCS").is_some() {
        golden.extend(now.iter().cloned());
        let lines: String = golden.iter().map(|path| format!("{path}\n")).collect();
        std::fs::write(&path, lines).unwrap();
    }
    let removed: Vec<&String> = golden.difference(&now).collect();
    assert!(
        removed.is_empty(),
        "fields of `assay status --json` were removed or renamed, and programs read them; put \
         them back: {removed:#?}"
    );
    let new: Vec<&String> = now.difference(&golden).collect();
    assert!(
        new.is_empty(),
        "new fields; add them to tests/golden/status-fields.txt once they are right: {new:#?}"
    );
}
