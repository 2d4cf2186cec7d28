//! How much memory this process may still take.
//!
//! Linux grants more than there is and kills later, so asking the allocator is not enough. What the
//! kernel thinks is available counts, and the limit of the service or container that we run in.

use std::path::Path;

const KIB_PER_MIB: u64 = 1024;
const BYTES_PER_MIB: u64 = 1024 * 1024;

/// Longest text that is read from the kernel's files.
const TEXT_BYTES_MAX: u64 = 64 * 1024;

/// MiB that are left; `None` where the system does not say.
pub(super) fn free_mib() -> Option<u64> {
    let machine = read(Path::new("/proc/meminfo")).and_then(|text| available_mib(&text));
    let group = read(Path::new("/proc/self/cgroup"))
        .and_then(|text| group_of(&text).map(str::to_owned))
        .and_then(|group| tightest_mib(Path::new("/sys/fs/cgroup"), &group));
    [machine, group].into_iter().flatten().min()
}

fn read(path: &Path) -> Option<String> {
    use std::io::Read as _;
    let mut text = String::new();
    std::fs::File::open(path).ok()?.take(TEXT_BYTES_MAX).read_to_string(&mut text).ok()?;
    Some(text)
}

/// `MemAvailable` of `/proc/meminfo`.
fn available_mib(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / KIB_PER_MIB)
}

/// The control group of version 2 in `/proc/self/cgroup`.
fn group_of(cgroup: &str) -> Option<&str> {
    cgroup.lines().find_map(|line| line.strip_prefix("0::"))
}

/// What the tightest of the limits on `group` and the groups above it leaves.
fn tightest_mib(root: &Path, group: &str) -> Option<u64> {
    let directory = root.join(group.trim_start_matches('/'));
    directory
        .ancestors()
        .take_while(|directory| directory.starts_with(root))
        .filter_map(|directory| {
            let number = |name: &str| read(&directory.join(name))?.trim().parse::<u64>().ok();
            let (limit, used) = (number("memory.max")?, number("memory.current")?);
            // Pages of files are given up when memory is wanted.
            let stat = read(&directory.join("memory.stat")).unwrap_or_default();
            let files = stat.lines().find_map(|line| line.strip_prefix("file "));
            let files: u64 = files.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
            Some(limit.saturating_sub(used.saturating_sub(files)) / BYTES_PER_MIB)
        })
        .min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_calls_available_counts() {
        let text = "MemTotal:  2048000 kB\nMemFree:  10 kB\nMemAvailable:   1048576 kB\n";
        assert_eq!(available_mib(text), Some(1024));
        assert_eq!(available_mib("MemTotal: 5 kB\n"), None);
        assert_eq!(available_mib("MemAvailable: much\n"), None);
        assert!(free_mib().is_some_and(|mib| mib > 0), "this machine says");
    }

    #[test]
    fn the_tightest_limit_above_the_process_counts_and_cached_files_do_not() {
        let root = tempfile::tempdir().unwrap();
        let service = root.path().join("system.slice/assay.service");
        std::fs::create_dir_all(&service).unwrap();
        let mib = |count: u64| (count * BYTES_PER_MIB).to_string();
        let limit = |directory: &Path, max: &str, used: u64, files: u64| {
            std::fs::write(directory.join("memory.max"), max).unwrap();
            std::fs::write(directory.join("memory.current"), mib(used)).unwrap();
            let stat = format!("anon 5\nfile {}\n", mib(files));
            std::fs::write(directory.join("memory.stat"), stat).unwrap();
        };
        let group = group_of("12:cpu:/x\n0::/system.slice/assay.service\n").unwrap();
        assert_eq!(tightest_mib(root.path(), group), None);
        limit(&service, "max\n", 100, 0);
        assert_eq!(tightest_mib(root.path(), group), None);
        limit(&service, &mib(1000), 900, 300);
        assert_eq!(tightest_mib(root.path(), group), Some(400));
        limit(service.parent().unwrap(), &mib(500), 450, 0);
        assert_eq!(tightest_mib(root.path(), group), Some(50));
    }
}
