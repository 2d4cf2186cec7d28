//! Why each check matters, for whoever reads a finding at three in the morning.

/// A check's id, and what happens to whoever ignores it.
const WHY: &[(&str, &str)] = &[
    ("config", "what is set wrong is wrong in everything that follows"),
    ("data_dir", "it holds what this node owes others and what it signed"),
    ("journal", "it keeps the node from signing two vectors for one epoch"),
    ("disk", "a full disk ends every commit, and with it leases and weights"),
    ("sync", "a lease is acknowledged when it is on the disk: this is its price"),
    ("policy", "validators with other rules come to other weights"),
    ("gates", "a gate that refuses what ships with the node refuses everybody"),
    ("key", "whoever reads the hotkey sets weights in your name"),
    ("coldkey", "whoever has it has the stake: it belongs on no host that runs others' code"),
    ("endpoint", "what the chain says comes from there, and vectors go there"),
    ("shapes", "a runtime that is misread gives wrong weights or none"),
    ("clock", "leases, certificates and epochs are told by it"),
    ("subnet", "without a uid, a permit and stake no vector counts"),
    ("signer", "two signers of one hotkey undo each other's vectors"),
    ("certificate", "peers refuse a key that the chain does not confirm"),
    ("timelock", "a commit that cannot be opened is no vector"),
    ("dataset", "results are compared with those of others on the same text"),
    ("engine", "miners' code runs in its containers and nowhere else"),
    ("socket", "whoever reaches the engine's socket is root on this host"),
    ("runtime", "a hole in it leads from a container to your keys"),
    ("kernel", "it is the wall around miners' code"),
    ("image", "evaluators with another image measure something else"),
    ("devices", "without a usable one this node evaluates nothing"),
    ("gpu", "a GPU that fails is left out until it is well"),
    ("probe", "a device that cannot do this loses every run that it is given"),
    ("reach", "validators that cannot call this node take over its part of the work"),
    ("node", "what a running node says of itself"),
];

/// What depends on a check; of one that the chain's terms name, what they are for.
pub(super) fn why(id: &str) -> &'static str {
    let known = WHY.iter().find(|(known, _)| *known == id);
    known.map_or("vectors of this node count only as the subnet's terms allow", |(_, why)| why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_check_has_one_reason_in_one_line() {
        for (at, (id, why)) in WHY.iter().enumerate() {
            assert!(WHY.iter().skip(at + 1).all(|(other, _)| other != id), "{id} twice");
            assert!((10..=80).contains(&why.len()), "{id}: {why}");
        }
    }
}
