//! Which cluster is reached by which connection.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::id::ClusterId;
use model::telling::Stamp;
use orchestrator::tunnels::{Full, Tunnel, Tunnels};
use protocol::message::AssignmentEntry;
use protocol::message::question::{Ask, Stream};
use protocol::message::uplink::{self, LARGEST_QUESTION, QUESTION, Question};
use protocol::problem::Problem;
use serde_json::Value;
use socketioxide::extract::SocketRef;
use sync::Parcel;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// How long a cluster may take to answer a question.
const PATIENCE: Duration = Duration::from_secs(2);
/// The same of documents: they are stored, and dry runs wait for one another.
const PATIENCE_OF_DOCUMENTS: Duration = Duration::from_secs(8);
/// What is said about answers in chunks and waits for one cluster.
const STREAMS: usize = 1_024;
/// Messages that wait for one cluster. Few: a change goes out again only when it was not acknowledged.
const OUTBOUND: usize = 64;

/// A message to a cluster.
#[derive(Debug)]
pub(crate) enum Down {
    /// Parts of a change of its desired set.
    Assign(Parcel<AssignmentEntry>),
    /// Which event of those that it told is stored.
    Confirm(Stamp),
    /// What it should send.
    Ask(Ask),
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unanswered {
    /// Nobody to ask.
    #[error("the cluster is not connected now; try again when it is ACTIVE")]
    NotConnected,
    /// It took too long.
    #[error("the cluster did not answer within {}s; try again", .0.as_secs())]
    Silent(Duration),
    /// The connection broke.
    #[error("the connection to the cluster broke before it answered; try again")]
    Broken,
    /// It is more than goes over the connection at a time.
    #[error(
        "it takes {bytes} bytes to pass this on to the cluster, and at most {LARGEST_QUESTION} can be; send it to the cluster itself, or in several requests"
    )]
    TooLong {
        /// What it takes.
        bytes: usize,
    },
    /// What came is no answer: another version.
    #[error("the cluster's answer cannot be read; update the older of the two programs")]
    Unreadable,
    /// The cluster refused.
    #[error("{}", .0.detail)]
    Refused(Box<Problem>),
}

/// Why a worker is not relayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoWay {
    /// No such cluster, or its uplink is down.
    #[error("the cluster is not connected")]
    NotConnected,
    /// As many as can be.
    #[error(transparent)]
    Full(#[from] Full),
}

/// What goes out on one connection.
#[derive(Debug)]
pub(super) struct Outbound {
    /// By the controller: first.
    pub(super) decided: mpsc::Receiver<Down>,
    /// For readers of answers in chunks.
    pub(super) asked: mpsc::Receiver<Stream>,
}

/// The open connection of one cluster.
#[derive(Debug, Clone)]
struct Link {
    session: u64,
    socket: SocketRef,
    down: mpsc::Sender<Down>,
    streams: mpsc::Sender<Stream>,
    tunnels: Tunnels,
    gone: CancellationToken,
}

/// The open connections. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Links(Arc<Mutex<Open>>);

#[derive(Debug, Default)]
struct Open {
    links: BTreeMap<ClusterId, Link>,
    /// Sessions begun.
    sessions: u64,
}

