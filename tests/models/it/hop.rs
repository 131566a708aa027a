//! One hop in every order of events.

use edgeio_models::hop::{Budget, Hop, Rule, Sabotage, Stores};

use crate::{holds, is_caught};

/// Nothing but messages.
const QUIET: Budget = Budget {
    changes: 0,
    parent_crashes: 0,
    child_crashes: 0,
    restores: 0,
    successors: 0,
    reconnects: 0,
    resends: 0,
};

fn hop(budget: Budget) -> Hop {
    Hop {
        budget,
        ..Hop::default()
    }
}

/// Two runs, each with a store of its own.
fn copied(budget: Budget) -> Hop {
    Hop {
        stores: Stores::Copied,
        ..hop(budget)
    }
}

#[test]
fn no_order_of_messages_parts_a_parent_from_its_child() {
    let budget = Budget {
        changes: 2,
        reconnects: 1,
        resends: 1,
        ..QUIET
    };
    holds(hop(budget), 8);
}

#[test]
fn no_crash_of_either_side_does() {
    let budget = Budget {
        changes: 1,
        parent_crashes: 1,
        child_crashes: 1,
        resends: 1,
        ..QUIET
    };
    holds(hop(budget), 8);
}

#[test]
fn no_emptied_or_restored_store_stops_what_it_has_not_adopted() {
    let budget = Budget {
        changes: 1,
        child_crashes: 1,
        restores: 2,
        ..QUIET
    };
    holds(hop(budget), 8);
}

#[test]
fn a_run_that_has_a_successor_changes_nothing() {
    let budget = Budget {
        changes: 1,
        child_crashes: 1,
        successors: 1,
        resends: 1,
        ..QUIET
    };
    holds(hop(budget), 7);
}

#[test]
fn a_run_on_a_copy_of_the_store_changes_nothing_once_it_is_superseded() {
    let budget = Budget {
        changes: 2,
        successors: 1,
        ..QUIET
    };
    holds(copied(budget), 7);
}

#[test]
fn no_mixture_of_faults_breaks_a_rule() {
    let budget = Budget {
        changes: 1,
        parent_crashes: 1,
        child_crashes: 1,
        restores: 1,
        successors: 1,
        reconnects: 1,
        resends: 1,
    };
    holds(hop(budget), 6);
}

fn is_seen(sabotage: Sabotage, rule: Rule, scene: Hop) {
    let scene = Hop {
        sabotage: Some(sabotage),
        ..scene
    };
    is_caught(scene, rule.name(), 8);
}

#[test]
fn a_child_that_does_not_compare_digests_is_seen() {
    let budget = Budget {
        changes: 2,
        successors: 1,
        ..QUIET
    };
    is_seen(Sabotage::AnyDigest, Rule::Promise, copied(budget));
}

#[test]
fn a_child_that_believes_every_store_is_seen() {
    let budget = Budget {
        restores: 1,
        ..QUIET
    };
    is_seen(Sabotage::AnyStore, Rule::Adoption, hop(budget));
}

#[test]
fn a_child_that_goes_back_to_an_earlier_revision_is_seen() {
    let budget = Budget {
        changes: 1,
        ..QUIET
    };
    is_seen(Sabotage::AnyRevision, Rule::Forward, hop(budget));
}

#[test]
fn a_child_that_does_not_look_at_terms_is_seen() {
    let budget = Budget {
        changes: 1,
        successors: 1,
        ..QUIET
    };
    is_seen(Sabotage::AnyTerm, Rule::Superseded, copied(budget));
}

#[test]
fn a_parent_that_sends_nothing_twice_is_seen() {
    let budget = Budget {
        changes: 1,
        ..QUIET
    };
    is_seen(Sabotage::SentOnce, Rule::Agreement, hop(budget));
}

#[test]
fn a_child_that_does_not_say_what_it_needs_is_seen() {
    let budget = Budget {
        changes: 2,
        successors: 1,
        ..QUIET
    };
    is_seen(Sabotage::NeverWhole, Rule::Agreement, copied(budget));
}
