//! Through a broker that is not ours.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use store::{Embedded, Options};

use crate::site::{Site, config, document};
use crate::worker::Worker;

/// Whether a test that needs Mosquitto runs: the harness asks for it by `EDGEIO_REQUIRE`.
#[expect(
    clippy::print_stderr,
    reason = "whoever reads the output must see what was left out"
)]
fn mosquitto_is_required() -> bool {
    let required = std::env::var("EDGEIO_REQUIRE").is_ok_and(|list| list.contains("mosquitto"));
    if !required {
        eprintln!("left out: set EDGEIO_REQUIRE=mosquitto to test against Mosquitto");
    }
    required
}

/// A Mosquitto that ends with the test.
struct Mosquitto {
    child: Child,
    port: u16,
    _dir: tempfile::TempDir,
}

impl Mosquitto {
    fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("mosquitto.conf");
        std::fs::write(
            &file,
            format!("listener {port} 127.0.0.1\nallow_anonymous true\n"),
        )
        .unwrap();
        let child = Command::new("mosquitto")
            .arg("-c")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self {
            child,
            port,
            _dir: dir,
        }
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn a_restart_behind_a_foreign_broker_finds_its_workers_and_restarts_nothing() {
    if !mosquitto_is_required() {
        return;
    }
    let broker = Mosquitto::start();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let open = || Arc::new(Embedded::open(&path, Options::default()).unwrap());
    let with_broker = || cluster_orchestrator::Config {
        broker: Some(format!("mqtt://127.0.0.1:{}", broker.port)),
        ..config()
    };
    let site = Site::start(with_broker(), open()).await;
    let worker = Worker::start(&site.ready.http, "e580", 1_000);
    site.until("/api/v1/nodes/e580", |node| node["state"] == "ALIVE")
        .await;
    site.submit(&document("a", 100)).await;
    site.until_state("a", "RUNNING").await;
    site.stop().await;

    // The worker stays connected to the broker and does not register again.
    let site = Site::start(with_broker(), open()).await;
    site.until_state("a", "RUNNING").await;
    site.submit(&document("b", 100)).await;
    site.until_state("b", "RUNNING").await;
    assert_eq!(worker.disk.lock().unwrap().started.len(), 2);
    worker.kill().await;
    site.until("/api/v1/nodes/e580", |node| node["state"] == "LOST")
        .await;
    site.stop().await;
}
