//! A worker that cannot reach its living cluster's broker reaches its cluster through the root (seed, section 3.3).

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use edgeio_tests::harness::{Settings, System, alone, inside, required, together, wait_until};
use edgeio_tests::lab::{CLUSTER_A, Lab, ROOT};
use serde_json::Value;

use crate::bad_input::packet::connect_with;
use crate::documents::sleeper;

const LIMIT: Duration = Duration::from_secs(40);

/// A fallback takes: one and a half keep-alives until the broker is missed, `--fallback-after`, and an attempt or two.
const SETTINGS: Settings = Settings {
    lost_after: Some(Duration::from_secs(25)),
    ..Settings::QUICK
};
const WORKER: [&str; 6] = [
    "--runtimes",
    "native",
    "--fallback-after",
    "1s",
    "--fallback-probe",
    "1s",
];

/// A native job that writes a line and goes on.
fn talker(name: &str) -> String {
    format!(
        "api_version: v0.1\njob_name: {name}\nimage_runtime: native\n\
         command: [/bin/sh, -c, \"echo {name} speaks; exec sleep 1000000\"]\n"
    )
}

/// A sample of the root's metrics.
fn metric(system: &System, name: &str) -> Result<f64, String> {
    let (_, text) = system.root().text("/metrics")?;
    let found = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    found
        .and_then(|value| value.parse().ok())
        .ok_or_else(|| format!("no {name} in {text}"))
}

#[track_caller]
fn wait_relayed(system: &System, workers: f64) -> Duration {
    let begun = Instant::now();
    wait_until(&format!("{workers} workers are relayed"), LIMIT, || {
        let relayed = metric(system, "edgeio_relayed_workers")?;
        ((relayed - workers).abs() < 0.5)
            .then_some(())
            .ok_or_else(|| format!("{relayed} are"))
    });
    begun.elapsed()
}

/// What the worker keeps on its disk about its cluster, once it knows the way through the root.
#[track_caller]
fn saved(system: &System) -> Value {
    let file = system.workers[0].directory.join("broker.json");
    wait_until("the worker knows the way through the root", LIMIT, || {
        let text = fs::read_to_string(&file).map_err(|error| error.to_string())?;
        let saved: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        if saved["relay"]["port"].is_u64() {
            Ok(saved)
        } else {
            Err(text)
        }
    })
}

/// Runs a job that talks, and reads what it says.
#[track_caller]
fn runs_and_talks(system: &System, job: &str) {
    system.root().submit(&talker(job));
    system.wait_state(job, "RUNNING", LIMIT);
    let path = format!("/api/v1/jobs/{job}/logs");
    wait_until(&format!("{job} is heard"), LIMIT, || {
        let (status, text) = system.root().text(&path)?;
        let heard = status == 200 && text.contains(&format!("{job} speaks"));
        heard
            .then_some(())
            .ok_or_else(|| format!("{status} {text}"))
    });
}

/// The code of the CONNACK to a worker of this id and password; `None`: closed without one.
fn knock(system: &System, user: &str, id: &str, password: &str) -> Option<u8> {
    let relay = system.root.said("mqtt").strip_prefix("mqtt://").unwrap();
    let fields = [id, user, password].map(str::as_bytes);
    // A clean session, with user name and password.
    let connect = connect_with("MQTT", 4, 0xc2, &fields);
    let ask = || {
        let mut stream = TcpStream::connect(relay).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.write_all(&connect).unwrap();
        let mut answer = [0; 4];
        let read = stream.read_exact(&mut answer);
        read.ok().map(|()| answer[3])
    };
    match system.root.namespace() {
        Some(namespace) => inside(namespace, ask),
        None => ask(),
    }
}

/// All that a directory holds.
fn contents(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(directory).unwrap().flat_map(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return contents(&path);
        }
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        vec![(name, fs::read(&path).unwrap())]
    });
    entries.collect()
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes
        .windows(text.len())
        .any(|window| window == text.as_bytes())
}

