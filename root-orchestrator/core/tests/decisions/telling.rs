//! What clusters tell of what happened: each event once, under this root's own numbers.

use model::access::TenantPath;
use model::event::{Event, Tier};
use model::id::{EventId, InstanceId, JobId};
use model::slot::Generation;
use model::telling::{Stamp, Telling, Told};
use model::time::Wall;
use root_core::{Input, Write};

use crate::support::{Document, World};

/// The job `web` on `c1`, which tells what happens to it.
fn running() -> (World, JobId, InstanceId) {
    let mut world = World::of(&[100, 100]);
    for cluster in world.clusters.values_mut() {
        cluster.tells = true;
    }
    world.run(&Document::new("web", 10, 1));
    assert_eq!(world.rows("web"), ["0 Holder RUNNING c1 1.1"]);
    let view = world.job("web");
    let instance = view.instances[0].instance.unwrap();
    (world, view.job.id, instance)
}

fn told(
    number: u64,
    job: JobId,
    instance: InstanceId,
    (from, to): (&'static str, &'static str),
) -> Told {
    Told {
        stamp: Stamp { line: 7, number },
        count: 1,
        event: Event {
            tenant: TenantPath::root(),
            id: EventId::from_bits(0),
            at: Wall(500 + number as i64),
            tier: Tier::Worker,
            job,
            instance: Some(instance),
            generation: Generation {
                assignment: 1,
                placement: 1,
            },
            from,
            to,
            cause: "exited".to_owned(),
            message: format!("{to} on worker w1"),
        },
    }
}

const CRASH: (&str, &str) = ("RUNNING", "FAILED");
const AGAIN: (&str, &str) = ("FAILED", "RUNNING");

fn tell(world: &mut World, number: u32, events: &[Told]) {
    let cluster = world.clusters[&number].id;
    let events = events.to_vec();
    world.turn([Input::Told {
        cluster,
        telling: Telling {
            after: None,
            events,
        },
    }]);
}

fn history(world: &World, job: JobId) -> Vec<String> {
    let events = world.state.history().of(job);
    let line = |event: &std::sync::Arc<Event>| {
        let (tier, at) = (event.tier.as_str(), event.at.0);
        format!("{tier} {} -> {} at {at}", event.from, event.to)
    };
    events
        .filter(|event| event.tier != Tier::Root)
        .map(line)
        .collect()
}

#[test]
fn a_cluster_that_tells_is_heard_once_and_nothing_is_concluded_beside_it() {
    let (mut world, job, instance) = running();
    assert_eq!(history(&world, job), Vec::<String>::new());
    let both = [told(1, job, instance, CRASH), told(2, job, instance, AGAIN)];
    for _ in 0..3 {
        tell(&mut world, 1, &both);
    }
    world.restart();
    tell(&mut world, 1, &both);
    let seen = [
        "worker RUNNING -> FAILED at 501",
        "worker FAILED -> RUNNING at 502",
    ];
    assert_eq!(history(&world, job), seen);
    let confirmed = &world.clusters[&1].confirmed;
    assert_eq!(confirmed, &[both[1].stamp; 4]);
}

#[test]
fn what_is_told_late_gets_a_late_number_so_that_followers_do_not_miss_it() {
    let (mut world, job, instance) = running();
    let last = world
        .state
        .history()
        .after(&TenantPath::root(), None)
        .next_back()
        .unwrap()
        .id;
    tell(&mut world, 1, &[told(1, job, instance, CRASH)]);
    let later: Vec<i64> = world
        .state
        .history()
        .after(&TenantPath::root(), Some(last))
        .map(|event| event.at.0)
        .collect();
    assert_eq!(later, [501]);
}

#[test]
fn a_cluster_of_an_earlier_version_is_concluded_from_as_before() {
    let mut world = World::of(&[100]);
    world.run(&Document::new("web", 10, 1));
    let job = world.job("web").job.id;
    let seen = history(&world, job);
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert!(
        seen[0].starts_with("cluster SCHEDULED_CLUSTER -> RUNNING"),
        "{seen:?}"
    );
}

#[test]
fn a_cluster_tells_of_jobs_that_are_this_roots_and_never_as_the_root() {
    let (mut world, job, instance) = running();
    let mut grand = told(1, job, instance, CRASH);
    grand.event.tier = Tier::Root;
    let strange = told(2, JobId::from_bits(98), instance, CRASH);
    let before = world
        .state
        .history()
        .after(&TenantPath::root(), None)
        .count();
    tell(&mut world, 1, &[grand, strange]);
    assert_eq!(
        world
            .state
            .history()
            .after(&TenantPath::root(), None)
            .count(),
        before
    );
    // It is confirmed all the same: the cluster need not say it for ever.
    assert_eq!(world.clusters[&1].confirmed.len(), 1);
    // What it had and has no more it may still tell of.
    world.delete("web");
    world.deliver();
    world.pass(2);
    tell(&mut world, 1, &[told(3, job, instance, CRASH)]);
    assert_eq!(history(&world, job), ["worker RUNNING -> FAILED at 503"]);
}

#[test]
fn a_restored_root_hears_what_it_lost_only_if_it_was_not_confirmed() {
    let (mut world, job, instance) = running();
    tell(&mut world, 1, &[told(1, job, instance, CRASH)]);
    let copy = world.copy_of_store();
    tell(&mut world, 1, &[told(2, job, instance, AGAIN)]);
    world.restore(&copy);
    let all = [
        told(1, job, instance, CRASH),
        told(2, job, instance, AGAIN),
        told(3, job, instance, CRASH),
    ];
    let before = world.clusters[&1].confirmed.len();
    tell(&mut world, 1, &all);
    assert_eq!(
        world.clusters[&1].confirmed.len(),
        before,
        "not before it knows what its cluster has"
    );
    world.deliver();
    world.pass(3);
    tell(&mut world, 1, &all);
    assert_eq!(history(&world, job).len(), 3);
}

#[test]
fn nothing_is_remembered_of_a_forgotten_cluster() {
    let (mut world, job, instance) = running();
    tell(&mut world, 1, &[told(1, job, instance, CRASH)]);
    world.cut(1);
    let key = "c1".to_owned();
    world.ask(|request| Input::Forget { request, key });
    let id = world.clusters[&1].id;
    let of_it = |write: &Write| matches!(write, Write::Heard { cluster, .. } if *cluster == id);
    assert!(!world.state.snapshot().iter().any(of_it));
}
