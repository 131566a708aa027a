//! Goldens, round trips and hostile input for every message. What the goldens show is in flight and stays for ever.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ::sync::{Change, Digest, Held, Incarnation, Item, StagedMark, Term, UpReport};
use expect_test::{Expect, expect};
use model::access::TenantPath;
use model::aggregate::{Aggregate, Class};
use model::desired::{
    CopyReport, Desired, InstanceReport, JobHead, NodeItem, NodeKey, NodeSettings, Offer,
    SlotReport,
};
use model::id::{ClusterId, InstanceId, JobId, NodeId};
use model::instance::{Endpoint, Exit, Health, InstanceState, Observed, Report};
use model::job::{OnPartition, Owner, PlacementRules, ServiceSpec};
use model::name::Name;
use model::node::{Leaving, NodeFacts, Usage};
use model::reason::{Reason, ReasonCode, Rejections};
use model::slot::{Generation, Role, Slot};
use model::telling::{Stamp, Telling, Told};
use model::time::Wall;
use model::units::{Bytes, Millicores, Resources};
use model::workload::{Pull, Restart, RuntimeKind, SpecHash, Transport, Workload};
use serde_json::Value;

use super::fallback::Fallback;
use super::parts::Assembler;
use super::*;

mod asyncapi;
mod golden;
mod hostile;
mod round_trip;
mod skew;
mod telling;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn workload(text: &str) -> Workload {
    crate::workload::sealed(Workload {
        hash: SpecHash::default(),
        runtime: RuntimeKind::Native,
        image: None,
        pull: Pull::IfAbsent,
        command: vec!["/bin/echo".to_owned(), text.to_owned()],
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
        stop_grace: Duration::from_secs(5),
    })
}

/// Instance `number` of a job; every third is of another service, every fifth of a cluster's own job.
fn desired(number: u32) -> Desired {
    let service = name(if number.is_multiple_of(3) {
        "db"
    } else {
        "web"
    });
    let own = number.is_multiple_of(5);
    let job = JobId::from_bits(if own { 2 } else { 1 });
    Desired {
        handover: model::desired::Handover::default(),
        instance: InstanceId::from_bits(u128::from(number)),
        slot: Slot {
            job,
            service: service.clone(),
            index: number,
        },
        generation: Generation {
            assignment: 2,
            placement: u64::from(number),
        },
        job: Arc::new(JobHead {
            reconcile: model::job::Reconcile::default(),
            id: job,
            name: name("shop"),
            tenant: model::access::TenantPath::root(),
            owner: if own {
                Owner::Cluster(ClusterId::from_bits(9))
            } else {
                Owner::Root
            },
            lost_after: own.then_some(Duration::from_secs(30)),
            on_partition: if own {
                OnPartition::Move
            } else {
                OnPartition::Stay
            },
            created_at: Wall(1_793_867_400_123),
        }),
        service: Arc::new(ServiceSpec {
            takeover: model::job::Takeover::default(),
            workload: Arc::new(workload(service.as_str())),
            name: service,
            placement: PlacementRules {
                worker: own.then(|| "worker-1".to_owned()),
                ..PlacementRules::default()
            },
            replicas: 3,
        }),
    }
}

fn held() -> Held {
    Held {
        incarnation: Some(Incarnation(0xabc)),
        term: 3,
        nonce: u64::MAX,
        revision: 41,
        desired_digest: Digest(0xdef),
        staged: Some(StagedMark {
            change: Digest(1),
            revision: 42,
            parts: 3,
            next: 1,
        }),
        want_whole: true,
        superseded: false,
    }
}

fn beat() -> Beat {
    Beat {
        boot: 1_024,
        sequence: 17,
        observed_digest: Digest(0x123),
        settled: true,
    }
}

fn change<T: Item>(put: Vec<T>, remove: Vec<T::Key>) -> Change<T> {
    Change {
        incarnation: Incarnation(0xabc),
        term: Term::default().next(1).next(2),
        base: Some(41),
        revision: 42,
        digest: Digest(0xfed),
        part: 0,
        parts: 1,
        put,
        remove,
        adopted: Some(Digest(7)),
    }
}

