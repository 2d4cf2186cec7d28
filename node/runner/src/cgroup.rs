//! Counters of a running container, read from its cgroup on this host.
//!
//! The engine reports neither that the process limit was hit nor, before the end, that a child was
//! killed for memory; the kernel counts both. Works with cgroup v1, v2 and both at once. Where the
//! files cannot be read (a remote engine, a node that itself runs in a container) there is nothing
//! here and the caller asks the engine instead.

use std::path::{Path, PathBuf};

/// What a container has used and hit so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sample {
    /// Times a process or thread was refused.
    pub(crate) pids_refused: u64,
    /// Processes killed for memory.
    pub(crate) oom_kills: u64,
    /// Most memory so far, or the present use where the kernel keeps no maximum.
    pub(crate) memory_bytes: u64,
    /// CPU time, nanoseconds.
    pub(crate) cpu_ns: u64,
}

impl Sample {
    /// The larger of each counter; none of them ever shrinks.
    pub(crate) fn max(self, other: Self) -> Self {
        Self {
            pids_refused: self.pids_refused.max(other.pids_refused),
            oom_kills: self.oom_kills.max(other.oom_kills),
            memory_bytes: self.memory_bytes.max(other.memory_bytes),
            cpu_ns: self.cpu_ns.max(other.cpu_ns),
        }
    }
}

/// Directories of one container's cgroup, one per controller; the same one on cgroup v2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cgroup {
    pids: PathBuf,
    memory: PathBuf,
    cpu: PathBuf,
}

impl Cgroup {
    /// The cgroup where engines put a container that names no other place, if it is there.
    ///
    /// Needs no process number, so that it can be found while the container is being started.
    pub(crate) fn expected(container_id: &str) -> Option<Self> {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
        let paths = [
            format!("/docker/{container_id}"),
            format!("/system.slice/docker-{container_id}.scope"),
        ];
        paths.iter().find_map(|path| {
            let v1 = format!("3:pids:{path}\n2:memory:{path}\n1:cpuacct:{path}\n");
            let v2 = format!("0::{path}\n");
            let memberships = [v1, v2];
            let mut places = memberships.iter().filter_map(|m| locate(m, &mounts, container_id));
            places.find(|cgroup| cgroup.read().is_some())
        })
    }

    /// The cgroup of a container's first process, if it is on this host and can be read.
    pub(crate) fn of(container_id: &str, pid: i64) -> Option<Self> {
        let membership = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
        let cgroup = locate(&membership, &mounts, container_id)?;
        cgroup.read().map(|_| cgroup)
    }

    /// The counters now; `None` once the container has ended.
    pub(crate) fn read(&self) -> Option<Sample> {
        let number =
            |dir: &Path, file: &str| -> Option<u64> { text(dir, file)?.trim().parse().ok() };
        let oom_kills = text(&self.memory, "memory.events")
            .or_else(|| text(&self.memory, "memory.oom_control"))
            .and_then(|events| field(&events, "oom_kill"))?;
        let memory_bytes = number(&self.memory, "memory.peak")
            .or_else(|| number(&self.memory, "memory.max_usage_in_bytes"))
            .or_else(|| number(&self.memory, "memory.current"))?;
        let cpu_ns = number(&self.cpu, "cpuacct.usage").or_else(|| {
            let micros = field(&text(&self.cpu, "cpu.stat")?, "usage_usec")?;
            Some(micros.saturating_mul(1_000))
        })?;
        let pids_refused = self.read_pids_refused()?;
        Some(Sample { pids_refused, oom_kills, memory_bytes, cpu_ns })
    }

    /// Times a process or thread was refused until now; `None` once the container has ended.
    pub(crate) fn read_pids_refused(&self) -> Option<u64> {
        field(&text(&self.pids, "pids.events")?, "max")
    }
}

fn text(dir: &Path, file: &str) -> Option<String> {
    std::fs::read_to_string(dir.join(file)).ok()
}

/// The number after `name` in a file of `name number` lines.
fn field(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.find(|(key, _)| *key == name)?.1.trim().parse().ok()
}

/// Finds the directories from a process's membership and this host's mounts.
///
/// `None` if the process is not in a cgroup named after the container: then the process number
/// belongs to another host or to another process.
fn locate(membership: &str, mounts: &str, container_id: &str) -> Option<Cgroup> {
    let dir = |controller: &str| -> Option<PathBuf> {
        let (path, mount) = match v1_path(membership, controller) {
            Some(path) => (path, mount_point(mounts, "cgroup", Some(controller))?),
            None => (v2_path(membership)?, mount_point(mounts, "cgroup2", None)?),
        };
        let is_own = path.contains(container_id);
        is_own.then(|| PathBuf::from(mount).join(path.trim_start_matches('/')))
    };
    Some(Cgroup { pids: dir("pids")?, memory: dir("memory")?, cpu: dir("cpuacct")? })
}

