//! What an operator sees of the configuration: where values come from, and what is wrong.

#![allow(clippy::unwrap_used, reason = "a broken fact should stop the test at once")]

mod support;

use support::Operator;

const WRONG: &str = r#"
data_dir = ""

[chain]
netuid = 70000
endpoints = ["http://node.example", "ws://127.0.0.1:9944"]
netuidd = 3

[peer]
listen = "localhost:8091"
publish_axon = "yes"

[peer.endpoints]
5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQZ = "127.0.0.1:1"

[weights]
mode = "sometimes"

[wallet]
password = "hunter2"
"#;

#[test]
fn a_wrong_configuration_reports_all_errors_with_key_value_origin_and_exits_64() {
    let operator = Operator::new()
        .with_file("assay.toml", WRONG)
        .with_variable("ASSAY_STOP__GRACE", "30")
        .with_variable("ASSAY_CHALLENGE__NAS__POLICY", "prod")
        .with_variable("BT_WALLET_NAME", "../../root");
    let said = operator.run(&["run", "--log-level", "info,=x", "--set", "devices.cpu_slots=-1"]);
    assert_eq!((said.code, said.stdout.as_str()), (64, ""));
    assert!(!said.stderr.contains("hunter2"), "{}", said.stderr);
    insta::assert_snapshot!(said.stderr);
}

#[test]
fn an_address_has_to_be_there_to_be_published() {
    let arguments = ["run", "--netuid", "3", "--set", "peer.publish_axon=true"];
    let said = Operator::new().run(&arguments);
    assert_eq!(said.code, 64);
    insta::assert_snapshot!(said.stderr);
}

#[test]
fn what_is_published_as_the_key_of_connections_cannot_be_chosen() {
    let file = "[peer]\ncertificate_file = \"key\"\n";
    let said = Operator::new().with_file("assay.toml", file).run(&["run", "--netuid", "3"]);
    assert_eq!(said.code, 64);
    assert!(said.stderr.contains("peer.certificate_file"), "{}", said.stderr);
    assert!(said.stderr.contains("no such key"), "{}", said.stderr);
}

#[test]
fn a_misspelt_variable_is_an_error_and_one_of_another_tool_is_not() {
    let wrong = ["ASSAY_DATADIR", "ASSAY_CHAIN_NETUID", "ASSAY_CHAIN__NETUIDS", "ASSAY_X__Y"];
    for name in wrong {
        let said = Operator::new().with_variable(name, "7").run(&["run", "--netuid", "x"]);
        assert!(said.stderr.contains(&format!("(variable {name})")), "{name}: {}", said.stderr);
    }
    for name in ["ASSAY_FAKE_GPU", "BT_WALLET_PASSWORD", "BT_LOGGING_DEBUG"] {
        let said =
            Operator::new().with_variable(name, "7").run(&["config", "show", "--netuid", "3"]);
        assert_eq!(said.code, 0, "{name}: {}", said.stderr);
    }
}

#[test]
fn nothing_is_touched_when_the_configuration_is_wrong() {
    let operator = Operator::new();
    assert_eq!(operator.run(&["run", "--netuid", "x"]).code, 64);
    assert_eq!(std::fs::read_dir(operator.dir()).unwrap().count(), 0);
}

#[test]
fn a_missing_netuid_says_how_to_set_it() {
    let said = Operator::new().run(&["run"]);
    assert_eq!(said.code, 64);
    insta::assert_snapshot!(said.stderr);
}

#[test]
fn a_file_that_is_no_toml_is_the_only_complaint_about_it() {
    let said = Operator::new().with_file("assay.toml", "[chain\nnetuid = 3\n").run(&["run"]);
    assert_eq!(said.code, 64);
    insta::assert_snapshot!(said.stderr);
}

