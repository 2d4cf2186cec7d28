//! What pages show that is asked of the loop.

use std::collections::BTreeMap;

use node_core::commitment::Location;
use node_core::evidence::{Conduct, Evidence, Metrics, Receipt};
use node_core::id::{
    AssignmentId, Attempt, BlockHash, ContentDigest, Digest, Hotkey, LeaseId, Netuid, RunId, Salt,
    Signature,
};
use node_core::lease::Explanation;
use node_core::machine::account::{Account, EpochAccount, Merit};
use node_core::outcome::Ending;
use node_core::round::Verdict;
use node_core::rows::{OutcomeRow, ReceiptRow, ReceiptStanding};
use node_core::submission::{Submission, SubmissionState};
use node_core::trial::Trial;
use node_core::unit::{BlockCount, BlockNumber, EpochIndex};

use super::*;
use crate::api::{Answer, Known, Question};
use crate::status::WeightsIntent;

const WORKER: Hotkey = Hotkey([1; 32]);

fn submission() -> Submission {
    let location = Location::HuggingFace("org/repo@<script>".to_owned());
    let (content, seed) = (ContentDigest([2; 32]), BlockHash([3; 32]));
    let mut one = Submission::committed(WORKER, BlockNumber(7), content, location, seed);
    one.state = SubmissionState::Scored { points: 250_000_000 };
    one
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

fn evidence() -> Evidence {
    let submission = submission();
    Evidence {
        genesis: BlockHash([0; 32]),
        netuid: Netuid(3),
        assignment: AssignmentId([4; 32]),
        submission: submission.id,
        tier: 1,
        unit: 0,
        content: submission.content,
        lease: LeaseId([5; 32]),
        attempt: Attempt(2),
        run: RunId([7; 32]),
        coordinator: Hotkey([6; 32]),
        worker: WORKER,
        policy: Digest([8; 32]),
        dataset: Digest([9; 32]),
        image: Digest([10; 32]),
        device: "<b>one GPU</b>".to_owned(),
        ending: Ending::Completed,
        metrics: Some(metrics()),
        started_at: UnixMs(1_000),
        ended_at: UnixMs(61_000),
        salt: Salt([11; 32]),
        coordinator_sealed: None,
        shown_before: BTreeMap::new(),
    }
}

fn known() -> Known {
    let submission = submission();
    let trial = Trial::first(submission.id);
    let outcome = OutcomeRow {
        trial,
        verdict: Verdict::Scored { points: 250_000_000 },
        worker: Some(WORKER),
        architecture: None,
        decided_at: BlockNumber(99),
    };
    let account = Account {
        submission,
        explanation: Explanation { required: 2, ..Explanation::default() },
        outcomes: vec![outcome],
        metrics: Some(metrics()),
        merit: Some(Merit { tier: 1, points: 250_000_000 }),
        place: None,
        flags: Vec::new(),
        review: None,
    };
    Known { account, place: None, runs: Vec::new() }
}

/// The last vector, and one of an epoch that no report tells of.
fn vectors() -> Vec<WeightsIntent> {
    let last = sample::healthy().weights.last_landed.unwrap();
    let (epoch, state) = (EpochIndex(last.epoch.0 - 9), "abandoned".to_owned());
    let earlier = WeightsIntent { epoch, state, ..last.clone() };
    vec![last, earlier]
}

/// A loop that knows one submission.
async fn answer(mut asked: mpsc::Receiver<Call>) {
    while let Some(Call { question, answer }) = asked.recv().await {
        let said = match question {
            Question::Submission(id) if id == submission().id => {
                Answer::Submission(Some(Box::new(known())))
            }
            Question::Submission(_) => Answer::Submission(None),
            Question::Receipts(_) => {
                let receipt = Receipt { evidence: evidence(), signature: Signature([0; 64]) };
                let standing = ReceiptStanding::Counts;
                Answer::Receipts(vec![ReceiptRow { sequence: Some(1), standing, receipt }])
            }
            Question::Leaderboard => {
                let merit = Merit { tier: 3, points: 77 };
                Answer::Leaderboard(None, vec![(merit, submission())])
            }
            Question::Epoch => {
                let (index, block) = (EpochIndex(13_368), BlockNumber(4_812_330));
                Answer::Epoch(Some(EpochAccount { index, block, length: BlockCount(360) }))
            }
            Question::Vectors => Answer::Vectors(vectors()),
            other => panic!("no page asks {other:?}"),
        };
        drop(answer.send(said));
    }
}

fn node() -> Node {
    let (calls, asked) = mpsc::channel(4);
    tokio::spawn(answer(asked));
    Node::at(sample::healthy(), IpAddr::V4(Ipv4Addr::LOCALHOST), Some(calls))
}

#[tokio::test]
async fn epochs_of_earlier_lives_are_shown_and_without_the_loop_the_page_says_so() {
    let partial = "earlier epochs are not shown";
    let text = node().get("/epochs").await.text;
    for part in ["13 367", "13 358", "abandoned"] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert!(!text.contains(partial) && text.matches("<td class=\"said\">").count() == 2, "{text}");
    let alone = Node::at(sample::healthy(), IpAddr::V4(Ipv4Addr::LOCALHOST), None);
    let text = alone.get("/epochs").await.text;
    assert!(text.contains(partial) && !text.contains("13 358"), "{text}");
}

#[tokio::test]
async fn a_submission_is_shown_with_its_curve_its_seed_and_its_evidence() {
    let text = node().get(&page_of(submission().id)).await.text;
    assert_eq!(text.matches("<polyline").count(), 2, "one of all, one of the run: {text}");
    let seed =
        node_core::assignment::Assignment::derive(&submission(), (1, 0), 0, evidence().policy);
    for part in [
        "3 points: 8.0000 at first, 2.0000 at last",
        "2 results have to agree.",
        "scored: 250 000 000 points",
        &format!("Tier 1, unit 0, by {}: completed", WORKER.short()),
        &seed.seed.to_string(),
        &evidence().image.to_string(),
        &evidence().dataset.to_string(),
        &evidence().digest().to_string(),
        "1.8700, untrained 8.0010",
        "1970-01-01 00:00:01Z, for 1 min 00 s",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("<script>") && !text.contains("<b>"), "{text}");
    assert!(!text.contains("The loop does not answer"), "{text}");
}

#[tokio::test]
async fn a_submission_that_only_the_report_knows_is_shown_and_says_what_is_left_out() {
    let id = sample::healthy().submissions[0].id;
    for node in [node(), Node::of(sample::healthy())] {
        let answered = node.get(&page_of(id)).await;
        assert_eq!(answered.status, StatusCode::OK);
        assert!(answered.text.contains("The loop does not answer now"), "{}", answered.text);
        assert!(answered.text.contains("412 233 901"), "{}", answered.text);
        assert!(answered.text.contains(": completed</summary>"), "{}", answered.text);
    }
}

#[tokio::test(start_paused = true)]
async fn a_loop_that_hangs_leaves_the_page_without_what_it_knows() {
    let (calls, _asked) = mpsc::channel(1);
    let node = Node::at(sample::healthy(), IpAddr::V4(Ipv4Addr::LOCALHOST), Some(calls));
    let answered = node.get("/").await;
    assert_eq!(answered.status, StatusCode::OK);
    let unknown = node.get(&page_of(SubmissionId([0xee; 32]))).await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn who_leads_and_how_far_the_epoch_is_is_what_the_loop_says() {
    let node = node();
    let leaders = node.get("/leaderboard").await.text;
    assert!(leaders.contains("77 points") && !leaders.contains("412 233 901"), "{leaders}");
    let overview = node.get("/").await.text;
    assert!(overview.contains("72 of 360 blocks of the epoch"), "{overview}");
}
