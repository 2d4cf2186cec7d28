//! `assay status` against a node's listener, a snapshot, and nothing.

#![allow(clippy::unwrap_used, reason = "a broken fact should stop the test at once")]

mod support;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use node_core::admission::{Rejection, Rule};
use node_core::health::{DeviceRow, Order, Standing};
use node_core::hold::{NotResolved, Resolution};
use node_core::id::{AssignmentId, Attempt, ContentDigest, Hotkey, SubmissionId};
use node_core::inventory::DeviceId;
use node_core::lease::{NotReopened, Reopened, Reopening, Spent};
use node_core::machine::operator::{DeviceOrder, OperatorAnswer, OperatorRequest, OrderRefused};
use node_core::policy::Policy;
use node_core::rows::{Frozen, Row, Write};
use node_core::submission::{Submission, SubmissionState};
use node_core::unit::{BlockNumber, UnixMs};
use node_daemon::admin::{Admin, OperatorCall};
use node_daemon::config::DataDir;
use node_daemon::metrics::Metrics;
use node_daemon::status::{
    keep_snapshot, unix_now, CheckStatus, PublishedReport, Readiness, StatusReport,
};
use node_store::Store;
use support::Operator;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

fn report(ready: bool) -> StatusReport {
    let reasons = if ready { Vec::new() } else { vec!["no finalized block seen yet".to_owned()] };
    let now = unix_now();
    serde_json::from_value(serde_json::json!({
        "schema": 1,
        "as_of": now,
        "node": {
            "hotkey": "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY",
            "netuid": 3, "uid": 4, "version": "0.1.0", "started_at": now, "is_stopping": false
        },
        "ready": Readiness { ready, reasons },
        "chain": null,
        "weights": {
            "mode": "submit", "epoch": null, "next_epoch_block": null, "blocks_left": null,
            "last_landed": null, "latest": null, "not_safe": null, "safe_to_restart": true
        },
        "devices": [], "runs": [],
        "leases": { "open": 0, "granted": 0, "complete": 0, "exhausted": 0 },
        "submission_counts": {
            "committed": 0, "fetched": 0, "admitted": 0, "rejected": 0, "scored": 0, "failed": 0
        },
        "submissions": [], "peers": [], "receipts": [], "counters": {}
    }))
    .unwrap()
}

/// A CPU slot that does as it is told, and has nothing to probe.
fn ordered(device: DeviceId, order: DeviceOrder) -> Result<Box<DeviceRow>, OrderRefused> {
    let at = UnixMs(1);
    let order = match order {
        DeviceOrder::Cordon { reason } => Some(Order { is_drain: false, reason, at }),
        DeviceOrder::Drain { reason } => Some(Order { is_drain: true, reason, at }),
        DeviceOrder::Uncordon => None,
        DeviceOrder::Probe => return Err(OrderRefused::NothingToProbe),
    };
    Ok(Box::new(DeviceRow {
        device,
        standing: Standing::Healthy,
        cause: None,
        since: at,
        order,
        failures: Vec::new(),
        blamed: Vec::new(),
        baseline: None,
        idle_memory_mib: None,
        seen: None,
        gone_since: None,
    }))
}

/// One submission is held; the others are not.
fn resolved(id: SubmissionId, resolution: &Resolution) -> Result<Box<Submission>, NotResolved> {
    if id != SubmissionId([0x7e; 32]) {
        return Err(NotResolved::NotHeld);
    }
    let mut submission = Submission::committed(
        Hotkey([1; 32]),
        BlockNumber(7),
        ContentDigest([2; 32]),
        node_core::commitment::Location::Peers,
        node_core::id::BlockHash([3; 32]),
    );
    submission.state = match resolution {
        Resolution::Admit => SubmissionState::Admitted,
        Resolution::Reject { reason } => SubmissionState::Rejected {
            rejection: Rejection::new(Rule::DuplicateStructure, reason.clone()),
        },
    };
    Ok(Box::new(submission))
}

