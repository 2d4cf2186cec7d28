//! `assay init`: what it writes is what the node reads, and nothing is written before everything is
//! answered.

#![allow(clippy::unwrap_used, reason = "a broken fact should stop the test at once")]

mod support;

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{Operator, Said};

/// Where the file goes if nobody says otherwise.
const FILE: &str = ".config/assay/assay.toml";

/// How long a terminal may take to show what is waited for.
const SHOWN_MAX: Duration = Duration::from_secs(30);

/// What the node reads, by key: value and origin.
fn holds(operator: &Operator, arguments: &[&str]) -> BTreeMap<String, (Option<String>, String)> {
    let said = operator.run(&[&["config", "show", "--json"], arguments].concat());
    assert_eq!(said.code, 0, "{}", said.stderr);
    let shown: Vec<Value> = serde_json::from_str(&said.stdout).unwrap();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let entry = |one: &Value| {
        (text(&one["key"]).unwrap(), (text(&one["value"]), text(&one["origin"]).unwrap()))
    };
    shown.iter().map(entry).collect()
}

fn values(held: &BTreeMap<String, (Option<String>, String)>) -> BTreeMap<String, Option<String>> {
    held.iter().map(|(key, (value, _))| (key.clone(), value.clone())).collect()
}

fn init(operator: &Operator, arguments: &[&str]) -> Said {
    operator.run(&[&["init", "--no-doctor"], arguments].concat())
}

#[test]
fn help_teaches_with_examples() {
    let operator = Operator::new().with_variable("COLUMNS", "100");
    let said = operator.run(&["init", "--help"]);
    assert_eq!((said.code, said.stderr.as_str()), (0, ""));
    for text in ["Examples:", "Exit codes:", "--netuid", "--force", "no secret"] {
        assert!(said.stdout.contains(text), "{text}: {}", said.stdout);
    }
}

#[test]
fn a_file_of_nothing_but_defaults_is_read_as_the_defaults() {
    let operator = Operator::new();
    let said = init(&operator, &["--yes", "--netuid", "3"]);
    assert_eq!((said.code, said.stderr.as_str()), (0, ""), "{said:?}");
    assert!(said.stdout.starts_with(&format!("written     $DIR/{FILE}\n")), "{}", said.stdout);
    assert!(said.stdout.contains("next        assay doctor\n"), "{}", said.stdout);
    let mode = operator.path(FILE).metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let written = holds(&operator, &[]);
    assert!(written["chain.netuid"].1.starts_with(&format!("file $DIR/{FILE}:")), "{written:?}");
    assert_eq!(values(&written), values(&holds(&Operator::new(), &["--netuid", "3"])));
}

#[test]
fn every_answer_is_found_again_by_the_node_in_the_file() {
    let operator = Operator::new();
    let answers = [
        ("--subtensor.network", "local", "chain.network", "\"local\""),
        (
            "--subtensor.chain_endpoint",
            "ws://127.0.0.1:9",
            "chain.endpoints",
            "[\"ws://127.0.0.1:9\"]",
        ),
        ("--netuid", "7", "chain.netuid", "7"),
        ("--wallet.path", "/srv/wallets", "wallet.path", "\"/srv/wallets\""),
        ("--wallet.name", "validator", "wallet.name", "\"validator\""),
        ("--wallet.hotkey", "hot", "wallet.hotkey", "\"hot\""),
        ("--data-dir", "/srv/assay", "data_dir", "\"/srv/assay\""),
        ("--policy", "standard", "challenge.nas.policy", "\"standard\""),
        ("--dataset", "/srv/set", "challenge.nas.dataset", "\"/srv/set\""),
        ("--gpus", "off", "devices.gpus", "\"off\""),
        ("--cpu-slots", "4", "devices.cpu_slots", "4"),
    ];
    let mut arguments: Vec<&str> =
        answers.iter().flat_map(|(flag, text, ..)| [*flag, *text]).collect();
    arguments.extend(["--set", "stop.grace=10m", "--config", "a.toml"]);
    let said = init(&operator, &arguments);
    assert_eq!((said.code, said.stderr.as_str()), (0, ""), "{said:?}");
    let held = holds(&operator, &["--config", "a.toml"]);
    let more = [("", "", "stop.grace", "\"10m\"")];
    for (_, _, key, value) in answers.into_iter().chain(more) {
        let (found, origin) = &held[key];
        assert_eq!(found.as_deref(), Some(value), "{key}");
        assert!(origin.starts_with("file $DIR/a.toml:"), "{key}: {origin}");
    }
    assert!(said.stdout.contains("next        assay doctor --config $DIR/a.toml\n"), "{said:?}");
}

