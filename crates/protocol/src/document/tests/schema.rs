//! The schema says what the reader says.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::{Value, json};

use super::super::{health, job, schema::JOB, secrets, security, service, takeover};
use super::read_all_back;

static SCHEMA: LazyLock<Value> = LazyLock::new(|| serde_json::from_str(JOB).unwrap());
static VALIDATOR: LazyLock<Validator> =
    LazyLock::new(|| jsonschema::draft202012::new(&SCHEMA).unwrap());

/// Words of faults that no schema can find: what the reader counts, compares or adds up.
const ONLY_THE_READER: [&str; 7] = [
    "one tenant",
    "twice",
    "mounted over",
    "`environment` too",
    "folder of another",
    "bytes in all",
    "as JSON",
];

/// To a schema, 1000.0 is a whole number; the reader wants 1000.
fn has_a_whole_fraction(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_f64() && number.as_f64().unwrap().fract() == 0.0,
        Value::Array(items) => items.iter().any(has_a_whole_fraction),
        Value::Object(fields) => fields.values().any(has_a_whole_fraction),
        Value::Null | Value::Bool(_) | Value::String(_) => false,
    }
}

/// Every document that the reader takes is one of the schema.
pub(super) fn accepts(text: &str) {
    for document in read_all_back(text).unwrap() {
        if let Err(error) = VALIDATOR.validate(&document) {
            panic!("the reader takes it, the schema does not: {error}\n{text}");
        }
    }
}

/// What the reader refuses is none of the schema, as far as it is YAML at all and a schema can tell.
pub(super) fn refuses(text: &str, fragment: &str) {
    let only_the_reader = ONLY_THE_READER.iter().any(|word| fragment.contains(word));
    let documents = read_all_back(text).filter(|documents| !documents.is_empty());
    if let Some(documents) = documents
        .filter(|documents| !only_the_reader && !documents.iter().any(has_a_whole_fraction))
    {
        let all = documents
            .iter()
            .all(|document| VALIDATOR.is_valid(document));
        assert!(
            !all,
            "the reader refuses it ({fragment:?}), the schema does not:\n{text:.500}"
        );
    }
}

fn fields(definition: &str) -> BTreeSet<&'static str> {
    fields_of(&SCHEMA["$defs"][definition])
}

