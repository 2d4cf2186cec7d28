#![allow(clippy::unwrap_used, reason = "a broken fact should stop the test at once")]

use chain_metadata::{api, call, error, event, extrinsic as frame, storage as items, Shape};
use scale_info::{TypeDefArray, TypeDefComposite, TypeDefSequence, TypeDefTuple, TypeDefVariant};
use subxt::ext::codec::{Compact, Encode as _};
use subxt::ext::frame_metadata::v16::{StorageEntryModifier, StorageEntryType, StorageHasher};

use super::compare::{describe, is_empty, Direction, Walk};
use super::world::{field, variant, Flavour, World};
use super::*;

const TEMPO: &str = "SubtensorModule.Tempo";

fn world() -> World {
    World::new(Flavour::Primitive)
}

fn verdict(report: &ShapeReport, kind: ItemKind, name: &str) -> Verdict {
    let row = report.rows.iter().find(|row| row.kind == kind && row.name == name);
    row.unwrap_or_else(|| panic!("no row {name}")).verdict.clone()
}

fn storage(report: &ShapeReport, name: &str) -> Verdict {
    verdict(report, ItemKind::Storage, name)
}

fn called(report: &ShapeReport, call: &call::Call) -> Verdict {
    verdict(report, ItemKind::Call, &format!("{}.{}", call.pallet, call.name))
}

fn lost(verdict: &Verdict) -> Vec<Capability> {
    verdict.lost().to_vec()
}

fn assert_all_can(report: &ShapeReport) {
    for capability in Capability::ALL {
        let fatal: Vec<_> = report.fatal_for(*capability).collect();
        assert!(report.can(*capability), "{capability:?}: {fatal:?}");
    }
}

#[test]
fn a_runtime_made_of_the_descriptors_is_ok_in_both_flavours() {
    for flavour in [Flavour::Primitive, Flavour::Newtype] {
        let report = World::new(flavour).report();
        assert_eq!(report.problems(), Vec::<&ShapeRow>::new(), "{flavour:?}");
        assert_eq!(*report.worst(), Verdict::Ok);
        assert_all_can(&report);
    }
}

#[test]
fn every_descriptor_has_its_row() {
    let report = world().report();
    let described = items::ALL.len()
        + call::ALL.len()
        + api::ALL.len()
        + event::ALL.len()
        + error::ALL.len()
        + chain_metadata::constant::ALL.len()
        + frame::EXTENSIONS.len();
    // Version, address, signature, and the extension that is not known and holds nothing.
    assert_eq!(report.rows.len(), described + 4);
}

#[test]
fn a_removed_item_is_fatal_only_for_what_needs_it() {
    let mut world = world();
    let pallet = world.pallet("SubtensorModule").storage.as_mut().unwrap();
    let gone = ["Tempo", "SubnetEpochConsensus", "TimelockedWeightCommits", "Dividends"];
    pallet.entries.retain(|entry| !gone.contains(&entry.name.as_str()));
    let report = world.report();
    assert_eq!(lost(&storage(&report, TEMPO)), [Capability::Reading]);
    let consensus = storage(&report, "SubtensorModule.SubnetEpochConsensus");
    let instead = Verdict::Fallback { why: "absent".to_owned(), instead: "always Yuma" };
    assert_eq!(consensus, instead);
    let commits = storage(&report, "SubtensorModule.TimelockedWeightCommits");
    assert_eq!(lost(&commits), [Capability::TimelockedWeights]);
    assert!(!report.can_read() && !report.can_commit_timelocked());
    assert!(report.can_set_plain() && report.can_commit_hash() && report.can_serve());
    assert_eq!(*report.worst(), storage(&report, TEMPO));
}

#[test]
fn a_removed_pallet_takes_its_items_with_it() {
    let mut world = world();
    world.metadata.pallets.retain(|pallet| pallet.name != "Drand" && pallet.name != "SafeMode");
    let report = world.report();
    let round = storage(&report, "Drand.LastStoredRound");
    assert_eq!(round.to_string(), "no pallet `Drand`; no timelocked weights");
    assert_eq!(storage(&report, "SafeMode.EnteredUntil").name(), "fallback");
    assert!(!report.can_commit_timelocked() && report.can_set_plain() && report.can_read());
}

