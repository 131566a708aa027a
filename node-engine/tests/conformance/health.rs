//! Health probes: what every runtime promises of them, and what only containers have.

use std::process::Command;
use std::time::{Duration, Instant};

use model::id::InstanceId;
use model::workload::{Port, Probe, RuntimeKind, Transport, Workload};
use node_engine::runtime::Given;
use node_engine::runtime::{Asked, Runtime, Unwell};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::bed::{Bed, DEADLINE, IMAGE, Rig, docker, until};

const PATIENCE: Duration = Duration::from_secs(20);
/// Inside a container, which has its ports to itself.
const PORT: u16 = 8_080;

fn shell(script: &str) -> Probe {
    Probe::Command(["/bin/sh", "-c", script].map(str::to_owned).to_vec())
}

fn asked(probe: Probe, timeout: Duration) -> Asked {
    Asked::new(probe, timeout, Vec::new())
}

/// Asks until the answer `is_expected`; a busy machine may need some time to start what is asked for.
async fn found(
    runtime: &Runtime,
    instance: InstanceId,
    probe: &Probe,
    is_expected: impl Fn(&Result<(), Unwell>) -> bool,
) {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let found = runtime
            .probe(instance, &asked(probe.clone(), PATIENCE))
            .await;
        if is_expected(&found) {
            return;
        }
        assert!(Instant::now() < deadline, "{probe:?} stays {found:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// An application that answers each request with this; its workload, and its port.
async fn server(bed: &Bed, answer: &'static str) -> (Workload, u16) {
    if bed.kind == RuntimeKind::Docker {
        let answer = answer.replace('\r', "\\r").replace('\n', "\\n");
        let script = format!("while :; do printf '{answer}' | busybox nc -l -p {PORT}; done");
        return (bed.script(&script), PORT);
    }
    // A native application's ports are those of the machine, so this test can be the application.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut request = [0; 1_024];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.read(&mut request).await;
            });
        }
    });
    (bed.script("sleep 1000"), port)
}

async fn stop(rig: &Rig, instance: InstanceId) {
    rig.runtime.stop(instance, Duration::ZERO).await.unwrap();
}

pub(crate) async fn a_command_probe_runs_beside_the_application_and_says_why_it_failed(bed: Bed) {
    let (rig, identity) = (bed.rig(), bed.identity());
    let mut workload = bed.script("test -w . || cd /tmp; : > ready; sleep 1000");
    workload
        .environment
        .insert("MOOD".to_owned(), "good".to_owned());
    rig.runtime
        .start(&identity, &workload, Given::default())
        .await
        .unwrap();
    let instance = identity.instance;
    let probe = shell("test -w . || cd /tmp; test -f ready && test \"$MOOD\" = good");
    found(&rig.runtime, instance, &probe, Result::is_ok).await;
    let probe = shell("echo first; echo no database; exit 3");
    let told = rig.runtime.probe(instance, &asked(probe, PATIENCE)).await;
    let why = told.unwrap_err();
    assert!(
        why.contains("exit") && why.contains('3') && why.ends_with(": no database"),
        "{why}"
    );
    let absent = Probe::Command(vec!["/no/such/check".to_owned()]);
    let told = rig.runtime.probe(instance, &asked(absent, PATIENCE)).await;
    assert!(told.is_err());
    stop(&rig, instance).await;
}

pub(crate) async fn a_command_probe_that_hangs_is_killed_when_its_time_is_over(bed: Bed) {
    let (rig, identity) = (bed.rig(), bed.identity());
    rig.runtime
        .start(&identity, &bed.script("sleep 1000"), Given::default())
        .await
        .unwrap();
    // A number of its own, by which it is found among all processes.
    let seconds = 1_000_000 + identity.instance.bits() % 1_000_000;
    let hanging = asked(
        shell(&format!("exec sleep {seconds}")),
        Duration::from_millis(500),
    );
    let begun = Instant::now();
    let told = rig.runtime.probe(identity.instance, &hanging).await;
    assert_eq!(told, Err("no answer within 500ms".to_owned()));
    assert!(begun.elapsed() < DEADLINE / 2, "{:?}", begun.elapsed());
    let name = format!("sleep {seconds}");
    until("the hanging check is gone", || !is_running(&name)).await;
    stop(&rig, identity.instance).await;
}

/// Whether a process of this command line is there.
fn is_running(command: &str) -> bool {
    let found = Command::new("pgrep").args(["-x", "-f", command]).output();
    found.unwrap().status.success()
}

pub(crate) async fn a_probe_that_is_given_up_leaves_no_process(bed: Bed) {
    let (rig, identity) = (bed.rig(), bed.identity());
    rig.runtime
        .start(&identity, &bed.script("sleep 1000"), Given::default())
        .await
        .unwrap();
    let seconds = 2_000_000 + identity.instance.bits() % 1_000_000;
    let name = format!("sleep {seconds}");
    let hanging = asked(shell(&format!("exec {name}")), DEADLINE);
    let probing = rig.runtime.probe(identity.instance, &hanging);
    tokio::select! {
        told = probing => panic!("{told:?}"),
        () = until("the check runs", || is_running(&name)) => {}
    }
    // As the engine does: an instance is stopped, and nobody wants to know any more how it is.
    stop(&rig, identity.instance).await;
    until("the check is gone", || !is_running(&name)).await;
}

