//! Encrypted hotkeys on the command line: what is told without the password, where the password
//! comes from, and what is said when there is none.

#![allow(clippy::unwrap_used, reason = "a broken fact should stop the test at once")]

mod support;

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use support::{Operator, Said};

/// Ansible Vault, the format that opens at once; made by bittensor-wallet 4.1.1.
const VAULT: &str = include_str!("../../chain/src/wallet/fixtures/ansible");
const PASSWORD: &str = "für 7 Schlüssel";
const ADDRESS: &str = "5DfhGyQdFobKM8NsWvEeAKk5EQQgYe9AydgJ7rMB6E1EqRzV";
const HOTKEY: &str = ".bittensor/wallets/w/hotkeys/h";

fn set_mode(operator: &Operator, name: &str, mode: u32) {
    std::fs::set_permissions(operator.path(name), std::fs::Permissions::from_mode(mode)).unwrap();
}

fn with_vault() -> Operator {
    let operator = Operator::new().with_file(HOTKEY, VAULT);
    set_mode(&operator, HOTKEY, 0o600);
    operator.with_variable("BT_WALLET_NAME", "w").with_variable("BT_WALLET_HOTKEY", "h")
}

const CHECK: &[&str] = &["keys", "show", "--check"];

fn assert_opened(said: &Said) {
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert!(said.stdout.contains(ADDRESS) && said.stdout.contains("check     OK"), "{said:?}");
    assert!(said.stderr.contains("decrypting"), "{said:?}");
}