impl Links {
    fn open(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A cluster's connection, which ends its former one. The number is greater than all before.
    pub(super) fn insert(
        &self,
        cluster: ClusterId,
        socket: SocketRef,
        tunnels: Tunnels,
        gone: CancellationToken,
    ) -> (u64, Outbound) {
        let (down, decided) = mpsc::channel(OUTBOUND);
        let (streams, asked) = mpsc::channel(STREAMS);
        let outbound = Outbound { decided, asked };
        let mut open = self.open();
        open.sessions += 1;
        let session = open.sessions;
        let link = Link {
            session,
            socket,
            down,
            streams,
            tunnels,
            gone,
        };
        if let Some(former) = open.links.insert(cluster, link) {
            former.gone.cancel();
        }
        (session, outbound)
    }

    /// The session has ended.
    pub(super) fn remove(&self, cluster: ClusterId, session: u64) {
        let mut open = self.open();
        if open
            .links
            .get(&cluster)
            .is_some_and(|link| link.session == session)
        {
            open.links.remove(&cluster);
        }
    }

    /// Ends the connection of a cluster, if it has one.
    pub(crate) fn end(&self, cluster: ClusterId) {
        if let Some(link) = self.open().links.get(&cluster) {
            tracing::warn!(cluster.id = %cluster, "a cluster's identity was revoked; it is disconnected");
            link.gone.cancel();
        }
    }

    /// Sends a message; one that is not taken is sent again by the sync protocol.
    pub(crate) fn send(&self, cluster: ClusterId, message: Down) {
        let Some(link) = self.open().links.get(&cluster).cloned() else {
            return;
        };
        if link.down.try_send(message).is_err() && !link.gone.is_cancelled() {
            tracing::warn!(cluster.id = %cluster, "a cluster takes less than is sent; it is disconnected");
            link.gone.cancel();
        }
    }

    /// Says something about an answer in chunks; `false` when the cluster cannot be told now.
    pub(crate) fn stream(&self, cluster: ClusterId, stream: Stream) -> bool {
        let open = self.open();
        let link = open.links.get(&cluster);
        link.is_some_and(|link| link.streams.try_send(stream).is_ok())
    }

    /// A way for a worker to its cluster.
    ///
    /// # Errors
    /// [`NoWay`].
    pub(crate) fn tunnel(&self, cluster: ClusterId) -> Result<Tunnel, NoWay> {
        let open = self.open();
        let link = open.links.get(&cluster).ok_or(NoWay::NotConnected)?;
        Ok(link.tunnels.begin()?)
    }

    /// The clusters that are connected.
    pub(crate) fn connected(&self) -> Vec<ClusterId> {
        self.open().links.keys().copied().collect()
    }

    /// Asks a cluster something for a user.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub(crate) async fn question(
        &self,
        cluster: ClusterId,
        question: &Question,
    ) -> Result<Value, Unanswered> {
        let link = self.open().links.get(&cluster).cloned();
        let link = link.ok_or(Unanswered::NotConnected)?;
        let (message, patience) = (question.encode(), patience(question));
        let bytes = message.to_string().len();
        if bytes > LARGEST_QUESTION {
            return Err(Unanswered::TooLong { bytes });
        }
        let asked = link
            .socket
            .timeout(patience)
            .emit_with_ack::<_, Value>(QUESTION, &message);
        let asked = asked.map_err(|error| {
            tracing::debug!(cluster.id = %cluster, %error, "a question was not sent");
            Unanswered::NotConnected
        })?;
        // Cancel-safe: whichever comes first is the end of it.
        let answer = tokio::select! {
            answer = asked => answer,
            () = link.gone.cancelled() => return Err(Unanswered::Broken),
        };
        let answer = answer.map_err(|error| {
            tracing::debug!(cluster.id = %cluster, %error, "a question was not answered");
            Unanswered::Silent(patience)
        })?;
        uplink::read_reply(&answer)
            .map_err(|error| {
                tracing::warn!(cluster.id = %cluster, error = &error as &dyn std::error::Error, "an answer cannot be read");
                Unanswered::Unreadable
            })?
            .map_err(|problem| Unanswered::Refused(Box::new(problem)))
    }
}

const fn patience(question: &Question) -> Duration {
    match question {
        Question::Submit(_) => PATIENCE_OF_DOCUMENTS,
        Question::Nodes { .. }
        | Question::Node { .. }
        | Question::PatchNode { .. }
        | Question::ForgetNode { .. }
        | Question::RevokeNode { .. }
        | Question::CreateJoinToken { .. }
        | Question::Explain { .. } => PATIENCE,
    }
}