#[test]
fn a_widened_number_is_read_and_a_widened_share_is_not() {
    let mut world = world();
    let wide = world.number(32);
    world.set_value(&items::TEMPO, wide);
    let shares = world.add("", TypeDefSequence::new(wide.into()));
    world.set_value(&items::VALIDATOR_TRUST, shares);
    let report = world.report();
    let why = "`u16` is `u32` now; a value that needs the new bits is refused".to_owned();
    assert_eq!(storage(&report, TEMPO), Verdict::Compatible { why });
    let trust = storage(&report, "SubtensorModule.ValidatorTrust");
    assert_eq!(trust.name(), "fallback", "nothing depends on it");
    assert!(trust.to_string().contains("would mean something else"), "{trust}");
    assert_all_can(&report);
}

#[test]
fn a_narrowed_number_is_read_silently_and_never_written() {
    let mut world = world();
    let narrow = world.number(8);
    world.set_value(&items::TEMPO, narrow);
    world.args(&call::SET_COMMITMENT)[0].ty = narrow.into();
    let report = world.report();
    assert_eq!(storage(&report, TEMPO), Verdict::Ok);
    let commitment = called(&report, &call::SET_COMMITMENT);
    assert_eq!(commitment.to_string(), "netuid: `u16` expected, `u8` found; no serving");
    assert!(!report.can_serve() && report.can_set_plain());
}

#[test]
fn reordered_arguments_are_written_by_name() {
    let mut world = world();
    world.args(&call::SET_MECHANISM_WEIGHTS).reverse();
    let report = world.report();
    let why = "the arguments are in another order; they are written by name".to_owned();
    assert_eq!(called(&report, &call::SET_MECHANISM_WEIGHTS), Verdict::Compatible { why });
    assert!(report.check_call(&call::SET_MECHANISM_WEIGHTS).is_ok());
    assert_all_can(&report);
}

#[test]
fn a_renamed_argument_makes_the_call_unusable_and_its_twin_takes_over() {
    let mut world = world();
    world.args(&call::SET_MECHANISM_WEIGHTS)[1].name = Some("mechanism".to_owned());
    let report = world.report();
    let renamed = called(&report, &call::SET_MECHANISM_WEIGHTS);
    assert_eq!(renamed.name(), "fallback");
    assert!(renamed.to_string().starts_with("no argument `mecid`, a new argument `mechanism`"));
    assert!(report.can_set_plain());
    let refused = report.check_call(&call::SET_MECHANISM_WEIGHTS).unwrap_err();
    assert!(matches!(refused, EncodeError::Shape { .. }), "{refused}");
    assert!(report.check_call(&call::SET_WEIGHTS).is_ok());

    let calls = world.pallet("SubtensorModule").calls.as_ref().unwrap().ty.id;
    world.variants(calls).retain(|call| call.name != "set_weights");
    let report = world.report();
    for call in [&call::SET_WEIGHTS, &call::SET_MECHANISM_WEIGHTS] {
        assert_eq!(lost(&called(&report, call)), [Capability::PlainWeights], "{}", call.name);
    }
    assert!(!report.can_set_plain() && report.can_commit_timelocked() && report.can_read());
    let refused = report.check_call(&call::SET_WEIGHTS).unwrap_err();
    assert!(matches!(refused, EncodeError::Missing { .. }), "{refused}");
}

#[test]
fn a_new_argument_makes_a_call_unusable() {
    let mut world = world();
    let number = world.number(64);
    for call in [&call::COMMIT_TIMELOCKED_WEIGHTS, &call::COMMIT_TIMELOCKED_MECHANISM_WEIGHTS] {
        world.args(call).push(field(Some("deadline"), number));
    }
    let report = world.report();
    let refused = called(&report, &call::COMMIT_TIMELOCKED_WEIGHTS);
    assert_eq!(refused.to_string(), "a new argument `deadline`; no timelocked weights");
    assert!(!report.can_commit_timelocked() && report.can_set_plain());
}

#[test]
fn weights_of_another_scale_are_never_signed() {
    let mut world = world();
    let wide = world.number(32);
    let wide = world.add("", TypeDefSequence::new(wide.into()));
    world.args(&call::SET_WEIGHTS)[2].ty = wide.into();
    world.args(&call::SET_MECHANISM_WEIGHTS)[3].ty = wide.into();
    let report = world.report();
    assert!(!report.can_set_plain());
    let refused = called(&report, &call::SET_WEIGHTS);
    assert!(refused.to_string().starts_with("weights[]: a share of the largest `u16` expected"));
}

