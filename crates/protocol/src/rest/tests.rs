//! The REST shapes, to the letter: clients were written against these texts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use expect_test::{Expect, expect};
use model::aggregate::Aggregate;
use model::event::{Event, Tier};
use model::id::{ClusterId, EventId, InstanceId, JobId, NodeId};
use model::instance::{Endpoint, Exit, InstanceState, Observed, Report};
use model::job::{Job, JobState};
use model::location::Location;
use model::name::Name;
use model::node::{Liveness, NodeFacts, Scheduling, Usage};
use model::reason::{Reason, ReasonCode, Rejections};
use model::slot::{Generation, Role};
use model::time::Wall;
use model::units::{Bytes, Millicores, Resources};
use model::view::{ClusterState, ClusterView, Explanation, InstanceView, JobView, NodeView};
use model::workload::{RuntimeKind, Transport};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::*;
use crate::document::{Format, Options, parse};

const NOON: Wall = Wall(1_793_880_000_000);

/// The body has that text, and reads back from it also with a field that nobody knows yet.
fn check<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(
    body: &T,
    expected: &Expect,
) {
    let text = serde_json::to_string_pretty(body).unwrap();
    expected.assert_eq(&text);
    let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
    value
        .as_object_mut()
        .unwrap()
        .insert("field_of_a_later_issue".to_owned(), true.into());
    assert_eq!(&serde_json::from_value::<T>(value).unwrap(), body);
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn job(document: &str, deleted_at: Option<Wall>) -> Job {
    let spec = parse(document.as_bytes(), Format::Yaml, Options::default())
        .unwrap()
        .remove(0);
    Job {
        operation: None,
        id: JobId::from_bits(1),
        tenant: model::access::TenantPath::root(),
        generation: 1,
        created_at: NOON,
        deleted_at,
        spec: Arc::new(spec),
        service_generations: BTreeMap::new(),
    }
}

fn instance(state: InstanceState) -> InstanceView {
    InstanceView {
        instance: Some(InstanceId::from_bits(2)),
        service: name("hello"),
        index: 0,
        role: Role::Holder,
        generation: Generation {
            assignment: 1,
            placement: 1,
        },
        state,
        cluster: Some(name("cluster-1")),
        cluster_id: Some(ClusterId::from_bits(3)),
        worker: Some(name("worker-1")),
        worker_id: Some(NodeId::from_bits(4)),
        endpoints: Vec::new(),
        reason: None,
        since: NOON,
        observed_at: Some(NOON),
        stale: false,
    }
}

fn rejections() -> Rejections {
    let mut rejections = Rejections::default();
    for worker in ["w1", "w2", "w3"] {
        rejections.add(ReasonCode::InsufficientMemory, worker);
    }
    rejections.add(ReasonCode::RuntimeMissing, "w4");
    rejections
}

#[test]
#[expect(clippy::too_many_lines, reason = "a golden text")]
fn a_running_job() {
    let endpoint = Endpoint {
        container_port: 80,
        host_port: 32_768,
        transport: Transport::Tcp,
    };
    let exit = Exit {
        code: Some(1),
        signal: None,
        oom: false,
        at: Wall(NOON.0 - 2_500),
        log_tail: vec!["bye".to_owned()],
    };
    let report = Report {
        observed: Observed::Running {
            since: NOON,
            endpoints: vec![endpoint.clone()],
            health: None,
        },
        restarts: 1,
        last_exit: Some(exit),
        at: NOON,
    };
    let mut row = instance(InstanceState::Running(report));
    row.endpoints = vec![(endpoint, Some("192.0.2.7".to_owned()))];
    let view = JobView {
        job: job(
            "api_version: v0.1\njob_name: hello\nimage: nginx\nports: ['80']\n",
            None,
        ),
        owner: "root".to_owned(),
        state: JobState::Running,
        reason: None,
        rejections: None,
        unconfirmed: 0,
        instances: vec![row],
    };
    check(
        &JobBody::from(&view),
        &expect![[r#"
            {
              "job_id": "job_00000000000000000000000001",
              "job_name": "hello",
              "tenant": "default",
              "owner": "root",
              "state": "RUNNING",
              "terminating": false,
              "reason": null,
              "reason_code": null,
              "rejections": null,
              "generation": 1,
              "created_at": "2026-11-05T12:00:00.000Z",
              "operation": null,
              "services": [
                {
                  "name": "hello",
                  "replicas": 1,
                  "image": "nginx",
                  "image_runtime": "docker"
                }
              ],
              "instances": [
                {
                  "instance_id": "ins_00000000000000000000000002",
                  "service": "hello",
                  "index": 0,
                  "role": "holder",
                  "generation": [
                    1,
                    1
                  ],
                  "state": "RUNNING",
                  "cluster": "cluster-1",
                  "cluster_id": "cl_00000000000000000000000003",
                  "worker_node": "worker-1",
                  "worker_id": "node_00000000000000000000000004",
                  "endpoints": [
                    {
                      "container_port": 80,
                      "host_port": 32768,
                      "address": "192.0.2.7",
                      "protocol": "tcp"
                    }
                  ],
                  "health": null,
                  "reason": null,
                  "reason_code": null,
                  "restarts": 1,
                  "next_attempt_at": null,
                  "last_exit": {
                    "code": 1,
                    "signal": null,
                    "oom": false,
                    "at": "2026-11-05T11:59:57.500Z",
                    "log_tail": [
                      "bye"
                    ]
                  },
                  "since": "2026-11-05T12:00:00.000Z",
                  "observed_at": "2026-11-05T12:00:00.000Z",
                  "stale": false
                }
              ]
            }"#]],
    );
}

#[test]
fn a_job_that_nothing_can_host() {
    let reason = Reason::new(
        ReasonCode::InsufficientMemory,
        "no worker fits: 3 short of memory, 1 without the runtime",
    );
    let mut row = instance(InstanceState::NotDeployed {
        reason: reason.clone(),
        rejections: rejections(),
    });
    row.reason = Some(reason.clone());
    (row.instance, row.worker, row.worker_id, row.observed_at) = (None, None, None, None);
    let view = JobView {
        job: job(
            "api_version: v0.1\njob_name: hello\nimage_runtime: native\ncommand: [/bin/true]\n",
            Some(NOON),
        ),
        owner: "cluster-1".to_owned(),
        state: JobState::NotDeployed,
        reason: Some(reason),
        rejections: Some(rejections()),
        unconfirmed: 2,
        instances: vec![row],
    };
    check(
        &JobBody::from(&view),
        &expect![[r#"
            {
              "job_id": "job_00000000000000000000000001",
              "job_name": "hello",
              "tenant": "default",
              "owner": "cluster-1",
              "state": "NOT_DEPLOYED",
              "terminating": true,
              "reason": "no worker fits: 3 short of memory, 1 without the runtime",
              "reason_code": "insufficient_memory",
              "rejections": {
                "insufficient_memory": 3,
                "runtime_missing": 1
              },
              "unconfirmed": 2,
              "generation": 1,
              "created_at": "2026-11-05T12:00:00.000Z",
              "operation": null,
              "services": [
                {
                  "name": "hello",
                  "replicas": 1,
                  "image": null,
                  "image_runtime": "native"
                }
              ],
              "instances": [
                {
                  "instance_id": null,
                  "service": "hello",
                  "index": 0,
                  "role": "holder",
                  "generation": [
                    1,
                    1
                  ],
                  "state": "NOT_DEPLOYED",
                  "cluster": "cluster-1",
                  "cluster_id": "cl_00000000000000000000000003",
                  "worker_node": null,
                  "worker_id": null,
                  "endpoints": [],
                  "health": null,
                  "reason": "no worker fits: 3 short of memory, 1 without the runtime",
                  "reason_code": "insufficient_memory",
                  "restarts": 0,
                  "next_attempt_at": null,
                  "last_exit": null,
                  "since": "2026-11-05T12:00:00.000Z",
                  "observed_at": null,
                  "stale": false
                }
              ]
            }"#]],
    );
}

#[test]
fn a_failed_instance_says_when_it_is_tried_again() {
    let observed = Observed::Failed {
        reason: Reason::new(ReasonCode::CrashLoop, "it ended with 1 for the third time"),
        next_attempt: Some(Wall(NOON.0 + 4_000)),
    };
    let report = Report {
        observed,
        restarts: 3,
        last_exit: None,
        at: NOON,
    };
    let body = InstanceBody::from(&instance(InstanceState::Failed(report)));
    assert_eq!(
        (body.state.as_str(), body.restarts, body.next_attempt_at),
        ("FAILED", 3, Some(Wall(NOON.0 + 4_000)))
    );
}

#[test]
fn a_worker() {
    let amount = |cores, mb| Resources {
        cpu: Millicores(cores),
        memory: Bytes::from_mb(mb),
        disk: Bytes::from_mb(5_000),
    };
    let view = NodeView {
        id: NodeId::from_bits(4),
        facts: NodeFacts {
            name: name("worker-1"),
            hostname: "edge".to_owned(),
            addresses: vec!["192.0.2.7".to_owned()],
            architecture: "aarch64".to_owned(),
            allocatable: amount(4_000, 4_096),
            accelerators: vec!["vpu".to_owned()],
            sensors: Vec::new(),
            runtimes: BTreeSet::from([RuntimeKind::Docker, RuntimeKind::Native]),
            labels: BTreeMap::new(),
            engine_version: "0.1.0".to_owned(),
        },
        liveness: Liveness::Alive,
        scheduling: Scheduling::Cordoned,
        room: amount(2_500, 3_000),
        usage: Some(Usage {
            cpu_percent: 12.5,
            memory_percent: 40.0,
            ..Usage::default()
        }),
        silent: BTreeSet::from([RuntimeKind::Docker]),
        labels: BTreeMap::from([("zone".to_owned(), "lab".to_owned())]),
        instances: 2,
        last_seen: Some(NOON),
        cloned_at: None,
    };
    check(
        &NodeBody::from(&view),
        &expect![[r#"
        {
          "node_id": "node_00000000000000000000000004",
          "name": "worker-1",
          "state": "ALIVE",
          "scheduling": "CORDONED",
          "architecture": "aarch64",
          "cpu_cores": 4.0,
          "free_cores": 2.5,
          "memory_in_mb": 4096,
          "memory_free_in_mb": 3000,
          "cpu_percent": 12.5,
          "memory_percent": 40.0,
          "runtimes": [
            "docker",
            "native"
          ],
          "runtimes_degraded": [
            "docker"
          ],
          "labels": {
            "zone": "lab"
          },
          "accelerators": [
            "vpu"
          ],
          "instances": 2,
          "last_seen": "2026-11-05T12:00:00.000Z"
        }"#]],
    );
    let silent = NodeView {
        usage: None,
        last_seen: None,
        liveness: Liveness::Reconnecting,
        ..view
    };
    assert_eq!(NodeBody::from(&silent).cpu_percent, None);
    let mut cloned = NodeBody::from(&silent);
    cloned.cloned_at = Some(Wall(0));
    let text = serde_json::to_string(&cloned).unwrap();
    assert!(
        text.ends_with(r#","cloned_at":"1970-01-01T00:00:00.000Z"}"#),
        "{text}"
    );
}

#[test]
fn a_cluster() {
    let view = ClusterView {
        id: ClusterId::from_bits(3),
        name: name("garching"),
        state: ClusterState::Active,
        scheduling: Scheduling::Open,
        location: Location::parse("city=Garching,country=DE,lat=48.25,lon=11.65").unwrap(),
        aggregate: Aggregate {
            number_of_nodes: 3,
            schedulable_nodes: 2,
            allocatable: Resources {
                cpu: Millicores(12_000),
                memory: Bytes::from_mb(12_000),
                disk: Bytes(0),
            },
            room: Resources {
                cpu: Millicores(11_500),
                memory: Bytes::from_mb(11_744),
                disk: Bytes(0),
            },
            cpu_percent: 3.5,
            memory_percent: 20.0,
            technology: BTreeSet::from([RuntimeKind::Native]),
            number_of_jobs: 1,
            ..Aggregate::default()
        },
        scheduler: "first-fit".to_owned(),
        http: Some("https://192.0.2.1:10001".to_owned()),
        last_seen: Some(NOON),
    };
    check(
        &ClusterBody::from(&view),
        &expect![[r#"
        {
          "cluster_id": "cl_00000000000000000000000003",
          "cluster_name": "garching",
          "state": "ACTIVE",
          "scheduling": "OPEN",
          "location": {
            "text": "city=Garching,country=DE,lat=48.25,lon=11.65",
            "city": "Garching",
            "country": "DE",
            "latitude": 48.25,
            "longitude": 11.65
          },
          "number_of_nodes": 3,
          "schedulable_nodes": 2,
          "cpu_cores": 12.0,
          "free_cores": 11.5,
          "cumulative_memory_in_mb": 12000,
          "memory_free_in_mb": 11744,
          "cpu_percent": 3.5,
          "memory_percent": 20.0,
          "technology": [
            "native"
          ],
          "runtimes_degraded": [],
          "number_of_jobs": 1,
          "scheduler": "first-fit",
          "http": "https://192.0.2.1:10001",
          "last_seen": "2026-11-05T12:00:00.000Z"
        }"#]],
    );
}

#[test]
fn an_event() {
    let event = Event {
        id: EventId::from_bits(9),
        at: NOON,
        tier: Tier::Worker,
        job: JobId::from_bits(1),
        tenant: model::access::TenantPath::root(),
        instance: Some(InstanceId::from_bits(2)),
        generation: Generation {
            assignment: 1,
            placement: 2,
        },
        from: "SCHEDULED_NODE",
        to: "RUNNING",
        cause: "reported".to_owned(),
        message: "worker-1 runs it".to_owned(),
    };
    check(
        &EventBody::from(&event),
        &expect![[r#"
        {
          "id": "evt_00000000000000000000000009",
          "at": "2026-11-05T12:00:00.000Z",
          "tier": "worker",
          "job_id": "job_00000000000000000000000001",
          "instance_id": "ins_00000000000000000000000002",
          "generation": [
            1,
            2
          ],
          "from": "SCHEDULED_NODE",
          "to": "RUNNING",
          "cause": "reported",
          "message": "worker-1 runs it"
        }"#]],
    );
    assert_eq!(EventBody::from(&Event { from: "", ..event }).from, None);
}

#[test]
fn an_explanation_in_a_list() {
    let explanation = Explanation {
        service: name("hello"),
        index: 0,
        state: "NOT_DEPLOYED",
        cluster: Some(name("garching")),
        worker: None,
        message: "4 workers: 3 short of memory, 1 without the runtime".to_owned(),
        rejections: Some(rejections()),
    };
    check(
        &List::complete(vec![ExplanationBody::from(&explanation)]),
        &expect![[r#"
            {
              "items": [
                {
                  "service": "hello",
                  "index": 0,
                  "state": "NOT_DEPLOYED",
                  "cluster": "garching",
                  "worker_node": null,
                  "message": "4 workers: 3 short of memory, 1 without the runtime",
                  "rejections": {
                    "insufficient_memory": {
                      "count": 3,
                      "examples": [
                        "w1",
                        "w2",
                        "w3"
                      ]
                    },
                    "runtime_missing": {
                      "count": 1,
                      "examples": [
                        "w4"
                      ]
                    }
                  }
                }
              ],
              "next_cursor": null
            }"#]],
    );
}
