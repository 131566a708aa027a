//! The handshake with the Cluster Manager.

use std::time::Duration;

use joining::Approach;
use model::id::NodeId;
use model::node::NodeFacts;
use protocol::message::MessageError;
use protocol::message::register::{EVENT, NAMESPACE, Refused, Request, Welcome, read_answer};
use socketio::{AckError, ConnectError, Options};

/// How long the cluster may take to answer: its commit is a part of it.
const ANSWER: Duration = Duration::from_secs(10);

/// Why this start is not registered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// It is not let in.
    #[error("the cluster refuses this worker")]
    Refused(Refused),
    /// The cluster is not there.
    #[error("cannot connect to the cluster")]
    Connect(#[source] ConnectError),
    /// It does not answer.
    #[error("the cluster does not answer the registration")]
    Answer(#[source] AckError),
    /// It answers something else.
    #[error("the cluster's answer cannot be read")]
    Message(#[source] MessageError),
}

/// Registers once; `signed`: orders are to be signed.
pub(crate) async fn register(
    approach: &Approach,
    facts: &NodeFacts,
    node: Option<NodeId>,
    (run, signed, sealing_key): (&Run, bool, String),
) -> Result<Welcome, Failure> {
    let options = Options {
        namespace: NAMESPACE.to_owned(),
        tls: approach.credentials.tls(),
        tls_name: Some(identity::any_name()),
        ..Options::new(approach.url.clone())
    };
    // Dropping `_events` ends the connection: all that follows goes over MQTT.
    let (client, _events) = socketio::connect(options).await.map_err(Failure::Connect)?;
    let request = Request {
        facts: facts.clone(),
        node,
        boot_id: run.boot_id.clone(),
        boot: run.boot,
        start: run.start,
        // A token is for joining, and goes to nobody afterwards.
        join_token: None,
        signed,
        sealing_key: Some(sealing_key),
    };
    let answer = client
        .emit_with_ack(EVENT, &request.encode(), ANSWER)
        .await
        .map_err(Failure::Answer)?;
    read_answer(&answer)
        .map_err(Failure::Message)?
        .map_err(Failure::Refused)
}

/// What tells this start of the process from every other.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    /// Random, also different on a copy of the disk.
    pub(crate) boot_id: String,
    /// The number of the start, as the store counts it. A state that is rebuilt meanwhile reports under a greater one.
    pub(crate) boot: u64,
    /// Random, also different on an emptied or restored disk, where the number is one that was there before.
    pub(crate) start: u64,
}

impl Run {
    pub(crate) fn new(boot: u64) -> Self {
        Self {
            boot_id: format!("{:016x}{:016x}", daemon::random(), daemon::random()),
            boot,
            // 0 would mean "none".
            start: daemon::random().max(1),
        }
    }
}
