//! The disks: room, inodes, what kind of file system, and what making a commit durable takes.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{Finding, Level, Topic};
use crate::config::Config;

/// Free bytes below which a node stops soon. Lower: the node's own alarm comes first.
const FREE_FAIL: u64 = 1 << 30;
/// Free bytes that one week of contents, images and logs can take.
const FREE_WARN: u64 = 10 << 30;

/// Free inodes below which files cannot be made soon; an image has some ten thousand.
const INODES_FAIL: u64 = 1_000;
const INODES_WARN: u64 = 50_000;

/// Writes that are timed. Lower: one slow sync is all there is. Higher: a slow disk is waited for.
const SYNCS: u32 = 16;
/// The middle sync at which leases become slow: two to a commit.
const SYNC_WARN: Duration = Duration::from_millis(20);
/// Bytes of one write, as large as a usual commit.
const SYNC_BYTES: usize = 4096;

/// File systems that are no place for a store, by the number that `statfs` gives.
const UNFIT: &[(u64, &str, &str)] = &[
    (0x0102_1994, "tmpfs", "gone after a restart of the host"),
    (0x794c_7630, "overlay", "gone with the container that it is in"),
    (0x6969, "NFS", "locks and syncs do not hold on the network"),
    (0xff53_4d42, "CIFS", "locks and syncs do not hold on the network"),
    (0xfe53_4d42, "SMB", "locks and syncs do not hold on the network"),
];

/// What a file system has left.
#[derive(Clone, Copy, Debug)]
struct Room {
    free_bytes: u64,
    /// `None` where inodes are made as needed.
    free_inodes: Option<u64>,
    kind: u64,
}

/// Room below a directory that may not be there yet.
fn room(path: &Path) -> io::Result<(Room, u64)> {
    let there = path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    let found = rustix::fs::statvfs(there)?;
    let kind = rustix::fs::statfs(there)?.f_type;
    let room = Room {
        free_bytes: found.f_bavail.saturating_mul(found.f_frsize),
        free_inodes: (found.f_files > 0).then_some(found.f_favail),
        kind: u64::try_from(kind).unwrap_or_default(),
    };
    Ok((room, std::fs::metadata(there)?.dev()))
}

/// Room for the node's data.
pub(super) fn data(config: &Config) -> Vec<Finding> {
    let path = config.data_dir.path();
    match room(path) {
        Ok((room, _)) => {
            let mut found = vec![judge_room("data", path, room)];
            found.extend(judge_kind(path, room));
            found
        }
        Err(error) => vec![unseen(path, &error)],
    }
}

/// Room for images and containers, where that is another file system than the data's.
pub(super) fn engine(config: &Config, root: &Path) -> Option<Finding> {
    let of_data = room(config.data_dir.path()).ok().map(|(_, device)| device);
    match room(root) {
        Ok((_, device)) if Some(device) == of_data => None,
        Ok((room, _)) => Some(judge_room("engine", root, room)),
        // The engine's own folder is root's.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => None,
        Err(error) => Some(unseen(root, &error)),
    }
}

fn unseen(path: &Path, error: &io::Error) -> Finding {
    let shown = path.display();
    let next = format!("`findmnt --target {shown}` shows whether it is mounted");
    Finding::warn(Topic::Disk, format!("cannot look at `{shown}`: {error}"), next)
}

fn judge_room(what: &str, path: &Path, room: Room) -> Finding {
    let gib = |bytes: u64| bytes / (1 << 30);
    let inodes = match room.free_inodes {
        Some(count) => format!(", {count} inodes"),
        None => String::new(),
    };
    let (bytes, shown) = (gib(room.free_bytes), path.display());
    let text = format!("{what}: {bytes} GiB{inodes} free below `{shown}`");
    let level = |left: u64, fail: u64, warn: u64| match left {
        _ if left < fail => Level::Fail,
        _ if left < warn => Level::Warn,
        _ => Level::Ok,
    };
    let of_bytes = level(room.free_bytes, FREE_FAIL, FREE_WARN);
    let of_inodes =
        room.free_inodes.map_or(Level::Ok, |left| level(left, INODES_FAIL, INODES_WARN));
    let next = format!(
        "`du -xh --max-depth=2 {shown} | sort -h | tail` says what takes it; `docker image prune` \
         removes old images"
    );
    Finding::at(Topic::Disk, of_bytes.max(of_inodes), text, next)
}

fn judge_kind(path: &Path, room: Room) -> Option<Finding> {
    let (_, name, why) = UNFIT.iter().find(|(kind, ..)| *kind == room.kind)?;
    let text = format!("`{}` is on {name}: {why}", path.display());
    let next = "set `data_dir` to a directory on a local disk";
    Some(Finding::warn(Topic::Disk, text, next))
}

/// What a sync of the data directory takes; nothing where there is none yet.
pub(super) fn sync(config: &Config) -> Option<Finding> {
    let directory = config.data_dir.path();
    if !directory.is_dir() {
        return None;
    }
    match time_syncs(directory) {
        Ok(mut times) => {
            times.sort_unstable();
            Some(judge_syncs(&times))
        }
        // The check of the directory says that.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => None,
        Err(error) => Some(not_synced(&error)),
    }
}

