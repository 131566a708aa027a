//! Who is connected: one seat per node and per reader, and where a message goes.
//!
//! The lock is held for short, synchronous steps only.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;
use model::id::NodeId;
use protocol::topic::Topic;
use rmqtt_codec::types::QoS;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use super::{Connections, Published, Reason};
use crate::filter::Filter;

/// Filters that one reader may have.
const FILTER_LIMIT: usize = 32;

/// What is queued for a session.
#[derive(Debug)]
pub(crate) enum Outgoing {
    /// A message to be published.
    Message {
        topic: ByteString,
        payload: Bytes,
        qos: QoS,
    },
    /// An empty request; the sender is told when it is acknowledged.
    Probe(oneshot::Sender<()>),
}

/// Who sits, and by which name a second one would be the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Role {
    Worker(NodeId),
    Reader(ByteString),
}

/// A downward topic that a worker may subscribe to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Down {
    Control,
    Request,
}

/// The place of one session. Dropping it frees the place; its queue closes after that.
pub(crate) struct Seat {
    pub(crate) role: Role,
    pub(crate) session: u64,
    pub(crate) end: oneshot::Receiver<Reason>,
    registry: Weak<Inner>,
    /// Fields drop after `Drop::drop`, so whoever waits for this queue to close finds the place free.
    pub(crate) queue: mpsc::Receiver<Outgoing>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(inner) = self.registry.upgrade() {
            inner.lock().remove(&self.role, self.session);
        }
    }
}

/// The seated machine answered: the newcomer is a copy of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cloned;

/// All sessions of one endpoint.
pub(crate) struct Registry {
    inner: Arc<Inner>,
    queue: usize,
}

struct Inner(Mutex<Places>);

#[derive(Default)]
struct Places {
    workers: HashMap<NodeId, Place>,
    readers: HashMap<ByteString, Place>,
    last_session: u64,
}

struct Place {
    session: u64,
    boot: Option<Box<str>>,
    queue: mpsc::Sender<Outgoing>,
    end: Option<oneshot::Sender<Reason>>,
    wants: Wants,
}

/// What a session subscribed to.
enum Wants {
    Worker {
        control: Option<QoS>,
        request: Option<QoS>,
    },
    Reader(Vec<Filter>),
}

