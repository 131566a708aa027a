//! The client: how it is called, the files that it is given, and the servers that it asks.

use std::fs;

use edgeio_tests::harness::TOKEN;

use super::program::{Call, place};
use super::rig::{Rig, Tier};
use super::row::Row;

/// The request failed.
const FAILED: i32 = 1;
/// Wrong usage.
const USAGE: i32 = 2;
/// Wrong configuration.
const CONFIG: i32 = 64;

/// Wrong usage, and what must be said. `URL` is the root's.
const LINES: &[(&str, &str)] = &[
    ("edgeio", "Usage"),
    ("edgeio nonsense", "nonsense"),
    ("edgeio gte jobs", "gte"),
    ("edgeio --nonsense", "--nonsense"),
    ("edgeio get", "Usage"),
    ("edgeio get nonsense", "nonsense"),
    ("edgeio get job", "<JOB>"),
    ("edgeio get jobs -o xml", "xml"),
    ("edgeio apply", "-f"),
    ("edgeio scale job/kept --url URL", "--replicas"),
    ("edgeio scale job/kept --replicas -1 --url URL", "-1"),
    ("edgeio scale job/kept --replicas many --url URL", "many"),
    (
        "edgeio scale job/kept --replicas 18446744073709551616 --url URL",
        "18446744073709551616",
    ),
    ("edgeio wait job/kept --for FINE --url URL", "FINE"),
    (
        "edgeio wait job/kept --for RUNNING --timeout soon --url URL",
        "soon",
    ),
    ("edgeio wait kept/job --for RUNNING --url URL", "kept/job"),
    (
        "edgeio wait cluster/kept --for RUNNING --url URL",
        "cluster",
    ),
    ("edgeio logs kept --tail -1 --url URL", "-1"),
    ("edgeio delete --url URL", "Usage"),
    ("edgeio cordon --url URL", "Usage"),
    ("edgeio get jobs --url 127.0.0.1:10000", "http://"),
    ("edgeio get jobs --url https://127.0.0.1", "--ca"),
    ("edgeio get jobs --url ftp://127.0.0.1", "http://"),
    ("edgeio get jobs --url http://192.0.2.1:1", "--insecure"),
    (
        "edgeio get jobs --url http://user:pass@127.0.0.1",
        "--token",
    ),
    ("edgeio get jobs --url http://127.0.0.1:1/?a=b", "HOST:PORT"),
    ("edgeio get jobs --url http://127.0.0.1:99999", "65535"),
    ("edgeio get jobs --url http://", "http://"),
    ("edgeio get jobs --context nobody", "nobody"),
    ("edgeio get job ../../clusters --url URL", "../../clusters"),
    ("edgeio scale kept --replicas 100001 --url URL", "100000"),
    ("edgeio cordon cluster/nobody --url URL", "cluster/nobody"),
    ("edgeio completions nonsense", "nonsense"),
];

/// Wrong options of what is a server, and what must be said.
const UP: &[(&str, &str)] = &[
    (
        "edgeio up --clusters 0 --data-dir {}/up",
        "--clusters|1..=100",
    ),
    (
        "edgeio up --clusters=-1 --data-dir {}/up",
        "--clusters|1..=100",
    ),
    (
        "edgeio up --clusters 0 --workers many --http nonsense",
        "--clusters|--workers|--http|127.0.0.1:10000",
    ),
    ("edgeio up --http 192.0.2.1:0 --data-dir {}/up", "0.0.0.0:0"),
    ("edgeio up --once --data-dir {}/up", "--demo"),
    ("edgeio up --nonsense", "--nonsense"),
];

