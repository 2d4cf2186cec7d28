use super::*;

fn read(manifest: &str) -> Result<Manifest, Rejection> {
    let names = ["prism.yaml", "src/model.py", "src/train.py", "tokenizer.json", "note.md"];
    let content = |name: &&str| match *name {
        "prism.yaml" => manifest.as_bytes().to_vec(),
        _ => Vec::new(),
    };
    let files = names.iter().map(|name| ((*name).to_owned(), content(name))).collect();
    read_manifest(&Archive { files })
}

#[test]
fn what_a_manifest_says_is_what_is_read() {
    let all = "kind: training_for_arch\narchitecture_id: transformer-rope\n\
               architecture:\n  entrypoint: src/model.py\n  files:\n    - note.md\n\
               training:\n  entrypoint: src/train.py::fit\ntokenizer: tokenizer.json\n";
    let manifest = read(all).unwrap();
    assert_eq!(manifest.kind, ProjectKind::TrainingForArch);
    assert_eq!(manifest.architecture_id.as_deref(), Some("transformer-rope"));
    assert_eq!(manifest.architecture.unwrap().symbol, None);
    let training = manifest.training.unwrap();
    assert_eq!((training.file.as_str(), training.symbol.as_deref()), ("src/train.py", Some("fit")));
    assert_eq!(manifest.tokenizer, TokenizerChoice::Custom);
    let reference = read("tokenizer: kjv-bpe-4096\n").unwrap();
    assert_eq!(reference.tokenizer, TokenizerChoice::Reference("kjv-bpe-4096".to_owned()));
    assert_eq!(read("tokenizer: bytes\n").unwrap().tokenizer, TokenizerChoice::Bytes);
    assert_eq!(read_manifest(&Archive { files: BTreeMap::new() }).unwrap(), Manifest::default());
}

#[test]
fn a_training_alone_is_for_a_reference_or_a_content_and_others_may_name_any_family() {
    let training = |id: &str| read(&format!("kind: training_for_arch\narchitecture_id: {id}\n"));
    let digest = "0e".repeat(32);
    for id in ["ssm", "transformer-rope", &digest] {
        assert_eq!(training(id).unwrap().architecture_id.as_deref(), Some(id));
    }
    for id in ["f-1", "SSM", &digest[1..], &digest.replace('e', "g")] {
        let refused = training(id).unwrap_err();
        assert!(refused.detail.contains("`architecture_id` names no architecture"), "{refused}");
    }
    let full = read("architecture_id: f-1\n").unwrap();
    assert_eq!(full.architecture_id.as_deref(), Some("f-1"));
}

#[test]
fn what_is_wrong_is_refused_with_its_line() {
    let cases: [(&str, Rule, Option<u32>); 19] = [
        ("", Rule::ContractManifest, None),
        ("kind: partial\n", Rule::ContractManifest, Some(1)),
        ("kind: full\nkind: full\n", Rule::ContractManifest, Some(2)),
        ("kind: full\nwidth: 3\n", Rule::ContractManifest, Some(2)),
        ("- kind\n", Rule::ContractManifest, Some(1)),
        ("kind: [full\n", Rule::ContractManifest, Some(1)),
        ("kind: training_for_arch\n", Rule::ContractManifest, Some(1)),
        ("kind: training_for_arch\narchitecture_id: a b\n", Rule::ContractManifest, Some(2)),
        ("kind: full\ntokenizer: gpt2\n", Rule::ContractManifest, Some(2)),
        ("kind: training_for_arch\narchitecture_id: mamba\n", Rule::ContractManifest, Some(2)),
        ("architecture:\n  entrypoint: gone.py\n", Rule::ContractFile, Some(2)),
        ("architecture:\n  entrypoint: note.md\n", Rule::ContractManifest, Some(2)),
        ("architecture:\n  entrypoint: src/model.py::a.b\n", Rule::ContractManifest, Some(2)),
        ("training:\n  files: [gone.py]\n", Rule::ContractFile, Some(2)),
        ("tokenizer: ../../etc\n", Rule::ContractManifest, Some(1)),
        ("a: &x [1]\nkind: *x\n", Rule::ContractManifest, Some(1)),
        ("kind: architecture_only\ntraining: {}\n", Rule::ContractManifest, None),
        ("--- \nkind: full\n---\nkind: full\n", Rule::ContractManifest, None),
        ("kind: !!python/object:os.system full\n", Rule::ContractManifest, None),
    ];
    for (text, rule, line) in cases {
        let Err(refused) = read(text) else {
            assert!(text.contains("{}") || text.contains("!!"), "{text} was taken");
            continue;
        };
        assert_eq!(refused.rule, rule, "{text}: {refused}");
        if line.is_some() {
            assert_eq!(refused.line, line, "{text}: {refused}");
            assert!(refused.snippet.is_some());
        }
    }
}

#[test]
fn bombs_are_refused_at_once() {
    let laughs: String =
        (1..9).map(|n| format!("a{n}: &a{n} [*a{0},*a{0},*a{0},*a{0},*a{0}]\n", n - 1)).collect();
    let bombs = [
        format!("a0: &a0 [lol]\n{laughs}"),
        "[".repeat(16_000),
        "{a: ".repeat(4_000),
        "- ".repeat(8_000),
        "? ".repeat(8_000),
        "kind: full\n".repeat(1_400),
        format!("kind: \"{}\"\n", "\\u0041".repeat(2_500)),
        "a: 1\n".repeat(20_000),
    ];
    for bomb in bombs {
        let started = std::time::Instant::now();
        assert_eq!(read(&bomb).unwrap_err().rule, Rule::ContractManifest);
        assert!(started.elapsed().as_secs() < 2, "{:?}", bomb.get(..20));
    }
}

proptest::proptest! {
    #[test]
    fn any_text_is_read_or_refused(text: String, almost in "[a-z:{}&*!|>\\[\\], \n\"'-]{0,80}") {
        drop(read(&text));
        drop(read(&almost));
    }
}
