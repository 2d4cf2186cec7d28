//! How far a page is behind the node: what the status says over time, held against what the page
//! showed over the same time. Both are read by one clock.

use std::time::Duration;

use assay_tests::node::Node;
use node_daemon::status::{unix_now, StatusReport};
use serde::Deserialize;
use tokio::time::Instant;

use super::{Visitor, LOOK_EVERY, PAGE_MAX};

/// How far a page may be behind the node.
pub(crate) const LAG_MS_MAX: u64 = 2000;

/// What was shown, and from when on, in milliseconds since 1970.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Seen {
    pub(crate) at: u64,
    pub(crate) state: String,
}

/// Notes a state, if it is another one than before.
pub(crate) fn note(states: &mut Vec<Seen>, state: String) {
    if states.last().is_none_or(|last| last.state != state) {
        states.push(Seen { at: unix_now().0, state });
    }
}

/// Gives each report of the node to `look` until one is the last.
pub(crate) async fn follow(
    node: &mut Node,
    limit: Duration,
    mut look: impl FnMut(&StatusReport),
    is_last: impl Fn(&StatusReport) -> bool,
) {
    let deadline = Instant::now() + limit;
    loop {
        node.process().unwrap().check_alive().unwrap();
        let report = node.status().await.unwrap();
        look(&report);
        if is_last(&report) {
            return;
        }
        assert!(Instant::now() < deadline, "not within {limit:?}: {report:#?}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// What a page that writes it down showed, up to what the node said last.
pub(crate) async fn shown_until(visitor: &Visitor<'_>, known: &[Seen]) -> Vec<Seen> {
    let last = known.last().unwrap();
    let is_there = |shown: &Option<Vec<Seen>>| {
        let shown = shown.as_ref().expect("the page was loaded anew");
        shown.iter().any(|one| one.state == last.state)
    };
    visitor.wait_for("seen", PAGE_MAX, is_there).await.unwrap()
}

/// Each state that the node said from the time on at which the page began to write down was shown
/// within [`LAG_MS_MAX`], or a later one.
pub(crate) fn check(known: &[Seen], shown: &[Seen]) {
    let begin = shown.first().unwrap().at;
    for (index, state) in known.iter().enumerate().filter(|(_, state)| state.at >= begin) {
        let until = state.at + LAG_MS_MAX;
        let then = shown.iter().rev().find(|one| one.at <= until).unwrap();
        // A state may be over before anybody looks at it, here or there.
        let is_known = known[index..].iter().any(|one| one.state == then.state);
        let said = format!("{state:?} was not shown by then, but {then:?}");
        assert!(is_known || then.at >= state.at, "{said}\n{known:#?}\n{shown:#?}");
    }
}

#[test]
fn a_page_that_is_late_is_found_out_and_one_that_skips_a_state_is_not() {
    let seen = |at, state: &str| Seen { at, state: state.to_owned() };
    let known = [seen(10_000, "one"), seen(11_000, "two"), seen(20_000, "three")];
    let shown = [seen(9_000, "none"), seen(11_500, "one"), seen(12_900, "two")];
    check(&known[..2], &shown);
    check(&known, &[seen(9_000, "none"), seen(11_500, "two"), seen(21_900, "three")]);
    let late = [seen(9_000, "none"), seen(11_500, "two"), seen(22_100, "three")];
    assert!(std::panic::catch_unwind(|| check(&known, &late)).is_err());
}
