//! `nodes/{id}/reply/events`: what happened to a child's instances, event by event (see [`model::telling`]).
//!
//! The confirmation is a question that is not answered: see [`super::question::Question::Confirmed`].

use model::access::TenantPath;
use model::event::{Event, Tier};
use model::id::{EventId, InstanceId, JobId};
use model::job::JobState;
use model::slot::Generation;
use model::telling::{Stamp, Telling, Told};
use model::time::Wall;
use serde::{Deserialize, Serialize};

use super::{MessageError, Source, Text, at_most, clipped, hex64};
use crate::skew::count_word;
use crate::time::rfc3339;

/// The request id under which a worker tells its events. A topic of their own would end its connection with a cluster of
/// an earlier version.
pub const REQUEST: &str = "events";
/// Events in one message.
const EVENTS: usize = 256;
/// Bytes of a sentence that are kept.
const SENTENCE: usize = 2_048;
/// Bytes of a cause that are kept.
const CAUSE: usize = 64;

/// Which event of a child it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireStamp {
    /// Nonce of the child's start that made it.
    #[serde(with = "hex64")]
    pub line: u64,
    /// Grows with each event of that start.
    pub number: u64,
}

/// An event on its way up; also on the disk of who tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireTold {
    /// Nonce of the child's start that made it.
    #[serde(with = "hex64")]
    pub line: u64,
    /// Grows with each event of that start.
    pub number: u64,
    /// How many events it stands for.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub count: u32,
    /// When, by the clock of who saw it.
    #[serde(with = "rfc3339")]
    pub at: Wall,
    /// Who saw it: `cluster` or `worker`.
    pub tier: String,
    /// The job.
    pub job: JobId,
    /// The instance, where it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<InstanceId>,
    /// Its generation.
    pub generation: Generation,
    /// The state before; left out where there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub from: String,
    /// The state after.
    pub to: String,
    /// Stable word for why.
    pub cause: String,
    /// One sentence; may be left out where the words say all.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

const fn one() -> u32 {
    1
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes the field by reference"
)]
const fn is_one(count: &u32) -> bool {
    *count == 1
}

#[derive(Serialize, Deserialize)]
struct Fields {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after: Option<WireStamp>,
    events: Vec<WireTold>,
}

impl From<Stamp> for WireStamp {
    fn from(stamp: Stamp) -> Self {
        Self {
            line: stamp.line,
            number: stamp.number,
        }
    }
}

impl From<WireStamp> for Stamp {
    fn from(wire: WireStamp) -> Self {
        Self {
            line: wire.line,
            number: wire.number,
        }
    }
}

impl From<&Told> for WireTold {
    fn from(told: &Told) -> Self {
        let event = &told.event;
        Self {
            line: told.stamp.line,
            number: told.stamp.number,
            count: told.count,
            at: event.at,
            tier: event.tier.as_str().to_owned(),
            job: event.job,
            instance: event.instance,
            generation: event.generation,
            from: event.from.to_owned(),
            to: event.to.to_owned(),
            cause: event.cause.clone(),
            message: event.message.clone(),
        }
    }
}

impl From<WireTold> for Told {
    /// A word of a newer program changes the meaning of its own event only: that must be taken, or the child would tell it
    /// again for ever.
    fn from(wire: WireTold) -> Self {
        Self {
            stamp: Stamp {
                line: wire.line,
                number: wire.number,
            },
            count: wire.count,
            event: Event {
                id: EventId::from_bits(0),
                at: wire.at,
                tier: tier(&wire.tier),
                job: wire.job,
                // Who takes it knows its job.
                tenant: TenantPath::root(),
                instance: wire.instance,
                generation: wire.generation,
                from: if wire.from.is_empty() {
                    ""
                } else {
                    state(&wire.from)
                },
                to: state(&wire.to),
                cause: clipped(wire.cause, CAUSE),
                message: clipped(wire.message, SENTENCE),
            },
        }
    }
}

/// Nothing that is told comes from a root, whatever it says.
fn tier(word: &str) -> Tier {
    if word == Tier::Worker.as_str() {
        return Tier::Worker;
    }
    if word != Tier::Cluster.as_str() {
        count_word(word);
    }
    Tier::Cluster
}

fn state(word: &str) -> &'static str {
    let known = JobState::parse(word);
    if known.is_none() {
        count_word(word);
    }
    known.unwrap_or(JobState::Unknown).as_str()
}

/// Writes the message.
pub fn encode(telling: &Telling) -> Vec<u8> {
    text(telling).bytes()
}

/// Reads it.
///
/// # Errors
/// [`MessageError`], where it is no such message.
pub fn decode(payload: &[u8]) -> Result<Telling, MessageError> {
    read(payload)
}

pub(crate) fn text(telling: &Telling) -> Text {
    Text::new().with(&Fields {
        after: telling.after.map(WireStamp::from),
        events: telling.events.iter().map(WireTold::from).collect(),
    })
}

pub(crate) fn read<S: Source + ?Sized>(source: &S) -> Result<Telling, MessageError> {
    source.open()?;
    let fields: Fields = source.fields()?;
    at_most(fields.events.len(), EVENTS, "events")?;
    Ok(Telling {
        after: fields.after.map(Stamp::from),
        events: fields.events.into_iter().map(Told::from).collect(),
    })
}
