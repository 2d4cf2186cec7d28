//! What operators type wrong: the table in `tests/fixtures/mistakes.toml`, each case set up, run
//! and judged.
//!
//! Used from two places, which differ in what there is beside the node: nothing at all
//! (`node/daemon/tests/mistakes.rs`), or a chain and an engine (`tests/tests/start_errors.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde::Deserialize;

/// How long a command may take that can only say no. A node that starts instead is ended then.
const ENDS_WITHIN: Duration = Duration::from_secs(90);

/// What is no part of any answer: seeds and passwords of the table and of its keys.
const SECRETS: &[&str] = &["e5be9a5092b81bca", "0101010101010101", "hunter2"];

/// What a line begins with that says what to do next.
const NEXT: &[&str] = &["hint:", "next:", "tip:", "For more information"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    mistake: Vec<Mistake>,
}

/// One case; the table's head says what each field is.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mistake {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) needs: Needs,
    #[serde(default)]
    files: BTreeMap<String, String>,
    #[serde(default)]
    copies: BTreeMap<String, String>,
    #[serde(default)]
    dirs: Vec<String>,
    #[serde(default)]
    remove: Vec<String>,
    #[serde(default)]
    modes: BTreeMap<String, String>,
    #[serde(default)]
    variables: BTreeMap<String, String>,
    socket: Option<String>,
    locked: Option<String>,
    data_set: Option<String>,
    #[serde(default)]
    altered: bool,
    answers: Option<Answers>,
    #[serde(default)]
    without_root: bool,
    file_bytes_max: Option<u64>,
    run: Vec<String>,
    untouched: Option<String>,
    says: Vec<String>,
    hint: Option<String>,
    code: i32,
}

/// What has to be there for a mistake to be made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Needs {
    #[default]
    Nothing,
    /// A chain, and an engine with the evaluator image.
    Chain,
}

/// What a server says to whoever connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answers {
    /// What a web server says to what it does not know.
    Http,
    /// What a server of TLS says to what is none.
    Tls,
}

/// What is sound before the mistake is made.
pub(crate) struct Ground {
    /// The program.
    pub(crate) assay: PathBuf,
    /// The configuration; `$DIR` is the directory of the case.
    pub(crate) config: String,
    /// A key's file, by its path in that directory.
    pub(crate) key: Option<(&'static str, String)>,
    /// Variables beside `HOME` and `PATH`.
    pub(crate) variables: Vec<(String, String)>,
}

/// All cases, each under a name of its own.
pub(crate) fn all() -> Vec<Mistake> {
    let text = std::fs::read_to_string(repository().join("tests/fixtures/mistakes.toml")).unwrap();
    let table: Table = toml::from_str(&text).unwrap();
    let names: BTreeSet<&str> = table.mistake.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names.len(), table.mistake.len(), "two mistakes have one name");
    table.mistake
}

fn repository() -> &'static Path {
    let mut above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    above.find(|dir| dir.join("tests/fixtures/mistakes.toml").is_file()).unwrap()
}

/// A case, set up. What it holds open goes with it.
struct Scene {
    dir: tempfile::TempDir,
    port: String,
    _socket: Option<UnixListener>,
    _lock: Option<File>,
}

impl Scene {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A text of the table with what its words stand for here.
    fn meant(&self, text: &str) -> String {
        let dir = self.dir.path().display().to_string();
        text.replace("$DIR", &dir).replace("$PORT", &self.port)
    }

    fn write(&self, name: &str, content: &[u8]) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
}

