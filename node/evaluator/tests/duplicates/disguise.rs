//! What somebody does to another's project to hand it in as their own.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use tree_sitter::{Node, Parser, Tree};

pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// Names that the challenge or the library calls: who changes them has a project that does not run.
const CALLED: &[&str] = &[
    "build_model",
    "train",
    "get_recipe",
    "configure_optimizer",
    "compute_loss",
    "train_step",
    "inference_logits",
    "infer",
    "forward",
    "step",
    "self",
];

fn parsed(source: &str) -> Tree {
    let mut parser = Parser::new();
    parser.set_language(&tree_sitter_python::LANGUAGE.into()).unwrap();
    parser.parse(source, None).unwrap()
}

fn all<'t>(tree: &'t Tree, wanted: impl Fn(Node<'t>) -> bool) -> Vec<Node<'t>> {
    let mut stack = vec![tree.root_node()];
    let mut found = Vec::new();
    while let Some(node) = stack.pop() {
        if wanted(node) {
            found.push(node);
        }
        let children: Vec<_> = node.children(&mut node.walk()).collect();
        stack.extend(children.into_iter().rev());
    }
    found
}

/// Replaces parts of a source that do not overlap.
fn edited(source: &str, mut edits: Vec<(Range<usize>, String)>) -> String {
    edits.sort_by_key(|(range, _)| (range.start, range.end));
    let (mut result, mut at) = (String::new(), 0);
    for (range, text) in edits {
        assert!(range.start >= at, "edits overlap");
        result += &source[at..range.start];
        result += &text;
        at = range.end;
    }
    result + &source[at..]
}

pub(crate) fn each_file(files: &Files, change: impl Fn(&str) -> String) -> Files {
    let changed = |content: &Vec<u8>| change(std::str::from_utf8(content).unwrap()).into_bytes();
    files.iter().map(|(path, content)| (path.clone(), changed(content))).collect()
}

fn text<'s>(source: &'s str, node: Node<'_>) -> &'s str {
    &source[node.byte_range()]
}

fn is_part(node: Node<'_>, kind: &str, field: &str) -> bool {
    node.parent().is_some_and(|parent| {
        parent.kind() == kind && parent.child_by_field_name(field) == Some(node)
    })
}

/// Whether an identifier is bound where it stands.
fn is_bound(node: Node<'_>) -> bool {
    let is_own_attribute = is_part(node, "attribute", "attribute")
        && node.parent().is_some_and(|attribute| is_left(attribute));
    let in_parameters = node.parent().is_some_and(|parent| {
        matches!(parent.kind(), "parameters" | "lambda_parameters" | "typed_parameter")
    });
    is_own_attribute
        || in_parameters
        || is_part(node, "function_definition", "name")
        || is_part(node, "class_definition", "name")
        || is_part(node, "default_parameter", "name")
        || (!is_part(node, "attribute", "attribute") && is_left(node))
}

fn is_left(node: Node<'_>) -> bool {
    let mut place = node;
    while let Some(parent) = place.parent() {
        match parent.kind() {
            "pattern_list" | "tuple_pattern" => place = parent,
            "assignment" | "for_statement" | "for_in_clause" => {
                return parent.child_by_field_name("left") == Some(place);
            }
            _ => return false,
        }
    }
    false
}

/// Gives every name that the project binds a new one, other ones to attributes than to variables.
pub(crate) fn renamed(files: &Files) -> Files {
    let mut own = BTreeSet::new();
    for content in files.values() {
        let source = std::str::from_utf8(content).unwrap();
        let tree = parsed(source);
        let names = all(&tree, |node| node.kind() == "identifier" && is_bound(node));
        own.extend(names.into_iter().map(|node| text(source, node).to_owned()));
    }
    own.retain(|name| !CALLED.contains(&name.as_str()) && !name.starts_with("__"));
    let number = |name: &str| own.iter().position(|other| other == name);
    each_file(files, |source| {
        let tree = parsed(source);
        let names = all(&tree, |node| node.kind() == "identifier");
        let edits = names.into_iter().filter_map(|node| {
            let number = number(text(source, node))?;
            let is_attribute = is_part(node, "attribute", "attribute");
            let prefix = if is_attribute { "Zz" } else { "q" };
            Some((node.byte_range(), format!("{prefix}{}", number * 7 + 3)))
        });
        edited(source, edits.collect())
    })
}

/// Turns around the order of functions and classes of a module and of methods of a class.
pub(crate) fn reordered(files: &Files) -> Files {
    let turned = |source: &str, wanted: &dyn Fn(Node<'_>) -> bool| {
        let tree = parsed(source);
        let mut edits = Vec::new();
        for parent in all(&tree, wanted) {
            let is_definition = |node: &Node<'_>| node.kind().ends_with("_definition");
            let children: Vec<_> = parent.named_children(&mut parent.walk()).collect();
            let definitions: Vec<_> = children.into_iter().filter(is_definition).collect();
            let places = definitions.iter().map(|node| node.byte_range());
            let contents = definitions.iter().rev().map(|node| text(source, *node).to_owned());
            edits.extend(places.zip(contents));
        }
        edited(source, edits)
    };
    let is_class_body = |node: Node<'_>| is_part(node, "class_definition", "body");
    each_file(files, |source| {
        turned(&turned(source, &is_class_body), &|node| node.kind() == "module")
    })
}

/// Other literals, comments everywhere, no docstrings, brackets, twice the indentation.
pub(crate) fn reformatted(files: &Files) -> Files {
    each_file(files, |source| {
        let tree = parsed(source);
        let is_plain = |node: Node<'_>| !text(source, node).starts_with('f');
        let is_statement = |node: Node<'_>| {
            node.parent().is_some_and(|parent| parent.kind() == "expression_statement")
        };
        let literals = all(&tree, |node| {
            matches!(node.kind(), "integer" | "float" | "string") && is_plain(node)
        });
        let edits = literals.into_iter().map(|node| {
            let other = match node.kind() {
                "integer" => "(0x_2A)",
                "float" => "6.02e-23",
                _ if is_statement(node) => "pass",
                _ => "r'''other\n   text'''",
            };
            (node.byte_range(), other.to_owned())
        });
        let changed = edited(source, edits.collect());
        let lines = changed.lines().map(|line| {
            let indent = line.len() - line.trim_start().len();
            let comment = if line.is_empty() { "# nothing\n" } else { "" };
            format!("{}{line}\n{comment}", " ".repeat(indent))
        });
        lines.collect()
    })
}

