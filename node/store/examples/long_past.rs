//! Fills a data directory, which may be a node's, with the past of a subnet whose miners all commit
//! once a day: what was put away of submissions that nothing rests on any more, what is known of
//! those of the last days, and the families with their champions. Then opens it and looks some of
//! what was put away up.
//!
//! `cargo run --release -p node-store --example long_past DIRECTORY [receipts]`

#![allow(clippy::print_stdout, reason = "a program whose result is what it prints")]

use std::collections::BTreeSet;
use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use node_core::admission::{self, Brings};
use node_core::commitment::Location;
use node_core::duplicates::Sketch;
use node_core::evidence::{Conduct, Evidence, Metrics, Receipt};
use node_core::funnel::{MemberState, Passage, TierPlace};
use node_core::id::{
    AssignmentId, Attempt, BlockHash, ContentDigest, Digest, Hotkey, LeaseId, Netuid, RunId, Salt,
    Signature, SubmissionId,
};
use node_core::outcome::Ending;
use node_core::priority::Priority;
use node_core::reward::{Champion, Family, FamilyId, Fingerprint, Quality};
use node_core::round;
use node_core::rows::{
    FamilyRow, Frozen, HorizonRow, OutcomeRow, ReceiptRow, ReceiptStanding, Row, Table, VerdictRow,
    Write,
};
use node_core::submission::{Submission, SubmissionState};
use node_core::trial::Trial;
use node_core::unit::{BlockNumber, UnixMs};
use node_store::Store;

/// Submissions of one commit.
const AT_ONCE: u64 = 256;

/// A database that has not written for so long is done. It tidies up every half second.
const QUIET: Duration = Duration::from_secs(5);

/// Submissions of a day, each in a block of its own.
const A_DAY: u64 = 256;

/// Days for which a submission is remembered under the policy `standard`: a week, the day of its
/// window, and the day for which its receipts are kept.
const REMEMBERED_DAYS: u64 = 9;

/// Days whose receipts are not put away: those of the last commitments, and of those that they
/// replaced less than a day ago.
const RECEIPTS_DAYS: u64 = 2;

/// One submission of so many founds a family and stays its champion.
const SUBMISSIONS_PER_FAMILY: u64 = 500;

/// Results of a trial.
const REPLICAS: usize = 2;

/// Labels of an architecture's fingerprint: those of a model of some layers.
const LABELS: usize = 256;

/// Shingles of a submission: those of a project of some hundred lines.
const SHINGLES: u64 = 2_000;

/// Numbers that look like chance, the same each time.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.next().to_le_bytes()[0])
    }
}

fn submission(n: u64, chance: &mut Chance) -> Submission {
    let content = ContentDigest(chance.bytes());
    let location = Location::HuggingFace("a-miner/a-model@0123456789abcdef".to_owned());
    let (hotkey, block) = (Hotkey(chance.bytes()), BlockNumber(1 + n));
    let seed = BlockHash(chance.bytes());
    let committed = Submission::committed(hotkey, block, content, location, seed);
    let state = SubmissionState::Scored { points: chance.next() % 256_000_000 };
    Submission { state, ..committed }
}

fn receipt(submission: &Submission, trial: Trial, chance: &mut Chance) -> Row {
    let mut loss = 8_000_000_u32;
    let curve: Vec<u32> = (0..256)
        .map(|_| {
            loss = loss.saturating_sub(u32::try_from(chance.next() % 40_000).unwrap_or_default());
            loss
        })
        .collect();
    let metrics = Metrics {
        sum_nll_nanonats: chance.next(),
        covered_bytes: 200_000,
        tokens: 200_000,
        batches: 1_562,
        bad_batches: 0,
        audits: 16,
        step0_loss_nanonats: chance.next() >> 31,
        vocabulary: 256,
        heldout_init_nanobpb: chance.next() >> 31,
        heldout_nanobpb: chance.next() >> 31,
        last_tenth_nanobpb: chance.next() >> 31,
        parameters: 261_952,
        peak_memory_bytes: chance.next() >> 30,
        loss_curve_microbpb: curve,
        conduct: Conduct {
            wall_ms: chance.next() % 600_000,
            architecture: traced(trial),
            ..Conduct::default()
        },
    };
    let evidence = Evidence {
        genesis: BlockHash([1; 32]),
        netuid: Netuid(1),
        assignment: AssignmentId(chance.bytes()),
        submission: submission.id,
        tier: trial.tier,
        unit: trial.unit,
        content: submission.content,
        lease: LeaseId(chance.bytes()),
        attempt: Attempt(1),
        run: RunId(chance.bytes()),
        coordinator: Hotkey([6; 32]),
        worker: Hotkey([7; 32]),
        policy: Digest([8; 32]),
        dataset: Digest([9; 32]),
        image: Digest([10; 32]),
        device: "NVIDIA H100 80GB HBM3".to_owned(),
        ending: Ending::Completed,
        metrics: Some(metrics),
        started_at: UnixMs(1_700_000_000_000 + submission.committed_at.0 * 12_000),
        ended_at: UnixMs(1_700_000_600_000 + submission.committed_at.0 * 12_000),
        salt: Salt(chance.bytes()),
        coordinator_sealed: None,
        shown_before: [(Hotkey([11; 32]), Some(Digest(chance.bytes())))].into(),
    };
    let receipt = Receipt { evidence, signature: Signature(chance.bytes()) };
    let (sequence, standing) = (Some(chance.next()), ReceiptStanding::Counts);
    Row::Receipt(Box::new(ReceiptRow { sequence, standing, receipt }))
}

