//! `assay weights`: what the commands say of data directories and files, without chain or node.

#![allow(clippy::unwrap_used, reason = "a broken fact should stop the test at once")]

mod support;

use node_core::id::{BlockHash, Hotkey, Netuid, Uid};
use node_core::rows::{Carries, JournalStep, SignedExtrinsic, Write};
use node_core::unit::{BlockNumber, EpochIndex};
use node_store::{History, Owner, Store};
use support::{Operator, Said};

const OWNER: Owner =
    Owner { genesis: BlockHash([1; 32]), netuid: Netuid(3), hotkey: Hotkey([2; 32]) };

fn signed(epoch: u64) -> SignedExtrinsic {
    SignedExtrinsic {
        bytes: vec![7; 12],
        hash: node_core::id::Digest([u8::try_from(epoch).unwrap(); 32]),
        nonce: 40,
        anchor: BlockNumber(epoch * 20),
        era_end: BlockNumber(epoch * 20 + 16),
        spec_version: 301,
        carries: Carries::Hashed {
            commit: node_core::id::Digest([5; 32]),
            salt: vec![4242, 31_337],
        },
        vector: vec![(Uid(1), u16::MAX), (Uid(4), 300)],
    }
}

/// An operator whose node has signed for epochs 11 and 12; both commits landed.
fn with_journal() -> Operator {
    let operator = Operator::new();
    let data = operator.path("data");
    let (store, _) = Store::open(&data).unwrap();
    for epoch in [11, 12] {
        let entry = |step| Write::Journal(History::new(OWNER).entry(0, EpochIndex(epoch), step));
        let landed = BlockNumber(epoch * 20 + 4);
        let steps = [
            JournalStep::Intended {
                vector: signed(epoch).vector,
                version_key: 7,
                computed_at: BlockNumber(epoch * 20),
            },
            JournalStep::Signed { signed: signed(epoch) },
            JournalStep::Committed { block: landed, epoch: EpochIndex(epoch), hash: None },
            JournalStep::Revealed { block: BlockNumber(landed.0 + 20) },
        ];
        store.commit(&steps.map(entry)).unwrap();
    }
    let Owner { genesis, netuid, hotkey } = OWNER;
    let identity =
        format!("{{\"hotkey\":\"{hotkey}\",\"netuid\":{},\"genesis\":\"{genesis}\"}}", netuid.0);
    std::fs::write(data.join("identity.json"), identity).unwrap();
    operator
}

/// Runs `assay weights` about the data directory of this name.
fn weights(operator: &Operator, data_dir: &str, arguments: &[&str]) -> Said {
    let place = ["--data-dir", data_dir];
    operator.run(&[&["weights"], arguments, &place].concat())
}

#[test]
fn help_says_what_each_command_does_and_shows_how() {
    let help = |arguments: &[&str]| {
        let said = Operator::new().with_variable("COLUMNS", "100").run(arguments);
        assert_eq!((said.code, said.stderr.as_str()), (0, ""));
        said.stdout
    };
    insta::assert_snapshot!("help_weights", help(&["weights", "--help"]));
    for command in ["plan", "show", "history", "verify", "export", "import", "adopt"] {
        let text = help(&["weights", command, "--help"]);
        assert!(text.contains("Examples:\n  assay weights "), "{command}: {text}");
    }
}

#[test]
fn history_and_show_print_tables_and_the_same_as_json() {
    let operator = with_journal();
    let history = weights(&operator, "data", &["history"]);
    assert_eq!(history.code, 0, "{}", history.stderr);
    insta::assert_snapshot!("history", history.stdout);
    let shown = weights(&operator, "data", &["show", "--epoch", "11"]);
    assert_eq!(shown.code, 0, "{}", shown.stderr);
    insta::assert_snapshot!("show", shown.stdout);
    for command in ["history", "show"] {
        let said = weights(&operator, "data", &[command, "--json"]);
        assert!(!said.stdout.contains("31337"), "a salt is shown: {}", said.stdout);
        insta::assert_snapshot!(format!("{command}_json"), said.stdout);
    }
    let none = weights(&operator, "data", &["show", "--epoch", "99"]);
    assert_eq!(none.code, 1);
    assert!(none.stderr.contains("nothing was signed for epoch 99"), "{}", none.stderr);
}

