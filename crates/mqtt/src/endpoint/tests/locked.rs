//! What a worker with a good certificate tries beyond its own topics, with Mosquitto's clients over TLS. They need
//! `EDGEIO_REQUIRE=mosquitto`.

use bytes::Bytes;
use identity::Holder;
use model::id::NodeId;
use protocol::topic::Topic;
use tokio::process::Command;
use tokio::time::timeout;

use crate::endpoint::{Attempt, Inbound, NotAdmitted, Options, Published};
use crate::rig::{Connect, DEADLINE, PASSWORD, Papers, Raw, Rig, mosquitto_is_required, node};

/// The endpoint, the hostile worker `node(1)` with its certificate, and `node(2)`, who does its work.
struct Stage {
    papers: Papers,
    rig: Rig,
    victim: Raw,
}

fn own() -> Holder {
    Holder::Worker(node(1))
}

fn topic(of: NodeId, leaf: &str) -> String {
    format!("nodes/{of}/{leaf}")
}

impl Stage {
    async fn set() -> Self {
        let papers = Papers::new();
        papers.issue(own());
        let mut rig = Rig::behind(papers.door(), Options::default(), 64).await;
        let mut victim = rig.worker(node(2)).await;
        assert_eq!(victim.subscribe(&topic(node(2), "control"), 1).await, 1);
        Self {
            papers,
            rig,
            victim,
        }
    }

    /// A client that shows the certificate of `node(1)`.
    fn client(&self, name: &str, arguments: &[&str]) -> Command {
        let port = self.rig.handle.local_addr().port();
        self.papers.client(name, port, Some(own()), arguments)
    }

    /// The same, under its own name.
    fn worker(&self, name: &str, arguments: &[&str]) -> Command {
        let id = node(1).to_string();
        self.client(name, &[&["-i", &id, "-u", &id], arguments].concat())
    }

    /// The next refusal; it must be one of `node(1)`, known by its certificate.
    async fn attempt(&mut self) -> Attempt {
        let denied = self.rig.denied().await;
        assert_eq!(denied.who.holder, Some(own()));
        assert!(denied.peer.ip().is_loopback());
        denied.attempt
    }

    /// Takes what was told of sessions; nothing may have been told of what they said.
    fn nothing_was_heard(&mut self) {
        while let Ok(told) = self.rig.inbound.try_recv() {
            assert!(
                matches!(told, Inbound::Connected { node: of, .. } | Inbound::Closed { node: of, .. } if of == node(1)),
                "{told:?}"
            );
        }
    }

    /// Holds that the other worker has its session, its subscription, and what is sent to it, and nothing else.
    async fn victim_is_well(&mut self, payload: &'static [u8]) {
        let control = Topic::Control(node(2));
        let sent = self
            .rig
            .handle
            .publish(&control, Bytes::from_static(payload));
        assert_eq!(sent, Published::Published);
        let (name, seen, id) = self.victim.publish().await;
        assert_eq!((name, seen.as_slice()), (control.to_string(), payload));
        self.victim.ack(id.unwrap()).await;
    }
}

/// Runs a client to its end; it must hear nothing and say so in these words.
async fn fails(mut command: Command, said: &str) {
    let done = timeout(DEADLINE, command.output()).await.expect("it hangs");
    let done = done.unwrap();
    let heard = String::from_utf8_lossy(&done.stderr).to_lowercase();
    assert!(heard.contains(said), "{heard}");
    assert!(done.stdout.is_empty(), "{:?}", done.stdout);
}

#[tokio::test]
async fn with_its_certificate_a_worker_hears_its_commands_and_is_heard() {
    if !mosquitto_is_required() {
        return;
    }
    let mut stage = Stage::set().await;
    let control = topic(node(1), "control");
    let child = stage
        .worker("mosquitto_sub", &["-t", &control, "-q", "1", "-C", "1"])
        .spawn()
        .unwrap();
    assert_eq!(stage.rig.connected().await.0, node(1));
    let send = async {
        let topic = Topic::Control(node(1));
        let payload = Bytes::from_static(b"do");
        // Until its subscription stands.
        while stage.rig.handle.publish(&topic, payload.clone()) != Published::Published {
            tokio::task::yield_now().await;
        }
    };
    let ran = async { tokio::join!(send, child.wait_with_output()).1 };
    let heard = timeout(DEADLINE, ran).await.expect("no command").unwrap();
    assert_eq!(heard.stdout, b"do\n");
    let information = topic(node(1), "information");
    let arguments = ["-t", &information, "-m", "x", "-q", "2"];
    let mut told = stage.worker("mosquitto_pub", &arguments);
    assert!(told.status().await.unwrap().success());
    let message = async {
        loop {
            if let Inbound::Message { node, payload, .. } = stage.rig.next().await {
                return (node, payload);
            }
        }
    };
    assert_eq!(message.await, (node(1), Bytes::from_static(b"x")));
    assert_eq!(stage.rig.attempts(), []);
}

#[tokio::test]
async fn every_filter_but_its_own_two_is_refused_and_told() {
    if !mosquitto_is_required() {
        return;
    }
    let mut stage = Stage::set().await;
    for filter in [
        "#".to_owned(),
        "+/+/control".to_owned(),
        "nodes/+/control".to_owned(),
        "nodes/+/reply/#".to_owned(),
        "$SYS/#".to_owned(),
        "$share/g/nodes/+/control".to_owned(),
        topic(node(1), "#"),
        topic(node(1), "information"),
        topic(node(2), "control"),
        topic(node(2), "request"),
        topic(node(2), "information"),
    ] {
        let client = stage.worker("mosquitto_sub", &["-t", &filter]);
        fails(client, "denied").await;
        assert_eq!(stage.attempt().await, Attempt::Subscribe(filter));
        stage.victim_is_well(b"for the victim alone").await;
    }
    stage.nothing_was_heard();
}

