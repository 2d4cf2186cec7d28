use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use node_chain::{ChainClient, ChainConfig};
use tracing_subscriber::fmt::MakeWriter;

use crate::proxy::Proxy;
use crate::support::{neurons, soon, Chain};

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Captured {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// One thread, so that the capture sees every task's lines.
#[tokio::test]
async fn credentials_connect_and_are_not_logged_at_any_level() {
    let log = Captured::default();
    let subscriber = tracing_subscriber::fmt()
        // The local chain runs in this process too; what it logs is not the client's.
        .with_env_filter("trace,jsonrpsee-server=off")
        .with_writer(log.clone())
        .finish();
    let chain = Chain::start(neurons(&[10], 1)).await;
    let proxy = Proxy::to(chain.localnet.address()).await;
    let _capturing = tracing::subscriber::set_default(subscriber);
    let address = proxy.url().replace("ws://", "");
    let config = ChainConfig {
        endpoints: vec![
            "wss://username:password@127.0.0.1:1/pathkey?apikey=querykey".to_owned(),
            format!("ws://username:password@{address}/pathkey?apikey=querykey"),
        ],
        silence_max: Duration::from_millis(50),
        ..chain.config()
    };
    let client = ChainClient::connect(config).await.unwrap();
    let mut heads = client.follow();
    soon("a head", heads.next()).await.unwrap();
    let state = heads.state();
    assert_eq!(state.endpoint, Some(format!("ws://{address}/***")));
    assert_eq!(state.endpoint_index, Some(1));
    soon("the silence", async {
        while heads.state().disconnects == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let written = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(written.contains("chain subscription ended"), "{written}");
    let said = format!("{written}\n{:?}\n{client:?}", heads.state());
    for secret in ["username", "password", "pathkey", "querykey", "dXNlcm5hbWU6"] {
        assert!(!said.contains(secret), "{secret} in:\n{said}");
    }
}
