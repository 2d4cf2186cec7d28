//! Who could reach what nobody else must: the engine's socket, the hotkey and a coldkey.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::{in_a_line, Finding, Topic};
use crate::config::Config;
use crate::hotkey;

/// The ports on which an engine listens without and with TLS.
const ENGINE_PORTS: [u16; 2] = [2375, 2376];

/// State of a socket that listens, as `/proc/net/tcp` has it.
const LISTENS: &str = "0A";

/// Bytes of a table of sockets that are read. Higher: a busy host has a longer one.
const TABLE_BYTES_MAX: usize = 16 << 20;

/// How the engine is reached.
#[derive(Clone, Copy, Debug)]
enum Door {
    /// A socket in the file system: its permission bits, its owner, and whether everybody gets
    /// through the folders above it.
    Socket { mode: u32, owner: u32, is_in_the_open: bool },
    /// Anybody who gets to the port.
    Network,
}

/// Who can reach the engine at `endpoint`, and whether one listens on the network besides.
pub(super) fn socket(endpoint: &str) -> Vec<Finding> {
    let door = match endpoint.strip_prefix("unix://") {
        Some(path) => match std::fs::metadata(path) {
            Ok(found) if found.file_type().is_socket() => {
                let may_enter =
                    |folder: &Path| folder.metadata().is_ok_and(|found| found.mode() & 0o001 != 0);
                let is_in_the_open = Path::new(path).ancestors().skip(1).all(may_enter);
                Door::Socket { mode: found.mode() & 0o777, owner: found.uid(), is_in_the_open }
            }
            // The engine's own check says that.
            Ok(_) | Err(_) => return Vec::new(),
        },
        None => Door::Network,
    };
    let mut found = vec![judge_door(endpoint, door)];
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| {
        let table = std::fs::read_to_string(path).unwrap_or_default();
        table.get(..TABLE_BYTES_MAX).unwrap_or(&table).to_owned()
    });
    found.extend(judge_listeners(
        &tables.iter().flat_map(|table| listeners(table)).collect::<Vec<_>>(),
    ));
    found
}

fn judge_door(endpoint: &str, door: Door) -> Finding {
    const TOPIC: Topic = Topic::Socket;
    match door {
        Door::Network => {
            let text = format!("the engine is used over the network ({endpoint})");
            let next = "set `engine.host` to its local socket, and close the port";
            Finding::warn(TOPIC, text, next)
        }
        // Writing is what connecting takes.
        Door::Socket { mode, is_in_the_open: true, .. } if mode & 0o002 != 0 => {
            let text = format!("every user of this host may use {endpoint} (mode {mode:o})");
            let path = endpoint.trim_start_matches("unix://");
            Finding::fail(TOPIC, text, format!("`chmod o= {path}`"))
        }
        Door::Socket { mode, owner, .. } => {
            let whose = if owner == 0 { "root".to_owned() } else { format!("user {owner}") };
            let group = if mode & 0o020 == 0 { "nobody else" } else { "its group" };
            Finding::ok(TOPIC, format!("{endpoint} is open to {whose} and {group} (mode {mode:o})"))
        }
    }
}

/// Ports that a table of sockets says are listened on, and whether on this host's own address
/// alone.
fn listeners(table: &str) -> impl Iterator<Item = (u16, bool)> + '_ {
    table.lines().skip(1).filter_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let (address, port) = fields.next()?.split_once(':')?;
        let is_listening = fields.nth(1)? == LISTENS;
        // 127.0.0.1, ::1 and ::ffff:127.0.0.1 in the kernel's order of bytes.
        let is_local = address.ends_with("7F") && address.len() == 8
            || ["00000000000000000000000001000000", "0000000000000000FFFF00000100007F"]
                .contains(&address);
        is_listening.then_some((u16::from_str_radix(port, 16).ok()?, is_local))
    })
}

fn judge_listeners(listening: &[(u16, bool)]) -> Vec<Finding> {
    let engines = listening.iter().filter(|(port, _)| ENGINE_PORTS.contains(port));
    let judged = engines.map(|(port, is_local)| {
        let text = format!("something listens on port {port}, where engines do");
        let next = format!("`ss -ltnp 'sport = :{port}'` says what; an engine needs no port");
        if *is_local || *port == ENGINE_PORTS[1] {
            Finding::warn(Topic::Socket, text, next)
        } else {
            Finding::fail(Topic::Socket, format!("{text}, without a password, for all"), next)
        }
    });
    judged.collect()
}

/// A user of this host, as people know it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct User {
    id: u32,
    /// As `/etc/passwd` has it; a user from elsewhere has none there.
    name: Option<String>,
}

impl User {
    /// - `table`: lines as `/etc/passwd` has them.
    fn of(id: u32, table: &str) -> Self {
        let name = table.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            (fields.nth(1)?.parse::<u32>() == Ok(id) && !name.is_empty()).then(|| name.to_owned())
        });
        Self { id, name }
    }

    fn shown(&self) -> String {
        match &self.name {
            Some(name) => format!("user {name} ({})", self.id),
            None => format!("user {}", self.id),
        }
    }

    /// As commands take it.
    fn argument(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.id.to_string())
    }
}

