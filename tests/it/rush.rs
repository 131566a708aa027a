//! Many machines that join with one token at the same moment.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use edgeio_tests::harness::{Client, Settings, System, alone, programs, wait_until};

use crate::joining::join_token;

/// As many as the token lets in; one more comes.
const USES: u32 = 100;
/// Two cores share a hundred engines.
const LIMIT: Duration = Duration::from_mins(2);

/// `node-engine join` on a machine of its own.
struct Machine {
    name: String,
    child: Child,
    log: PathBuf,
    ended: Option<ExitStatus>,
}

impl Machine {
    fn start(directory: &Path, number: u32, token: &str) -> Self {
        let name = format!("w-{number}");
        let log = directory.join(format!("{name}.log"));
        let child = Command::new(programs().join("node-engine"))
            .args(["join", token, "--name", &name, "--runtimes", "native"])
            .args(["--capacity", "cpu=1,memory=100,disk=100", "--data-dir"])
            .arg(directory.join(&name))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Self {
            name,
            child,
            log,
            ended: None,
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn alive(cluster: &Client) -> Result<usize, String> {
    let rows = cluster.list("/api/v1/nodes")?;
    Ok(rows.iter().filter(|row| row["state"] == "ALIVE").count())
}

/// Resident memory of a process in KiB.
fn resident(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let words = line.and_then(|line| line.split_whitespace().next());
    words.unwrap().parse().unwrap()
}

#[test]
fn a_hundred_engines_join_at_one_moment_with_a_token_for_a_hundred_and_the_next_one_does_not() {
    let _turn = alone();
    let mut system = System::start(Settings {
        // Engines that wait for a core are none that are away.
        lost_after: Some(LIMIT),
        keep_alive: Some(Duration::from_mins(1)),
        ..Settings::QUICK
    });
    system.add_cluster("munich", &[]);
    let cluster = system.cluster(0);
    let token = join_token(&cluster, USES, "1h");
    let directory = system.directory().to_owned();
    let before = resident(system.clusters[0].pid());

    let begun = Instant::now();
    let mut machines: Vec<Machine> = (0..=USES)
        .map(|number| Machine::start(&directory, number, &token))
        .collect();
    wait_until("a hundred are in, and one gave up", LIMIT, || {
        for machine in &mut machines {
            if machine.ended.is_none() {
                machine.ended = machine.child.try_wait().unwrap();
            }
        }
        let ended = machines.iter().filter(|it| it.ended.is_some()).count();
        let alive = alive(&cluster)?;
        (alive >= USES as usize && ended >= 1)
            .then_some(())
            .ok_or_else(|| format!("{alive} are alive, {ended} have ended"))
    });
    let took = begun.elapsed();
    let grown = resident(system.clusters[0].pid()).saturating_sub(before);
    eprintln!("{USES} engines joined within {took:?}; the cluster grew by {grown} KiB");

    assert_eq!(alive(&cluster).unwrap(), USES as usize);
    let left: Vec<_> = machines.iter().filter(|it| it.ended.is_some()).collect();
    let [last] = left.as_slice() else {
        panic!("{:?}", left.iter().map(|it| it.log()).collect::<Vec<_>>());
    };
    // 64: nothing that trying again would help.
    assert_eq!(last.ended.unwrap().code(), Some(64), "{}", last.log());
    assert!(last.log().contains("token"), "{}", last.log());
    let names = cluster.list("/api/v1/nodes").unwrap();
    assert!(names.iter().all(|row| row["name"] != *last.name));
    // A connection each, and a certificate: far below a megabyte.
    assert!(grown < 100 * 1_024, "{grown} KiB");
    let tokens = cluster.list("/api/v1/join-tokens").unwrap();
    assert_eq!(tokens[0]["used"], USES, "{tokens:?}");
}
