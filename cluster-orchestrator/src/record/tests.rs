use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cluster_core::{
    Beat, Config, Input, NodePatch, Registration, RequestId, State, assignment_entry, turn,
};
use model::book::{Draft, JobRequest};
use model::desired::{Desired, JobHead};
use model::id::{ClusterId, InstanceId, JobId, NodeId};
use model::job::{JobSpec, OnPartition, Owner, PlacementRules, ServiceSpec};
use model::name::Name;
use model::node::{NodeFacts, Scheduling};
use model::slot::{Generation, Slot};
use model::time::{Instant, Now, Wall};
use model::units::{Bytes, Millicores, Resources};
use model::workload::{
    Port, Pull, Restart, RuntimeKind, SpecHash, Transport, Volume, VolumeSource, Workload,
};
use orchestrator::record::{incarnation, load, ops};
use proptest::prelude::*;
use schedulers::Policy;
use store::{Memory, Store};
use sync::{Change, Digest, Held, Incarnation, Item, Term};

use super::*;
use crate::tier::Cluster;

/// What happens to a cluster.
#[derive(Debug, Clone)]
enum Step {
    Register(u8),
    Whole(u8),
    Submit(u8, u8),
    Put(u8, u8),
    Delete(u8),
    Cordon(u8),
    Assign(u8),
    Close(u8),
    Tell(u8),
    Confirm(u8),
    Root,
    Algorithm,
    Wait(u32),
}

const ELSEWHERE: &str = "http://127.0.0.1:10005 deadline=500ms fallback=none";

fn step() -> impl Strategy<Value = Step> {
    let few = 0..4_u8;
    prop_oneof![
        few.clone().prop_map(Step::Register),
        few.clone().prop_map(Step::Whole),
        (few.clone(), 1..4_u8).prop_map(|(job, replicas)| Step::Submit(job, replicas)),
        (few.clone(), 1..4_u8).prop_map(|(job, replicas)| Step::Put(job, replicas)),
        few.clone().prop_map(Step::Delete),
        few.clone().prop_map(Step::Cordon),
        few.clone().prop_map(Step::Assign),
        few.clone().prop_map(Step::Close),
        few.clone().prop_map(Step::Tell),
        few.prop_map(Step::Confirm),
        Just(Step::Root),
        Just(Step::Algorithm),
        (1..100_000_000_u32).prop_map(Step::Wait),
    ]
}

fn name(kind: &str, number: u8) -> Name {
    format!("{kind}-{number}").try_into().unwrap()
}

fn node(number: u8) -> NodeId {
    NodeId::from_bits(u128::from(number) + 1)
}

fn service(name: Name, replicas: u8) -> Arc<ServiceSpec> {
    let workload = Workload {
        hash: SpecHash::default(),
        runtime: RuntimeKind::Docker,
        image: Some("busybox".to_owned()),
        pull: Pull::Always,
        command: vec!["/bin/sleep".to_owned()],
        args: vec!["ä \"1\"".to_owned()],
        environment: [("A".to_owned(), "=".to_owned())].into(),
        ports: vec![Port {
            host: None,
            container: 80,
            transport: Transport::Udp,
        }],
        volumes: vec![Volume {
            source: VolumeSource::Named("data".to_owned()),
            target: "/data".to_owned(),
            read_only: true,
        }],
        files: [("/etc/app.conf".to_owned(), "ä = 1\n".to_owned())].into(),
        resources: Resources {
            cpu: Millicores(500),
            memory: Bytes::from_mb(10),
            disk: Bytes(0),
        },
        restart: Restart::OnFailure,
        health: None,
        security: model::security::Security::default(),
        secrets: model::secret::Secrets::default(),
        stop_grace: Duration::from_millis(1_234),
    };
    Arc::new(ServiceSpec {
        takeover: model::job::Takeover::default(),
        name,
        workload: Arc::new(protocol::workload::sealed(workload)),
        placement: PlacementRules {
            labels: BTreeMap::new(),
            location: Some("here".to_owned()),
            ..PlacementRules::default()
        },
        replicas: u32::from(replicas),
    })
}

/// A cluster that commits to a store after each step.
struct World {
    state: State,
    store: Memory,
    now: Now,
    count: u128,
}

impl World {
    fn new() -> Self {
        let identity = Incarnation(7);
        let mut world = Self {
            state: State::new(Config::new(name("cluster", 0)), identity),
            store: Memory::new(),
            now: Now {
                steady: Instant(1_000_000),
                wall: Wall(1_700_000_000_000),
            },
            count: 1_000,
        };
        world
            .store
            .commit(&[incarnation(identity).unwrap()])
            .unwrap();
        let term = Term::default().next(11);
        world.turn(Input::Started { term, fresh: true });
        world
    }

    fn turn(&mut self, input: Input) {
        let decision = turn(&mut self.state, self.now, [input]);
        self.store
            .commit(&ops::<Cluster>(&decision.writes).unwrap())
            .unwrap();
    }

