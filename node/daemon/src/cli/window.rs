//! What of a text fits the terminal, drawn over what was there before.
//!
//! The top stays: `assay status` says first what is wrong. Nothing is erased before its successor
//! is written, so the picture does not flicker.

use std::io;

/// Cursor to the corner.
const HOME: &str = "\x1b[H";

/// Erases from the cursor to the end of its line.
const ERASE_LINE: &str = "\x1b[K";

/// Erases from the cursor to the end of the window.
const ERASE_BELOW: &str = "\x1b[J";

/// Rows below which a window is not cut to: one line of text, and the one that says what is left
/// out.
const ROWS_MIN: usize = 3;

/// A terminal's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    rows: usize,
    columns: usize,
}

impl Window {
    /// The size at present; `None` if stdout is no terminal.
    pub(super) fn of_stdout() -> Option<Self> {
        let (columns, rows) = terminal_size::terminal_size_of(io::stdout())?;
        Some(Self { rows: usize::from(rows.0), columns: usize::from(columns.0) })
    }

    /// The escape sequences and text that replace what the window shows by `text`. It ends with a
    /// line end, so the last row stays empty.
    pub(super) fn frame(self, text: &str) -> String {
        let room = self.rows.max(ROWS_MIN).saturating_sub(1);
        let lines: Vec<&str> = text.lines().collect();
        let mut shown: Vec<String> = lines.iter().take(room).map(|line| self.cut(line)).collect();
        if lines.len() > room {
            shown.truncate(room.saturating_sub(1));
            let more = lines.len().saturating_sub(shown.len());
            shown.push(self.cut(&format!("... {more} more lines: make the window larger")));
        }
        let mut frame = HOME.to_owned();
        let last = shown.len().saturating_sub(1);
        for (index, line) in shown.iter().enumerate() {
            // Erased before it is written: behind a full line the cursor stands on its last
            // character.
            frame.push_str(if index == last { ERASE_BELOW } else { ERASE_LINE });
            frame.push_str(line);
            frame.push('\n');
        }
        frame
    }

    fn cut(self, line: &str) -> String {
        if line.chars().count() <= self.columns {
            return line.to_owned();
        }
        line.chars().take(self.columns.saturating_sub(1)).chain(['…']).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_fits_is_drawn_whole_over_the_one_before() {
        let window = Window { rows: 3, columns: 5 };
        assert_eq!(window.frame("READY\nnode\n"), "\x1b[H\x1b[KREADY\n\x1b[Jnode\n");
    }

    #[test]
    fn the_top_of_a_longer_text_stays_and_the_rest_is_counted() {
        let window = Window { rows: 4, columns: 40 };
        let frame = window.frame("READY\none\ntwo\nthree\nfour\n");
        let shown =
            "\x1b[H\x1b[KREADY\n\x1b[Kone\n\x1b[J... 3 more lines: make the window larger\n";
        assert_eq!(frame, shown);
    }

    #[test]
    fn no_line_wraps_and_no_window_is_too_small() {
        for (rows, columns) in [(0, 0), (1, 1), (2, 7), (24, 80)] {
            let frame = Window { rows, columns }.frame(&"a line with ümlauts …\n".repeat(50));
            assert!(frame.lines().count() < rows.max(ROWS_MIN), "{rows} rows");
            for line in frame.lines() {
                let escapes = [HOME, ERASE_LINE, ERASE_BELOW];
                let text =
                    escapes.iter().fold(line.to_owned(), |text, escape| text.replace(escape, ""));
                assert!(text.chars().count() <= columns.max(1), "{columns} columns: {text}");
            }
        }
    }
}
