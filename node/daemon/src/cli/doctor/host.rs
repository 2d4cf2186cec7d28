//! What this machine has to have: configuration, data directory, journal, key, data set, engine.

use std::io;

use node_chain::timelock::TimelockError;
use node_chain::KeyFileWarning;
use node_core::id::{Digest, Hotkey};
use node_core::inventory::DeviceKind;
use node_core::policy::Policy;
use node_core::preflight;
use node_evaluator::gates::{GateFault, Gates};
use node_runner::{Engine, EngineConfig, EngineError, EngineInfo, ImageError};
use node_store::{read_journal, JournalFault, JournalRead, JOURNAL_FILE};
use rustix::fs::{access, Access};

use super::probe::Bench;
use super::{advisories, exposure, storage, Finding, Level, Topic, UNFINISHED};
use crate::config::{Config, ConfigErrors, Settings};
use crate::dataset::{open_for, DatasetFault};
use crate::failure::Failure;
use crate::hotkey;
use crate::run::gpus_without_use;
use crate::status::{JournalStatus, GATE_NEXT_STEP};

/// What to do about storage of the engine that an operator has to know of: either setting mends
/// either, and what was loaded before is not found any more.
const STORAGE: &str = "in /etc/docker/daemon.json set `\"storage-driver\": \"overlay2\"`, and \
                       `\"containerd-snapshotter\": false` in `features`; then `systemctl restart \
                       docker`, and load the evaluator image anew";

/// The only finding where there is no configuration.
pub(super) fn no_config(errors: &ConfigErrors) -> Finding {
    let next = "`assay config show --origin` shows what holds; set what is missing: the other \
                checks need a whole configuration";
    Finding::of_error(Topic::Config, errors, next)
}

pub(super) fn config(settings: &Settings, config: &Config) -> Finding {
    let file = settings
        .file()
        .map_or_else(|| "no file".to_owned(), |file| format!("`{}`", file.display()));
    let text = format!(
        "subnet {}, {}, weights {}; {file}",
        config.chain.netuid,
        match config.chain.endpoints.len() {
            1 => "one endpoint".to_owned(),
            count => format!("{count} endpoints"),
        },
        crate::run::mode_name(&config.weights.mode),
    );
    Finding::ok(Topic::Config, text)
}

pub(super) fn data_dir(config: &Config) -> Vec<Finding> {
    let path = config.data_dir.path();
    let is_directory = std::fs::metadata(path).map(|found| found.is_dir());
    let may_write = access(path, Access::WRITE_OK).is_ok();
    vec![judge_data_dir(&path.display().to_string(), is_directory, may_write)]
}

fn judge_data_dir(shown: &str, is_directory: io::Result<bool>, may_write: bool) -> Finding {
    const TOPIC: Topic = Topic::DataDir;
    let next = format!(
        "`ls -ld {shown}` shows whose it is; `data_dir` must be a directory that the node's user \
         can write: run this as that user, `runuser -u assay -- assay doctor`"
    );
    match is_directory {
        Ok(false) => Finding::fail(TOPIC, format!("`{shown}` is no directory"), next),
        Ok(true) if !may_write => {
            Finding::fail(TOPIC, format!("`{shown}` cannot be written"), next)
        }
        Ok(true) => Finding::ok(TOPIC, format!("`{shown}`")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Finding::ok(TOPIC, format!("`{shown}` is made at the first start"))
        }
        Err(error) => Finding::fail(TOPIC, format!("cannot look at `{shown}`: {error}"), next),
    }
}

pub(super) fn journal(config: &Config) -> Finding {
    let path = config.data_dir.path();
    let is_claimed = path.join("identity.json").exists();
    match read_journal(path) {
        Ok(_) if !path.join(JOURNAL_FILE).exists() => {
            let text = if is_claimed {
                "none yet: nothing was signed from this directory"
            } else {
                "none yet: this directory was never used"
            };
            Finding::ok(Topic::Journal, text)
        }
        Ok(read) => {
            let bytes = std::fs::metadata(path.join(JOURNAL_FILE)).map_or(0, |file| file.len());
            journal_finding(&read, JournalStatus::new(bytes))
        }
        Err(fault) => journal_fault(&fault),
    }
}

