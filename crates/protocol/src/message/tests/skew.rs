//! Neighbours of another version: what the next one may add is ignored, counted, and costs nobody else a state.

use std::collections::BTreeSet;

use model::workload::{HealthCheck, Probe};

use super::*;
use crate::skew::{Look, unknown_fields, unknown_words};

/// The report of a copy whose runtime does not answer.
fn stale() -> UpReport<SlotEntry> {
    let mut report = slot_report([InstanceState::Running(running())], false);
    for copy in &mut report.copies {
        copy.stale = true;
    }
    up(true, vec![slot_entry(report)], Vec::new())
}

/// A worker's welcome that tells of another way to its cluster.
fn welcome_with(fallback: Fallback) -> Value {
    register::answer(&Ok(register::Welcome {
        fallback: Some(fallback),
        ..register_welcome()
    }))
}

/// Every message with every field that it can have.
#[expect(clippy::too_many_lines, reason = "a table")]
fn all_messages() -> Vec<Value> {
    let mut all: Vec<Value> = super::hostile::real_messages()
        .iter()
        .map(|text| serde_json::from_slice(text).unwrap())
        .collect();
    let mut held = held();
    held.want_whole = true;
    held.superseded = true;
    let degraded = information::Information {
        silent: [model::workload::RuntimeKind::Docker].into(),
        ..information_message()
    };
    let rows = [information::Row {
        cpu: Some(0.5),
        memory: Some(1),
        ..information::Row::of(&instance_report(1, running()).value)
    }];
    all.extend(
        [
            information::encode(&degraded, rows),
            sync::encode(&held, &beat()),
            connection::encode(&connection::Connection {
                online: false,
                connect: 1,
                leaving: Some(Leaving::Restart),
            }),
            control::encode(
                &change(vec![desired_entry(everything())], Vec::new()),
                &[secret_key()],
            ),
            control::encode(&change(every_probe(), Vec::new()), &[]),
        ]
        .iter()
        .map(|text| serde_json::from_slice::<Value>(text).unwrap()),
    );
    all.extend([
        register::answer(&Ok(register_welcome())),
        register::answer(&Err(refused())),
        uplink::ask(question::Ask::Adopt),
        uplink::reply(Ok(serde_json::json!({"any": "thing"}))),
        uplink::answer(&Ok(uplink_welcome(Some(uplink::RelayAt {
            host: Some("192.0.2.7".to_owned()),
            port: 10_002,
            tls: true,
        })))),
    ]);
    all.extend(fallbacks().into_iter().map(welcome_with));
    all.extend(frames().iter().map(uplink::relay::Frame::encode));
    let mut request = uplink_request();
    request.join_token = Some("token".to_owned());
    request.sealing_key = Some("key".to_owned());
    all.push(request.encode());
    let administrator = uplink::Administrator {
        token: model::id::TokenId::from_bits(9),
        hash: [7; 32],
        expires_at: Some(Wall(1)),
    };
    all.push(uplink::administrators(&[administrator]));
    all.push(register::answer(&Ok(register::Welcome {
        broker_tls: true,
        ..register_welcome()
    })));
    all.push(
        register::Request {
            signed: true,
            ..register_request()
        }
        .encode(),
    );
    let mut standing = standing();
    for class in &mut standing.aggregate.classes {
        class.class.accelerator = Some("vpu".to_owned());
    }
    all.push(standing.encode());
    let slot = desired(1).slot;
    all.push(uplink::assign(&change(Vec::new(), vec![slot.clone()]), &[]));
    let gone: UpReport<SlotEntry> = up(true, Vec::new(), vec![slot]);
    all.extend(uplink::report(&gone, &held));
    all.extend(uplink::report(&refusal(), &held));
    all.extend(uplink::report(&stale(), &held));
    let page = uplink::Question::Nodes {
        limit: Some(1),
        cursor: Some("after".to_owned()),
    };
    all.push(page.encode());
    all.extend(questions().iter().map(uplink::Question::encode));
    let mut ended = running();
    ended.last_exit = Some(Exit {
        code: Some(1),
        ..exit()
    });
    let well = instance_report(3, checked(Health::Healthy));
    let states = vec![instance_report(1, ended), well];
    let mut whole = up(true, states, vec![InstanceId::from_bits(2)]);
    whole.tells = true;
    let piece = serde_json::json!({"version": 1, "part": 1, "parts": 2});
    all.push(piece);
    all.extend(
        instances::encode(&whole, &held)
            .iter()
            .map(|text| serde_json::from_slice::<Value>(text).unwrap()),
    );
    all
}

