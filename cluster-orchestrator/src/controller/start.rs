//! Starting: what the store holds becomes the state, and a new term begins before the first message.

use std::sync::Arc;

use cluster_core::{Input, State, turn};
use schedulers::Algorithm;
use store::{Op, Record, Store, StoreError, Writer};
use sync::Incarnation;
use tokio::sync::mpsc;

use super::{Controller, Handle, Links, QUEUE};
use crate::clock::{self, NoRandom};
use crate::metrics::Metrics;
use crate::record::{self, RecordError};

/// Why there is no state to begin with.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store cannot be read or written.
    #[error("the store cannot be used")]
    Store(#[from] StoreError),
    /// The store's content cannot be read.
    #[error("the store's content cannot be used")]
    Record(#[from] RecordError),
    /// No identity can be made.
    #[error("cannot begin a new term")]
    Random(#[from] NoRandom),
}

/// Loads the state, commits the first turn of a new term, and gives the owner task and the way to it.
///
/// The first turn's actions are dropped: nobody is connected yet.
pub(crate) async fn open(
    store: Arc<dyn Store>,
    config: cluster_core::Config,
    algorithm: Algorithm,
    metrics: Metrics,
) -> Result<(Controller, Handle), StartError> {
    let writer = Writer::start(store)?;
    let records = writer.load().await?;
    let mut begun = begin(&records, config)?;
    let mut inputs = vec![begun.started.clone()];
    if begun.state.algorithm() != algorithm {
        inputs.push(Input::Schedule(algorithm));
    }
    let decision = turn(&mut begun.state, clock::now(), inputs);
    begun.ops.extend(record::ops(&decision.writes)?);
    writer.commit(begun.ops).await?;
    tracing::info!(
        incarnation = %begun.state.incarnation(),
        term = begun.state.term().number,
        records = records.len(),
        "a new term begins"
    );
    let (sender, queue) = mpsc::channel(QUEUE);
    let controller = Controller {
        state: begun.state,
        writer,
        queue,
        waiters: std::collections::HashMap::new(),
        links: Links::default(),
        metrics,
    };
    Ok((controller, Handle::new(sender)))
}

/// A state that was loaded, and how its term begins.
pub(super) struct Begun {
    pub(super) state: State,
    /// To be decided first.
    pub(super) started: Input,
    /// To be committed with the first turn.
    pub(super) ops: Vec<Op>,
}

/// The state that these records hold.
pub(super) fn begin(records: &[Record], config: cluster_core::Config) -> Result<Begun, StartError> {
    let loaded = record::load(records)?;
    let mut ops = Vec::new();
    let fresh = loaded.incarnation.is_none();
    let incarnation = if let Some(known) = loaded.incarnation {
        known
    } else {
        let made = Incarnation(u128::from_be_bytes(clock::random()?));
        ops.push(record::incarnation(made)?);
        made
    };
    let mut state = State::new(config, incarnation);
    state.apply(clock::now(), &loaded.writes);
    let term = state.term().next(clock::nonce()?);
    Ok(Begun {
        state,
        started: Input::Started { term, fresh },
        ops,
    })
}
