//! Real processes: killed at random, started twice, out of disk space.
//!
//! The test binary runs itself: the ignored tests below are what the child process does.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use node_store::{OpenError, Store};

use crate::{common, freezer};

const DIR_VARIABLE: &str = "ASSAY_STORE_TEST_DIR";
const KILL_ROUNDS: u64 = 25;

/// Acceptance case 1: ready again in less than two seconds.
const REOPEN_MAX: Duration = Duration::from_secs(2);

/// A child that runs one of the ignored tests on a data directory.
struct Process {
    child: Child,
    stdin: ChildStdin,
    lines: BufReader<std::process::ChildStdout>,
}

impl Process {
    fn start(test: &str, dir: &Path) -> Self {
        // A write beyond the file size limit shall fail, not kill: SIGXFSZ is ignored.
        let mut child = Command::new("sh")
            .args(["-c", "trap '' XFSZ; exec \"$@\"", "sh"])
            .arg(std::env::current_exe().unwrap())
            .args([test, "--exact", "--ignored", "--nocapture"])
            .env(DIR_VARIABLE, dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, stdin, lines }
    }

    /// The next line that starts with `word`: the rest of it; `None` at the end of the output.
    fn next(&mut self, word: &str) -> Option<String> {
        loop {
            let mut line = String::new();
            if self.lines.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            if let Some(rest) = line.strip_suffix('\n').and_then(|line| line.strip_prefix(word)) {
                return Some(rest.trim().to_owned());
            }
        }
    }