/// Whether the hotkey's file is somebody else's than the data directory, which is the node's: a
/// doctor that root runs can read it all the same. Nothing is said where there is no directory yet.
///
/// - `owner`: the number of the user whose file it is.
pub(super) fn hotkey_owner(config: &Config, file: &Path, owner: u32) -> Option<Finding> {
    let directory = config.data_dir.path();
    let of_data = std::fs::metadata(directory).ok()?.uid();
    let table = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    judge_owners(file, &User::of(owner, &table), directory, &User::of(of_data, &table))
}

fn judge_owners(file: &Path, of_file: &User, data: &Path, of_data: &User) -> Option<Finding> {
    if of_file.id == of_data.id {
        return None;
    }
    let (file, data) = (file.display(), data.display());
    let text = format!(
        "`{file}` belongs to {}, and `{data}` to {}: the node's user needs both",
        of_file.shown(),
        of_data.shown(),
    );
    let next = format!("`chown {} {file}`, if that is the node's user", of_data.argument());
    Some(Finding::warn(Topic::Key, text, next))
}

/// What came of looking for coldkeys among all wallets.
#[derive(Debug, Default)]
struct Looked {
    folder: PathBuf,
    found: Vec<PathBuf>,
    wallets: usize,
    /// What could not be looked at, and why.
    unseen: Vec<String>,
    /// Whether there are more wallets than were looked into.
    is_cut: bool,
}

/// Whether the secret of a coldkey lies in any wallet of the wallets' folder.
pub(super) fn coldkey(config: &Config) -> Finding {
    let folder = config.wallet.path.clone();
    let looked = match hotkey::place(&config.wallet).coldkeys() {
        Ok(search) => {
            let unseen = search.unseen.iter();
            let unseen = unseen.map(|(path, error)| format!("`{}`: {error}", path.display()));
            let (found, wallets, is_cut) = (search.found, search.wallets, search.is_cut);
            Looked { folder, unseen: unseen.collect(), found, wallets, is_cut }
        }
        Err(error) => Looked { folder, unseen: vec![in_a_line(&error)], ..Looked::default() },
    };
    judge_coldkeys(&looked)
}

