//! Other processes of this host.

use std::path::Path;

/// Whether a process of this number is there. One that is of another user counts too, and so does
/// one that got the number of an earlier process.
pub(super) fn is_there(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}
