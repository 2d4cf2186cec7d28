//! What commands print: stdout for answers, stderr for failures. Logs go through `tracing`.

use std::io::{self, Write as _};

use crate::failure::Failure;

/// Stdout does not take any more.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to stdout")]
struct OutputError {
    #[source]
    source: io::Error,
}

/// Prints an answer, with a line end behind it. A reader that went away (`assay status | head`) is
/// no failure.
///
/// # Errors
///
/// A [`Failure`] if stdout refuses for another reason, a full disk for example.
pub fn print(text: &str) -> Result<(), Failure> {
    print_more(text).map(|_| ())
}

/// Like [`print`]; says whether the reader is still there.
///
/// # Errors
///
/// As [`print`].
pub fn print_more(text: &str) -> Result<bool, Failure> {
    let mut stdout = io::stdout().lock();
    let written = stdout
        .write_all(text.as_bytes())
        .and_then(|()| if text.ends_with('\n') { Ok(()) } else { stdout.write_all(b"\n") })
        .and_then(|()| stdout.flush());
    match written {
        Ok(()) => Ok(true),
        Err(source) if source.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(source) => Err(Failure::unexpected(OutputError { source })),
    }
}

/// Prints a question to stderr, and leaves the cursor behind it.
pub fn prompt(text: &str) {
    let mut stderr = io::stderr().lock();
    drop(write!(stderr, "{text}").and_then(|()| stderr.flush()));
}

/// Prints to stderr. There is nobody left to tell if that fails.
pub fn print_error(text: &str) {
    drop(writeln!(io::stderr().lock(), "{text}"));
}
