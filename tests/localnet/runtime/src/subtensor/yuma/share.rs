//! Fixed-point numbers: 32 bits before the point, 32 after, never negative.
//!
//! Every validator has to get the same bits, so there are no floats. Products and quotients are
//! rounded down, as in the real chain's arithmetic, which has the same 32 fractional bits.

/// Binary digits after the point.
const FRACTION_BITS: u32 = 32;

/// A share of something; 1 is all of it.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Share(u64);

impl Share {
    /// Nothing.
    pub(crate) const ZERO: Self = Self(0);
    /// All of it.
    pub(crate) const ONE: Self = Self(1 << FRACTION_BITS);

    /// `part / whole`; nothing where the whole is nothing, and at most 2^32 - 2^-32.
    pub(crate) fn ratio(part: u128, whole: u128) -> Self {
        // A part that cannot be shifted is far beyond any amount of rao times 2^32.
        let scaled = part.saturating_mul(1 << FRACTION_BITS);
        Self(scaled.checked_div(whole).map_or(0, |bits| u64::try_from(bits).unwrap_or(u64::MAX)))
    }

    /// A parameter that counts in 65535ths.
    pub(crate) fn of_u16(value: u16) -> Self {
        Self::ratio(value.into(), u16::MAX.into())
    }

    /// In 65535ths; what is above 1 counts as 1.
    pub(crate) fn to_u16(self) -> u16 {
        u16::try_from(self.of(u16::MAX.into())).unwrap_or(u16::MAX)
    }

    /// This share of an amount.
    pub(crate) fn of(self, amount: u64) -> u64 {
        let part = (u128::from(self.0) * u128::from(amount)) >> FRACTION_BITS;
        u64::try_from(part).unwrap_or(u64::MAX)
    }

    /// Share of a share.
    pub(crate) fn times(self, other: Self) -> Self {
        Self(other.of(self.0))
    }

    /// How much of `whole` this is; nothing where the whole is nothing.
    pub(crate) fn over(self, whole: Self) -> Self {
        Self::ratio(self.0.into(), whole.0.into())
    }

    /// Both together.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// What is left without `other`; never below nothing.
    pub(crate) fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl std::iter::Sum for Share {
    fn sum<I: Iterator<Item = Self>>(shares: I) -> Self {
        shares.fold(Self::ZERO, Self::plus)
    }
}

/// Scales shares so that they sum to 1; all zeros stay zeros.
pub(crate) fn normalize(shares: &mut [Share]) {
    let sum: Share = shares.iter().copied().sum();
    if sum != Share::ZERO {
        for share in shares {
            *share = share.over(sum);
        }
    }
}
