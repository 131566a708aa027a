//! Jobs: assigned by aggregates, scaled, changed, deleted.

use model::access::TenantPath;
use model::book::Asked;
use model::book::JobAnswer;
use model::id::JobId;
use model::job::JobState;
use model::node::Scheduling;
use model::reason::ReasonCode;
use root_core::Action;

use crate::support::{Document, World};

#[test]
fn a_job_is_assigned_to_the_cluster_whose_aggregate_fits() {
    let mut world = World::of(&[10, 100]);
    let answer = world.submit(&[Document::new("web", 50, 1)]);
    assert_eq!(answer, JobAnswer::Accepted(vec![JobId::from_bits(1)]));
    assert_eq!(world.rows("web"), ["0 Holder SCHEDULED_CLUSTER c2 1.0"]);
    let told = |action: &Action| matches!(action, Action::Assign(..));
    assert!(world.last.actions.iter().any(told), "in the same turn");
    world.deliver();
    assert_eq!(world.rows("web"), ["0 Holder RUNNING c2 1.1"]);
    assert_eq!(world.job("web").state, JobState::Running);
}

#[test]
fn a_burst_takes_exactly_the_room_before_any_aggregate_says_so() {
    let mut world = World::of(&[20, 40]);
    let jobs: Vec<Document> = (0..100)
        .map(|number| Document::new(&format!("job-{number}"), 1, 1))
        .collect();
    world.submit(&jobs);
    let count = |world: &World, state: JobState| {
        let states = jobs.iter().map(|job| world.job(&job.name).state);
        states.filter(|known| *known == state).count()
    };
    assert_eq!(count(&world, JobState::ScheduledCluster), 60);
    assert_eq!(count(&world, JobState::NotDeployed), 40);
    world.deliver();
    assert_eq!(count(&world, JobState::Running), 60);
    assert_eq!(count(&world, JobState::NotDeployed), 40);
    assert_eq!((world.runs(1), world.runs(2)), (20, 40));
}

#[test]
fn what_fits_nowhere_waits_and_is_assigned_when_capacity_arrives() {
    let mut world = World::of(&[10, 20]);
    world.run(&Document::new("web", 50, 1));
    assert_eq!(
        world.rows("web"),
        ["0 Holder NOT_DEPLOYED insufficient_memory - 0.0"]
    );
    let view = world.job("web");
    assert_eq!(view.rejections.unwrap().total(), 2);
    assert_eq!(
        view.reason.unwrap().message,
        "no cluster can host it now: 2 clusters: 2 short of memory; it asks for 50 MB of memory, and one worker has 20 MB free at most"
    );
    world.clusters.get_mut(&2).unwrap().grow(40);
    world.deliver();
    assert_eq!(world.rows("web"), ["0 Holder RUNNING c2 1.1"]);
}

#[test]
fn without_clusters_or_at_an_unknown_place_the_reason_says_so() {
    let mut world = World::new();
    world.run(&Document::new("early", 1, 1));
    assert_eq!(
        world.rows("early"),
        ["0 Holder NOT_DEPLOYED no_cluster - 0.0"]
    );
    world.join(1, 100);
    assert_eq!(world.rows("early"), ["0 Holder RUNNING c1 1.1"]);
    let pinned = Document {
        cluster: Some("c9".to_owned()),
        ..Document::new("pinned", 1, 1)
    };
    world.run(&pinned);
    let placed = Document {
        location: Some("city2".to_owned()),
        ..Document::new("placed", 1, 1)
    };
    world.run(&placed);
    for job in ["pinned", "placed"] {
        let reason = world.job(job).reason.unwrap();
        assert_eq!(reason.code, ReasonCode::NoSuchCluster, "{job}");
    }
    world.join(2, 100);
    assert_eq!(world.rows("placed"), ["0 Holder RUNNING c2 1.1"]);
}

#[test]
fn replicas_spread_over_the_clusters() {
    let mut world = World::of(&[100, 100, 100]);
    world.run(&Document::new("web", 10, 5));
    assert_eq!([world.runs(1), world.runs(2), world.runs(3)], [2, 2, 1]);
}

#[test]
fn scaling_touches_only_the_difference() {
    let mut world = World::of(&[100, 100]);
    let web = |replicas| Document::new("web", 10, replicas);
    world.run(&web(3));
    let before = world.slots();
    world.put(&web(5));
    assert_eq!(world.slots_written(), [3, 4]);
    assert_eq!(world.job("web").state, JobState::Scaling);
    world.deliver();
    assert_eq!(world.job("web").state, JobState::Running);
    let after = world.slots();
    assert!(
        before
            .iter()
            .all(|(slot, record)| after.get(slot) == Some(record))
    );
    world.put(&web(1));
    assert_eq!(world.slots_written(), [1, 2, 3, 4]);
    world.deliver();
    assert_eq!(world.rows("web"), ["0 Holder RUNNING c1 1.1"]);
    assert_eq!((world.runs(1), world.runs(2)), (1, 0));
}

