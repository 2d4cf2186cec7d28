//! Named points at which tests kill the process, as `kill -9` would: no destructor runs, nothing
//! is flushed.
//!
//! Only builds with debug assertions have them; a release has none. A test names one point in the
//! environment variable `ASSAY_FAILPOINT` of the process.

/// Dies here if a test asked for it.
pub(crate) fn failpoint(name: &str) {
    let is_armed = cfg!(debug_assertions)
        && std::env::var_os("ASSAY_FAILPOINT").is_some_and(|armed| armed == name);
    if is_armed {
        tracing::error!(name, "fail point");
        std::process::abort();
    }
}
