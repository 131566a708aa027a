use std::path::PathBuf;
use std::time::Duration;

use model::id::{InstanceId, NodeId};
use tokio::time::timeout;

use super::*;
use crate::runtime::native::{Native, ShimCommand};
use crate::shim::output::Output;

/// Long enough for a busy machine.
const DEADLINE: Duration = Duration::from_secs(20);
/// Long enough to be sure that nothing comes.
const QUIET: Duration = Duration::from_millis(700);

/// A worker with native output on its disk, and one connection.
struct Rig {
    folder: tempfile::TempDir,
    streams: Streams,
    chunks: mpsc::Receiver<Outbound>,
    standings: Standings,
    standing: watch::Sender<Standing>,
    _runtimes: watch::Sender<Runtimes>,
}

impl Rig {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let shim = ShimCommand {
            program: "/no/shim".into(),
            args: Vec::new(),
        };
        let node = NodeId::from_bits(1);
        let native = Native::new(node, folder.path(), shim, mpsc::channel(1).0).unwrap();
        let runtimes = Runtimes::from([(RuntimeKind::Native, Arc::new(Runtime::Native(native)))]);
        let (inputs, mut asked) = mpsc::channel(8);
        let standings = Standings::new(inputs);
        let (standing, known) = watch::channel(Standing::Lives);
        // The controller.
        let teller = standings.clone();
        tokio::spawn(async move {
            while asked.recv().await.is_some() {
                let standing = *known.borrow();
                teller.tell(|_| standing);
            }
        });
        let (runtimes, known_runtimes) = watch::channel(runtimes);
        let sources = Sources {
            runtimes: known_runtimes,
            standings: standings.clone(),
        };
        let (sender, chunks) = mpsc::channel(1);
        Self {
            streams: Streams::new(sources, sender, Pace::default()),
            folder,
            chunks,
            standings,
            standing,
            _runtimes: runtimes,
        }
    }

    fn output(&self, instance: InstanceId) -> PathBuf {
        let instances = self.folder.path().join("instances");
        instances.join(instance.to_string()).join("output")
    }

    fn write(&self, instance: InstanceId, text: &[u8]) {
        Output::open(self.output(instance)).copy(text);
    }

    fn tell(&self, standing: Standing) {
        self.standing.send_replace(standing);
        self.standings.tell(|_| standing);
    }

    /// The next chunk that says something.
    async fn chunk(&mut self) -> (String, Chunk) {
        loop {
            let (request, chunk) = self.any_chunk().await;
            if !chunk.text.is_empty() || chunk.end.is_some() {
                return (request, chunk);
            }
        }
    }

    async fn any_chunk(&mut self) -> (String, Chunk) {
        let outbound = timeout(DEADLINE, self.chunks.recv()).await;
        let Outbound { request, chunk } = outbound.expect("a chunk comes in time").unwrap();
        (request.to_string(), chunk)
    }

    async fn is_quiet(&mut self) -> bool {
        timeout(QUIET, self.chunks.recv()).await.is_err()
    }

    /// The text of a stream to its end, with credit for all of it.
    async fn all(&mut self, logs: Logs) -> (String, End) {
        let name = logs.request.clone();
        self.streams.take(Stream::Logs(logs));
        let (mut text, mut next) = (String::new(), 0);
        loop {
            let (request, chunk) = self.any_chunk().await;
            assert_eq!((request.as_str(), chunk.sequence), (name.as_str(), next));
            assert!(chunk.text.len() <= TEXT_LIMIT);
            next += 1;
            self.grant(&name, chunk.text.len() as u64);
            text.push_str(&chunk.text);
            if let Some(end) = chunk.end {
                return (text, end);
            }
        }
    }

    fn grant(&mut self, request: &RequestId, bytes: u64) {
        self.streams.take(Stream::Credit {
            request: request.clone(),
            bytes,
        });
    }
}

fn id(text: &str) -> RequestId {
    RequestId::new(text).unwrap()
}

fn instance(bits: u128) -> InstanceId {
    InstanceId::from_bits(bits)
}

