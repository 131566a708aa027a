//! Configuration of the daemons: options, environment, files, addresses and stores.

use std::fs;
use std::path::Path;

use super::program::{Call, place};
use super::rig::{Rig, Tier};
use super::row::Row;

/// Wrong configuration.
const CONFIG: i32 = 64;
/// An address in use.
const IN_USE: i32 = 69;
/// A store that cannot be used.
const STORE: i32 = 78;

/// Command lines, and what must be said.
const LINES: &[(&str, &str)] = &[
    ("root-orchestrator --nonsense", "--nonsense"),
    ("root-orchestrator nonsense", "nonsense"),
    (
        "root-orchestrator --http nonsense",
        "--http|127.0.0.1:10000",
    ),
    ("root-orchestrator --http 127.0.0.1:65536", "--http"),
    ("root-orchestrator --http example.org:80", "--http"),
    ("root-orchestrator --http", "--http"),
    (
        "root-orchestrator --http 127.0.0.1:0 --http 127.0.0.1:1",
        "--http",
    ),
    ("root-orchestrator --store nonsense", "--store"),
    ("root-orchestrator --insecure=perhaps", "--insecure"),
    ("root-orchestrator --retention 5", "--retention|5s"),
    ("root-orchestrator --lost-after -5s", "--lost-after"),
    ("root-orchestrator --lost-after 1.5s", "--lost-after"),
    (
        "root-orchestrator --lost-after 99999999999999999999s",
        "--lost-after|too long",
    ),
    ("root-orchestrator --log-format xml", "--log-format"),
    (
        "root-orchestrator --mqtt nonsense",
        "--mqtt|127.0.0.1:10000",
    ),
    (
        "root-orchestrator --mqtt 127.0.0.1:0 --advertise mqtt://root.example:10002",
        "--advertise|root.example",
    ),
    (
        "root-orchestrator --advertise root.example:10000",
        "--advertise|root.example",
    ),
    ("root-orchestrator healthy --http 0.0.0.0", "--http"),
    // All faults, of all layers.
    (
        "root-orchestrator --http x --store y --retention z --nonsense",
        "--http|--store|--retention|--nonsense",
    ),
    (
        "root-orchestrator --report-interval 0s --reconnect-max 0s --data-dir {}/zero",
        "--report-interval|100ms|--reconnect-max",
    ),
    (
        "root-orchestrator --scheduler best-guess",
        "--scheduler|first-fit, location|http://127.0.0.1:10005",
    ),
    (
        "root-orchestrator --scheduler http://192.0.2.1:10004 --report-interval 0s --data-dir {}/zero",
        "--scheduler|--insecure|--report-interval",
    ),
    (
        "root-orchestrator --scheduler-pause 1ms --data-dir {}/zero",
        "--scheduler-pause|100ms",
    ),
    (
        "root-orchestrator --report-interval 2d --data-dir {}/zero",
        "--report-interval|24h",
    ),
    (
        "cluster-orchestrator --name a/b --http x --mqtt y --scheduler z --location lat=91,lon=0",
        "--name|--http|--mqtt|--scheduler|--location",
    ),
    (
        "cluster-orchestrator --name bad --keep-alive 1500ms --report-interval 0s --reconnect-max 0s --deploy-deadline 0s --data-dir {}/zero",
        "--keep-alive|--report-interval|--reconnect-max|--deploy-deadline",
    ),
    (
        "cluster-orchestrator --name bad --keep-alive 2h --data-dir {}/zero",
        "--keep-alive|1h",
    ),
    (
        "cluster-orchestrator --name bad --advertise-http edge.example:10001 --data-dir {}/zero",
        "--advertise-http|https://edge.example:10001",
    ),
    (
        "cluster-orchestrator --name bad --root nonsense --data-dir {}/zero",
        "--root|http://",
    ),
    (
        "cluster-orchestrator --name bad --root https://127.0.0.1 --data-dir {}/zero",
        "--root",
    ),
    (
        "cluster-orchestrator --name bad --root http://192.0.2.1:10000 --data-dir {}/zero",
        "--root|--insecure",
    ),
    (
        "cluster-orchestrator --name bad --root ftp://a --broker http://b --keep-alive 0s --data-dir {}/zero",
        "--root|--broker|--keep-alive",
    ),
    (
        "cluster-orchestrator --name bad --broker mqtt://a:b --data-dir {}/zero",
        "--broker|mqtt://127.0.0.1:1883",
    ),
    (
        "node-engine --cluster nonsense --data-dir {}/zero",
        "--cluster|http://",
    ),
    (
        "node-engine --cluster http://192.0.2.1 --data-dir {}/zero",
        "--cluster|--insecure",
    ),
    (
        "node-engine --name a/b --runtimes wasm --capacity cpu=x --label x --image-gc 100% --on-stop later",
        "--name|--runtimes|--capacity|--label|--image-gc|--on-stop",
    ),
    ("node-engine --capacity cpu=-1", "--capacity|cpu=8"),
    ("node-engine --capacity cpu=NaN", "--capacity"),
    (
        "node-engine --capacity memory=18446744073709551616",
        "--capacity",
    ),
    ("node-engine --capacity gpu=1", "--capacity"),
    ("node-engine --capacity cpu=1,cpu=2", "--capacity"),
    ("node-engine --runtimes native,", "--runtimes"),
    (
        "node-engine --reconnect-max 0s --cluster nonsense --data-dir {}/zero",
        "--reconnect-max|--cluster",
    ),
    (
        "node-engine --fallback-after 0s --fallback-probe 25h --data-dir {}/zero",
        "--fallback-after|--fallback-probe|100ms|24h",
    ),
    (
        "node-engine --docker-host nonsense --runtimes docker --data-dir {}/zero",
        "--docker-host",
    ),
    (
        "node-engine --label a=1 --label a=2 --data-dir {}/zero --cluster nonsense",
        "--label",
    ),
];

