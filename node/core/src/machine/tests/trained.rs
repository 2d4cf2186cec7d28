//! Claims about recipes for architectures that other miners found.

use super::world::{miner, reference, validator, Fate, World, BLOCK_MS};
use crate::admission::{Brings, Rule};
use crate::funnel::ProjectKind;
use crate::hold::{Doubt, NotResolved, Resolution};
use crate::id::{ContentDigest, SubmissionId};
use crate::machine::trained::Trained;
use crate::policy::Policy;
use crate::reward::fingerprint_tests::{fingerprint, ssm, transformer};
use crate::reward::{Table, SHARES_TOTAL};
use crate::submission::{Submission, SubmissionState};
use crate::unit::BlockNumber;

const LOSS: u64 = 100_000_000_000_000;
const GOOD: Fate = Fate::Scores { nll_nanonats: 4 * LOSS };

fn submit(world: &mut World, number: usize, fate: Fate) -> (SubmissionId, ContentDigest) {
    let content = world.new_content(|_| true);
    (world.submit_content(miner(number), content, fate), content)
}

/// A training for the architecture of another content.
fn submit_recipe(
    world: &mut World,
    number: usize,
    named: ContentDigest,
    fate: Fate,
) -> (SubmissionId, ContentDigest) {
    let content = world.new_content(|_| true);
    let brings =
        Brings { kind: ProjectKind::TrainingForArch, architecture_id: Some(named.to_string()) };
    world.brings.insert(content, brings);
    (world.submit_content(miner(number), content, fate), content)
}

/// Nobody has the architecture yet, and later somebody commits a recipe for it.
fn recipe_before_its_architecture(
    seed: u64,
    nodes: usize,
    policy: Policy,
) -> (World, [SubmissionId; 2], ContentDigest) {
    let mut world = World::with_policy(seed, nodes, 3, policy);
    let (architecture, content) = submit(&mut world, 0, GOOD);
    world.unreachable_contents.insert(content);
    world.run_for(2 * BLOCK_MS);
    let (recipe, _) = submit_recipe(&mut world, 1, content, GOOD);
    (world, [architecture, recipe], content)
}

fn quick(hold_blocks: u64) -> Policy {
    Policy { hold_blocks, ..Policy::quick() }
}

fn everywhere(world: &World, id: SubmissionId, is_so: impl Fn(&SubmissionState) -> bool) -> bool {
    (0..world.hosts.len()).all(|node| world.state(node, id).is_some_and(|state| is_so(&state)))
}

fn waits(state: &SubmissionState) -> bool {
    matches!(state, SubmissionState::Held { doubt: Doubt::NoArchitecture { .. }, .. })
}

fn is_scored(state: &SubmissionState) -> bool {
    matches!(state, SubmissionState::Scored { .. })
}

fn is_refused(state: &SubmissionState) -> bool {
    let SubmissionState::Rejected { rejection } = state else { return false };
    rejection.rule == Rule::ArchitectureUnknown
}

fn submission(world: &World, id: SubmissionId) -> &Submission {
    world.hosts[0].machine().submissions().find(|known| known.id == id).unwrap()
}

#[test]
fn a_recipe_waits_until_its_architecture_is_accepted_and_then_runs_with_it() {
    let (mut world, [architecture, recipe], content) =
        recipe_before_its_architecture(1, 2, quick(100));
    world.run_until(60_000, "it waits", |world| everywhere(world, recipe, waits));
    world.run_for(60_000);
    assert!(everywhere(&world, recipe, waits));
    assert_eq!(world.runs_started(), 0);
    let told = world.state(1, recipe).unwrap().to_string();
    assert!(told.contains(&content.to_string()), "{told}");
    world.unreachable_contents.remove(&content);
    world.run_until(600_000, "it runs", |world| {
        let specs = world.hosts.iter().flat_map(|host| host.containers.values());
        let mut of_recipe = specs.filter(|spec| spec.assignment.submission == recipe);
        of_recipe.any(|spec| {
            let source = spec.architecture.as_ref().expect("it has none of its own");
            source.content == content && source.peers.len() == 1
        })
    });
    world.run_until(600_000, "both are scored", |world| {
        everywhere(world, architecture, is_scored) && everywhere(world, recipe, is_scored)
    });
    let machine = world.hosts[0].machine();
    assert_eq!(machine.trained_by(submission(&world, recipe)), Trained::Of(architecture));
    assert_eq!(machine.trained_by(submission(&world, architecture)), Trained::Here);
}

