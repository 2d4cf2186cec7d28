//! Short names for long ones: `s3` for a submission, `v2` for a validator, `lease s3/0@v1#2` for
//! the second grant of its replica 0 by `v1`.

use std::collections::{BTreeMap, BTreeSet};

use node_core::assignment::Assignment;
use node_core::id::{Digest, Hotkey, LeaseId, RunId};
use node_core::submission::Submission;

/// Characters from which on a word is an identity: digests have 64, addresses about 48.
const IDENTITY_CHARS_MIN: usize = 40;

/// Characters that are left of an identity without a name.
const SHORT_CHARS: usize = 8;

/// Replicas of a submission that get names.
const REPLICAS_NAMED: u8 = node_core::limits::REPLICA_NUMBERS_MAX;

#[derive(Debug, Clone)]
struct Name {
    text: String,
    /// The submission that it belongs to.
    submission: Option<usize>,
}

/// The names of a history.
#[derive(Debug, Default)]
pub(crate) struct Names(BTreeMap<String, Name>);

impl Names {
    fn add(&mut self, identity: String, text: String, submission: Option<usize>) {
        self.0.entry(identity).or_insert(Name { text, submission });
    }

    pub(crate) fn add_hotkey(&mut self, hotkey: &Hotkey, text: String) {
        self.add(hotkey.to_string(), text, None);
    }

    pub(crate) fn add_submission(&mut self, index: usize, submission: &Submission, policy: Digest) {
        let own = Some(index);
        self.add(submission.id.to_string(), format!("s{index}"), own);
        self.add(submission.content.to_string(), format!("content s{index}"), own);
        for replica in 0..REPLICAS_NAMED {
            let id = Assignment::derive(submission, (1, 0), replica, policy).id;
            self.add(id.to_string(), format!("s{index}/{replica}"), own);
        }
    }

    fn text(&self, identity: &str) -> String {
        let short = || identity.chars().take(SHORT_CHARS).collect();
        self.0.get(identity).map_or_else(short, |name| name.text.clone())
    }

    /// Names a lease by what it is for, by whom it was granted, and its attempt.
    pub(crate) fn add_lease(
        &mut self,
        lease: &LeaseId,
        assignment: &Assignment,
        coordinator: &Hotkey,
        attempt: u32,
    ) {
        let identity = lease.to_string();
        if !self.0.contains_key(&identity) {
            let of = self.text(&assignment.id.to_string());
            let by = self.text(&coordinator.to_string());
            let own = self.0.get(&assignment.id.to_string()).and_then(|name| name.submission);
            self.add(identity, format!("lease {of}@{by}#{attempt}"), own);
        }
    }

    /// Names a run by its lease and its node.
    pub(crate) fn add_run(&mut self, run: &RunId, lease: &LeaseId, node: usize) {
        let of = self.text(&lease.to_string());
        let own = self.0.get(&lease.to_string()).and_then(|name| name.submission);
        self.add(run.to_string(), format!("run of {of} on v{node}"), own);
    }

    /// The text with names in place of identities, and the submissions that it is about.
    pub(crate) fn tell(&self, text: &str, about: &mut BTreeSet<usize>) -> String {
        let mut told = String::with_capacity(text.len() / 2);
        let mut rest = text;
        while let Some(start) = rest.find(|c: char| c.is_ascii_alphanumeric()) {
            let (before, word) = rest.split_at(start);
            told.push_str(before);
            let end = word.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(word.len());
            let (word, after) = word.split_at(end);
            if word.len() < IDENTITY_CHARS_MIN {
                told.push_str(word);
            } else {
                told.push_str(&self.text(word));
                about.extend(self.0.get(word).and_then(|name| name.submission));
            }
            rest = after;
        }
        told.push_str(rest);
        told
    }
}
