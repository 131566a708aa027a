//! Documents of one service.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::book::Draft;
use model::id::JobId;
use model::job::{JobSpec, OnPartition, PlacementRules, Reconcile, ServiceSpec, Takeover};
use model::name::Name;
use model::workload::{Pull, Restart, RuntimeKind, SpecHash, Workload};

use super::megabytes;

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// A job of one service, named like it.
#[derive(Debug, Clone)]
pub(crate) struct Document {
    pub(crate) name: String,
    pub(crate) memory: u64,
    pub(crate) replicas: u32,
    pub(crate) version: u8,
    pub(crate) lost_after: Option<u64>,
    pub(crate) worker: Option<String>,
    pub(crate) takeover: Takeover,
    pub(crate) reconcile: Reconcile,
}

impl Document {
    pub(crate) fn new(name: &str, memory: u64, replicas: u32) -> Self {
        Self {
            name: name.to_owned(),
            memory,
            replicas,
            version: 1,
            lost_after: None,
            worker: None,
            takeover: Takeover::default(),
            reconcile: Reconcile::default(),
        }
    }

    pub(crate) fn service(&self) -> Arc<ServiceSpec> {
        let mut hash = [self.version; 16];
        hash[0] = (self.memory % 251) as u8;
        hash[1] = (self.memory / 251) as u8;
        Arc::new(ServiceSpec {
            takeover: self.takeover.clone(),
            name: name(&self.name),
            workload: Arc::new(Workload {
                hash: SpecHash(hash),
                runtime: RuntimeKind::Noop,
                image: None,
                pull: Pull::IfAbsent,
                command: Vec::new(),
                args: Vec::new(),
                environment: BTreeMap::new(),
                ports: Vec::new(),
                volumes: Vec::new(),
                files: BTreeMap::new(),
                resources: megabytes(self.memory),
                restart: Restart::Always,
                health: None,
                security: model::security::Security::default(),
                secrets: model::secret::Secrets::default(),
                stop_grace: Duration::from_secs(5),
            }),
            placement: PlacementRules {
                worker: self.worker.clone(),
                ..PlacementRules::default()
            },
            replicas: self.replicas,
        })
    }

    pub(crate) fn draft(&self, id: u128) -> Draft {
        Draft {
            id: JobId::from_bits(id),
            spec: Arc::new(JobSpec {
                reconcile: self.reconcile,
                name: name(&self.name),
                lost_after: self.lost_after.map(Duration::from_secs),
                on_partition: OnPartition::Stay,
                services: vec![self.service()],
            }),
        }
    }
}
