//! A submission that was put away twice, for tests of whoever tells of it.

use std::collections::BTreeMap;
use std::path::Path;

use node_core::admission::{self, Brings, Rejection, Rule};
use node_core::assignment::Assignment;
use node_core::commitment::Location;
use node_core::evidence::{Conduct, Evidence, Metrics, Receipt};
use node_core::id::{
    Attempt, BlockHash, ContentDigest, Digest, Hotkey, LeaseId, Netuid, RunId, Salt, Signature,
};
use node_core::outcome::Ending;
use node_core::policy::Policy;
use node_core::round::Verdict;
use node_core::rows::{Frozen, OutcomeRow, ReceiptRow, ReceiptStanding, Row, VerdictRow, Write};
use node_core::submission::{Submission, SubmissionState};
use node_core::trial::Trial;
use node_core::unit::{BlockNumber, UnixMs};
use node_store::Store;

use super::Thawed;

const WORKER: Hotkey = Hotkey([0x71; 32]);

/// As it was put away the last time.
pub(crate) fn submission() -> Submission {
    let (content, seed) = (ContentDigest([0x72; 32]), BlockHash([0x73; 32]));
    let (miner, block) = (Hotkey([0x74; 32]), BlockNumber(5_000));
    let mut one = Submission::committed(miner, block, content, Location::Peers, seed);
    one.state = SubmissionState::Scored { points: 250_000_000 };
    one
}

/// Of its only run.
pub(crate) fn evidence() -> Evidence {
    let (submission, policy) = (submission(), Policy::dev().digest());
    Evidence {
        genesis: BlockHash([0; 32]),
        netuid: Netuid(3),
        assignment: Assignment::derive(&submission, (1, 0), 0, policy).id,
        submission: submission.id,
        tier: 1,
        unit: 0,
        content: submission.content,
        lease: LeaseId([0x75; 32]),
        attempt: Attempt(2),
        run: RunId([0x76; 32]),
        coordinator: Hotkey([0x77; 32]),
        worker: WORKER,
        policy,
        dataset: Digest([0x78; 32]),
        image: Digest([0x79; 32]),
        device: "one GPU".to_owned(),
        ending: Ending::Completed,
        metrics: Some(metrics()),
        started_at: UnixMs(1_000),
        ended_at: UnixMs(61_000),
        salt: Salt([0x7a; 32]),
        coordinator_sealed: None,
        shown_before: BTreeMap::new(),
    }
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
        loss_curve_microbpb: vec![8_000_000, 4_000_000, 2_000_000],
        conduct: Conduct::default(),
    }
}

fn outcome(tier: u8, unit: u8, points: u64) -> Row {
    Row::Outcome(OutcomeRow {
        trial: Trial { submission: submission().id, tier, unit },
        verdict: Verdict::Scored { points },
        worker: Some(WORKER),
        architecture: None,
        decided_at: BlockNumber(5_099),
    })
}

/// Its evaluation a day after it left the chain; itself, with what it came to, much later.
pub(crate) fn records() -> Vec<Frozen> {
    let id = submission().id;
    let admitted = Submission { state: SubmissionState::Admitted, ..submission() };
    let receipt = Receipt { evidence: evidence(), signature: Signature([0; 64]) };
    let standing = ReceiptStanding::Counts;
    let receipt = Row::Receipt(Box::new(ReceiptRow { sequence: Some(1), standing, receipt }));
    let verdict = admission::Verdict::Admitted {
        files: 3,
        unpacked_bytes: 4_096,
        flags: vec![Rejection::new(Rule::SourceImport, "`os` may not be imported")],
        brings: Brings::default(),
    };
    let verdict = Row::Verdict(VerdictRow {
        content: submission().content,
        policy: Policy::dev().digest(),
        verdict,
        sketch: None,
    });
    let first = vec![Row::Submission(admitted), outcome(1, 0, 7), receipt.clone()];
    let decided = [outcome(1, 0, 250_000_000), outcome(2, 0, 300_000_000)];
    let second = [Row::Submission(submission()), verdict, receipt].into_iter().chain(decided);
    let record = |at, rows| Frozen { submission: id, at: BlockNumber(at), part: 0, rows };
    vec![record(6_000, first), record(7_200, second.collect())]
}

/// What a door tells of them.
pub(crate) fn thawed() -> Thawed {
    Thawed::of(&records(), &Policy::dev())
}

/// A store with nothing but them.
pub(crate) fn store(dir: &Path) -> Store {
    let (store, _) = Store::open(dir).unwrap();
    let writes: Vec<Write> =
        records().into_iter().map(|record| Write::Freeze(Box::new(record))).collect();
    store.commit(&writes).unwrap();
    store
}

/// Changes a byte of what was put away in this directory.
pub(crate) fn damage(dir: &Path) {
    let mut files = std::fs::read_dir(dir.join("freezer")).unwrap();
    let path = files.next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[40] ^= 1;
    std::fs::write(&path, bytes).unwrap();
}
