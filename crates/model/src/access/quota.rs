//! Quotas: how much a tenant may have, and who has taken how much of it.
//!
//! A quota is a promise. What a tenant has *taken* is what its own jobs ask for, and for each tenant right below it that
//! one's limit, or, where it has none, what that one has taken. Nothing is accepted that takes more than a limit, so what
//! is given to a tenant is there when it is used, whatever its siblings and its parent do meanwhile.
//!
//! Each change walks from its tenant to the root, whatever the size of the tree. The order of changes does not matter: a
//! store may be read in any.

use std::collections::BTreeMap;
use std::fmt;

use super::request::Refusal;
use super::tenant::TenantPath;
use crate::job::{Job, JobSpec};
use crate::units::{Bytes, Millicores, Resources};

/// What a quota counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Measure {
    /// Jobs that are not deleted.
    Jobs,
    /// Replicas of their services; the second copy of one that is being replaced is not counted.
    Instances,
    /// CPU time that they ask for, in thousandths of a core.
    Cpu,
    /// Memory that they ask for, in bytes.
    Memory,
    /// Disk that they ask for, in bytes.
    Disk,
}

impl Measure {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Jobs,
        Self::Instances,
        Self::Cpu,
        Self::Memory,
        Self::Disk,
    ];

    /// That many of it, for people.
    pub(super) fn amount(self, number: u64) -> Amount {
        Amount(self, number)
    }
}

pub(super) struct Amount(Measure, u64);

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(measure, number) = *self;
        let megabytes = number as f64 / Bytes::MB as f64;
        match measure {
            Measure::Jobs => write!(f, "{number} jobs"),
            Measure::Instances => write!(f, "{number} instances"),
            Measure::Cpu => write!(f, "{} cores", Millicores(number).cores()),
            Measure::Memory => write!(f, "{megabytes} MB memory"),
            Measure::Disk => write!(f, "{megabytes} MB disk"),
        }
    }
}

/// How much a tenant may have, with all below it; `None`: as much as the tenant above leaves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quota {
    /// Jobs.
    pub jobs: Option<u64>,
    /// Replicas of their services.
    pub instances: Option<u64>,
    /// CPU time.
    pub cpu: Option<Millicores>,
    /// Main memory.
    pub memory: Option<Bytes>,
    /// Disk.
    pub disk: Option<Bytes>,
}

impl Quota {
    /// The limit of one measure, in its unit.
    pub fn limit(&self, measure: Measure) -> Option<u64> {
        match measure {
            Measure::Jobs => self.jobs,
            Measure::Instances => self.instances,
            Measure::Cpu => self.cpu.map(|cpu| cpu.0),
            Measure::Memory => self.memory.map(|memory| memory.0),
            Measure::Disk => self.disk.map(|disk| disk.0),
        }
    }
}

/// What jobs ask for: what is counted against quotas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Jobs.
    pub jobs: u64,
    /// Replicas of their services.
    pub instances: u64,
    /// Of all replicas together.
    pub resources: Resources,
}

impl Usage {
    /// What a job asks for; nothing once its deletion is accepted. Saturates.
    ///
    /// While an update may still be taken back, it asks for the greater of what its two documents say, so that there is
    /// room for the former one when it comes back.
    pub fn of(job: &Job) -> Self {
        if job.is_deleted() {
            return Self::default();
        }
        let former = job
            .running()
            .and_then(|operation| operation.previous.as_ref());
        let former = former.map_or_else(Self::default, |spec| Self::of_spec(spec));
        Self::of_spec(&job.spec).max(former)
    }

    fn of_spec(spec: &JobSpec) -> Self {
        let job = Self {
            jobs: 1,
            ..Self::default()
        };
        spec.services.iter().fold(job, |usage, service| {
            let replicas = u64::from(service.replicas);
            let each = service.workload.resources;
            usage.plus(Self {
                jobs: 0,
                instances: replicas,
                resources: Resources {
                    cpu: Millicores(each.cpu.0.saturating_mul(replicas)),
                    memory: Bytes(each.memory.0.saturating_mul(replicas)),
                    disk: Bytes(each.disk.0.saturating_mul(replicas)),
                },
            })
        })
    }

    /// What one copy of such resources takes.
    pub const fn of_copy(resources: Resources) -> Self {
        Self {
            jobs: 0,
            instances: 1,
            resources,
        }
    }

    /// The greater of both, of each.
    fn max(self, other: Self) -> Self {
        Self {
            jobs: self.jobs.max(other.jobs),
            instances: self.instances.max(other.instances),
            resources: self.resources.most(other.resources),
        }
    }

    /// Both together; saturates.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            jobs: self.jobs.saturating_add(other.jobs),
            instances: self.instances.saturating_add(other.instances),
            resources: self.resources.plus(other.resources),
        }
    }

    /// What `self` has more than `other`, of each; never below zero. Of a changed job and the job before: what it demands.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self {
            jobs: self.jobs.saturating_sub(other.jobs),
            instances: self.instances.saturating_sub(other.instances),
            resources: self.resources.minus(other.resources),
        }
    }

    /// One measure, in its unit.
    pub fn get(&self, measure: Measure) -> u64 {
        match measure {
            Measure::Jobs => self.jobs,
            Measure::Instances => self.instances,
            Measure::Cpu => self.resources.cpu.0,
            Measure::Memory => self.resources.memory.0,
            Measure::Disk => self.resources.disk.0,
        }
    }
}