fn fields_of(schema: &'static Value) -> BTreeSet<&'static str> {
    schema["properties"]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

fn known(groups: &[&[&'static str]]) -> BTreeSet<&'static str> {
    groups
        .iter()
        .flat_map(|group| group.iter().copied())
        .collect()
}

#[test]
fn the_schema_has_the_fields_of_the_reader() {
    assert_eq!(fields("v0"), known(job::KNOWN_V0.fields));
    assert_eq!(fields("v1"), known(job::KNOWN_V1.fields));
    assert_eq!(fields("service"), known(job::KNOWN_SERVICE.fields));
    assert_eq!(fields("placement"), known(job::KNOWN_PLACEMENT.fields));
    assert_eq!(
        fields("requirements"),
        known(service::KNOWN_REQUIREMENTS.fields)
    );
    assert_eq!(fields("update"), known(takeover::KNOWN_UPDATE.fields));
    assert_eq!(fields("security"), known(security::KNOWN_SECURITY.fields));
    assert_eq!(fields("secret"), known(secrets::KNOWN_SECRET.fields));
    let check = &SCHEMA["$defs"]["health"];
    assert_eq!(fields_of(check), known(health::KNOWN_HEALTH.fields));
    for (probe, reader) in [("http", health::KNOWN_HTTP), ("tcp", health::KNOWN_TCP)] {
        assert_eq!(fields_of(&check["properties"][probe]), known(reader.fields));
    }
}

#[test]
fn the_schema_is_one_of_2020_12_and_explains_every_field() {
    assert!(jsonschema::meta::is_valid(&SCHEMA));
    assert_eq!(
        SCHEMA["$schema"],
        "https://json-schema.org/draft/2020-12/schema"
    );
    let definitions = SCHEMA["$defs"].as_object().unwrap();
    for owner in [
        "v0",
        "v1",
        "service",
        "placement",
        "requirements",
        "update",
        "health",
        "security",
        "secret",
    ] {
        for (field, schema) in definitions[owner]["properties"].as_object().unwrap() {
            let target = schema["$ref"]
                .as_str()
                .and_then(|place| place.strip_prefix("#/$defs/"));
            let explained = [Some(schema), target.map(|name| &definitions[name])]
                .into_iter()
                .flatten()
                .any(|schema| schema["description"].is_string());
            assert!(explained || field == "api_version", "{owner}.{field}");
        }
    }
}

#[test]
fn null_is_the_same_as_left_out() {
    let mut document = json!({"api_version": "v0.1", "job_name": "a", "image": "nginx"});
    for field in fields("v0") {
        document
            .as_object_mut()
            .unwrap()
            .entry(field)
            .or_insert(Value::Null);
    }
    accepts(&document.to_string());
    let mut service = json!({"name": "a", "image": "nginx"});
    for field in fields("service") {
        service
            .as_object_mut()
            .unwrap()
            .entry(field)
            .or_insert(Value::Null);
    }
    accepts(
        &json!({"api_version": "v1", "job_name": "a", "placement": null, "services": [service]})
            .to_string(),
    );
}

/// Values at the edges: the two say the same of each.
#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn the_edges_of_the_schema_are_those_of_the_reader() {
    let head = "api_version: v0.1\njob_name: a\n";
    let mut taken = 0;
    let mut compare = |line: &str| {
        let text = format!("{head}{line}\n");
        let read = super::parse(
            text.as_bytes(),
            super::Format::Yaml,
            super::Options::default(),
        );
        let document = read_all_back(&text).unwrap().remove(0);
        assert_eq!(VALIDATOR.is_valid(&document), read.is_ok(), "{line}");
        taken += usize::from(read.is_ok());
    };
    for image in [
        "nginx",
        "nginx:1.29",
        "library/nginx:Latest_1.0-x",
        "registry.example.com:5000/a/b__c/d--e.f:v1",
        "192.168.1.10:5000/edge/app",
        "'[2001:db8::1]:5000/x'",
        "GHCR.io/owner/app",
        "a.b",
        "a.b/c",
        "A.b/c",
        "A/c",
        "a:5",
        "a:5/x",
        "a:0/x",
        "a:65536/x",
        "127.0.0.1/x",
        "127.0.0.1:5/x",
        "1/x",
        "1:2/x",
        "1",
        "0x/x",
        "a--b",
        "a-",
        "a___b",
        "localhost/x",
        "a.localhost/x",
        "localhosts/x",
        "169.254.1.1/x",
        "169.255.1.1/x",
        "'[::1]/x'",
        "localhost:5",
        "a.1/x",
        "a.0xf/x",
        "a.0xg/x",
        "1.2.3.4/x",
        "1.2.3/x",
        "01.2.3.4/x",
        "256.1.1.1/x",
        "0.0.0.0/x",
        "127.0.0.1:5",
        "a_b.c/x",
        "a_b/x",
        "a_b.c",
        "a.b:5/c_d/e.f",
        "a.b/C",
    ] {
        compare(&format!("image: {image}"));
    }
    for name in [255, 256] {
        let name = format!("a.b:5/{}", "c".repeat(name - 6));
        compare(&format!("image: {name}"));
        compare(&format!("image: {name}:{}", "d".repeat(128)));
        compare(&format!("image: {name}:{}", "d".repeat(129)));
    }
    for field in [
        "lost_after: 99ms",
        "lost_after: 100ms",
        "lost_after: 0100ms",
        "lost_after: 30d",
        "lost_after: 31d",
        "lost_after: 2592000s",
        "lost_after: 2592001s",
        "lost_after: 2592000000ms",
        "lost_after: 43200m",
        "lost_after: 43201m",
        "lost_after: 720h",
        "lost_after: 721h",
        "lost_after: 10",
        "lost_after: 1w",
        "lost_after: 0s",
        "stop_grace: 0s",
        "stop_grace: 60m",
        "stop_grace: 61m",
        "stop_grace: 1h",
        "stop_grace: 2h",
        "stop_grace: 3600s",
        "stop_grace: 3601s",
        "stop_grace: 3600000ms",
        "stop_grace: 3600001ms",
        "stop_grace: 0d",
        "stop_grace: 1d",
        "secrets: []",
        "secrets: null",
        "secrets: [db]",
        "secrets: [db, null]",
        "secrets: [-db]",
        "secrets: [{name: db}]",
        "secrets: [{name: db, file: null, env: null}]",
        "secrets: [{name: db, file: a.pem}]",
        "secrets: [{name: db, file: ..}]",
        "secrets: [{name: db, file: a/b}]",
        "secrets: [{name: db, file: ''}]",
        "secrets: [{name: db, env: DB}]",
        "secrets: [{name: db, env: EDGEIO_DB}]",
        "secrets: [{name: db, env: 'A=B'}]",
        "secrets: [{name: db, env: DB, file: db}]",
        "secrets: [{file: db}]",
        "secrets: [{name: null}]",
        "secrets: [{name: db, value: x}]",
        "secrets: [1]",
        "secrets: {db: x}",
        "pull_secret: null",
        "pull_secret: ghcr",
        "pull_secret: [ghcr]",
        "pull_secret: {name: ghcr}",
        "pull_secret: ''",
        "health: {}",
        "health: null",
        "health: {tcp: {port: 1}}",
        "health: {tcp: {port: 65535}, http: null, command: null}",
        "health: {tcp: {port: 0}}",
        "health: {tcp: {port: 65536}}",
        "health: {tcp: {port: null}}",
        "health: {tcp: null}",
        "health: {tcp: {port: 1}, http: {port: 1}}",
        "health: {http: {port: 1, path: null}}",
        "health: {http: {port: 1, path: ''}}",
        "health: {http: {port: 1, path: '/~!\"$'}}",
        "health: {http: {port: 1, path: '/#'}}",
        "health: {http: {port: 1, path: '/ä'}}",
        "health: {command: [a, '']}",
        "health: {command: ['', a]}",
        "health: {command: []}",
        "health: {tcp: {port: 1}, retries: 1}",
        "health: {tcp: {port: 1}, retries: 0}",
        "health: {tcp: {port: 1}, retries: 100}",
        "health: {tcp: {port: 1}, retries: 101}",
        "replicas: 100000",
        "replicas: 100001",
        "replicas: -1",
        "ports: ['0:1']",
        "ports: ['65535:65535/udp']",
        "ports: ['1:65536']",
        "ports: ['080']",
        "ports: [':1']",
        "ports: ['1:0']",
        "volumes: ['ab:/x']",
        "volumes: ['a:/x']",
        "volumes: ['/runs:/x']",
        "volumes: ['/run:/x']",
        "volumes: ['/run/a:/x']",
        "volumes: ['/a/docker.sock:/x']",
        "volumes: ['/a/docker.sock.d:/x']",
        "volumes: ['/a/.:/x']",
        "volumes: ['/a/..b:/x:rw']",
        "volumes: ['/var/run:/x']",
        "volumes: ['/var/lib/dockers:/x']",
        "volumes: ['ab:/']",
        "volumes: ['ab:/x/']",
        "files: {/etc/hosts: a}",
        "files: {/etc/hosts.d: a}",
        "files: {/proc: a}",
        "files: {/process: a}",
        "files: {a: b}",
        "files: {/a/../b: a}",
        "files: {/a/: a}",
        "requirements: {cpu: 0.001}",
        "requirements: {cpu: 1000000}",
        "requirements: {cpu: 1000001}",
        "requirements: {cpu: 0}",
        "requirements: {memory: 1000000000}",
        "requirements: {disk: 1000000001}",
        "requirements: {runtime: docker}",
        "requirements: {runtime: native}",
        "requirements: {architecture: ['']}",
        "environment: {EDGEIO_: a}",
        "environment: {EDGEI: a}",
        "environment: {LD_PRELOAD: a}",
        "cluster_location: ' '",
        "cluster_location: ' a'",
        "worker_node: w\nplacement: {worker_node: w}",
        "worker_node: w",
        "placement: {labels: {'a/b': ''}}",
        "placement: {labels: {'a b': ''}}",
        "placement: {cluster: ''}",
        "command: ['']",
        "command: []",
        "security: null",
        "security: {}",
        "security: {read_only: null, user: null, capabilities: null, pids: null}",
        "security: {user: root}",
        "security: {user: 'root '}",
        "security: {user: 1}",
        "security: {user: 0}",
        "security: {user: 2147483647}",
        "security: {user: 2147483648}",
        "security: {capabilities: [SYS_CHROOT]}",
        "security: {capabilities: [SYS_TIME]}",
        "security: {pids: 1}",
        "security: {pids: 65536}",
        "security: {pids: 65537}",
        "security: {read_only: true}\nfiles: {}",
        "security: {read_only: true}\nfiles: {/a: b}",
        "security: {read_only: false}\nfiles: {/a: b}",
    ] {
        compare(&format!("image: nginx\n{field}"));
    }
    for (field, times) in [
        (
            "interval",
            [
                "99ms",
                "100ms",
                "86400000ms",
                "86400001ms",
                "0s",
                "1s",
                "86400s",
                "86401s",
                "0m",
                "1440m",
                "1441m",
                "24h",
                "25h",
                "0d",
                "1d",
                "2d",
                "01s",
            ],
        ),
        (
            "start_period",
            [
                "0ms",
                "99999999ms",
                "86400000ms",
                "86400001ms",
                "0s",
                "80000s",
                "86400s",
                "86401s",
                "0m",
                "1440m",
                "1441m",
                "24h",
                "25h",
                "0d",
                "1d",
                "2d",
                "0",
            ],
        ),
        (
            "timeout",
            [
                "9ms", "10ms", "9999ms", "59999ms", "60000ms", "60001ms", "0s", "1s", "60s", "61s",
                "0m", "1m", "2m", "0h", "1h", "0d", "010ms",
            ],
        ),
    ] {
        for time in times {
            compare(&format!(
                "image: nginx\nhealth: {{tcp: {{port: 1}}, {field}: {time}}}"
            ));
        }
    }
    let long = |length: usize| format!("/{}", "a".repeat(length - 1));
    for path in [long(1_024), long(1_025)] {
        compare(&format!(
            "image: nginx\nhealth: {{http: {{port: 1, path: {path}}}}}"
        ));
    }
    for native in [
        "command: [/bin/sh]",
        "command: [/]",
        "command: [/a/]",
        "command: [sh]",
        "command: []",
        "command: [/a]\npull: if_absent",
        "command: [/a]\npull: always",
        "command: [/a]\nhealth: {command: [/b, c]}",
        "command: [/a]\nhealth: {command: [b]}",
        "command: [/a]\nhealth: {command: [/b/]}",
        "command: [/a]\nhealth: {tcp: {port: 1}}",
        "image: file:///a",
        "image: file:///a/",
        "image: file:///a/../b",
        "image: nginx",
        "image: file:///a\ncommand: []",
        "image: file:///a\ncommand: [/a]",
        "command: [/a]\nports: ['80:80']",
        "command: [/a]\nports: ['080:80']",
        "command: [/a]\nports: ['80:81']",
        "command: [/a]\nports: ['0:80']",
        "command: [/a]\nvolumes: []",
        "command: [/a]\nenvironment: {LD_AUDIT: a}",
        "command: [/a]\nfiles: {a/b: c}",
        "command: [/a]\nfiles: {/a: c}",
        "command: [/a]\nfiles: {a/../b: c}",
        "command: [/a]\nrequirements: {runtime: native}",
        "command: [/a]\nrequirements: {runtime: docker}",
        "command: [/a]\nsecurity: {}",
        "command: [/a]\nsecurity: null",
    ] {
        compare(&format!("image_runtime: native\n{native}"));
    }
    assert!(taken > 50);
}
