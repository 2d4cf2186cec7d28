//! `--watch`: the same answer again every second, as much of it as fits the window.

use std::time::Duration;

use super::window::Window;
use crate::exit::ExitReason;
use crate::failure::Failure;
use crate::output;

/// Time between two looks.
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// Prints what `look` gives until interrupted or until nobody reads any more. A failed look is
/// printed in place of the answer.
///
/// # Errors
///
/// A [`Failure`] if stdout breaks.
pub(super) async fn watch(
    is_json: bool,
    mut look: impl AsyncFnMut() -> Result<String, Failure>,
) -> Result<ExitReason, Failure> {
    let mut ticks = tokio::time::interval(WATCH_EVERY);
    loop {
        ticks.tick().await;
        let text = look().await.unwrap_or_else(|failure| failure.to_string());
        let text = match Window::of_stdout() {
            Some(window) if !is_json => window.frame(&text),
            Some(_) | None => text,
        };
        if !output::print_more(&text)? {
            return Ok(ExitReason::Done);
        }
    }
}
