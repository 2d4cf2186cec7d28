//! The pages for a browser, on the admin listener: read-only, and readable without a script.
//!
//! ```text
//! /                   how the node stands, the funnel, what runs and what waits
//! /submissions        all of them, `?stage=` those that got so far
//! /submissions/{id}   one: states, reasons, attempts, evaluators, seeds, curve, evidence
//! /leaderboard        who leads, and the best of each family
//! /devices            each device, and what it did in the last hour
//! /epochs             vectors, and whether they landed
//! /peers              other validators, and the chain's endpoints
//! /events             server-sent events: `changed`, with the time of the newest report
//! /assets/{name}      stylesheet and script, under the digest of what is in them
//! ```
//!
//! A page is a value of its own type, made from the latest report by a function without IO, and
//! written by the template of the same name. Templates escape what they are given; drawings
//! (`charts`) escape for themselves. What a report does not have, the curve and the evidence of
//! one submission, is asked of the loop as the public interface asks it, and left out if the loop
//! does not answer in time. What the loop has put away is read from the store.
//!
//! Not here: anything that changes something (`admin`), and the words of reasons (`status`).

mod assets;
mod charts;
mod desk;
mod devices;
mod epochs;
mod events;
mod evidence;
mod found;
mod frame;
mod guard;
mod history;
mod leaderboard;
mod missing;
mod overview;
mod peers;
mod routes;
mod standing;
mod submission;
mod submissions;
#[cfg(test)]
mod tests;
mod words;

use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::{mpsc, watch, Semaphore};

use self::events::LISTENERS_MAX;
use self::history::History;
use crate::api;
use crate::freezer::FreezerDoor;
use crate::status::PublishedReport;

pub(crate) use routes::{guarded, routes};

/// What the pages are made of.
#[derive(Clone, Debug)]
pub(crate) struct PageState {
    reports: watch::Receiver<Arc<PublishedReport>>,
    history: watch::Receiver<History>,
    /// To the loop; `None` where there is none to ask.
    calls: Option<mpsc::Sender<api::Call>>,
    /// What was put away; `None` where there is no store to ask.
    freezer: Option<FreezerDoor>,
    listeners: Arc<Semaphore>,
    /// Whether only this machine reaches the listener.
    is_loopback: bool,
}

impl PageState {
    /// Begins to follow `reports`; that ends when nobody writes them any more.
    ///
    /// - `calls`: to the loop, for what no report has.
    /// - `freezer`: for what the loop has put away.
    /// - `address`: of the listener.
    pub(crate) fn follow(
        reports: watch::Receiver<Arc<PublishedReport>>,
        calls: Option<mpsc::Sender<api::Call>>,
        freezer: Option<FreezerDoor>,
        address: IpAddr,
    ) -> Self {
        let (seen, history) = watch::channel(History::default());
        tokio::spawn(history::follow(reports.clone(), seen));
        let listeners = Arc::new(Semaphore::new(LISTENERS_MAX));
        let is_loopback = address.is_loopback();
        Self { reports, history, calls, freezer, listeners, is_loopback }
    }
}
