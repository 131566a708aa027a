//! What happened at a child, told to its parent event by event: each once, also when they do not hear each other for long.
//!
//! # Flow
//! A child keeps what its parent has not confirmed in [`Untold`], durably. It sends the oldest first, several at a time
//! ([`Telling`]), goes on with what is new without waiting, and begins again with the oldest when no confirmation comes. The
//! parent takes what it does not have yet ([`Heard::take`]) in the same commit as the events that it writes of it, and
//! confirms the last one by its [`Stamp`].
//!
//! # Guarantees
//! An event is taken once, whatever is lost, doubled, late or killed: its stamp has the nonce of the child's start that
//! made it and a number that grows within it, and the parent remembers how far it has heard each of the child's last starts.
//! A store that is emptied or goes back to an older state, at either end, counts the same numbers again only under
//! another nonce.
//!
//! # Bounds
//! A child keeps no more than its capacity. Beyond it, one event stands for the two oldest of one job that are not under way
//! ([`LEFT_OUT`]); where every job has one event only, the oldest goes.
//!
//! # Assumptions
//! A child does not start [`Heard::LINES`] times without hearing one confirmation of what it tells at each of them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::event::Event;
use crate::id::JobId;
use crate::time::Instant;

/// The cause of an event that stands for several that were left out.
pub const LEFT_OUT: &str = "left_out";

/// Events that may be under way without a confirmation.
const WINDOW: usize = 128;
/// Events of one message, at most.
const AT_ONCE: usize = 32;
/// Bytes of one message, about.
const WEIGHT: usize = 16 * 1024;
/// What an event weighs beside its texts.
const BARE: usize = 300;
/// After this long without a confirmation the oldest are sent again; then twice as long.
const RESEND: Duration = Duration::from_secs(2);
/// The longest time until they are.
const RESEND_MAX: Duration = Duration::from_secs(15);

/// Which event of a child it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    /// Nonce of the child's start that made the event.
    pub line: u64,
    /// Grows with each event of that start.
    pub number: u64,
}

/// An event on its way to the parent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Which.
    pub stamp: Stamp,
    /// How many events it stands for; more than one where some were left out.
    pub count: u32,
    /// What happened. Its id says nothing here: each tier numbers what it keeps.
    pub event: Event,
}

impl Told {
    /// An event that stands for this one and the later one of the same job.
    fn merged(&self, later: &Self) -> Self {
        let count = self.count.saturating_add(later.count);
        let same = self.event.instance == later.event.instance;
        let event = Event {
            instance: later.event.instance.filter(|_| same),
            from: if same { self.event.from } else { "" },
            cause: LEFT_OUT.to_owned(),
            message: format!(
                "{count} changes were left out: more happened than is kept for a parent that does not listen"
            ),
            ..later.event.clone()
        };
        Self {
            stamp: later.stamp,
            count,
            event,
        }
    }

    fn weight(&self) -> usize {
        BARE + self.event.message.len() + self.event.cause.len()
    }
}

/// One message of a child.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Telling {
    /// The event before the first one; `None`: the first one is the oldest that is not confirmed.
    pub after: Option<Stamp>,
    /// In their order.
    pub events: Vec<Told>,
}

impl Telling {
    /// The last event in it: what is confirmed when it is taken.
    pub fn last(&self) -> Option<Stamp> {
        self.events.last().map(|told| told.stamp)
    }

    /// What its sender remembers of it.
    pub fn sent(&self) -> Sent {
        Sent {
            from_oldest: self.after.is_none(),
            last: self.last().map_or(0, |stamp| stamp.number),
        }
    }
}

/// A message that went out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    from_oldest: bool,
    last: u64,
}

/// An event that is not kept any more: it is confirmed, or left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Untell {
    /// Which.
    pub number: u64,
    /// Whether it may be stored with the next write that cannot wait: where it is lost, the event is told once more, and
    /// taken no second time. Those of earlier starts may not: they would pile up where each start is followed by nothing else
    /// to store.
    pub can_wait: bool,
}

