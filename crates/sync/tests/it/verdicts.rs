//! Each branch of `Child::decide`, and what each order of terms makes of a message.

use sync::{Change, Child, Digest, Foreign, Held, Item, Term, Verdict};

use crate::thing::{ELSEWHERE, HERE, Thing, receive, thing};

fn digest(things: &[Thing]) -> Digest {
    things
        .iter()
        .fold(Digest::default(), |sum, thing| sum.plus(thing.mark()))
}

/// Runs 1 to 3 of the store; 4 is of a copy that was started beside 3.
fn term(run: u64) -> Term {
    let second = Term::default().next(1).next(2);
    match run {
        1 => Term::default().next(1),
        2 => second,
        _ => second.next(run),
    }
}

/// The whole set `things` at `revision`.
fn whole(revision: u64, things: &[Thing]) -> Change<Thing> {
    Change {
        incarnation: HERE,
        term: term(2),
        base: None,
        revision,
        digest: digest(things),
        part: 0,
        parts: 1,
        put: things.to_vec(),
        remove: Vec::new(),
        adopted: None,
    }
}

/// A child that holds items 1 and 2 at revision 5 of run 2.
fn child() -> Child<Thing> {
    let mut child = Child::default();
    let _ = receive(&mut child, &whole(5, &[thing(1, 1), thing(2, 1)]));
    child
}

/// From revision 5 to 6: item 3 comes, item 1 goes.
fn delta() -> Change<Thing> {
    Change {
        base: Some(5),
        put: vec![thing(3, 1)],
        remove: vec![1],
        ..whole(6, &[thing(2, 1), thing(3, 1)])
    }
}

fn brief(verdict: &Verdict<Thing>) -> String {
    match verdict {
        Verdict::Apply(update) => {
            let put: Vec<u16> = update.put.iter().map(Item::key).collect();
            format!(
                "apply {} +{put:?} -{:?}",
                update.mark.revision, update.remove
            )
        }
        Verdict::Stage(part) => format!("stage {} of {}", part.part, part.parts),
        Verdict::Known => "known".to_owned(),
        Verdict::Refuse { want_whole } => format!("refuse, whole: {want_whole}"),
        Verdict::Superseded => "superseded".to_owned(),
        Verdict::Foreign(foreign) => format!("foreign: {foreign:?}"),
    }
}

#[test]
fn a_child_decides_by_the_table() {
    let held = child().digest();
    let (two, three) = (
        vec![thing(1, 1), thing(2, 1)],
        vec![thing(2, 1), thing(3, 1)],
    );
    #[rustfmt::skip]
    let table: Vec<(&str, Change<Thing>, &str)> = vec![
        ("a delta that fits", delta(), "apply 6 +[3] -[1]"),
        ("a delta onto an older revision", Change { base: Some(4), ..delta() }, "refuse, whole: false"),
        ("a delta onto a later revision", Change { base: Some(6), revision: 7, ..delta() }, "refuse, whole: false"),
        ("a delta with another result", Change { digest: held, ..delta() }, "refuse, whole: true"),
        ("a whole set", whole(8, &three), "apply 8 +[3] -[1]"),
        ("a whole set with another result", Change { digest: held, ..whole(8, &three) }, "refuse, whole: true"),
        ("the same revision again", whole(5, &two), "known"),
        ("an older revision", whole(3, &three), "known"),
        ("the same revision with another set", whole(5, &three), "apply 5 +[3] -[1]"),
        ("the first part of two", Change { parts: 2, ..delta() }, "stage 0 of 2"),
        ("the second part without the first", Change { part: 1, parts: 2, ..delta() }, "refuse, whole: false"),
        ("the same set from a later run", Change { term: term(3), ..whole(5, &two) }, "apply 5 +[] -[]"),
        ("a delta from a later run", Change { term: term(3), ..delta() }, "apply 6 +[3] -[1]"),
        ("less from a later run", Change { term: term(3), ..whole(3, &three) }, "foreign: Diverged"),
        ("an earlier run", Change { term: term(1), ..delta() }, "superseded"),
        ("another store", Change { incarnation: ELSEWHERE, ..whole(9, &three) }, "foreign: Incarnation"),
        ("another store, after another set", Change { incarnation: ELSEWHERE, adopted: Some(Digest(1)), ..whole(9, &three) }, "foreign: Incarnation"),
        ("another store that took over", Change { incarnation: ELSEWHERE, adopted: Some(held), ..whole(1, &three) }, "apply 1 +[3] -[1]"),
        ("a delta of one that took over", Change { incarnation: ELSEWHERE, adopted: Some(held), ..delta() }, "refuse, whole: false"),
    ];
    for (case, change, expected) in table {
        assert_eq!(brief(&child().decide(&change)), expected, "{case}");
    }
}

