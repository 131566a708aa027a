//! An orchestrator that was believed dead and is not: its successor runs on a copy of its store.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use edgeio_tests::harness::{Client, Program, Settings, System, alone, pause, wait_until};
use rustix::process::Signal;

use super::{
    LIMIT, QUIET, all_copies, copy_directory, data, delete, is_fenced, refuses_changes, scale,
    still_there, wait_copies, wait_running, work_goes_on,
};
use crate::documents::sleeper;

/// An address that moves from one machine to another: whoever connects reaches whoever has it now.
#[derive(Clone)]
struct Address(Arc<Mutex<Moved>>);

struct Moved {
    to: SocketAddr,
    open: Vec<TcpStream>,
}

impl Address {
    /// Listens there until the test's process ends.
    fn at(from: SocketAddr, to: SocketAddr) -> Self {
        let this = Self(Arc::new(Mutex::new(Moved {
            to,
            open: Vec::new(),
        })));
        let listener = TcpListener::bind(from).unwrap();
        let address = this.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                address.carry(stream);
            }
        });
        this
    }

    /// From now on it is another machine's; what was open to the former one ends.
    fn move_to(&self, to: SocketAddr) {
        let mut moved = self.0.lock().unwrap();
        moved.to = to;
        for stream in moved.open.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn carry(&self, near: TcpStream) {
        let mut moved = self.0.lock().unwrap();
        let Ok(far) = TcpStream::connect_timeout(&moved.to, Duration::from_secs(2)) else {
            return;
        };
        for (from, to) in [(&near, &far), (&far, &near)] {
            let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
            thread::spawn(move || {
                let _ = copy(&mut from, &mut to);
                let _ = to.shutdown(Shutdown::Both);
            });
        }
        moved.open.extend([near, far]);
    }
}

fn copy(from: &mut TcpStream, to: &mut TcpStream) -> io::Result<()> {
    let mut buffer = [0; 16 * 1_024];
    loop {
        let read = from.read(&mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..read])?;
    }
}

fn address(url: &str) -> SocketAddr {
    let (_, address) = url.split_once("://").unwrap();
    address.parse().unwrap()
}

/// The same port at another of this machine's own addresses.
fn at(host: [u8; 4], like: SocketAddr) -> SocketAddr {
    SocketAddr::from((host, like.port()))
}

const SHARED: [u8; 4] = [127, 0, 0, 2];
const SUCCESSOR: [u8; 4] = [127, 0, 0, 3];

#[test]
#[expect(clippy::too_many_lines, reason = "one schedule, in its order")]
fn row_06_an_old_cluster_that_resumes_beside_its_successor_changes_nothing() {
    let _turn = alone();
    let mut system = System::start(Settings::QUICK);
    system.add_cluster("cluster-1", &["--advertise", "127.0.0.2"]);
    let (http, mqtt) = (
        address(system.clusters[0].said("http")),
        address(system.clusters[0].said("mqtt")),
    );
    let moving = [http, mqtt].map(|own| Address::at(at(SHARED, own), own));
    let reached = format!("http://{}", at(SHARED, http));
    system.add_worker(
        "worker-1",
        0,
        &[
            "--cluster",
            &reached,
            "--runtimes",
            "native",
            "--capacity",
            "cpu=32,memory=4000",
        ],
    );
    system.root().submit(&sleeper("of-root", "replicas: 2\n"));
    system
        .cluster(0)
        .submit(&sleeper("of-cluster", "replicas: 2\n"));
    system.cluster(0).submit(&sleeper("gone-cluster", ""));
    wait_running(&system.root(), &["of-root"]);
    wait_running(&system.cluster(0), &["of-cluster", "gone-cluster"]);

    // It stands still; whoever looks after it starts a successor on a copy of its store, and moves the address there.
    system.clusters[0].signal(Signal::STOP);
    let directory = system.directory().join("successor");
    copy_directory(&data(&system, "cluster-1"), &directory);
    let (new_http, new_mqtt) = (at(SUCCESSOR, http), at(SUCCESSOR, mqtt));
    let text = |address: SocketAddr| address.to_string();
    let args = [
        ["--name", "cluster-1"],
        ["--root", system.root.said("http")],
        ["--http", &text(new_http)],
        ["--mqtt", &text(new_mqtt)],
        ["--advertise", "127.0.0.2"],
        ["--data-dir", directory.to_str().unwrap()],
        ["--keep-alive", "1s"],
        ["--report-interval", "1s"],
        ["--lost-after", "2s"],
        ["--reconnect-max", "300ms"],
    ];
    let args: Vec<String> = args.concat().into_iter().map(str::to_owned).collect();
    for (moving, to) in moving.iter().zip([new_http, new_mqtt]) {
        moving.move_to(to);
    }
    let successor = Program::start(
        "cluster-orchestrator",
        "successor",
        system.directory(),
        &args,
        None,
    );
    let client = Client::new(successor.said("http"), None);
    wait_running(&client, &["of-cluster", "of-root"]);
    scale(&client, "of-cluster", 3);
    delete(&client, "gone-cluster");
    client.submit(&sleeper("added-cluster", ""));
    scale(&system.root(), "of-root", 3);
    wait_copies(&system, "of-cluster", 3);
    wait_copies(&system, "of-root", 3);
    wait_copies(&system, "gone-cluster", 0);
    wait_running(&client, &["of-cluster", "added-cluster", "of-root"]);
    let before = all_copies(&system);

    // It resumes, and believes that no time has passed.
    system.clusters[0].signal(Signal::CONT);
    let begun = Instant::now();
    let old = system.cluster(0);
    wait_until("it knows that it is superseded", LIMIT, || is_fenced(&old));
    eprintln!(
        "an old cluster is fenced {:?} after it resumed",
        begun.elapsed()
    );
    refuses_changes(&old, "of-cluster");
    pause(QUIET);
    assert_eq!(all_copies(&system), before, "the old one changed something");
    // The root hears the successor, and the address may lead to the old one once more.
    scale(&system.root(), "of-root", 2);
    wait_copies(&system, "of-root", 2);
    let before = all_copies(&system);
    for (moving, to) in moving.iter().zip([http, mqtt]) {
        moving.move_to(to);
    }
    pause(QUIET);
    assert_eq!(all_copies(&system), before, "a worker obeyed the old one");
    for (moving, to) in moving.iter().zip([new_http, new_mqtt]) {
        moving.move_to(to);
    }
    client.submit(&sleeper("goes-on", ""));
    wait_running(&client, &["goes-on", "of-cluster"]);
    wait_copies(&system, "goes-on", 1);
    still_there(&system, &before);
}

