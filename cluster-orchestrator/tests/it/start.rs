//! Starts that must not succeed, and peers that must not be let in.

use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;

use cluster_orchestrator::{ClusterError, Config, run};
use store::Memory;
use tokio_util::sync::CancellationToken;

use crate::site::{DEADLINE, Site, config};

/// The exit code of a start that cannot succeed, and what is said about it.
async fn failure(config: Config, data_dir: &Path) -> (u8, String) {
    let config = Config {
        data_dir: data_dir.to_owned(),
        ..config
    };
    let started = Box::pin(run(config, CancellationToken::new(), |_| {}));
    let ended = tokio::time::timeout(DEADLINE, started).await.unwrap();
    let error: ClusterError = ended.unwrap_err();
    let code = error.exit_code();
    (code, orchestrator::with_sources(&error))
}

#[tokio::test]
async fn a_start_that_cannot_succeed_says_why_and_makes_no_store() {
    let directory = tempfile::tempdir().unwrap();
    let unmade = directory.path().join("unmade");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap();
    let url = |text: &str| Some(text.to_owned());
    let cases: [(Config, u8, &str); 6] = [
        (
            Config {
                http: taken,
                ..config()
            },
            69,
            "in use",
        ),
        (
            Config {
                mqtt: taken,
                ..config()
            },
            69,
            "in use",
        ),
        (
            Config {
                root: url("http://192.0.2.1:10000"),
                ..config()
            },
            64,
            "--insecure",
        ),
        (
            Config {
                root: url("192.0.2.1:10000"),
                ..config()
            },
            64,
            "write it as http://",
        ),
        (
            Config {
                broker: url("mqtt://192.0.2.1"),
                ..config()
            },
            64,
            "--insecure",
        ),
        (
            Config {
                keep_alive: std::time::Duration::ZERO,
                ..config()
            },
            64,
            "whole seconds",
        ),
    ];
    for (config, code, remedy) in cases {
        let (given, text) = Box::pin(failure(config, &unmade)).await;
        assert!(given == code && text.contains(remedy), "{given} {text}");
        assert!(!unmade.exists(), "{text}");
    }
}

#[tokio::test]
async fn a_web_page_cannot_register_as_a_worker() {
    let site = Site::start(config(), Arc::new(Memory::new())).await;
    let page = "Origin: http://evil.example\r\nContent-Type: text/plain;charset=UTF-8\r\n";
    let join = async |headers: &str| {
        let path = "/socket.io/?EIO=4&transport=polling";
        let opened = site.ask(&format!("GET {path}"), headers, "").await;
        let sid = opened.text.split('"').nth(3).unwrap();
        let path = format!("{path}&sid={sid}");
        site.ask(&format!("POST {path}"), headers, "40").await;
        // A ping may come first, in the same poll or one of its own. It is not answered, which bounds the polls.
        let mut seen = String::new();
        while !seen.contains("44{") && !seen.contains("40{") {
            let reply = site.ask(&format!("GET {path}"), headers, "").await;
            seen.push_str(&reply.text);
            assert_eq!(reply.status, 200, "{seen}");
        }
        seen
    };
    let refused = join(page).await;
    assert!(refused.contains("not from web pages"), "{refused}");
    assert!(!refused.contains("40{"), "{refused}");
    let admitted = join("").await;
    assert!(admitted.contains("40{"), "{admitted}");
    site.stop().await;
}