fn settings() -> DesiredEntry {
    desired_entry(NodeItem::Settings(NodeSettings {
        report_interval: Duration::from_secs(15),
    }))
}

fn control_change() -> Change<DesiredEntry> {
    let instances = [1, 4, 5].map(|number| desired_entry(NodeItem::Instance(desired(number))));
    let put = std::iter::once(settings()).chain(instances).collect();
    change(put, vec![NodeKey::Instance(InstanceId::from_bits(8))])
}

fn exit() -> Exit {
    Exit {
        code: None,
        signal: Some(9),
        oom: true,
        at: Wall(1_793_867_400_123),
        log_tail: vec!["last words".to_owned()],
    }
}

fn running() -> Report {
    Report {
        observed: Observed::Running {
            since: Wall(1_793_867_400_000),
            endpoints: vec![Endpoint {
                container_port: 80,
                host_port: 32_768,
                transport: Transport::Udp,
            }],
            health: None,
        },
        restarts: 2,
        last_exit: Some(exit()),
        at: Wall(1_793_867_401_000),
    }
}

/// What runs and has a health check that says this.
fn checked(said: Health) -> Report {
    let mut report = running();
    if let Observed::Running { health, .. } = &mut report.observed {
        *health = Some(said);
    }
    report
}

fn failed() -> Report {
    Report {
        observed: Observed::Failed {
            reason: Reason::new(ReasonCode::CrashLoop, "it ended again"),
            next_attempt: Some(Wall(1_793_867_402_000)),
        },
        ..running()
    }
}

fn plain(observed: Observed) -> Report {
    Report {
        observed,
        restarts: 0,
        last_exit: None,
        at: Wall(0),
    }
}

fn instance_report(number: u32, report: Report) -> ReportEntry {
    report_entry(InstanceReport {
        instance: InstanceId::from_bits(u128::from(number)),
        generation: Generation {
            assignment: 2,
            placement: 1,
        },
        report,
    })
}

fn up<T: Item>(whole: bool, states: Vec<T>, gone: Vec<T::Key>) -> UpReport<T> {
    UpReport {
        boot: 1_024,
        sequence: 18,
        whole,
        states,
        gone,
        digest: Digest(0x321),
        tells: false,
    }
}

fn rejections() -> Rejections {
    let mut rejections = Rejections::default();
    rejections.add(ReasonCode::InsufficientMemory, "worker-1");
    rejections.add(ReasonCode::InsufficientMemory, "worker-2");
    rejections.add(ReasonCode::Cordoned, "worker-3");
    rejections
}

fn slot_report(states: impl IntoIterator<Item = InstanceState>, offered: bool) -> SlotReport {
    let copy = |(number, state)| CopyReport {
        instance: InstanceId::from_bits(number),
        generation: Generation {
            assignment: 2,
            placement: 1,
        },
        role: Role::Holder,
        node: NodeId::from_bits(5),
        node_name: name("worker-1"),
        address: Some("192.0.2.7".to_owned()),
        state,
        since: Wall(1_793_867_400_123),
        stale: false,
    };
    SlotReport {
        refused: None,
        slot: desired(1).slot,
        assignment: 2,
        offer: offered.then(|| Offer {
            reason: Reason::new(ReasonCode::InsufficientMemory, "2 workers: short of memory"),
            rejections: rejections(),
            capacity_revision: 12,
        }),
        copies: (1..).zip(states).map(copy).collect(),
    }
}

fn every_state() -> Vec<InstanceState> {
    vec![
        InstanceState::Requested,
        InstanceState::ScheduledCluster,
        InstanceState::ScheduledNode,
        InstanceState::Running(running()),
        InstanceState::Failed(failed()),
        InstanceState::NotDeployed {
            reason: Reason::new(ReasonCode::NoWorker, "none is there"),
            rejections: rejections(),
        },
        InstanceState::Unknown { last: None },
        InstanceState::Unknown {
            last: Some(running()),
        },
        InstanceState::Terminated {
            last: Some(plain(Observed::Ended)),
        },
    ]
}

