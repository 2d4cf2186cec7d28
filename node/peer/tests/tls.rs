//! Who gets a connection, and who keeps one. The other end's code follows `docs/protocol.md` and
//! shares none with the crate.
#![allow(clippy::unwrap_used, reason = "a test states facts; a broken one should stop at once")]

mod common;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use common::wire::{connect, connect_with, ed25519, soon, Endorsement, Shown, DAY_MS};
use common::{certificate, directory, DevKey, Node, SetClock};
use node_core::id::{HotkeySigner, Netuid};
use node_core::lease::{HoldAnswer, PeerAnswer, PeerRequest};
use node_core::publish::{KeyStanding, NEW_KEY_MS_MAX};
use node_core::unit::{BlockNumber, UnixMs};
use node_peer::limits::{
    CERTIFICATE_BYTES_MAX, CONNECTIONS_PER_ADDRESS_MAX, CONNECTIONS_PER_PEER_MAX,
    HANDSHAKES_PER_STRANGER_MAX,
};
use node_peer::{
    AnswerError, AskError, CertificateRefusal, NodeCertificate, NodeIdentity, PeerDirectory,
};
use rustls::crypto::ring;
use rustls::{AlertDescription, HandshakeKind, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

fn renewal() -> PeerRequest {
    PeerRequest::Renew(vec![common::renewal(1)])
}

/// Answers every call with one accepted renewal.
fn accept_all(node: &mut Node) {
    let (_, closed) = tokio::sync::mpsc::channel(1);
    let mut calls = std::mem::replace(&mut node.calls, closed);
    tokio::spawn(async move {
        while let Some(call) = calls.recv().await {
            drop(call.answer.send(PeerAnswer::Renewed(vec![HoldAnswer::Kept])));
        }
    });
}

/// What a TLS error says, if it is one.
fn alert(error: &io::Error) -> Option<AlertDescription> {
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::AlertReceived(alert) => Some(*alert),
        _ => None,
    }
}

/// Connects and reads until the server says something: a byte of HTTP, or why not.
async fn knock(address: SocketAddr, shown: Option<&Shown>) -> Result<(), AlertDescription> {
    let answered = async {
        let mut tls = connect(address, shown).await?;
        // The beginning of HTTP/2, so that a closing server has something unread.
        tls.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await?;
        tls.read_u8().await
    };
    match soon(answered).await {
        Ok(_) => Ok(()),
        Err(error) => Err(alert(&error).unwrap_or_else(|| panic!("no alert: {error:?}"))),
    }
}

#[tokio::test]
async fn a_certificate_written_by_the_letter_of_the_protocol_page_is_let_in() {
    let bob = DevKey::named("Bob");
    let node = Node::start("Alice", &[&bob], 8).await;
    assert_eq!(knock(node.address(), Some(&Shown::of(&bob))).await, Ok(()));
}

/// Certificates that must not pass, with the alert that each gets.
fn wrong_certificates(bob: &Arc<DevKey>) -> Vec<(&'static str, Shown, AlertDescription)> {
    let good = || Endorsement::of(bob);
    let mallory = DevKey::named("Mallory");
    let others_key = good().value(&ed25519());
    let p256 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let of_p256 = good().value(&p256);
    let endorsed = |endorsement: Endorsement| Shown::endorsed(&endorsement);
    let long = ed25519();
    let long_values = vec![good().value(&long), vec![0; CERTIFICATE_BYTES_MAX]];
    let end = SetClock::START + 31 * DAY_MS;
    use AlertDescription as A;
    vec![
        ("none", Shown::with(ed25519(), Vec::new()), A::BadCertificateStatusResponse),
        ("short", Shown::with(ed25519(), vec![vec![1; 9]]), A::BadCertificate),
        ("layout", endorsed(Endorsement { layout: 2, ..good() }), A::BadCertificate),
        ("too long", Shown::with(long, long_values), A::BadCertificate),
        // Asked for Ed25519 only, the caller's TLS shows nothing.
        ("not Ed25519", Shown::with(p256, vec![of_p256]), A::CertificateRequired),
        (
            "other signer",
            endorsed(Endorsement { signer: mallory.clone(), ..good() }),
            A::DecryptError,
        ),
        ("for another key", Shown::with(ed25519(), vec![others_key]), A::DecryptError),
        (
            "expired",
            endorsed(Endorsement { expires_at_ms: SetClock::START, ..good() }),
            A::CertificateExpired,
        ),
        (
            "too far",
            endorsed(Endorsement { expires_at_ms: end + 1, ..good() }),
            A::CertificateExpired,
        ),
        ("other chain", endorsed(Endorsement { genesis: [0; 32], ..good() }), A::UnknownCA),
        ("other netuid", endorsed(Endorsement { netuid: 8, ..good() }), A::UnsupportedCertificate),
        ("stranger", Shown::of(&mallory), A::AccessDenied),
    ]
}

