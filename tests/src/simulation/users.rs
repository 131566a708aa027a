//! What users ask for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::access::{Quota, TenantPath};
use model::id::JobId;
use model::job::{JobSpec, OnPartition, PlacementRules, ServiceSpec};
use model::name::Name;
use model::units::{Bytes, Millicores, Resources};
use model::workload::{Pull, Restart, RuntimeKind, SpecHash, Workload};

use super::rng::Rng;

/// A random document; `version` changes what it runs.
pub(crate) fn document(rng: &mut Rng, name: &str, replicas: u32, version: u64) -> Arc<JobSpec> {
    let memory = rng.between(1, 8) * 128;
    let hash = sync::mark(&[&name, &version, &memory]).0.to_be_bytes();
    let placement = PlacementRules {
        cluster: rng.percent(10).then(|| format!("cluster-{}", rng.below(2))),
        worker: rng.percent(5).then(|| format!("worker-{}", rng.below(5))),
        ..PlacementRules::default()
    };
    let workload = Workload {
        hash: SpecHash(hash),
        runtime: RuntimeKind::Native,
        image: None,
        pull: Pull::IfAbsent,
        command: vec!["/bin/sleep".to_owned(), "1000".to_owned()],
        args: Vec::new(),
        environment: BTreeMap::new(),
        ports: Vec::new(),
        volumes: Vec::new(),
        files: BTreeMap::new(),
        resources: Resources {
            cpu: Millicores(rng.between(0, 4) * 100),
            memory: Bytes::from_mb(memory),
            disk: Bytes(0),
        },
        restart: Restart::Always,
        health: None,
        security: model::security::Security::default(),
        secrets: model::secret::Secrets::default(),
        stop_grace: Duration::from_secs(5),
    };
    Arc::new(JobSpec {
        reconcile: model::job::Reconcile::default(),
        name: new_name(name),
        lost_after: rng
            .percent(20)
            .then(|| Duration::from_secs(rng.between(8, 30))),
        on_partition: if rng.percent(40) {
            OnPartition::Move
        } else {
            OnPartition::Stay
        },
        services: vec![Arc::new(ServiceSpec {
            takeover: model::job::Takeover::default(),
            name: new_name("main"),
            workload: Arc::new(workload),
            placement,
            replicas,
        })],
    })
}

/// The same document with another number of replicas, or another workload.
pub(crate) fn changed(rng: &mut Rng, spec: &JobSpec, version: u64) -> Arc<JobSpec> {
    let mut spec = spec.clone();
    for service in &mut spec.services {
        let mut changed = ServiceSpec::clone(service);
        if rng.percent(60) {
            changed.replicas = rng.below(4) as u32;
        } else {
            let mut workload = Workload::clone(&changed.workload);
            workload.hash = SpecHash(
                sync::mark(&[&spec.name, &version, &"changed"])
                    .0
                    .to_be_bytes(),
            );
            changed.workload = Arc::new(workload);
        }
        *service = Arc::new(changed);
    }
    Arc::new(spec)
}

pub(crate) fn new_name(text: &str) -> Name {
    Name::new(text).unwrap_or_else(|_| model::name::first_user())
}

/// Whose a job is: it follows from its id.
pub(crate) fn tenant(job: JobId) -> TenantPath {
    let paths = ["default", "lab", "lab/room"];
    let number = job.to_string().bytes().map(usize::from).sum::<usize>();
    TenantPath::new(paths[number % paths.len()]).unwrap_or_else(|_| TenantPath::root())
}

/// How much tenants may have at the root.
pub(crate) fn quotas() -> Vec<(TenantPath, Quota)> {
    let lab = Quota {
        instances: Some(6),
        ..Quota::default()
    };
    let room = Quota {
        jobs: Some(3),
        memory: Some(Bytes::from_mb(2_048)),
        ..Quota::default()
    };
    let path = |text| TenantPath::new(text).unwrap_or_else(|_| TenantPath::root());
    vec![(path("lab"), lab), (path("lab/room"), room)]
}