/// The one who sits where a newcomer wants to sit.
struct Rival {
    session: u64,
    queue: mpsc::Sender<Outgoing>,
    other_boot: bool,
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Places> {
        // Every step under the lock leaves the places whole, so a poisoned lock is as good as any.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registry {
    pub(crate) fn new(queue: usize) -> Self {
        Self {
            inner: Arc::new(Inner(Mutex::default())),
            queue,
        }
    }

    /// Takes the seat, displacing whoever sits there, and waits until that one has told its end.
    ///
    /// Refused if the seated one carries another boot id and still answers within `probe_within`.
    pub(crate) async fn sit(
        &self,
        role: Role,
        boot: Option<&str>,
        probe_within: Duration,
    ) -> Result<Seat, Cloned> {
        loop {
            let rival = match self.try_sit(&role, boot) {
                Ok(seat) => return Ok(seat),
                Err(rival) => rival,
            };
            if rival.other_boot && rival.answers(probe_within).await {
                return Err(Cloned);
            }
            self.evict(&role, Some(rival.session), Reason::Displaced);
            rival.queue.closed().await;
        }
    }

    fn try_sit(&self, role: &Role, boot: Option<&str>) -> Result<Seat, Rival> {
        let mut places = self.inner.lock();
        if let Some(place) = places.get_mut(role) {
            // Two known and different boots are two machines, or one machine before and after a reboot; the probe tells.
            let other_boot = matches!((boot, &place.boot), (Some(new), Some(old)) if *new != **old);
            return Err(Rival {
                session: place.session,
                queue: place.queue.clone(),
                other_boot,
            });
        }
        places.last_session += 1;
        let session = places.last_session;
        let (queue, waiting) = mpsc::channel(self.queue);
        let (end, ended) = oneshot::channel();
        let wants = match role {
            Role::Worker(_) => Wants::Worker {
                control: None,
                request: None,
            },
            Role::Reader(_) => Wants::Reader(Vec::new()),
        };
        let place = Place {
            session,
            boot: boot.map(Into::into),
            queue,
            end: Some(end),
            wants,
        };
        match role {
            Role::Worker(node) => places.workers.insert(*node, place),
            Role::Reader(name) => places.readers.insert(name.clone(), place),
        };
        Ok(Seat {
            role: role.clone(),
            session,
            end: ended,
            registry: Arc::downgrade(&self.inner),
            queue: waiting,
        })
    }

    /// A name for a reader that gave none.
    pub(crate) fn unnamed(&self) -> ByteString {
        let mut places = self.inner.lock();
        places.last_session += 1;
        // A client id cannot hold this character, so the name is nobody else's.
        format!("\0{}", places.last_session).into()
    }

    pub(crate) fn evict_worker(&self, node: NodeId) {
        self.evict(&Role::Worker(node), None, Reason::Dropped);
    }

    fn evict(&self, role: &Role, session: Option<u64>, reason: Reason) {
        let mut places = self.inner.lock();
        if let Some(place) = places.get_mut(role)
            && session.is_none_or(|session| session == place.session)
            && let Some(end) = place.end.take()
        {
            // The session may be ending by itself; then nobody listens.
            let _ = end.send(reason);
        }
    }

    pub(crate) fn connections(&self) -> Connections {
        let places = self.inner.lock();
        Connections {
            workers: places.workers.len(),
            readers: places.readers.len(),
        }
    }

    /// Notes that a worker subscribed to (or, with `None`, unsubscribed from) one of its topics.
    pub(crate) fn grant(&self, seat: &Seat, down: Down, qos: Option<QoS>) {
        let mut places = self.inner.lock();
        if let Some(Wants::Worker { control, request }) = places.wants(seat) {
            match down {
                Down::Control => *control = qos,
                Down::Request => *request = qos,
            }
        }
    }

    /// Notes a reader's filter; false if it has too many.
    pub(crate) fn watch(&self, seat: &Seat, filter: Filter) -> bool {
        let mut places = self.inner.lock();
        let Some(Wants::Reader(filters)) = places.wants(seat) else {
            return false;
        };
        if filters.contains(&filter) {
            return true;
        }
        let fits = filters.len() < FILTER_LIMIT;
        if fits {
            filters.push(filter);
        }
        fits
    }

    /// Forgets a reader's filter.
    pub(crate) fn unwatch(&self, seat: &Seat, filter: &str) {
        let mut places = self.inner.lock();
        if let Some(Wants::Reader(filters)) = places.wants(seat) {
            filters.retain(|kept| kept.as_str() != filter);
        }
    }

    /// Queues a downward message for its worker; readers never see one.
    pub(crate) fn publish(&self, topic: &Topic, name: String, payload: Bytes) -> Published {
        let places = self.inner.lock();
        let Some(place) = places.workers.get(&topic.node()) else {
            return Published::NoSession;
        };
        let Some(qos) = place.wants.qos_of(topic) else {
            return Published::NoSession;
        };
        let message = Outgoing::Message {
            topic: name.into(),
            payload,
            qos,
        };
        match place.queue.try_send(message) {
            Ok(()) => Published::Published,
            Err(TrySendError::Full(_)) => Published::Full,
            Err(TrySendError::Closed(_)) => Published::NoSession,
        }
    }

    /// Queues an upward message for the readers that watch it. A reader that is behind misses it.
    pub(crate) fn show(&self, name: &ByteString, payload: &Bytes) {
        self.inner.lock().show(name, payload);
    }
}

impl Places {
    fn get_mut(&mut self, role: &Role) -> Option<&mut Place> {
        match role {
            Role::Worker(node) => self.workers.get_mut(node),
            Role::Reader(name) => self.readers.get_mut(name),
        }
    }

    fn remove(&mut self, role: &Role, session: u64) {
        if self
            .get_mut(role)
            .is_some_and(|place| place.session == session)
        {
            match role {
                Role::Worker(node) => self.workers.remove(node),
                Role::Reader(name) => self.readers.remove(name),
            };
        }
    }

    fn wants(&mut self, seat: &Seat) -> Option<&mut Wants> {
        self.get_mut(&seat.role)
            .filter(|place| place.session == seat.session)
            .map(|place| &mut place.wants)
    }

    fn show(&self, name: &ByteString, payload: &Bytes) {
        for place in self.readers.values() {
            if let Wants::Reader(filters) = &place.wants
                && filters.iter().any(|filter| filter.matches(name))
            {
                let topic = name.clone();
                let payload = payload.clone();
                // QoS 0 permits the loss, and a slow reader must not hold up anyone.
                let _ = place.queue.try_send(Outgoing::Message {
                    topic,
                    payload,
                    qos: QoS::AtMostOnce,
                });
            }
        }
    }
}

impl Wants {
    fn qos_of(&self, topic: &Topic) -> Option<QoS> {
        match (self, topic) {
            (Self::Worker { control, .. }, Topic::Control(_)) => *control,
            (Self::Worker { request, .. }, Topic::Request(_)) => *request,
            (
                Self::Worker { .. },
                Topic::Information(_)
                | Topic::Instances(_)
                | Topic::Sync(_)
                | Topic::Connection(_)
                | Topic::Reply { .. },
            )
            | (Self::Reader(_), _) => None,
        }
    }
}

impl Rival {
    /// Whether the seated machine acknowledges an empty request in time.
    async fn answers(&self, within: Duration) -> bool {
        let asked = async {
            let (answered, answer) = oneshot::channel();
            self.queue.send(Outgoing::Probe(answered)).await.is_ok() && answer.await.is_ok()
        };
        tokio::time::timeout(within, asked).await.unwrap_or(false)
    }
}
