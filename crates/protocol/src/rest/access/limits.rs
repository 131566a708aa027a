//! How much a tenant may have, and what its jobs may run.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use model::access::{Policy, Quota};
use model::units::{Bytes, Millicores};
use model::workload::RuntimeKind;
use serde::{Deserialize, Serialize};

use crate::document::{Faults, Spot};
use crate::rest::request::known;

/// Of jobs and instances.
const COUNT: RangeInclusive<u64> = 0..=1_000_000_000;
/// Of memory and disk: 1 EB.
const MEGABYTES: RangeInclusive<u64> = 0..=1_099_511_627_776;
/// Most cores.
const CORES: f64 = 1_000_000_000.0;
/// Characters of a registry at most.
const REGISTRY: usize = 255;
/// Registries of a policy at most.
const REGISTRIES: usize = 100;

/// How much a tenant may have, with all below it. Null, or left out: as much as the tenant above leaves it.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "openapi", schemars(deny_unknown_fields))]
pub struct QuotaBody {
    /// Jobs.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schemars(range(max = 1_000_000_000)))]
    pub jobs: Option<u64>,
    /// Replicas of their services.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schemars(range(max = 1_000_000_000)))]
    pub instances: Option<u64>,
    /// Cores.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schemars(range(min = 0, max = 1_000_000_000)))]
    pub cpu: Option<f64>,
    /// Main memory, MB of 1,048,576 bytes.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schemars(range(max = 1_099_511_627_776_u64)))]
    pub memory_in_mb: Option<u64>,
    /// Disk, MB of 1,048,576 bytes.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schemars(range(max = 1_099_511_627_776_u64)))]
    pub disk_in_mb: Option<u64>,
}

/// What the jobs of a tenant may run; it only narrows what is above it. Null, or left out: what is allowed above.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "openapi", schemars(deny_unknown_fields))]
pub struct PolicyBody {
    /// Registries of images, as `host` or `host:port`.
    #[serde(default)]
    pub registries: Option<BTreeSet<String>>,
    /// `docker`, `native` or `noop`.
    #[serde(default)]
    pub runtimes: Option<BTreeSet<String>>,
}

impl From<&Quota> for QuotaBody {
    fn from(quota: &Quota) -> Self {
        Self {
            jobs: quota.jobs,
            instances: quota.instances,
            cpu: quota.cpu.map(Millicores::cores),
            memory_in_mb: quota.memory.map(Bytes::mb),
            disk_in_mb: quota.disk.map(Bytes::mb),
        }
    }
}

impl From<&QuotaBody> for Quota {
    fn from(body: &QuotaBody) -> Self {
        Self {
            jobs: body.jobs,
            instances: body.instances,
            cpu: body.cpu.map(Millicores::from_cores),
            memory: body.memory_in_mb.map(Bytes::from_mb),
            disk: body.disk_in_mb.map(Bytes::from_mb),
        }
    }
}

impl From<&Policy> for PolicyBody {
    fn from(policy: &Policy) -> Self {
        let runtimes = policy.runtimes.as_ref();
        Self {
            registries: policy.registries.clone(),
            runtimes: runtimes.map(|all| all.iter().map(ToString::to_string).collect()),
        }
    }
}

impl From<&PolicyBody> for Policy {
    /// A runtime that is not known is one that no job can have: leaving it out allows the same.
    fn from(body: &PolicyBody) -> Self {
        let runtimes = body.runtimes.as_ref();
        let known =
            |all: &BTreeSet<String>| all.iter().filter_map(|it| RuntimeKind::parse(it)).collect();
        Self {
            registries: body.registries.clone(),
            runtimes: runtimes.map(known),
        }
    }
}

impl QuotaBody {
    /// Reads the mapping at a field.
    pub(super) fn read(spot: &Spot<'_>, faults: &mut Faults) -> Option<Self> {
        let names = &["jobs", "instances", "cpu", "memory_in_mb", "disk_in_mb"];
        let fields = known(spot, names, faults)?;
        let mut whole = |name: &str, range| fields.get(name)?.whole(range, faults);
        let mut quota = Self {
            jobs: whole("jobs", &COUNT),
            instances: whole("instances", &COUNT),
            cpu: None,
            memory_in_mb: whole("memory_in_mb", &MEGABYTES),
            disk_in_mb: whole("disk_in_mb", &MEGABYTES),
        };
        if let Some(spot) = fields.get("cpu") {
            quota.cpu = spot.number(faults);
            if quota
                .cpu
                .is_some_and(|cores| !(0.0..=CORES).contains(&cores))
            {
                spot.fault(faults, format!("must be cores from 0 to {CORES}"));
            }
        }
        Some(quota)
    }
}

impl PolicyBody {
    /// Reads the mapping at a field.
    pub(super) fn read(spot: &Spot<'_>, faults: &mut Faults) -> Option<Self> {
        let fields = known(spot, &["registries", "runtimes"], faults)?;
        let mut policy = Self::default();
        if let Some(spot) = fields.get("registries") {
            let items = spot.items(faults).unwrap_or_default();
            if items.len() > REGISTRIES {
                spot.fault(
                    faults,
                    format!("a policy has at most {REGISTRIES} registries"),
                );
            }
            let texts = items.iter().filter_map(|item| registry(item, faults));
            policy.registries = Some(texts.collect());
        }
        if let Some(spot) = fields.get("runtimes") {
            let items = spot.items(faults).unwrap_or_default();
            let words = [RuntimeKind::Docker, RuntimeKind::Native, RuntimeKind::Noop];
            let words = words.map(|kind| (kind.as_str(), kind));
            let kinds = items.iter().filter_map(|item| item.choice(&words, faults));
            policy.runtimes = Some(kinds.map(|kind| kind.to_string()).collect());
        }
        Some(policy)
    }
}

/// A registry as images name it.
fn registry(spot: &Spot<'_>, faults: &mut Faults) -> Option<String> {
    let text = spot.text(faults)?;
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-._:[]".contains(c);
    if text.is_empty() || text.len() > REGISTRY || !text.chars().all(fits) {
        let message = "is no registry; write its host, or host:port, in lower case, as in ghcr.io";
        spot.fault(faults, message);
        return None;
    }
    Some(text.to_owned())
}