#[test]
fn row_06_an_old_root_that_resumes_beside_its_successor_changes_nothing() {
    let _turn = alone();
    // The cluster reaches its root by an address that moves.
    let mut system = System::start(Settings::QUICK);
    let http = address(system.root.said("http"));
    let moving = Address::at(at(SHARED, http), http);
    let reached = format!("http://{}", at(SHARED, http));
    system.add_cluster("cluster-1", &["--root", &reached]);
    system.add_worker(
        "worker-1",
        0,
        &["--runtimes", "native", "--capacity", "cpu=32,memory=4000"],
    );
    system.root().submit(&sleeper("of-root", "replicas: 2\n"));
    system.root().submit(&sleeper("gone-root", ""));
    wait_running(&system.root(), &["of-root", "gone-root"]);

    system.root.signal(Signal::STOP);
    let directory = system.directory().join("successor");
    copy_directory(&data(&system, "root"), &directory);
    let new_http = at(SUCCESSOR, http);
    moving.move_to(new_http);
    let args = [
        "--http",
        &new_http.to_string(),
        "--data-dir",
        directory.to_str().unwrap(),
        "--report-interval",
        "1s",
        "--reconnect-max",
        "300ms",
    ];
    let args: Vec<String> = args.into_iter().map(str::to_owned).collect();
    let successor = Program::start(
        "root-orchestrator",
        "successor",
        system.directory(),
        &args,
        None,
    );
    let client = Client::new(successor.said("http"), None);
    wait_running(&client, &["of-root", "gone-root"]);
    scale(&client, "of-root", 3);
    delete(&client, "gone-root");
    client.submit(&sleeper("added-root", ""));
    wait_copies(&system, "of-root", 3);
    wait_copies(&system, "gone-root", 0);
    wait_running(&client, &["of-root", "added-root"]);
    let before = all_copies(&system);

    // It resumes, takes a job, and then its cluster comes by once more: what it took is not placed.
    system.root.signal(Signal::CONT);
    let old = system.root();
    old.submit(&sleeper("in-vain", ""));
    pause(Duration::from_secs(2));
    assert_eq!(all_copies(&system), before);
    moving.move_to(http);
    let begun = Instant::now();
    wait_until("it knows that it is superseded", LIMIT, || is_fenced(&old));
    eprintln!(
        "an old root is fenced {:?} after its cluster came by",
        begun.elapsed()
    );
    refuses_changes(&old, "of-root");
    pause(QUIET);
    assert_eq!(all_copies(&system), before, "the old one changed something");
    moving.move_to(new_http);
    wait_running(&client, &["of-root", "added-root"]);
    scale(&client, "of-root", 1);
    wait_copies(&system, "of-root", 1);
    assert_eq!(system.copies("in-vain"), []);
}

#[test]
fn row_06_a_second_process_on_one_data_directory_is_refused() {
    let _turn = alone();
    let system = System::of_one(Settings::QUICK, "cpu=32,memory=4000");
    system.cluster(0).submit(&sleeper("own", ""));
    wait_running(&system.cluster(0), &["own"]);
    let before = all_copies(&system);
    for (program, name, directory) in [
        ("root-orchestrator", "second-root", data(&system, "root")),
        (
            "cluster-orchestrator",
            "second-cluster",
            data(&system, "cluster-1"),
        ),
        ("node-engine", "second-worker", data(&system, "worker-1")),
    ] {
        let mut args = vec![
            "--data-dir".to_owned(),
            directory.to_str().unwrap().to_owned(),
        ];
        let more: &[&str] = match program {
            "root-orchestrator" => &["--http", "127.0.0.1:0"],
            "cluster-orchestrator" => &["--http", "127.0.0.1:0", "--mqtt", "127.0.0.1:0"],
            _ => &[
                "--cluster",
                system.clusters[0].said("http"),
                "--runtimes",
                "native",
            ],
        };
        args.extend(more.iter().map(|arg| (*arg).to_owned()));
        let mut second = Program::prepare(program, name, system.directory(), &args);
        let status = second.fails();
        let said = second.log();
        assert_eq!(status.code(), Some(78), "{program}: {said}");
        assert!(
            said.contains("in use by another process"),
            "{program}: {said}"
        );
    }
    work_goes_on(&system, "new");
    still_there(&system, &before);
    assert!(fs::exists(data(&system, "root").join("root.redb")).unwrap());
}
