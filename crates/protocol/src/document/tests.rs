//! Documents good and bad.

use std::time::{Duration, Instant};

use model::job::OnPartition;
use model::workload::{Pull, Restart, RuntimeKind, Transport, VolumeSource};

use super::*;

mod bad;
mod bad_services;
mod files;
mod health;
mod schema;
mod secrets;
mod security;

fn yaml(text: &str) -> Result<Vec<JobSpec>, Vec<Fault>> {
    let jobs = parse(text.as_bytes(), Format::Yaml, Options::default());
    if jobs.is_ok() {
        schema::accepts(text);
    }
    jobs
}

fn faults(body: &[u8], format: Format) -> Vec<Fault> {
    let begin = Instant::now();
    let faults = parse(body, format, Options::default()).expect_err(&String::from_utf8_lossy(
        body.get(..body.len().min(200)).unwrap(),
    ));
    assert!(
        begin.elapsed() < Duration::from_secs(2),
        "took {:?}",
        begin.elapsed()
    );
    assert!(
        faults
            .iter()
            .map(|fault| fault.path.len() + fault.message.len())
            .sum::<usize>()
            < 1_000_000
    );
    faults
}

/// One of the faults is at that path and line and says that.
fn check(body: &str, path: &str, line: u64, fragment: &str) {
    let faults = faults(body.as_bytes(), Format::Yaml);
    let found = faults
        .iter()
        .any(|fault| fault.path == path && fault.line == line && fault.message.contains(fragment));
    assert!(
        found,
        "no fault at {path:?}, line {line} with {fragment:?}\n{body}\n{faults:#?}"
    );
    assert!(
        faults
            .iter()
            .all(|fault| fault.column >= 1 && !fault.message.is_empty())
    );
    schema::refuses(body, fragment);
}

/// A v0.1 container with these lines from line 4 on.
fn container(lines: &str) -> String {
    format!("api_version: v0.1\njob_name: bad\nimage: nginx\n{lines}\n")
}

/// A v0.1 document with this image in line 3.
fn image(image: &str) -> String {
    format!("api_version: v0.1\njob_name: bad\nimage: \"{image}\"\n")
}

/// A v0.1 native document with these lines from line 4 on.
fn native(lines: &str) -> String {
    format!("api_version: v0.1\njob_name: bad\nimage_runtime: native\n{lines}\n")
}

#[test]
fn the_listing_of_the_first_version_is_accepted_to_the_letter() {
    let body = "api_version: v0.1\njob_name: image_detection\nimage: quay.io/codait/max-object-detector\nimage_runtime: docker\nrequirements:\n    cpu: 2 # cores\n    memory: 1000 # in MB\ncluster_location: Garching\nworker_node: e580\n";
    let jobs = yaml(body).unwrap();
    let [job] = jobs.as_slice() else {
        panic!("{jobs:?}")
    };
    let [service] = job.services.as_slice() else {
        panic!("{job:?}")
    };
    assert_eq!(
        (job.name.as_str(), service.name.as_str(), service.replicas),
        ("image_detection", "image_detection", 1)
    );
    assert_eq!(
        (job.lost_after, job.on_partition),
        (None, OnPartition::Stay)
    );
    let workload = &service.workload;
    assert_eq!(
        (workload.runtime, workload.image.as_deref()),
        (
            RuntimeKind::Docker,
            Some("quay.io/codait/max-object-detector")
        )
    );
    assert_eq!(
        (
            workload.resources.cpu.0,
            workload.resources.memory.mb(),
            workload.resources.disk.0
        ),
        (2_000, 1_000, 0)
    );
    assert_eq!(
        (workload.pull, workload.restart, workload.stop_grace),
        (Pull::IfAbsent, Restart::Always, Duration::from_secs(5))
    );
    assert_eq!(workload.hash, crate::workload::hash(workload));
    assert_eq!(
        (
            service.placement.location.as_deref(),
            service.placement.worker.as_deref()
        ),
        (Some("Garching"), Some("e580"))
    );
    assert_eq!(service.placement.cluster, None);
}

