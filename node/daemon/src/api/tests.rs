//! The listener as clients see it, with a loop that gives fixed answers.

use std::collections::BTreeMap;

use node_chain::Keypair;
use node_core::funnel::Passage;
use node_core::id::{BlockHash, ContentDigest, Digest, Hotkey, SubmissionId};
use node_core::lease::Explanation;
use node_core::machine::account::{Account, EpochAccount, Merit, UploadRefused};
use node_core::machine::places::{Place as Standing, Places, Worth};
use node_core::policy::Policy;
use node_core::queue_place::{Cause, Moved, Place};
use node_core::reward::{FamilyId, Quality};
use node_core::submission::{Submission, SubmissionState};
use node_core::trial::Trial;
use node_core::unit::{BlockCount, BlockNumber, EpochIndex, UnixMs};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::*;
use crate::freezer::sample as past;
use crate::status::{AttemptPhase, AttemptStatus};

const TOKEN: &str = "sixteen or more characters";

fn submission(points: u64) -> Submission {
    let mut submission = Submission::committed(
        Hotkey([1; 32]),
        BlockNumber(7),
        ContentDigest([2; 32]),
        node_core::commitment::Location::Peers,
        BlockHash([3; 32]),
    );
    submission.state = SubmissionState::Scored { points };
    submission
}

fn known(moved: Moved) -> Known {
    let account = Account {
        submission: submission(250_000_000),
        explanation: Explanation { required: 2, ..Explanation::default() },
        outcomes: Vec::new(),
        metrics: None,
        merit: Some(Merit { tier: 1, points: 250_000_000 }),
        place: Some((2, Passage::Passes)),
        flags: Vec::new(),
        review: None,
    };
    let attempt = AttemptStatus {
        covered_bytes: 50_000,
        total_bytes: 200_000,
        microbpb: Some(2_500_000),
        phase: AttemptPhase::Training,
        bytes_per_second: Some(1_000),
        remaining_s: Some(150),
    };
    let run = LiveRun {
        trial: Trial { submission: account.submission.id, tier: 2, unit: 3 },
        state: "running",
        started_at: UnixMs(11),
        attempt: Some(attempt),
    };
    let place = Some(Place { place: 2, of: 4, moved: Some(moved) });
    Known { account, place, runs: vec![run] }
}

/// A reference, a family with a recipe, and a submission that is paid as a whole.
fn places() -> Places {
    let reference = Standing {
        family: Some(FamilyId(Digest([4; 32]))),
        owner: None,
        submission: None,
        content: None,
        since: None,
        worth: Worth::Part(Quality { mean_nano: 1_000_000_000, variance_nano2: 0 }),
    };
    let recipe = Standing {
        owner: Some(Hotkey([1; 32])),
        submission: Some(SubmissionId([5; 32])),
        content: Some(ContentDigest([6; 32])),
        since: Some(BlockNumber(8)),
        worth: Worth::Part(Quality {
            mean_nano: 250_000_000,
            variance_nano2: 4_000_000_000_000_000,
        }),
        ..reference
    };
    let whole = Standing { family: None, worth: Worth::Points(500_000_000), ..recipe };
    Places { architectures: vec![reference, whole], recipes: vec![recipe, whole] }
}

