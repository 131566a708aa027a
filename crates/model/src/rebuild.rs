//! A job as its instances tell it: what a store that was emptied or restored learns from those who run it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::desired::Desired;
use crate::job::{Job, JobSpec, ServiceSpec};

impl Job {
    /// The job of an instance, without services yet.
    pub fn told_by(instance: &Desired) -> Self {
        let head = &instance.job;
        Self {
            id: head.id,
            tenant: head.tenant.clone(),
            generation: 1,
            created_at: head.created_at,
            deleted_at: None,
            spec: Arc::new(JobSpec {
                name: head.name.clone(),
                lost_after: head.lost_after,
                on_partition: head.on_partition,
                reconcile: head.reconcile,
                services: Vec::new(),
            }),
            service_generations: BTreeMap::new(),
            operation: None,
        }
    }

    /// Takes from an instance that was made later than what is known of the job: its service where that is missing, that
    /// there are as many replicas as it says or its index shows, and with `since` also what it runs, which is the
    /// document's from that generation on. Whether something changed.
    ///
    /// Whoever was placed before the last change of the replicas tells the number of then; the greatest is taken, since
    /// what runs must not end because of one that is out of date.
    pub fn learn(&mut self, instance: &Desired, since: Option<u64>) -> bool {
        let told = &instance.service;
        let replicas = told.replicas.max(instance.slot.index.saturating_add(1));
        let known = self.service(&told.name);
        let changed = match known {
            None => ServiceSpec {
                replicas,
                ..ServiceSpec::clone(told)
            },
            Some(known) => {
                let source = if since.is_some() { told } else { known };
                ServiceSpec {
                    replicas: known.replicas.max(replicas),
                    ..ServiceSpec::clone(source)
                }
            }
        };
        let newer = since.is_some_and(|since| since != self.service_generation(&told.name));
        if !newer && known.is_some_and(|known| **known == changed) {
            return false;
        }
        let mut services = self.spec.services.clone();
        services.retain(|service| service.name != changed.name);
        let at = self.spec.services.iter();
        let at = at.take_while(|service| service.name != changed.name);
        services.insert(at.count(), Arc::new(changed));
        self.spec = Arc::new(JobSpec {
            services,
            ..JobSpec::clone(&self.spec)
        });
        if let Some(since) = since {
            self.generation = self.generation.max(since);
            self.service_generations.insert(told.name.clone(), since);
        }
        true
    }
}
