//! When a root wants to be asked again: never at a time that stays in the past.

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use model::access::TenantPath;
    use model::desired::Desired;
    use model::id::{ClusterId, InstanceId, JobId};
    use model::job::{Job, JobSpec, OnPartition, Owner, PlacementRules, ServiceSpec};
    use model::location::Location;
    use model::name::Name;
    use model::node::Scheduling;
    use model::slot::{Generation, Slot};
    use model::time::{Instant, Now, Wall};
    use model::units::Resources;
    use model::workload::{Pull, Restart, RuntimeKind, SpecHash, Workload};
    use root_core::{ClusterRecord, Config, Holding, Input, SlotRecord, State, Write, turn};
    use sync::{Incarnation, Term};

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    /// A deleted job with one slot, which is at a cluster that nobody hears.
    #[expect(clippy::too_many_lines, reason = "every field of a job, once")]
    fn deleted_job() -> Vec<Write> {
        let workload = Workload {
            hash: SpecHash::default(),
            runtime: RuntimeKind::Noop,
            image: None,
            pull: Pull::IfAbsent,
            command: Vec::new(),
            args: Vec::new(),
            environment: std::collections::BTreeMap::new(),
            ports: Vec::new(),
            volumes: Vec::new(),
            files: std::collections::BTreeMap::new(),
            resources: Resources::default(),
            restart: Restart::Always,
            health: None,
            security: model::security::Security::default(),
            secrets: model::secret::Secrets::default(),
            stop_grace: Duration::from_secs(5),
        };
        let service = Arc::new(ServiceSpec {
            takeover: model::job::Takeover::default(),
            name: name("web"),
            workload: Arc::new(workload),
            placement: PlacementRules::default(),
            replicas: 1,
        });
        let job = Job {
            operation: None,
            id: JobId::from_bits(1),
            tenant: TenantPath::root(),
            generation: 1,
            created_at: Wall(0),
            deleted_at: Some(Wall(1)),
            spec: Arc::new(JobSpec {
                reconcile: model::job::Reconcile::default(),
                name: name("job"),
                lost_after: None,
                on_partition: OnPartition::Stay,
                services: vec![Arc::clone(&service)],
            }),
            service_generations: std::collections::BTreeMap::new(),
        };
        let cluster = ClusterId::from_bits(2);
        let slot = Slot {
            job: job.id,
            service: name("web"),
            index: 0,
        };
        let desired = Desired {
            handover: model::desired::Handover::default(),
            instance: InstanceId::from_bits(3),
            slot: slot.clone(),
            generation: Generation {
                assignment: 1,
                placement: 0,
            },
            job: Arc::new(job.head(Owner::Root)),
            service,
        };
        vec![
            Write::Cluster {
                cluster,
                record: Box::new(ClusterRecord {
                    name: name("c1"),
                    location: Location::default(),
                    http: None,
                    scheduling: Scheduling::Open,
                    run: None,
                    synced: None,
                }),
            },
            Write::Job(job),
            Write::Slot {
                slot,
                record: Some(SlotRecord {
                    moving: None,
                    assignment: 1,
                    service_generation: 1,
                    holdings: vec![Holding {
                        draining: false,
                        by: String::new(),
                        cluster,
                        desired,
                        leaving: true,
                    }],
                }),
            },
        ]
    }

    #[test]
    fn a_deleted_job_that_cannot_end_does_not_keep_the_loop_awake() {
        let config = Config {
            retention: Duration::from_secs(1),
            ..Config::default()
        };
        let mut state = State::new(config, Incarnation(1));
        let at = |seconds: u64| Now {
            steady: Instant(seconds * 1_000),
            wall: Wall(0),
        };
        state.apply(at(1), &deleted_job());
        let term = Term::default().next(7);
        let _ = turn(&mut state, at(1), [Input::Started { term, fresh: false }]);
        for second in 2..200 {
            let decision = turn(&mut state, at(second), []);
            assert!(decision.actions.is_empty());
            assert!(
                state.next_deadline() > Some(at(second).steady),
                "at {second} s it is due at {:?}",
                state.next_deadline()
            );
        }
    }
}
