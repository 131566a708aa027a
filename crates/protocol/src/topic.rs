//! The MQTT topics between a cluster-orchestrator and its workers (architecture, section 5).
//!
//! A topic is `nodes/{id}/{leaf}`, and `nodes/{id}/reply/{request}` for answers. Only the spelling
//! that [`Topic`] prints is a topic: an id in another case or with aliased letters is refused, so
//! that comparing texts and comparing topics is the same thing.

use std::fmt;
use std::str::FromStr;

use model::id::NodeId;

/// The longest request id in a reply topic, in bytes.
pub const REQUEST_LIMIT: usize = 64;

/// One topic of one worker.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Topic {
    /// `nodes/{id}/information`, up: use and facts, sent every report interval.
    Information(NodeId),
    /// `nodes/{id}/instances`, up: observed instance states.
    Instances(NodeId),
    /// `nodes/{id}/sync`, up: the revision held and the digest of what runs.
    Sync(NodeId),
    /// `nodes/{id}/connection`, up: online, and offline by the last will.
    Connection(NodeId),
    /// `nodes/{id}/control`, down: the desired set or a delta of it.
    Control(NodeId),
    /// `nodes/{id}/request`, down: a question.
    Request(NodeId),
    /// `nodes/{id}/reply/{request}`, up: a chunk of the answer to a question.
    Reply {
        /// The worker that answers.
        node: NodeId,
        /// The id of the question: 1 to [`REQUEST_LIMIT`] letters, digits, `-`, `_` or `.`.
        request: String,
    },
}

/// Which way the messages of a topic travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the worker to its cluster.
    Up,
    /// From the cluster to the worker.
    Down,
}

/// Why a text is not a topic of edgeIO.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// The text is not of the form `nodes/{id}/{leaf}`.
    #[error("the topic does not have the form nodes/<id>/<leaf>")]
    Form,
    /// The second level is not the id of a worker in its one spelling.
    #[error("the second level of the topic is not the id of a worker")]
    Node,
    /// The third level is none that edgeIO uses.
    #[error("the third level of the topic is none of those in use")]
    Leaf,
    /// The fourth level is not the id of a request.
    #[error("the last level of the reply topic is not the id of a request")]
    Request,
}

impl Topic {
    /// The worker whose topic this is.
    pub fn node(&self) -> NodeId {
        match self {
            Self::Information(node)
            | Self::Instances(node)
            | Self::Sync(node)
            | Self::Connection(node)
            | Self::Control(node)
            | Self::Request(node)
            | Self::Reply { node, .. } => *node,
        }
    }

    /// Which way messages of this topic travel.
    pub fn direction(&self) -> Direction {
        match self {
            Self::Information(_)
            | Self::Instances(_)
            | Self::Sync(_)
            | Self::Connection(_)
            | Self::Reply { .. } => Direction::Up,
            Self::Control(_) | Self::Request(_) => Direction::Down,
        }
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Information(node) => write!(f, "nodes/{node}/information"),
            Self::Instances(node) => write!(f, "nodes/{node}/instances"),
            Self::Sync(node) => write!(f, "nodes/{node}/sync"),
            Self::Connection(node) => write!(f, "nodes/{node}/connection"),
            Self::Control(node) => write!(f, "nodes/{node}/control"),
            Self::Request(node) => write!(f, "nodes/{node}/request"),
            Self::Reply { node, request } => write!(f, "nodes/{node}/reply/{request}"),
        }
    }
}

impl FromStr for Topic {
    type Err = TopicError;

    fn from_str(text: &str) -> Result<Self, TopicError> {
        let rest = text.strip_prefix("nodes/").ok_or(TopicError::Form)?;
        let (id, leaf) = rest.split_once('/').ok_or(TopicError::Form)?;
        let node = id
            .parse::<NodeId>()
            .ok()
            .filter(|node| node.to_string() == id)
            .ok_or(TopicError::Node)?;
        match leaf {
            "information" => Ok(Self::Information(node)),
            "instances" => Ok(Self::Instances(node)),
            "sync" => Ok(Self::Sync(node)),
            "connection" => Ok(Self::Connection(node)),
            "control" => Ok(Self::Control(node)),
            "request" => Ok(Self::Request(node)),
            _ => {
                let request = leaf.strip_prefix("reply/").ok_or(TopicError::Leaf)?;
                if is_request(request) {
                    Ok(Self::Reply {
                        node,
                        request: request.to_owned(),
                    })
                } else {
                    Err(TopicError::Request)
                }
            }
        }
    }
}

/// Whether a text may stand as the last level of a reply topic.
pub(crate) fn is_request(text: &str) -> bool {
    (1..=REQUEST_LIMIT).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests;
