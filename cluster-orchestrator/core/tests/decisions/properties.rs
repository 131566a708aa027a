//! Whatever happens in whatever order. After every turn the harness itself checks that the store has what the cluster
//! knows and that nothing is left to do.

use cluster_core::Input;
use model::access::TenantPath;
use model::instance::InstanceState;
use model::job::JobState;
use model::node::Scheduling;
use model::view::JobView;
use proptest::prelude::*;

use crate::support::{Document, Site};

#[derive(Debug, Clone)]
enum Step {
    Submit(usize, u64, u32),
    Put(usize, u64, u32, u8),
    Delete(usize),
    Cut(u32),
    Back(u32),
    Forget(u32),
    Cordon(u32, bool),
    StopsSlowly(u32, bool),
    Deliver,
    Pass(u64),
    Jump(u64),
    Restart,
}

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

fn any_step() -> impl Strategy<Value = Step> {
    let job = 0..NAMES.len();
    let worker = 1..4u32;
    prop_oneof![
        3 => (job.clone(), 1..60u64, 0..4u32).prop_map(|(j, m, r)| Step::Submit(j, m, r)),
        3 => (job.clone(), 1..60u64, 0..4u32, 1..3u8).prop_map(|(j, m, r, v)| Step::Put(j, m, r, v)),
        2 => job.prop_map(Step::Delete),
        2 => worker.clone().prop_map(Step::Cut),
        3 => worker.clone().prop_map(Step::Back),
        1 => worker.clone().prop_map(Step::Forget),
        1 => (worker.clone(), prop::bool::ANY).prop_map(|(w, on)| Step::Cordon(w, on)),
        1 => (worker, prop::bool::ANY).prop_map(|(w, on)| Step::StopsSlowly(w, on)),
        4 => Just(Step::Deliver),
        3 => (1..20u64).prop_map(Step::Pass),
        1 => (1..40u64).prop_map(Step::Jump),
        1 => Just(Step::Restart),
    ]
}

fn perform(site: &mut Site, step: &Step) {
    match step {
        Step::Submit(job, memory, replicas) => {
            site.submit(&[Document::new(NAMES[*job], *memory, *replicas)]);
        }
        Step::Put(job, memory, replicas, version) => {
            site.put(&Document {
                version: *version,
                ..Document::new(NAMES[*job], *memory, *replicas)
            });
        }
        Step::Delete(job) => {
            site.delete(NAMES[*job]);
        }
        Step::Cut(worker) => site.cut(*worker),
        Step::Back(worker) => back(site, *worker),
        Step::Forget(worker) => {
            let key = format!("w{worker}");
            site.ask(|request| Input::Forget { request, key });
        }
        Step::Cordon(worker, true) => site.schedule_on(*worker, Scheduling::Cordoned),
        Step::Cordon(worker, false) => site.schedule_on(*worker, Scheduling::Open),
        Step::StopsSlowly(worker, slowly) => {
            site.workers.get_mut(worker).unwrap().never_stops = *slowly;
        }
        Step::Deliver => site.deliver(),
        Step::Pass(seconds) => site.pass(*seconds),
        Step::Jump(seconds) => {
            site.jump(*seconds);
            site.turn([]);
        }
        Step::Restart => site.restart(),
    }
}

/// One that was forgotten meanwhile has to register again.
fn back(site: &mut Site, worker: u32) {
    if site.state.node(&format!("w{worker}")).is_none() {
        let saved = Some(site.workers[&worker].id);
        site.register(worker, saved);
    }
    site.back(worker);
}

fn jobs(site: &Site) -> Vec<JobView> {
    let page = cluster_core::Page {
        after: None,
        limit: 1_000,
    };
    site.state.jobs(site.now, &TenantPath::root(), &page, None)
}

fn invariant_nothing_is_reserved_twice(site: &Site) {
    for (node, (allocatable, reserved)) in site.ledger() {
        assert!(
            reserved.fits(allocatable),
            "{node}: {reserved} of {allocatable}"
        );
    }
}

fn invariant_every_slot_is_placed_or_says_why_not(site: &Site) {
    for view in jobs(site).iter().filter(|view| !view.job.is_deleted()) {
        for slot in view.job.slots() {
            let mut rows = view.instances.iter().filter(|row| row.index == slot.index);
            assert!(rows.clone().next().is_some(), "{slot} is nowhere");
            assert!(
                rows.all(|row| row.worker.is_some()
                    || matches!(&row.state, InstanceState::NotDeployed { reason, .. }
                        if !reason.message.is_empty())),
                "{slot}: {}",
                site.state.slot_status(&slot)
            );
        }
    }
}

fn invariant_in_the_end_each_slot_runs_once(site: &Site) {
    for view in jobs(site) {
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
    for (number, worker) in &site.workers {
        let view = site.state.node(&format!("w{number}")).unwrap();
        assert_eq!(
            worker.observer.states().len(),
            view.instances as usize,
            "w{number}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn reservations_hold_slots_are_explained_and_everything_settles(
        steps in prop::collection::vec(any_step(), 0..60),
    ) {
        let mut site = Site::of(&[100, 60, 30]);
        for step in &steps {
            perform(&mut site, step);
            invariant_nothing_is_reserved_twice(&site);
            invariant_every_slot_is_placed_or_says_why_not(&site);
        }
        for worker in 1..4 {
            perform(&mut site, &Step::StopsSlowly(worker, false));
            back(&mut site, worker);
        }
        site.pass(60);
        invariant_nothing_is_reserved_twice(&site);
        invariant_in_the_end_each_slot_runs_once(&site);
    }
}
