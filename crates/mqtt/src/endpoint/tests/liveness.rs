use std::time::Duration;

use bytes::Bytes;
use protocol::topic::Topic;
use tokio::time::Instant;

use crate::endpoint::{Options, Published, Reason};
use crate::rig::{Connect, DEADLINE, Rig, node, publish};

fn with_will() -> Connect {
    let will = Some((format!("nodes/{}/connection", node(1)), "offline".into()));
    Connect {
        will,
        ..Connect::worker(node(1))
    }
}

#[tokio::test]
async fn a_peer_is_dropped_for_its_silence_however_much_is_sent_to_it() {
    let mut rig = Rig::start().await;
    let mut raw = rig.raw().await;
    raw.send(
        &Connect {
            keep_alive: 1,
            ..with_will()
        }
        .bytes(),
    )
    .await;
    rig.connected().await;
    raw.packet().await;
    assert_eq!(
        raw.subscribe(&format!("nodes/{}/control", node(1)), 0)
            .await,
        0
    );
    let since = Instant::now();
    let handle = rig.handle.clone();
    let talker = tokio::spawn(async move {
        let mut ticks = tokio::time::interval(Duration::from_millis(50));
        while handle.publish(&Topic::Control(node(1)), Bytes::from_static(b"x"))
            != Published::NoSession
        {
            ticks.tick().await;
        }
    });
    assert_eq!(rig.message().await.1, "offline");
    assert_eq!(rig.closed().await, Reason::Silent);
    assert!(
        since.elapsed() >= Duration::from_millis(1400),
        "{:?}",
        since.elapsed()
    );
    assert!(
        since.elapsed() < Duration::from_secs(4),
        "{:?}",
        since.elapsed()
    );
    talker.await.unwrap();
}

#[tokio::test]
async fn pings_and_single_bytes_keep_a_session_alive() {
    let mut rig = Rig::start().await;
    let mut raw = rig.raw().await;
    raw.send(
        &Connect {
            keep_alive: 1,
            ..with_will()
        }
        .bytes(),
    )
    .await;
    rig.connected().await;
    raw.packet().await;
    let bytes = publish(&format!("nodes/{}/sync", node(1)), &[b'x'; 4], 1, 1);
    let pause = Duration::from_millis(2500) / bytes.len() as u32;
    let mut ticks = tokio::time::interval(pause);
    for byte in &bytes {
        ticks.tick().await;
        raw.send(&[*byte]).await;
    }
    assert_eq!(rig.message().await.1, "xxxx");
    assert_eq!(raw.packet().await, (0x40, vec![0, 1]));
}

#[tokio::test]
async fn half_a_packet_and_then_nothing_ends_in_silence() {
    let options = Options {
        silence_limit: Duration::from_millis(200),
        ..Options::default()
    };
    let mut rig = Rig::with(options, 16).await;
    let mut raw = rig.raw().await;
    raw.send(
        &Connect {
            keep_alive: 0,
            ..with_will()
        }
        .bytes(),
    )
    .await;
    rig.connected().await;
    raw.send(&publish(&format!("nodes/{}/sync", node(1)), &[0; 1000], 1, 1)[..500])
        .await;
    assert_eq!(rig.message().await.0, Topic::Connection(node(1)));
    assert_eq!(rig.closed().await, Reason::Silent);
    raw.ended().await;
}

#[tokio::test]
async fn the_will_is_told_after_an_abrupt_end_and_not_after_disconnect() {
    let mut rig = Rig::start().await;
    let mut raw = rig.raw().await;
    raw.send(&with_will().bytes()).await;
    rig.connected().await;
    drop(raw);
    assert_eq!(
        rig.message().await,
        (Topic::Connection(node(1)), Bytes::from_static(b"offline"))
    );
    assert_eq!(rig.closed().await, Reason::Lost);

    let mut raw = rig.raw().await;
    raw.send(&with_will().bytes()).await;
    rig.connected().await;
    raw.send(&[0xe0, 0]).await;
    assert_eq!(rig.closed().await, Reason::Disconnected);
    raw.ended().await;
}

#[tokio::test]
async fn a_worker_is_disconnected_on_request() {
    let mut rig = Rig::start().await;
    let mut raw = rig.worker(node(1)).await;
    rig.handle.disconnect(node(2));
    rig.handle.disconnect(node(1));
    assert_eq!(rig.closed().await, Reason::Dropped);
    raw.ended().await;
}