#[test]
fn a_new_variant_is_told_and_a_lost_one_is_fatal() {
    let modes = |names: &[&str]| {
        let mut world = world();
        let numbered = (0u8..).zip(names.iter().copied());
        let variants = numbered.map(|(index, name)| variant(name, index, Vec::new()));
        let modes = world.add("Consensus", TypeDefVariant::new(variants));
        world.set_value(&items::SUBNET_EPOCH_CONSENSUS, modes);
        let report = world.report();
        (storage(&report, "SubtensorModule.SubnetEpochConsensus"), report)
    };
    let (more, report) = modes(&["Yuma", "Null", "Median"]);
    let why = "also `Median`, not known here".to_owned();
    assert_eq!(more, Verdict::Compatible { why });
    assert_all_can(&report);
    let (renumbered, _) = modes(&["Null", "Yuma"]);
    assert_eq!(renumbered, Verdict::Ok, "numbers are looked up");
    let (renamed, report) = modes(&["Yuma2", "Null"]);
    assert_eq!(lost(&renamed), Capability::WEIGHTS);
    assert!(report.can_read() && report.can_serve());
}

#[test]
fn a_variant_that_carries_something_else_is_another_shape() {
    let mut world = world();
    let byte = world.number(8);
    let id = world.metadata.types.types.iter().position(|found| {
        let subxt_def = &found.ty.type_def;
        matches!(subxt_def, scale_info::TypeDef::Variant(found)
            if found.variants.iter().any(|variant| variant.name == "TimelockEncrypted"))
    });
    for found in world.variants(u32::try_from(id.unwrap()).unwrap()) {
        if found.name == "ResetBondsFlag" {
            found.fields.push(field(None, byte));
        }
    }
    let report = world.report();
    let broken: Vec<_> = report.problems();
    assert_eq!(broken.len(), 1, "the first of two equal types: {broken:?}");
    assert!(broken[0].verdict.to_string().contains("ResetBondsFlag: it carries something now"));
}

#[test]
fn newtypes_of_every_kind_and_depth_are_taken_off() {
    let mut world = world();
    let mut id = world.number(16);
    for _ in 0..8 {
        id = world.wrap("Wrapper", id);
        id = world.add("", TypeDefTuple::new_portable([id.into()]));
    }
    let compact = world.add("", scale_info::TypeDefCompact::new(id.into()));
    world.set_value(&items::TEMPO, id);
    assert_eq!(storage(&world.report(), TEMPO).name(), "FATAL", "sixteen wrappers are too many");
    let number = world.number(16);
    let wrapped = world.wrap("NetUid", number);
    let wrapped = world.wrap("Outer", wrapped);
    world.set_value(&items::TEMPO, wrapped);
    let report = world.report();
    assert_eq!(storage(&report, TEMPO), Verdict::Ok);
    let row = report.rows.iter().find(|row| row.name == TEMPO).unwrap();
    assert_eq!(row.found, "Outer(NetUid(u16))");
    let compact_number = world.add("", scale_info::TypeDefCompact::new(wrapped.into()));
    world.set_value(&items::TEMPO, compact_number);
    assert_eq!(storage(&world.report(), TEMPO), Verdict::Ok);
    assert!(!is_empty(&world.metadata.types, compact));
}

#[test]
fn a_struct_is_found_inside_wrappers_and_may_have_more_fields() {
    let mut world = world();
    let number = world.number(32);
    let text = world.shape(&Shape::Text);
    let fields = [field(Some("free"), text), field(Some("nonce"), number)];
    let account = world.add("AccountInfo", TypeDefComposite::new(fields));
    let wrapped = world.wrap("Wrapped", account);
    world.set_value(&items::ACCOUNT_INFO, wrapped);
    assert_eq!(storage(&world.report(), "System.Account"), Verdict::Ok);

    let other = world.add("AccountInfo", TypeDefComposite::new([field(Some("index"), number)]));
    world.set_value(&items::ACCOUNT_INFO, other);
    let report = world.report();
    assert_eq!(lost(&storage(&report, "System.Account")), [Capability::Reading]);
    assert!(report.can_set_plain(), "what is signed is still right");
}

#[test]
fn keys_are_hashed_as_the_runtime_says_but_not_more_or_fewer_of_them() {
    let mut world = world();
    match &mut world.entry(&items::UIDS).ty {
        StorageEntryType::Map { hashers, .. } => hashers[1] = StorageHasher::Twox64Concat,
        StorageEntryType::Plain(_) => panic!("a map"),
    }
    let why = "key 2 is hashed by Twox64Concat now".to_owned();
    assert_eq!(storage(&world.report(), "SubtensorModule.Uids"), Verdict::Compatible { why });

    let value = world.number(16);
    world.entry(&items::UIDS).ty = StorageEntryType::Plain(value.into());
    let uids = storage(&world.report(), "SubtensorModule.Uids");
    assert_eq!(uids.to_string(), "2 keys expected, 0 found; no reading");
}

