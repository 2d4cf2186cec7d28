//! The binary: what it prints, how it stops, what a kill leaves behind.

use jsonrpsee::{core::client::ClientT, rpc_params, ws_client::WsClientBuilder};
use serde_json::Value;
use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::mpsc,
    time::Duration,
};

const PATIENCE: Duration = Duration::from_secs(60);

/// A running `localnet`; killed when dropped.
pub(crate) struct Process {
    child: Option<Child>,
    pub(crate) url: String,
}

impl Process {
    /// Starts it on a free port and waits for its first line.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_localnet"))
            .args(["--listen", "127.0.0.1:0"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                // Read to the end, whoever still listens: a pipe closed early ends the process.
                let _unheard = sender.send(line);
            }
        });
        let line = lines.recv_timeout(PATIENCE).expect("no first line");
        let url = line.strip_prefix("listening on ").expect("an unknown first line").to_owned();
        Self { child: Some(child), url }
    }

    fn signal(&self, name: &str) {
        signal(self.child.as_ref().unwrap().id(), name);
    }

    /// Waits for it to end, and ends it if it does not.
    fn exit_code(mut self) -> Option<i32> {
        let mut child = self.child.take().unwrap();
        let pid = child.id();
        let (sender, ended) = mpsc::channel();
        let waiting = std::thread::spawn(move || sender.send(child.wait()));
        let status = ended.recv_timeout(PATIENCE);
        if status.is_err() {
            signal(pid, "-KILL");
        }
        waiting.join().unwrap().unwrap();
        status.expect("it does not stop").unwrap().code()
    }

    async fn request(&self, method: &str) -> Value {
        let client = WsClientBuilder::default().build(&self.url).await.unwrap();
        client.request(method, rpc_params![]).await.unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let Some(child) = &mut self.child else { return };
        // It may be gone already.
        let _gone = child.kill();
        let _reaped = child.wait();
    }
}

fn signal(pid: u32, name: &str) {
    assert!(Command::new("kill").args([name, &pid.to_string()]).status().unwrap().success());
}

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_localnet")).args(arguments).output().unwrap()
}

fn path(dir: &Path, name: &str) -> String {
    dir.join(name).to_str().unwrap().to_owned()
}

#[test]
fn it_says_where_it_listens_and_stops_cleanly_on_either_signal() {
    for signal in ["-INT", "-TERM"] {
        let dir = tempfile::tempdir().unwrap();
        let ready = path(dir.path(), "ready");
        let process = Process::start(&["--ready-file", &ready, "--block-time", "manual"]);
        assert_eq!(fs::read_to_string(&ready).unwrap().trim(), process.url);
        assert!(process.url.starts_with("ws://127.0.0.1:"), "{}", process.url);
        process.signal(signal);
        assert_eq!(process.exit_code(), Some(0), "{signal}");
    }
}

#[test]
fn it_stops_by_itself_after_the_last_block_asked_for() {
    let process = Process::start(&["--block-time", "20ms", "--max-blocks", "5"]);
    assert_eq!(process.exit_code(), Some(0));
}

#[tokio::test]
async fn a_killed_chain_goes_on_from_its_last_visible_block() {
    let dir = tempfile::tempdir().unwrap();
    let state = path(dir.path(), "state");
    let arguments = ["--block-time", "manual", "--state-dir", &state];
    let mut number = 0;
    for round in 1..=3 {
        let process = Process::start(&arguments);
        assert_eq!(process.request("dev_status").await["best"], number);
        for _ in 0..round {
            process.request("dev_seal").await;
        }
        number += round;
        let best = process.request("chain_getHead").await;
        process.signal("-KILL");
        drop(process);
        let again = Process::start(&arguments);
        assert_eq!(again.request("chain_getHead").await, best);
    }
}

#[test]
fn wallets_and_keys_agree() {
    let dir = tempfile::tempdir().unwrap();
    let wallets = path(dir.path(), "wallets");
    let neurons = ["--validators", "2", "--miners", "3"];
    let arguments = [&neurons[..], &["--wallets-dir", &wallets, "--block-time", "manual"]].concat();
    let _process = Process::start(&arguments);
    let listed = run(&[&["keys"][..], &neurons].concat());
    let listed = String::from_utf8(listed.stdout).unwrap();
    for name in ["validator0", "validator1", "miner0", "miner1", "miner2"] {
        let file = dir.path().join("wallets").join(name).join("hotkeys/default");
        let json: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
        let address = json["ss58Address"].as_str().unwrap();
        assert!(listed.contains(address), "{name}");
    }
    assert!(listed.contains("   4  //miner//2//hotkey"), "{listed}");
}

#[test]
fn the_metadata_is_written_in_the_version_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    for version in ["14", "15", "16"] {
        let file = path(dir.path(), version);
        assert!(run(&["metadata", "--version", version, &file]).status.success());
        let bytes = fs::read(&file).unwrap();
        assert_eq!(bytes[..4], *b"meta");
        assert_eq!(bytes[4].to_string(), version);
        subxt::metadata::Metadata::decode_from(&bytes).unwrap();
    }
    assert_eq!(run(&["metadata", "--version", "13", "x"]).status.code(), Some(2));
}

#[test]
fn mistakes_on_the_command_line_are_explained() {
    let dir = tempfile::tempdir().unwrap();
    let state = path(dir.path(), "state");
    let start = ["--listen", "127.0.0.1:0", "--max-blocks", "1", "--block-time", "20ms"];
    assert!(run(&[&start[..], &["--state-dir", &state]].concat()).status.success());
    let table: &[(&[&str], i32, &str)] = &[
        (&["--netuid", "0"], 64, "cannot be the number of a subnet"),
        (&["--miners", "300"], 64, "301 neurons do not fit into 256 uids"),
        (&["--netuid", "3,3"], 64, "subnet 3 is named twice"),
        (&["--state-dir", &state, "--tempo", "7"], 69, "tempo differs"),
        (&["--block-time", "soon"], 2, "write `manual`, or a number with `ms` or `s`"),
    ];
    for (arguments, code, text) in table {
        let output = run(&[&start[..4], arguments].concat());
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(*code), "{arguments:?}: {said}");
        assert!(said.contains(text), "{arguments:?}: {said}");
    }
}

#[test]
fn the_help_teaches() {
    let help = String::from_utf8(run(&["--help"]).stdout).unwrap();
    for text in ["//validator//i//hotkey", "dev_seal", "--state-dir", "Examples:", "[default: 20]"]
    {
        assert!(help.contains(text), "{text} is not in:\n{help}");
    }
}
