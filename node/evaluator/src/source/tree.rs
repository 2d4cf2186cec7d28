//! A syntax tree in one vector, in the order of the text.

use std::ops::ControlFlow;
use std::sync::OnceLock;
use std::time::Instant;

use node_core::admission::Rule;
use tree_sitter::{Language, ParseOptions, ParseState, Parser, TreeCursor};

use super::{Unreadable, DEPTH_MAX};

/// Bytes for which the parser may take one look at its state. It looks every hundred steps: dense
/// Python takes 8 looks for 100 bytes at most, and this allows 12.
const BYTES_PER_LOOK: usize = 8;

/// Looks that any file may take.
const LOOKS_MIN: usize = 1_000;

/// Position of a node in its tree.
pub(crate) type NodeId = usize;

macro_rules! kinds {
    ($($name:ident = $grammar:literal,)*) => {
        /// What a node is. Kinds that no rule asks for are [`Kind::Other`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Kind { $($name,)* Other }

        impl Kind {
            fn of(grammar: &str) -> Self {
                match grammar { $($grammar => Self::$name,)* _ => Self::Other }
            }
        }
    };
}

kinds! {
    AliasedImport = "aliased_import",
    AsPatternTarget = "as_pattern_target",
    Assignment = "assignment",
    Attribute = "attribute",
    BinaryOperator = "binary_operator",
    Block = "block",
    Call = "call",
    Class = "class_definition",
    Comment = "comment",
    ConcatenatedString = "concatenated_string",
    ConditionalExpression = "conditional_expression",
    Decorator = "decorator",
    DefaultParameter = "default_parameter",
    Dictionary = "dictionary",
    DottedName = "dotted_name",
    Elif = "elif_clause",
    Else = "else_clause",
    ExecStatement = "exec_statement",
    ExpressionStatement = "expression_statement",
    Float = "float",
    For = "for_statement",
    ForInClause = "for_in_clause",
    Function = "function_definition",
    FutureImport = "future_import_statement",
    Global = "global_statement",
    Identifier = "identifier",
    If = "if_statement",
    Import = "import_statement",
    ImportFrom = "import_from_statement",
    Integer = "integer",
    Interpolation = "interpolation",
    KeywordArgument = "keyword_argument",
    Lambda = "lambda",
    LambdaParameters = "lambda_parameters",
    LineContinuation = "line_continuation",
    List = "list",
    ListPattern = "list_pattern",
    Module = "module",
    NamedExpression = "named_expression",
    Nonlocal = "nonlocal_statement",
    Parameters = "parameters",
    Parenthesized = "parenthesized_expression",
    PatternList = "pattern_list",
    PrintStatement = "print_statement",
    RelativeImport = "relative_import",
    Return = "return_statement",
    Set = "set",
    StringContent = "string_content",
    StringLiteral = "string",
    Subscript = "subscript",
    Tuple = "tuple",
    TuplePattern = "tuple_pattern",
    TypedDefaultParameter = "typed_default_parameter",
    TypedParameter = "typed_parameter",
    WildcardImport = "wildcard_import",
}

/// Which part of its parent a node is, as far as a rule asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    Alias,
    Arguments,
    Attribute,
    Body,
    Condition,
    Consequence,
    Function,
    Left,
    ModuleName,
    Name,
    Object,
    Parameters,
    Right,
    Subscript,
    Type,
    Value,
    Other,
}

impl Field {
    fn of(grammar: &str) -> Self {
        match grammar {
            "alias" => Self::Alias,
            "arguments" => Self::Arguments,
            "attribute" => Self::Attribute,
            "body" => Self::Body,
            "condition" => Self::Condition,
            "consequence" => Self::Consequence,
            "function" => Self::Function,
            "left" => Self::Left,
            "module_name" => Self::ModuleName,
            "name" => Self::Name,
            "object" => Self::Object,
            "parameters" => Self::Parameters,
            "right" => Self::Right,
            "subscript" => Self::Subscript,
            "type" => Self::Type,
            "value" => Self::Value,
            _ => Self::Other,
        }
    }
}

/// A named node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    pub(crate) field: Field,
    /// Bytes of the text: from `start` to before `end`.
    pub(crate) start: u32,
    pub(crate) end: u32,
    /// Counted from one.
    pub(crate) line: u32,
    pub(crate) parent: NodeId,
    /// The first node that is not below this one.
    pub(crate) after: NodeId,
}

