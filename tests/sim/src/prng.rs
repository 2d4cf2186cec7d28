//! The one source of chance: the same seed gives the same history on every machine.

/// `SplitMix64`: its output is fixed by its definition, so a seed means the same for ever. No
/// crate is used for it, because crates may change theirs between versions.
#[derive(Clone, Debug)]
pub struct Prng(u64);

impl Prng {
    /// A stream for this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A source of its own that is decided by this one, which goes on as if nothing had been drawn.
    #[must_use]
    pub fn apart(&self) -> Self {
        Self(self.0 ^ 0xa9a7_0000_a9a7_0000)
    }

    /// A number below `bound`; zero if `bound` is.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.draw().checked_rem(bound).unwrap_or(0)
    }

    /// A number from `least` to `most`, both included.
    pub fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most.saturating_sub(least) + 1)
    }

    /// An index below `len`.
    pub fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap_or(0)
    }

    /// True in `cases` of `of`. Draws nothing where there is no choice, so that taking a fault out
    /// of a plan changes as little as possible of what follows.
    pub fn happens(&mut self, cases: u32, of: u32) -> bool {
        cases > 0 && self.below(of.into()) < cases.into()
    }

    /// A number from `least` to `most` that is as likely between 1 and 10 as between 10 and 100.
    pub fn spread(&mut self, least: u64, most: u64) -> u64 {
        let (mut low, mut high) = (least.max(1), most.max(1));
        while high > low.saturating_mul(4) {
            if self.below(2) == 0 {
                high = high.div_ceil(4).max(low);
            } else {
                low = low.saturating_mul(4);
            }
        }
        self.between(low, high)
    }
}
