//! Where a submission's bytes come from: over HTTPS from where the miner says they are, and only
//! from the public internet unless the operator allows more.

#![allow(clippy::unwrap_used, reason = "a test states facts; a broken one should stop at once")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use assay_tests::chain::ChainOptions;
use assay_tests::lab::Lab;
use assay_tests::submissions::packed_fixture;
use node_daemon::status::StatusReport;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::TlsAcceptor;

/// Serves the first of `bodies` over HTTPS to who asks first, the next to who asks next and the
/// last to all others, under a certificate that it writes to `certificate`; gives the server's URL.
/// A repository's file is sent on to elsewhere, as Hugging Face does it.
async fn serve(bodies: Vec<Vec<u8>>, certificate: &Path) -> String {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(certificate, made.cert.pem()).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut served = 0;
        loop {
            let Ok((stream, _)) = listener.accept().await else { return };
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut request = [0; 4096];
            drop(stream.read(&mut request).await);
            let file = b"GET /org/repo/resolve/0123abc/submission.zip ";
            let (status, body) = match request {
                _ if request.starts_with(file) => ("302 Found\r\nlocation: /s.zip", &[][..]),
                _ if request.starts_with(b"GET /s.zip ") => {
                    served += 1;
                    ("200 OK", &bodies[bodies.len().min(served) - 1][..])
                }
                _ => ("404 Not Found", &[][..]),
            };
            let head = format!(
                "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            drop(stream.write_all(head.as_bytes()).await);
            drop(stream.write_all(body).await);
            drop(stream.shutdown().await);
        }
    });
    format!("https://localhost:{port}")
}

/// One validator, one miner whose archive lies on a web server of this machine, which at first
/// gives what `before` says.
async fn fetched(
    before: &[&[u8]],
    private_locations: bool,
    location: impl Fn(&str) -> String,
    is_so: impl Fn(&StatusReport) -> bool,
) -> StatusReport {
    let dir = tempfile::tempdir().unwrap();
    let options = ChainOptions { validators: 1, miners: 1, ..ChainOptions::default() };
    let lab = Lab::start(dir.path(), &options).await.unwrap();
    let packed = packed_fixture("bigram").unwrap();
    let certificate = dir.path().join("certificate.pem");
    let before = before.iter().map(|bytes| bytes.to_vec());
    let bodies = before.chain([packed.bytes.clone()]).collect();
    let url = serve(bodies, &certificate).await;
    let extra = format!("private_locations = {private_locations}\nhugging_face = \"{url}\"");
    let mut node = lab.node(0, &extra).unwrap();
    node.set_variable("SSL_CERT_FILE", certificate.to_str().unwrap());
    node.start(None).unwrap();
    lab.submit_from(0, &location(&url), &packed).await.unwrap();
    let report = node.wait_for("the fetch", Duration::from_secs(60), is_so).await.unwrap();
    node.end().await;
    report
}

fn is_admitted(report: &StatusReport) -> bool {
    let counts = report.submission_counts;
    counts.admitted + counts.scored == 1
}

fn file(server: &str) -> String {
    format!("{server}/s.zip")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_submission_is_fetched_over_https_and_admitted() {
    fetched(&[], true, file, is_admitted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_submission_is_fetched_from_the_repository_that_its_commitment_names() {
    fetched(&[], true, |_| "hf:org/repo@0123abc".to_owned(), is_admitted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_location_inside_the_operators_network_is_not_asked() {
    let has_failed = |report: &StatusReport| report.counters.contains_key("fetch_failed");
    let report = fetched(&[], false, file, has_failed).await;
    let submission = report.submissions.first().unwrap();
    let detail = submission.detail.as_deref().unwrap_or_default();
    assert!(detail.contains("`localhost` is not a public address"), "{detail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_archive_rejects_nobody_and_is_asked_for_again() {
    let report = fetched(&[b"<html>Service unavailable</html>"], true, file, is_admitted).await;
    assert_eq!(report.counters["fetch_failed"], 1);
}
