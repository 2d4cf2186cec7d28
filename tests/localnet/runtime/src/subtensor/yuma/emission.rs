//! Who is paid how much of an epoch's alpha.

use super::{Outcome, Share};

/// The alpha of one mechanism's epoch, in rao.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Pot {
    /// For the miners.
    pub(crate) miners: u64,
    /// For the validators.
    pub(crate) validators: u64,
}

/// What each neuron is paid, by uid, in rao.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Pay {
    /// As a miner.
    pub(crate) incentive: Vec<u64>,
    /// As a validator.
    pub(crate) dividends: Vec<u64>,
}

impl Pot {
    /// Halves an amount; the odd rao goes to the validators.
    pub(crate) fn halved(amount: u64) -> Self {
        Self { miners: amount / 2, validators: amount - amount / 2 }
    }

    /// Divides the pot.
    ///
    /// Where no miner earned anything the validators get it all; where no validator did, the stake
    /// that took part decides, and where none did, all of it. Shares are rounded down, so up to a
    /// rao per neuron stays unpaid.
    pub(crate) fn divide(self, outcome: &Outcome) -> Pay {
        let is_zero = |shares: &[Share]| shares.iter().all(|share| *share == Share::ZERO);
        let idle = is_zero(&outcome.incentive);
        let miners = if idle { 0 } else { self.miners };
        let validators = self.validators + (self.miners - miners);
        let candidates = [&outcome.dividends, &outcome.active_stake, &outcome.stake];
        let by = candidates.into_iter().find(|shares| !is_zero(shares));
        let pay = |shares: &[Share], amount| shares.iter().map(|share| share.of(amount)).collect();
        Pay {
            incentive: pay(&outcome.incentive, miners),
            dividends: pay(by.unwrap_or(&outcome.stake), validators),
        }
    }
}
