//! Who else could reach what must not be reached: the engine's socket, and a coldkey.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use super::Finding;
use crate::config::{Config, Wallet};

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
    const ID: &str = "socket";
    match door {
        Door::Network => {
            let text = format!("the engine is used over the network ({endpoint})");
            let next = "set `engine.host` to its local socket, and close the port";
            Finding::warn(ID, text).next(next)
        }
        // Writing is what connecting takes.
        Door::Socket { mode, is_in_the_open: true, .. } if mode & 0o002 != 0 => {
            let text = format!("every user of this host may use {endpoint} (mode {mode:o})");
            let path = endpoint.trim_start_matches("unix://");
            Finding::fail(ID, text).next(format!("`chmod o= {path}`"))
        }
        Door::Socket { mode, owner, .. } => {
            let whose = if owner == 0 { "root".to_owned() } else { format!("user {owner}") };
            let group = if mode & 0o020 == 0 { "nobody else" } else { "its group" };
            Finding::ok(ID, format!("{endpoint} is open to {whose} and {group} (mode {mode:o})"))
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
            Finding::warn("socket", text).next(next)
        } else {
            Finding::fail("socket", format!("{text}, without a password, for all")).next(next)
        }
    });
    judged.collect()
}

/// Whether the secret of the coldkey lies beside the hotkey.
pub(super) fn coldkey(config: &Config) -> Finding {
    let Wallet { path, name, .. } = &config.wallet;
    judge_coldkey(&path.join(name).join("coldkey"))
}

fn judge_coldkey(path: &Path) -> Finding {
    const ID: &str = "coldkey";
    match std::fs::symlink_metadata(path) {
        Ok(_) => {
            let text = format!("the coldkey lies on this host: `{}`", path.display());
            Finding::warn(ID, text).next(
                "move it to a machine that is offline; a node needs the hotkey alone, and \
                 `coldkeypub.txt` if anything",
            )
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Finding::ok(ID, "not on this host, as it should be")
        }
        Err(error) => {
            let text = format!("cannot look for one at `{}`: {error}", path.display());
            Finding::warn(ID, text).next("see who may read the wallet's folder")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{told, Level};
    use super::*;

    #[test]
    fn who_may_use_the_engine_is_told_by_mode_and_address() {
        let at = "unix:///var/run/docker.sock";
        let socket = |mode, owner, is_in_the_open| {
            judge_door(at, Door::Socket { mode, owner, is_in_the_open })
        };
        let doors = [
            socket(0o660, 0, true),
            socket(0o600, 1000, true),
            socket(0o666, 0, true),
            socket(0o755, 0, true),
            socket(0o666, 1000, false),
            judge_door("tcp://10.0.0.7:2375", Door::Network),
        ];
        insta::assert_snapshot!(told(&doors), @r"
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
    fn a_coldkey_on_this_host_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("coldkey");
        assert_eq!(judge_coldkey(&path).level, Level::Ok);
        std::fs::write(&path, "secret words").unwrap();
        let found = judge_coldkey(&path);
        assert_eq!(found.level, Level::Warn);
        assert!(!found.text.contains("secret words"));
    }
}
