//! Sets as bits: devices of a pool in one word, hosts of a fleet in a row of words.

/// Some devices of one pool, a bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mask(u128);

impl Mask {
    /// The first `count` devices.
    pub(super) fn first(count: usize) -> Self {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        Self(1u128.checked_shl(count).map_or(u128::MAX, |above| above.wrapping_sub(1)))
    }

    /// One device; none where `bit` is beyond the word.
    pub(super) fn one(bit: usize) -> Self {
        let bit = u32::try_from(bit).unwrap_or(u32::MAX);
        Self(1u128.checked_shl(bit).unwrap_or(0))
    }

    pub(super) fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(super) fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(super) fn has(self, bit: usize) -> bool {
        !self.and(Self::one(bit)).is_empty()
    }

    /// Its first `count` devices, or all of them.
    pub(super) fn take(self, count: usize) -> Self {
        self.bits().take(count).fold(Self::default(), |taken, bit| taken.or(Self::one(bit)))
    }

    /// Its devices, in order.
    pub(super) fn bits(self) -> impl Iterator<Item = usize> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            (left != 0).then(|| {
                let bit = left.trailing_zeros() as usize;
                left &= left.wrapping_sub(1);
                bit
            })
        })
    }
}

/// Some hosts of a fleet. All sets of one fleet have the same length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HostSet {
    words: Vec<u64>,
    len: usize,
}

impl HostSet {
    /// No host, of a fleet of so many.
    pub(super) fn none(hosts: usize) -> Self {
        Self { words: vec![0; hosts.div_ceil(64)], len: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn insert(&mut self, host: usize) {
        if let Some((word, bit)) = self.word(host) {
            let was = *word;
            *word |= bit;
            self.len = self.len.saturating_add(usize::from(was & bit == 0));
        }
    }

    pub(super) fn remove(&mut self, host: usize) {
        if let Some((word, bit)) = self.word(host) {
            let was = *word;
            *word &= !bit;
            self.len = self.len.saturating_sub(usize::from(was & bit != 0));
        }
    }

    pub(super) fn has(&self, host: usize) -> bool {
        let bit = 1u64.wrapping_shl(bit_of(host));
        self.words.get(host / 64).is_some_and(|word| word & bit != 0)
    }

    /// The hosts that are also in `others` (where given), in order.
    pub(super) fn both<'a>(&'a self, others: Option<&'a Self>) -> impl Iterator<Item = usize> + 'a {
        let filter =
            move |at: usize| others.map_or(u64::MAX, |set| set.words.get(at).copied().unwrap_or(0));
        self.words.iter().enumerate().flat_map(move |(at, word)| {
            let word = Mask(u128::from(word & filter(at)));
            word.bits().map(move |bit| at.saturating_mul(64).saturating_add(bit))
        })
    }

    fn word(&mut self, host: usize) -> Option<(&mut u64, u64)> {
        let bit = 1u64.wrapping_shl(bit_of(host));
        self.words.get_mut(host / 64).map(|word| (word, bit))
    }
}

fn bit_of(host: usize) -> u32 {
    (host & 63).try_into().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_holds_all_devices_of_the_largest_pool() {
        let all = Mask::first(128);
        assert_eq!((all.len(), all.has(127), all.has(128)), (128, true, false));
        assert_eq!(all.without(Mask::first(126)).bits().collect::<Vec<_>>(), [126, 127]);
        assert_eq!(Mask::first(5).without(Mask::one(0)).take(2), Mask::one(1).or(Mask::one(2)));
    }

    #[test]
    fn two_host_sets_meet_in_order() {
        let (mut some, mut others) = (HostSet::none(200), HostSet::none(200));
        for host in [3, 64, 65, 199] {
            some.insert(host);
            some.insert(host);
        }
        for host in [2, 65, 199] {
            others.insert(host);
        }
        assert_eq!(some.both(Some(&others)).collect::<Vec<_>>(), [65, 199]);
        for host in [3, 64, 65, 199, 1] {
            some.remove(host);
        }
        assert!(some.is_empty() && !some.has(65) && others.has(65));
    }
}
