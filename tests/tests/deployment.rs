//! The unit, the package, the compose file and the shipped configuration fit the node and each
//! other.
//!
//! Not here: alert rules and dashboard (`monitoring.rs`).

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

#[test]
fn the_shipped_configuration_is_refused_until_a_subnet_is_chosen_and_signs_nothing() {
    let home = tempfile::tempdir().unwrap();
    let show = |arguments: &[&str]| {
        let mut command = Command::new(binary("assay").unwrap());
        command.args(["config", "show", "--config"]).arg(deployed("assay.toml"));
        command.args(arguments).env_clear().env("HOME", home.path()).current_dir(home.path());
        command.output().unwrap()
    };
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

/// Programs that stand in for `assay` and `systemctl`. The node is safe to restart from the third
/// question on; what is asked of systemd is written down.
fn stand_ins(dir: &Path) {
    let assay = format!(
        "#!/bin/sh\n\
         case \"$*\" in *--json*) ;; *) echo \"status of the node\"; exit 1 ;; esac\n\
         echo asked >>'{0}/asked'\n\
         safe=false\n\
         [ \"$(wc -l <'{0}/asked')\" -lt 3 ] || safe=true\n\
         printf '{{\\n  \"source\": \"running\",\\n  \"safe_to_restart\": %s\\n}}\\n' $safe\n\
         exit 1\n",
        dir.display()
    );
    let systemctl = format!("#!/bin/sh\necho \"$*\" >>'{}/ordered'\n", dir.display());
    for (name, text) in [("assay", assay), ("systemctl", systemctl)] {
        std::fs::write(dir.join(name), text).unwrap();
        let runnable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(dir.join(name), runnable).unwrap();
    }
}

/// `assay-upgrade` with the stand-ins; its exit code, and what was asked of systemd.
fn upgrade(dir: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let user = Command::new("id").arg("-un").output().unwrap();
    let path = format!("{}:{}", dir.display(), std::env::var("PATH").unwrap());
    let mut command = Command::new(deployed("systemd/assay-upgrade"));
    command.args(["--every", "0", "--user", said(&user).trim()]).args(arguments).env("PATH", path);
    let output = command.output().unwrap();
    let ordered = std::fs::read_to_string(dir.join("ordered")).unwrap_or_default();
    (output.status.code(), ordered)
}

#[test]
fn an_upgrade_waits_until_a_restart_is_safe_and_gives_up_in_time() {
    let dir = tempfile::tempdir().unwrap();
    stand_ins(dir.path());
    let nothing = String::new();
    assert_eq!(upgrade(dir.path(), &["--check"]), (Some(75), nothing.clone()));
    assert_eq!(upgrade(dir.path(), &["--wait", "0"]), (Some(75), nothing));
    assert_eq!(upgrade(dir.path(), &["--wait", "60"]), (Some(0), "restart assay\n".to_owned()));
    let asked = std::fs::read_to_string(dir.path().join("asked")).unwrap();
    assert_eq!(asked.lines().count(), 3, "it asked again after it was safe");
}

#[test]
fn an_upgrade_restarts_a_busy_node_only_if_it_is_told_to() {
    let dir = tempfile::tempdir().unwrap();
    stand_ins(dir.path());
    let ended = upgrade(dir.path(), &["--wait", "0", "--anyway", "--unit", "assay@2"]);
    assert_eq!(ended, (Some(0), "restart assay@2\n".to_owned()));
    assert_eq!(upgrade(dir.path(), &["--wait", "soon"]).0, Some(64));
}