#[tokio::test]
async fn case_19_valid_tls_with_a_wrong_endorsement_is_refused_with_an_alert_for_each_reason() {
    let bob = DevKey::named("Bob");
    let mut node = Node::start("Alice", &[&bob], 8).await;
    assert_eq!(knock(node.address(), None).await, Err(AlertDescription::CertificateRequired));
    for (name, shown, alert) in wrong_certificates(&bob) {
        assert_eq!(knock(node.address(), Some(&shown)).await, Err(alert), "{name}");
    }
    assert!(node.calls.try_recv().is_err(), "the loop saw nothing");
}

#[tokio::test]
async fn case_19_a_certificate_without_its_key_is_worth_nothing() {
    // Anybody who connects sees a node's certificate, and can show it.
    let bob = DevKey::named("Bob");
    let node = Node::start("Alice", &[&bob], 8).await;
    let copied = Shown { certificate: Shown::of(&bob).certificate, key: ed25519() };
    let mut config = common::wire::client_config(None);
    let signer = ring::sign::any_eddsa_type(&copied.key.serialize_der().into()).unwrap();
    let certified = rustls::sign::CertifiedKey::new(vec![copied.certificate.clone()], signer);
    config.client_auth_cert_resolver = Arc::new(rustls::sign::SingleCertAndKey::from(certified));
    let answered = async {
        let mut tls = connect_with(node.address(), Arc::new(config)).await?;
        tls.read_u8().await
    };
    let error = soon(answered).await.unwrap_err();
    assert_eq!(alert(&error), Some(AlertDescription::DecryptError));
}

/// One whose endorsement is `age_ms` old.
fn shown_at_age(key: &Arc<DevKey>, age_ms: u64) -> Shown {
    let good = Endorsement::of(key);
    let expires_at_ms = SetClock::START + 30 * DAY_MS - age_ms;
    Shown::endorsed(&Endorsement { expires_at_ms, ..good })
}

#[tokio::test]
async fn case_19_a_key_that_is_not_the_published_one_is_refused_and_the_published_one_is_not() {
    let bob = DevKey::named("Bob");
    let node = Node::start("Alice", &[&bob], 8).await;
    let (published, other) =
        (shown_at_age(&bob, NEW_KEY_MS_MAX), shown_at_age(&bob, NEW_KEY_MS_MAX));
    assert_eq!(knock(node.address(), Some(&other)).await, Ok(()), "none is published");
    let on_chain = [(bob.hotkey(), published.published())];
    node.directory.send_replace(directory(&[&bob]).with_certificates(on_chain));
    assert_eq!(knock(node.address(), Some(&published)).await, Ok(()));
    let refused = knock(node.address(), Some(&other)).await;
    assert_eq!(refused, Err(AlertDescription::CertificateRevoked));
}

