//! Pages as browsers get them, and as people read them.

mod answers;
mod loop_answers;
mod markup;
mod past;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::body::{to_bytes, Body};
use axum::http::{header, HeaderMap, Request, StatusCode};
use axum::Router;
use node_core::id::SubmissionId;
use node_core::unit::UnixMs;
use tokio::sync::{mpsc, watch};
use tower::ServiceExt as _;

use super::{routes, PageState};
use crate::api::Call;
use crate::freezer::FreezerDoor;
use crate::status::{sample, unix_now, PublishedReport, StatusReport};

/// Pages that are there whatever the report says.
const PAGES: [&str; 6] = ["/", "/submissions", "/leaderboard", "/devices", "/epochs", "/peers"];

/// A node's pages.
struct Node {
    reports: watch::Sender<Arc<PublishedReport>>,
    routes: Router,
}

/// What was answered.
struct Answered {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Node {
    /// On loopback, without a loop to ask.
    fn of(report: StatusReport) -> Self {
        Self::at(report, IpAddr::V4(Ipv4Addr::LOCALHOST), None)
    }

    fn at(report: StatusReport, address: IpAddr, calls: Option<mpsc::Sender<Call>>) -> Self {
        Self::with(report, address, calls, None)
    }

    fn with(
        report: StatusReport,
        address: IpAddr,
        calls: Option<mpsc::Sender<Call>>,
        freezer: Option<FreezerDoor>,
    ) -> Self {
        let (reports, watched) = watch::channel(Arc::new(report.into()));
        let routes = routes(PageState::follow(watched, calls, freezer, address));
        Self { reports, routes }
    }

    async fn ask(&self, method: &str, path: &str, host: Option<&str>) -> Answered {
        let request = Request::builder().method(method).uri(path);
        let request = match host {
            Some(host) => request.header(header::HOST, host),
            None => request,
        };
        let request = request.body(Body::empty()).unwrap();
        let (parts, body) = self.routes.clone().oneshot(request).await.unwrap().into_parts();
        let bytes = to_bytes(body, 1 << 22).await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Answered { status: parts.status, headers: parts.headers, text }
    }

    async fn get(&self, path: &str) -> Answered {
        self.ask("GET", path, Some("localhost:9100")).await
    }
}

/// A report of now.
fn now(mut report: StatusReport) -> StatusReport {
    report.as_of = unix_now();
    report
}

fn page_of(id: SubmissionId) -> String {
    format!("/submissions/{id}")
}

/// Reports with everything in them that a page shows.
fn reports() -> Vec<StatusReport> {
    let mut full = sample::degraded();
    full.devices.extend([sample::gpu_with_held_memory(), sample::gone_gpu()]);
    full.node.started_at = UnixMs(0);
    vec![sample::starting(), sample::healthy(), full]
}

/// All pages of a report.
async fn pages(report: &StatusReport) -> Vec<(String, String)> {
    let node = Node::of(report.clone());
    let of_submissions = report.submissions.iter().map(|row| page_of(row.id));
    let mut pages = Vec::new();
    for path in PAGES.map(str::to_owned).into_iter().chain(of_submissions) {
        let answered = node.get(&path).await;
        assert_eq!(answered.status, StatusCode::OK, "{path}: {}", answered.text);
        pages.push((path, answered.text));
    }
    pages
}