    fn say(&mut self, line: &str) {
        writeln!(self.stdin, "{line}").unwrap();
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn report(line: &str) {
    // The newline in front ends what the test harness has printed on this line.
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(format!("\n{line}\n").as_bytes()).unwrap();
    stdout.flush().unwrap();
}

fn child_dir() -> Option<std::path::PathBuf> {
    std::env::var_os(DIR_VARIABLE).map(Into::into)
}

#[test]
#[ignore = "the child of case_01"]
fn child_commits_until_it_is_killed() {
    let Some(dir) = child_dir() else { return };
    let (store, loaded) = Store::open(&dir).unwrap();
    let first = common::assert_is_a_prefix(loaded.rows) + 1;
    for n in first.. {
        store.commit(&common::history(n)).unwrap();
        report(&format!("ack {n}"));
    }
}

#[test]
fn case_01_no_acknowledged_write_is_lost_to_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = 0;
    let rounds = common::rounds(KILL_ROUNDS);
    for round in 0..rounds {
        let mut process = Process::start("crash::child_commits_until_it_is_killed", dir.path());
        // Round 0 dies while it opens; the others at an arbitrary moment after some commits.
        for _ in 0..round * 7 % 11 {
            process.next("ack ").unwrap();
        }
        process.kill();
        while let Some(n) = process.next("ack ") {
            acknowledged = n.parse().unwrap();
        }
        let started = Instant::now();
        let (store, loaded) = Store::open(dir.path()).unwrap();
        assert!(started.elapsed() < REOPEN_MAX, "opening took {:?}", started.elapsed());
        assert!(loaded.is_complete(), "round {round}: {loaded:?}");
        let found = common::assert_is_a_prefix(loaded.rows);
        assert!(found >= acknowledged, "round {round}: {found} of {acknowledged}");
        assert!(found <= acknowledged + 20, "only what was acknowledged late may be more");
        // The journal is written first: it has every entry, and at most one row-less one a round.
        let mut signed: Vec<_> = loaded.journal.iter().map(|entry| entry.epoch.0).collect();
        signed.dedup();
        assert!(signed.starts_with(&(1..=found).collect::<Vec<_>>()), "round {round}");
        assert!(signed.len() as u64 <= found + 1, "round {round}");
        freezer::assert_freezer_is_whole(&store, found);
        acknowledged = found;
        drop(store);
    }
    assert!(acknowledged > rounds, "the children did commit");
}

#[test]
#[ignore = "the child of case_05"]
fn child_holds_the_store() {
    let Some(dir) = child_dir() else { return };
    let (store, _) = Store::open(&dir).unwrap();
    store.commit(&common::history(1)).unwrap();
    report("ready");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    store.commit(&common::history(2)).unwrap();
    report("committed");
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

#[test]
fn case_05_a_second_process_is_refused_with_the_pid_and_the_first_one_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = Process::start("crash::child_holds_the_store", dir.path());
    first.next("ready").unwrap();
    let error = Store::open(dir.path()).unwrap_err();
    let OpenError::Locked { pid, .. } = error else { panic!("{error}") };
    assert_eq!(pid, Some(first.child.id()));
    assert!(error
        .to_string()
        .contains(&format!("in use by another process, pid {}", first.child.id())));
    first.say("go on");
    first.next("committed").unwrap();
    first.kill();
    let (_, loaded) = Store::open(dir.path()).unwrap();
    assert!(loaded.is_complete());
    assert_eq!(common::assert_is_a_prefix(loaded.rows), 2);
}

fn limit_file_size(bytes: Option<u64>) {
    let limits = rustix::process::Rlimit { current: bytes, maximum: None };
    rustix::process::setrlimit(rustix::process::Resource::Fsize, limits).unwrap();
}

fn commit_until_the_disk_is_full(store: &Store, first: u64) -> (u64, node_store::CommitError) {
    for n in first.. {
        if let Err(error) = store.commit(&common::history(n)) {
            return (n, error);
        }
    }
    unreachable!()
}

#[test]
#[ignore = "the child of case_03"]
fn child_runs_out_of_space_and_goes_on_when_it_returns() {
    let Some(dir) = child_dir() else { return };
    let (store, _) = Store::open(&dir).unwrap();
    store.commit(&common::history(1)).unwrap();
    let log_bytes = std::fs::metadata(dir.join("state/db")).unwrap().len();
    let mut next = 2;
    for room in [1_000_000, 3_000_000] {
        limit_file_size(Some(log_bytes + room));
        let (failed, error) = commit_until_the_disk_is_full(&store, next);
        assert!(error.is_storage_full(), "{error:?}");
        let again = store.commit(&common::history(failed)).unwrap_err();
        assert!(matches!(again, node_store::CommitError::Poisoned { .. }), "{again:?}");
        limit_file_size(None);
        store.reopen().unwrap();
        store.commit(&common::history(failed)).unwrap();
        next = failed + 1;
    }
    report(&format!("survived {next}"));
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

#[test]
fn case_03_a_full_disk_is_an_error_and_the_store_goes_on_when_space_returns() {
    let dir = tempfile::tempdir().unwrap();
    let mut process =
        Process::start("crash::child_runs_out_of_space_and_goes_on_when_it_returns", dir.path());
    let next: u64 = process.next("survived ").expect("the child failed").parse().unwrap();
    process.kill();
    let (_, loaded) = Store::open(dir.path()).unwrap();
    assert!(loaded.is_complete());
    assert!(next > 3);
    assert_eq!(common::assert_is_a_prefix(loaded.rows), next - 1);
}

#[test]
#[ignore = "the child of the journal's full disk"]
fn child_cannot_write_its_journal() {
    let Some(dir) = child_dir() else { return };
    let (store, _) = Store::open(&dir).unwrap();
    store.commit(&common::history(1)).unwrap();
    let journal_bytes = std::fs::metadata(dir.join("signed.journal")).unwrap().len();
    limit_file_size(Some(journal_bytes + 50));
    let error = store.commit(&common::history(2)).unwrap_err();
    assert!(matches!(error, node_store::CommitError::Journal { .. }), "{error:?}");
    report("failed");
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

#[test]
fn no_row_is_written_when_its_journal_entry_could_not_be() {
    let dir = tempfile::tempdir().unwrap();
    let mut process = Process::start("crash::child_cannot_write_its_journal", dir.path());
    process.next("failed").unwrap();
    process.kill();
    let (_, loaded) = Store::open(dir.path()).unwrap();
    assert_eq!(common::assert_is_a_prefix(loaded.rows), 1);
    assert_eq!(loaded.torn_tail.unwrap().bytes, 50);
    assert_eq!(loaded.journal, [common::entry(1)]);
}