#[test]
fn a_new_child_takes_any_whole_set_and_no_delta() {
    let new: Child<Thing> = Child::default();
    assert_eq!(
        brief(&new.decide(&whole(9, &[thing(1, 1)]))),
        "apply 9 +[1] -[]"
    );
    assert_eq!(brief(&new.decide(&delta())), "refuse, whole: false");
    assert_eq!(new.held(), Held::default());
}

#[test]
fn an_empty_set_of_a_known_store_is_not_given_to_another_unseen() {
    let mut empty = Child::default();
    let _ = receive(&mut empty, &whole(5, &[]));
    let other = Change {
        incarnation: ELSEWHERE,
        ..whole(1, &[thing(1, 1)])
    };
    assert_eq!(brief(&empty.decide(&other)), "foreign: Incarnation");
    let seen = Change {
        adopted: Some(Digest::default()),
        ..other
    };
    assert_eq!(brief(&empty.decide(&seen)), "apply 1 +[1] -[]");
}

#[test]
fn two_copies_of_one_store_do_not_share_a_child() {
    let mut child = child();
    let _ = receive(
        &mut child,
        &Change {
            term: term(3),
            ..delta()
        },
    );
    let copy = Change {
        term: term(4),
        ..whole(7, &[thing(9, 1)])
    };
    assert_eq!(brief(&child.decide(&copy)), "foreign: Diverged");
    let adopting = Change {
        adopted: Some(child.digest()),
        ..copy
    };
    assert_eq!(brief(&child.decide(&adopting)), "apply 7 +[9] -[2, 3]");
}

#[test]
fn parts_are_kept_in_order_and_given_up_for_another_change() {
    let part = |part: u32, key: u16| Change {
        part,
        parts: 3,
        put: vec![thing(key, 1)],
        ..whole(9, &[thing(6, 1), thing(7, 1), thing(8, 1)])
    };
    let mut child = child();
    let staged = |child: &Child<Thing>| child.held().staged.map(|mark| (mark.revision, mark.next));
    let _ = receive(&mut child, &part(0, 6));
    // Again, and one too far on.
    assert_eq!(
        brief(&receive(&mut child, &part(0, 6)).0),
        "refuse, whole: false"
    );
    assert_eq!(
        brief(&receive(&mut child, &part(2, 8)).0),
        "refuse, whole: false"
    );
    let _ = receive(&mut child, &part(1, 7));
    assert_eq!(staged(&child), Some((9, 2)));
    // A later part of another change does not join in; its first part starts over.
    let other = |at: u32| Change {
        revision: 10,
        ..part(at, 6)
    };
    assert_eq!(
        brief(&receive(&mut child, &other(2)).0),
        "refuse, whole: false"
    );
    assert_eq!(staged(&child), Some((9, 2)));
    let mut elsewhere = child.clone();
    let _ = receive(&mut elsewhere, &other(0));
    assert_eq!(staged(&elsewhere), Some((10, 1)));
    assert_eq!(
        brief(&receive(&mut child, &part(2, 8)).0),
        "apply 9 +[6, 7, 8] -[1, 2]"
    );
    assert_eq!(staged(&child), None);
}

#[test]
fn only_a_later_run_of_the_same_store_supersedes() {
    let mut child = child();
    child.refused(false, true);
    let held = child.held();
    assert!(held.supersedes(HERE, &term(1)));
    assert!(!held.supersedes(HERE, &term(2)));
    assert!(!held.supersedes(HERE, &term(3)));
    assert!(!held.supersedes(ELSEWHERE, &term(1)));
    let _ = receive(&mut child, &delta());
    assert!(!child.held().superseded);
}

#[test]
fn why_a_set_is_foreign_is_told() {
    let other = Change {
        incarnation: ELSEWHERE,
        ..delta()
    };
    assert_eq!(
        child().decide(&other),
        Verdict::Foreign(Foreign::Incarnation)
    );
}
