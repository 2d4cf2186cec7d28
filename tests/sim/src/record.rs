//! The journal of a history: every event, the outcome it gave, and what it changed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{self, Write};

use node_core::id::Digest;
use node_core::lease::PeerAnswer;
use node_core::machine::effect::{Effect, Outcome};
use node_core::machine::event::Event;
use node_core::machine::Machine;
use node_core::submission::Submission;
use node_history::{Entry, Line};

use crate::names::Names;
use crate::plan::Plan;
use crate::snapshot::{state, Kept, Thing};
use crate::world::{miner, validator};

/// Entries of each node that a failure can print.
const RECENT_MAX: usize = 60;

/// Where a journal goes.
type Sink = Box<dyn Write>;

/// Records a history.
pub struct Recorder {
    names: Names,
    sink: Option<Sink>,
    trouble: Option<io::Error>,
    recent: BTreeMap<Option<usize>, VecDeque<Entry>>,
    states: BTreeMap<usize, BTreeMap<Thing, Kept>>,
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").finish_non_exhaustive()
    }
}

/// An event in words, before the machine takes it.
#[derive(Debug)]
pub(crate) struct Told {
    text: String,
    about: BTreeSet<usize>,
}

impl Recorder {
    /// Records to `sink`; without one, only what a failure prints is kept.
    #[must_use]
    pub fn new(sink: Option<Sink>) -> Self {
        Self {
            names: Names::default(),
            sink,
            trouble: None,
            recent: BTreeMap::new(),
            states: BTreeMap::new(),
        }
    }

    pub(crate) fn name_hotkeys(&mut self, plan: &Plan) {
        for node in 0..plan.nodes {
            self.names.add_hotkey(&validator(node), format!("v{node}"));
        }
        for submission in 0..plan.submissions {
            self.names.add_hotkey(&miner(submission), format!("m{submission}"));
        }
    }

    pub(crate) fn name_submission(&mut self, index: usize, of: &Submission, policy: Digest) {
        self.names.add_submission(index, of, policy);
    }

    /// A text with short names in place of identities.
    pub(crate) fn tell(&self, text: &str) -> String {
        self.names.tell(text, &mut BTreeSet::new())
    }

    pub(crate) fn tell_event(&self, event: &Event) -> Told {
        let text = match event {
            Event::BlockFinalized(view) => format!("BlockFinalized({})", view.number),
            Event::BestBlock(view) => format!("BestBlock({})", view.number),
            Event::Restarted(found) => {
                let (rows, leftovers) = (found.rows.len(), &found.leftovers);
                format!("Restarted {{ rows: {rows}, leftovers: {leftovers:?} }}")
            }
            other => format!("{other:?}"),
        };
        let mut about = BTreeSet::new();
        let text = self.names.tell(&brief(&text), &mut about);
        Told { text, about }
    }

    /// Something that happened to the world, or to a host.
    pub(crate) fn remark(&mut self, step: u64, at_ms: u64, node: Option<usize>, text: String) {
        let event = self.tell(&text);
        let entry = Entry {
            step,
            at_ms,
            node,
            life: 0,
            event,
            is_event: false,
            writes: Vec::new(),
            effects: Vec::new(),
            notes: Vec::new(),
            changed: BTreeMap::new(),
            about: BTreeSet::new(),
        };
        self.keep(entry);
    }

    /// An event and its outcome. The machine is given where its state may have changed.
    pub(crate) fn record(
        &mut self,
        (step, at_ms, node, life): (u64, u64, usize, u32),
        told: Told,
        outcome: &Outcome,
        machine: Option<&Machine>,
    ) {
        self.learn_names(node, outcome);
        let mut about = told.about;
        let names = &self.names;
        let mut tell = |text: String| names.tell(&brief(&text), &mut about);
        let writes = outcome.writes.iter().map(|write| tell(format!("{write:?}"))).collect();
        let effects = outcome.effects.iter().map(|effect| tell(format!("{effect:?}"))).collect();
        let notes = outcome.notes.iter().map(|note| tell(format!("{note:?}"))).collect();
        let is_something = !(outcome.writes.is_empty() && outcome.effects.is_empty());
        let changed = machine
            .filter(|_| is_something)
            .map(|machine| self.changes(node, machine))
            .unwrap_or_default();
        self.keep(Entry {
            step,
            at_ms,
            node: Some(node),
            life,
            event: told.text,
            is_event: true,
            writes,
            effects,
            notes,
            changed,
            about,
        });
    }

