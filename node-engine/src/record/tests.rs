use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use expect_test::expect;
use model::desired::JobHead;
use model::event::{Event, Tier};
use model::id::{EventId, JobId};
use model::job::{OnPartition, Owner, PlacementRules, ServiceSpec};
use model::name::Name;
use model::slot::Slot;
use model::telling::{Stamp, Untell};
use model::time::{Now, Wall};
use model::units::Resources;
use model::workload::{Pull, Restart, SpecHash, Workload};
use node_core::{Config, State};
use proptest::prelude::*;
use store::{Memory, Store};
use sync::Term;

use super::*;

fn desired(seed: u8, replicas: u32) -> Desired {
    let name = Name::new(&format!("job-{}", seed % 3)).unwrap();
    let workload = protocol::workload::sealed(Workload {
        hash: SpecHash::default(),
        runtime: RuntimeKind::Native,
        image: None,
        pull: Pull::IfAbsent,
        command: vec!["/bin/sleep".to_owned(), (seed % 4).to_string()],
        args: Vec::new(),
        environment: BTreeMap::new(),
        ports: Vec::new(),
        volumes: Vec::new(),
        files: BTreeMap::new(),
        resources: Resources::default(),
        restart: Restart::Always,
        health: None,
        security: model::security::Security::default(),
        secrets: model::secret::Secrets::default(),
        stop_grace: Duration::from_secs(1),
    });
    let job = JobId::from_bits(u128::from(seed % 3));
    Desired {
        handover: model::desired::Handover::default(),
        instance: InstanceId::from_bits(u128::from(seed)),
        slot: Slot {
            job,
            service: name.clone(),
            index: u32::from(seed),
        },
        generation: Generation {
            assignment: 1,
            placement: u64::from(seed),
        },
        job: Arc::new(JobHead {
            reconcile: model::job::Reconcile::default(),
            id: job,
            name: name.clone(),
            tenant: model::access::TenantPath::root(),
            owner: Owner::Root,
            lost_after: Some(Duration::from_secs(u64::from(seed % 2))),
            on_partition: OnPartition::Move,
            created_at: Wall(1_000),
        }),
        service: Arc::new(ServiceSpec {
            takeover: model::job::Takeover::default(),
            name,
            workload: Arc::new(workload),
            placement: PlacementRules::default(),
            replicas,
        }),
    }
}

fn update(revision: u64, put: &[u8], remove: &[u8]) -> Write {
    let instance = |seed: &u8| desired_entry(NodeItem::Instance(desired(*seed, 2)));
    let mut put: Vec<DesiredEntry> = put.iter().map(instance).collect();
    put.push(desired_entry(NodeItem::Settings(NodeSettings {
        report_interval: Duration::from_millis(revision + 1),
    })));
    Write::Desired(Update {
        mark: ParentMark {
            incarnation: Some(Incarnation(5)),
            term: Term::default().next(1).next(u64::MAX),
            revision,
        },
        put,
        remove: remove
            .iter()
            .map(|seed| NodeKey::Instance(InstanceId::from_bits(u128::from(*seed))))
            .collect(),
    })
}

fn journal(seed: u8, ended: Option<i32>) -> Write {
    Write::Journal {
        instance: InstanceId::from_bits(u128::from(seed)),
        record: (!seed.is_multiple_of(5)).then(|| Journal {
            runtime: RuntimeKind::Docker,
            grace: Duration::from_millis(u64::from(seed)),
            generation: Generation {
                assignment: 2,
                placement: 3,
            },
            leaving: seed.is_multiple_of(2),
            ended: ended.map(|code| Exit {
                code: Some(code),
                log_tail: vec!["last words".to_owned()],
                ..Exit::default()
            }),
            restarting: seed.is_multiple_of(4),
        }),
    }
}

fn tell(number: u64, seed: u8) -> Write {
    Write::Tell(Told {
        stamp: Stamp { line: 7, number },
        count: 1 + u32::from(seed % 2),
        event: Event {
            tenant: model::access::TenantPath::root(),
            id: EventId::from_bits(0),
            at: Wall(i64::from(seed)),
            tier: Tier::Worker,
            job: JobId::from_bits(u128::from(seed)),
            instance: seed
                .is_multiple_of(3)
                .then(|| InstanceId::from_bits(u128::from(seed))),
            generation: Generation {
                assignment: 2,
                placement: 3,
            },
            from: "RUNNING",
            to: "FAILED",
            cause: "exited".to_owned(),
            message: "the application ended (exit code 1)".to_owned(),
        },
    })
}

/// The last state of an instance; with a word that is none, it is forgotten.
fn said(seed: u8, word: usize) -> Write {
    Write::Said {
        instance: InstanceId::from_bits(u128::from(seed)),
        said: Said::ALL.get(word).copied(),
    }
}

