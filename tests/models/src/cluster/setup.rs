//! Settings in steps of one keep-alive, two workers, two jobs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use model::book::{Draft, JobRequest};
use model::id::{JobId, NodeId};
use model::job::JobSpec;
use model::name::Name;
use model::node::NodeFacts;
use model::time::{Instant, Now, Wall};
use model::units::{Bytes, Millicores, Resources};
use model::workload::RuntimeKind;
use protocol::document::{Format, Options, parse};

/// Workers.
pub(super) const WORKERS: usize = 2;
/// One step of time.
const TICK: Duration = Duration::from_secs(5);
/// A worker that was not heard for so many steps may be lost, and no other.
pub(super) const LOST: u8 = 2;
/// Both clocks begin here, in milliseconds.
const START: u64 = 1_000_000;
/// When every application began, as far as its runtime says.
pub(super) const BEGAN: Wall = Wall(START as i64);

/// The present after so many steps.
pub(super) fn time(ticks: u8) -> Now {
    let steady = START + u64::from(ticks) * TICK.as_millis() as u64;
    Now {
        steady: Instant(steady),
        wall: Wall(steady as i64),
    }
}

/// The cluster's settings: all that waits, waits for whole steps.
pub(super) fn config() -> cluster_core::Config {
    let mut config = cluster_core::Config::new(name("cluster"));
    config.keep_alive = TICK;
    config.report_interval = TICK;
    config.lost_after = TICK * u32::from(LOST);
    config.untold = 0;
    config.reconnect_max = Duration::ZERO;
    config.timing.resend_max = config.timing.resend;
    config
}

/// An engine without anything on its disk. It tells no events: they decide nothing, and without them histories that differ
/// in nothing else are one state.
pub(super) fn engine() -> node_core::State {
    let config = node_core::Config {
        untold: 0,
        ..node_core::Config::default()
    };
    node_core::State::new(config, [RuntimeKind::Native])
}

/// The id that a worker gets.
pub(super) const fn node(worker: usize) -> NodeId {
    NodeId::from_bits(worker as u128 + 1)
}

/// The job of that number.
pub(super) const fn job(number: u8) -> JobId {
    JobId::from_bits(number as u128 + 1)
}

/// What a worker says of itself: it has room for everything.
pub(super) fn facts(worker: usize) -> NodeFacts {
    NodeFacts {
        name: name(&format!("worker-{worker}")),
        hostname: format!("host-{worker}"),
        addresses: Vec::new(),
        architecture: "x86_64".to_owned(),
        allocatable: Resources {
            cpu: Millicores(4_000),
            memory: Bytes::from_mb(4_096),
            disk: Bytes::from_mb(10_000),
        },
        accelerators: Vec::new(),
        sensors: Vec::new(),
        runtimes: BTreeSet::from([RuntimeKind::Native]),
        labels: BTreeMap::new(),
        engine_version: "0".to_owned(),
    }
}

/// What users ask, one after another.
pub(super) fn request(number: u8) -> JobRequest {
    match number {
        0 | 1 => JobRequest::Submit {
            drafts: vec![Draft {
                id: job(number),
                spec: document(number),
            }],
            key: None,
        },
        _ => JobRequest::Delete {
            key: job(0).to_string(),
        },
    }
}

/// The first job may run anywhere, the second one stays where it is.
fn document(number: u8) -> Arc<JobSpec> {
    let pin = if number == 0 {
        ""
    } else {
        "placement: {worker_node: worker-1}"
    };
    let text = format!(
        "api_version: v1\njob_name: job-{number}\nservices:\n  - name: main\n    image_runtime: native\n    command: [/bin/sleep, \"1000\"]\n    {pin}\n"
    );
    let read = parse(text.as_bytes(), Format::Yaml, Options::default());
    let spec = read.ok().and_then(|mut jobs| jobs.pop());
    Arc::new(spec.unwrap_or_else(|| JobSpec {
        reconcile: model::job::Reconcile::default(),
        name: name("unread"),
        lost_after: None,
        on_partition: model::job::OnPartition::Stay,
        services: Vec::new(),
    }))
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap_or_else(|_| model::name::least())
}
