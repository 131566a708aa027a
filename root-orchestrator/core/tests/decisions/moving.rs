//! Instances that go from one cluster to another, drained clusters, and the brake over clusters.

use model::access::TenantPath;
use model::book::{JobAnswer, JobRequest, Refusal};
use model::job::{JobSpec, JobState, OnFailure, OnPartition, Strategy, Takeover};
use model::node::Scheduling;
use model::operation::Progress;
use model::reason::ReasonCode;

use crate::support::{Document, World};

fn migrate(cluster: Option<&str>, strategy: Option<Strategy>) -> JobRequest {
    JobRequest::Migrate {
        key: "web".to_owned(),
        instance: None,
        cluster: cluster.map(str::to_owned),
        worker: None,
        strategy,
    }
}

fn progress(world: &World) -> Progress {
    world.job("web").job.operation.unwrap().progress
}

fn begin(world: &mut World, request: JobRequest) {
    let answer = world.request(request);
    assert!(matches!(answer, JobAnswer::Replacing(_)), "{answer:?}");
}

#[test]
fn a_migration_that_stops_first_ends_at_the_cluster_that_it_names() {
    let mut world = World::of(&[100, 100, 100]);
    world.run(&Document::new("web", 10, 1));
    begin(&mut world, migrate(Some("c3"), Some(Strategy::StopFirst)));
    world.deliver();
    world.pass(3);
    assert_eq!(world.rows("web"), ["0 Holder RUNNING c3 2.1"]);
    assert_eq!(progress(&world), Progress::Done);
}

#[test]
fn a_migration_to_another_cluster_takes_over_when_the_next_copy_runs() {
    let mut world = World::of(&[100, 100]);
    world.run(&Document::new("web", 10, 1));
    let before = world.job("web").instances[0].instance;
    world.clusters.get_mut(&2).unwrap().never_starts = true;
    begin(&mut world, migrate(Some("c2"), None));
    world.deliver();
    assert_eq!(world.job("web").state, JobState::Migrating);
    let rows = world.rows("web");
    assert_eq!(rows[0], "0 Holder RUNNING c1 1.1");
    assert!(rows[1].starts_with("0 Successor"), "{rows:?}");
    world.pass(20);
    assert_eq!(world.runs(1), 1);
    world.clusters.get_mut(&2).unwrap().never_starts = false;
    world.clusters.get_mut(&2).unwrap().follow();
    world.pass(3);
    assert_eq!(world.rows("web"), ["0 Holder RUNNING c2 2.1"]);
    assert_eq!((world.runs(1), world.runs(2)), (0, 1));
    assert_eq!(progress(&world), Progress::Done);
    let replaced: Vec<_> = world
        .state
        .history()
        .after(&TenantPath::root(), None)
        .filter(|event| event.cause == "replaced")
        .map(|event| event.instance)
        .collect();
    assert_eq!(replaced, [before], "who follows its endpoints is told");
}

#[test]
fn a_cluster_without_room_refuses_and_the_source_stays() {
    let mut world = World::of(&[100, 5]);
    world.run(&Document::new("web", 10, 1));
    begin(&mut world, migrate(Some("c2"), None));
    world.pass(3);
    assert_eq!(world.rows("web"), ["0 Holder RUNNING c1 1.1"]);
    assert!(matches!(progress(&world), Progress::Failed(_)));
    let nowhere = world.request(migrate(Some("c9"), None));
    assert!(
        matches!(
            &nowhere,
            JobAnswer::Refused(Refusal::NoSuchTarget {
                what: "cluster",
                ..
            })
        ),
        "{nowhere:?}"
    );
}

#[test]
fn with_stop_first_the_first_cluster_gives_it_back_before_the_next_gets_it() {
    let mut world = World::of(&[100, 100]);
    world.run(&Document::new("web", 10, 1));
    begin(&mut world, migrate(Some("c2"), Some(Strategy::StopFirst)));
    world.pass(3);
    assert_eq!(world.rows("web"), ["0 Holder RUNNING c2 2.1"]);
    assert_eq!((world.runs(1), world.runs(2)), (0, 1));
    assert_eq!(progress(&world), Progress::Done);
}

#[test]
fn a_move_across_clusters_survives_a_restart_of_the_root() {
    let mut world = World::of(&[100, 100]);
    world.run(&Document::new("web", 10, 3));
    let on_first = world.runs(1);
    assert!(on_first > 0);
    world.clusters.get_mut(&2).unwrap().never_starts = true;
    begin(&mut world, migrate(Some("c2"), None));
    world.deliver();
    world.restart();
    world.pass(3);
    world.clusters.get_mut(&2).unwrap().never_starts = false;
    world.clusters.get_mut(&2).unwrap().follow();
    world.pass(20);
    let rows = world.rows("web");
    assert_eq!(world.job("web").instances.len(), 3, "{rows:?}");
    assert_eq!(world.runs(1), 0, "{rows:?}");
    assert_eq!(progress(&world), Progress::Done);
}

