//! Other validators, what they were refused, and the chain's endpoints.

use askama::Template;
use node_core::publish::KeyStanding;
use node_core::unit::UnixMs;

use super::frame::Frame;
use super::words::{Badge, Name, When};
use crate::status::{grouped, Answering, EndpointStatus, PeerStatus, RefusalStatus, StatusReport};

/// The page.
#[derive(Debug, Template)]
#[template(path = "peers.html")]
pub(super) struct Peers {
    frame: Frame,
    peers: Vec<Peer>,
    refusals: Vec<Refusal>,
    endpoints: Vec<Endpoint>,
}

/// A validator.
#[derive(Debug)]
struct Peer {
    name: Name,
    uid: String,
    state: Badge,
    endpoint: String,
    answered: Option<When>,
    called: Option<When>,
    failure: String,
    receipts: String,
    strikes: u64,
    certificate: &'static str,
}

/// Something that was refused.
#[derive(Debug)]
struct Refusal {
    at: When,
    peer: Name,
    call: String,
    submission: Option<Name>,
    reason: String,
}

/// An endpoint of the chain.
#[derive(Debug)]
struct Endpoint {
    address: String,
    state: Badge,
    best: String,
    finalized: String,
    latency: String,
    failures: u64,
    error: String,
}

impl Peers {
    /// Of a report.
    pub(super) fn of(report: &StatusReport, now: UnixMs) -> Self {
        Self {
            frame: Frame::of(report, now, "/peers", "Peers"),
            peers: report.peers.iter().map(|one| peer(one, report.as_of)).collect(),
            refusals: report.refusals.iter().rev().map(|one| refusal(one, report.as_of)).collect(),
            endpoints: report.endpoints.iter().map(endpoint).collect(),
        }
    }
}

fn peer(peer: &PeerStatus, as_of: UnixMs) -> Peer {
    let state = match (peer.is_self, peer.is_gone, peer.answering()) {
        (true, _, _) => Badge { word: "this node", class: "plain" },
        (false, true, _) => Badge { word: "gone", class: "bad" },
        (false, false, Answering::Fails) => Badge { word: "does not answer", class: "warn" },
        (false, false, Answering::Answers) => Badge { word: "answers", class: "good" },
        (false, false, Answering::NotCalledYet) => Badge { word: "not called yet", class: "plain" },
    };
    let certificate = match peer.certificate {
        Some(KeyStanding::Published) => "published",
        Some(KeyStanding::Endorsed) => "endorsed",
        Some(KeyStanding::New) => "new",
        Some(KeyStanding::Contradicts) => "contradicts",
        None => "-",
    };
    let endpoint = peer.endpoint.map(|endpoint| endpoint.to_string());
    Peer {
        name: Name::hotkey(&peer.hotkey),
        uid: peer.uid.map_or_else(|| "-".to_owned(), |uid| uid.to_string()),
        state,
        endpoint: endpoint.unwrap_or_else(|| "not published".to_owned()),
        answered: peer.last_answer_at.map(|at| When::ago(at, as_of)),
        called: peer.last_call_at.map(|at| When::ago(at, as_of)),
        failure: peer.last_failure.clone().unwrap_or_default(),
        receipts: grouped(peer.receipts_until),
        strikes: peer.strikes,
        certificate,
    }
}

fn refusal(refusal: &RefusalStatus, as_of: UnixMs) -> Refusal {
    Refusal {
        at: When::ago(refusal.at, as_of),
        peer: Name::hotkey(&refusal.peer),
        call: refusal.call.clone(),
        submission: refusal.submission.map(|id| Name::of(&id, id.short())),
        reason: refusal.reason.clone(),
    }
}

fn endpoint(endpoint: &EndpointStatus) -> Endpoint {
    let state = match (endpoint.genesis.as_str(), endpoint.is_active, endpoint.is_connected) {
        ("wrong", _, _) => Badge { word: "wrong chain", class: "bad" },
        (_, true, _) => Badge { word: "active", class: "good" },
        (_, false, true) => Badge { word: "standby", class: "plain" },
        (_, false, false) => Badge { word: "not connected", class: "warn" },
    };
    let block = |number: Option<node_core::unit::BlockNumber>| {
        number.map_or_else(|| "?".to_owned(), |number| grouped(number.0))
    };
    let error = endpoint.demotion.as_ref().or(endpoint.last_error.as_ref());
    Endpoint {
        address: endpoint.endpoint.clone(),
        state,
        best: block(endpoint.best_number),
        finalized: block(endpoint.finalized_number),
        latency: endpoint.latency_ms.map(|ms| format!("{ms} ms")).unwrap_or_default(),
        failures: endpoint.failures,
        error: error.cloned().unwrap_or_default(),
    }
}
