//! Yuma consensus: what validators' weights and stakes make of a subnet's neurons.
//!
//! A function from values to values; it reads no storage. One call is one mechanism's epoch:
//!
//! weights --mask--> rows that sum to 1 --median at kappa--> consensus --clip--> what counts
//!   what counts * stake = rank -> incentive          (miners)
//!   bonds = average over epochs of what counts -> dividends   (validators)
//!
//! A validator gains nothing by weights that no majority shares: they are clipped before they count
//! for the miner, for its trust and for its bonds.
//!
//! Source: `epoch_mechanism` in subtensor, `pallets/subtensor/src/epoch/run_epoch.rs`.
//!
//! Not here: bonds by Yuma 3 and liquid alpha (the flags are kept and not honoured), inherited
//! stake, and who is paid how much (`emission`).

mod emission;
mod matrix;
mod share;
#[cfg(test)]
mod tests;

pub(crate) use emission::{Pay, Pot};
pub(crate) use share::Share;

use matrix::Matrix;
use share::normalize;

/// Millionths, in which `BondsMovingAverage` counts.
const MILLION: u64 = 1_000_000;

/// What an epoch of one mechanism depends on. Lists are by uid and of equal length.
#[derive(Clone, Debug)]
pub(crate) struct Inputs {
    /// Stake that counts, zero where it is below the threshold.
    pub(crate) stakes: Vec<u64>,
    /// Permits that the weights were set under, so those of the epoch before.
    pub(crate) permits: Vec<bool>,
    /// Whether the neuron has set weights of late.
    pub(crate) active: Vec<bool>,
    /// Block of the neuron's last weights or commit.
    pub(crate) last_update: Vec<u64>,
    /// Block in which the neuron took its uid.
    pub(crate) registered_at: Vec<u64>,
    /// Block of the earliest commit that still waits to be revealed.
    pub(crate) first_commits: Vec<Option<u64>>,
    /// Rows as they are stored.
    pub(crate) weights: Vec<Vec<(u16, u16)>>,
    /// Rows as they are stored.
    pub(crate) bonds: Vec<Vec<(u16, u16)>>,
    /// The owner's uid, whose weight on itself counts.
    pub(crate) owner_uid: Option<u16>,
    /// Share of stake that makes a majority, in 65535ths.
    pub(crate) kappa: u16,
    /// How far weights above the consensus fail to become bonds, in 65535ths.
    pub(crate) bonds_penalty: u16,
    /// Share of the bonds that stays, in millionths.
    pub(crate) bonds_moving_average: u64,
    /// Miners that registered in this block or later inherit no bonds.
    pub(crate) bonds_cutoff: u64,
}

/// What an epoch of one mechanism makes of it. Lists are by uid.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Outcome {
    /// The highest weight that a majority supports.
    pub(crate) consensus: Vec<Share>,
    /// How much of a validator's weights the consensus lets pass.
    pub(crate) validator_trust: Vec<Share>,
    /// Shares of what miners earn; they sum to 1, or are all zero.
    pub(crate) incentive: Vec<Share>,
    /// Shares of what validators earn; they sum to 1, or are all zero.
    pub(crate) dividends: Vec<Share>,
    /// Rows as they are stored.
    pub(crate) bonds: Vec<Vec<(u16, u16)>>,
    /// Shares of the stake that took part.
    pub(crate) active_stake: Vec<Share>,
    /// Shares of all the stake that counts.
    pub(crate) stake: Vec<Share>,
}

/// Runs an epoch of one mechanism.
pub(crate) fn run(inputs: &Inputs) -> Outcome {
    let stake = stake_shares(&inputs.stakes);
    let active_stake = active_stake(inputs, &stake);
    let weights = masked_weights(inputs);
    let kappa = Share::of_u16(inputs.kappa);
    let consensus: Vec<Share> = (0..stake.len())
        .map(|miner| weighted_median(&weights, miner, &active_stake, kappa))
        .collect();
    let clipped = weights.map(|_, miner, weight| weight.min(consensus[miner]));
    let mut incentive = clipped.weighted_columns(&active_stake);
    normalize(&mut incentive);
    let bonds = next_bonds(inputs, &weights, &clipped, &active_stake);
    let mut dividends = bonds.weighted_rows(&incentive);
    normalize(&mut dividends);
    Outcome {
        validator_trust: clipped.row_sums(),
        bonds: bonds.upscaled_columns(),
        consensus,
        incentive,
        dividends,
        active_stake,
        stake,
    }
}

fn stake_shares(stakes: &[u64]) -> Vec<Share> {
    let total: u128 = stakes.iter().map(|stake| u128::from(*stake)).sum();
    stakes.iter().map(|stake| Share::ratio((*stake).into(), total)).collect()
}

/// The stake of active neurons with permits, as shares of their sum.
fn active_stake(inputs: &Inputs, stake: &[Share]) -> Vec<Share> {
    let takes_part = inputs.active.iter().zip(&inputs.permits).map(|(active, may)| *active && *may);
    let mut shares: Vec<Share> = stake
        .iter()
        .zip(takes_part)
        .map(|(share, takes_part)| if takes_part { *share } else { Share::ZERO })
        .collect();
    normalize(&mut shares);
    shares
}

/// The weights that count, each row as shares of its sum.
///
/// Left out: rows without a permit; a neuron's weight on itself, but for the owner's; weights that
/// were set, or committed, before their target took its uid.
fn masked_weights(inputs: &Inputs) -> Matrix {
    let mut weights = Matrix::stored(&inputs.weights);
    let owner = inputs.owner_uid.map(usize::from);
    weights.retain(|validator, miner| {
        let registered = inputs.registered_at[miner];
        inputs.permits[validator]
            && (validator != miner || owner == Some(validator))
            && inputs.last_update[validator] > registered
            && inputs.first_commits[validator].is_none_or(|commit| registered <= commit)
    });
    weights.normalize_rows();
    weights
}

/// The highest weight on a miner such that the stake behind that weight or a higher one makes a
/// majority. Whoever gives no weight gives zero.
fn weighted_median(weights: &Matrix, miner: usize, stake: &[Share], kappa: Share) -> Share {
    let mut votes: Vec<(Share, Share)> = stake
        .iter()
        .enumerate()
        .map(|(validator, share)| (weights.at(validator, miner), *share))
        .filter(|(weight, share)| *weight > Share::ZERO && *share > Share::ZERO)
        .collect();
    votes.sort_unstable_by(|one, other| other.cmp(one));
    let mut behind = Share::ZERO;
    for (weight, share) in votes {
        behind = behind.plus(share);
        if behind >= kappa {
            return weight;
        }
    }
    Share::ZERO
}

/// The bonds after this epoch, each column as shares of its sum.
fn next_bonds(inputs: &Inputs, weights: &Matrix, clipped: &Matrix, stake: &[Share]) -> Matrix {
    let mut before = Matrix::stored(&inputs.bonds);
    before.retain(|_, miner| inputs.registered_at[miner] < inputs.bonds_cutoff);
    before.normalize_columns();

    let purchased = clipped.blend(weights, Share::of_u16(inputs.bonds_penalty));
    let mut purchased = purchased.map(|validator, _, weight| weight.times(stake[validator]));
    purchased.normalize_columns();

    let kept = inputs.bonds_moving_average.min(MILLION);
    let speed = Share::ratio((MILLION - kept).into(), MILLION.into());
    let mut bonds = purchased.blend(&before, speed);
    bonds.normalize_columns();
    bonds
}
