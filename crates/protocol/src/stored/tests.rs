use std::collections::BTreeMap;
use std::sync::Arc;

use expect_test::{Expect, expect};
use model::desired::Desired;
use model::event::{Event, Tier};
use model::id::{ClusterId, EventId, InstanceId, JobId};
use model::job::{Job, Owner};
use model::name::Name;
use model::slot::{Generation, Slot};
use model::time::Wall;
use proptest::prelude::*;
use serde::Serialize;

use super::*;
use crate::document::{Format, Options, parse};

const DOCUMENT: &str = "api_version: v1
job_name: shop
lost_after: 7s
on_partition: move
services:
  - name: web
    image: nginx
    replicas: 3
";

fn job() -> Job {
    let mut specs = parse(DOCUMENT.as_bytes(), Format::Yaml, Options::default()).unwrap();
    Job {
        operation: None,
        id: JobId::from_bits(1),
        tenant: model::access::TenantPath::root(),
        generation: 2,
        created_at: Wall(1_700_000_000_000),
        deleted_at: Some(Wall(1_700_000_100_000)),
        service_generations: [(Name::new("web").unwrap(), 2)].into(),
        spec: Arc::new(specs.pop().unwrap()),
    }
}

fn desired(job: &Job, owner: Owner, index: u32) -> Desired {
    let service = Arc::clone(&job.spec.services[0]);
    Desired {
        handover: model::desired::Handover::default(),
        instance: InstanceId::from_bits(9),
        slot: Slot {
            job: job.id,
            service: service.name.clone(),
            index,
        },
        generation: Generation {
            assignment: 3,
            placement: 4,
        },
        job: Arc::new(job.head(owner)),
        service,
    }
}

fn event() -> Event {
    Event {
        id: EventId::from_bits(2),
        at: Wall(5),
        tier: Tier::Cluster,
        job: JobId::from_bits(1),
        tenant: model::access::TenantPath::root(),
        instance: Some(InstanceId::from_bits(9)),
        generation: Generation::default(),
        from: "",
        to: "RUNNING",
        cause: "observed".to_owned(),
        message: "a sentence".to_owned(),
    }
}

fn record<'a>(key: &'a [u8], value: &'a [u8]) -> Stored<'a> {
    Stored {
        table: "t",
        key,
        value,
    }
}

/// The bytes are those of every store that there is: a change here needs a reader for the old ones.
fn check(value: &impl Serialize, golden: &Expect) -> Vec<u8> {
    let bytes = json("t", value).unwrap();
    golden.assert_eq(std::str::from_utf8(&bytes).unwrap());
    bytes
}

#[test]
fn a_job_is_written_so_and_read_again() {
    let job = job();
    let bytes = check(
        &StoredJob::from(&job),
        &expect![[
            r#"{"tenant":"default","generation":2,"created_at":1700000000000,"deleted_at":1700000100000,"spec":{"lost_after_ms":7000,"name":"shop","on_partition":"move","services":[{"name":"web","replicas":3,"workload":{"hash":"cb090669e115414f47287f5bf802340a","image":"nginx","runtime":"docker"}}]},"service_generations":{"web":2}}"#
        ]],
    );
    let key = key::id(job.id.bits());
    let read = Shared::default().job(&record(&key, &bytes)).unwrap();
    assert_eq!(read, job);
}

#[test]
fn a_desired_instance_is_written_so_and_read_again() {
    let job = job();
    let first = desired(&job, Owner::Cluster(ClusterId::from_bits(3)), 0);
    let bytes = check(
        &StoredDesired::from(&first),
        &expect![[
            r#"{"instance":"ins_00000000000000000000000009","generation":[3,4],"job":{"name":"shop","tenant":"default","owner":"cl_00000000000000000000000003","lost_after_ms":7000,"on_partition":"move","created_at":1700000000000},"service":{"name":"web","replicas":3,"workload":{"hash":"cb090669e115414f47287f5bf802340a","image":"nginx","runtime":"docker"}}}"#
        ]],
    );
    let key = key::slot(&first.slot);
    let stored = record(&key, &bytes).value().unwrap();
    let read = Shared::default().desired(&first.slot, stored).unwrap();
    assert_eq!(read, first);
}

#[test]
fn an_event_is_written_so_and_read_again() {
    let event = event();
    let bytes = check(
        &StoredEvent::from(&event),
        &expect![[
            r#"{"at":5,"tier":"cluster","instance":"ins_00000000000000000000000009","generation":[0,0],"from":"","to":"RUNNING","cause":"observed","message":"a sentence"}"#
        ]],
    );
    let key = key::event(event.job, event.id);
    let stored = record(&key, &bytes);
    let (job, id) = stored.event().unwrap();
    let read: StoredEvent = stored.value().unwrap();
    assert_eq!(read.into_event(job, id), Ok(event));
}

#[test]
fn the_tenant_of_an_event_is_written_unless_it_is_the_root() {
    let event = Event {
        tenant: model::access::TenantPath::new("uni/lab").unwrap(),
        ..event()
    };
    let bytes = check(
        &StoredEvent::from(&event),
        &expect![[
            r#"{"at":5,"tier":"cluster","tenant":"uni/lab","instance":"ins_00000000000000000000000009","generation":[0,0],"from":"","to":"RUNNING","cause":"observed","message":"a sentence"}"#
        ]],
    );
    let read: StoredEvent = record(b"", &bytes).value().unwrap();
    assert_eq!(read.into_event(event.job, event.id), Ok(event));
}