fn journal_fault(fault: &JournalFault) -> Finding {
    Finding::of_error(Topic::Journal, fault, fault.next_step())
}

/// The rules of the challenge, which all validators of a subnet share.
pub(super) fn policy(config: &Config) -> (Finding, Option<Policy>) {
    match config.challenge.nas.rules() {
        Ok(policy) => {
            let text = format!("`{}`, digest {}", policy.name, policy.digest());
            (Finding::ok(Topic::Policy, text), Some(policy))
        }
        Err(error) => {
            let next = "mend the file; `assay policy show` shows what there is to change";
            (Finding::of_error(Topic::Policy, &error, next), None)
        }
    }
}

/// Tries the gates of the policy on what ships with the node.
pub(super) fn gates(policy: &Policy) -> Vec<Finding> {
    judge_gates(Gates::check(policy).faults())
}

fn judge_gates(faults: &[GateFault]) -> Vec<Finding> {
    if faults.is_empty() {
        let text = "those before the container refuse no reference";
        return vec![Finding::ok(Topic::Gates, text)];
    }
    let told = |fault: &GateFault| Finding::fail(Topic::Gates, fault.to_string(), GATE_NEXT_STEP);
    faults.iter().map(told).collect()
}

fn journal_finding(read: &JournalRead, status: JournalStatus) -> Finding {
    const TOPIC: Topic = Topic::Journal;
    let text = format!("{} entries, all of them whole", read.entries.len());
    let level = match status.level() {
        preflight::Level::Ok if read.torn_tail.is_some() => {
            let text = format!("{text}, and an unfinished last line");
            let next = "nothing, if a node runs; else the next start repairs it";
            return Finding::warn(TOPIC, text, next);
        }
        preflight::Level::Ok => return Finding::ok(TOPIC, text),
        preflight::Level::Warn => Level::Warn,
        preflight::Level::Alarm => Level::Fail,
    };
    let next = "`systemctl restart assay`, or however the node is started; docs/journal.md says \
                what else makes it smaller";
    Finding::at(TOPIC, level, format!("{text}; {}", status.text()), next)
}

/// The key file, and the hotkey if it can be told without a password.
pub(super) fn key(config: &Config) -> (Vec<Finding>, Option<Hotkey>) {
    let file = match hotkey::read(&config.wallet) {
        Ok(file) => file,
        Err(failure) => return (vec![failed(&failure)], None),
    };
    let facts = file.facts();
    let path = facts.path.display();
    let mut found = Vec::new();
    let mut warnings = facts.warnings.clone();
    let hotkey = match facts.encryption {
        None => match file.open(None) {
            Ok(opened) => {
                let hotkey = opened.facts().hotkey;
                found.push(Finding::ok(Topic::Key, format!("{hotkey}, `{path}`")));
                // An opened file tells more.
                warnings = opened.facts().warnings.clone();
                Some(hotkey)
            }
            Err(error) => {
                found.push(failed(&hotkey::failure(error)));
                facts.named
            }
        },
        Some(format) => {
            let who = facts
                .named
                .map_or_else(|| "of a hotkey not known".to_owned(), |named| named.to_string());
            let text = format!("{who}, `{path}`, encrypted with {format}; not opened");
            found.push(Finding::ok(Topic::Key, text));
            facts.named
        }
    };
    found.extend(warnings.iter().map(warned));
    found.extend(exposure::hotkey_owner(config, &facts.path, facts.owner));
    (found, hotkey)
}

fn warned(warning: &KeyFileWarning) -> Finding {
    Finding::warn(Topic::Key, warning.to_string(), hotkey::warning_hint(warning))
}

/// A failure as a finding; its hint is the next step.
fn failed(failure: &Failure) -> Finding {
    let (text, hint) = failure.in_a_line();
    let next = hint.unwrap_or_else(|| "`assay keys show --check` says more".to_owned());
    Finding::fail(Topic::Key, text, next)
}

