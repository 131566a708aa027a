use bytes::Bytes;
use protocol::topic::Topic;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::client::{self, Event, Qos};
use crate::endpoint::{Inbound, Options, Published};
use crate::rig::{DEADLINE, Rig, node};

const MESSAGES: u32 = 10_000;

#[tokio::test]
async fn ten_thousand_qos_1_messages_go_up_in_order_and_none_is_lost() {
    let mut rig = Rig::with(Options::default(), 4).await;
    let (client, mut events) = client::connect(rig.client(node(1)), CancellationToken::new());
    assert_eq!(events.next().await, Some(Event::Connected));
    rig.connected().await;
    let topic = Topic::Instances(node(1)).to_string();
    let sender = tokio::spawn(async move {
        for n in 0..MESSAGES {
            let payload = Bytes::copy_from_slice(&n.to_be_bytes());
            client
                .publish(&topic, payload, Qos::AtLeastOnce)
                .await
                .unwrap();
        }
        client
    });
    let all = async {
        for n in 0..MESSAGES {
            assert_eq!(
                rig.message().await.1,
                Bytes::copy_from_slice(&n.to_be_bytes())
            );
        }
    };
    timeout(DEADLINE, all)
        .await
        .expect("messages were lost or slow");
    sender.await.unwrap();
}

#[tokio::test]
async fn ten_thousand_commands_go_down_in_order_and_none_is_lost() {
    let mut rig = Rig::start().await;
    let (client, mut events) = client::connect(rig.client(node(1)), CancellationToken::new());
    let control = Topic::Control(node(1));
    client.subscribe(&[&control.to_string()]).await.unwrap();
    rig.connected().await;
    let handle = rig.handle.clone();
    let sender = tokio::spawn(async move {
        for n in 0..MESSAGES {
            let payload = Bytes::copy_from_slice(&n.to_be_bytes());
            while handle.publish(&control, payload.clone()) != Published::Published {
                tokio::task::yield_now().await;
            }
        }
    });
    assert_eq!(events.next().await, Some(Event::Connected));
    let all = async {
        for n in 0..MESSAGES {
            let Some(Event::Message { payload, .. }) = events.next().await else {
                panic!("closed")
            };
            assert_eq!(payload, Bytes::copy_from_slice(&n.to_be_bytes()));
        }
    };
    timeout(DEADLINE, all)
        .await
        .expect("messages were lost or slow");
    sender.await.unwrap();
}

/// Not a test of a bound: prints what one core does. Run it by name, with `--run-ignored only --no-capture`.
#[tokio::test]
#[ignore = "a measurement"]
#[expect(clippy::print_stderr, reason = "the figures are what it is for")]
async fn measure_connections_memory_and_latency() {
    use crate::rig::Connect;
    const PEERS: u32 = 4000;
    let mut rig = Rig::with(Options::default(), 1024).await;
    let before = resident();
    let since = std::time::Instant::now();
    let mut peers = Vec::new();
    for n in 0..PEERS {
        let mut raw = rig.raw().await;
        raw.send(&Connect::worker(node(u128::from(n))).bytes())
            .await;
        assert!(matches!(rig.next().await, Inbound::Connected { .. }));
        raw.packet().await;
        peers.push(raw);
    }
    let took = since.elapsed();
    let grown = resident() - before;
    eprintln!(
        "{:.0} connects/s one after another",
        f64::from(PEERS) / took.as_secs_f64()
    );
    eprintln!(
        "{:.1} KiB a connection, client sockets included",
        grown as f64 / f64::from(PEERS)
    );
    let control = Topic::Control(node(0));
    let mut raw = peers.swap_remove(0);
    raw.subscribe(&control.to_string(), 1).await;
    let mut times = Vec::new();
    for _ in 0..5000 {
        let since = std::time::Instant::now();
        assert_eq!(
            rig.handle.publish(&control, Bytes::from_static(b"x")),
            Published::Published
        );
        let (_, _, id) = raw.publish().await;
        times.push(since.elapsed());
        raw.ack(id.unwrap()).await;
    }
    times.sort();
    eprintln!("command p50 {:?} p99 {:?}", times[2500], times[4950]);
}

/// The resident size of this process in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
