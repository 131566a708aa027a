use std::sync::Arc;

use axum::body::Body as HttpBody;
use axum::extract::State;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use expect_test::expect;
use protocol::document::schema::JobDocument;
use protocol::document::{Fault, Format};
use protocol::rest::{
    EventBody, JobBody, JoinRequest, JoinTokenRequest, List, MigrateRequest, NodePatch,
    RenewRequest, RestartRequest, ScaleRequest,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::Api;
use crate::guard::{Need, Unguarded};
use crate::{Accept, ApiError, Body, IdempotencyKey, LastEventId, Path, Query};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Follow {
    /// Goes on with what comes.
    follow: Option<bool>,
    /// How many, 1 to 1000.
    #[schemars(range(min = 1, max = 1000))]
    limit: Option<usize>,
}

async fn list(State(()): State<()>, accept: Accept, Query(query): Query<Follow>) -> Response {
    accept.ok(&json!({"limit": query.limit, "follow": query.follow}))
}

async fn submit(accept: Accept, IdempotencyKey(key): IdempotencyKey, _body: Body) -> Response {
    accept.accepted("/jobs/a", &json!({"key": key}))
}

async fn one(Path(job): Path<String>) -> String {
    job
}

async fn scale(Path(_job): Path<String>, body: Body) -> Result<StatusCode, ApiError> {
    ScaleRequest::parse(&body.bytes, body.format)
        .map_err(protocol::problem::Problem::bad_document)?;
    Ok(StatusCode::ACCEPTED)
}

async fn events(LastEventId(id): LastEventId) -> String {
    format!("{id:?}")
}

/// Anybody may.
fn op(summary: &'static str) -> crate::Operation {
    super::op(summary).needs(Need::Nothing)
}

fn api() -> Api<()> {
    let jobs = Api::new("Jobs", "")
        .get(
            "/jobs",
            list,
            op("List jobs")
                .tag("jobs")
                .answers::<List<JobBody>>(200, "A page")
                .problems(&[503]),
        )
        .post(
            "/jobs",
            submit,
            op("Submit documents")
                .tag("jobs")
                .takes::<JobDocument>()
                .answers::<JobBody>(202, "The job")
                .answers::<List<JobBody>>(202, "the jobs, where there were several documents")
                .header(202, "Location", "Where the job is")
                .problems(&[409, 422]),
        );
    Api::new("Example", "What the tests ask.")
        .parameter("job", "Id or name of a job.")
        .merge(jobs)
        .get(
            "/jobs/{job}",
            one,
            op("Get a job")
                .text("text/plain", "Its name")
                .problems(&[404]),
        )
        .post(
            "/jobs/{job}/scale",
            scale,
            op("Scale a job")
                .takes::<ScaleRequest>()
                .empty(202, "Accepted"),
        )
        .get(
            "/events",
            events,
            op("Follow events")
                .text("text/event-stream", "Events")
                .answers::<List<EventBody>>(200, "a page"),
        )
}

async fn ask(request: axum::http::request::Builder) -> (StatusCode, Response) {
    let request = request.body(HttpBody::empty()).unwrap();
    let response = api()
        .serve((), Arc::new(Unguarded))
        .oneshot(request)
        .await
        .unwrap();
    (response.status(), response)
}

async fn text(response: Response) -> String {
    let bytes = axum::body::to_bytes(response.into_body(), usize::MAX)
        .await
        .unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_description_says_what_extractors_take() {
    let document = api().document();
    let submit = &document["paths"]["/jobs"]["post"];
    let names: Vec<_> = submit["responses"].as_object().unwrap().keys().collect();
    assert_eq!(
        names,
        [
            "202", "400", "403", "408", "409", "413", "415", "422", "429", "500"
        ]
    );
    assert_eq!(submit["parameters"][0]["name"], "Idempotency-Key");
    assert_eq!(
        submit["responses"]["202"]["content"]["application/yaml"]["schema"],
        json!({"anyOf": [{"$ref": "#/components/schemas/JobBody"}, {"$ref": "#/components/schemas/JobBodyList"}]})
    );
    let kinds: Vec<_> = submit["requestBody"]["content"]
        .as_object()
        .unwrap()
        .keys()
        .collect();
    assert_eq!(kinds.len(), 5);
    expect![[r#"
        [
          {
            "description": "Goes on with what comes.",
            "in": "query",
            "name": "follow",
            "required": false,
            "schema": {
              "type": "boolean"
            }
          },
          {
            "description": "How many, 1 to 1000.",
            "in": "query",
            "name": "limit",
            "required": false,
            "schema": {
              "format": "uint",
              "maximum": 1000,
              "minimum": 1,
              "type": "integer"
            }
          }
        ]"#]]
    .assert_eq(
        &serde_json::to_string_pretty(&document["paths"]["/jobs"]["get"]["parameters"]).unwrap(),
    );
    let wait = &document["components"]["responses"]["Problem503"]["headers"]["Retry-After"];
    assert_eq!(wait["required"], true);
}

#[test]
fn every_reference_is_answered() {
    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                found.extend(
                    fields
                        .get("$ref")
                        .and_then(Value::as_str)
                        .map(str::to_owned),
                );
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    let document = api().document();
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 10);
    for reference in found {
        let place = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(place).is_some(), "{reference}");
    }
}

#[test]
fn answers_have_every_field_that_is_always_written() {
    let document = api().document();
    let job = &document["components"]["schemas"]["JobBody"];
    let required = job["required"].as_array().unwrap();
    assert!(required.contains(&json!("reason")), "{job}");
    assert!(!required.contains(&json!("unconfirmed")), "{job}");
}

#[test]
fn what_does_not_fit_together_is_told() {
    assert_eq!(api().faults(), [""; 0]);
    let bad = Api::<()>::new("Bad", "")
        .post("/a/{b}", one, op("Do it").takes::<ScaleRequest>())
        .get("/a", scale, op("Do it").empty(200, ""));
    expect![[r"
        post /a/{b}: a handler has a `Body` where its operation `takes` something, and only there
        post /a/{b}: no answer is a success
        post /a/{b}: a parameter of the path is not explained
        get /a: a handler has a `Body` where its operation `takes` something, and only there
        get /a: a handler has a `Path` where its path has parameters, and only there
        two operations are called doIt"]]
    .assert_eq(&bad.faults().join("\n"));
}

#[tokio::test]
async fn each_path_that_is_described_is_served() {
    let document = api().serve((), Arc::new(Unguarded));
    let request = Request::get("/openapi.json")
        .body(HttpBody::empty())
        .unwrap();
    let response = document.oneshot(request).await.unwrap();
    let document: Value = serde_json::from_str(&text(response).await).unwrap();
    let paths = document["paths"].as_object().unwrap();
    assert_eq!(paths.len(), 9);
    for (path, item) in paths {
        for method in item.as_object().unwrap().keys() {
            let path = path.replace("{job}", "a");
            let request = Request::builder()
                .method(method.to_uppercase().as_str())
                .uri(&path);
            let (status, _) = ask(request).await;
            assert_ne!(status, StatusCode::NOT_FOUND, "{method} {path}");
            assert_ne!(status, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn a_page_that_is_known_is_not_sent_again() {
    for path in [
        "/openapi.json",
        "/docs",
        "/docs/page.js",
        "/docs/page.css",
        "/api/v1/schema/job",
    ] {
        let (status, response) = ask(Request::get(path)).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        let tag = response.headers()["etag"].clone();
        assert!(response.headers().contains_key("content-security-policy"));
        assert_eq!(response.headers()["cache-control"], "no-cache");
        let (status, response) = ask(Request::get(path).header("If-None-Match", &tag)).await;
        assert_eq!(status, StatusCode::NOT_MODIFIED, "{path}");
        assert_eq!(response.headers()["etag"], tag);
        assert_eq!(text(response).await, "");
    }
}

#[tokio::test]
async fn parameters_that_nobody_takes_are_refused() {
    let status = |uri: &'static str| async move { ask(Request::get(uri)).await.0.as_u16() };
    assert_eq!(status("/jobs/a?x=1").await, 400);
    assert_eq!(status("/jobs/a?").await, 200);
    assert_eq!(status("/jobs?limit=3").await, 200);
    assert_eq!(status("/jobs?limti=3").await, 400);
}

#[tokio::test]
async fn a_body_that_nobody_takes_is_refused() {
    let status = async |body: &'static str| {
        let request = Request::get("/jobs/a").body(HttpBody::from(body));
        let response = api()
            .serve((), Arc::new(Unguarded))
            .oneshot(request.unwrap())
            .await
            .unwrap();
        response.status()
    };
    assert_eq!(status("").await, 200);
    assert_eq!(status("force: true").await, 400);
}

#[tokio::test]
async fn headers_are_honoured_or_refused() {
    let post = |key: &'static str| async move {
        let (status, response) = ask(Request::post("/jobs").header("Idempotency-Key", key)).await;
        (status.as_u16(), text(response).await)
    };
    assert_eq!(post("k-1").await, (202, r#"{"key":"k-1"}"#.to_owned()));
    for bad in ["", "a b", "\u{e4}"] {
        assert_eq!(post(bad).await.0, 400, "{bad:?}");
    }
    let events = |id: &'static str| async move {
        ask(Request::get("/events").header("Last-Event-ID", id))
            .await
            .0
            .as_u16()
    };
    assert_eq!(events("evt_01HV6Z3K8Q2M4N5P6R7S8T9VWX").await, 200);
    assert_eq!(events("").await, 200);
    assert_eq!(events("7").await, 400);
    let two = Request::post("/jobs")
        .header("Idempotency-Key", "a")
        .header("Idempotency-Key", "b");
    assert_eq!(ask(two).await.1.into_response().status(), 400);
}

/// The fields of a request's schema are those that its reader names.
fn check_request<T: JsonSchema>(parse: fn(&[u8], Format) -> Result<T, Vec<Fault>>) {
    let faults = parse(b"{zzzzzzzzzzzz: 1}", Format::Yaml).err().unwrap();
    let told = faults
        .iter()
        .find(|fault| fault.path == "zzzzzzzzzzzz")
        .unwrap();
    let (_, known) = told.message.split_once("known here are ").unwrap();
    let mut known: Vec<_> = known.split(", ").collect();
    known.sort_unstable();
    let schema = schemars::schema_for!(T);
    let fields: Vec<_> = schema
        .get("properties")
        .unwrap()
        .as_object()
        .unwrap()
        .keys()
        .collect();
    assert_eq!(fields, known, "{}", T::schema_name());
    assert_eq!(schema.get("additionalProperties"), Some(&json!(false)));
}

#[test]
fn requests_are_described_as_they_are_read() {
    check_request(ScaleRequest::parse);
    check_request(RestartRequest::parse);
    check_request(MigrateRequest::parse);
    check_request(NodePatch::parse);
    check_request(JoinRequest::parse);
    check_request(RenewRequest::parse);
    check_request(JoinTokenRequest::parse);
}
