//! Real nodes publish the keys of their connections, refuse whoever shows another one, and lock
//! nobody out who lost his.

#![allow(clippy::unwrap_used, reason = "a test states facts; a broken one should stop at once")]

use std::sync::Arc;
use std::time::Duration;

use assay_tests::chain::ChainOptions;
use assay_tests::lab::{Lab, NETUID};
use assay_tests::node::Node;
use node_chain::{ChainClient, ChainConfig, HotkeyFile, Keypair, WalletPath};
use node_core::id::Netuid;
use node_core::publish::{KeyStanding, NEW_KEY_MS_MAX};
use node_core::unit::UnixMs;
use node_daemon::status::{unix_now, StatusReport};
use node_peer::{
    AskError, CertificateRefusal, ClientParts, NodeCertificate, NodeIdentity, PeerClient,
    PeerDirectory, SystemClock,
};
use tokio::sync::watch;

/// Blocks between two publications. A node that restarts must meet it: lower, and a slow start has
/// passed it.
const SERVING_LIMIT: &str = "250";

const READY_MAX: Duration = Duration::from_secs(120);
/// The limit, and then the blocks between two readings of published keys.
const PUBLISHED_MAX: Duration = Duration::from_secs(300);

struct World {
    lab: Lab,
    client: ChainClient,
    nodes: [Node; 2],
}

impl World {
    /// Two nodes that know each other's published keys.
    async fn start(dir: &std::path::Path) -> Self {
        let options = ChainOptions {
            validators: 2,
            miners: 1,
            block_ms: 400,
            extra: ["--serving-rate-limit", SERVING_LIMIT].map(str::to_owned).to_vec(),
            ..ChainOptions::default()
        };
        let lab = Lab::start(dir, &options).await.unwrap();
        let config = ChainConfig::new(vec![lab.chain.url().to_owned()], Netuid(NETUID));
        let client = ChainClient::connect(config).await.unwrap();
        let nodes = [lab.node(0, "").unwrap(), lab.node(1, "").unwrap()];
        let mut world = Self { lab, client, nodes };
        for node in &mut world.nodes {
            node.start(None).unwrap();
        }
        for node in &mut world.nodes {
            node.wait_for("all keys published", READY_MAX, all_published).await.unwrap();
        }
        world
    }

    fn keypair(&self, validator: usize) -> Keypair {
        let wallet = WalletPath {
            root: self.lab.chain.wallets().to_owned(),
            name: format!("validator{validator}"),
            hotkey: "default".to_owned(),
        };
        HotkeyFile::read(&wallet).unwrap().keypair().clone()
    }

    fn identity(&self, validator: usize) -> NodeIdentity {
        NodeIdentity {
            hotkey: self.keypair(validator).public(),
            genesis: self.client.genesis(),
            netuid: Netuid(NETUID),
            software_version: "test".to_owned(),
        }
    }

    /// What the chain says of a validator's key.
    async fn on_chain(&self, validator: usize) -> Option<Vec<u8>> {
        let head = self.client.finalized_head().await.unwrap().unwrap();
        let hotkey = self.keypair(validator).public();
        self.client.published(&hotkey, head).await.unwrap().certificate
    }

    /// What the first node answers to the second validator with this certificate.
    async fn answer_to(&self, certificate: NodeCertificate) -> Result<(), AskError> {
        let client = PeerClient::new(ClientParts {
            identity: self.identity(1),
            signer: Arc::new(self.keypair(1)),
            clock: Arc::new(SystemClock),
            certificate: watch::channel(certificate).1,
            directory: watch::channel(PeerDirectory::default()).1,
        });
        let asked = client.info(self.identity(0).hotkey, self.nodes[0].peer_address()).await;
        asked.map(|info| assert_eq!(info.identity.hotkey, self.identity(0).hotkey))
    }

