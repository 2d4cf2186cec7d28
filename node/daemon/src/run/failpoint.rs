//! Named points at which tests kill the process, as `kill -9` would: no destructor runs, nothing
//! is flushed; or at which they send it SIGTERM, as `kill -TERM` would, and it goes on.
//!
//! Only builds with debug assertions have them; a release has none. A test names one point in the
//! environment variable `ASSAY_FAILPOINT` of the process, with `term:` before it for SIGTERM.

use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{getpid, kill_process, Signal};

/// Dies here, or is told to end, if a test asked for it.
pub(crate) fn failpoint(name: &str) {
    if !cfg!(debug_assertions) {
        return;
    }
    let Some(armed) = std::env::var_os("ASSAY_FAILPOINT") else { return };
    let armed = armed.to_string_lossy();
    if armed == name {
        tracing::error!(name, "fail point");
        std::process::abort();
    }
    if armed.strip_prefix("term:") == Some(name) && !WAS_TERMINATED.swap(true, Ordering::Relaxed) {
        tracing::warn!(name, "fail point: SIGTERM");
        if let Err(error) = kill_process(getpid(), Signal::TERM) {
            tracing::error!(name, %error, "fail point: no SIGTERM");
        }
    }
}

/// A second one would mean something else.
static WAS_TERMINATED: AtomicBool = AtomicBool::new(false);
