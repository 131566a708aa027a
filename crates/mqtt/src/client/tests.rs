use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::*;
use crate::endpoint::{Published, Reason};
use crate::rig::{DEADLINE, Rig, node};
use protocol::topic::Topic;

async fn next(events: &mut Events) -> Option<Event> {
    timeout(DEADLINE, events.next())
        .await
        .expect("no event came")
}

async fn closed(events: &mut Events) -> Closed {
    loop {
        match next(events).await {
            Some(Event::Closed { reason }) => {
                assert_eq!(next(events).await, None, "Closed is the last event");
                return reason;
            }
            Some(_) => {}
            None => panic!("the events ended without Closed"),
        }
    }
}

#[tokio::test]
async fn messages_larger_than_10_kib_pass_both_ways() {
    let mut rig = Rig::start().await;
    let (client, mut events) = connect(rig.client(node(1)), CancellationToken::new());
    let (request, reply) = (
        Topic::Request(node(1)),
        Topic::Reply {
            node: node(1),
            request: "r1".into(),
        },
    );
    client.subscribe(&[&request.to_string()]).await.unwrap();
    rig.connected().await;
    let large = Bytes::from(vec![7; 200_000]);
    client
        .publish(&reply.to_string(), large.clone(), Qos::AtLeastOnce)
        .await
        .unwrap();
    assert_eq!(rig.message().await, (reply, large.clone()));
    assert_eq!(
        rig.handle.publish(&request, large.clone()),
        Published::Published
    );
    assert_eq!(next(&mut events).await, Some(Event::Connected));
    let topic = request.to_string();
    assert_eq!(
        next(&mut events).await,
        Some(Event::Message {
            topic: topic.clone(),
            payload: large
        })
    );
    let huge = Bytes::from(vec![0; 300_000]);
    assert_eq!(
        client.publish(&topic, huge, Qos::AtMostOnce).await,
        Err(ClientError::Invalid)
    );
    assert_eq!(
        client.publish("a/+", Bytes::new(), Qos::AtMostOnce).await,
        Err(ClientError::Invalid)
    );
}

#[tokio::test]
async fn a_refused_subscription_is_an_error_and_the_connection_stays() {
    let mut rig = Rig::start().await;
    let (client, _events) = connect(rig.client(node(1)), CancellationToken::new());
    let (own, foreign) = (
        Topic::Control(node(1)).to_string(),
        Topic::Control(node(2)).to_string(),
    );
    assert_eq!(
        client.subscribe(&[&own, &foreign]).await,
        Err(ClientError::Refused)
    );
    assert_eq!(
        client.subscribe(&["nodes/#"]).await,
        Err(ClientError::Refused)
    );
    assert_eq!(client.subscribe(&[&own]).await, Ok(()));
    rig.connected().await;
    assert!(rig.inbound.try_recv().is_err());
}

#[tokio::test]
async fn a_refused_connection_tells_the_code() {
    let rig = Rig::start().await;
    let mut options = rig.client(node(1));
    options.password = Some(Bytes::from_static(b"wrong"));
    let (client, mut events) = connect(options, CancellationToken::new());
    assert_eq!(closed(&mut events).await, Closed::Refused(5));
    assert_eq!(client.subscribe(&["x"]).await, Err(ClientError::Ended));
    assert_eq!(
        client.publish("x", Bytes::new(), Qos::AtMostOnce).await,
        Err(ClientError::Ended)
    );
}

/// A broker that does not let anybody in: it hangs up after the first bytes.
async fn hangs_up() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 256]).await.unwrap();
    });
    port
}

#[tokio::test]
async fn a_subscription_ends_with_a_connection_that_never_came_about() {
    let rig = Rig::start().await;
    let mut refused = rig.client(node(1));
    refused.password = Some(Bytes::from_static(b"wrong"));
    let broken = Options::new("127.0.0.1", hangs_up().await, "x");
    for options in [refused, broken] {
        let (client, mut events) = connect(options, CancellationToken::new());
        // Asked before anything was answered, and while the client lives on.
        let answer = timeout(DEADLINE, client.subscribe(&["x"])).await;
        assert_eq!(answer.expect("no answer came"), Err(ClientError::Ended));
        closed(&mut events).await;
    }
    for cancelled in [true, false] {
        let token = CancellationToken::new();
        let (client, events) = connect(rig.client(node(2)), token.clone());
        if cancelled {
            token.cancel();
        }
        let _events = cancelled.then_some(events);
        let answer = timeout(DEADLINE, client.subscribe(&["x"])).await;
        assert_eq!(answer.expect("no answer came"), Err(ClientError::Ended));
    }
}

#[tokio::test]
async fn an_absent_broker_is_told_and_not_tried_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let (_client, mut events) = connect(
        Options::new("127.0.0.1", port, "x"),
        CancellationToken::new(),
    );
    assert!(matches!(closed(&mut events).await, Closed::Failed(_)));
}