pub(super) async fn timelock() -> Vec<Finding> {
    let tested = tokio::task::spawn_blocking(node_chain::timelock::self_test).await;
    vec![match tested {
        Ok(tested) => judge_timelock(tested),
        Err(error) => Finding::of_error(Topic::Timelock, &error, UNFINISHED),
    }]
}

fn judge_timelock(tested: Result<(), TimelockError>) -> Finding {
    match tested {
        Ok(()) => Finding::ok(Topic::Timelock, "this build makes and opens what the chain does"),
        Err(error) => {
            let next = "do not set weights on a subnet that conceals them; use another build";
            Finding::of_error(Topic::Timelock, &error, next)
        }
    }
}

/// Without rules there is nothing to hold it against.
pub(super) async fn dataset(config: &Config, policy: Option<&Policy>) -> Vec<Finding> {
    let Some(policy) = policy else { return Vec::new() };
    let path = config.challenge.nas.dataset.clone();
    let shown = path.display().to_string();
    let policy = policy.clone();
    let opened = tokio::task::spawn_blocking(move || {
        open_for(&path, &policy).map(|dataset| dataset.digest().to_string())
    });
    vec![match opened.await {
        Ok(opened) => judge_dataset(&shown, opened),
        Err(error) => Finding::of_error(Topic::Dataset, &error, UNFINISHED),
    }]
}

/// - `opened`: its digest.
fn judge_dataset(shown: &str, opened: Result<String, DatasetFault>) -> Finding {
    match opened {
        Ok(digest) => Finding::ok(Topic::Dataset, format!("`{shown}`, digest {digest}")),
        Err(fault) => Finding::of_error(Topic::Dataset, &fault, fault.next_step()),
    }
}

/// The engine and what is in it; then what a container of a CPU slot's needs of both.
pub(super) async fn engine(config: &Config, policy: Option<&Policy>) -> (Vec<Finding>, Bench) {
    let settings = EngineConfig {
        host: config.engine.host.clone(),
        runtime: config.engine.runtime.clone(),
        // No node has this name: a node's containers are never taken for a doctor's.
        node: "doctor".to_owned(),
    };
    let engine = match Engine::connect(settings).await {
        Ok(engine) => engine,
        Err(error) => return (vec![no_engine(&error)], Bench::NoEngine),
    };
    let info = engine.info();
    let mut found = judge_engine(info);
    found.extend(exposure::socket(&info.endpoint));
    found.extend(advisories::judge(&info.components, &info.runtime));
    let toolkit = advisories::toolkit().await;
    found.extend(toolkit.iter().flat_map(|toolkit| advisories::judge_one(toolkit)));
    found.extend(info.root.as_deref().and_then(|root| storage::engine(config, root)));
    let tag = &config.images.evaluator;
    let image = engine.image(tag).await;
    found.push(judge_image(tag, &image));
    if let (Ok(Some(image)), Some(policy)) = (&image, policy) {
        // Who could not tell of it told of the image itself a moment ago; the next doctor does.
        let is_for_cpus = engine.is_for_cpus(tag, image).await.unwrap_or(false);
        found.extend(judge_image_for(tag, is_for_cpus, policy.run.device));
    }
    let bench = match image {
        Ok(Some(image)) => Bench::Ready { engine, image },
        Ok(None) | Err(_) => Bench::NoImage,
    };
    (found, bench)
}

fn no_engine(error: &EngineError) -> Finding {
    Finding::of_error(Topic::Engine, error, error.hint())
}

/// What it is, and what works worse than it could. An engine without a limit that runs need does
/// not get here. AppArmor is one more wall, which not every kind of host has: no warning.
fn judge_engine(info: &EngineInfo) -> Vec<Finding> {
    let EngineInfo { version, endpoint, runtime, cgroup_version, .. } = info;
    let app_armor = if info.app_armor { "AppArmor" } else { "no AppArmor" };
    let text = format!(
        "version {version} at {endpoint}, runtime {runtime}, cgroup v{cgroup_version}, {app_armor}"
    );
    let warnings = info.warnings.iter().map(|text| Finding::warn(Topic::Engine, text, STORAGE));
    std::iter::once(Finding::ok(Topic::Engine, text)).chain(warnings).collect()
}

