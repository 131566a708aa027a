use std::sync::Arc;

use store::Memory;

use crate::site::{Site, config, document};

#[tokio::test]
async fn every_refusal_is_a_problem_with_a_stable_code() {
    let site = Site::start(config(), Arc::new(Memory::new())).await;
    let one = document("a", 10);
    assert_eq!(site.submit(&one).await.status, 202);
    let two = format!("{one}---\n{}", document("b", 10));
    let cases = [
        ("GET /nowhere", "", "", 404, "no_such_path"),
        ("GET /api/v1/jobs/b", "", "", 404, "no_such_job"),
        ("GET /api/v1/nodes/b", "", "", 404, "no_such_node"),
        ("POST /api/v1/nodes/b/cordon", "", "", 404, "no_such_node"),
        ("POST /api/v1/nodes/b/drain", "", "", 404, "no_such_node"),
        ("DELETE /api/v1/nodes/b", "", "", 404, "no_such_node"),
        ("DELETE /api/v1/jobs/b", "", "", 404, "no_such_job"),
        ("DELETE /api/v1/jobs", "", "", 405, "method_not_allowed"),
        ("GET /api/v1/jobs?state=FINE", "", "", 400, "bad_request"),
        ("GET /api/v1/jobs?colour=red", "", "", 400, "bad_request"),
        (
            "POST /api/v1/jobs?dry_run=true",
            "",
            one.as_str(),
            409,
            "name_in_use",
        ),
        ("POST /api/v1/jobs", "", one.as_str(), 409, "name_in_use"),
        ("POST /api/v1/jobs", "", two.as_str(), 409, "name_in_use"),
        ("POST /api/v1/jobs", "", "job_name: [", 400, "bad_document"),
        (
            "POST /api/v1/jobs",
            "Content-Type: text/html\r\n",
            "",
            415,
            "unsupported_media_type",
        ),
        (
            "POST /api/v1/jobs",
            "Idempotency-Key: a b\r\n",
            one.as_str(),
            400,
            "bad_request",
        ),
        ("PUT /api/v1/jobs/c", "", one.as_str(), 422, "name_mismatch"),
        ("PUT /api/v1/jobs/a", "", two.as_str(), 400, "bad_request"),
    ];
    for (line, headers, body, status, code) in cases {
        let reply = site.ask(line, headers, body).await;
        assert_eq!(reply.status, status, "{line}: {reply:?}");
        assert_eq!(reply.json()["code"], code, "{line}");
        assert!(reply.head.contains("application/problem+json"), "{line}");
    }
    // Of two documents none was taken.
    assert_eq!(site.ask("GET /api/v1/jobs/b", "", "").await.status, 404);
    site.stop().await;
}

#[tokio::test]
async fn put_creates_then_changes_then_finds_nothing_to_do() {
    let site = Site::start(config(), Arc::new(Memory::new())).await;
    let put = async |body: &str| {
        let reply = site.ask("PUT /api/v1/jobs/a", "", body).await;
        assert_eq!(reply.status, 202, "{reply:?}");
        reply.json()["generation"].as_u64().unwrap()
    };
    assert_eq!(put(&document("a", 10)).await, 1);
    assert_eq!(put(&document("a", 20)).await, 2);
    assert_eq!(put(&document("a", 20)).await, 2);
    let yaml = site
        .ask("GET /api/v1/jobs/a", "Accept: application/yaml\r\n", "")
        .await;
    assert!(yaml.text.contains("job_name: a\n"), "{}", yaml.text);
    let job = site.until_state("a", "NOT_DEPLOYED").await;
    assert_eq!(job["reason_code"], "no_worker");
    site.stop().await;
}

#[tokio::test]
async fn lists_go_page_by_page() {
    let site = Site::start(config(), Arc::new(Memory::new())).await;
    for name in ["a", "b", "c", "d", "e"] {
        site.submit(&document(name, 10)).await;
    }
    let mut names = Vec::new();
    let mut path = "/api/v1/jobs?limit=2".to_owned();
    loop {
        let page = site.get(&path).await;
        let items = page["items"].as_array().unwrap().clone();
        names.extend(
            items
                .iter()
                .map(|job| job["job_name"].as_str().unwrap().to_owned()),
        );
        let Some(cursor) = page["next_cursor"].as_str() else {
            break;
        };
        path = format!("/api/v1/jobs?limit=2&cursor={cursor}");
    }
    names.sort();
    assert_eq!(names, ["a", "b", "c", "d", "e"]);
    site.stop().await;
}