#[tokio::test]
async fn case_19_who_lost_its_key_is_let_in_with_a_new_one_before_the_chain_says_it() {
    let bob = DevKey::named("Bob");
    let node = Node::start("Alice", &[&bob], 8).await;
    let (lost, new) = (shown_at_age(&bob, DAY_MS), shown_at_age(&bob, NEW_KEY_MS_MAX - 1));
    let says = |shown: &Shown| {
        node.directory.send_replace(
            directory(&[&bob]).with_certificates([(bob.hotkey(), shown.published())]),
        );
    };
    says(&lost);
    assert_eq!(knock(node.address(), Some(&new)).await, Ok(()), "published after it is used");
    says(&new);
    assert_eq!(knock(node.address(), Some(&new)).await, Ok(()));
    // What the owner replaced is worth nothing from then on.
    let refused = knock(node.address(), Some(&lost)).await;
    assert_eq!(refused, Err(AlertDescription::CertificateRevoked));
}

/// A server that shows `shown` and takes anybody.
async fn impostor(shown: &Shown) -> SocketAddr {
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![shown.certificate.clone()], shown.secret());
    let mut config = config.unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            drop(acceptor.accept(tcp).await);
        }
    });
    address
}

#[tokio::test]
async fn case_19_a_caller_refuses_a_server_with_a_wrong_certificate_and_says_why() {
    let (alice, bob, mallory) =
        (DevKey::named("Alice"), DevKey::named("Bob"), DevKey::named("Mallory"));
    let node = Node::start("Alice", &[&bob], 8).await;
    let client = node.client_of(&bob);
    let good = || Endorsement::of(&alice);
    use CertificateRefusal as R;
    let cases = [
        (Shown::with(ed25519(), Vec::new()), R::EndorsementMissing),
        (Shown::with(ed25519(), vec![Vec::new()]), R::Malformed),
        (Shown::endorsed(&Endorsement { signer: mallory.clone(), ..good() }), R::BadSignature),
        (Shown::endorsed(&Endorsement { expires_at_ms: 1, ..good() }), R::Expired),
        (Shown::endorsed(&Endorsement { genesis: [0; 32], ..good() }), R::WrongChain),
        (Shown::endorsed(&Endorsement { netuid: 8, ..good() }), R::WrongNetuid),
        (Shown::of(&mallory), R::WrongPeer),
    ];
    for (shown, refusal) in cases {
        let address = impostor(&shown).await;
        let got = client.ask(alice.hotkey(), address, renewal()).await;
        assert_eq!(got, Err(AskError::Certificate(refusal)));
    }
    // A node whose endorsement is old, while the chain says another key.
    let says = || {
        PeerDirectory::of(BlockNumber(1), [(alice.hotkey(), None)])
            .with_certificates([(alice.hotkey(), Shown::of(&alice).published())])
    };
    let address = impostor(&shown_at_age(&alice, NEW_KEY_MS_MAX)).await;
    let client = node.client_with(&bob, certificate(&bob), says());
    assert_eq!(client.key_standing(&alice.hotkey()), None);
    let got = client.ask(alice.hotkey(), address, renewal()).await;
    assert_eq!(got, Err(AskError::Certificate(R::KeyNotPublished)));
    assert_eq!(client.key_standing(&alice.hotkey()), Some(KeyStanding::Contradicts));
    // The node's own is new.
    let client = node.client_with(&bob, certificate(&bob), says());
    client.info(alice.hotkey(), node.address()).await.unwrap();
    assert_eq!(client.key_standing(&alice.hotkey()), Some(KeyStanding::New));
}

#[tokio::test]
async fn case_19_a_caller_learns_why_its_own_certificate_was_refused() {
    let (bob, mallory) = (DevKey::named("Bob"), DevKey::named("Mallory"));
    let node = Node::start("Alice", &[&bob], 8).await;
    let made = |key: &DevKey, netuid: u16, at: u64| {
        let identity = NodeIdentity { netuid: Netuid(netuid), ..common::identity(key.hotkey()) };
        NodeCertificate::generate(&identity, key, UnixMs(at)).unwrap()
    };
    let old = SetClock::START - 30 * DAY_MS;
    use CertificateRefusal as R;
    let cases = [
        (&mallory, certificate(&mallory), R::NotAValidator),
        (&bob, made(&bob, 8, SetClock::START), R::WrongNetuid),
        (&bob, made(&bob, 7, old), R::Expired),
        (&bob, made(&bob, 7, SetClock::START + 2 * DAY_MS), R::Expired),
    ];
    for (key, certificate, refusal) in cases {
        let client = node.client_with(key, certificate, PeerDirectory::default());
        for _ in 0..2 {
            let got = client.ask(node.key.hotkey(), node.address(), renewal()).await;
            assert_eq!(got, Err(AskError::CertificateRefused(refusal)));
        }
    }
}