/// What is known of a submission.
struct Known {
    submission: Submission,
    outcomes: Vec<OutcomeRow>,
    verdict: VerdictRow,
    receipts: Vec<Row>,
}

/// The trials of a submission, as the policy `standard` lets pass: three of ten go on to the second
/// tier, and one of ten of these to the last one.
fn trials_of(n: u64, submission: SubmissionId) -> Vec<Trial> {
    let second = if n % 10 < 3 { 4 } else { 0 };
    let last = if n % 100 < 3 { 8 } else { 0 };
    let tiers = [(1, 1), (2, second), (3, last)];
    let units = |(tier, units): (u8, u8)| (0..units).map(move |unit| (tier, unit));
    let units = tiers.into_iter().flat_map(units);
    units.map(|(tier, unit)| Trial { submission, tier, unit }).collect()
}

/// The architecture as a container traces it where architectures are told apart: the same in each
/// unit of a submission.
fn traced(trial: Trial) -> Option<Fingerprint> {
    let first = trial.submission.0.first_chunk().copied().unwrap_or_default();
    let mut chance = Chance(u64::from_le_bytes(first));
    let labels: BTreeSet<u64> = (0..LABELS).map(|_| chance.next()).collect();
    let labels: Vec<u64> = labels.into_iter().collect();
    (trial.tier > 1).then(|| Fingerprint::try_from(labels))?.ok()
}

fn outcome(submission: &Submission, trial: Trial, chance: &mut Chance) -> OutcomeRow {
    OutcomeRow {
        trial,
        verdict: round::Verdict::Scored { points: chance.next() % 256_000_000 },
        worker: Some(Hotkey([7; 32])),
        architecture: traced(trial),
        decided_at: submission.committed_at,
    }
}

impl Known {
    fn of(n: u64, chance: &mut Chance) -> Self {
        let submission = submission(n, chance);
        let shingles: BTreeSet<u64> = (0..SHINGLES).map(|_| chance.next()).collect();
        let verdict = VerdictRow {
            content: submission.content,
            policy: Digest([8; 32]),
            verdict: admission::Verdict::Admitted {
                files: 7,
                unpacked_bytes: 40_000,
                flags: vec![],
                brings: Brings::default(),
            },
            sketch: Some(Sketch::of(&shingles)),
        };
        let trials = trials_of(n, submission.id);
        let outcomes = trials.iter().map(|trial| outcome(&submission, *trial, chance)).collect();
        let each = trials.into_iter().flat_map(|trial| [trial; REPLICAS]);
        let receipts = each.map(|trial| receipt(&submission, trial, chance)).collect();
        Self { submission, outcomes, verdict, receipts }
    }

    fn decided(&self) -> Vec<Row> {
        let submission = Row::Submission(self.submission.clone());
        let outcomes = self.outcomes.iter().cloned().map(Row::Outcome);
        [submission].into_iter().chain(outcomes).collect()
    }

    fn frozen(&self, days_later: u64, rows: Vec<Row>) -> Write {
        let at = BlockNumber(self.submission.committed_at.0 + 7_200 * days_later);
        Write::Freeze(Box::new(Frozen { submission: self.submission.id, at, part: 0, rows }))
    }

    /// As a day after it left the chain.
    fn put_receipts_away(&mut self) -> Write {
        let receipts = std::mem::take(&mut self.receipts);
        self.frozen(2, self.decided().into_iter().chain(receipts).collect())
    }

    /// As nothing rests on it any more.
    fn put_away(&self) -> Write {
        let verdict = Row::Verdict(VerdictRow { sketch: None, ..self.verdict.clone() });
        self.frozen(REMEMBERED_DAYS, self.decided().into_iter().chain([verdict]).collect())
    }

    fn rows(self) -> Vec<Write> {
        let decided = self.decided();
        let rows = decided.into_iter().chain([Row::Verdict(self.verdict)]).chain(self.receipts);
        rows.map(Write::Put).collect()
    }