fn judge_coldkeys(looked: &Looked) -> Finding {
    const TOPIC: Topic = Topic::Coldkey;
    let folder = looked.folder.display();
    if !looked.found.is_empty() {
        let paths = looked.found.iter().map(|path| format!("`{}`", path.display()));
        let paths = paths.collect::<Vec<_>>().join(", ");
        let text = format!("the secret of a coldkey lies on this host: {paths}");
        return Finding::warn(
            TOPIC,
            text,
            "move it to a machine that is offline; a node needs the hotkey alone, and \
             `coldkeypub.txt` if anything",
        );
    }
    if !looked.unseen.is_empty() {
        let text = format!("cannot look for one: {}", looked.unseen.join(", "));
        let next = format!("`ls -ld {folder}` shows who may read the wallets; run this as root");
        return Finding::warn(TOPIC, text, next);
    }
    let wallets = match (looked.wallets, looked.is_cut) {
        (count, true) => {
            let text = format!(
                "none in {count} wallets of `{folder}`, which has more of them: not all were \
                 looked into"
            );
            let next = format!("`ls {folder}/*/coldkey` lists them all");
            return Finding::warn(TOPIC, text, next);
        }
        (0, false) => format!("none: there is no wallet in `{folder}`"),
        (1, false) => format!("none in the one wallet of `{folder}`"),
        (count, false) => format!("none in the {count} wallets of `{folder}`"),
    };
    Finding::ok(TOPIC, wallets)
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::{told, Level};
    use super::*;

    /// Everything that these checks can say.
    pub(in super::super) fn findings() -> Vec<Finding> {
        let mut found = doors().to_vec();
        found.extend(judge_listeners(&[(2375, false), (2375, true), (2376, false)]));
        found.extend(owners());
        found.extend(coldkeys());
        found
    }

    fn doors() -> [Finding; 6] {
        let at = "unix:///var/run/docker.sock";
        let socket = |mode, owner, is_in_the_open| {
            judge_door(at, Door::Socket { mode, owner, is_in_the_open })
        };
        [
            socket(0o660, 0, true),
            socket(0o600, 1000, true),
            socket(0o666, 0, true),
            socket(0o755, 0, true),
            socket(0o666, 1000, false),
            judge_door("tcp://10.0.0.7:2375", Door::Network),
        ]
    }

    fn owners() -> Vec<Finding> {
        let table = "root:x:0:0:root:/root:/bin/bash\nassay:x:998:998::/var/lib/assay:/bin/false\n";
        let judged = |of_file: u32, of_data: u32| {
            let [of_file, of_data] = [of_file, of_data].map(|id| User::of(id, table));
            let file = Path::new("/etc/assay/wallets/w/hotkeys/h");
            judge_owners(file, &of_file, Path::new("/var/lib/assay"), &of_data)
        };
        assert_eq!(judged(998, 998), None);
        [judged(0, 998), judged(998, 0), judged(1000, 61_234)].into_iter().flatten().collect()
    }

    fn coldkeys() -> Vec<Finding> {
        let looked = |found: &[&str], wallets, is_cut| Looked {
            folder: PathBuf::from("/w"),
            found: found.iter().map(PathBuf::from).collect(),
            wallets,
            unseen: Vec::new(),
            is_cut,
        };
        let forbidden = "`/w/a/coldkey`: Permission denied (os error 13)".to_owned();
        [
            looked(&[], 0, false),
            looked(&[], 1, false),
            looked(&[], 3, false),
            looked(&[], 256, true),
            looked(&["/w/a/coldkey"], 3, false),
            looked(&["/w/a/coldkey", "/w/b/coldkey"], 256, true),
            Looked { unseen: vec![forbidden], ..looked(&[], 2, false) },
        ]
        .iter()
        .map(judge_coldkeys)
        .collect()
    }

    #[test]
    fn who_may_use_the_engine_is_told_by_mode_and_address() {
        insta::assert_snapshot!(told(&doors()), @r"
        Ok: unix:///var/run/docker.sock is open to root and its group (mode 660)
        Ok: unix:///var/run/docker.sock is open to user 1000 and nobody else (mode 600)
        Fail: every user of this host may use unix:///var/run/docker.sock (mode 666)
          next: `chmod o= /var/run/docker.sock`
        Ok: unix:///var/run/docker.sock is open to root and nobody else (mode 755)
        Ok: unix:///var/run/docker.sock is open to user 1000 and its group (mode 666)
        Warn: the engine is used over the network (tcp://10.0.0.7:2375)
          next: set `engine.host` to its local socket, and close the port
        ");
    }

    #[test]
    fn an_engine_on_the_network_is_found_in_the_table_of_sockets() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue\n\
                     0: 00000000:0947 00000000:0000 0A 00000000:00000000 00:00000000\n\
                     1: 0100007F:0947 00000000:0000 0A 00000000:00000000 00:00000000\n\
                     2: 0100007F:0016 00000000:0000 0A 00000000:00000000 00:00000000\n\
                     3: 0A000007:0947 0A000008:01BB 01 00000000:00000000 00:00000000\n\
                     nonsense\n";
        let found: Vec<(u16, bool)> = listeners(table).collect();
        assert_eq!(found, [(2375, false), (2375, true), (22, true)]);
        insta::assert_snapshot!(told(&judge_listeners(&found)), @r"
        Fail: something listens on port 2375, where engines do, without a password, for all
          next: `ss -ltnp 'sport = :2375'` says what; an engine needs no port
        Warn: something listens on port 2375, where engines do
          next: `ss -ltnp 'sport = :2375'` says what; an engine needs no port
        ");
        assert!(judge_listeners(&[(22, false)]).is_empty());
    }

    #[test]
    fn a_key_file_of_another_user_than_the_data_directorys_is_told_with_both_and_the_command() {
        let told = told(&owners());
        for part in [
            "hotkeys/h` belongs to user root (0), and `/var/lib/assay` to user assay (998)",
            "next: `chown assay /etc/assay/wallets/w/hotkeys/h`",
            "belongs to user 1000, and `/var/lib/assay` to user 61234",
        ] {
            assert!(told.contains(part), "{told}");
        }
    }

    #[test]
    fn users_are_found_by_number_in_whatever_the_table_holds() {
        let name = |id, table| User::of(id, table).name;
        assert_eq!(name(7, "a:x:6:\nb:x:7:7\nc:x:7:"), Some("b".to_owned()));
        for odd in ["", "\n\n", ":::", "b:x", "b:x:seven", ":x:7:", "b:7:x"] {
            assert_eq!(name(7, odd), None, "{odd}");
        }
    }

    #[test]
    fn where_no_coldkey_lies_it_is_said_how_far_was_looked() {
        let told = told(&coldkeys());
        for part in ["Ok: none in the 3 wallets of `/w`", "Warn: none in 256 ", "`/w/b/coldkey`"] {
            assert!(told.contains(part), "{told}");
        }
        assert!(!told.contains("Ok: none in 256"), "what was not looked at is not called good");
    }

    #[test]
    fn a_coldkey_of_any_wallet_is_told_and_never_read() {
        let operator = super::super::texts::Operator::new();
        let config = operator.config();
        assert_eq!(coldkey(&config).level(), Level::Ok);
        operator.write(".bittensor/wallets/other/coldkey", "secret words");
        let found = coldkey(&config);
        assert_eq!(found.level(), Level::Warn);
        assert!(found.text().contains("other/coldkey"), "{found:?}");
        assert!(!found.text().contains("secret words"), "{found:?}");
    }
}
