//! What is recorded.

use std::net::SocketAddr;

use crate::Digest;

/// Each text of a record is clipped to so many bytes.
pub const TEXT_BYTES: usize = 1_024;

/// One decision about one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// When, in RFC 3339, by the caller's clock.
    pub time: String,
    /// Who decided.
    pub tier: Tier,
    /// Who asked.
    pub who: Subject,
    /// Where the request came from; `None` if from the program itself.
    pub from: Option<SocketAddr>,
    /// What was to be done.
    pub verb: String,
    /// To what.
    pub resource: String,
    /// Whether it was let.
    pub decision: Decision,
    /// The digest of what was there before a change.
    pub before: Option<Digest>,
    /// The digest of what is there after it.
    pub after: Option<Digest>,
    /// The id of the request or trace that it belongs to.
    pub request: Option<String>,
}

/// Which kind of program decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// A root-orchestrator.
    Root,
    /// A cluster-orchestrator.
    Cluster,
    /// A node-engine.
    Worker,
}

/// Who asked for something, by the id that was proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// Somebody who proved nothing.
    Anonymous,
    /// A user.
    User(String),
    /// A cluster.
    Cluster(String),
    /// A worker.
    Worker(String),
}

/// What was decided; if it was not let, with the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It may be done.
    Granted,
    /// The subject may not do it.
    Denied(String),
    /// The subject may not know of it, and was told that there is no such thing.
    Hidden(String),
    /// The subject may do it, but not so or not now: a quota, a limit, a bad request.
    Refused(String),
}

impl Record {
    /// Clips all texts, so that what waits in the queue is bounded.
    pub(crate) fn clip(&mut self) {
        clip(&mut self.time);
        clip(&mut self.verb);
        clip(&mut self.resource);
        match &mut self.who {
            Subject::Anonymous => {}
            Subject::User(id) | Subject::Cluster(id) | Subject::Worker(id) => clip(id),
        }
        match &mut self.decision {
            Decision::Granted => {}
            Decision::Denied(why) | Decision::Hidden(why) | Decision::Refused(why) => clip(why),
        }
        if let Some(request) = &mut self.request {
            clip(request);
        }
    }
}

/// Leaves so much of a text that it has [`TEXT_BYTES`] with the sign for what is missing.
pub(crate) fn clip(text: &mut String) {
    const MISSING: char = '…';
    if text.len() > TEXT_BYTES {
        text.truncate(text.floor_char_boundary(TEXT_BYTES - MISSING.len_utf8()));
        text.push(MISSING);
        text.shrink_to_fit();
    }
}
