use std::collections::BTreeSet;
use std::sync::Arc;

use model::desired::Desired;
use model::event::{Event, Tier};
use model::id::{ClusterId, EventId, InstanceId, JobId};
use model::job::{Job, OnPartition, Owner};
use model::location::Location;
use model::name::Name;
use model::node::Scheduling;
use model::slot::{Generation, Slot};
use model::telling::{Heard, Stamp};
use model::time::{Now, Wall};
use orchestrator::record::{JOB, META, incarnation, load, ops};
use proptest::prelude::*;
use protocol::document::{Format, Options, parse};
use root_core::{ClusterRecord, Config, Holding, SlotRecord, State, Write};
use store::{Memory, Op, Store as _};
use sync::{Incarnation, Run, Term};

use crate::tier::Root;

const ELSEWHERE: &str = "http://127.0.0.1:10004 deadline=500ms fallback=none";

const DOCUMENT: &str = "api_version: v1
job_name: NAME
lost_after: 7s
on_partition: move
services:
  - name: web
    image: nginx
    ports: ['8080:80/tcp', '53/udp']
    volumes: ['data:/var/lib/x', '/srv:/srv:ro']
    environment: {KEY: value}
    requirements: {cpu: 0.5, memory: 256, architecture: [x86_64]}
    placement: {cluster: c1, labels: {zone: a}}
    replicas: 3
    restart: on_failure
    stop_grace: 9s
  - name: batch
    image_runtime: native
    command: [/bin/true]
    replicas: 2
";

fn job(id: u128, generation: u64, deleted: bool) -> Job {
    let text = DOCUMENT.replace("NAME", &format!("job-{id}"));
    let mut specs = parse(text.as_bytes(), Format::Yaml, Options::default()).unwrap();
    let spec = specs.pop().unwrap();
    assert_eq!(spec.on_partition, OnPartition::Move);
    Job {
        operation: None,
        id: JobId::from_bits(id),
        tenant: model::access::TenantPath::root(),
        generation,
        created_at: Wall(1_700_000_000_000 + id as i64),
        deleted_at: deleted.then_some(Wall(1_700_000_100_000)),
        service_generations: spec
            .services
            .iter()
            .map(|service| (service.name.clone(), generation))
            .collect(),
        spec: Arc::new(spec),
    }
}

fn cluster(id: u128, cordoned: bool) -> Write {
    Write::Cluster {
        cluster: ClusterId::from_bits(id),
        record: Box::new(ClusterRecord {
            name: Name::new(&format!("cluster-{id}")).unwrap(),
            location: Location::parse("city=Garching,country=DE,lat=48.25,lon=11.65").unwrap(),
            http: cordoned.then(|| "https://192.0.2.1:10001".to_owned()),
            scheduling: if cordoned {
                Scheduling::Cordoned
            } else {
                Scheduling::Open
            },
            run: cordoned.then_some(Run {
                incarnation: Incarnation(id),
                number: 7,
                nonce: u64::MAX,
            }),
            synced: cordoned.then_some(Incarnation(7)),
        }),
    }
}

fn slot(job: &Job, service: usize, index: u32, clusters: &[u128], leaving: bool) -> Write {
    let service = &job.spec.services[service % job.spec.services.len()];
    let slot = Slot {
        job: job.id,
        service: service.name.clone(),
        index,
    };
    let holdings = clusters.iter().map(|cluster| Holding {
        draining: false,
        by: "first-fit".to_owned(),
        cluster: ClusterId::from_bits(*cluster),
        desired: Desired {
            handover: model::desired::Handover::default(),
            instance: InstanceId::from_bits(job.id.bits() * 1_000 + u128::from(index)),
            slot: slot.clone(),
            generation: Generation {
                assignment: 3,
                placement: 0,
            },
            job: Arc::new(job.head(Owner::Root)),
            service: Arc::clone(service),
        },
        leaving,
    });
    let record = SlotRecord {
        moving: None,
        assignment: 3,
        service_generation: job.generation,
        holdings: holdings.collect(),
    };
    Write::Slot {
        slot,
        record: Some(record),
    }
}

fn event(job: &Job, number: u128) -> Write {
    Write::Event(Event {
        id: EventId::from_bits(number),
        at: Wall(number as i64),
        tier: Tier::Cluster,
        job: job.id,
        tenant: model::access::TenantPath::new("uni/lab").unwrap(),
        instance: (number.is_multiple_of(2)).then(|| InstanceId::from_bits(number)),
        generation: Generation::default(),
        from: "",
        to: "RUNNING",
        cause: "observed".to_owned(),
        message: "a sentence".to_owned(),
    })
}

