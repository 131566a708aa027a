//! A Mosquitto in place of a cluster's own endpoint, over TLS and by our rules.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use edgeio_tests::harness::{Client, Settings, System, programs, required, together, wait_until};
use rustix::process::{Pid, Signal, kill_process};

use crate::documents::sleeper;
use crate::joining::{join_token, worker};

const LIMIT: Duration = Duration::from_secs(30);

/// Writes the files of a Mosquitto for the cluster with this data directory.
pub(crate) fn files_of(data: &Path, out: &Path, port: u16) {
    let written = write_files(data, out, port);
    assert!(written.status.success(), "{written:?}");
    let told = String::from_utf8_lossy(&written.stderr).into_owned();
    assert!(told.contains("chown mosquitto"), "{told}");
}

fn write_files(data: &Path, out: &Path, port: u16) -> Output {
    Command::new(programs().join("cluster-orchestrator"))
        .args(["mosquitto", "--listen", &format!("127.0.0.1:{port}")])
        .args(["--host", "127.0.0.1", "--data-dir"])
        .arg(data)
        .arg("--out")
        .arg(out)
        .output()
        .unwrap()
}

/// Debian's Mosquitto with those files.
pub(crate) struct Mosquitto {
    child: Child,
    log: PathBuf,
}

impl Mosquitto {
    pub(crate) fn start(folder: &Path) -> Self {
        let log = folder.join("log");
        let written = fs::read_to_string(folder.join("mosquitto.conf")).unwrap();
        // Whoever runs the test owns the files, and Mosquitto would become somebody else.
        let user = std::env::var("USER").unwrap_or_else(|_| "root".to_owned());
        let configuration = folder.join("of-the-test.conf");
        fs::write(&configuration, format!("user {user}\n{written}")).unwrap();
        let child = Command::new("mosquitto")
            .arg("-c")
            .arg(configuration)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Self { child, log }
    }

    /// Makes it read its rules again.
    fn reload(&self) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, Signal::HUP).unwrap();
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", fs::read_to_string(&self.log).unwrap_or_default());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn state(cluster: &Client, name: &str) -> Result<String, String> {
    let row = cluster.get(&format!("/api/v1/nodes/{name}"))?.body;
    let state = row["state"].as_str().map(str::to_owned);
    state.ok_or_else(|| row.to_string())
}

/// Subscribes to what a worker reports, with what stands in these files.
fn listens(port: u16, authority: &Path, shown: Option<&Path>) -> Output {
    let mut command = Command::new("timeout");
    command
        .args(["5", "mosquitto_sub", "-V", "mqttv311", "-h", "127.0.0.1"])
        .args(["-p", &port.to_string(), "-t", "nodes/#", "-C", "1"])
        .arg("--cafile")
        .arg(authority);
    if let Some(folder) = shown {
        command
            .arg("--cert")
            .arg(folder.join("certificate.pem"))
            .arg("--key")
            .arg(folder.join("key.pem"));
    }
    command.output().unwrap()
}

#[test]
fn a_mosquitto_by_our_files_carries_the_clusters_work_and_nobody_elses() {
    if !required("mosquitto") {
        return;
    }
    let _turn = together();
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let mut system = System::start(Settings::QUICK);
    let url = format!("mqtts://127.0.0.1:{port}");
    system.add_cluster("munich", &["--broker", &url]);
    system.add_cluster("garching", &[]);
    assert_eq!(system.clusters[0].said("mqtt"), url);
    let directory = system.directory().to_owned();
    let (data, out) = (directory.join("munich"), directory.join("mosquitto"));
    let nowhere = write_files(&directory.join("nowhere"), &out, port);
    assert!(!nowhere.status.success());
    let told = String::from_utf8_lossy(&nowhere.stderr).into_owned();
    assert!(told.contains("nowhere has no authority"), "{told}");
    assert!(!directory.join("nowhere").exists());
    files_of(&data, &out, port);
    let broker = Mosquitto::start(&out);

    // Who joined works over it, in both directions.
    let cluster = system.cluster(0);
    let mut first = worker(&directory, "first", &join_token(&cluster, 1, "1h"));
    first.again();
    wait_until("the worker is heard", LIMIT, || {
        let state = state(&cluster, "first")?;
        (state == "ALIVE").then_some(()).ok_or(state)
    });
    system.root().submit(&sleeper("carried", ""));
    system.wait_state("carried", "RUNNING", LIMIT);

    // Nobody else does: not with nothing, not with the papers of another cluster, and with its own a worker hears no other.
    let elsewhere = system.cluster(1);
    let mut stranger = worker(&directory, "stranger", &join_token(&elsewhere, 1, "1h"));
    stranger.again();
    let authority = data.join("identity/authority.pem");
    let foreign = directory.join("stranger/identity");
    let own = directory.join("first/identity");
    for (shown, code) in [
        (None, None),
        (Some(&foreign), None),
        (Some(&own), Some(124)),
    ] {
        let done = listens(port, &authority, shown.map(PathBuf::as_path));
        assert!(done.stdout.is_empty(), "{shown:?}: {done:?}");
        // Let in and never told anything, or not let in.
        let as_expected = code.is_none_or(|code| done.status.code() == Some(code));
        assert!(as_expected && !done.status.success(), "{shown:?}: {done:?}");
    }

    // Without a token there is no way to that broker, and the worker says what to do.
    let http = system.clusters[0].said("http").to_owned();
    let bare = directory.join("bare").display().to_string();
    let args = ["--name", "bare", "--cluster", &http, "--data-dir", &bare];
    let args = args.map(str::to_owned);
    let mut bare =
        edgeio_tests::harness::Program::prepare("node-engine", "bare", &directory, &args);
    bare.again();
    wait_until("it says that it needs a token", LIMIT, || {
        let log = bare.log();
        let says =
            log.contains("lets in nobody without a certificate") && log.contains("join TOKEN");
        says.then_some(()).ok_or(log)
    });
    bare.kill();

    // Revoked: the cluster writes new rules, the same command brings them, and Mosquitto carries nothing of it any more.
    let answer = cluster.post("/api/v1/nodes/first/revoke", "").unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    let rules = data.join("broker/acl");
    wait_until("the rules name the worker", LIMIT, || {
        let text = fs::read_to_string(&rules).unwrap_or_default();
        text.contains("topic deny #").then_some(()).ok_or(text)
    });
    files_of(&data, &out, port);
    broker.reload();
    wait_until("it is heard no more", LIMIT, || {
        let state = state(&cluster, "first")?;
        (state != "ALIVE").then_some(()).ok_or(state)
    });
}
