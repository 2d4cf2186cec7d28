//! What stands in pages: nothing foreign, and everything that people need who do not see them.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

const STYLE: &str = include_str!("../../../templates/style.css");

/// What a miner would like to see in a page.
const HOSTILE: &str = "<img src=x onerror=alert(1)>\"'&<!--";

#[tokio::test]
async fn foreign_text_is_text() {
    let mut report = now(sample::degraded());
    let hostile = || HOSTILE.to_owned();
    for row in &mut report.submissions {
        (row.detail, row.rule, row.ending) = (Some(hostile()), Some(hostile()), Some(hostile()));
    }
    report.ready.reasons.push(hostile());
    report.weights.not_safe = Some(hostile());
    report.node.version = hostile();
    report.devices.push(sample::gpu_with_held_memory());
    for device in &mut report.devices {
        (device.label, device.obstacle) = (hostile(), Some(hostile()));
        device.id.0 = hostile();
    }
    for peer in &mut report.peers {
        peer.last_failure = Some(hostile());
    }
    for endpoint in &mut report.endpoints {
        (endpoint.endpoint, endpoint.last_error) = (hostile(), Some(hostile()));
    }
    for run in &mut report.runs {
        run.device = hostile();
    }
    for receipt in &mut report.receipts {
        receipt.ending = hostile();
    }
    let mut shown = 0;
    for (path, text) in pages(&report).await {
        assert!(!text.contains("<img") && !text.contains("<!--"), "{path}: {text}");
        shown += text.matches("img src=x").count();
    }
    assert!(shown > 20, "it is shown, as text: {shown}");
    let asked = Node::of(report).get("/submissions/%3Cimg%20src=x%3E").await;
    assert_eq!(asked.status, StatusCode::NOT_FOUND);
    assert!(!asked.text.contains("<img"), "{}", asked.text);
}

#[tokio::test]
async fn a_page_has_a_language_a_title_one_heading_and_the_way_to_the_others() {
    for report in reports() {
        for (path, text) in pages(&report).await {
            let once = |part: &str| assert_eq!(text.matches(part).count(), 1, "{path}: {part}");
            once("<html lang=\"en\">");
            let head = text.split("</head>").next().unwrap();
            assert_eq!(head.matches("<title>").count(), 1, "{path}");
            once("<h1>");
            once("<main id=\"main\"");
            once("<nav aria-label=\"Pages\">");
            once("aria-current=\"page\"");
            once("class=\"skip\" href=\"#main\"");
            once("aria-live=\"polite\"");
            once("<noscript>");
            for page in PAGES {
                assert!(text.contains(&format!("href=\"{page}\"")), "{path} names {page}");
            }
        }
    }
}

#[tokio::test]
async fn nothing_is_inline_and_nothing_comes_from_elsewhere() {
    for report in reports() {
        for (path, text) in pages(&report).await {
            for refused in ["<style", " style=", " onclick=", "javascript:", "src=\"http", "//cdn"]
            {
                assert!(!text.contains(refused), "{path}: {refused}");
            }
            assert_eq!(text.matches("<script").count(), 1, "{path}");
            assert!(text.contains("<script src=\"/assets/"), "{path}");
        }
    }
    assert!(!STYLE.contains("url(") && !STYLE.contains("@import"));
}

#[tokio::test]
async fn what_is_drawn_is_said_and_what_scrolls_has_a_name_and_takes_the_keyboard() {
    for report in reports() {
        for (path, text) in pages(&report).await {
            for drawing in text.split("<svg").skip(1) {
                let start = drawing.split('>').next().unwrap();
                let is_said = start.contains("role=\"img\" aria-label=\"");
                assert!(is_said || start.contains("aria-hidden=\"true\""), "{path}: {start}");
            }
            for region in text.split("class=\"scroll\"").skip(1) {
                let start = region.split('>').next().unwrap();
                for part in ["id=\"scroll-", "role=\"group\"", "aria-label", "tabindex=\"0\""] {
                    assert!(start.contains(part), "{path}: {start}");
                }
            }
            let count = |part: &str| text.matches(part).count();
            assert_eq!(count("<table"), count("<caption>"), "{path}");
            assert_eq!(count("<progress"), count("<progress max=\"100\""), "{path}");
            assert_eq!(count("<th"), count("<th scope=") + count("<thead"), "{path}");
        }
    }
}

#[tokio::test]
async fn a_name_in_a_page_is_given_once_and_what_refers_to_it_finds_it() {
    for report in reports() {
        for (path, text) in pages(&report).await {
            let mut ids = BTreeSet::new();
            let values = |before: &'static str| {
                text.split(before).skip(1).filter_map(|rest| rest.split('"').next())
            };
            for id in values(" id=\"") {
                assert!(ids.insert(id), "{path}: {id} is there twice");
            }
            for id in values("aria-labelledby=\"") {
                assert!(ids.contains(id), "{path}: {id} is not there");
            }
        }
    }
}