#[test]
fn an_item_whose_unwritten_value_changed_means_something_else() {
    let mut world = world();
    world.entry(&items::UIDS).modifier = StorageEntryModifier::Default;
    world.entry(&items::KEYS).modifier = StorageEntryModifier::Optional;
    let report = world.report();
    for name in ["SubtensorModule.Uids", "SubtensorModule.Keys"] {
        let verdict = storage(&report, name);
        assert_eq!(lost(&verdict), [Capability::Reading], "{name}");
        assert!(verdict.to_string().starts_with("an unwritten key"), "{verdict}");
    }
}

#[test]
fn runtime_apis_fall_back_when_they_change() {
    let mut world = world();
    let wide = world.number(32);
    let apis = &mut world.metadata.apis;
    let info = apis.iter_mut().find(|api| api.name == "SubnetInfoRuntimeApi").unwrap();
    let next = info.methods.iter_mut().find(|api| api.name == "get_next_epoch_start_block");
    // Arguments are written without looking: the same number in more bytes is another argument.
    next.unwrap().inputs[0].ty = wide.into();
    let report = world.report();
    let next = "SubnetInfoRuntimeApi.get_next_epoch_start_block";
    assert_eq!(verdict(&report, ItemKind::Api, next).name(), "fallback");
    assert!(!report.is_usable(ItemKind::Api, next));
    assert!(report.is_usable(ItemKind::Api, "SubnetInfoRuntimeApi.get_selective_metagraph"));
    assert!(!report.is_usable(ItemKind::Api, "SubnetInfoRuntimeApi.no_such_method"));
    assert_all_can(&report);
}

#[test]
fn a_metagraph_whose_columns_moved_is_not_asked() {
    let mut world = world();
    for found in &mut world.metadata.types.types {
        let is_metagraph =
            found.ty.path.segments.last().is_some_and(|name| name == "SelectiveMetagraph");
        if let (true, scale_info::TypeDef::Composite(columns)) =
            (is_metagraph, &mut found.ty.type_def)
        {
            columns.fields.remove(1);
        }
    }
    let report = world.report();
    let name = "SubnetInfoRuntimeApi.get_selective_metagraph";
    let moved = verdict(&report, ItemKind::Api, name);
    assert_eq!(
        moved.to_string(),
        "column 7 is `tempo` now, where it was `block`; \
         instead: the same facts, item by item from storage"
    );
    assert_all_can(&report);
}

#[test]
fn an_unknown_extension_that_holds_something_ends_all_signing() {
    let mut world = world();
    let nothing = world.add("PhantomData", TypeDefComposite::new([]));
    let none = world.add("", TypeDefArray::new(0, nothing.into()));
    world.extend("Harmless", nothing, none);
    assert_all_can(&world.report());

    let number = world.number(32);
    world.extend("AuthorizeAccount", number, nothing);
    let report = world.report();
    for capability in Capability::SIGNING {
        assert!(!report.can(*capability), "{capability:?}");
    }
    assert!(report.can_read());
    let name = "AuthorizeAccount";
    let unknown = verdict(&report, ItemKind::Extension, name);
    assert!(unknown.to_string().starts_with("unknown here, and it holds u32, signed nothing"));
    for call in call::ALL {
        let refused = report.check_call(call).unwrap_err();
        assert!(refused.to_string().contains("`AuthorizeAccount`"), "{refused}");
    }
}

#[test]
fn an_extension_of_another_set_does_not_matter() {
    let mut world = world();
    let number = world.number(32);
    world.extend("AuthorizeAccount", number, number);
    let sets = &mut world.metadata.extrinsic.transaction_extensions_by_version;
    let mut set = sets.get(&0).unwrap().clone();
    let newest = set.pop().unwrap();
    sets.insert(0, set);
    sets.insert(1, vec![newest]);
    let report = world.report();
    assert_all_can(&report);
    assert!(report.rows.iter().all(|row| row.name != "AuthorizeAccount"));
}

