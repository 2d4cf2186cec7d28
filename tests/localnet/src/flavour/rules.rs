//! Which numbers have names of their own, as seen on the real chain.
//!
//! A field's type name says it where the runtime wrote an alias; names of fields, items and
//! parameters say it for the rest.

use super::types::Newtype;

/// Names of newtypes as they stand in type names. The longer of two comes first.
const TYPE_NAMES: &[(&str, Newtype)] = &[
    ("NetUidStorageIndex", Newtype::NetUidStorageIndex),
    ("NetUid", Newtype::NetUid),
    ("MechId", Newtype::MechId),
    ("TaoBalance", Newtype::TaoBalance),
    ("AlphaBalance", Newtype::AlphaBalance),
];

/// Fields of what the metagraph's runtime calls answer.
const ANSWER_FIELDS: &[(Newtype, &[&str])] = &[
    (Newtype::NetUid, &["netuid", "registrations", "validator_permits"]),
    (
        Newtype::TaoBalance,
        &[
            "burn",
            "min_burn",
            "max_burn",
            "tao_in",
            "tao_in_emission",
            "pending_root_emission",
            "tao_emission",
            "tao_stake",
            "total_stake",
            "tao_dividends_per_hotkey",
        ],
    ),
    (
        Newtype::AlphaBalance,
        &[
            "alpha_in",
            "alpha_out",
            "alpha_in_emission",
            "alpha_out_emission",
            "pending_alpha_emission",
            "alpha_stake",
            "alpha_dividends_per_hotkey",
            "emission",
            "emission_history",
            "stake",
            "locked",
        ],
    ),
    (
        Newtype::PerU16,
        &["incentive", "incentives", "consensus", "trust", "validator_trust", "dividends"],
    ),
];

/// Items whose first key is the storage index, not the subnet.
const BY_STORAGE_INDEX: &[&str] = &[
    "Weights",
    "Bonds",
    "LastUpdate",
    "Incentive",
    "WeightCommits",
    "TimelockedWeightCommits",
    "CRV3WeightCommits",
    "CRV3WeightCommitsV2",
    "ConsensusByMechanism",
];

/// Values of storage items.
const VALUES: &[(Newtype, &[&str])] = &[
    (
        Newtype::TaoBalance,
        &[
            "Burn",
            "MinBurn",
            "MaxBurn",
            "RAORecycledForRegistration",
            "SubnetTAO",
            "SubnetTaoInEmission",
            "TotalStake",
        ],
    ),
    (
        Newtype::AlphaBalance,
        &[
            "AlphaDividendsPerSubnet",
            "Emission",
            "PendingOwnerCut",
            "PendingRootAlphaDivs",
            "PendingServerEmission",
            "PendingValidatorEmission",
            "SubnetAlphaIn",
            "SubnetAlphaInEmission",
            "SubnetAlphaOut",
            "SubnetAlphaOutEmission",
            "TotalHotkeyAlpha",
            "TotalHotkeyAlphaLastEpoch",
        ],
    ),
    (
        Newtype::PerU16,
        &["Consensus", "ConsensusByMechanism", "Dividends", "Incentive", "ValidatorTrust"],
    ),
    (Newtype::MechId, &["MaxMechanismCount", "MechanismCountCurrent"]),
];

fn listed(table: &[(Newtype, &[&str])], name: &str) -> Option<Newtype> {
    table.iter().find(|(_, names)| names.contains(&name)).map(|(newtype, _)| *newtype)
}

pub(super) fn of_field(path: &str, name: Option<&str>, type_name: Option<&str>) -> Option<Newtype> {
    if !path.starts_with("node_subtensor_runtime::") {
        return None;
    }
    let by_type = |text: &str| {
        TYPE_NAMES.iter().find(|(name, _)| text.contains(name)).map(|(_, newtype)| *newtype)
    };
    type_name.and_then(by_type).or_else(|| {
        let name = name?;
        if path.contains("::metagraph::") {
            listed(ANSWER_FIELDS, name)
        } else {
            of_parameter(name)
        }
    })
}

/// Parameters of runtime calls, and fields of calls and events.
pub(super) fn of_parameter(name: &str) -> Option<Newtype> {
    match name {
        "netuid" | "netuids" => Some(Newtype::NetUid),
        "mecid" | "subid" => Some(Newtype::MechId),
        _ => None,
    }
}

/// What a runtime call answers, where that is a number.
pub(super) fn of_answer(method: &str) -> Option<Newtype> {
    match method {
        "get_subnet_to_prune" => Some(Newtype::NetUid),
        _ => None,
    }
}

pub(super) fn of_key(pallet: &str, item: &str) -> Option<Newtype> {
    match pallet {
        "SubtensorModule" if BY_STORAGE_INDEX.contains(&item) => Some(Newtype::NetUidStorageIndex),
        "SubtensorModule" | "Commitments" => Some(Newtype::NetUid),
        _ => None,
    }
}

pub(super) fn of_value(pallet: &str, item: &str) -> Option<Newtype> {
    match (pallet, item) {
        ("SubtensorModule", item) => listed(VALUES, item),
        ("Commitments", "TimelockedIndex") => Some(Newtype::NetUid),
        _ => None,
    }
}
