//! Whether a project defines what the challenge calls. Reading only: nothing is executed.
//!
//! The entry points are those of the loop contract: `build_model(ctx)` in `architecture.py` and
//! `train(ctx)` in `training.py`. A name counts as defined if the module binds it at its top
//! level, also under a condition: by `def`, `class`, an assignment or an import by name. Whether
//! the binding works when called is found out in the container.
//!
//! The reader knows Python's strings, comments, brackets and indentation, and nothing more, in
//! one pass over the bytes: a submission cannot make it slow or run it out of stack.
//!
//! Not here: what else the code does. The container and the meter are the boundary.

use node_core::admission::{Rejection, Rule};

use crate::archive::{rejection, Archive};

/// Files and the function each must define.
const ENTRY_POINTS: [(&str, &str); 2] =
    [("architecture.py", "build_model"), ("training.py", "train")];

/// Columns of a tab, as Python counts them.
const TAB_COLUMNS: usize = 8;

/// Checks that both entry points are there.
///
/// # Errors
///
/// [`Rule::ContractFile`] if a file is missing, [`Rule::ContractSymbol`] if it does not define
/// its function.
pub fn check_contract(archive: &Archive) -> Result<(), Rejection> {
    for (file, _) in ENTRY_POINTS {
        if !archive.files.contains_key(file) {
            let detail = format!("the archive has no `{file}` at its top");
            return Err(rejection(Rule::ContractFile, Some(file), detail));
        }
    }
    for (file, symbol) in ENTRY_POINTS {
        let source = archive.files.get(file).map(Vec::as_slice).unwrap_or_default();
        if !defines(source, symbol.as_bytes()) {
            let detail = format!("the file does not define `{symbol}(ctx)` at its top level");
            return Err(rejection(Rule::ContractSymbol, Some(file), detail));
        }
    }
    Ok(())
}

/// Whether Python source binds `symbol` at its top level.
fn defines(source: &[u8], symbol: &[u8]) -> bool {
    let mut reader = Reader { source, at: 0, indent: 0, is_line_start: true };
    let mut hidden_above: Option<usize> = None;
    while let Some(statement) = reader.next_statement() {
        // Whatever is indented further than a `def` or `class` belongs to it.
        if hidden_above.is_some_and(|indent| statement.indent > indent) {
            continue;
        }
        if statement.binds(symbol) {
            return true;
        }
        hidden_above = statement.opens_scope().then_some(statement.indent);
    }
    false
}

/// A statement's words and signs, with strings and comments left out.
#[derive(Debug, Default)]
struct Statement<'a> {
    indent: usize,
    tokens: Vec<&'a [u8]>,
}

impl Statement<'_> {
    fn words(&self) -> &[&[u8]] {
        match self.tokens.as_slice() {
            [b"async", rest @ ..] => rest,
            all => all,
        }
    }

    fn opens_scope(&self) -> bool {
        matches!(self.words(), [b"def" | b"class", ..])
    }

    fn binds(&self, symbol: &[u8]) -> bool {
        match self.words() {
            [b"def" | b"class", name, ..] => *name == symbol,
            [b"import", names @ ..] => imports(names, symbol),
            [b"from", rest @ ..] => {
                let names = rest.iter().position(|token| *token == b"import");
                names.and_then(|at| rest.get(at + 1..)).is_some_and(|names| imports(names, symbol))
            }
            [_, b"=", b"=", ..] => false,
            [name, b"=" | b":", ..] => *name == symbol,
            _ => false,
        }
    }
}

/// Whether `a, b as c` binds `symbol`.
fn imports(names: &[&[u8]], symbol: &[u8]) -> bool {
    let is_bracket = |token: &[u8]| token == b"(" || token == b")";
    names.split(|token| *token == b",").any(|item| {
        let item: Vec<&[u8]> = item.iter().copied().filter(|token| !is_bracket(token)).collect();
        matches!(item.as_slice(), [name] | [.., b"as", name] if *name == symbol)
    })
}

/// Cuts source into statements.
struct Reader<'a> {
    source: &'a [u8],
    at: usize,
    indent: usize,
    is_line_start: bool,
}