#[test]
fn the_first_version_takes_every_field_of_the_second_but_services() {
    let body = container(
        "placement: {cluster: c, labels: {a: b}}\nlost_after: 2s\non_partition: move\npull: always\ncommand: [a]\nargs: [b]\nenvironment: {K: v}\nports: ['8080:80']\nvolumes: ['data:/d']\nfiles: {/etc/a: b}\nreplicas: 0\nrestart: never\nhealth: {tcp: {port: 80}}\nsecurity: {pids: 64}\nstop_grace: 200ms",
    );
    let job = yaml(&body).unwrap().remove(0);
    let service = &job.services[0];
    assert_eq!(
        (job.lost_after, job.on_partition, service.replicas),
        (Some(Duration::from_secs(2)), OnPartition::Move, 0)
    );
    assert_eq!(
        (
            service.placement.cluster.as_deref(),
            service.placement.labels["a"].as_str()
        ),
        (Some("c"), "b")
    );
    assert_eq!(
        (
            service.workload.command[0].as_str(),
            service.workload.args[0].as_str()
        ),
        ("a", "b")
    );
}

#[test]
fn the_second_version_with_everything_and_rules_merged_key_by_key() {
    let body = r#"
api_version: v1
job_name: camera-analytics
placement: {cluster: munich, worker_node: null, labels: {zone: a, kind: x}}
lost_after: 10s
on_partition: stay
services:
  - name: detector
    image: quay.io/codait/max-object-detector
    image_runtime: docker
    pull: if_absent
    command: []
    args: []
    environment: {KEY: value}
    ports: ["8080:80/tcp", "53/udp"]
    volumes: ["data:/var/lib/x", "/srv/models:/models:ro"]
    files: {/etc/app.conf: "text"}
    requirements: {cpu: 0.5, memory: 256, disk: 0, architecture: [amd64], runtime: null}
    replicas: 1
    restart: on_failure
    stop_grace: 5s
    placement: {worker_node: w1, labels: {zone: b}}
  - {name: other, image_runtime: native, command: [/bin/true], args: [x], ports: ["80"], requirements: {runtime: native}}
"#;
    let job = yaml(body).unwrap().remove(0);
    let [detector, other] = job.services.as_slice() else {
        panic!("{job:?}")
    };
    let rules = &detector.placement;
    assert_eq!(
        (rules.cluster.as_deref(), rules.worker.as_deref()),
        (Some("munich"), Some("w1"))
    );
    assert_eq!(
        (rules.labels["zone"].as_str(), rules.labels["kind"].as_str()),
        ("b", "x")
    );
    assert_eq!(rules.architectures, ["x86_64"]);
    let workload = &detector.workload;
    assert_eq!(
        (
            workload.ports[0].host,
            workload.ports[1].host,
            workload.ports[1].transport
        ),
        (Some(8080), None, Transport::Udp)
    );
    assert_eq!(
        workload.volumes[1].source,
        VolumeSource::HostPath("/srv/models".to_owned())
    );
    assert_eq!(workload.environment["KEY"], "value");
    // A native program's command is its whole command line, and its ports are its own.
    assert_eq!(
        (other.workload.command.join(" "), other.workload.args.len()),
        ("/bin/true x".to_owned(), 0)
    );
    assert_eq!(
        (
            other.workload.ports[0].host,
            other.placement.worker.as_deref()
        ),
        (Some(80), None)
    );
}

#[test]
fn json_says_the_same_as_yaml() {
    let json = br#"{"api_version": "v1", "job_name": "a", "services": [{"name": "s", "image": "nginx", "requirements": {"cpu": 0.5}}]}"#;
    let from_json = parse(json, Format::Json, Options::default());
    assert_eq!(from_json, parse(json, Format::Yaml, Options::default()));
    assert_eq!(
        from_json,
        yaml(
            "api_version: v1\njob_name: a\nservices: [{name: s, image: nginx, requirements: {cpu: 0.5}}]"
        )
    );
    let faults = faults(
        b"{\"api_version\": \"v1\",\n \"job_name\": 7, \"job_name\": 7,\n \"services\": []}",
        Format::Json,
    );
    let told: Vec<_> = faults
        .iter()
        .map(|fault| (fault.path.as_str(), fault.line, fault.column))
        .collect();
    assert_eq!(
        told,
        [
            ("job_name", 2, 14),
            ("job_name", 2, 17),
            ("services", 3, 14)
        ]
    );
}

