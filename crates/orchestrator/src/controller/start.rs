//! Starting: what the store holds becomes the state, and a new term begins before the first message.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use daemon::crashpoint;
use daemon::notify::Notifier;
use protocol::stored::RecordError;
use store::{Op, Record, Store, StoreError, Writer};
use sync::Incarnation;
use tokio::sync::mpsc;

use super::poison::{Panicked, Panics};
use super::{Controller, Handle, QUEUE, decide};
use crate::clock::{self, NoRandom};
use crate::metrics::Metrics;
use crate::{Core, SUPERSEDED, feed, record};

/// Why there is no state to begin with.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store cannot be read or written.
    #[error("the store cannot be used")]
    Store(#[from] StoreError),
    /// The store's content cannot be read.
    #[error("the store's content cannot be used")]
    Record(#[from] RecordError),
    /// What the store holds cannot be decided on.
    #[error(
        "what the store holds makes this program fail; run the version that wrote it, or restore a backup, and report the fault"
    )]
    Panicked(#[from] Panicked),
    /// No identity can be made.
    #[error("cannot begin a new term")]
    Random(#[from] NoRandom),
}

/// Loads the state, commits the first turn of a new term, and gives the owner task and the way to it.
///
/// The first turn's actions are dropped: nobody is connected yet.
///
/// # Errors
/// When the store cannot be used, or the system has no random numbers.
pub async fn open<C: Core>(
    store: Arc<dyn Store>,
    core: C,
    metrics: Metrics,
) -> Result<(Controller<C>, Handle<C>), StartError> {
    let writer = Writer::start(Arc::clone(&store))?;
    let records = writer.load().await?;
    crashpoint!("start.loaded");
    let mut begun = begin(&core, &records)?;
    let decision = decide::<C>(&mut begun.state, &begun.started)?;
    begun.ops.extend(record::ops::<C>(&decision.writes)?);
    writer.commit(begun.ops).await?;
    crashpoint!("start.committed");
    tracing::info!(
        incarnation = %C::incarnation(&begun.state),
        term = C::term(&begun.state).number,
        records = records.len(),
        "a new term begins"
    );
    if C::is_fenced(&begun.state) {
        tracing::error!(tier = C::TIER, "{SUPERSEDED}");
    }
    let (sender, queue) = mpsc::channel(QUEUE);
    let storing = Arc::new(AtomicBool::new(true));
    let fenced = Arc::new(AtomicBool::new(C::is_fenced(&begun.state)));
    let (events, feed) = feed::new(metrics.followers.clone());
    let controller = Controller {
        core,
        state: begun.state,
        writer,
        queue,
        waiters: HashMap::new(),
        panics: Panics::default(),
        metrics,
        events,
        notifier: Notifier::default(),
        storing: Arc::clone(&storing),
        fenced: Arc::clone(&fenced),
    };
    Ok((
        controller,
        Handle::new(sender, feed, &store, (storing, fenced)),
    ))
}

/// A state that was loaded, and how its term begins.
pub(super) struct Begun<C: Core> {
    pub(super) state: C::State,
    /// To be decided first.
    pub(super) started: Vec<C::Input>,
    /// To be committed with the first turn.
    pub(super) ops: Vec<Op>,
}

/// The state that these records hold.
pub(super) fn begin<C: Core>(core: &C, records: &[Record]) -> Result<Begun<C>, StartError> {
    let loaded = record::load::<C>(records)?;
    let mut ops = Vec::new();
    let fresh = loaded.incarnation.is_none();
    let incarnation = if let Some(known) = loaded.incarnation {
        known
    } else {
        let made = Incarnation(u128::from_be_bytes(clock::random()?));
        ops.push(record::incarnation(made)?);
        made
    };
    let mut state = core.empty(incarnation);
    C::apply(&mut state, clock::now(), &loaded.writes);
    let term = C::term(&state).next(clock::nonce()?);
    let started = core.started(&state, term, fresh);
    Ok(Begun {
        state,
        started,
        ops,
    })
}
