//! The whole table of an instance's life, printed into `docs/instance-states.md`.
//!
//! A change of [`InstanceState::on`] fails here with a diff; `UPDATE_EXPECT=1 cargo test -p model` takes it over, and the
//! change of the table is then reviewed with the code.

use std::fmt::Write as _;

use expect_test::expect_file;
use model::instance::{Exit, Health, InstanceEvent, InstanceState, Observed, Report, Transition};
use model::reason::{Reason, ReasonCode, Rejections};
use model::time::Wall;

const HEAD: &str = "\
<!-- Printed by crates/model/tests/instance_states.rs. Do not edit: UPDATE_EXPECT=1 cargo test -p model -->

# The states of an instance

What `InstanceState::on` (`crates/model/src/instance.rs`) makes of every event in every state. A row is an event, a
column the state in which it comes. A dash: a duplicate, or too late, so nothing changes.

Only the tier that has an instance in its state acts on the result: a cluster for each copy (`Soft::Copy` in
`cluster-orchestrator/core`); the root shows what its clusters report. The states that a user sees of a whole *job*
(`MIGRATING` and `SCALING` among them) are derived from these, and are no states of an instance.

";

fn report(observed: Observed, last_exit: Option<Exit>, at: i64) -> Report {
    Report {
        observed,
        restarts: 0,
        last_exit,
        at: Wall(at),
    }
}

fn exit(code: i32) -> Exit {
    Exit {
        code: Some(code),
        ..Exit::default()
    }
}

fn running(at: i64) -> Report {
    let observed = Observed::Running {
        since: Wall(at),
        endpoints: Vec::new(),
        health: None,
    };
    report(observed, None, at)
}

fn failed(at: i64, next_attempt: Option<Wall>) -> Report {
    let reason = Reason::new(ReasonCode::CrashLoop, "it ends again and again");
    let observed = Observed::Failed {
        reason,
        next_attempt,
    };
    report(observed, Some(exit(1)), at)
}

fn not_deployed(candidate: &str) -> (Reason, Rejections) {
    let mut rejections = Rejections::default();
    rejections.add(ReasonCode::InsufficientMemory, candidate);
    let reason = Reason::new(
        ReasonCode::InsufficientMemory,
        "1 worker: 1 short of memory",
    );
    (reason, rejections)
}

/// Every state, with what it says to a reader.
fn states() -> Vec<(InstanceState, &'static str)> {
    use InstanceState as S;
    let (reason, rejections) = not_deployed("worker-1");
    let states = vec![
        S::Requested,
        S::ScheduledCluster,
        S::ScheduledNode,
        S::Running(running(1)),
        S::Failed(failed(1, Some(Wall(2)))),
        S::NotDeployed { reason, rejections },
        S::Unknown {
            last: Some(running(1)),
        },
        S::Terminated { last: None },
    ];
    states.into_iter().map(explained).collect()
}

/// A state that is added must be added to [`states`] too: this does not compile before it has its line.
fn explained(state: InstanceState) -> (InstanceState, &'static str) {
    use InstanceState as S;
    let line = match &state {
        S::Requested => "accepted and stored by its owner; no cluster is chosen yet.",
        S::ScheduledCluster => "a cluster is chosen; that cluster has not chosen a worker yet.",
        S::ScheduledNode => {
            "a worker is chosen and its share reserved there; nobody has seen it run yet. `Starting` means no more than this."
        }
        S::Running(_) => "its worker saw it run. Nothing else leads here.",
        S::Failed(_) => {
            "it does not run though it should: between two attempts (`next_attempt_at` says when), or for good."
        }
        S::NotDeployed { .. } => {
            "nothing can host it now; the candidates are counted by what they lack, and it is tried again when room that fits appears."
        }
        S::Unknown { .. } => {
            "its worker or cluster cannot be heard; it may run there. The last report is kept and shown as stale."
        }
        S::Terminated { .. } => {
            "it ended, as told or by itself with success, and is never started again. Late reports change nothing."
        }
    };
    (state, line)
}

/// Every event with its name, each kind of report among them.
fn events() -> Vec<(&'static str, InstanceEvent)> {
    use InstanceEvent as E;
    let (reason, rejections) = not_deployed("worker-1");
    let (other, counted) = not_deployed("worker-2");
    let events = vec![
        E::Assigned,
        E::Placed,
        E::Rejected { reason, rejections },
        E::Rejected {
            reason: other,
            rejections: counted,
        },
        E::Reported(report(Observed::Starting, None, 1)),
        E::Reported(running(1)),
        E::Reported(running(2)),
        E::Reported(failed(1, Some(Wall(2)))),
        E::Reported(failed(2, None)),
        E::Reported(report(Observed::Ended, Some(exit(0)), 1)),
        E::Reported(report(Observed::Ended, Some(exit(1)), 1)),
        E::Reported(report(Observed::Ended, None, 1)),
        E::Lost,
        E::Returned,
        E::HandedUp,
        E::Gone,
    ];
    events
        .into_iter()
        .map(|event| (name(&event), event))
        .collect()
}

