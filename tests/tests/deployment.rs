//! The unit, the package, the compose file and the shipped configuration fit the node and each
//! other.
//!
//! Not here: alert rules and dashboard (`monitoring.rs`), and what happens when the package is
//! installed and its unit started (`package.rs`).

#![allow(clippy::unwrap_used, reason = "a test states facts; a broken one should stop at once")]

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use assay_tests::binaries::{binary, repository};
use node_daemon::exit::ExitReason;

/// What follows the grace at a stop: runs are removed and handed back, listeners are closed.
const AFTER_GRACE_S: u64 = 30;

fn deployed(name: &str) -> PathBuf {
    repository().join("deploy").join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(deployed(name)).unwrap()
}

/// The last value of a setting of the unit.
fn setting(name: &str) -> String {
    let unit = read("systemd/assay.service");
    let start = format!("{name}=");
    let value = unit.lines().rev().find_map(|line| line.strip_prefix(&start));
    value.unwrap_or_else(|| panic!("the unit has no {name}")).to_owned()
}

fn codes(name: &str) -> BTreeSet<u8> {
    setting(name).split_whitespace().map(|code| code.parse().unwrap()).collect()
}

/// `10m`, `15min` or `60s`, in seconds.
fn seconds(span: &str) -> u64 {
    let digits = span.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().unwrap();
    match &span[digits.len()..] {
        "s" => number,
        "m" | "min" => number * 60,
        unit => panic!("{span}: {unit}"),
    }
}

fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}

#[test]
fn the_unit_leaves_alone_what_only_a_person_can_mend() {
    let reasons = [ExitReason::BadConfiguration, ExitReason::AnotherSigner];
    let expected: BTreeSet<u8> = reasons.iter().map(|reason| reason.code()).collect();
    assert_eq!(codes("RestartPreventExitStatus"), expected);
    assert_eq!(codes("SuccessExitStatus"), BTreeSet::from([ExitReason::GraceRanOut.code()]));
    assert_eq!(setting("Restart"), "on-failure");
    assert_eq!([setting("Type"), setting("NotifyAccess")], ["notify", "main"]);
}

#[test]
fn a_stop_has_more_time_than_the_grace_and_what_follows_it() {
    let config: toml::Table = read("assay.toml").parse().unwrap();
    let grace = seconds(config["stop"]["grace"].as_str().unwrap());
    let unit = seconds(&setting("TimeoutStopSec"));
    assert!(unit >= grace + AFTER_GRACE_S, "the unit gives {unit} s, the grace is {grace} s");
    let compose = read("compose/compose.yml");
    let line = compose.lines().find_map(|line| line.trim().strip_prefix("stop_grace_period: "));
    let compose = seconds(line.unwrap());
    assert!(compose >= grace + AFTER_GRACE_S, "compose gives {compose} s, the grace {grace} s");
}

/// What `assay config show` says of a file, where nothing else sets anything.
fn config_show(file: &Path, arguments: &[&str]) -> Output {
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(binary("assay").unwrap());
    command.args(["config", "show", "--config"]).arg(file);
    command.args(arguments).env_clear().env("HOME", home.path()).current_dir(home.path());
    command.output().unwrap()
}

#[test]
fn the_shipped_configuration_is_refused_until_a_subnet_is_chosen_and_signs_nothing() {
    let show = |arguments: &[&str]| config_show(&deployed("assay.toml"), arguments);
    let unedited = show(&[]);
    let text = said(&unedited);
    let expected = i32::from(ExitReason::BadConfiguration.code());
    assert_eq!(unedited.status.code(), Some(expected), "{text}");
    assert!(text.contains("the configuration has an error"), "{text}");
    assert!(text.contains("chain.netuid"), "{text}");
    let edited = show(&["--netuid", "3"]);
    let text = said(&edited);
    assert_eq!(edited.status.code(), Some(0), "{text}");
    assert!(text.contains("weights.mode = \"dry_run\""), "{text}");
    assert!(text.contains("data_dir = \"/var/lib/assay\""), "{text}");
}

/// The line of a configuration without the sign before a setting or a table that it proposes.
fn proposed(line: &str) -> &str {
    let Some(rest) = line.strip_prefix("# ") else { return line };
    let is_setting = rest.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '));
    if is_setting || rest.starts_with('[') {
        rest
    } else {
        line
    }
}