/// The child's side: what the parent has not confirmed, in the order in which it happened.
#[derive(Debug, Clone)]
pub struct Untold {
    capacity: usize,
    line: u64,
    next: u64,
    kept: BTreeMap<u64, Told>,
    of_job: BTreeMap<JobId, BTreeSet<u64>>,
    /// Jobs with more than one event, by the number of their oldest.
    several: BTreeSet<(u64, JobId)>,
    /// The greatest number that was sent on this connection and is not confirmed.
    sent: Option<u64>,
    /// Numbers before this one were sent at some time, so the parent may have taken them.
    reached: u64,
    resend_at: Instant,
    resends: u32,
}

impl Untold {
    /// Keeps so many events; 0: nothing is kept, and nothing told.
    pub const fn new(capacity: usize) -> Self {
        Self {
            capacity,
            line: 0,
            next: 1,
            kept: BTreeMap::new(),
            of_job: BTreeMap::new(),
            several: BTreeSet::new(),
            sent: None,
            reached: 0,
            resend_at: Instant(0),
            resends: 0,
        }
    }

    /// Whether events are told at all.
    pub const fn is_kept(&self) -> bool {
        self.capacity > 0
    }

    /// Whether there is room for what is better left out than anything else: less than half is in use.
    pub fn has_room(&self) -> bool {
        self.kept.len() < self.capacity / 2
    }

    /// A start of this nonce begins.
    pub const fn begin(&mut self, line: u64) {
        self.line = line;
    }

    /// The stamp of the event that is taken `ahead` events after the next one.
    pub const fn stamp(&self, ahead: u64) -> Stamp {
        Stamp {
            line: self.line,
            number: self.next + ahead,
        }
    }

    /// What is kept, the oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Told> {
        self.kept.values()
    }

    /// Takes an event in, or puts another one in the place of one that is there.
    pub fn take(&mut self, told: &Told) {
        let number = told.stamp.number;
        self.next = self.next.max(number + 1);
        if self.kept.insert(number, told.clone()).is_none() {
            self.change_job(told.event.job, |numbers| numbers.insert(number));
        }
    }

    /// Forgets the event of that number.
    pub fn forget(&mut self, now: Instant, number: u64) {
        let Some(told) = self.kept.remove(&number) else {
            return;
        };
        self.change_job(told.event.job, |numbers| numbers.remove(&number));
        // What was sent goes by its confirmation only.
        if let Some(sent) = self.sent.filter(|sent| number <= *sent) {
            self.resends = 0;
            self.resend_at = now.plus(RESEND);
            if self.kept.range(..=sent).next().is_none() {
                self.sent = None;
            }
        }
    }

    fn change_job(&mut self, job: JobId, change: impl FnOnce(&mut BTreeSet<u64>) -> bool) {
        let numbers = self.of_job.entry(job).or_default();
        if let Some(oldest) = numbers.first() {
            self.several.remove(&(*oldest, job));
        }
        change(numbers);
        match numbers.first() {
            Some(oldest) if numbers.len() > 1 => {
                self.several.insert((*oldest, job));
            }
            Some(_) => {}
            None => {
                self.of_job.remove(&job);
            }
        }
    }

    /// Goes down to what may be kept: the events that went, each with the later one of its job as it stands for both.
    pub fn leave_out(&mut self, now: Instant) -> Vec<(Untell, Option<Told>)> {
        let mut left_out = Vec::new();
        while self.kept.len() > self.capacity {
            let Some((number, merged)) = self.excess() else {
                break;
            };
            self.forget(now, number);
            if let Some(merged) = &merged {
                self.take(merged);
            }
            let untell = Untell {
                number,
                can_wait: true,
            };
            left_out.push((untell, merged));
        }
        left_out
    }

    /// What goes next. What was sent before may have been taken, and goes last; what is under way stays.
    fn excess(&self) -> Option<(u64, Option<Told>)> {
        let after_sent = self.sent.map_or(0, |sent| sent + 1);
        let mut starts = [self.reached, after_sent].into_iter();
        starts.find_map(|first| self.excess_from(first))
    }

    fn excess_from(&self, first: u64) -> Option<(u64, Option<Told>)> {
        let pair = self.several.iter().find_map(|(_, job)| {
            let mut numbers = self.of_job.get(job)?.range(first..);
            Some((*numbers.next()?, *numbers.next()?))
        });
        match pair {
            Some((oldest, next)) => {
                let merged = self.kept.get(&oldest)?.merged(self.kept.get(&next)?);
                Some((oldest, Some(merged)))
            }
            None => self
                .kept
                .range(first..)
                .next()
                .map(|(number, _)| (*number, None)),
        }
    }

    /// The events that a confirmation of this one confirms; none if it is not there any more.
    pub fn confirmed(&self, stamp: Stamp) -> Vec<Untell> {
        if self.kept.get(&stamp.number).map(|told| told.stamp) != Some(stamp) {
            return Vec::new();
        }
        self.kept
            .range(..=stamp.number)
            .map(|(number, told)| Untell {
                number: *number,
                can_wait: told.stamp.line == self.line,
            })
            .collect()
    }

    /// A connection opened or closed: what was sent on the last one may be lost.
    pub const fn disconnected(&mut self) {
        self.sent = None;
        self.resends = 0;
    }

    /// The next message, if there is one to send.
    pub fn telling(&self, now: Instant) -> Option<Telling> {
        let overdue = self.resend_at <= now;
        let sent = self.sent.filter(|_| !overdue);
        let under_way = sent.map_or(0, |sent| self.kept.range(..=sent).count());
        let room = WINDOW.saturating_sub(under_way).min(AT_ONCE);
        let first = sent.map_or(0, |sent| sent + 1);
        let mut weight = 0;
        let events: Vec<Told> = self
            .kept
            .range(first..)
            .map(|(_, told)| told)
            .take(room)
            .take_while(|told| {
                let fits = weight == 0 || weight + told.weight() <= WEIGHT;
                weight += told.weight();
                fits
            })
            .cloned()
            .collect();
        let before = self.kept.range(..first).next_back();
        (!events.is_empty()).then(|| Telling {
            after: before.map(|(_, told)| told.stamp),
            events,
        })
    }

    /// That message went out.
    pub fn told(&mut self, now: Instant, sent: Sent) {
        if sent.from_oldest {
            if self.sent.is_some() {
                self.resends += 1;
            }
            let wait = RESEND.saturating_mul(1 << self.resends.min(8));
            self.resend_at = now.plus(wait.min(RESEND_MAX));
        }
        self.sent = Some(sent.last);
        self.reached = self.reached.max(sent.last + 1);
    }

    /// When something is sent again, if nothing is confirmed until then.
    pub fn resend_at(&self) -> Option<Instant> {
        self.sent.map(|_| self.resend_at)
    }
}

