//! One cluster and two workers in every order of events.

use edgeio_models::cluster::{Budget, Cluster, Rule, Sabotage, Start};

use crate::{holds, is_caught};

/// Nothing but messages.
const QUIET: Budget = Budget {
    requests: 0,
    ticks: 0,
    repeats: 0,
    cuts: 0,
    engine_crashes: 0,
    cluster_crashes: 0,
};

fn cluster(start: Start, budget: Budget) -> Cluster {
    // In a deeper search each state is asked whether all agree in the end.
    let usual = std::env::var_os("EDGEIO_DEPTH").is_none();
    Cluster {
        budget,
        start,
        sample: if usual { 8 } else { 1 },
        sabotage: None,
    }
}

#[test]
fn jobs_come_and_go_in_any_order_of_messages() {
    let budget = Budget {
        requests: 3,
        repeats: 1,
        ..QUIET
    };
    holds(cluster(Start::Idle, budget), 10);
}

#[test]
fn an_engine_that_dies_at_any_moment_loses_and_doubles_nothing() {
    let budget = Budget {
        requests: 1,
        ticks: 1,
        engine_crashes: 1,
        repeats: 1,
        ..QUIET
    };
    holds(cluster(Start::Busy, budget), 7);
}

#[test]
fn a_cluster_that_dies_at_any_moment_loses_and_doubles_nothing() {
    let budget = Budget {
        requests: 1,
        ticks: 1,
        cluster_crashes: 1,
        ..QUIET
    };
    holds(cluster(Start::Busy, budget), 7);
}

#[test]
fn a_worker_that_is_lost_is_replaced_once() {
    let budget = Budget {
        cuts: 1,
        ticks: 3,
        ..QUIET
    };
    holds(cluster(Start::Busy, budget), 9);
}

#[test]
fn of_two_copies_one_stays_when_the_lost_worker_is_back() {
    let budget = Budget {
        requests: 1,
        repeats: 1,
        engine_crashes: 1,
        cluster_crashes: 1,
        ..QUIET
    };
    holds(cluster(Start::Lost, budget), 5);
}

#[test]
fn no_mixture_of_faults_breaks_a_rule() {
    let budget = Budget {
        requests: 1,
        ticks: 3,
        repeats: 1,
        cuts: 1,
        engine_crashes: 1,
        cluster_crashes: 1,
    };
    holds(cluster(Start::Busy, budget), 5);
}

fn is_seen(sabotage: Sabotage, rule: Rule, start: Start, budget: Budget) {
    let scene = Cluster {
        sabotage: Some(sabotage),
        sample: 1,
        ..cluster(start, budget)
    };
    is_caught(scene, rule.name(), 8);
}

#[test]
fn an_answer_before_the_commit_is_seen() {
    let budget = Budget {
        requests: 1,
        cluster_crashes: 1,
        ..QUIET
    };
    is_seen(Sabotage::AnswerFirst, Rule::Accepted, Start::Idle, budget);
}

#[test]
fn a_cluster_that_does_not_hear_a_worker_is_seen() {
    // Two and a half reports until it is suspect, and one and a half keep-alives more.
    let budget = Budget { ticks: 5, ..QUIET };
    is_seen(Sabotage::Deaf, Rule::Patience, Start::Busy, budget);
}

#[test]
fn a_second_process_is_seen() {
    let budget = Budget {
        engine_crashes: 1,
        ..QUIET
    };
    is_seen(Sabotage::SecondProcess, Rule::Overlap, Start::Busy, budget);
}

#[test]
fn a_stop_that_does_not_stop_is_seen() {
    let budget = Budget {
        requests: 1,
        ..QUIET
    };
    is_seen(Sabotage::LyingStop, Rule::Ended, Start::Busy, budget);
}

#[test]
fn a_runtime_that_never_stops_anything_is_seen() {
    is_seen(Sabotage::NoStop, Rule::Agreement, Start::Lost, QUIET);
}
