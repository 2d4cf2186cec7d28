//! Which evaluations exist, and who hands them out. Derived by every validator from the chain.

use serde::{Deserialize, Serialize};

use crate::id::{AssignmentId, ContentDigest, Digest, DigestBuilder, Hotkey, SubmissionId};
use crate::submission::Submission;
use crate::trial::Trial;
use crate::view::ChainView;

/// One evaluation of one submission in one trial by one replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// Its identity, over all that follows.
    pub id: AssignmentId,
    /// The submission.
    pub submission: SubmissionId,
    /// Its content.
    pub content: ContentDigest,
    /// Stage of the funnel.
    pub tier: u8,
    /// Which unit of it.
    #[serde(default)]
    pub unit: u8,
    /// Which of the independent evaluations this is.
    pub replica: u8,
    /// Source of all randomness in the run.
    pub seed: Digest,
    /// The rules.
    pub policy: Digest,
}

impl Assignment {
    /// What it is one evaluation of.
    #[must_use]
    pub fn trial(&self) -> Trial {
        Trial { submission: self.submission, tier: self.tier, unit: self.unit }
    }

    /// The assignment of `submission` in a tier and unit of the funnel for `replica`, under the
    /// policy with this digest.
    #[must_use]
    pub fn derive(
        submission: &Submission,
        (tier, unit): (u8, u8),
        replica: u8,
        policy: Digest,
    ) -> Self {
        let stage = u64::from(u16::from_le_bytes([tier, unit]));
        let seed = DigestBuilder::new("assay/seed/v1")
            .bytes(&submission.seed_block_hash.0)
            .bytes(&submission.content.0)
            .number(stage)
            .finish();
        let id = DigestBuilder::new("assay/assignment/v1")
            .bytes(&submission.id.0)
            .bytes(&submission.content.0)
            .number(stage)
            .number(u64::from(replica))
            .bytes(&seed)
            .bytes(&policy.0)
            .finish();
        Self {
            id: AssignmentId(id),
            submission: submission.id,
            content: submission.content,
            tier,
            unit,
            replica,
            seed: Digest(seed),
            policy,
        }
    }
}

/// Places in `validators`, the best coordinator of this content first (rendezvous hashing).
///
/// Every validator computes the same order from the same validators, in whatever order they are
/// given. One that joins or leaves moves only what it gains or loses. Of more than 65,536 the rest
/// is left out; a subnet has far fewer.
#[must_use]
pub fn coordinators_among(
    validators: &[Hotkey],
    miner: &Hotkey,
    content: &ContentDigest,
) -> Vec<u16> {
    let mut ranked: Vec<([u8; 32], Hotkey, u16)> = validators
        .iter()
        .zip(0..=u16::MAX)
        .map(|(validator, place)| {
            let rank = DigestBuilder::new("assay/coordinator/v1")
                .bytes(&miner.0)
                .bytes(&content.0)
                .bytes(&validator.0)
                .finish();
            (rank, *validator, place)
        })
        .collect();
    ranked.sort_unstable();
    ranked.into_iter().map(|(_, _, place)| place).collect()
}