/// The parent's side: how far one child was heard.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Heard {
    /// The last event of each of its last starts; the one that was heard last is at the end.
    lines: Vec<Stamp>,
}

impl Heard {
    /// How many starts are remembered.
    pub const LINES: usize = 16;

    /// From a store; what is too much is left out.
    pub fn of(lines: impl IntoIterator<Item = Stamp>) -> Self {
        let mut heard = Self::default();
        for stamp in lines {
            heard.note(stamp);
        }
        heard
    }

    /// The last event of each start.
    pub fn lines(&self) -> &[Stamp] {
        &self.lines
    }

    /// Whether that event, and all before it, was taken.
    pub fn has(&self, stamp: Stamp) -> bool {
        self.lines
            .iter()
            .any(|known| known.line == stamp.line && known.number >= stamp.number)
    }

    /// What of a message is new, and how far the child is heard after it; `None`: one before it was lost, and the child
    /// will send it again.
    pub fn take<'t>(&self, telling: &'t Telling) -> Option<(Self, Vec<&'t Told>)> {
        if telling.after.is_some_and(|after| !self.has(after)) {
            return None;
        }
        let (mut heard, mut news) = (self.clone(), Vec::new());
        for told in &telling.events {
            if !heard.has(told.stamp) {
                heard.note(told.stamp);
                news.push(told);
            }
        }
        Some((heard, news))
    }

    fn note(&mut self, stamp: Stamp) {
        self.lines.retain(|known| known.line != stamp.line);
        self.lines.push(stamp);
        let surplus = self.lines.len().saturating_sub(Self::LINES);
        self.lines.drain(..surplus);
    }
}

/// Keeps the last one of each key; what has no key stays.
pub fn keep_last<T, K: Ord>(items: &mut Vec<T>, key: impl Fn(&T) -> Option<K>) {
    let mut seen = BTreeSet::new();
    items.reverse();
    items.retain(|item| key(item).is_none_or(|key| seen.insert(key)));
    items.reverse();
}
