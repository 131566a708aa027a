//! Each of these once failed.

use sync::{Change, Child, Digest, Observed, Observer, Parent, Reading, Timing, Verdict};

use crate::thing::{
    ELSEWHERE, HERE, Thing, first_term, parent_of, receive, restarted, send, settle, small_parts,
    thing,
};

#[test]
fn a_late_message_of_the_former_run_does_not_fence_the_present_one() {
    let (timing, old) = (Timing::default(), first_term());
    let mut parent = parent_of([thing(1, 1)]);
    let mut child = Child::default();
    parent.acknowledge(child.held(), HERE, &timing);
    let late = send(&mut parent, 0, &old, &timing);
    settle(&mut parent, &mut child, &old, &timing);

    let term = old.next(102);
    parent = restarted(&parent);
    parent.put(thing(2, 1));
    settle(&mut parent, &mut child, &term, &timing);
    let (verdict, held) = receive(&mut child, &late[0]);
    assert_eq!(verdict, Verdict::Superseded);
    parent.acknowledge(held, HERE, &timing);
    parent.put(thing(3, 1));
    settle(&mut parent, &mut child, &term, &timing);
    assert!(parent.is_synced(HERE));
}

#[test]
fn parts_staged_of_another_change_with_as_many_parts_do_not_stall() {
    let (timing, term) = (small_parts(), first_term());
    let mut parent = parent_of([thing(0, 1)]);
    let mut child = Child::default();
    settle(&mut parent, &mut child, &term, &timing);
    // A delta of three parts, of which two arrive.
    (1..=13).for_each(|key| parent.put(thing(key, 1)));
    let delta = send(&mut parent, 1_000, &term, &timing);
    assert_eq!(delta.len(), 3);
    for part in &delta[..2] {
        let _ = receive(&mut child, part);
    }
    // The restarted parent has no log: the whole set, in three parts too, of which the first is lost.
    let term = term.next(102);
    parent = restarted(&parent);
    parent.acknowledge(child.held(), HERE, &timing);
    let whole = send(&mut parent, 0, &term, &timing);
    assert_eq!((whole.len(), whole[0].base), (3, None));
    for part in &whole[1..] {
        let (_, held) = receive(&mut child, part);
        parent.acknowledge(held, HERE, &timing);
    }
    settle(&mut parent, &mut child, &term, &timing);
    assert!(parent.is_synced(HERE));
}

#[test]
fn removals_are_dealt_out_over_parts_too() {
    let (timing, term) = (Timing::default(), first_term());
    let mut parent = parent_of((0..2_000).map(|key| thing(key, 1)));
    let mut child = Child::default();
    settle(&mut parent, &mut child, &term, &timing);
    (0..2_000).for_each(|key| parent.remove(&key));
    let changes = send(&mut parent, 0, &term, &timing);
    let most = changes.iter().map(|part| part.remove.len()).max();
    assert!(most < Some(400), "{most:?} removals in one part");
    settle(&mut parent, &mut child, &term, &timing);
    assert!(parent.is_synced(HERE) && child.set().is_empty());
}

#[test]
fn a_whole_set_that_is_refused_again_waits_for_its_time() {
    // Parent and child that disagree on a mark for ever: a faulty version.
    let (timing, term) = (Timing::default(), first_term());
    let mut parent = parent_of([thing(1, 1)]);
    let mut child: Child<Thing> = Child::default();
    parent.acknowledge(child.held(), HERE, &timing);
    let mut sent = 0;
    for _ in 0..10 {
        for change in send(&mut parent, 1_000, &term, &timing) {
            sent += 1;
            let wrong = Change {
                digest: Digest(1),
                ..change
            };
            let (verdict, held) = receive(&mut child, &wrong);
            assert_eq!(verdict, Verdict::Refuse { want_whole: true });
            parent.acknowledge(held, HERE, &timing);
        }
    }
    assert_eq!(sent, 1);
}