#[test]
fn several_documents_tell_the_faults_of_each() {
    let good = "api_version: v0.1\njob_name: a\nimage: nginx\n";
    assert_eq!(
        yaml(&format!(
            "---\n{good}---\n{}---\n",
            good.replace(": a", ": b")
        ))
        .unwrap()
        .len(),
        2
    );
    check(
        &format!("{good}---\n{good}"),
        "documents[1].job_name",
        5,
        "twice",
    );
    let three = format!(
        "{good}replicas: x\n---\njob_name: [\n---\n{}cpu: 1\n",
        good.replace(": a", ": b")
    );
    check(&three, "documents[0].replicas", 4, "whole number");
    check(&three, "documents[1].job_name[0]", 6, "no YAML");
    check(&three, "documents[2].cpu", 11, "unknown field");
    let hundred = (0..=100)
        .map(|i| format!("---\n{}", good.replace(": a", &format!(": a{i}"))))
        .collect::<Vec<_>>()
        .concat();
    check(&hundred, "documents[100]", 401, "100 documents");
}

#[test]
fn every_fault_of_a_document_is_told_in_order() {
    let body = "api_version: v1\njob_name: -x\nlost_after: 10\nservices:\n  - name: a\n    image: A B\n    ports: [80, '99999']\n  - name: a\n    imag: nginx\n    links: {}\n    requirements: {cpu: 0, memory: 1.5}\n";
    let faults = faults(body.as_bytes(), Format::Yaml);
    let told: Vec<String> = faults
        .iter()
        .map(|fault| format!("{}:{} {}", fault.line, fault.column, fault.path))
        .collect();
    assert_eq!(
        told,
        [
            "2:11 job_name",
            "3:13 lost_after",
            "6:12 services[0].image",
            "7:13 services[0].ports[0]",
            "7:17 services[0].ports[1]",
            "8:5 services[1].name",
            "8:5 services[1].image",
            "9:5 services[1].imag",
            "10:5 services[1].links",
            "11:25 services[1].requirements.cpu",
            "11:36 services[1].requirements.memory",
        ]
    );
}

#[test]
fn types_of_content_are_understood() {
    for yaml in [
        None,
        Some("application/yaml"),
        Some("text/yaml; charset=UTF-8"),
        Some("application/x-www-form-urlencoded"),
        Some("application/x-yaml"),
    ] {
        assert_eq!(Format::of_content_type(yaml), Some(Format::Yaml));
    }
    assert_eq!(
        Format::of_content_type(Some("Application/JSON;charset=utf-8")),
        Some(Format::Json)
    );
    for other in [
        "text/plain",
        "application/json; charset=latin1",
        "multipart/form-data; boundary=x",
        "application/yaml; charset=utf-16",
    ] {
        assert_eq!(Format::of_content_type(Some(other)), None, "{other}");
    }
}

#[test]
fn every_example_is_a_good_document_and_says_what_it_shows() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sla-examples");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("# "), "{}", path.display());
        assert_eq!(
            yaml(&text)
                .map_err(|faults| (path.clone(), faults))
                .unwrap()
                .len(),
            1
        );
        count += 1;
    }
    assert!(count >= 5);
}

#[test]
fn the_documents_of_a_body_name_one_tenant_or_none() {
    let tenant = |text: &str| {
        let documents = read(text.as_bytes(), Format::Yaml, Options::default());
        if documents.is_ok() {
            schema::accepts(text);
        }
        documents.map(|documents| documents.tenant.map(|tenant| tenant.to_string()))
    };
    let of = |name: &str, tenant: &str| {
        format!("api_version: v0.1\njob_name: {name}\nimage: nginx\n{tenant}\n---\n")
    };
    assert_eq!(tenant(&of("a", "")), Ok(None));
    for path in ["default", "university", "university/lab.2/x_y"] {
        let field = format!("tenant: {path}");
        assert_eq!(tenant(&of("a", &field)), Ok(Some(path.to_owned())));
        let two = of("a", &field) + &of("b", &field);
        assert_eq!(tenant(&two), Ok(Some(path.to_owned())));
        let mixed = of("a", &field) + &of("b", "");
        check(&mixed, "documents[1].tenant", 6, "belong to one tenant");
    }
    for path in [
        "default/lab",
        "a//b",
        "/a",
        "a/",
        "a b",
        "1/2/3/4/5/6/7/8/9",
    ] {
        check(
            &of("a", &format!("tenant: {path}")),
            "tenant",
            4,
            "is no tenant",
        );
    }
    let v1 = "api_version: v1\njob_name: a\nservices:\n  - {name: s, image: nginx, tenant: a}\n";
    check(v1, "services[0].tenant", 4, "write it at the top");
}
