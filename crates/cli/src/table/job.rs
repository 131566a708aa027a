//! Jobs and their instances.

use std::collections::BTreeSet;

use model::instance::Health;
use model::slot::Role;
use model::workload::Transport;
use protocol::rest::{EndpointBody, InstanceBody, JobBody};
use protocol::time::format_wall;

use super::Seen::{Always, Wide};
use super::{Column, age, now, operation, render};

/// Names that a cell holds before it says how many more there are.
const SHOWN: usize = 3;

/// One row a job.
pub(crate) fn jobs(jobs: &[JobBody], wide: bool) -> Vec<String> {
    let now = now();
    let columns: [Column<'_, JobBody>; 10] = [
        Column(Always, "NAME", &|job| job.job_name.clone()),
        Column(Always, "STATE", &state),
        Column(Always, "READY", &ready),
        Column(Always, "CLUSTERS", &|job| {
            each(job, |instance| instance.cluster.clone())
        }),
        Column(Wide, "WORKERS", &|job| {
            each(job, |instance| instance.worker_node.clone())
        }),
        Column(Wide, "ENDPOINTS", &|job| {
            each(job, |instance| {
                Some(endpoints(&instance.endpoints)).filter(|text| !text.is_empty())
            })
        }),
        Column(Always, "AGE", &|job| age(job.created_at.0, now)),
        Column(Wide, "OPERATION", &operation::short),
        Column(Wide, "ID", &|job| job.job_id.to_string()),
        Column(Always, "REASON", &reason),
    ];
    render(&columns, jobs, wide)
}

/// One job: what it is, and a row for each instance.
pub(crate) fn job(job: &JobBody, wide: bool) -> Vec<String> {
    let mut lines = vec![
        format!("Name:      {}", job.job_name),
        format!("Id:        {}", job.job_id),
        format!("State:     {}", state(job)),
    ];
    if let Some(reason) = &job.reason {
        lines.push(format!(
            "Reason:    {}",
            with_code(reason, job.reason_code.as_deref())
        ));
    }
    lines.extend(operation::operation(job));
    if let Some(rejections) = &job.rejections {
        let counts = rejections
            .iter()
            .map(|(code, count)| format!("{count} {code}"));
        lines.push(format!(
            "Rejected:  {}",
            counts.collect::<Vec<_>>().join(", ")
        ));
    }
    if job.unconfirmed > 0 {
        lines.push(format!(
            "Open:      the end of {} copies was not heard yet",
            job.unconfirmed
        ));
    }
    lines.push(format!("Owner:     {} (tenant {})", job.owner, job.tenant));
    lines.push(format!(
        "Created:   {} ({} ago), generation {}",
        format_wall(job.created_at),
        age(job.created_at.0, now()),
        job.generation
    ));
    for service in &job.services {
        let image = service.image.as_deref().unwrap_or("a command");
        lines.push(format!(
            "Service:   {}: {} x {image} ({})",
            service.name, service.replicas, service.image_runtime
        ));
    }
    lines.push(String::new());
    lines.extend(instances(&job.instances, wide));
    lines
}

fn instances(instances: &[InstanceBody], wide: bool) -> Vec<String> {
    if instances.is_empty() {
        return vec!["No instances.".to_owned()];
    }
    let now = now();
    let columns: [Column<'_, InstanceBody>; 10] = [
        Column(Always, "INSTANCE", &|instance| {
            format!("{}/{}", instance.service, instance.index)
        }),
        Column(Always, "STATE", &|instance| {
            let stale = if instance.stale { " (stale)" } else { "" };
            format!("{}{stale}", instance.state)
        }),
        Column(Always, "CLUSTER", &|instance| {
            instance.cluster.clone().unwrap_or_default()
        }),
        Column(Always, "WORKER", &|instance| {
            instance.worker_node.clone().unwrap_or_default()
        }),
        Column(Always, "ENDPOINTS", &|instance| {
            endpoints(&instance.endpoints)
        }),
        Column(Always, "RESTARTS", &|instance| {
            instance.restarts.to_string()
        }),
        Column(Always, "SINCE", &|instance| age(instance.since.0, now)),
        Column(Wide, "HEALTH", &|instance| {
            let health = instance.health.map(Health::as_str);
            health.unwrap_or_default().to_owned()
        }),
        Column(Wide, "ID", &|instance| {
            let id = instance.instance_id.map(|id| id.to_string());
            id.unwrap_or_default()
        }),
        Column(Always, "REASON", &why),
    ];
    render(&columns, instances, wide)
}

