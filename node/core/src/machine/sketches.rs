//! By what contents are compared: the sample of a sketch is remembered if it is similar enough to
//! another one for the rules, else only what the search finds it by.
//!
//! A content that comes is compared, before it has a verdict, with all that the search finds and
//! whose size lets them be like it; for that the samples that are away are read where they are
//! stored, some at a time. So of any two contents that the rules take for alike both samples are
//! here, and a work whose sample is away is like none. Who dies while samples are read has no
//! verdict yet, and judges the content anew.

use std::collections::BTreeSet;

use super::Machine;
use crate::admission::Verdict;
use crate::duplicates::{similar_ones, KnownSketch, Sketch};
use crate::id::{ContentDigest, SubmissionId};
use crate::limits::RECALL_MAX;
use crate::machine::effect::{Effect, Outcome};
use crate::submission::Submission;
use crate::unit::Now;

/// What admission found of a content whose like is being read.
#[derive(Clone, Debug)]
pub(super) struct Judged {
    submission: SubmissionId,
    verdict: Verdict,
    sketch: Option<Box<Sketch>>,
    /// The contents whose samples were asked for: it was compared with those that were there.
    asked_for: BTreeSet<ContentDigest>,
}

impl Machine {
    pub(super) fn on_admission_ended(
        &mut self,
        now: Now,
        submission: SubmissionId,
        verdict: Verdict,
        sketch: Option<Box<Sketch>>,
        out: &mut Outcome,
    ) {
        let Some(Submission { content, .. }) = self.submissions.get(&submission) else { return };
        let content = *content;
        if self.judging.contains_key(&content) {
            let judged = Judged { submission, verdict, sketch, asked_for: BTreeSet::new() };
            self.look_for_its_like(now, content, judged, out);
        }
    }

    pub(super) fn on_sketches_recalled(
        &mut self,
        now: Now,
        content: ContentDigest,
        found: Vec<(ContentDigest, Sketch)>,
        out: &mut Outcome,
    ) {
        let Some(judged) = self.judging.get_mut(&content).and_then(Option::take) else { return };
        for (earlier, sketch) in found {
            let is_like = |own: &Sketch| own.similarity_ppm(&sketch) >= self.alike_ppm();
            if !judged.sketch.as_deref().is_some_and(is_like) {
                continue;
            }
            if let Some(known) = self.sketches.get(&earlier) {
                known.recall(sketch);
            }
        }
        // Another one may have come while these were read.
        self.look_for_its_like(now, content, judged, out);
    }

    /// Asks for samples that a content was not compared with yet, or stores its verdict.
    fn look_for_its_like(
        &mut self,
        now: Now,
        content: ContentDigest,
        mut judged: Judged,
        out: &mut Outcome,
    ) {
        let of = self.away(content, &judged);
        let submission = judged.submission;
        if of.is_empty() {
            self.end_judging(now, content, judged.verdict, judged.sketch, out);
        } else {
            judged.asked_for.extend(&of);
            self.judging.insert(content, Some(judged));
            out.perform(Effect::RecallSketches { submission, content, of });
        }
    }

    /// The contents whose samples may decide about this one, are away, and were not asked for: as
    /// many as are asked for at once.
    fn away(&self, content: ContentDigest, judged: &Judged) -> Vec<ContentDigest> {
        let Some(sketch) = judged.sketch.as_deref() else { return Vec::new() };
        let rules = &self.config.policy.duplicates;
        let is_away = |(of, known): &(ContentDigest, &KnownSketch)| {
            !known.has_sample() && known.can_decide(sketch, rules) && !judged.asked_for.contains(of)
        };
        let away = self.near(content, sketch).into_iter().filter(is_away);
        away.map(|(of, _)| of).take(RECALL_MAX).collect()
    }

    /// Remembers by what a content is compared.
    pub(super) fn remember_sketch(&mut self, content: ContentDigest, sketch: Sketch) {
        let near = self.near(content, &sketch);
        let whole = KnownSketch::from(sketch.clone());
        let likeness = near.iter().filter_map(|(_, known)| known.similarity_ppm(&whole));
        let is_like_another = likeness.max().is_some_and(|ppm| ppm >= self.alike_ppm());
        // Works of the same content share what is known already.
        let known = self.sketches.get(&content).filter(|known| known.is_of(&sketch)).cloned();
        let known = known.unwrap_or_else(|| KnownSketch::outline(&sketch).into());
        if is_like_another {
            known.recall(sketch);
        }
        self.sketches.insert(content, known);
    }

    /// Drops the samples of all sketches that are like no other.
    pub(super) fn drop_samples(&mut self) {
        let known: Vec<&KnownSketch> = self.sketches.values().map(AsRef::as_ref).collect();
        let similar = similar_ones(&known, self.alike_ppm());
        for (place, known) in self.sketches.values_mut().enumerate() {
            if !similar.contains(&place) {
                *known = known.without_sample().into();
            }
        }
    }

    /// The least similarity that decides anything.
    fn alike_ppm(&self) -> u32 {
        self.config.policy.duplicates.held_ppm
    }

    /// The other contents that the search finds by a sketch.
    fn near(&self, of: ContentDigest, sketch: &Sketch) -> Vec<(ContentDigest, &KnownSketch)> {
        let others = self.sketches.iter().filter(|(content, _)| **content != of);
        let keys = sketch.keys();
        let near = others.filter(|(_, known)| known.has_one_of(&keys));
        near.map(|(content, known)| (*content, known.as_ref())).collect()
    }
}
