//! What is looked at, and why it matters, for whoever reads a finding at three in the morning.

use node_core::preflight::CheckId;
use serde::{Serialize, Serializer};

macro_rules! topics {
    ($($topic:ident = $name:literal, $why:literal;)*) => {
        /// What a finding is about. The names are public: `--json` has them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Topic {
            $($topic,)*
            /// What a running node watches, too.
            OnChain(CheckId),
        }

        impl Topic {
            #[cfg(test)]
            const OF_HOST: &'static [Self] = &[$(Self::$topic,)*];

            /// Its public name.
            pub(super) fn name(self) -> &'static str {
                match self {
                    $(Self::$topic => $name,)*
                    Self::OnChain(id) => id.name(),
                }
            }

            /// What happens to whoever ignores it.
            pub(super) fn why(self) -> &'static str {
                match self {
                    $(Self::$topic => $why,)*
                    Self::OnChain(id) => why_on_chain(id),
                }
            }
        }
    };
}

topics! {
    Config = "config", "what is set wrong is wrong in everything that follows";
    DataDir = "data_dir", "it holds what this node owes others and what it signed";
    Journal = "journal", "it keeps the node from signing two vectors for one epoch";
    Disk = "disk", "a full disk ends every commit, and with it leases and weights";
    Sync = "sync", "a lease is acknowledged when it is on the disk: this is its price";
    Kernel = "kernel", "it is the wall around miners' code";
    Policy = "policy", "validators with other rules come to other weights";
    Gates = "gates", "a gate that refuses what ships with the node refuses everybody";
    Key = "key", "whoever reads the hotkey sets weights in your name";
    Coldkey = "coldkey",
        "whoever has it has the stake: it belongs on no host that runs others' code";
    Endpoint = "endpoint", "what the chain says comes from there, and vectors go there";
    Shapes = "shapes", "a runtime that is misread gives wrong weights or none";
    Clock = "clock", "leases, certificates and epochs are told by it";
    Certificate = "certificate", "peers refuse a key that the chain does not confirm";
    Timelock = "timelock", "a commit that cannot be opened is no vector";
    Dataset = "dataset", "results are compared with those of others on the same text";
    Engine = "engine", "miners' code runs in its containers and nowhere else";
    Socket = "socket", "whoever reaches the engine's socket is root on this host";
    ContainerRuntime = "containers", "a hole in it leads from a container to your keys";
    Image = "image", "evaluators with another image measure something else";
    Devices = "devices", "without a usable one this node evaluates nothing";
    Gpu = "gpu", "a GPU that fails is left out until it is well";
    Probe = "probe", "a device that cannot do this loses every run that it is given";
    Reach = "reach", "validators that cannot call this node take over its part of the work";
    Node = "node", "what a running node says of itself";
}

fn why_on_chain(id: CheckId) -> &'static str {
    match id {
        CheckId::Signer => "two signers of one hotkey undo each other's vectors",
        CheckId::Subnet => "on another subnet no vector of this node counts",
        CheckId::Registered => "without a uid the chain takes no vector of this node",
        CheckId::Permit => "without a permit the chain refuses this node's vectors",
        CheckId::Stake => "below the threshold the chain refuses this node's vectors",
        CheckId::LastUpdate => "without new vectors emission is being lost",
        CheckId::CommitMode => "the chain refuses a vector in another form than the subnet's",
        CheckId::Consensus => "another consensus makes something else of the same weights",
        CheckId::Mechanism => "the chain refuses vectors for a mechanism that is not there",
        CheckId::VersionKey => "a raised key says that the subnet's rules have changed",
        CheckId::Length => "the chain refuses a vector that is too short",
        CheckId::RateLimit => "the chain refuses a vector that comes too soon after another",
        CheckId::Commits | CheckId::Reveals => "a commit that is not opened is no vector",
        CheckId::Beacon => "a commit opens only with a round of it",
        CheckId::Prune => "with the uid goes everything that this node does on the subnet",
        CheckId::Finality => "nothing is signed for long on what is not final",
        CheckId::SafeMode => "in safe mode the chain refuses every vector",
        CheckId::Runtime => "weights in a form that cannot be signed cannot be set",
    }
}

impl Serialize for Topic {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

#[cfg(test)]
impl Topic {
    /// Everything that a finding can be about. Reveals and finality are known to a running node
    /// alone.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let is_told = |id: &&CheckId| !matches!(id, CheckId::Reveals | CheckId::Finality);
        let on_chain = CheckId::ALL.iter().filter(is_told).map(|id| Self::OnChain(*id));
        Self::OF_HOST.iter().copied().chain(on_chain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_topic_has_a_name_and_a_reason_of_its_own_in_one_line() {
        let all: Vec<Topic> = Topic::all().collect();
        for (at, topic) in all.iter().enumerate() {
            let why = topic.why();
            let mut others = all.iter().skip(at + 1);
            let is_another = |other: &Topic| other.why() != why && other.name() != topic.name();
            assert!(others.all(is_another), "{topic:?}: {why}");
            assert!((10..=80).contains(&why.len()), "{topic:?}: {why}");
        }
    }
}
