//! What happened is told once, whatever is lost, doubled, killed or put back.

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::time::Duration;

    use model::event::{Event, Tier};
    use model::id::{EventId, InstanceId, JobId};
    use model::slot::Generation;
    use model::telling::{Heard, LEFT_OUT, Stamp, Telling, Told, Untold};
    use model::time::{Instant, Wall};
    use proptest::prelude::*;

    fn event(job: u128, at: i64) -> Event {
        Event {
            id: EventId::from_bits(0),
            at: Wall(at),
            tier: Tier::Worker,
            job: JobId::from_bits(job),
            tenant: model::access::TenantPath::root(),
            instance: Some(InstanceId::from_bits(job)),
            generation: Generation::default(),
            from: if at % 2 == 0 { "RUNNING" } else { "FAILED" },
            to: if at % 2 == 0 { "FAILED" } else { "RUNNING" },
            cause: "exited".to_owned(),
            message: String::new(),
        }
    }

    fn happen(untold: &mut Untold, job: u128, at: i64) -> Told {
        let told = Told {
            stamp: untold.stamp(0),
            count: 1,
            event: event(job, at),
        };
        untold.take(&told);
        told
    }

    fn child(capacity: usize) -> Untold {
        let mut untold = Untold::new(capacity);
        untold.begin(7);
        untold
    }

    fn numbers(telling: &Telling) -> Vec<u64> {
        let events = telling.events.iter();
        events.map(|told| told.stamp.number).collect()
    }

    /// Sends what is due, as a core does.
    fn send(untold: &mut Untold, now: Instant) -> Option<Telling> {
        let telling = untold.telling(now)?;
        untold.told(now, telling.sent());
        Some(telling)
    }

    fn confirm(untold: &mut Untold, now: Instant, stamp: Stamp) {
        for confirmed in untold.confirmed(stamp) {
            untold.forget(now, confirmed.number);
        }
    }

    #[test]
    fn new_events_do_not_wait_for_a_confirmation_and_lost_ones_are_sent_again() {
        let mut untold = child(10);
        let mut now = Instant(1_000);
        happen(&mut untold, 1, 0);
        let first = send(&mut untold, now).unwrap();
        assert_eq!((first.after, numbers(&first)), (None, vec![1]));
        assert_eq!(send(&mut untold, now), None);
        happen(&mut untold, 1, 1);
        let second = send(&mut untold, now).unwrap();
        assert_eq!((second.after, numbers(&second)), (first.last(), vec![2]));

        // The first one was lost: the second one alone means nothing.
        let heard = Heard::default();
        assert_eq!(heard.take(&second), None);
        let mut waits = Vec::new();
        for _ in 0..5 {
            let again = untold.resend_at().unwrap();
            waits.push(again.since(now).as_secs());
            now = again;
            let all = send(&mut untold, now).unwrap();
            assert_eq!((all.after, numbers(&all)), (None, vec![1, 2]));
        }
        assert_eq!(waits, [2, 4, 8, 15, 15]);
        let all = untold.telling(Instant(u64::MAX)).unwrap();
        let (heard, news) = heard.take(&all).unwrap();
        assert_eq!(news.len(), 2);
        // The same again, and the late second one, are no news.
        for old in [&all, &second, &first] {
            assert_eq!(heard.take(old).unwrap().1, Vec::<&Told>::new());
        }
        confirm(&mut untold, now, all.last().unwrap());
        assert_eq!(untold.iter().count(), 0);
        assert_eq!(untold.resend_at(), None);
        assert_eq!(send(&mut untold, Instant(u64::MAX)), None);
    }

    #[test]
    fn a_new_connection_begins_with_the_oldest() {
        let mut untold = child(10);
        happen(&mut untold, 1, 0);
        send(&mut untold, Instant(0)).unwrap();
        untold.disconnected();
        happen(&mut untold, 1, 1);
        let all = send(&mut untold, Instant(1)).unwrap();
        assert_eq!((all.after, numbers(&all)), (None, vec![1, 2]));
    }

    #[test]
    fn a_few_messages_may_be_under_way() {
        let mut untold = child(1_000);
        for at in 0..500 {
            happen(&mut untold, 1, at);
        }
        let mut sizes = Vec::new();
        let mut last = None;
        while let Some(telling) = send(&mut untold, Instant(0)) {
            assert_eq!(telling.after, last);
            last = telling.last();
            sizes.push(telling.events.len());
        }
        assert_eq!(sizes, [32; 4]);
        confirm(
            &mut untold,
            Instant(0),
            Stamp {
                line: 7,
                number: 32,
            },
        );
        assert_eq!(
            numbers(&send(&mut untold, Instant(0)).unwrap()),
            (129..161).collect::<Vec<_>>()
        );
    }

    #[test]
    fn long_sentences_make_smaller_messages() {
        let mut untold = child(100);
        for number in 1..=20 {
            let mut event = event(1, number);
            event.message = "x".repeat(2_000);
            let stamp = untold.stamp(0);
            untold.take(&Told {
                stamp,
                count: 1,
                event,
            });
        }
        assert_eq!(untold.telling(Instant(0)).unwrap().events.len(), 7);
    }

    #[test]
    fn a_confirmation_of_what_is_not_there_confirms_nothing() {
        let mut untold = child(10);
        happen(&mut untold, 1, 0);
        happen(&mut untold, 1, 1);
        let of = |line, number| {
            let confirmed = untold.confirmed(Stamp { line, number }).into_iter();
            confirmed.map(|untell| untell.number).collect::<Vec<_>>()
        };
        assert_eq!(of(7, 2), [1, 2]);
        assert_eq!(of(7, 1), [1]);
        assert_eq!(of(7, 3), Vec::<u64>::new());
        // Of a start whose numbers were counted again since.
        assert_eq!(of(6, 2), Vec::<u64>::new());
    }

    #[test]
    fn what_is_too_much_is_left_out_from_the_oldest_on_and_counted() {
        let mut untold = child(3);
        happen(&mut untold, 2, 100);
        for at in 0..10 {
            happen(&mut untold, 1, at);
            untold.leave_out(Instant(0));
        }
        let rows: Vec<(u64, u32, i64)> = untold
            .iter()
            .map(|told| (told.stamp.number, told.count, told.event.at.0))
            .collect();
        // The other job's only event stays.
        assert_eq!(rows, [(1, 1, 100), (10, 9, 8), (11, 1, 9)]);
        let summary = &untold.iter().nth(1).unwrap().event;
        assert_eq!(summary.cause, LEFT_OUT);
        assert!(
            summary.message.starts_with("9 changes were left out"),
            "{}",
            summary.message
        );
        // From the first one's state to the last one's.
        assert_eq!((summary.from, summary.to), ("RUNNING", "FAILED"));
    }

    #[test]
    fn of_more_jobs_than_are_kept_the_oldest_goes() {
        let mut untold = child(3);
        for job in 0..10 {
            happen(&mut untold, job, i64::try_from(job).unwrap());
        }
        let left_out = untold.leave_out(Instant(0));
        let left_out: Vec<u64> = left_out.iter().map(|(untell, _)| untell.number).collect();
        assert_eq!(left_out, (1..=7).collect::<Vec<_>>());
        assert_eq!(untold.iter().count(), 3);
    }

    #[test]
    fn what_is_under_way_is_not_left_out_and_is_sent_again_in_time() {
        let mut untold = child(40);
        for at in 0..40 {
            happen(&mut untold, 1, at);
        }
        assert_eq!(
            numbers(&send(&mut untold, Instant(0)).unwrap()),
            (1..=32).collect::<Vec<_>>()
        );
        // Whatever happens meanwhile, no confirmation for two seconds is the same.
        for second in 0..2_u64 {
            for at in 0..30 {
                happen(&mut untold, 1, 100 + at);
                untold.leave_out(Instant(second * 900));
            }
        }
        assert_eq!(untold.iter().count(), 40);
        assert!(untold.resend_at().is_some_and(|at| at <= Instant(2_000)));
        let again = send(&mut untold, Instant(2_000)).unwrap();
        assert_eq!(again.after, None);
        assert_eq!(numbers(&again), (1..=32).collect::<Vec<_>>());
        assert!(again.events.iter().all(|told| told.count == 1));
    }

    #[test]
    fn a_child_that_keeps_nothing_tells_nothing() {
        assert!(!Untold::new(0).is_kept());
        assert!(Untold::new(1).is_kept());
    }

    #[test]
    fn the_last_starts_of_a_child_are_remembered() {
        let stamps = (0..20).map(|line| Stamp { line, number: 5 });
        let heard = Heard::of(stamps);
        assert_eq!(heard.lines().len(), Heard::LINES);
        assert!(!heard.has(Stamp { line: 3, number: 1 }));
        assert!(heard.has(Stamp { line: 4, number: 5 }));
        assert!(!heard.has(Stamp { line: 4, number: 6 }));
    }

    /// What may happen between a child and its parent.
    #[derive(Debug, Clone, Copy)]
    enum Step {
        Happen(u8),
        /// The child sends what is due; the message arrives so many times.
        Send(u8),
        /// A confirmation arrives, of the last or of an earlier message.
        Confirm(u8),
        /// An old message arrives once more.
        Again(u8),
        Restart,
        BackUp,
        /// The child's disk goes back to what it was.
        Restore,
        Pass,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..3_u8).prop_map(Step::Happen),
            4 => (0..3_u8).prop_map(Step::Send),
            3 => any::<u8>().prop_map(Step::Confirm),
            1 => any::<u8>().prop_map(Step::Again),
            1 => Just(Step::Restart),
            1 => Just(Step::BackUp),
            1 => Just(Step::Restore),
            2 => Just(Step::Pass),
        ]
    }

    /// A child with its disk, its parent, and all that was ever said.
    struct World {
        now: Instant,
        at: i64,
        line: u64,
        untold: Untold,
        disk: BTreeMap<u64, Told>,
        put_off: Vec<u64>,
        backup: BTreeMap<u64, Told>,
        heard: Heard,
        said: Vec<Telling>,
        confirmations: Vec<Stamp>,
        history: Vec<i64>,
        happened: Vec<i64>,
        /// What went with a disk: it arrives if it was under way.
        at_risk: BTreeSet<i64>,
    }

    impl World {
        fn new() -> Self {
            let mut world = Self {
                now: Instant(0),
                at: 0,
                line: 0,
                untold: Untold::new(1_000),
                disk: BTreeMap::new(),
                put_off: Vec::new(),
                backup: BTreeMap::new(),
                heard: Heard::default(),
                said: Vec::new(),
                confirmations: Vec::new(),
                history: Vec::new(),
                happened: Vec::new(),
                at_risk: BTreeSet::new(),
            };
            world.start();
            world
        }

        fn start(&mut self) {
            self.line += 1;
            self.put_off.clear();
            self.untold = Untold::new(1_000);
            for told in self.disk.values() {
                self.untold.take(told);
            }
            self.untold.begin(self.line);
        }

        fn arrive(&mut self, telling: &Telling) {
            let Some((heard, news)) = self.heard.take(telling) else {
                return;
            };
            self.history.extend(news.iter().map(|told| told.event.at.0));
            self.heard = heard;
            self.confirmations.extend(telling.last());
        }

        fn step(&mut self, step: Step) {
            // More starts than are remembered may double what an old disk brings back.
            let starts = matches!(step, Step::Restart | Step::Restore);
            if starts && self.line >= Heard::LINES as u64 {
                return;
            }
            match step {
                Step::Happen(job) => {
                    self.at += 1;
                    let told = happen(&mut self.untold, u128::from(job), self.at);
                    // What was put off goes with this commit.
                    for number in self.put_off.drain(..) {
                        self.disk.remove(&number);
                    }
                    self.disk.insert(told.stamp.number, told);
                    self.happened.push(self.at);
                }
                Step::Send(times) => {
                    if let Some(telling) = send(&mut self.untold, self.now) {
                        for _ in 0..times {
                            self.arrive(&telling);
                        }
                        self.said.push(telling);
                    }
                }
                Step::Confirm(which) => {
                    let count = self.confirmations.len();
                    if count > 0 {
                        let back = usize::from(which % 4).min(count - 1);
                        let stamp = self.confirmations[count - 1 - back];
                        for confirmed in self.untold.confirmed(stamp) {
                            self.untold.forget(self.now, confirmed.number);
                            if confirmed.can_wait {
                                self.put_off.push(confirmed.number);
                            } else {
                                self.disk.remove(&confirmed.number);
                            }
                        }
                    }
                }
                Step::Again(which) => {
                    let count = self.said.len();
                    if count > 0 {
                        let telling = self.said[usize::from(which) % count].clone();
                        self.arrive(&telling);
                    }
                }
                Step::Restart => self.start(),
                Step::BackUp => self.backup = self.disk.clone(),
                Step::Restore => {
                    let lost = self.disk.values().map(|told| told.event.at.0);
                    let lost: Vec<i64> = lost.collect();
                    self.disk = self.backup.clone();
                    let kept = |at: &i64| self.disk.values().any(|told| told.event.at.0 == *at);
                    self.at_risk.extend(lost.iter().filter(|at| !kept(at)));
                    self.start();
                }
                Step::Pass => self.now = self.now.plus(Duration::from_secs(20)),
            }
        }

        /// Nothing is lost any more.
        fn settle(&mut self) {
            for _ in 0..200 {
                self.step(Step::Pass);
                self.step(Step::Send(1));
                self.step(Step::Confirm(0));
            }
        }
    }

    proptest! {
        #[test]
        fn each_event_arrives_once(steps in proptest::collection::vec(step(), 0..80)) {
            let mut world = World::new();
            for step in steps {
                world.step(step);
            }
            world.settle();
            let once: BTreeSet<i64> = world.history.iter().copied().collect();
            prop_assert_eq!(once.len(), world.history.len(), "twice: {:?}", world.history);
            for at in &world.happened {
                prop_assert!(once.contains(at) || world.at_risk.contains(at), "{} is missing", at);
            }
            prop_assert_eq!(world.untold.iter().count(), 0);
            // Only what the present start told may still be there.
            let waits: Vec<u64> = world.disk.keys().copied().collect();
            world.put_off.sort_unstable();
            prop_assert_eq!(waits, world.put_off);
        }
    }
}
