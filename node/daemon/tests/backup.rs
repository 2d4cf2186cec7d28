//! `assay backup`, `verify` and `restore`: what a node knows, from a running one or its directory,
//! into a file and back.

#![allow(clippy::unwrap_used, reason = "a broken fact should stop the test at once")]

mod support;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use node_core::id::{BlockHash, Hotkey, Netuid};
use node_core::policy::Policy;
use node_core::rows::{CursorRow, JournalStep, Row, Write};
use node_core::unit::{BlockNumber, EpochIndex};
use node_daemon::admin::Admin;
use node_daemon::config::DataDir;
use node_daemon::metrics::Metrics;
use node_daemon::status::{unix_now, PublishedReport, Readiness, StatusReport};
use node_store::{History, Owner, Store};
use rustix::process::{kill_process, Pid, Signal};
use support::{Operator, Said};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

const OWNER: Owner =
    Owner { genesis: BlockHash([1; 32]), netuid: Netuid(3), hotkey: Hotkey([2; 32]) };
const ROWS: u16 = 600;

fn cursor(number: u16, after: u64) -> Row {
    let mut peer = [9; 32];
    peer[..2].copy_from_slice(&number.to_be_bytes());
    Row::Cursor(CursorRow { peer: Hotkey(peer), after })
}

/// A store of `OWNER` with rows in several pieces, and a vector that landed in block 100.
fn store(dir: &Path) -> Store {
    let (store, _) = Store::open(dir).unwrap();
    let rows = (0..ROWS).map(|number| Write::Put(cursor(number, 1)));
    let landed = JournalStep::Landed { block: BlockNumber(100), hash: None };
    let line = Write::Journal(History::new(OWNER).entry(0, EpochIndex(7), landed));
    store.commit(&rows.chain([line]).collect::<Vec<_>>()).unwrap();
    let Owner { genesis, netuid, hotkey } = OWNER;
    let identity =
        format!("{{\"hotkey\":\"{hotkey}\",\"netuid\":{},\"genesis\":\"{genesis}\"}}", netuid.0);
    std::fs::write(dir.join("identity.json"), identity).unwrap();
    store
}

