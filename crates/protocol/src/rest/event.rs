//! Events.

use model::event::Event;
use model::id::{EventId, InstanceId, JobId};
use model::slot::Generation;
use model::time::Wall;
use serde::{Deserialize, Serialize};

use crate::time::rfc3339;

/// One change of state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct EventBody {
    /// Also the `id:` of its server-sent event.
    #[cfg_attr(
        feature = "openapi",
        schemars(with = "crate::rest::schema::EventIdText")
    )]
    pub id: EventId,
    /// When, by the issuer's clock.
    #[serde(with = "rfc3339")]
    #[cfg_attr(feature = "openapi", schemars(with = "crate::rest::schema::Time"))]
    pub at: Wall,
    /// `root`, `cluster` or `worker`.
    pub tier: String,
    /// The job.
    #[cfg_attr(feature = "openapi", schemars(with = "crate::rest::schema::JobIdText"))]
    pub job_id: JobId,
    /// The instance, where it is about one.
    #[serde(default)]
    #[cfg_attr(
        feature = "openapi",
        schemars(with = "Option<crate::rest::schema::InstanceIdText>")
    )]
    pub instance_id: Option<InstanceId>,
    /// Its generation.
    #[cfg_attr(feature = "openapi", schemars(with = "crate::rest::schema::Pair"))]
    pub generation: Generation,
    /// State before; null for the first.
    #[serde(default)]
    pub from: Option<String>,
    /// State after.
    pub to: String,
    /// Stable word for why.
    pub cause: String,
    /// One sentence.
    pub message: String,
}

impl From<&Event> for EventBody {
    fn from(event: &Event) -> Self {
        Self {
            id: event.id,
            at: event.at,
            tier: event.tier.as_str().to_owned(),
            job_id: event.job,
            instance_id: event.instance,
            generation: event.generation,
            from: (!event.from.is_empty()).then(|| event.from.to_owned()),
            to: event.to.to_owned(),
            cause: event.cause.clone(),
            message: event.message.clone(),
        }
    }
}
