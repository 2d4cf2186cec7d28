//! What was signed, when it is lost, moved, or not all of it: nothing is signed twice.

#![allow(clippy::unwrap_used, reason = "a test states facts; a broken one should stop at once")]

use std::path::Path;
use std::time::Duration;

use assay_tests::binaries::binary;
use assay_tests::chain::ChainOptions;
use assay_tests::lab::{Lab, NETUID};
use assay_tests::node::{Node, NodeOptions};
use assay_tests::submissions::packed_fixture;
use node_chain::{ChainClient, ChainConfig, HotkeyFile, WalletPath};
use node_core::id::{IntentId, Netuid, Uid};
use node_core::machine::effect::WeightsToSign;
use node_core::submit_guard::{Binding, WeightsForm};
use node_daemon::status::StatusReport;
use serde_json::{json, Value};
use tokio::process::Command;

/// How long a small submission may take from commitment to score.
const SCORE_MAX: Duration = Duration::from_secs(180);
/// How long an epoch may take, with what it takes to land.
const LAND_MAX: Duration = Duration::from_secs(90);
/// How long a node may take to find out that it must not go on.
const REFUSE_MAX: Duration = Duration::from_secs(60);
/// Blocks after which signatures of something that was stopped are dead.
const SETTLING_BLOCKS: u64 = 64;

/// What a command said and how it ended.
#[derive(Debug)]
struct Said {
    code: i32,
    stdout: String,
    stderr: String,
}

/// One validator, one miner, short epochs.
async fn lab(dir: &Path) -> Lab {
    let options = ChainOptions {
        validators: 1,
        miners: 1,
        tempo: 24,
        block_ms: 500,
        ..ChainOptions::default()
    };
    Lab::start(dir, &options).await.unwrap()
}

/// The validator's node with its state in `dir`. Every extrinsic of its hotkey is a vector.
fn node(lab: &Lab, dir: &Path) -> Node {
    let options = NodeOptions { dir: dir.to_owned(), ..lab.node_options(0) };
    let node = Node::new(options).unwrap();
    let config = std::fs::read_to_string(node.config_file()).unwrap();
    let config = config.replace("publish_axon = true", "publish_axon = false");
    std::fs::write(node.config_file(), config).unwrap();
    node
}

async fn submit(lab: &Lab) {
    let packed = packed_fixture("bigram").unwrap();
    lab.submit(0, &lab.shared_contents(), &packed).await.unwrap();
}

async fn land(node: &mut Node, after_epoch: Option<u64>) -> u64 {
    let landed = |report: &StatusReport| {
        report.weights.last_landed.as_ref().map(|landed| landed.epoch.0) > after_epoch
    };
    let report = node.wait_for("landed weights", SCORE_MAX + LAND_MAX, landed).await.unwrap();
    report.weights.last_landed.unwrap().epoch.0
}