#[test]
fn a_worker_whose_broker_is_down_works_through_the_root() {
    let _turn = together();
    let mut system = System::start_with(SETTINGS, "127.0.0.1", None, &["--mqtt", "127.0.0.1:0"]);
    assert!(system.root.said("mqtt").starts_with("mqtt://127.0.0.1:"));
    // The cluster's broker is somebody else's, and is not there: the seed's case.
    let nobody = {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        format!("mqtt://{}", free.local_addr().unwrap())
    };
    let cluster = system.add_cluster("cluster-1", &["--broker", &nobody]);
    system.add_worker("worker-1", cluster, &WORKER);
    let saved = saved(&system);
    assert_eq!(saved["relay"]["host"], "127.0.0.1");
    wait_relayed(&system, 1.0);
    runs_and_talks(&system, "talker");

    // Who is let in is the cluster's to say, and where nobody can say it, a worker may try again.
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let (node, password) = (text(&saved["node"]), text(&saved["password"]));
    let cluster = text(&saved["relay"]["cluster"]);
    let user = format!("{node}:other@{cluster}");
    for _ in 0..20 {
        assert_eq!(knock(&system, &user, &node, "wrong"), Some(5));
    }
    let nobody = format!("{node}:other@cl_00000000000000000000000009");
    assert_eq!(knock(&system, &nobody, &node, &password), Some(3));
    assert_eq!(knock(&system, &node, &node, &password), Some(5));
    // A copy of the disk, while the worker itself is there.
    assert_eq!(knock(&system, &user, &node, &password), Some(2));

    // The root keeps nothing of it.
    let root = contents(&system.directory().join("root"));
    let mut names: Vec<&str> = root.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    let expected = [
        "audit-00000001.jsonl",
        "audit.head",
        "authority.key",
        "authority.pem",
        "root.redb",
        "secrets.key",
    ];
    assert_eq!(names, expected);
    for (name, bytes) in &root {
        assert!(!holds(bytes, &password), "{name} holds the password");
    }

    // Without the uplink nobody is relayed; with it, everybody is again.
    let pid = system.copies("talker")[0].pid;
    system.clusters[0].kill();
    wait_relayed(&system, 0.0);
    assert_eq!(knock(&system, &user, &node, &password), Some(3));
    system.clusters[0].again();
    wait_relayed(&system, 1.0);
    runs_and_talks(&system, "later");
    assert_eq!(system.copies("talker")[0].pid, pid);
}

/// Between the worker `far` and its cluster, packets vanish; all else goes on.
fn path(lab: &Lab, change: &str) {
    for end in ["-d", "-s"] {
        let rule = format!("{change} FORWARD {end} {CLUSTER_A} -j DROP");
        let gate = lab.namespace("gate-a");
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &gate, "iptables"]);
        let status = command.args(rule.split(' ')).status().unwrap();
        assert!(status.success(), "{rule}");
    }
}

#[test]
fn a_worker_that_is_cut_from_its_cluster_alone_works_through_the_root_and_goes_back() {
    if !required("netns") {
        return;
    }
    let _turn = alone();
    let lab = Lab::make();
    let bind = format!("{ROOT}:0");
    let namespace = lab.namespace("root");
    let mut system = System::start_with(SETTINGS, ROOT, Some(&namespace), &["--mqtt", &bind]);
    system.add_cluster_at(
        "cluster-1",
        CLUSTER_A,
        Some(&lab.namespace("cluster-a")),
        &[],
    );
    system.add_worker_in("far", 0, Some(&lab.namespace("far-a")), &WORKER);
    assert_eq!(saved(&system)["relay"]["host"], ROOT);
    system.root().submit(&sleeper("kept", ""));
    let job = system.wait_state("kept", "RUNNING", LIMIT);
    let instance = job["instances"][0]["instance_id"].clone();
    let kept = system.copies("kept");
    assert_eq!(kept.len(), 1);

    // Plain text is for the root's own machine.
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let known = self::saved(&system);
    let (node, password) = (text(&known["node"]), text(&known["password"]));
    let user = format!("{node}:other@{}", text(&known["relay"]["cluster"]));
    assert_eq!(known["relay"]["tls"], true);
    assert_eq!(knock(&system, &user, &node, &password), Some(5));
    let refused = metric(&system, "edgeio_relay_refused_total{reason=\"plain\"}");
    assert!((refused.unwrap() - 1.0).abs() < 0.5);

    path(&lab, "-I");
    eprintln!("relayed {:?} after the cut", wait_relayed(&system, 1.0));
    runs_and_talks(&system, "meanwhile");
    let job = system.root().job("meanwhile").unwrap();
    assert_eq!(job["instances"][0]["worker_node"], "far");

    // The root restarts: its worker comes back.
    system.root.kill();
    system.root.again();
    eprintln!(
        "relayed {:?} after the root's restart",
        wait_relayed(&system, 1.0)
    );
    runs_and_talks(&system, "after-the-root");

    // The engine restarts, and cannot register: what it saved lets it in.
    system.workers[0].program.kill();
    wait_relayed(&system, 0.0);
    system.workers[0].program.again();
    eprintln!(
        "relayed {:?} after the engine's restart",
        wait_relayed(&system, 1.0)
    );
    runs_and_talks(&system, "after-the-engine");

    path(&lab, "-D");
    eprintln!("direct {:?} after the mending", wait_relayed(&system, 0.0));
    runs_and_talks(&system, "direct-again");
    assert!((metric(&system, "edgeio_relayed_workers").unwrap()).abs() < 0.5);

    // All the time, one copy and the same, and nobody thought otherwise.
    assert_eq!(system.copies("kept"), kept);
    let job = system.root().job("kept").unwrap();
    assert_eq!(job["instances"].as_array().unwrap().len(), 1);
    assert_eq!(job["instances"][0]["instance_id"], instance);
    assert_eq!(job["state"], "RUNNING");
}