fn facts() -> NodeFacts {
    NodeFacts {
        name: name("worker-1"),
        hostname: "pi.local".to_owned(),
        addresses: vec!["192.0.2.7".to_owned()],
        architecture: "aarch64".to_owned(),
        allocatable: resources(),
        accelerators: vec!["vpu".to_owned()],
        sensors: vec!["camera".to_owned()],
        runtimes: BTreeSet::from([RuntimeKind::Docker, RuntimeKind::Native]),
        labels: BTreeMap::from([("room".to_owned(), "lab".to_owned())]),
        engine_version: "0.1.0".to_owned(),
    }
}

fn resources() -> Resources {
    Resources {
        cpu: Millicores(4_000),
        memory: Bytes::from_mb(2_048),
        disk: Bytes::from_mb(32_000),
    }
}

fn register_request() -> register::Request {
    register::Request {
        facts: facts(),
        node: Some(NodeId::from_bits(5)),
        boot_id: "0123-abc".to_owned(),
        boot: 1_024,
        start: u64::MAX - 1,
        join_token: Some("token".to_owned()),
        signed: false,
        sealing_key: None,
    }
}

fn register_welcome() -> register::Welcome {
    register::Welcome {
        node: NodeId::from_bits(5),
        broker_host: Some("192.0.2.1".to_owned()),
        broker_port: 10_003,
        broker_tls: false,
        username: "node_x:0123".to_owned(),
        password: "secret".to_owned(),
        keep_alive: Duration::from_secs(5),
        report_interval: Duration::from_secs(15),
        fallback: None,
    }
}

/// What happened to an instance: one event, and one that stands for several.
fn telling() -> Telling {
    let told = |number, count, from, to| Told {
        stamp: Stamp {
            line: 0xabc,
            number,
        },
        count,
        event: model::event::Event {
            id: model::id::EventId::from_bits(0),
            at: Wall(1_793_867_400_123),
            tier: model::event::Tier::Worker,
            job: JobId::from_bits(1),
            tenant: model::access::TenantPath::root(),
            instance: (count == 1).then(|| InstanceId::from_bits(2)),
            generation: Generation {
                assignment: 2,
                placement: 1,
            },
            from,
            to,
            cause: "exited".to_owned(),
            message: if count == 1 { "it ended" } else { "" }.to_owned(),
        },
    };
    Telling {
        after: Some(Stamp {
            line: u64::MAX,
            number: 4,
        }),
        events: vec![told(5, 1, "RUNNING", "FAILED"), told(8, 3, "", "RUNNING")],
    }
}

/// Where the other way to a cluster is: nowhere, beside the cluster, and elsewhere.
fn fallbacks() -> Vec<Fallback> {
    let relay = |host: Option<&str>| fallback::Relay {
        cluster: ClusterId::from_bits(9),
        host: host.map(str::to_owned),
        port: 10_002,
        tls: host.is_some(),
    };
    [None, Some(relay(None)), Some(relay(Some("192.0.2.7")))]
        .map(|relay| Fallback { relay })
        .into()
}

/// Each event of a worker's connection through the root.
fn frames() -> Vec<uplink::relay::Frame> {
    use uplink::relay::{Event, Frame};
    let peer = "192.0.2.5:40000".parse().unwrap();
    let events = [
        Event::Open { peer },
        Event::Data(vec![0xc0, 0x00]),
        Event::Credit(16_384),
        Event::Close,
    ];
    let frame = |event| Frame {
        connection: 3,
        event,
    };
    events.map(frame).into()
}

fn uplink_welcome(relay: Option<uplink::RelayAt>) -> uplink::Welcome {
    uplink::Welcome {
        cluster: ClusterId::from_bits(9),
        report_interval: Duration::from_secs(15),
        relay,
    }
}

fn refused() -> register::Refused {
    register::Refused {
        code: "name_in_use".to_owned(),
        message: "a worker named worker-1 is there already".to_owned(),
    }
}

