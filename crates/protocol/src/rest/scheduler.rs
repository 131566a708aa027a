//! Who chooses places: the setting of an orchestrator, and what a scheduler elsewhere is asked.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::request::known;
use crate::document::{Fault, Format, parse_one};

const DEADLINE: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_mins(1);

/// Who chooses places here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct SchedulerBody {
    /// A built-in algorithm, `first-fit` or `location`, or a scheduler elsewhere: its URL, or `queue:NAME`.
    pub scheduler: String,
    /// How long a scheduler elsewhere has for an answer, for example `500ms`; 1 ms to 60 s, and 2 s if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<String>,
    /// Which built-in algorithm chooses where that one does not, or `none`: then what is to be placed waits. `first-fit` if
    /// it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<String>,
}

/// Who chooses places here, and whether it is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct SchedulerStatus {
    /// The scheduler, with all that is in force.
    #[serde(flatten)]
    pub in_force: SchedulerBody,
    /// Why a scheduler elsewhere is left alone for now: its fallback chooses, or nobody. Left out while it is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub away: Option<String>,
}

impl SchedulerBody {
    /// Reads a body: `{scheduler: http://127.0.0.1:10005, deadline: 500ms, fallback: none}`. Whether there is such a
    /// scheduler is for the orchestrator to say.
    ///
    /// # Errors
    /// With all faults.
    pub fn parse(body: &[u8], format: Format) -> Result<Self, Vec<Fault>> {
        parse_one(body, format, |root, faults| {
            let fields = known(root, &["scheduler", "deadline", "fallback"], faults)?;
            let scheduler = fields
                .require("scheduler", "location", faults)
                .and_then(|spot| spot.text(faults));
            let deadline = fields
                .get("deadline")
                .and_then(|spot| spot.duration(&DEADLINE, faults));
            let fallback = fields.get("fallback").and_then(|spot| spot.text(faults));
            Some(Self {
                scheduler: scheduler?.to_owned(),
                deadline: deadline.map(|time| format!("{}ms", time.as_millis())),
                fallback: fallback.map(str::to_owned),
            })
        })
    }
}

/// A question to a scheduler elsewhere: who of those that will do gets one replica of a service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct PlaceRequest {
    /// Of this shape: 1.
    pub version: u32,
    /// The job's name.
    pub job_name: String,
    /// The service's name.
    pub service: String,
    /// Which replica, from 0.
    pub replica: u32,
    /// How it runs: `docker`, `native`.
    pub image_runtime: String,
    /// The image, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Cores that it asks for.
    pub cpu_cores: f64,
    /// Memory that it asks for, in MB.
    pub memory_in_mb: u64,
    /// Disk that it asks for, in MB.
    pub disk_in_mb: u64,
    /// Where the document wants it to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// Labels that the document asks for; all candidates have them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Who will do: rules, pins, runtimes and room were looked at. Never empty.
    pub candidates: Vec<PlaceCandidate>,
}

/// A worker; to the scheduler of a root a cluster, as the root knows it: by its last aggregate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct PlaceCandidate {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Where it is, as its operator says.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub location: String,
    /// A worker's CPU architecture.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub architecture: String,
    /// A worker's labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Cores that are free; of a cluster the most on one of its workers that could run it.
    pub free_cores: f64,
    /// Memory that is free, in MB; of a cluster as `free_cores`.
    pub memory_free_in_mb: u64,
    /// Disk that is free, in MB; of a cluster as `free_cores`.
    pub disk_free_in_mb: u64,
    /// Replicas of this service that it has.
    pub replicas: u32,
    /// A cluster's workers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workers: Option<u32>,
    /// Cores that are free on all of a cluster's workers that could run it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_free_cores: Option<f64>,
    /// Memory that is free on all of those, in MB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_memory_free_in_mb: Option<u64>,
    /// Disk that is free on all of those, in MB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_disk_free_in_mb: Option<u64>,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct PlaceAnswer {
    /// The id or name of a candidate; null: none of them. It must be there.
    #[serde(deserialize_with = "there")]
    pub choose: Option<String>,
    /// Why none; shown to users.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A field that may be null and must not be left out: what is no answer must not be taken for one.
fn there<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Option::deserialize(deserializer)
}
