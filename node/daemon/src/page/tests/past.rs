//! Pages of submissions that the loop knows nothing of any more.

use std::path::Path;
use std::sync::Arc;

use node_core::assignment::Assignment;
use node_core::policy::Policy;

use super::*;
use crate::api::{Answer, Question};
use crate::freezer::sample as past;

/// A loop that knows nothing, and a store in which one submission was put away.
fn node(dir: &Path) -> Node {
    let (calls, mut asked) = mpsc::channel::<Call>(4);
    tokio::spawn(async move {
        while let Some(Call { question, answer }) = asked.recv().await {
            let Question::Submission(_) = question else { panic!("no page asks {question:?}") };
            drop(answer.send(Answer::Submission(None)));
        }
    });
    with_store(dir, Some(calls))
}

fn with_store(dir: &Path, calls: Option<mpsc::Sender<Call>>) -> Node {
    let freezer = FreezerDoor::new(Arc::new(past::store(dir)), Arc::new(Policy::dev()));
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    Node::with(sample::healthy(), loopback, calls, Some(freezer))
}

#[tokio::test]
async fn a_submission_that_was_put_away_is_shown_as_it_was_then() {
    let dir = tempfile::tempdir().unwrap();
    let answered = node(dir.path()).get(&page_of(past::submission().id)).await;
    assert_eq!(answered.status, StatusCode::OK, "{}", answered.text);
    let evidence = past::evidence();
    let seed = Assignment::derive(&past::submission(), (1, 0), 0, evidence.policy).seed;
    for part in [
        "all that was known of it was put away at block 7 200",
        "scored with 250 000 000 points",
        "in block 5 000",
        "scored: 250 000 000 points",
        "source-import",
        "3 points: 8.0000 at first, 2.0000 at last",
        "Units of its tiers",
        "300 000 000",
        &format!("Tier 1, unit 0, by {}: completed", evidence.worker.short()),
        &seed.to_string(),
        &evidence.image.to_string(),
    ] {
        assert!(answered.text.contains(part), "{part}: {}", answered.text);
    }
    for part in ["scored: 7 points", "results have to agree", "The loop does not answer"] {
        assert!(!answered.text.contains(part), "{part}: {}", answered.text);
    }
}

#[tokio::test]
async fn what_was_put_away_is_shown_while_nobody_answers() {
    let dir = tempfile::tempdir().unwrap();
    let node = with_store(dir.path(), None);
    let answered = node.get(&page_of(past::submission().id)).await;
    assert_eq!(answered.status, StatusCode::OK);
    assert!(answered.text.contains("put away at block 7 200"), "{}", answered.text);
}

#[tokio::test]
async fn what_was_never_put_away_and_is_not_known_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let answered = node(dir.path()).get(&page_of(SubmissionId([0xee; 32]))).await;
    assert_eq!(answered.status, StatusCode::NOT_FOUND);
    assert!(answered.text.contains("does not know"), "{}", answered.text);
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_an_error_with_its_reason_and_no_missing_page() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(dir.path());
    past::damage(dir.path());
    let answered = node.get(&page_of(past::submission().id)).await;
    assert_eq!(answered.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(answered.text.contains("cannot read the freezer"), "{}", answered.text);
    assert!(!answered.text.contains("does not know"), "{}", answered.text);
}