#[test]
fn the_parts_of_a_whole_set_that_was_asked_for_are_sent_once() {
    let (timing, term) = (small_parts(), first_term());
    let mut parent = parent_of((0..20).map(|key| thing(key, 1)));
    let mut child = Child::default();
    settle(&mut parent, &mut child, &term, &timing);
    child.refused(true, false);
    parent.put(thing(20, 1));
    assert_eq!(settle(&mut parent, &mut child, &term, &timing), 5);
    assert!(parent.is_synced(HERE));
}

#[test]
fn a_part_that_never_arrives_is_halved_although_others_were_staged() {
    let (timing, term) = (small_parts(), first_term());
    let mut parent = parent_of((0..20).map(|key| thing(key, 1)));
    let mut child = Child::default();
    parent.acknowledge(child.held(), HERE, &timing);
    let changes = send(&mut parent, 0, &term, &timing);
    let _ = receive(&mut child, &changes[0]);
    for now in 1..10 {
        parent.disconnected();
        parent.acknowledge(child.held(), HERE, &timing);
        let changes = send(&mut parent, now * 20_000, &term, &timing);
        // Nothing over 100 bytes gets through.
        for change in changes.iter().take_while(|change| change.put.len() <= 2) {
            let _ = receive(&mut child, change);
        }
    }
    parent.acknowledge(child.held(), HERE, &timing);
    assert!(parent.is_synced(HERE));
}

#[test]
fn a_single_part_that_never_arrives_is_halved() {
    let (timing, term) = (small_parts(), first_term());
    let mut parent = parent_of((0..4).map(|key| thing(key, 1)));
    let child: Child<Thing> = Child::default();
    parent.acknowledge(child.held(), HERE, &timing);
    assert_eq!(send(&mut parent, 0, &term, &timing).len(), 1);
    parent.disconnected();
    parent.acknowledge(child.held(), HERE, &timing);
    assert_eq!(send(&mut parent, 0, &term, &timing).len(), 2);
}

#[test]
fn sending_goes_on_at_once_after_a_reconnect_in_the_first_second_of_the_clock() {
    let (timing, term) = (small_parts(), first_term());
    let mut parent = parent_of((0..20).map(|key| thing(key, 1)));
    let mut child = Child::default();
    parent.acknowledge(child.held(), HERE, &timing);
    let changes = send(&mut parent, 0, &term, &timing);
    let _ = receive(&mut child, &changes[0]);
    parent.disconnected();
    parent.acknowledge(child.held(), HERE, &timing);
    let first = send(&mut parent, 10, &term, &timing)
        .first()
        .map(|change| change.part);
    assert_eq!(first, Some(1));
}

#[test]
fn a_restarted_parent_makes_itself_known_without_sending_the_set() {
    let (timing, old) = (Timing::default(), first_term());
    let mut parent = parent_of([thing(1, 1), thing(2, 1)]);
    let mut child = Child::default();
    settle(&mut parent, &mut child, &old, &timing);
    let mut zombie = parent.clone();

    let term = old.next(102);
    parent = restarted(&parent);
    parent.acknowledge(child.held(), HERE, &timing);
    let announcement = send(&mut parent, 0, &term, &timing);
    assert_eq!(announcement.len(), 1);
    assert!(announcement[0].put.is_empty() && announcement[0].base.is_some());
    let (_, held) = receive(&mut child, &announcement[0]);
    parent.acknowledge(held, HERE, &timing);
    assert!(send(&mut parent, 100_000, &term, &timing).is_empty());

    // The former run, still alive, changes nothing.
    let before = child.set().clone();
    zombie.remove(&1);
    for change in send(&mut zombie, 100_000, &old, &timing) {
        let (verdict, held) = receive(&mut child, &change);
        assert_eq!(verdict, Verdict::Superseded);
        zombie.acknowledge(held, HERE, &timing);
    }
    assert_eq!(child.set(), &before);
    assert!(send(&mut zombie, 200_000, &old, &timing).is_empty());
}

