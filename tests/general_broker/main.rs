//! The general broker of `--general-broker`: as a second foreign broker of a whole system, for other applications, and at its
//! limits. Beside it, what is linked for it is held against `deny.toml`.
//!
//! `cargo test --workspace --features edgeio-tests/general-broker --test general_broker` builds a cluster-orchestrator with it.

#![expect(
    clippy::unwrap_used,
    reason = "a test that panics is a test that fails"
)]

#[path = "../it/supply.rs"]
mod supply;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output};
use std::time::Duration;

use edgeio_tests::harness::{
    Program, Settings, System, required, together, wait_until, with_general_broker,
};

const LIMIT: Duration = Duration::from_secs(30);

fn sleeper(name: &str) -> String {
    format!(
        "api_version: v0.1\njob_name: {name}\nimage_runtime: native\ncommand: [/bin/sleep, \"1000000\"]\n"
    )
}

/// A port that is free now; this broker cannot take one by itself.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// A cluster with a general broker, which works alone.
fn alone_at(address: &str, directory: &std::path::Path) -> Program {
    let program = with_general_broker();
    let data = directory.join("data");
    let args = [
        ["--name", "alone"],
        ["--http", "127.0.0.1:0"],
        ["--mqtt", "127.0.0.1:0"],
        ["--data-dir", data.to_str().unwrap()],
        ["--general-broker", address],
    ];
    let args = args.as_flattened().iter().map(|arg| (*arg).to_owned());
    let args: Vec<String> = args.collect();
    Program::prepare(program.to_str().unwrap(), "alone", directory, &args)
}

/// A client that was let in, with a will, if there is one; `None`: it was not.
fn comes(port: u16, client: &str, will: Option<[&str; 2]>) -> Option<TcpStream> {
    // A clean session; a will is of QoS 1 and is kept.
    let flags = if will.is_some() { 0x2e } else { 0x02 };
    let mut opening = [text("MQTT"), vec![4, flags, 0, 60], text(client)].concat();
    opening.extend(will.iter().flatten().flat_map(|part| text(part)));
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.write_all(&packet(0x10, &opening)).ok()?;
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).ok()?;
    (answer == [0x20, 2, 0, 0]).then_some(stream)
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes(), text.as_bytes()].concat()
}

/// A short packet.
fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    [&[first, body.len() as u8], body].concat()
}

fn mosquitto(program: &str, port: u16, more: &[&str]) -> Command {
    let mut command = Command::new("timeout");
    command
        .args(["10", program, "-V", "mqttv311", "-h", "127.0.0.1", "-p"])
        .arg(port.to_string())
        .args(more);
    command
}

fn says(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn it_carries_the_work_of_a_cluster_whose_restart_and_its_own_fall_end_nothing() {
    let _turn = together();
    let program = with_general_broker();
    let port = free_port();
    let (address, url) = (
        format!("127.0.0.1:{port}"),
        format!("mqtt://127.0.0.1:{port}"),
    );
    let mut system = System::start(Settings::QUICK);
    let more = ["--general-broker", &address, "--broker", &url];
    let cluster = system.add_cluster_of(
        program.to_str().unwrap(),
        "munich",
        ("127.0.0.1", None),
        &more,
    );
    system.add_worker("worker", cluster, &["--runtimes", "native"]);
    system.root().submit(&sleeper("carried"));
    system.wait_state("carried", "RUNNING", LIMIT);
    let before = system.copies("carried");
    assert_eq!(before.len(), 1);

    // With its cluster it comes back empty.
    let orchestrator = system.clusters.get_mut(cluster).unwrap();
    orchestrator.kill();
    orchestrator.again();
    system.root().submit(&sleeper("second"));
    system.wait_state("second", "RUNNING", LIMIT);

    // A topic by which its router falls.
    let mut guest = comes(port, "guest", None).unwrap();
    guest.write_all(&packet(0x30, &text("ü/ä"))).unwrap();
    let told = |what: &str| {
        let log = system.clusters.get(cluster).unwrap().log();
        log.contains(what).then_some(()).ok_or(log)
    };
    wait_until("it is told", LIMIT, || {
        told("the general MQTT broker fell; it begins anew")
    });
    system.root().submit(&sleeper("third"));
    system.wait_state("third", "RUNNING", LIMIT);
    system.wait_state("carried", "RUNNING", LIMIT);
    assert_eq!(system.copies("carried"), before);

    for job in ["carried", "second", "third"] {
        let answer = system.root().delete(&format!("/api/v1/jobs/{job}"));
        assert_eq!(answer.unwrap().status, 202);
        wait_until("its copies end", LIMIT, || {
            let copies = system.copies(job);
            copies
                .is_empty()
                .then_some(())
                .ok_or_else(|| format!("{copies:?}"))
        });
    }
}

#[test]
fn other_applications_use_it_while_workers_use_the_own_endpoint() {
    if !required("mosquitto") {
        return;
    }
    let _turn = together();
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let mut cluster = alone_at(&format!("127.0.0.1:{port}"), directory.path());
    cluster.again();
    assert!(!cluster.said("mqtt").ends_with(&format!(":{port}")));

    // What is kept for who comes later, what nobody has asked for, and what a client leaves as its will.
    let kept = ["-t", "hall/light", "-m", "on", "-q", "1", "-r"];
    says(&mosquitto("mosquitto_pub", port, &kept).output().unwrap());
    let light = ["-t", "hall/+", "-v", "-C", "1"];
    let heard = says(&mosquitto("mosquitto_sub", port, &light).output().unwrap());
    assert_eq!(heard, "hall/light on\n");
    let unasked = ["-t", "nobody/asked", "-m", "x", "-q", "1"];
    says(&mosquitto("mosquitto_pub", port, &unasked).output().unwrap());

    drop(comes(port, "mortal", Some(["wills/mortal", "gone"])).unwrap());
    let wills = ["-t", "wills/#", "-v", "-C", "1"];
    let heard = says(&mosquitto("mosquitto_sub", port, &wills).output().unwrap());
    assert_eq!(heard, "wills/mortal gone\n");
}

#[test]
fn who_is_not_let_in_twice_is_healed_by_a_new_beginning() {
    let _turn = together();
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let mut cluster = alone_at(&format!("127.0.0.1:{port}"), directory.path());
    cluster.again();
    // After the second of these it lets in nobody, and says nothing of it.
    for _ in 0..2 {
        assert!(comes(port, "with/slash", None).is_none());
    }
    assert!(comes(port, "anybody", None).is_none());
    wait_until("it lets in clients again", LIMIT, || {
        comes(port, "anybody", None).ok_or_else(|| cluster.log())
    });
    assert!(
        cluster.log().contains("it begins anew"),
        "{}",
        cluster.log()
    );
    assert!(cluster.stop().success());
}

#[test]
fn another_address_or_a_taken_port_is_refused_before_anything_is_made() {
    let _turn = together();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap().to_string();
    for (address, code, told) in [
        ("0.0.0.0:1883", 64, "it must be a loopback address"),
        ("192.0.2.1:1883", 64, "it must be a loopback address"),
        ("127.0.0.1:0", 64, "it needs a port"),
        (&taken, 69, "is in use"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let mut cluster = alone_at(address, directory.path());
        let ended = cluster.fails();
        let log = cluster.log();
        assert_eq!(ended.code(), Some(code), "{log}");
        assert!(log.contains(address) && log.contains(told), "{log}");
        assert!(!directory.path().join("data").exists(), "{log}");
    }
}
