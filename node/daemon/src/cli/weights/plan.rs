//! `assay weights plan`.

use std::collections::BTreeMap;

use clap::Args;
use node_core::id::{Hotkey, Uid};
use node_core::rows::IntentRow;
use node_core::submit_guard::{may_sign, CommitForm, NotSafe, Sight, Terms, WeightsForm};
use node_core::unit::{BlockCount, BlockNumber, EpochIndex};
use node_core::vector;
use node_core::view::ChainView;
use node_store::{History, Owner};
use serde::Serialize;

use super::compare::last_update;
use super::place::{chain_and_wallet, read_own_chain, Place};
use super::table::{line, table};
use crate::cli::report::no_node;
use crate::cli::runtime::block_on;
use crate::cli::ConfigFlags;
use crate::config::{Weights, WeightsMode};
use crate::exit::ExitReason;
use crate::failure::Failure;
use crate::output;
use crate::status::{blocks, find, grouped, Found, FoundStatus, SubmissionStage};

const EXAMPLES: &str = "\
Examples:
  assay weights plan                       what would be signed now, and if not, why not
  assay weights plan --json | jq '.vector[] | select(.weight != .on_chain)'

The scores are those of the running node, or of its last snapshot if none runs; the text says which.
Epoch and rows are those of the newest finalized block; the node itself looks at the best one, so
its reason may be about a later block. Nothing is signed.

Exit codes: 0 shown; 3 no node has run here; 69 the chain does not answer.";

/// Epochs whose signatures are looked at: as many as the node keeps.
const ROWS_MAX: usize = 64;

/// Show the vector that would be signed now, and why it is not.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct PlanCommand {
    /// Print JSON: `source`, `as_of_block`, `hotkey`, `epoch`, `next_epoch_block`,
    /// `window_opens_at`, `mode`, `form`, `version_key`, `signs_now`, `reason`, `vector_problem`,
    /// `is_partial` and `vector`
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    flags: ConfigFlags,
}

/// What would be signed now.
#[derive(Debug, Serialize)]
struct Plan {
    source: &'static str,
    as_of_block: BlockNumber,
    hotkey: Hotkey,
    epoch: EpochIndex,
    next_epoch_block: Option<BlockNumber>,
    window_opens_at: Option<BlockNumber>,
    mode: &'static str,
    form: &'static str,
    version_key: u64,
    signs_now: bool,
    reason: Option<String>,
    vector_problem: Option<String>,
    /// The status shows the latest submissions only; older ones may have points too.
    is_partial: bool,
    vector: Vec<Entry>,
}

/// One weight, and the chain's.
#[derive(Debug, Serialize)]
struct Entry {
    uid: Uid,
    hotkey: Option<Hotkey>,
    weight: u16,
    on_chain: u16,
}

/// Where everything comes from.
struct Sources<'a> {
    status: &'a FoundStatus,
    view: &'a ChainView,
    history: &'a History,
    owner: Owner,
    weights: &'a Weights,
}

impl PlanCommand {
    pub(super) fn execute(self) -> Result<ExitReason, Failure> {
        let place = Place::of(&self.flags)?;
        let owner = place.owner()?;
        let status = block_on(find(&place.data_dir)).map_err(Failure::unexpected)?;
        let status = status.map_err(no_node)?;
        let (chain, _) = chain_and_wallet(&self.flags)?;
        let view = read_own_chain(&chain, place.weights.mechanism, &owner)?;
        let history = place.history(owner)?;
        let (view, history, weights) = (&view, &history, &place.weights);
        let plan = Sources { status: &status, view, history, owner, weights }.plan();
        let text = if self.json {
            serde_json::to_string_pretty(&plan).map_err(Failure::unexpected)?
        } else {
            render(&plan)
        };
        output::print(&text)?;
        Ok(ExitReason::Done)
    }
}

