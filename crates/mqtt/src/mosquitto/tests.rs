use std::fs;
use std::process::{Child, Stdio};
use std::time::Duration;

use bytes::Bytes;
use identity::Holder;
use model::id::NodeId;
use protocol::topic::Topic;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::client::{self, Client, Event, Events};
use crate::endpoint::{self, Inbound, NotAdmitted, Published, Verdict};
use crate::link::{self, BrokerState, Link};
use crate::rig::{DEADLINE, LIFE, Papers, mosquitto_is_required, node};

const CLUSTER: ClusterId = ClusterId::from_bits(9);

#[test]
fn the_rules_name_every_topic_once_for_each_who_uses_it() {
    let cluster = CLUSTER.to_string();
    let expected = format!(
        "\
# Written by edgeIO. What stands nowhere here is refused.
user {cluster}
topic read nodes/+/information
topic read nodes/+/instances
topic read nodes/+/sync
topic read nodes/+/connection
topic read nodes/+/reply/#
topic write nodes/+/control
topic write nodes/+/request

# Each worker; %u is the common name of its certificate.
pattern read nodes/%u/control
pattern read nodes/%u/request
pattern write nodes/%u/information
pattern write nodes/%u/instances
pattern write nodes/%u/sync
pattern write nodes/%u/connection
pattern write nodes/%u/reply/+
"
    );
    assert_eq!(rules(CLUSTER, []), expected);
    let shut_out = rules(CLUSTER, [node(1), node(2)]);
    let more = format!(
        "\n# Revoked.\nuser {}\ntopic deny #\nuser {}\ntopic deny #\n",
        node(1),
        node(2)
    );
    assert_eq!(shut_out, expected + &more);
}

#[test]
fn a_path_cannot_bring_lines_of_its_own() {
    let good = Path::new("/etc/edgeio/a b.pem");
    let listener = Listener {
        address: ([0, 0, 0, 0], 8883).into(),
        authority: good,
        certificate: good,
        key: good,
        rules: good,
    };
    let written = configuration(&listener).unwrap();
    assert!(written.contains("\nlistener 8883 0.0.0.0\n"), "{written}");
    assert!(
        written.contains("\nacl_file /etc/edgeio/a b.pem\n"),
        "{written}"
    );
    let bad = Path::new("/etc/acl\nallow_anonymous true");
    let refused = configuration(&Listener {
        rules: bad,
        ..listener
    });
    assert_eq!(refused, Err(NoLine(bad.to_owned())));
}

/// A process that ends with the test.
struct Broker(Child);

