//! Documents of one service.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::book::Draft;
use model::id::JobId;
use model::job::{JobSpec, OnPartition, PlacementRules, ServiceSpec, Takeover};
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
    pub(crate) on_partition: OnPartition,
    pub(crate) cluster: Option<String>,
    pub(crate) location: Option<String>,
    pub(crate) takeover: Takeover,
}

impl Document {
    pub(crate) fn new(name: &str, memory: u64, replicas: u32) -> Self {
        Self {
            name: name.to_owned(),
            memory,
            replicas,
            version: 1,
            on_partition: OnPartition::Stay,
            cluster: None,
            location: None,
            takeover: Takeover::default(),
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
                cluster: self.cluster.clone(),
                location: self.location.clone(),
                ..PlacementRules::default()
            },
            replicas: self.replicas,
        })
    }

    pub(crate) fn draft(&self, id: u128) -> Draft {
        Draft {
            id: JobId::from_bits(id),
            spec: Arc::new(JobSpec {
                reconcile: model::job::Reconcile::default(),
                name: name(&self.name),
                lost_after: None,
                on_partition: self.on_partition,
                services: vec![self.service()],
            }),
        }
    }
}