#[tokio::test]
async fn case_19_a_permit_lost_in_mid_session_closes_the_session_with_that_view() {
    let (bob, carol) = (DevKey::named("Bob"), DevKey::named("Carol"));
    let mut node = Node::start("Alice", &[&bob, &carol], 8).await;
    let (peer, address) = (node.key.hotkey(), node.address());
    let client = Arc::new(node.client_of(&bob));
    // One call is in work, one connection is idle.
    let asked = tokio::spawn({
        let client = Arc::clone(&client);
        async move { client.ask(peer, address, renewal()).await }
    });
    let call = node.next_call().await;
    let mut idle = connect(address, Some(&Shown::of(&bob))).await.unwrap();
    idle.read_u8().await.unwrap();
    let mut others = connect(address, Some(&Shown::of(&carol))).await.unwrap();
    others.read_u8().await.unwrap();

    node.directory.send_replace(directory(&[&carol]));
    let lost = soon(asked).await.unwrap();
    assert!(
        matches!(lost, Err(AskError::Unreachable { .. } | AskError::Failed { .. })),
        "{lost:?}"
    );
    drop(call);
    let mut rest = Vec::new();
    drop(soon(idle.read_to_end(&mut rest)).await);
    let again = client.ask(peer, address, renewal()).await;
    assert_eq!(again, Err(AskError::CertificateRefused(CertificateRefusal::NotAValidator)));

    // Carol's connection goes on: a ping is answered.
    others.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    others.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
    others.write_all(&[0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]).await.unwrap();
    let mut read = Vec::new();
    while !read.windows(8).any(|bytes| bytes == [1, 2, 3, 4, 5, 6, 7, 8]) {
        read.push(soon(others.read_u8()).await.unwrap());
    }
}