#[test]
fn a_command_refuses_wrong_flags_that_it_would_not_need() {
    let history = ["weights", "history", "--data-dir", "data"];
    for (wrong, named) in [
        (["--set", "foo.bar=1"], "foo.bar"),
        (["--set", "chain.netuid=99999999"], "chain.netuid"),
        (["--netuid", "x"], "chain.netuid"),
    ] {
        for command in [&history[..], &["status"], &["chain", "check", "--metadata", "none"]] {
            let said = Operator::new().run(&[command, &wrong[..]].concat());
            assert_eq!(said.code, 64, "{command:?} {wrong:?}: {said:?}");
            assert!(said.stderr.contains(named), "{command:?} {wrong:?}: {said:?}");
        }
    }
    // What is wrong elsewhere is not its business.
    let said = Operator::new()
        .with_file("assay.toml", "[chain]\nnetuid = 99999999\n")
        .with_variable("ASSAY_FOO__BAR", "1")
        .run(&history);
    assert_eq!(said.code, 69, "{said:?}");
}

#[test]
fn a_file_that_was_named_and_is_not_there_is_an_error() {
    let said = Operator::new().run(&["run", "--netuid", "3", "--config", "none.toml"]);
    assert_eq!(said.code, 64);
    assert!(said.stderr.contains("$DIR/none.toml"), "{}", said.stderr);
    assert!(said.stderr.contains("No such file"), "{}", said.stderr);
}

/// One key, set in every place. Each row takes away the strongest place of the row above.
#[test]
fn flag_beats_own_variable_beats_bittensor_variable_beats_file_beats_default() {
    let file = "[wallet]\nname = \"from-file\"\n";
    let netuid = "ASSAY_CHAIN__NETUID";
    let all = || {
        Operator::new()
            .with_file("assay.toml", file)
            .with_variable(netuid, "3")
            .with_variable("BT_WALLET_NAME", "from-bittensor")
            .with_variable("ASSAY_WALLET__NAME", "from-own")
    };
    let no_own = || {
        Operator::new()
            .with_file("assay.toml", file)
            .with_variable(netuid, "3")
            .with_variable("BT_WALLET_NAME", "from-bittensor")
    };
    let only_file = || Operator::new().with_file("assay.toml", file).with_variable(netuid, "3");
    let nothing = || Operator::new().with_variable(netuid, "3");
    let flag: &[&str] = &["--wallet.name", "from-flag", "--set", "wallet.name=from-set"];
    let set: &[&str] = &["--set", "wallet.name=from-set"];
    for (operator, arguments, value, origin) in [
        (all(), flag, "from-flag", "flag --wallet.name"),
        (all(), set, "from-set", "flag --set wallet.name"),
        (all(), &[], "from-own", "variable ASSAY_WALLET__NAME"),
        (no_own(), &[], "from-bittensor", "variable BT_WALLET_NAME"),
        (only_file(), &[], "from-file", "file $DIR/assay.toml:2"),
        (nothing(), &[], "default", "default"),
    ] {
        let arguments: Vec<&str> =
            ["config", "show", "--origin"].iter().chain(arguments).copied().collect();
        let said = operator.run(&arguments);
        let line = said.stdout.lines().find(|line| line.starts_with("wallet.name")).unwrap();
        let (setting, from) = line.split_once("  # ").unwrap();
        assert_eq!(setting.trim(), format!("wallet.name = \"{value}\""));
        assert_eq!(from, origin);
    }
}

#[test]
fn bittensor_variables_and_flags_set_what_they_set_there() {
    let by_variables = Operator::new()
        .with_variable("BT_NETUID", "7")
        .with_variable("BT_SUBTENSOR_NETWORK", "test")
        .with_variable("BT_WALLET_NAME", "w")
        .with_variable("BT_WALLET_HOTKEY", "h")
        .with_variable("BT_WALLET_PATH", "~/keys")
        .run(&["config", "show"]);
    let by_flags = Operator::new().run(&[
        "config",
        "show",
        "--netuid",
        "7",
        "--subtensor.network",
        "test",
        "--wallet.name",
        "w",
        "--wallet.hotkey",
        "h",
        "--wallet.path",
        "~/keys",
    ]);
    assert_eq!(by_variables.code, 0, "{}", by_variables.stderr);
    assert_eq!(by_variables.stdout, by_flags.stdout);
    for line in [
        "chain.netuid = 7",
        "chain.network = \"test\"",
        "chain.endpoints = [\"wss://test.finney.opentensor.ai:443\"]",
        "wallet.path = \"~/keys\"",
    ] {
        assert!(by_flags.stdout.lines().any(|found| found == line), "{line}");
    }
}