fn standing() -> uplink::Standing {
    let mut aggregate = Aggregate {
        number_of_nodes: 3,
        schedulable_nodes: 2,
        allocatable: resources(),
        room: resources(),
        cpu_percent: 12.5,
        memory_percent: 50.0,
        technology: BTreeSet::from([RuntimeKind::Native]),
        silent: BTreeSet::new(),
        number_of_jobs: 4,
        classes: Vec::new(),
        capacity_revision: 12,
    };
    let class = Class {
        architecture: "aarch64".to_owned(),
        runtime: RuntimeKind::Native,
        accelerator: None,
    };
    aggregate.add_room(&class, resources());
    uplink::Standing {
        aggregate,
        scheduler: "first-fit".to_owned(),
        held: held(),
        beat: beat(),
    }
}

fn information_message() -> information::Information {
    information::Information {
        usage: Usage {
            cpu_percent: 12.5,
            free_cores: Millicores(3_500),
            memory_percent: 50.0,
            memory_free: Bytes::from_mb(1_024),
            disk_free: Bytes::from_mb(30_000),
        },
        silent: BTreeSet::new(),
        held: held(),
        beat: beat(),
    }
}

fn uplink_request() -> uplink::Request {
    uplink::Request {
        name: name("cluster-1"),
        location: "city=Garching".to_owned(),
        scheduler: "first-fit".to_owned(),
        cluster_id: Some(ClusterId::from_bits(9)),
        boot: 3,
        start: u64::MAX - 1,
        incarnation: None,
        term: None,
        http: Some("http://192.0.2.1:10001".to_owned()),
        join_token: None,
        sealing_key: None,
    }
}

/// The same from a version that says which store it has.
fn uplink_request_of_a_store() -> uplink::Request {
    uplink::Request {
        incarnation: Some(Incarnation(7)),
        term: Some(control::WireTerm::from(&Term {
            number: 3,
            nonce: u64::MAX - 1,
            history: vec![1, 2],
        })),
        ..uplink_request()
    }
}

fn questions() -> Vec<uplink::Question> {
    vec![
        uplink::Question::Nodes {
            limit: Some(100),
            cursor: None,
        },
        uplink::Question::Node {
            node: "worker-1".to_owned(),
        },
        uplink::Question::PatchNode {
            node: "worker-1".to_owned(),
            body: serde_json::json!({"labels": {"room": null}}),
        },
        uplink::Question::ForgetNode {
            node: "worker-1".to_owned(),
        },
        uplink::Question::CreateJoinToken {
            body: serde_json::json!({"uses": 1, "ttl": "1h"}),
            by: "alice".to_owned(),
        },
        uplink::Question::Submit(uplink::Submission {
            document: "api_version: v1\njob_name: caf\u{e9}\n".to_owned(),
            format: uplink::Written::Yaml,
            dry_run: true,
            key: Some("once".to_owned()),
            tenant: TenantPath::new("university/lab").ok(),
            within: TenantPath::new("university").unwrap(),
            by: "alice".to_owned(),
        }),
        uplink::Question::Submit(uplink::Submission {
            document: "{}".to_owned(),
            format: uplink::Written::Json,
            dry_run: false,
            key: None,
            tenant: None,
            within: TenantPath::root(),
            by: "alice".to_owned(),
        }),
        uplink::Question::Explain {
            job: JobId::from_bits(1).to_string(),
        },
    ]
}

fn request_id(text: &str) -> question::RequestId {
    question::RequestId::new(text).unwrap()
}

fn streams() -> Vec<question::Stream> {
    let logs = question::Logs {
        request: request_id("l-1"),
        instance: InstanceId::from_bits(1),
        follow: true,
        tail: Some(100),
        since: Some(Wall(1_795_440_418_014)),
        credit: 65_536,
    };
    vec![
        question::Stream::Logs(logs.clone()),
        question::Stream::Logs(question::Logs {
            follow: false,
            tail: None,
            since: None,
            ..logs
        }),
        question::Stream::Credit {
            request: request_id("l-1"),
            bytes: 4_096,
        },
        question::Stream::Cancel {
            request: request_id("l-1"),
        },
    ]
}

fn chunks() -> Vec<reply::Chunk> {
    vec![
        reply::Chunk {
            sequence: 0,
            text: "caf\u{e9}\n\u{1b}[31mred\n".to_owned(),
            end: None,
        },
        reply::Chunk {
            sequence: 1,
            text: String::new(),
            end: Some(reply::End::NoSuchInstance),
        },
    ]
}
