//! The shape check of a chain that runs.

use std::sync::Arc;

use node_chain::{Capability, ItemKind, Verdict};

use crate::support::{neurons, Chain};

#[tokio::test(flavor = "multi_thread")]
async fn a_running_chain_is_compared_once_per_runtime() {
    let chain = Chain::start(neurons(&[10], 1)).await;
    let client = chain.client().await;
    let first = client.shape_report(chain.seal(1).await.hash).await.unwrap();
    for capability in Capability::ALL {
        let fatal: Vec<_> = first.fatal_for(*capability).collect();
        assert!(fatal.is_empty(), "{capability:?}: {fatal:?}");
    }
    assert!(first.worst().severity() < 3);
    let tempo = first.rows.iter().find(|row| row.name == "SubtensorModule.Tempo").unwrap();
    assert_eq!((tempo.kind, &tempo.verdict), (ItemKind::Storage, &Verdict::Ok));
    let again = client.shape_report(chain.seal(1).await.hash).await.unwrap();
    assert!(Arc::ptr_eq(&first, &again), "the same runtime was compared again");
}
