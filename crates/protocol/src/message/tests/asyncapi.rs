//! `docs/api/asyncapi.yaml` says what the topics and their messages are.

use jsonschema::Validator;
use serde_json::json;

use super::*;
use crate::topic::{Direction, Topic};

const DOCUMENT: &str = include_str!("../../../../../docs/api/asyncapi.yaml");

fn document() -> Value {
    crate::document::read_back(DOCUMENT).unwrap()
}

fn topics() -> Vec<Topic> {
    let node = NodeId::from_bits(5);
    let request = "l-1".to_owned();
    vec![
        Topic::Information(node),
        Topic::Instances(node),
        Topic::Sync(node),
        Topic::Connection(node),
        Topic::Control(node),
        Topic::Request(node),
        Topic::Reply { node, request },
    ]
}

/// The key of a topic's channel; the match is exhaustive, so that a new topic must come here and above.
fn channel(topic: &Topic) -> &'static str {
    match topic {
        Topic::Information(_) => "information",
        Topic::Instances(_) => "instances",
        Topic::Sync(_) => "sync",
        Topic::Connection(_) => "connection",
        Topic::Control(_) => "control",
        Topic::Request(_) => "request",
        Topic::Reply { .. } => "reply",
    }
}

#[test]
fn every_topic_is_a_channel_and_the_other_way_round() {
    let document = document();
    let channels = document["channels"].as_object().unwrap();
    assert_eq!(channels.len(), topics().len());
    let operations = document["operations"].as_object().unwrap();
    assert_eq!(operations.len(), topics().len());
    for topic in topics() {
        let key = channel(&topic);
        let address = channels[key]["address"].as_str().unwrap();
        let spelt = address
            .replace("{node}", &topic.node().to_string())
            .replace("{request}", "l-1");
        assert_eq!(spelt, topic.to_string());
        let reference = json!({"$ref": format!("#/channels/{key}")});
        let operation = operations
            .values()
            .find(|operation| operation["channel"] == reference);
        let action = match topic.direction() {
            Direction::Up => "send",
            Direction::Down => "receive",
        };
        assert_eq!(operation.unwrap()["action"], action, "{key}");
    }
}

/// Real messages, each with the key of its channel and that of its message there.
#[expect(clippy::too_many_lines, reason = "a table")]
fn samples() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let whole_set = Held {
        superseded: true,
        ..held()
    };
    let degraded = || information::Information {
        silent: [model::workload::RuntimeKind::Docker].into(),
        ..information_message()
    };
    let rows = [information::Row {
        cpu: Some(0.5),
        memory: Some(1),
        ..information::Row::of(&instance_report(1, running()).value)
    }];
    let mut ended = running();
    ended.last_exit = Some(Exit {
        code: Some(1),
        ..exit()
    });
    let reports = [
        running(),
        failed(),
        ended,
        checked(Health::Unhealthy),
        plain(Observed::Starting),
        plain(Observed::Ended),
    ];
    let states = (1..)
        .zip(reports)
        .map(|(number, report)| instance_report(number, report));
    let mut report = up(true, states.collect(), vec![InstanceId::from_bits(9)]);
    report.tells = true;
    let set = desired_entry(skew::everything());
    let NodeItem::Instance(own) = skew::everything() else {
        panic!("settings")
    };
    let many: Vec<_> = (0..2_000)
        .map(|number| instance_report(number, failed()))
        .collect();
    let mut samples = vec![
        (
            "control",
            "control",
            control::encode(&control_change(), &[]),
        ),
        (
            "control",
            "control",
            control::encode(&change(vec![set], Vec::new()), &[skew::secret_key()]),
        ),
        (
            "control",
            "control",
            control::encode(&change(skew::every_probe(), Vec::new()), &[]),
        ),
        ("sync", "sync", sync::encode(&whole_set, &beat())),
        (
            "sync",
            "sync",
            sync::encode(&Held::default(), &Beat::default()),
        ),
        (
            "information",
            "information",
            information::encode(&degraded(), rows),
        ),
        (
            "request",
            "ask",
            question::encode(question::Ask::WholeReport),
        ),
        ("request", "ask", question::encode(question::Ask::Adopt)),
        (
            "request",
            "confirmed",
            question::encode_confirmed(Stamp { line: 7, number: 5 }),
        ),
        ("reply", "events", events::encode(&telling())),
    ];
    for (online, leaving) in [
        (true, None),
        (false, None),
        (false, Some(Leaving::Restart)),
        (false, Some(Leaving::Gone)),
    ] {
        let connection = connection::Connection {
            online,
            connect: 1,
            leaving,
        };
        samples.push(("connection", "connection", connection::encode(&connection)));
    }
    let instances = instances::encode(&report, &held()).into_iter();
    let parts = instances::encode(&up(false, many, Vec::new()), &Held::default());
    assert!(parts.len() > 1);
    samples.extend(
        instances
            .chain(parts)
            .map(|text| ("instances", "instances", text)),
    );
    samples.extend(streams().iter().map(|stream| {
        let message = match stream {
            question::Stream::Logs(_) => "logs",
            question::Stream::Credit { .. } => "credit",
            question::Stream::Cancel { .. } => "cancel",
        };
        ("request", message, question::encode_stream(stream))
    }));
    samples.extend(fallbacks().iter().map(|fallback| {
        let told = question::encode_fallback(fallback);
        ("request", "fallback", told)
    }));
    samples.extend(
        chunks()
            .iter()
            .map(|chunk| ("reply", "chunk", reply::encode(chunk))),
    );
    let adoption = adopt::encode(&held(), &[desired(1), own]);
    samples.extend(adoption.into_iter().map(|text| ("reply", "adoption", text)));
    samples
}