#[test]
fn the_same_document_again_writes_nothing() {
    let mut world = World::of(&[100]);
    let web = Document::new("web", 10, 2);
    world.run(&web);
    let before = world.state.snapshot();
    assert_eq!(world.put(&web), JobAnswer::Applied(JobId::from_bits(1)));
    assert_eq!(world.state.snapshot(), before);
}

#[test]
fn a_changed_workload_is_a_new_assignment_of_the_same_cluster() {
    let mut world = World::of(&[100, 100]);
    world.run(&Document::new("web", 10, 1));
    let first = world.job("web").instances[0].instance;
    world.put(&Document {
        version: 2,
        ..Document::new("web", 10, 1)
    });
    assert_eq!(world.job("web").state, JobState::Scaling);
    world.deliver();
    assert_eq!(world.rows("web"), ["0 Holder RUNNING c1 2.1"]);
    assert_ne!(world.job("web").instances[0].instance, first);
}

#[test]
fn a_changed_rule_moves_what_may_not_stay() {
    let mut world = World::of(&[100, 100]);
    world.run(&Document::new("web", 10, 1));
    assert_eq!(world.runs(1), 1);
    world.put(&Document {
        cluster: Some("c2".to_owned()),
        ..Document::new("web", 10, 1)
    });
    world.deliver();
    assert_eq!(world.rows("web"), ["0 Holder RUNNING c2 2.1"]);
    assert_eq!((world.runs(1), world.runs(2)), (0, 1));
}

#[test]
fn a_deleted_job_is_terminated_when_its_clusters_have_confirmed_it() {
    let mut world = World::of(&[100]);
    world.run(&Document::new("web", 10, 2));
    world.clusters.get_mut(&1).unwrap().never_stops = true;
    let id = JobId::from_bits(1);
    assert_eq!(world.delete("web"), JobAnswer::Deleting(id));
    world.deliver();
    world.pass(60);
    let view = world.job(&id.to_string());
    assert_eq!(view.unconfirmed, 2);
    assert_ne!(view.state, JobState::Terminated);
    world.clusters.get_mut(&1).unwrap().never_stops = false;
    world.deliver();
    let view = world.job(&id.to_string());
    assert_eq!((view.state, view.unconfirmed), (JobState::Terminated, 0));
    assert!(world.slots().is_empty());
}

#[test]
fn a_job_that_never_was_anywhere_is_over_at_once_when_deleted() {
    let mut world = World::new();
    world.submit(&[Document::new("web", 10, 1)]);
    world.delete("web");
    let view = world.job(&JobId::from_bits(1).to_string());
    assert_eq!((view.state, view.unconfirmed), (JobState::Terminated, 0));
}

#[test]
fn a_deleted_job_can_be_seen_for_its_retention_and_is_then_forgotten() {
    let mut world = World::of(&[100]);
    world.run(&Document::new("web", 10, 1));
    world.delete("web");
    world.deliver();
    let key = JobId::from_bits(1).to_string();
    world.jump(24 * 3_600 - 60);
    world.turn([]);
    assert!(world.state.job(&Asked::default(), &key).is_some());
    world.jump(60);
    world.turn([]);
    assert!(world.state.job(&Asked::default(), &key).is_none());
    assert_eq!(
        world
            .state
            .history()
            .after(&TenantPath::root(), None)
            .count(),
        0
    );
}

#[test]
fn a_cordoned_cluster_keeps_what_it_has_and_gets_nothing_new() {
    let mut world = World::of(&[100]);
    world.run(&Document::new("old", 10, 1));
    world.schedule_on(1, Scheduling::Cordoned);
    world.run(&Document::new("new", 10, 1));
    assert_eq!(world.rows("old"), ["0 Holder RUNNING c1 1.1"]);
    assert_eq!(world.rows("new"), ["0 Holder NOT_DEPLOYED cordoned - 0.0"]);
    world.schedule_on(1, Scheduling::Open);
    world.deliver();
    assert_eq!(world.rows("new"), ["0 Holder RUNNING c1 1.1"]);
}

#[test]
fn a_restarted_root_goes_on_with_what_is_assigned() {
    let mut world = World::of(&[100, 100]);
    world.run(&Document::new("web", 10, 3));
    let before = world.slots();
    world.restart();
    world.deliver();
    world.pass(60);
    assert_eq!(world.slots(), before);
    assert_eq!(world.job("web").state, JobState::Running);
}

#[test]
fn the_reason_of_what_waits_follows_when_clusters_come_that_do_not_fit() {
    let mut world = World::new();
    world.run(&Document::new("web", 50, 2));
    world.join(1, 10);
    assert_eq!(
        world.rows("web"),
        [
            "0 Holder NOT_DEPLOYED insufficient_memory - 0.0",
            "1 Holder NOT_DEPLOYED insufficient_memory - 0.0"
        ]
    );
    assert_eq!(world.job("web").rejections.unwrap().total(), 1);
}