/// Moves all definitions but those that the challenge calls to a new file.
pub(crate) fn moved(files: &Files) -> Files {
    let mut result = Files::new();
    for (path, content) in files {
        let source = std::str::from_utf8(content).unwrap();
        let tree = parsed(source);
        let root = tree.root_node();
        let (mut kept, mut away, mut names) = (String::new(), String::new(), Vec::new());
        for statement in root.named_children(&mut root.walk()) {
            let inner = statement.child_by_field_name("definition").unwrap_or(statement);
            let name = inner.child_by_field_name("name").map(|name| text(source, name));
            let is_import = statement.kind().starts_with("import");
            let statement = text(source, statement).to_owned() + "\n\n";
            match name.filter(|name| !CALLED.contains(name)) {
                Some(name) if !is_import => {
                    names.push(name);
                    away += &statement;
                }
                _ if is_import => {
                    kept += &statement;
                    away = statement + &away;
                }
                _ if name.is_none() => away += &statement,
                _ => kept += &statement,
            }
        }
        let module = format!("parts_of_{}", path.replace(".py", ""));
        for name in names {
            kept = format!("from {module} import {name}\n{kept}");
        }
        result.insert(path.clone(), kept.into_bytes());
        result.insert(format!("{module}.py"), away.into_bytes());
    }
    result
}

/// A statement without effect after every `every`th statement of a block.
pub(crate) fn padded(files: &Files, every: usize) -> Files {
    each_file(files, |source| {
        let tree = parsed(source);
        let is_in_block = |node: Node<'_>| {
            node.is_named() && node.parent().is_some_and(|parent| parent.kind() == "block")
        };
        let statements = all(&tree, |node| is_in_block(node) && node.kind() != "comment");
        let edits = statements.into_iter().skip(every / 2).step_by(every).map(|node| {
            let at = node.start_byte();
            let indent = " ".repeat(node.start_position().column);
            (at..at, format!("unused = len([unused_too])\n{indent}"))
        });
        edited(source, edits.collect())
    })
}

/// Each `return` of an expression by way of a variable.
pub(crate) fn returned_by_name(files: &Files) -> Files {
    each_file(files, |source| {
        let tree = parsed(source);
        let returns =
            all(&tree, |node| node.kind() == "return_statement" && node.named_child_count() == 1);
        let edits = returns.into_iter().map(|node| {
            let value = text(source, node.named_child(0).unwrap());
            let indent = " ".repeat(node.start_position().column);
            (node.byte_range(), format!("outcome = ({value})\n{indent}return outcome"))
        });
        edited(source, edits.collect())
    })
}

/// Each loop over something as a loop over its numbered elements.
pub(crate) fn loops_numbered(files: &Files) -> Files {
    each_file(files, |source| {
        let tree = parsed(source);
        let loops = all(&tree, |node| node.kind() == "for_statement");
        let edits = loops.into_iter().flat_map(|node| {
            let part = |name| node.child_by_field_name(name).unwrap();
            let (left, right) = (part("left"), part("right"));
            [
                (left.byte_range(), format!("_, ({})", text(source, left))),
                (right.byte_range(), format!("enumerate({})", text(source, right))),
            ]
        });
        edited(source, edits.collect())
    })
}

/// Every function's body behind another function: each method of more than one statement calls a
/// new one with the first half of its statements.
pub(crate) fn split(files: &Files) -> Files {
    each_file(files, |source| {
        let tree = parsed(source);
        let bodies = all(&tree, |node| {
            is_part(node, "function_definition", "body") && node.named_child_count() > 3
        });
        let edits = bodies.into_iter().enumerate().map(|(number, body)| {
            let children: Vec<_> = body.named_children(&mut body.walk()).collect();
            let half = children.len() / 2;
            let indent = " ".repeat(body.start_position().column);
            let (first, last) = (children[0].start_byte(), children[half].start_byte());
            let inner = source[first..last].trim_end().replace('\n', "\n    ");
            let def =
                format!("def part_{number}():\n{indent}    {inner}\n{indent}part_{number}()\n");
            (first..last, def + &indent)
        });
        let mut outer: Vec<(Range<usize>, String)> = Vec::new();
        for edit in edits {
            if outer.last().is_none_or(|(range, _)| edit.0.start >= range.end) {
                outer.push(edit);
            }
        }
        edited(source, outer)
    })
}

/// With somebody else's definitions behind its own; mentioned, if `is_mentioned`.
pub(crate) fn bloated(files: &Files, other: &Files, is_mentioned: bool) -> Files {
    let mut result = files.clone();
    let junk = String::from_utf8(other["architecture.py"].clone()).unwrap();
    let junk = junk.replace("build_model", "junk_model");
    let mention = if is_mentioned { "\nif False:\n    junk_model(None)\n" } else { "\n" };
    result.get_mut("architecture.py").unwrap().extend((junk + mention).into_bytes());
    result
}
