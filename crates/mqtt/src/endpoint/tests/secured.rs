//! TLS: who is there by a certificate, and what the encryption leaves as it is.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use identity::authority::{Authority, Life};
use identity::door::{Door, Plain};
use identity::gate::{self, Showing};
use identity::{Credential, Holder, Key, Trust};
use model::id::NodeId;
use model::time::Wall;
use protocol::topic::Topic;
use tokio_util::sync::CancellationToken;

use crate::client::{self, Closed, Event, Qos};
use crate::endpoint::{Options, Published, Reason};
use crate::rig::{DEADLINE, Rig, node};

const LIFE: Life = Life {
    from: Wall(0),
    lasting: Duration::from_hours(1),
};

async fn rig(authority: &Authority, options: Options) -> Rig {
    let showing = Showing::new(&authority.server(&[], LIFE).unwrap()).unwrap();
    let tls = gate::server(authority, showing).unwrap();
    Rig::behind(Door::new(tls, Plain::ThisMachine), options, 64).await
}

fn authority() -> Authority {
    Authority::make("cluster", Wall(0)).unwrap().0
}

/// A client that shows a certificate of `node`, under that name, and believes the authority.
fn client(rig: &Rig, authority: &Authority, node: NodeId) -> client::Options {
    client_for(rig, authority, node, LIFE)
}

/// The same, with a certificate of that life.
fn client_for(rig: &Rig, authority: &Authority, node: NodeId, life: Life) -> client::Options {
    let key = Key::make().unwrap();
    let request = key.request().unwrap();
    let issued = authority
        .issue(&request, Holder::Worker(node), life)
        .unwrap();
    let own = Credential::new(&issued.certificate, &key).unwrap();
    let trust = Trust::authority(&authority.certificate()).unwrap();
    let mut options = rig.client(node);
    options.tls = Some(trust.client(Some(&own)).unwrap());
    options.password = None;
    options
}

async fn next(events: &mut client::Events) -> Option<Event> {
    tokio::time::timeout(DEADLINE, events.next())
        .await
        .expect("no event came")
}

#[tokio::test]
async fn a_worker_with_a_certificate_needs_no_password_and_large_messages_pass_both_ways() {
    let authority = authority();
    let mut rig = rig(&authority, Options::default()).await;
    let (client, mut events) =
        client::connect(client(&rig, &authority, node(1)), CancellationToken::new());
    let control = Topic::Control(node(1));
    client.subscribe(&[&control.to_string()]).await.unwrap();
    assert_eq!(rig.connected().await.0, node(1));
    let large = Bytes::from(vec![7; 200_000]);
    let topic = Topic::Information(node(1));
    let name = topic.to_string();
    client
        .publish(&name, large.clone(), Qos::AtLeastOnce)
        .await
        .unwrap();
    assert_eq!(rig.message().await, (topic, large.clone()));
    assert_eq!(
        rig.handle.publish(&control, large.clone()),
        Published::Published
    );
    assert_eq!(next(&mut events).await, Some(Event::Connected));
    let message = Event::Message {
        topic: control.to_string(),
        payload: large,
    };
    assert_eq!(next(&mut events).await, Some(message));
    client.disconnect().await.unwrap();
    assert_eq!(rig.closed().await, Reason::Disconnected);
}

#[tokio::test]
async fn a_session_ends_with_the_certificate_that_it_began_with() {
    let authority = authority();
    let mut rig = rig(&authority, Options::default()).await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let life = Life {
        from: Wall(i64::try_from(now.as_millis()).unwrap()),
        lasting: Duration::from_secs(2),
    };
    let begun = Instant::now();
    let options = client_for(&rig, &authority, node(1), life);
    let (_client, mut events) = client::connect(options, CancellationToken::new());
    assert_eq!(rig.connected().await.0, node(1));
    assert_eq!(next(&mut events).await, Some(Event::Connected));
    assert_eq!(rig.closed().await, Reason::Expired);
    assert!(begun.elapsed() > Duration::from_secs(1));
    assert!(matches!(
        next(&mut events).await,
        Some(Event::Closed { .. })
    ));
}

#[tokio::test]
async fn a_worker_cannot_be_another_than_its_certificate_says() {
    let authority = authority();
    let rig = rig(&authority, Options::default()).await;
    let mut options = client(&rig, &authority, node(1));
    options.client_id = node(2).to_string();
    options.username = Some(format!("{}:boot-1", node(2)));
    let (_client, mut events) = client::connect(options, CancellationToken::new());
    let reason = Closed::Refused(2);
    assert_eq!(next(&mut events).await, Some(Event::Closed { reason }));
}

#[tokio::test]
async fn neither_side_talks_to_one_of_another_authority() {
    let (authority, other) = (authority(), authority());
    let rig = rig(&authority, Options::default()).await;
    let mut stranger = client(&rig, &authority, node(1));
    // It shows what somebody else issued; then it believes somebody else.
    stranger.tls = {
        let key = Key::make().unwrap();
        let issued = other
            .issue(&key.request().unwrap(), Holder::Worker(node(1)), LIFE)
            .unwrap();
        let own = Credential::new(&issued.certificate, &key).unwrap();
        let trust = Trust::authority(&authority.certificate()).unwrap();
        Some(trust.client(Some(&own)).unwrap())
    };
    let mut misled = client(&rig, &authority, node(1));
    misled.tls = Some(
        Trust::authority(&other.certificate())
            .unwrap()
            .client(None)
            .unwrap(),
    );
    for options in [stranger, misled] {
        let (_client, mut events) = client::connect(options, CancellationToken::new());
        let event = next(&mut events).await;
        let failed = matches!(
            event,
            Some(Event::Closed {
                reason: Closed::Failed(_)
            })
        );
        assert!(failed, "{event:?}");
    }
}

#[tokio::test]
async fn plain_text_is_served_at_the_same_port_and_a_handshake_that_stops_is_not_waited_for() {
    let authority = authority();
    let options = Options {
        connect_within: Duration::from_millis(300),
        ..Options::default()
    };
    let mut rig = rig(&authority, options).await;
    let mut half = rig.raw().await;
    half.send(&[0x16, 3, 1, 2, 0]).await;
    half.ended().await;
    rig.worker(node(3)).await;
    let mut silent = rig.raw().await;
    silent.ended().await;
}
