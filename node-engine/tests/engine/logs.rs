//! Answers about output, beside everything else that a worker says.

#![expect(clippy::print_stderr, reason = "one that measures says what")]

use std::time::{Duration, Instant};

use model::id::{InstanceId, NodeId};
use protocol::message::question::{Logs, RequestId, Stream};
use protocol::message::reply::{End, TEXT_LIMIT};

use crate::cluster::{Cluster, application};
use crate::process::Home;

const NODE: NodeId = NodeId::from_bits(77);

fn id(text: &str) -> RequestId {
    RequestId::new(text).unwrap()
}

fn logs(request: &str, instance: InstanceId, credit: u64) -> Stream {
    Stream::Logs(Logs {
        request: id(request),
        instance,
        follow: true,
        tail: None,
        since: None,
        credit,
    })
}

fn credit(request: &str, bytes: u64) -> Stream {
    Stream::Credit {
        request: id(request),
        bytes,
    }
}

/// 60 readers without credit.
async fn open_stuck(cluster: &mut Cluster, instance: InstanceId) {
    for number in 0..60 {
        let name = format!("stuck-{number}");
        cluster.stream(&logs(&name, instance, 0));
        // The endpoint's queue is short, and takes no more while it is full.
        cluster
            .until("it was heard", |cluster| {
                cluster.replies.contains_key(&name)
            })
            .await;
    }
}

#[tokio::test]
async fn a_flood_and_readers_that_do_not_read_delay_no_state() {
    let mut cluster = Cluster::start(NODE).await;
    let home = Home::new();
    let _engine = home.engine(&cluster.url);
    // Some gigabytes a second, as fast as the pipe takes them.
    let flood = application(
        21,
        &["/usr/bin/yes", "all work and no play makes jack a dull boy"],
    );
    let script = "while :; do echo tick; sleep 0.1; done";
    let calm = application(22, &["/bin/sh", "-c", script]);
    let (flooding, ticking) = (flood.instance, calm.instance);
    cluster.deploy(flood);
    cluster.deploy(calm);
    cluster
        .until("both run", |cluster| {
            cluster.runs(flooding) && cluster.runs(ticking)
        })
        .await;
    open_stuck(&mut cluster, flooding).await;
    cluster.stream(&logs("calm", ticking, 1 << 20));
    cluster.stream(&logs("fast", flooding, 64 << 10));
    cluster
        .until("the calm one is read", |cluster| {
            cluster.text("calm").lines().count() > 10
        })
        .await;
    for number in 0..60 {
        assert_eq!(cluster.text(&format!("stuck-{number}")), "");
    }
    let (mut granted, mut read) = (64 << 10, 0);
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(3) {
        cluster
            .until("more of the flood comes", |cluster| {
                cluster.text("fast").len() > read
            })
            .await;
        let text = cluster.text("fast");
        assert!(text.len() <= granted, "{} bytes of {granted}", text.len());
        let grant = (64 << 10) - (granted - text.len());
        granted += grant;
        read = text.len();
        cluster.stream(&credit("fast", grant as u64));
    }
    eprintln!("beside 60 stuck readers one reads {} KB/s", read / 3_000);
    // A state is as fast as ever.
    let began = Instant::now();
    let quick = application(23, &["/bin/sleep", "1000"]);
    let instance = quick.instance;
    cluster.deploy(quick);
    cluster
        .until("another one runs", |cluster| cluster.runs(instance))
        .await;
    eprintln!("a deploy takes {:?} meanwhile", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(3));
    // Credit after a long while: what went by is said, and the text goes on.
    let skipped = "bytes skipped: written faster than they were read]";
    while !cluster.text("stuck-7").contains(skipped) {
        let read = cluster.text("stuck-7").len();
        // The file that it had begun is read to its end first.
        assert!(read < 3 << 20, "{read} bytes came");
        cluster.stream(&credit("stuck-7", 64 << 10));
        cluster
            .until("the stuck one reads on", |cluster| {
                cluster.text("stuck-7").len() > read + 2 * TEXT_LIMIT
            })
            .await;
    }
    // The end of an instance is the end of its answers.
    cluster.terminate(ticking);
    cluster
        .until("the calm one is read to its end", |cluster| {
            let chunks = cluster.replies.get("calm").unwrap();
            chunks.last().unwrap().end == Some(End::Done)
        })
        .await;
    let chunks = cluster.replies.get("calm").unwrap();
    assert!(
        chunks
            .iter()
            .enumerate()
            .all(|(at, chunk)| chunk.sequence == at as u64)
    );
}

#[tokio::test]
async fn answers_end_with_their_connection_and_the_next_one_answers_again() {
    let mut cluster = Cluster::start(NODE).await;
    let home = Home::new();
    let engine = home.engine(&cluster.url);
    let app = application(24, &["/bin/sh", "-c", "echo hello; exec sleep 1000"]);
    let instance = app.instance;
    cluster.deploy(app);
    cluster
        .until("it runs", |cluster| cluster.runs(instance))
        .await;
    cluster.stream(&logs("first", instance, 100));
    cluster
        .until("it is read", |cluster| cluster.text("first") == "hello\n")
        .await;
    let connections = cluster.connections.len();
    cluster.disconnect();
    cluster
        .until("it is back", |cluster| {
            cluster.connections.len() > connections
                && cluster.connections.last().is_some_and(|last| last.online)
        })
        .await;
    cluster.stream(&credit("first", 1 << 20));
    cluster.stream(&logs("second", instance, 100));
    cluster
        .until("it is read again", |cluster| {
            cluster.text("second") == "hello\n"
        })
        .await;
    assert_eq!(cluster.text("first"), "hello\n");
    // Kept by one engine, read from the next.
    cluster.terminate(instance);
    cluster
        .until("it is gone", |cluster| cluster.report(instance).is_none())
        .await;
    engine.kill();
    let _engine = home.engine(&cluster.url);
    cluster
        .until("the next engine answers", |cluster| {
            cluster.stream(&logs("third", instance, 100));
            cluster.text("third") == "hello\n"
        })
        .await;
    let unknown = InstanceId::from_bits(99);
    cluster.stream(&logs("fourth", unknown, 100));
    cluster
        .until("an unknown one is said", |cluster| {
            let last = cluster
                .replies
                .get("fourth")
                .and_then(|chunks| chunks.last());
            last.is_some_and(|last| last.end == Some(End::NoSuchInstance))
        })
        .await;
}
