//! What happens, as it happens: the last events for those who follow them.
//!
//! # Flow
//! The owner task puts the events of each commit into a ring and wakes the followers. A follower holds nothing but a
//! position in the ring, so that one that reads slowly, or not at all, slows nobody: it is overtaken, and told so.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::event::Event;
use model::id::EventId;
use prometheus::IntGauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// Events in the ring.
const RING: usize = 4_096;
/// Events given at once.
const CHUNK: usize = 256;
/// Followers at the same time.
const FOLLOWERS: usize = 256;

/// The owner task's end. When it goes, the streams of all followers end.
#[derive(Debug)]
pub(crate) struct Publisher {
    ring: Arc<Mutex<Ring>>,
    moved: watch::Sender<()>,
}

/// The readers' end. Clones read the same ring.
#[derive(Debug, Clone)]
pub(crate) struct Feed {
    ring: Arc<Mutex<Ring>>,
    moved: watch::Receiver<()>,
    seats: Arc<Semaphore>,
    followers: IntGauge,
}

#[derive(Debug, Default)]
struct Ring {
    events: VecDeque<Arc<Event>>,
    /// How many were before the first one.
    gone: u64,
}

/// What comes after a position.
#[derive(Debug)]
pub(crate) enum Coming {
    /// These, and the position after them; none yet, if it is empty.
    Events(Vec<Arc<Event>>, u64),
    /// The ring has overtaken this position.
    Lost,
}

/// The right to follow, until it is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    _permit: OwnedSemaphorePermit,
    followers: IntGauge,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.followers.dec();
    }
}

/// A new ring.
pub(crate) fn new(followers: IntGauge) -> (Publisher, Feed) {
    let ring = Arc::default();
    let (sender, moved) = watch::channel(());
    let feed = Feed {
        ring: Arc::clone(&ring),
        moved,
        seats: Arc::new(Semaphore::new(FOLLOWERS)),
        followers,
    };
    let publisher = Publisher {
        ring,
        moved: sender,
    };
    (publisher, feed)
}

impl Publisher {
    /// These are committed.
    pub(crate) fn publish<'a>(&self, events: impl Iterator<Item = &'a Event>) {
        let mut events = events.peekable();
        if events.peek().is_none() {
            return;
        }
        let mut ring = lock(&self.ring);
        for event in events {
            ring.events.push_back(Arc::new(event.clone()));
            if ring.events.len() > RING {
                ring.events.pop_front();
                ring.gone += 1;
            }
        }
        drop(ring);
        let _ = self.moved.send(());
    }

    /// It is not known any more what is committed: all followers have to read it again.
    pub(crate) fn reset(&self) {
        let mut ring = lock(&self.ring);
        // One more than there were, so that the last position is lost, too.
        ring.gone = ring.end() + 1;
        ring.events.clear();
        drop(ring);
        let _ = self.moved.send(());
    }
}

impl Feed {
    /// The right to follow; `None`: too many do.
    pub(crate) fn seat(&self) -> Option<Seat> {
        let permit = Arc::clone(&self.seats).try_acquire_owned().ok()?;
        self.followers.inc();
        Some(Seat {
            _permit: permit,
            followers: self.followers.clone(),
        })
    }

    /// The position after the last event.
    pub(crate) fn end(&self) -> u64 {
        lock(&self.ring).end()
    }

    /// The position after that event, if it is in the ring. The ring has the order of commits, which ids do not have
    /// when the wall clock stepped back.
    pub(crate) fn after(&self, id: EventId) -> Option<u64> {
        let ring = lock(&self.ring);
        let at = ring.events.iter().rposition(|event| event.id == id)?;
        Some(ring.gone + at as u64 + 1)
    }

    /// What comes after a position.
    pub(crate) fn read(&self, position: u64) -> Coming {
        let ring = lock(&self.ring);
        let Some(skip) = position.checked_sub(ring.gone) else {
            return Coming::Lost;
        };
        let events: Vec<_> = ring
            .events
            .iter()
            .skip(skip as usize)
            .take(CHUNK)
            .cloned()
            .collect();
        let next = position + events.len() as u64;
        Coming::Events(events, next)
    }

    /// Marks what is there as seen: [`Feed::changed`] waits for what comes after that.
    pub(crate) fn mark(&mut self) {
        self.moved.mark_unchanged();
    }

    /// Waits for an event after the last [`Feed::mark`]. False: nothing comes any more.
    pub(crate) async fn changed(&mut self) -> bool {
        self.moved.changed().await.is_ok()
    }
}

impl Ring {
    fn end(&self) -> u64 {
        self.gone + self.events.len() as u64
    }
}

fn lock(ring: &Mutex<Ring>) -> MutexGuard<'_, Ring> {
    ring.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use model::event::Tier;
    use model::id::JobId;
    use model::slot::Generation;
    use model::time::Wall;

    use super::*;

    fn event(id: u128) -> Event {
        Event {
            id: EventId::from_bits(id),
            at: Wall(0),
            tier: Tier::Root,
            job: JobId::from_bits(1),
            tenant: model::access::TenantPath::root(),
            instance: None,
            generation: Generation::default(),
            from: "",
            to: "REQUESTED",
            cause: "submitted".to_owned(),
            message: String::new(),
        }
    }

    fn feed() -> (Publisher, Feed) {
        new(IntGauge::new("a", "a").unwrap())
    }

    fn publish(publisher: &Publisher, ids: std::ops::Range<u128>) {
        let events: Vec<_> = ids.map(event).collect();
        publisher.publish(events.iter());
    }

    fn ids(coming: Coming) -> Vec<u128> {
        match coming {
            Coming::Events(events, _) => events.iter().map(|event| event.id.bits()).collect(),
            Coming::Lost => panic!("lost"),
        }
    }

    #[test]
    fn a_follower_reads_on_from_where_it_was() {
        let (publisher, feed) = feed();
        publish(&publisher, 0..10);
        let at = feed.after(EventId::from_bits(7)).unwrap();
        assert_eq!(ids(feed.read(at)), [8, 9]);
        assert_eq!(ids(feed.read(feed.end())), [] as [u128; 0]);
        publish(&publisher, 10..11);
        assert_eq!(ids(feed.read(at)), [8, 9, 10]);
        assert_eq!(feed.after(EventId::from_bits(77)), None);
    }

    #[test]
    fn who_is_overtaken_is_told() {
        let (publisher, feed) = feed();
        let start = feed.end();
        publish(&publisher, 0..RING as u128);
        assert_eq!(ids(feed.read(start)).len(), CHUNK);
        publish(&publisher, 0..1);
        assert!(matches!(feed.read(start), Coming::Lost));
        let end = feed.end();
        publisher.reset();
        assert!(matches!(feed.read(end), Coming::Lost));
        assert_eq!(ids(feed.read(feed.end())), [] as [u128; 0]);
    }

    #[tokio::test]
    async fn a_follower_is_woken_and_the_end_is_told() {
        let (publisher, mut feed) = feed();
        feed.mark();
        publish(&publisher, 0..1);
        assert!(feed.changed().await);
        drop(publisher);
        assert!(!feed.changed().await);
    }

    #[test]
    fn seats_are_given_back() {
        let (_publisher, feed) = feed();
        let seats: Vec<_> = (0..FOLLOWERS).map(|_| feed.seat().unwrap()).collect();
        assert!(feed.seat().is_none());
        assert_eq!(feed.followers.get(), FOLLOWERS as i64);
        drop(seats);
        assert_eq!(feed.followers.get(), 0);
        assert!(feed.seat().is_some());
    }
}
