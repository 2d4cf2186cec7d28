//! Epochs on a real chain while the node is killed, its endpoints fail, blocks are taken back and
//! the runtime is upgraded: one vector in each, and the one that was planned.
//!
//! `ASSAY_SEED` repeats the moments chosen by chance.

#![allow(clippy::unwrap_used, reason = "a test states facts; a broken one should stop at once")]
#![allow(clippy::print_stdout, reason = "what chance chose is what a failure is repeated with")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use assay_tests::chain::{Chain, ChainOptions, Update};
use assay_tests::lab::Lab;
use assay_tests::node::{Node, NodeOptions};
use assay_tests::submissions::packed_fixture;
use node_daemon::status::StatusReport;
use serde_json::{json, Value};

const SCORE_MAX: Duration = Duration::from_secs(180);
const BLOCK_MS: u64 = 250;
const TEMPO: u16 = 24;
const EPOCHS: u64 = 30;

/// Chance with a seed that is printed; the same seed gives the same choices.
struct Chance(u64);

impl Chance {
    fn new() -> Self {
        let given = std::env::var("ASSAY_SEED").ok().map(|seed| seed.parse().unwrap());
        let seed = given.unwrap_or(7);
        println!("ASSAY_SEED={seed} repeats this");
        Self(seed)
    }