impl<'a> Reader<'a> {
    fn next_statement(&mut self) -> Option<Statement<'a>> {
        let mut statement = Statement::default();
        let mut brackets = 0_usize;
        while let Some(byte) = self.peek(0) {
            match byte {
                b'\n' => {
                    self.at += 1;
                    if brackets == 0 {
                        self.is_line_start = true;
                        self.indent = 0;
                        if !statement.tokens.is_empty() {
                            return Some(statement);
                        }
                    }
                }
                b';' if brackets == 0 => {
                    self.at += 1;
                    if !statement.tokens.is_empty() {
                        return Some(statement);
                    }
                }
                b'#' => self.skip_until(|byte| byte == b'\n'),
                b' ' | b'\t' | b'\r' | b'\x0c' => self.skip_blank(byte),
                b'\\' => self.at += 2,
                _ => {
                    self.is_line_start = false;
                    if statement.tokens.is_empty() {
                        statement.indent = self.indent;
                    }
                    match byte {
                        b'(' | b'[' | b'{' => brackets += 1,
                        b')' | b']' | b'}' => brackets = brackets.saturating_sub(1),
                        _ => {}
                    }
                    statement.tokens.push(self.token(byte));
                }
            }
        }
        (!statement.tokens.is_empty()).then_some(statement)
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.source.get(self.at + ahead).copied()
    }

    fn skip_until(&mut self, is_end: impl Fn(u8) -> bool) {
        while self.peek(0).is_some_and(|byte| !is_end(byte)) {
            self.at += 1;
        }
    }

    fn skip_blank(&mut self, byte: u8) {
        self.at += 1;
        if self.is_line_start {
            self.indent = match byte {
                b'\t' => (self.indent / TAB_COLUMNS + 1) * TAB_COLUMNS,
                b' ' => self.indent + 1,
                _ => self.indent,
            };
        }
    }

    /// Takes a word, a sign, or a whole string with its prefix.
    fn token(&mut self, first: u8) -> &'a [u8] {
        let start = self.at;
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80;
        if is_word(first) {
            self.skip_until(|byte| !is_word(byte));
            let is_prefix = self.source.get(start..self.at).is_some_and(is_string_prefix);
            if !is_prefix || !matches!(self.peek(0), Some(b'"' | b'\'')) {
                return self.source.get(start..self.at).unwrap_or_default();
            }
        }
        match self.peek(0) {
            Some(quote @ (b'"' | b'\'')) => {
                self.skip_string(quote);
                b"\""
            }
            _ => {
                self.at += 1;
                self.source.get(start..self.at).unwrap_or_default()
            }
        }
    }

    fn skip_string(&mut self, quote: u8) {
        let is_long = self.peek(1) == Some(quote) && self.peek(2) == Some(quote);
        self.at += if is_long { 3 } else { 1 };
        while let Some(byte) = self.peek(0) {
            match byte {
                b'\\' => self.at += 2,
                // A short string that is not closed ends with its line.
                b'\n' if !is_long => return,
                _ if byte != quote => self.at += 1,
                _ if !is_long => {
                    self.at += 1;
                    return;
                }
                _ if self.peek(1) == Some(quote) && self.peek(2) == Some(quote) => {
                    self.at += 3;
                    return;
                }
                _ => self.at += 1,
            }
        }
    }
}

/// Whether a word directly before a quote belongs to the string: `r`, `b`, `f`, `u` or two.
fn is_string_prefix(word: &[u8]) -> bool {
    word.len() <= 2 && word.iter().all(|byte| b"rbfuRBFU".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_counts_as_defined_only_where_the_module_binds_it() {
        let cases = [
            ("def train(ctx):\n    pass\n", true),
            ("@torch.no_grad()\ndef train(ctx):\n    pass\n", true),
            ("async def train(ctx): pass\n", true),
            ("class train: pass\n", true),
            ("train = make_trainer()\n", true),
            ("train: object = make_trainer()\n", true),
            ("from loop import train\n", true),
            ("from loop import run as train\n", true),
            ("from loop import (\n    step,  # first\n    train,\n)\n", true),
            ("try:\n    from fast import train\nexcept ImportError:\n    x = 1\n", true),
            ("if True:\n    if True:\n        def train(ctx): pass\n", true),
            ("def a():\n    pass\nif True:\n\tdef train(ctx): pass\n", true),
            ("x = 1; train = x\n", true),
            ("x = rb'''\n'''\ndef \\\n  train(ctx): pass", true),
            ("x = 'it\\'s'; y = \"#\"\r\ndef train(ctx): pass\r\n", true),
            ("", false),
            ("def trainer(ctx): pass\n", false),
            ("# def train(ctx): pass\n", false),
            ("'''\ndef train(ctx):\n    pass\n'''\n", false),
            ("x = (\ntrain, train)\n", false),
            ("class Loop:\n    def train(self, ctx): pass\n", false),
            ("def outer():\n    def train(ctx): pass\n", false),
            ("def outer():\n    x = 1\n    def train(ctx): pass\n", false),
            ("from train import loop\n", false),
            ("import loop.train\n", false),
            ("import loop.train as train\n", true),
            ("from loop import train as run\n", false),
            ("train == 1\n", false),
            ("train(1)\n", false),
            ("\u{0}\u{1}((((", false),
        ];
        for (source, expected) in cases {
            assert_eq!(defines(source.as_bytes(), b"train"), expected, "{source}");
        }
    }

    #[test]
    fn a_long_file_of_one_pattern_is_read_in_one_pass() {
        let patterns = ["(", "[{", "lambda:", "f'{", "if x:\n ", "\\\n", "'''", "a if ", "import "];
        for pattern in patterns {
            let source = pattern.repeat(2_000_000 / pattern.len());
            let mut reader =
                Reader { source: source.as_bytes(), at: 0, indent: 0, is_line_start: true };
            let mut tokens = 0;
            while let Some(statement) = reader.next_statement() {
                tokens += statement.tokens.len();
            }
            assert!(tokens <= source.len(), "{pattern}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_to_their_end(
            bytes: Vec<u8>,
            almost_python in "[\\\\'\"#\n ;(train=]{0,40}",
        ) {
            defines(&bytes, b"train");
            defines(almost_python.as_bytes(), b"train");
        }
    }
}
