//! Whatever happens in whatever order. After every turn the harness itself checks that the store has what the root
//! knows and that nothing is left to do.

use model::access::TenantPath;
use model::instance::InstanceState;
use model::job::{JobState, OnPartition};
use model::node::Scheduling;
use model::view::JobView;
use proptest::prelude::*;
use root_core::Input;

use crate::support::{Document, World};

#[derive(Debug, Clone)]
enum Step {
    Submit(usize, u64, u32, bool),
    Put(usize, u64, u32, u8),
    Delete(usize),
    Cut(u32),
    Back(u32),
    Forget(u32),
    Cordon(u32, bool),
    Grow(u32, u64),
    StopsSlowly(u32, bool),
    Deliver,
    Pass(u64),
    Jump(u64),
    Restart,
}

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

fn any_step() -> impl Strategy<Value = Step> {
    let job = 0..NAMES.len();
    let cluster = 1..4u32;
    prop_oneof![
        3 => (job.clone(), 1..60u64, 0..4u32, prop::bool::ANY)
            .prop_map(|(j, m, r, moves)| Step::Submit(j, m, r, moves)),
        3 => (job.clone(), 1..60u64, 0..4u32, 1..3u8).prop_map(|(j, m, r, v)| Step::Put(j, m, r, v)),
        2 => job.prop_map(Step::Delete),
        2 => cluster.clone().prop_map(Step::Cut),
        3 => cluster.clone().prop_map(Step::Back),
        1 => cluster.clone().prop_map(Step::Forget),
        1 => (cluster.clone(), prop::bool::ANY).prop_map(|(c, on)| Step::Cordon(c, on)),
        1 => (cluster.clone(), 1..30u64).prop_map(|(c, mb)| Step::Grow(c, mb)),
        1 => (cluster, prop::bool::ANY).prop_map(|(c, on)| Step::StopsSlowly(c, on)),
        4 => Just(Step::Deliver),
        3 => (1..90u64).prop_map(Step::Pass),
        1 => (1..40u64).prop_map(Step::Jump),
        1 => Just(Step::Restart),
    ]
}

fn perform(world: &mut World, step: &Step) {
    match step {
        Step::Submit(job, memory, replicas, moves) => {
            let on_partition = if *moves {
                OnPartition::Move
            } else {
                OnPartition::Stay
            };
            world.submit(&[Document {
                on_partition,
                ..Document::new(NAMES[*job], *memory, *replicas)
            }]);
        }
        Step::Put(job, memory, replicas, version) => {
            world.put(&Document {
                version: *version,
                ..Document::new(NAMES[*job], *memory, *replicas)
            });
        }
        Step::Delete(job) => {
            world.delete(NAMES[*job]);
        }
        Step::Cut(cluster) => world.cut(*cluster),
        Step::Back(cluster) => world.back(*cluster),
        Step::Forget(cluster) => {
            let key = format!("c{cluster}");
            world.ask(|request| Input::Forget { request, key });
        }
        Step::Cordon(cluster, on) => {
            let scheduling = if *on {
                Scheduling::Cordoned
            } else {
                Scheduling::Open
            };
            world.schedule_on(*cluster, scheduling);
        }
        Step::Grow(cluster, memory) => world.clusters.get_mut(cluster).unwrap().grow(*memory),
        Step::StopsSlowly(cluster, slowly) => {
            world.clusters.get_mut(cluster).unwrap().never_stops = *slowly;
        }
        Step::Deliver => world.deliver(),
        Step::Pass(seconds) => world.pass(*seconds),
        Step::Jump(seconds) => {
            world.jump(*seconds);
            world.turn([]);
        }
        Step::Restart => world.restart(),
    }
}

fn jobs(world: &World) -> Vec<JobView> {
    let page = root_core::Page {
        after: None,
        limit: 1_000,
    };
    world.state.jobs(&TenantPath::root(), &page, None)
}

fn invariant_every_slot_is_somewhere_or_says_why_not(world: &World) {
    for view in jobs(world).iter().filter(|view| !view.job.is_deleted()) {
        for slot in view.job.slots() {
            let mut rows = view.instances.iter().filter(|row| row.index == slot.index);
            assert!(rows.clone().next().is_some(), "{slot} is nowhere");
            // The end of the former assignment is not confirmed yet.
            let records = world.slots();
            let ends = records
                .get(&slot)
                .is_some_and(|record| record.holdings.iter().any(|holding| holding.leaving));
            assert!(
                rows.all(|row| ends
                    || row.cluster.is_some()
                    || matches!(&row.state, InstanceState::NotDeployed { reason, .. }
                        if !reason.message.is_empty())),
                "{slot}: {:?}",
                view.instances
            );
        }
    }
}

fn invariant_a_reachable_cluster_is_the_only_holder(world: &World) {
    for (slot, record) in world.slots() {
        let mut seen = std::collections::BTreeSet::new();
        let twice = record
            .holdings
            .iter()
            .any(|holding| !seen.insert(holding.cluster));
        assert!(!twice, "{slot} has two assignments at one cluster");
    }
}

fn invariant_in_the_end_each_slot_is_held_once(world: &World) {
    for view in jobs(world) {
        if view.job.is_deleted() {
            assert_eq!(view.state, JobState::Terminated, "{:?}", view.instances);
        }
        let wanted = view.job.slots().count();
        assert_eq!(view.instances.len(), wanted, "{:?}", view.instances);
        for row in &view.instances {
            let settled = matches!(
                row.state,
                InstanceState::Running(_) | InstanceState::NotDeployed { .. }
            );
            assert!(settled, "{row:?}");
        }
    }
    let held: usize = world
        .clusters
        .values()
        .map(|cluster| cluster.held.set().len())
        .sum();
    let records = world.slots();
    let holdings: usize = records.values().map(|record| record.holdings.len()).sum();
    assert_eq!(held, holdings);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn every_slot_is_explained_and_everything_settles(
        steps in prop::collection::vec(any_step(), 0..60),
    ) {
        let mut world = World::of(&[100, 60, 30]);
        for step in &steps {
            perform(&mut world, step);
            invariant_every_slot_is_somewhere_or_says_why_not(&world);
            invariant_a_reachable_cluster_is_the_only_holder(&world);
        }
        for cluster in 1..4 {
            perform(&mut world, &Step::StopsSlowly(cluster, false));
            perform(&mut world, &Step::Cordon(cluster, false));
            world.back(cluster);
        }
        world.pass(180);
        invariant_in_the_end_each_slot_is_held_once(&world);
    }
}