#[test]
fn an_empty_child_does_not_follow_a_late_message_back_to_a_former_store() {
    let (timing, old) = (Timing::default(), first_term());
    let mut parent = parent_of([thing(1, 1)]);
    let mut child = Child::default();
    parent.acknowledge(child.held(), HERE, &timing);
    let late: Vec<Change<Thing>> = send(&mut parent, 0, &old, &timing)
        .into_iter()
        .map(|change| Change {
            incarnation: ELSEWHERE,
            ..change
        })
        .collect();
    let _ = receive(&mut child, &late[0]);
    // The work was deleted; then the store was made anew, and the child follows.
    let emptied = Change {
        base: Some(1),
        revision: 2,
        digest: Digest::default(),
        put: Vec::new(),
        remove: vec![1],
        ..late[0].clone()
    };
    let _ = receive(&mut child, &emptied);
    let mut parent: Parent<Thing> = parent_of([]);
    let term = first_term().next(104);
    settle(&mut parent, &mut child, &term, &timing);
    assert_eq!(child.mark().incarnation, Some(HERE));
    let _ = receive(&mut child, &late[0]);
    assert_eq!(child.mark().incarnation, Some(HERE));
    assert!(child.set().is_empty());
}

#[test]
fn an_adopted_child_of_a_diverged_copy_takes_a_lower_revision() {
    let (timing, old) = (Timing::default(), first_term());
    let mut parent = parent_of([thing(1, 1)]);
    let mut child = Child::default();
    settle(&mut parent, &mut child, &old, &timing);
    // A copy of the store is started elsewhere, while the first goes on.
    let mut copy = restarted(&parent);
    let second = old.next(102);
    parent = restarted(&parent);
    (2..6).for_each(|key| parent.put(thing(key, 1)));
    settle(&mut parent, &mut child, &second, &timing);

    let other = old.next(103);
    settle(&mut copy, &mut child, &other, &timing);
    assert!(!copy.is_synced(HERE));
    let former = child.digest();
    copy.put(thing(2, 1));
    copy.adopt(former);
    settle(&mut copy, &mut child, &other, &timing);
    assert!(copy.is_synced(HERE));
    assert_eq!(child.set(), copy.set());
}

#[test]
fn a_child_that_slept_through_twenty_restarts_follows_again() {
    let (timing, first) = (Timing::default(), first_term());
    let mut parent = parent_of([thing(1, 1), thing(2, 1)]);
    let mut child = Child::default();
    settle(&mut parent, &mut child, &first, &timing);
    let mut term = first;
    for nonce in 200..220 {
        parent = restarted(&parent);
        term = term.next(nonce);
    }
    parent.remove(&2);
    let held = child.held();
    assert!(!parent.is_overtaken(&held, HERE, &term));
    settle(&mut parent, &mut child, &term, &timing);
    assert!(parent.is_synced(HERE));
    assert_eq!(child.set(), parent.set());
}

#[test]
fn a_copy_of_the_store_learns_from_a_child_that_it_is_overtaken() {
    let (timing, old) = (Timing::default(), first_term());
    let mut parent = parent_of([thing(1, 1)]);
    let mut child = Child::default();
    settle(&mut parent, &mut child, &old, &timing);
    let copy = restarted(&parent);
    let second = old.next(102);
    parent = restarted(&parent);
    settle(&mut parent, &mut child, &second, &timing);
    assert!(!parent.is_overtaken(&child.held(), HERE, &second));
    // Started beside the first, or in its place later: it descends from `old` and not from `second`.
    let beside = old.next(103);
    assert!(copy.is_overtaken(&child.held(), HERE, &beside));
    assert!(copy.is_overtaken(&child.held(), HERE, &beside.next(104)));
    assert!(!copy.is_overtaken(&child.held(), ELSEWHERE, &beside));
    // The run that resumes.
    assert!(parent.is_overtaken(&child.held(), HERE, &old));
}