/// Requests that fail, and what must be said.
const REQUESTS: &[(&str, &str)] = &[
    ("edgeio apply -f {}/missing.yaml --url URL", "missing.yaml"),
    (
        "edgeio get jobs --url URL --token-file {}/missing",
        "missing",
    ),
    ("edgeio get job nobody --url URL", "nobody"),
    ("edgeio describe job nobody --url URL", "nobody"),
    ("edgeio explain nobody --url URL", "nobody"),
    ("edgeio logs nobody --url URL", "nobody"),
    ("edgeio delete nobody --url URL", "nobody"),
    (
        "edgeio delete job/nobody job/nobody2 --url URL",
        "nobody|nobody2",
    ),
    ("edgeio scale nobody --replicas 2 --url URL", "nobody"),
    ("edgeio cordon cluster nobody --url URL", "nobody"),
    (
        "edgeio get jobs --url http://127.0.0.1:1",
        "cannot reach|127.0.0.1:1",
    ),
    (
        "edgeio get jobs --url http://nobody.invalid --insecure",
        "nobody.invalid",
    ),
    ("edgeio get jobs --url MQTT", "MQTT"),
];

/// Files that cannot be applied: their bytes, and what must be said.
const FILES: &[(&str, &[u8], &str)] = &[
    ("empty", b"", "empty"),
    ("binary", b"\x7fELF\x02\x01\x01\0\0\xff\xfe", ""),
    ("no-utf8", b"job_name: \xff\n", ":1:11"),
    ("no-yaml", b"job_name: \"bad\nimage: x\n", ""),
    ("no-name", b"api_version: v0.1\nimage: nginx\n", ":1:1|job_name"),
    ("faults", b"api_version: v0.1\njob_name: bad\nimage: Nginx\nreplicas: -1\n", ":3:8|:4:11"),
    ("second", b"api_version: v0.1\njob_name: good-second\nimage: nginx\n---\napi_version: v0.1\njob_name: bad2\nimag: nginx\n", ":7:1"),
    ("same", b"api_version: v0.1\njob_name: bad\nimage: nginx\n---\napi_version: v0.1\njob_name: bad\nimage: nginx\n", "bad"),
];

pub(crate) fn rows(rig: &Rig) -> Vec<Row> {
    let place = place(rig);
    let url = format!("http://{}", rig.http(Tier::Root));
    let mqtt = format!("http://{}", rig.mqtt());
    let line = |text: &str| text.replace("URL", &url).replace("MQTT", &mqtt);
    let mut rows = Vec::new();
    for (code, lines) in [(USAGE, LINES), (CONFIG, UP), (FAILED, REQUESTS)] {
        for (text, words) in lines {
            // Which command it is, is said of what cannot be parsed.
            let call = Call::new(&line(text)).variable("EDGEIO_TOKEN", TOKEN);
            rows.push(call.ends(text, code, &line(words)));
        }
    }
    let apply = |path: &str| {
        let call = Call::new(&line(&format!("edgeio apply --url URL -f {path}")));
        call.variable("EDGEIO_TOKEN", TOKEN)
    };
    for (name, text, words) in FILES {
        let path = place.join(format!("{name}.yaml"));
        fs::write(&path, text).unwrap();
        rows.push(apply(path.to_str().unwrap()).ends(
            &format!("a file: {name}"),
            FAILED,
            &format!("{name}.yaml|{words}"),
        ));
    }
    fs::write(place.join("large.yaml"), vec![b'#'; 64 << 20]).unwrap();
    rows.push(apply("{}").ends("a directory", FAILED, "rows"));
    rows.push(apply("/dev/zero").ends("a file without an end", FAILED, "/dev/zero"));
    rows.push(apply("{}/large.yaml").ends("a file of 64 MiB", FAILED, "large.yaml"));
    rows.push(
        apply("-")
            .input(b"- a\n")
            .ends("standard input", FAILED, "1:1"),
    );
    rows.push(
        apply("-")
            .input(b"\xff")
            .ends("standard input that is no text", FAILED, "1:1"),
    );
    let get = || Call::new(&line("edgeio get jobs --url URL"));
    rows.push(
        get()
            .arg("--token")
            .arg("a b")
            .ends("a token with a blank", USAGE, "token"),
    );
    rows.push(
        Call::new("edgeio get jobs")
            .variable("EDGEIO_URL", "nonsense")
            .ends("an URL of the environment", USAGE, "EDGEIO_URL"),
    );
    rows
}