impl Drop for Broker {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Mosquitto by our rules, the cluster's link to it, the hostile worker `node(1)` with its certificate, and `node(2)`, who
/// does its work.
struct Stage {
    papers: Papers,
    port: u16,
    link: Link,
    inbound: mpsc::Receiver<Inbound>,
    victim: (Client, Events),
    _broker: Broker,
}

fn own() -> Holder {
    Holder::Worker(node(1))
}

fn topic(of: NodeId, leaf: &str) -> String {
    format!("nodes/{of}/{leaf}")
}

fn message(topic: &Topic, payload: &'static [u8]) -> Event {
    Event::Message {
        topic: topic.to_string(),
        payload: Bytes::from_static(payload),
    }
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn broker(papers: &Papers, port: u16) -> Broker {
    let names = ["127.0.0.1".to_owned()];
    let server = papers.authority.broker(&names, LIFE).unwrap();
    fs::write(papers.path("server.pem"), server.certificates_pem()).unwrap();
    fs::write(papers.path("server.key"), server.key_pem()).unwrap();
    fs::write(papers.path("acl"), rules(CLUSTER, [])).unwrap();
    let listener = Listener {
        address: ([127, 0, 0, 1], port).into(),
        authority: &papers.path("ca.pem"),
        certificate: &papers.path("server.pem"),
        key: &papers.path("server.key"),
        rules: &papers.path("acl"),
    };
    let written = configuration(&listener).unwrap();
    // Whoever runs the test owns the files, and Mosquitto would become somebody else.
    let whoami = std::env::var("USER").unwrap_or_else(|_| "root".to_owned());
    fs::write(papers.path("conf"), format!("user {whoami}\n{written}")).unwrap();
    let child = std::process::Command::new("mosquitto")
        .arg("-c")
        .arg(papers.path("conf"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("mosquitto is installed");
    Broker(child)
}

impl Stage {
    async fn set() -> Self {
        let papers = Papers::new();
        papers.issue(own());
        let port = free_port();
        let broker = broker(&papers, port);
        let (sender, mut inbound) = mpsc::channel(64);
        let mut options = client::Options::new("127.0.0.1", port, "edgeio-cluster");
        options.tls = Some(papers.tls(Holder::Cluster(CLUSTER)));
        let shutdown = CancellationToken::new();
        let relayed = endpoint::detached(
            papers.door(),
            endpoint::Options::default(),
            std::sync::Arc::new(|_| Verdict::Refused(NotAdmitted::Password)),
            sender.clone(),
            shutdown.clone(),
        );
        let broker_link = link::external(move || Ok(options.clone()), sender, shutdown);
        let link = Link::External(broker_link, relayed);
        let subscribed = Inbound::Broker(BrokerState::Subscribed);
        // It takes a moment to listen.
        let up = async { while inbound.recv().await != Some(subscribed.clone()) {} };
        timeout(DEADLINE, up).await.expect("no broker");
        let victim = worker(&papers, port, node(2)).await;
        Self {
            papers,
            port,
            link,
            inbound,
            victim,
            _broker: broker,
        }
    }

    /// A client of Mosquitto's that shows the certificate of `node(1)`.
    fn client(&self, name: &str, arguments: &[&str]) -> tokio::process::Command {
        self.papers.client(name, self.port, Some(own()), arguments)
    }

    fn command(&self, of: NodeId, payload: &'static [u8]) {
        let sent = self
            .link
            .publish(&Topic::Control(of), Bytes::from_static(payload));
        assert_eq!(sent, Published::Published);
    }

    /// What the cluster hears next.
    async fn heard(&mut self) -> (NodeId, Topic, Bytes) {
        match timeout(DEADLINE, self.inbound.recv()).await.unwrap() {
            Some(Inbound::Message {
                node,
                topic,
                payload,
                ..
            }) => (node, topic, payload),
            other => panic!("{other:?}"),
        }
    }

    /// Holds that the other worker still has its connection and subscription, and got nothing but this.
    async fn victim_is_well(&mut self, payload: &'static [u8]) {
        self.command(node(2), payload);
        let event = timeout(DEADLINE, self.victim.1.next()).await.unwrap();
        assert_eq!(event, Some(message(&Topic::Control(node(2)), payload)));
    }
}

/// A worker as engines connect, with a subscription to its `control`.
async fn worker(papers: &Papers, port: u16, of: NodeId) -> (Client, Events) {
    let mut options = client::Options::new("127.0.0.1", port, of.to_string());
    options.tls = Some(papers.tls(Holder::Worker(of)));
    options.username = Some(format!("{of}:boot-1"));
    options.password = Some(Bytes::from_static(b"of its registration"));
    let (client, mut events) = client::connect(options, CancellationToken::new());
    let connected = timeout(DEADLINE, events.next()).await.unwrap();
    assert_eq!(connected, Some(Event::Connected));
    client.subscribe(&[&topic(of, "control")]).await.unwrap();
    (client, events)
}

#[tokio::test]
async fn mosquitto_by_our_rules_carries_what_is_allowed_and_denies_the_rest() {
    if !mosquitto_is_required() {
        return;
    }
    let mut stage = Stage::set().await;
    reads_nothing_of_others(&mut stage).await;
    writes_nothing_of_others(&mut stage).await;
    takes_no_session_of_others(&mut stage).await;
    leaves_no_will_elsewhere(&mut stage).await;
    nobody_is_let_in_without_a_certificate_of_the_authority(&stage).await;
}

/// Each filter alone: what comes first is its own, though what is for others was sent before.
async fn reads_nothing_of_others(stage: &mut Stage) {
    let control = topic(node(1), "control");
    for filter in [
        "#",
        "nodes/+/control",
        "+/+/+",
        "$SYS/#",
        "$share/g/nodes/+/control",
        &topic(node(2), "control"),
    ] {
        let arguments = ["-t", &control, "-t", filter, "-C", "3", "-F", "%t %p"];
        let mut child = stage.client("mosquitto_sub", &arguments).spawn().unwrap();
        // Until it has seen enough: only it knows when its subscriptions stand.
        let mut tick = tokio::time::interval(Duration::from_millis(5));
        let mut sent = 0;
        let told = async {
            while child.try_wait().unwrap().is_none() {
                tick.tick().await;
                stage.command(node(2), b"secret");
                stage.command(node(1), b"open");
                sent += 1;
                let event = stage.victim.1.next().await;
                assert_eq!(event, Some(message(&Topic::Control(node(2)), b"secret")));
            }
        };
        timeout(DEADLINE, told).await.expect("it hears nothing");
        let heard = child.wait_with_output().await.unwrap();
        let expected = format!("{control} open\n").repeat(3);
        assert_eq!(String::from_utf8_lossy(&heard.stdout), expected, "{filter}");
        assert!(sent >= 2, "{filter}");
    }
}

async fn writes_nothing_of_others(stage: &mut Stage) {
    let information = topic(node(1), "information");
    for (topic, more) in [
        (topic(node(1), "control"), &[][..]),
        (topic(node(2), "control"), &[]),
        (topic(node(2), "request"), &[]),
        (topic(node(2), "information"), &[]),
        (topic(node(2), "connection"), &[]),
        (topic(node(1), "reply/a/b"), &[]),
        ("elsewhere".to_owned(), &[]),
        // It would be kept for who comes later, and is not taken at all.
        (information.clone(), &["-r"]),
    ] {
        let arguments = ["-t", &topic, "-m", "garbage"];
        let mut client = stage.client("mosquitto_pub", &[&arguments[..], more].concat());
        timeout(DEADLINE, client.output()).await.unwrap().unwrap();
    }
    let arguments = ["-t", &information, "-m", "true", "-q", "1"];
    let done = stage.client("mosquitto_pub", &arguments).output();
    assert!(done.await.unwrap().status.success());
    let heard = (node(1), Topic::Information(node(1)), Bytes::from("true"));
    assert_eq!(stage.heard().await, heard);
    stage.victim_is_well(b"from the cluster").await;
}

/// As in the reports 3551 and 3553: under the client id of another, with a clean session and without.
async fn takes_no_session_of_others(stage: &mut Stage) {
    let other = node(2).to_string();
    for clean in [&[][..], &["-c"]] {
        let arguments = ["-i", &other, "-u", &other, "-t", "nodes/+/information"];
        let arguments = [&arguments[..], &["-E"], clean].concat();
        let mut client = stage.client("mosquitto_sub", &arguments);
        timeout(DEADLINE, client.output()).await.unwrap().unwrap();
        stage.victim_is_well(b"not taken over").await;
    }
    let arguments = ["-i", &other, "-t", &topic(node(2), "sync"), "-m", "x"];
    let mut client = stage.client("mosquitto_pub", &arguments);
    timeout(DEADLINE, client.output()).await.unwrap().unwrap();
    let arguments = ["-i", &other, "-t", &topic(node(1), "sync"), "-m", "mine"];
    let mut client = stage.client("mosquitto_pub", &arguments);
    timeout(DEADLINE, client.output()).await.unwrap().unwrap();
    let heard = (node(1), Topic::Sync(node(1)), Bytes::from("mine"));
    assert_eq!(stage.heard().await, heard);
}

/// It is let in, and its will is dropped when it is due; one on its own topic comes.
async fn leaves_no_will_elsewhere(stage: &mut Stage) {
    let control = topic(node(1), "control");
    for will in [
        topic(node(2), "connection"),
        topic(node(2), "control"),
        topic(node(1), "connection"),
    ] {
        let arguments = ["-t", &control, "--will-topic", &will, "--will-payload", "x"];
        let mut child = stage.client("mosquitto_sub", &arguments).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut tick = tokio::time::interval(Duration::from_millis(5));
        let connected = async {
            loop {
                tokio::select! {
                    line = lines.next_line() => return line.unwrap(),
                    _ = tick.tick() => stage.command(node(1), b"hello"),
                }
            }
        };
        let heard = timeout(DEADLINE, connected).await.expect("not let in");
        assert_eq!(heard.as_deref(), Some("hello"));
        child.kill().await.unwrap();
    }
    // Each took the seat of the one before, whose will was due then at the latest.
    let gone = (node(1), Topic::Connection(node(1)), Bytes::from("x"));
    assert_eq!(stage.heard().await, gone);
    stage.victim_is_well(b"no will").await;
}

async fn nobody_is_let_in_without_a_certificate_of_the_authority(stage: &Stage) {
    let other = Papers::new();
    other.issue(own());
    let id = own().id();
    // It shows what another authority issued, and believes the right one.
    let (certificate, key) = (
        other.path(&format!("{id}.pem")),
        other.path(&format!("{id}.key")),
    );
    let foreign = [
        "--cert",
        certificate.to_str().unwrap(),
        "--key",
        key.to_str().unwrap(),
    ];
    for shown in [&[][..], &foreign] {
        let arguments = [&["-i", &id, "-u", &id, "-t", "nodes/+/control"], shown].concat();
        let mut client = stage.papers.client(
            "mosquitto_sub",
            stage.port,
            None,
            &[&arguments[..], &["-E"]].concat(),
        );
        let done = timeout(Duration::from_secs(3), client.output()).await;
        // It fails, or goes on trying.
        assert!(done.is_err() || !done.unwrap().unwrap().status.success());
    }
}
