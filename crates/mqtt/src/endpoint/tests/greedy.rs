//! Peers that take more than their part: each is bounded, or closed, and a working worker does not notice them.

use std::time::Duration;

use bytes::Bytes;
use protocol::topic::Topic;
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, timeout};

use crate::endpoint::{Inbound, Options, Published, Reason};
use crate::rig::{Connect, DEADLINE, Raw, Rig, node, packet, publish, subscribe, text};

/// The worker that works while others misbehave.
const GOOD: u128 = 999;

/// A worker that is subscribed to its commands.
async fn good_worker(rig: &mut Rig) -> Raw {
    let mut raw = rig.worker(node(GOOD)).await;
    let control = Topic::Control(node(GOOD)).to_string();
    assert_eq!(raw.subscribe(&control, 1).await, 1);
    raw
}

/// Sends commands one after another and returns how long the slowest took.
async fn slowest_command(rig: &Rig, raw: &mut Raw, count: usize) -> Duration {
    let mut slowest = Duration::ZERO;
    for _ in 0..count {
        let since = Instant::now();
        let sent = rig
            .handle
            .publish(&Topic::Control(node(GOOD)), Bytes::from_static(b"go"));
        assert_eq!(sent, Published::Published);
        let (_, payload, id) = raw.publish().await;
        assert_eq!(payload, b"go");
        raw.ack(id.unwrap()).await;
        slowest = slowest.max(since.elapsed());
    }
    slowest
}

#[tokio::test]
async fn a_thousand_half_open_connections_do_not_slow_commands_and_are_closed() {
    let options = Options {
        connect_within: Duration::from_secs(3),
        ..Options::default()
    };
    let mut rig = Rig::with(options, 64).await;
    let mut worker = good_worker(&mut rig).await;
    let whole = Connect::worker(node(1)).bytes();
    let mut half_open = Vec::new();
    for n in 0..1000 {
        let mut raw = rig.raw().await;
        if n % 2 == 0 {
            raw.send(&whole[..n / 2 % whole.len()]).await;
        }
        half_open.push(raw);
    }
    // Far above what it takes, and far below what waiting for any of the others would take.
    let slowest = slowest_command(&rig, &mut worker, 200).await;
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    for raw in &mut half_open {
        assert_eq!(raw.rest().await, b"");
    }
    slowest_command(&rig, &mut worker, 1).await;
}