/// Refuses fields that are not described, except in what is only a part of other schemas.
fn strict(schemas: &mut Value) {
    let text = schemas.to_string();
    for (name, schema) in schemas.as_object_mut().unwrap() {
        let joined = ["Held", "Beat", "Part", "Set"].contains(&name.as_str());
        assert!(
            text.contains(&format!("\"#/components/schemas/{name}\""))
                || schema["properties"]["version"].is_object(),
            "{name} is used by nothing"
        );
        if schema["properties"].is_object() && !joined {
            schema["unevaluatedProperties"] = false.into();
        }
    }
}

fn keys(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                into.insert(key.clone());
                keys(value, into);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| keys(item, into)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn real_messages_are_what_their_schemas_say_field_by_field() {
    let mut document = document();
    strict(&mut document["components"]["schemas"]);
    let validator = |message: &Value| -> Validator {
        let schema =
            json!({"$ref": message["payload"]["$ref"], "components": document["components"]});
        jsonschema::draft202012::options()
            .should_validate_formats(true)
            .build(&schema)
            .unwrap()
    };
    let mut described: BTreeSet<(String, String)> = BTreeSet::new();
    for (channel, content) in document["channels"].as_object().unwrap() {
        for message in content["messages"].as_object().unwrap().keys() {
            described.insert((channel.clone(), message.clone()));
        }
    }
    let mut seen = BTreeSet::new();
    for (channel, message, payload) in samples() {
        described.remove(&(channel.to_owned(), message.to_owned()));
        let place = &document["channels"][channel]["messages"][message]["$ref"];
        assert_eq!(place, &format!("#/components/messages/{message}"));
        let payload: Value = serde_json::from_slice(&payload).unwrap();
        keys(&payload, &mut seen);
        if let Err(error) =
            validator(&document["components"]["messages"][message]).validate(&payload)
        {
            panic!(
                "{message}: {error} at {}\n{payload:.2000}",
                error.instance_path()
            );
        }
    }
    assert!(
        described.is_empty(),
        "no message here is one of {described:?}"
    );
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        for field in schema["properties"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, _)| key)
        {
            assert!(seen.contains(field), "no message has {name}.{field}");
        }
    }
}
