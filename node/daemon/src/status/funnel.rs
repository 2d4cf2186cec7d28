//! How far submissions got, and who holds which place.

use node_core::evidence::{Metrics, ProbeFigure};
use node_core::funnel::{MemberState, Passage, Task, TierReport, UnitPlan};
use node_core::id::{Hotkey, SubmissionId};
use node_core::machine::{Machine, UnitResult};
use node_core::points::bits_per_byte;
use node_core::reward::{Champion, Family, FamilyId};
use node_core::round::Verdict;
use node_core::unit::BlockNumber;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema::{
    AddressText, HexText, PassageSchema, ProbeFigureSchema, TierReportSchema, UnitPlanSchema,
};

/// The funnel as this node knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FunnelStatus {
    /// Its tiers in figures, the first tier first; empty under a policy of one tier.
    #[schemars(with = "Vec<TierReportSchema>")]
    pub tiers: Vec<TierReport>,
    /// Families and their best, at the start of the present epoch; `null` while nothing is paid by
    /// places: the policy pays points, or the references are not measured.
    pub families: Option<Vec<FamilyStatus>>,
    /// Architectures that are neither clearly of a family nor clearly none of it: not paid before
    /// their hold is over, and then variants of the nearest.
    #[serde(default)]
    pub held: Vec<HeldStatus>,
    /// The references that others are compared with; none under a policy that needs none.
    #[serde(default)]
    pub references: Vec<ReferenceStatus>,
}

/// A submission that ships with the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReferenceStatus {
    /// Its name.
    pub name: String,
    /// What its units measured so far.
    pub units: Vec<UnitStatus>,
}

/// An architecture whose family is not clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HeldStatus {
    /// The submission.
    #[schemars(with = "HexText")]
    pub submission: SubmissionId,
    /// The family that it is most like.
    #[schemars(with = "HexText")]
    pub nearest: FamilyId,
    /// From this block on it is a variant of that one.
    #[schemars(with = "u64")]
    pub until: BlockNumber,
}

/// A family of architectures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FamilyStatus {
    /// Its name.
    #[schemars(with = "HexText")]
    pub id: FamilyId,
    /// Who is paid for it; nobody for a reference's.
    #[schemars(with = "Option<AddressText>")]
    pub owner: Option<Hotkey>,
    /// Its best architecture.
    pub architecture: ChampionStatus,
    /// Its best recipe, if one is better than the reference trainer.
    pub recipe: Option<ChampionStatus>,
}

/// The best of its kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChampionStatus {
    /// Whose; `null` for a reference.
    #[schemars(with = "Option<AddressText>")]
    pub author: Option<Hotkey>,
    /// The submission; `null` for a reference.
    #[schemars(with = "Option<HexText>")]
    pub submission: Option<SubmissionId>,
    /// Since which block it is paid.
    #[schemars(with = "Option<u64>")]
    pub since: Option<BlockNumber>,
    /// How good it is, in 1e-9 of the reference.
    pub quality_nano: i64,
}

/// How far a submission got in the funnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlaceStatus {
    /// The last tier that it entered.
    pub tier: u8,
    /// Its points there, if it has a score.
    pub points: Option<u64>,
    /// What becomes of it there.
    #[schemars(with = "PassageSchema")]
    pub passage: Passage,
}

/// What a unit of a tier measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UnitStatus {
    /// Stage of the funnel.
    pub tier: u8,
    /// What was measured.
    #[schemars(with = "UnitPlanSchema")]
    pub plan: UnitPlan,
    /// The score, if it has one.
    pub points: Option<u64>,
    /// How it ended, if it has none.
    pub ending: Option<String>,
    /// Bits per byte, times 1e9.
    pub nanobpb: Option<u64>,
    /// Parameters of the model.
    pub parameters: Option<u64>,
    /// Of them, those of tables that are looked up by token or position.
    #[serde(default)]
    pub embedding_parameters: Option<u64>,
    /// Tokens of training text.
    pub tokens: Option<u64>,
    /// What the probe tasks came to, in a unit that runs them; it has no points.
    #[serde(default)]
    #[schemars(with = "Vec<ProbeFigureSchema>")]
    pub probes: Vec<ProbeFigure>,
}

impl FunnelStatus {
    /// Of what a machine knows.
    #[must_use]
    pub fn of(machine: &Machine) -> Self {
        let at = machine.view().map(|view| view.epoch.last_epoch_block).unwrap_or_default();
        let table = machine.table(at);
        let held = table.iter().flat_map(|table| &table.held).map(|held| HeldStatus {
            submission: held.priority.submission(),
            nearest: held.nearest,
            until: held.until,
        });
        let held = held.collect();
        let families = table.map(|table| {
            let family = |(id, family): (&FamilyId, &Family)| family_status(*id, family);
            table.families.iter().map(family).collect()
        });
        let reference = |(id, name): (SubmissionId, &str)| ReferenceStatus {
            name: name.to_owned(),
            units: units(machine, &id),
        };
        let references = machine.references().map(reference).collect();
        Self { tiers: machine.funnel_report(), families, held, references }
    }
}

fn family_status(id: FamilyId, family: &Family) -> FamilyStatus {
    FamilyStatus {
        id,
        owner: family.owner,
        architecture: champion_status(&family.architecture),
        recipe: family.recipe.as_ref().map(champion_status),
    }
}

fn champion_status(champion: &Champion) -> ChampionStatus {
    ChampionStatus {
        author: champion.priority.map(|one| one.author),
        submission: champion.priority.map(|one| one.submission()),
        since: champion.priority.map(|one| one.block),
        quality_nano: champion.quality.mean_nano,
    }
}

/// How far a submission got, under a policy of several tiers.
pub(super) fn place(machine: &Machine, id: &SubmissionId) -> Option<PlaceStatus> {
    let (tier, state, passage) = machine.place_in_funnel(id)?;
    let points = match state {
        MemberState::Scored { points } => Some(points),
        MemberState::Missing | MemberState::Failed => None,
    };
    Some(PlaceStatus { tier, points, passage })
}

/// What was decided in a submission's units, tier by tier.
pub(super) fn units(machine: &Machine, id: &SubmissionId) -> Vec<UnitStatus> {
    machine.unit_results(id).into_iter().map(unit_status).collect()
}

/// What was decided in a unit.
pub(super) fn unit_status(result: UnitResult<'_>) -> UnitStatus {
    let (points, ending) = match result.verdict {
        Verdict::Scored { points } => (Some(*points), None),
        Verdict::Failed { ending } => (None, Some(ending.name().to_owned())),
        Verdict::Disputed => (None, Some("disputed".to_owned())),
    };
    let is_text = matches!(result.plan.task, Task::Text { .. });
    let metrics = result.metrics;
    let of_text = metrics.filter(|_| is_text);
    UnitStatus {
        tier: result.tier,
        plan: result.plan,
        points: points.filter(|_| is_text),
        ending,
        nanobpb: of_text.and_then(nanobpb),
        parameters: of_text.map(|metrics| metrics.parameters),
        embedding_parameters: of_text.and_then(|metrics| metrics.conduct.embedding_parameters),
        tokens: of_text.map(|metrics| metrics.tokens),
        probes: metrics.map_or_else(Vec::new, |metrics| metrics.conduct.probes.clone()),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "bits per byte are finite and not negative; the cast saturates"
)]
fn nanobpb(metrics: &Metrics) -> Option<u64> {
    bits_per_byte(metrics).ok().map(|bits| (bits * 1e9).round() as u64)
}
