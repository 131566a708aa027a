//! Long random schedules with many items and small parts.

use std::collections::VecDeque;

use proptest::prelude::*;
use sync::{Change, Child, Held, Item as _, Parent, Term, Timing, Update};

use crate::thing::{HERE, Thing, first_term, parent_of, receive, restarted, small_parts, thing};

#[derive(Debug, Clone)]
enum Event {
    /// That many items from this one on get this version.
    Put(u16, u16, u16),
    Remove(u16, u16),
    Time(u64),
    /// That many messages arrive downward, and what they call forth upward.
    Arrive(usize),
    /// The first messages under way are lost.
    Lose(usize),
    /// The first message arrives again at the end.
    Double,
    Swap(usize),
    Break,
    CrashParent,
    CrashChild,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0..60_u16, 1..30_u16, 0..4_u16).prop_map(|(from, count, version)| Event::Put(from, count, version)),
        2 => (0..60_u16, 1..30_u16).prop_map(|(from, count)| Event::Remove(from, count)),
        3 => (1..20_000_u64).prop_map(Event::Time),
        8 => (1..12_usize).prop_map(Event::Arrive),
        2 => (1..4_usize).prop_map(Event::Lose),
        1 => Just(Event::Double),
        1 => (1..6_usize).prop_map(Event::Swap),
        2 => Just(Event::Break),
        1 => Just(Event::CrashParent),
        1 => Just(Event::CrashChild),
    ]
}

struct Link {
    parent: Parent<Thing>,
    child: Child<Thing>,
    term: Term,
    timing: Timing,
    now: u64,
    down: VecDeque<Change<Thing>>,
    sets: std::collections::BTreeMap<u64, std::collections::BTreeMap<u16, Thing>>,
}

impl Link {
    fn new() -> Self {
        Self {
            parent: Parent::default(),
            child: Child::default(),
            term: first_term(),
            timing: small_parts(),
            now: 0,
            down: VecDeque::new(),
            sets: std::iter::once((0, std::collections::BTreeMap::new())).collect(),
        }
    }

    fn note(&mut self) {
        self.sets
            .insert(self.parent.revision(), self.parent.set().clone());
    }

    fn acknowledge(&mut self, held: Held) {
        self.parent.acknowledge(held, HERE, &self.timing);
        self.send();
    }

    fn send(&mut self) {
        let due = self
            .parent
            .due(self.now, HERE, &self.term, &self.timing)
            .unwrap_or_default();
        if due.is_empty() {
            return;
        }
        self.parent.sent(&due, self.now);
        for change in &due {
            self.invariant_a_part_is_small_and_a_delta_is_news(change);
        }
        self.down.extend(due);
    }

    fn invariant_a_part_is_small_and_a_delta_is_news(&self, change: &Change<Thing>) {
        let bytes = change.put.len() * 40 + change.remove.len() * 48;
        assert!(bytes <= self.timing.part, "{bytes} bytes in a part");
        assert_eq!(change.parts > 0, change.part < change.parts);
        if let Some(base) = change.base {
            let (old, new) = (&self.sets[&base], &self.sets[&change.revision]);
            for item in &change.put {
                assert_eq!(new.get(&item.key()), Some(item));
                // A change that was taken back inside one delta may be named.
                let touched = old.get(&item.key()) != Some(item) || change.revision > base + 1;
                assert!(touched, "{item:?} is no news after {base}");
            }
            assert!(change.remove.iter().all(|key| !new.contains_key(key)));
        }
    }

    fn arrive(&mut self) {
        let Some(change) = self.down.pop_front() else {
            return;
        };
        let (_, held) = receive(&mut self.child, &change);
        assert_eq!(
            Some(self.child.set()),
            self.sets.get(&self.child.mark().revision)
        );
        self.acknowledge(held);
    }

    fn reconnect(&mut self) {
        self.down.clear();
        self.parent.disconnected();
        self.acknowledge(self.child.held());
    }

