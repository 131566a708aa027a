//! One copy takes over from another: migrations, restarts, updates, drained workers.

use cluster_core::Input;
use model::book::{JobAnswer, JobRequest, Refusal};
use model::desired::Handover;
use model::id::InstanceId;
use model::job::{JobState, OnFailure, Reconcile, Strategy, Takeover};
use model::node::Scheduling;
use model::operation::Progress;
use model::reason::ReasonCode;

use crate::support::{Document, Root, Site, progress};

fn migrate(key: &str) -> JobRequest {
    JobRequest::Migrate {
        key: key.to_owned(),
        instance: None,
        cluster: None,
        worker: None,
        strategy: None,
    }
}

fn to(key: &str, name: &str) -> JobRequest {
    JobRequest::Migrate {
        key: key.to_owned(),
        instance: None,
        cluster: None,
        worker: Some(name.to_owned()),
        strategy: None,
    }
}

fn begin(site: &mut Site, request: JobRequest) {
    let answer = site.request(request);
    assert!(matches!(answer, JobAnswer::Replacing(_)), "{answer:?}");
}

#[test]
fn a_migration_starts_the_next_copy_before_the_present_one_stops() {
    let mut site = Site::of(&[100, 100]);
    site.run(&Document::new("web", 60, 1));
    let before = site.job("web").instances[0].instance;
    site.workers.get_mut(&2).unwrap().never_starts = true;
    begin(&mut site, migrate("web"));
    site.deliver();
    assert_eq!(
        site.rows("web"),
        [
            "0 Holder RUNNING w1 1.1",
            "0 Successor SCHEDULED_NODE w2 1.2"
        ]
    );
    assert_eq!(site.job("web").state, JobState::Migrating);
    site.pass(30);
    assert_eq!(
        site.runs(1),
        1,
        "it waits for as long as the next one is not ready"
    );
    site.workers.get_mut(&2).unwrap().never_starts = false;
    site.deliver();
    assert_eq!(site.rows("web"), ["0 Holder RUNNING w2 1.2"]);
    assert_eq!((site.runs(1), site.runs(2)), (0, 1));
    assert_ne!(site.job("web").instances[0].instance, before);
    assert_eq!(site.job("web").state, JobState::Running);
    assert_eq!(progress(&site, "web"), Progress::Done);
}

#[test]
fn a_replaced_copy_runs_on_for_its_drain_delay() {
    let mut site = Site::of(&[100, 100]);
    let takeover = Takeover {
        drain_delay: std::time::Duration::from_secs(5),
        ..Takeover::default()
    };
    site.run(&Document {
        takeover,
        ..Document::new("web", 60, 1)
    });
    begin(&mut site, migrate("web"));
    site.deliver();
    let draining = ["0 Leaving RUNNING w1 1.1", "0 Holder RUNNING w2 1.2"];
    assert_eq!(site.rows("web"), draining);
    site.pass(4);
    assert_eq!(site.rows("web"), draining);
    assert_eq!(site.runs(1), 1);
    site.restart();
    site.pass(4);
    assert_eq!(
        site.runs(1),
        1,
        "the delay begins again with the orchestrator"
    );
    site.pass(2);
    assert_eq!(site.rows("web"), ["0 Holder RUNNING w2 1.2"]);
    assert_eq!(progress(&site, "web"), Progress::Done);
}

#[test]
fn a_target_that_cannot_host_it_leaves_the_source_untouched_and_says_why() {
    let mut site = Site::of(&[100, 50]);
    site.run(&Document::new("web", 60, 1));
    let before = site.rows("web");
    begin(&mut site, to("web", "w2"));
    site.deliver();
    assert_eq!(site.rows("web"), before);
    let Progress::Failed(reason) = progress(&site, "web") else {
        panic!("{:?}", progress(&site, "web"));
    };
    assert_eq!(reason.code, ReasonCode::InsufficientMemory);
    assert_eq!(site.job("web").state, JobState::Running);
    site.pass(60);
    assert_eq!(site.rows("web"), before, "and it is not tried again");
}

#[test]
fn a_next_copy_that_does_not_run_is_taken_back() {
    let mut site = Site::of(&[100, 100]);
    site.run(&Document::new("web", 60, 1));
    let before = site.rows("web");
    site.workers.get_mut(&2).unwrap().crashes = true;
    begin(&mut site, migrate("web"));
    site.pass(5);
    assert_eq!(site.rows("web"), before);
    assert_eq!((site.runs(1), site.runs(2)), (1, 0));
    assert!(
        matches!(progress(&site, "web"), Progress::Failed(reason) if reason.code == ReasonCode::CrashLoop)
    );
}

