//! What the names of a file stand for, as far as its imports and plain assignments say.
//!
//! Scopes do not matter to imports: a name that anything in the file binds to a module means that
//! module everywhere. That finds more than there is, never less.

use std::collections::{BTreeMap, BTreeSet};

use super::{Field, Kind, NodeId, Source};

/// Things that one name stands for, at most.
const PATHS_MAX: usize = 4;

/// How often aliases of aliases are followed.
const ROUNDS_MAX: usize = 4;

/// Names of a file.
#[derive(Debug)]
pub(crate) struct Names<'a> {
    source: &'a Source,
    /// Dotted paths that begin at an imported module, by name.
    paths: BTreeMap<&'a str, BTreeSet<String>>,
    /// Names that a function binds itself, with the function; the module's are its functions and
    /// classes.
    own: BTreeSet<(NodeId, &'a str)>,
}

/// A name that an import binds, and what it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Imported<'a> {
    /// The node of the name as it is written.
    pub(crate) at: NodeId,
    /// What is imported: `torch.nn`; a dot for each level before a module of the project's own.
    pub(crate) path: String,
    /// The name in this file.
    pub(crate) name: &'a str,
}

impl<'a> Names<'a> {
    /// Reads the names of a file.
    pub(crate) fn new(source: &'a Source) -> Self {
        let mut names = Self { source, paths: BTreeMap::new(), own: BTreeSet::new() };
        for id in source.tree.ids() {
            match source.tree.kind(id) {
                Kind::Import | Kind::ImportFrom => {
                    for imported in imports(source, id) {
                        names.stands_for(imported.name, imported.path);
                    }
                }
                Kind::Function | Kind::Class => names.defined(id),
                Kind::Parameters | Kind::LambdaParameters => names.parameters(id),
                Kind::Assignment => names.assigned(id),
                _ => {}
            }
        }
        for _ in 0..ROUNDS_MAX {
            if !names.follow_aliases() {
                break;
            }
        }
        names
    }

    fn stands_for(&mut self, name: &'a str, path: String) -> bool {
        let paths = self.paths.entry(name).or_default();
        paths.len() < PATHS_MAX && paths.insert(path)
    }

    fn scope(&self, id: NodeId) -> NodeId {
        let tree = &self.source.tree;
        let is_scope = |id: &NodeId| matches!(tree.kind(*id), Kind::Function | Kind::Lambda);
        tree.ancestors(id).find(is_scope).unwrap_or(0)
    }

    fn defined(&mut self, id: NodeId) {
        let tree = &self.source.tree;
        let is_method = tree.ancestors(id).find_map(|above| match tree.kind(above) {
            Kind::Class => Some(true),
            Kind::Function => Some(false),
            _ => None,
        });
        if is_method != Some(true) {
            if let Some(name) = tree.child(id, Field::Name) {
                self.own.insert((self.scope(id), self.source.text_of(name)));
            }
        }
    }

    fn parameters(&mut self, id: NodeId) {
        let tree = &self.source.tree;
        let scope = self.scope(id);
        for child in tree.children(id) {
            let name = match tree.kind(child) {
                Kind::Identifier => Some(child),
                Kind::DefaultParameter | Kind::TypedDefaultParameter => {
                    tree.child(child, Field::Name)
                }
                _ => tree.children(child).next(),
            };
            if let Some(name) = name {
                self.own.insert((scope, self.source.text_of(name)));
            }
        }
    }

    fn assigned(&mut self, id: NodeId) {
        let scope = self.scope(id);
        // The module's own names may still mean the builtin where they are assigned.
        if scope > 0 {
            for name in targets(self.source, id) {
                self.own.insert((scope, self.source.text_of(name)));
            }
        }
    }

    /// Adds what plain assignments say; whether anything was new.
    fn follow_aliases(&mut self) -> bool {
        let (source, tree) = (self.source, &self.source.tree);
        let mut is_new = false;
        for id in tree.ids() {
            let (name, value) = match tree.kind(id) {
                Kind::Assignment => (Field::Left, Field::Right),
                Kind::NamedExpression | Kind::DefaultParameter | Kind::TypedDefaultParameter => {
                    (Field::Name, Field::Value)
                }
                _ => continue,
            };
            let name = tree.child(id, name).filter(|id| tree.kind(*id) == Kind::Identifier);
            let (Some(name), Some(value)) = (name, tree.child(id, value)) else { continue };
            for path in self.paths_of(value) {
                is_new |= self.stands_for(source.text_of(name), path);
            }
        }
        is_new
    }