/// The validators of `view`, the best coordinator of this content first.
#[must_use]
pub fn coordinators(view: &ChainView, miner: &Hotkey, content: &ContentDigest) -> Vec<Hotkey> {
    let validators: Vec<Hotkey> = view.validators().map(|neuron| neuron.hotkey).collect();
    let places = coordinators_among(&validators, miner, content);
    places.iter().filter_map(|place| validators.get(usize::from(*place)).copied()).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::commitment::Location;
    use crate::id::{BlockHash, Netuid, Uid};
    use crate::unit::{BlockCount, BlockNumber, UnixMs};
    use crate::view::{Neuron, SubnetParams};

    fn view(validators: &[u8]) -> ChainView {
        let neuron = |(uid, key): (u16, &u8)| Neuron {
            uid: Uid(uid),
            hotkey: Hotkey([*key; 32]),
            stake_rao: 10,
            validator_permit: true,
            ..Neuron::default()
        };
        ChainView {
            genesis: BlockHash([0; 32]),
            netuid: Netuid(1),
            number: BlockNumber(1),
            hash: BlockHash([1; 32]),
            timestamp: UnixMs(0),
            spec_version: 1,
            neurons: (0..).zip(validators).map(neuron).collect(),
            params: SubnetParams {
                tempo: BlockCount(10),
                min_allowed_weights: 1,
                weights_rate_limit: BlockCount(1),
                stake_threshold_rao: 10,
                ..SubnetParams::default()
            },
            ..ChainView::default()
        }
    }

    fn submission(seed_block: u8) -> Submission {
        Submission::committed(
            Hotkey([200; 32]),
            BlockNumber(3),
            ContentDigest([4; 32]),
            Location::Peers,
            BlockHash([seed_block; 32]),
        )
    }

    fn first(view: &ChainView, content: u8) -> Hotkey {
        coordinators(view, &Hotkey([200; 32]), &ContentDigest([content; 32]))[0]
    }

    #[test]
    fn every_difference_gives_another_assignment() {
        let policy = Digest([1; 32]);
        let one = Assignment::derive(&submission(5), (1, 0), 0, policy);
        assert_eq!(one, Assignment::derive(&submission(5), (1, 0), 0, policy));
        for other in [
            Assignment::derive(&submission(6), (1, 0), 0, policy),
            Assignment::derive(&submission(5), (2, 0), 0, policy),
            Assignment::derive(&submission(5), (1, 1), 0, policy),
            Assignment::derive(&submission(5), (1, 0), 1, policy),
            Assignment::derive(&submission(5), (1, 0), 0, Digest([2; 32])),
        ] {
            assert_ne!(one.id, other.id);
        }
    }

    #[test]
    fn replicas_share_the_seed_and_the_seed_comes_from_the_block_after_the_commitment() {
        let policy = Digest([1; 32]);
        let seed =
            |block, replica| Assignment::derive(&submission(block), (1, 0), replica, policy).seed;
        assert_eq!(seed(5, 0), seed(5, 1));
        assert_ne!(seed(5, 0), seed(6, 0));
    }

    #[test]
    fn coordinators_do_not_depend_on_the_order_of_uids() {
        let order =
            |keys: &[u8]| coordinators(&view(keys), &Hotkey([9; 32]), &ContentDigest([9; 32]));
        assert_eq!(order(&[1, 2, 3, 4]), order(&[4, 2, 1, 3]));
        assert_eq!(order(&[1, 2, 3, 4]).len(), 4);
    }

    #[test]
    fn only_validators_coordinate() {
        let mut view = view(&[1, 2, 3]);
        view.neurons[0].validator_permit = false;
        view.neurons[1].stake_rao -= 1;
        let ranked = coordinators(&view, &Hotkey([9; 32]), &ContentDigest([9; 32]));
        assert_eq!(ranked, vec![Hotkey([3; 32])]);
    }

    #[test]
    fn every_validator_coordinates_its_share() {
        let view = view(&[1, 2, 3, 4]);
        let mut shares: BTreeMap<Hotkey, usize> = BTreeMap::new();
        for content in 0..=255 {
            *shares.entry(first(&view, content)).or_default() += 1;
        }
        assert_eq!(shares.len(), 4);
        assert!(shares.values().all(|share| (32..=96).contains(share)), "{shares:?}");
    }

    #[test]
    fn a_validator_that_leaves_moves_only_what_it_coordinated() {
        let (with, without) = (view(&[1, 2, 3, 4]), view(&[1, 2, 3]));
        for content in 0..=255 {
            let before = first(&with, content);
            let stays = before != Hotkey([4; 32]);
            assert!(!stays || first(&without, content) == before, "content {content} moved");
        }
    }
}
