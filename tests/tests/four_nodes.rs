//! Four real nodes, a coordinator that dies, a worker that stands still, a link that is cut: every
//! assignment settles, all have the same receipts, and all set the same weights.

#![allow(clippy::unwrap_used, reason = "a test states facts; a broken one should stop at once")]

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use assay_tests::chain::ChainOptions;
use assay_tests::lab::{Lab, NETUID};
use assay_tests::network::Network;
use assay_tests::node::{Node, NodeOptions};
use assay_tests::submissions::packed_variant;
use node_core::id::{Hotkey, SubmissionId};
use node_core::limits::LEASE_TTL_MS;
use node_core::publish::KeyStanding;
use node_daemon::status::StatusReport;

const NODES: u8 = 4;
const MINERS: u16 = 8;

/// How long all evaluations may take, with everything that goes wrong meanwhile.
const SETTLE_MAX: Duration = Duration::from_secs(420);
/// How long until the result of it all is on chain.
const LAND_MAX: Duration = Duration::from_secs(180);

struct World {
    lab: Lab,
    network: Network,
    nodes: Vec<Node>,
}

async fn world(dir: &Path) -> World {
    let network = Network::new(NODES).await.unwrap();
    let options = ChainOptions {
        validators: u16::from(NODES),
        miners: MINERS,
        tempo: 60,
        host: network.host(),
        ..ChainOptions::default()
    };
    let lab = Lab::start(dir, &options).await.unwrap();
    let mut nodes: Vec<Node> = (0..NODES)
        .map(|node| {
            let host = network.address(node);
            let namespace = Some(network.namespace(node));
            let options = lab.node_options(u16::from(node));
            Node::new(NodeOptions { host, namespace, ..options }).unwrap()
        })
        .collect();
    for node in &mut nodes {
        // The chain is on another host, as far as they can tell.
        node.set_variable("ASSAY_CHAIN__ALLOW_INSECURE", "true");
        node.start(None).unwrap();
    }
    for node in &mut nodes {
        let is_ready = |report: &StatusReport| {
            let answering = report.peers.iter().filter(|peer| peer.last_answer_at.is_some());
            let published = Some(KeyStanding::Published);
            let known = report.peers.iter().filter(|peer| peer.certificate == published);
            report.ready.ready
                && answering.count() >= usize::from(NODES) - 1
                && known.count() == usize::from(NODES)
        };
        let what = "ready, with peers that show the keys on chain";
        node.wait_for(what, Duration::from_secs(120), is_ready).await.unwrap();
    }
    World { lab, network, nodes }
}

/// The first of `nodes` whose status satisfies `is_so`.
async fn find(nodes: &[Node], is_so: impl Fn(&StatusReport) -> bool) -> usize {
    for _ in 0..600 {
        for (index, node) in nodes.iter().enumerate() {
            if node.status().await.is_ok_and(|report| is_so(&report)) {
                return index;
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("no node gets there");
}

/// Whose results a node counts, by submission.
fn claims(report: &StatusReport) -> BTreeSet<(SubmissionId, Hotkey)> {
    let counting = report.receipts.iter().filter(|receipt| !receipt.is_late);
    counting.map(|receipt| (receipt.submission, receipt.worker)).collect()
}

fn is_settled(report: &StatusReport) -> bool {
    report.submission_counts.scored == u64::from(MINERS)
}

#[tokio::test(flavor = "multi_thread")]
async fn case_14_16_34_a_dead_coordinator_a_halted_worker_and_a_cut_link_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let World { lab, network, mut nodes } = world(dir.path()).await;
    for miner in 0..MINERS {
        let packed = packed_variant("bigram", &format!("miner {miner}")).unwrap();
        lab.submit(miner, &lab.shared_contents(), &packed).await.unwrap();
    }

    // A coordinator whose leases run dies at once, and stays away until the others are done.
    let dead = find(&nodes, |report| report.leases.granted > 0).await;
    nodes[dead].kill().await.unwrap();
    let living: Vec<usize> = (0..nodes.len()).filter(|node| *node != dead).collect();

    // Two of the others lose each other, a third one stands still while it holds a lease.
    let place = |node: usize| u8::try_from(node).unwrap();
    let (one, other) = (place(living[0]), place(living[1]));
    network.cut(one, other).await.unwrap();
    let halted = loop {
        let index = find(&nodes, |report| !report.runs.is_empty()).await;
        if index != dead {
            break index;
        }
    };
    nodes[halted].process().unwrap().signal("STOP").await.unwrap();
    tokio::time::sleep(Duration::from_millis(LEASE_TTL_MS + 15_000)).await;
    nodes[halted].process().unwrap().signal("CONT").await.unwrap();
    network.mend(one, other).await.unwrap();

    for node in &living {
        nodes[*node].wait_for("all scored", SETTLE_MAX, is_settled).await.unwrap();
    }
    // The dead one returns and learns what was done without it.
    nodes[dead].start(None).unwrap();
    nodes[dead].wait_for("all scored", SETTLE_MAX, is_settled).await.unwrap();

    all_agree(&mut nodes).await;
    same_weights(&lab, &mut nodes).await;
    for node in &mut nodes {
        node.end().await;
    }
}

/// Every node counts the same results and computed the same points.
async fn all_agree(nodes: &mut [Node]) {
    let first = nodes[0].status().await.unwrap();
    let points = |report: &StatusReport| -> BTreeSet<(SubmissionId, Option<u64>)> {
        report.submissions.iter().map(|row| (row.id, row.points)).collect()
    };
    let wanted = claims(&first);
    let scored = points(&first);
    for node in nodes.iter_mut() {
        let is_same = |report: &StatusReport| claims(report) == wanted && points(report) == scored;
        node.wait_for("the same receipts", Duration::from_secs(60), is_same).await.unwrap();
    }
    for row in &first.submissions {
        let workers = wanted.iter().filter(|(id, _)| *id == row.id).count();
        assert!(workers >= 2, "{} was believed after {workers} results", row.id);
    }
}

/// Every validator's row on chain is the same, and is what each of them computed.
async fn same_weights(lab: &Lab, nodes: &mut [Node]) {
    let mut rows = BTreeSet::new();
    for node in nodes.iter_mut() {
        let is_landed = |report: &StatusReport| {
            let row = report.weights.last_landed.as_ref();
            row.is_some_and(|row| row.vector.len() == usize::from(MINERS))
        };
        let report = node.wait_for("landed weights", LAND_MAX, is_landed).await.unwrap();
        let landed = report.weights.last_landed.unwrap();
        let computed: Vec<(u16, u16)> = landed.vector.iter().map(|(uid, w)| (uid.0, *w)).collect();
        let stored = lab.chain.stored_weights(NETUID, report.node.uid.unwrap().0).await.unwrap();
        assert_eq!(stored, computed);
        rows.insert(stored);
    }
    assert_eq!(rows.len(), 1, "validators set different weights: {rows:?}");
}
