//! A root in this process.

use std::sync::Arc;
use std::time::Duration;

use root_orchestrator::{Config, RootError, run_on};
use serde_json::{Value, json};
use store::{Memory, Store};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::http::{self, Reply};

/// How long anything here may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Root {
    pub(crate) url: String,
    /// Where it relays, if it does.
    pub(crate) mqtt: Option<String>,
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), RootError>>,
}

/// Quick settings on a free port.
pub(crate) fn config() -> Config {
    Config {
        http: "127.0.0.1:0".parse().unwrap(),
        allow_noop: true,
        report_interval: Duration::from_millis(300),
        reconnect_max: Duration::from_millis(200),
        ..Config::default()
    }
}

impl Root {
    pub(crate) async fn new() -> Self {
        Self::on(Arc::new(Memory::new()), config()).await
    }

    pub(crate) async fn on(store: Arc<dyn Store>, config: Config) -> Self {
        let shutdown = CancellationToken::new();
        let (tell, told) = oneshot::channel();
        let running = run_on(config, store, shutdown.clone(), |ready| {
            tell.send((ready.http, ready.mqtt)).unwrap();
        });
        let task = tokio::spawn(running);
        let (url, mqtt) = told.await.expect("the root is ready");
        Self {
            url,
            mqtt,
            shutdown,
            task,
        }
    }

    /// Ends it as a program that is told to.
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        let ended = tokio::time::timeout(PATIENCE, self.task).await;
        ended.expect("it stops in time").unwrap().unwrap();
    }

    /// Ends it without a word: what it runs on is taken away.
    pub(crate) async fn kill(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }

    pub(crate) fn address(&self) -> &str {
        self.url.strip_prefix("http://").unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        http::ask(self.address(), "GET", path, &[], b"").await
    }

    pub(crate) async fn delete(&self, path: &str) -> Reply {
        http::ask(self.address(), "DELETE", path, &[], b"").await
    }

    pub(crate) async fn post(&self, path: &str, body: &str) -> Reply {
        http::ask(self.address(), "POST", path, &[], body.as_bytes()).await
    }

    pub(crate) async fn put(&self, path: &str, body: &str) -> Reply {
        http::ask(self.address(), "PUT", path, &[], body.as_bytes()).await
    }

    /// Submits one document, which must be accepted; its id.
    pub(crate) async fn submit(&self, document: &str) -> String {
        let reply = self.post("/api/v1/jobs", document).await;
        assert_eq!(reply.status, 202, "{}", reply.body);
        reply.json()["job_id"].as_str().unwrap().to_owned()
    }

    /// Waits until what a path answers is as wanted.
    pub(crate) async fn until(&self, path: &str, wanted: impl Fn(&Reply) -> bool) -> Value {
        let last = std::cell::RefCell::new(String::new());
        let looking = async {
            loop {
                let reply = self.get(path).await;
                if wanted(&reply) {
                    return reply.value();
                }
                *last.borrow_mut() = format!("{} {}", reply.status, reply.body);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        match tokio::time::timeout(PATIENCE, looking).await {
            Ok(value) => value,
            Err(tokio::time::error::Elapsed { .. }) => {
                panic!("{path} never became as wanted; last: {}", last.borrow())
            }
        }
    }

    /// Waits for a job's state.
    pub(crate) async fn until_state(&self, job: &str, state: &str) -> Value {
        let path = format!("/api/v1/jobs/{job}");
        self.until(&path, |reply| reply.value()["state"] == json!(state))
            .await
    }
}

/// A document of one service.
pub(crate) fn document(name: &str, replicas: u32) -> String {
    format!(
        "api_version: v0.1\njob_name: {name}\nimage_runtime: noop\nimage: x\nreplicas: {replicas}\n"
    )
}

/// The same with memory.
pub(crate) fn heavy(name: &str, memory: u32) -> String {
    format!("{}requirements: {{memory: {memory}}}\n", document(name, 1))
}
