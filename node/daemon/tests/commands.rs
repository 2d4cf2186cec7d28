//! The command line itself: help, usage errors, the miner's commands, keys.

#![allow(clippy::unwrap_used, reason = "a broken fact should stop the test at once")]

mod support;

use support::Operator;

const SEED: &str = "0xe5be9a5092b81bca64be81d212e7f2f9eba183bb7a90954f7b76361f6edb5c0a";
const ALICE: &str = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";

fn help(arguments: &[&str]) -> String {
    let said = Operator::new().with_variable("COLUMNS", "100").run(arguments);
    assert_eq!((said.code, said.stderr.as_str()), (0, ""));
    said.stdout
}

#[test]
fn help_teaches_with_examples() {
    insta::assert_snapshot!("help", help(&["--help"]));
    insta::assert_snapshot!("help_run", help(&["run", "--help"]));
    insta::assert_snapshot!("help_status", help(&["status", "-h"]));
    insta::assert_snapshot!("help_doctor", help(&["doctor", "-h"]));
    insta::assert_snapshot!("help_miner", help(&["miner", "--help"]));
    insta::assert_snapshot!("help_leases", help(&["leases", "--help"]));
    insta::assert_snapshot!("help_devices", help(&["devices", "--help"]));
    insta::assert_snapshot!("help_device", help(&["device", "--help"]));
    insta::assert_snapshot!("help_leases_reopen", help(&["leases", "reopen", "--help"]));
}

#[test]
fn a_usage_error_exits_64_and_help_and_version_exit_0() {
    let operator = Operator::new();
    for arguments in [&["nonsense"][..], &["run", "--no-such-flag"], &[], &["run", "--set", "x"]] {
        let said = operator.run(arguments);
        assert_eq!(said.code, 64, "{arguments:?}: {}", said.stderr);
        assert!(!said.stderr.is_empty() && said.stdout.is_empty(), "{arguments:?}");
    }
    for arguments in [&["--help"][..], &["--version"], &["version"], &["run", "--help"]] {
        assert_eq!(operator.run(arguments).code, 0, "{arguments:?}");
    }
}

fn with_hotkey(operator: Operator) -> Operator {
    use std::os::unix::fs::PermissionsExt as _;
    let file = format!("{{\"secretSeed\": \"{SEED}\", \"ss58Address\": \"{ALICE}\"}}");
    let operator = operator.with_file(".bittensor/wallets/w/hotkeys/h", &file);
    let path = operator.path(".bittensor/wallets/w/hotkeys/h");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o640)).unwrap();
    operator.with_variable("BT_WALLET_NAME", "w").with_variable("BT_WALLET_HOTKEY", "h")
}