fn logs(request: &str, bits: u128) -> Logs {
    Logs {
        request: id(request),
        instance: instance(bits),
        follow: false,
        tail: None,
        since: None,
        credit: 64 << 10,
    }
}

#[tokio::test]
async fn what_there_is_comes_and_the_end_is_said() {
    let mut rig = Rig::new();
    rig.write(instance(1), b"one\ntwo\nthree\n");
    let (text, end) = rig.all(logs("a", 1)).await;
    assert_eq!((text.as_str(), end), ("one\ntwo\nthree\n", End::Done));
    let tail = Some(2);
    let (text, _) = rig
        .all(Logs {
            tail,
            ..logs("b", 1)
        })
        .await;
    assert_eq!(text, "two\nthree\n");
    let since = Some(Wall(i64::MAX / 2));
    let (text, _) = rig
        .all(Logs {
            since,
            ..logs("c", 1)
        })
        .await;
    assert_eq!(text, "");
    let large = "some words in a line of a larger text\n".repeat(30_000);
    rig.write(instance(2), large.as_bytes());
    let (text, end) = rig.all(logs("d", 2)).await;
    assert!(text == large, "{} bytes came", text.len());
    assert_eq!(end, End::Done);
}

#[tokio::test]
async fn an_instance_without_output_is_told_from_one_that_is_none() {
    let mut rig = Rig::new();
    assert_eq!(rig.all(logs("a", 1)).await, (String::new(), End::Done));
    rig.tell(Standing::Absent);
    let unknown = (String::new(), End::NoSuchInstance);
    assert_eq!(rig.all(logs("b", 1)).await, unknown);
    rig.write(instance(1), b"left\n");
    assert_eq!(
        rig.all(logs("c", 1)).await,
        ("left\n".to_owned(), End::Done)
    );
}

#[tokio::test]
async fn following_waits_for_the_instance_and_ends_with_it() {
    let mut rig = Rig::new();
    let follow = true;
    rig.streams.take(Stream::Logs(Logs {
        follow,
        ..logs("a", 1)
    }));
    assert_eq!(rig.any_chunk().await.1.text, "", "it was heard");
    assert!(rig.is_quiet().await);
    rig.write(instance(1), b"first\n");
    assert_eq!(rig.chunk().await.1.text, "first\n");
    rig.write(instance(1), b"second\nprompt> ");
    let mut text = rig.chunk().await.1.text;
    if text == "second\n" {
        text += &rig.chunk().await.1.text;
    }
    assert_eq!(text, "second\nprompt> ");
    assert!(rig.is_quiet().await);
    // It is stopped, says its last words, and is removed.
    rig.tell(Standing::Absent);
    rig.write(instance(1), b"bye\n");
    let mut text = rig.chunk().await.1.text;
    while text != "\nbye\n" {
        assert!("\nbye\n".starts_with(&text), "{text:?}");
        text += &rig.chunk().await.1.text;
    }
    assert!(rig.is_quiet().await);
    let kept = kept::Kept::new(rig.folder.path());
    kept.take(instance(1), &rig.output(instance(1))).unwrap();
    assert_eq!(rig.chunk().await.1.end, Some(End::Done));
    // It can be read all the same.
    let tail = Some(1);
    let (text, end) = rig
        .all(Logs {
            tail,
            ..logs("b", 1)
        })
        .await;
    assert_eq!((text.as_str(), end), ("bye\n", End::Done));
}

#[tokio::test]
async fn one_that_ended_for_good_is_followed_to_its_last_byte_only() {
    let mut rig = Rig::new();
    rig.write(instance(1), b"done");
    rig.tell(Standing::Over);
    let follow = true;
    let (text, end) = rig
        .all(Logs {
            follow,
            ..logs("a", 1)
        })
        .await;
    assert_eq!((text.as_str(), end), ("done", End::Done));
}

