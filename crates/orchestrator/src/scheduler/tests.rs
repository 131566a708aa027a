use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use model::name::Name;
use model::units::{Bytes, Millicores, Resources};
use protocol::document::{Format, Options, parse};
use schedulers::Workers;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::*;

/// What a scheduler does with a question.
enum Does {
    Says(&'static str),
    HangsUp,
    Waits,
}

fn question(url: &str, deadline: Duration) -> Question {
    let document = b"api_version: v0.1\njob_name: shop\nimage_runtime: native\ncommand: [/bin/a]\n\
        requirements: {cpu: 0.5, memory: 64}\ncluster_location: munich\n";
    let read = parse(document, Format::Yaml, Options::default());
    let job = read.unwrap().remove(0);
    let spec = Arc::clone(&job.services[0]);
    let offer = |id: &str, cpu| Offer {
        id: id.to_owned(),
        name: format!("pi-{id}"),
        location: "munich".to_owned(),
        architecture: "aarch64".to_owned(),
        labels: BTreeMap::from([("zone".to_owned(), "a".to_owned())]),
        room: Resources {
            cpu: Millicores(cpu),
            memory: Bytes::from_mb(512),
            disk: Bytes(0),
        },
        replicas: 1,
        workers: None,
    };
    let cluster = Offer {
        architecture: String::new(),
        labels: BTreeMap::new(),
        workers: Some(Workers {
            count: 3,
            room: Resources {
                cpu: Millicores(750),
                memory: Bytes::from_mb(1_024),
                disk: Bytes(0),
            },
        }),
        ..offer("2", 250)
    };
    Question {
        number: 7,
        remote: Remote {
            deadline,
            ..Remote::at(url).unwrap()
        },
        job: Name::new("shop").unwrap(),
        service: spec.name.clone(),
        index: 2,
        spec,
        offers: vec![offer("1", 1_500), cluster],
    }
}

/// A scheduler that takes one question, and what it was sent.
async fn scheduler(does: Does) -> (String, oneshot::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/choose", listener.local_addr().unwrap());
    let (tell, told) = oneshot::channel();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut text = Vec::new();
        while !text.ends_with(b"}]}") {
            assert_ne!(stream.read_buf(&mut text).await.unwrap(), 0);
        }
        let _ = tell.send(String::from_utf8(text).unwrap());
        match does {
            Does::Says(answer) => stream.write_all(answer.as_bytes()).await.unwrap(),
            Does::HangsUp => {}
            Does::Waits => std::future::pending().await,
        }
    });
    (url, told)
}

fn client() -> Client {
    Client::new(None, None, false, false).unwrap()
}

async fn asked(does: Does) -> Answer {
    let (url, _told) = scheduler(does).await;
    client().ask(&question(&url, Duration::from_secs(20))).await
}

#[tokio::test]
async fn a_question_says_what_is_to_be_placed_and_who_will_do() {
    let says = "HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{\"choose\": \"2\"}";
    let (url, told) = scheduler(Does::Says(says)).await;
    let answer = client().ask(&question(&url, Duration::from_secs(20))).await;
    assert_eq!(answer, Answer::Choose("2".to_owned()));
    let told = told.await.unwrap();
    let (head, body) = told.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /choose HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("content-type: application/json"), "{head}");
    let body: Value = serde_json::from_str(body).unwrap();
    let expected = serde_json::json!({
        "version": 1, "job_name": "shop", "service": "shop", "replica": 2, "image_runtime": "native",
        "cpu_cores": 0.5, "memory_in_mb": 64, "disk_in_mb": 0, "location": "munich",
        "candidates": [
            {"id": "1", "name": "pi-1", "location": "munich", "architecture": "aarch64", "labels": {"zone": "a"},
             "free_cores": 1.5, "memory_free_in_mb": 512, "disk_free_in_mb": 0, "replicas": 1},
            {"id": "2", "name": "pi-2", "location": "munich",
             "free_cores": 0.25, "memory_free_in_mb": 512, "disk_free_in_mb": 0, "replicas": 1,
             "workers": 3, "total_free_cores": 0.75, "total_memory_free_in_mb": 1024, "total_disk_free_in_mb": 0}],
    });
    assert_eq!(body, expected);
}