/// One assignment is exhausted; the others are what their first byte says.
async fn answer_operator(mut asked: mpsc::Receiver<OperatorCall>) {
    while let Some(OperatorCall { request, answer }) = asked.recv().await {
        let assignment = match request {
            OperatorRequest::Reopen { assignment } => assignment,
            OperatorRequest::Order { device, order } => {
                answer.send(OperatorAnswer::Ordered(ordered(device, order))).unwrap();
                continue;
            }
            OperatorRequest::Resolve { submission, resolution } => {
                let resolved = OperatorAnswer::Resolved(resolved(submission, &resolution));
                answer.send(resolved).unwrap();
                continue;
            }
        };
        let said = match assignment.0[0] {
            1 => Ok(Reopening {
                assignment,
                submission: SubmissionId([2; 32]),
                replica: 0,
                is_on_duty: true,
                before: Reopened {
                    block: BlockNumber(5),
                    attempt: Attempt(4),
                    spent: Spent { faults: 4, ..Spent::default() },
                    last: "no disk".to_owned(),
                },
            }),
            2 => Err(NotReopened::NotExhausted),
            3 => Err(NotReopened::Settled),
            4 => Err(NotReopened::NotReady),
            _ => Err(NotReopened::Unknown),
        };
        answer.send(OperatorAnswer::Reopened(said)).unwrap();
    }
}

