//! Turns syntax trees into units: sequences of symbols without names, literals and punctuation.

use std::collections::{BTreeMap, BTreeSet};

use tree_sitter::{Node, Tree, TreeCursor};

/// One element of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Symbol {
    /// A construct or an operator, by the hash of its name in the grammar.
    Kind(u64),
    /// A name that is bound or read, or something of a library, by its number in the project.
    Variable(u32),
    /// What follows a dot.
    Attribute(u32),
}

impl Symbol {
    pub(super) fn tag(self) -> u8 {
        match self {
            Self::Kind(_) => 0,
            Self::Variable(_) => 1,
            Self::Attribute(_) => 2,
        }
    }

    pub(super) fn is_like(self, other: &Self) -> bool {
        self.tag() == other.tag()
    }
}

/// A sequence of symbols whose place in the project does not matter.
#[derive(Debug)]
pub(super) struct Unit {
    pub(super) symbols: Vec<Symbol>,
    pub(super) definition: usize,
}

/// A function or class of a module, or everything outside of them.
#[derive(Debug, Default)]
pub(super) struct Definition {
    /// Its name; `None` for what stands outside.
    pub(super) name: Option<u32>,
    /// Names that it mentions.
    pub(super) mentions: BTreeSet<u32>,
}

/// The units of a project.
#[derive(Debug, Default)]
pub(super) struct Units {
    pub(super) all: Vec<Unit>,
    pub(super) definitions: Vec<Definition>,
    names: BTreeMap<String, u32>,
    /// First parts of the project's own module names.
    modules: BTreeSet<String>,
}

/// What a name in a file stands for, where an import binds it: the full name, and whether it is
/// the project's own.
type Imports = BTreeMap<String, (String, bool)>;

/// A node that waits to be looked at, and where its symbols go.
#[derive(Clone, Copy)]
struct Waiting<'t> {
    node: Node<'t>,
    unit: usize,
    /// Part of a chain of attributes that is known not to begin at an import.
    is_in_chain: bool,
}

