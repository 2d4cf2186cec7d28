//! Which requests are answered, and how.

use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::time::Instant;

use super::*;
use crate::page::events::LISTENERS_MAX;
use crate::page::guard::POLICY;

#[tokio::test]
async fn every_answer_says_what_a_browser_may_do_with_it() {
    let node = Node::of(sample::healthy());
    let foreign = node.ask("GET", "/", Some("evil.example")).await;
    assert_eq!(foreign.status, StatusCode::MISDIRECTED_REQUEST);
    let missing = node.get("/submissions/nothing").await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    for answered in [node.get("/").await, missing, foreign] {
        let header = |name| answered.headers.get(name).map(|value| value.to_str().unwrap());
        assert_eq!(header(header::CONTENT_SECURITY_POLICY), Some(POLICY));
        assert_eq!(header(header::X_CONTENT_TYPE_OPTIONS), Some("nosniff"));
        assert_eq!(header(header::REFERRER_POLICY), Some("no-referrer"));
        assert_eq!(header(header::CACHE_CONTROL), Some("no-store"));
    }
}

#[tokio::test]
async fn a_name_that_is_not_this_machines_is_refused_on_loopback_alone() {
    let node = Node::of(sample::healthy());
    for path in ["/", "/events", "/submissions/nothing", "/assets/nothing"] {
        for host in [Some("evil.example:9100"), None] {
            let answered = node.ask("GET", path, host).await;
            assert_eq!(answered.status, StatusCode::MISDIRECTED_REQUEST, "{path} {host:?}");
            assert!(answered.text.contains("127.0.0.1"), "{}", answered.text);
        }
    }
    for own in ["127.0.0.1:9100", "[::1]:9100", "localhost"] {
        assert_eq!(node.ask("GET", "/", Some(own)).await.status, StatusCode::OK, "{own}");
    }
    let open = Node::at(sample::healthy(), IpAddr::V4(Ipv4Addr::UNSPECIFIED), None);
    assert_eq!(open.ask("GET", "/", Some("node.example")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn pages_are_only_read() {
    let node = Node::of(sample::healthy());
    for path in PAGES {
        for method in ["POST", "PUT", "DELETE", "PATCH"] {
            let answered = node.ask(method, path, Some("localhost")).await;
            assert_eq!(answered.status, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn stylesheet_and_script_are_where_pages_say_and_may_be_kept() {
    let node = Node::of(sample::healthy());
    let page = node.get("/").await.text;
    for (kind, before) in [("text/css", "stylesheet\" href=\""), ("text/javascript", "src=\"")] {
        let address = page.split(before).nth(1).unwrap().split('"').next().unwrap();
        let answered = node.get(address).await;
        assert_eq!(answered.status, StatusCode::OK, "{address}");
        let kind_said = answered.headers[header::CONTENT_TYPE].to_str().unwrap();
        assert!(kind_said.starts_with(kind), "{kind_said}");
        let kept = answered.headers[header::CACHE_CONTROL].to_str().unwrap();
        assert!(kept.contains("immutable"), "{kept}");
    }
}

#[tokio::test]
async fn a_link_of_a_page_leads_somewhere() {
    for report in reports() {
        let node = Node::of(report.clone());
        for (path, text) in pages(&report).await {
            let links = text.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next());
            for link in links.filter(|link| link.starts_with('/')) {
                let link = link.replace("&#38;", "&").replace("&amp;", "&");
                let status = node.get(&link).await.status;
                assert_eq!(status, StatusCode::OK, "{path} leads to {link}");
            }
        }
    }
}

#[tokio::test]
async fn a_stage_leaves_out_the_others_and_an_unknown_one_nothing() {
    let node = Node::of(sample::healthy());
    let scored = node.get("/submissions?stage=scored").await.text;
    assert!(scored.contains("a1a1a1a1") && !scored.contains("a3a3a3a3"), "{scored}");
    assert!(scored.contains("1 to 1 of 1, the newest first."), "{scored}");
    let unknown = node.get("/submissions?stage=nothing").await.text;
    assert!(unknown.contains("1 to 3 of 3"), "{unknown}");
    let beyond = node.get("/submissions?from=7").await.text;
    assert!(beyond.contains("No submission is so far."), "{beyond}");
}

#[tokio::test]
async fn many_submissions_are_turned_over_page_by_page() {
    let mut report = sample::healthy();
    let row = report.submissions[0].clone();
    report.submissions = (0..250_u8)
        .map(|byte| {
            let mut row = row.clone();
            row.id = SubmissionId([byte; 32]);
            row
        })
        .collect();
    let node = Node::of(report);
    let first = node.get("/submissions?stage=scored").await.text;
    assert!(first.contains("1 to 100 of 250") && !first.contains("rel=\"prev\""), "{first}");
    let last = node.get("/submissions?stage=scored&from=200").await.text;
    assert!(last.contains("201 to 250 of 250") && !last.contains("rel=\"next\""), "{last}");
    assert_eq!(last.matches("scope=\"row\"").count(), 50);
}

/// The data of an event in what a listener got.
fn told(bytes: &[u8]) -> String {
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    assert!(text.contains("event: changed\n"), "{text}");
    text.lines().find_map(|line| line.strip_prefix("data: ")).unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn who_listens_is_told_at_once_and_then_of_a_change_within_two_seconds() {
    let node = Node::of(sample::healthy());
    let request = Request::get("/events").header(header::HOST, "localhost");
    let request = request.body(Body::empty()).unwrap();
    let response = node.routes.clone().oneshot(request).await.unwrap();
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
    let mut events = response.into_body().into_data_stream();
    let first = told(&events.next().await.unwrap().unwrap());
    assert_eq!(first, sample::healthy().as_of.to_string());
    for step in 1..=3 {
        let changed_at = Instant::now();
        // Many changes are one event, and the newest is told.
        for part in 0..5 {
            let mut report = sample::healthy();
            report.as_of.0 += 100 * step + part;
            node.reports.send_replace(Arc::new(report.into()));
        }
        let next = told(&events.next().await.unwrap().unwrap());
        assert_eq!(next, (sample::healthy().as_of.0 + 100 * step + 4).to_string());
        assert!(changed_at.elapsed() <= Duration::from_secs(2), "{:?}", changed_at.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn who_listens_to_a_silent_node_hears_that_the_connection_lives() {
    let node = Node::of(sample::healthy());
    let request = Request::get("/events").header(header::HOST, "localhost");
    let response = node.routes.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let mut events = response.into_body().into_data_stream();
    events.next().await.unwrap().unwrap();
    let since = Instant::now();
    let heartbeat = events.next().await.unwrap().unwrap();
    assert!(heartbeat.starts_with(b":"), "{heartbeat:?}");
    assert!(since.elapsed() <= Duration::from_secs(16), "{:?}", since.elapsed());
}

#[tokio::test]
async fn only_so_many_listen_and_who_leaves_makes_room() {
    let node = Node::of(sample::healthy());
    let listen = || {
        let request = Request::get("/events").header(header::HOST, "localhost");
        node.routes.clone().oneshot(request.body(Body::empty()).unwrap())
    };
    let mut listeners = Vec::new();
    for _ in 0..LISTENERS_MAX {
        let response = listen().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        listeners.push(response);
    }
    let refused = listen().await.unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.headers()[header::RETRY_AFTER], "10");
    listeners.pop();
    assert_eq!(listen().await.unwrap().status(), StatusCode::OK);
}