fn not_synced(error: &io::Error) -> Finding {
    let text = format!("a file cannot be synced there: {error}");
    let next = "`dmesg | tail` says what the disk has; see whether it is mounted for writing";
    Finding::fail(Topic::Sync, text, next)
}

/// A file of our own, gone when this is.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // It was made just now; if it cannot be removed, the next doctor says why.
        drop(std::fs::remove_file(&self.0));
    }
}

fn time_syncs(directory: &Path) -> io::Result<Vec<Duration>> {
    let path = directory.join(format!(".doctor-{}", std::process::id()));
    // Of a process with this number that was killed.
    drop(std::fs::remove_file(&path));
    let mut file: File = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    let _scratch = Scratch(path);
    let block = [0_u8; SYNC_BYTES];
    let mut times = Vec::new();
    for _ in 0..SYNCS {
        let began = Instant::now();
        file.write_all(&block)?;
        file.sync_data()?;
        times.push(began.elapsed());
    }
    Ok(times)
}

/// - `sorted`: shortest first, at least one.
fn judge_syncs(sorted: &[Duration]) -> Finding {
    let at = |index: usize| sorted.get(index).copied().unwrap_or_default();
    let (middle, longest) = (at(sorted.len() / 2), at(sorted.len().saturating_sub(1)));
    let ms = |time: Duration| format!("{:.1}", time.as_secs_f64() * 1e3);
    let text = format!("a sync takes {} ms, at most {} ms", ms(middle), ms(longest));
    if middle > SYNC_WARN {
        let next = "put `data_dir` on a local SSD; a controller's write cache needs a battery";
        return Finding::warn(Topic::Sync, text, next);
    }
    Finding::ok(Topic::Sync, text)
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::told;
    use super::*;

    /// Everything that these checks can say.
    pub(in super::super) fn findings() -> Vec<Finding> {
        let mut found = rooms().to_vec();
        found.extend(unfit());
        found.extend(syncs());
        let error = |kind: io::ErrorKind| io::Error::from(kind);
        found.push(unseen(Path::new("/var/lib/assay"), &error(io::ErrorKind::PermissionDenied)));
        found.push(not_synced(&error(io::ErrorKind::StorageFull)));
        found
    }

    fn rooms() -> [Finding; 6] {
        let path = Path::new("/var/lib/assay");
        let rooms = [
            (200 << 30, Some(1_000_000)),
            (200 << 30, None),
            (5 << 30, Some(1_000_000)),
            (200 << 30, Some(20_000)),
            (1 << 20, Some(20_000)),
            (200 << 30, Some(10)),
        ];
        rooms.map(|(free_bytes, free_inodes)| {
            judge_room("data", path, Room { free_bytes, free_inodes, kind: 0xef53 })
        })
    }

    fn of_kind(kind: u64) -> Option<Finding> {
        let room = Room { free_bytes: 0, free_inodes: None, kind };
        judge_kind(Path::new("/var/lib/assay"), room)
    }

    fn unfit() -> Vec<Finding> {
        UNFIT.iter().filter_map(|(kind, ..)| of_kind(*kind)).collect()
    }

    fn syncs() -> [Finding; 2] {
        [[1, 2, 90], [1, 30, 90]].map(|times| judge_syncs(&times.map(Duration::from_millis)))
    }

    #[test]
    fn what_is_left_of_bytes_and_inodes_is_judged_by_the_worse() {
        use Level::{Fail, Ok, Warn};
        let levels = rooms().map(|finding| finding.level());
        assert_eq!(levels, [Ok, Ok, Warn, Warn, Fail, Fail]);
    }

    #[test]
    fn a_store_in_memory_or_on_the_network_is_told() {
        assert_eq!(of_kind(0xef53), None);
        insta::assert_snapshot!(told(&unfit()), @r"
        Warn: `/var/lib/assay` is on tmpfs: gone after a restart of the host
          next: set `data_dir` to a directory on a local disk
        Warn: `/var/lib/assay` is on overlay: gone with the container that it is in
          next: set `data_dir` to a directory on a local disk
        Warn: `/var/lib/assay` is on NFS: locks and syncs do not hold on the network
          next: set `data_dir` to a directory on a local disk
        Warn: `/var/lib/assay` is on CIFS: locks and syncs do not hold on the network
          next: set `data_dir` to a directory on a local disk
        Warn: `/var/lib/assay` is on SMB: locks and syncs do not hold on the network
          next: set `data_dir` to a directory on a local disk
        ");
    }

    #[test]
    fn a_slow_disk_is_told_by_its_middle_sync() {
        insta::assert_snapshot!(told(&syncs()), @r"
        Ok: a sync takes 2.0 ms, at most 90.0 ms
        Warn: a sync takes 30.0 ms, at most 90.0 ms
          next: put `data_dir` on a local SSD; a controller's write cache needs a battery
        ");
    }

    #[test]
    fn timing_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(time_syncs(directory.path()).unwrap().len(), 16);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
