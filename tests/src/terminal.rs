//! A pseudo-terminal with a program in it, and what a person sees on its screen.
//!
//! The program gets a real terminal of the system; a terminal emulator that is not ours says what
//! stands where after all that the program wrote.

use std::fmt;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{bail, Context as _};
use portable_pty::{native_pty_system, Child, CommandBuilder, MasterPty, PtySize};
use tokio::time::Instant;
use vt100::{Cell, Color, Parser, Screen};

/// How often the screen is looked at while something is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Bytes that are read from the program at a time.
const READ_BYTES: usize = 8192;

/// Columns and rows of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// How wide it is.
    pub columns: u16,
    /// How high it is.
    pub rows: u16,
}

impl From<Size> for PtySize {
    fn from(size: Size) -> Self {
        Self { rows: size.rows, cols: size.columns, pixel_width: 0, pixel_height: 0 }
    }
}

/// What stands on the screen at one moment.
#[derive(Clone)]
pub struct Picture(Screen);

impl Picture {
    /// Its lines, without the blanks at their ends.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let (_, columns) = self.0.size();
        self.0.rows(0, columns).map(|line| line.trim_end().to_owned()).collect()
    }

    /// A line, from zero; empty below the screen.
    #[must_use]
    pub fn line(&self, row: usize) -> String {
        self.lines().into_iter().nth(row).unwrap_or_default()
    }

    /// What is highlighted in a line: the text of its inverse cells.
    #[must_use]
    pub fn highlighted(&self, row: u16) -> String {
        self.cells(row).filter(|cell| cell.inverse()).map(Cell::contents).collect()
    }

    /// The colours of the cells of a line that show this symbol.
    #[must_use]
    pub fn colours_of(&self, row: u16, symbol: &str) -> Vec<Color> {
        self.cells(row).filter(|cell| cell.contents() == symbol).map(Cell::fgcolor).collect()
    }

    /// Whether the program has taken the whole screen for itself.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        self.0.alternate_screen()
    }

    /// Whether the cursor is hidden.
    #[must_use]
    pub fn is_cursor_hidden(&self) -> bool {
        self.0.hide_cursor()
    }

    fn cells(&self, row: u16) -> impl Iterator<Item = &Cell> {
        let (_, columns) = self.0.size();
        (0..columns).filter_map(move |column| self.0.cell(row, column))
    }
}

impl fmt::Display for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rows, columns) = self.0.size();
        writeln!(f, "{columns} x {rows}:")?;
        self.lines().iter().try_for_each(|line| writeln!(f, "| {line}"))
    }
}

impl fmt::Debug for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A program in a terminal of its own; it is ended with its owner.
pub struct Terminal {
    master: Box<dyn MasterPty + Send>,
    keyboard: Box<dyn Write + Send>,
    child: Box<dyn Child + Send + Sync>,
    emulator: Arc<Mutex<Parser>>,
    modes: String,
}

impl fmt::Debug for Terminal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} in {:?}", self.child, self.picture())
    }
}

impl Terminal {
    /// Opens a terminal and starts a program in it.
    ///
    /// # Errors
    ///
    /// If the system has no terminal left, or the program cannot be started.
    pub fn start(program: &Path, arguments: &[&str], size: Size) -> anyhow::Result<Self> {
        let pair = native_pty_system().openpty(size.into())?;
        let modes = modes(&*pair.master);
        let mut command = CommandBuilder::new(program);
        command.args(arguments);
        command.cwd(std::env::current_dir()?);
        command.env("TERM", "xterm-256color");
        for name in ["NO_COLOR", "COLUMNS", "LINES"] {
            command.env_remove(name);
        }
        let child = pair.slave.spawn_command(command)?;
        // The program has its own; with ours open the end of its output would never be seen.
        drop(pair.slave);
        let keyboard = pair.master.take_writer()?;
        let mut output = pair.master.try_clone_reader()?;
        let emulator = Arc::new(Mutex::new(Parser::new(size.rows, size.columns, 0)));
        let shown = Arc::clone(&emulator);
        std::thread::spawn(move || {
            let mut bytes = [0; READ_BYTES];
            // A terminal without a program in it is an error to read from: the end.
            while let Ok(read @ 1..) = output.read(&mut bytes) {
                let new = bytes.get(..read).unwrap_or_default();
                shown.lock().unwrap_or_else(PoisonError::into_inner).process(new);
            }
        });
        Ok(Self { master: pair.master, keyboard, child, emulator, modes })
    }

    /// What stands on the screen now.
    #[must_use]
    pub fn picture(&self) -> Picture {
        Picture(self.emulator().screen().clone())
    }

    fn emulator(&self) -> std::sync::MutexGuard<'_, Parser> {
        self.emulator.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Types something, or what a key sends.
    ///
    /// # Errors
    ///
    /// If the terminal does not take it.
    pub fn types(&mut self, keys: &str) -> anyhow::Result<()> {
        self.keyboard.write_all(keys.as_bytes())?;
        self.keyboard.flush().context("typing")
    }

    /// Gives the window another size; the program is told.
    ///
    /// # Errors
    ///
    /// If the system refuses.
    pub fn resize(&self, size: Size) -> anyhow::Result<()> {
        self.emulator().screen_mut().set_size(size.rows, size.columns);
        self.master.resize(size.into())
    }

    /// Waits until the screen is as wanted, at most `limit`.
    ///
    /// # Errors
    ///
    /// If it is not in time; with what stands there, and whether the program still runs.
    pub async fn wait_for(
        &mut self,
        what: &str,
        limit: Duration,
        is_so: impl Fn(&Picture) -> bool,
    ) -> anyhow::Result<Picture> {
        let deadline = Instant::now() + limit;
        loop {
            let picture = self.picture();
            if is_so(&picture) {
                return Ok(picture);
            }
            if Instant::now() >= deadline {
                let ended = self.child.try_wait()?;
                bail!("{what}: not within {limit:?}; ended: {ended:?}\n{picture}");
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until the program has ended by itself; its exit code.
    ///
    /// # Errors
    ///
    /// If it has not in time, or a signal ended it.
    pub async fn wait_for_end(&mut self, limit: Duration) -> anyhow::Result<u32> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait()? {
                if let Some(signal) = status.signal() {
                    bail!("ended by {signal}\n{}", self.picture());
                }
                return Ok(status.exit_code());
            }
            if Instant::now() >= deadline {
                bail!("still runs after {limit:?}\n{}", self.picture());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Whether typed lines are edited and shown by the terminal again, as before the start.
    #[must_use]
    pub fn has_modes_of_start(&self) -> bool {
        modes(&*self.master) == self.modes
    }

    /// The program's process.
    #[must_use]
    pub fn process_id(&self) -> Option<u32> {
        self.child.process_id()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // The number of one that has ended may be another process by now.
        if matches!(self.child.try_wait(), Ok(None)) {
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}

/// How the terminal handles what is typed; as text, since it is only ever compared.
fn modes(master: &dyn MasterPty) -> String {
    format!("{:?}", master.get_termios())
}
