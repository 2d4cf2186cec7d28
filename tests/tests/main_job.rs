//! The main job, end to end: from commitments on chain to weights on chain.
//!
//! The story and its claims are those of `scripts/quickstart`; here it must end well.

use std::time::Duration;

use assay_tests::binaries::binary;
use tokio::process::Command;

#[tokio::test(flavor = "multi_thread")]
async fn two_validators_share_the_work_and_land_the_weights_they_computed() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(binary("quickstart").unwrap());
    command.arg("--dir").arg(dir.path()).kill_on_drop(true);
    let story = tokio::time::timeout(Duration::from_secs(900), command.output());
    let output = story.await.expect("the quickstart hangs").unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    for claim in [
        "failed: untrained_not_causal",
        "rejected: archive-traversal",
        "failed: submission_failed",
        "weights read back from the chain",
        "Everything is as expected.",
    ] {
        assert!(text.contains(claim), "`{claim}` is missing in\n{text}");
    }
    assert_eq!(ranking(&text), ["transformer-rope", "ssm", "bigram"], "{text}");
}

/// The scored submissions, best first, by the bits per byte in the table.
fn ranking(text: &str) -> Vec<String> {
    let mut scored: Vec<(f64, String)> = text
        .lines()
        .filter(|line| line.trim_start().starts_with("miner") && line.contains(" scored "))
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let place = words.iter().position(|word| *word == "scored")?;
            Some((words.get(place + 1)?.parse().ok()?, (*words.get(1)?).to_owned()))
        })
        .collect();
    scored.sort_by(|one, other| one.0.total_cmp(&other.0));
    scored.into_iter().map(|(_, name)| name).collect()
}
