//! Reports that are lost, doubled and reordered.

use proptest::prelude::*;
use sync::{Item as _, Observed, Observer, Reading, UpReport};

use crate::thing::{Thing, thing};

#[derive(Debug, Clone)]
enum Event {
    Put(u16, u16),
    Remove(u16),
    Report,
    /// One of those under way arrives; `true`: it stays under way.
    Arrive(usize, bool),
    Lose(usize),
    Stamp,
    Restart,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0..6_u16, 0..3_u16).prop_map(|(key, version)| Event::Put(key, version)),
        2 => (0..6_u16).prop_map(Event::Remove),
        4 => Just(Event::Report),
        5 => (0..8_usize, any::<bool>()).prop_map(|(at, again)| Event::Arrive(at, again)),
        1 => (0..8_usize).prop_map(Event::Lose),
        2 => Just(Event::Stamp),
        1 => Just(Event::Restart),
    ]
}

/// Takes a report as an orchestrator does; whether the whole is asked for.
fn take(observed: &mut Observed<Thing>, report: &UpReport<Thing>) -> bool {
    let reading = observed.read(report);
    if reading != Reading::Stale {
        observed.apply(report);
    }
    reading == Reading::Gap
}

proptest! {
    #[test]
    fn both_agree_after_one_whole_exchange(events in prop::collection::vec(event(), 1..120)) {
        let mut observer = Observer::new(1);
        let mut observed = Observed::default();
        let mut under_way: Vec<UpReport<Thing>> = Vec::new();
        let mut newest = (0, 0);
        // What was true at each report that was made.
        let mut truths = std::collections::BTreeMap::new();
        for event in events {
            match event {
                Event::Put(key, version) => observer.put(thing(key, version)),
                Event::Remove(key) => observer.remove(&key),
                Event::Report if observer.is_due() => {
                    let report = observer.report();
                    truths.insert((report.boot, report.sequence), observer.states().clone());
                    under_way.push(report);
                    observer.reported();
                }
                Event::Arrive(at, again) if at < under_way.len() => {
                    let report = under_way[at].clone();
                    if !again {
                        under_way.remove(at);
                    }
                    let (number, before) = ((report.boot, report.sequence), observed.states().clone());
                    let stale = observed.read(&report) == Reading::Stale;
                    prop_assert_eq!(stale, number <= newest);
                    let gap = take(&mut observed, &report);
                    if stale {
                        prop_assert_eq!(&before, observed.states());
                        continue;
                    }
                    newest = number;
                    prop_assert_eq!(gap, !observed.is_whole());
                    if observed.is_whole() {
                        prop_assert_eq!(Some(observed.states()), truths.get(&number));
                    }
                    if gap {
                        observer.ask_whole();
                    }
                }
                Event::Lose(at) if at < under_way.len() => {
                    under_way.remove(at);
                }
                Event::Stamp => {
                    let (boot, sequence, digest) = observer.stamp();
                    let equal = truths.get(&(boot, sequence)).is_none_or(|truth| truth == observed.states());
                    let known = newest == (boot, sequence) && observed.is_whole();
                    // What was lost is noticed by any message, and what was not is not asked for again.
                    prop_assert_eq!(observed.misses(boot, sequence, digest), !known);
                    prop_assert!(!known || equal);
                }
                Event::Restart => {
                    let states: Vec<Thing> = observer.states().values().cloned().collect();
                    observer = Observer::new(observer.boot() + 1);
                    for state in states {
 observer.put(state);
}
                }
                Event::Report | Event::Arrive(..) | Event::Lose(_) => {}
            }
        }
        // The network heals: what is due arrives; at most one whole report is asked for.
        for _ in 0..2 {
            if observer.is_due() {
                let report = observer.report();
                observer.reported();
                take(&mut observed, &report);
            }
            let (boot, sequence, digest) = observer.stamp();
            if observed.misses(boot, sequence, digest) {
                observer.ask_whole();
            }
        }
        prop_assert!(observed.is_whole() && !observer.is_due());
        prop_assert_eq!(observed.states(), observer.states());
        // What is still under way is stale.
        for report in &under_way {
            prop_assert_eq!(observed.read(report), Reading::Stale);
        }
    }
}

#[test]
fn a_restarted_parent_asks_for_the_whole() {
    let mut observer = Observer::new(3);
    observer.put(thing(1, 1));
    observer.reported();
    let mut observed = Observed::default();
    let (boot, sequence, digest) = observer.stamp();
    assert!(observed.misses(boot, sequence, digest));
    observer.put(thing(2, 1));
    assert!(take(&mut observed, &observer.report()));
    assert!(!observed.is_whole());
}

#[test]
fn a_report_carries_only_what_changed() {
    let mut observer = Observer::new(1);
    (0..50).for_each(|key| observer.put(thing(key, 1)));
    observer.reported();
    observer.put(thing(7, 1));
    assert!(!observer.is_due(), "the same state again is not news");
    observer.put(thing(7, 2));
    observer.remove(&9);
    let report = observer.report();
    let keys: Vec<u16> = report.states.iter().map(sync::Item::key).collect();
    assert_eq!((keys, report.gone), (vec![7], vec![9]));
    assert_eq!(thing(7, 2).key(), 7);
}

#[test]
fn an_emptied_child_starts_over() {
    let mut observed = Observed::default();
    let mut observer = Observer::new(9);
    observer.put(thing(1, 1));
    take(&mut observed, &observer.report());
    observed.expect(1);
    let mut anew: Observer<Thing> = Observer::new(1);
    anew.put(thing(2, 1));
    assert!(!take(&mut observed, &anew.report()));
    assert_eq!(observed.states(), anew.states());
}