#[tokio::test]
async fn the_will_is_told_when_events_are_dropped_and_not_after_a_goodbye() {
    let mut rig = Rig::start().await;
    let mut options = rig.client(node(1));
    let topic = Topic::Connection(node(1));
    options.will = Some((topic.to_string(), Bytes::from_static(b"offline")));
    let (_client, mut events) = connect(options.clone(), CancellationToken::new());
    assert_eq!(next(&mut events).await, Some(Event::Connected));
    rig.connected().await;
    drop(events);
    assert_eq!(
        rig.message().await,
        (topic.clone(), Bytes::from_static(b"offline"))
    );
    assert_eq!(rig.closed().await, Reason::Lost);

    let shutdown = CancellationToken::new();
    let (client, mut events) = connect(options.clone(), shutdown.clone());
    assert_eq!(next(&mut events).await, Some(Event::Connected));
    rig.connected().await;
    client
        .publish(
            &topic.to_string(),
            Bytes::from_static(b"leaving"),
            Qos::AtLeastOnce,
        )
        .await
        .unwrap();
    shutdown.cancel();
    assert_eq!(rig.message().await.1, "leaving");
    assert_eq!(rig.closed().await, Reason::Disconnected);
    assert_eq!(closed(&mut events).await, Closed::Finished);

    let (client, mut events) = connect(options, CancellationToken::new());
    rig.connected().await;
    client.disconnect().await.unwrap();
    assert_eq!(rig.closed().await, Reason::Disconnected);
    assert_eq!(closed(&mut events).await, Closed::Finished);
}

#[tokio::test]
async fn pings_keep_a_quiet_connection_and_the_end_of_the_endpoint_is_told() {
    let mut rig = Rig::start().await;
    let mut options = rig.client(node(1));
    options.keep_alive = 1;
    let (_client, mut events) = connect(options, CancellationToken::new());
    assert_eq!(next(&mut events).await, Some(Event::Connected));
    rig.connected().await;
    let quiet = timeout(Duration::from_secs(3), events.next()).await;
    assert!(quiet.is_err(), "{quiet:?}");
    rig.shutdown.cancel();
    assert_eq!(rig.closed().await, Reason::Shutdown);
    assert!(matches!(closed(&mut events).await, Closed::Failed(_)));
}

/// What a broker that lets everybody in says first.
const CONNACK: [u8; 4] = [0x20, 2, 0, 0];
const PINGRESP: [u8; 2] = [0xd0, 0];

/// A client that a broker of our own let in, and the broker's end.
async fn let_in(keep_alive: u16) -> (Client, Events, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut options = Options::new("127.0.0.1", port, "x");
    options.keep_alive = keep_alive;
    let (client, mut events) = connect(options, CancellationToken::new());
    let (mut stream, _) = listener.accept().await.unwrap();
    let _connect = stream.read(&mut [0; 256]).await.unwrap();
    stream.write_all(&CONNACK).await.unwrap();
    assert_eq!(next(&mut events).await, Some(Event::Connected));
    (client, events, stream)
}

/// How long a broker is waited for that answers nothing any more.
async fn waited_for(talkative: bool) -> Duration {
    let (client, mut events, mut stream) = let_in(2).await;
    let begun = Instant::now();
    let frozen = tokio::spawn(async move {
        // Reads on, as the kernel would for a stopped process, and answers nothing.
        while !matches!(stream.read(&mut [0; 256]).await, Ok(0) | Err(_)) {}
    });
    let talk = tokio::spawn(async move {
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        while talkative
            && client
                .publish("x", Bytes::new(), Qos::AtLeastOnce)
                .await
                .is_ok()
        {
            ticks.tick().await;
        }
    });
    assert!(matches!(closed(&mut events).await, Closed::Failed(_)));
    let waited = begun.elapsed();
    talk.await.unwrap();
    frozen.await.unwrap();
    waited
}

#[tokio::test]
async fn a_broker_that_stands_still_is_given_up_after_one_and_a_half_keep_alives() {
    let (talkative, quiet) = tokio::join!(waited_for(true), waited_for(false));
    for waited in [talkative, quiet] {
        // The library alone takes two keep-alives for either.
        let due = Duration::from_millis(2_900)..Duration::from_millis(3_900);
        assert!(due.contains(&waited), "{talkative:?}, {quiet:?}");
    }
}

#[tokio::test]
async fn a_broker_is_alive_while_a_large_message_of_it_comes_slowly() {
    let (_client, mut events, stream) = let_in(1).await;
    let (mut incoming, mut outgoing) = stream.into_split();
    let payload = [7; 20];
    let mut message = vec![0x30, 3 + 20, 0, 1, b'x'];
    message.extend(payload);
    let pinged = tokio::spawn(async move { incoming.read(&mut [0; 2]).await });
    for byte in &message {
        outgoing.write_all(&[*byte]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    assert_eq!(pinged.await.unwrap().unwrap(), 2, "it was asked long ago");
    // The answer stood behind the message.
    outgoing.write_all(&PINGRESP).await.unwrap();
    let received = Event::Message {
        topic: "x".to_owned(),
        payload: Bytes::copy_from_slice(&payload),
    };
    assert_eq!(next(&mut events).await, Some(received));
    let quiet = timeout(Duration::from_millis(500), events.next()).await;
    assert!(quiet.is_err(), "{quiet:?}");
}