impl Sources<'_> {
    fn plan(&self) -> Plan {
        let Self { view, weights, .. } = self;
        let next_epoch_block = view.epoch.next_epoch_block;
        let vector = self.vector();
        let safe = self.may_sign();
        let reason = self.why_not(&safe, vector.as_ref().err());
        Plan {
            source: source_name(&self.status.found),
            as_of_block: view.number,
            hotkey: self.owner.hotkey,
            epoch: view.epoch.index,
            next_epoch_block,
            window_opens_at: next_epoch_block.map(|next| next.minus(weights.lead_blocks)),
            mode: mode_name(weights.mode),
            form: safe.as_ref().map_or_else(|_| form_of(view, weights.commit), form_name),
            version_key: view.params.weights_version_key,
            signs_now: reason.is_none(),
            reason,
            vector_problem: vector.as_ref().err().map(ToString::to_string),
            is_partial: self.is_partial(),
            vector: vector.map_or_else(|_| Vec::new(), |vector| self.entries(&vector)),
        }
    }

    /// The vector as the node would compute it, from the submissions that its status shows.
    fn vector(&self) -> Result<Vec<(Uid, u16)>, vector::VectorError> {
        let mut points: BTreeMap<Hotkey, u64> = BTreeMap::new();
        for submission in &self.status.report.submissions {
            let held_uid = self
                .view
                .neuron(&submission.hotkey)
                .is_some_and(|neuron| neuron.registered_at <= submission.committed_at);
            let scored = submission.points.filter(|_| submission.stage == SubmissionStage::Scored);
            if let Some(scored) = scored.filter(|_| held_uid) {
                let best = points.entry(submission.hotkey).or_default();
                *best = scored.max(*best);
            }
        }
        let vector = vector::vector(self.view, &points)?;
        vector::check(self.view, &vector)?;
        Ok(vector)
    }

    fn is_partial(&self) -> bool {
        let report = &self.status.report;
        let counts = &report.submission_counts;
        let scored = |stage| report.submissions.iter().filter(|one| one.stage == stage).count();
        u64::try_from(scored(SubmissionStage::Scored)).unwrap_or(u64::MAX) < counts.scored
    }

    fn may_sign(&self) -> Result<WeightsForm, NotSafe> {
        let mechanism = self.weights.mechanism;
        let rows: Vec<IntentRow> = self.history.newest_rows(ROWS_MAX);
        let rows = rows.iter().filter(|row| row.mechanism == mechanism);
        let sight = Sight { head: self.view, finalized: self.view };
        let (lead, commit) = (self.weights.lead_blocks, self.weights.commit);
        let terms = Terms { hotkey: self.owner.hotkey, mechanism, lead, commit };
        may_sign(sight, &terms, rows).map(|safe| safe.form)
    }

    /// Why nothing would be signed; the node's own reason first, it knows most.
    fn why_not(
        &self,
        safe: &Result<WeightsForm, NotSafe>,
        no_vector: Option<&vector::VectorError>,
    ) -> Option<String> {
        match self.weights.mode {
            WeightsMode::Submit => {}
            WeightsMode::DryRun => return Some("`weights.mode` is `dry_run`".to_owned()),
            WeightsMode::Off => return Some("`weights.mode` is `off`".to_owned()),
        }
        let is_running = self.status.found == Found::Running;
        if !is_running {
            return Some("no node is running".to_owned());
        }
        if let Some(not_safe) = &self.status.report.weights.not_safe {
            return Some(not_safe.clone());
        }
        let nothing = node_store::MechanismHistory::default();
        let known = self.history.mechanisms.get(&self.weights.mechanism).unwrap_or(&nothing);
        let own = self.view.neuron(&self.owner.hotkey);
        let unexplained = own.map(|own| last_update(self.view, own, known));
        if let Some(check) = unexplained.filter(|check| !check.agrees) {
            return Some(check.detail);
        }
        let not_safe = safe.as_ref().err().map(ToString::to_string);
        not_safe.or_else(|| no_vector.map(ToString::to_string))
    }

    /// Every uid that has a weight in the plan or on the chain.
    fn entries(&self, vector: &[(Uid, u16)]) -> Vec<Entry> {
        let own = self.view.neuron(&self.owner.hotkey);
        let row = own.map_or(&[][..], |own| self.view.weights_of(own.uid));
        let mut weights: BTreeMap<Uid, (u16, u16)> = BTreeMap::new();
        for (uid, weight) in vector {
            weights.entry(*uid).or_default().0 = *weight;
        }
        for (uid, weight) in row {
            weights.entry(*uid).or_default().1 = *weight;
        }
        let hotkey = |uid: Uid| {
            let neuron = self.view.neurons.iter().find(|neuron| neuron.uid == uid);
            neuron.map(|neuron| neuron.hotkey)
        };
        let entry =
            |(uid, (weight, on_chain))| Entry { uid, hotkey: hotkey(uid), weight, on_chain };
        weights.into_iter().map(entry).collect()
    }
}

fn source_name(found: &Found) -> &'static str {
    match found {
        Found::Running => "running",
        Found::NotRunning => "not_running",
        Found::NotAnswering { .. } => "not_answering",
    }
}

fn mode_name(mode: WeightsMode) -> &'static str {
    match mode {
        WeightsMode::Submit => "submit",
        WeightsMode::DryRun => "dry_run",
        WeightsMode::Off => "off",
    }
}