fn answer(question: &Question) -> Answer {
    let epoch =
        EpochAccount { index: EpochIndex(5), block: BlockNumber(77), length: BlockCount(20) };
    let moved = Moved {
        from: 3,
        to: 2,
        at: UnixMs(9),
        causes: vec![Cause::Left { submission: SubmissionId([9; 32]), became: "scored".into() }],
        more: 1,
    };
    match question {
        Question::OfHotkey(hotkey) if *hotkey == submission(0).hotkey => {
            Answer::OfHotkey(vec![known(moved)])
        }
        Question::OfHotkey(_) => Answer::OfHotkey(Vec::new()),
        Question::Submission(id) if *id == submission(0).id => {
            Answer::Submission(Some(Box::new(known(moved))))
        }
        Question::Submission(_) => Answer::Submission(None),
        Question::Receipts(_) => Answer::Receipts(Vec::new()),
        Question::Leaderboard => {
            let merit = Merit { tier: 2, points: 500_000_000 };
            Answer::Leaderboard(Some(epoch), vec![(merit, submission(500_000_000))])
        }
        Question::Places => Answer::Places(places()),
        Question::Epoch => Answer::Epoch(Some(epoch)),
        Question::Points => {
            let points = [(Hotkey([1; 32]), 3), (Hotkey([2; 32]), 1), (Hotkey([3; 32]), 0)];
            Answer::Points(Some(epoch), BTreeMap::from(points))
        }
        Question::Upload(hotkey) if *hotkey == miner().public() => Answer::Upload(Ok(())),
        Question::Upload(_) => Answer::Upload(Err(UploadRefused::NotRegistered)),
        Question::Vectors => Answer::Vectors(Vec::new()),
        Question::Health => Answer::Health(true),
    }
}

fn miner() -> Keypair {
    Keypair::from_uri("//Miner").unwrap()
}

/// A listener; its address, and its directory.
struct Service {
    url: String,
    directory: tempfile::TempDir,
    stop: CancellationToken,
}

async fn service(requests_per_minute: u32) -> Service {
    let directory = tempfile::tempdir().unwrap();
    let token_file = directory.path().join("token");
    std::fs::write(&token_file, format!("{TOKEN}\n")).unwrap();
    let settings = config::Api {
        listen: Some("127.0.0.1:0".parse().unwrap()),
        token_file: Some(token_file),
        requests_per_minute,
        behind_proxy: true,
    };
    let bound = Api::bind(&settings).await.unwrap().unwrap();
    let url = format!("http://{}", bound.address());
    let (calls, mut questions) = mpsc::channel::<Call>(8);
    tokio::spawn(async move {
        while let Some(call) = questions.recv().await {
            drop(call.answer.send(answer(&call.question)));
        }
    });
    let uploads = Uploads::open(directory.path().join("uploads"), 1 << 20).unwrap();
    let stop = CancellationToken::new();
    let gates = Arc::new(Gates::check(&Policy::dev()));
    let store = Arc::new(past::store(&directory.path().join("data")));
    let freezer = FreezerDoor::new(store, Arc::new(Policy::dev()));
    tokio::spawn(bound.serve(calls, uploads, gates, freezer, stop.clone()));
    Service { url, directory, stop }
}

impl Service {
    async fn get(&self, path: &str) -> (u16, Value) {
        let response = reqwest::get(format!("{}{path}", self.url)).await.unwrap();
        let status = response.status().as_u16();
        (status, serde_json::from_slice(&response.bytes().await.unwrap()).unwrap())
    }

    async fn upload(&self, signer: &Keypair, signed_at: u64, body: &[u8], json: bool) -> Sent {
        let hotkey = signer.public().to_string();
        let digest = hex::encode(Sha256::digest(body));
        let message = format!("prism:{hotkey}:once:{signed_at}:{digest}");
        let signature = hex::encode(signer.sign_raw(message.as_bytes()));
        let kind = if json { "application/json" } else { "application/zip" };
        let request = reqwest::Client::new()
            .post(format!("{}/v1/submissions", self.url))
            .header("x-hotkey", hotkey)
            .header("x-nonce", "once")
            .header("x-timestamp", signed_at.to_string())
            .header("x-signature", format!("0x{signature}"))
            .header("content-type", kind)
            .body(body.to_vec());
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        (status, serde_json::from_slice(&response.bytes().await.unwrap()).unwrap())
    }

    fn kept(&self) -> usize {
        std::fs::read_dir(self.directory.path().join("uploads")).unwrap().count()
    }
}

type Sent = (u16, Value);