#[tokio::test]
async fn an_oversize_packet_closes_the_session_and_the_largest_one_passes() {
    let mut rig = Rig::with(
        Options {
            max_packet: 20_000,
            ..Options::default()
        },
        16,
    )
    .await;
    let topic = format!("nodes/{}/instances", node(1));
    let overhead = 2 + topic.len() + 2;
    let mut raw = rig.worker(node(1)).await;
    raw.send(&publish(&topic, &vec![1; 20_000 - overhead], 1, 1))
        .await;
    assert_eq!(rig.message().await.1.len(), 20_000 - overhead);
    assert_eq!(raw.packet().await, (0x40, vec![0, 1]));
    raw.send(&publish(&topic, &vec![1; 20_001 - overhead], 1, 2)[..100])
        .await;
    assert_eq!(rig.closed().await, Reason::Violation("malformed packet"));
    raw.ended().await;
    assert_eq!(
        rig.handle
            .publish(&Topic::Control(node(1)), vec![0; 20_000].into()),
        Published::TooLarge
    );
}

#[tokio::test]
async fn a_reader_that_does_not_read_is_dropped_and_disturbs_nobody() {
    let options = Options {
        write_stall: Duration::from_millis(300),
        ..Options::default()
    };
    let mut rig = Rig::with(options, 64).await;
    let mut slow = rig.narrow().await;
    slow.send(&Connect::reader("slow").bytes()).await;
    slow.packet().await;
    slow.subscribe("nodes/#", 0).await;
    let mut quick = rig.reader("nodes/#").await;
    let mut worker = rig.worker(node(1)).await;
    let topic = format!("nodes/{}/information", node(1));
    let flood = async {
        let mut sent = 0_u64;
        while rig.handle.connections().readers > 1 {
            let mut payload = vec![0; 60_000];
            payload[..8].copy_from_slice(&sent.to_be_bytes());
            worker.send(&publish(&topic, &payload, 0, 0)).await;
            match rig.inbound.recv().await.unwrap() {
                crate::endpoint::Inbound::Message { payload, .. } => {
                    assert_eq!(payload[..8], sent.to_be_bytes());
                }
                other => panic!("{other:?}"),
            }
            assert_eq!(quick.publish().await.1[..8], sent.to_be_bytes());
            sent += 1;
        }
    };
    tokio::time::timeout(DEADLINE, flood)
        .await
        .expect("the slow reader was kept");
}

#[tokio::test]
async fn a_worker_that_acknowledges_nothing_fills_its_queue_and_stays_seated() {
    let options = Options {
        queue: 4,
        inflight: 2,
        ..Options::default()
    };
    let mut rig = Rig::with(options, 16).await;
    let mut raw = rig.worker(node(1)).await;
    let control = Topic::Control(node(1));
    assert_eq!(
        rig.handle.publish(&control, Bytes::new()),
        Published::NoSession,
        "not subscribed"
    );
    assert_eq!(
        raw.subscribe(&control.to_string(), 2).await,
        1,
        "QoS 1 is the most that is granted"
    );
    let put = |n: u8| rig.handle.publish(&control, Bytes::from(vec![n]));
    // Each of the first two is taken from the queue at once, so the next wait for nothing.
    let (mut taken, mut full) = (0, false);
    let until_full = async {
        while !full {
            match put(taken) {
                Published::Published => taken += 1,
                Published::Full => full = taken >= 6,
                other => panic!("{other:?}"),
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, until_full).await.unwrap();
    assert_eq!(taken, 6, "two in flight and four waiting");
    for n in 0..6 {
        let (topic, payload, id) = raw.publish().await;
        assert_eq!((topic, payload), (control.to_string(), vec![n]));
        raw.ack(id.unwrap()).await;
    }
}

#[tokio::test]
#[expect(
    clippy::disallowed_methods,
    reason = "the whole process is to stand still"
)]
async fn after_our_own_standstill_a_peer_gets_a_second_to_be_heard() {
    let mut rig = Rig::start().await;
    let mut raw = rig.raw().await;
    raw.send(
        &Connect {
            keep_alive: 1,
            ..with_will()
        }
        .bytes(),
    )
    .await;
    rig.connected().await;
    raw.packet().await;
    std::thread::sleep(Duration::from_millis(2500));
    // The timer of the session fires now, a second late.
    tokio::time::sleep(Duration::from_millis(100)).await;
    raw.send(&[0xc0, 0]).await;
    assert_eq!(raw.packet().await, (0xd0, vec![]));
    assert!(rig.inbound.try_recv().is_err());
    assert_eq!(rig.message().await.1, "offline");
    assert_eq!(rig.closed().await, Reason::Silent);
}