fn report() -> StatusReport {
    let now = unix_now();
    serde_json::from_value(serde_json::json!({
        "schema": 1,
        "as_of": now,
        "node": {
            "hotkey": OWNER.hotkey, "netuid": 3, "uid": 4, "version": "0.1.0",
            "started_at": now, "is_stopping": false
        },
        "ready": Readiness { ready: true, reasons: Vec::new() },
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

/// The listener of a running node, with its store; nothing else of a node.
struct Node {
    address: std::net::SocketAddr,
    stop: CancellationToken,
    serving: tokio::task::JoinHandle<()>,
    _reports: watch::Sender<Arc<PublishedReport>>,
}

impl Node {
    async fn start(operator: &Operator, store: Option<Arc<Store>>) -> Self {
        let data_dir = DataDir::at(operator.path("data"));
        let any = "127.0.0.1:0".parse().unwrap();
        let admin = Admin::bind(any, data_dir.admin_address_file()).await.unwrap();
        let admin = match store {
            Some(store) => admin.keeping(store, data_dir.path().to_owned(), Policy::dev()),
            None => admin,
        };
        let (reports, watched) = watch::channel(Arc::new(report().into()));
        let (operators, _) = mpsc::channel(1);
        let stop = CancellationToken::new();
        let address = admin.address();
        let serving = admin.serve(watched, Arc::new(Metrics::new()), operators, stop.clone());
        let serving = tokio::spawn(async move { serving.await.unwrap() });
        Self { address, stop, serving, _reports: reports }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.serving.await.unwrap();
    }
}

async fn run(operator: &Operator, arguments: &[&str]) -> Said {
    let mut command = operator.command(&[arguments, &["--data-dir", "data"]].concat());
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    Said {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// What answers as a node does, begins a copy, and never ends it.
struct Stalling {
    serving: tokio::task::JoinHandle<()>,
}

impl Stalling {
    async fn start(operator: &Operator) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let data_dir = DataDir::at(operator.path("data"));
        std::fs::create_dir_all(data_dir.path()).unwrap();
        let address = listener.local_addr().unwrap();
        let file = format!("{address}\n1-2\ntoken\n");
        std::fs::write(data_dir.admin_address_file(), file).unwrap();
        let serving = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(Self::answer(stream));
            }
        });
        Self { serving }
    }

    async fn answer(mut stream: tokio::net::TcpStream) {
        let mut asked = Vec::new();
        while !asked.windows(4).any(|end| end == b"\r\n\r\n") {
            if stream.read_buf(&mut asked).await.unwrap() == 0 {
                return;
            }
        }
        let head = "HTTP/1.1 200 OK\r\nassay-instance: 1-2\r\n";
        if asked.starts_with(b"GET /status") {
            let body = serde_json::to_string(&report()).unwrap();
            let length = body.len();
            let answer =
                format!("{head}connection: close\r\ncontent-length: {length}\r\n\r\n{body}");
            stream.write_all(answer.as_bytes()).await.unwrap();
            return;
        }
        assert!(asked.starts_with(b"POST /store/backup"), "{}", String::from_utf8_lossy(&asked));
        // More than is kept back before it is written.
        let part = "x".repeat(1 << 16);
        let begun = format!("{head}transfer-encoding: chunked\r\n\r\n10000\r\n{part}\r\n");
        stream.write_all(begun.as_bytes()).await.unwrap();
        // The end does not come; the other side hangs up.
        drop(stream.read_buf(&mut asked).await);
    }
}

fn names(dir: &Path) -> Vec<String> {
    let names = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort_unstable();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_interrupted_says_so_and_leaves_nothing() {
    let operator = Operator::new();
    let node = Stalling::start(&operator).await;
    // Of a process that is not there any more.
    std::fs::write(operator.path("copy.jsonl.partial-4194999"), "part").unwrap();
    std::fs::write(operator.path("copy.jsonl"), "the copy of yesterday").unwrap();
    for signal in [Signal::INT, Signal::TERM] {
        let arguments = ["backup", "copy.jsonl", "--force", "--data-dir", "data"];
        let mut command = operator.command(&arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        let partial = operator.path(&format!("copy.jsonl.partial-{}", child.id()));
        let deadline = Instant::now() + Duration::from_secs(60);
        while !partial.metadata().is_ok_and(|part| part.len() > 0) {
            assert!(Instant::now() < deadline, "nothing is copied: {:?}", names(operator.dir()));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
        let ended = tokio::task::spawn_blocking(move || child.wait_with_output());
        let output = ended.await.unwrap().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(130), "{said}");
        assert!(said.contains("interrupted while the store was copied"), "{said}");
        assert!(output.stdout.is_empty(), "{output:?}", output = output.stdout);
        let is_first = signal == Signal::INT;
        assert_eq!(said.contains("removed `copy.jsonl.partial-4194999`"), is_first, "{said}");
        assert_eq!(names(operator.dir()), ["copy.jsonl", "data"]);
    }
    let kept = std::fs::read_to_string(operator.path("copy.jsonl")).unwrap();
    assert_eq!(kept, "the copy of yesterday");
    node.serving.abort();
}

/// The lines of a copy but for the first and the last: those say when it was made.
fn content(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap();
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines[1..lines.len() - 1].to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_node_is_copied_and_verified_and_a_stopped_one_the_same_way() {
    let operator = Operator::new();
    let store = Arc::new(store(&operator.path("data")));
    let node = Node::start(&operator, Some(Arc::clone(&store))).await;
    let made = run(&operator, &["backup", "copy.jsonl"]).await;
    assert_eq!(made.code, 0, "{}", made.stderr);
    for part in ["from        the running node\n", "rows        600\n", "journal     1 lines\n"] {
        assert!(made.stdout.contains(part), "{}", made.stdout);
    }
    assert!(made.stdout.contains("no key"), "{}", made.stdout);
    let copy = operator.path("copy.jsonl");
    assert_eq!(std::fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    let verified = run(&operator, &["verify"]).await;
    assert_eq!(verified.code, 0, "{}", verified.stderr);
    assert!(verified.stdout.starts_with("SOUND       the running node\n"), "{}", verified.stdout);
    // Whoever cannot read the token in the data directory is told nothing.
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    for path in ["backup", "verify"] {
        let url = format!("http://{}/store/{path}", node.address);
        let status = client.post(url).send().await.unwrap().status();
        assert!(status.is_client_error(), "{path}: {status}");
    }
    node.stop().await;
    drop(store);

    let refused = run(&operator, &["backup", "copy.jsonl"]).await;
    assert_eq!(refused.code, 64, "{}", refused.stderr);
    assert!(refused.stderr.contains("--force"), "{}", refused.stderr);
    let again = run(&operator, &["backup", "again.jsonl"]).await;
    assert_eq!(again.code, 0, "{}", again.stderr);
    assert!(again.stdout.contains("from        the data directory of a stopped node\n"));
    assert_eq!(content(&copy), content(&operator.path("again.jsonl")));
    let forced = run(&operator, &["backup", "copy.jsonl", "--force"]).await;
    assert_eq!(forced.code, 0, "{}", forced.stderr);
    let verified = run(&operator, &["verify", "--json"]).await;
    let answer: serde_json::Value = serde_json::from_str(&verified.stdout).unwrap();
    assert_eq!((&answer["source"], &answer["sound"]), (&"stopped".into(), &true.into()));
    assert_eq!((&answer["rows"]["cursors"], &answer["journal"]), (&600.into(), &1.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_copy_can_be_made_it_is_said_why_and_nothing_is_left() {
    let operator = Operator::new();
    let nothing = run(&operator, &["backup", "copy.jsonl"]).await;
    assert_eq!(nothing.code, 69, "{}", nothing.stderr);
    assert!(nothing.stderr.contains("there is no store in"), "{}", nothing.stderr);
    assert!(!operator.path("data").exists(), "a directory was made");
    // A node that has the directory and does not answer.
    let store = Arc::new(store(&operator.path("data")));
    let silent = run(&operator, &["backup", "copy.jsonl"]).await;
    assert_eq!(silent.code, 69, "{}", silent.stderr);
    assert!(silent.stderr.contains("in use by another process"), "{}", silent.stderr);
    // One that has begun to start.
    let node = Node::start(&operator, None).await;
    let starting = run(&operator, &["backup", "copy.jsonl"]).await;
    assert_eq!(starting.code, 3, "{}", starting.stderr);
    assert!(starting.stderr.contains("the node is starting"), "{}", starting.stderr);
    node.stop().await;
    // One that cannot finish it: another copy is under way for as long as this test wants.
    let node = Node::start(&operator, Some(Arc::clone(&store))).await;
    let held = Holding::begin(&store);
    let busy = run(&operator, &["backup", "copy.jsonl"]).await;
    assert_eq!(busy.code, 1, "{}", busy.stderr);
    assert!(busy.stderr.contains("another copy of the store is being made"), "{}", busy.stderr);
    held.end();
    let made = run(&operator, &["backup", "copy.jsonl"]).await;
    assert_eq!(made.code, 0, "{}", made.stderr);
    node.stop().await;
    let left: Vec<_> = std::fs::read_dir(operator.dir()).unwrap().collect();
    assert_eq!(left.len(), 2, "a part of a file was left: {left:?}");
}

/// A copy that goes on until it is told to end.
struct Holding {
    release: std::sync::mpsc::Sender<()>,
    copying: std::thread::JoinHandle<()>,
}

/// Takes the first line, and the others when it is released.
struct Slow {
    begun: Option<std::sync::mpsc::Sender<()>>,
    released: std::sync::mpsc::Receiver<()>,
}

impl std::io::Write for Slow {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if let Some(begun) = self.begun.take() {
            begun.send(()).unwrap();
            self.released.recv().unwrap();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Holding {
    fn begin(store: &Arc<Store>) -> Self {
        let (begun, has_begun) = std::sync::mpsc::channel();
        let (release, released) = std::sync::mpsc::channel();
        let store = Arc::clone(store);
        let copying = std::thread::spawn(move || {
            let head = node_store::BackupHead { owner: OWNER, made_at: unix_now() };
            store.export(&head, &mut Slow { begun: Some(begun), released }).unwrap();
        });
        has_begun.recv().unwrap();
        Self { release, copying }
    }

    fn end(self) {
        self.release.send(()).unwrap();
        self.copying.join().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_put_back_whole_into_an_empty_directory_and_waits_there() {
    let operator = Operator::new();
    drop(store(&operator.path("data")));
    assert_eq!(run(&operator, &["backup", "copy.jsonl"]).await.code, 0);
    let into = |dir: &'static str| ["restore", "copy.jsonl", "--data-dir", dir];
    let refused = operator.run(&into("data"));
    assert_eq!(refused.code, 64, "{}", refused.stderr);
    assert!(refused.stderr.contains("it has `signed.journal`"), "{}", refused.stderr);
    let restored = operator.run(&into("new"));
    assert_eq!(restored.code, 0, "{}", restored.stderr);
    assert!(restored.stdout.starts_with("restored    $DIR/new\n"), "{}", restored.stdout);
    assert!(restored.stdout.contains("rows        600\n"), "{}", restored.stdout);
    assert!(restored.stdout.contains("stop the node that this is a copy of, for good"));
    assert_eq!(operator.run(&into("new")).code, 64, "now somebody lives there");
    {
        let (_, loaded) = Store::open(&operator.path("new")).unwrap();
        assert_eq!(loaded.rows.len(), usize::from(ROWS));
        assert!(loaded.lacks_rows);
        let last = &loaded.journal.last().unwrap().step;
        assert_eq!(*last, JournalStep::Restored { since: None, spent: None });
    }
    // It is whose it was, and its journal says what it said.
    let history = operator.run(&["weights", "history", "--data-dir", "new", "--json"]);
    let answer: serde_json::Value = serde_json::from_str(&history.stdout).unwrap();
    assert_eq!(answer["hotkey"], OWNER.hotkey.to_string());
    assert_eq!(answer["epochs"][0]["landed_at"], 100);
    let exported = operator.run(&["weights", "export", "history.json", "--data-dir", "new"]);
    assert!(exported.stderr.contains("put back from a copy"), "{}", exported.stderr);
    let verified = operator.run(&["verify", "--data-dir", "new"]);
    assert_eq!(verified.code, 0, "{}", verified.stderr);
    assert!(verified.stdout.contains("missing "), "{}", verified.stdout);
}

#[test]
fn a_file_that_is_no_whole_copy_is_refused_by_verify_and_by_restore() {
    let operator = Operator::new();
    drop(store(&operator.path("data")));
    let made = operator.run(&["backup", "copy.jsonl", "--data-dir", "data"]);
    assert_eq!(made.code, 0, "{}", made.stderr);
    let sound = operator.run(&["verify", "copy.jsonl", "--json"]);
    assert_eq!(sound.code, 0, "{}", sound.stderr);
    let answer: serde_json::Value = serde_json::from_str(&sound.stdout).unwrap();
    assert_eq!((&answer["source"], &answer["sound"]), (&"file".into(), &true.into()));
    assert_eq!((&answer["rows"]["cursors"], &answer["netuid"]), (&600.into(), &3.into()));

    let bytes = std::fs::read(operator.path("copy.jsonl")).unwrap();
    std::fs::write(operator.path("copy.jsonl"), &bytes[..bytes.len() - 40]).unwrap();
    let cut = operator.run(&["verify", "copy.jsonl", "--json"]);
    assert_eq!(cut.code, 1, "{}", cut.stderr);
    let answer: serde_json::Value = serde_json::from_str(&cut.stdout).unwrap();
    assert_eq!(answer["sound"], false);
    assert!(answer["problem"].is_string(), "{answer}");
    let refused = operator.run(&["restore", "copy.jsonl", "--data-dir", "new"]);
    assert_eq!(refused.code, 64, "{}", refused.stderr);
    assert!(refused.stderr.contains("nothing was changed"), "{}", refused.stderr);
    assert!(!operator.path("new/state").exists() && !operator.path("new/restoring").exists());
    let gone = operator.run(&["verify", "gone.jsonl"]);
    assert_eq!(gone.code, 69, "{}", gone.stderr);
}