impl Units {
    /// No units yet; knows which modules the project has.
    pub(super) fn of_project<'a>(
        files: impl IntoIterator<Item = (&'a String, &'a Vec<u8>)>,
    ) -> Self {
        let first = |path: &String| {
            let part = path.split('/').next().unwrap_or_default();
            part.strip_suffix(".py").unwrap_or(part).to_owned()
        };
        let modules = files.into_iter().map(|(path, _)| first(path)).collect();
        Self { modules, ..Self::default() }
    }

    /// The number of a name, if the project has it.
    pub(super) fn number(&self, name: &str) -> Option<u32> {
        self.names.get(name).copied()
    }

    /// Adds the units of a file.
    pub(super) fn add(&mut self, tree: &Tree, content: &[u8]) {
        let mut cursor = tree.walk();
        let outside = self.definition(None);
        let statements: Vec<Node<'_>> = tree.root_node().named_children(&mut cursor).collect();
        let mut walk = Walk { imports: Imports::new(), content, cursor };
        for statement in &statements {
            walk.take_imports(*statement, &self.modules);
        }
        for statement in statements {
            let definition = match definition_name(statement).map(|name| walk.text(name)) {
                Some(name) => {
                    let name = self.name(name);
                    self.definition(Some(name))
                }
                None => outside,
            };
            if !is_binding(statement) {
                self.add_unit(statement, definition, &mut walk);
            }
        }
    }

    fn definition(&mut self, name: Option<u32>) -> usize {
        self.definitions.push(Definition { name, mentions: BTreeSet::new() });
        self.definitions.len().saturating_sub(1)
    }

    fn name(&mut self, name: &str) -> u32 {
        if let Some(number) = self.names.get(name) {
            return *number;
        }
        let number = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        self.names.insert(name.to_owned(), number);
        number
    }

    fn new_unit(&mut self, definition: usize) -> usize {
        self.all.push(Unit { symbols: Vec::new(), definition });
        self.all.len().saturating_sub(1)
    }

    fn emit(&mut self, unit: usize, symbol: Symbol) {
        let Some(unit) = self.all.get_mut(unit) else { return };
        unit.symbols.push(symbol);
        let definition = self.definitions.get_mut(unit.definition);
        if let (Some(definition), Symbol::Variable(name) | Symbol::Attribute(name)) =
            (definition, symbol)
        {
            definition.mentions.insert(name);
        }
    }

    fn emit_kind(&mut self, unit: usize, kind: &str) {
        self.emit(unit, Symbol::Kind(kind_hash(kind)));
    }

    /// Adds a statement's unit, and those of functions and classes inside, without recursion.
    fn add_unit<'t>(&mut self, statement: Node<'t>, definition: usize, walk: &mut Walk<'_, 't>) {
        let unit = self.new_unit(definition);
        let mut stack = vec![Waiting { node: statement, unit, is_in_chain: false }];
        while let Some(waiting) = stack.pop() {
            let first = stack.len();
            self.visit(waiting, definition, walk, &mut stack);
            // What comes first is looked at first.
            if let Some(added) = stack.get_mut(first..) {
                added.reverse();
            }
        }
    }

    fn visit<'t>(
        &mut self,
        waiting: Waiting<'t>,
        definition: usize,
        walk: &mut Walk<'_, 't>,
        stack: &mut Vec<Waiting<'t>>,
    ) {
        let Waiting { node, unit, .. } = waiting;
        match node.kind() {
            "comment"
            | "type"
            | "pass_statement"
            | "import_statement"
            | "import_from_statement"
            | "future_import_statement" => {}
            "integer"
            | "float"
            | "string"
            | "concatenated_string"
            | "true"
            | "false"
            | "none"
            | "ellipsis" => {
                self.emit_kind(unit, "literal");
            }
            "identifier" => {
                let name = walk.imported(node).unwrap_or_else(|| walk.text(node).to_owned());
                let name = self.name(&name);
                self.emit(unit, Symbol::Variable(name));
            }
            "attribute" => self.visit_attribute(waiting, walk, stack),
            "keyword_argument" => {
                self.emit_kind(unit, "keyword_argument");
                let value = node.child_by_field_name("value");
                stack.extend(value.map(|node| Waiting { node, unit, is_in_chain: false }));
            }
            "function_definition" => {
                self.emit_kind(unit, "function_definition");
                let unit = self.new_unit(definition);
                self.emit_kind(unit, "function_definition");
                let parts = ["parameters", "body"].map(|part| node.child_by_field_name(part));
                let parts = parts.into_iter().flatten();
                stack.extend(parts.map(|node| Waiting { node, unit, is_in_chain: false }));
            }
            "class_definition" => self.visit_class(waiting, definition, walk, stack),
            "expression_statement" if is_literal_statement(node) => {}
            kind => {
                if let Some(kind) = shown_kind(kind) {
                    self.emit_kind(unit, kind);
                }
                self.visit_children(waiting, walk, stack);
            }
        }
    }

    /// Parts of a construct; of its punctuation only operators.
    fn visit_children<'t>(
        &mut self,
        waiting: Waiting<'t>,
        walk: &mut Walk<'_, 't>,
        stack: &mut Vec<Waiting<'t>>,
    ) {
        let Waiting { node, unit, .. } = waiting;
        let has_operators = has_operators(node.kind());
        let mut cursor = walk.cursor.clone();
        for child in node.children(&mut cursor) {
            if child.is_named() {
                stack.push(Waiting { node: child, unit, is_in_chain: false });
            } else if has_operators {
                self.emit_kind(unit, child.kind());
            }
        }
    }

    /// A chain from an import is one name, however it was imported. Else: the object, then the
    /// attribute.
    fn visit_attribute<'t>(
        &mut self,
        waiting: Waiting<'t>,
        walk: &mut Walk<'_, 't>,
        stack: &mut Vec<Waiting<'t>>,
    ) {
        let Waiting { node, unit, is_in_chain } = waiting;
        if let Some(name) = (!is_in_chain).then(|| walk.imported_chain(node)).flatten() {
            let name = self.name(&name);
            self.emit(unit, Symbol::Variable(name));
            return;
        }
        if let Some(attribute) = node.child_by_field_name("attribute") {
            let name = self.name(walk.text(attribute));
            self.emit(unit, Symbol::Attribute(name));
        }
        let object = node.child_by_field_name("object");
        stack.extend(object.map(|node| Waiting { node, unit, is_in_chain: true }));
    }

    /// Each statement of a class is a unit of its own: their order does not matter.
    fn visit_class<'t>(
        &mut self,
        waiting: Waiting<'t>,
        definition: usize,
        walk: &mut Walk<'_, 't>,
        stack: &mut Vec<Waiting<'t>>,
    ) {
        let Waiting { node, unit, .. } = waiting;
        self.emit_kind(unit, "class_definition");
        let bases = node.child_by_field_name("superclasses");
        let Some(body) = node.child_by_field_name("body") else { return };
        let mut cursor = walk.cursor.clone();
        for statement in body.named_children(&mut cursor) {
            let unit = match statement.kind() {
                // Its own unit is made when it is visited.
                "function_definition" => unit,
                _ => self.new_unit(definition),
            };
            stack.push(Waiting { node: statement, unit, is_in_chain: false });
        }
        stack.extend(bases.map(|node| Waiting { node, unit, is_in_chain: false }));
    }
}

/// What is known of the file that is being read.
struct Walk<'a, 't> {
    imports: Imports,
    content: &'a [u8],
    cursor: TreeCursor<'t>,
}