/// A stretch without tokens.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Gap {
    pub(crate) bytes: usize,
    /// Where it begins, counted from one.
    pub(crate) line: u32,
}

/// A file's nodes. The first is the module.
#[derive(Debug)]
pub(crate) struct Tree {
    nodes: Vec<Node>,
    /// Bytes of tokens; comments and blanks are none.
    pub(crate) token_bytes: usize,
    /// The longest stretch without tokens.
    pub(crate) longest_gap: Gap,
}

/// What the grammar's numbers mean.
struct Grammar {
    language: Language,
    kinds: Vec<Kind>,
    fields: Vec<Field>,
}

fn grammar() -> &'static Grammar {
    static GRAMMAR: OnceLock<Grammar> = OnceLock::new();
    GRAMMAR.get_or_init(|| {
        let language = Language::new(tree_sitter_python::LANGUAGE);
        let number = |count: usize| 0..u16::try_from(count).unwrap_or(u16::MAX);
        let kinds = number(language.node_kind_count())
            .map(|id| language.node_kind_for_id(id).map_or(Kind::Other, Kind::of))
            .collect();
        let fields = number(language.field_count().saturating_add(1))
            .map(|id| language.field_name_for_id(id).map_or(Field::Other, Field::of))
            .collect();
        Grammar { language, kinds, fields }
    })
}

fn not_python(line: Option<u32>) -> Unreadable {
    let detail = "the file cannot be read as Python: `python -m py_compile` may say why";
    Unreadable { rule: Rule::SourceSyntax, line, detail: detail.to_owned() }
}

impl Tree {
    /// Parses text that was scanned before.
    ///
    /// - `each`: is shown the parser's own tree, which is not kept.
    pub(super) fn parse(
        text: &str,
        give_up_at: Instant,
        each: &mut dyn FnMut(&tree_sitter::Tree, &str),
    ) -> Result<Self, Unreadable> {
        let grammar = grammar();
        let mut parser = Parser::new();
        parser.set_language(&grammar.language).map_err(|_| not_python(None))?;
        let looks_max = text.len() / BYTES_PER_LOOK + LOOKS_MIN;
        let mut looks = 0_usize;
        let mut look = |state: &ParseState| {
            looks += 1;
            if state.has_error() || looks > looks_max || Instant::now() > give_up_at {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        let options = ParseOptions::new().progress_callback(&mut look);
        let mut read = |at: usize, _| text.as_bytes().get(at..).unwrap_or_default();
        let tree = parser.parse_with_options(&mut read, None, Some(options));
        let tree = tree.ok_or_else(|| not_python(None))?;
        if tree.root_node().has_error() {
            return Err(not_python(first_error(&mut tree.walk())));
        }
        let mut cursor = tree.walk();
        let flat = Flattened::new(text, grammar).walk(&mut cursor)?;
        each(&tree, text);
        Ok(flat)
    }

    /// A node. There is one for every [`NodeId`] that this tree gave out.
    pub(crate) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id]
    }

    /// Every node, in the order of the text.
    pub(crate) fn ids(&self) -> std::ops::Range<NodeId> {
        0..self.nodes.len()
    }

    /// The nodes directly below one.
    pub(crate) fn children(&self, id: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        let end = self.node(id).after;
        let before_end = move |id: NodeId| (id < end).then_some(id);
        std::iter::successors(before_end(id + 1), move |child| before_end(self.node(*child).after))
    }

    /// The first node directly below one that is this part of it.
    pub(crate) fn child(&self, id: NodeId, field: Field) -> Option<NodeId> {
        self.children(id).find(|child| self.node(*child).field == field)
    }

    /// The nodes above one, the nearest first; the module is the last.
    pub(crate) fn ancestors(&self, id: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        let above = |id: NodeId| (id > 0).then(|| self.node(id).parent);
        std::iter::successors(above(id), move |id| above(*id))
    }

    pub(crate) fn kind(&self, id: NodeId) -> Kind {
        self.node(id).kind
    }
}