#[test]
fn what_the_shipped_configuration_proposes_is_taken_as_it_stands() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("assay.toml");
    let text = read("assay.toml");
    let lines: Vec<&str> = text.lines().map(proposed).collect();
    std::fs::write(&file, lines.join("\n")).unwrap();
    let shown = config_show(&file, &[]);
    let text = said(&shown);
    assert_eq!(shown.status.code(), Some(0), "{text}");
    for setting in [
        "chain.netuid = 3\n",
        "challenge.nas.policy = \"standard\"\n",
        "challenge.nas.dataset = \"/var/lib/assay/datasets/nas\"\n",
        "peer.publish_axon = true\n",
    ] {
        assert!(text.contains(setting), "{setting} is not in:\n{text}");
    }
}

#[test]
fn the_unit_runs_what_the_package_installs_with_the_configuration_that_it_installs() {
    let manifest = repository().join("node/daemon/Cargo.toml");
    let manifest: toml::Table = std::fs::read_to_string(manifest).unwrap().parse().unwrap();
    let package = &manifest["package"]["metadata"]["deb"];
    let mut installed = BTreeSet::new();
    for asset in package["assets"].as_array().unwrap() {
        let part = |index: usize| asset[index].as_str().unwrap().to_owned();
        let (from, to) = (part(0), part(1));
        let source = repository().join("node/daemon").join(from.trim_end_matches("*.md"));
        assert!(source.exists() || from.starts_with("target/release/"), "{from} is not there");
        installed.insert(format!("/{to}"));
    }
    let command = setting("ExecStart");
    for word in command.split(' ').filter(|word| word.starts_with('/')) {
        assert!(installed.contains(word), "{word} is not in {installed:?}");
    }
    let kept = package["conf-files"].as_array().unwrap();
    let kept: Vec<&str> = kept.iter().map(|file| file.as_str().unwrap()).collect();
    assert_eq!(kept, ["/etc/assay/assay.toml"]);
    let scripts = package["maintainer-scripts"].as_str().unwrap();
    for script in ["postinst", "prerm", "postrm"] {
        let path = repository().join("node/daemon").join(scripts).join(script);
        let text = std::fs::read_to_string(&path).unwrap();
        for start in ["systemctl start", "systemctl restart", "systemctl enable"] {
            let is_run = text.lines().any(|line| line.trim_start().starts_with(start));
            assert!(!is_run, "{script} starts a node that nobody configured");
        }
    }
}

/// Programs that stand in for `assay`, `systemctl` and `id`. The node is safe to restart from the
/// third question on, and one that works has something new to do while it is copied; what is asked
/// of systemd is written down, and what is copied.
fn stand_ins(dir: &Path) {
    let assay = format!(
        "#!/bin/sh\n\
         case \"$*\" in\n\
         backup*) [ ! -e '{0}/works' ] || rm '{0}/asked'\n\
         [ ! -e '{0}/full' ] && echo copied >\"$2\"; exit ;;\n\
         *--json*) ;;\n\
         *) echo \"status of the node\"; exit 1 ;;\n\
         esac\n\
         echo asked >>'{0}/asked'\n\
         safe=false\n\
         [ \"$(wc -l <'{0}/asked')\" -lt 3 ] || safe=true\n\
         printf '{{\\n  \"source\": \"running\",\\n  \"safe_to_restart\": %s\\n}}\\n' $safe\n\
         exit 1\n",
        dir.display()
    );
    let systemctl = format!("#!/bin/sh\necho \"$*\" >>'{}/ordered'\n", dir.display());
    // Root, under the name of whoever runs this: nothing has to be run as somebody else.
    let id = format!(
        "#!/bin/sh\n[ \"$1\" = -un ] && echo '{}' && exit\n\
         if [ -e '{}/plain' ]; then echo 1000; else echo 0; fi\n",
        own_name(),
        dir.display()
    );
    for (name, text) in [("assay", assay), ("systemctl", systemctl), ("id", id)] {
        std::fs::write(dir.join(name), text).unwrap();
        let runnable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(dir.join(name), runnable).unwrap();
    }
}

fn own_name() -> String {
    let user = Command::new("id").arg("-un").output().unwrap();
    said(&user).trim().to_owned()
}

/// `assay-upgrade` with the stand-ins; its exit code, and what was asked of systemd.
fn upgrade(dir: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let path = format!("{}:{}", dir.display(), std::env::var("PATH").unwrap());
    let mut command = Command::new(deployed("systemd/assay-upgrade"));
    command.args(["--every", "0", "--user", &own_name()]).arg("--backups").arg(dir.join("backups"));
    let output = command.args(arguments).env("PATH", path).output().unwrap();
    let ordered = std::fs::read_to_string(dir.join("ordered")).unwrap_or_default();
    (output.status.code(), ordered)
}

