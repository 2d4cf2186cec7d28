use localnet::GenesisSpec;
use node_chain::{ChainClient, Keypair, Publication, Published, Serving};
use node_core::unit::{BlockCount, BlockNumber};

use crate::support::{miner, neurons, soon, Chain};

/// Blocks between two publications.
const LIMIT: u64 = 12;

async fn limited() -> Chain {
    Chain::start(GenesisSpec { serving_rate_limit: LIMIT, ..neurons(&[10], 2) }).await
}

fn serving(address: &str, certificate: Option<&[u8]>) -> Serving {
    let certificate = certificate.map(<[u8]>::to_vec);
    Serving { address: address.parse().unwrap(), certificate }
}

async fn published(client: &ChainClient, chain: &Chain, own: &Keypair) -> Published {
    client.published(&own.public(), chain.head()).await.unwrap()
}

/// Publishes with the next block, and seals that once the call is in the pool.
async fn publish(
    client: &ChainClient,
    chain: &Chain,
    own: &Keypair,
    wanted: &Serving,
) -> Publication {
    let sealed = async {
        while chain.pending() == 0 {
            tokio::task::yield_now().await;
        }
        chain.seal(1).await
    };
    let both = async { tokio::join!(client.publish_if_due(own, wanted, None), sealed) };
    let (publication, block) = soon("the publication", both).await;
    let publication = publication.unwrap();
    let with_certificate = wanted.certificate.is_some();
    assert_eq!(publication, Publication::Sent { block, with_certificate });
    publication
}

/// Checks that nothing is sent, and returns why.
async fn silent(
    client: &ChainClient,
    chain: &Chain,
    own: &Keypair,
    wanted: &Serving,
) -> Publication {
    let nonce = client.next_nonce(&own.public()).await.unwrap();
    let publication = client.publish_if_due(own, wanted, None).await.unwrap();
    assert_eq!(chain.pending(), 0);
    assert_eq!(client.next_nonce(&own.public()).await.unwrap(), nonce);
    publication
}

/// Checks that nothing is sent before the limit has passed, and that the very next block takes it.
async fn publish_after_the_limit(
    client: &ChainClient,
    chain: &Chain,
    own: &Keypair,
    wanted: &Serving,
) {
    let before = published(client, chain, own).await;
    let from = before.block.unwrap().plus(BlockCount(LIMIT));
    while chain.head().number.0 + 1 < from.0 {
        let at = chain.head().number;
        let waiting = silent(client, chain, own, wanted).await;
        assert_eq!(waiting, Publication::Waiting { at, from });
        chain.seal(1).await;
    }
    let sent = publish(client, chain, own, wanted).await;
    assert!(matches!(sent, Publication::Sent { block, .. } if block.number == from), "{sent:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_published_once_and_changes_wait_for_the_limit_instead_of_being_refused() {
    let chain = limited().await;
    let (client, own) = (chain.client().await, miner(0));
    chain.seal(3).await;
    let empty = published(&client, &chain, &own).await;
    let nothing = (true, None, None, None, BlockCount(LIMIT));
    let Published { is_registered, address, block, certificate, rate_limit, .. } = empty;
    assert_eq!((is_registered, address, block, certificate, rate_limit), nothing);

    let plain = serving("10.1.2.3:8091", None);
    publish(&client, &chain, &own, &plain).await;
    let first = published(&client, &chain, &own).await;
    assert_eq!((first.address, first.block), (Some(plain.address), Some(BlockNumber(4))));
    assert_eq!(first.certificate, None);
    let at = chain.head().number;
    assert_eq!(silent(&client, &chain, &own, &plain).await, Publication::Current(at));

    let with = serving("10.1.2.3:8091", Some(&[[1].as_slice(), &[7; 64]].concat()));
    publish_after_the_limit(&client, &chain, &own, &with).await;
    assert_eq!(published(&client, &chain, &own).await.certificate, with.certificate);
    // As after a restart: nothing is remembered but by the chain.
    let restarted = chain.client().await;
    let at = chain.head().number;
    for current in [&with, &plain] {
        let said = silent(&restarted, &chain, &own, current).await;
        assert_eq!(said, Publication::Current(at));
    }

    let moved = serving("[2001:db8::1]:8092", Some(&[2]));
    publish_after_the_limit(&restarted, &chain, &own, &moved).await;
    let last = published(&client, &chain, &own).await;
    assert_eq!((last.address, last.certificate), (Some(moved.address), Some(vec![2])));
    assert_eq!(client.next_nonce(&own.public()).await.unwrap(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_of_many_are_read_together_as_of_the_block_asked_for() {
    let chain = limited().await;
    let (client, own) = (chain.client().await, miner(0));
    let before = chain.seal(1).await;
    let with = serving("10.1.2.3:8091", Some(&[[1].as_slice(), &[7; 32]].concat()));
    publish(&client, &chain, &own, &with).await;
    let hotkeys = [own.public(), miner(1).public(), miner(77).public()];
    let read = client.certificates(&hotkeys, chain.head()).await.unwrap();
    assert_eq!(read.into_iter().collect::<Vec<_>>(), [(own.public(), with.certificate.unwrap())]);
    assert!(client.certificates(&hotkeys, before).await.unwrap().is_empty());
    assert!(client.certificates(&[], chain.head()).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hotkey_without_a_neuron_publishes_nothing() {
    let chain = limited().await;
    let client = chain.client().await;
    let at = chain.seal(1).await.number;
    let wanted = serving("10.1.2.3:8091", Some(&[1, 7]));
    let said = silent(&client, &chain, &miner(77), &wanted).await;
    assert_eq!(said, Publication::Unregistered(at));
}