    /// What an expression stands for: a name, attributes of one, or `getattr` of one by a literal.
    pub(crate) fn paths_of(&self, id: NodeId) -> Vec<String> {
        let (source, tree) = (self.source, &self.source.tree);
        let mut at = id;
        let mut parts: Vec<String> = Vec::new();
        loop {
            match tree.kind(at) {
                Kind::Identifier => break,
                Kind::Attribute => {
                    let (Some(object), Some(name)) =
                        (tree.child(at, Field::Object), tree.child(at, Field::Attribute))
                    else {
                        return Vec::new();
                    };
                    parts.push(source.text_of(name).to_owned());
                    at = object;
                }
                Kind::Parenthesized => match tree.children(at).next() {
                    Some(inner) => at = inner,
                    None => return Vec::new(),
                },
                Kind::Call => match getattr_of(source, at) {
                    Some((object, Some(name))) => {
                        parts.push(name);
                        at = object;
                    }
                    _ => return Vec::new(),
                },
                _ => return Vec::new(),
            }
        }
        let Some(roots) = self.paths.get(source.text_of(at)) else { return Vec::new() };
        let rest: String = parts.iter().rev().map(|part| format!(".{part}")).collect();
        roots.iter().map(|root| format!("{root}{rest}")).collect()
    }

    /// Whether a name means something that the file itself defines, where it stands.
    pub(crate) fn is_own(&self, id: NodeId) -> bool {
        let (tree, name) = (&self.source.tree, self.source.text_of(id));
        self.own.contains(&(0, name))
            || tree.ancestors(id).any(|above| self.own.contains(&(above, name)))
    }
}

/// Names on the left of an assignment.
pub(crate) fn targets(source: &Source, assignment: NodeId) -> Vec<NodeId> {
    let tree = &source.tree;
    let Some(left) = tree.child(assignment, Field::Left) else { return Vec::new() };
    let is_list =
        matches!(tree.kind(left), Kind::PatternList | Kind::TuplePattern | Kind::ListPattern);
    let within = if is_list { tree.children(left).collect() } else { vec![left] };
    within.into_iter().filter(|id| tree.kind(*id) == Kind::Identifier).collect()
}

/// What an import statement binds. Names of `*` are not known, and left out.
pub(crate) fn imports(source: &Source, statement: NodeId) -> Vec<Imported<'_>> {
    let tree = &source.tree;
    let is_from = tree.kind(statement) == Kind::ImportFrom;
    let module = tree.child(statement, Field::ModuleName).map(|id| dotted(source, id));
    let prefix = match module {
        Some(module) if module.ends_with('.') => module,
        Some(module) => format!("{module}."),
        None => String::new(),
    };
    let names = tree.children(statement).filter(|id| tree.node(*id).field == Field::Name);
    let bound = names.filter_map(|id| {
        let (written, alias) = match tree.kind(id) {
            Kind::AliasedImport => (tree.child(id, Field::Name)?, tree.child(id, Field::Alias)),
            _ => (id, None),
        };
        let path = dotted(source, written);
        let (path, name) = match alias {
            Some(alias) => (path, source.text_of(alias)),
            None if is_from => (path, source.text_of(written)),
            // `import a.b` binds `a`.
            None => {
                let first = tree.children(written).next().unwrap_or(written);
                (source.text_of(first).to_owned(), source.text_of(first))
            }
        };
        Some(Imported { at: written, path: format!("{prefix}{path}"), name })
    });
    bound.collect()
}

/// A dotted name without the blanks that may stand in it.
pub(crate) fn dotted(source: &Source, id: NodeId) -> String {
    let is_blank = |c: char| c.is_whitespace() || c == '\\';
    source.text_of(id).chars().filter(|c| !is_blank(*c)).collect()
}

/// The object of a call of `getattr` or its like, and the attribute's name if it is a literal.
pub(crate) fn getattr_of(source: &Source, call: NodeId) -> Option<(NodeId, Option<String>)> {
    let tree = &source.tree;
    let function = tree.child(call, Field::Function)?;
    if !["getattr", "setattr", "delattr", "hasattr"].contains(&source.text_of(function)) {
        return None;
    }
    let arguments = tree.child(call, Field::Arguments)?;
    let is_code = |id: &NodeId| tree.kind(*id) != Kind::Comment;
    let mut given = tree.children(arguments).filter(is_code);
    let object = given.next()?;
    Some((object, given.next().and_then(|name| text_value(source, name))))
}

/// The value of a string that is written out, also in parts.
pub(crate) fn text_value(source: &Source, id: NodeId) -> Option<String> {
    let tree = &source.tree;
    let mut value = String::new();
    let mut next = id;
    let end = tree.node(id).after;
    while next < end {
        match tree.kind(next) {
            Kind::StringContent => value.push_str(source.text_of(next)),
            Kind::StringLiteral
            | Kind::ConcatenatedString
            | Kind::BinaryOperator
            | Kind::Parenthesized
            | Kind::Comment => {}
            // What marks a string's ends is named, too.
            Kind::Other if tree.kind(tree.node(next).parent) == Kind::StringLiteral => {}
            _ => return None,
        }
        next += 1;
    }
    (tree.kind(id) != Kind::Comment).then_some(value)
}
