//! Copies that their worker was told to run, and that do not run in time.

use model::access::TenantPath;
use model::instance::InstanceState;

use crate::support::{Document, Site};

/// Seconds of the default deadline.
const DEADLINE: u64 = 600;

fn reason(site: &Site, key: &str) -> String {
    let view = site.job(key);
    let row = view.instances.iter().find_map(|row| match &row.state {
        InstanceState::Failed(report) => report_reason(report),
        _ => None,
    });
    row.unwrap_or_default()
}

fn report_reason(report: &model::instance::Report) -> Option<String> {
    match &report.observed {
        model::instance::Observed::Failed { reason, .. } => {
            Some(format!("{}: {}", reason.code, reason.message))
        }
        _ => None,
    }
}

#[test]
fn a_copy_that_does_not_run_in_time_is_placed_on_another_worker() {
    let mut site = Site::of(&[1_000, 1_000]);
    site.workers.get_mut(&1).unwrap().never_starts = true;
    site.run(&Document::new("web", 100, 1));
    assert_eq!(site.rows("web"), ["0 Holder SCHEDULED_NODE w1 1.1"]);
    site.pass(DEADLINE - 1);
    assert_eq!(site.rows("web"), ["0 Holder SCHEDULED_NODE w1 1.1"]);
    site.pass(3);
    assert_eq!(site.rows("web"), ["0 Holder RUNNING w2 1.2"]);
    assert_eq!(site.runs(1), 0);
    let causes: Vec<String> = site
        .state
        .history()
        .after(&TenantPath::root(), None)
        .map(|event| event.cause.clone())
        .collect();
    assert!(causes.contains(&"deploy_deadline".to_owned()), "{causes:?}");
}

#[test]
fn the_second_worker_that_does_not_run_it_keeps_it_as_failed() {
    let mut site = Site::of(&[1_000, 1_000, 1_000]);
    for worker in site.workers.values_mut() {
        worker.never_starts = true;
    }
    site.run(&Document::new("web", 100, 1));
    site.pass(DEADLINE + 3);
    assert_eq!(site.rows("web"), ["0 Holder SCHEDULED_NODE w2 1.2"]);
    site.pass(DEADLINE + 3);
    assert_eq!(site.rows("web"), ["0 Holder FAILED w2 1.2"]);
    let reason = reason(&site, "web");
    assert!(
        reason.starts_with("deploy_deadline: worker w2 does not run it after 600 s"),
        "{reason}"
    );
    // It is still tried there, and runs in the end.
    site.workers.get_mut(&2).unwrap().never_starts = false;
    site.pass(3);
    assert_eq!(site.rows("web"), ["0 Holder RUNNING w2 1.2"]);
}

#[test]
fn with_no_other_worker_it_stays_and_says_why() {
    let mut site = Site::of(&[1_000]);
    site.workers.get_mut(&1).unwrap().never_starts = true;
    site.run(&Document::new("web", 100, 1));
    site.pass(DEADLINE + 3);
    assert_eq!(site.rows("web"), ["0 Holder FAILED w1 1.1"]);
}

#[test]
fn time_on_a_worker_that_cannot_be_heard_does_not_count() {
    let mut site = Site::of(&[1_000, 1_000]);
    site.workers.get_mut(&1).unwrap().never_starts = true;
    let document = Document {
        lost_after: Some(10_000),
        ..Document::new("web", 100, 1)
    };
    site.run(&document);
    site.cut(1);
    site.pass(DEADLINE + 100);
    assert_eq!(site.rows("web"), ["0 Holder SCHEDULED_NODE w1 1.1"]);
}

#[test]
fn the_deadline_survives_a_restart_of_the_cluster_as_a_new_one() {
    let mut site = Site::of(&[1_000, 1_000]);
    site.workers.get_mut(&1).unwrap().never_starts = true;
    site.run(&Document::new("web", 100, 1));
    site.pass(DEADLINE / 2);
    site.restart();
    site.pass(DEADLINE - 10);
    assert_eq!(site.rows("web"), ["0 Holder SCHEDULED_NODE w1 1.1"]);
    site.pass(30);
    assert_eq!(site.rows("web"), ["0 Holder RUNNING w2 1.2"]);
}