#[tokio::test]
async fn a_node_is_called_what_it_is_and_what_is_wrong_stands_first() {
    let healthy = Node::of(now(sample::healthy())).get("/").await.text;
    assert!(healthy.contains("badge good\">Healthy"), "{healthy}");
    assert!(!healthy.contains("What is wrong"), "{healthy}");
    let degraded = Node::of(now(sample::degraded())).get("/").await.text;
    assert!(degraded.contains("badge warn\">Degraded"), "{degraded}");
    let at = |part: &str| degraded.find(part).unwrap_or(usize::MAX);
    assert!(at("What is wrong") < at("Needs you"), "{degraded}");
    assert!(at("Needs you") < at("id=\"time\""), "{degraded}");
    let stale = Node::of(sample::healthy()).get("/peers").await.text;
    assert!(stale.contains("Not of now:"), "{stale}");
}

#[tokio::test]
async fn pages_show_what_their_reports_have() {
    let mut report = now(sample::healthy());
    report.devices.push(sample::gpu_with_held_memory());
    let said = [
        ("/", "Tier 1: 12 came, 4 went on"),
        ("/", "25 %, training, 2.3457 bits per byte, 12 s left"),
        ("/submissions", "412 233 901"),
        ("/submissions", "badge bad\">rejected"),
        ("/leaderboard", "412 233 901 points"),
        ("/devices", "40 500 MiB"),
        ("/devices", "end the process that holds its memory"),
        ("/epochs", "Vector of epoch 13 367: landed at 4 811 904"),
        ("/epochs", "uid 9: 65530 of 65535"),
        ("/peers", "connection refused"),
        ("/peers", "wss://entrypoint.example:443"),
    ];
    let node = Node::of(report);
    for (path, part) in said {
        let text = node.get(path).await.text;
        assert!(text.contains(part), "{path}: {part}: {text}");
    }
}

#[tokio::test]
async fn what_takes_no_run_is_not_called_free_and_who_was_not_called_does_not_answer() {
    let mut report = now(sample::healthy());
    report.devices.extend([sample::unused_gpu(), sample::gone_gpu()]);
    report.peers[1].last_answer_at = None;
    let node = Node::of(report);
    for (path, part) in [
        ("/", "1 running, 1 free, 1 not used, 1 gone"),
        ("/", "0 of 2 answer; 1 not called yet"),
        ("/devices", "badge plain\">not used"),
        ("/devices", "not used: 1"),
        ("/devices", "is a gpu, a cpu_slot is needed"),
        ("/peers", "badge plain\">not called yet"),
    ] {
        let text = node.get(path).await.text;
        assert!(text.contains(part), "{path}: {part}: {text}");
    }
}

#[tokio::test]
async fn drawings_are_drawings_and_not_text() {
    for (path, text) in pages(&sample::healthy()).await {
        assert!(!text.contains("&#60;svg") && !text.contains("&lt;svg"), "{path}: {text}");
        assert!(!text.contains("&#60;time") && !text.contains("&#60;code"), "{path}: {text}");
    }
}

/// The colours of the light theme, and of the dark one.
fn themes() -> [BTreeMap<&'static str, [u8; 3]>; 2] {
    let dark_from = STYLE.find("prefers-color-scheme: dark").unwrap();
    [&STYLE[..dark_from], &STYLE[dark_from..]].map(|part| {
        let colours = part.lines().filter_map(|line| line.trim().strip_prefix("--"));
        let colour = |line: &'static str| {
            let (name, value) = line.split_once(": #")?;
            let mut bytes = [0; 3];
            hex::decode_to_slice(value.strip_suffix(';')?, &mut bytes).ok()?;
            Some((name, bytes))
        };
        colours.filter_map(colour).collect()
    })
}

/// Relative luminance, as WCAG 2 has it.
fn luminance(colour: [u8; 3]) -> f64 {
    let part = |byte: u8| {
        let part = f64::from(byte) / 255.0;
        if part <= 0.040_45 {
            part / 12.92
        } else {
            ((part + 0.055) / 1.055).powf(2.4)
        }
    };
    let [red, green, blue] = colour.map(part);
    0.2126 * red + 0.7152 * green + 0.0722 * blue
}

fn contrast(one: [u8; 3], other: [u8; 3]) -> f64 {
    let (one, other) = (luminance(one), luminance(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

#[test]
fn colours_keep_their_contrast_in_both_themes() {
    let texts = [
        ("text", "ground"),
        ("text", "raised"),
        ("soft", "ground"),
        ("soft", "raised"),
        ("link", "ground"),
        ("link", "raised"),
        ("good", "good-ground"),
        ("warn", "warn-ground"),
        ("bad", "bad-ground"),
    ];
    // What is drawn needs less, see WCAG 1.4.11.
    let drawn = [("one", "ground"), ("two", "ground"), ("soft", "ground"), ("one", "band")];
    for (theme, colours) in ["light", "dark"].into_iter().zip(themes()) {
        let texts = texts.iter().map(|pair| (pair, 4.5));
        let drawn = drawn.iter().map(|pair| (pair, 3.0));
        for ((one, other), least) in texts.chain(drawn) {
            let ratio = contrast(colours[one], colours[other]);
            assert!(ratio >= least, "{theme}: {one} on {other} has {ratio:.2}, not {least}");
        }
    }
}
