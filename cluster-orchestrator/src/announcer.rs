//! Tells the workers where they reach this cluster when they cannot reach its broker.

use std::collections::BTreeSet;

use bytes::Bytes;
use model::id::NodeId;
use mqtt::link::Link;
use protocol::message::fallback::Fallback;
use protocol::message::question;
use protocol::topic::Topic;
use tokio::sync::watch;

/// Tells each worker when it connects, and all that are there when it changes. Nobody is waited for: who misses it hears it
/// with the next connection.
#[derive(Debug)]
pub(crate) struct Announcer {
    link: Link,
    /// `None` until the root was met.
    fallback: watch::Receiver<Option<Fallback>>,
    present: BTreeSet<NodeId>,
}

impl Announcer {
    pub(crate) const fn new(link: Link, fallback: watch::Receiver<Option<Fallback>>) -> Self {
        Self {
            link,
            fallback,
            present: BTreeSet::new(),
        }
    }

    pub(crate) fn came(&mut self, node: NodeId) {
        self.present.insert(node);
    }

    pub(crate) fn left(&mut self, node: NodeId) {
        self.present.remove(&node);
    }

    /// Tells a worker that listens from now on.
    pub(crate) fn tell(&self, node: NodeId) {
        let fallback = self.fallback.borrow();
        if let Some(fallback) = &*fallback {
            self.publish(node, question::encode_fallback(fallback).into());
        }
    }

    /// Waits until there is something new, and tells everybody who is there. Safe to cancel.
    pub(crate) async fn news(&mut self) {
        if self.fallback.changed().await.is_err() {
            // Without a root nothing ever changes.
            return std::future::pending().await;
        }
        let news = self.fallback.borrow_and_update().clone();
        let Some(fallback) = news else { return };
        let payload = Bytes::from(question::encode_fallback(&fallback));
        for node in &self.present {
            self.publish(*node, payload.clone());
        }
    }

    fn publish(&self, node: NodeId, payload: Bytes) {
        let outcome = self.link.publish(&Topic::Request(node), payload);
        tracing::trace!(worker.id = %node, ?outcome, "told where the root's relay is");
    }
}
