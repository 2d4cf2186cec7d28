//! Publishes where this node serves peers, when the chain says something else.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use node_chain::{ChainClient, Keypair};
use node_peer::PeerDirectory;
use tokio::sync::watch;

use super::perform::describe;

/// Pause after a refusal; the chain limits how often an address may change.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// Keeps the published address equal to `advertise`, until the directory's sender is gone.
pub(crate) async fn keep_published(
    client: ChainClient,
    keypair: Arc<Keypair>,
    advertise: SocketAddr,
    mut directory: watch::Receiver<PeerDirectory>,
) {
    let own = keypair.public();
    while directory.changed().await.is_ok() {
        let is_current = {
            let directory = directory.borrow_and_update();
            !directory.contains(&own) || directory.endpoint(&own) == Some(advertise)
        };
        if is_current {
            continue;
        }
        match client.serve_axon(&keypair, advertise).await {
            Ok(head) => tracing::info!(%advertise, block = head.number.0, "published address"),
            Err(error) => {
                let reason = describe(&error);
                tracing::warn!(%advertise, reason, "cannot publish the address for peers");
                tokio::time::sleep(AGAIN_AFTER).await;
            }
        }
    }
}
