//! Answers in chunks for the root: its questions go on to the workers, and the chunks back.

use std::collections::HashMap;

use model::id::NodeId;
use orchestrator::access::Access;
use orchestrator::http::Service;
use orchestrator::streams::{Relay, Streams};
use protocol::message::question::{Logs, RequestId, Stream};
use protocol::message::reply::{Chunk, End};
use tokio::sync::mpsc;

use crate::places::Places;
use crate::tier::{Cluster, Handle};

/// Where chunks for the root wait; what is granted bounds their bytes.
pub(super) type ToRoot = mpsc::Sender<(RequestId, Chunk)>;

/// What questions of the root need.
#[derive(Debug, Clone)]
pub(crate) struct Desk {
    pub(crate) streams: Streams<NodeId>,
    pub(crate) places: Places,
    /// Who may join this cluster.
    pub(crate) access: Access,
    /// What takes documents.
    pub(crate) jobs: Service<Cluster>,
}

/// The open questions of one connection. They end with it.
pub(super) struct Relays {
    desk: Desk,
    open: HashMap<RequestId, Relay<NodeId>>,
    to_root: ToRoot,
}

impl Relays {
    pub(super) fn new(desk: Desk, to_root: ToRoot) -> Self {
        Self {
            desk,
            open: HashMap::new(),
            to_root,
        }
    }

    /// Does what the root says about a stream.
    pub(super) async fn take(&mut self, handle: &Handle, stream: Stream) {
        self.tidy();
        match stream {
            Stream::Logs(logs) => self.begin(handle, logs).await,
            Stream::Credit { request, bytes } => {
                if let Some(relay) = self.open.get_mut(&request) {
                    relay.grant(bytes);
                }
            }
            Stream::Cancel { request } => {
                self.open.remove(&request);
            }
        }
    }

    /// Forgets what has ended, and tells workers what could not be told before. Called from time to time.
    pub(super) fn tidy(&mut self) {
        self.open.retain(|_, relay| relay.is_open());
        for relay in self.open.values_mut() {
            relay.grant(0);
        }
    }

    async fn begin(&mut self, handle: &Handle, logs: Logs) {
        let asked = match self.desk.places.find(handle, logs.instance).await {
            Some(node) => self.desk.streams.relay(node, &logs, self.to_root.clone()),
            None => Err(End::NoSuchInstance),
        };
        match asked {
            Ok(relay) => {
                self.open.insert(logs.request, relay);
            }
            Err(end) => {
                let chunk = Chunk {
                    sequence: 0,
                    text: String::new(),
                    end: Some(end),
                };
                // A root that is behind so far asks again.
                let _ = self.to_root.try_send((logs.request, chunk));
            }
        }
    }
}