#[test]
fn a_recipe_whose_time_is_over_is_rejected_until_its_architecture_is_accepted_after_all() {
    let (mut world, [architecture, recipe], content) =
        recipe_before_its_architecture(2, 2, quick(10));
    world.run_until(120_000, "it waits", |world| everywhere(world, recipe, waits));
    world.run_until(120_000, "its time is over", |world| everywhere(world, recipe, is_refused));
    let told = world.state(0, recipe).unwrap().to_string();
    assert!(told.contains("architecture-unknown") && told.contains(&content.to_string()), "{told}");
    world.kill(1);
    world.start(1);
    world.run_for(60_000);
    assert!(everywhere(&world, recipe, is_refused));
    assert_eq!(world.runs_started(), 0);
    // A validator that had been slower says the same in the end as one that had been faster.
    world.unreachable_contents.remove(&content);
    world.run_until(900_000, "both are scored", |world| {
        everywhere(world, architecture, is_scored) && everywhere(world, recipe, is_scored)
    });
}

#[test]
fn what_breaks_a_rule_or_is_itself_a_recipe_is_no_architecture() {
    let mut world = World::new(3, 1, 4);
    let (_, refused) = submit(&mut world, 0, Fate::IsRejected);
    let (known, content) = submit(&mut world, 1, GOOD);
    world.run_for(2 * BLOCK_MS);
    let (other, recipe) = submit_recipe(&mut world, 2, content, GOOD);
    world.run_for(2 * BLOCK_MS);
    let (of_refused, _) = submit_recipe(&mut world, 3, refused, GOOD);
    world.run_until(60_000, "refused", |world| everywhere(world, of_refused, is_refused));
    world.run_until(120_000, "scored", |world| {
        everywhere(world, known, is_scored) && everywhere(world, other, is_scored)
    });
    world.run_for(world.hosts[0].config.policy.recommit_blocks * BLOCK_MS);
    let (of_recipe, _) = submit_recipe(&mut world, 3, recipe, GOOD);
    world.run_until(60_000, "refused too", |world| everywhere(world, of_recipe, is_refused));
    let told = world.state(0, of_recipe).unwrap().to_string();
    assert!(told.contains("brings no architecture"), "{told}");
}

#[test]
fn an_architecture_is_committed_before_its_recipes_and_the_first_of_a_content_is_meant() {
    let mut world = World::with_policy(4, 1, 3, quick(10));
    let content = world.new_content(|_| true);
    let (early, _) = submit_recipe(&mut world, 1, content, GOOD);
    world.run_for(2 * BLOCK_MS);
    let first = world.submit_content(miner(0), content, GOOD);
    world.run_for((world.hosts[0].config.policy.recommit_blocks + 2) * BLOCK_MS);
    let second = world.submit_content(miner(0), content, GOOD);
    world.run_for(2 * BLOCK_MS);
    let (late, _) = submit_recipe(&mut world, 2, content, GOOD);
    world.run_until(300_000, "all are decided", |world| {
        [first, second, late].iter().all(|id| everywhere(world, *id, is_scored))
    });
    let machine = world.hosts[0].machine();
    assert_eq!(machine.trained_by(submission(&world, late)), Trained::Of(first));
    assert!(everywhere(&world, early, is_refused));
}

#[test]
fn nobody_can_admit_what_there_is_nothing_to_train_for_but_a_person_may_reject_it() {
    let (mut world, [_, recipe], content) = recipe_before_its_architecture(5, 1, quick(100));
    world.run_until(60_000, "it waits", |world| everywhere(world, recipe, waits));
    let refused = world.resolve(0, recipe, Resolution::Admit);
    assert_eq!(refused, Err(NotResolved::NoArchitecture));
    let reason = "seen elsewhere".to_owned();
    let rejected = world.resolve(0, recipe, Resolution::Reject { reason }).unwrap();
    assert!(rejected.state.to_string().contains("seen elsewhere"), "{}", rejected.state);
    world.unreachable_contents.remove(&content);
    world.run_for(60_000);
    assert_eq!(world.state(0, recipe), Some(rejected.state));
}

