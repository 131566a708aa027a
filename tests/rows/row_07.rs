//! Row 7: the broker between a cluster and its workers starts again, with and without what it knew.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use edgeio_tests::harness::{System, alone, pause, required};
use edgeio_tests::history::Recorder;
use edgeio_tests::simulation::Rng;

use crate::documents::sleeper;
use crate::stage::{LIMIT, ROOMY, delete, judge, record, seed, settings, submit, wait_agreed};

/// Instances that begin or end while the broker is away; each costs several messages at QoS 1.
const LOAD: usize = 20;

/// How a broker ends.
#[derive(Debug, Clone, Copy)]
enum End {
    /// It is asked to.
    Asked,
    /// It is killed, and finds its data again.
    Killed,
    /// It is killed, and its data is gone.
    Wiped,
}

const ENDS: [End; 3] = [End::Asked, End::Killed, End::Wiped];

/// A Mosquitto that keeps what it knows on its disk.
struct Broker {
    port: u16,
    directory: tempfile::TempDir,
    child: Option<Child>,
}

impl Broker {
    fn start() -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut this = Self {
            port: free.local_addr().unwrap().port(),
            directory: tempfile::tempdir().unwrap(),
            child: None,
        };
        drop(free);
        this.again();
        this
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn again(&mut self) {
        let data = self.data();
        fs::create_dir_all(&data).unwrap();
        let file = self.directory.path().join("mosquitto.conf");
        // It stays the user that started it, whose the directory is.
        let text = format!(
            "listener {} 127.0.0.1\nallow_anonymous true\nuser root\npersistence true\npersistence_location {}/\nautosave_interval 1\n",
            self.port,
            data.display()
        );
        fs::write(&file, text).unwrap();
        let mut command = Command::new("mosquitto");
        command.arg("-c").arg(&file);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(command.spawn().unwrap());
    }

    fn end(&mut self, how: End) {
        let mut child = self.child.take().unwrap();
        match how {
            End::Asked => {
                let pid = rustix::process::Pid::from_child(&child);
                rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
            }
            End::Killed | End::Wiped => child.kill().unwrap(),
        }
        child.wait().unwrap();
        if matches!(how, End::Wiped) {
            fs::remove_dir_all(self.data()).unwrap();
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Rounds in which something between cluster and workers ends under load and starts again.
fn rounds(
    name: &str,
    system: &mut System,
    ways: usize,
    mut restart: impl FnMut(usize, &mut System, Duration),
) {
    let recorder: Recorder = record(system);
    submit(&recorder, "root", "steady", &sleeper("steady", ""));
    let (before, _) = wait_agreed(system, &[("root", "steady", 1)], LIMIT);
    let mut rng = Rng::new(seed());
    let names: Vec<String> = (0..ways).map(|round| format!("load-{round}")).collect();
    let mut wanted = vec![("root", "steady", 1)];
    for (round, load) in names.iter().enumerate() {
        recorder.control("the broker goes and comes");
        let many = sleeper(load, &format!("replicas: {LOAD}\n"));
        submit(&recorder, "root", load, &many);
        if let Some(former) = round.checked_sub(1) {
            delete(&recorder, "root", &names[former]);
            wanted[round].2 = 0;
        }
        pause(Duration::from_millis(rng.between(0, 300)));
        let away = Duration::from_millis(rng.between(0, 1_500));
        restart(round, system, away);
        let begun = Instant::now();
        wanted.push(("root", load, LOAD));
        let (_, took) = wait_agreed(system, &wanted, LIMIT);
        eprintln!("{name}, round {round}: away for {away:?}, all agree {took:?} after its return");
        assert!(begun.elapsed() < LIMIT);
    }
    let after = judge(name, system, recorder, &wanted, |_| {});
    assert_eq!(after[..1], before);
}

#[test]
fn row_07_a_foreign_broker_starts_again_under_load() {
    if !required("mosquitto") {
        return;
    }
    let _turn = alone();
    let mut broker = Broker::start();
    let mut system = System::start(settings());
    let url = format!("mqtt://127.0.0.1:{}", broker.port);
    system.add_cluster("cluster-a", &["--broker", &url]);
    for name in ["worker-1", "worker-2"] {
        system.add_worker(name, 0, &ROOMY);
    }
    rounds(
        "row_07_foreign",
        &mut system,
        ENDS.len(),
        |round, _, away| {
            broker.end(ENDS[round]);
            pause(away);
            broker.again();
            eprintln!("{:?}", ENDS[round]);
        },
    );
}

/// Our own endpoint is a part of the cluster-orchestrator, and goes with it.
#[test]
fn row_07_our_own_endpoint_starts_again_under_load() {
    let _turn = alone();
    let mut system = System::start(settings());
    system.add_cluster("cluster-a", &[]);
    for name in ["worker-1", "worker-2"] {
        system.add_worker(name, 0, &ROOMY);
    }
    rounds("row_07_own", &mut system, 3, |_, system, away| {
        system.clusters[0].kill();
        pause(away);
        system.clusters[0].again();
    });
}
