//! What operators type wrong, on a machine with nothing but the node: each is told what and why,
//! and what to do next, with the exit code that is documented.

#![allow(clippy::unwrap_used, reason = "a broken fact should stop the test at once")]

#[path = "support/mistake.rs"]
mod mistake;

use std::path::PathBuf;

use mistake::{Ground, Needs};

const SEED: &str = "0xe5be9a5092b81bca64be81d212e7f2f9eba183bb7a90954f7b76361f6edb5c0a";
const ALICE: &str = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";

/// Cases that there are at least: a table that is not read tells nothing.
const CASES_MIN: usize = 100;

const CONFIG: &str = "\
data_dir = \"data\"
chain.netuid = 3
chain.endpoints = [\"ws://127.0.0.1:1\"]
wallet.name = \"w\"
wallet.hotkey = \"h\"
peer.listen = \"127.0.0.1:0\"
admin.listen = \"127.0.0.1:0\"
engine.host = \"unix://$DIR/no.sock\"
devices.gpus = \"off\"
challenge.nas.policy = \"quick\"
challenge.nas.dataset = \"set\"
";

#[test]
fn what_is_typed_wrong_is_told_with_its_reason_and_the_next_step() {
    let key = format!("{{\"secretSeed\": \"{SEED}\", \"ss58Address\": \"{ALICE}\"}}");
    let ground = Ground {
        assay: PathBuf::from(env!("CARGO_BIN_EXE_assay")),
        config: CONFIG.to_owned(),
        key: Some((".bittensor/wallets/w/hotkeys/h", key)),
        variables: Vec::new(),
    };
    let cases = mistake::all();
    let here: Vec<_> = cases.iter().filter(|case| case.needs == Needs::Nothing).collect();
    assert!(here.len() >= CASES_MIN, "only {} cases", here.len());
    let wrong: Vec<String> = here.into_iter().filter_map(|case| ground.judge(case)).collect();
    assert!(wrong.is_empty(), "{} of them:\n\n{}", wrong.len(), wrong.join("\n\n"));
}