/// A cluster that cannot do what it was told.
fn refusal() -> UpReport<SlotEntry> {
    let mut refused = slot_report([], true);
    refused.refused.clone_from(&refused.offer);
    up(false, vec![slot_entry(refused)], Vec::new())
}

/// Secrets in both places, and a login.
fn secrets() -> model::secret::Secrets {
    let secret = |name: &str| model::secret::SecretRef {
        name: Name::new(name).unwrap(),
        sealed: Some(model::secret::Sealed {
            version: model::id::SecretVersion::from_bits(9),
            ciphertext: vec![1, 2, 3],
        }),
    };
    let one = |name, place| model::secret::SecretUse {
        secret: secret(name),
        place,
    };
    model::secret::Secrets {
        uses: vec![
            one("db", model::secret::SecretPlace::File("db.txt".to_owned())),
            one(
                "api",
                model::secret::SecretPlace::Variable("API".to_owned()),
            ),
        ],
        pull: Some(secret("ghcr")),
    }
}

/// The key to one of them.
pub(super) fn secret_key() -> SecretKey {
    SecretKey {
        version: model::id::SecretVersion::from_bits(9),
        wrapped: "c29tZSBieXRlcw".to_owned(),
    }
}

/// An instance whose workload and placement leave nothing out.
pub(super) fn everything() -> NodeItem {
    let mut desired = desired(5);
    Arc::make_mut(&mut desired.job).reconcile = model::job::Reconcile::Best;
    desired.handover = model::desired::Handover {
        number: 7,
        start_first: true,
        keep_old: true,
        replace: Some(InstanceId::from_bits(4)),
        same_worker: true,
        worker: Some("worker-2".to_owned()),
    };
    let service = Arc::make_mut(&mut desired.service);
    service.takeover = model::job::Takeover {
        max_surge: 2,
        max_unavailable: 0,
        on_failure: model::job::OnFailure::Rollback,
        migration: model::job::Strategy::StopFirst,
        drain_delay: Duration::from_secs(3),
        min_ready: Duration::from_secs(7),
    };
    service.placement = PlacementRules {
        cluster: Some("c".to_owned()),
        location: Some("here".to_owned()),
        worker: Some("w".to_owned()),
        labels: BTreeMap::from([("mood".to_owned(), "good".to_owned())]),
        architectures: vec!["x86_64".to_owned()],
    };
    let volume = |source| model::workload::Volume {
        source,
        target: "/data".to_owned(),
        read_only: true,
    };
    service.workload = Arc::new(crate::workload::sealed(Workload {
        image: Some("nginx".to_owned()),
        pull: Pull::Always,
        args: vec!["a".to_owned()],
        environment: BTreeMap::from([("MOOD".to_owned(), "good".to_owned())]),
        files: BTreeMap::from([("/a".to_owned(), "b".to_owned())]),
        ports: vec![model::workload::Port {
            host: Some(1),
            container: 2,
            transport: Transport::Udp,
        }],
        volumes: vec![
            volume(model::workload::VolumeSource::Named("data".to_owned())),
            volume(model::workload::VolumeSource::HostPath("/srv".to_owned())),
        ],
        resources: resources(),
        restart: Restart::Never,
        health: None,
        security: model::security::Security {
            read_only: false,
            user: Some(model::security::User::Root),
            capabilities: [model::security::Capability::Chown].into(),
            pids: 512,
        },
        secrets: secrets(),
        stop_grace: Duration::from_secs(1),
        ..workload("x")
    }));
    NodeItem::Instance(desired)
}

/// An instance for each kind of probe, with every field of a health check.
pub(super) fn every_probe() -> Vec<DesiredEntry> {
    let path = "/healthz".to_owned();
    let probes = [
        Probe::Http { port: 8080, path },
        Probe::Tcp { port: 5432 },
        Probe::Command(vec!["/bin/check".to_owned(), "now".to_owned()]),
    ];
    let item = |(number, probe)| {
        let mut desired = desired(number);
        let service = Arc::make_mut(&mut desired.service);
        let health = Some(HealthCheck {
            probe,
            interval: Duration::from_secs(1),
            timeout: Duration::from_millis(500),
            retries: 5,
            start_period: Duration::from_secs(20),
        });
        service.workload = Arc::new(crate::workload::sealed(Workload {
            health,
            ..workload("x")
        }));
        desired_entry(NodeItem::Instance(desired))
    };
    (10..).zip(probes).map(item).collect()
}

