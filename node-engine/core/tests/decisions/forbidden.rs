//! What the worker's owner does not let run, and what the bounds of a container do to an application.

use std::time::Duration;

use model::instance::{Exit, Observed};
use model::reason::{Reason, ReasonCode};
use model::security::{Capability, Security, User};
use model::workload::{Restart, RuntimeKind, Workload};
use node_core::{Found, Input};

use crate::support::{Worker, desired, id, listed, started, stopped, workload};

fn forbidden(number: u128) -> Input {
    let message = "the policy of this worker forbids it";
    Input::StartForbidden {
        instance: id(number),
        reason: Reason::new(ReasonCode::ForbiddenByWorker, message),
    }
}

#[test]
fn what_is_forbidden_is_told_once_and_not_tried_again_by_this_engine() {
    let mut worker = Worker::ready();
    worker.want_web(1);
    worker.sync();
    assert!(!worker.state.is_settled());
    worker.turn([forbidden(1)]);
    // Without an end of the wait: there is none.
    assert_eq!(worker.observed(), "1 forbidden_by_worker");
    assert_eq!(worker.deadline(), None);
    assert_eq!(worker.pass(Duration::from_hours(1)), "");
    assert!(worker.state.is_settled());
    let told = ["SCHEDULED_NODE -> FAILED at 0: forbidden_by_worker"];
    assert_eq!(worker.history(1), told);
    // It leaves like any other.
    worker.drop_web(1);
    assert!(worker.sync().contains("stop 1"));
    worker.turn([stopped(1)]);
    assert_eq!(worker.observed(), "");
}

#[test]
fn the_next_engine_asks_again_since_its_owner_may_have_changed_the_policy() {
    let mut worker = Worker::ready();
    worker.want_web(1);
    worker.sync();
    worker.turn([forbidden(1)]);
    worker.restart();
    assert_eq!(worker.turn([listed(&[])]), "start 1 1.1\n");
    worker.turn([started(1)]);
    assert_eq!(worker.observed(), "1 running");
}

#[test]
fn a_refusal_that_comes_late_changes_nothing() {
    let mut worker = Worker::running(Restart::Always);
    worker.turn([forbidden(1)]);
    assert_eq!(worker.observed(), "1 running");
    worker.turn([forbidden(7)]);
    assert_eq!(worker.observed(), "1 running");
}

/// The sentence after a container ended with exit code 1 and these last words.
fn ended(container: Workload, says: &str) -> String {
    let mut worker = Worker::with(&[RuntimeKind::Docker]);
    worker.turn([
        Input::Listed {
            runtime: RuntimeKind::Docker,
            found: Vec::<Found>::new(),
        },
        Input::Connected,
    ]);
    worker.want(desired(1, 1, container));
    worker.sync();
    worker.turn([started(1)]);
    let exit = Exit {
        code: Some(1),
        log_tail: vec!["first".to_owned(), says.to_owned()],
        ..Exit::default()
    };
    let instance = id(1);
    worker.turn([Input::Exited { instance, exit }]);
    let mut observed = worker.state.observed();
    let reason = observed.find_map(|report| match &report.report.observed {
        Observed::Failed { reason, .. } => Some(reason.message.clone()),
        _ => None,
    });
    reason.unwrap_or_default()
}

#[test]
fn an_end_that_bounds_explain_says_what_to_write() {
    let least = || workload(RuntimeKind::Docker, Restart::Always);
    let asking = |security| Workload {
        security,
        ..least()
    };
    let root = asking(Security {
        user: Some(User::Root),
        capabilities: [Capability::Chown].into(),
        ..Security::default()
    });
    let writable = asking(Security {
        read_only: false,
        ..Security::default()
    });
    for (container, says, hint) in [
        (
            least(),
            "mkdir: cannot create '/x': Read-only file system",
            "security: {read_only: false}",
        ),
        (
            least(),
            "nginx: [emerg] mkdir() failed (13: Permission denied)",
            "user: root",
        ),
        (
            least(),
            "chown: /data: Operation not permitted",
            "capabilities: [CHOWN, …]",
        ),
        (
            least(),
            "sh: can't fork: Resource temporarily unavailable",
            "security: {pids: …}",
        ),
        (root, "chown: /data: Operation not permitted", ""),
        (writable, "touch: /sys/x: Read-only file system", ""),
        (least(), "no database", ""),
    ] {
        let message = ended(container, says);
        let usual = "the application ended (exit code 1) and is started again";
        let more = message.strip_prefix(usual).unwrap();
        assert_eq!(more.is_empty(), hint.is_empty(), "{message}");
        assert!(more.contains(hint), "{message}");
    }
}