    fn draft(&mut self, job: u8, replicas: u8) -> Draft {
        self.count += 1;
        Draft {
            id: JobId::from_bits(self.count),
            spec: Arc::new(JobSpec {
                reconcile: model::job::Reconcile::default(),
                name: name("job", job),
                lost_after: Some(Duration::from_millis(7_500)),
                on_partition: OnPartition::Move,
                services: vec![service(name("a", 0), replicas), service(name("b", 0), 1)],
            }),
        }
    }

    fn step(&mut self, step: &Step) {
        self.now.steady = self.now.steady.plus(Duration::from_millis(100));
        self.now.wall.0 += 100;
        let request = RequestId(1);
        match *step {
            Step::Register(number) => self.turn(Input::Register {
                request,
                registration: Box::new(registration(number)),
            }),
            Step::Whole(number) => self.whole(number),
            Step::Submit(job, replicas) => {
                let drafts = vec![self.draft(job, replicas)];
                let ask = JobRequest::Submit { drafts, key: None };
                self.turn(Input::Job {
                    request,
                    asked: model::book::Asked::default(),
                    ask,
                });
            }
            Step::Put(job, replicas) => {
                let (path, draft) = (name("job", job).to_string(), self.draft(job, replicas));
                let ask = JobRequest::Put { path, draft };
                self.turn(Input::Job {
                    request,
                    asked: model::book::Asked::default(),
                    ask,
                });
            }
            Step::Delete(job) => {
                let key = name("job", job).to_string();
                let ask = JobRequest::Delete { key };
                self.turn(Input::Job {
                    request,
                    asked: model::book::Asked::default(),
                    ask,
                });
            }
            Step::Cordon(number) => {
                let patch = NodePatch {
                    scheduling: Some(Scheduling::Cordoned),
                    report_interval: Some(Some(Duration::from_millis(1_500))),
                    labels: [
                        ("a".to_owned(), Some("b".to_owned())),
                        ("c".to_owned(), None),
                    ]
                    .into(),
                };
                let key = node(number).to_string();
                self.turn(Input::Patch {
                    request,
                    key,
                    patch,
                });
            }
            Step::Assign(number) => self.assign(number),
            Step::Close(number) => self.turn(Input::Closed {
                node: node(number),
                session: 1,
                silent: true,
                leaving: None,
            }),
            Step::Tell(number) => self.tell(number),
            Step::Confirm(which) => {
                let kept = self.state.untold().nth(usize::from(which));
                if let Some(stamp) = kept.map(|told| told.stamp) {
                    self.turn(Input::RootConfirmed(stamp));
                }
            }
            Step::Root => self.turn(Input::RootConnected(ClusterId::from_bits(9))),
            Step::Algorithm => {
                let known = self.state.policy() == &Policy::default();
                let next = if known { "location" } else { ELSEWHERE };
                let (request, policy) = (None, next.parse().unwrap());
                self.turn(Input::Schedule { request, policy });
            }
            Step::Wait(millis) => {
                self.now.steady = self.now.steady.plus(Duration::from_millis(millis.into()));
                self.now.wall.0 += i64::from(millis);
                self.turn(Input::Reconcile);
            }
        }
    }

    /// A worker tells of a job of the root's.
    fn tell(&mut self, number: u8) {
        let event = model::event::Event {
            id: model::id::EventId::from_bits(0),
            at: self.now.wall,
            tier: model::event::Tier::Worker,
            job: JobId::from_bits(u128::from(number) + 1_000),
            tenant: model::access::TenantPath::root(),
            instance: None,
            generation: model::slot::Generation::default(),
            from: "RUNNING",
            to: "FAILED",
            cause: "exited".to_owned(),
            message: "it ended".to_owned(),
        };
        let stamp = model::telling::Stamp {
            line: u64::from(number),
            number: self.now.steady.0,
        };
        let told = model::telling::Told {
            stamp,
            count: 1,
            event,
        };
        self.turn(Input::Told {
            node: node(number),
            telling: model::telling::Telling {
                after: None,
                events: vec![told],
            },
        });
    }

    /// A worker connects and says that it runs nothing, so that it may get work.
    fn whole(&mut self, number: u8) {
        let (node, session) = (node(number), 1);
        self.turn(Input::Connected { node, session });
        let report = sync::UpReport {
            boot: self.now.steady.0,
            sequence: 1,
            whole: true,
            states: Vec::new(),
            gone: Vec::new(),
            digest: Digest::default(),
            tells: false,
        };
        let held = Held::default();
        let beat = Beat {
            boot: report.boot,
            sequence: 1,
            observed_digest: Digest::default(),
            settled: true,
        };
        self.turn(Input::Reported { node, report, held });
        self.turn(Input::Held {
            node,
            held,
            beat,
            usage: None,
        });
    }