impl Drop for Service {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn now_s() -> u64 {
    crate::run::unix_now().0 / 1_000
}

fn project() -> Vec<u8> {
    let reference = node_evaluator::reference::reference("transformer-rope").unwrap();
    reference.packed(&Policy::dev().archive).unwrap().bytes
}

#[tokio::test]
async fn a_signed_archive_is_kept_and_the_answer_says_what_to_commit_to() {
    let service = service(1_000).await;
    let zip = project();
    let (status, taken) = service.upload(&miner(), now_s(), &zip, false).await;
    assert_eq!((status, taken["admitted"].as_bool()), (200, Some(true)), "{taken}");
    let digest = taken["code_hash"].as_str().unwrap();
    let kept = service.directory.path().join("uploads").join(format!("{digest}.zip"));
    assert_eq!(std::fs::read(kept).unwrap(), zip);
    let commitment = taken["commitment"].as_str().unwrap();
    let parsed = node_core::commitment::Commitment::parse(commitment.as_bytes()).unwrap();
    assert_eq!(parsed.content.to_string(), digest);
    // As PRISM's clients send it.
    let code = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &zip);
    let body = serde_json::json!({ "filename": "a.zip", "code": code, "metadata": {} });
    let (status, again) =
        service.upload(&miner(), now_s(), body.to_string().as_bytes(), true).await;
    assert_eq!((status, &again["code_hash"]), (200, &taken["code_hash"]));
    assert_eq!(service.kept(), 1);
}

#[tokio::test]
async fn what_is_not_signed_by_a_miner_or_is_no_archive_is_refused_and_not_kept() {
    let service = service(1_000).await;
    let stranger = Keypair::from_uri("//Stranger").unwrap();
    let refused = |(status, body): Sent| (status, body["error"].as_str().unwrap().to_owned());
    let zip = project();
    let stale = service.upload(&miner(), now_s() - 301, &zip, false).await;
    assert_eq!(refused(stale), (401, "unsigned".to_owned()));
    let unknown = service.upload(&stranger, now_s(), &zip, false).await;
    assert_eq!(refused(unknown), (403, "not_a_miner".to_owned()));
    let no_zip = service.upload(&miner(), now_s(), b"not a ZIP", false).await;
    assert_eq!(refused(no_zip), (422, "archive-format".to_owned()));
    let no_json = service.upload(&miner(), now_s(), b"{}", true).await;
    assert_eq!(refused(no_json), (400, "bad_body".to_owned()));
    let unsigned = reqwest::Client::new().post(format!("{}/v1/submissions", service.url));
    let unsigned = unsigned.body(zip).send().await.unwrap();
    assert_eq!(unsigned.status().as_u16(), 400);
    let large = vec![0; 8 << 20];
    let (status, _) = {
        let request = reqwest::Client::new().post(format!("{}/v1/submissions", service.url));
        let response = request.body(large).send().await.unwrap();
        (response.status().as_u16(), ())
    };
    assert_eq!(status, 413);
    assert_eq!(service.kept(), 0);
}

#[tokio::test]
async fn weights_are_shares_and_only_for_who_has_the_token() {
    let service = service(1_000).await;
    let (status, _) = service.get("/internal/v1/get_weights").await;
    assert_eq!(status, 401);
    let url = format!("{}/internal/v1/get_weights", service.url);
    let ask = |token: &str| reqwest::Client::new().get(&url).bearer_auth(token).send();
    assert_eq!(ask("something else that is long").await.unwrap().status().as_u16(), 401);
    let answer: Value =
        serde_json::from_slice(&ask(TOKEN).await.unwrap().bytes().await.unwrap()).unwrap();
    assert_eq!((&answer["challenge_slug"], &answer["epoch"]), (&"nas".into(), &5.into()));
    let weights = answer["weights"].as_object().unwrap();
    assert_eq!(weights.len(), 2, "who has nothing is left out");
    assert_eq!(weights[&Hotkey([1; 32]).to_string()], 0.75);
}

