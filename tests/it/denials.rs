//! What a worker tries at its cluster's MQTT with a good certificate, and what the audit log says of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use edgeio_tests::harness::{Program, Settings, System, programs, required, together, wait_until};
use serde_json::Value;

use crate::joining::{join_token, worker};

const LIMIT: Duration = Duration::from_secs(20);
/// After that a client of Mosquitto's that still runs was not refused.
const PATIENCE: &str = "10";

/// A worker that joined, whose certificate, key and password somebody else uses now, and another one that does its work.
struct Stage {
    system: System,
    own: String,
    other: String,
    folder: PathBuf,
    password: String,
    _victim: Program,
}

impl Stage {
    fn set() -> Self {
        let mut system = System::start(Settings::QUICK);
        system.add_cluster("munich", &[]);
        let cluster = system.cluster(0);
        let directory = system.directory().to_owned();
        let join = |name: &str| {
            let mut program = worker(&directory, name, &join_token(&cluster, 1, "1h"));
            program.again();
            let id = wait_until(&format!("{name} is in"), LIMIT, || {
                let row = cluster.get(&format!("/api/v1/nodes/{name}"))?.body;
                let alive = row["state"] == "ALIVE";
                let id = row["node_id"].as_str().filter(|_| alive);
                id.map(str::to_owned).ok_or_else(|| row.to_string())
            });
            (program, id)
        };
        let (mut engine, own) = join("hostile");
        let (victim, other) = join("victim");
        // Else it would take its seat back, again and again.
        engine.kill();
        let folder = directory.join("hostile");
        let saved = fs::read(folder.join("broker.json")).unwrap();
        let saved: Value = serde_json::from_slice(&saved).unwrap();
        Self {
            password: saved["password"].as_str().unwrap().to_owned(),
            own,
            other,
            folder,
            _victim: victim,
            system,
        }
    }

    /// Runs a client of Mosquitto's with the worker's certificate and password to its end.
    fn run(&self, program: &str, arguments: &[&str]) -> Output {
        let (_, place) = self.system.clusters[0]
            .said("mqtt")
            .split_once("://")
            .unwrap();
        let (host, port) = place.split_once(':').unwrap();
        let identity = self.folder.join("identity");
        Command::new("timeout")
            .args([PATIENCE, program, "-V", "mqttv311", "-h", host, "-p", port])
            .arg("--cafile")
            .arg(identity.join("authority.pem"))
            .arg("--cert")
            .arg(identity.join("certificate.pem"))
            .arg("--key")
            .arg(identity.join("key.pem"))
            .args(["-P", &self.password])
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// The same under the worker's own name.
    fn own(&self, program: &str, arguments: &[&str]) -> Output {
        let own = ["-i", &self.own, "-u", &self.own];
        self.run(program, &[&own, arguments].concat())
    }

    fn audit(&self) -> PathBuf {
        self.system.directory().join("munich/audit")
    }

    /// Waits for a refusal in the audit log: of this verb to the worker, with this resource.
    fn is_recorded(&self, verb: &str, resource: &str) {
        let what = format!("{verb} {resource} is in the audit log");
        wait_until(&what, LIMIT, || {
            let lines = lines(&self.audit());
            let found = lines.iter().find(|line| {
                line["decision"] == "denied"
                    && line["verb"] == verb
                    && line["resource"] == *resource
                    && line["who"]["kind"] == "worker"
                    && line["who"]["id"] == *self.own
            });
            let from = found.and_then(|line| line["from"].as_str());
            match from {
                Some(from) if from.starts_with("127.0.0.1:") => Ok(()),
                Some(_) | None => Err(format!("{lines:#?}")),
            }
        });
    }
}

/// All lines of an audit log.
fn lines(folder: &Path) -> Vec<Value> {
    let text = fs::read_to_string(folder.join("audit-00000001.jsonl")).unwrap_or_default();
    let lines = text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    lines.collect()
}

fn is_refused(output: &Output, said: &str, tried: &str) {
    let heard = String::from_utf8_lossy(&output.stderr).to_lowercase();
    assert!(heard.contains(said), "{tried}: {output:?}");
    assert!(output.stdout.is_empty(), "{tried}: {output:?}");
}

#[test]
fn whatever_a_worker_tries_beyond_its_own_topics_is_refused_and_stands_in_the_audit_log() {
    if !required("mosquitto") {
        return;
    }
    let _turn = together();
    let stage = Stage::set();
    let topic = |of: &str, leaf: &str| format!("nodes/{of}/{leaf}");
    let (own, other) = (stage.own.clone(), stage.other.clone());

    // With the same papers it does what it may.
    let information = topic(&own, "information");
    let done = stage.own(
        "mosquitto_pub",
        &["-t", &information, "-m", "{}", "-q", "1"],
    );
    assert!(done.status.success(), "{done:?}");

    for filter in [
        "#",
        "nodes/+/control",
        "$SYS/#",
        "$share/x/nodes/+/control",
        &topic(&other, "control"),
    ] {
        let done = stage.own("mosquitto_sub", &["-t", filter, "-E"]);
        is_refused(&done, "denied", filter);
        stage.is_recorded("subscribe", filter);
    }
    for topic in [topic(&own, "control"), topic(&other, "control")] {
        let done = stage.own("mosquitto_pub", &["-t", &topic, "-m", "{}"]);
        assert!(done.stdout.is_empty(), "{done:?}");
        stage.is_recorded("publish", &topic);
    }
    let control = topic(&own, "control");
    let subscribing = |id: &str, user: &str, more: &[&str]| {
        let arguments = ["-i", id, "-u", user, "-t", &control];
        stage.run("mosquitto_sub", &[&arguments, more].concat())
    };
    let done = subscribing(&other, &other, &[]);
    is_refused(&done, "identifier rejected", "another's client id");
    stage.is_recorded("connect", &format!("mqtt as {other}"));
    let will = topic(&other, "connection");
    let foreign = ["--will-topic", &will, "--will-payload", "x"];
    let done = subscribing(&own, &own, &foreign);
    is_refused(&done, "not authorised", "a foreign will");
    stage.is_recorded("will", &will);
    let done = stage.own("mosquitto_pub", &["-t", &information, "-m", "{}", "-r"]);
    assert!(done.stdout.is_empty(), "{done:?}");
    stage.is_recorded("retain", &information);

    // The log is whole, and who was to be harmed works on.
    let audit = stage.audit();
    let verified = Command::new(programs().join("edgeio"))
        .args(["audit", "verify"])
        .arg(&audit)
        .output()
        .unwrap();
    assert!(verified.status.success(), "{verified:?}");
    let row = stage.system.cluster(0).get("/api/v1/nodes/victim").unwrap();
    assert_eq!(row.body["state"], "ALIVE", "{}", row.body);
}
