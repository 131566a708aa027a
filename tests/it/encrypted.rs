//! Links that speak TLS: the programs find each other, believe nobody else, and somebody who listens in reads nothing.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use edgeio_tests::harness::{Program, Settings, System, TOKEN, programs, together, wait_until};
use serde_json::Value;

use crate::documents::sleeper;

const LIMIT: Duration = Duration::from_secs(20);

/// Passes connections on, and remembers what was said.
struct Ear {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Ear {
    fn before(server: &str) -> Self {
        let server = server.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&heard);
        thread::spawn(move || {
            for near in listener.incoming() {
                let Ok(near) = near else { return };
                let Ok(far) = TcpStream::connect(&server) else {
                    continue;
                };
                for (from, to) in [(&near, &far), (&far, &near)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let heard = Arc::clone(&shared);
                    thread::spawn(move || pass(from, to, &heard));
                }
            }
        });
        Self { address, heard }
    }

    fn heard(&self, text: &str) -> bool {
        let heard = self.heard.lock().unwrap();
        heard
            .windows(text.len())
            .any(|window| window == text.as_bytes())
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, heard: &Mutex<Vec<u8>>) {
    let mut bytes = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        heard.lock().unwrap().extend_from_slice(&bytes[..count]);
        if to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

/// The certificate of the authority of a program with this data directory.
fn authority(directory: &Path) -> String {
    directory
        .join("identity/authority.pem")
        .display()
        .to_string()
}

#[test]
fn a_system_whose_links_speak_tls_runs_jobs_and_nobody_reads_along() {
    let _turn = together();
    let mut system = System::start(Settings::QUICK);
    let root = Ear::before(system.root.said("http"));
    let (url, ca) = (
        format!("https://{}", root.address),
        authority(&system.directory().join("root")),
    );
    system.add_cluster("munich", &["--root", &url, "--ca", &ca]);
    let cluster = Ear::before(system.clusters[0].said("http"));
    let (url, ca) = (
        format!("https://{}", cluster.address),
        authority(&system.directory().join("munich")),
    );
    let options = ["--runtimes", "native", "--cluster", &url, "--ca", &ca];
    system.add_worker("jetson", 0, &options);
    system.root().submit(&sleeper("whispered", ""));
    system.wait_state("whispered", "RUNNING", LIMIT);
    let broker = std::fs::read(system.workers[0].directory.join("broker.json")).unwrap();
    let broker: Value = serde_json::from_slice(&broker).unwrap();
    assert_eq!(broker["tls"], true, "{broker}");
    for ear in [&root, &cluster] {
        assert!(!ear.heard.lock().unwrap().is_empty());
        for word in ["whispered", "munich", "jetson", "socket.io"] {
            assert!(!ear.heard(word), "{word}");
        }
    }

    // What comes back, comes back by TLS, the worker also while nobody answers registrations.
    system.clusters[0].kill();
    system.clusters[0].again();
    system.wait_state("whispered", "RUNNING", LIMIT);
    system.workers[0].program.kill();
    system.workers[0].program.again();
    let node = system.workers[0].node_id.clone();
    wait_until("the worker is there again", LIMIT, || {
        let row = system
            .cluster(0)
            .get(&format!("/api/v1/nodes/{node}"))?
            .body;
        (row["state"] == "ALIVE")
            .then_some(())
            .ok_or_else(|| row.to_string())
    });
    assert_eq!(system.copies("whispered").len(), 1);
    assert!(!cluster.heard("jetson"));
}

#[test]
fn who_believes_another_authority_stays_away_and_says_why() {
    let _turn = together();
    let mut system = System::start(Settings::QUICK);
    system.add_cluster("munich", &[]);
    let directory = system.directory().join("stranger");
    let url = system.clusters[0]
        .said("http")
        .replace("http://", "https://");
    // The root's authority is not the cluster's.
    let ca = authority(&system.directory().join("root"));
    let data = directory.display().to_string();
    let args = [
        "--name",
        "stranger",
        "--data-dir",
        &data,
        "--cluster",
        &url,
        "--ca",
        &ca,
    ];
    let args = args.map(str::to_owned);
    let worker = Program::start("node-engine", "stranger", system.directory(), &args, None);
    wait_until("it says why", LIMIT, || {
        let log = worker.log();
        (log.contains("cannot register yet") && log.contains("UnknownIssuer"))
            .then_some(())
            .ok_or(log)
    });
    assert_eq!(
        system.cluster(0).list("/api/v1/nodes").unwrap(),
        Vec::<Value>::new()
    );
}

#[test]
fn the_command_line_asks_by_tls() {
    let _turn = together();
    let system = System::start(Settings::QUICK);
    let url = system.root.said("http").replace("http://", "https://");
    let right = authority(&system.directory().join("root"));
    let other = System::start(Settings::QUICK);
    let wrong = authority(&other.directory().join("root"));
    let ask = |ca: &str| {
        let mut command = Command::new(programs().join("edgeio"));
        command.args(["get", "jobs", "--url", &url, "--ca", ca]);
        command.args(["--token", TOKEN]);
        command.output().unwrap()
    };
    let answer = ask(&right);
    assert!(answer.status.success(), "{answer:?}");
    let refused = ask(&wrong);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("certificate"), "{said}");
}