fn any_write() -> impl Strategy<Value = Write> {
    let seeds = || proptest::collection::vec(any::<u8>(), 0..6);
    prop_oneof![
        any::<u128>().prop_map(|bits| Write::Node(NodeId::from_bits(bits))),
        any::<u64>().prop_map(Write::Boot),
        (0..1_000_u64, seeds(), seeds())
            .prop_map(|(revision, put, remove)| update(revision, &put, &remove)),
        (any::<u8>(), any::<Option<i32>>()).prop_map(|(seed, ended)| journal(seed, ended)),
        (1..20_u64, any::<u8>()).prop_map(|(number, seed)| tell(number, seed)),
        (1..20_u64).prop_map(|number| Write::Untell(Untell {
            number,
            can_wait: false,
        })),
        (any::<u8>(), 0..5_usize).prop_map(|(seed, word)| said(seed, word)),
        Just(Write::WholeDue),
    ]
}

fn fresh() -> State {
    State::new(Config::default(), BTreeSet::from([RuntimeKind::Native]))
}

proptest! {
    #[test]
    fn a_state_is_rebuilt_from_its_disk(turns in proptest::collection::vec(proptest::collection::vec(any_write(), 0..4), 0..12)) {
        let store = Memory::default();
        let mut state = fresh();
        for turn in &turns {
            store.commit(&ops(turn)).unwrap();
            state.apply(Now::default(), turn);
        }
        let mut again = fresh();
        again.apply(Now::default(), &writes(&store.load().unwrap()).unwrap());
        prop_assert_eq!(again.snapshot(), state.snapshot());
        prop_assert_eq!(again.held().desired_digest, state.held().desired_digest);
    }
}

/// These texts are on disks: engines read them for ever.
#[test]
fn the_shapes_on_the_disk_are_as_ever() {
    let store = Memory::default();
    let all = [
        Write::Node(NodeId::from_bits(7)),
        Write::Boot(1_024),
        update(9, &[1], &[]),
        journal(3, Some(1)),
        journal(4, None),
        tell(5, 3),
        tell(6, 4),
        said(3, 2),
        said(4, 4),
    ];
    store.commit(&ops(&all)).unwrap();
    let mut text = String::new();
    for record in store.load().unwrap() {
        let value = String::from_utf8(record.value).unwrap();
        let key = record.key.last().unwrap();
        writeln!(text, "{} …{key:02x} {value}", record.table).unwrap();
    }
    expect![[r#"
        boot …30 {"boot":1024}
        desired …01 {"jobs":[{"id":"job_00000000000000000000000001","name":"job-1","tenant":"default","lost_after_ms":1000,"on_partition":"move","created_at":"1970-01-01T00:00:01.000Z"}],"specs":[{"command":["/bin/sleep","1"],"hash":"cbb176358ec6cb40c981c77644e4224b","runtime":"native","stop_grace_ms":1000}],"deploy":[{"instance":"ins_00000000000000000000000001","job":0,"service":"job-1","index":1,"generation":[1,1],"spec_hash":"cbb176358ec6cb40c981c77644e4224b","replicas":2}]}
        journal …03 {"runtime":"docker","grace_ms":3,"generation":[2,3],"ended":{"code":1,"at":"1970-01-01T00:00:00.000Z","log_tail":["last words"]}}
        journal …04 {"runtime":"docker","grace_ms":4,"generation":[2,3],"leaving":true,"restarting":true}
        mark …30 {"incarnation":"00000000000000000000000000000005","term":{"number":2,"nonce":"ffffffffffffffff","history":["0000000000000001"]},"revision":9}
        node …30 {"node_id":"node_00000000000000000000000007"}
        said …03 "FAILED"
        settings …30 {"report_interval_ms":10}
        untold …05 {"line":"0000000000000007","number":5,"count":2,"at":"1970-01-01T00:00:00.003Z","tier":"worker","job":"job_00000000000000000000000003","instance":"ins_00000000000000000000000003","generation":[2,3],"from":"RUNNING","to":"FAILED","cause":"exited","message":"the application ended (exit code 1)"}
        untold …06 {"line":"0000000000000007","number":6,"at":"1970-01-01T00:00:00.004Z","tier":"worker","job":"job_00000000000000000000000004","generation":[2,3],"from":"RUNNING","to":"FAILED","cause":"exited","message":"the application ended (exit code 1)"}
    "#]].assert_eq(&text);
}

#[test]
fn what_this_program_did_not_write_is_refused() {
    let record = |table: &str, key: &[u8], value: &str| Record {
        table: table.to_owned(),
        key: key.to_vec(),
        value: value.as_bytes().to_vec(),
    };
    for (bad, word) in [
        (record("boot", ONLY, "{}"), "boot"),
        (record("journal", b"short", "{}"), "no id"),
        (record("planets", ONLY, "{}"), "unknown"),
        (
            record(
                "desired",
                ONLY,
                r#"{"specs":[{"runtime":"native","hash":"00000000000000000000000000000000"}]}"#,
            ),
            "cannot be used",
        ),
    ] {
        let error = writes(&[bad]).unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
    }
}
