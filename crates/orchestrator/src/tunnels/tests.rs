use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, DuplexStream, duplex};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;

/// Whatever is awaited comes within this time.
const DEADLINE: Duration = Duration::from_secs(20);

fn peer() -> SocketAddr {
    ([192, 0, 2, 5], 40_000).into()
}

/// Both sides of an uplink: what one of them sends, the other takes, at once and in order.
struct Uplink {
    root: Tunnels,
    cluster: Tunnels,
    lines: [JoinHandle<()>; 2],
}

impl Uplink {
    fn new() -> Self {
        let (root, down) = Tunnels::new();
        let (cluster, up) = Tunnels::new();
        let lines = [
            tokio::spawn(line(down, cluster.clone())),
            tokio::spawn(line(up, root.clone())),
        ];
        Self {
            root,
            cluster,
            lines,
        }
    }

    /// A tunnel with a pipe at each end, and what carries it.
    async fn tunnel(&self) -> ([DuplexStream; 2], [JoinHandle<End>; 2]) {
        let here = self.root.begin().unwrap();
        let there = self.cluster.accept(here.number).unwrap();
        here.introduce(peer(), b"hello").await.unwrap();
        let (worker, socket) = duplex(1_024);
        let (endpoint, pipe) = duplex(1_024);
        let carried = [
            tokio::spawn(here.carry(socket)),
            tokio::spawn(there.carry(pipe)),
        ];
        ([worker, endpoint], carried)
    }
}

async fn line(mut from: mpsc::Receiver<Frame>, to: Tunnels) {
    while let Some(frame) = from.recv().await {
        // As the wire has it.
        to.take(Frame::decode(&frame.encode()).unwrap().unwrap());
    }
}

async fn within<T>(what: &str, done: impl Future<Output = T>) -> T {
    let Ok(done) = timeout(DEADLINE, done).await else {
        panic!("not within {DEADLINE:?}: {what}");
    };
    done
}

async fn read(from: &mut DuplexStream, bytes: usize) -> Vec<u8> {
    let mut read = vec![0; bytes];
    within("bytes come", from.read_exact(&mut read))
        .await
        .unwrap();
    read
}

async fn ended(carried: [JoinHandle<End>; 2]) -> [End; 2] {
    let [here, there] = carried;
    let both = async { [here.await.unwrap(), there.await.unwrap()] };
    within("both sides end", both).await
}

#[tokio::test]
async fn bytes_go_both_ways_and_an_end_follows_what_was_said_before_it() {
    let uplink = Uplink::new();
    let ([mut worker, mut endpoint], carried) = uplink.tunnel().await;
    assert_eq!(read(&mut endpoint, 5).await, b"hello");
    worker.write_all(b"ping").await.unwrap();
    endpoint.write_all(b"pong").await.unwrap();
    assert_eq!(read(&mut endpoint, 4).await, b"ping");
    assert_eq!(read(&mut worker, 4).await, b"pong");
    worker.write_all(b"goodbye").await.unwrap();
    drop(worker);
    let mut rest = Vec::new();
    let all = endpoint.read_to_end(&mut rest);
    within("the end comes", all).await.unwrap();
    assert_eq!(rest, b"goodbye");
    drop(endpoint);
    assert_eq!(ended(carried).await, [End::Here, End::There]);
    assert!(uplink.root.is_empty() && uplink.cluster.is_empty());
}

#[tokio::test]
async fn a_megabyte_each_way_arrives_whole() {
    let uplink = Uplink::new();
    let ([worker, mut endpoint], _carried) = uplink.tunnel().await;
    read(&mut endpoint, 5).await;
    let text =
        |seed: usize| -> Vec<u8> { (0..1 << 20).map(|at| ((at * seed) >> 3) as u8).collect() };
    let talk = |stream: DuplexStream, say: Vec<u8>, hear: usize| async move {
        let (mut from, mut to) = tokio::io::split(stream);
        let writing = async { to.write_all(&say).await.unwrap() };
        let mut heard = vec![0; hear];
        let reading = async { from.read_exact(&mut heard).await.unwrap() };
        tokio::join!(writing, reading);
        heard
    };
    let one = tokio::spawn(talk(worker, text(7), 1 << 20));
    let other = tokio::spawn(talk(endpoint, text(11), 1 << 20));
    let both = async { (one.await.unwrap(), other.await.unwrap()) };
    let (at_worker, at_endpoint) = within("both have all", both).await;
    assert!(at_worker == text(11) && at_endpoint == text(7));
}

