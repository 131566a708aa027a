//! A broker that stands still.

use std::time::Duration;

use rumqttc::{Event as Incident, Outgoing};
use tokio::time::Instant;

/// Since when the broker owes us an answer.
///
/// The library pings only after a keep-alive in which it sent nothing, so a worker that reports a little more often than that
/// would not notice a dead broker before its window of unacknowledged messages is full.
#[derive(Debug, Default)]
pub(super) struct Unanswered(Option<Instant>);

impl Unanswered {
    pub(super) fn note(&mut self, incident: Option<&Incident>) {
        match incident {
            Some(Incident::Incoming(_)) => self.0 = None,
            Some(Incident::Outgoing(
                Outgoing::Publish(1..)
                | Outgoing::Subscribe(_)
                | Outgoing::Unsubscribe(_)
                | Outgoing::PingReq,
            )) => {
                self.0.get_or_insert_with(Instant::now);
            }
            Some(Incident::Outgoing(_)) | None => {}
        }
    }

    /// Waits until the answer is overdue; for ever while none is owed, or if the keep-alive is off.
    pub(super) async fn longer_than(&self, patience: Duration) {
        match self.0 {
            Some(since) if !patience.is_zero() => tokio::time::sleep_until(since + patience).await,
            Some(_) | None => std::future::pending().await,
        }
    }
}