#[test]
fn what_our_signer_writes_around_a_call_must_be_there() {
    for gone in ["CheckNonce", "CheckMortality", "CheckGenesis"] {
        let mut world = world();
        let frame = &mut world.metadata.extrinsic.transaction_extensions;
        frame.iter_mut().find(|found| found.identifier == gone).unwrap().identifier = "X".into();
        let report = world.report();
        assert!(!report.can_set_plain() && !report.can_serve() && report.can_read(), "{gone}");
    }
    let mut world = world();
    world.metadata.extrinsic.versions = vec![5];
    assert!(!world.report().can_set_plain());
    world.metadata.extrinsic.versions = vec![4];
    assert!(world.report().can_set_plain());
    world.metadata.extrinsic.transaction_extensions_by_version.clear();
    assert!(!world.report().can_set_plain());
}

#[test]
fn a_nonce_that_is_not_compact_is_not_ours() {
    let mut world = world();
    let number = world.number(32);
    let plain = world.wrap("CheckNonce", number);
    let frame = &mut world.metadata.extrinsic.transaction_extensions;
    frame.iter_mut().find(|found| found.identifier == "CheckNonce").unwrap().ty = plain.into();
    assert!(!world.report().can_set_plain());
}

#[test]
fn an_event_may_gain_fields_and_must_not_lose_any() {
    let mut world = world();
    let number = world.number(64);
    let events = world.pallet("SubtensorModule").event.as_ref().unwrap().ty.id;
    for found in world.variants(events) {
        match found.name.as_str() {
            "WeightsSet" => found.fields.push(field(None, number)),
            "WeightsCommitted" => found.fields.truncate(2),
            _ => {}
        }
    }
    let report = world.report();
    let event = |name: &str| verdict(&report, ItemKind::Event, name);
    assert_eq!(event("SubtensorModule.WeightsSet"), Verdict::Ok);
    assert_eq!(event("SubtensorModule.WeightsCommitted").name(), "fallback");
    let system = world.pallet("System").event.as_ref().unwrap().ty.id;
    world.variants(system).retain(|event| event.name != "ExtrinsicFailed");
    assert!(!world.report().can_read());
}

#[test]
fn a_missing_error_name_is_no_loss() {
    let mut world = world();
    let errors = world.pallet("SubtensorModule").error.as_ref().unwrap().ty.id;
    world.variants(errors).clear();
    let report = world.report();
    let gone = verdict(&report, ItemKind::Error, "SubtensorModule.SettingWeightsTooFast");
    assert_eq!(gone.name(), "fallback");
    assert_all_can(&report);
}

#[test]
fn types_are_described_in_a_few_words() {
    let mut world = world();
    let number = world.number(16);
    let pair = world.add("", TypeDefTuple::new_portable([number.into(), number.into()]));
    let pairs = world.add("", TypeDefSequence::new(pair.into()));
    let bounded = world.wrap("BoundedVec", pairs);
    let types = &world.metadata.types;
    assert_eq!(describe(types, bounded), "BoundedVec(Vec<(u16, u16)>)");
    assert_eq!(describe(types, u32::MAX), "?");
    let mut walk = Walk::new(types, Direction::Read);
    let missing = walk.compare(&Shape::Bool, u32::MAX).unwrap_err();
    assert_eq!(missing.0, "its type is not in the metadata");
    let shape = Shape::Sequence(&Shape::Tuple(&[Shape::Unsigned(16), Shape::Share(16)]));
    assert!(walk.compare(&shape, bounded).is_ok());
    assert_eq!(walk.into_note(), None);
}

#[test]
fn a_file_may_be_raw_hexadecimal_or_a_nodes_answer() {
    let bytes = world().bytes();
    let expected = shapes_in_file(&bytes).unwrap();
    let opaque = bytes.encode();
    let answered = Some(bytes.clone()).encode();
    let hex = format!("0x{}\n", hex::encode(&bytes));
    let json =
        format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":\"0x{}\"}}", hex::encode(&answered));
    let quoted = format!("\"0x{}\"", hex::encode(&opaque));
    for file in [&opaque[..], &answered, hex.as_bytes(), json.as_bytes(), quoted.as_bytes()] {
        assert_eq!(shapes_in_file(file).unwrap(), expected);
    }
}