fn judge_image(tag: &str, looked_up: &Result<Option<Digest>, ImageError>) -> Finding {
    match looked_up {
        Ok(Some(image)) => Finding::ok(Topic::Image, format!("`{tag}`, {image}")),
        Ok(None) => {
            let text = format!("`{tag}` is not on this host");
            Finding::fail(Topic::Image, text, Engine::IMAGE_HINT)
        }
        Err(error) => Finding::of_error(Topic::Image, error, error.hint()),
    }
}

fn judge_image_for(tag: &str, is_for_cpus: bool, needed: DeviceKind) -> Option<Finding> {
    let why = gpus_without_use(tag, is_for_cpus, needed)?;
    Some(Finding::fail(Topic::Image, why, Engine::GPU_IMAGE_HINT))
}

#[cfg(test)]
pub(super) mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::PathBuf;

    use node_core::admission::{Rejection, Rule};
    use node_evaluator::dataset::{OpenError, Split};
    use node_evaluator::gates::Gate;
    use node_evaluator::meter::{NotMeasurable, PlanError};
    use node_runner::EngineFault;
    use node_store::TornTail;

    use super::super::texts::Operator;
    use super::super::told;
    use super::*;

    const SEED: &str = "0xe5be9a5092b81bca64be81d212e7f2f9eba183bb7a90954f7b76361f6edb5c0a";
    const ALICE: &str = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";
    const BOB: &str = "5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty";
    const HOTKEY: &str = ".bittensor/wallets/w/hotkeys/h";

    /// Everything that these checks can say.
    pub(in super::super) fn findings() -> Vec<Finding> {
        [
            configs(),
            data_dirs(),
            journals(),
            policies(),
            gates_tried(),
            keys(),
            timelocks(),
            datasets(),
            engines(),
            images(),
        ]
        .concat()
    }

    fn configs() -> Vec<Finding> {
        let operator = Operator::new();
        let of_file = || {
            let settings = operator.settings();
            super::config(&settings, &settings.config().unwrap())
        };
        let one = of_file();
        operator.append("[weights]\nmode = \"dry_run\"\n");
        let dry = of_file();
        let bare = operator.settings_without_file(&[]);
        let flags = ["chain.netuid=3", "chain.endpoints=ws://127.0.0.1:1,ws://127.0.0.1:2"];
        let flagged = operator.settings_without_file(&flags);
        operator.here(vec![
            one,
            dry,
            super::config(&flagged, &flagged.config().unwrap()),
            no_config(&bare.config().unwrap_err()),
        ])
    }

    fn data_dirs() -> Vec<Finding> {
        let judged = |is_directory: Result<bool, io::ErrorKind>, may_write| {
            judge_data_dir("/var/lib/assay", is_directory.map_err(io::Error::from), may_write)
        };
        vec![
            judged(Ok(true), true),
            judged(Ok(true), false),
            judged(Ok(false), true),
            judged(Err(io::ErrorKind::NotFound), false),
            judged(Err(io::ErrorKind::PermissionDenied), false),
        ]
    }

    fn not_json() -> serde_json::Error {
        serde_json::from_str::<u8>("x").unwrap_err()
    }

    fn journals() -> Vec<Finding> {
        let operator = Operator::new();
        let unused = journal(&operator.config());
        operator.write("data/identity.json", "{}");
        let claimed = journal(&operator.config());
        let judged = |torn_tail: Option<TornTail>, mib: u64| {
            let read = JournalRead { entries: Vec::new(), torn_tail };
            journal_finding(&read, JournalStatus::new(mib << 20))
        };
        let full = node_store::JOURNAL_BYTES_MAX >> 20;
        let torn = TornTail { line: 3, bytes: 12 };
        let path = || PathBuf::from("/var/lib/assay/signed.journal");
        let source = io::Error::from(io::ErrorKind::PermissionDenied);
        let faults = [
            JournalFault::Io { path: path(), source },
            JournalFault::Missing { path: path(), expected_bytes: 700 },
            JournalFault::Gone { path: path() },
            JournalFault::Short { path: path(), expected_bytes: 700, got_bytes: 300 },
            JournalFault::Damaged { path: path(), line: 3 },
            JournalFault::Foreign {
                path: path(),
                line: 3,
                step: "soared".to_owned(),
                source: not_json(),
            },
            JournalFault::TooLarge { path: path(), got_bytes: 2 << 30 },
        ];
        let mut found = vec![
            unused,
            claimed,
            judged(None, 1),
            judged(Some(torn), 1),
            judged(None, full * 6 / 10),
            judged(None, full * 95 / 100),
        ];
        found.extend(faults.iter().map(journal_fault));
        found
    }

    fn policies() -> Vec<Finding> {
        let operator = Operator::new();
        let (good, policy) = super::policy(&operator.config());
        let digest = policy.unwrap().digest().to_string();
        operator.write("policy.toml", "name = \"mine\"\n[run]\ndevices = 4\n");
        operator.append("policy_file = \"policy.toml\"\n");
        let (bad, none) = super::policy(&operator.config());
        assert!(none.is_none());
        operator.here(vec![good.replaced(&digest, "DIGEST"), bad])
    }

    fn gates_tried() -> Vec<Finding> {
        let found = Rejection::new(Rule::ArchiveFormat, "the bytes are no archive");
        let fault = |gate| GateFault { gate, reference: "ssm", found: found.clone() };
        [judge_gates(&[]), judge_gates(&[fault(Gate::Source), fault(Gate::Contract)])].concat()
    }

    /// A wallet with this hotkey's file, which only its owner can read.
    fn operator_with_key(content: &str) -> Operator {
        let operator = Operator::new();
        let file = operator.write(HOTKEY, content);
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
        operator
    }

    fn keys() -> Vec<Finding> {
        let told = |operator: &Operator| operator.here(key(&operator.config()).0);
        let open = format!("{{\"secretSeed\": \"{SEED}\", \"ss58Address\": \"{ALICE}\"}}");
        let public = |address: &str| format!("{{\"ss58Address\": \"{address}\"}}");
        let good = operator_with_key(&open);
        let mut found = told(&good);
        // Everything that there is to warn of.
        let file = good.path(HOTKEY);
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o644)).unwrap();
        good.write(".bittensor/wallets/other/coldkey", "secret words");
        good.write(".bittensor/wallets/w/hotkeys/hpub.txt", &public(BOB));
        found.extend(told(&good));
        let sealed = operator_with_key("$ANSIBLE_VAULT;1.1;AES256\nabc\n");
        found.extend(told(&sealed));
        sealed.write(".bittensor/wallets/w/hotkeys/hpub.txt", &public(ALICE));
        found.extend(told(&sealed));
        let fails = |error| failed(&hotkey::failure(error));
        found.extend(hotkey::tests::all().into_iter().map(fails));
        found
    }

    fn timelocks() -> Vec<Finding> {
        let finding = "a ciphertext of the official client does not open";
        vec![judge_timelock(Ok(())), judge_timelock(Err(TimelockError::SelfTest { finding }))]
    }

    fn datasets() -> Vec<Finding> {
        let path = || PathBuf::from("/srv/dataset/manifest.json");
        let digest = |byte| Digest([byte; 32]);
        let source = io::Error::from(io::ErrorKind::NotFound);
        let unopened = [
            OpenError::Read { path: path(), source },
            OpenError::Manifest { path: path(), source: not_json() },
            OpenError::Format { got: "tokens/9".to_owned() },
            OpenError::ShardName { file: "../x".to_owned() },
            OpenError::Altered { path: path(), expected: digest(1), got: digest(2) },
        ];
        let unmeasurable = [
            PlanError::BatchTooSmall { sequences: 1, tokens: 1 },
            PlanError::BatchTooLarge { bytes: 1 << 40 },
            PlanError::TooManyBatches { batches: 1 << 40 },
            PlanError::TooLittleText { split: Split::Train, needed: 9_000, got: 10 },
        ];
        let unmeasurable = unmeasurable
            .map(|error| DatasetFault::NotMeasurable(NotMeasurable { tier: 1, unit: 0, error }));
        let faults = unopened.map(DatasetFault::Open).into_iter().chain(unmeasurable);
        let opened = std::iter::once(Ok("DIGEST".to_owned())).chain(faults.map(Err));
        opened.map(|opened| judge_dataset("/srv/dataset", opened)).collect()
    }

    fn info(app_armor: bool, warnings: &[&str]) -> EngineInfo {
        EngineInfo {
            endpoint: "unix:///var/run/docker.sock".to_owned(),
            version: "27.5.1".to_owned(),
            components: Vec::new(),
            api: "1.47".to_owned(),
            cgroup_version: "2".to_owned(),
            storage_driver: "overlay2".to_owned(),
            runtime: "runc".to_owned(),
            app_armor,
            root: None,
            warnings: warnings.iter().map(|text| (*text).to_owned()).collect(),
        }
    }

    fn engines() -> Vec<Finding> {
        let endpoint = || "unix:///var/run/docker.sock".to_owned();
        let errors = [
            EngineError::UnsupportedEndpoint { endpoint: "ssh://host".to_owned() },
            EngineError::NoSocket { tried: endpoint() },
            EngineError::PermissionDenied { endpoint: endpoint() },
            EngineError::NotAnswering { endpoint: endpoint(), source: EngineFault::Silent },
            EngineError::LacksLimits { endpoint: endpoint(), missing: "a swap limit".to_owned() },
            EngineError::UnknownRuntime {
                endpoint: endpoint(),
                runtime: "runsc".to_owned(),
                known: "runc".to_owned(),
            },
        ];
        let mut found = judge_engine(&info(true, &[]));
        found.extend(judge_engine(&info(false, &["storage driver `vfs` copies images"])));
        found.extend(errors.iter().map(no_engine));
        found
    }

    fn images() -> Vec<Finding> {
        let tag = || "assay-evaluator:cpu".to_owned();
        let answered =
            EngineFault::Answered { status: 400, message: "invalid reference".to_owned() };
        let errors = [
            ImageError::Engine { tag: tag(), source: answered },
            ImageError::Engine { tag: tag(), source: EngineFault::Silent },
            ImageError::UnreadableId { tag: tag(), id: "md5:00".to_owned() },
        ];
        let looked_up = [Ok(Some(Digest([7; 32]))), Ok(None)];
        let looked_up = looked_up.into_iter().chain(errors.map(Err));
        let looked_up = looked_up.map(|looked_up| judge_image(&tag(), &looked_up));
        looked_up.chain(judge_image_for(&tag(), true, DeviceKind::Gpu)).collect()
    }

    #[test]
    fn an_image_for_cpus_is_no_good_for_rules_on_gpus_alone() {
        let judged = |is_for_cpus, needed| judge_image_for("tag", is_for_cpus, needed).is_some();
        assert!(judged(true, DeviceKind::Gpu) && judged(true, DeviceKind::MigSlice));
        assert!(!judged(true, DeviceKind::CpuSlot) && !judged(false, DeviceKind::Gpu));
    }

    #[test]
    fn what_an_opened_key_tells_beside_its_file_is_told() {
        let told = told(&keys());
        assert!(told.contains(&format!("names {BOB}, but the hotkey is {ALICE}")), "{told}");
        assert!(!told.contains(SEED.trim_start_matches("0x")), "{told}");
    }

    #[test]
    fn a_directory_that_is_not_there_yet_or_is_a_file_is_told_apart() {
        let operator = Operator::new();
        let found = |operator: &Operator| told(&data_dir(&operator.config()));
        assert!(found(&operator).contains("is made at the first start"));
        operator.write("data", "");
        assert!(found(&operator).contains("is no directory"));
        std::fs::remove_file(operator.path("data")).unwrap();
        std::fs::create_dir(operator.path("data")).unwrap();
        assert!(found(&operator).starts_with("Ok: "), "{}", found(&operator));
    }
}
