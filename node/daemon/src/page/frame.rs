//! What all pages have: the way to the others, how the node stands, and as of when.

use node_core::unit::UnixMs;

use super::assets::{SCRIPT, STYLE};
use super::words::{Badge, Name, When};
use crate::status::{NodeHealth, StatusReport};

/// The pages, in the order in which they are named.
const PAGES: [(&str, &str); 6] = [
    ("/", "Overview"),
    ("/submissions", "Submissions"),
    ("/leaderboard", "Leaderboard"),
    ("/devices", "Devices"),
    ("/epochs", "Epochs"),
    ("/peers", "Peers"),
];

/// The frame of a page.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    /// What the page is called.
    pub(super) title: String,
    /// The subnet.
    pub(super) netuid: u16,
    /// The node.
    pub(super) node: Name,
    /// How it stands.
    pub(super) health: Badge,
    /// When the report was written.
    pub(super) as_of: When,
    /// The same for the script.
    pub(super) as_of_ms: u64,
    /// Why the report is not of now, if it is not.
    pub(super) stale: Option<String>,
    /// The way to the other pages.
    pub(super) links: Vec<Link>,
    /// Where the stylesheet is.
    pub(super) style: String,
    /// Where the script is.
    pub(super) script: String,
}

/// The way to a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    /// Where it is.
    pub(super) address: &'static str,
    /// What it is called.
    pub(super) text: &'static str,
    /// Whether it is this page, or the list that this page is of.
    pub(super) is_current: bool,
}

impl Frame {
    /// - `section`: the address of the page, or of the list that it is of.
    /// - `title`: what it is called.
    pub(super) fn of(report: &StatusReport, now: UnixMs, section: &str, title: &str) -> Self {
        let link = |(address, text): (&'static str, &'static str)| Link {
            address,
            text,
            is_current: address == section,
        };
        let is_stale = report.age_ms(now) > crate::status::STALE_MS;
        let stale = report.readiness_at(now).reasons.into_iter().next().filter(|_| is_stale);
        Self {
            title: title.to_owned(),
            netuid: report.node.netuid.0,
            node: Name::hotkey(&report.node.hotkey),
            health: health(report, now),
            as_of: When::at(report.as_of),
            as_of_ms: report.as_of.0,
            stale,
            links: PAGES.into_iter().map(link).collect(),
            style: STYLE.address(),
            script: SCRIPT.address(),
        }
    }
}

/// How the node stands, in one word.
fn health(report: &StatusReport, now: UnixMs) -> Badge {
    let (word, class) = match report.health_at(now) {
        NodeHealth::Healthy => ("Healthy", "good"),
        NodeHealth::Degraded => ("Degraded", "warn"),
        NodeHealth::Unsafe => ("Unsafe", "bad"),
        NodeHealth::Unreachable => ("Unreachable", "bad"),
    };
    match report.node.is_stopping {
        true if class != "bad" => Badge { word: "Stopping", class: "warn" },
        true | false => Badge { word, class },
    }
}
