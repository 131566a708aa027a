use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use identity::door::{Door, Plain};
use tokio::time::timeout;

use super::*;
use crate::endpoint;
use crate::rig::{DEADLINE, Rig, mosquitto_is_required, node, publish};

/// A child process that is killed by its pid when the test ends, and the file it reads.
struct Process(
    Child,
    #[expect(dead_code, reason = "held until the end")] tempfile::NamedTempFile,
);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

fn mosquitto(port: u16) -> Process {
    let mut config = tempfile::NamedTempFile::new().unwrap();
    writeln!(
        config,
        "listener {port} 127.0.0.1\nallow_anonymous true\npersistence false"
    )
    .unwrap();
    let child = Command::new("mosquitto")
        .arg("-c")
        .arg(config.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("mosquitto is installed");
    Process(child, config)
}

async fn next(inbound: &mut mpsc::Receiver<Inbound>) -> Inbound {
    timeout(DEADLINE, inbound.recv())
        .await
        .expect("nothing was told")
        .unwrap()
}

async fn until(
    inbound: &mut mpsc::Receiver<Inbound>,
    wanted: impl Fn(&Inbound) -> bool,
) -> Inbound {
    let found = async {
        loop {
            let told = next(inbound).await;
            if wanted(&told) {
                return told;
            }
        }
    };
    timeout(DEADLINE, found).await.expect("it was not told")
}

fn subscribed(told: &Inbound) -> bool {
    *told == Inbound::Broker(BrokerState::Subscribed)
}

/// An external link to `port`, with what it tells.
fn start(port: u16, shutdown: &CancellationToken) -> (Link, mpsc::Receiver<Inbound>) {
    let (sender, inbound) = mpsc::channel(64);
    let options = client::Options::new("127.0.0.1", port, "cluster-1");
    let refuse: endpoint::Authenticate =
        Arc::new(|_| endpoint::Verdict::Refused(endpoint::NotAdmitted::Password));
    let relayed = endpoint::detached(
        Door::plain(Plain::ThisMachine),
        endpoint::Options::default(),
        refuse,
        sender.clone(),
        shutdown.clone(),
    );
    let broker = external(move || Ok(options.clone()), sender, shutdown.clone());
    (Link::External(broker, relayed), inbound)
}

#[tokio::test]
async fn a_missing_broker_is_told_and_tried_again_until_the_shutdown() {
    let shutdown = CancellationToken::new();
    let (link, mut inbound) = start(free_port(), &shutdown);
    for _ in 0..3 {
        assert!(matches!(
            next(&mut inbound).await,
            Inbound::Broker(BrokerState::Lost { .. })
        ));
    }
    assert_eq!(
        link.publish(&Topic::Control(node(1)), Bytes::new()),
        Published::NoSession
    );
    shutdown.cancel();
    timeout(DEADLINE, link.stopped())
        .await
        .expect("the task of the link goes on");
    // The endpoint of workers that are relayed tells its news as long as anybody can give it one.
    drop(link);
    let ended = async { while inbound.recv().await.is_some() {} };
    timeout(DEADLINE, ended)
        .await
        .expect("the link goes on after the shutdown");
}

#[tokio::test]
async fn the_own_endpoint_is_reached_through_the_same_calls() {
    let mut rig = Rig::start().await;
    let link = Link::Own(rig.handle.clone());
    let control = Topic::Control(node(1));
    let mut raw = rig.worker(node(1)).await;
    raw.subscribe(&control.to_string(), 1).await;
    assert_eq!(
        link.publish(&control, Bytes::from_static(b"x")),
        Published::Published
    );
    assert_eq!(raw.publish().await.1, b"x");
    link.disconnect(node(1));
    assert_eq!(rig.closed().await, crate::endpoint::Reason::Dropped);
}

#[tokio::test]
async fn an_external_mosquitto_carries_the_same_stream_and_survives_its_death() {
    if !mosquitto_is_required() {
        return;
    }
    let port = free_port();
    let shutdown = CancellationToken::new();
    let (link, mut inbound) = start(port, &shutdown);
    let mut broker = mosquitto(port);
    until(&mut inbound, subscribed).await;

    let control = Topic::Control(node(1));
    let reply = Topic::Reply {
        node: node(1),
        request: "r1".into(),
    };
    let mut last = 0;
    for round in 0..3 {
        let options = client::Options::new("127.0.0.1", port, node(1).to_string());
        let (worker, mut events) = client::connect(options, CancellationToken::new());
        worker.subscribe(&[&control.to_string()]).await.unwrap();
        for (name, payload) in [
            ("elsewhere".to_owned(), "dropped"),
            (format!("nodes/{}/sync/x", node(1)), "dropped"),
            (format!("nodes/{}/reply/a/b", node(1)), "dropped"),
            (reply.to_string(), "told"),
        ] {
            worker
                .publish(&name, Bytes::from(payload), Qos::AtLeastOnce)
                .await
                .unwrap();
        }
        match next(&mut inbound).await {
            Inbound::Message {
                node: of,
                session,
                topic,
                payload,
            } => {
                assert_eq!(
                    (of, &topic, payload),
                    (node(1), &reply, Bytes::from_static(b"told"))
                );
                assert!(
                    session > last,
                    "each connection to the broker has a higher number"
                );
                last = session;
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(
            link.publish(&control, Bytes::from_static(b"down")),
            Published::Published
        );
        assert_eq!(link.publish(&reply, Bytes::new()), Published::NoSession);
        assert_eq!(events.next().await, Some(Event::Connected));
        let down = Event::Message {
            topic: control.to_string(),
            payload: Bytes::from_static(b"down"),
        };
        assert_eq!(timeout(DEADLINE, events.next()).await.unwrap(), Some(down));
        if round < 2 {
            drop(broker);
            until(&mut inbound, |told| {
                matches!(told, Inbound::Broker(BrokerState::Lost { .. }))
            })
            .await;
            broker = mosquitto(port);
            until(&mut inbound, subscribed).await;
        }
    }
    shutdown.cancel();
}

#[tokio::test]
async fn a_broker_that_dies_under_load_is_taken_up_again_without_a_livelock() {
    if !mosquitto_is_required() {
        return;
    }
    let port = free_port();
    let shutdown = CancellationToken::new();
    let (link, mut inbound) = start(port, &shutdown);
    for _ in 0..3 {
        let broker = mosquitto(port);
        until(&mut inbound, subscribed).await;
        let mut sent = 0;
        while sent < 1000 {
            match link.publish(&Topic::Control(node(1)), Bytes::from(vec![0; 500])) {
                Published::Published => sent += 1,
                Published::Full => tokio::task::yield_now().await,
                other => panic!("{other:?}"),
            }
        }
        drop(broker);
        until(&mut inbound, |told| {
            matches!(told, Inbound::Broker(BrokerState::Lost { .. }))
        })
        .await;
    }
    shutdown.cancel();
}

#[tokio::test]
async fn the_tools_of_mosquitto_speak_with_the_own_endpoint() {
    if !mosquitto_is_required() {
        return;
    }
    let mut rig = Rig::start().await;
    let port = rig.handle.local_addr().port().to_string();
    let command = |name: &str, arguments: &[&str]| {
        let mut command = tokio::process::Command::new(name);
        command
            .args(["-h", "127.0.0.1", "-p", &port])
            .args(arguments)
            .kill_on_drop(true);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    let watcher = command(
        "mosquitto_sub",
        &["-t", "nodes/#", "-C", "2", "-F", "%t %p", "-q", "1"],
    )
    .spawn()
    .unwrap();
    let seated = async {
        while rig.handle.connections().readers == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(DEADLINE, seated).await.unwrap();
    let id = node(1).to_string();
    let topic = format!("nodes/{id}/information");
    let worker = ["-i", &id, "-u", &id, "-P", crate::rig::PASSWORD, "-t"];
    for (qos, payload) in [("1", "one"), ("2", "two")] {
        let arguments = [&worker[..], &[&topic, "-q", qos, "-m", payload]].concat();
        let done = command("mosquitto_pub", &arguments).output().await.unwrap();
        assert!(done.status.success(), "{done:?}");
        rig.connected().await;
        assert_eq!(rig.message().await.1, payload);
        assert_eq!(rig.closed().await, crate::endpoint::Reason::Disconnected);
    }
    let seen = timeout(DEADLINE, watcher.wait_with_output())
        .await
        .unwrap()
        .unwrap();
    let expected = format!("{topic} one\n{topic} two\n");
    assert_eq!(String::from_utf8(seen.stdout).unwrap(), expected);

    let arguments = ["-i", &id, "-u", &id, "-P", "wrong", "-t", &topic, "-m", "x"];
    let refused = command("mosquitto_pub", &arguments).output().await.unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).to_lowercase();
    assert!(said.contains("not authori"), "{said}");

    let mut raw = rig.raw().await;
    raw.send(&crate::rig::Connect::worker(node(1)).bytes())
        .await;
    rig.connected().await;
    raw.send(&publish(&topic, b"still here", 0, 0)).await;
    assert_eq!(rig.message().await.1, "still here");
}
