//! A submission, a grant and what else spans are made of.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use node_core::admission::Verdict;
use node_core::assignment::Assignment;
use node_core::commitment::Location;
use node_core::evidence::{Conduct, Evidence, Metrics};
use node_core::id::{
    Attempt, BlockHash, ContentDigest, Digest, Hotkey, Netuid, RunId, Salt, SubmissionId,
};
use node_core::inventory::{Device, DeviceId, DeviceKind};
use node_core::lease::{lease_id, Grant, PeerAnswer, PeerRequest};
use node_core::machine::effect::{Effect, Note, PeerAddress, RunSpec};
use node_core::machine::event::{Event, Question};
use node_core::outcome::Ending;
use node_core::policy::GateMode;
use node_core::submission::Submission;
use node_core::unit::{BlockNumber, UnixMs};
use opentelemetry::Value;
use opentelemetry_sdk::trace::SpanData;

use crate::traces::book::Book;

pub(super) const ALICE: Hotkey = Hotkey([1; 32]);
pub(super) const BOB: Hotkey = Hotkey([2; 32]);

/// Seconds after a start that everybody has in common.
pub(super) fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_000 + seconds)
}

/// One of many submissions.
pub(super) fn submission(number: u8) -> Submission {
    let (content, seed) = (ContentDigest([number; 32]), BlockHash([9; 32]));
    Submission::committed(Hotkey([7; 32]), BlockNumber(40), content, Location::Peers, seed)
}

pub(super) fn seen(submission: &Submission) -> Note {
    let Submission { id, hotkey, committed_at, .. } = submission;
    Note::SubmissionSeen { submission: *id, hotkey: *hotkey, block: *committed_at }
}

pub(super) fn scored(submission: SubmissionId) -> Note {
    Note::SubmissionScored { submission, points: 250, worker: BOB }
}

/// What `coordinator` grants of a submission.
pub(super) fn grant(submission: &Submission, coordinator: Hotkey) -> Grant {
    let assignment = Assignment::derive(submission, (1, 0), 0, Digest([5; 32]));
    let attempt = Attempt(3);
    Grant {
        lease: lease_id(&assignment.id, &coordinator, attempt),
        assignment,
        attempt,
        coordinator,
        ttl_ms: 60_000,
        total_ms: 600_000,
    }
}

pub(super) fn granted(by: Hotkey, grant: &Grant) -> Event {
    let answer = PeerAnswer::Acquired(Ok(vec![grant.clone()]));
    answered(by, Question::Acquire, answer)
}

pub(super) fn answered(peer: Hotkey, question: Question, answer: PeerAnswer) -> Event {
    Event::PeerAnswered { peer, question, result: Ok(answer) }
}

pub(super) fn asks(question: Question, request: PeerRequest) -> Effect {
    let endpoint = ([127, 0, 0, 1], 8091).into();
    Effect::AskPeer { peer: PeerAddress { hotkey: ALICE, endpoint }, question, request }
}

pub(super) fn start(run: RunId, grant: &Grant) -> Effect {
    let device = Device::new(DeviceId("cpu-0".to_owned()), DeviceKind::CpuSlot, "a slot", 2_048);
    Effect::StartRun(Box::new(RunSpec {
        run,
        assignment: grant.assignment.clone(),
        lease: grant.lease,
        attempt: grant.attempt,
        devices: vec![device],
        untrained: GateMode::Off,
        architecture: None,
    }))
}

pub(super) fn ended(run: RunId, ending: Ending) -> Event {
    let metrics = (ending == Ending::Completed).then(metrics);
    Event::RunEnded { run, ending, metrics, ended_at: UnixMs(1), salt: Salt([6; 32]) }
}

pub(super) fn admitted(submission: SubmissionId) -> Event {
    Event::AdmissionEnded { submission, verdict: Verdict::admitted(2, 100), sketch: None }
}

fn metrics() -> Metrics {
    Metrics {
        sum_nll_nanonats: 1_000_000_000,
        covered_bytes: 200_000,
        tokens: 100_000,
        batches: 200,
        bad_batches: 0,
        audits: 3,
        step0_loss_nanonats: 5_000_000_000,
        vocabulary: 256,
        heldout_init_nanobpb: 8_001_000_000,
        heldout_nanobpb: 1_870_000_000,
        last_tenth_nanobpb: 1_900_000_000,
        parameters: 1_200_000,
        peak_memory_bytes: 0,
        loss_curve_microbpb: Vec::new(),
        conduct: Conduct::default(),
    }
}

/// What `worker` says of a run that completed.
pub(super) fn evidence(worker: Hotkey, grant: &Grant) -> Box<Evidence> {
    let Grant { assignment, lease, attempt, coordinator, .. } = grant;
    Box::new(Evidence {
        genesis: BlockHash([0; 32]),
        netuid: Netuid(3),
        assignment: assignment.id,
        submission: assignment.submission,
        tier: assignment.tier,
        unit: assignment.unit,
        content: assignment.content,
        lease: *lease,
        attempt: *attempt,
        run: grant.run_of(&worker),
        coordinator: *coordinator,
        worker,
        policy: assignment.policy,
        dataset: Digest([9; 32]),
        image: Digest([10; 32]),
        device: "a slot".to_owned(),
        ending: Ending::Completed,
        metrics: Some(metrics()),
        started_at: UnixMs(1_000),
        ended_at: UnixMs(61_000),
        salt: Salt([11; 32]),
        coordinator_sealed: None,
        shown_before: BTreeMap::new(),
    })
}

/// A run of a lease until its container is gone.
pub(super) fn run(book: &mut Book, own: Hotkey, grant: &Grant, ending: Ending) -> RunId {
    let run = grant.run_of(&own);
    book.saw(&granted(grant.coordinator, grant), at(20));
    book.performs(&start(run, grant), at(21));
    book.saw(&Event::RunStarted { run }, at(22));
    book.saw(&ended(run, ending), at(30));
    run
}

/// The one span with this name.
pub(super) fn named<'a>(spans: &'a [SpanData], name: &str) -> &'a SpanData {
    let found: Vec<&SpanData> = spans.iter().filter(|span| span.name == name).collect();
    assert_eq!(found.len(), 1, "{name} in {spans:#?}");
    found[0]
}

/// An attribute of a span.
pub(super) fn attribute(span: &SpanData, key: &str) -> Option<Value> {
    let found = span.attributes.iter().find(|attribute| attribute.key.as_str() == key);
    found.map(|attribute| attribute.value.clone())
}