fn form_name(form: &WeightsForm) -> &'static str {
    match form {
        WeightsForm::Plain => "plain",
        WeightsForm::Timelocked { .. } => "timelock",
        WeightsForm::Hashed => "hash",
        WeightsForm::Reveal { .. } => "reveal",
    }
}

/// The form that the subnet takes, whether or not it could be signed now.
fn form_of(view: &ChainView, commit: CommitForm) -> &'static str {
    match commit {
        _ if !view.params.commit_reveal_enabled => "plain",
        CommitForm::Timelocked if view.params.commit_reveal_version.is_some() => "timelock",
        CommitForm::Timelocked | CommitForm::Hashed => "hash",
    }
}

fn render(plan: &Plan) -> String {
    let mut text = match (&plan.reason, plan.source) {
        (None, _) => "SIGNS NOW\n".to_owned(),
        (Some(reason), _) => format!("SIGNS NOTHING NOW  {reason}\n"),
    };
    line(
        &mut text,
        "scores",
        match plan.source {
            "running" => "of the running node",
            "not_running" => "of the last snapshot: no node is running",
            _ => "of the last snapshot: a node seems to run and does not answer",
        },
    );
    line(&mut text, "hotkey", &plan.hotkey.to_string());
    let end = plan.next_epoch_block.map_or_else(
        || "never ends".to_owned(),
        |next| {
            let BlockCount(left) = next.since(plan.as_of_block);
            format!("ends at {}, in {}", grouped(next.0), blocks(left))
        },
    );
    line(
        &mut text,
        "epoch",
        &format!("{} at finalized block {}; {end}", plan.epoch, grouped(plan.as_of_block.0)),
    );
    if let Some(opens) = plan.window_opens_at {
        line(&mut text, "window", &format!("opens at {}", grouped(opens.0)));
    }
    line(&mut text, "form", &format!("{}, version key {}", plan.form, plan.version_key));
    if let Some(problem) = &plan.vector_problem {
        line(&mut text, "vector", &format!("none: {problem}"));
        return text;
    }
    if plan.is_partial {
        line(&mut text, "vector", "of the latest submissions only; `assay status` shows no more");
    }
    let rows = plan.vector.iter().map(|entry| {
        let difference = i32::from(entry.weight) - i32::from(entry.on_chain);
        [
            entry.uid.to_string(),
            entry.hotkey.map_or_else(|| "-".to_owned(), |hotkey| hotkey.to_string()),
            entry.weight.to_string(),
            entry.on_chain.to_string(),
            if difference == 0 { "=".to_owned() } else { format!("{difference:+}") },
        ]
    });
    let header = ["uid", "hotkey", "weight", "on chain", "difference"];
    text.push_str(&format!("\n{}", table(header, rows.collect())));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_stands_first_and_the_difference_behind_each_weight() {
        let entry = |uid, weight, on_chain| Entry {
            uid: Uid(uid),
            hotkey: Some(Hotkey([u8::try_from(uid).unwrap(); 32])),
            weight,
            on_chain,
        };
        let plan = Plan {
            source: "running",
            as_of_block: BlockNumber(4_812_330),
            hotkey: Hotkey([9; 32]),
            epoch: EpochIndex(13_367),
            next_epoch_block: Some(BlockNumber(4_812_618)),
            window_opens_at: Some(BlockNumber(4_812_518)),
            mode: "submit",
            form: "timelock",
            version_key: 7,
            signs_now: false,
            reason: Some("the next vector is due in 188 blocks".to_owned()),
            vector_problem: None,
            is_partial: false,
            vector: vec![entry(0, 65_535, 65_535), entry(4, 300, 0), entry(5, 0, 12)],
        };
        insta::assert_snapshot!(render(&plan), @r"
        SIGNS NOTHING NOW  the next vector is due in 188 blocks
        scores      of the running node
        hotkey      5CGYyLcrWUfBDKExbvRjDQinEoCZWQmD6SjaXBLhny6A2wjE
        epoch       13367 at finalized block 4 812 330; ends at 4 812 618, in 288 blocks
        window      opens at 4 812 518
        form        timelock, version key 7

        uid  hotkey                                            weight  on chain  difference
        0    5C4hrfjw9DjXZTzV3MwzrrAr9P1MJhSrvWGWqi1eSuyUpnhM  65535   65535     =
        4    5C9yEy27yLNG5BDMxVwS8RyGBneZB1ouShazFhGZVP8thK5z  300     0         +300
        5    5CBHb3LfgN2Shc25gnSHwpvNCPZMe6QAaFR77C5nkVvkAK1o  0       12        -12
        ");
        let none = Plan { vector_problem: Some("no hotkey has points".to_owned()), ..plan };
        assert!(render(&none).ends_with("vector      none: no hotkey has points\n"));
    }
}