#[test]
fn a_job_of_a_nested_tenant_is_read_again() {
    let job = Job {
        tenant: model::access::TenantPath::new("uni/lab").unwrap(),
        ..job()
    };
    let bytes = json("t", &StoredJob::from(&job)).unwrap();
    let text = std::str::from_utf8(&bytes).unwrap();
    assert!(text.starts_with(r#"{"tenant":"uni/lab","#), "{text}");
    let key = key::id(job.id.bits());
    let read = Shared::default().job(&record(&key, &bytes)).unwrap();
    assert_eq!(read, job);
    let owner = Owner::Cluster(ClusterId::from_bits(3));
    assert_eq!(desired(&job, owner, 0).job.tenant, job.tenant);
}

#[test]
fn what_may_be_left_out_is_not_asked_for() {
    let event =
        r#"{"at":5,"tier":"root","generation":[0,0],"to":"RUNNING","cause":"c","message":"m"}"#;
    let read: StoredEvent = record(b"", event.as_bytes()).value().unwrap();
    let read = read.into_event(JobId::from_bits(1), EventId::from_bits(2));
    let read = read.unwrap();
    assert_eq!((read.instance, read.from), (None, ""));

    let mut value = serde_json::to_value(StoredJob::from(&job())).unwrap();
    let fields = value.as_object_mut().unwrap();
    fields.remove("deleted_at");
    fields.remove("service_generations");
    let (key, value) = (key::id(1), value.to_string());
    let read = Shared::default()
        .job(&record(&key, value.as_bytes()))
        .unwrap();
    assert_eq!(read.deleted_at, None);
    assert_eq!(read.service_generations, BTreeMap::new());
}

#[test]
fn what_a_newer_program_adds_is_skipped() {
    let job = job();
    let mut value = serde_json::to_value(StoredJob::from(&job)).unwrap();
    value["colour"] = "blue".into();
    let (key, value) = (key::id(1), value.to_string());
    let read = Shared::default().job(&record(&key, value.as_bytes()));
    assert_eq!(read.unwrap(), job);
}

#[test]
fn an_event_with_words_of_another_version_says_which() {
    let mut stored = serde_json::to_value(StoredEvent::from(&event())).unwrap();
    stored["to"] = "DANCING".into();
    let stored: StoredEvent = serde_json::from_value(stored).unwrap();
    let unknown = stored.into_event(JobId::from_bits(1), EventId::from_bits(2));
    assert_eq!(
        unknown,
        Err(UnknownWords {
            tier: "cluster".to_owned(),
            from: String::new(),
            to: "DANCING".to_owned(),
        })
    );
}

#[test]
fn equal_specs_and_heads_are_kept_once() {
    let job = job();
    let mut shared = Shared::default();
    let kept: Vec<Desired> = (0..3)
        .map(|index| {
            let one = desired(&job, Owner::Root, index);
            let stored = StoredDesired::from(&one);
            shared.desired(&one.slot, stored).unwrap()
        })
        .collect();
    for one in &kept {
        assert!(Arc::ptr_eq(&one.service, &kept[0].service));
        assert!(Arc::ptr_eq(&one.job, &kept[0].job));
    }
}

#[test]
fn of_several_writes_of_one_record_the_last_counts() {
    let mut batch = Batch::default();
    batch.delete("b", vec![1]);
    batch
        .put("b", vec![1], || -> u8 {
            unreachable!("a later write stands")
        })
        .unwrap();
    batch.put("a", vec![2], || 7).unwrap();
    batch.delete("a", vec![2]);
    let change = |table, key, value: Option<&[u8]>| Change {
        table,
        key: vec![key],
        value: value.map(<[u8]>::to_vec),
    };
    assert_eq!(
        batch.finish().collect::<Vec<_>>(),
        [change("a", 2, Some(b"7")), change("b", 1, None)]
    );
}

#[test]
fn a_damaged_record_is_named() {
    let stored = record(b"k\n", b"{");
    for fault in [
        stored.value::<StoredJob>().unwrap_err(),
        stored.id().unwrap_err(),
        stored.event().unwrap_err(),
        stored.slot().unwrap_err(),
        Shared::default().job(&stored).unwrap_err(),
    ] {
        assert_eq!(fault.to_string(), "record k\\n of table t cannot be read");
    }
}

#[test]
fn a_key_of_a_slot_is_written_so() {
    let slot = desired(&job(), Owner::Root, 258).slot;
    let golden = b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01web\0\0\0\x01\x02";
    assert_eq!(key::slot(&slot), golden);
}

prop_compose! {
    fn slot()(job in 0..3_u128, service in "[a-b]([a-b0-1-]{0,2}[a-b0-1])?", index in prop_oneof![0..3_u32, any::<u32>()]) -> Slot {
        Slot { job: JobId::from_bits(job), service: Name::new(&service).unwrap(), index }
    }
}

proptest! {
    #[test]
    fn keys_of_slots_are_read_again_and_stand_in_the_order_of_slots(one in slot(), other in slot()) {
        prop_assert_eq!(key::read_slot(&key::slot(&one)), Some(one.clone()));
        prop_assert_eq!(key::slot(&one).cmp(&key::slot(&other)), one.cmp(&other));
    }

    #[test]
    fn keys_of_any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        let ids = key::read_event(&bytes);
        prop_assert_eq!(ids.is_some(), bytes.len() == 32);
        prop_assert_eq!(key::read_id(&bytes).is_some(), bytes.len() == 16);
        if let Some(slot) = key::read_slot(&bytes) {
            prop_assert_eq!(key::slot(&slot), bytes);
        }
    }
}