/// `assay weights <arguments>` with the node's configuration.
async fn weights(node: &Node, arguments: &[&str]) -> Said {
    let mut command = Command::new(binary("assay").unwrap());
    command.arg("weights").args(arguments).arg("--config").arg(node.config_file());
    let output = command.output().await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Said {
        code: output.status.code().unwrap(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

async fn weights_json(node: &Node, arguments: &[&str]) -> Value {
    let said = weights(node, &[arguments, &["--json"]].concat()).await;
    serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{error}: {said:?}"))
}

/// Starts a node that must not go on; gives its exit code and everything it said in all its lives.
async fn refuses(node: &mut Node) -> (i32, String) {
    node.start(None).unwrap();
    let process = node.process().unwrap();
    let status = process.wait(REFUSE_MAX).await.unwrap();
    (status.code().unwrap(), process.log())
}

fn journal_lines(node: &Node) -> Vec<Value> {
    let text = std::fs::read_to_string(node.data_dir().join("signed.journal")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.map(|mut line| line["entry"].take()).collect()
}

fn epochs_with(lines: &[Value], step: &str) -> Vec<u64> {
    let lines = lines.iter().filter(|line| line["step"]["step"] == step);
    lines.map(|line| line["epoch"].as_u64().unwrap()).collect()
}

async fn nonce(lab: &Lab, node: &Node) -> u64 {
    let identity = std::fs::read_to_string(node.data_dir().join("identity.json")).unwrap();
    let identity: Value = serde_json::from_str(&identity).unwrap();
    let next = lab.chain.call("system_accountNextIndex", json!([identity["hotkey"]])).await;
    next.unwrap().as_u64().unwrap()
}

async fn assert_agrees(node: &Node) {
    let said = weights(node, &["verify"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.stdout.starts_with("AGREES"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_validator_moves_and_signs_nothing_again_for_an_epoch_that_was_signed_for() {
    let dir = tempfile::tempdir().unwrap();
    let lab = lab(dir.path()).await;
    let mut old = node(&lab, &dir.path().join("old"));
    old.start(None).unwrap();
    submit(&lab).await;
    let landed_epoch = land(&mut old, None).await;
    let export = dir.path().join("history.json");
    let export = export.to_str().unwrap();
    let running = weights(&old, &["export", export]).await;
    assert!(running.stderr.contains("the node is running"), "{running:?}");
    assert_agrees(&old).await;
    old.end().await;
    assert_agrees(&old).await;
    let exported = weights(&old, &["export", export]).await;
    assert_eq!(exported.code, 0, "{exported:?}");
    assert!(!exported.stderr.contains("warning"), "{exported:?}");

    let mut new = node(&lab, &dir.path().join("new"));
    let imported = weights(&new, &["import", export]).await;
    assert_eq!(imported.code, 0, "{imported:?}");
    let again = weights(&new, &["import", export]).await;
    assert!(again.stdout.contains("merged      0 epochs with 0 signatures"), "{again:?}");
    assert_agrees(&new).await;
    // At once, while the epoch that was signed for still runs, if it does.
    new.start(None).unwrap();
    let next_epoch = land(&mut new, Some(landed_epoch)).await;
    assert!(next_epoch > landed_epoch);
    assert_agrees(&new).await;
    let copy = back_up(&new, dir.path()).await;
    // What is signed after the copy is not in it.
    let lost_epoch = land(&mut new, Some(next_epoch)).await;
    new.end().await;

    let lines = journal_lines(&new);
    for step in ["intended", "signed", "landed"] {
        let mut epochs = epochs_with(&lines, step);
        let count = epochs.len();
        epochs.dedup();
        assert_eq!(epochs.len(), count, "{step} twice for one epoch: {lines:#?}");
    }
    // Each vector took one nonce, and nothing else took any.
    let landed = epochs_with(&lines, "landed").len() as u64;
    assert_eq!(nonce(&lab, &new).await, landed);
    let shown = weights_json(&new, &["show", "--epoch", &landed_epoch.to_string()]).await;
    assert_eq!(shown["state"], "landed");
    assert_eq!(shown["signatures"].as_array().unwrap().len(), 1);
    let history = weights_json(&new, &["history"]).await;
    assert_eq!(history["known"], history["epochs"].as_array().unwrap().len());
    let plan = weights_json(&new, &["plan"]).await;
    assert_eq!((&plan["source"], &plan["signs_now"]), (&json!("not_running"), &json!(false)));
    assert_eq!(plan["vector"][0]["weight"], plan["vector"][0]["on_chain"], "{plan:#?}");
    goes_on_from_a_copy(&lab, dir.path(), &copy, lost_epoch).await;
}

/// Copies a running node into a file, and looks whether file and node are sound.
async fn back_up(node: &Node, dir: &Path) -> String {
    let copy = dir.join("copy.jsonl").display().to_string();
    let (said, code) = node.command("backup", &[copy.as_str()]).await.unwrap();
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("from        the running node\n"), "{said}");
    for arguments in [&[copy.as_str()][..], &[]] {
        let (said, code) = node.command("verify", arguments).await.unwrap();
        assert!(code == 0 && said.starts_with("SOUND "), "{said}");
    }
    copy
}

/// A node that is put back from a copy has what the copy has, and signs nothing before an epoch for
/// which its lost self cannot have signed.
async fn goes_on_from_a_copy(lab: &Lab, dir: &Path, copy: &str, lost_epoch: u64) {
    let mut restored = node(lab, &dir.join("restored"));
    let (said, code) = restored.command("restore", &[copy]).await.unwrap();
    assert_eq!(code, 0, "{said}");
    let nonce_before = nonce(lab, &restored).await;
    let landed_before = epochs_with(&journal_lines(&restored), "landed").len() as u64;
    assert!(nonce_before > landed_before, "the copy lacks nothing");
    restored.start(None).unwrap();
    let waits = |report: &StatusReport| {
        let reason = report.weights.not_safe.as_deref().unwrap_or_default();
        reason.contains("restored from a copy")
    };
    let report = restored.wait_for("its wait", LAND_MAX, waits).await.unwrap();
    assert_eq!(report.submission_counts.scored, 1, "{report:#?}");
    let signer = report.checks.iter().find(|check| check.id == "signer").unwrap();
    assert_eq!(signer.level, "warn", "{signer:?}");
    assert!(land(&mut restored, Some(lost_epoch)).await > lost_epoch);
    restored.end().await;
    assert_agrees(&restored).await;

    let lines = journal_lines(&restored);
    let landed = epochs_with(&lines, "landed").len() as u64;
    assert_eq!(nonce(lab, &restored).await - nonce_before, landed - landed_before);
    assert!(!epochs_with(&lines, "signed").contains(&lost_epoch), "signed again: {lines:#?}");
    let at = |step: &str| lines.iter().position(|line| line["step"]["step"] == step).unwrap();
    let (copied, settled) = (at("restored"), at("settled"));
    let waited = epochs_with(&lines[copied..settled], "intended");
    assert!(waited.is_empty(), "it did not wait: {lines:#?}");
    let since = lines[copied + 1]["step"]["since"].as_u64().unwrap();
    let block = lines[settled]["step"]["block"].as_u64().unwrap();
    assert!(block - since >= SETTLING_BLOCKS, "{block} is too soon after {since}");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_04_without_its_journal_a_node_that_has_signed_does_not_start() {
    let dir = tempfile::tempdir().unwrap();
    let lab = lab(dir.path()).await;
    let mut node = node(&lab, &dir.path().join("node"));
    node.start(None).unwrap();
    submit(&lab).await;
    let landed_epoch = land(&mut node, None).await;
    node.end().await;
    let export = dir.path().join("history.json");
    let exported = weights(&node, &["export", export.to_str().unwrap()]).await;
    assert_eq!(exported.code, 0, "{exported:?}");
    let nonce_before = nonce(&lab, &node).await;

    let journal = node.data_dir().join("signed.journal");
    std::fs::remove_file(&journal).unwrap();
    let (code, said) = refuses(&mut node).await;
    assert_eq!(code, 69, "{said}");
    assert!(said.contains(&format!("{} is missing", journal.display())), "{said}");
    for step in ["stop every other instance", "assay weights import FILE", "assay weights adopt"] {
        assert!(said.contains(step), "no word of `{step}`: {said}");
    }
    assert!(!journal.exists(), "no empty journal was made in its place");
    // The state is gone as well: the mark still knows.
    std::fs::rename(node.data_dir().join("state"), dir.path().join("state")).unwrap();
    let (code, said) = refuses(&mut node).await;
    assert_eq!(code, 69, "{said}");
    std::fs::remove_dir_all(node.data_dir().join("state")).unwrap();
    std::fs::rename(dir.path().join("state"), node.data_dir().join("state")).unwrap();
    // The mark is gone: the state still knows.
    std::fs::remove_file(node.data_dir().join("commit.mark")).unwrap();
    let (code, said) = refuses(&mut node).await;
    assert_eq!(code, 69, "{said}");
    assert_eq!(nonce(&lab, &node).await, nonce_before, "nothing was signed meanwhile");
    let verified = weights(&node, &["verify"]).await;
    assert_eq!(verified.code, 69, "{verified:?}");

    let imported = weights(&node, &["import", export.to_str().unwrap()]).await;
    assert_eq!(imported.code, 0, "{imported:?}");
    assert!(imported.stderr.contains("it was written anew"), "{imported:?}");
    node.start(None).unwrap();
    land(&mut node, Some(landed_epoch)).await;
    node.end().await;
    assert_agrees(&node).await;
    let landed = epochs_with(&journal_lines(&node), "landed").len() as u64;
    assert_eq!(nonce(&lab, &node).await, landed, "one vector per epoch, none signed again");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_05_a_second_process_on_the_same_directory_ends_69_and_the_first_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let lab = lab(dir.path()).await;
    let mut first = node(&lab, &dir.path().join("node"));
    first.start(None).unwrap();
    let following = |report: &StatusReport| report.chain.is_some();
    let before = first.wait_for("a block", LAND_MAX, following).await.unwrap();

    let file = dir.path().join("second.toml");
    std::fs::copy(first.config_file(), &file).unwrap();
    let mut second = Command::new(binary("assay").unwrap());
    second.args(["run", "--config"]).arg(&file).kill_on_drop(true);
    let ended = tokio::time::timeout(REFUSE_MAX, second.output()).await.unwrap().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(69), "{said}");
    assert!(said.contains("in use by another process, pid "), "{said}");

    // What writes is refused as well, what reads is not.
    let history = dir.path().join("none.json");
    std::fs::write(&history, empty_history(&first)).unwrap();
    for arguments in [&["import", history.to_str().unwrap()][..], &["adopt", "--yes"]] {
        let refused = weights(&first, arguments).await;
        assert_eq!(refused.code, 69, "{refused:?}");
        assert!(refused.stderr.contains("in use by another process, pid "), "{refused:?}");
        assert!(refused.stderr.contains("stop it first"), "{refused:?}");
    }
    assert_agrees(&first).await;
    let plan = weights_json(&first, &["plan"]).await;
    assert_eq!(plan["source"], "running");
    assert!(plan["reason"].is_string() && plan["form"] == "plain", "{plan:#?}");

    let later = |report: &StatusReport| {
        let number = |report: &StatusReport| report.chain.as_ref().map(|it| it.finalized_number);
        number(report) > number(&before)
    };
    let after = first.wait_for("a later block", LAND_MAX, later).await.unwrap();
    assert_eq!(after.node.started_at, before.node.started_at, "the same process");
    first.end().await;
}

/// A history of the node's hotkey in which nothing was signed.
fn empty_history(node: &Node) -> String {
    let identity = std::fs::read_to_string(node.data_dir().join("identity.json")).unwrap();
    let mut history: Value = serde_json::from_str(&identity).unwrap();
    history["format"] = json!("assay-weights-history");
    history["version"] = json!(1);
    history["mechanisms"] = json!([]);
    history.to_string()
}

/// Sets weights with the validator's hotkey, as another program would: again and again until the
/// rate limit lets it.
async fn sign_elsewhere(lab: &Lab) {
    let deadline = tokio::time::Instant::now() + LAND_MAX;
    while let Err(refused) = try_sign_elsewhere(lab).await {
        assert!(tokio::time::Instant::now() < deadline, "{refused}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn try_sign_elsewhere(lab: &Lab) -> anyhow::Result<()> {
    let wallet = WalletPath {
        root: lab.chain.wallets().to_owned(),
        name: "validator0".to_owned(),
        hotkey: "default".to_owned(),
    };
    let key = HotkeyFile::read(&wallet).unwrap();
    let hotkey = key.keypair().public();
    let config = ChainConfig {
        own_hotkey: Some(hotkey),
        ..ChainConfig::new(vec![lab.chain.url().to_owned()], Netuid(NETUID))
    };
    let client = ChainClient::connect(config).await?;
    let head = client.finalized_head().await?.unwrap();
    let view = client.view_at(head.hash).await?;
    let binding = Binding {
        nonce: view.own_nonce,
        head: head.hash,
        anchor: head.number,
        anchor_hash: head.hash,
        era_blocks: 16,
    };
    let weights = WeightsToSign {
        intent: IntentId([0; 32]),
        netuid: Netuid(NETUID),
        mechanism: 0,
        vector: vec![(Uid(0), 1), (Uid(1), u16::MAX)],
        version_key: view.params.weights_version_key,
        form: WeightsForm::Plain,
        binding,
    };
    let signed = client.sign_weights(&weights, key.keypair()).await?;
    client.send_signed(&signed.bytes, Some(signed.era_end)).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn case_06_another_signer_ends_the_node_with_70_until_its_update_is_adopted() {
    let dir = tempfile::tempdir().unwrap();
    let lab = lab(dir.path()).await;
    let mut node = node(&lab, &dir.path().join("node"));
    node.start(None).unwrap();
    submit(&lab).await;
    land(&mut node, None).await;
    let nothing = weights(&node, &["verify"]).await;
    assert_eq!(nothing.code, 0, "{nothing:?}");

    // Of the same hotkey, in the epoch of a landing: nothing of ours is on its way.
    sign_elsewhere(&lab).await;
    let process = node.process().unwrap();
    let status = process.wait(LAND_MAX).await.unwrap();
    assert_eq!(status.code(), Some(70), "{}", process.log());
    assert!(process.log().contains("something else updated weights"), "{}", process.log());
    let nonce_after = nonce(&lab, &node).await;
    let (code, said) = refuses(&mut node).await;
    assert_eq!(code, 70, "a restart does not make it welcome: {said}");

    let verified = weights_json(&node, &["verify"]).await;
    assert_eq!(verified["agrees"], false, "{verified:#?}");
    let check = |name: &str| {
        let checks = verified["checks"].as_array().unwrap();
        checks.iter().find(|check| check["check"] == name).unwrap()["agrees"].clone()
    };
    assert_eq!((check("last_update"), check("row")), (json!(false), json!(false)));
    let fresh = weights(&node, &["adopt", "--yes"]).await;
    assert_eq!(fresh.code, 69, "{fresh:?}");
    assert!(fresh.stderr.contains("more blocks"), "{fresh:?}");
    let since = lab.chain.finalized().await.unwrap();
    let deadline = tokio::time::Instant::now() + LAND_MAX;
    while lab.chain.finalized().await.unwrap() < since + SETTLING_BLOCKS {
        assert!(tokio::time::Instant::now() < deadline, "the chain stands still");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let other_block = weights(&node, &["adopt", "--yes", "--block", "1"]).await;
    assert_eq!(other_block.code, 64, "{other_block:?}");
    let unasked = weights(&node, &["adopt"]).await;
    assert_eq!(unasked.code, 1, "no terminal, no `--yes`: {unasked:?}");
    assert_eq!(nonce(&lab, &node).await, nonce_after, "nothing was signed meanwhile");
    let adopted = weights(&node, &["adopt", "--yes"]).await;
    assert_eq!(adopted.code, 0, "{adopted:?}");
    assert_agrees(&node).await;
    let again = weights(&node, &["adopt", "--yes"]).await;
    assert!(again.stdout.contains("nothing to adopt"), "{again:?}");
    let again = weights_json(&node, &["adopt", "--yes"]).await;
    assert_eq!((&again["adopted"], &again["begun_anew"]), (&json!(false), &json!(false)));
    let block = again["block"].as_u64().unwrap();
    assert!((1..=since).contains(&block), "{again}");

    let known = weights_json(&node, &["history"]).await["epochs"][0]["epoch"].as_u64();
    node.start(None).unwrap();
    land(&mut node, known).await;
    node.end().await;
    assert_agrees(&node).await;
}