#[tokio::test]
async fn who_is_not_read_stands_still_and_others_go_on() {
    let uplink = Uplink::new();
    let ([mut flooding, stuck], _one) = uplink.tunnel().await;
    let ([mut worker, mut endpoint], _two) = uplink.tunnel().await;
    read(&mut endpoint, 5).await;
    let written = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&written);
    let flood = tokio::spawn(async move {
        while let Ok(bytes) = flooding.write(&[7; 512]).await {
            count.fetch_add(bytes, Ordering::Relaxed);
        }
    });
    // It stands still when it can write no more for a while in which another worker talks a lot.
    let mut before = usize::MAX;
    let begun = tokio::time::Instant::now();
    while written.load(Ordering::Relaxed) != before {
        before = written.load(Ordering::Relaxed);
        for _ in 0..500 {
            worker.write_all(b"ping").await.unwrap();
            assert_eq!(read(&mut endpoint, 4).await, b"ping");
        }
        assert!(begun.elapsed() < DEADLINE, "{before} bytes were taken");
    }
    // The window, a chunk in hand, and the pipes at both ends.
    let most = WINDOW + CHUNK + 4 * 1_024;
    assert!((WINDOW / 2..=most).contains(&before), "{before}");
    assert!(!flood.is_finished());
    drop(stuck);
    within("the flood ends", flood).await.unwrap();
}

#[tokio::test]
async fn who_sends_more_than_allowed_loses_that_tunnel() {
    let (tunnels, _out) = Tunnels::new();
    let frame = |event| Frame {
        connection: 1,
        event,
    };
    // Large frames, small ones, and credit that nobody used.
    for event in [
        Event::Data(vec![7; CHUNK]),
        Event::Data(vec![7]),
        Event::Credit(1),
    ] {
        let tunnel = tunnels.accept(1).unwrap();
        let taken = (0..2 * WINDOW).take_while(|_| {
            tunnels.take(frame(event.clone()));
            !tunnels.is_empty()
        });
        let taken = taken.count();
        let most = match &event {
            Event::Data(bytes) => WINDOW / cost(bytes.len()),
            Event::Credit(_) | Event::Open { .. } | Event::Close => 0,
        };
        assert_eq!(taken, most, "{event:?}");
        drop(tunnel);
    }
    // What comes late for one that has ended is nobody's.
    tunnels.take(frame(Event::Data(vec![7])));
    tunnels.take(frame(Event::Close));
    assert!(tunnels.is_empty());
}

#[tokio::test]
async fn all_end_with_the_uplink() {
    let uplink = Uplink::new();
    let ([mut worker, mut endpoint], carried) = uplink.tunnel().await;
    let waiting = uplink.root.begin().unwrap();
    read(&mut endpoint, 5).await;
    for line in &uplink.lines {
        line.abort();
    }
    assert_eq!(ended(carried).await, [End::Uplink; 2]);
    let mut rest = Vec::new();
    within("the worker is told", worker.read_to_end(&mut rest))
        .await
        .unwrap();
    within("the endpoint is told", endpoint.read_to_end(&mut rest))
        .await
        .unwrap();
    assert_eq!(waiting.introduce(peer(), b"hello").await, Err(Gone));
}

#[tokio::test]
async fn a_tunnel_that_is_not_carried_is_closed_on_both_sides() {
    let uplink = Uplink::new();
    let tunnel = uplink.root.begin().unwrap();
    let mut there = uplink.cluster.accept(tunnel.number).unwrap();
    tunnel.introduce(peer(), b"hello").await.unwrap();
    assert_eq!(within("it comes", there.next()).await.unwrap(), b"hello");
    drop(tunnel);
    assert_eq!(within("it ends", there.next()).await, None);
    drop(there);
    assert!(uplink.root.is_empty() && uplink.cluster.is_empty());
}