#[test]
fn keys_show_prints_facts_and_warnings_and_never_the_secret() {
    let said = with_hotkey(Operator::new()).run(&["keys", "show"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert!(!said.stdout.contains(SEED.trim_start_matches("0x")), "{}", said.stdout);
    insta::assert_snapshot!(said.stdout);
}

#[test]
fn a_missing_key_says_what_to_do_and_exits_69() {
    let said = Operator::new().run(&["keys", "show"]);
    assert_eq!(said.code, 69);
    insta::assert_snapshot!(said.stderr);
}

fn with_project(operator: Operator) -> Operator {
    operator
        .with_file("model/architecture.py", "def build_model(ctx):\n    return None\n")
        .with_file("model/training.py", "def train(ctx):\n    pass\n")
}

#[test]
fn check_gives_the_same_verdict_to_a_folder_and_to_its_archive() {
    let operator = with_project(Operator::new());
    let folder = operator.run(&["miner", "check", "model"]);
    assert_eq!(folder.code, 0, "{}", folder.stderr);
    let packed = operator.run(&["miner", "pack", "model", "--out", "model.zip"]);
    assert_eq!(packed.code, 0, "{}", packed.stderr);
    let archive = operator.run(&["miner", "check", "model.zip"]);
    assert_eq!((archive.code, archive.stdout), (0, folder.stdout));
}

#[test]
fn pack_prints_the_digest_and_the_commitment_that_begins_with_it() {
    let operator = with_project(Operator::new());
    let said = operator.run(&["miner", "pack", "model"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    insta::assert_snapshot!(said.stdout);
}

#[test]
fn pack_writes_nothing_that_a_validator_would_refuse() {
    let operator = Operator::new().with_file("model/architecture.py", "x = 1\n");
    let said = operator.run(&["miner", "pack", "model", "--out", "model.zip"]);
    assert_eq!((said.code, said.stdout.as_str()), (1, ""));
    assert!(said.stderr.contains("rejected: contract-file"), "{}", said.stderr);
    assert!(!operator.path("model.zip").exists());
}

#[test]
fn check_names_the_broken_rule_and_exits_1() {
    let operator = Operator::new().with_file("model/architecture.py", "x = 1\n");
    let said = operator.run(&["miner", "check", "model", "--json"]);
    assert_eq!(said.code, 1);
    let answer: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(answer["verdict"]["rejection"]["rule"], "contract-file");
    let said = Operator::new().with_file("not.zip", "nonsense").run(&["miner", "check", "not.zip"]);
    assert_eq!(said.code, 1);
    assert!(said.stdout.starts_with("rejected: archive-format"), "{}", said.stdout);
}

#[test]
fn submit_refuses_before_it_needs_key_or_chain() {
    let operator = Operator::new().with_file("not.zip", "nonsense");
    let said = operator.run(&["miner", "submit", "not.zip", "--netuid", "3"]);
    assert_eq!(said.code, 1);
    assert!(said.stderr.contains("archive-format"), "{}", said.stderr);
    let said = with_project(Operator::new()).run(&[
        "miner",
        "submit",
        "model",
        "--netuid",
        "3",
        "--location",
        "ftp://example.org/x",
    ]);
    assert_eq!(said.code, 64);
    insta::assert_snapshot!(said.stderr);
}

#[test]
fn a_policy_that_is_shown_is_a_file_for_another_with_a_name_of_its_own() {
    let shown = Operator::new().run(&["policy", "show", "--set", "challenge.nas.policy=standard"]);
    assert_eq!((shown.code, shown.stderr.as_str()), (0, ""));
    assert!(shown.stdout.starts_with("# digest ") && shown.stdout.contains("name = \"standard\""));
    let named = shown.stdout.replace("name = \"standard\"", "name = \"mine\"");
    let with = |file: &str| {
        let operator = Operator::new().with_file("policy.toml", file);
        let path = operator.path("policy.toml").display().to_string();
        operator.run(&[
            "policy",
            "show",
            "--json",
            "--set",
            &format!("challenge.nas.policy_file={path}"),
        ])
    };
    let mine = with(&named);
    assert_eq!((mine.code, mine.stderr.as_str()), (0, ""));
    let answer: serde_json::Value = serde_json::from_str(&mine.stdout).unwrap();
    assert_eq!(answer["name"], "mine");
    assert_eq!(answer["policy"]["run"]["device"], "gpu");
    assert!(!shown.stdout.contains(answer["digest"].as_str().unwrap()));
    for (file, told) in [
        (shown.stdout.as_str(), "`standard` is built in"),
        ("name = \"x\"\n[run]\ndevices = 4\n", "sets `run.devices`, which no policy has"),
        (
            "name = \"x\"\n[agreement]\nreplicas = 0\n",
            "`agreement.replicas` is 0; it may be 1 to 5",
        ),
    ] {
        let refused = with(file);
        assert_eq!(refused.code, 64);
        assert!(
            refused.stderr.contains(told) && refused.stderr.contains("hint:"),
            "{}",
            refused.stderr
        );
    }
}

#[test]
fn without_a_command_the_help_is_shown_and_no_hidden_command() {
    let said = Operator::new().run(&[]);
    assert_eq!(said.code, 64);
    assert!(said.stderr.contains("  run          Run the node"), "{}", said.stderr);
    assert!(!said.stderr.contains("reference"), "{}", said.stderr);
}

#[test]
fn submit_without_a_chain_says_so_and_exits_69() {
    // A port that was free a moment ago: nothing listens there.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let said = with_project(with_hotkey(Operator::new())).run(&[
        "miner",
        "submit",
        "model",
        "--netuid",
        "3",
        "--copy-to",
        "served",
        "--subtensor.chain_endpoint",
        &format!("ws://127.0.0.1:{port}"),
    ]);
    assert_eq!(said.code, 69, "{}", said.stderr);
    assert!(said.stderr.contains("hint: set `--subtensor.network`"), "{}", said.stderr);
}

fn text(paragraphs: usize) -> String {
    let paragraph = |index: usize| format!("Paragraph {index}. {}\n\n", "word ".repeat(400));
    (0..paragraphs).map(paragraph).collect()
}

#[test]
fn a_data_set_has_one_digest_and_an_altered_byte_is_noticed() {
    let operator = Operator::new().with_file("one.txt", &text(300)).with_file("two.txt", "Two.\n");
    let made =
        operator.run(&["dataset", "prepare", "--text", "one.txt", "two.txt", "--out", "data"]);
    assert_eq!(made.code, 0, "{}", made.stderr);
    let again =
        operator.run(&["dataset", "prepare", "--text", "two.txt", "one.txt", "--out", "other"]);
    assert_eq!(made.stdout, again.stdout, "the order of the files makes no difference");
    assert_eq!(operator.run(&["dataset", "verify", "data"]).stdout, made.stdout);

    let shard = std::fs::read_dir(operator.path("data"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_none_or(|extension| extension != "json"))
        .unwrap();
    let mut bytes = std::fs::read(&shard).unwrap();
    bytes[0] ^= 1;
    std::fs::write(&shard, bytes).unwrap();
    let damaged = operator.run(&["dataset", "verify", "data"]);
    assert_eq!(damaged.code, 1, "{}", damaged.stderr);
    assert_eq!(operator.run(&["dataset", "verify", "none"]).code, 69);
}

#[test]
fn a_data_set_of_records_names_its_revision_and_is_checked_against_a_digest() {
    let record = |number| format!("{{\"id\": {number}, \"body\": \"text number {number}\"}}\n");
    let lines: String = (0..500).map(record).collect();
    let operator = Operator::new().with_file("a.jsonl", &lines);
    let prepare = ["dataset", "prepare", "--jsonl", "a.jsonl", "--out", "data", "--revision", "v1"];
    let said = operator.run(&prepare);
    assert_eq!(said.code, 1);
    assert!(said.stderr.contains("there is no `text`"), "{}", said.stderr);
    assert!(said.stderr.contains("`--field`"), "{}", said.stderr);
    let made = operator.run(&[prepare.as_slice(), &["--field", "body"]].concat());
    assert_eq!(made.code, 0, "{}", made.stderr);
    assert!(made.stdout.contains("revision    v1\n"), "{}", made.stdout);
    let digest = made.stdout.lines().next().unwrap().split_whitespace().last().unwrap();
    let verified = operator.run(&["dataset", "verify", "data", "--digest", digest]);
    assert_eq!(verified.stdout, made.stdout);
    let other = "0".repeat(64);
    let refused = operator.run(&["dataset", "verify", "data", "--digest", &other]);
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains(digest), "{}", refused.stderr);
    assert_eq!(operator.run(&["dataset", "prepare", "--out", "data"]).code, 64);
}

#[test]
fn too_little_text_for_a_data_set_is_said_so() {
    let operator = Operator::new().with_file("one.txt", "One paragraph.\n");
    let said = operator.run(&["dataset", "prepare", "--text", "one.txt", "--out", "data"]);
    assert_eq!(said.code, 1);
    assert!(said.stderr.contains("too few"), "{}", said.stderr);
    assert!(!operator.path("data").exists());
}