pub(crate) async fn a_status_from_200_to_399_is_well(bed: Bed) {
    for (answer, word) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", None),
        ("HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", None),
        ("HTTP/1.1 404 Not Found\r\n\r\n", Some("status 404")),
        ("HTTP/1.1 503 Busy\r\n\r\n", Some("status 503")),
        ("220 mail.example ESMTP\r\n", Some("no HTTP")),
    ] {
        let (rig, identity) = (bed.rig(), bed.identity());
        let (workload, port) = server(&bed, answer).await;
        rig.runtime
            .start(&identity, &workload, Given::default())
            .await
            .unwrap();
        let path = "/healthz?deep=1".to_owned();
        let probe = Probe::Http { port, path };
        found(&rig.runtime, identity.instance, &probe, |found| {
            match (found, word) {
                (Ok(()), None) => true,
                (Err(why), Some(word)) => why.contains(word),
                (Ok(()), Some(_)) | (Err(_), None) => false,
            }
        })
        .await;
        stop(&rig, identity.instance).await;
    }
}

pub(crate) async fn a_port_that_takes_connections_is_well_and_a_closed_one_is_not(bed: Bed) {
    let (rig, identity) = (bed.rig(), bed.identity());
    let (workload, port) = server(&bed, "").await;
    rig.runtime
        .start(&identity, &workload, Given::default())
        .await
        .unwrap();
    let instance = identity.instance;
    found(&rig.runtime, instance, &Probe::Tcp { port }, Result::is_ok).await;
    // Nobody listens there: natively a port that was just free, in a container any other.
    let closed = match bed.kind {
        RuntimeKind::Docker => PORT + 1,
        RuntimeKind::Native | RuntimeKind::Noop => {
            let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
            free.local_addr().unwrap().port()
        }
    };
    let refused = |found: &Result<(), Unwell>| *found == Err("connection refused".to_owned());
    let path = "/".to_owned();
    for probe in [
        Probe::Tcp { port: closed },
        Probe::Http { port: closed, path },
    ] {
        found(&rig.runtime, instance, &probe, refused).await;
    }
    stop(&rig, instance).await;
}

pub(crate) async fn who_takes_a_request_and_does_not_answer_is_given_up(bed: Bed) {
    let (rig, identity) = (bed.rig(), bed.identity());
    let (workload, port) = match bed.kind {
        RuntimeKind::Docker => {
            let silent = format!("while :; do sleep 1000 | busybox nc -l -p {PORT}; done");
            (bed.script(&silent), PORT)
        }
        RuntimeKind::Native | RuntimeKind::Noop => {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            tokio::spawn(async move {
                let mut all = Vec::new();
                while let Ok((stream, _)) = listener.accept().await {
                    all.push(stream);
                }
            });
            (bed.script("sleep 1000"), port)
        }
    };
    rig.runtime
        .start(&identity, &workload, Given::default())
        .await
        .unwrap();
    let path = "/".to_owned();
    let silent = asked(Probe::Http { port, path }, Duration::from_millis(700));
    let deadline = Instant::now() + DEADLINE;
    loop {
        let told = rig.runtime.probe(identity.instance, &silent).await;
        if told == Err("no answer within 700ms".to_owned()) {
            break;
        }
        assert!(Instant::now() < deadline, "{told:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stop(&rig, identity.instance).await;
}

pub(crate) async fn what_is_not_there_is_not_well(bed: Bed) {
    let rig = bed.rig();
    let nobody = bed.identity().instance;
    let told = rig
        .runtime
        .probe(nobody, &asked(shell("true"), PATIENCE))
        .await;
    assert!(told.is_err());
}

/// The engine's proxy takes every connection to a published port; the container itself does not.
#[tokio::test]
async fn a_published_port_that_nobody_serves_is_not_well() {
    let Some(bed) = Bed::docker() else { return };
    let (rig, identity) = (bed.rig(), bed.identity());
    let mut workload = bed.script("sleep 1000");
    workload.ports = vec![Port {
        host: None,
        container: PORT,
        transport: Transport::Tcp,
    }];
    let started = rig
        .runtime
        .start(&identity, &workload, Given::default())
        .await
        .unwrap();
    let host = started.endpoints[0].host_port;
    // The proxy, or the address translation in its place: either way the answer must not come from it.
    let by_proxy = std::net::TcpStream::connect(("127.0.0.1", host)).is_ok();
    let probe = Asked::new(Probe::Tcp { port: PORT }, PATIENCE, started.endpoints);
    let told = rig.runtime.probe(identity.instance, &probe).await;
    assert_eq!(
        told,
        Err("connection refused".to_owned()),
        "the published port takes connections: {by_proxy}"
    );
    stop(&rig, identity.instance).await;
}

/// Made by another hand, with this worker's labels: a container in the network of its host has no address of its own.
#[tokio::test]
async fn a_container_in_the_network_of_its_host_is_asked_there() {
    let Some(bed) = Bed::docker() else { return };
    let (rig, identity) = (bed.rig(), bed.identity());
    let worker = format!("edgeio.worker={}", bed.node);
    let instance = format!("edgeio.instance={}", identity.instance);
    let labels = ["--label", &worker, "--label", &instance];
    let run = ["run", "-d", "--network", "host"];
    let program = [IMAGE, "-c", "sleep 1000"];
    docker(&[run.as_slice(), &labels, &program].concat());
    assert_eq!(rig.only().await.instance, identity.instance);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let probe = asked(Probe::Tcp { port }, PATIENCE);
    let told = rig.runtime.probe(identity.instance, &probe).await;
    assert_eq!(told, Ok(()));
    drop(listener);
    let told = rig.runtime.probe(identity.instance, &probe).await;
    assert!(told.is_err());
    stop(&rig, identity.instance).await;
}
