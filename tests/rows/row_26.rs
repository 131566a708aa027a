//! Row 26: a connection that is half open: one side is gone, and nobody says so.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use edgeio_tests::harness::{System, alone, wait_until};
use edgeio_tests::proxy::{Options, Proxy, Speaks};

use crate::documents::sleeper;
use crate::messages::{Post, address};
use crate::stage::{LIMIT, ROOMY, judge, keep_alive, record, seed, settings, submit, wait_agreed};

/// What a busy machine needs to notice what is due.
const LATE: Duration = Duration::from_secs(1);

#[test]
fn row_26_a_half_open_connection_of_a_worker_is_noticed() {
    let post = Post::open();
    let recorder = post.record();
    let wanted = [("root", "steady", 1), ("root", "later", 1)];
    submit(&recorder, "root", "steady", &sleeper("steady", ""));
    let (before, _) = wait_agreed(&post.system, &wanted[..1], LIMIT);
    let cluster = post.system.cluster(0);
    let states = || -> Result<Vec<String>, String> {
        let nodes = cluster.list("/api/v1/nodes")?;
        Ok(nodes
            .iter()
            .map(|node| node["state"].as_str().unwrap().to_owned())
            .collect())
    };
    recorder.control("the workers' connections are half open");
    let connections = post.proxy.counts().connections;
    let begun = Instant::now();
    assert_eq!(post.proxy.freeze(), 2);
    let silence = keep_alive().mul_f64(1.5);
    wait_until("the cluster notices", silence + LATE, || {
        let states = states()?;
        states
            .iter()
            .any(|state| state != "ALIVE")
            .then_some(())
            .ok_or_else(|| format!("{states:?}"))
    });
    eprintln!(
        "noticed {:?} after, one and a half keep-alives are {silence:?}",
        begun.elapsed()
    );
    // The old connections are still open as far as the proxy goes; the new ones take their place.
    wait_until("both workers are back over new connections", LIMIT, || {
        let (states, now) = (states()?, post.proxy.counts().connections);
        (states == ["ALIVE", "ALIVE"] && now >= connections + 2)
            .then_some(())
            .ok_or_else(|| format!("{states:?}, {now} connections"))
    });
    eprintln!("both back {:?} after", begun.elapsed());
    submit(&recorder, "root", "later", &sleeper("later", ""));
    let after = judge("row_26_worker", &post.system, recorder, &wanted, |_| {});
    assert_eq!(after[..1], before);
}

#[test]
fn row_26_a_half_open_uplink_is_noticed() {
    let _turn = alone();
    let mut system = System::start(settings());
    system.root.kill();
    system.root.add_arguments(&["--uplink-ping", "2s"]);
    system.root.again();
    let silence = Duration::from_secs(3);
    let local: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let root = address(system.root.said("http"));
    let proxy = Proxy::start(Options::new(local, root, Speaks::Bytes, seed()));
    let through = format!("http://{}", proxy.address());
    system.add_cluster("cluster-a", &["--root", &through]);
    system.add_worker("worker-1", 0, &ROOMY);
    let recorder = record(&system);
    let wanted = [("root", "steady", 1), ("root", "later", 1)];
    submit(&recorder, "root", "steady", &sleeper("steady", ""));
    let (before, _) = wait_agreed(&system, &wanted[..1], LIMIT);
    recorder.control("the uplink is half open");
    let connections = proxy.counts().connections;
    let begun = Instant::now();
    assert!(proxy.freeze() >= 1);
    submit(&recorder, "root", "later", &sleeper("later", ""));
    wait_until("the cluster connects again", silence + LATE + LIMIT, || {
        let now = proxy.counts().connections;
        (now > connections)
            .then_some(())
            .ok_or_else(|| now.to_string())
    });
    let noticed = begun.elapsed();
    eprintln!("a new uplink {noticed:?} after, its silence is {silence:?}");
    assert!(noticed <= silence + LATE, "{noticed:?}");
    let after = judge("row_26_uplink", &system, recorder, &wanted, |_| {});
    assert_eq!(after[..1], before);
}