#[tokio::test]
async fn a_node_that_says_it_is_another_than_its_certificate_is_not_believed() {
    let (alice, bob) = (DevKey::named("Alice"), DevKey::named("Bob"));
    let node = Node::start("Alice", &[&bob], 8).await;
    node.certificate.send_replace(certificate(&bob));
    let got = node.client_of(&bob).info(bob.hotkey(), node.address()).await;
    let lied = AnswerError::OtherIdentity { hotkey: alice.hotkey() };
    assert_eq!(got, Err(AskError::MalformedAnswer(lied)));
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_without_a_restart() {
    let bob = DevKey::named("Bob");
    let node = Node::start("Alice", &[&bob], 8).await;
    let shown = async || {
        let tls = connect(node.address(), Some(&Shown::of(&bob))).await.unwrap();
        tls.get_ref().1.peer_certificates().unwrap()[0].to_vec()
    };
    let first = node.certificate.borrow().clone();
    assert_eq!(shown().await, first.certificate());
    let identity = common::identity(node.key.hotkey());
    let later = UnixMs(SetClock::START + 20 * DAY_MS);
    let renewed = first.renewed_if_due(&identity, &*node.key, later).unwrap().unwrap();
    node.certificate.send_replace(renewed.clone());
    assert_eq!(shown().await, renewed.certificate());
}

#[tokio::test]
async fn no_session_is_resumed_and_no_other_protocol_spoken() {
    let bob = DevKey::named("Bob");
    let node = Node::start("Alice", &[&bob], 8).await;
    let config = Arc::new(common::wire::client_config(Some(&Shown::of(&bob))));
    for _ in 0..3 {
        let mut tls = connect_with(node.address(), Arc::clone(&config)).await.unwrap();
        tls.read_u8().await.unwrap();
        assert_eq!(tls.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
    }
    for protocols in [vec![b"http/1.1".to_vec()], Vec::new()] {
        let mut config = common::wire::client_config(Some(&Shown::of(&bob)));
        config.alpn_protocols = protocols;
        let answered = async {
            let mut tls = connect_with(node.address(), Arc::new(config)).await?;
            tls.read_u8().await
        };
        assert!(soon(answered).await.is_err());
    }
}

#[tokio::test]
async fn http_without_tls_is_not_answered() {
    let node = Node::start("Alice", &[], 8).await;
    let mut tcp = TcpStream::connect(node.address()).await.unwrap();
    tcp.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut answer = Vec::new();
    drop(soon(tcp.read_to_end(&mut answer)).await);
    // A TLS record with an alert, and nothing else.
    assert_eq!((answer.first(), answer.len()), (Some(&0x15), 7), "{answer:?}");
}

#[tokio::test]
async fn case_20_a_handshake_that_does_not_end_is_cut_and_its_place_is_free_again() {
    let bob = DevKey::named("Bob");
    let node = Node::start("Alice", &[&bob], 8).await;
    let mut stalled = Vec::new();
    for _ in 0..HANDSHAKES_PER_STRANGER_MAX {
        let mut tcp = TcpStream::connect(node.address()).await.unwrap();
        // The first bytes of a hello of 512.
        tcp.write_all(&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc]).await.unwrap();
        stalled.push(tcp);
    }
    let mut one_more = TcpStream::connect(node.address()).await.unwrap();
    let mut byte = [0];
    assert!(matches!(soon(one_more.read(&mut byte)).await, Ok(0) | Err(_)), "no place was left");
    for tcp in &mut stalled {
        assert!(matches!(soon(tcp.read(&mut byte)).await, Ok(0) | Err(_)));
    }
    assert_eq!(knock(node.address(), Some(&Shown::of(&bob))).await, Ok(()));
}

#[tokio::test]
async fn case_20_a_flood_of_handshakes_leaves_room_for_the_hosts_of_validators() {
    let bob = DevKey::named("Bob");
    let mut node = Node::start("Alice", &[&bob], 8).await;
    accept_all(&mut node);
    // The flood and Bob share this host, which Bob published.
    let own = SocketAddr::from(([127, 0, 0, 1], 1));
    node.directory.send_replace(PeerDirectory::of(BlockNumber(1), [(bob.hotkey(), Some(own))]));
    let mut stalled = Vec::new();
    for _ in 0..HANDSHAKES_PER_STRANGER_MAX {
        stalled.push(TcpStream::connect(node.address()).await.unwrap());
    }
    let client = node.client_of(&bob);
    client.ask(node.key.hotkey(), node.address(), renewal()).await.unwrap();
}

/// Connections that say something, until one is closed without a word.
async fn open_until_refused(address: SocketAddr, key: &Arc<DevKey>, most: u32) -> Vec<impl Sized> {
    let config = Arc::new(common::wire::client_config(Some(&Shown::of(key))));
    let mut open = Vec::new();
    while open.len() < most as usize {
        let Ok(mut tls) = connect_with(address, Arc::clone(&config)).await else { break };
        if soon(tls.read_u8()).await.is_err() {
            break;
        }
        open.push(tls);
    }
    open
}

#[tokio::test]
async fn case_20_one_validator_and_one_address_have_no_more_than_their_share_of_connections() {
    let keys: Vec<_> = ('A'..='Z').map(|name| DevKey::named(&name.to_string())).collect();
    let node = Node::start("Alice", &keys.iter().collect::<Vec<_>>(), 8).await;
    let greedy = open_until_refused(node.address(), &keys[0], 100).await;
    assert_eq!(greedy.len(), CONNECTIONS_PER_PEER_MAX as usize);
    let mut all = vec![greedy];
    for key in &keys[1..] {
        all.push(open_until_refused(node.address(), key, 3).await);
    }
    let open: usize = all.iter().map(Vec::len).sum();
    assert_eq!(open, CONNECTIONS_PER_ADDRESS_MAX as usize);
    all.pop();
    drop(all);
    // Places are given back as connections end.
    for _ in 0..1_000 {
        if !open_until_refused(node.address(), &keys[0], 1).await.is_empty() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("no place was given back");
}