#[test]
fn config_show_prints_every_key_with_its_origin() {
    let said = Operator::new()
        .with_file("assay.toml", "[chain]\nnetuid = 3\n\n[stop]\ngrace = \"10m\"\n")
        .with_variable("BT_SUBTENSOR_CHAIN_ENDPOINT", "wss://me:secret@node.example/v1/key,ws://b")
        .with_variable(
            "ASSAY_PEER__ENDPOINTS",
            "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY=127.0.0.1:8092",
        )
        .run(&["config", "show", "--origin", "--set", "weights.mode=dry_run"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert!(!said.stdout.contains("secret") && !said.stdout.contains("v1"), "{}", said.stdout);
    // The column of the origins depends on the length of the home directory.
    let lines: Vec<String> = said
        .stdout
        .lines()
        .map(|line| match line.split_once("  # ") {
            Some((setting, origin)) => format!("{}  # {origin}", setting.trim_end()),
            None => line.to_owned(),
        })
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn what_config_show_prints_can_be_used_as_a_file() {
    let said = Operator::new().run(&["config", "show", "--netuid", "3", "--data-dir", "/tmp/x"]);
    let again = Operator::new().with_file("assay.toml", &said.stdout).run(&["config", "show"]);
    assert_eq!(again.code, 0, "{}", again.stderr);
    // Home directories differ between the two.
    let without_home = |text: &str| text.replace("$DIR", "");
    assert_eq!(without_home(&again.stdout), without_home(&said.stdout));
}

#[test]
fn config_show_as_json_has_key_value_and_origin() {
    let said = Operator::new().run(&["config", "show", "--json", "--netuid", "3"]);
    let shown: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    let netuid = &shown[0];
    assert_eq!(netuid["key"], "chain.netuid");
    assert_eq!(netuid["value"], "3");
    assert_eq!(netuid["origin"], "flag --netuid");
}

/// Which endpoint and which genesis hash hold, by what was set.
#[test]
fn the_network_closest_to_the_command_line_decides_about_endpoint_and_genesis() {
    let show = |arguments: &[&str], file: &str| {
        let operator =
            Operator::new().with_file("assay.toml", &format!("chain.netuid = 3\n{file}"));
        let said = operator.run(&[&["config", "show"], arguments].concat());
        assert_eq!(said.code, 0, "{}", said.stderr);
        let value = |key: &str| {
            let line = said.stdout.lines().find(|line| line.contains(key)).unwrap();
            line.split_once(" = ").map(|(_, value)| value.to_owned())
        };
        (value("chain.endpoints").unwrap(), value("chain.genesis").is_some())
    };
    let finney = r#"["wss://entrypoint-finney.opentensor.ai:443"]"#.to_owned();
    let local = r#"["ws://127.0.0.1:9944"]"#.to_owned();
    let own = r#"["wss://own.example"]"#.to_owned();
    assert_eq!(show(&[], ""), (finney, true));
    assert_eq!(show(&["--subtensor.network", "local"], ""), (local.clone(), false));
    assert_eq!(
        show(&["--subtensor.chain_endpoint", "wss://own.example"], ""),
        (own.clone(), false),
        "an endpoint alone may belong to any chain",
    );
    assert_eq!(
        show(&["--subtensor.chain_endpoint", "wss://own.example"], "chain.network = \"finney\""),
        (own.clone(), true),
        "an own endpoint of a chosen network is held to its genesis",
    );
    assert_eq!(
        show(&["--subtensor.network", "local"], "chain.endpoints = [\"wss://own.example\"]"),
        (local, false),
        "a network on the command line replaces an endpoint in the file",
    );
    assert_eq!(show(&["--subtensor.network", "wss://own.example"], ""), (own, false));
}