#[test]
fn a_store_that_lost_a_revision_of_its_last_run_is_overtaken() {
    let (timing, old) = (Timing::default(), first_term());
    let mut parent = parent_of([thing(1, 1)]);
    let image = restarted(&parent);
    let mut child = Child::default();
    parent.put(thing(2, 1));
    settle(&mut parent, &mut child, &old, &timing);
    let term = old.next(102);
    let mut image = restarted(&image);
    assert!(image.is_overtaken(&child.held(), HERE, &term));
    // Nor is that forgotten when it has decided as much since.
    image.put(thing(3, 1));
    image.put(thing(4, 1));
    assert!(image.is_overtaken(&child.held(), HERE, &term));
    assert!(!restarted(&parent).is_overtaken(&child.held(), HERE, &term));
}

#[test]
fn a_later_run_that_forgot_a_revision_is_not_obeyed_before_it_adopts() {
    let (timing, old) = (Timing::default(), first_term());
    let mut parent = parent_of([thing(1, 1)]);
    let mut forgetful = restarted(&parent);
    let mut child = Child::default();
    parent.put(thing(2, 1));
    settle(&mut parent, &mut child, &old, &timing);
    // The store lost its last commit, but not the term.
    let term = old.next(102);
    settle(&mut forgetful, &mut child, &term, &timing);
    assert_eq!(child.set().len(), 2);
    forgetful.adopt(child.digest());
    settle(&mut forgetful, &mut child, &term, &timing);
    assert!(forgetful.is_synced(HERE));
}

#[test]
fn a_whole_set_rewrites_only_what_differs() {
    let (timing, term) = (Timing::default(), first_term());
    let mut parent = parent_of((0..10).map(|key| thing(key, 1)));
    let mut child = Child::default();
    settle(&mut parent, &mut child, &term, &timing);
    parent.put(thing(3, 2));
    let term = term.next(102);
    parent = restarted(&parent);
    parent.acknowledge(child.held(), HERE, &timing);
    let whole = send(&mut parent, 0, &term, &timing);
    assert_eq!(whole[0].put.len(), 10);
    let (verdict, _) = receive(&mut child, &whole[0]);
    let Verdict::Apply(update) = verdict else {
        panic!("{verdict:?}")
    };
    assert_eq!(update.put, [thing(3, 2)]);
}

#[test]
fn after_a_lost_report_nothing_counts_as_wholly_known() {
    let mut observer = Observer::new(1);
    let mut observed = Observed::default();
    let mut report = |observer: &mut Observer<Thing>, arrives: bool| {
        let report = observer.report();
        observer.reported();
        if arrives {
            let reading = observed.read(&report);
            observed.apply(&report);
            return (reading, observed.is_whole());
        }
        (Reading::Stale, observed.is_whole())
    };
    observer.put(thing(1, 1));
    assert_eq!(report(&mut observer, true), (Reading::Fresh, true));
    observer.put(thing(2, 1));
    report(&mut observer, false);
    observer.put(thing(3, 1));
    assert_eq!(report(&mut observer, true), (Reading::Gap, false));
    // What was lost is said again: then everything is known, without a whole report.
    observer.put(thing(2, 2));
    assert_eq!(report(&mut observer, true), (Reading::Fresh, true));
}

#[test]
fn a_set_in_flight_gets_the_proof_that_the_child_turns_out_to_need() {
    let (timing, term) = (Timing::default(), first_term());
    let mut parent = parent_of([thing(1, 1)]);
    let mut child: Child<Thing> = Child::default();
    // A late word of before the child had any set makes the parent send without proof.
    parent.acknowledge(child.held(), HERE, &timing);
    let first = send(&mut parent, 0, &term, &timing);
    let elsewhere = Change {
        incarnation: ELSEWHERE,
        revision: 4,
        digest: Digest::default(),
        put: Vec::new(),
        ..first[0].clone()
    };
    let _ = receive(&mut child, &elsewhere);
    settle(&mut parent, &mut child, &term, &timing);
    assert!(parent.is_synced(HERE));
}
