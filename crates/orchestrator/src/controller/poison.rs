//! Inputs that a decision panics on: found, refused, and survived.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use model::time::Now;
use tokio_util::sync::CancellationToken;

use super::handle::Unavailable;
use super::{Controller, NotStored, Query, Waiter};
use crate::{Core, Outlets};

/// Requests of one batch that may be at fault before the rest of it is sent away to come again: each costs a rebuilt state.
const AT_FAULT: usize = 3;
/// After a panic that no request is to blame for, at least and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// After so long without one, the next is the first again.
const FORGOTTEN: Duration = Duration::from_mins(1);

/// A decision panicked, and said this.
#[derive(Debug, thiserror::Error)]
#[error("the decision panicked: {0}")]
pub struct Panicked(String);

/// Runs something that may panic. What it changes must not be looked at after that.
pub(super) fn caught<T>(run: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|payload| Panicked(text(payload.as_ref())))
}

/// Answers a question; one that panics is answered by nobody, which its asker hears.
pub(super) fn answer<C: Core>(query: Query<C>, state: &C::State, now: Now) {
    if let Err(error) = caught(|| query(state, now)) {
        tracing::error!(%error, "a question cannot be answered: this is a fault of the program");
    }
}

fn text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
    text.unwrap_or("it did not say why").to_owned()
}

/// Panics that no request is to blame for.
#[derive(Debug, Default)]
pub(super) struct Panics {
    lately: u32,
    last: Option<Instant>,
}

impl Panics {
    /// One more; how long nothing is taken after it, so that what comes again and again costs no core.
    fn one_more(&mut self) -> Duration {
        if self.last.is_some_and(|last| last.elapsed() > FORGOTTEN) {
            self.lately = 0;
        }
        self.last = Some(Instant::now());
        let pause = PAUSE.0.saturating_mul(1 << self.lately.min(10));
        self.lately += 1;
        pause.min(PAUSE.1)
    }
}

/// A request whose batch was not decided.
pub(super) struct Asked<C: Core> {
    id: C::RequestId,
    input: C::Input,
    waiter: Waiter<C>,
}

/// The requests of a batch that was not decided.
pub(super) struct Batch<C: Core> {
    asked: Vec<Asked<C>>,
    /// There was nothing else in it.
    alone: bool,
}

impl<C: Core> Controller<C> {
    /// Takes the requests of a batch back. `requests` are their positions, in order.
    pub(super) fn asked(
        &mut self,
        inputs: Vec<C::Input>,
        requests: Vec<(C::RequestId, usize)>,
    ) -> Batch<C> {
        let alone = inputs.len() == 1;
        let mut requests = requests.into_iter().peekable();
        let mut asked = Vec::new();
        for (at, input) in inputs.into_iter().enumerate() {
            if let Some((id, _)) = requests.next_if(|(_, position)| *position == at)
                && let Some(waiter) = self.waiters.remove(&id)
            {
                asked.push(Asked { id, input, waiter });
            }
        }
        Batch { asked, alone }
    }

    /// After a panic: the state is rebuilt, messages of children are asked for again, and each request is decided by itself.
    pub(super) async fn one_by_one<O: Outlets<C>>(
        &mut self,
        batch: Batch<C>,
        outlets: &mut O,
        shutdown: &CancellationToken,
    ) {
        self.recover(outlets, shutdown).await;
        let Batch { asked, alone } = batch;
        let mut at_fault = 0;
        for Asked { id, input, waiter } in asked {
            if alone {
                // It was by itself the first time.
                let _ = waiter.send(Err(Unavailable::Fault));
                return;
            }
            if at_fault >= AT_FAULT {
                // Its waiter goes, and with it the one who asked: 503.
                continue;
            }
            self.waiters.insert(id, waiter);
            let Err(error) = self.turn(std::slice::from_ref(&input), outlets).await else {
                continue;
            };
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "a request cannot be decided; the state is rebuilt"
            );
            if matches!(error, NotStored::Panicked(_)) {
                at_fault += 1;
                if let Some(waiter) = self.waiters.remove(&id) {
                    let _ = waiter.send(Err(Unavailable::Fault));
                }
            }
            self.recover(outlets, shutdown).await;
        }
        if at_fault == 0 {
            let pause = self.panics.one_more();
            self.refuse_for(pause, true, outlets, shutdown).await;
        }
    }
}
