//! A cluster-orchestrator on free ports with short times, and a client for its REST interface.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster_orchestrator::{ClusterError, Config, Ready, run_on};
use serde_json::Value;
use store::Store;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Everything that is waited for comes within this, or the test fails.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// A running cluster-orchestrator.
pub(crate) struct Site {
    pub(crate) ready: Ready,
    shutdown: CancellationToken,
    ended: JoinHandle<Result<(), ClusterError>>,
}

/// What a request was answered with.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) text: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("{self:?}"))
    }
}

/// Options of a small, quick cluster.
pub(crate) fn config() -> Config {
    Config {
        name: "garching".to_owned().try_into().ok(),
        http: ([127, 0, 0, 1], 0).into(),
        mqtt: ([127, 0, 0, 1], 0).into(),
        keep_alive: Duration::from_secs(1),
        report_interval: Duration::from_millis(300),
        lost_after: Duration::from_millis(1_500),
        reconnect_max: Duration::from_millis(250),
        ..Config::default()
    }
}

impl Site {
    pub(crate) async fn start(config: Config, store: Arc<dyn Store>) -> Self {
        let shutdown = CancellationToken::new();
        let (sender, ready) = tokio::sync::oneshot::channel();
        let token = shutdown.clone();
        let ended = tokio::spawn(run_on(config, store, token, move |ready| {
            let _ = sender.send(ready);
        }));
        let ready = tokio::time::timeout(DEADLINE, ready).await.unwrap();
        let Ok(ready) = ready else {
            panic!("{:?}", ended.await);
        };
        Self {
            ready,
            shutdown,
            ended,
        }
    }

    /// Options to start again where this one serves.
    pub(crate) fn same_place(&self) -> Config {
        Config {
            http: self.authority().parse().unwrap(),
            mqtt: self
                .ready
                .mqtt
                .strip_prefix("mqtt://")
                .unwrap()
                .parse()
                .unwrap(),
            ..config()
        }
    }

    pub(crate) fn authority(&self) -> &str {
        self.ready.http.strip_prefix("http://").unwrap()
    }

    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        let ended = tokio::time::timeout(DEADLINE, self.ended).await.unwrap();
        ended.unwrap().unwrap();
    }

    pub(crate) async fn ask(&self, line: &str, headers: &str, body: &str) -> Reply {
        request(self.authority(), line, headers, body).await
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        self.ask(&format!("GET {path}"), "", "").await.json()
    }

    pub(crate) async fn submit(&self, document: &str) -> Reply {
        self.ask("POST /api/v1/jobs", "", document).await
    }

    /// Asks until the answer is as wanted.
    pub(crate) async fn until(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let last = self.get(path).await;
            if wanted(&last) {
                return last;
            }
            assert!(begun.elapsed() < DEADLINE, "{path}: {last:#}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) async fn until_state(&self, job: &str, state: &str) -> Value {
        self.until(&format!("/api/v1/jobs/{job}"), |job| job["state"] == state)
            .await
    }
}

pub(crate) async fn request(authority: &str, line: &str, headers: &str, body: &str) -> Reply {
    let asked = exchange(authority, line, headers, body);
    let Ok(reply) = tokio::time::timeout(DEADLINE, asked).await else {
        panic!("{line}: no answer");
    };
    reply
}

async fn exchange(authority: &str, line: &str, headers: &str, body: &str) -> Reply {
    let mut stream = TcpStream::connect(authority).await.unwrap();
    let head = format!(
        "{line} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, text) = answer.split_once("\r\n\r\n").unwrap();
    Reply {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        head: head.to_lowercase(),
        text: text.to_owned(),
    }
}

/// A document of a native job.
pub(crate) fn document(name: &str, memory: u64) -> String {
    format!(
        "api_version: v0.1\njob_name: {name}\nimage_runtime: native\ncommand: [/bin/sleep, \"1000\"]\n\
         requirements: {{memory: {memory}}}\n"
    )
}
