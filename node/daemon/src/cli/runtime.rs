//! Where a command waits for what it asks: a runtime on the command's own thread.

use std::future::Future;

/// Waits for what a command asks, with timers and sockets and without further threads.
///
/// # Errors
///
/// If the system gives no event queue; nothing was asked then.
pub(super) fn block_on<T>(asking: impl Future<Output = T>) -> std::io::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    Ok(runtime?.block_on(asking))
}
