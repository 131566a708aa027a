//! After a failed commit: back to what the store holds.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::start::{Begun, StartError, begin};
use super::{BATCH, Controller, Message, decide};
use crate::{Core, Outlets, clock, record};

/// Between two attempts, at least and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

impl<C: Core> Controller<C> {
    /// Rebuilds the state and begins a new term; as long as that fails, everybody is told that nothing can be taken.
    ///
    /// Returns without a state that may act only at the end of the program.
    pub(super) async fn recover<O: Outlets<C>>(
        &mut self,
        outlets: &mut O,
        shutdown: &CancellationToken,
    ) {
        let mut pause = PAUSE.0;
        // What was decided is not what the store has.
        let mut readable = false;
        self.storing.store(false, Ordering::Relaxed);
        loop {
            // It waits for the disk, which a restart would not repair.
            self.notifier.alive();
            // Dropping the senders is the answer.
            self.waiters.clear();
            match self.rebuild(outlets, &mut readable).await {
                Ok(()) => {
                    self.storing.store(true, Ordering::Relaxed);
                    tracing::info!(term = C::term(&self.state).number, "the state is rebuilt");
                    return;
                }
                Err(error) => {
                    self.metrics.not_committed();
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        retry_in = ?pause,
                        "the state cannot be rebuilt"
                    );
                }
            }
            if shutdown.is_cancelled() {
                self.queue.close();
                while self.queue.recv().await.is_some() {}
                return;
            }
            self.refuse_for(pause, readable, outlets, shutdown).await;
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    /// Loads, begins a new term, and tells the new state which links are open.
    async fn rebuild<O: Outlets<C>>(
        &mut self,
        outlets: &mut O,
        readable: &mut bool,
    ) -> Result<(), StartError> {
        let records = self.writer.load().await?;
        if !*readable {
            self.state = begin(&self.core, &records)?.state;
            *readable = true;
        }
        let Begun {
            mut state,
            started: mut inputs,
            mut ops,
        } = begin(&self.core, &records)?;
        inputs.extend(outlets.links());
        let decision = decide::<C>(&mut state, &inputs)?;
        ops.extend(record::ops::<C>(&decision.writes)?);
        self.writer.commit(ops).await?;
        self.state = state;
        // The commit that failed may be there, with events that nobody was told of.
        self.events.reset();
        outlets.loaded(&self.state);
        self.perform(decision.actions, outlets);
        outlets.ask_whole();
        Ok(())
    }

    /// Refuses what comes in, but for questions where the state is `readable`; the links are kept up to date.
    pub(super) async fn refuse_for<O: Outlets<C>>(
        &mut self,
        pause: Duration,
        readable: bool,
        outlets: &mut O,
        shutdown: &CancellationToken,
    ) {
        let Self { queue, state, .. } = self;
        let refusing = async {
            let mut batch = Vec::new();
            while queue.recv_many(&mut batch, BATCH).await > 0 {
                for message in batch.drain(..) {
                    match message {
                        Message::Input(input) => outlets.note(&input),
                        Message::Query(query) if readable => query(state, clock::now()),
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