    fn learn_names(&mut self, node: usize, outcome: &Outcome) {
        for effect in &outcome.effects {
            match effect {
                Effect::Answer { answer: PeerAnswer::Acquired(Ok(grants)), .. } => {
                    for grant in grants {
                        let attempt = grant.attempt.0;
                        let (lease, of) = (&grant.lease, &grant.assignment);
                        self.names.add_lease(lease, of, &grant.coordinator, attempt);
                    }
                }
                Effect::StartRun(spec) => self.names.add_run(&spec.run, &spec.lease, node),
                _ => {}
            }
        }
    }

    fn changes(&mut self, node: usize, machine: &Machine) -> BTreeMap<String, Option<String>> {
        let known = self.states.entry(node).or_default();
        let (names, mut changed) = (&self.names, BTreeMap::new());
        let mut say = |name: String, value: Option<String>| {
            let nobody = &mut BTreeSet::new();
            let value = value.map(|value| names.tell(&brief(&value), nobody));
            changed.insert(names.tell(&name, nobody), value);
        };
        let mut seen = BTreeSet::new();
        for (thing, value) in state(machine) {
            seen.insert(thing);
            let is_news = known.get(&thing).is_none_or(|known| !value.is(known));
            if is_news {
                say(thing.to_string(), Some(value.to_string()));
                known.insert(thing, value.keep());
            }
        }
        known.retain(|thing, _| {
            let is_kept = seen.contains(thing);
            if !is_kept {
                say(thing.to_string(), None);
            }
            is_kept
        });
        changed
    }

    fn keep(&mut self, entry: Entry) {
        let recent = self.recent.entry(entry.node).or_default();
        if recent.len() >= RECENT_MAX {
            recent.pop_front();
        }
        recent.push_back(entry.clone());
        self.write(&Line::Happened(entry));
    }

    pub(crate) fn write(&mut self, line: &Line<Plan>) {
        let Some(sink) = &mut self.sink else { return };
        let written = serde_json::to_writer(&mut *sink, line)
            .map_err(io::Error::from)
            .and_then(|()| sink.write_all(b"\n"));
        if let Err(error) = written {
            self.trouble.get_or_insert(error);
        }
    }

    /// Ends the journal.
    ///
    /// # Errors
    ///
    /// The first one that writing it met.
    pub fn finish(mut self) -> io::Result<()> {
        if let Some(sink) = &mut self.sink {
            sink.flush()?;
        }
        self.trouble.map_or(Ok(()), Err)
    }

    /// The last entries of these nodes and of the world, oldest first.
    pub(crate) fn last_of(&self, nodes: &[usize], count: usize) -> Vec<Entry> {
        let is_meant = |node: &Option<usize>| node.is_none_or(|node| nodes.contains(&node));
        let meant = self.recent.iter().filter(|(node, _)| is_meant(node));
        let mut entries: Vec<Entry> = meant.flat_map(|(_, entries)| entries).cloned().collect();
        entries.sort_by_key(|entry| (entry.step, entry.is_event));
        let skipped = entries.len().saturating_sub(count);
        entries.split_off(skipped)
    }
}

/// Leaves out what says nothing new: assignments are named by their id, and of measurements the
/// loss is enough.
fn brief(text: &str) -> String {
    let text = fold(text, "Assignment {", "id: AssignmentId(", ")");
    let text = fold(&text, "Metrics {", "sum_nll_nanonats: ", ",");
    let text = fold(&text, "signature: Signature(", "", "");
    fold(&text, "PeerAddress {", "hotkey: ", ",")
}

/// Replaces each group that `opening` begins by what stands in it from `field` to `end`.
fn fold(text: &str, opening: &str, field: &str, end: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(opening) {
        let (before, group) = rest.split_at(start);
        folded.push_str(before);
        let length = group_length(group);
        let (group, after) = group.split_at(length);
        let value = group.split_once(field).filter(|_| !field.is_empty());
        let value = value.and_then(|(_, value)| value.split_once(end)).map(|(value, _)| value);
        folded.push_str(value.unwrap_or(".."));
        rest = after;
    }
    folded.push_str(rest);
    folded
}

/// Bytes up to the bracket that closes the first one.
fn group_length(group: &str) -> usize {
    let mut depth = 0_usize;
    for (at, c) in group.char_indices() {
        match c {
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    group.len()
}
