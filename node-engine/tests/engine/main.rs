//! A whole engine, as a process, against a cluster that the test plays.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "helpers of tests fail like tests, and say why they skip"
)]

mod cluster;
mod gate;
mod joining;
mod logs;
mod policy;
mod process;

use std::sync::Arc;
use std::time::Duration;

use cluster::{Cluster, application};
use identity::authority::Authority;
use model::id::NodeId;
use model::instance::Observed;
use model::time::Wall;
use process::{Home, kill, lives, wait};
use protocol::message::question::Ask;
use protocol::message::register;
use sync::{Digest, Incarnation};

const NODE: NodeId = NodeId::from_bits(77);
/// Nobody listens there.
const NOBODY: &str = "http://127.0.0.1:1";

#[tokio::test]
async fn a_worker_joins_and_runs_restarts_and_ends_what_it_is_told() {
    let mut cluster = Cluster::start(NODE).await;
    let home = Home::new();
    let engine = home.engine(&cluster.url);
    assert_eq!(engine.ready["event"], "ready");
    assert_eq!(engine.ready["node_id"], serde_json::Value::Null);
    let app = application(1, &["/bin/sleep", "1000"]);
    let instance = app.instance;
    cluster.deploy(app);
    cluster
        .until("it runs", |cluster| cluster.runs(instance))
        .await;
    let request = cluster.desk.lock().unwrap().requests[0].clone();
    assert_eq!(request.facts.name.as_str(), "worker-1");
    assert_eq!(request.node, None);
    assert!(request.facts.allocatable.cpu.0 > 0);
    assert!(cluster.connections[0].online);
    assert!(!cluster.information.is_empty());

    let first = home.pid(instance);
    kill(first);
    cluster
        .until("it runs again", |cluster| {
            let report = cluster.report(instance).map(|report| &report.report);
            cluster.runs(instance) && report.is_some_and(|report| report.restarts == 1)
        })
        .await;
    let second = home.pid(instance);
    assert_ne!(first, second);
    let exit = cluster.report(instance).unwrap().report.last_exit.clone();
    assert_eq!(exit.unwrap().signal, Some(9));
    cluster
        .until("all is told", |cluster| cluster.told.len() >= 3)
        .await;
    let told: Vec<_> = cluster.told.iter().map(|told| &told.event).collect();
    let changes: Vec<_> = told.iter().map(|event| (event.from, event.to)).collect();
    assert_eq!(
        changes,
        [
            ("SCHEDULED_NODE", "RUNNING"),
            ("RUNNING", "FAILED"),
            ("FAILED", "RUNNING"),
        ]
    );
    assert!(told.is_sorted_by_key(|event| event.at));
    assert!(told.iter().all(|event| event.instance == Some(instance)));

    cluster.terminate(instance);
    cluster
        .until("it is gone", |cluster| cluster.report(instance).is_none())
        .await;
    assert!(!lives(second));
    assert!(cluster.parent.is_synced(cluster.incarnation));
}

#[tokio::test]
async fn an_engine_that_was_killed_takes_over_without_a_cluster_what_it_ran() {
    let home = Home::new();
    let app = application(2, &["/bin/sleep", "1000"]);
    let instance = app.instance;
    {
        let mut cluster = Cluster::start(NODE).await;
        let engine = home.engine(&cluster.url);
        cluster.deploy(app);
        cluster
            .until("it runs", |cluster| cluster.runs(instance))
            .await;
        engine.kill();
    }
    let pid = home.pid(instance);
    let engine = home.engine(NOBODY);
    assert_eq!(engine.ready["node_id"], NODE.to_string());
    assert_eq!(engine.ready["connected"], false);
    assert_eq!(home.pid(instance), pid);
    // It is watched again: an end is noticed.
    kill(pid);
    wait("it runs again", || {
        home.application(instance).is_some_and(|now| now.pid != pid)
    })
    .await;
    engine.kill();
    let pid = home.pid(instance);
    kill(pid);
    wait("it is gone", || home.application(instance).is_none()).await;
    let _engine = home.engine(NOBODY);
    wait("it was started again", || {
        home.application(instance).is_some()
    })
    .await;
    assert_ne!(home.pid(instance), pid);
}

