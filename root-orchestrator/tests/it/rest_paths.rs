//! Refusals, health and metrics.

use serde_json::json;

use crate::cluster::{FakeCluster, Manner};
use crate::http::ask;
use crate::root::{Root, document};

/// Method, path, headers, body, and the status and code that are expected.
type Case<'a> = (
    &'a str,
    &'a str,
    &'a [(&'a str, &'a str)],
    &'a [u8],
    u16,
    &'a str,
);

#[tokio::test]
async fn every_refusal_is_a_problem() {
    let root = Root::new().await;
    let big = vec![b' '; rest::MAX_BODY + 1];
    let good = document("a", 1);
    let key = [("Idempotency-Key", "a b")];
    let cases: [Case<'_>; 12] = [
        ("GET", "/nowhere", &[], b"", 404, "no_such_path"),
        ("GET", "/api/v1/jobs/none", &[], b"", 404, "no_such_job"),
        (
            "GET",
            "/api/v1/jobs/none/events",
            &[],
            b"",
            404,
            "no_such_job",
        ),
        (
            "GET",
            "/api/v1/jobs/none/explain",
            &[],
            b"",
            404,
            "no_such_job",
        ),
        (
            "GET",
            "/api/v1/clusters/none",
            &[],
            b"",
            404,
            "no_such_cluster",
        ),
        ("PATCH", "/api/v1/jobs", &[], b"", 405, "method_not_allowed"),
        (
            "POST",
            "/api/v1/jobs",
            &[("Content-Type", "text/html")],
            b"",
            415,
            "unsupported_media_type",
        ),
        ("POST", "/api/v1/jobs", &[], &big, 413, "too_large"),
        (
            "POST",
            "/api/v1/jobs",
            &[],
            b"replcas: 1\n",
            400,
            "bad_document",
        ),
        (
            "POST",
            "/api/v1/jobs?dry_run=perhaps",
            &[],
            good.as_bytes(),
            400,
            "bad_request",
        ),
        (
            "POST",
            "/api/v1/jobs",
            &key,
            good.as_bytes(),
            400,
            "bad_request",
        ),
        ("GET", "/api/v1/jobs?limit=0", &[], b"", 400, "bad_request"),
    ];
    for (method, path, headers, body, status, code) in cases {
        let reply = ask(root.address(), method, path, headers, body).await;
        assert_eq!(reply.status, status, "{method} {path} {}", reply.body);
        assert!(
            reply.head.contains("application/problem+json"),
            "{method} {path}"
        );
        assert_eq!(reply.json()["code"], code, "{method} {path}");
    }
    assert_eq!(root.get("/api/v1/jobs").await.json()["items"], json!([]));
}

#[tokio::test]
async fn answers_come_as_yaml_where_that_is_asked_for() {
    let root = Root::new().await;
    root.submit(&document("a", 1)).await;
    let yaml = [("Accept", "application/yaml")];
    let reply = ask(root.address(), "GET", "/api/v1/jobs/a", &yaml, b"").await;
    assert!(reply.body.contains("job_name: a\n"), "{}", reply.body);
}

#[tokio::test]
async fn health_and_metrics_tell_what_is_there() {
    let root = Root::new().await;
    let cluster = FakeCluster::start(&root.url, "c1", 1_000, Manner::Runs);
    cluster.until_active(&root).await;
    root.submit(&document("a", 2)).await;
    root.until_state("a", "RUNNING").await;
    assert_eq!(root.get("/healthz").await.status, 200);
    assert_eq!(root.get("/readyz").await.status, 200);
    let text = root.get("/metrics").await.body;
    for line in [
        "edgeio_clusters{state=\"ACTIVE\"} 1",
        "edgeio_jobs{state=\"RUNNING\"} 1",
        "edgeio_jobs{state=\"FAILED\"} 0",
        "edgeio_instances{state=\"RUNNING\"} 2",
        "edgeio_deploy_seconds_count 2",
        "edgeio_placement_seconds_count{tier=\"root\"} 1",
        "edgeio_http_request_seconds_count{route=\"/api/v1/jobs\",status=\"202\"} 1",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    assert!(text.contains("edgeio_commit_seconds_count"), "{text}");
}

#[tokio::test]
async fn a_web_page_cannot_join_as_a_cluster() {
    let root = Root::new().await;
    let upgrade = [
        ("Origin", "http://evil.example"),
        ("Content-Type", "text/plain;charset=UTF-8"),
    ];
    let opened = ask(
        root.address(),
        "GET",
        "/socket.io/?EIO=4&transport=polling",
        &upgrade,
        b"",
    )
    .await;
    let sid = opened.body.split('"').nth(3).unwrap().to_owned();
    let path = format!("/socket.io/?EIO=4&transport=polling&sid={sid}");
    ask(root.address(), "POST", &path, &upgrade, b"40/uplink,").await;
    // A ping may come first, in the same poll or one of its own. It is not answered, which bounds the polls.
    let mut seen = String::new();
    while !seen.contains("44/uplink,") {
        let reply = ask(root.address(), "GET", &path, &upgrade, b"").await;
        seen.push_str(&reply.body);
        assert_eq!(reply.status, 200, "{seen}");
    }
    assert!(!seen.contains("40/uplink,"), "{seen}");
}