#[test]
fn an_encrypted_hotkey_tells_what_it_is_without_its_password() {
    let public = format!("{{\"ss58Address\":\"{ADDRESS}\",\"cryptoType\":1}}");
    let operator = with_vault().with_file(".bittensor/wallets/w/hotkeys/hpub.txt", &public);
    let operator = operator.with_file(".bittensor/wallets/w/coldkey", "never opened");
    let said = operator.run(&["keys", "show"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    insta::assert_snapshot!(said.stdout);
}

#[test]
fn an_encrypted_hotkey_without_a_password_says_all_ways_to_give_one_and_exits_69() {
    let said = with_vault().run(CHECK);
    assert_eq!(said.code, 69);
    // The variable's name is the path, which is another one each time.
    let operator_dependent = said.stderr.split('`').find(|part| part.starts_with("BT_PW_"));
    let said = said.stderr.replace(operator_dependent.unwrap(), "BT_PW_<PATH>");
    insta::assert_snapshot!(said);
}

#[test]
fn a_checked_hotkey_is_shown_with_its_secret_proven_and_not_printed() {
    let operator = with_vault().with_variable("BT_WALLET_PASSWORD", PASSWORD);
    let said = operator.run(CHECK);
    assert_opened(&said);
    assert!(!said.stdout.contains("fac7959d") && !said.stdout.contains(PASSWORD), "{said:?}");
    insta::assert_snapshot!(said.stdout);
}

#[test]
fn as_json_a_sealed_hotkey_is_what_its_public_file_says_and_an_opened_one_is_checked() {
    let json = |operator: &Operator, arguments: &[&str]| -> serde_json::Value {
        let said = operator.run(&[arguments, &["--json"]].concat());
        assert_eq!(said.code, 0, "{}", said.stderr);
        assert!(!said.stdout.contains("fac7959d") && !said.stdout.contains(PASSWORD), "{said:?}");
        serde_json::from_str(&said.stdout).unwrap()
    };
    let nameless = json(&with_vault(), &["keys", "show"]);
    assert!(nameless.get("hotkey").is_none() && nameless.get("public").is_none(), "{nameless}");
    assert_eq!((&nameless["checked"], &nameless["mode"]), (&false.into(), &"600".into()));
    assert_eq!(nameless["file"], format!("$DIR/{HOTKEY}"));
    assert!(nameless["encryption"].is_string(), "{nameless}");

    let public = format!("{{\"ss58Address\":\"{ADDRESS}\",\"cryptoType\":1}}");
    let operator = with_vault().with_file(".bittensor/wallets/w/hotkeys/hpub.txt", &public);
    let named = json(&operator, &["keys", "show"]);
    assert_eq!((&named["hotkey"], &named["checked"]), (&ADDRESS.into(), &false.into()));

    let operator = with_vault().with_variable("BT_WALLET_PASSWORD", PASSWORD);
    let opened = json(&operator, CHECK);
    assert_eq!((&opened["hotkey"], &opened["checked"]), (&ADDRESS.into(), &true.into()));
    assert_eq!((&opened["public"], &opened["scheme"]), (&named["public"], &"sr25519".into()));
    assert_eq!(opened["warnings"], serde_json::json!([]));
}

#[test]
fn the_password_comes_from_a_file_of_the_configuration_or_of_bittensors_variable() {
    let operator = with_vault().with_file("password", &format!("{PASSWORD}\n"));
    set_mode(&operator, "password", 0o600);
    let operator = operator.with_file("assay.toml", "[wallet]\npassword_file = \"password\"\n");
    assert_opened(&operator.run(CHECK));
    std::fs::remove_file(operator.path("assay.toml")).unwrap();
    let path = operator.path("password").display().to_string();
    assert_opened(&operator.with_variable("BT_WALLET_PASSWORD_FILE", &path).run(CHECK));
}

#[test]
fn a_password_file_that_others_can_read_is_refused_before_it_is_used() {
    let operator = with_vault().with_file("password", PASSWORD);
    set_mode(&operator, "password", 0o644);
    let said = operator.run(&["keys", "show", "--check", "--set", "wallet.password_file=password"]);
    assert_eq!(said.code, 69);
    insta::assert_snapshot!(said.stderr);
}

#[test]
fn the_password_comes_through_an_open_descriptor() {
    let operator = with_vault();
    let mut command =
        operator.command(&["keys", "show", "--check", "--set", "wallet.password_fd=0"]);
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // The pipe stays open: the end of the line is the end of the password.
    let mut stdin = child.stdin.take().unwrap();
    writeln!(stdin, "{PASSWORD}").unwrap();
    let output = child.wait_with_output().unwrap();
    drop(stdin);
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8(output.stdout).unwrap().contains(ADDRESS));
}

#[test]
fn a_descriptor_that_cannot_be_read_is_a_wrong_configuration() {
    for number in ["1", "2", "-1", "65536", "three"] {
        let set = format!("wallet.password_fd={number}");
        let said = with_vault().run(&["keys", "show", "--set", &set]);
        assert_eq!(said.code, 64, "{number}: {}", said.stderr);
        assert!(said.stderr.contains("wallet.password_fd"), "{}", said.stderr);
    }
}

#[test]
fn a_wrong_password_says_where_it_came_from_and_not_what_it_was() {
    let operator = with_vault().with_variable("BT_WALLET_PASSWORD", "sesame");
    let said = operator.run(CHECK);
    assert_eq!(said.code, 69);
    assert!(!said.stderr.contains("sesame"), "{}", said.stderr);
    insta::assert_snapshot!(said.stderr);
}

/// A limit on the process's memory, as a service may have one.
#[test]
fn too_little_memory_is_an_error_that_says_what_it_takes() {
    let operator = with_vault().with_variable("BT_WALLET_PASSWORD", PASSWORD);
    let nacl = include_bytes!("../../chain/src/wallet/fixtures/nacl");
    std::fs::write(operator.path(HOTKEY), nacl).unwrap();
    let assay = operator.command(CHECK);
    let mut limited = std::process::Command::new("sh");
    let limited = limited
        .args(["-c", "ulimit -v 500000; exec \"$@\"", "sh"])
        .arg(assay.get_program())
        .args(assay.get_args())
        .env_clear()
        .envs(assay.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .current_dir(operator.dir());
    let output = limited.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(69), "{stderr}");
    assert!(stderr.contains("takes 512 MiB of memory, and not enough is left"), "{stderr}");
}

#[test]
fn a_password_for_a_hotkey_that_is_not_encrypted_is_not_needed_and_not_looked_at() {
    let file = "{\"secretSeed\":\
        \"0xfac7959dbfe72f052e5a0c3c8d6530f202b02fd8f9f5ca3580ec8deb7797479e\"}";
    let operator = with_vault().with_file(HOTKEY, file);
    let operator = operator.with_variable("BT_WALLET_PASSWORD_FILE", "/nowhere");
    let said = operator.run(CHECK);
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert!(said.stdout.contains(ADDRESS) && said.stdout.contains("check     OK"), "{said:?}");
    assert_eq!(said.stderr, "");
}