    fn below(&mut self, bound: u64) -> u64 {
        // Knuth's MMIX constants; the high bits are the good ones.
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// One validator with two endpoints of one chain, one miner, and short patience.
async fn lab(dir: &Path, extra: &[&str]) -> (Lab, Node) {
    lab_with_blocks(dir, BLOCK_MS, extra).await
}

/// The same, with blocks that take so long.
async fn lab_with_blocks(dir: &Path, block_ms: u64, extra: &[&str]) -> (Lab, Node) {
    let fixed = ["--state-window", "4000", "--finality-lag", "2"];
    let options = ChainOptions {
        validators: 1,
        miners: 1,
        tempo: TEMPO,
        block_ms,
        endpoints: 2,
        extra: fixed.iter().chain(extra).map(|text| (*text).to_owned()).collect(),
        ..ChainOptions::default()
    };
    let lab = Lab::start(dir, &options).await.unwrap();
    let node = lab.node(0, "").unwrap();
    let config = std::fs::read_to_string(node.config_file()).unwrap();
    let endpoints = format!(
        "endpoints = {:?}\ncall_timeout = \"1s\"\nsilence_max = \"2s\"\ncompare_every = \"5s\"\n",
        lab.chain.urls()
    );
    let line = config.lines().find(|line| line.starts_with("endpoints")).unwrap().to_owned();
    let config = config.replace(&line, &endpoints);
    // Every extrinsic of the hotkey is a vector.
    let config = config.replace("publish_axon = true", "publish_axon = false");
    std::fs::write(node.config_file(), config).unwrap();
    (lab, node)
}

async fn score_one(lab: &Lab, node: &mut Node) {
    let packed = packed_fixture("bigram").unwrap();
    lab.submit(0, &lab.shared_contents(), &packed).await.unwrap();
    let scored = |report: &StatusReport| report.submission_counts.scored == 1;
    node.wait_for("a score", SCORE_MAX, scored).await.unwrap();
}

/// The journal's entries.
fn journal(node: &Node) -> Vec<Value> {
    let text = std::fs::read_to_string(node.data_dir().join("signed.journal")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.map(|mut line| line["entry"].take()).collect()
}

/// What the journal planned, by epoch.
#[derive(Default)]
struct Planned {
    vectors: BTreeMap<u64, Vec<(u16, u16)>>,
    /// Of every signature.
    nonces: BTreeMap<u64, Vec<u64>>,
}

fn planned(node: &Node) -> Planned {
    let Planned { mut vectors, mut nonces } = Planned::default();
    for line in journal(node) {
        let Some(epoch) = line["epoch"].as_u64() else { continue };
        match line["step"]["step"].as_str() {
            Some("intended") => {
                let vector = serde_json::from_value(line["step"]["vector"].clone()).unwrap();
                vectors.insert(epoch, vector);
            }
            Some("signed") => {
                let nonce = line["step"]["signed"]["nonce"].as_u64().unwrap();
                nonces.entry(epoch).or_default().push(nonce);
            }
            _ => {}
        }
    }
    Planned { vectors, nonces }
}

async fn set_fault(lab: &Lab, fault: Value) {
    lab.chain.call("dev_fault", json!([fault])).await.unwrap();
}

async fn wait_blocks(lab: &Lab, blocks: u64) {
    let until = lab.chain.finalized().await.unwrap() + blocks;
    while lab.chain.finalized().await.unwrap() < until {
        tokio::time::sleep(Duration::from_millis(BLOCK_MS)).await;
    }
}

/// One thing that goes wrong, chosen by chance.
async fn disturb(lab: &Lab, node: &mut Node, chance: &mut Chance) {
    let kind = chance.below(7);
    println!("block {}: disturbance {kind}", lab.chain.finalized().await.unwrap());
    match kind {
        0 | 1 => {
            node.kill().await.unwrap();
            tokio::time::sleep(Duration::from_millis(chance.below(800))).await;
            node.start(None).unwrap();
        }
        2 => set_fault(lab, json!({"listener": 0, "silent": true, "for_ms": 2_500})).await,
        3 => set_fault(lab, json!({"listener": 0, "close": true})).await,
        4 => {
            set_fault(lab, json!({"listener": 0, "lose_transactions": true, "for_ms": 1_500})).await
        }
        5 => {
            lab.chain.call("dev_reorg", json!([1 + chance.below(2), "later"])).await.unwrap();
        }
        _ => {
            let lag = chance.below(10);
            lab.chain.call("dev_setFinalityLag", json!([lag])).await.unwrap();
        }
    }
}

fn check(updates: &[Update], epochs: std::ops::Range<u64>, node: &Node) {
    let Planned { vectors, nonces } = planned(node);
    for epoch in epochs {
        let of_epoch: Vec<&Update> = updates.iter().filter(|one| one.epoch == epoch).collect();
        assert_eq!(of_epoch.len(), 1, "epoch {epoch}: {of_epoch:?}");
        // A signature made anew has the nonce of the one that it replaces.
        let mut used = nonces.get(&epoch).cloned().unwrap_or_default();
        used.dedup();
        assert_eq!(used.len(), 1, "epoch {epoch} was signed with nonces {used:?}");
    }
    for update in updates {
        let vector = vectors.get(&update.epoch).expect("an update that was not planned");
        assert_eq!(&update.row, vector, "{update:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn case_07_08_thirty_epochs_with_kill_9_and_faults_set_one_planned_vector_each() {
    let dir = tempfile::tempdir().unwrap();
    let (lab, mut node) = lab(dir.path(), &[]).await;
    node.start(None).unwrap();
    score_one(&lab, &mut node).await;
    let landed = |report: &StatusReport| report.weights.last_landed.is_some();
    let report = node.wait_for("a first vector", SCORE_MAX, landed).await.unwrap();
    let first = report.weights.epoch.unwrap().0 + 1;
    let uid = report.node.uid.unwrap().0;
    let mut chance = Chance::new();
    // A disturbance every two epochs or so, and an upgrade in the middle.
    for round in 0..EPOCHS / 2 {
        if round == EPOCHS / 4 {
            let upgrade = json!([{"spec_version": 500, "flavour": "newtype", "error_shift": 3}]);
            lab.chain.call("dev_upgrade", upgrade).await.unwrap();
        }
        let pause = u64::from(TEMPO) + chance.below(u64::from(TEMPO));
        wait_blocks(&lab, pause).await;
        disturb(&lab, &mut node, &mut chance).await;
    }
    lab.chain.call("dev_setFinalityLag", json!([2])).await.unwrap();
    let enough =
        |report: &StatusReport| report.weights.epoch.is_some_and(|epoch| epoch.0 > first + EPOCHS);
    node.wait_for("thirty epochs", SCORE_MAX, enough).await.unwrap();
    let (updates, last) = lab.chain.updates(uid, 1).await.unwrap();
    assert!(last >= first + EPOCHS, "only epochs {first} to {last}");
    check(&updates, first..last, &node);
    let spec = node.status().await.unwrap().chain.unwrap().spec_version;
    assert_eq!(spec, 500, "the upgrade was followed");
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn timelocked_commits_are_opened_by_the_chain_over_a_kill_9_and_an_upgrade() {
    let dir = tempfile::tempdir().unwrap();
    // A node that was killed has to be back within an epoch, also on a busy machine.
    let blocks = 2 * BLOCK_MS;
    let (lab, mut node) = lab_with_blocks(dir.path(), blocks, &["--commit-reveal"]).await;
    node.start(None).unwrap();
    score_one(&lab, &mut node).await;
    let committed = |report: &StatusReport| report.counters.contains_key("weights_committed");
    let report = node.wait_for("a commit", SCORE_MAX, committed).await.unwrap();
    let uid = report.node.uid.unwrap().0;
    node.kill().await.unwrap();
    node.start(None).unwrap();
    let revealed = |least: u64| {
        move |report: &StatusReport| {
            report.counters.get("weights_revealed").is_some_and(|count| *count >= least)
        }
    };
    node.wait_for("a reveal", SCORE_MAX, revealed(1)).await.unwrap();
    let upgrade = json!([{"spec_version": 500, "flavour": "newtype", "error_shift": 3}]);
    lab.chain.call("dev_upgrade", upgrade).await.unwrap();
    node.wait_for("reveals after the upgrade", SCORE_MAX, revealed(4)).await.unwrap();
    let vectors = planned(&node).vectors;
    let stored = lab.chain.stored_weights(1, uid).await.unwrap();
    assert!(vectors.values().any(|vector| *vector == stored), "{stored:?}");
    let lost = journal(&node).iter().filter(|line| line["step"]["step"] == "lost").count();
    assert_eq!(lost, 0, "the chain kept a commit closed");
    // Each epoch from the first commit on has one update of the hotkey, and only one.
    let (updates, last) = lab.chain.updates(uid, 1).await.unwrap();
    let first = updates.first().unwrap().epoch;
    for epoch in first..last {
        let count = updates.iter().filter(|update| update.epoch == epoch).count();
        assert_eq!(count, 1, "epoch {epoch}: {updates:?}");
    }
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_06_a_second_node_with_the_same_hotkey_leaves_with_code_70_and_signs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (lab, mut node) = lab(dir.path(), &[]).await;
    node.start(None).unwrap();
    score_one(&lab, &mut node).await;
    let landed = |least: u64| {
        move |report: &StatusReport| {
            report.counters.get("weights_landed").is_some_and(|count| *count >= least)
        }
    };
    node.wait_for("a vector", SCORE_MAX, landed(1)).await.unwrap();

    let options = lab.node_options(0);
    let mut rival = Node::new(NodeOptions { dir: dir.path().join("rival"), ..options }).unwrap();
    rival.start(None).unwrap();
    let status = rival.process().unwrap().wait(SCORE_MAX).await.unwrap();
    let log = rival.process().unwrap().log();
    assert_eq!(status.code(), Some(70), "{log}");
    assert!(log.contains("other signer"), "{log}");
    let signed = journal(&rival).iter().filter(|line| line["step"]["step"] == "signed").count();
    assert_eq!(signed, 0, "the rival signed");

    let before = node.status().await.unwrap().counters["weights_landed"];
    node.wait_for("the first node goes on", SCORE_MAX, landed(before + 1)).await.unwrap();
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_09_a_hanging_and_a_foreign_endpoint_are_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let (lab, mut node) = lab(dir.path(), &[]).await;
    let elsewhere = tempfile::tempdir().unwrap();
    let options = ChainOptions { validators: 3, tempo: 99, ..ChainOptions::default() };
    let foreign = Chain::start(elsewhere.path(), &options).await.unwrap();
    let config = std::fs::read_to_string(node.config_file()).unwrap();
    let genesis = lab.chain.call("chain_getBlockHash", json!([0])).await.unwrap();
    let urls = [foreign.url(), &lab.chain.urls()[0], &lab.chain.urls()[1]];
    let line = config.lines().find(|line| line.starts_with("endpoints")).unwrap().to_owned();
    let endpoints = format!("endpoints = {urls:?}\ngenesis = {genesis}");
    std::fs::write(node.config_file(), config.replace(&line, &endpoints)).unwrap();
    set_fault(&lab, json!({"listener": 0, "silent": true})).await;
    node.start(None).unwrap();
    let ready = |report: &StatusReport| report.ready.ready;
    let report = node.wait_for("ready", Duration::from_secs(60), ready).await.unwrap();
    let chain = report.chain.unwrap();
    assert_eq!(chain.endpoint_index, 3, "{chain:#?}");
    assert_eq!(format!("0x{}", chain.genesis), genesis.as_str().unwrap());
    node.end().await;
}
