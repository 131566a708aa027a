//! Clusters that say what is not theirs to say.

use std::sync::Arc;

use model::aggregate::Aggregate;
use model::desired::Desired;
use model::event::{Event, Tier};
use model::id::{EventId, JobId};
use model::instance::{InstanceState, Observed, Report as Observation};
use model::slot::{Generation, Role};
use model::telling::{Stamp, Telling, Told};
use model::time::Wall;
use model::units::{Bytes, Millicores, Resources};
use model::workload::Workload;
use root_core::{Input, Report, slot_entry};
use sync::{Held, Incarnation, Observer};

use crate::support::cluster::Cluster;
use crate::support::{Document, World};

/// The job `web` on `c1`; `c2` has turned hostile, and knows all about it.
fn world() -> (World, Desired) {
    let mut world = World::of(&[100, 100]);
    world.run(&Document::new("web", 10, 1));
    assert_eq!(world.rows("web"), ["0 Holder RUNNING c1 1.1"]);
    let victim = of_the_other(&world);
    (world, victim)
}

/// What `c1` was assigned.
fn of_the_other(world: &World) -> Desired {
    let set = world.clusters[&1].held.set();
    set.values().next().unwrap().value.clone()
}

#[test]
fn a_cluster_that_reports_the_slots_of_another_changes_nothing_of_them() {
    let (mut world, victim) = world();
    let before = world.rows("web");
    // It gives them back, and then says that they run at its place, ended, or are nowhere.
    let states = [
        None,
        Some(InstanceState::ScheduledNode),
        Some(InstanceState::Running(Observation {
            observed: Observed::Ended,
            restarts: 7,
            last_exit: None,
            at: Wall(0),
        })),
    ];
    let mut observer = Observer::new(9);
    for state in states {
        let known = world.clusters[&1].observer.states();
        let mut report = known[&victim.slot].value.clone();
        match state {
            Some(state) => report.copies[0].state = state,
            None => report.copies.clear(),
        }
        for copy in &mut report.copies {
            copy.role = Role::Holder;
        }
        observer.put(slot_entry(report));
        let report = observer.report();
        observer.reported();
        let (cluster, held) = (world.clusters[&2].id, world.clusters[&2].held.held());
        world.turn([Input::Reported {
            cluster,
            report,
            held,
        }]);
        assert_eq!(world.rows("web"), before);
    }
    world.pass(5);
    assert_eq!(world.rows("web"), before);
    assert_eq!(of_the_other(&world), victim);
}

#[test]
fn a_cluster_that_was_told_here_cannot_come_with_the_set_of_another_store() {
    let (mut world, victim) = world();
    world.run(&Document::new("own", 95, 1));
    assert_eq!(world.rows("own"), ["0 Holder RUNNING c2 1.1"]);
    let document = world.job("web").job.spec;
    let mut service = victim.service.as_ref().clone();
    service.workload = Arc::new(Workload {
        command: vec!["/bin/evil".to_owned()],
        ..service.workload.as_ref().clone()
    });
    let forged = Desired {
        generation: Generation {
            assignment: victim.generation.assignment + 5,
            placement: 0,
        },
        service: Arc::new(service),
        ..victim.clone()
    };
    world.restart();
    let cluster = world.clusters[&2].id;
    let held = Held {
        incarnation: Some(Incarnation(666)),
        revision: 9,
        ..world.clusters[&2].held.held()
    };
    let Input::Held { beat, .. } = world.clusters[&2].beat() else {
        unreachable!("a beat")
    };
    world.turn([Input::Held {
        cluster,
        held,
        beat,
    }]);
    world.turn([Input::Adopt {
        cluster,
        held,
        desired: vec![forged],
    }]);
    world.pass(10);
    assert_eq!(world.rows("web"), ["0 Holder RUNNING c1 1.1"]);
    assert_eq!(of_the_other(&world), victim);
    let job = world.job("web").job;
    assert_eq!((job.spec, job.generation), (document, 1));
    let all = world.slots();
    let holdings = &all[&victim.slot].holdings;
    assert_eq!(holdings.len(), 1, "{holdings:?}");
}

fn told(number: u64, job: JobId, victim: &Desired) -> Told {
    Told {
        stamp: Stamp { line: 66, number },
        count: 1,
        event: Event {
            tenant: victim.job.tenant.clone(),
            id: EventId::from_bits(0),
            at: Wall(5),
            tier: Tier::Worker,
            job,
            instance: Some(victim.instance),
            generation: victim.generation,
            from: "RUNNING",
            to: "FAILED",
            cause: "exited".to_owned(),
            message: "made up".to_owned(),
        },
    }
}

#[test]
fn what_a_cluster_tells_of_jobs_that_it_never_had_says_who_told_it() {
    let (mut world, victim) = world();
    let (job, cluster) = (victim.slot.job, world.clusters[&2].id);
    let events = vec![
        told(1, job, &victim),
        told(2, JobId::from_bits(12_345), &victim),
    ];
    let telling = Telling {
        after: None,
        events,
    };
    world.turn([Input::Told { cluster, telling }]);
    let made_up = |world: &World, job| {
        let all = world.state.history();
        let messages = all.of(job).map(|event| event.message.clone());
        let of = messages.filter(|message| message.starts_with("made up"));
        of.collect::<Vec<_>>()
    };
    let marked = "made up (told by cluster c2, which has nothing of this job)";
    assert_eq!(made_up(&world, job), [marked]);
    assert!(made_up(&world, JobId::from_bits(12_345)).is_empty());
    assert_eq!(world.rows("web"), ["0 Holder RUNNING c1 1.1"]);
    // The one that has it is heard as it is.
    let mut event = told(1, job, &victim);
    event.event.at = Wall(6);
    let telling = Telling {
        after: None,
        events: vec![event],
    };
    let cluster = world.clusters[&1].id;
    world.turn([Input::Told { cluster, telling }]);
    assert_eq!(made_up(&world, job), [marked, "made up"]);
}

#[test]
fn absurd_capacity_moves_nothing_that_stands_and_overflows_nothing() {
    let (mut world, victim) = world();
    let most = Resources {
        cpu: Millicores(u64::MAX),
        memory: Bytes(u64::MAX),
        disk: Bytes(u64::MAX),
    };
    let mut aggregate = Aggregate {
        number_of_nodes: u32::MAX,
        schedulable_nodes: u32::MAX,
        allocatable: most,
        room: most,
        capacity_revision: u64::MAX,
        number_of_jobs: u32::MAX,
        ..Aggregate::default()
    };
    for class in Cluster::classes() {
        aggregate.add_room(&class, most);
    }
    let hostile = &world.clusters[&2];
    let report = Box::new(Report {
        aggregate,
        scheduler: "first-fit".to_owned(),
        boot: u64::MAX,
        incarnation: None,
        revision: u64::MAX,
    });
    let cluster = hostile.id;
    world.turn([Input::Aggregate { cluster, report }]);
    world.pass(5);
    assert_eq!(world.rows("web"), ["0 Holder RUNNING c1 1.1"]);
    assert_eq!(of_the_other(&world), victim);
    // What fits nowhere in truth is given to it, offered back, and said to be nowhere.
    world.submit(&[Document::new("huge", 10_000, 1)]);
    world.pass(30);
    let rows = world.rows("huge");
    assert!(!rows.iter().any(|row| row.contains("RUNNING")), "{rows:?}");
    world.run(&Document::new("small", 10, 1));
}