#[test]
fn what_is_no_metadata_is_refused_with_the_reason() {
    let refused = |file: &[u8]| shapes_in_file(file).unwrap_err().to_string();
    assert!(refused(b"").contains("does not begin with `meta`"));
    assert!(refused(b"0xdeadbeef").contains("does not begin with `meta`"));
    assert!(refused(&[0xff, 0xfe]).contains("does not begin with `meta`"));
    assert!(refused(b"{\"result\":null}").contains("has no `result`"));
    assert!(refused(b"{\"error\":{\"code\":1,\"message\":\"no\\u0007\"}}").ends_with("answer: no"));
    assert!(refused(b"{]").contains("neither metadata"));
    let old = [&b"meta"[..], &[13, 0, 0, 0]].concat();
    let old = refused(&old);
    assert!(old.contains("cannot decode") || old.contains("version 13"), "{old}");
    assert!(refused(b"meta\x63").contains("cannot decode"));
    let whole = world().bytes();
    let cut = refused(&whole[..whole.len() / 2]);
    assert!(cut.starts_with("cannot decode") && !cut.contains('\n'), "one line: {cut}");
    let long = vec![b'0'; 64 << 20];
    assert!(refused(&long).contains("more than metadata can have"));
    let mut tail = world().bytes();
    tail.push(0);
    assert!(refused(&tail).contains("1 bytes are left over"));
    let short = [&[0xfe, 0xff, 0xff, 0xff][..], b"meta"].concat();
    assert!(refused(&short).contains("announced"));
}

#[test]
fn metadata_that_contradicts_itself_is_refused_before_it_is_used() {
    let contradictory = |change: &dyn Fn(&mut World)| {
        let mut world = world();
        change(&mut world);
        let refused = world.refused();
        assert!(matches!(refused, MetadataError::Contradictory { .. }), "{refused}");
        refused.to_string()
    };
    // A type that contains itself would never end.
    let endless = contradictory(&|world| {
        let id = world.wrap("Endless", 0);
        if let scale_info::TypeDef::Composite(found) =
            &mut world.metadata.types.types[id as usize].ty.type_def
        {
            found.fields[0].ty = id.into();
        }
    });
    assert!(endless.contains("contains itself"), "{endless}");
    let missing = contradictory(&|world| {
        world.add("", TypeDefSequence::new(9_999_999.into()));
    });
    assert!(missing.contains("is made of type 9999999"), "{missing}");
    contradictory(&|world| world.metadata.types.types[3].id = 77);
    contradictory(&|world| {
        let sets = &mut world.metadata.extrinsic.transaction_extensions_by_version;
        sets.insert(7, vec![Compact(9_999)]);
    });
    // Each type twice the one before: sixty of them would be more parts than anyone can count.
    contradictory(&|world| {
        let mut id = 0;
        for _ in 0..60 {
            let both = [field(None, id), field(None, id)];
            id = world.add("Double", TypeDefComposite::new(both));
        }
    });
    contradictory(&|world| {
        let mut id = 0;
        for _ in 0..100_000 {
            id = world.wrap("Deep", id);
        }
    });
}

#[test]
fn reports_name_verdicts_and_losses() {
    let lost = vec![Capability::PlainWeights, Capability::Serving];
    let fatal = Verdict::Fatal { why: "gone".to_owned(), lost };
    assert_eq!(fatal.to_string(), "gone; no plain weights, no serving");
    let fallback = Verdict::Fallback { why: "gone".to_owned(), instead: "always Yuma" };
    assert_eq!(fallback.to_string(), "gone; instead: always Yuma");
    assert_eq!(Verdict::Ok.to_string(), "");
    let empty = ShapeReport { spec: None, rows: Vec::new() };
    assert_eq!(*empty.worst(), Verdict::Ok);
}

#[test]
fn the_call_that_is_signed_is_the_one_that_can_be() {
    let weights = || crate::calls::WeightsCall {
        netuid: node_core::id::Netuid(3),
        mechanism: 0,
        vector: &[(node_core::id::Uid(1), u16::MAX)],
        version_key: 0,
    };
    let chosen = |world: &World| {
        let metadata = decode_metadata(&world.bytes()).unwrap();
        let runtime = crate::runtime::Runtime::new(BlockHash([9; 32]), (425, 1), metadata);
        crate::calls::weights_call(&runtime, &weights()).map(|call| call.name())
    };
    let mut world = world();
    assert_eq!(chosen(&world).unwrap(), "set_mechanism_weights");
    world.args(&call::SET_MECHANISM_WEIGHTS)[1].name = Some("mechanism".to_owned());
    assert_eq!(chosen(&world).unwrap(), "set_weights");
    world.args(&call::SET_WEIGHTS)[1].name = Some("uids".to_owned());
    assert!(matches!(chosen(&world), Err(EncodeError::Missing { .. })));
}
