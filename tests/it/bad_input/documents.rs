//! Documents that cannot be; the numbers are rows of the list in the reliability notes.

mod whole;

use super::exchange::request;
use super::refusal::{Refusal, fault, row};
use super::rig::Tier;
use super::row::Row;
use whole::{JSON, WHOLE};

/// Lines after these three, and what must be said: line, column, field, words.
type Case = (
    &'static str,
    &'static str,
    u64,
    u64,
    &'static str,
    &'static str,
);

/// Lines from the fourth on of a container's document.
const LINES: &[Case] = &[
    // 7, 8, 10
    ("image twice", "image: other", 4, 1, "image", "twice"),
    (
        "an anchor that is its own alias",
        "args: &x [*x]",
        4,
        10,
        "args",
        "anchors",
    ),
    ("a merge", "<<: {restart: never}", 4, 1, "<<", "merge"),
    (
        "an include",
        "args: [!include /etc/passwd]",
        4,
        8,
        "args[0]",
        "tags",
    ),
    (
        "a Python object",
        "args: !!python/object:os.system {}",
        4,
        7,
        "args",
        "tags",
    ),
    // 13
    (
        "cpu -1",
        "requirements: {cpu: -1}",
        4,
        21,
        "requirements.cpu",
        "0.001",
    ),
    (
        "cpu 1e309",
        "requirements: {cpu: 1e309}",
        4,
        21,
        "requirements.cpu",
        "decimal",
    ),
    (
        "cpu .nan",
        "requirements: {cpu: .nan}",
        4,
        21,
        "requirements.cpu",
        "decimal",
    ),
    (
        "cpu 0",
        "requirements: {cpu: 0}",
        4,
        21,
        "requirements.cpu",
        "0.001",
    ),
    (
        "cpu \"2\"",
        "requirements: {cpu: \"2\"}",
        4,
        21,
        "requirements.cpu",
        "without quotes",
    ),
    (
        "cpu 0x10",
        "requirements: {cpu: 0x10}",
        4,
        21,
        "requirements.cpu",
        "decimal",
    ),
    (
        "cpu 1_000",
        "requirements: {cpu: 1_000}",
        4,
        21,
        "requirements.cpu",
        "decimal",
    ),
    (
        "cpu yes",
        "requirements: {cpu: yes}",
        4,
        21,
        "requirements.cpu",
        "decimal",
    ),
    // 14, 15, 16
    (
        "2^64 MB",
        "requirements: {memory: 18446744073709551616}",
        4,
        24,
        "requirements.memory",
        "whole number",
    ),
    (
        "half a MB",
        "requirements: {memory: 0.5}",
        4,
        24,
        "requirements.memory",
        "whole number",
    ),
    (
        "10^9 replicas",
        "replicas: 1000000000",
        4,
        11,
        "replicas",
        "0 to 100000",
    ),
    (
        "-1 replicas",
        "replicas: -1",
        4,
        11,
        "replicas",
        "0 to 100000",
    ),
    (
        "an unknown field",
        "privilged: true",
        4,
        1,
        "privilged",
        "unknown field",
    ),
    (
        "a misspelt field",
        "replcias: 2",
        4,
        1,
        "replcias",
        "did you mean `replicas`",
    ),
    (
        "a field of a later version",
        "configs: {}",
        4,
        1,
        "configs",
        "not supported yet",
    ),
    // 19
    (
        "a variable with =",
        "environment: {\"a=b\": c}",
        4,
        15,
        "environment.a=b",
        "=",
    ),
    (
        "a variable with a newline",
        "environment: {\"a\\nb\": c}",
        4,
        15,
        "environment.a\\nb",
        "",
    ),
    (
        "a variable with NUL",
        "environment: {\"a\\0b\": c}",
        4,
        15,
        "environment.a\\0b",
        "NUL",
    ),
    (
        "a variable that is a number",
        "environment: {A: 1}",
        4,
        18,
        "environment.A",
        "in quotes",
    ),
    (
        "a variable of ours",
        "environment: {EDGEIO_JOB_NAME: x}",
        4,
        15,
        "environment.EDGEIO_JOB_NAME",
        "EDGEIO_",
    ),
    // 20
    (
        "the root as a volume",
        "volumes: [\"/:/host\"]",
        4,
        11,
        "volumes[0]",
        "/",
    ),
    (
        "the engine's socket",
        "volumes: [\"/var/run/docker.sock:/s\"]",
        4,
        11,
        "volumes[0]",
        "docker.sock",
    ),
    (
        "/proc",
        "volumes: [\"/proc:/host\"]",
        4,
        11,
        "volumes[0]",
        "/proc",
    ),
    (
        "a way out of a volume",
        "volumes: [\"/srv/../etc:/host\"]",
        4,
        11,
        "volumes[0]",
        "..",
    ),
    (
        "a volume nowhere",
        "volumes: [\"data\"]",
        4,
        11,
        "volumes[0]",
        "",
    ),
    (
        "a volume that is a mapping",
        "volumes: [{data: /x}]",
        4,
        11,
        "volumes[0]",
        "a mapping",
    ),
    // Beyond the list.
    (
        "port 65536",
        "ports: [\"65536:80\"]",
        4,
        9,
        "ports[0]",
        "65535",
    ),
    (
        "port 0 of a container",
        "ports: [\"80:0\"]",
        4,
        9,
        "ports[0]",
        "",
    ),
    (
        "a port that is a number",
        "ports: [80]",
        4,
        9,
        "ports[0]",
        "in quotes",
    ),
    (
        "a port twice",
        "ports: [\"8080:80\", \"8080:81\"]",
        4,
        20,
        "ports[1]",
        "8080",
    ),
    (
        "a protocol that is none",
        "ports: [\"80:80/icmp\"]",
        4,
        9,
        "ports[0]",
        "udp",
    ),
    (
        "a command that is a text",
        "command: sleep 10",
        4,
        10,
        "command",
        "list",
    ),
    (
        "an argument that is a number",
        "args: [1]",
        4,
        8,
        "args[0]",
        "\"1\"",
    ),
    (
        "an argument with NUL",
        "args: [\"a\\0b\"]",
        4,
        8,
        "args[0]",
        "NUL",
    ),
    (
        "restart that is none",
        "restart: sometimes",
        4,
        10,
        "restart",
        "on_failure",
    ),
    (
        "pull that is none",
        "pull: never",
        4,
        7,
        "pull",
        "if_absent",
    ),
    (
        "lost_after without a unit",
        "lost_after: 10",
        4,
        13,
        "lost_after",
        "10s",
    ),
    (
        "lost_after of nothing",
        "lost_after: 0s",
        4,
        13,
        "lost_after",
        "100ms",
    ),
    (
        "stop_grace of a day",
        "stop_grace: 1d",
        4,
        13,
        "stop_grace",
        "1h",
    ),
    (
        "a health check without a probe",
        "health: {interval: 5s}",
        4,
        9,
        "health",
        "needs one probe",
    ),
    (
        "a health check with two probes",
        "health: {tcp: {port: 1}, command: [/bin/true]}",
        4,
        26,
        "health.command",
        "remove `command` or `tcp`",
    ),
    (
        "a health check of port 0",
        "health: {tcp: {port: 0}}",
        4,
        22,
        "health.tcp.port",
        "1 to 65535",
    ),
    (
        "a health check of an address elsewhere",
        "health: {http: {port: 80, path: \"http://192.0.2.1/\"}}",
        4,
        33,
        "health.http.path",
        "such as /healthz",
    ),
    (
        "a health check with a header in its path",
        "health: {http: {port: 80, path: \"/ HTTP/1.1\\r\\nX: y\"}}",
        4,
        33,
        "health.http.path",
        "such as /healthz",
    ),
    (
        "a health check by no program",
        "health: {command: []}",
        4,
        19,
        "health.command",
        "program first",
    ),
    (
        "a health check without a pause",
        "health: {tcp: {port: 1}, interval: 0s}",
        4,
        36,
        "health.interval",
        "100ms to 1d",
    ),
    (
        "a health check that waits for an hour",
        "health: {tcp: {port: 1}, timeout: 1h}",
        4,
        35,
        "health.timeout",
        "10ms to 1m",
    ),
    (
        "a health check with no failure",
        "health: {tcp: {port: 1}, retries: 0}",
        4,
        35,
        "health.retries",
        "1 to 100",
    ),
    (
        "on_partition that is none",
        "on_partition: wait",
        4,
        15,
        "on_partition",
        "stay",
    ),
    (
        "a worker with a slash",
        "worker_node: a/b",
        4,
        14,
        "worker_node",
        "1 to 63",
    ),
    (
        "a location of two lines",
        "cluster_location: \"a\\nb\"",
        4,
        19,
        "cluster_location",
        "one line",
    ),
    (
        "a worker twice",
        "placement: {worker_node: a}\nworker_node: b",
        5,
        14,
        "worker_node",
        "keep one",
    ),
    (
        "a label with a space",
        "placement: {labels: {'a b': c}}",
        4,
        22,
        "placement.labels.a b",
        "label's key",
    ),
    (
        "an architecture that is no list",
        "requirements: {architecture: arm}",
        4,
        30,
        "requirements.architecture",
        "list",
    ),
    (
        "a runtime that is none",
        "image_runtime: wasm",
        4,
        16,
        "image_runtime",
        "docker, native",
    ),
    (
        "the runtime of load tests",
        "image_runtime: noop",
        4,
        16,
        "image_runtime",
        "docker, native",
    ),
    (
        "a file with a relative path",
        "files: {etc/app.conf: text}",
        4,
        9,
        "files.etc/app.conf",
        "absolute",
    ),
    (
        "a file out of its folder",
        "files: {/a/../etc/passwd: text}",
        4,
        9,
        "files./a/../etc/passwd",
        "..",
    ),
    (
        "a file that is a number",
        "files: {/etc/x: 1}",
        4,
        17,
        "files./etc/x",
        "in quotes",
    ),
    (
        "services in v0.1",
        "services: []",
        4,
        1,
        "services",
        "api_version: v1",
    ),
];

