use std::fmt::Write as _;
use std::time::Duration;

use axum::response::Response;
use axum::routing::{get, post};
use axum::{Extension, Router};
use identity::authority::{Authority, Life};
use identity::door::{Door, Plain};
use identity::gate::{self, Showing};
use identity::{Credential, Holder, Key, Trust, any_name};
use model::id::ClusterId;
use model::time::Wall;
use prometheus::Registry;
use protocol::document::{Format, Options};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::*;

struct Service {
    address: std::net::SocketAddr,
    shutdown: CancellationToken,
    served: tokio::task::JoinHandle<std::io::Result<()>>,
    registry: Registry,
}

/// Request line, headers, body, and the status and code that are expected.
type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a [u8], u16, &'a str);

struct Reply {
    status: u16,
    head: String,
    body: String,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

async fn submit(accept: Accept, body: Body) -> Result<Response, ApiError> {
    let job = job_document(&body, Options::default())?;
    let name = job.name.to_string();
    Ok(accept.accepted(&format!("/jobs/{name}"), &json!({"job_name": name})))
}

async fn list(accept: Accept, Query(page): Query<PageQuery>) -> Result<Response, ApiError> {
    let after = page.after::<u32>()?.unwrap_or(0);
    let rows: Vec<u32> = (after + 1..=5).take(page.limit()? + 1).collect();
    Ok(accept.ok(&Cursor::page(rows, page.limit()?, |row| *row)))
}

/// Who asks, by its certificate.
async fn who(Extension(peer): Extension<Shown>) -> String {
    peer.map_or_else(|| "nobody".to_owned(), |peer| peer.holder.to_string())
}

/// Begins at once, and ends long after the time for a header.
async fn slowly() -> axum::body::Body {
    let parts = futures_util::stream::unfold(0, |part| async move {
        let text = match part {
            0 => "begin ",
            1 => {
                tokio::time::sleep(Duration::from_millis(300)).await;
                "end"
            }
            _ => return None,
        };
        Some((Ok::<_, std::convert::Infallible>(text), part + 1))
    });
    axum::body::Body::from_stream(parts)
}

async fn service(limits: Limits) -> Service {
    served_by(Door::plain(Plain::ThisMachine), limits).await
}

async fn served_by(door: Door, limits: Limits) -> Service {
    let registry = Registry::new();
    let router = Router::new()
        .route("/jobs", post(submit))
        .route("/list", get(list))
        .route("/slowly", get(slowly))
        .route("/who", get(who))
        .route("/jobs/{job}", get(|Path(job): Path<String>| async { job }));
    let router = finish(router, Metrics::register(&registry).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let served = tokio::spawn(serve_with(
        (listener, door),
        router,
        shutdown.clone(),
        limits,
    ));
    Service {
        address,
        shutdown,
        served,
        registry,
    }
}

impl Service {
    async fn ask(&self, line: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let mut head = format!(
            "{line} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n",
            self.address
        );
        for (key, value) in headers {
            let _ = write!(head, "{key}: {value}\r\n");
        }
        let _ = write!(head, "Content-Length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).await.unwrap();
        // The server may refuse before it has read everything.
        let _ = stream.write_all(body).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer
            .split_once("\r\n\r\n")
            .unwrap_or_else(|| panic!("{line}: {answer:?}"));
        Reply {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            head: head.to_lowercase(),
            body: body.to_owned(),
        }
    }
}

const DOCUMENT: &[u8] = b"api_version: v0.1\njob_name: a\nimage: nginx\n";

#[tokio::test]
async fn a_document_is_accepted_in_each_form_and_answered_in_the_form_asked_for() {
    let service = service(Limits::default()).await;
    for kind in [
        "application/yaml",
        "text/yaml",
        "application/x-www-form-urlencoded",
    ] {
        let reply = service
            .ask("POST /jobs", &[("Content-Type", kind)], DOCUMENT)
            .await;
        assert_eq!(
            (reply.status, reply.json()),
            (202, json!({"job_name": "a"}))
        );
        assert!(reply.head.contains("location: /jobs/a"));
    }
    let reply = service
        .ask("POST /jobs", &[("Accept", "application/yaml")], DOCUMENT)
        .await;
    assert_eq!((reply.status, reply.body.as_str()), (202, "job_name: a\n"));
    assert!(reply.head.contains("content-type: application/yaml"));
}

#[tokio::test]
async fn every_refusal_is_a_problem() {
    let service = service(Limits::default()).await;
    let two = [DOCUMENT, b"---\n", DOCUMENT].concat();
    let big = vec![b' '; MAX_BODY + 1];
    let origin = [("Origin", "http://evil.example")];
    let cases: [Case<'_>; 10] = [
        ("GET /nowhere", &[], b"", 404, "no_such_path"),
        ("DELETE /jobs", &[], b"", 405, "method_not_allowed"),
        (
            "POST /jobs",
            &[],
            b"api_version: v0.1\njob_name: 1\nx: 1\n",
            400,
            "bad_document",
        ),
        ("POST /jobs", &[], &two, 400, "bad_document"),
        ("POST /jobs", &[], &big, 413, "too_large"),
        (
            "POST /jobs",
            &[("Content-Type", "text/html")],
            b"",
            415,
            "unsupported_media_type",
        ),
        (
            "POST /jobs",
            &[("Content-Encoding", "gzip")],
            b"",
            415,
            "unsupported_media_type",
        ),
        // The second is not ignored, either.
        (
            "POST /jobs",
            &[
                ("Content-Encoding", "identity"),
                ("Content-Encoding", "gzip"),
            ],
            b"",
            415,
            "unsupported_media_type",
        ),
        ("POST /jobs", &origin, DOCUMENT, 403, "forbidden"),
        ("GET /list?limti=1", &[], b"", 400, "bad_request"),
    ];
    for (line, headers, body, status, code) in cases {
        let reply = service.ask(line, headers, body).await;
        assert_eq!(reply.status, status, "{line} {}", reply.body);
        assert!(reply.head.contains("application/problem+json"), "{line}");
        assert_eq!(reply.json()["code"], code, "{line}");
    }
    let reply = service.ask("DELETE /jobs", &[], b"").await;
    assert!(reply.head.contains("allow: post"), "{}", reply.head);
    let reply = service
        .ask("POST /jobs", &[], b"api_version: v0.1\njob_name: 1\nx: 1\n")
        .await;
    assert!(
        reply.json()["errors"].as_array().unwrap().len() > 1,
        "{}",
        reply.body
    );
}

#[tokio::test]
async fn a_list_is_read_page_by_page() {
    let service = service(Limits::default()).await;
    let mut rows = Vec::new();
    let mut path = "GET /list?limit=2".to_owned();
    loop {
        let page = service.ask(&path, &[], b"").await.json();
        rows.extend(page["items"].as_array().unwrap().clone());
        let Some(cursor) = page["next_cursor"].as_str() else {
            break;
        };
        path = format!("GET /list?limit=2&cursor={cursor}");
    }
    assert_eq!(Value::from(rows), json!([1, 2, 3, 4, 5]));
    for bad in [
        "limit=0",
        "limit=1001",
        "cursor=5",
        "cursor=c",
        "cursor=c\u{e4}",
    ] {
        let line = format!("GET /list?{bad}");
        assert_eq!(service.ask(&line, &[], b"").await.status, 400, "{bad}");
    }
}

#[tokio::test]
async fn an_own_page_may_write_and_a_foreign_one_may_read() {
    let service = service(Limits::default()).await;
    let own = format!("http://{}", service.address);
    let reply = service
        .ask("POST /jobs", &[("Origin", &own)], DOCUMENT)
        .await;
    assert_eq!(reply.status, 202);
    let reply = service
        .ask("GET /list", &[("Origin", "http://evil.example")], b"")
        .await;
    assert_eq!(reply.status, 200);
}

#[tokio::test]
async fn requests_are_counted_by_the_pattern_of_their_route() {
    let service = service(Limits::default()).await;
    for name in ["a", "b", "c%20d"] {
        service.ask(&format!("GET /jobs/{name}"), &[], b"").await;
    }
    service.ask("GET /nowhere", &[], b"").await;
    let families = service.registry.gather();
    let text = prometheus::TextEncoder::new()
        .encode_to_string(&families)
        .unwrap();
    assert!(
        text.contains("route=\"/jobs/{job}\",status=\"200\"} 3"),
        "{text}"
    );
    assert!(text.contains("route=\"none\",status=\"404\"} 1"), "{text}");
}

#[tokio::test]
async fn a_client_that_never_ends_its_header_is_cut_off() {
    let limits = Limits {
        header: Duration::from_millis(100),
        ..Limits::default()
    };
    let service = service(limits).await;
    let mut stream = TcpStream::connect(service.address).await.unwrap();
    stream
        .write_all(b"GET /list HTTP/1.1\r\nHost: a\r\n")
        .await
        .unwrap();
    let mut rest = Vec::new();
    let cut = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut rest)).await;
    assert!(cut.is_ok());
}

#[tokio::test]
async fn a_long_answer_outlasts_the_time_for_a_header() {
    let limits = Limits {
        header: Duration::from_millis(50),
        ..Limits::default()
    };
    let service = service(limits).await;
    let reply = service.ask("GET /slowly", &[], b"").await;
    assert!(reply.body.contains("end"), "{}", reply.body);
}

#[tokio::test]
async fn the_end_of_the_service_waits_for_no_idle_client() {
    let service = service(Limits::default()).await;
    let _idle = TcpStream::connect(service.address).await.unwrap();
    assert_eq!(service.ask("GET /list", &[], b"").await.status, 200);
    service.shutdown.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(2), service.served).await;
    assert!(ended.unwrap().unwrap().is_ok());
}