/// Files, and what must be said.
const FILES: &[(&str, &[u8], &str)] = &[
    (
        "unknown keys",
        b"nonsense = 1\nmore_of_it = 2\n",
        "nonsense|more_of_it",
    ),
    ("a misspelt key", b"htpp = \"127.0.0.1:0\"\n", "htpp"),
    ("a type", b"http = 10000\n", "http"),
    ("a list for a value", b"http = [\"127.0.0.1:0\"]\n", "http"),
    ("a table for a value", b"[http]\naddress = \"a\"\n", "http"),
    ("a text for a switch", b"insecure = \"yes\"\n", "insecure"),
    ("a number for a time", b"retention = 5\n", "retention"),
    (
        "a key twice",
        b"http = \"127.0.0.1:0\"\nhttp = \"127.0.0.1:1\"\n",
        "2",
    ),
    ("no TOML", b"http: nonsense\n", "1"),
    ("no UTF-8", b"http = \"\xff\xfe\"\n", "UTF-8"),
    ("NUL", b"http = \"a\0b\"\n", "1"),
    (
        "all faults",
        b"nonsense = 1\nhttp = \"x\"\nretention = \"y\"\n",
        "nonsense|http|retention",
    ),
    ("itself", b"config = \"other.toml\"\n", "config"),
];

pub(crate) fn rows(rig: &Rig) -> Vec<Row> {
    let place = place(rig);
    let mut rows: Vec<Row> = LINES
        .iter()
        .map(|(line, words)| Call::new(line).ends("", CONFIG, words))
        .collect();
    for (number, (name, text, words)) in FILES.iter().enumerate() {
        let path = place.join(format!("config-{number}.toml"));
        fs::write(&path, text).unwrap();
        let call = Call::new(&format!("root-orchestrator --config {}", path.display()));
        rows.push(call.ends(
            &format!("a file with {name}"),
            CONFIG,
            &format!("config-{number}.toml|{words}"),
        ));
    }
    fs::write(place.join("large.toml"), vec![b'#'; 64 << 20]).unwrap();
    let file = |path: &str| Call::new(&format!("root-orchestrator --config {path}"));
    rows.push(file("{}/missing.toml").ends("a file that is missing", CONFIG, "missing.toml"));
    rows.push(file("{}").ends("a directory as a file", CONFIG, "rows"));
    rows.push(file("/dev/zero").ends("a file without an end", CONFIG, "/dev/zero"));
    rows.push(file("{}/large.toml").ends("a file of 64 MiB", CONFIG, "large.toml"));
    rows.extend(environment());
    rows.extend(addresses(rig));
    rows.extend(stores(&place, rig));
    rows
}

