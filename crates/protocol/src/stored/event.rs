//! Events.

use model::access::TenantPath;
use model::event::{Event, Tier};
use model::id::{EventId, InstanceId, JobId};
use model::job::JobState;
use model::slot::Generation;
use model::time::Wall;
use serde::{Deserialize, Serialize};

/// An event, but for the ids that its key holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredEvent {
    at: Wall,
    tier: String,
    /// Absent: the root's.
    #[serde(
        default = "TenantPath::root",
        skip_serializing_if = "TenantPath::is_root"
    )]
    tenant: TenantPath,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    instance: Option<InstanceId>,
    generation: Generation,
    #[serde(default)]
    from: String,
    to: String,
    cause: String,
    message: String,
}

/// An event has words that this program does not have: another version wrote it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the event of tier {tier:?} from {from:?} to {to:?} is of another version")]
pub struct UnknownWords {
    /// Who observed it.
    pub tier: String,
    /// The state before.
    pub from: String,
    /// The state after.
    pub to: String,
}

impl From<&Event> for StoredEvent {
    fn from(event: &Event) -> Self {
        Self {
            at: event.at,
            tier: event.tier.as_str().to_owned(),
            tenant: event.tenant.clone(),
            instance: event.instance,
            generation: event.generation,
            from: event.from.to_owned(),
            to: event.to.to_owned(),
            cause: event.cause.clone(),
            message: event.message.clone(),
        }
    }
}

impl StoredEvent {
    /// The event whose key has these ids. History is not worth a start, so a program goes on without those it cannot
    /// read.
    pub fn into_event(self, job: JobId, id: EventId) -> Result<Event, UnknownWords> {
        let tiers = [Tier::Root, Tier::Cluster, Tier::Worker];
        let words = (
            tiers.into_iter().find(|tier| tier.as_str() == self.tier),
            state_word(&self.from),
            state_word(&self.to),
        );
        let (Some(tier), Some(from), Some(to)) = words else {
            return Err(UnknownWords {
                tier: self.tier,
                from: self.from,
                to: self.to,
            });
        };
        Ok(Event {
            id,
            at: self.at,
            tier,
            job,
            tenant: self.tenant,
            instance: self.instance,
            generation: self.generation,
            from,
            to,
            cause: self.cause,
            message: self.message,
        })
    }
}

/// The word of a state; a job's states include those of an instance.
fn state_word(word: &str) -> Option<&'static str> {
    if word.is_empty() {
        return Some("");
    }
    JobState::parse(word).map(JobState::as_str)
}