#[test]
fn an_export_is_imported_into_another_directory_once_and_holds_what_it_should() {
    let operator = with_journal();
    let exported = weights(&operator, "data", &["export", "history.json"]);
    assert_eq!(exported.code, 0, "{}", exported.stderr);
    assert_eq!(exported.stderr, "exported 2 epochs with 2 signatures\n");
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(operator.path("history.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "it holds salts");
    let file = std::fs::read_to_string(operator.path("history.json")).unwrap();
    assert_eq!(weights(&operator, "data", &["export"]).stdout, file, "stdout is the same");

    // A new directory is nobody's yet: the configuration says whose it may become.
    let refused = weights(&operator, "other", &["import", "history.json", "--netuid", "3"]);
    assert_eq!(refused.code, 64, "not of the main network, which is the default: {refused:?}");
    assert!(!operator.path("other").exists(), "{refused:?}");
    let genesis = format!("chain.genesis={}", OWNER.genesis);
    let import = ["import", "history.json", "--netuid", "3", "--set", &genesis];
    let imported = weights(&operator, "other", &import);
    assert_eq!(imported.code, 0, "{}", imported.stderr);
    insta::assert_snapshot!("import", imported.stdout);
    let again = weights(&operator, "other", &import);
    assert!(again.stdout.starts_with("merged      0 epochs with 0 signatures"), "{again:?}");
    let told = weights(&operator, "other", &["import", "history.json", "--json"]);
    let told: serde_json::Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!((&told["epochs"], &told["epochs_known"]), (&0.into(), &2.into()), "{told}");
    assert_eq!((&told["netuid"], &told["begun_anew"]), (&3.into(), &false.into()), "{told}");
    assert_eq!(told["hotkey"], OWNER.hotkey.to_string());
    assert_eq!((&told["waits"], &told["lacks_rows"]), (&false.into(), &false.into()), "{told}");
    assert_eq!(weights(&operator, "other", &["export"]).stdout, file);
    let history = |data: &str| weights(&operator, data, &["history"]).stdout;
    assert_eq!(history("other"), history("data"));
}

#[test]
fn what_cannot_be_merged_is_refused_and_changes_nothing() {
    let operator = with_journal();
    assert_eq!(weights(&operator, "data", &["export", "own.json"]).code, 0);
    let text = std::fs::read_to_string(operator.path("own.json")).unwrap();
    let journal = || std::fs::read(operator.path("data/signed.journal")).unwrap();
    let before = journal();
    let other_key = Hotkey([9; 32]).to_string();
    let cases = [
        (text.replace(&OWNER.hotkey.to_string(), &other_key), "not about hotkey"),
        (text.replace(&"01".repeat(32), &"08".repeat(32)), "not about hotkey"),
        (text.replace("\"netuid\": 3", "\"netuid\": 4"), "on subnet 4"),
        (text[..text.len() / 2].to_owned(), "EOF while parsing"),
        (text.replace("\"version\": 2", "\"version\": 9"), "version 9"),
        (text.replace("\"revealed\"", "\"opened\""), "unknown field `opened`"),
        ("[]".to_owned(), "no history of signed weights"),
    ];
    for (content, complaint) in cases {
        assert_ne!(content, text, "{complaint}");
        std::fs::write(operator.path("bad.json"), content).unwrap();
        let said = weights(&operator, "data", &["import", "bad.json"]);
        assert_eq!(said.code, 64, "{complaint}: {}", said.stderr);
        assert!(said.stderr.contains(complaint), "{complaint}: {}", said.stderr);
        assert!(said.stderr.contains("nothing was changed"), "{}", said.stderr);
        assert!(said.stderr.contains("hint: "), "{}", said.stderr);
        assert_eq!(journal(), before, "{complaint}");
    }
    let none = weights(&operator, "data", &["import", "none.json"]);
    assert_eq!(none.code, 64, "{}", none.stderr);
}

#[test]
fn a_directory_that_is_locked_is_named_with_its_holder() {
    let operator = with_journal();
    assert_eq!(weights(&operator, "data", &["export", "own.json"]).code, 0);
    let (_store, _) = Store::open(&operator.path("data")).unwrap();
    let said = weights(&operator, "data", &["import", "own.json"]);
    assert_eq!(said.code, 69, "{}", said.stderr);
    assert!(said.stderr.contains(&format!("pid {}", std::process::id())), "{}", said.stderr);
    assert!(said.stderr.contains("stop it first"), "{}", said.stderr);
    // What only reads does not mind.
    assert_eq!(weights(&operator, "data", &["history"]).code, 0);
}

#[test]
fn case_04_commands_name_a_missing_journal_and_import_writes_it_anew() {
    let operator = with_journal();
    assert_eq!(weights(&operator, "data", &["export", "own.json"]).code, 0);
    std::fs::remove_file(operator.path("data/signed.journal")).unwrap();
    for command in [&["history"][..], &["show"], &["export"]] {
        let said = weights(&operator, "data", command);
        assert_eq!(said.code, 69, "{command:?}: {}", said.stderr);
        assert!(said.stderr.contains("signed.journal is missing"), "{}", said.stderr);
        assert!(said.stderr.contains("assay weights import FILE"), "{}", said.stderr);
    }
    let imported = weights(&operator, "data", &["import", "own.json", "--json"]);
    assert_eq!(imported.code, 0, "{}", imported.stderr);
    assert!(imported.stderr.contains("it was written anew"), "{}", imported.stderr);
    let told: serde_json::Value = serde_json::from_str(&imported.stdout).unwrap();
    assert_eq!(told["begun_anew"], true, "{told}");
    assert_eq!(weights(&operator, "data", &["history"]).code, 0);
}

#[test]
fn a_directory_in_which_nothing_was_signed_says_so() {
    let operator = Operator::new();
    for command in [&["history"][..], &["show"], &["export"], &["verify"], &["plan"]] {
        let said = weights(&operator, "nowhere", command);
        assert_eq!(said.code, 69, "{command:?}: {}", said.stderr);
        assert!(said.stderr.contains("no node has run with the data directory"), "{said:?}");
        assert!(!operator.path("nowhere").exists(), "reading makes no directory");
    }
}
