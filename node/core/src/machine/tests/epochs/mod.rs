//! A thousand epochs with everything going wrong: none missed that could be served, no second
//! signature, no vector that was not planned.
//!
//! `fork` is the chain, `life` the validator on it, `cases` are single faults, `anew` what ends.
//! `ASSAY_SEED` repeats one seed, `ASSAY_SEEDS` tries that many instead of ten.

mod anew;
mod cases;
mod fork;
mod life;

use life::{Faults, Life, LAG_MAX};

use crate::machine::effect::Note;
use crate::submit_guard::CommitForm;

const SEEDS: u64 = 10;
const EPOCHS_PER_SEED: u64 = 100;

const ROUGH: Faults = Faults {
    crashes: 30,
    reorganisations: 60,
    outages: 60,
    lost_extrinsics: 250,
    upgrades: 4,
    triggers: 6,
    tempo_changes: 3,
    lag_changes: 30,
    deferrals: 300,
    new_miners: 15,
    failed_searches: 60,
    slow_answers: 100,
};

fn seeds() -> Vec<u64> {
    let number = |name: &str| -> Option<u64> {
        std::env::var(name).ok().map(|value| value.parse().expect("a number"))
    };
    match (number("ASSAY_SEED"), number("ASSAY_SEEDS")) {
        (Some(seed), _) => vec![seed],
        (None, count) => (0..count.unwrap_or(SEEDS)).collect(),
    }
}

/// What a life came to.
struct Story {
    tempo: u64,
    landed: usize,
    crashes: u64,
    skipped: u64,
    revealed: usize,
}

/// Lives through the epochs of every seed.
fn live(faults: Faults, commit: Option<CommitForm>) -> Vec<Story> {
    let story = |seed| {
        let mut life = Life::new(seed, faults, commit);
        while life.epochs < EPOCHS_PER_SEED {
            life.step();
        }
        Story {
            tempo: life.chain.tempo(),
            landed: life.landed(),
            crashes: life.crashes,
            skipped: life.missed_for_lack_of_blocks,
            revealed: life.noted(|note| matches!(note, Note::WeightsRevealed { .. })),
        }
    };
    seeds().into_iter().map(story).collect()
}

fn check_thorough(stories: &[Story]) {
    let landed: usize = stories.iter().map(|story| story.landed).sum();
    let crashes: u64 = stories.iter().map(|story| story.crashes).sum();
    let skipped: u64 = stories.iter().map(|story| story.skipped).sum();
    println!("landed {landed}, crashes {crashes}, epochs without ten reachable blocks {skipped}");
    // With one seed alone, chance may have been kind.
    if stories.len() > 1 {
        assert!(crashes > 50, "only {crashes} crashes");
        assert!(landed > 700, "only {landed} vectors landed");
    }
}

#[test]
fn a_thousand_epochs_of_plain_weights_miss_none_and_sign_none_twice() {
    check_thorough(&live(ROUGH, None));
}

#[test]
fn a_thousand_epochs_of_timelocked_commits_miss_none_and_sign_none_twice() {
    check_thorough(&live(ROUGH, Some(CommitForm::Timelocked)));
}

#[test]
fn a_thousand_epochs_of_hash_commits_miss_none_and_sign_none_twice() {
    check_thorough(&live(ROUGH, Some(CommitForm::Hashed)));
}

/// A reveal waits until its commit is final. Where finality may come after the reveal's own epoch,
/// hash commits end unrevealed, and no rule but a reveal of what may be taken back would help.
#[test]
fn commits_open_where_epochs_keep_their_length() {
    let calm = Faults { tempo_changes: 0, crashes: 5, outages: 10, ..ROUGH };
    for commit in [CommitForm::Timelocked, CommitForm::Hashed] {
        for story in live(calm, Some(commit)) {
            let Story { tempo, revealed, landed, .. } = story;
            let is_final_in_time = commit == CommitForm::Timelocked || tempo > LAG_MAX;
            let least = if is_final_in_time { 9 } else { 6 };
            assert!(
                revealed * 10 >= landed * least,
                "{commit:?}, tempo {tempo}: {revealed} of {landed}"
            );
        }
    }
}
