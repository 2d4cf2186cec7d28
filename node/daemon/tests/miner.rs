//! The miner's commands that write a project and speak to validators, against a validator's
//! interface in this process.

#![allow(clippy::unwrap_used, reason = "a broken fact should stop the test at once")]

mod support;

use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use node_core::id::{Hotkey, Signature, SignatureVerifier as _};
use node_peer::Sr25519Verifier;
use serde_json::{json, Value};
use sha2::{Digest as _, Sha256};
use support::Operator;

const SEED: &str = "0xe5be9a5092b81bca64be81d212e7f2f9eba183bb7a90954f7b76361f6edb5c0a";
const ALICE: &str = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";

fn with_hotkey(operator: Operator) -> Operator {
    let file = format!("{{\"secretSeed\": \"{SEED}\", \"ss58Address\": \"{ALICE}\"}}");
    let public = format!("{{\"ss58Address\": \"{ALICE}\"}}");
    operator
        .with_file(".bittensor/wallets/w/hotkeys/h", &file)
        .with_file(".bittensor/wallets/w/hotkeys/hpub.txt", &public)
        .with_variable("BT_WALLET_NAME", "w")
        .with_variable("BT_WALLET_HOTKEY", "h")
}

fn with_project(operator: Operator) -> Operator {
    operator
        .with_file("model/architecture.py", "def build_model(ctx):\n    return None\n")
        .with_file("model/training.py", "def train(ctx):\n    pass\n")
}

/// A validator that answers fixed things.
#[derive(Clone, Default)]
struct Fake {
    /// What it answers to an upload; the digest of what came, if it is empty.
    upload: Option<(u16, Value)>,
    /// What it knows of any submission.
    submission: Option<Value>,
    uploads: Arc<Mutex<Vec<(HeaderMap, Bytes)>>>,
}

async fn upload(
    State(fake): State<Fake>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, Json<Value>) {
    let archive =
        node_evaluator::archive::read_archive(&body, &node_core::policy::Policy::dev().archive);
    let digest = node_evaluator::archive::content_digest(&archive.unwrap().files);
    fake.uploads.lock().unwrap().push((headers, body));
    match fake.upload {
        Some((status, answer)) => (StatusCode::from_u16(status).unwrap(), Json(answer)),
        None => {
            let answer = json!({ "code_hash": digest, "admitted": true, "problem": null });
            (StatusCode::OK, Json(answer))
        }
    }
}

async fn one(State(fake): State<Fake>) -> (StatusCode, Json<Value>) {
    match fake.submission {
        Some(known) => (StatusCode::OK, Json(known)),
        None => (StatusCode::NOT_FOUND, Json(json!({ "error": "unknown", "message": "not seen" }))),
    }
}

async fn all(State(fake): State<Fake>) -> Json<Value> {
    Json(json!({ "submissions": fake.submission.into_iter().collect::<Vec<_>>() }))
}

/// Serves it until the test ends; gives its address.
fn serve(fake: Fake) -> String {
    let (told, address) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let routes = Router::new()
                .route("/v1/submissions", post(upload).get(all))
                .route("/v1/submissions/{id}", get(one))
                .with_state(fake);
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            told.send(listener.local_addr().unwrap()).unwrap();
            axum::serve(listener, routes).await.unwrap();
        });
    });
    format!("http://{}", address.recv().unwrap())
}

/// An address where nothing listens.
fn nowhere() -> String {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    format!("http://{free}")
}

fn known(id: &str) -> Value {
    json!({
        "id": id, "hotkey": ALICE, "committed_at": 7, "code_hash": "cd", "status": "rejected",
        "detail": "rejected", "tier": 0,
        "evidence": {"rule": "source-process", "file": "training.py", "line": 1,
            "detail": "`os` may not be used"}
    })
}

#[test]
fn what_init_writes_passes_check_and_nothing_is_overwritten() {
    for from in ["transformer-rope", "ssm", "hooks"] {
        let operator = Operator::new();
        let said = operator.run(&["miner", "init", "mine", "--from", from]);
        assert_eq!(said.code, 0, "{}", said.stderr);
        let checked = operator.run(&["miner", "check", "mine", "--json"]);
        assert_eq!(checked.code, 0, "{}", checked.stdout);
        let verdict: Value = serde_json::from_str(&checked.stdout).unwrap();
        assert_eq!(verdict["verdict"]["files"], 4, "{verdict}");
        assert_eq!(verdict["verdict"]["flags"], json!([]), "{verdict}");
        let readme = std::fs::read_to_string(operator.path("mine/README.md")).unwrap();
        assert!(readme.contains(from) && readme.contains("assay miner check ."), "{readme}");
    }
    let operator = Operator::new().with_file("mine/training.py", "x = 1\n");
    let said = operator.run(&["miner", "init", "mine"]);
    assert_eq!((said.code, said.stdout.as_str()), (1, ""));
    assert!(said.stderr.contains("`mine/training.py` exists"), "{}", said.stderr);
    assert!(!operator.path("mine/architecture.py").exists(), "all or nothing");
}

