#![expect(clippy::too_many_lines, reason = "a golden is as long as its message")]

use super::*;

fn bytes(payload: &[u8], golden: &Expect) {
    value(&serde_json::from_slice(payload).unwrap(), golden);
}

fn value(value: &Value, golden: &Expect) {
    golden.assert_eq(&serde_json::to_string_pretty(value).unwrap());
}

#[test]
fn control_holds_jobs_and_specs_once() {
    bytes(
        &control::encode(&control_change(), &[]),
        &expect![[r#"
        {
          "adopted": "00000000000000000000000000000007",
          "base": 41,
          "deploy": [
            {
              "generation": [
                2,
                1
              ],
              "index": 1,
              "instance": "ins_00000000000000000000000001",
              "job": 0,
              "replicas": 3,
              "service": "web",
              "spec_hash": "0734946965d56dbc01d16612b46ea44d"
            },
            {
              "generation": [
                2,
                4
              ],
              "index": 4,
              "instance": "ins_00000000000000000000000004",
              "job": 0,
              "replicas": 3,
              "service": "web",
              "spec_hash": "0734946965d56dbc01d16612b46ea44d"
            },
            {
              "generation": [
                2,
                5
              ],
              "index": 5,
              "instance": "ins_00000000000000000000000005",
              "job": 1,
              "placement": {
                "worker": "worker-1"
              },
              "replicas": 3,
              "service": "web",
              "spec_hash": "0734946965d56dbc01d16612b46ea44d"
            }
          ],
          "desired_digest": "00000000000000000000000000000fed",
          "incarnation": "00000000000000000000000000000abc",
          "jobs": [
            {
              "created_at": "2026-11-05T08:30:00.123Z",
              "id": "job_00000000000000000000000001",
              "name": "shop",
              "tenant": "default"
            },
            {
              "created_at": "2026-11-05T08:30:00.123Z",
              "id": "job_00000000000000000000000002",
              "lost_after_ms": 30000,
              "name": "shop",
              "on_partition": "move",
              "owner": "cl_00000000000000000000000009",
              "tenant": "default"
            }
          ],
          "part": 0,
          "parts": 1,
          "revision": 42,
          "settings": {
            "report_interval_ms": 15000
          },
          "specs": [
            {
              "command": [
                "/bin/echo",
                "web"
              ],
              "hash": "0734946965d56dbc01d16612b46ea44d",
              "runtime": "native"
            }
          ],
          "term": {
            "history": [
              "0000000000000001"
            ],
            "nonce": "0000000000000002",
            "number": 2
          },
          "terminate": [
            "ins_00000000000000000000000008"
          ],
          "version": 1
        }"#]],
    );
}

#[test]
fn a_signature_stands_behind_its_payload() {
    let sealed = signed::seal(control::encode(&control_change(), &[]), "MEUCIQ_-");
    let text = String::from_utf8(sealed.clone()).unwrap();
    let (payload, signature) = text.split_once('\n').unwrap();
    assert_eq!(signature, "sig1:MEUCIQ_-");
    assert_eq!(payload.as_bytes(), control::encode(&control_change(), &[]));
    let opened = signed::open(&sealed);
    assert_eq!(opened.signature, Some("MEUCIQ_-"));
    let read = control::decode(opened.payload).unwrap();
    assert_eq!(read, control_change());
}

#[test]
fn a_worker_that_verifies_says_so() {
    let request = register::Request {
        signed: true,
        sealing_key: Some("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8".to_owned()),
        ..register_request()
    };
    let encoded = request.encode();
    assert_eq!(encoded["signed"], true);
    assert_eq!(register::Request::decode(&encoded).unwrap(), request);
    // One that does not says nothing, as before there were signatures.
    assert_eq!(register_request().encode().get("signed"), None);
}

#[test]
fn a_spec_has_its_health_check() {
    let payload = control::encode(&change(skew::every_probe(), Vec::new()), &[]);
    let message: Value = serde_json::from_slice(&payload).unwrap();
    value(
        &message["specs"],
        &expect![[r#"
        [
          {
            "command": [
              "/bin/echo",
              "x"
            ],
            "hash": "8120cdacebc38cd0380164c0ff8097c3",
            "health": {
              "http": {
                "path": "/healthz",
                "port": 8080
              },
              "interval_ms": 1000,
              "retries": 5,
              "start_period_ms": 20000,
              "timeout_ms": 500
            },
            "runtime": "native"
          },
          {
            "command": [
              "/bin/echo",
              "x"
            ],
            "hash": "bd5af32968ed3c93efa0ccefbeb0bc5f",
            "health": {
              "interval_ms": 1000,
              "retries": 5,
              "start_period_ms": 20000,
              "tcp": {
                "port": 5432
              },
              "timeout_ms": 500
            },
            "runtime": "native"
          },
          {
            "command": [
              "/bin/echo",
              "x"
            ],
            "hash": "d57b614a905a2d9ec3e3878ff7d85eb2",
            "health": {
              "command": [
                "/bin/check",
                "now"
              ],
              "interval_ms": 1000,
              "retries": 5,
              "start_period_ms": 20000,
              "timeout_ms": 500
            },
            "runtime": "native"
          }
        ]"#]],
    );
    let check = crate::workload::WireHealth::from(&model::workload::HealthCheck {
        probe: model::workload::Probe::Tcp { port: 5432 },
        interval: model::workload::HealthCheck::INTERVAL,
        timeout: model::workload::HealthCheck::TIMEOUT,
        retries: model::workload::HealthCheck::RETRIES,
        start_period: Duration::ZERO,
    });
    expect![[r#"{"tcp":{"port":5432}}"#]].assert_eq(&serde_json::to_string(&check).unwrap());
}

#[test]
fn a_worker_says_how_well_an_instance_is() {
    let report = instance_report(1, checked(Health::Unhealthy)).value;
    expect!["ins_00000000000000000000000001|2.1|running|2|unhealthy"].assert_eq(&report.identity());
    value(
        &serde_json::to_value(report::WireInstance::from(&report)).unwrap(),
        &expect![[r#"
            {
              "generation": [
                2,
                1
              ],
              "instance": "ins_00000000000000000000000001",
              "report": {
                "at": "2026-11-05T08:30:01.000Z",
                "endpoints": [
                  {
                    "container_port": 80,
                    "host_port": 32768,
                    "protocol": "udp"
                  }
                ],
                "health": "unhealthy",
                "last_exit": {
                  "at": "2026-11-05T08:30:00.123Z",
                  "log_tail": [
                    "last words"
                  ],
                  "oom": true,
                  "signal": 9
                },
                "restarts": 2,
                "since": "2026-11-05T08:30:00.000Z",
                "state": "running"
              }
            }"#]],
    );
    let slot = slot_report([InstanceState::Running(checked(Health::Healthy))], false);
    expect!["job_00000000000000000000000001/web/1|2|ins_00000000000000000000000001 2.1 Holder RUNNING running 2 healthy"].assert_eq(&slot.identity());
}

#[test]
fn a_worker_says_how_it_leaves() {
    let mut all = String::new();
    for leaving in [None, Some(Leaving::Restart), Some(Leaving::Gone)] {
        let said = connection::Connection {
            online: false,
            connect: 3,
            leaving,
        };
        let payload = connection::encode(&said);
        assert_eq!(connection::decode(&payload).unwrap(), said);
        all.push_str(&String::from_utf8(payload).unwrap());
        all.push('\n');
    }
    expect![[r#"
        {"version":1,"online":false,"connect":3}
        {"version":1,"online":false,"connect":3,"leaving":"restart"}
        {"version":1,"online":false,"connect":3,"leaving":"gone"}
    "#]]
    .assert_eq(&all);
}

#[test]
fn the_first_set_is_whole_and_small() {
    let change: Change<DesiredEntry> = Change {
        base: None,
        adopted: None,
        term: Term::default().next(255),
        ..change(vec![settings()], Vec::new())
    };
    expect![[r#"{"version":1,"incarnation":"00000000000000000000000000000abc","term":{"number":1,"nonce":"00000000000000ff"},"revision":42,"desired_digest":"00000000000000000000000000000fed","part":0,"parts":1,"settings":{"report_interval_ms":15000}}"#]].assert_eq(&String::from_utf8(control::encode(&change, &[])).unwrap());
}

#[test]
fn sync_says_what_is_held() {
    bytes(
        &sync::encode(&held(), &beat()),
        &expect![[r#"
        {
          "boot": 1024,
          "desired_digest": "00000000000000000000000000000def",
          "incarnation": "00000000000000000000000000000abc",
          "nonce": "ffffffffffffffff",
          "observed_digest": "00000000000000000000000000000123",
          "revision": 41,
          "sequence": 17,
          "settled": true,
          "staged": {
            "change": "00000000000000000000000000000001",
            "next": 1,
            "parts": 3,
            "revision": 42
          },
          "term": 3,
          "version": 1,
          "want_whole": true
        }"#]],
    );
    expect![[r#"{"version":1,"term":0,"nonce":"0000000000000000","revision":0,"desired_digest":"00000000000000000000000000000000","boot":0,"sequence":0,"observed_digest":"00000000000000000000000000000000"}"#]]
        .assert_eq(&String::from_utf8(sync::encode(&Held::default(), &Beat::default())).unwrap());
}

#[test]
fn instances_are_reported_with_all_that_was_observed() {
    let report = up(
        true,
        vec![
            instance_report(1, running()),
            instance_report(2, failed()),
            instance_report(3, plain(Observed::Starting)),
        ],
        vec![InstanceId::from_bits(4)],
    );
    let parts = instances::encode(&report, &Held::default());
    assert_eq!(parts.len(), 1);
    bytes(
        &parts[0],
        &expect![[r#"
        {
          "boot": 1024,
          "desired_digest": "00000000000000000000000000000000",
          "gone": [
            "ins_00000000000000000000000004"
          ],
          "nonce": "0000000000000000",
          "observed_digest": "00000000000000000000000000000321",
          "revision": 0,
          "sequence": 18,
          "states": [
            {
              "generation": [
                2,
                1
              ],
              "instance": "ins_00000000000000000000000001",
              "report": {
                "at": "2026-11-05T08:30:01.000Z",
                "endpoints": [
                  {
                    "container_port": 80,
                    "host_port": 32768,
                    "protocol": "udp"
                  }
                ],
                "last_exit": {
                  "at": "2026-11-05T08:30:00.123Z",
                  "log_tail": [
                    "last words"
                  ],
                  "oom": true,
                  "signal": 9
                },
                "restarts": 2,
                "since": "2026-11-05T08:30:00.000Z",
                "state": "running"
              }
            },
            {
              "generation": [
                2,
                1
              ],
              "instance": "ins_00000000000000000000000002",
              "report": {
                "at": "2026-11-05T08:30:01.000Z",
                "last_exit": {
                  "at": "2026-11-05T08:30:00.123Z",
                  "log_tail": [
                    "last words"
                  ],
                  "oom": true,
                  "signal": 9
                },
                "next_attempt_at": "2026-11-05T08:30:02.000Z",
                "reason": {
                  "code": "crash_loop",
                  "message": "it ended again"
                },
                "restarts": 2,
                "state": "failed"
              }
            },
            {
              "generation": [
                2,
                1
              ],
              "instance": "ins_00000000000000000000000003",
              "report": {
                "at": "1970-01-01T00:00:00.000Z",
                "state": "starting"
              }
            }
          ],
          "term": 0,
          "version": 1,
          "whole": true
        }"#]],
    );
}

#[test]
fn information_is_as_in_the_contract() {
    let entry = instance_report(1, running());
    let payload = information::encode(&information_message(), [information::Row::of(&entry.value)]);
    bytes(
        &payload,
        &expect![[r#"
        {
          "boot": 1024,
          "cpu": 12.5,
          "desired_digest": "00000000000000000000000000000def",
          "disk_free_in_mb": 30000,
          "free_cores": 3.5,
          "incarnation": "00000000000000000000000000000abc",
          "instances": [
            {
              "id": "ins_00000000000000000000000001",
              "state": "running"
            }
          ],
          "memory": 50.0,
          "memory_free_in_mb": 1024,
          "nonce": "ffffffffffffffff",
          "observed_digest": "00000000000000000000000000000123",
          "revision": 41,
          "sequence": 17,
          "settled": true,
          "staged": {
            "change": "00000000000000000000000000000001",
            "next": 1,
            "parts": 3,
            "revision": 42
          },
          "term": 3,
          "version": 1,
          "want_whole": true
        }"#]],
    );
}

#[test]
fn small_messages() {
    let mut all = String::new();
    for payload in [
        question::encode(question::Ask::WholeReport),
        question::encode(question::Ask::Adopt),
        connection::encode(&connection::Connection {
            online: true,
            connect: 67_108_865,
            leaving: None,
        }),
    ] {
        all.push_str(&String::from_utf8(payload).unwrap());
        all.push('\n');
    }
    for question in questions() {
        all.push_str(&question.encode().to_string());
        all.push('\n');
    }
    for reply in [
        Ok(serde_json::json!({"items": []})),
        Err(crate::problem::Problem::not_found("node", "x")),
    ] {
        all.push_str(&uplink::reply(reply).to_string());
        all.push('\n');
    }
    for stream in streams() {
        all.push_str(&String::from_utf8(question::encode_stream(&stream)).unwrap());
        all.push('\n');
    }
    for chunk in chunks() {
        all.push_str(&String::from_utf8(reply::encode(&chunk)).unwrap());
        all.push('\n');
        all.push_str(&uplink::chunk(&request_id("r-1"), &chunk).to_string());
        all.push('\n');
    }
    expect![[r#"
        {"version":1,"ask":"whole_report"}
        {"version":1,"ask":"adopt"}
        {"version":1,"online":true,"connect":67108865}
        {"limit":100,"method":"nodes","version":1}
        {"method":"node","node":"worker-1","version":1}
        {"body":{"labels":{"room":null}},"method":"patch_node","node":"worker-1","version":1}
        {"method":"forget_node","node":"worker-1","version":1}
        {"body":{"ttl":"1h","uses":1},"by":"alice","method":"create_join_token","version":1}
        {"by":"alice","document":"api_version: v1\njob_name: café\n","dry_run":true,"format":"yaml","key":"once","method":"submit","tenant":"university/lab","version":1,"within":"university"}
        {"by":"alice","document":"{}","format":"json","method":"submit","version":1,"within":"default"}
        {"job":"job_00000000000000000000000001","method":"explain","version":1}
        {"answer":{"items":[]},"version":1}
        {"problem":{"code":"no_such_node","detail":"no node has the id or name \"x\"","status":404,"title":"Not Found","type":"urn:edgeio:problem:no_such_node"},"version":1}
        {"version":1,"ask":"logs","request":"l-1","instance":"ins_00000000000000000000000001","follow":true,"tail":100,"since":1795440418014,"credit":65536}
        {"version":1,"ask":"logs","request":"l-1","instance":"ins_00000000000000000000000001","follow":false,"credit":65536}
        {"version":1,"ask":"credit","request":"l-1","bytes":4096}
        {"version":1,"ask":"cancel","request":"l-1"}
        {"version":1,"sequence":0,"text":"café\n\u001b[31mred\n","end":null}
        {"end":null,"request":"r-1","sequence":0,"text":"café\n\u001b[31mred\n","version":1}
        {"version":1,"sequence":1,"text":"","end":"no_such_instance"}
        {"end":"no_such_instance","request":"r-1","sequence":1,"text":"","version":1}
    "#]].assert_eq(&all);
}

#[test]
fn adoption_holds_the_whole_former_set() {
    let parts = adopt::encode(&Held::default(), &[desired(1)]);
    assert_eq!(parts.len(), 1);
    bytes(
        &parts[0],
        &expect![[r#"
        {
          "deploy": [
            {
              "generation": [
                2,
                1
              ],
              "index": 1,
              "instance": "ins_00000000000000000000000001",
              "job": 0,
              "replicas": 3,
              "service": "web",
              "spec_hash": "0734946965d56dbc01d16612b46ea44d"
            }
          ],
          "desired_digest": "00000000000000000000000000000000",
          "jobs": [
            {
              "created_at": "2026-11-05T08:30:00.123Z",
              "id": "job_00000000000000000000000001",
              "name": "shop",
              "tenant": "default"
            }
          ],
          "nonce": "0000000000000000",
          "revision": 0,
          "specs": [
            {
              "command": [
                "/bin/echo",
                "web"
              ],
              "hash": "0734946965d56dbc01d16612b46ea44d",
              "runtime": "native"
            }
          ],
          "term": 0,
          "version": 1
        }"#]],
    );
}

#[test]
fn a_worker_registers() {
    value(
        &register_request().encode(),
        &expect![[r#"
        {
          "accelerators": [
            "vpu"
          ],
          "addresses": [
            "192.0.2.7"
          ],
          "architecture": "aarch64",
          "boot": 1024,
          "boot_id": "0123-abc",
          "cpu_millicores": 4000,
          "disk": 33554432000,
          "engine_version": "0.1.0",
          "hostname": "pi.local",
          "join_token": "token",
          "labels": {
            "room": "lab"
          },
          "memory": 2147483648,
          "name": "worker-1",
          "node_id": "node_00000000000000000000000005",
          "runtimes": [
            "docker",
            "native"
          ],
          "sensors": [
            "camera"
          ],
          "start": "fffffffffffffffe",
          "version": 1
        }"#]],
    );
    value(
        &register::answer(&Ok(register_welcome())),
        &expect![[r#"
        {
          "broker": {
            "host": "192.0.2.1",
            "port": 10003
          },
          "keep_alive_ms": 5000,
          "node_id": "node_00000000000000000000000005",
          "password": "secret",
          "report_interval_ms": 15000,
          "username": "node_x:0123",
          "version": 1
        }"#]],
    );
    value(
        &register::answer(&Err(refused())),
        &expect![[r#"
        {
          "problem": {
            "code": "name_in_use",
            "message": "a worker named worker-1 is there already"
          },
          "version": 1
        }"#]],
    );
}

#[test]
fn a_cluster_registers_with_its_store() {
    value(
        &uplink_request_of_a_store().encode(),
        &expect![[r#"
        {
          "boot": 3,
          "cluster_id": "cl_00000000000000000000000009",
          "http": "http://192.0.2.1:10001",
          "incarnation": "00000000000000000000000000000007",
          "location": "city=Garching",
          "name": "cluster-1",
          "scheduler": "first-fit",
          "start": "fffffffffffffffe",
          "term": {
            "history": [
              "0000000000000001",
              "0000000000000002"
            ],
            "nonce": "fffffffffffffffe",
            "number": 3
          },
          "version": 1
        }"#]],
    );
}

#[test]
fn a_cluster_registers() {
    value(
        &uplink_request().encode(),
        &expect![[r#"
        {
          "boot": 3,
          "cluster_id": "cl_00000000000000000000000009",
          "http": "http://192.0.2.1:10001",
          "location": "city=Garching",
          "name": "cluster-1",
          "scheduler": "first-fit",
          "start": "fffffffffffffffe",
          "version": 1
        }"#]],
    );
    let welcome = uplink_welcome(None);
    value(
        &uplink::answer(&Ok(welcome)),
        &expect![[r#"
        {
          "cluster_id": "cl_00000000000000000000000009",
          "report_interval_ms": 15000,
          "version": 1
        }"#]],
    );
}

#[test]
fn a_cluster_says_what_is_free() {
    value(
        &standing().encode(),
        &expect![[r#"
        {
          "allocatable": {
            "cpu_millicores": 4000,
            "disk": 33554432000,
            "memory": 2147483648
          },
          "boot": 1024,
          "capacity_revision": 12,
          "classes": [
            {
              "architecture": "aarch64",
              "holes": [
                {
                  "cpu_millicores": 4000,
                  "disk": 33554432000,
                  "memory": 2147483648
                }
              ],
              "runtime": "native",
              "total": {
                "cpu_millicores": 4000,
                "disk": 33554432000,
                "memory": 2147483648
              }
            }
          ],
          "cpu_percent": 12.5,
          "desired_digest": "00000000000000000000000000000def",
          "incarnation": "00000000000000000000000000000abc",
          "memory_percent": 50.0,
          "nonce": "ffffffffffffffff",
          "number_of_jobs": 4,
          "number_of_nodes": 3,
          "observed_digest": "00000000000000000000000000000123",
          "revision": 41,
          "room": {
            "cpu_millicores": 4000,
            "disk": 33554432000,
            "memory": 2147483648
          },
          "schedulable_nodes": 2,
          "scheduler": "first-fit",
          "sequence": 17,
          "settled": true,
          "staged": {
            "change": "00000000000000000000000000000001",
            "next": 1,
            "parts": 3,
            "revision": 42
          },
          "technology": [
            "native"
          ],
          "term": 3,
          "version": 1,
          "want_whole": true
        }"#]],
    );
}

#[test]
fn a_cluster_reports_slots() {
    let states = [
        InstanceState::Running(plain(Observed::Running {
            since: Wall(0),
            endpoints: Vec::new(),
            health: None,
        })),
        InstanceState::Unknown { last: None },
    ];
    let report = up(
        false,
        vec![
            slot_entry(slot_report(states, false)),
            slot_entry(slot_report([], true)),
        ],
        vec![desired(3).slot],
    );
    let parts = uplink::report(&report, &Held::default());
    assert_eq!(parts.len(), 1);
    value(
        &parts[0],
        &expect![[r#"
        {
          "boot": 1024,
          "desired_digest": "00000000000000000000000000000000",
          "gone": [
            {
              "index": 3,
              "job": "job_00000000000000000000000001",
              "service": "db"
            }
          ],
          "nonce": "0000000000000000",
          "observed_digest": "00000000000000000000000000000321",
          "revision": 0,
          "sequence": 18,
          "states": [
            {
              "assignment": 2,
              "copies": [
                {
                  "address": "192.0.2.7",
                  "generation": [
                    2,
                    1
                  ],
                  "instance": "ins_00000000000000000000000001",
                  "node": "node_00000000000000000000000005",
                  "node_name": "worker-1",
                  "report": {
                    "at": "1970-01-01T00:00:00.000Z",
                    "since": "1970-01-01T00:00:00.000Z",
                    "state": "running"
                  },
                  "role": "holder",
                  "since": "2026-11-05T08:30:00.123Z",
                  "state": "RUNNING"
                },
                {
                  "address": "192.0.2.7",
                  "generation": [
                    2,
                    1
                  ],
                  "instance": "ins_00000000000000000000000002",
                  "node": "node_00000000000000000000000005",
                  "node_name": "worker-1",
                  "role": "holder",
                  "since": "2026-11-05T08:30:00.123Z",
                  "state": "UNKNOWN"
                }
              ],
              "slot": {
                "index": 1,
                "job": "job_00000000000000000000000001",
                "service": "web"
              }
            },
            {
              "assignment": 2,
              "offer": {
                "capacity_revision": 12,
                "reason": {
                  "code": "insufficient_memory",
                  "message": "2 workers: short of memory"
                },
                "rejections": {
                  "cordoned": {
                    "count": 1,
                    "examples": [
                      "worker-3"
                    ]
                  },
                  "insufficient_memory": {
                    "count": 2,
                    "examples": [
                      "worker-1",
                      "worker-2"
                    ]
                  }
                }
              },
              "slot": {
                "index": 1,
                "job": "job_00000000000000000000000001",
                "service": "web"
              }
            }
          ],
          "term": 0,
          "version": 1
        }"#]],
    );
}

#[test]
fn a_root_assigns_slots() {
    let change = change(vec![assignment_entry(desired(1))], vec![desired(3).slot]);
    value(
        &uplink::assign(&change, &[]),
        &expect![[r#"
        {
          "adopted": "00000000000000000000000000000007",
          "base": 41,
          "deploy": [
            {
              "generation": [
                2,
                1
              ],
              "index": 1,
              "instance": "ins_00000000000000000000000001",
              "job": 0,
              "replicas": 3,
              "service": "web",
              "spec_hash": "0734946965d56dbc01d16612b46ea44d"
            }
          ],
          "desired_digest": "00000000000000000000000000000fed",
          "incarnation": "00000000000000000000000000000abc",
          "jobs": [
            {
              "created_at": "2026-11-05T08:30:00.123Z",
              "id": "job_00000000000000000000000001",
              "name": "shop",
              "tenant": "default"
            }
          ],
          "part": 0,
          "parts": 1,
          "revision": 42,
          "specs": [
            {
              "command": [
                "/bin/echo",
                "web"
              ],
              "hash": "0734946965d56dbc01d16612b46ea44d",
              "runtime": "native"
            }
          ],
          "term": {
            "history": [
              "0000000000000001"
            ],
            "nonce": "0000000000000002",
            "number": 2
          },
          "terminate": [
            {
              "index": 3,
              "job": "job_00000000000000000000000001",
              "service": "db"
            }
          ],
          "version": 1
        }"#]],
    );
}

#[test]
fn a_root_says_where_it_relays() {
    let at = |host: Option<&str>| uplink::RelayAt {
        host: host.map(str::to_owned),
        port: 10_002,
        tls: host.is_some(),
    };
    for at in [at(None), at(Some("root.example"))] {
        let welcome = uplink_welcome(Some(at));
        let answer = uplink::answer(&Ok(welcome.clone()));
        assert_eq!(uplink::read_answer(&answer).unwrap(), Ok(welcome));
    }
    value(
        &uplink::answer(&Ok(uplink_welcome(Some(at(Some("root.example")))))),
        &expect![[r#"
            {
              "cluster_id": "cl_00000000000000000000000009",
              "relay": {
                "host": "root.example",
                "port": 10002,
                "tls": true
              },
              "report_interval_ms": 15000,
              "version": 1
            }"#]],
    );
}

#[test]
fn a_cluster_says_where_else_it_is_reached() {
    let payloads = fallbacks().into_iter().map(|fallback| {
        let told = question::encode_fallback(&fallback);
        assert_eq!(
            question::decode(&told).unwrap(),
            Some(question::Question::Fallback(fallback.clone()))
        );
        let welcome = register::Welcome {
            fallback: Some(fallback),
            ..register_welcome()
        };
        let answer = register::answer(&Ok(welcome.clone()));
        assert_eq!(register::read_answer(&answer).unwrap(), Ok(welcome));
        String::from_utf8(told).unwrap()
    });
    let payloads: Vec<String> = payloads.collect();
    expect![[r#"
        {"version":1,"ask":"fallback","fallback":{}}
        {"version":1,"ask":"fallback","fallback":{"relay":{"cluster_id":"cl_00000000000000000000000009","port":10002}}}
        {"version":1,"ask":"fallback","fallback":{"relay":{"cluster_id":"cl_00000000000000000000000009","host":"192.0.2.7","port":10002,"tls":true}}}"#]].assert_eq(&payloads.join("\n"));
    let welcome = register::Welcome {
        fallback: fallbacks().pop(),
        broker_tls: true,
        ..register_welcome()
    };
    value(
        &register::answer(&Ok(welcome)),
        &expect![[r#"
        {
          "broker": {
            "host": "192.0.2.1",
            "port": 10003,
            "tls": true
          },
          "fallback": {
            "relay": {
              "cluster_id": "cl_00000000000000000000000009",
              "host": "192.0.2.7",
              "port": 10002,
              "tls": true
            }
          },
          "keep_alive_ms": 5000,
          "node_id": "node_00000000000000000000000005",
          "password": "secret",
          "report_interval_ms": 15000,
          "username": "node_x:0123",
          "version": 1
        }"#]],
    );
}

#[test]
fn a_worker_s_connection_goes_through_the_root() {
    let frames = frames();
    let texts: Vec<String> = frames
        .iter()
        .map(|frame| {
            let value = frame.encode();
            let read = uplink::relay::Frame::decode(&value).unwrap();
            assert_eq!(read.as_ref(), Some(frame));
            value.to_string()
        })
        .collect();
    expect![[r#"
        {"connection":3,"event":"open","peer":"192.0.2.5:40000","version":1}
        {"connection":3,"data":"wAA=","event":"data","version":1}
        {"bytes":16384,"connection":3,"event":"credit","version":1}
        {"connection":3,"event":"close","version":1}"#]]
    .assert_eq(&texts.join("\n"));
}