    /// The root's set is this one slot from now on.
    fn assign(&mut self, number: u8) {
        let entry = assignment_entry(Desired {
            handover: model::desired::Handover::default(),
            instance: InstanceId::from_bits(u128::from(number) + 500),
            slot: Slot {
                job: JobId::from_bits(u128::from(number) + 1),
                service: name("a", 0),
                index: u32::from(number),
            },
            generation: Generation {
                assignment: u64::from(number) + 1,
                placement: 0,
            },
            job: Arc::new(JobHead {
                reconcile: model::job::Reconcile::default(),
                id: JobId::from_bits(u128::from(number) + 1),
                name: name("root", number),
                tenant: model::access::TenantPath::root(),
                owner: Owner::Root,
                lost_after: None,
                on_partition: OnPartition::Stay,
                created_at: Wall(5),
            }),
            service: service(name("a", 0), 5),
        });
        let held = self.state.held();
        let change = Change {
            incarnation: Incarnation(3),
            term: Term::default().next(5),
            base: None,
            revision: held.revision + 1,
            digest: entry.mark(),
            part: 0,
            parts: 1,
            put: vec![entry],
            remove: Vec::new(),
            adopted: None,
        };
        self.turn(Input::Assigned(change));
    }

    /// The state as a new process would find it.
    fn loaded(&self) -> State {
        let loaded = load::<Cluster>(&self.store.load().unwrap()).unwrap();
        let mut state = State::new(self.state.config().clone(), loaded.incarnation.unwrap());
        state.apply(self.now, &loaded.writes);
        state
    }
}

fn registration(number: u8) -> Registration {
    Registration {
        facts: NodeFacts {
            name: name("node", number),
            hostname: "host".to_owned(),
            addresses: vec!["192.0.2.1".to_owned()],
            architecture: "x86_64".to_owned(),
            allocatable: Resources {
                cpu: Millicores(4_000),
                memory: Bytes::from_mb(50),
                disk: Bytes(1),
            },
            accelerators: vec!["gpu".to_owned()],
            sensors: vec!["camera".to_owned()],
            runtimes: [RuntimeKind::Docker].into(),
            labels: [("zone".to_owned(), "a".to_owned())].into(),
            engine_version: "1".to_owned(),
        },
        saved: Some(node(number)),
        fresh: node(number),
        credential: [number; 32],
        verifies: number.is_multiple_of(2),
        sealing: (number > 1).then_some([number; 32]),
        boot: 0,
        start: 0,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_committed_is_what_a_new_process_finds(steps in prop::collection::vec(step(), 0..60)) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
        }
        prop_assert_eq!(world.loaded().snapshot(), world.state.snapshot());
    }
}

#[test]
fn a_busy_cluster_is_found_again_whole_and_then_as_its_own_snapshot() {
    let mut world = World::new();
    let steps = [
        Step::Register(0),
        Step::Register(1),
        Step::Whole(0),
        Step::Whole(1),
        Step::Wait(60_000),
        Step::Whole(0),
        Step::Whole(1),
        Step::Submit(0, 3),
        Step::Submit(1, 2),
        Step::Assign(2),
        Step::Cordon(1),
        Step::Delete(1),
        Step::Tell(0),
        Step::Tell(1),
        Step::Root,
        Step::Algorithm,
    ];
    for step in &steps {
        world.step(step);
    }
    let snapshot = world.state.snapshot();
    let slots = snapshot
        .iter()
        .filter(|write| matches!(write, Write::Slot { .. }));
    assert!(slots.count() >= 4, "{snapshot:#?}");
    assert_eq!(world.loaded().snapshot(), snapshot);
    // A copy of the store, as a backup makes it.
    let copy = Memory::new();
    copy.commit(&[incarnation(world.state.incarnation()).unwrap()])
        .unwrap();
    copy.commit(&ops::<Cluster>(&snapshot).unwrap()).unwrap();
    assert_eq!(copy.load().unwrap(), world.store.load().unwrap());
}

#[test]
fn a_deleted_job_leaves_no_record_once_it_is_forgotten() {
    let mut world = World::new();
    for step in [Step::Submit(0, 3), Step::Delete(0), Step::Wait(90_000_000)] {
        world.step(&step);
    }
    let records = world.store.load().unwrap();
    let tables: Vec<_> = records.iter().map(|record| record.table.as_str()).collect();
    assert!(tables.iter().all(|table| *table == "meta"), "{tables:?}");
}

#[test]
fn records_of_a_newer_program_are_read_as_far_as_they_are_known() {
    let mut world = World::new();
    for step in [Step::Register(0), Step::Submit(0, 1), Step::Root] {
        world.step(&step);
    }
    let mut records = world.store.load().unwrap();
    for record in &mut records {
        if let Ok(serde_json::Value::Object(mut fields)) = serde_json::from_slice(&record.value) {
            fields.insert("colour".to_owned(), "red".into());
            record.value = serde_json::to_vec(&fields).unwrap();
        }
    }
    for table in ["paint", "meta"] {
        records.push(store::Record {
            table: table.to_owned(),
            key: b"colour".to_vec(),
            value: b"?".to_vec(),
        });
    }
    let loaded = load::<Cluster>(&records).unwrap();
    assert_eq!(
        loaded.writes,
        load::<Cluster>(&world.store.load().unwrap())
            .unwrap()
            .writes
    );
}

#[test]
fn a_damaged_record_is_named() {
    let record = store::Record {
        table: "node".to_owned(),
        key: vec![0; 16],
        value: b"{".to_vec(),
    };
    let error = load::<Cluster>(&[record]).unwrap_err().to_string();
    assert!(error.contains("table node"), "{error}");
}
