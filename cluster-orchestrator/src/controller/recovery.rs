//! After a failed commit: back to what the store holds.

use std::time::Duration;

use cluster_core::turn;
use tokio_util::sync::CancellationToken;

use super::start::{Begun, StartError, begin};
use super::{BATCH, Controller, Message};
use crate::clock;
use crate::outlets::Outlets;
use crate::record;

/// Between two attempts, at least and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

impl Controller {
    /// Rebuilds the state and begins a new term; as long as that fails, everybody is told that nothing can be taken.
    ///
    /// Returns without a state that may act only at the end of the program.
    pub(super) async fn recover(&mut self, outlets: &mut Outlets, shutdown: &CancellationToken) {
        let mut pause = PAUSE.0;
        loop {
            // Dropping the senders is the answer.
            self.waiters.clear();
            match self.rebuild(outlets).await {
                Ok(()) => {
                    tracing::info!(term = self.state.term().number, "the state is rebuilt");
                    return;
                }
                Err(error) => tracing::error!(
                    error = &error as &dyn std::error::Error,
                    retry_in = ?pause,
                    "the state cannot be rebuilt"
                ),
            }
            if shutdown.is_cancelled() {
                self.queue.close();
                while self.queue.recv().await.is_some() {}
                return;
            }
            self.refuse_for(pause, shutdown).await;
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    /// Loads, begins a new term, and tells the new state which links are open.
    async fn rebuild(&mut self, outlets: &mut Outlets) -> Result<(), StartError> {
        let records = self.writer.load().await?;
        let Begun {
            mut state,
            started,
            mut ops,
        } = begin(&records, self.state.config().clone())?;
        let mut inputs = vec![started];
        inputs.extend(self.links.inputs());
        let decision = turn(&mut state, clock::now(), inputs);
        ops.extend(record::ops(&decision.writes)?);
        self.writer.commit(ops).await?;
        self.state = state;
        outlets.set_credentials(&self.state);
        outlets.perform(decision.actions, &mut self.waiters);
        // What the workers said before is forgotten with the old state.
        self.links
            .sessions
            .keys()
            .for_each(|node| outlets.ask_whole(*node));
        Ok(())
    }

    /// Refuses what comes in; only the links are kept up to date.
    async fn refuse_for(&mut self, pause: Duration, shutdown: &CancellationToken) {
        let refusing = async {
            let mut batch = Vec::new();
            while self.queue.recv_many(&mut batch, BATCH).await > 0 {
                for message in batch.drain(..) {
                    match message {
                        Message::Input(input) => self.links.note(&input),
                        Message::Request(..) | Message::Query(_) => {}
                    }
                }
            }
        };
        tokio::select! {
            // Cancel-safe: what was taken was dealt with before the next wait.
            () = refusing => {}
            () = tokio::time::sleep(pause) => {}
            () = shutdown.cancelled() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use cluster_core::Input;

    use super::*;

    #[test]
    fn a_new_store_gets_an_identity_that_is_to_be_stored() {
        let config = cluster_core::Config::new("a".to_owned().try_into().unwrap());
        let begun = begin(&[], config).unwrap();
        assert_eq!(begun.ops.len(), 1);
        assert!(matches!(begun.started, Input::Started { fresh: true, .. }));
    }
}