fn pairs(value: &Value, parent: &str, into: &mut BTreeSet<(String, String)>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let key = if parent == "rejections" {
                    "rejections[]"
                } else {
                    key
                };
                into.insert((parent.to_owned(), key.to_owned()));
                if !crate::skew::is_leaf(key) {
                    pairs(value, key, into);
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| pairs(item, parent, into)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn every_field_of_every_message_is_in_the_list_of_known_ones() {
    let mut there = BTreeSet::new();
    for message in all_messages() {
        pairs(&message, "", &mut there);
    }
    there.retain(|(parent, _)| parent != "rejections");
    let listed: BTreeSet<(String, String)> = crate::skew::FIELDS
        .iter()
        .map(|(parent, field)| ((*parent).to_owned(), (*field).to_owned()))
        .collect();
    let missing: Vec<_> = there.difference(&listed).collect();
    let gone: Vec<_> = listed.difference(&there).collect();
    assert!(
        missing.is_empty() && gone.is_empty(),
        "skew/fields.rs lacks {missing:?}, and no message here has {gone:?}"
    );
    for message in all_messages() {
        assert_eq!(Look::at(&message).unwrap().unknown(), 0, "{message}");
    }
}

/// A report of a worker of the next version.
fn next_worker(state: &Value) -> Value {
    let instance = InstanceId::from_bits(1);
    serde_json::json!({
        "version": 1, "term": 3, "nonce": "00000000000000ff", "revision": 41,
        "desired_digest": serde_json::to_value(Digest(1)).unwrap(),
        "boot": 1, "sequence": 2,
        "observed_digest": serde_json::to_value(Digest(2)).unwrap(),
        "weather": "fine",
        "states": [
            {"instance": instance, "generation": [2, 1], "mood": 1, "report": state},
            {"instance": InstanceId::from_bits(2), "generation": [2, 1], "report": {"state": "ended", "at": "2026-11-05T10:30:00.000Z"}},
        ],
    })
}

#[test]
fn an_observation_of_the_next_version_has_the_nearest_meaning_and_its_neighbours_theirs() {
    let at = "2026-11-05T10:30:00.000Z";
    let endpoints = serde_json::json!([{"container_port": 80, "host_port": 81, "protocol": "quic"}, {"container_port": 53, "host_port": 53, "protocol": "udp"}]);
    let paused =
        serde_json::json!({"state": "paused", "since": at, "at": at, "endpoints": endpoints});
    let stuck = serde_json::json!({"state": "stuck", "at": at, "reason": {"code": "stuck_in_mud", "message": "It is stuck."}});
    let warming = serde_json::json!({"state": "warming_up", "at": at, "progress": 0.5});
    let read = |state: &Value| {
        let message = next_worker(state);
        let (fields, words) = (unknown_fields(), unknown_words());
        let piece = instances::decode(message.to_string().as_bytes()).unwrap();
        assert!(unknown_fields() > fields && unknown_words() > words);
        let states = piece.content.report.states;
        assert_eq!(states[1].value.report.observed, Observed::Ended);
        states[0].clone()
    };
    let entry = read(&paused);
    let Observed::Running { endpoints, .. } = &entry.value.report.observed else {
        panic!("{entry:?}")
    };
    assert_eq!(endpoints.len(), 1, "what nobody can reach is not shown");
    let sender = |word: &str| format!("{}|2.1|{word}|0", InstanceId::from_bits(1));
    let expected =
        |entry: &ReportEntry, word| report_entry_of(entry.value.clone(), &sender(word)).mark();
    assert_eq!(entry.mark(), expected(&entry, "paused"));
    let entry = read(&stuck);
    let Observed::Failed { reason, .. } = &entry.value.report.observed else {
        panic!("{entry:?}")
    };
    assert_eq!(reason.message, "It is stuck.");
    assert_eq!(entry.mark(), expected(&entry, "stuck_in_mud"));
    let entry = read(&warming);
    assert_eq!(entry.value.report.observed, Observed::Starting);
    assert_eq!(entry.mark(), expected(&entry, "warming_up"));
    // What is no word at all is a fault of the sender.
    let message = next_worker(&serde_json::json!({"state": "no word", "at": at}));
    assert!(instances::decode(message.to_string().as_bytes()).is_err());
}

/// A newer program's word for health is no promise that the instance does its work, and its mark stays that of its sender.
#[test]
fn a_health_of_the_next_version_is_not_ready_and_keeps_its_mark() {
    let known = instance_report(1, checked(Health::Healthy)).value;
    let mut wire = serde_json::to_value(report::WireInstance::from(&known)).unwrap();
    assert_eq!(wire["report"]["health"], "healthy");
    wire["report"]["health"] = "limping".into();
    let before = unknown_words();
    let entry = report::instance_in(serde_json::from_value(wire).unwrap()).unwrap();
    assert_eq!(unknown_words() - before, 1);
    assert_eq!(entry.value.report.health(), Some(Health::Starting));
    assert!(!entry.value.report.is_ready());
    let theirs = known.identity().replace("|healthy", "|limping");
    assert_eq!(
        entry.mark(),
        report_entry_of(entry.value.clone(), &theirs).mark()
    );

    let known = slot_report([InstanceState::Running(checked(Health::Unhealthy))], false);
    let mut wire = serde_json::to_value(report::WireSlotReport::from(&known)).unwrap();
    wire["copies"][0]["report"]["health"] = "limping".into();
    let entry = report::slot_in(serde_json::from_value(wire).unwrap()).unwrap();
    let theirs = known.identity().replace(" unhealthy", " limping");
    assert_ne!(theirs, known.identity());
    assert_eq!(
        entry.mark(),
        slot_entry_of(entry.value.clone(), &theirs).mark()
    );
}

#[test]
fn a_copy_in_a_state_and_role_of_the_next_version_keeps_its_mark() {
    let states = [
        InstanceState::Running(running()),
        InstanceState::ScheduledNode,
        InstanceState::Failed(failed()),
    ];
    let mut wire = serde_json::to_value(report::WireSlotReport::from(&slot_report(
        states.clone(),
        true,
    )))
    .unwrap();
    for (copy, state) in [(0, "SLEEPING"), (1, "BOOKED"), (2, "HEALING")] {
        wire["copies"][copy]["state"] = state.into();
    }
    wire["copies"][1]["role"] = "warm_spare".into();
    let theirs = slot_report(states, true)
        .identity()
        .replace("RUNNING", "SLEEPING")
        .replace("Holder SCHEDULED_NODE", "WarmSpare BOOKED")
        .replace("FAILED", "HEALING");
    let before = unknown_words();
    let entry = report::slot_in(serde_json::from_value(wire).unwrap()).unwrap();
    assert_eq!(unknown_words() - before, 4);
    let read: Vec<&str> = entry
        .value
        .copies
        .iter()
        .map(|copy| copy.state.as_str())
        .collect();
    assert_eq!(read, ["RUNNING", "UNKNOWN", "FAILED"]);
    assert_eq!(entry.value.copies[1].role, Role::Holder);
    assert_eq!(
        entry.mark(),
        slot_entry_of(entry.value.clone(), &theirs).mark()
    );
}

#[test]
fn a_worker_that_leaves_in_a_way_of_the_next_version_just_leaves() {
    let message = br#"{"version":1,"online":false,"connect":7,"leaving":"to_be_moved"}"#;
    let before = unknown_words();
    let read = connection::decode(message).unwrap();
    assert_eq!(unknown_words() - before, 1);
    assert_eq!((read.online, read.connect, read.leaving), (false, 7, None));
}

#[test]
fn a_policy_of_the_next_version_moves_nothing() {
    let change = change(
        vec![desired_entry(NodeItem::Instance(desired(5)))],
        Vec::new(),
    );
    let mut message: Value = serde_json::from_slice(&control::encode(&change, &[])).unwrap();
    message["jobs"][0]["on_partition"] = "ask_me".into();
    let before = unknown_words();
    let read = control::decode(message.to_string().as_bytes()).unwrap();
    assert_eq!(unknown_words() - before, 1);
    let NodeItem::Instance(desired) = &read.put[0].value else {
        panic!("{read:?}")
    };
    assert_eq!(desired.job.on_partition, OnPartition::Stay);
}

#[test]
fn what_the_next_version_asks_or_relays_is_counted_and_left_alone() {
    let before = unknown_words();
    let asked = br#"{"version":1,"ask":"dance","tempo":120}"#;
    assert_eq!(
        question::decode(asked).unwrap(),
        Some(question::Question::Newer)
    );
    let frame = serde_json::json!({"version": 1, "connection": 1, "event": "pause"});
    assert_eq!(uplink::relay::Frame::decode(&frame).unwrap(), None);
    assert_eq!(unknown_words() - before, 2);
    // On the uplink each kind of question has an event of its own.
    let asked = serde_json::from_slice(asked).unwrap();
    assert!(uplink::read_ask(&asked).is_err() && uplink::read_stream(&asked).is_err());
}