#[tokio::test]
async fn without_credit_nothing_comes_and_others_are_not_disturbed() {
    let mut rig = Rig::new();
    let lines = "0123456789\n".repeat(20_000);
    rig.write(instance(1), lines.as_bytes());
    let credit = 20_000;
    rig.streams.take(Stream::Logs(Logs {
        credit,
        ..logs("slow", 1)
    }));
    let first = rig.chunk().await.1.text;
    assert!(first.len() <= TEXT_LIMIT && first.ends_with('\n'));
    assert!(rig.is_quiet().await);
    // A stopped reader holds its own stream and no other.
    let (text, _) = rig.all(logs("fast", 1)).await;
    assert_eq!(text.len(), lines.len());
    assert!(rig.is_quiet().await);
    rig.grant(&id("slow"), 20_000);
    let second = rig.chunk().await.1;
    assert_eq!(second.sequence, 1);
    assert_eq!(lines[first.len()..][..second.text.len()], second.text);
    rig.streams.take(Stream::Cancel {
        request: id("slow"),
    });
    rig.grant(&id("slow"), 1 << 20);
    assert!(rig.is_quiet().await);
}

#[tokio::test]
async fn a_flood_and_a_reader_without_credit_cost_a_bounded_part_of_it() {
    let mut rig = Rig::new();
    rig.write(instance(1), b"begin\n");
    let (follow, credit) = (true, 6);
    rig.streams.take(Stream::Logs(Logs {
        follow,
        credit,
        ..logs("a", 1)
    }));
    assert_eq!(rig.chunk().await.1.text, "begin\n");
    let flood = "all work and no play\n".repeat(100_000);
    for _ in 0..20 {
        rig.write(instance(1), flood.as_bytes());
    }
    assert!(rig.is_quiet().await);
    rig.tell(Standing::Over);
    let mut text = String::new();
    loop {
        rig.grant(&id("a"), 64 << 10);
        let chunk = rig.chunk().await.1;
        text.push_str(&chunk.text);
        if chunk.end.is_some() {
            break;
        }
    }
    assert!(text.contains("\n[edgeio: "), "{}", &text[..200]);
    assert!(text.contains("bytes skipped: written faster than they were read]\n"));
    assert!(text.ends_with("no play\n"));
    assert!(text.len() < 4 << 20);
}

#[tokio::test]
async fn more_streams_than_there_may_be_are_refused_and_one_question_is_one_stream() {
    let mut rig = Rig::new();
    rig.write(instance(1), b"one\n");
    let (follow, credit) = (true, 0);
    for number in 0..STREAMS {
        let logs = logs(&number.to_string(), 1);
        rig.streams.take(Stream::Logs(Logs {
            follow,
            credit,
            ..logs.clone()
        }));
        rig.streams.take(Stream::Logs(Logs {
            follow,
            credit,
            ..logs
        }));
    }
    for _ in 0..STREAMS {
        assert_eq!(rig.any_chunk().await.1.sequence, 0);
    }
    assert!(rig.is_quiet().await);
    assert_eq!(rig.all(logs("more", 1)).await, (String::new(), End::Busy));
    rig.streams.take(Stream::Cancel { request: id("7") });
    let deadline = tokio::time::Instant::now() + DEADLINE;
    let mut number = 0;
    loop {
        number += 1;
        let (text, end) = rig.all(logs(&format!("again-{number}"), 1)).await;
        if end == End::Done {
            assert_eq!(text, "one\n");
            break;
        }
        assert!(tokio::time::Instant::now() < deadline);
    }
}

#[tokio::test]
async fn streams_end_with_their_connection() {
    let mut rig = Rig::new();
    rig.write(instance(1), b"one\n");
    let follow = true;
    rig.streams.take(Stream::Logs(Logs {
        follow,
        ..logs("a", 1)
    }));
    rig.chunk().await;
    let Rig {
        streams,
        mut chunks,
        ..
    } = rig;
    drop(streams);
    let end = timeout(DEADLINE, chunks.recv()).await.unwrap();
    assert!(end.is_none(), "{end:?}");
}

#[test]
fn a_slow_connection_gets_smaller_chunks_and_a_fast_one_larger_again() {
    let pace = Pace::default();
    assert_eq!(pace.text(), TEXT_LIMIT);
    for _ in 0..10 {
        pace.slower();
    }
    assert_eq!(pace.text(), LEAST_TEXT);
    for _ in 0..10 {
        pace.faster();
    }
    assert_eq!(pace.text(), TEXT_LIMIT);
}