/// Lines are `number:controllers:path`.
fn v1_path<'a>(membership: &'a str, controller: &str) -> Option<&'a str> {
    membership.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        controllers.split(',').any(|one| one == controller).then_some(path)
    })
}

fn v2_path(membership: &str) -> Option<&str> {
    membership.lines().find_map(|line| line.strip_prefix("0::"))
}

/// Where a hierarchy is mounted: in `mountinfo`, fields 4 and 5 are the root and the mount point;
/// after a lone dash follow type, source and options.
fn mount_point<'a>(mounts: &'a str, kind: &str, controller: Option<&str>) -> Option<&'a str> {
    mounts.lines().find_map(|line| {
        let (front, back) = line.split_once(" - ")?;
        let mut back = back.split(' ');
        if back.next()? != kind {
            return None;
        }
        let options = back.nth(1)?;
        if !controller.is_none_or(|name| options.split(',').any(|option| option == name)) {
            return None;
        }
        let mut front = front.split(' ').skip(3);
        (front.next()? == "/").then(|| front.next())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1_MOUNTS: &str = "\
30 25 0:26 / /sys/fs/cgroup rw shared:9 - tmpfs tmpfs rw,mode=755
31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw shared:10 - cgroup cgroup rw,cpu,cpuacct
32 30 0:28 / /sys/fs/cgroup/memory rw shared:11 - cgroup cgroup rw,memory
33 30 0:29 / /sys/fs/cgroup/pids rw shared:12 - cgroup cgroup rw,pids
34 30 0:30 / /sys/fs/cgroup/unified rw shared:13 - cgroup2 cgroup2 rw
";
    const V2_MOUNTS: &str =
        "30 25 0:26 / /sys/fs/cgroup rw shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";

    #[test]
    fn a_v1_container_is_found_in_each_controllers_tree() {
        let membership =
            "9:pids:/docker/abc\n8:memory:/docker/abc\n7:cpu,cpuacct:/docker/abc\n0::/\n";
        let cgroup = locate(membership, V1_MOUNTS, "abc").unwrap();
        assert_eq!(cgroup.pids, Path::new("/sys/fs/cgroup/pids/docker/abc"));
        assert_eq!(cgroup.cpu, Path::new("/sys/fs/cgroup/cpu,cpuacct/docker/abc"));
    }

    #[test]
    fn a_v2_container_is_found_in_the_one_tree() {
        let membership = "0::/system.slice/docker-abc.scope\n";
        let cgroup = locate(membership, V2_MOUNTS, "abc").unwrap();
        let dir = Path::new("/sys/fs/cgroup/system.slice/docker-abc.scope");
        assert_eq!((cgroup.pids.as_path(), cgroup.memory.as_path()), (dir, dir));
    }

    #[test]
    fn the_cgroup_of_another_process_is_not_taken_for_the_containers() {
        assert_eq!(locate("0::/user.slice/session-1.scope\n", V2_MOUNTS, "abc"), None);
    }

    #[test]
    fn both_versions_of_the_counter_files_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        let path = dir.path().to_path_buf();
        let cgroup = Cgroup { pids: path.clone(), memory: path.clone(), cpu: path.clone() };
        write("pids.events", "max 3\n");
        write("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n");
        write("memory.max_usage_in_bytes", "4096\n");
        write("cpuacct.usage", "5000\n");
        let v1 = Sample { pids_refused: 3, oom_kills: 2, memory_bytes: 4096, cpu_ns: 5000 };
        assert_eq!(cgroup.read(), Some(v1));
        for old in ["memory.oom_control", "memory.max_usage_in_bytes", "cpuacct.usage"] {
            std::fs::remove_file(path.join(old)).unwrap();
        }
        assert_eq!(cgroup.read(), None);
        write("memory.events", "low 0\nhigh 0\nmax 9\noom 1\noom_kill 1\noom_group_kill 0\n");
        write("memory.current", "8192\n");
        write("cpu.stat", "usage_usec 7\nuser_usec 4\n");
        let v2 = Sample { pids_refused: 3, oom_kills: 1, memory_bytes: 8192, cpu_ns: 7000 };
        assert_eq!(cgroup.read(), Some(v2));
    }
}
