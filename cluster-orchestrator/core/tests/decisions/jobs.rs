//! Jobs of the cluster's own: placed, waiting, changed, deleted.

use cluster_core::Action;
use model::access::TenantPath;
use model::book::Asked;
use model::book::{JobAnswer, Refusal};
use model::id::JobId;
use model::job::JobState;
use model::reason::ReasonCode;

use crate::support::{Document, Site, name};

#[test]
fn a_job_is_placed_and_its_worker_is_told_in_the_same_turn() {
    let mut site = Site::of(&[100]);
    let answer = site.submit(&[Document::new("web", 10, 1)]);
    assert_eq!(answer, JobAnswer::Accepted(vec![JobId::from_bits(1)]));
    let told = |action: &Action| matches!(action, Action::Control(..));
    assert!(site.last.iter().any(told));
    assert_eq!(site.rows("web"), ["0 Holder SCHEDULED_NODE w1 1.1"]);
    site.deliver();
    assert_eq!(site.rows("web"), ["0 Holder RUNNING w1 1.1"]);
    assert_eq!(site.job("web").state, JobState::Running);
    assert_eq!(site.memory_left(1), 90);
}

#[test]
fn a_hundred_jobs_in_one_turn_take_exactly_the_room_that_there_is() {
    let mut site = Site::of(&[20, 20, 20]);
    let jobs: Vec<Document> = (0..100)
        .map(|number| Document::new(&format!("job-{number}"), 1, 1))
        .collect();
    site.submit(&jobs);
    let count = |site: &Site, state: &str| {
        let counted = jobs.iter().map(|job| site.count(&job.name, state));
        counted.sum::<usize>()
    };
    assert_eq!(count(&site, "SCHEDULED_NODE"), 60);
    assert_eq!(count(&site, "NOT_DEPLOYED"), 40);
    let waits = jobs.iter().filter_map(|job| site.job(&job.name).reason);
    let codes: Vec<ReasonCode> = waits.map(|reason| reason.code).collect();
    assert!(codes.contains(&ReasonCode::InsufficientMemory));
    site.deliver();
    assert_eq!(count(&site, "RUNNING"), 60);
    for (allocatable, reserved) in site.ledger().values() {
        assert_eq!(allocatable, reserved);
    }

    // What is deleted makes room for as many that wait, and for no more.
    let running = jobs
        .iter()
        .filter(|job| site.count(&job.name, "RUNNING") == 1);
    let ending: Vec<String> = running.take(7).map(|job| job.name.clone()).collect();
    for job in &ending {
        site.delete(job);
    }
    site.deliver();
    let alive: Vec<&Document> = jobs
        .iter()
        .filter(|job| !ending.contains(&job.name))
        .collect();
    let count = |state: &str| {
        alive
            .iter()
            .map(|job| site.count(&job.name, state))
            .sum::<usize>()
    };
    assert_eq!((count("RUNNING"), count("NOT_DEPLOYED")), (60, 33));
}

#[test]
fn a_waiting_job_says_why_and_counts_its_workers() {
    let mut site = Site::of(&[5, 5]);
    site.run(&Document::new("big", 10, 1));
    let view = site.job("big");
    assert_eq!(view.state, JobState::NotDeployed);
    assert_eq!(view.rejections.unwrap().total(), 2);
    assert_eq!(
        view.reason.unwrap().message,
        "no worker can host it now: 2 workers: 2 short of memory; it asks for 10 MB of memory, and one worker has 5 MB free at most"
    );
    site.join(3, 50);
    assert_eq!(site.rows("big"), ["0 Holder RUNNING w3 1.1"]);
    assert_eq!(site.job("big").reason, None);
}

#[test]
fn without_a_worker_and_with_an_unknown_pin_the_reason_says_so() {
    let mut site = Site::new();
    site.run(&Document::new("early", 1, 1));
    assert_eq!(
        site.rows("early"),
        ["0 Holder NOT_DEPLOYED no_worker - 1.0"]
    );
    site.join(1, 100);
    assert_eq!(site.rows("early"), ["0 Holder RUNNING w1 1.1"]);
    let pinned = Document {
        worker: Some("w7".to_owned()),
        ..Document::new("web", 1, 1)
    };
    site.run(&pinned);
    assert_eq!(
        site.rows("web"),
        ["0 Holder NOT_DEPLOYED no_such_worker - 1.0"]
    );
    site.join(7, 100);
    assert_eq!(site.rows("web"), ["0 Holder RUNNING w7 1.1"]);
}

#[test]
fn replicas_spread_and_scaling_touches_only_the_difference() {
    let mut site = Site::of(&[100, 100]);
    let web = |replicas| Document::new("web", 10, replicas);
    site.run(&web(2));
    let before = ["0 Holder RUNNING w1 1.1", "1 Holder RUNNING w2 1.1"];
    assert_eq!(site.rows("web"), before);
    let ids = |site: &Site| {
        let view = site.job("web");
        let rows = view.instances.iter();
        rows.map(|row| row.instance.unwrap()).collect::<Vec<_>>()
    };
    let kept = ids(&site);
    site.put(&web(4));
    site.deliver();
    assert_eq!(ids(&site)[..2], kept[..]);
    assert_eq!((site.runs(1), site.runs(2)), (2, 2));
    site.put(&web(1));
    site.deliver();
    assert_eq!(ids(&site), kept[..1]);
    assert_eq!((site.runs(1), site.runs(2)), (1, 0));
}