    fn take(&mut self, event: &Event) {
        match *event {
            Event::Put(from, count, version) => {
                for key in from..from + count {
                    self.parent.put(thing(key, version));
                    self.note();
                }
                self.send();
            }
            Event::Remove(from, count) => {
                for key in from..from + count {
                    self.parent.remove(&key);
                    self.note();
                }
                self.send();
            }
            Event::Time(passed) => {
                self.now += passed;
                self.send();
            }
            Event::Arrive(count) => (0..count).for_each(|_| self.arrive()),
            Event::Lose(count) => {
                self.down.drain(..count.min(self.down.len()));
            }
            Event::Double => {
                let first = self.down.front().cloned();
                self.down.extend(first);
            }
            Event::Swap(at) if at < self.down.len() => self.down.swap(0, at),
            Event::Swap(_) => {}
            Event::Break => self.reconnect(),
            Event::CrashParent => {
                self.term = self.term.next(self.term.nonce + 1);
                self.parent = restarted(&self.parent);
                self.reconnect();
            }
            Event::CrashChild => {
                let durable = Update {
                    mark: self.child.mark().clone(),
                    put: self.child.set().values().cloned().collect(),
                    remove: Vec::new(),
                };
                self.child = Child::default();
                self.child.apply(&durable);
                self.reconnect();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_schedule_ends_in_the_same_set(events in prop::collection::vec(event(), 1..150)) {
        let mut link = Link::new();
        link.acknowledge(link.child.held());
        for event in &events {
            link.take(event);
        }
        // The link heals: in four resends both hold the same.
        for _ in 0..4 {
            link.now += link.timing.resend_max;
            link.acknowledge(link.child.held());
            let mut messages = 0;
            while !link.down.is_empty() {
                link.arrive();
                messages += 1;
                prop_assert!(messages < 1_000, "a storm");
            }
        }
        prop_assert!(link.parent.is_synced(HERE), "{:?}", link.child.held());
        prop_assert_eq!(link.parent.set(), link.child.set());
    }

    #[test]
    fn one_revision_behind_costs_one_item(keys in prop::collection::vec(0..500_u16, 1..40)) {
        let mut link = Link::new();
        link.parent = parent_of((0..500).map(|key| thing(key, 0)));
        link.note();
        link.acknowledge(link.child.held());
        while !link.down.is_empty() {
            link.arrive();
        }
        for (at, key) in keys.into_iter().enumerate() {
            link.take(&Event::Put(key, 1, 1 + at as u16));
            prop_assert_eq!(link.down.len(), 1);
            prop_assert_eq!(link.down[0].put.len() + link.down[0].remove.len(), 1);
            link.arrive();
            prop_assert!(link.parent.is_synced(HERE));
        }
    }

    /// A link that breaks after every few messages: each connection gets further, and no part is sent twice without need.
    #[test]
    fn a_big_set_gets_through_a_link_that_keeps_breaking(alive in 1..4_usize, items in 20..200_u16) {
        let mut link = Link::new();
        link.parent = parent_of((0..items).map(|key| thing(key, 0)));
        link.note();
        link.acknowledge(link.child.held());
        let parts = link.down[0].parts as usize;
        prop_assert_eq!(link.down.len(), parts.min(3), "as many as the window has");
        let mut arrived = 0;
        while !link.parent.is_synced(HERE) {
            for _ in 0..alive.min(link.down.len()) {
                link.arrive();
                arrived += 1;
            }
            prop_assert!(arrived <= parts, "{arrived} parts arrived of {parts}");
            link.reconnect();
        }
        prop_assert_eq!(arrived, parts);
    }
}

#[test]
fn parts_shrink_to_the_floor_and_no_further() {
    let mut link = Link::new();
    link.parent = parent_of((0..100).map(|key| thing(key, 0)));
    link.note();
    link.acknowledge(link.child.held());
    let mut sizes = Vec::new();
    for _ in 0..6 {
        sizes.push(link.down.front().map_or(0, |part| part.put.len()));
        link.reconnect();
    }
    assert_eq!(sizes, [5, 2, 1, 1, 1, 1]);
}

#[test]
fn a_child_that_was_away_for_longer_than_the_log_gets_the_whole_set() {
    let mut link = Link::new();
    link.timing = Timing::default();
    link.parent = parent_of([thing(0, 0)]);
    link.note();
    link.acknowledge(link.child.held());
    link.arrive();
    link.parent.disconnected();
    for version in 1..=4_097 {
        link.parent.put(thing(1, version));
        link.note();
    }
    link.acknowledge(link.child.held());
    assert_eq!(link.down[0].base, None);
    link.arrive();
    assert!(link.parent.is_synced(HERE));
}

#[test]
fn a_change_is_sent_again_later_and_later() {
    let mut link = Link::new();
    link.timing = Timing::default();
    link.parent = parent_of([thing(0, 0)]);
    link.acknowledge(link.child.held());
    let mut waits = Vec::new();
    for _ in 0..5 {
        let at = link.parent.resend_at(&link.timing).expect("in flight");
        waits.push(at - link.now);
        assert!(
            link.parent
                .due(at - 1, HERE, &link.term, &link.timing)
                .is_none()
        );
        link.now = at;
        link.sets.insert(1, link.parent.set().clone());
        link.send();
    }
    assert_eq!(waits, [2_000, 4_000, 8_000, 15_000, 15_000]);
}
