//! One pass over Python's text before it is parsed: strings, comments, brackets, indentation.
//!
//! Refuses what would make the parser slow: brackets that do not match, deep nesting, long runs of
//! continued lines. Knows the fields of formatted strings, where quotes may stand again.

use node_core::admission::Rule;

use super::Unreadable;

/// Brackets within brackets.
const BRACKETS_MAX: usize = 100;

/// Levels of indentation; Python itself refuses 100.
const INDENTS_MAX: usize = 99;

/// Continued lines with nothing in them, one after another. Skipping one costs the parser as much
/// as there are before it.
const CONTINUED_MAX: usize = 16;

/// Columns of a tab, as Python counts them.
const TAB_COLUMNS: usize = 8;

/// The text as Python reads it: without a byte order mark, and with one kind of newline. A lone
/// carriage return ends a line, also that of a comment.
pub(crate) fn normalised(content: &[u8]) -> String {
    let text = String::from_utf8_lossy(content);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    if text.contains('\r') {
        text.replace("\r\n", "\n").replace('\r', "\n")
    } else {
        text.to_owned()
    }
}

/// Whether the text is worth parsing.
pub(super) fn scan(text: &str) -> Result<(), Unreadable> {
    check_encoding(text)?;
    Scanner { bytes: text.as_bytes(), at: 0, line: 1, open: Vec::new(), indents: Vec::new() }.run()
}

/// A comment in the first two lines can change how Python decodes a file.
fn check_encoding(text: &str) -> Result<(), Unreadable> {
    for (line, content) in (1..).zip(text.lines().take(2)) {
        let Some(comment) = content.trim_start().strip_prefix('#') else { continue };
        let Some((_, after)) = comment.split_once("coding") else { continue };
        let Some(name) = after.strip_prefix([':', '=']) else { continue };
        let name = name.trim_start().to_ascii_lowercase().replace('_', "-");
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
        let name: String = name.chars().take_while(|c| is_part(*c)).collect();
        if !["utf-8", "utf8", "utf-8-sig", "ascii", "us-ascii"].contains(&name.as_str()) {
            let detail = format!("the file declares the encoding `{name}`: write it in UTF-8");
            return Err(Unreadable { rule: Rule::SourceEncoding, line: Some(line), detail });
        }
    }
    Ok(())
}

/// A string that goes on after one of its fields.
#[derive(Clone, Copy)]
struct Formatted {
    quote: u8,
    is_long: bool,
}

/// A bracket that is not closed yet.
#[derive(Clone, Copy)]
struct Open {
    bracket: u8,
    /// The string whose field it begins.
    field_of: Option<Formatted>,
    /// Whether the field's format was reached, in which quotes and signs mean nothing.
    is_in_format: bool,
}

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    line: u32,
    open: Vec<Open>,
    /// Columns of the blocks that are open.
    indents: Vec<usize>,
}