fn backups(dir: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir.join("backups")) else { return Vec::new() };
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn an_upgrade_waits_until_a_restart_is_safe_and_gives_up_in_time() {
    let dir = tempfile::tempdir().unwrap();
    stand_ins(dir.path());
    let nothing = String::new();
    assert_eq!(upgrade(dir.path(), &["--check"]), (Some(75), nothing.clone()));
    assert_eq!(upgrade(dir.path(), &["--wait", "0"]), (Some(75), nothing));
    assert!(backups(dir.path()).is_empty(), "nothing was to be done");
    assert_eq!(upgrade(dir.path(), &["--wait", "60"]), (Some(0), "restart assay\n".to_owned()));
    let asked = std::fs::read_to_string(dir.path().join("asked")).unwrap();
    assert_eq!(asked.lines().count(), 4, "once more after the copy, and not again");
    let made = backups(dir.path());
    assert!(made.len() == 1 && made[0].starts_with("upgrade-2"), "{made:?}");
}

#[test]
fn what_a_node_began_while_it_was_copied_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    stand_ins(dir.path());
    std::fs::write(dir.path().join("works"), "").unwrap();
    assert_eq!(upgrade(dir.path(), &["--wait", "60"]), (Some(0), "restart assay\n".to_owned()));
    let asked = std::fs::read_to_string(dir.path().join("asked")).unwrap();
    assert_eq!(asked.lines().count(), 3, "until it was safe after the copy");
}

#[test]
fn an_upgrade_restarts_a_busy_node_only_if_it_is_told_to() {
    let dir = tempfile::tempdir().unwrap();
    stand_ins(dir.path());
    let ended = upgrade(dir.path(), &["--wait", "0", "--anyway", "--unit", "assay@2"]);
    assert_eq!(ended, (Some(0), "restart assay@2\n".to_owned()));
    assert_eq!(upgrade(dir.path(), &["--wait", "soon"]).0, Some(64));
}

#[test]
fn an_upgrade_restarts_no_node_that_it_could_not_copy_unless_it_is_told_to() {
    let dir = tempfile::tempdir().unwrap();
    stand_ins(dir.path());
    std::fs::write(dir.path().join("full"), "").unwrap();
    let ended = upgrade(dir.path(), &["--wait", "0", "--anyway"]);
    assert_eq!(ended, (Some(69), String::new()));
    let ended = upgrade(dir.path(), &["--wait", "0", "--anyway", "--no-backup"]);
    assert_eq!(ended, (Some(0), "restart assay\n".to_owned()));
}

#[test]
fn an_upgrade_keeps_its_newest_copies_and_touches_no_others() {
    let dir = tempfile::tempdir().unwrap();
    stand_ins(dir.path());
    std::fs::create_dir(dir.path().join("backups")).unwrap();
    for name in ["a.jsonl", "upgrade-notes", "upgrade-20010101T000000Z.jsonl"] {
        std::fs::write(dir.path().join("backups").join(name), "").unwrap();
    }
    for second in 1..=5 {
        let name = format!("upgrade-20020101T00000{second}Z.jsonl");
        std::fs::write(dir.path().join("backups").join(name), "").unwrap();
    }
    assert_eq!(upgrade(dir.path(), &["--wait", "0", "--anyway"]).0, Some(0));
    let left = backups(dir.path());
    assert_eq!(left.len(), 7, "five of its own, and two others: {left:?}");
    assert!(left.contains(&"a.jsonl".to_owned()) && left.contains(&"upgrade-notes".to_owned()));
    assert!(!left.iter().any(|name| name.contains("20010101") || name.contains("000001Z")));
}

#[test]
fn an_upgrade_is_refused_to_who_is_not_root_before_it_waits() {
    let dir = tempfile::tempdir().unwrap();
    stand_ins(dir.path());
    std::fs::write(dir.path().join("plain"), "").unwrap();
    assert_eq!(upgrade(dir.path(), &["--wait", "60"]), (Some(64), String::new()));
    assert!(!dir.path().join("asked").exists(), "the node was asked first");
    // Whoever is the node's own user may ask.
    assert_eq!(upgrade(dir.path(), &["--check"]).0, Some(75));
    assert_eq!(upgrade(dir.path(), &["--check", "--user", "somebody-else"]).0, Some(64));
}