#[test]
fn a_migration_leaves_the_present_worker_or_is_refused() {
    let mut site = Site::of(&[100]);
    site.run(&Document::new("web", 10, 1));
    begin(&mut site, migrate("web"));
    site.deliver();
    assert_eq!(site.rows("web"), ["0 Holder RUNNING w1 1.1"]);
    assert!(
        matches!(progress(&site, "web"), Progress::Failed(reason) if reason.code == ReasonCode::NoWorker)
    );
    let nowhere = site.request(to("web", "w9"));
    assert!(
        matches!(
            &nowhere,
            JobAnswer::Refused(Refusal::NoSuchTarget { what: "node", .. })
        ),
        "{nowhere:?}"
    );
}

#[test]
fn with_stop_first_the_present_copy_ends_before_the_next_begins() {
    let mut site = Site::of(&[100, 100]);
    site.run(&Document::new("web", 60, 1));
    site.workers.get_mut(&1).unwrap().never_stops = true;
    begin(
        &mut site,
        JobRequest::Migrate {
            key: "web".to_owned(),
            instance: Some("web/0".to_owned()),
            cluster: None,
            worker: None,
            strategy: Some(Strategy::StopFirst),
        },
    );
    site.pass(3);
    assert_eq!((site.runs(1), site.runs(2)), (1, 0));
    site.workers.get_mut(&1).unwrap().never_stops = false;
    site.deliver();
    assert_eq!(site.rows("web"), ["0 Holder RUNNING w2 1.2"]);
    assert_eq!(progress(&site, "web"), Progress::Done);
}

#[test]
fn a_restart_replaces_every_copy_one_after_another() {
    let mut site = Site::of(&[100]);
    site.run(&Document::new("web", 10, 3));
    let restart = JobRequest::Restart {
        key: "web".to_owned(),
        service: None,
    };
    begin(&mut site, restart);
    let mut most = 0;
    for _ in 0..20 {
        let inputs: Vec<Input> = site.workers.get_mut(&1).unwrap().act();
        site.turn(inputs);
        most = most.max(site.runs(1));
    }
    assert_eq!(most, 4, "one more at a time");
    let rows = site.rows("web");
    assert!(
        rows.iter().all(|row| row.contains("Holder RUNNING w1 1.")),
        "{rows:?}"
    );
    assert_eq!(site.job("web").instances.len(), 3);
    let placements: Vec<u64> = site
        .job("web")
        .instances
        .iter()
        .map(|row| row.generation.placement)
        .collect();
    assert_eq!(placements, [2, 2, 2]);
    assert_eq!(progress(&site, "web"), Progress::Done);
}

#[test]
fn an_update_rolls_through_the_replicas_and_stops_at_the_first_that_does_not_run() {
    let mut site = Site::of(&[100]);
    site.run(&Document::new("web", 10, 4));
    site.workers.get_mut(&1).unwrap().crashes = true;
    site.put(&Document {
        version: 2,
        ..Document::new("web", 10, 4)
    });
    site.pass(10);
    let rows = site.rows("web");
    assert_eq!(
        rows,
        (0..4)
            .map(|index| format!("{index} Holder RUNNING w1 1.1"))
            .collect::<Vec<_>>()
    );
    assert!(
        matches!(progress(&site, "web"), Progress::Failed(reason) if reason.code == ReasonCode::CrashLoop && reason.message.contains("web/0"))
    );
    site.workers.get_mut(&1).unwrap().crashes = false;
    site.pass(30);
    assert_eq!(site.count("web", "RUNNING"), 4, "nothing goes on by itself");
    site.put(&Document {
        version: 2,
        ..Document::new("web", 10, 4)
    });
    site.pass(30);
    let rows = site.rows("web");
    assert!(
        rows.iter().all(|row| row.contains(" 2.")),
        "the same document tries again: {rows:?}"
    );
    assert_eq!(progress(&site, "web"), Progress::Done);
}

#[test]
fn a_failed_update_is_rolled_back_where_the_document_says_so() {
    let mut site = Site::of(&[100]);
    site.run(&Document::new("web", 10, 2));
    let before: Vec<Option<InstanceId>> = site
        .job("web")
        .instances
        .iter()
        .map(|row| row.instance)
        .collect();
    site.workers.get_mut(&1).unwrap().crashes = true;
    let takeover = Takeover {
        on_failure: OnFailure::Rollback,
        ..Takeover::default()
    };
    site.put(&Document {
        version: 2,
        takeover,
        ..Document::new("web", 10, 2)
    });
    site.pass(20);
    let view = site.job("web");
    assert_eq!(
        view.job.spec.services[0].workload.hash,
        Document::new("web", 10, 2).service().workload.hash
    );
    let after: Vec<Option<InstanceId>> = view.instances.iter().map(|row| row.instance).collect();
    assert_eq!(after, before, "the old copies were never touched");
    let operation = view.job.operation.unwrap();
    assert_eq!(operation.progress, Progress::Done);
    assert_eq!(operation.kind.as_str(), "rollback");
    let cause = operation.cause.expect("why it was rolled back");
    assert_eq!(cause.code, ReasonCode::CrashLoop);
}

