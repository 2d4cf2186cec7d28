//! Builtins, attributes and strings that lead out of what a submission is given.

use node_core::admission::Rule;

use super::imports::refused;
use super::tables::{attribute_rule, builtin_rule, escape_in_text, path_rule, WRITERS};
use crate::source::names::{getattr_of, text_value, Names};
use crate::source::{Field, Finding, Kind, NodeId, Source};

/// Names of places where a run may leave something behind.
const WRITABLE: [&str; 2] = ["artifacts_dir", "checkpoint_dir"];

/// Finds uses of what is not allowed.
pub(super) fn check(source: &Source, names: &Names<'_>, found: &mut Vec<Finding>) {
    let tree = &source.tree;
    let may_write = tree
        .ids()
        .any(|id| tree.kind(id) == Kind::Identifier && WRITABLE.contains(&source.text_of(id)));
    for id in tree.ids() {
        match tree.kind(id) {
            Kind::Identifier => identifier(source, names, id, found),
            Kind::Attribute => attribute(source, names, (id, may_write), found),
            Kind::Call => indirect(source, names, id, found),
            Kind::StringLiteral => text(source, id, found),
            Kind::ExecStatement => {
                found.push(refused(source, Rule::SourceDynamicCode, id, "exec"));
            }
            _ => {}
        }
    }
}

fn identifier(source: &Source, names: &Names<'_>, id: NodeId, found: &mut Vec<Finding>) {
    let (tree, name) = (&source.tree, source.text_of(id));
    if !name.is_ascii() {
        disguised(source, id, found);
        return;
    }
    // Attributes have their own check; imports and parameters bind a name and use none.
    let is_binding = matches!(
        (tree.kind(tree.node(id).parent), tree.node(id).field),
        (Kind::Attribute, Field::Attribute)
            | (
                Kind::KeywordArgument
                    | Kind::Function
                    | Kind::Class
                    | Kind::DefaultParameter
                    | Kind::TypedDefaultParameter
                    | Kind::NamedExpression,
                Field::Name,
            )
            | (Kind::Assignment, Field::Left)
            | (
                Kind::DottedName
                    | Kind::AliasedImport
                    | Kind::Parameters
                    | Kind::LambdaParameters
                    | Kind::TypedParameter
                    | Kind::PatternList
                    | Kind::Global
                    | Kind::Nonlocal,
                _,
            )
    );
    if is_binding {
        return;
    }
    if let Some(rule) = builtin_rule(name).filter(|_| !names.is_own(id)) {
        found.push(refused(source, rule, id, name));
    } else if name.starts_with("__") {
        if let Some(rule) = attribute_rule(name) {
            found.push(refused(source, rule, id, name));
        }
    }
}

/// Python reads `ｅｖａｌ` as `eval`.
fn disguised(source: &Source, id: NodeId, found: &mut Vec<Finding>) {
    use unicode_normalization::UnicodeNormalization as _;

    let name = source.text_of(id);
    let read: String = name.nfkc().collect();
    if read.is_ascii() {
        let detail = format!("Python reads the name `{name}` as `{read}`: write it so");
        found.push(source.finding(Rule::SourceEscape, id, detail));
    }
}

/// - `at`: the attribute, and whether its file knows a place that may be written to.
fn attribute(source: &Source, names: &Names<'_>, at: (NodeId, bool), found: &mut Vec<Finding>) {
    let (tree, (id, may_write)) = (&source.tree, at);
    let Some(name) = tree.child(id, Field::Attribute).map(|name| source.text_of(name)) else {
        return;
    };
    let paths = || names.paths_of(id);
    if let Some(rule) = attribute_rule(name) {
        found.push(refused(source, rule, id, name));
        return;
    }
    if name == "__dict__" {
        if let Some(path) = paths().first() {
            found.push(refused(source, Rule::SourceEscape, id, path));
        }
        return;
    }
    // The longest chain says all that its beginnings say.
    let parent = tree.node(id).parent;
    if tree.kind(parent) == Kind::Attribute && tree.node(id).field == Field::Object {
        return;
    }
    for path in paths() {
        if let Some(rule) = path_rule(&path) {
            found.push(refused(source, rule, id, &path));
        } else if !may_write && WRITERS.contains(&path.as_str()) {
            found.push(refused(source, Rule::SourceFiles, id, &path));
        }
    }
}

/// `getattr` and its like, with a name that is written out or not.
fn indirect(source: &Source, names: &Names<'_>, id: NodeId, found: &mut Vec<Finding>) {
    let Some((object, name)) = getattr_of(source, id) else { return };
    let paths = names.paths_of(object);
    match name {
        Some(name) => {
            let rules = paths.iter().filter_map(|path| path_rule(&format!("{path}.{name}")));
            let is_taboo = |name: &str| attribute_rule(name).or_else(|| builtin_rule(name));
            if let Some(rule) = rules.chain(is_taboo(&name)).next() {
                found.push(refused(source, rule, id, &name));
            }
        }
        None => {
            if let Some(path) = paths.first() {
                let detail =
                    format!("an attribute of `{path}` is named by an expression: name it directly");
                found.push(source.finding(Rule::SourceEscape, id, detail));
            }
        }
    }
}

fn text(source: &Source, id: NodeId, found: &mut Vec<Finding>) {
    let tree = &source.tree;
    // A docstring is not used.
    if tree.kind(tree.node(id).parent) == Kind::ExpressionStatement {
        return;
    }
    let contents = tree.children(id).filter(|child| tree.kind(*child) == Kind::StringContent);
    for content in contents {
        if let Some(name) = escape_in_text(source.text_of(content)) {
            found.push(refused(source, Rule::SourceEscape, id, name));
            return;
        }
    }
    // The parts of a sum are checked together, where the sum begins.
    let is_sum =
        |id: NodeId| matches!(tree.kind(id), Kind::BinaryOperator | Kind::ConcatenatedString);
    let parent = tree.node(id).parent;
    let is_first = tree.children(parent).next() == Some(id);
    if is_sum(parent) && is_first {
        let joined = text_value(source, parent);
        if let Some(name) = joined.as_deref().and_then(escape_in_text) {
            found.push(refused(source, Rule::SourceEscape, parent, name));
        }
    }
}