    /// The family that it founded, which is closed for good, and its own places.
    fn found(&mut self) -> Option<Write> {
        let place = TierPlace { state: MemberState::Scored { points: 1 }, passage: Passage::Out };
        self.submission.tiers = Some(Box::new([place, place]));
        let founder = self.outcomes.iter().find_map(|row| row.architecture.clone())?;
        let priority = Priority::of(&self.submission);
        let quality = Quality { mean_nano: 1_000_000_000, variance_nano2: 1 };
        let family = Family {
            founder,
            owner: Some(self.submission.hotkey),
            architecture: Champion { priority: Some(priority), quality },
            recipe: None,
        };
        let id = FamilyId(Digest(self.submission.id.0));
        Some(Write::Put(Row::Family(Box::new(FamilyRow { id, family }))))
    }
}

/// What the n-th submission of so many left in the store.
fn left_of(n: u64, submissions: u64, chance: &mut Chance) -> Vec<Write> {
    let mut known = Known::of(n, chance);
    let days = (submissions - n) / A_DAY;
    let family = (days >= REMEMBERED_DAYS && n.is_multiple_of(SUBMISSIONS_PER_FAMILY))
        .then(|| known.found())
        .flatten();
    let mut writes = Vec::new();
    if days >= RECEIPTS_DAYS {
        known.submission.left_at = Some(BlockNumber(n + A_DAY));
        writes.push(known.put_receipts_away());
    }
    if days < REMEMBERED_DAYS || family.is_some() {
        writes.extend(known.rows());
    } else {
        writes.push(known.put_away());
    }
    writes.extend(family);
    writes
}

fn fill(store: &Store, submissions: u64) -> Result<Vec<SubmissionId>, Box<dyn Error>> {
    let mut chance = Chance(1);
    let mut put_away = Vec::new();
    let mut n = 0;
    while n < submissions {
        let until = submissions.min(n + AT_ONCE);
        let writes: Vec<Write> =
            (n..until).flat_map(|n| left_of(n, submissions, &mut chance)).collect();
        put_away.extend(writes.iter().filter_map(|write| {
            let Write::Freeze(frozen) = write else { return None };
            frozen.receipts().next().map(|_| frozen.submission)
        }));
        store.commit(&writes)?;
        n = until;
    }
    let until = BlockNumber(submissions.saturating_sub(REMEMBERED_DAYS * A_DAY));
    let (since, seen) = (BlockNumber(0), BlockNumber(submissions));
    store.commit(&[Write::Put(Row::Horizon(HorizonRow { until, since, seen }))])?;
    Ok(put_away)
}

/// Waits until the database has nothing left to tidy up, by when its log was last written to; how
/// long that took. What two years write is here written at once, so the live pages of half-empty
/// segments, which a node moves one by one as the years go, all wait for the next start.
fn settle(log: &Path) -> io::Result<Duration> {
    let started = Instant::now();
    loop {
        let written = log.metadata()?.modified()?;
        if written.elapsed().is_ok_and(|ago| ago > QUIET) {
            return Ok(started.elapsed().saturating_sub(QUIET));
        }
        std::thread::sleep(QUIET / 10);
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let dir = PathBuf::from(arguments.next().ok_or("name a directory")?);
    let receipts: u64 = arguments.next().map_or(Ok(1_000_000), |text| text.parse())?;
    let mut submissions = 0;
    let mut made = 0;
    while made < receipts {
        made += (trials_of(submissions, SubmissionId([0; 32])).len() * REPLICAS) as u64;
        submissions += 1;
    }
    let (store, _) = Store::open(&dir)?;
    let ids = fill(&store, submissions)?;
    drop(store);
    let started = Instant::now();
    let (store, loaded) = Store::open(&dir)?;
    let took = started.elapsed();
    let count = |table| loaded.rows.iter().filter(|row| row.table() == table).count();
    println!(
        "{made} receipts of {submissions} submissions, of which {} with {} receipts and {} \
         families are rows; store and freezer: {} MiB",
        count(Table::Submissions),
        count(Table::Receipts),
        count(Table::Families),
        store.size_on_disk()? >> 20,
    );
    println!("opened in {} ms, with {} rows", took.as_millis(), loaded.rows.len());
    let mut took = Vec::new();
    for id in ids.iter().step_by((ids.len() / 1_000).max(1)) {
        let started = Instant::now();
        let frozen = store.frozen(id)?;
        took.push(started.elapsed());
        assert!(frozen.iter().flat_map(Frozen::receipts).count() >= REPLICAS);
    }
    took.sort_unstable();
    let at = |per_mille: usize| took.get(took.len() * per_mille / 1000).copied();
    println!("receipts of one that were put away: p50 {:?}, p99 {:?}", at(500), at(990));
    println!("settled in {} s", settle(&dir.join("state/db"))?.as_secs());
    Ok(())
}