#[test]
fn a_changed_workload_is_started_only_after_the_old_one_has_ended() {
    let mut site = Site::of(&[100]);
    let web = |version| Document {
        version,
        ..Document::new("web", 60, 1)
    };
    site.run(&web(1));
    site.workers.get_mut(&1).unwrap().never_stops = true;
    assert_eq!(site.put(&web(2)), JobAnswer::Applied(JobId::from_bits(1)));
    site.deliver();
    site.pass(60);
    assert_eq!(site.rows("web"), ["0 Leaving RUNNING w1 1.1"]);
    site.workers.get_mut(&1).unwrap().never_stops = false;
    site.deliver();
    assert_eq!(site.rows("web"), ["0 Holder RUNNING w1 2.2"]);
    assert_eq!(site.runs(1), 1);
}

#[test]
fn the_same_document_again_changes_nothing() {
    let mut site = Site::of(&[100]);
    let web = Document::new("web", 10, 1);
    site.run(&web);
    let before = site.state.snapshot();
    assert_eq!(site.put(&web), JobAnswer::Applied(JobId::from_bits(1)));
    assert_eq!(site.state.snapshot(), before);
}

#[test]
fn a_deleted_job_is_over_when_its_worker_has_confirmed_it() {
    let mut site = Site::of(&[100]);
    site.run(&Document::new("web", 10, 1));
    let id = JobId::from_bits(1);
    assert_eq!(site.delete("web"), JobAnswer::Deleting(id));
    assert_eq!(site.memory_left(1), 90, "reserved until it has ended");
    assert_eq!(site.job(&id.to_string()).unconfirmed, 1);
    site.deliver();
    let view = site.job(&id.to_string());
    assert_eq!((view.state, view.unconfirmed), (JobState::Terminated, 0));
    assert_eq!(site.memory_left(1), 100);
    assert!(site.slots().is_empty());
}

#[test]
fn a_deleted_job_is_listed_until_it_has_ended_and_then_where_it_is_asked_for() {
    let mut site = Site::of(&[100]);
    site.run(&Document::new("web", 10, 1));
    site.delete("web");
    let all = cluster_core::Page {
        after: None,
        limit: 10,
    };
    let listed = |site: &Site, state| {
        site.state
            .jobs(site.now, &TenantPath::root(), &all, state)
            .len()
    };
    assert_eq!(listed(&site, None), 1, "it still ends");
    site.deliver();
    assert_eq!(listed(&site, None), 0);
    assert_eq!(listed(&site, Some(JobState::Terminated)), 1);
}

#[test]
fn a_deleted_job_can_be_seen_for_its_retention_and_is_then_forgotten() {
    let mut site = Site::of(&[100]);
    site.run(&Document::new("web", 10, 1));
    site.delete("web");
    site.deliver();
    let key = JobId::from_bits(1).to_string();
    site.jump(24 * 3_600 - 60);
    site.turn([]);
    assert!(site.state.job(site.now, &Asked::default(), &key).is_some());
    site.jump(60);
    site.turn([]);
    assert!(site.state.job(site.now, &Asked::default(), &key).is_none());
    assert_eq!(
        site.state
            .history()
            .after(&TenantPath::root(), None)
            .count(),
        0
    );
}

#[test]
fn of_two_jobs_of_one_name_in_one_batch_none_is_accepted() {
    let mut site = Site::of(&[100]);
    let web = Document::new("web", 10, 1);
    let answer = site.submit(&[web.clone(), web]);
    let refusal = Refusal::NameInUse {
        name: name("web"),
        by: JobId::from_bits(1),
    };
    assert_eq!(answer, JobAnswer::Refused(refusal));
    assert!(site.state.job(site.now, &Asked::default(), "web").is_none());
}

#[test]
fn a_restarted_cluster_goes_on_with_what_runs() {
    let mut site = Site::of(&[100, 100]);
    site.run(&Document::new("web", 10, 3));
    let before = site.slots();
    site.restart();
    assert_eq!(
        site.count("web", "UNKNOWN") + site.count("web", "RUNNING"),
        3
    );
    site.deliver();
    assert_eq!(site.count("web", "RUNNING"), 3);
    assert_eq!(site.slots(), before);
}

#[test]
fn the_reason_of_what_waits_follows_when_workers_come_that_do_not_fit() {
    let mut site = Site::new();
    site.run(&Document::new("web", 50, 2));
    site.join(1, 10);
    assert_eq!(
        site.rows("web"),
        [
            "0 Holder NOT_DEPLOYED insufficient_memory - 1.0",
            "1 Holder NOT_DEPLOYED insufficient_memory - 1.0"
        ]
    );
    assert_eq!(site.job("web").rejections.unwrap().total(), 1);
}