#[test]
fn json_is_what_nobody_has_to_ask_for() {
    let of = |accept: &str| {
        let mut headers = axum::http::HeaderMap::new();
        headers.insert("accept", accept.parse().unwrap());
        Accept::of(&headers).0
    };
    for accept in [
        "",
        "*/*",
        "application/json",
        "text/html",
        "application/yaml;q=0.5, */*",
    ] {
        assert_eq!(of(accept), Format::Json, "{accept}");
    }
    for accept in [
        "application/yaml",
        "text/yaml, application/json;q=0.9",
        "text/yaml, text/html",
    ] {
        assert_eq!(of(accept), Format::Yaml, "{accept}");
    }
}

#[tokio::test]
async fn one_port_serves_tls_and_plain_text_and_a_certificate_says_who_asks() {
    let life = Life {
        from: Wall(0),
        lasting: Duration::from_hours(1),
    };
    let (authority, _) = Authority::make("root", Wall(0)).unwrap();
    let showing = Showing::new(&authority.server(&[], life).unwrap()).unwrap();
    let tls = gate::server(&authority, showing).unwrap();
    let service = served_by(Door::new(tls, Plain::ThisMachine), Limits::default()).await;
    assert_eq!(service.ask("GET /who", &[], b"").await.body, "nobody");

    let key = Key::make().unwrap();
    let holder = Holder::Cluster(ClusterId::from_bits(7));
    let issued = authority
        .issue(&key.request().unwrap(), holder, life)
        .unwrap();
    let own = Credential::new(&issued.certificate, &key).unwrap();
    let trust = Trust::authority(&authority.certificate()).unwrap();
    for (own, expected) in [
        (None, "nobody".to_owned()),
        (Some(&own), holder.to_string()),
    ] {
        let connector = tokio_rustls::TlsConnector::from(trust.client(own).unwrap());
        let stream = TcpStream::connect(service.address).await.unwrap();
        let mut stream = connector.connect(any_name(), stream).await.unwrap();
        let request = "GET /who HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with(&expected), "{answer}");
    }
}