#[tokio::test]
async fn each_answer_is_taken_for_what_it_is() {
    let cases = [
        (
            "200 OK",
            r#"{"choose": null, "reason": "all are asleep"}"#,
            "Nobody(\"all are asleep\")",
        ),
        (
            "200 OK",
            r#"{"choose": null}"#,
            "Nobody(\"it does not say why\")",
        ),
        ("200 OK", r#"{"choose": "a", "more": 1}"#, "Choose(\"a\")"),
        (
            "200 OK",
            "{}",
            "Unusable(\"its answer cannot be used: missing field `choose`",
        ),
        ("200 OK", "[1]", "Unusable(\"its answer cannot be used: "),
        (
            "200 OK",
            "\u{1}\u{2}",
            "Unusable(\"its answer cannot be used: ",
        ),
        (
            "400 Bad Request",
            "what?",
            "Unusable(\"it answered 400 Bad Request: what?\")",
        ),
        ("302 Found", "", "Unusable(\"it answered 302 Found"),
        (
            "503 Service Unavailable",
            "busy",
            "Silence(\"it answered 503 Service Unavailable: busy\")",
        ),
    ];
    for (status, body, expected) in cases {
        let text = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = format!("{:?}", asked(Does::Says(text.leak())).await);
        assert!(answer.starts_with(expected), "{status} {body}: {answer}");
    }
    let long = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n{}",
        " ".repeat(1_000_000)
    );
    let answer = asked(Does::Says(long.leak())).await;
    assert_eq!(answer, unusable("it cannot be read to its end"));
}

#[tokio::test]
async fn whatever_it_does_there_is_an_answer_in_time() {
    for does in [Does::HangsUp, Does::Says("SSH-2.0-OpenSSH\r\n\r\n")] {
        let answer = asked(does).await;
        assert!(matches!(answer, Answer::Silence(_)), "{answer:?}");
    }
    let (url, _told) = scheduler(Does::Waits).await;
    let begun = Instant::now();
    let answer = client()
        .ask(&question(&url, Duration::from_millis(100)))
        .await;
    assert_eq!(
        answer,
        Answer::Silence("no answer came within 100 ms".to_owned())
    );
    assert!(begun.elapsed() < Duration::from_secs(10));
    let nobody = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", free.local_addr().unwrap())
    };
    let answer = client()
        .ask(&question(&nobody, Duration::from_secs(20)))
        .await;
    let Answer::Silence(why) = answer else {
        panic!("{answer:?}");
    };
    assert!(why.contains("cannot be reached"), "{why}");
}

#[test]
fn who_may_not_be_asked_is_said_with_the_remedy() {
    let check = |text: &str, insecure| {
        let client = Client::new(None, None, insecure, false).unwrap();
        client.check(&text.parse().unwrap())
    };
    assert_eq!(check("location", false), Ok(()));
    assert_eq!(check("http://127.0.0.1:10005/a", false), Ok(()));
    assert_eq!(check("http://192.0.2.1:10005", true), Ok(()));
    for (text, remedy) in [
        ("http://192.0.2.1:10005", "--insecure"),
        ("https://192.0.2.1:10005", "--scheduler-ca"),
        ("faulty", "for tests alone"),
        ("http://127.0.0.1 fallback=faulty", "for tests alone"),
    ] {
        let refused = check(text, false).unwrap_err();
        assert!(refused.contains(remedy), "{refused}");
    }
}

#[test]
fn a_policy_is_shown_as_it_is_asked_for() {
    for text in [
        "location",
        "http://a deadline=500ms fallback=none",
        "http://a fallback=location",
    ] {
        let known: Policy = text.parse().unwrap();
        assert_eq!(policy(&body(&known)), Ok(known));
    }
    let bare = SchedulerBody {
        scheduler: "location".to_owned(),
        deadline: Some("1s".to_owned()),
        fallback: None,
    };
    assert!(policy(&bare).is_err(), "a built-in one has no deadline");
}
