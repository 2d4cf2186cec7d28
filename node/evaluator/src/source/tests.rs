use proptest::prelude::*;

use super::names::text_value;
use super::*;

fn source(text: &str) -> Result<Source, Rejection> {
    Source::read("a.py", text.as_bytes(), Instant::now() + PARSE_TIME_MAX, &mut |_, _| {})
}

fn refused(text: &str) -> (Rule, Option<u32>) {
    let rejection = source(text).unwrap_err();
    assert_eq!(rejection.snippet.is_some(), rejection.line.is_some());
    (rejection.rule, rejection.line)
}

#[test]
fn python_of_today_is_read() {
    let texts = [
        "x = f\"{', '.join(a)} it's {{}} {v:#010x} {w!r:>{width}} {x['a']:'>10}\"\n",
        "x = f'''{a}\n{b\n}'''\ny = rf\"\\d{x}\"\nz = f\"\\N{DASH}{x}\"\n",
        "x = f\"{\"nested\"}\"\n",
        "match x:\n    case {\"a\": [b, *_]} if b > 1:\n        pass\n    case _:\n        pass\n",
        "type Pair[T] = tuple[T, T]\ndef f[T](x: T, /, *, y=1) -> T: ...\n",
        "try:\n    pass\nexcept* ValueError as group:\n    pass\n",
        "if (n := len(a)) > 10: pass\n",
        "with (open_it() as a, other() as b):\n    pass\n",
        "async def f():\n    async for x in y: yield x\n    return [i async for i in z]\n",
        "print(x, file=y)\nmatch = 1\ntype = 2\ncase = match\n",
        "x = 1_000j + 0xFF + 1e-3 + .5\nlambda *a, **k: (yield)\n",
        "class A(B, metaclass=C):\n\n    x: int = 1\n\n    @property\n    def y(self): return ...\n",
        "\u{feff}# -*- coding: utf-8 -*-\nα = 'é'\n",
        "def f(a, b=1, *args, c: int = 2, **kwargs): return a @ b\n",
        "x = a if b else c\ny = not a in b\nz = a < b < c\ndel x[1:2, ...]\n",
        "assert x, 'y'\nglobal_ = 1\nraise A from b\nwhile 1:\n    break\nelse:\n    pass\n",
    ];
    for text in texts {
        assert!(source(text).is_ok(), "{text}: {:?}", source(text).unwrap_err());
    }
}

#[test]
fn what_is_not_python_is_refused_with_its_line() {
    let cases = [
        ("x = (\n", Rule::SourceSyntax, Some(2)),
        ("x = 1\ny = ]\n", Rule::SourceSyntax, Some(2)),
        ("x = 'a\n", Rule::SourceSyntax, Some(1)),
        ("x = 1\n\n\ny = '''a\n", Rule::SourceSyntax, Some(4)),
        ("x = (1; 2)\n", Rule::SourceSyntax, Some(1)),
        ("x = 1\ndef f(:\n  pass\n", Rule::SourceSyntax, None),
        ("x = 1\nx = = 2\n", Rule::SourceSyntax, Some(2)),
        ("# coding: utf-7\nx = 1\n", Rule::SourceEncoding, Some(1)),
        ("#!x\n# vim: set fileencoding=latin-1 :\n", Rule::SourceEncoding, Some(2)),
    ];
    for (text, rule, line) in cases {
        let (got, at) = refused(text);
        assert_eq!(got, rule, "{text}");
        if line.is_some() {
            assert_eq!(at, line, "{text}");
        }
    }
    assert_eq!(refused(&"(".repeat(200)).0, Rule::SourceNesting);
    assert_eq!(refused(&format!("x = {}1\n", "-".repeat(5_000))).0, Rule::SourceNesting);
    assert_eq!(refused(&"\\\n".repeat(100_000)).0, Rule::SourceNesting);
    let deep: String = (0..200).map(|n| " ".repeat(n) + "if x:\n").collect();
    assert_eq!(refused(&deep).0, Rule::SourceNesting);
}

#[test]
fn a_snippet_is_the_same_wherever_its_lines_stand() {
    let at = |text: &str| {
        let source = source(text).unwrap();
        let call = source.tree.ids().find(|id| source.tree.kind(*id) == Kind::Call).unwrap();
        source.evidence(source.finding(Rule::SourceFiles, call, String::new()))
    };
    let plain = at("f(1,\n  2)\n");
    let moved = at("x = 1\nif x:\n        f(1,\r\n2)  \r\n");
    assert_eq!(plain.snippet, moved.snippet);
    assert_eq!((plain.line, moved.line), (Some(1), Some(3)));
    assert_ne!(plain.snippet, at("f(1,\n  3)\n").snippet);
}

#[test]
fn a_tree_is_walked_by_its_ends() {
    let source = source("import a.b as c, d\nx = 'y' 'z' + \"w\"\n").unwrap();
    let top: Vec<Kind> = source.tree.children(0).map(|id| source.tree.kind(id)).collect();
    assert_eq!(top, [Kind::Import, Kind::ExpressionStatement]);
    let sum = source.tree.ids().find(|id| source.tree.kind(*id) == Kind::BinaryOperator).unwrap();
    assert_eq!(text_value(&source, sum).as_deref(), Some("yzw"));
    let above: Vec<Kind> = source.tree.ancestors(sum).map(|id| source.tree.kind(id)).collect();
    assert_eq!(above, [Kind::Assignment, Kind::ExpressionStatement, Kind::Module]);
}

/// Pieces of Python; repeated, each is a file that some parser somewhere was slow with.
const PIECES: [&str; 60] = [
    "(",
    "[{",
    "lambda:",
    "f'{",
    "if x:\n ",
    "\\\n",
    "'''",
    "a if ",
    "import ",
    "x=1\n",
    "not ",
    "-",
    "a.",
    "a[",
    "a(",
    "  ",
    "\t\n",
    "\n",
    "#a\n",
    "a,",
    "(a,",
    "a:\n",
    "f'''{a",
    "'a' ",
    "match x:\n case ",
    "print ",
    "exec ",
    "async ",
    "await ",
    "a=",
    "a:=",
    "*",
    "@a\n",
    "if a:\n pass\nelse:\n pass\n",
    "[x for x in ",
    "{a:",
    "yield ",
    "a<b<",
    "type x = ",
    "lambda x=",
    "0x",
    "é",
    "$",
    "\x0c",
    "with (",
    "from a import (",
    "def f(",
    "class A(",
    "try:\n ",
    "case ",
    "{{",
    "f'{{",
    "f'{x:",
    "a;",
    ";",
    ":",
    "->",
    "\"",
    ")",
    "]",
];

#[test]
fn a_long_file_of_one_pattern_does_not_hang() {
    for piece in PIECES {
        let text = piece.repeat(500_000 / piece.len());
        let started = Instant::now();
        drop(source(&text));
        let took = started.elapsed();
        assert!(took < PARSE_TIME_MAX * 3, "{piece:?} took {took:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_text_is_read_or_refused(
        text: String,
        almost in "[\\\\'\"#\n ;:(){}a-f=+.,]{0,60}",
        pieces in proptest::collection::vec(prop::sample::select(PIECES.to_vec()), 1..12),
        repeat in 1_usize..40,
    ) {
        for text in [text, almost, pieces.concat().repeat(repeat)] {
            if let Ok(source) = source(&text) {
                for id in source.tree.ids() {
                    prop_assert!(source.tree.node(id).after > id);
                    source.text_of(id);
                }
            }
        }
    }
}
