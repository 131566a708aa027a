//! An engine that joins with a token, and stays a member.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use identity::Holder;

use crate::NODE;
use crate::cluster::Cluster;
use crate::gate::Gate;
use crate::process::{Home, wait};

const HOUR: Duration = Duration::from_hours(1);

#[tokio::test]
async fn one_command_makes_a_machine_a_worker_and_a_restart_needs_neither_token_nor_address() {
    let mut cluster = Cluster::start(NODE).await;
    let gate = Gate::open(&cluster.url, NODE, HOUR).await;
    cluster.authority = Some(gate.authority());
    let home = Home::new();
    let (engine, said) = home.joining(&["join", "-"], &gate.token()).await;
    assert_eq!(engine.ready["node_id"], NODE.to_string());
    cluster
        .until("it is there", |cluster| !cluster.connections.is_empty())
        .await;
    let request = cluster.desk.lock().unwrap().requests[0].clone();
    assert_eq!((request.node, request.join_token), (Some(NODE), None));
    // What it found, in lines of their own.
    for check in ["data_dir", "disk", "runtimes", "cluster"] {
        wait(check, || {
            said.lock().unwrap().lines().any(|line| {
                let mut words = line.split_whitespace();
                let level = words.next();
                ["ok", "warn", "bad"].contains(&level.unwrap_or_default())
                    && words.next() == Some(check)
            })
        })
        .await;
    }
    let key = home.path().join("identity").join("key.pem");
    let mode = std::fs::metadata(&key).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    engine.kill();

    let (engine, _) = home.joining(&[], "").await;
    assert_eq!(engine.ready["node_id"], NODE.to_string());
    wait("it registers again", || {
        gate.log.lock().unwrap().peers.len() == 2
    })
    .await;
    let found = home.doctor().await;
    let known = [NODE.to_string(), gate.pin(), gate.place.clone()];
    let line = found
        .lines()
        .find(|line| line.starts_with("ok    identity"));
    let line = line.unwrap_or_else(|| panic!("{found}"));
    assert!(known.iter().all(|known| line.contains(known)), "{line}");
    let log = gate.log.lock().unwrap();
    assert_eq!(log.joined, 1);
    for peer in &log.peers {
        let peer = peer.as_ref().map(|peer| peer.holder);
        assert_eq!(peer, Some(Holder::Worker(NODE)));
    }
    drop(engine);
}

#[tokio::test]
async fn a_certificate_is_renewed_while_the_engine_runs_and_shown_from_the_next_connection_on() {
    let mut cluster = Cluster::start(NODE).await;
    let gate = Gate::open(&cluster.url, NODE, Duration::from_secs(2)).await;
    cluster.authority = Some(gate.authority());
    let home = Home::new();
    let (_engine, _) = home.joining(&["--join-token", &gate.token()], "").await;
    cluster
        .until("it is renewed", |_| gate.log.lock().unwrap().renewed >= 2)
        .await;
    assert_eq!(gate.log.lock().unwrap().certificates(), 1);
    // The link was not given up for it.
    let online = |cluster: &Cluster| cluster.connections.iter().filter(|one| one.online).count();
    assert_eq!(online(&cluster), 1);
    cluster.desk.lock().unwrap().password = "second".to_owned();
    cluster.disconnect();
    cluster
        .until("it is back", |cluster| online(cluster) == 2)
        .await;
    assert_eq!(gate.log.lock().unwrap().certificates(), 2);
}

#[tokio::test]
async fn a_token_that_leads_nowhere_or_is_refused_ends_the_engine_with_the_reason() {
    let cluster = Cluster::start(NODE).await;
    let gate = Gate::open(&cluster.url, NODE, HOUR).await;
    let other = Gate::open(&cluster.url, NODE, HOUR).await;
    let home = Home::new();
    // The address of one, the authority of the other.
    let (right, wrong) = (gate.token(), other.token());
    let part = |token: &str, at: usize| token.split('.').nth(at).unwrap().to_owned();
    let stranger = right.replace(&part(&right, 3), &part(&wrong, 3));
    let refused = right.replace(&part(&right, 5), &part(&wrong, 5));
    for (token, code, says) in [
        (stranger, 1, "is not the one this token was made by"),
        (refused, 64, "bad_join_token"),
        ("eio1.worker".to_owned(), 64, "not whole"),
    ] {
        let (ended, log) = home.refuses(&["join", &token]).await;
        assert_eq!(ended, Some(code), "{log}");
        assert!(log.contains(says), "{log}");
        assert!(!log.contains(&token), "{log}");
    }
    assert_eq!(gate.log.lock().unwrap().joined, 0);
    assert!(cluster.desk.lock().unwrap().requests.is_empty());
}