/// 12
const NAMES: &[&str] = &[
    "../../etc/x",
    "a/b",
    ".",
    "..",
    "-a",
    "a-",
    "a b",
    "a\\n",
    "",
    "😀",
    "раypal",
];

/// 18
const IMAGES: &[&str] = &[
    "",
    "Nginx",
    "a b",
    "x@sha256:short",
    "-v/:/host",
    "localhost:2375/x",
    "[::1]:5000/x",
    "169.254.169.254/x",
    "0x7f000001/x",
    "user:pass@host/x",
    "http://x/y",
    "x:tag:tag",
    "x@",
    "../x",
    "a//b",
];

/// A document of which all faults are wanted: field by field.
const ALL: &str = "api_version: v0.1\njob_name: a b\nimage: Nginx\nreplicas: -1\nrequirements: {cpu: 0, memory: x}\nnonsense: 1\n";

/// A container's document with these lines from the fourth on.
pub(crate) fn container(lines: &str) -> String {
    format!("api_version: v0.1\njob_name: bad\nimage: nginx\n{lines}\n")
}

pub(crate) fn rows() -> Vec<Row> {
    let lines = LINES
        .iter()
        .map(|(name, lines, line, column, path, words)| {
            let expected = fault(words).of(path).at(*line, *column);
            sent(name, &container(lines), expected)
        });
    let names = NAMES.iter().map(|bad| {
        let text = format!("api_version: v0.1\njob_name: \"{bad}\"\nimage: nginx\n");
        sent(
            &format!("the name {bad:?}"),
            &text,
            fault("1 to 63").of("job_name").at(2, 11),
        )
    });
    let images = IMAGES.iter().map(|bad| {
        let text = format!("api_version: v0.1\njob_name: bad\nimage: \"{bad}\"\n");
        sent(
            &format!("the image {bad:?}"),
            &text,
            fault("").of("image").at(3, 8),
        )
    });
    let whole = WHOLE
        .iter()
        .map(|(name, text, line, column, words)| sent(name, text, fault(words).at(*line, *column)));
    let json = JSON.iter().map(|(name, text, line, column, words)| {
        let bytes = request(
            "POST /api/v1/jobs",
            "Content-Type: application/json\r\n",
            text.as_bytes(),
        );
        let expected = fault(words).at(*line, *column);
        row(format!("JSON: {name}"), Tier::Root, bytes, expected)
    });
    let each = [
        "job_name",
        "image",
        "replicas",
        "requirements.cpu",
        "requirements.memory",
        "nonsense",
    ];
    let all = each.map(|path| sent(&format!("all faults: {path}"), ALL, fault("").of(path)));
    lines
        .chain(names)
        .chain(images)
        .chain(whole)
        .chain(json)
        .chain(all)
        .collect()
}

/// A document sent to the root.
fn sent(name: &str, text: &str, expected: Refusal) -> Row {
    row(
        name,
        Tier::Root,
        request("POST /api/v1/jobs", "", text.as_bytes()),
        expected,
    )
}
