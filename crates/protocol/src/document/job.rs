//! One document: `v0.1` with one service at its top level, `v1` with a list of services.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use model::access::TenantPath;
use model::job::{JobSpec, OnPartition, PlacementRules, Reconcile, ServiceSpec};
use model::name::Name;

use super::Options;
use super::fault::{Faults, clip, join};
use super::fields::{Fields, Known};
use super::read::Spot;
use super::{security, service};

/// Fields of every version, for the whole job.
const JOB: &[&str] = &[
    "api_version",
    "job_name",
    "tenant",
    "placement",
    "lost_after",
    "on_partition",
    "reconcile",
];
/// The words of `reconcile`.
const RECONCILE: [(&str, Reconcile); 3] = [
    ("keep_original", Reconcile::KeepOriginal),
    ("keep_replacement", Reconcile::KeepReplacement),
    ("best", Reconcile::Best),
];
/// Most services of one job.
const MAX_SERVICES: usize = 100;
/// What `lost_after` may be; the tests run it at a tenth and less.
const LOST_AFTER: RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_hours(30 * 24);
/// Longest key or value of a label.
const MAX_LABEL: usize = 253;
/// Longest `cluster_location`.
const MAX_LOCATION: usize = 255;

pub(super) const KNOWN_V0: Known<'static> = Known {
    fields: &[JOB, service::FIELDS, &["cluster_location", "worker_node"]],
    hints: &[
        ("services", "`services` needs api_version: v1"),
        (
            "name",
            "in v0.1 the one service is named by job_name; remove `name`",
        ),
        (
            "cluster",
            "write it as placement: {cluster: …}, or as cluster_location",
        ),
        ("labels", "write them as placement: {labels: {…}}"),
        security::PRIVILEGED,
        security::USER,
    ],
};

pub(super) const KNOWN_V1: Known<'static> = Known {
    fields: &[JOB, &["services"]],
    hints: &[
        ("cluster_location", "in v1 write placement: {cluster: …}"),
        ("worker_node", "in v1 write placement: {worker_node: …}"),
        (
            "image",
            "in v1 it belongs to a service: services: [{name: …, image: …}]",
        ),
        (
            "image_runtime",
            "in v1 it belongs to a service: services: [{name: …, image_runtime: …}]",
        ),
        (
            "command",
            "in v1 it belongs to a service: services: [{name: …, command: […]}]",
        ),
        (
            "requirements",
            "in v1 it belongs to a service: services: [{name: …, requirements: {…}}]",
        ),
        (
            "replicas",
            "in v1 it belongs to a service: services: [{name: …, replicas: …}]",
        ),
        ("name", "the job's name is job_name"),
    ],
};

pub(super) const KNOWN_SERVICE: Known<'static> = Known {
    fields: &[&["name", "placement"], service::FIELDS],
    hints: &[
        (
            "job_name",
            "a service has `name`; job_name stands at the top",
        ),
        ("worker_node", "in v1 write placement: {worker_node: …}"),
        ("cluster_location", "in v1 write placement: {cluster: …}"),
        security::PRIVILEGED,
        security::USER,
        (
            "lost_after",
            "it holds for the whole job; write it at the top",
        ),
        (
            "on_partition",
            "it holds for the whole job; write it at the top",
        ),
        (
            "reconcile",
            "it holds for the whole job; write it at the top",
        ),
        ("tenant", "it holds for the whole job; write it at the top"),
    ],
};

pub(super) const KNOWN_PLACEMENT: Known<'static> = Known {
    fields: &[&["cluster", "worker_node", "labels"]],
    hints: &[
        (
            "cluster_location",
            "write cluster here, or cluster_location at the top of a v0.1 document",
        ),
        ("worker", "unknown field; did you mean `worker_node`?"),
        (
            "architecture",
            "it belongs to requirements: {architecture: […]}",
        ),
    ],
};

#[derive(Clone, Copy, PartialEq)]
enum Version {
    V0,
    V1,
}

/// Reads one document, and which tenant it names; `None` when it has a fault.
pub(super) fn read(
    root: &Spot<'_>,
    options: Options,
    faults: &mut Faults,
) -> Option<(JobSpec, Option<TenantPath>)> {
    let before = faults.count();
    let fields = root.fields(faults)?;
    let version = fields
        .require("api_version", "v1 (or v0.1)", faults)
        .and_then(|spot| spot.choice(&[("v0.1", Version::V0), ("v1", Version::V1)], faults));
    // The other faults of a document without a usable version are told as those of the one that it looks like.
    let version = match version {
        Some(version) => version,
        None if fields.get("services").is_some() => Version::V1,
        None => Version::V0,
    };
    let name = fields
        .require("job_name", "my-job", faults)
        .and_then(|spot| spot.name(faults));
    let tenant = fields.get("tenant").and_then(|spot| spot.tenant(faults));
    let lost_after = fields
        .get("lost_after")
        .and_then(|spot| spot.duration(&LOST_AFTER, faults));
    let on_partition = fields
        .get("on_partition")
        .and_then(|spot| {
            spot.choice(
                &[("stay", OnPartition::Stay), ("move", OnPartition::Move)],
                faults,
            )
        })
        .unwrap_or_default();
    let reconcile = fields
        .get("reconcile")
        .and_then(|spot| spot.choice(&RECONCILE, faults))
        .unwrap_or_default();
    let rules = placement(&fields, PlacementRules::default(), faults);
    let services = match version {
        Version::V0 => one_service(&fields, name.clone(), rules, options, faults),
        Version::V1 => services(&fields, &rules, options, faults),
    };
    let job = JobSpec {
        name: name?,
        lost_after,
        on_partition,
        reconcile,
        services: services?.into_iter().map(Arc::new).collect(),
    };
    (faults.count() == before).then_some((job, tenant))
}