#[test]
fn where_there_is_no_room_for_one_more_the_old_copy_stops_first_if_the_new_one_would_fit() {
    let mut site = Site::of(&[100]);
    site.run(&Document::new("web", 60, 1));
    let strict = Takeover {
        max_unavailable: 0,
        ..Takeover::default()
    };
    let next = |memory, takeover: &Takeover| Document {
        version: 2,
        takeover: takeover.clone(),
        ..Document::new("web", memory, 1)
    };
    site.put(&next(70, &strict));
    site.pass(3);
    assert_eq!(
        site.rows("web"),
        ["0 Holder RUNNING w1 1.1"],
        "it may not be missing"
    );
    assert!(matches!(progress(&site, "web"), Progress::Failed(_)));
    site.put(&next(170, &Takeover::default()));
    site.pass(3);
    assert_eq!(
        site.rows("web"),
        ["0 Holder RUNNING w1 1.1"],
        "it would not fit"
    );
    site.put(&next(80, &Takeover::default()));
    site.pass(3);
    let rows = site.rows("web");
    assert!(
        rows.len() == 1 && rows[0].starts_with("0 Holder RUNNING w1 4."),
        "{rows:?}"
    );
    assert_eq!(site.memory_left(1), 20);
    assert_eq!(progress(&site, "web"), Progress::Done);
}

#[test]
fn a_scale_is_over_when_every_slot_has_settled() {
    let mut site = Site::of(&[100]);
    site.run(&Document::new("web", 10, 1));
    let scale = |replicas| JobRequest::Scale {
        key: "web".to_owned(),
        service: None,
        replicas,
    };
    site.request(scale(12));
    assert_eq!(site.job("web").state, JobState::Scaling);
    site.deliver();
    assert_eq!(site.job("web").state, JobState::NotDeployed);
    assert_eq!(progress(&site, "web"), Progress::Done);
    site.workers.get_mut(&1).unwrap().never_stops = true;
    site.request(scale(2));
    site.pass(3);
    assert_eq!(
        site.job("web").state,
        JobState::Scaling,
        "until what goes has gone"
    );
    site.workers.get_mut(&1).unwrap().never_stops = false;
    site.deliver();
    assert_eq!(
        site.rows("web"),
        ["0 Holder RUNNING w1 1.1", "1 Holder RUNNING w1 1.1"]
    );
    assert_eq!(site.job("web").state, JobState::Running);
}

#[test]
fn an_operation_goes_on_after_a_restart_of_the_orchestrator() {
    let mut site = Site::of(&[100, 100]);
    site.run(&Document::new("web", 10, 4));
    site.workers.get_mut(&1).unwrap().never_starts = true;
    site.workers.get_mut(&2).unwrap().never_starts = true;
    site.put(&Document {
        version: 2,
        ..Document::new("web", 10, 4)
    });
    site.deliver();
    assert_eq!(site.job("web").state, JobState::Scaling);
    site.restart();
    site.workers.get_mut(&1).unwrap().never_starts = false;
    site.workers.get_mut(&2).unwrap().never_starts = false;
    site.pass(30);
    let rows = site.rows("web");
    assert!(
        rows.len() == 4
            && rows
                .iter()
                .all(|row| row.contains("Holder RUNNING") && row.contains(" 2.")),
        "{rows:?}"
    );
    assert_eq!(progress(&site, "web"), Progress::Done);
}

#[test]
fn what_fails_after_it_took_over_is_waited_for_and_then_ends_the_update() {
    let mut site = Site::of(&[100]);
    let document = |version| Document {
        version,
        takeover: Takeover {
            max_surge: 0,
            ..Takeover::default()
        },
        ..Document::new("web", 10, 4)
    };
    site.run(&document(1));
    let worker = site.workers.get_mut(&1).unwrap();
    worker.crashes = true;
    worker.restarts = 0;
    site.put(&document(2));
    site.pass(10);
    assert_eq!(progress(&site, "web"), Progress::Running);
    assert_eq!(site.count("web", "FAILED"), 1, "and no other is touched");
    site.workers.get_mut(&1).unwrap().restarts = 2;
    site.pass(3);
    let ended = progress(&site, "web");
    assert!(matches!(ended, Progress::Failed(_)), "{ended:?}");
    assert_eq!(site.count("web", "RUNNING"), 3);
}

