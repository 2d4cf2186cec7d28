//! The script as the library sees it now, and the answers that it asks for.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use crate::install::{LOG_FILE, SCRIPT_FILE};
use crate::script::{Answer, Gpu, Script};

/// How often what waits looks at the script.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Which version of the file was read: its time and length, and its number on the disk.
type Stamp = (Option<SystemTime>, u64, u64);

static READ: Mutex<Option<(Stamp, Arc<Script>)>> = Mutex::new(None);

/// A lock that outlives a panic of its holder.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The script as it is now; the last one that could be read if it is not there any more.
pub(crate) fn script() -> Arc<Script> {
    let path = folder().join(SCRIPT_FILE);
    let mut read = lock(&READ);
    let stamp = stamp(&path);
    if let (Some((known, script)), Some(now)) = (&*read, stamp) {
        if *known == now {
            return Arc::clone(script);
        }
    }
    let fresh = std::fs::read(&path).ok().and_then(|text| serde_json::from_slice(&text).ok());
    match (fresh, stamp) {
        (Some(script), Some(stamp)) => {
            let script = Arc::new(script);
            *read = Some((stamp, Arc::clone(&script)));
            script
        }
        _ => match &*read {
            Some((_, script)) => Arc::clone(script),
            None => Arc::new(Script::of(Vec::new())),
        },
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    use std::os::unix::fs::MetadataExt as _;
    let facts = std::fs::metadata(path).ok()?;
    Some((facts.modified().ok(), facts.len(), facts.ino()))
}

/// Where this library lies: the script is beside it.
fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
        let paths = maps.lines().filter_map(|line| line.find('/').map(|at| Path::new(&line[at..])));
        let is_script_beside = |path: &&Path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let is_ours = name.starts_with("libcuda.so") || name.starts_with("libnvidia-ml.so");
            is_ours && path.with_file_name(SCRIPT_FILE).is_file()
        };
        let found = paths.into_iter().find(is_script_beside);
        found.and_then(Path::parent).unwrap_or(Path::new(".")).to_owned()
    })
}

/// What to do instead of a call's work: return the error, or go on with it.
pub(crate) fn obey(call: &str, gpu: Option<usize>) -> Result<(), u32> {
    let mut is_first = true;
    loop {
        let script = script();
        let gpu = gpu.and_then(|index| script.devices.get(index));
        // Who waits for events asks all the time.
        if is_first && script.is_logged && call != "nvmlEventSetWait_v2" {
            log(call, gpu);
        }
        is_first = false;
        let calls = gpu.map_or(&script.calls, |gpu| &gpu.calls);
        match calls.get(call) {
            None => return Ok(()),
            Some(Answer::Error(number)) => return Err(*number),
            Some(Answer::Crash) => std::process::abort(),
            Some(Answer::Hang) => thread::sleep(LOOK_EVERY),
        }
    }
}

fn log(call: &str, gpu: Option<&Gpu>) {
    let line = format!("{call} {}\n", gpu.map_or("", |gpu| &gpu.uuid));
    let file = std::fs::OpenOptions::new().append(true).create(true).open(folder().join(LOG_FILE));
    // A log that cannot be written shows in the test that reads it.
    drop(file.and_then(|mut file| file.write_all(line.as_bytes())));
}
