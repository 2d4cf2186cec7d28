use node_chain::ItemKind;

use super::*;

fn row(kind: ItemKind, name: &str, found: &str, verdict: Verdict) -> ShapeRow {
    ShapeRow { kind, name: name.to_owned(), found: found.to_owned(), verdict }
}

/// A runtime with one row of each verdict.
fn report() -> ShapeReport {
    let why = |text: &str| text.to_owned();
    let rows = vec![
        row(ItemKind::Call, "SubtensorModule.set_weights", "(netuid, dests)", Verdict::Ok),
        row(
            ItemKind::Storage,
            "SubtensorModule.Tempo",
            "u32",
            Verdict::Compatible { why: why("`u16` is `u32` now") },
        ),
        row(
            ItemKind::Storage,
            "SubtensorModule.SubnetEpochConsensus",
            "",
            Verdict::Fallback { why: why("absent"), instead: "always Yuma" },
        ),
        row(
            ItemKind::Storage,
            "Drand.LastStoredRound",
            "",
            Verdict::Fatal {
                why: why("no pallet `Drand`"),
                lost: vec![Capability::TimelockedWeights],
            },
        ),
    ];
    ShapeReport { spec: Some(("node-subtensor".to_owned(), 425)), rows }
}

#[test]
fn the_table_begins_with_what_is_worst_and_ends_with_what_is_right() {
    insta::assert_snapshot!(render("`finney.scale`", &report(), false, None));
}

#[test]
fn problems_alone_leave_out_what_is_right() {
    let text = render("`finney.scale`", &report(), true, None);
    assert!(text.contains("Drand.LastStoredRound") && text.contains("SubtensorModule.Tempo"));
    assert!(!text.contains("set_weights"), "{text}");
    let fine = ShapeReport { spec: None, rows: vec![report().rows[0].clone()] };
    let text = render("`x`", &fine, true, None);
    assert!(text.starts_with("a runtime of unknown version   `x`\n"), "{text}");
    assert!(!text.contains("verdict"), "an empty table has no head: {text}");
}

#[test]
fn a_narrow_terminal_folds_details_and_nothing_passes_its_edge() {
    for width in [60, 80, 120] {
        let text = render("`finney.scale`", &report(), false, Some(width));
        let longest = text.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(longest <= usize::from(width), "{width}: {longest}\n{text}");
    }
}

#[test]
fn json_has_each_item_with_its_reason() {
    let report = report();
    let answer = serde_json::to_value(Answer::new("`x`", &report, false)).unwrap();
    assert_eq!(answer["spec_version"], 425);
    assert_eq!(answer["worst"], "fatal");
    assert_eq!(answer["can"][2]["what"], "timelocked weights");
    assert_eq!(answer["can"][2]["possible"], false);
    let items = answer["items"].as_array().unwrap();
    assert_eq!(items.len(), 4);
    assert_eq!(items[0]["name"], "Drand.LastStoredRound");
    assert_eq!(items[0]["lost"][0], "timelocked weights");
    assert_eq!(items[1]["instead"], "always Yuma");
    assert_eq!(items[3]["found"], "(netuid, dests)");
    assert!(items[3].get("why").is_none());
    let short = serde_json::to_value(Answer::new("`x`", &report, true)).unwrap();
    assert_eq!(short["items"].as_array().unwrap().len(), 3);
}