#[test]
fn an_upload_is_signed_as_prism_wants_it_and_needs_no_chain() {
    let fake = Fake::default();
    let url = serve(fake.clone());
    let operator = with_project(with_hotkey(Operator::new()));
    let said =
        operator.run(&["miner", "submit", "model", "--upload", &url, "--no-commit", "--json"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    let told: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!((&told["hotkey"], &told["committed"]), (&json!(ALICE), &Value::Null));
    assert_eq!(told["uploaded"], json!([url]));
    let digest = told["content"].as_str().unwrap();
    let commitment = told["commitment"].as_str().unwrap();
    let parsed = node_core::commitment::Commitment::parse(commitment.as_bytes()).unwrap();
    assert_eq!(parsed.content.to_string(), digest);

    let (headers, body) = fake.uploads.lock().unwrap().pop().unwrap();
    let header = |name: &str| headers[name].to_str().unwrap().to_owned();
    let (nonce, timestamp) = (header("x-nonce"), header("x-timestamp"));
    assert_eq!(header("x-hotkey"), ALICE);
    let hash = hex::encode(Sha256::digest(&body));
    let message = format!("prism:{ALICE}:{nonce}:{timestamp}:{hash}");
    let mut signature = [0; 64];
    hex::decode_to_slice(header("x-signature"), &mut signature).unwrap();
    let signer: Hotkey = ALICE.parse().unwrap();
    assert!(Sr25519Verifier.is_valid(&signer, message.as_bytes(), &Signature(signature)));
}

#[test]
fn what_a_validator_does_not_take_is_not_committed_and_the_reason_is_told() {
    let digest = {
        let operator = with_project(Operator::new());
        let said = operator.run(&["miner", "check", "model", "--json"]);
        serde_json::from_str::<Value>(&said.stdout).unwrap()["content"].clone()
    };
    let cases = [
        ((403, json!({ "error": "not_a_miner", "message": "not registered" })), 1, "not_a_miner"),
        ((429, json!({ "error": "too_many_requests", "message": "later" })), 69, "429"),
        ((200, json!({ "code_hash": "00", "admitted": true })), 1, "another content"),
        (
            (200, json!({ "code_hash": digest, "admitted": false, "problem": "source-import" })),
            1,
            "source-import",
        ),
    ];
    for (answer, code, expected) in cases {
        let url = serve(Fake { upload: Some(answer), ..Fake::default() });
        let operator = with_project(with_hotkey(Operator::new()));
        // Nothing is there to commit to: it would be the failure if it came to that.
        let chain = nowhere().replace("http", "ws");
        let said = operator.run(&[
            "miner",
            "submit",
            "model",
            "--upload",
            &url,
            "--netuid",
            "3",
            "--subtensor.chain_endpoint",
            &chain,
        ]);
        assert_eq!(said.code, code, "{}", said.stderr);
        assert!(said.stderr.contains(expected), "{expected}: {}", said.stderr);
        assert!(said.stderr.contains("nothing was committed"), "{}", said.stderr);
    }
    let operator = with_project(with_hotkey(Operator::new()));
    let away = nowhere();
    let said = operator.run(&["miner", "submit", "model", "--upload", &away, "--no-commit"]);
    assert_eq!(said.code, 69, "{}", said.stderr);
    let said = operator.run(&["miner", "submit", "model", "--upload", "ftp://x", "--no-commit"]);
    assert_eq!(said.code, 64, "{}", said.stderr);
}

#[test]
fn status_shows_the_evidence_and_several_validators_side_by_side() {
    let id = "ab".repeat(32);
    let knows = serve(Fake { submission: Some(known(&id)), ..Fake::default() });
    let does_not = serve(Fake::default());
    let away = nowhere();
    let operator = with_hotkey(Operator::new());

    // Its own hotkey, from the public file of the wallet.
    let said = operator.run(&["miner", "status", "--validator", &knows]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    for line in ["state       rejected, tier 0", "rule        source-process"] {
        assert!(said.stdout.contains(line), "{line}: {}", said.stdout);
    }
    assert!(said.stdout.contains("place       training.py:1"), "{}", said.stdout);

    let said = operator.run(&[
        "miner",
        "status",
        &id,
        "--validator",
        &knows,
        "--validator",
        &does_not,
        "--validator",
        &away,
    ]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    let header = said.stdout.lines().find(|line| line.starts_with("validator")).unwrap();
    assert!([&knows, &does_not, &away].iter().all(|url| header.contains(*url)), "{header}");
    assert!(said.stdout.contains("not seen"), "{}", said.stdout);

    let urls = format!("{does_not},{away}");
    let operator = operator.with_variable("ASSAY_MINER__VALIDATORS", &urls);
    let said = operator.run(&["miner", "status", "--hotkey", ALICE, "--json"]);
    assert_eq!(said.code, 1, "one answered and knows nothing: {}", said.stderr);
    let told: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(told[0], json!({ "validator": does_not, "submissions": [] }));
    assert!(told[1]["error"].as_str().unwrap().contains("does not answer"), "{told}");
    let said = operator.run(&["miner", "status", &id, "--validator", &away]);
    assert_eq!(said.code, 69, "{}", said.stdout);
}

#[test]
fn status_says_what_is_missing_before_it_asks_anybody() {
    let operator = with_hotkey(Operator::new());
    let said = operator.run(&["miner", "status"]);
    assert_eq!(said.code, 64);
    assert!(said.stderr.contains("miner.validators"), "{}", said.stderr);
    let said = operator.run(&["miner", "status", "abc", "--validator", "http://127.0.0.1:1"]);
    assert_eq!(said.code, 64);
    assert!(said.stderr.contains("64 hexadecimal digits"), "{}", said.stderr);
    let said =
        operator.run(&["miner", "status", "--hotkey", "5x", "--validator", "http://127.0.0.1:1"]);
    assert_eq!(said.code, 64, "{}", said.stderr);
}