#[test]
fn a_drained_worker_gives_its_copies_to_others_and_gets_none() {
    let mut site = Site::of(&[100, 100, 100]);
    site.run(&Document::new("web", 10, 6));
    site.schedule_on(1, Scheduling::Draining);
    site.pass(3);
    assert_eq!(site.runs(1), 0);
    assert_eq!(site.count("web", "RUNNING"), 6);
    site.run(&Document::new("more", 10, 2));
    assert_eq!(site.runs(1), 0);
    assert_eq!(site.memory_left(1), 100);
}

#[test]
fn what_a_drained_worker_cannot_give_away_stays_until_there_is_room() {
    let mut site = Site::of(&[100, 20]);
    site.run(&Document::new("web", 60, 1));
    site.schedule_on(1, Scheduling::Draining);
    site.pass(5);
    assert_eq!(site.rows("web"), ["0 Holder RUNNING w1 1.1"]);
    site.join(3, 100);
    site.pass(5);
    assert_eq!(site.rows("web"), ["0 Holder RUNNING w3 1.2"]);
    site.run(&Document {
        worker: Some("w1".to_owned()),
        ..Document::new("pinned", 10, 1)
    });
    assert_eq!(
        site.rows("pinned"),
        ["0 Holder NOT_DEPLOYED cordoned - 1.0"]
    );
}

#[test]
fn a_lost_successor_is_replaced_and_a_lost_holder_is_succeeded() {
    let mut site = Site::of(&[100, 100, 100]);
    site.run(&Document::new("web", 60, 1));
    site.workers.get_mut(&2).unwrap().never_starts = true;
    begin(&mut site, migrate("web"));
    site.deliver();
    site.cut(2);
    site.pass(15);
    let rows = site.rows("web");
    assert!(
        rows.contains(&"0 Holder RUNNING w3 1.3".to_owned()),
        "{rows:?}"
    );
    let mut site = Site::of(&[100, 100]);
    site.run(&Document::new("web", 60, 1));
    site.workers.get_mut(&2).unwrap().never_starts = true;
    begin(&mut site, migrate("web"));
    site.deliver();
    site.cut(1);
    site.pass(15);
    site.workers.get_mut(&2).unwrap().never_starts = false;
    site.deliver();
    site.back(1);
    site.pass(3);
    assert_eq!(site.rows("web"), ["0 Holder RUNNING w2 1.2"]);
    assert_eq!((site.runs(1), site.runs(2)), (0, 1));
}

#[test]
fn the_root_orders_a_takeover_and_hears_what_became_of_it() {
    let mut site = Site::of(&[100, 50]);
    site.meet_root();
    // The first set of a root is empty, unless this cluster has lost its store.
    site.sync_root();
    let document = Document::new("web", 60, 1);
    site.root.assign(&document, 0, 1);
    site.sync_root();
    let first = site.root.heard(&document, 0).unwrap().copies[0].instance;
    let to_w2 = Handover {
        worker: Some("w2".to_owned()),
        ..Root::migration_of(first, 2)
    };
    site.root.order(&document, 0, 2, to_w2);
    site.sync_root();
    let report = site.root.heard(&document, 0).unwrap();
    let refused = report.refused.as_ref().expect("it has no room");
    assert_eq!(refused.reason.code, ReasonCode::InsufficientMemory);
    assert_eq!((report.assignment, report.copies[0].instance), (2, first));
    site.join(3, 100);
    site.root
        .order(&document, 0, 3, Root::migration_of(first, 3));
    site.sync_root();
    let report = site.root.heard(&document, 0).unwrap();
    assert!(report.refused.is_none());
    let [copy] = report.copies.as_slice() else {
        panic!("{report:?}");
    };
    assert_eq!(
        (copy.node_name.as_str(), copy.generation.assignment),
        ("w3", 3)
    );
    assert_ne!(copy.instance, first);
}

#[test]
fn reconcile_says_which_copy_stays() {
    for (reconcile, stays) in [
        (Reconcile::KeepOriginal, "w1"),
        (Reconcile::KeepReplacement, "w2"),
        (Reconcile::Best, "w1"),
    ] {
        let mut site = Site::of(&[100, 100]);
        site.run(&Document {
            reconcile,
            ..Document::new("web", 10, 1)
        });
        site.cut(1);
        site.pass(10);
        site.back(1);
        site.deliver();
        assert_eq!(
            site.rows("web"),
            [format!("0 Holder RUNNING {stays} 1.3")],
            "{reconcile:?}"
        );
    }
}