impl Scanner<'_> {
    fn run(mut self) -> Result<(), Unreadable> {
        self.indentation()?;
        while let Some(byte) = self.peek(0) {
            match byte {
                b'\n' => {
                    self.step();
                    self.indentation()?;
                }
                b'\\' => self.continuation()?,
                b'#' => self.skip_line(),
                b'"' | b'\'' => self.string(byte)?,
                b'(' | b'[' | b'{' => self.opened(byte, None)?,
                b':' => self.colon()?,
                b')' | b']' | b'}' => self.closed(byte)?,
                b';' if !self.open.is_empty() => {
                    return Err(self.syntax("a `;` stands within brackets"));
                }
                _ => self.step(),
            }
        }
        match self.open.last() {
            Some(open) => {
                let detail = format!("a `{}` is never closed", char::from(open.bracket));
                Err(self.syntax(&detail))
            }
            None => Ok(()),
        }
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.bytes.get(self.at + ahead).copied()
    }

    fn step(&mut self) {
        if self.peek(0) == Some(b'\n') {
            self.line = self.line.saturating_add(1);
        }
        self.at += 1;
    }

    fn skip_line(&mut self) {
        while self.peek(0).is_some_and(|byte| byte != b'\n') {
            self.at += 1;
        }
    }

    fn syntax(&self, detail: &str) -> Unreadable {
        let detail = format!("the file is not Python: {detail}");
        Unreadable { rule: Rule::SourceSyntax, line: Some(self.line), detail }
    }

    fn nesting(&self, what: &str) -> Unreadable {
        let detail = format!("{what}: divide the code into smaller parts");
        Unreadable { rule: Rule::SourceNesting, line: Some(self.line), detail }
    }

    /// At the start of a line: how far it is indented.
    fn indentation(&mut self) -> Result<(), Unreadable> {
        if !self.open.is_empty() {
            return Ok(());
        }
        let mut column = 0;
        loop {
            match self.peek(0) {
                Some(b' ') => column += 1,
                Some(b'\t') => column = (column / TAB_COLUMNS + 1) * TAB_COLUMNS,
                Some(b'\x0c') => column = 0,
                None | Some(b'\n' | b'#') => return Ok(()),
                Some(_) => break,
            }
            self.step();
        }
        while self.indents.last().is_some_and(|indent| *indent >= column) {
            self.indents.pop();
        }
        if column > 0 {
            self.indents.push(column);
        }
        if self.indents.len() > INDENTS_MAX {
            return Err(self.nesting("blocks are nested too deeply"));
        }
        Ok(())
    }

    fn continuation(&mut self) -> Result<(), Unreadable> {
        let mut continued = 0;
        while let Some(byte) = self.peek(0) {
            match byte {
                b'\\' if self.peek(1) == Some(b'\n') => continued += 1,
                b'\\' if continued == 0 => {
                    return Err(self.syntax("a backslash stands within a line"));
                }
                b' ' | b'\t' | b'\x0c' | b'\n' => {}
                _ => break,
            }
            if continued > CONTINUED_MAX {
                return Err(self.nesting("too many empty lines are continued by a backslash"));
            }
            self.step();
        }
        Ok(())
    }

    fn opened(&mut self, bracket: u8, field_of: Option<Formatted>) -> Result<(), Unreadable> {
        self.open.push(Open { bracket, field_of, is_in_format: false });
        if self.open.len() > BRACKETS_MAX {
            return Err(self.nesting("brackets are nested too deeply"));
        }
        self.step();
        Ok(())
    }

    fn closed(&mut self, bracket: u8) -> Result<(), Unreadable> {
        let wanted = match bracket {
            b')' => b'(',
            b']' => b'[',
            _ => b'{',
        };
        let opened = self.open.pop().filter(|open| open.bracket == wanted);
        let Some(opened) = opened else {
            let detail = format!("a `{}` closes nothing", char::from(bracket));
            return Err(self.syntax(&detail));
        };
        self.step();
        match opened.field_of {
            Some(formatted) => self.formatted(formatted),
            None => Ok(()),
        }
    }

    fn colon(&mut self) -> Result<(), Unreadable> {
        self.step();
        let Some(open) = self.open.last_mut() else { return Ok(()) };
        let Some(formatted) = open.field_of else { return Ok(()) };
        open.is_in_format = true;
        self.formatted(formatted)
    }

    fn string(&mut self, quote: u8) -> Result<(), Unreadable> {
        let is_formatted = self.is_formatted();
        let is_long = self.peek(1) == Some(quote) && self.peek(2) == Some(quote);
        self.at += if is_long { 3 } else { 1 };
        let string = Formatted { quote, is_long };
        if is_formatted {
            return self.formatted(string);
        }
        let opened_in = self.line;
        while let Some(byte) = self.peek(0) {
            match byte {
                b'\\' => {
                    self.step();
                    self.step();
                }
                b'\n' if !is_long => break,
                _ if self.ends(string) => return Ok(()),
                _ => self.step(),
            }
        }
        self.line = opened_in;
        Err(self.unclosed())
    }

    /// Whether the letters directly before make a formatted string of the quote.
    fn is_formatted(&self) -> bool {
        let before = self.bytes.get(..self.at).unwrap_or_default();
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80;
        let prefix = before.iter().rev().take(3).take_while(|byte| is_word(**byte));
        let prefix: Vec<u8> = prefix.map(u8::to_ascii_lowercase).collect();
        prefix.len() <= 2 && prefix.iter().any(|byte| *byte == b'f' || *byte == b't')
    }

    /// Takes the quotes that end a string.
    fn ends(&mut self, string: Formatted) -> bool {
        let count = if string.is_long { 3 } else { 1 };
        let is_end = (0..count).all(|ahead| self.peek(ahead) == Some(string.quote));
        if is_end {
            self.at += count;
        }
        is_end
    }

    fn unclosed(&self) -> Unreadable {
        self.syntax("a string is never closed")
    }

    /// In a formatted string, or in the format of one of its fields.
    fn formatted(&mut self, string: Formatted) -> Result<(), Unreadable> {
        let is_in_format = self.open.last().is_some_and(|open| open.is_in_format);
        while let Some(byte) = self.peek(0) {
            match byte {
                b'\\' => {
                    self.step();
                    let is_name = self.peek(0) == Some(b'N') && self.peek(1) == Some(b'{');
                    self.step();
                    while is_name && self.peek(0).is_some_and(|byte| !b"}\n".contains(&byte)) {
                        self.step();
                    }
                    if is_name {
                        self.step();
                    }
                }
                b'\n' if !string.is_long => break,
                b'{' if self.peek(1) == Some(b'{') && !is_in_format => self.at += 2,
                b'{' => return self.opened(byte, Some(string)),
                b'}' if is_in_format => return self.closed(byte),
                _ if self.ends(string) => {
                    return if is_in_format { Err(self.unclosed()) } else { Ok(()) };
                }
                _ => self.step(),
            }
        }
        Err(self.unclosed())
    }
}