    /// A new key of the second validator, endorsed by its hotkey so long ago.
    fn another_key(&self, age_ms: u64) -> NodeCertificate {
        let at = UnixMs(unix_now().0 - age_ms);
        NodeCertificate::generate(&self.identity(1), &self.keypair(1), at).unwrap()
    }
}

fn kept(node: &Node) -> NodeCertificate {
    let bytes = std::fs::read(node.data_dir().join("peer.key")).unwrap();
    NodeCertificate::from_bytes(&bytes).unwrap()
}

fn all_published(report: &StatusReport) -> bool {
    let is_published =
        |peer: &node_daemon::status::PeerStatus| peer.certificate == Some(KeyStanding::Published);
    report.peers.len() == 2 && report.peers.iter().all(is_published)
}

/// How the other validator's key stands, as this report has it.
fn of_the_other(report: &StatusReport) -> Option<KeyStanding> {
    report.peers.iter().find(|peer| !peer.is_self).and_then(|peer| peer.certificate)
}

fn of_its_own(report: &StatusReport) -> Option<KeyStanding> {
    report.peers.iter().find(|peer| peer.is_self).and_then(|peer| peer.certificate)
}

#[tokio::test(flavor = "multi_thread")]
async fn case_19_another_key_than_the_one_on_chain_is_refused_and_a_lost_one_locks_nobody_out() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::start(dir.path()).await;

    // The chain holds the keys that the nodes show.
    for (validator, node) in world.nodes.iter().enumerate() {
        assert_eq!(world.on_chain(validator).await, Some(kept(node).published_form()));
    }
    // Of two keys of one validator, both endorsed by its hotkey, only the published one counts; a
    // new one does for a while.
    let first = kept(&world.nodes[1]);
    assert_eq!(world.answer_to(first.clone()).await, Ok(()));
    let refused = world.answer_to(world.another_key(NEW_KEY_MS_MAX)).await;
    assert_eq!(refused, Err(AskError::CertificateRefused(CertificateRefusal::KeyNotPublished)));
    assert_eq!(world.answer_to(world.another_key(NEW_KEY_MS_MAX / 2)).await, Ok(()));

    // The second node loses its key while the chain takes no other.
    world.nodes[1].end().await;
    std::fs::remove_file(world.nodes[1].data_dir().join("peer.key")).unwrap();
    let (said, _) = world.nodes[1].command("doctor", &["--json"]).await.unwrap();
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    let checks = said["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["id"] == "certificate").unwrap();
    assert_eq!(check["level"], "warn", "{check}");
    world.nodes[1].start(None).unwrap();
    let is_taken = |report: &StatusReport| {
        let is_answered = |peer: &node_daemon::status::PeerStatus| peer.last_answer_at.is_some();
        report.peers.iter().all(|peer| peer.is_self || is_answered(peer))
            && of_its_own(report) == Some(KeyStanding::New)
    };
    let report = world.nodes[1].wait_for("taken as new", READY_MAX, is_taken).await.unwrap();
    let check = report.checks.iter().find(|check| check.id == "certificate").unwrap();
    assert_eq!(check.level, "warn", "{check:?}");
    let is_new = |report: &StatusReport| of_the_other(report) == Some(KeyStanding::New);
    world.nodes[0].wait_for("seen as new", READY_MAX, is_new).await.unwrap();
    let (table, _) = world.nodes[0].command("peers", &[]).await.unwrap();
    assert!(table.lines().nth(1).unwrap().contains(" new "), "{table}");
    let second = kept(&world.nodes[1]);
    assert_ne!(second.published_form(), first.published_form());
    assert_eq!(world.on_chain(1).await, Some(first.published_form()), "the limit has not passed");

    // It publishes the new key as soon as the chain takes it.
    for node in &mut world.nodes {
        node.wait_for("the new key published", PUBLISHED_MAX, all_published).await.unwrap();
    }
    assert_eq!(world.on_chain(1).await, Some(second.published_form()));
    for node in &mut world.nodes {
        node.end().await;
    }
}