fn environment() -> Vec<Row> {
    let root = || Call::new("root-orchestrator --data-dir {}/zero");
    vec![
        root()
            .variable("EDGEIO_HTTP", "x")
            .variable("EDGEIO_RETENTION", "y")
            .arg("--nonsense")
            .ends(
                "all faults of the environment and the flags",
                CONFIG,
                "EDGEIO_HTTP|EDGEIO_RETENTION|--nonsense",
            ),
        root().variable("EDGEIO_INSECURE", "perhaps").ends(
            "a switch in the environment",
            CONFIG,
            "EDGEIO_INSECURE",
        ),
        root().variable("EDGEIO_CONFIG", "{}/missing.toml").ends(
            "a file of the environment",
            CONFIG,
            "missing.toml",
        ),
        root().variable("EDGEIO_LOG", "root=nonsense").ends(
            "a level of the log",
            CONFIG,
            "EDGEIO_LOG",
        ),
        Call::new("node-engine --data-dir {}/zero --cluster nonsense")
            .variable("EDGEIO_LABEL", "x,y=1")
            .ends("labels of the environment", CONFIG, "EDGEIO_LABEL"),
    ]
}

fn addresses(rig: &Rig) -> Vec<Row> {
    let (http, mqtt) = (rig.http(Tier::Root), rig.mqtt());
    let cluster = "cluster-orchestrator --name bad --data-dir {}/in-use-cluster";
    vec![
        Call::new(&format!(
            "root-orchestrator --http {http} --data-dir {{}}/in-use"
        ))
        .ends("the root's address in use", IN_USE, &http.to_string()),
        Call::new(&format!("{cluster} --mqtt 127.0.0.1:0 --http {http}")).ends(
            "the cluster's address in use",
            IN_USE,
            &http.to_string(),
        ),
        Call::new(&format!("{cluster} --http 127.0.0.1:0 --mqtt {mqtt}")).ends(
            "the endpoint's address in use",
            IN_USE,
            &mqtt.to_string(),
        ),
    ]
}

/// Directories of each program that cannot be used.
fn stores(place: &Path, rig: &Rig) -> Vec<Row> {
    fs::write(place.join("a-file"), "x").unwrap();
    fs::create_dir_all(place.join("unwritable")).unwrap();
    let system = rig.directory();
    let mut rows = Vec::new();
    for (program, more, own) in [
        ("root-orchestrator", "--http 127.0.0.1:0", "root"),
        (
            "cluster-orchestrator",
            "--name bad --http 127.0.0.1:0 --mqtt 127.0.0.1:0",
            "cluster-1",
        ),
        (
            "node-engine",
            "--runtimes native --cluster http://127.0.0.1:1",
            "worker-1",
        ),
    ] {
        let call = |directory: &str| Call::new(&format!("{program} {more} --data-dir {directory}"));
        let row = |name: &str, call: Call, words: &str| {
            call.ends(&format!("{program}: {name}"), STORE, words)
        };
        rows.push(row(
            "a directory below a file",
            call("{}/a-file/x"),
            "a-file",
        ));
        rows.push(row(
            "a directory that is a file",
            call("{}/a-file"),
            "a-file",
        ));
        rows.push(row(
            "a directory of the kernel",
            call("/proc/nowhere"),
            "/proc/nowhere",
        ));
        let locked = system.join(own);
        rows.push(row(
            "a directory in use",
            call(locked.to_str().unwrap()),
            own,
        ));
        let at = place.join(format!("{program}-corrupt"));
        fs::create_dir_all(&at).unwrap();
        for file in store_of(&locked) {
            fs::write(at.join(file), b"garbage".repeat(1_000)).unwrap();
        }
        rows.push(row(
            "a store that is none",
            call(at.to_str().unwrap()),
            "corrupt|store",
        ));
        // What another program keeps is as good as what a later version does.
        let other = if own == "root" { "cluster-1" } else { "root" };
        let at = place.join(format!("{program}-other"));
        fs::create_dir_all(&at).unwrap();
        let stores = store_of(&locked)
            .into_iter()
            .zip(store_of(&system.join(other)));
        for (file, of_other) in stores {
            fs::copy(system.join(other).join(of_other), at.join(file)).unwrap();
        }
        rows.push(row(
            "the store of another program",
            call(at.to_str().unwrap()),
            "store",
        ));
    }
    rows
}

/// The file that the store in a directory is.
fn store_of(directory: &Path) -> Vec<String> {
    let names = fs::read_dir(directory)
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names
        .filter(|name| matches!(name.rsplit_once('.'), Some((_, "redb" | "store"))))
        .collect()
}
