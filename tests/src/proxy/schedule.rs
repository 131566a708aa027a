//! What waits to be written, and when.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// While more bytes than this wait, nothing more is read for it.
const FULL: usize = 8 * 1024 * 1024;

/// The pieces of one direction of a connection. One task takes them; anybody adds.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    queue: Mutex<Queue>,
    added: Notify,
    taken: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    due: BTreeMap<(Instant, u64), Bytes>,
    number: u64,
    bytes: usize,
    /// When the last of those is due that keep their order.
    last: Option<Instant>,
    ended: bool,
}

impl Schedule {
    /// Adds a piece that does not overtake those which were added in order before.
    pub(super) fn in_order(&self, delay: Duration, bytes: Bytes) {
        let mut queue = self.queue.lock().unwrap();
        let at = Instant::now() + delay;
        let at = queue.last.map_or(at, |last| last.max(at));
        queue.last = Some(at);
        queue.add(at, bytes);
        self.added.notify_one();
    }

    /// Adds a piece that is due by itself.
    pub(super) fn by_itself(&self, delay: Duration, bytes: Bytes) {
        let at = Instant::now() + delay;
        self.queue.lock().unwrap().add(at, bytes);
        self.added.notify_one();
    }

    /// Nothing more is read for it; what is there is still due.
    pub(super) fn end(&self) {
        self.queue.lock().unwrap().ended = true;
        self.added.notify_one();
    }

    /// Waits until there is room for more.
    pub(super) async fn room(&self) {
        while self.queue.lock().unwrap().bytes > FULL {
            self.taken.notified().await;
        }
    }

    /// The next piece, when it is due; `None` at the end.
    pub(super) async fn next(&self) -> Option<Bytes> {
        loop {
            let first = {
                let mut queue = self.queue.lock().unwrap();
                let first = queue.due.first_key_value().map(|((at, _), _)| *at);
                match first {
                    Some(at) if at <= Instant::now() => {
                        let (_, bytes) = queue.due.pop_first()?;
                        queue.bytes -= bytes.len();
                        self.taken.notify_one();
                        return Some(bytes);
                    }
                    None if queue.ended => return None,
                    other => other,
                }
            };
            match first {
                // Whichever comes first, the queue says what is due.
                Some(at) => drop(timeout_at(at, self.added.notified()).await),
                None => self.added.notified().await,
            }
        }
    }
}

impl Queue {
    fn add(&mut self, at: Instant, bytes: Bytes) {
        self.number += 1;
        self.bytes += bytes.len();
        self.due.insert((at, self.number), bytes);
    }
}