#[tokio::test]
async fn a_second_engine_on_the_same_data_is_refused() {
    let home = Home::new();
    let _engine = home.engine(NOBODY);
    let (code, log) = home.refused();
    assert_eq!(code, Some(78), "{log}");
    assert!(log.contains("in use by another process"), "{log}");
}

#[tokio::test]
async fn a_damaged_store_is_refused_with_what_to_do_about_it() {
    let home = Home::new();
    std::fs::create_dir_all(home.path()).unwrap();
    std::fs::write(home.path().join("node.store"), "no store").unwrap();
    let (code, log) = home.refused();
    assert_eq!(code, Some(78), "{log}");
    assert!(log.contains("move it away"), "{log}");
}

#[tokio::test]
async fn a_stopped_engine_says_goodbye_and_leaves_applications_running() {
    let mut cluster = Cluster::start(NODE).await;
    let home = Home::new();
    let engine = home.engine(&cluster.url);
    let app = application(3, &["/bin/sleep", "1000"]);
    let instance = app.instance;
    cluster.deploy(app);
    cluster
        .until("it runs", |cluster| cluster.runs(instance))
        .await;
    let pid = home.pid(instance);
    let stopping = tokio::task::spawn_blocking(move || engine.stop());
    cluster
        .until("it said goodbye", |cluster| {
            cluster.connections.last().is_some_and(|last| !last.online)
        })
        .await;
    let (status, took) = stopping.await.unwrap();
    assert!(
        status.success() && took < Duration::from_secs(10),
        "{took:?}"
    );
    assert_eq!(home.pid(instance), pid);

    // The next start is a later boot with later connections, and reports what runs.
    let online = |cluster: &Cluster| cluster.connections.iter().filter(|one| one.online).count();
    let _engine = home.engine(&cluster.url);
    cluster
        .until("it is back", |cluster| online(cluster) == 2)
        .await;
    cluster
        .until("it runs", |cluster| cluster.runs(instance))
        .await;
    let connects: Vec<u64> = cluster.connections.iter().map(|one| one.connect).collect();
    assert!(connects.is_sorted() && connects.first() < connects.last());
    let requests = cluster.desk.lock().unwrap().requests.clone();
    let [first, last] = [requests.first(), requests.last()].map(Option::unwrap);
    assert!(first.boot < last.boot && first.start != last.start);
    cluster
        .until("its reports are of that boot", |cluster| {
            cluster.observed.boot() == last.boot
        })
        .await;
    assert_eq!(home.pid(instance), pid);
}

#[tokio::test]
async fn a_worker_whose_password_is_refused_registers_again() {
    let mut cluster = Cluster::start(NODE).await;
    let home = Home::new();
    let _engine = home.engine(&cluster.url);
    cluster
        .until("it is there", |cluster| !cluster.connections.is_empty())
        .await;
    cluster.desk.lock().unwrap().password = "second".to_owned();
    cluster.disconnect();
    cluster
        .until("it is back", |cluster| {
            let online = cluster.connections.iter().filter(|one| one.online);
            online.count() == 2
        })
        .await;
    let requests = cluster.desk.lock().unwrap().requests.clone();
    assert_eq!(requests[1].node, Some(NODE));
    let run = |at: usize| {
        let request: &register::Request = &requests[at];
        (request.boot_id.clone(), request.boot, request.start)
    };
    assert_eq!(run(0), run(1));
}

#[tokio::test]
async fn a_worker_that_knows_its_authority_carries_out_what_that_signed_and_nothing_else() {
    let mut cluster = Cluster::start(NODE).await;
    let home = Home::new();
    let (authority, _) = Authority::make("cluster", Wall(0)).unwrap();
    let (stranger, _) = Authority::make("cluster", Wall(0)).unwrap();
    home.trust(&authority.certificate());
    let _engine = home.engine(&cluster.url);
    let app = application(3, &["/bin/sleep", "1000"]);
    let instance = app.instance;
    cluster.deploy(app);
    // What is not signed is not taken, and the cluster is told again that it has to be.
    cluster
        .until("it registers again", |cluster| {
            cluster.desk.lock().unwrap().requests.len() >= 3
        })
        .await;
    let requests = cluster.desk.lock().unwrap().requests.clone();
    assert!(requests.iter().all(|request| request.signed));
    cluster.authority = Some(Arc::new(stranger));
    let before = cluster.sent;
    cluster
        .until("a stranger's words were said", |cluster| {
            cluster.sent >= before + 3
        })
        .await;
    assert!(cluster.report(instance).is_none());
    cluster.authority = Some(Arc::new(authority));
    cluster
        .until("it runs", |cluster| cluster.runs(instance))
        .await;
    let report = cluster.report(instance).unwrap();
    assert_eq!(report.report.restarts, 0);
}