#[tokio::test]
async fn a_submission_says_where_it_stands_and_why_it_moved() {
    let service = service(1_000).await;
    let (status, known) = service.get(&format!("/v1/submissions/{}", submission(0).id)).await;
    assert_eq!(status, 200);
    assert_eq!((&known["status"], &known["final_score"]), (&"scored".into(), &0.25.into()));
    assert_eq!((&known["queue"]["position"], &known["queue"]["length"]), (&2.into(), &4.into()));
    let because = known["queue"]["moved"]["because"].as_array().unwrap();
    assert!(because[0].as_str().unwrap().ends_with("was before it and is scored"), "{because:?}");
    assert_eq!(because[1], "and 1 more");
    assert_eq!(known["tier"], 2, "{known}");
    let run = &known["runs"][0];
    assert_eq!(
        (&run["tier"], &run["unit"], &run["state"]),
        (&2.into(), &3.into(), &"running".into())
    );
    let progress = serde_json::json!({
        "phase": "training", "covered_bytes": 50_000, "total_bytes": 200_000,
        "bits_per_byte": 2.5, "bytes_per_second": 1_000, "remaining_seconds": 150
    });
    assert_eq!(run["progress"], progress);
    let unknown = service.get(&format!("/v1/submissions/{}", SubmissionId([8; 32]))).await;
    assert_eq!((unknown.0, &unknown.1["error"]), (404, &"unknown".into()));
    assert_eq!(service.get("/v1/submissions/x").await.0, 400);
}