/// A demand that a quota has no room for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "tenant {tenant} has a quota of {}, of which {} are used or given to tenants below it: {} more do not fit; delete or scale down jobs, or ask an administrator for a greater quota",
    what.amount(*limit), what.amount(*used), what.amount(*wanted)
)]
pub struct Exceeded {
    /// Whose quota: the tenant that asks, or one above it.
    pub tenant: TenantPath,
    /// What there is too little of.
    pub what: Measure,
    /// The quota, in the unit of the measure.
    pub limit: u64,
    /// What is used by its own jobs or given to tenants below it.
    pub used: u64,
    /// What should come on top.
    pub wanted: u64,
}

/// What all tenants may have and have taken.
#[derive(Debug, Clone, Default)]
pub struct Quotas(BTreeMap<Measure, Ledger>);

impl Quotas {
    /// Whether the tenant, and those above it, have room for so much more. What is not demanded is not refused, even where
    /// there is too much of it.
    ///
    /// # Errors
    /// Names the quota that is in the way: the tenant's own, or one above it.
    pub fn check(&self, tenant: &TenantPath, demand: &Usage) -> Result<(), Exceeded> {
        for what in Measure::ALL {
            let ledger = self.0.get(&what);
            ledger.map_or(Ok(()), |ledger| {
                ledger.check(what, tenant, demand.get(what).into())
            })?;
        }
        Ok(())
    }

    /// Whether the tenant can have this quota: what it has taken stays within, and the tenants above have room for it.
    pub(super) fn fits(&self, tenant: &TenantPath, quota: &Quota) -> Result<(), Refusal> {
        for what in Measure::ALL {
            let empty = Ledger::default();
            let ledger = self.0.get(&what).unwrap_or(&empty);
            let line = ledger.line(tenant);
            let limit = quota.limit(what);
            if let Some(limit) = limit.filter(|limit| u128::from(*limit) < line.taken) {
                return Err(Refusal::BelowUse {
                    tenant: tenant.clone(),
                    what,
                    limit,
                    used: shown(line.taken),
                });
            }
            if let Some(parent) = tenant.parent() {
                let growth = Line { limit, ..line }
                    .weight()
                    .saturating_sub(line.weight());
                ledger.check(what, &parent, growth)?;
            }
        }
        Ok(())
    }

    /// Takes a tenant's quota.
    pub fn limit(&mut self, tenant: &TenantPath, quota: &Quota) {
        for what in Measure::ALL {
            let ledger = self.0.entry(what).or_default();
            ledger.limit(tenant, quota.limit(what));
        }
    }

    /// Takes what a job of the tenant asked for before and asks for now.
    pub fn charge(&mut self, tenant: &TenantPath, before: &Usage, after: &Usage) {
        for what in Measure::ALL {
            let more = i128::from(after.get(what)) - i128::from(before.get(what));
            if more == 0 {
                continue;
            }
            let ledger = self.0.entry(what).or_default();
            ledger.raise(tenant.upwards(), more, more);
        }
    }

    /// What the jobs of the tenant, and of all below it, ask for.
    pub fn usage(&self, tenant: &TenantPath) -> Usage {
        let used = |what| {
            let ledger = self.0.get(&what);
            ledger.map_or(0, |ledger| shown(ledger.line(tenant).used))
        };
        Usage {
            jobs: used(Measure::Jobs),
            instances: used(Measure::Instances),
            resources: Resources {
                cpu: Millicores(used(Measure::Cpu)),
                memory: Bytes(used(Measure::Memory)),
                disk: Bytes(used(Measure::Disk)),
            },
        }
    }
}

fn shown(sum: u128) -> u64 {
    u64::try_from(sum).unwrap_or(u64::MAX)
}

/// One measure of one tenant. The sums are exact: they hold more than a store can have summands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Line {
    limit: Option<u64>,
    /// By its jobs and those of all below.
    used: u128,
    taken: u128,
}

impl Line {
    /// What it takes of the tenant above. More than its limit where what is adopted from others was too much.
    fn weight(&self) -> u128 {
        let limit = self.limit.map_or(0, u128::from);
        self.taken.max(limit)
    }
}

/// One measure of all tenants that have any of it.
#[derive(Debug, Clone, Default)]
struct Ledger(BTreeMap<TenantPath, Line>);

impl Ledger {
    fn line(&self, tenant: &TenantPath) -> Line {
        self.0.get(tenant).copied().unwrap_or_default()
    }

    fn check(&self, what: Measure, tenant: &TenantPath, wanted: u128) -> Result<(), Exceeded> {
        let mut wanted = wanted;
        for tenant in tenant.upwards() {
            if wanted == 0 {
                break;
            }
            let line = self.line(&tenant);
            let taken = line.taken + wanted;
            if let Some(limit) = line.limit.filter(|limit| taken > u128::from(*limit)) {
                return Err(Exceeded {
                    tenant,
                    what,
                    limit,
                    used: shown(line.taken),
                    wanted: shown(wanted),
                });
            }
            wanted = Line { taken, ..line }.weight() - line.weight();
        }
        Ok(())
    }

    /// Adds to what the first of `upwards` uses and has taken, and to what follows from it above.
    fn raise(&mut self, upwards: impl Iterator<Item = TenantPath>, used: i128, taken: i128) {
        let mut taken = taken;
        for tenant in upwards {
            let line = self.0.entry(tenant.clone()).or_default();
            let before = line.weight();
            line.used = line.used.saturating_add_signed(used);
            line.taken = line.taken.saturating_add_signed(taken);
            taken = line.weight() as i128 - before as i128;
        }
    }

    fn limit(&mut self, tenant: &TenantPath, limit: Option<u64>) {
        let before = self.line(tenant);
        let line = Line { limit, ..before };
        if line == Line::default() {
            self.0.remove(tenant);
        } else {
            self.0.insert(tenant.clone(), line);
        }
        let more = line.weight() as i128 - before.weight() as i128;
        self.raise(tenant.upwards().skip(1), 0, more);
    }
}