#[tokio::test]
async fn every_topic_but_its_own_upward_ones_is_refused_and_told() {
    if !mosquitto_is_required() {
        return;
    }
    let mut stage = Stage::set().await;
    for topic in [
        topic(node(1), "control"),
        topic(node(1), "request"),
        topic(node(2), "control"),
        topic(node(2), "information"),
        topic(node(2), "connection"),
        "elsewhere".to_owned(),
    ] {
        // At QoS 1 the client would try for ever.
        let mut client = stage.worker("mosquitto_pub", &["-t", &topic, "-m", "garbage"]);
        timeout(DEADLINE, client.output()).await.unwrap().unwrap();
        assert_eq!(stage.attempt().await, Attempt::Publish(topic));
        stage.victim_is_well(b"from the orchestrator").await;
    }
    stage.nothing_was_heard();
}

#[tokio::test]
async fn nothing_is_retained_and_no_will_is_left_elsewhere() {
    if !mosquitto_is_required() {
        return;
    }
    let mut stage = Stage::set().await;
    let information = topic(node(1), "information");
    let mut client = stage.worker("mosquitto_pub", &["-t", &information, "-m", "x", "-r"]);
    timeout(DEADLINE, client.output()).await.unwrap().unwrap();
    assert_eq!(stage.attempt().await, Attempt::Retained(information));
    let (control, connection) = (topic(node(1), "control"), topic(node(1), "connection"));
    let foreign = topic(node(2), "connection");
    for (will, more, attempt) in [
        (&foreign, &[][..], Attempt::Will(foreign.clone())),
        (&control, &[], Attempt::Will(control.clone())),
        (
            &connection,
            &["--will-retain"],
            Attempt::Retained(connection.clone()),
        ),
    ] {
        let arguments = ["-t", &control, "--will-topic", will, "--will-payload", "x"];
        let client = stage.worker("mosquitto_sub", &[&arguments[..], more].concat());
        fails(client, "not authorised").await;
        assert_eq!(stage.attempt().await, attempt);
    }
    stage.nothing_was_heard();
    stage.victim_is_well(b"still here").await;
}

/// As in the reports 3551 and 3553 of Mosquitto: a client with good papers of its own connects under the id of another, to
/// take over what is kept for that one (without a clean session), or to destroy it (with one).
#[tokio::test]
async fn nobody_takes_the_seat_of_another_by_its_client_id() {
    if !mosquitto_is_required() {
        return;
    }
    let mut stage = Stage::set().await;
    let (id, other) = (node(1).to_string(), node(2).to_string());
    let control = topic(node(2), "control");
    let boot = format!("{other}:boot");
    for (who, said) in [
        (["-i", &other, "-u", &other], "identifier rejected"),
        (["-i", &other, "-u", &id], "identifier rejected"),
        // The password of the other does not help it, nor does its boot id.
        (["-i", &other, "-u", &boot], "identifier rejected"),
        (["-i", &id, "-u", &other], "bad user name or password"),
        (["-i", "reader", "-u", "reader"], "identifier rejected"),
    ] {
        for clean in [true, false] {
            let more: &[&str] = if clean { &[] } else { &["-c"] };
            let rest = ["-P", PASSWORD, "-t", &control, "-q", "1"];
            let client = stage.client("mosquitto_sub", &[&who, &rest[..], more].concat());
            fails(client, said).await;
            let refused = Attempt::Connect(NotAdmitted::Name);
            assert_eq!(stage.attempt().await, refused, "{who:?} {clean}");
            stage.victim_is_well(b"not taken over").await;
        }
    }
    // Nor is it let in as a reader, who shows nothing.
    let client = stage.client("mosquitto_sub", &["-t", "nodes/+/information"]);
    fails(client, "identifier rejected").await;
    let refused = Attempt::Connect(NotAdmitted::Name);
    assert_eq!(stage.attempt().await, refused);
    stage.nothing_was_heard();
}

/// Its own seat is its own: it comes back with a clean session or without one, and finds nothing kept in either case.
#[tokio::test]
async fn a_takeover_of_the_own_session_inherits_nothing() {
    if !mosquitto_is_required() {
        return;
    }
    let mut stage = Stage::set().await;
    let mut first = stage.rig.raw().await;
    first.send(&Connect::worker(node(1)).bytes()).await;
    assert_eq!(first.packet().await, (0x20, vec![0, 0]));
    let control = topic(node(1), "control");
    assert_eq!(first.subscribe(&control, 1).await, 1);
    let mut again = stage
        .worker(
            "mosquitto_sub",
            &["-t", "none", "-t", "nothing", "-c", "-d"],
        )
        .spawn()
        .unwrap();
    first.ended().await;
    for filter in ["none", "nothing"] {
        let refused = Attempt::Subscribe(filter.to_owned());
        assert_eq!(stage.attempt().await, refused);
    }
    // The subscription went with the session that made it.
    let sent = stage
        .rig
        .handle
        .publish(&Topic::Control(node(1)), Bytes::from_static(b"x"));
    assert_eq!(sent, Published::NoSession);
    drop(again.kill().await);
}