#[tokio::test]
async fn a_submission_that_was_put_away_is_told_as_it_was_then() {
    let service = service(1_000).await;
    let path = format!("/v1/submissions/{}", past::submission().id);
    let (status, told) = service.get(&path).await;
    assert_eq!(status, 200, "{told}");
    assert_eq!((&told["status"], &told["put_away_at"]), (&"scored".into(), &7_200.into()));
    assert_eq!((&told["final_score"], &told["score_tier"]), (&0.25.into(), &1.into()));
    assert_eq!((&told["queue"], &told["passage"]), (&Value::Null, &Value::Null));
    assert_eq!(told["runs"].as_array().unwrap().len(), 0);
    assert_eq!(told["trials"][0]["score"], 0.25);
    assert_eq!(told["flags"][0]["rule"], "source-import");
    let curve = serde_json::json!([8.0, 4.0, 2.0]);
    assert_eq!(told["metrics"]["loss_curve"], curve);
    assert_eq!(told["results_required"], 0, "nobody waits for one");
    let (_, kept) = service.get(&format!("/v1/submissions/{}", submission(0).id)).await;
    assert_eq!(kept["put_away_at"], Value::Null);
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_an_error_and_tells_nothing_of_the_disk() {
    let service = service(1_000).await;
    past::damage(&service.directory.path().join("data"));
    let path = format!("/v1/submissions/{}", past::submission().id);
    let (status, told) = service.get(&path).await;
    assert_eq!((status, &told["error"]), (500, &"unreadable".into()));
    let directory = service.directory.path().display().to_string();
    assert!(!told.to_string().contains(&directory), "{told}");
}

#[tokio::test]
async fn architectures_and_recipes_name_family_owner_and_worth() {
    let service = service(1_000).await;
    let (status, told) = service.get("/v1/architectures").await;
    assert_eq!((status, told.as_array().unwrap().len()), (200, 2));
    let family = Digest([4; 32]).to_string();
    assert_eq!(
        (&told[0]["id"], &told[0]["family_hash"]),
        (&family.clone().into(), &family.clone().into())
    );
    assert_eq!((&told[0]["q_arch_best"], &told[0]["owner_hotkey"]), (&1.0.into(), &Value::Null));
    let whole = SubmissionId([5; 32]).to_string();
    assert_eq!((&told[1]["id"], &told[1]["final_score"]), (&whole.clone().into(), &0.5.into()));
    assert_eq!((&told[1]["q_arch_best"], &told[1]["family_hash"]), (&Value::Null, &Value::Null));
    let (_, variants) = service.get("/v1/training-variants").await;
    assert_eq!(variants.as_array().unwrap().len(), 2);
    let asked = format!("/v1/training-variants?architecture_id={family}");
    let (_, variants) = service.get(&asked).await;
    let [variant] = variants.as_array().unwrap().as_slice() else { panic!("{variants}") };
    assert_eq!((&variant["submission_id"], &variant["q_recipe"]), (&whole.into(), &0.25.into()));
    let std = variant["metric_std"].as_f64().unwrap();
    assert!((std - 0.063_245_553).abs() < 1e-6, "{std}");
    assert_eq!(service.get("/v1/architectures?limit=1").await.1.as_array().unwrap().len(), 1);
    assert_eq!(service.get("/v1/training-variants?limit=x").await.0, 400);
}

#[tokio::test]
async fn a_hotkeys_submissions_are_found_without_their_ids() {
    let service = service(1_000).await;
    let asked = format!("/v1/submissions?hotkey={}", submission(0).hotkey);
    let (status, theirs) = service.get(&asked).await;
    assert_eq!((status, theirs["submissions"].as_array().unwrap().len()), (200, 1));
    assert_eq!(theirs["submissions"][0]["id"], submission(0).id.to_string());
    let (status, none) = service.get(&format!("/v1/submissions?hotkey={}", Hotkey([7; 32]))).await;
    assert_eq!((status, none["submissions"].as_array().unwrap().len()), (200, 0));
    for (bad, error) in [
        ("/v1/submissions", "bad_hotkey"),
        ("/v1/submissions?hotkey=5x", "bad_hotkey"),
        ("/v1/submissions?hotkey=a&hotkey=b", "bad_query"),
    ] {
        let (status, told) = service.get(bad).await;
        assert_eq!((status, &told["error"]), (400, &error.into()), "{bad}");
    }
}

#[tokio::test]
async fn every_documented_route_is_there_and_no_other() {
    let service = service(1_000).await;
    let (_, document) = service.get("/openapi.json").await;
    let paths: Vec<&String> = document["paths"].as_object().unwrap().keys().collect();
    assert_eq!(paths.len(), 9, "{paths:?}");
    for path in paths {
        let url = format!("{}{}", service.url, path.replace("{id}", "0"));
        let status = reqwest::get(url).await.unwrap().status().as_u16();
        assert!(status != 404 && status < 500, "{path}: {status}");
    }
    assert_eq!(service.get("/v2").await.1["error"], "no_such_route");
    assert_eq!(service.get("/v1/leaderboard").await.1["submissions"][0]["rank"], 1);
    assert_eq!(service.get("/v1/epochs/current").await.1["epoch_id"], 5);
    assert_eq!(service.get("/health").await.1["status"], "ok");
}

#[tokio::test]
async fn who_asks_too_often_is_refused_for_a_while_and_others_are_not() {
    let service = service(12).await;
    let ask = |address: &'static str| {
        let url = format!("{}/version", service.url);
        reqwest::Client::new().get(url).header("x-forwarded-for", address).send()
    };
    for _ in 0..12 {
        assert_eq!(ask("10.0.0.9, 192.0.2.1").await.unwrap().status().as_u16(), 200);
    }
    let refused = ask("10.0.0.8, 192.0.2.1").await.unwrap();
    assert_eq!(refused.status().as_u16(), 429);
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(ask("192.0.2.2").await.unwrap().status().as_u16(), 200);
}

#[tokio::test]
async fn a_short_token_and_a_taken_address_are_errors_that_name_the_setting() {
    let directory = tempfile::tempdir().unwrap();
    let token_file = directory.path().join("token");
    std::fs::write(&token_file, "short").unwrap();
    let mut settings = config::Api {
        listen: Some("127.0.0.1:0".parse().unwrap()),
        token_file: Some(token_file),
        requests_per_minute: 1,
        behind_proxy: false,
    };
    let error = Api::bind(&settings).await.unwrap_err().to_string();
    assert!(error.contains("api.token_file"), "{error}");
    settings.token_file = None;
    let first = Api::bind(&settings).await.unwrap().unwrap();
    settings.listen = Some(first.address());
    let error = Api::bind(&settings).await.unwrap_err().to_string();
    assert!(error.contains("api.listen"), "{error}");
    settings.listen = None;
    assert!(Api::bind(&settings).await.unwrap().is_none());
}