#[test]
fn a_file_that_is_there_is_replaced_only_by_force() {
    let operator = Operator::new().with_file("assay.toml", "mine");
    let arguments = ["--yes", "--netuid", "3", "--config", "assay.toml"];
    let said = init(&operator, &arguments);
    assert_eq!(said.code, 64, "{said:?}");
    assert!(said.stderr.contains("is there, and nothing is overwritten"), "{said:?}");
    assert!(said.stderr.contains("hint: `--force`"), "{said:?}");
    assert_eq!(std::fs::read_to_string(operator.path("assay.toml")).unwrap(), "mine");
    let said = init(&operator, &[&arguments[..], &["--force"]].concat());
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.stdout.contains("next        assay doctor\n"), "found by itself: {said:?}");
    assert_eq!(std::fs::read_dir(operator.dir()).unwrap().count(), 1, "nothing else is made");
}

#[test]
fn without_a_terminal_what_is_missing_is_named_by_its_flag_and_nothing_is_written() {
    for (arguments, named) in [
        (&[][..], &["`--netuid`", "`--wallet.name`", "`--cpu-slots`", "are not given"][..]),
        (&["--yes"], &["`--netuid` is not given"]),
        (&["--netuid", "3"], &["`--subtensor.network`", "hint: "]),
    ] {
        let operator = Operator::new();
        let said = init(&operator, arguments);
        assert_eq!(said.code, 64, "{said:?}");
        for text in named {
            assert!(said.stderr.contains(text), "{text}: {said:?}");
        }
        assert_eq!(std::fs::read_dir(operator.dir()).unwrap().count(), 0);
    }
}

#[test]
fn all_wrong_answers_are_told_at_once_and_nothing_is_written() {
    let operator = Operator::new();
    let wrong = ["--yes", "--netuid", "-1", "--policy", "prod", "--set", "stop.grase=1m"];
    let said = init(&operator, &wrong);
    assert_eq!(said.code, 64, "{said:?}");
    for text in ["3 errors", "(flag --netuid)", "(flag --policy)", "did you mean `stop.grace`?"] {
        assert!(said.stderr.contains(text), "{text}: {said:?}");
    }
    assert_eq!(std::fs::read_dir(operator.dir()).unwrap().count(), 0);
}

#[test]
fn a_variable_is_an_answer_and_its_value_is_written() {
    let operator = Operator::new().with_variable("BT_NETUID", "7");
    assert_eq!(init(&operator, &["--yes", "--config", "a.toml"]).code, 0);
    let text = std::fs::read_to_string(operator.path("a.toml")).unwrap();
    assert!(text.lines().any(|line| line == "chain.netuid = 7"), "{text}");
}