/// Line of the first thing that the parser could not make sense of.
fn first_error(cursor: &mut TreeCursor<'_>) -> Option<u32> {
    loop {
        let node = cursor.node();
        if node.is_error() || node.is_missing() {
            return u32::try_from(node.start_position().row + 1).ok();
        }
        let is_below = node.has_error() && cursor.goto_first_child();
        if !is_below && !cursor.goto_next_sibling() {
            return None;
        }
    }
}

struct Flattened<'a> {
    text: &'a str,
    grammar: &'static Grammar,
    nodes: Vec<Node>,
    /// Those whose end is not reached, as positions in `nodes`; `None` for unnamed ones.
    open: Vec<Option<NodeId>>,
    token_bytes: usize,
    token_end: usize,
    token_line: u32,
    longest_gap: Gap,
}

impl<'a> Flattened<'a> {
    fn new(text: &'a str, grammar: &'static Grammar) -> Self {
        Self {
            text,
            grammar,
            nodes: Vec::with_capacity(text.len() / 5),
            open: Vec::new(),
            token_bytes: 0,
            token_end: 0,
            token_line: 1,
            longest_gap: Gap::default(),
        }
    }

    fn walk(mut self, cursor: &mut TreeCursor<'_>) -> Result<Tree, Unreadable> {
        let mut parent = 0;
        loop {
            let id = self.enter(cursor, parent);
            if self.open.len() > DEPTH_MAX {
                let line = u32::try_from(cursor.node().start_position().row + 1).ok();
                let detail = "the code is nested too deeply: divide it into smaller parts";
                let rule = Rule::SourceNesting;
                return Err(Unreadable { rule, line, detail: detail.to_owned() });
            }
            // What is within the text of a string are escapes.
            let is_whole = id.is_some_and(|id| self.nodes[id].kind == Kind::StringContent);
            if !is_whole && cursor.goto_first_child() {
                parent = id.unwrap_or(parent);
                self.open.push(id);
                continue;
            }
            self.token(cursor, id);
            self.leave(id);
            while !cursor.goto_next_sibling() {
                if !cursor.goto_parent() {
                    return Ok(self.finish());
                }
                let closed = self.open.pop().flatten();
                self.leave(closed);
                parent = closed.map_or(parent, |id| self.nodes[id].parent);
            }
        }
    }

    fn enter(&mut self, cursor: &TreeCursor<'_>, parent: NodeId) -> Option<NodeId> {
        let node = cursor.node();
        if !node.is_named() {
            return None;
        }
        let kind = self.grammar.kinds.get(usize::from(node.kind_id()));
        let field = cursor.field_id().and_then(|id| self.grammar.fields.get(usize::from(id.get())));
        let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        self.nodes.push(Node {
            kind: kind.copied().unwrap_or(Kind::Other),
            field: field.copied().unwrap_or(Field::Other),
            start: narrow(node.start_byte()),
            end: narrow(node.end_byte()),
            line: narrow(node.start_position().row).saturating_add(1),
            parent,
            after: 0,
        });
        Some(self.nodes.len() - 1)
    }

    fn leave(&mut self, id: Option<NodeId>) {
        let after = self.nodes.len();
        if let Some(node) = id.and_then(|id| self.nodes.get_mut(id)) {
            node.after = after;
        }
    }

    fn token(&mut self, cursor: &TreeCursor<'_>, id: Option<NodeId>) {
        let kind = id.map_or(Kind::Other, |id| self.nodes[id].kind);
        if matches!(kind, Kind::Comment | Kind::LineContinuation) {
            return;
        }
        let node = cursor.node();
        let (start, end) = (node.start_byte(), node.end_byte());
        self.gap_until(start);
        self.token_bytes += end.saturating_sub(start);
        self.token_end = self.token_end.max(end);
        self.token_line = u32::try_from(node.end_position().row + 1).unwrap_or(u32::MAX);
    }

    fn gap_until(&mut self, start: usize) {
        let bytes = start.saturating_sub(self.token_end);
        if bytes > self.longest_gap.bytes {
            let is_line_end = self.text.as_bytes().get(self.token_end) == Some(&b'\n');
            let line = self.token_line.saturating_add(u32::from(is_line_end));
            self.longest_gap = Gap { bytes, line };
        }
    }

    fn finish(mut self) -> Tree {
        self.gap_until(self.text.len());
        let (token_bytes, longest_gap) = (self.token_bytes, self.longest_gap);
        Tree { nodes: self.nodes, token_bytes, longest_gap }
    }
}