#[tokio::test]
async fn use_is_reported_at_the_interval_that_the_cluster_sets() {
    let mut cluster = Cluster::start(NODE).await;
    let home = Home::new();
    let _engine = home.engine(&cluster.url);
    cluster.set_interval(Duration::from_millis(100));
    cluster
        .until("five reports came", |cluster| {
            cluster.information.len() >= 5
        })
        .await;
    assert!(cluster.information[4].usage.memory_free.0 > 0);
}

#[tokio::test]
async fn a_worker_keeps_what_it_runs_until_a_new_store_has_taken_it_over() {
    let mut cluster = Cluster::start(NODE).await;
    let home = Home::new();
    let _engine = home.engine(&cluster.url);
    let app = application(4, &["/bin/sleep", "1000"]);
    let instance = app.instance;
    cluster.deploy(app.clone());
    cluster
        .until("it runs", |cluster| cluster.runs(instance))
        .await;
    let former = cluster.parent.digest();
    // The cluster's store was emptied.
    cluster.incarnation = Incarnation(2);
    cluster.parent = sync::Parent::default();
    cluster.ask(Ask::Adopt);
    cluster
        .until("the former set came", |cluster| {
            !cluster.adoptions.is_empty()
        })
        .await;
    let adoption = cluster.adoptions[0].clone();
    assert_eq!(adoption.held.desired_digest, former);
    assert_ne!(former, Digest::default());
    assert_eq!(adoption.desired, [app]);
    cluster.parent.adopt(former);
    cluster
        .until("it follows the new store", |cluster| {
            cluster.parent.is_synced(Incarnation(2))
        })
        .await;
    cluster
        .until("it is gone", |cluster| cluster.report(instance).is_none())
        .await;
    assert_eq!(home.application(instance), None);
}

#[tokio::test]
async fn what_cannot_start_is_reported_with_its_reason_and_can_be_ended() {
    let mut cluster = Cluster::start(NODE).await;
    let home = Home::new();
    let _engine = home.engine(&cluster.url);
    let app = application(5, &["/does/not/exist"]);
    let instance = app.instance;
    cluster.deploy(app);
    cluster
        .until("it failed", |cluster| {
            cluster
                .report(instance)
                .is_some_and(|report| matches!(&report.report.observed, Observed::Failed { .. }))
        })
        .await;
    cluster.terminate(instance);
    cluster
        .until("it is gone", |cluster| cluster.report(instance).is_none())
        .await;
}

#[test]
fn a_service_manager_hears_that_it_is_ready_lives_and_stops() {
    let home = Home::new();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let manager = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(cluster::DEADLINE)).unwrap();
    let hear = || {
        let mut buffer = [0; 64];
        let length = manager.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    let variables = [
        ("NOTIFY_SOCKET", path.to_str().unwrap()),
        ("WATCHDOG_USEC", "200000"),
    ];
    let engine = home.engine_with(NOBODY, &variables);
    // It may have been alive before it was ready.
    let heard: Vec<String> = std::iter::repeat_with(hear).take(20).collect();
    assert!(heard.iter().any(|word| word == "READY=1\n"), "{heard:?}");
    let alive = heard.iter().filter(|word| *word == "WATCHDOG=1\n").count();
    assert_eq!(alive, 19, "{heard:?}");
    assert!(engine.stop().0.success());
    let mut rest = std::iter::repeat_with(hear).take(20);
    assert!(rest.any(|word| word == "STOPPING=1\n"));
}