impl Ground {
    /// Makes a mistake; what was told otherwise than the table says, if anything.
    pub(crate) fn judge(&self, mistake: &Mistake) -> Option<String> {
        let scene = self.set_up(mistake);
        let arguments: Vec<String> = mistake.run.iter().map(|word| scene.meant(word)).collect();
        let shown = format!("`{}`: assay {}", mistake.name, mistake.run.join(" "));
        let Some(output) = run(self.command(mistake, &scene, &arguments)) else {
            return Some(format!("{shown}\n  it does not end"));
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let dir = scene.dir.path().display().to_string();
        let told = format!("{}{}", text(&output.stdout), text(&output.stderr));
        let told = told.replace(&dir, "$DIR");
        let mut wrong = mistake.wrong_in(&told, &scene.port);
        if output.status.code() != Some(mistake.code) {
            wrong.push(format!("it ends with {}, not with {}", output.status, mistake.code));
        }
        let made = mistake.untouched.as_ref().filter(|name| scene.path(name).exists());
        wrong.extend(made.map(|name| format!("`{name}` came into being")));
        (!wrong.is_empty()).then(|| format!("{shown}\n  {}\n{told}", wrong.join("\n  ")))
    }

    fn set_up(&self, mistake: &Mistake) -> Scene {
        let mut scene = Scene {
            dir: tempfile::tempdir().unwrap(),
            port: mistake.answers.map(serve).map(|port| port.to_string()).unwrap_or_default(),
            _socket: None,
            _lock: None,
        };
        scene.write("assay.toml", scene.meant(&self.config).as_bytes());
        if let Some((name, key)) = &self.key {
            scene.write(name, key.as_bytes());
            set_mode(&scene.path(name), "600");
        }
        for name in &mistake.remove {
            std::fs::remove_file(scene.path(name)).unwrap();
        }
        for name in &mistake.dirs {
            std::fs::create_dir_all(scene.path(name)).unwrap();
        }
        for (name, content) in &mistake.files {
            scene.write(name, scene.meant(content).as_bytes());
        }
        for (name, from) in &mistake.copies {
            scene.write(name, &std::fs::read(repository().join(from)).unwrap());
        }
        if let Some(name) = &mistake.data_set {
            self.prepare(&scene, name);
            if mistake.altered {
                alter(&scene.path(name));
            }
        }
        scene._socket =
            mistake.socket.as_ref().map(|name| UnixListener::bind(scene.path(name)).unwrap());
        scene._lock = mistake.locked.as_ref().map(|name| {
            scene.write(name, b"");
            let file = File::options().write(true).open(scene.path(name)).unwrap();
            file.lock().unwrap();
            file
        });
        // Last: it may take away what the rest needs.
        for (name, mode) in &mistake.modes {
            set_mode(&scene.path(name), mode);
        }
        scene
    }

    /// A data set of 300 paragraphs, in a folder of this name.
    fn prepare(&self, scene: &Scene, name: &str) {
        let paragraph = |index: usize| format!("Paragraph {index}. {}\n\n", "word ".repeat(400));
        let text: String = (0..300).map(paragraph).collect();
        scene.write("text.txt", text.as_bytes());
        let mut command = Command::new(&self.assay);
        command.args(["dataset", "prepare", "--text", "text.txt", "--out", name]);
        let output = command.current_dir(scene.dir.path()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn command(&self, mistake: &Mistake, scene: &Scene, arguments: &[String]) -> Command {
        let mut words: Vec<String> = Vec::new();
        if let Some(bytes) = mistake.file_bytes_max {
            // Blocks of 512 bytes. Without the signal a write that goes beyond is an error.
            let limited = format!("trap '' XFSZ; ulimit -f {}; exec \"$@\"", bytes / 512);
            words.extend(["sh".to_owned(), "-c".to_owned(), limited, "sh".to_owned()]);
        }
        let is_root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
        if mistake.without_root && is_root {
            words.push("setpriv".to_owned());
            words.push("--bounding-set=-dac_override,-dac_read_search".to_owned());
        }
        words.push(self.assay.display().to_string());
        words.extend(arguments.iter().cloned());
        let (program, rest) = words.split_first().unwrap();
        let mut command = Command::new(program);
        let path = std::env::var_os("PATH").unwrap_or_default();
        command.args(rest).current_dir(scene.dir.path()).env_clear();
        command.env("HOME", scene.dir.path()).env("PATH", path);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.envs(mistake.variables.iter().map(|(name, value)| (name, scene.meant(value))));
        command
    }
}

impl Mistake {
    /// What is missing from an answer, or has no place in it.
    fn wrong_in(&self, told: &str, port: &str) -> Vec<String> {
        let mut wrong = Vec::new();
        for says in self.says.iter().map(|text| text.replace("$PORT", port)) {
            if !told.contains(&says) {
                wrong.push(format!("it does not say `{says}`"));
            }
        }
        let is_next = |line: &&str| NEXT.iter().any(|word| line.trim_start().starts_with(word));
        if let Some(hint) = &self.hint {
            if !told.lines().filter(is_next).any(|line| line.contains(hint)) {
                wrong.push(format!("no line on what to do next has `{hint}`"));
            }
        }
        for secret in SECRETS.iter().filter(|secret| told.contains(**secret)) {
            wrong.push(format!("it shows the secret `{secret}`"));
        }
        if told.contains("panicked at") {
            wrong.push("it panics".to_owned());
        }
        wrong
    }
}

/// Runs a command to its end; `None` if it has to be ended.
fn run(mut command: Command) -> Option<Output> {
    let child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = child.id().to_string();
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || drop(sender.send(child.wait_with_output())));
    let ended = receiver.recv_timeout(ENDS_WITHIN).ok();
    if ended.is_none() {
        assert!(Command::new("kill").args(["-9", &pid]).status().unwrap().success());
    }
    ended.map(Result::unwrap)
}

fn set_mode(path: &Path, octal: &str) {
    let mode = u32::from_str_radix(octal, 8).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Changes a byte of a shard.
fn alter(data_set: &Path) {
    let entries = std::fs::read_dir(data_set).unwrap().map(|entry| entry.unwrap().path());
    let is_shard = |path: &PathBuf| path.extension().is_none_or(|extension| extension != "json");
    let shard = entries.filter(is_shard).min().unwrap();
    let mut bytes = std::fs::read(&shard).unwrap();
    bytes[0] ^= 1;
    std::fs::write(shard, bytes).unwrap();
}

/// A server that answers everybody the same, for as long as this process lives; its port.
fn serve(answers: Answers) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer: &[u8] = match answers {
        Answers::Http => {
            b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        }
        // An alert: the version of the protocol is not taken.
        Answers::Tls => &[0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x46],
    };
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut request = [0; 4096];
            // Whoever goes away without an answer needs none.
            if stream.read(&mut request).is_ok() {
                drop(stream.write_all(answer));
            }
        }
    });
    port
}