/// The name of an event. As above: an event or a kind of report that is added does not compile before it has one.
fn name(event: &InstanceEvent) -> &'static str {
    use InstanceEvent as E;
    match event {
        E::Assigned => "`Assigned`: a cluster is chosen",
        E::Placed => "`Placed`: a worker is chosen",
        E::Rejected { rejections, .. } if *rejections == not_deployed("worker-1").1 => {
            "`Rejected`: no candidate fits"
        }
        E::Rejected { .. } => "`Rejected`, with other counts than before",
        E::Reported(report) => match (&report.observed, &report.last_exit) {
            (Observed::Starting, _) => "`Reported(Starting)`",
            (Observed::Running { .. }, _) if report.at == Wall(1) => "`Reported(Running)`",
            (Observed::Running { .. }, _) => "`Reported(Running)`, a later run",
            (
                Observed::Failed {
                    next_attempt: Some(_),
                    ..
                },
                _,
            ) => "`Reported(Failed)`, tried again",
            (Observed::Failed { .. }, _) => "`Reported(Failed)`, given up",
            (Observed::Ended, Some(exit)) if exit.success() => "`Reported(Ended)`, exit code 0",
            (Observed::Ended, Some(_)) => "`Reported(Ended)`, another exit",
            (Observed::Ended, None) => "`Reported(Ended)`, exit unknown",
        },
        E::Lost => "`Lost`: its worker or cluster is lost",
        E::Returned => "`Returned`: it is back, not heard yet",
        E::HandedUp => "`HandedUp`: the cluster gave it back",
        E::Gone => "`Gone`: nothing is left of it",
    }
}

fn cell(state: &InstanceState, event: &InstanceEvent) -> &'static str {
    match state.on(event) {
        Transition::Ignored => "-",
        Transition::To(next) => next.as_str(),
    }
}

fn table() -> String {
    let (states, events) = (states(), events());
    let mut text = HEAD.to_owned();
    let mut row = |cells: Vec<&str>| {
        // Writing into a String cannot fail.
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    };
    let names = states.iter().map(|(state, _)| state.as_str());
    row(["event"].into_iter().chain(names).collect());
    row(vec!["---"; states.len() + 1]);
    for (name, event) in &events {
        let cells = states.iter().map(|(state, _)| cell(state, event));
        row([*name].into_iter().chain(cells).collect());
    }
    text.push_str("\n## What each state says\n\n");
    for (state, line) in &states {
        let _ = writeln!(text, "- **{state}**: {line}");
    }
    text
}

#[test]
fn the_table_in_the_documents_is_the_one_in_the_code() {
    expect_file!["../../../docs/instance-states.md"].assert_eq(&table());
}

#[test]
fn nothing_follows_the_end() {
    for (state, _) in states().iter().filter(|(state, _)| state.is_final()) {
        for (name, event) in events() {
            assert_eq!(state.on(&event), Transition::Ignored, "{state} on {name}");
        }
    }
}

#[test]
fn only_a_workers_word_leads_to_running() {
    for (state, _) in states() {
        for (name, event) in events() {
            let runs = matches!(state.on(&event), Transition::To(InstanceState::Running(_)));
            let said = matches!(&event, InstanceEvent::Reported(report)
                if matches!(report.observed, Observed::Running { .. }));
            assert!(!runs || said, "{state} on {name}");
        }
    }
}

#[test]
fn the_same_event_again_changes_nothing_more() {
    for (state, _) in states() {
        for (name, event) in events() {
            let Transition::To(next) = state.on(&event) else {
                continue;
            };
            assert_eq!(
                next.on(&event),
                Transition::Ignored,
                "{state} on {name}, twice"
            );
        }
    }
}

#[test]
fn what_runs_is_ready_unless_its_check_says_otherwise() {
    let runs = |health| {
        let observed = Observed::Running {
            since: Wall(1),
            endpoints: Vec::new(),
            health,
        };
        report(observed, None, 1)
    };
    for (observed, ready) in [
        (runs(None), true),
        (runs(Some(Health::Healthy)), true),
        (runs(Some(Health::Starting)), false),
        (runs(Some(Health::Unhealthy)), false),
        (failed(1, None), false),
        (report(Observed::Starting, None, 1), false),
        (report(Observed::Ended, Some(exit(0)), 1), false),
    ] {
        assert_eq!(observed.is_ready(), ready, "{observed:?}");
    }
}