#[tokio::test]
async fn a_connect_that_trickles_in_is_cut_off_at_its_time() {
    let options = Options {
        connect_within: Duration::from_millis(300),
        ..Options::default()
    };
    let mut rig = Rig::with(options, 64).await;
    let mut raw = rig.raw().await;
    let since = Instant::now();
    for byte in Connect::worker(node(1)).bytes() {
        // The endpoint closes in the middle of this.
        if raw.stream.write_all(&[byte]).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    raw.ended().await;
    assert!(since.elapsed() < Duration::from_secs(10));
    assert!(rig.inbound.try_recv().is_err());
}

#[tokio::test]
async fn a_large_connect_is_refused_at_its_length() {
    let rig = Rig::start().await;
    for length in [16 * 1024 + 1, 256 * 1024, 100 << 20] {
        let mut raw = rig.raw().await;
        let digits: Vec<u8> = (0..4)
            .map(|n| ((length >> (7 * n)) & 0x7f) as u8 | if n < 3 { 0x80 } else { 0 })
            .collect();
        raw.send(&[&[0x10], &digits[..]].concat()).await;
        assert_eq!(raw.rest().await, b"", "{length}");
    }
}

#[tokio::test]
async fn workers_that_say_nothing_after_connect_are_closed_together() {
    let options = Options {
        silence_limit: Duration::from_millis(400),
        ..Options::default()
    };
    let mut rig = Rig::with(options, 256).await;
    let mut silent = Vec::new();
    for n in 0..100 {
        silent.push(rig.worker(node(n)).await);
    }
    for _ in 0..100 {
        assert_eq!(rig.closed().await, Reason::Silent);
    }
    for raw in &mut silent {
        assert_eq!(raw.rest().await, b"");
    }
}

/// Asks for answers without end and reads none of them.
async fn is_dropped_for_not_reading(request: &[u8]) {
    let options = Options {
        write_stall: Duration::from_millis(300),
        ..Options::default()
    };
    let mut rig = Rig::with(options, 64).await;
    let mut worker = good_worker(&mut rig).await;
    let mut greedy = rig.narrow().await;
    greedy.send(&Connect::reader("greedy").bytes()).await;
    assert_eq!(greedy.packet().await, (0x20, vec![0, 0]));
    let flood = request.repeat(1 + 4096 / request.len());
    let ask = async {
        // While its answers are not read its requests are not read either, so this stands still before it fails.
        while greedy.stream.write_all(&flood).await.is_ok() {}
    };
    let (asked, _) = tokio::join!(
        timeout(DEADLINE, ask),
        slowest_command(&rig, &mut worker, 50)
    );
    asked.expect("it was kept");
    let gone = async {
        while rig.handle.connections().readers > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, gone).await.expect("it is still seated");
    slowest_command(&rig, &mut worker, 1).await;
}

#[tokio::test]
async fn who_pings_without_reading_is_dropped() {
    is_dropped_for_not_reading(&[0xc0, 0]).await;
}

#[tokio::test]
async fn who_subscribes_without_reading_is_dropped() {
    let names: Vec<String> = (0..500).map(|n| format!("nodes/{n}/#")).collect();
    let filters: Vec<(&str, u8)> = names.iter().map(|name| (name.as_str(), 0)).collect();
    is_dropped_for_not_reading(&subscribe(1, &filters)).await;
}

#[tokio::test]
async fn who_releases_without_reading_is_dropped() {
    is_dropped_for_not_reading(&packet(0x62, &[0, 1])).await;
}

#[tokio::test]
async fn a_worker_that_floods_is_slowed_to_the_pace_of_the_owner() {
    let mut rig = Rig::with(Options::default(), 4).await;
    let mut worker = good_worker(&mut rig).await;
    let mut flooding = rig.worker(node(1)).await;
    let topic = Topic::Sync(node(1)).to_string();
    let bytes = publish(&topic, &[0; 10_000], 0, 0);
    let flood = tokio::spawn(async move {
        let mut sent = 0_u64;
        while timeout(
            Duration::from_millis(500),
            flooding.stream.write_all(&bytes),
        )
        .await
        .is_ok_and(|written| written.is_ok())
        {
            sent += 1;
        }
        // The stream stands still: the buffers below hold a few megabytes, and nothing else holds anything.
        (sent, flooding)
    });
    let slowest = slowest_command(&rig, &mut worker, 100).await;
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    let (sent, flooding) = timeout(DEADLINE, flood).await.unwrap().unwrap();
    assert!(
        sent * 10_000 < 64 << 20,
        "{sent} messages of 10 kB are held"
    );
    // As soon as the owner listens, it goes on, and nothing was lost on the way.
    for _ in 0..sent {
        rig.message().await;
    }
    drop(flooding);
    while !matches!(rig.next().await, Inbound::Closed { .. }) {}
}

#[tokio::test]
async fn ten_thousand_filters_of_a_worker_are_refused_in_one_answer() {
    let mut rig = Rig::start().await;
    let mut raw = rig.worker(node(1)).await;
    let control = Topic::Control(node(1)).to_string();
    let mut body = vec![0, 7];
    for n in 0..10_000 {
        body.extend(text(&format!("nodes/{n}/#")));
        body.push(1);
    }
    body.extend(text(&control));
    body.push(1);
    raw.send(&packet(0x82, &body)).await;
    let (first, codes) = raw.packet().await;
    assert_eq!((first, codes.len()), (0x90, 2 + 10_001));
    assert!(codes[2..10_002].iter().all(|code| *code == 0x80));
    assert_eq!(codes[10_002], 1);
}

#[tokio::test]
async fn a_storm_of_one_reader_leaves_one_seat() {
    let rig = Rig::start().await;
    let connect = Connect::reader("same").bytes();
    let mut storm = Vec::new();
    for _ in 0..200 {
        let mut raw = rig.raw().await;
        raw.send(&connect).await;
        storm.push(raw);
    }
    for raw in &mut storm {
        // Each was let in for a moment.
        assert_eq!(raw.packet().await, (0x20, vec![0, 0]));
    }
    assert_eq!(rig.handle.connections().readers, 1);
}

#[tokio::test]
async fn a_storm_of_one_worker_disturbs_no_other() {
    let mut rig = Rig::with(Options::default(), 1024).await;
    let mut worker = good_worker(&mut rig).await;
    let address = rig.handle.local_addr();
    let storm = tokio::spawn(async move {
        for _ in 0..300 {
            let stream = tokio::net::TcpStream::connect(address).await.unwrap();
            let mut raw = Raw { stream };
            raw.send(&Connect::worker(node(1)).bytes()).await;
        }
    });
    let slowest = slowest_command(&rig, &mut worker, 300).await;
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    timeout(DEADLINE, storm).await.unwrap().unwrap();
}