fn one_service(
    fields: &Fields<'_>,
    name: Option<Name>,
    mut rules: PlacementRules,
    options: Options,
    faults: &mut Faults,
) -> Option<Vec<ServiceSpec>> {
    fields.refuse_unknown(KNOWN_V0, faults);
    if let Some(spot) = fields.get("cluster_location") {
        rules.location = location(&spot, faults);
        if rules.cluster.is_some() {
            spot.fault(
                faults,
                "the cluster is also named by placement.cluster; keep one of them",
            );
        }
    }
    if let Some(spot) = fields.get("worker_node") {
        if rules.worker.is_some() {
            spot.fault(
                faults,
                "the worker is also named by placement.worker_node; keep one of them",
            );
        }
        rules.worker = spot.name(faults).map(String::from);
    }
    service::read(fields, name, rules, options, faults).map(|service| vec![service])
}

fn services(
    fields: &Fields<'_>,
    rules: &PlacementRules,
    options: Options,
    faults: &mut Faults,
) -> Option<Vec<ServiceSpec>> {
    fields.refuse_unknown(KNOWN_V1, faults);
    let list = fields.require("services", "[{name: web, image: nginx}]", faults)?;
    let items = list.items(faults)?;
    if items.is_empty() || items.len() > MAX_SERVICES {
        list.fault(
            faults,
            format!(
                "a job has 1 to {MAX_SERVICES} services; this one has {}",
                items.len()
            ),
        );
    }
    let mut names = BTreeSet::new();
    let mut services = Vec::new();
    for item in &items {
        let Some(fields) = item.fields(faults) else {
            continue;
        };
        fields.refuse_unknown(KNOWN_SERVICE, faults);
        let name = fields
            .require("name", "web", faults)
            .and_then(|spot| spot.name(faults));
        if let Some(name) = &name
            && !names.insert(name.clone())
        {
            fields.fault_at(
                "name",
                format!("two services are named {name}; give each its own name"),
                faults,
            );
        }
        let rules = placement(&fields, rules.clone(), faults);
        services.extend(service::read(&fields, name, rules, options, faults));
    }
    Some(services)
}

/// Reads `placement`; its own keys win over the ones it is merged into.
fn placement(
    fields: &Fields<'_>,
    mut rules: PlacementRules,
    faults: &mut Faults,
) -> PlacementRules {
    let Some(fields) = fields.get("placement").and_then(|spot| spot.fields(faults)) else {
        return rules;
    };
    fields.refuse_unknown(KNOWN_PLACEMENT, faults);
    if let Some(spot) = fields.get("cluster") {
        rules.cluster = spot.name(faults).map(String::from);
    }
    if let Some(spot) = fields.get("worker_node") {
        rules.worker = spot.name(faults).map(String::from);
    }
    let labels = fields.get("labels").and_then(|spot| spot.fields(faults));
    for (key, spot, at) in labels.iter().flat_map(Fields::each) {
        if !is_label_key(key) {
            let message = format!(
                "a label's key has 1 to {MAX_LABEL} characters of A-Z a-z 0-9 _ . - /, not \"{}\"",
                clip(key)
            );
            faults.add(&spot.path, at, message);
        }
        let Some(value) = spot.text(faults) else {
            continue;
        };
        if !is_label_value(value) {
            spot.fault(
                faults,
                format!("a label's value is one line of at most {MAX_LABEL} characters"),
            );
        }
        rules.labels.insert(key.to_owned(), value.to_owned());
    }
    rules
}

/// Whether a text can be the key of a label.
pub(crate) fn is_label_key(key: &str) -> bool {
    (1..=MAX_LABEL).contains(&key.len())
        && key
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '/'))
}

/// Whether a text can be the value of a label.
pub(crate) fn is_label_value(value: &str) -> bool {
    value.chars().count() <= MAX_LABEL && !value.chars().any(char::is_control)
}

fn location(spot: &Spot<'_>, faults: &mut Faults) -> Option<String> {
    let text = spot.text(faults)?;
    if text.trim().is_empty()
        || text.chars().count() > MAX_LOCATION
        || text.chars().any(char::is_control)
    {
        let message = format!(
            "{} is one line of 1 to {MAX_LOCATION} characters",
            join("", "cluster_location")
        );
        spot.fault(faults, message);
        return None;
    }
    Some(text.trim().to_owned())
}
