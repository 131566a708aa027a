//! Mosquitto's command-line clients as peers. They need `EDGEIO_REQUIRE=mosquitto`.

use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use protocol::topic::Topic;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout};

use crate::endpoint::{Published, Reason};
use crate::rig::{DEADLINE, PASSWORD, Rig, mosquitto_is_required, node};

fn topic(leaf: &str) -> String {
    format!("nodes/{}/{leaf}", node(1))
}

/// A client of Mosquitto's, to be started.
fn client(rig: &Rig, name: &str, arguments: &[&str]) -> Command {
    let port = rig.handle.local_addr().port().to_string();
    let mut command = Command::new(name);
    command
        .args(["-h", "127.0.0.1", "-p", &port])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// The same as the worker `node(1)`.
fn worker(rig: &Rig, name: &str, arguments: &[&str]) -> Command {
    let id = node(1).to_string();
    let who = ["-i", &id, "-u", &id, "-P", PASSWORD];
    client(rig, name, &[&who, arguments].concat())
}

/// Waits until a worker's subscription to its `control` stands, by sending it a first command.
async fn command(rig: &Rig, payload: &[u8]) {
    let sent = async {
        loop {
            match rig
                .handle
                .publish(&Topic::Control(node(1)), Bytes::copy_from_slice(payload))
            {
                Published::Published => return,
                Published::NoSession | Published::Full => {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                Published::TooLarge => panic!("too large"),
            }
        }
    };
    timeout(DEADLINE, sent).await.expect("no subscription");
}

async fn signal(child: &Child, name: &str) {
    let pid = child.id().expect("it runs").to_string();
    let done = Command::new("kill").args([name, &pid]).status().await;
    assert!(done.unwrap().success());
}

#[tokio::test]
async fn mosquitto_sub_receives_commands_at_each_qos_in_order() {
    if !mosquitto_is_required() {
        return;
    }
    let mut rig = Rig::start().await;
    for qos in ["0", "1", "2"] {
        let arguments = [
            "-V",
            "mqttv311",
            "-t",
            &topic("control"),
            "-q",
            qos,
            "-C",
            "500",
            "-F",
            "%q %r %p",
        ];
        let mut child = worker(&rig, "mosquitto_sub", &arguments).spawn().unwrap();
        rig.connected().await;
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let receive = async {
            let mut expected = 0;
            while let Some(line) = lines.next_line().await.unwrap() {
                let granted = u8::from(qos != "0");
                assert_eq!(line, format!("{granted} 0 {expected}"));
                expected += 1;
            }
            assert_eq!(expected, 500);
        };
        // More than the queue and the window take at once, so Mosquitto's acknowledgements are needed.
        let send = async {
            for n in 0..500 {
                command(&rig, n.to_string().as_bytes()).await;
            }
        };
        timeout(DEADLINE, async { tokio::join!(send, receive) })
            .await
            .unwrap();
        assert_eq!(rig.closed().await, Reason::Disconnected);
    }
}

#[tokio::test]
async fn mosquitto_pub_sends_a_thousand_lines_at_each_qos() {
    if !mosquitto_is_required() {
        return;
    }
    let mut rig = Rig::start().await;
    for qos in ["0", "1", "2"] {
        let arguments = ["-V", "mqttv311", "-t", &topic("sync"), "-q", qos, "-l"];
        let mut child = worker(&rig, "mosquitto_pub", &arguments).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        let lines: Vec<String> = (0..1000).map(|n| format!("line {n}\n")).collect();
        let writer = tokio::spawn(async move { input.write_all(lines.concat().as_bytes()).await });
        rig.connected().await;
        for n in 0..1000 {
            assert_eq!(rig.message().await.1, format!("line {n}"));
        }
        assert_eq!(rig.closed().await, Reason::Disconnected);
        writer.await.unwrap().unwrap();
        assert!(child.wait().await.unwrap().success());
    }
}

#[tokio::test]
async fn a_will_of_mosquittos_is_told_when_it_is_killed_and_not_when_it_leaves() {
    if !mosquitto_is_required() {
        return;
    }
    let mut rig = Rig::start().await;
    let (control, connection) = (topic("control"), topic("connection"));
    let arguments = [
        "-t",
        &control,
        "-C",
        "1",
        "--will-topic",
        &connection,
        "--will-payload",
        "offline",
        "--will-qos",
        "2",
    ];
    let mut killed = worker(&rig, "mosquitto_sub", &arguments).spawn().unwrap();
    rig.connected().await;
    killed.kill().await.unwrap();
    assert_eq!(
        rig.message().await,
        (Topic::Connection(node(1)), "offline".into())
    );
    assert_eq!(rig.closed().await, Reason::Lost);

    let mut leaves = worker(&rig, "mosquitto_sub", &arguments).spawn().unwrap();
    rig.connected().await;
    command(&rig, b"the one").await;
    assert_eq!(rig.closed().await, Reason::Disconnected);
    assert!(leaves.wait().await.unwrap().success());
}

#[tokio::test]
async fn mosquitto_sub_is_kept_by_its_pings_and_dropped_when_it_stands_still() {
    if !mosquitto_is_required() {
        return;
    }
    let mut rig = Rig::start().await;
    let arguments = ["-t", &topic("control"), "-k", "5"];
    let child = worker(&rig, "mosquitto_sub", &arguments).spawn().unwrap();
    rig.connected().await;
    let pinged = timeout(Duration::from_secs(9), rig.inbound.recv()).await;
    assert!(pinged.is_err(), "{pinged:?}");
    signal(&child, "-STOP").await;
    let since = Instant::now();
    assert_eq!(rig.closed().await, Reason::Silent);
    assert!(since.elapsed() < Duration::from_secs(9));
    signal(&child, "-CONT").await;
    // It comes back by itself.
    rig.connected().await;
}

#[tokio::test]
async fn mosquitto_is_told_that_other_versions_are_not_spoken() {
    if !mosquitto_is_required() {
        return;
    }
    let mut rig = Rig::start().await;
    for version in ["mqttv5", "mqttv31"] {
        for (name, more) in [
            ("mosquitto_pub", ["-m", "x"]),
            ("mosquitto_sub", ["-C", "1"]),
        ] {
            let topic = topic("control");
            let arguments = [&["-V", version, "-t", &topic], &more[..]].concat();
            let ran = worker(&rig, name, &arguments).output();
            let done = timeout(DEADLINE, ran).await.expect("it hangs").unwrap();
            assert!(!done.status.success());
            let said = String::from_utf8_lossy(&done.stderr).to_lowercase();
            assert!(
                said.contains("protocol version"),
                "{name} {version}: {said}"
            );
        }
    }
    assert!(rig.inbound.try_recv().is_err());
}

#[tokio::test]
async fn mosquitto_sub_watches_as_a_reader_with_and_without_a_clean_session() {
    if !mosquitto_is_required() {
        return;
    }
    let mut rig = Rig::start().await;
    let large = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(large.path(), vec![b'x'; 200_000]).unwrap();
    for session in [&["-i", "watcher", "-c"][..], &["-i", "watcher"], &[]] {
        let arguments = [
            session,
            &[
                "-t",
                "nodes/+/connection",
                "-t",
                "nodes/#",
                "-t",
                "other",
                "-C",
                "1",
            ],
        ]
        .concat();
        let watcher = client(&rig, "mosquitto_sub", &arguments).spawn().unwrap();
        let mut publisher = rig.worker(node(2)).await;
        // Sent until it is seen: only the watcher knows when its subscription stands.
        let publish = async {
            loop {
                let bytes =
                    crate::rig::publish(&format!("nodes/{}/information", node(2)), b"seen", 0, 0);
                publisher.send(&bytes).await;
                rig.message().await;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let seen = async { timeout(DEADLINE, watcher.wait_with_output()).await };
        let seen = tokio::select! {
            () = publish => unreachable!("it goes on for ever"),
            seen = seen => seen.unwrap().unwrap(),
        };
        assert_eq!(seen.stdout, b"seen\n");
        drop(publisher);
        while !matches!(rig.next().await, crate::endpoint::Inbound::Closed { .. }) {}
    }
    let path = large.path().to_str().unwrap();
    let arguments = ["-t", &topic("instances"), "-q", "1", "-f", path];
    let done = worker(&rig, "mosquitto_pub", &arguments)
        .output()
        .await
        .unwrap();
    assert!(done.status.success());
    rig.connected().await;
    assert_eq!(rig.message().await.1.len(), 200_000);
}