/// Why it does not run; where it does, why its last operation failed.
fn reason(job: &JobBody) -> String {
    let failed = job
        .operation
        .as_ref()
        .filter(|operation| operation.state == "failed");
    job.reason
        .clone()
        .or_else(|| failed.map(operation::failure))
        .unwrap_or_default()
}

/// The state, with what goes on beside it.
fn state(job: &JobBody) -> String {
    if job.terminating {
        format!("{} (terminating)", job.state)
    } else {
        job.state.clone()
    }
}

/// `running/wanted`. Copies that are on their way out, or that nobody can reach, do not count.
fn ready(job: &JobBody) -> String {
    let holds =
        |instance: &&InstanceBody| instance.role == Role::Holder && instance.state == "RUNNING";
    let running = job.instances.iter().filter(holds).count();
    let wanted: u64 = job
        .services
        .iter()
        .map(|service| u64::from(service.replicas))
        .sum();
    format!("{running}/{wanted}")
}

/// What the instances say, each thing once.
fn each(job: &JobBody, of: impl Fn(&InstanceBody) -> Option<String>) -> String {
    let all: BTreeSet<String> = job.instances.iter().filter_map(of).collect();
    let shown: Vec<&str> = all.iter().take(SHOWN).map(String::as_str).collect();
    let more = match all.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" +{more}"),
    };
    format!("{}{more}", shown.join(","))
}

/// `192.0.2.7:32768->80/tcp`
fn endpoints(endpoints: &[EndpointBody]) -> String {
    let one = |endpoint: &EndpointBody| {
        let address = endpoint.address.as_deref().unwrap_or("?");
        // An IPv6 address has colons of its own.
        let address = if address.contains(':') {
            format!("[{address}]")
        } else {
            address.to_owned()
        };
        format!(
            "{address}:{}->{}/{}",
            endpoint.host_port,
            endpoint.container_port,
            transport(endpoint.protocol)
        )
    };
    endpoints.iter().map(one).collect::<Vec<_>>().join(",")
}

const fn transport(transport: Transport) -> &'static str {
    match transport {
        Transport::Tcp => "tcp",
        Transport::Udp => "udp",
    }
}

/// Why an instance does not run, and how it last ended.
pub(super) fn why(instance: &InstanceBody) -> String {
    let role = match instance.role {
        Role::Holder => None,
        Role::Dangling => Some("its worker or cluster cannot be reached".to_owned()),
        Role::Successor => Some("it takes over once it is ready".to_owned()),
        Role::Leaving => Some("it is to end".to_owned()),
    };
    let reason = instance
        .reason
        .as_ref()
        .map(|reason| with_code(reason, instance.reason_code.as_deref()));
    let exit = instance.last_exit.as_ref().map(|exit| {
        let how = match (exit.oom, exit.code, exit.signal) {
            (true, _, _) => "for lack of memory".to_owned(),
            (false, Some(code), _) => format!("with {code}"),
            (false, None, Some(signal)) => format!("by signal {signal}"),
            (false, None, None) => "in a way nobody saw".to_owned(),
        };
        format!("last ended {how}")
    });
    let health = match instance.health {
        Some(Health::Starting) => Some("its health is not known yet".to_owned()),
        Some(Health::Unhealthy) => Some("its health check fails".to_owned()),
        Some(Health::Healthy) | None => None,
    };
    let parts: Vec<String> = [role, health, reason, exit].into_iter().flatten().collect();
    parts.join("; ")
}

pub(super) fn with_code(reason: &str, code: Option<&str>) -> String {
    match code {
        Some(code) => format!("{reason} ({code})"),
        None => reason.to_owned(),
    }
}
