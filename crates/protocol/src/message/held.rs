//! What a child says it holds, and the numbers of its reports: in every message upwards.

use ::sync::{Digest, Held, Incarnation, StagedMark};
use serde::{Deserialize, Serialize};

use super::{hex64, is_default};

/// Numbers of a child's reports, so that a lost one shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Beat {
    /// Number of the child's start.
    pub boot: u64,
    /// Number of its last report.
    pub sequence: u64,
    /// Digest of what it observes.
    pub observed_digest: Digest,
    /// Nothing changed since that report; without it the parent must not conclude that what it does not see is gone.
    #[serde(default, skip_serializing_if = "is_default")]
    pub settled: bool,
}

/// The fields of [`Held`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WireHeld {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    incarnation: Option<Incarnation>,
    term: u64,
    #[serde(with = "hex64")]
    nonce: u64,
    revision: u64,
    desired_digest: Digest,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    staged: Option<StagedMark>,
    #[serde(default, skip_serializing_if = "is_default")]
    want_whole: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    superseded: bool,
}

impl From<&Held> for WireHeld {
    fn from(held: &Held) -> Self {
        Self {
            incarnation: held.incarnation,
            term: held.term,
            nonce: held.nonce,
            revision: held.revision,
            desired_digest: held.desired_digest,
            staged: held.staged,
            want_whole: held.want_whole,
            superseded: held.superseded,
        }
    }
}

impl From<WireHeld> for Held {
    fn from(wire: WireHeld) -> Self {
        Self {
            incarnation: wire.incarnation,
            term: wire.term,
            nonce: wire.nonce,
            revision: wire.revision,
            desired_digest: wire.desired_digest,
            staged: wire.staged,
            want_whole: wire.want_whole,
            superseded: wire.superseded,
        }
    }
}