/// The rules of `dev` without audits, and one node.
fn places(seed: u64) -> World {
    let mut policy = Policy::dev();
    policy.agreement.replicas = 1;
    for tier in &mut policy.scoring.funnel.tiers {
        tier.audit_ppm = 0;
    }
    let mut world = World::with_policy(seed, 1, 2, policy);
    world.architectures.insert(reference().content, fingerprint(&transformer(2)));
    world.chain.params.owner_hotkey = Some(validator(0));
    world
}

fn block(world: &World) -> u64 {
    world.hosts[0].machine().view().map_or(0, |view| view.number.0)
}

/// Units of the second tier that were decided.
fn decided(world: &World, id: SubmissionId) -> Vec<u8> {
    let outcomes = world.hosts[0].machine().outcomes().map(|row| row.trial);
    outcomes.filter(|trial| (trial.submission, trial.tier) == (id, 2)).map(|t| t.unit).collect()
}

fn table(world: &World) -> Table {
    world.hosts[0].machine().table(BlockNumber(block(world))).unwrap()
}

#[test]
fn a_recipe_is_paid_for_what_it_adds_to_anothers_architecture_and_owns_no_family() {
    let mut world = places(6);
    let (architecture, found) = submit(&mut world, 0, GOOD);
    world.architectures.insert(found, fingerprint(&ssm(2)));
    // The next window: in one of two submissions only one goes on.
    world.run_until(300_000, "the window closed", |world| block(world) > 22);
    let (recipe, content) =
        submit_recipe(&mut world, 1, found, Fate::Scores { nll_nanonats: 2 * LOSS });
    // Whatever it shows, it trained what it was given.
    world.architectures.insert(content, fingerprint(&transformer(2)));
    world.run_until(3_000_000, "both are paid", |world| {
        let paid = world.hosts[0].machine().points_now();
        [miner(0), miner(1)].iter().all(|hotkey| paid.contains_key(hotkey))
    });
    assert_eq!(decided(&world, recipe), [0, 1]);
    assert_eq!(decided(&world, architecture), [0, 1, 2, 3]);
    let paid = world.hosts[0].machine().points_now();
    assert_eq!(paid[&miner(0)], SHARES_TOTAL / 10 * 6);
    assert_eq!(paid[&miner(1)], SHARES_TOTAL / 10 * 4);
    let table = table(&world);
    let owned = table.families.values().filter(|family| family.owner == Some(miner(0)));
    let [family] = owned.collect::<Vec<_>>()[..] else { panic!("{table:?}") };
    assert!(table.families.values().all(|family| family.owner != Some(miner(1))));
    let trained = family.recipe.as_ref().and_then(|recipe| recipe.priority).unwrap();
    assert_eq!((trained.author, trained.content), (miner(1), content));
    // The gain is over this architecture under the reference trainer, which has the loss 4.
    let quality = family.recipe.as_ref().unwrap().quality;
    assert!(quality.mean_nano > 0, "{quality:?}");
}

#[test]
fn an_architecture_that_did_not_go_on_is_measured_for_the_sake_of_a_recipe_that_did() {
    let mut world = places(7);
    let (architecture, found) = submit(&mut world, 0, GOOD);
    world.architectures.insert(found, fingerprint(&transformer(2)));
    world.run_for(2 * BLOCK_MS);
    let (recipe, _) = submit_recipe(&mut world, 1, found, Fate::Scores { nll_nanonats: 2 * LOSS });
    world.run_until(300_000, "both have a first result", |world| {
        everywhere(world, architecture, is_scored) && everywhere(world, recipe, is_scored)
    });
    // Its miner has gone on to other work.
    world.submit(miner(0), Fate::Scores { nll_nanonats: 9 * LOSS });
    world.run_until(3_000_000, "the recipe is paid", |world| {
        world.hosts[0].machine().points_now().contains_key(&miner(1))
    });
    assert_eq!(decided(&world, architecture), [2, 3], "under the reference trainer only");
    assert_eq!(decided(&world, recipe), [0, 1]);
    let table = table(&world);
    let [family] = table.families.values().collect::<Vec<_>>()[..] else { panic!("{table:?}") };
    assert_eq!(family.owner, None, "it is the reference's family");
    assert_eq!(world.hosts[0].machine().place_in_funnel(&architecture).unwrap().0, 1);
    // A restarted node derives the same.
    world.kill(0);
    world.start(0);
    world.run_until(60_000, "it read a block", |world| world.hosts[0].machine().view().is_some());
    world.run_for(2 * BLOCK_MS);
    assert!(world.hosts[0].machine().points_now().contains_key(&miner(1)));
}