#[test]
fn no_secret_is_written_wherever_it_comes_from() {
    let keyed = "wss://me:hunter2@node.example/v1/0123abc";
    let operator = Operator::new();
    let typed = ["--yes", "--netuid", "3", "--subtensor.chain_endpoint", keyed];
    let said = init(&operator, &typed);
    assert_eq!(said.code, 64, "{said:?}");
    assert!(said.stderr.contains("`chain.endpoints` would be written"), "{said:?}");
    assert!(said.stderr.contains("ASSAY_CHAIN__ENDPOINTS"), "{said:?}");
    assert_eq!(std::fs::read_dir(operator.dir()).unwrap().count(), 0);
    let operator = Operator::new()
        .with_variable("ASSAY_CHAIN__ENDPOINTS", keyed)
        .with_variable("BT_WALLET_PASSWORD", "hunter2");
    let said = init(&operator, &["--yes", "--netuid", "3", "--json"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.stderr.contains("the variable ASSAY_CHAIN__ENDPOINTS"), "{said:?}");
    let text = std::fs::read_to_string(operator.path(FILE)).unwrap();
    for secret in ["hunter2", "0123abc"] {
        assert!(!text.contains(secret), "{text}");
        assert!(!said.stdout.contains(secret) && !said.stderr.contains(secret), "{said:?}");
    }
}

#[test]
fn the_doctor_runs_with_the_file_and_its_word_is_the_exit_code() {
    let operator = Operator::new();
    let arguments = [
        ["init", "--yes"],
        ["--netuid", "3"],
        ["--gpus", "off"],
        ["--subtensor.chain_endpoint", "ws://127.0.0.1:1"],
        ["--set", "engine.host=tcp://127.0.0.1:1"],
    ]
    .concat();
    let said = operator.run(&[&arguments[..], &["--json"]].concat());
    assert_eq!(said.code, 1, "{said:?}");
    let outcome: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(outcome["written"], format!("$DIR/{FILE}"));
    assert_eq!(outcome["next"], "assay doctor");
    assert_eq!(outcome["doctor"]["healthy"], false);
    let checks = outcome["doctor"]["checks"].as_array().unwrap();
    let level = |id: &str| checks.iter().find(|check| check["id"] == id).unwrap()["level"].clone();
    assert_eq!(
        (level("config"), level("key"), level("engine")),
        ("ok".into(), "fail".into(), "fail".into())
    );
    let chosen = outcome["chosen"].as_array().unwrap();
    let keys: Vec<&str> = chosen.iter().map(|one| one["key"].as_str().unwrap()).collect();
    assert_eq!(keys, ["chain.netuid", "chain.endpoints", "engine.host", "devices.gpus"]);
    let said = operator.run(&[&arguments[..], &["--force"]].concat());
    assert_eq!(said.code, 1);
    assert!(said.stdout.contains("FAIL  key"), "{}", said.stdout);
    assert!(said.stdout.contains("\nnext        assay doctor\n"), "{}", said.stdout);
}

/// Somebody at a terminal, by way of `script`, which gives the command one.
struct Typist {
    child: Child,
    keys: ChildStdin,
    shown: Arc<Mutex<String>>,
}

impl Typist {
    fn of(operator: &Operator, arguments: &[&str]) -> Self {
        let assay = operator.command(arguments);
        let words: Vec<String> = std::iter::once(assay.get_program())
            .chain(assay.get_args())
            .map(|word| format!("'{}'", word.to_str().unwrap()))
            .collect();
        let mut child = Command::new("script")
            .args(["-q", "-e", "-c", &words.join(" "), "/dev/null"])
            .current_dir(operator.dir())
            .env_clear()
            .env("HOME", operator.dir())
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (keys, mut screen) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let shown = Arc::new(Mutex::new(String::new()));
        let drawn = Arc::clone(&shown);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = screen.read(&mut bytes) {
                let text = String::from_utf8_lossy(&bytes[..count]).into_owned();
                drawn.lock().unwrap().push_str(&text);
            }
        });
        Self { child, keys, shown }
    }

    fn shown(&self) -> String {
        self.shown.lock().unwrap().replace('\r', "")
    }

    /// Waits until the screen ends so, and types.
    fn answer(&mut self, prompt: &str, keys: &str) {
        let deadline = Instant::now() + SHOWN_MAX;
        while !self.shown().ends_with(prompt) {
            assert!(Instant::now() < deadline, "`{prompt}` does not appear: {}", self.shown());
            std::thread::sleep(Duration::from_millis(20));
        }
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    /// The exit code, and all that was shown.
    fn leave(mut self) -> (Option<i32>, String) {
        let deadline = Instant::now() + SHOWN_MAX;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status.code(), self.shown());
            }
            assert!(Instant::now() < deadline, "it does not end: {}", self.shown());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Typist {
    fn drop(&mut self) {
        // One that has ended is not there any more.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Everything answered but network and subnet.
fn typist(operator: &Operator) -> Typist {
    let arguments = [
        ["init", "--no-doctor"],
        ["--subtensor.chain_endpoint", "ws://127.0.0.1:9"],
        ["--wallet.path", "wallets"],
        ["--wallet.name", "w"],
        ["--wallet.hotkey", "h"],
        ["--data-dir", "data"],
        ["--policy", "dev"],
        ["--dataset", "set"],
        ["--gpus", "off"],
        ["--cpu-slots", "1"],
    ];
    Typist::of(operator, &arguments.concat())
}

#[test]
fn at_a_terminal_a_wrong_answer_is_told_why_and_asked_for_again() {
    let operator = Operator::new();
    let mut typist = typist(&operator);
    typist.answer("chain.network [finney]: ", "finey\n");
    typist.answer("or the URL of an endpoint\nchain.network [finney]: ", "local\n");
    typist.answer("chain.netuid: ", "\n");
    typist.answer("type a value\nchain.netuid: ", "3\n");
    let (code, shown) = typist.leave();
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("2 questions, then `"), "{shown}");
    assert!(shown.contains("  not a known network\n  hint: one of"), "{shown}");
    assert!(shown.contains("The subnet that is validated.\n"), "{shown}");
    let text = std::fs::read_to_string(operator.path(FILE)).unwrap();
    for line in ["chain.network = \"local\"", "chain.netuid = 3", "wallet.name = \"w\""] {
        assert!(text.lines().any(|found| found == line), "{line}: {text}");
    }
}

#[test]
fn ctrl_c_at_a_question_leaves_nothing_behind() {
    let operator = Operator::new();
    let mut typist = typist(&operator);
    typist.answer("chain.network [finney]: ", "\n");
    typist.answer("chain.netuid: ", "\u{3}");
    let (code, shown) = typist.leave();
    assert_eq!(code, Some(130), "{shown}");
    assert_eq!(std::fs::read_dir(operator.dir()).unwrap().count(), 0, "{shown}");
}

#[test]
fn three_wrong_answers_end_it_with_the_flag_that_would_have_answered() {
    let operator = Operator::new();
    let mut typist = typist(&operator);
    typist.answer("chain.network [finney]: ", "\n");
    for _ in 0..3 {
        typist.answer("chain.netuid: ", "70000\n");
        // The same prompt comes again: it has to go away first.
        std::thread::sleep(Duration::from_millis(200));
    }
    let (code, shown) = typist.leave();
    assert_eq!(code, Some(64), "{shown}");
    assert!(shown.contains("not answered in 3 tries"), "{shown}");
    assert!(shown.contains("`--netuid` answers it beforehand"), "{shown}");
    assert_eq!(std::fs::read_dir(operator.dir()).unwrap().count(), 0, "{shown}");
}
