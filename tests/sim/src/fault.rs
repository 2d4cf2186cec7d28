//! What can go wrong, and how often: each seed draws a subset.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::prng::Prng;

macro_rules! faults {
    ($($(#[doc = $doc:literal])* $name:ident = $id:literal, $rate_max:literal;)*) => {
        /// One kind of fault. Its rate says how often: for messages, fetches and runs in 1,000
        /// cases, for crashes in 10,000 outcomes, for nodes in percent of them, and for what
        /// lasts in 10,000 rounds of two seconds.
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize,
        )]
        pub enum Fault {
            $($(#[doc = $doc])* #[serde(rename = $id)] $name,)*
        }

        impl Fault {
            /// Every fault.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Its name in plans, journals and on the command line.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $id,)* }
            }

            /// What it does, in a sentence.
            #[must_use]
            pub fn says(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),*).trim_ascii(),)* }
            }

            /// The highest rate that is drawn.
            #[must_use]
            pub fn rate_max(self) -> u32 {
                match self { $(Self::$name => $rate_max,)* }
            }
        }
    };
}

faults! {
    /// A message does not arrive.
    Lost = "lost", 250;
    /// A message takes seconds, sometimes minutes, and so overtakes nothing and is overtaken.
    Late = "late", 250;
    /// A message arrives twice, the second time possibly much later.
    Duplicated = "duplicated", 250;
    /// Two groups of nodes do not reach each other for a while.
    Partition = "partition", 200;
    /// One group of nodes is not heard by the others, and hears them.
    OneWay = "one_way", 200;
    /// A process dies before its commit, after it, between two effects, or at any other time.
    Crash = "crash", 300;
    /// At a crash, a commit in flight is durable though nobody was told, or only its journal is.
    UnsyncedWrites = "unsynced_writes", 1000;
    /// A store turns out to be damaged and is moved aside: all its rows are gone, and known to be.
    LostRows = "lost_rows", 40;
    /// A wall clock jumps by up to an hour, either way.
    WallJump = "wall_jump", 200;
    /// Clocks run faster or slower, by up to one percent.
    Drift = "drift", 100;
    /// A process stops for longer than a lease lasts, and then goes on as if nothing had been.
    Stall = "stall", 300;
    /// A worker reports better numbers than it measured.
    Lie = "lie", 30;
    /// A node runs nothing and reports what it knows of another one's result; as a coordinator it
    /// has results shown to it at once.
    Copy = "copy", 30;
    /// A node dies for good.
    Death = "death", 20;
    /// No blocks are produced for a while.
    ChainStall = "chain_stall", 100;
    /// Finality falls behind the best block.
    FinalityLag = "finality_lag", 150;
    /// A node reads no blocks for a while, or old ones.
    UnevenHeights = "uneven_heights", 200;
    /// A validator loses its permit and gets it back.
    PermitLost = "permit_lost", 150;
    /// Some nodes have no device.
    NoDevice = "no_device", 50;
    /// Content cannot be fetched at first.
    FetchFails = "fetch_fails", 400;
    /// A run ends by a fault of its host.
    RunFails = "run_fails", 150;
    /// A run never starts, and never ends by itself.
    RunHangs = "run_hangs", 60;
    /// A loop waits, for its disk perhaps, for longer than a lease lasts; who keeps its leases goes
    /// on.
    LoopHangs = "loop_hangs", 300;
    /// A GPU falls off the bus, corrupts memory or falls silent, and computes wrongly for a while.
    DeviceFails = "device_fails", 100;
    /// A GPU's memory stays held after a run.
    MemoryHeld = "memory_held", 200;
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = Self::ALL.iter().copied().find(|fault| fault.name() == name);
        known.ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|fault| fault.name()).collect();
            format!("`{name}` is no fault; there are {}", names.join(", "))
        })
    }
}

/// The faults of one history, each with its rate. Those that are not there do not happen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Faults(pub BTreeMap<Fault, u32>);

impl Faults {
    /// A random subset at random rates: some seeds have none, some have all.
    #[must_use]
    pub fn draw(rng: &mut Prng) -> Self {
        let share = u32::try_from(rng.below(101)).unwrap_or(0);
        // What came last is drawn from a source of its own: a seed that does not have it keeps its
        // history.
        let mut apart = rng.apart();
        let mut drawn = BTreeMap::new();
        for fault in Fault::ALL {
            let is_late = *fault >= Fault::LoopHangs;
            let rng = if is_late { &mut apart } else { &mut *rng };
            if rng.happens(share, 100) {
                let most = u64::from(fault.rate_max());
                let rate = rng.spread(most.div_ceil(20), most);
                drawn.insert(*fault, u32::try_from(rate).unwrap_or(1));
            }
        }
        Self(drawn)
    }

    /// How often it happens; zero if not at all.
    #[must_use]
    pub fn rate(&self, fault: Fault) -> u32 {
        self.0.get(&fault).copied().unwrap_or(0)
    }

    /// Whether it can happen.
    #[must_use]
    pub fn has(&self, fault: Fault) -> bool {
        self.0.contains_key(&fault)
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        let all: Vec<String> =
            self.0.iter().map(|(fault, rate)| format!("{fault}={rate}")).collect();
        f.write_str(&all.join(" "))
    }
}