fn writes() -> impl Strategy<Value = Vec<Write>> {
    let head = (1..20_u128, 1..5_u64, any::<bool>());
    let jobs = prop::collection::vec(
        (
            head,
            prop::collection::vec(
                (
                    0..2_usize,
                    0..4_u32,
                    prop::collection::vec(1..4_u128, 0..3),
                    any::<bool>(),
                ),
                0..4,
            ),
            0..3_u128,
        ),
        0..8,
    );
    let policy = prop::sample::select(vec!["first-fit", "location", ELSEWHERE]);
    (jobs, 0..40_u64, any::<bool>(), policy).prop_map(|(jobs, term, cordoned, policy)| {
        let term = (0..=term).fold(Term::default(), |term, nonce| term.next(nonce + 7));
        let mut writes = vec![Write::Term(term), Write::Policy(policy.parse().unwrap())];
        writes.extend((1..4).map(|id| cluster(id, cordoned && id == 2)));
        let mut seen = BTreeSet::new();
        for ((id, generation, deleted), slots, events) in jobs {
            if !seen.insert(id) {
                continue;
            }
            let job = job(id, generation, deleted);
            writes.push(Write::Job(job.clone()));
            for (service, index, mut clusters, leaving) in slots {
                clusters.sort_unstable();
                clusters.dedup();
                writes.push(slot(&job, service, index, &clusters, leaving));
            }
            writes.extend((0..events).map(|number| event(&job, id * 100 + number)));
        }
        writes.extend((1..4).map(|id| Write::Revision {
            cluster: ClusterId::from_bits(id),
            revision: (id * 11) as u64,
        }));
        writes.extend((2..4).map(|id| Write::Heard {
            cluster: ClusterId::from_bits(id),
            heard: Heard::of((0..id as u64).map(|line| Stamp {
                line: u64::MAX - line,
                number: 7 * line + 1,
            })),
        }));
        writes
    })
}

fn state(writes: &[Write]) -> State {
    let mut state = State::new(Config::default(), Incarnation(5));
    state.apply(Now::default(), writes);
    state
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_state_survives_its_store(writes in writes()) {
        let before = state(&writes).snapshot();
        let store = Memory::new();
        store.commit(&[incarnation(Incarnation(5)).unwrap()]).unwrap();
        store.commit(&ops::<Root>(&before).unwrap()).unwrap();
        let loaded = load::<Root>(&store.load().unwrap()).unwrap();
        prop_assert_eq!(loaded.incarnation, Some(Incarnation(5)));
        let after = state(&loaded.writes).snapshot();
        prop_assert_eq!(before, after);
    }
}

#[test]
fn of_several_writes_of_one_record_the_last_counts() {
    let gone = job(1, 2, false);
    let kept = job(2, 2, false);
    let batch = [
        Write::Job(job(1, 1, false)),
        Write::Job(kept.clone()),
        Write::Job(gone.clone()),
        Write::ForgetJob(gone.id),
    ];
    let changes = ops::<Root>(&batch).unwrap();
    assert_eq!(changes.len(), 2, "{changes:?}");
    let store = Memory::new();
    store.commit(&changes).unwrap();
    let loaded = load::<Root>(&store.load().unwrap()).unwrap();
    assert_eq!(loaded.writes, [Write::Job(kept)]);
}

#[test]
fn equal_specs_are_kept_once() {
    let job = job(1, 1, false);
    let batch: Vec<Write> = std::iter::once(Write::Job(job.clone()))
        .chain((0..3).map(|index| slot(&job, 0, index, &[1], false)))
        .collect();
    let store = Memory::new();
    store.commit(&ops::<Root>(&batch).unwrap()).unwrap();
    let loaded = load::<Root>(&store.load().unwrap()).unwrap();
    let kept: Vec<Desired> = loaded
        .writes
        .iter()
        .filter_map(|write| match write {
            Write::Slot { record, .. } => record.as_ref()?.holdings.first(),
            _ => None,
        })
        .map(|holding| holding.desired.clone())
        .collect();
    assert_eq!(kept.len(), 3);
    assert!(
        kept.iter()
            .all(|one| Arc::ptr_eq(&one.service, &kept[0].service))
    );
    assert!(kept.iter().all(|one| Arc::ptr_eq(&one.job, &kept[0].job)));
}

#[test]
fn what_a_newer_program_adds_is_skipped_and_what_is_damaged_is_refused() {
    let store = Memory::new();
    store
        .commit(&ops::<Root>(&[cluster(1, false)]).unwrap())
        .unwrap();
    let records = store.load().unwrap();
    let mut value: serde_json::Value = serde_json::from_slice(&records[0].value).unwrap();
    value["colour"] = "blue".into();
    let put = Op::put(super::CLUSTER, records[0].key.clone(), value.to_string());
    let unknown = Op::put(store::Table("later"), b"x".to_vec(), b"y".to_vec());
    let single = Op::put(META, b"later".to_vec(), b"y".to_vec());
    store.commit(&[put, unknown, single]).unwrap();
    assert_eq!(
        load::<Root>(&store.load().unwrap()).unwrap().writes,
        [cluster(1, false)]
    );

    store
        .commit(&[Op::put(JOB, b"short".to_vec(), b"{}".to_vec())])
        .unwrap();
    let fault = load::<Root>(&store.load().unwrap()).unwrap_err();
    assert!(fault.to_string().contains("table job"), "{fault}");
}

/// These texts are in stores: roots read them for ever.
#[test]
fn how_far_a_cluster_was_heard_looks_like_this() {
    let heard = Write::Heard {
        cluster: ClusterId::from_bits(3),
        heard: Heard::of([(7, 5), (u64::MAX, 1)].map(|(line, number)| Stamp { line, number })),
    };
    let store = Memory::new();
    store.commit(&ops::<Root>(&[heard]).unwrap()).unwrap();
    let records = store.load().unwrap();
    let text = String::from_utf8(records[0].value.clone()).unwrap();
    assert_eq!(records[0].table, "heard");
    assert_eq!(
        text,
        r#"[{"line":"0000000000000007","number":5},{"line":"ffffffffffffffff","number":1}]"#
    );
    let forgotten = Write::ForgetCluster(ClusterId::from_bits(3));
    store.commit(&ops::<Root>(&[forgotten]).unwrap()).unwrap();
    assert_eq!(store.load().unwrap().len(), 0);
}