impl<'a, 't> Walk<'a, 't> {
    fn text(&self, node: Node<'_>) -> &'a str {
        let bytes = self.content.get(node.byte_range()).unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }

    fn take_imports(&mut self, statement: Node<'t>, modules: &BTreeSet<String>) {
        let from = match statement.kind() {
            "import_statement" => None,
            "import_from_statement" => {
                statement.child_by_field_name("module_name").map(|module| self.text(module))
            }
            _ => return,
        };
        let mut cursor = self.cursor.clone();
        for item in statement.children_by_field_name("name", &mut cursor) {
            let (name, alias) = match item.child_by_field_name("alias") {
                Some(alias) => (item.child_by_field_name("name"), Some(self.text(alias))),
                None => (Some(item), None),
            };
            let Some(name) = name.map(|name| self.text(name)) else { continue };
            let first = |name: &'a str| name.split('.').next().unwrap_or_default();
            // `import a.b` binds `a`, `import a.b as c` binds all of it.
            let bound = alias.unwrap_or_else(|| first(name));
            let full = match (from, alias) {
                (Some(from), _) => format!("{from}.{name}"),
                (None, Some(_)) => name.to_owned(),
                (None, None) => bound.to_owned(),
            };
            let is_own = full.starts_with('.') || modules.contains(first(from.unwrap_or(name)));
            self.imports.insert(bound.to_owned(), (full, is_own));
        }
    }

    /// What an imported name stands for. The project's own have one name wherever they are.
    fn imported(&self, identifier: Node<'_>) -> Option<String> {
        let (full, is_own) = self.imports.get(self.text(identifier))?;
        Some(if *is_own { last_part(full).to_owned() } else { full.clone() })
    }

    /// The full name of a chain of attributes that begins at an import.
    fn imported_chain(&self, chain: Node<'_>) -> Option<String> {
        let mut root = chain;
        while root.kind() == "attribute" {
            root = root.child_by_field_name("object")?;
        }
        if root.kind() != "identifier" {
            return None;
        }
        let (full, is_own) = self.imports.get(self.text(root))?;
        let rest: String = self
            .content
            .get(root.end_byte()..chain.end_byte())?
            .iter()
            .map(|byte| char::from(*byte))
            .filter(|c| !c.is_whitespace() && *c != '\\')
            .collect();
        Some(if *is_own { last_part(&rest).to_owned() } else { full.clone() + &rest })
    }
}

fn last_part(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// The name of a function or class, with decorators or without.
fn definition_name(statement: Node<'_>) -> Option<Node<'_>> {
    let inner = match statement.kind() {
        "decorated_definition" => statement.child_by_field_name("definition")?,
        _ => statement,
    };
    match inner.kind() {
        "function_definition" | "class_definition" => inner.child_by_field_name("name"),
        _ => None,
    }
}

/// Whether a statement of a module only gives a name to literals or to something of a library.
fn is_binding(statement: Node<'_>) -> bool {
    let inner = match statement.kind() {
        "expression_statement" if statement.named_child_count() == 1 => statement.named_child(0),
        _ => None,
    };
    let Some(assignment) = inner.filter(|inner| inner.kind() == "assignment") else { return false };
    let part = |name| assignment.child_by_field_name(name);
    let is_plain =
        |part: Node<'_>| matches!(part.kind(), "attribute" | "identifier") || is_table(part);
    part("left").is_some_and(|left| left.kind() == "identifier")
        && part("right").is_some_and(is_plain)
}

/// A literal, whatever its sign and in whatever brackets, or lists and tuples of nothing else.
fn is_table(node: Node<'_>) -> bool {
    let mut open = vec![node];
    while let Some(node) = open.pop() {
        match node.kind() {
            "list" | "tuple" | "parenthesized_expression" | "unary_operator" => {
                open.extend(node.named_children(&mut node.walk()));
            }
            "comment" => {}
            kind if is_literal(kind) => {}
            _ => return false,
        }
    }
    true
}

fn is_literal(kind: &str) -> bool {
    matches!(
        kind,
        "integer"
            | "float"
            | "string"
            | "concatenated_string"
            | "true"
            | "false"
            | "none"
            | "ellipsis"
    )
}

/// A docstring, or another literal that nobody reads.
fn is_literal_statement(statement: Node<'_>) -> bool {
    statement.named_child_count() == 1
        && statement.named_child(0).is_some_and(|child| is_literal(child.kind()))
}

fn has_operators(kind: &str) -> bool {
    matches!(
        kind,
        "binary_operator"
            | "unary_operator"
            | "boolean_operator"
            | "comparison_operator"
            | "augmented_assignment"
    )
}

/// What a construct is called in a unit; `None` for one that its parts stand for.
fn shown_kind(kind: &str) -> Option<&str> {
    match kind {
        "expression_statement"
        | "parenthesized_expression"
        | "argument_list"
        | "block"
        | "module"
        | "parameters"
        | "lambda_parameters"
        | "typed_parameter"
        | "decorated_definition"
        | "with_clause" => None,
        "expression_list" | "pattern_list" | "tuple_pattern" => Some("tuple"),
        "list_pattern" => Some("list"),
        "typed_default_parameter" => Some("default_parameter"),
        kind => Some(kind),
    }
}

/// FNV-1a.
fn kind_hash(kind: &str) -> u64 {
    kind.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