/// The parts of a running node that this crate's face needs, and nothing else.
struct Node {
    reports: watch::Sender<Arc<PublishedReport>>,
    address: SocketAddr,
    stop: CancellationToken,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Node {
    async fn start(operator: &Operator, report: StatusReport) -> Self {
        Self::keeping(operator, report, None).await
    }

    async fn keeping(operator: &Operator, report: StatusReport, store: Option<Arc<Store>>) -> Self {
        let data_dir = DataDir::at(operator.path("data"));
        std::fs::create_dir_all(data_dir.path()).unwrap();
        let (reports, receiver) = watch::channel(Arc::new(report.into()));
        let any = "127.0.0.1:0".parse().unwrap();
        let admin = Admin::bind(any, data_dir.admin_address_file()).await.unwrap();
        let admin = match store {
            Some(store) => admin.keeping(store, data_dir.path().to_owned(), Policy::dev()),
            None => admin,
        };
        let address = admin.address();
        let stop = CancellationToken::new();
        let metrics = Arc::new(Metrics::new());
        let (operator, asked) = mpsc::channel(1);
        let serving = admin.serve(receiver.clone(), metrics, operator, stop.clone());
        let tasks = vec![
            tokio::spawn(async move { serving.await.unwrap() }),
            tokio::spawn(answer_operator(asked)),
            tokio::spawn(keep_snapshot(receiver, data_dir.status_file())),
        ];
        Self { reports, address, stop, tasks }
    }

    async fn stop(self) {
        self.stop.cancel();
        drop(self.reports);
        for task in self.tasks {
            task.await.unwrap();
        }
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let url = format!("http://{}{path}", self.address);
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let response = client.get(url).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }
}

async fn status(operator: &Operator, arguments: &[&str]) -> support::Said {
    ask(operator, &[&["status", "--data-dir", "data"], arguments].concat()).await
}

async fn ask(operator: &Operator, arguments: &[&str]) -> support::Said {
    let mut command = operator.command(arguments);
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    support::Said {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A store in which one submission was put away, and which.
fn put_away(dir: &Path) -> (Arc<Store>, SubmissionId) {
    let (store, _) = Store::open(dir).unwrap();
    let mut submission = Submission::committed(
        Hotkey([1; 32]),
        BlockNumber(7),
        ContentDigest([2; 32]),
        node_core::commitment::Location::Peers,
        node_core::id::BlockHash([3; 32]),
    );
    submission.state = SubmissionState::Scored { points: 412_233_901 };
    let (id, at) = (submission.id, BlockNumber(7_200));
    let rows = vec![Row::Submission(submission)];
    let frozen = Frozen { submission: id, at, part: 0, rows };
    store.commit(&[Write::Freeze(Box::new(frozen))]).unwrap();
    (Arc::new(store), id)
}

async fn explain(operator: &Operator, id: &str) -> support::Said {
    ask(operator, &["explain", "--data-dir", "data", id]).await
}

#[tokio::test]
async fn livez_answers_before_readyz_does() {
    let operator = Operator::new();
    let node = Node::start(&operator, report(false)).await;
    assert_eq!(node.get("/livez").await, (200, "live\n".to_owned()));
    let (code, body) = node.get("/readyz").await;
    assert_eq!(code, 503);
    assert_eq!(body, r#"{"ready":false,"reasons":["no finalized block seen yet"]}"#);
    node.reports.send_replace(Arc::new(report(true).into()));
    let (code, body) = node.get("/readyz").await;
    assert_eq!((code, body.as_str()), (200, r#"{"ready":true,"reasons":[]}"#));
    assert_eq!(node.get("/nothing").await.0, 404);
    node.stop().await;
}

#[tokio::test]
async fn a_report_that_nobody_renews_is_not_ready() {
    let operator = Operator::new();
    let mut stale = report(true);
    stale.as_of = UnixMs(stale.as_of.0 - 120_000);
    let node = Node::start(&operator, stale).await;
    assert_eq!(node.get("/readyz").await.0, 503);
    assert_eq!(status(&operator, &[]).await.code, 1);
    node.stop().await;
}

#[tokio::test]
async fn alarms_stand_above_the_node_and_checks_in_order_are_not_shown() {
    let operator = Operator::new();
    let mut alarmed = report(false);
    let check = |id: &str, level: &str| CheckStatus {
        id: id.to_owned(),
        level: level.to_owned(),
        text: format!("{id} is in this state"),
    };
    alarmed.checks = vec![check("stake", "alarm"), check("beacon", "warn"), check("prune", "ok")];
    let node = Node::start(&operator, alarmed).await;
    let said = status(&operator, &[]).await.stdout;
    let at = |part: &str| said.find(part).unwrap_or(usize::MAX);
    assert!(said.starts_with("DEGRADED    no finalized block seen yet "), "{said}");
    assert!(at("\n            stake: stake is in this state\n") < at("node "), "{said}");
    assert!(at("needs you   what stands at the top") < at("warning     beacon:"), "{said}");
    assert!(!said.contains("prune"), "{said}");
    let (_, metrics) = node.get("/metrics").await;
    assert!(metrics.contains("assay_checks{level=\"alarm\"} 1\n"), "{metrics}");
    node.stop().await;
}

#[tokio::test]
async fn metrics_are_openmetrics_text() {
    let operator = Operator::new();
    let node = Node::start(&operator, report(true)).await;
    let (code, body) = node.get("/metrics").await;
    assert_eq!(code, 200);
    assert!(body.contains("\nassay_node_ready 1\n"), "{body}");
    assert!(body.ends_with("# EOF\n"), "{body}");
    node.stop().await;
}

#[tokio::test]
async fn nothing_is_told_to_a_browser_that_came_under_a_foreign_name() {
    let operator = Operator::new();
    let node = Node::start(&operator, report(true)).await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    for (path, name, code) in [
        ("/status", "evil.example", 421),
        ("/metrics", "evil.example", 421),
        ("/", "evil.example", 421),
        ("/status", "localhost", 200),
    ] {
        let url = format!("http://{}{path}", node.address);
        let answer = client.get(url).header("host", name).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), code, "{path} as {name}");
    }
    node.stop().await;
}

#[tokio::test]
async fn status_says_by_its_exit_code_how_the_node_is() {
    let operator = Operator::new();
    let never = status(&operator, &[]).await;
    assert_eq!(never.code, 3);
    assert!(never.stderr.contains("none has run"), "{}", never.stderr);

    let node = Node::start(&operator, report(true)).await;
    let ready = status(&operator, &[]).await;
    assert_eq!(ready.code, 0, "{}", ready.stderr);
    assert!(ready.stdout.starts_with("HEALTHY "), "{}", ready.stdout);

    node.reports.send_replace(Arc::new(report(false).into()));
    let not_ready = status(&operator, &["--json"]).await;
    assert_eq!(not_ready.code, 1);
    let answer: serde_json::Value = serde_json::from_str(&not_ready.stdout).unwrap();
    assert_eq!(
        (&answer["health"], &answer["source"]),
        (&serde_json::json!("degraded"), &serde_json::json!("running"))
    );
    assert_eq!(answer["report"]["ready"]["reasons"][0], "no finalized block seen yet");

    let mut in_danger = report(true);
    let (id, level) = ("signer".to_owned(), "alarm".to_owned());
    in_danger.checks = vec![CheckStatus { id, level, text: "another signer was seen".to_owned() }];
    node.reports.send_replace(Arc::new(in_danger.into()));
    let in_danger = status(&operator, &[]).await;
    assert_eq!(in_danger.code, 2);
    let line = "UNSAFE      signer: another signer was seen ";
    assert!(in_danger.stdout.starts_with(line), "{}", in_danger.stdout);

    node.reports.send_replace(Arc::new(report(false).into()));
    while node.get("/readyz").await.0 != 503 {
        tokio::task::yield_now().await;
    }
    node.stop().await;
    let stopped = status(&operator, &[]).await;
    assert_eq!(stopped.code, 3);
    assert!(stopped.stdout.starts_with("NOT RUNNING  snapshot of "), "{}", stopped.stdout);
    assert!(stopped.stdout.contains("no finalized block seen yet"), "{}", stopped.stdout);
}

#[tokio::test]
async fn another_program_on_the_old_port_is_not_taken_for_the_node() {
    let operator = Operator::new();
    let node = Node::start(&operator, report(true)).await;
    // What a killed node leaves behind, while its port now belongs to somebody else.
    let file = operator.path("data/admin.addr");
    let killed = format!("{}\nsome-older-instance\n", node.address);
    std::fs::write(&file, killed).unwrap();
    node.reports.send_replace(Arc::new(report(true).into()));
    let snapshot = operator.path("data/status.json");
    while !snapshot.exists() {
        tokio::task::yield_now().await;
    }
    let said = status(&operator, &[]).await;
    assert_eq!(said.code, 3, "{}", said.stdout);
    assert!(said.stdout.starts_with("NOT RUNNING"), "{}", said.stdout);
    node.stop().await;
    assert!(file.exists(), "a file that is not ours stays");
}

#[tokio::test]
async fn watch_shows_the_status_again_and_again() {
    use std::io::{BufRead as _, BufReader};
    let operator = Operator::new();
    let node = Node::start(&operator, report(true)).await;
    let mut child = operator
        .command(&["status", "--data-dir", "data", "--watch"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let seen = tokio::task::spawn_blocking(move || {
        lines.map_while(Result::ok).filter(|line| line.contains("HEALTHY ")).take(2).count()
    });
    assert_eq!(seen.await.unwrap(), 2);
    // Its reader is gone: it ends by itself, at the next second.
    let code = tokio::task::spawn_blocking(move || child.wait()).await.unwrap().unwrap();
    assert_eq!(code.code(), Some(0));
    node.stop().await;
}

#[tokio::test]
async fn reopen_says_what_was_opened_and_refuses_with_the_reason_and_a_next_step() {
    let operator = Operator::new();
    let id = |first: u8| AssignmentId([first; 32]).to_string();
    let reopen = |first: u8| {
        let id = id(first);
        let operator = &operator;
        async move { ask(operator, &["leases", "reopen", "--data-dir", "data", &id]).await }
    };
    let nobody = reopen(1).await;
    assert_eq!(nobody.code, 3, "{nobody:?}");
    let node = Node::start(&operator, report(true)).await;
    let done = reopen(1).await;
    assert_eq!((done.code, done.stderr.as_str()), (0, ""));
    assert!(done.stdout.contains("4 attempts, 4 faults; the last: no disk"), "{}", done.stdout);
    let json = ["leases", "reopen", "--data-dir", "data", "--json", &id(1)];
    let done = ask(&operator, &json).await;
    let answer: serde_json::Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!((&answer["attempt"], &answer["last"]), (&4.into(), &"no disk".into()));
    for (first, code, says) in [
        (2, 1, "its attempts are not used up"),
        (3, 1, "needs no result any more"),
        (4, 3, "the node gives nothing out now"),
        (5, 1, "coordinates no such assignment"),
    ] {
        let refused = reopen(first).await;
        assert_eq!(refused.code, code, "{refused:?}");
        assert!(refused.stderr.contains(says), "{refused:?}");
        assert!(refused.stderr.contains("\n  hint: "), "{refused:?}");
    }
    let json = ["leases", "reopen", "--data-dir", "data", "--json", &id(2)];
    let refused: serde_json::Value =
        serde_json::from_str(&ask(&operator, &json).await.stdout).unwrap();
    assert_eq!(refused["refused"], "not_exhausted");
    let short = ask(&operator, &["leases", "reopen", "--data-dir", "data", "77"]).await;
    assert!(short.code == 1 && short.stderr.contains("begins with `77`"), "{short:?}");
    node.stop().await;
}

#[tokio::test]
async fn a_device_is_cordoned_drained_and_returned_by_the_beginning_of_its_name() {
    let operator = Operator::new();
    let mut report = report(true);
    report.devices = vec![serde_json::from_value(serde_json::json!({
        "id": "cpu-0", "label": "CPU slot 0", "kind": "cpu_slot", "memory_mib": 4096, "run": null
    }))
    .unwrap()];
    let node = Node::start(&operator, report).await;
    let device = |arguments: &'static [&'static str]| {
        let operator = &operator;
        async move {
            let all = [&["device"], arguments, &["--data-dir", "data"]].concat();
            ask(operator, &all).await
        }
    };
    let done = device(&["cordon", "cpu", "--reason", "disk swap"]).await;
    assert_eq!((done.code, done.stderr.as_str()), (0, ""));
    assert_eq!(done.stdout, "cordoned   cpu-0: disk swap\n");
    let done = device(&["drain", "cpu-0", "--reason", "noise", "--json"]).await;
    let row: serde_json::Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(
        (&row["order"]["is_drain"], &row["order"]["reason"]),
        (&true.into(), &"noise".into())
    );
    let done = device(&["uncordon", "cpu-0"]).await;
    assert_eq!(done.stdout, "returned   cpu-0 may be given runs\n");
    let refused = device(&["probe", "cpu-0"]).await;
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("nothing that could be probed"), "{refused:?}");
    let unknown = device(&["uncordon", "GPU-7"]).await;
    assert!(unknown.code == 1 && unknown.stderr.contains("begins with `GPU-7`"), "{unknown:?}");
    let silent = device(&["cordon", "cpu-0"]).await;
    assert!(silent.code == 64 && silent.stderr.contains("--reason"), "{silent:?}");
    let listed = ask(&operator, &["devices", "--data-dir", "data"]).await;
    assert!(listed.code == 0 && listed.stdout.contains("cpu-0"), "{listed:?}");
    node.stop().await;
    let nobody = device(&["uncordon", "cpu-0"]).await;
    assert_eq!(nobody.code, 3, "{nobody:?}");
}

#[tokio::test]
async fn nobody_reopens_who_cannot_read_the_address_file() {
    use std::os::unix::fs::PermissionsExt as _;
    let operator = Operator::new();
    let node = Node::start(&operator, report(true)).await;
    let file = std::fs::metadata(operator.path("data/admin.addr")).unwrap();
    assert_eq!(file.permissions().mode() & 0o777, 0o600);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let post = |token: Option<&str>| {
        let url = format!("http://{}/leases/reopen", node.address);
        let body = format!("{{\"assignment\":\"{}\"}}", AssignmentId([1; 32]));
        let request = client.post(url).header("content-type", "application/json").body(body);
        let request = token.map(|t| request.try_clone().unwrap().header("assay-operator", t));
        async move { request.unwrap().send().await.unwrap().status().as_u16() }
    };
    let url = format!("http://{}/leases/reopen", node.address);
    assert_eq!(client.post(url).send().await.unwrap().status().as_u16(), 403);
    assert_eq!(post(Some("")).await, 403);
    assert_eq!(post(Some(&"0".repeat(64))).await, 403);
    let text = std::fs::read_to_string(operator.path("data/admin.addr")).unwrap();
    assert_eq!(post(text.lines().nth(2)).await, 200);
    node.stop().await;
}

#[tokio::test]
async fn what_was_put_away_is_explained_by_its_whole_id_while_the_node_runs() {
    let operator = Operator::new();
    let (store, id) = put_away(&operator.path("data"));
    let node = Node::keeping(&operator, report(true), Some(store)).await;
    let told = explain(&operator, &id.to_string()).await;
    assert_eq!(told.code, 0, "{told:?}");
    for part in [
        "scored, 412 233 901 points",
        &id.to_string(),
        "nothing: it left the chain long ago",
        "at block 7 200",
    ] {
        assert!(told.stdout.contains(part), "{part}: {told:?}");
    }
    let short = explain(&operator, &id.short()).await;
    assert_eq!(short.code, 1, "{short:?}");
    assert!(short.stderr.contains("is found by its whole id"), "{short:?}");
    let other = explain(&operator, &SubmissionId([0xee; 32]).to_string()).await;
    assert_eq!(other.code, 1, "{other:?}");
    assert!(other.stderr.contains("put nothing of that away"), "{other:?}");
    node.stop().await;
    let stopped = explain(&operator, &id.to_string()).await;
    assert_eq!(stopped.code, 3, "{stopped:?}");
    assert!(stopped.stderr.contains("cause: no node is running"), "{stopped:?}");
}

#[tokio::test]
async fn what_was_put_away_and_cannot_be_read_is_said_so() {
    let operator = Operator::new();
    let (store, id) = put_away(&operator.path("data"));
    let node = Node::keeping(&operator, report(true), Some(store)).await;
    let mut segments = std::fs::read_dir(operator.path("data").join("freezer")).unwrap();
    let segment = segments.next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[40] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let told = explain(&operator, &id.to_string()).await;
    assert_eq!(told.code, 1, "{told:?}");
    assert!(told.stderr.contains("cannot read the freezer"), "{told:?}");
    assert!(told.stderr.contains("hint: `assay verify`"), "{told:?}");
    node.stop().await;
}