#[test]
fn a_migration_that_comes_before_its_target_is_heard_again_waits_for_it() {
    let mut world = World::of(&[100, 100]);
    world.run(&Document::new("web", 10, 2));
    world.clusters.get_mut(&2).unwrap().up = false;
    world.restart();
    world.deliver();
    begin(&mut world, migrate(Some("c2"), None));
    world.pass(2);
    assert_eq!(progress(&world), Progress::Running);
    world.back(2);
    world.pass(5);
    assert_eq!((world.runs(1), world.runs(2)), (0, 2));
    assert_eq!(progress(&world), Progress::Done);
}

#[test]
fn the_document_that_corrects_a_failed_update_is_not_held_to_the_old_refusal() {
    for on_failure in [OnFailure::Stop, OnFailure::Rollback] {
        let mut world = World::of(&[100]);
        let takeover = Takeover {
            on_failure,
            ..Takeover::default()
        };
        let document = |version| Document {
            version,
            takeover: takeover.clone(),
            ..Document::new("web", 10, 2)
        };
        world.run(&document(1));
        world.clusters.get_mut(&1).unwrap().refuses = true;
        world.put(&document(2));
        world.pass(3);
        world.clusters.get_mut(&1).unwrap().refuses = false;
        if on_failure == OnFailure::Stop {
            assert!(matches!(progress(&world), Progress::Failed(_)));
            world.put(&document(3));
            assert_eq!(progress(&world), Progress::Running);
        }
        world.pass(10);
        let job = world.job("web").job;
        let operation = job.operation.unwrap();
        assert_eq!(operation.progress, Progress::Done, "{on_failure:?}");
        let cause = operation.cause.map(|reason| reason.code);
        let rolls_back = on_failure == OnFailure::Rollback;
        assert_eq!(cause, rolls_back.then_some(ReasonCode::CrashLoop));
        let version = if rolls_back { 1 } else { 3 };
        let expected = document(version).draft(9).spec;
        let hash = |spec: &JobSpec| spec.services[0].workload.hash;
        assert_eq!(hash(&job.spec), hash(&expected));
        let runs = &world.clusters[&1].running;
        assert!(
            runs.values()
                .all(|copy| copy.service.workload.hash == hash(&expected)),
            "{on_failure:?}: {runs:#?}"
        );
    }
}

#[test]
fn a_drained_cluster_gives_its_work_to_others() {
    let mut world = World::of(&[100, 100, 100]);
    world.run(&Document::new("web", 10, 6));
    world.schedule_on(1, Scheduling::Draining);
    world.pass(5);
    assert_eq!(world.runs(1), 0);
    assert_eq!(world.runs(2) + world.runs(3), 6);
    world.schedule_on(1, Scheduling::Open);
    world.run(&Document::new("more", 10, 3));
    assert_eq!(world.runs(1), 1, "it gets work again");
}

#[test]
fn what_a_drained_cluster_cannot_give_away_stays_until_there_is_room() {
    let mut world = World::of(&[100, 5]);
    world.run(&Document::new("web", 10, 1));
    world.schedule_on(1, Scheduling::Draining);
    world.pass(5);
    assert_eq!(world.rows("web"), ["0 Holder RUNNING c1 1.1"]);
    assert_eq!(world.job("web").state, JobState::Running);
    world.join(3, 100);
    world.pass(5);
    let rows = world.rows("web");
    assert!(
        rows.len() == 1 && rows[0].starts_with("0 Holder RUNNING c3 "),
        "{rows:?}"
    );
}

#[test]
fn when_most_clusters_vanish_at_once_nothing_is_moved_for_a_grace() {
    let mut world = World::of(&[100; 5]);
    world.run(&Document {
        on_partition: OnPartition::Move,
        ..Document::new("web", 10, 5)
    });
    for number in 1..=3 {
        world.cut(number);
    }
    world.pass(5);
    let (engaged, _) = world.state.brake().unwrap();
    assert_eq!((engaged.vanished, engaged.of), (3, 5));
    world.pass(60);
    let moved = |world: &World| world.runs(4) + world.runs(5) - 2;
    assert!(
        (1..=3).contains(&moved(&world)),
        "one a second: {}",
        moved(&world)
    );
    world.pass(5);
    assert_eq!(moved(&world), 3);
    assert!(world.state.brake().is_none());
}
