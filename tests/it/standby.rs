//! Several roots on one database: one decides, the others stand by, and each takes over from one that dies.

use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use edgeio_tests::harness::{
    Balancer, Client, Mongod, Program, alone, copies_in, end_all_in, pause, required, wait_until,
};
use rustix::process::Signal;

use crate::documents::sleeper;
use crate::joining::{join_token, worker};

const LIMIT: Duration = Duration::from_mins(1);
/// Holders of the lease that are killed.
const KILLS: usize = 20;
/// How long nobody may answer after one was killed (issue: at most 5 s), beside what a client takes to notice.
const GAP: Duration = Duration::from_secs(5);

/// Three roots, what is before them, and what is behind.
struct Roots {
    programs: Vec<Program>,
    balancer: Balancer,
    dir: tempfile::TempDir,
    _server: Mongod,
}

impl Roots {
    fn start() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("edgeio-it-")
            .tempdir()
            .unwrap();
        let data = dir.path().join("mongod");
        fs::create_dir(&data).unwrap();
        let server = Mongod::start(&data);
        let addresses: Vec<SocketAddr> = (0..3).map(|_| free()).collect();
        let mut roots: Vec<Program> = Vec::new();
        for (number, address) in addresses.iter().enumerate() {
            let name = format!("root-{number}");
            let data = dir.path().join(&name);
            let mut args = vec![
                "--http".to_owned(),
                address.to_string(),
                "--store".to_owned(),
            ];
            args.extend([
                server.url("edgeio"),
                "--reconnect-max".to_owned(),
                "300ms".to_owned(),
            ]);
            args.extend(["--data-dir".to_owned(), data.display().to_string()]);
            let mut root = Program::prepare("root-orchestrator", &name, dir.path(), &args);
            if number == 0 {
                root.again();
            } else {
                // What they prove themselves with is the same for all, as the handbook has it.
                carry(&dir.path().join("root-0/identity"), &data.join("identity"));
                root.spawn();
            }
            roots.push(root);
        }
        Self {
            programs: roots,
            balancer: Balancer::start(addresses),
            dir,
            _server: server,
        }
    }

    fn client(&self) -> Client {
        let authority = self.dir.path().join("root-0/identity/authority.pem");
        let url = format!("https://{}", self.balancer.address());
        Client::new(&url, None).believing(&authority)
    }

    /// Who decides.
    fn leader(&self) -> usize {
        wait_until("one of them decides", LIMIT, || {
            let ready = |root: &Program| {
                let answer = plain(root).get("/readyz");
                answer.is_ok_and(|answer| answer.body["status"] == "ready")
            };
            self.programs
                .iter()
                .position(ready)
                .ok_or_else(|| "nobody is ready".to_owned())
        })
    }
}

impl Drop for Roots {
    fn drop(&mut self) {
        if thread::panicking() {
            for root in &self.programs {
                let log = root.log();
                let lines: Vec<&str> = log.lines().collect();
                eprintln!(
                    "--- {}:\n{}",
                    root.name(),
                    lines[lines.len().saturating_sub(40)..].join("\n")
                );
            }
        }
        end_all_in(self.dir.path());
    }
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

fn carry(from: &Path, to: &PathBuf) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let path = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            carry(&entry.path(), &path);
        } else {
            fs::copy(entry.path(), path).unwrap();
        }
    }
}

/// A client of one root itself, from its machine.
fn plain(root: &Program) -> Client {
    let address = root.argument("--http");
    Client::new(&format!("http://{address}"), None)
}

/// A cluster behind the balancer, with a worker.
fn children(roots: &Roots) -> (Program, Program) {
    let dir = roots.dir.path();
    let url = format!("https://{}", roots.balancer.address());
    let token = join_token(&roots.client(), 1, "1h");
    let data = dir.join("munich").display().to_string();
    let args = [
        "--name",
        "munich",
        "--http",
        "127.0.0.1:0",
        "--mqtt",
        "127.0.0.1:0",
        "--root",
        &url,
        "--join-token",
        &token,
        "--reconnect-max",
        "300ms",
        "--report-interval",
        "1s",
        "--data-dir",
        &data,
    ];
    let mut cluster = Program::prepare(
        "cluster-orchestrator",
        "munich",
        dir,
        &args.map(str::to_owned),
    );
    cluster.again();
    let authority = dir.join("munich/identity/authority.pem");
    let client = Client::new(cluster.said("http"), None).believing(&authority);
    let mut engine = worker(dir, "first", &join_token(&client, 1, "1h"));
    engine.again();
    let root = roots.client();
    wait_until("the root hears of the worker", LIMIT, || {
        let rows = root.list("/api/v1/clusters")?;
        let there = rows.iter().any(|row| row["number_of_nodes"] == 1);
        there.then_some(()).ok_or_else(|| format!("{rows:?}"))
    });
    (cluster, engine)
}

/// What the load saw of a system.
#[derive(Default)]
struct Load {
    stop: AtomicBool,
    accepted: AtomicUsize,
    answers: AtomicUsize,
}

/// Submits jobs one after another until it is told to stop; gives the names of those that were accepted.
fn submitting(client: &Client, load: &Load) -> Vec<String> {
    let stop = &load.stop;
    let mut accepted = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let name = format!("job-{}", accepted.len());
        let document = sleeper(&name, "requirements: {memory: 1}\n");
        // Until it is known that it is there: an answer that was lost is not a job that was.
        while !stop.load(Ordering::Relaxed) {
            let answer = client.another().post("/api/v1/jobs", &document);
            if answer.is_ok_and(|answer| [202, 409].contains(&answer.status)) {
                accepted.push(name.clone());
                load.accepted.fetch_add(1, Ordering::Relaxed);
                break;
            }
            pause(Duration::from_millis(50));
        }
        pause(Duration::from_millis(100));
    }
    accepted
}

/// Reads until it is told to stop; gives the longest time between two answers.
fn reading(client: &Client, load: &Load) -> Duration {
    let (mut last, mut longest) = (Instant::now(), Duration::ZERO);
    while !load.stop.load(Ordering::Relaxed) {
        let answer = client.another().get("/api/v1/jobs?limit=1");
        if answer.is_ok_and(|answer| answer.status == 200) {
            longest = longest.max(last.elapsed());
            last = Instant::now();
            load.answers.fetch_add(1, Ordering::Relaxed);
        }
        pause(Duration::from_millis(50));
    }
    longest
}

#[test]
fn twenty_holders_die_under_load_and_no_job_is_lost_or_doubled() {
    if !required("mongod") {
        return;
    }
    let _turn = alone();
    let mut roots = Roots::start();
    let (_cluster, _engine) = children(&roots);
    let client = roots.client();
    let load = Load::default();
    let mut gaps = Vec::new();
    let (accepted, longest) = thread::scope(|scope| {
        let submitter = scope.spawn(|| submitting(&client, &load));
        let reader = scope.spawn(|| reading(&client, &load));
        for _ in 0..KILLS {
            // It does some work first.
            let counts =
                || [&load.accepted, &load.answers].map(|count| count.load(Ordering::Relaxed));
            let before = counts();
            wait_until("jobs are taken and read", LIMIT, || {
                let [accepted, answers] = counts();
                let done = accepted >= before[0] + 3 && answers >= before[1] + 3;
                done.then_some(())
                    .ok_or_else(|| format!("{accepted}, {answers}"))
            });
            let leader = roots.leader();
            let killed = Instant::now();
            roots.programs[leader].kill();
            wait_until("another one answers", LIMIT, || {
                let answer = client.another().get("/api/v1/jobs?limit=1")?;
                (answer.status == 200)
                    .then_some(())
                    .ok_or_else(|| answer.body.to_string())
            });
            gaps.push(killed.elapsed());
            roots.programs[leader].spawn();
        }
        load.stop.store(true, Ordering::Relaxed);
        (submitter.join().unwrap(), reader.join().unwrap())
    });
    gaps.sort();
    let answers = load.answers.load(Ordering::Relaxed);
    eprintln!(
        "{KILLS} kills, {} jobs accepted, {answers} reads; nobody answered for {:?} (median), {:?} (longest) after a kill; \
         the longest time between two answers was {longest:?}",
        accepted.len(),
        gaps[gaps.len() / 2],
        gaps[gaps.len() - 1],
    );
    assert!(accepted.len() >= 3 * KILLS, "{accepted:?}");
    assert!(gaps[gaps.len() - 1] < GAP, "{gaps:?}");

    let root = roots.client();
    wait_until("all that was accepted runs", LIMIT * 2, || {
        let rows = root.list("/api/v1/jobs")?;
        let states: BTreeMap<&str, &str> = rows
            .iter()
            .filter_map(|row| Some((row["job_name"].as_str()?, row["state"].as_str()?)))
            .collect();
        let missing: Vec<_> = accepted
            .iter()
            .filter(|name| states.get(name.as_str()) != Some(&"RUNNING"))
            .collect();
        missing
            .is_empty()
            .then_some(())
            .ok_or_else(|| format!("{missing:?} of {states:?}"))
    });
    // A job whose answer was lost at the very end may run, and is not among the accepted.
    let jobs = root.list("/api/v1/jobs").unwrap().len();
    wait_until("each runs once", LIMIT, || {
        let copies = copies_in(roots.dir.path()).len();
        (copies == jobs)
            .then_some(())
            .ok_or_else(|| format!("{copies} copies of {jobs} jobs"))
    });
}

#[test]
fn who_stands_by_says_so_and_who_slept_decides_nothing_any_more() {
    if !required("mongod") {
        return;
    }
    let _turn = alone();
    let mut roots = Roots::start();
    let (_cluster, _engine) = children(&roots);
    let leader = roots.leader();
    for (number, root) in roots.programs.iter().enumerate() {
        let client = plain(root);
        wait_until("it answers", LIMIT, || {
            let answer = client.get("/healthz")?;
            (answer.status == 200)
                .then_some(())
                .ok_or_else(|| answer.body.to_string())
        });
        if number != leader {
            let answer = client.get("/readyz").unwrap();
            assert_eq!(answer.status, 200, "{}", answer.body);
            assert_eq!(answer.body["status"], "standing by", "{}", answer.body);
            // What comes to it goes to the one that decides, as whoever sent it.
            let document = sleeper(&format!("by-{number}"), "");
            let answer = client.post("/api/v1/jobs", &document).unwrap();
            assert_eq!(answer.status, 202, "{}", answer.body);
            let nobody = client.with_token(None).get("/api/v1/jobs").unwrap();
            assert_eq!(nobody.status, 401, "{}", nobody.body);
        }
    }
    // One that was not given what they prove themselves with is none of them.
    let data = roots.dir.path().join("stranger").display().to_string();
    let store = roots.programs[0].argument("--store");
    let args = [
        "--http",
        "127.0.0.1:0",
        "--store",
        &store,
        "--data-dir",
        &data,
    ];
    let args = args.map(str::to_owned);
    let mut stranger = Program::prepare("root-orchestrator", "stranger", roots.dir.path(), &args);
    assert_eq!(stranger.fails().code(), Some(78));
    assert!(
        stranger.log().contains("another identity/"),
        "{}",
        stranger.log()
    );

    // Asleep for longer than its lease; the others go on.
    roots.programs[leader].signal(Signal::STOP);
    let client = roots.client();
    wait_until("another one takes a job", LIMIT, || {
        let answer = client
            .another()
            .post("/api/v1/jobs", &sleeper("taken", ""))?;
        (answer.status == 202)
            .then_some(())
            .ok_or_else(|| answer.body.to_string())
    });
    let asleep = &mut roots.programs[leader];
    asleep.signal(Signal::CONT);
    // It notices, and ends: whoever looks after it starts it again, and it stands by.
    let status = wait_until("it ends", LIMIT, || {
        asleep.ended().ok_or_else(|| "it runs".to_owned())
    });
    assert_eq!(status.code(), Some(1));
    assert!(
        asleep
            .log()
            .contains("was taken over by root-orchestrator on"),
        "{}",
        asleep.log()
    );
    asleep.spawn();
    wait_until("all jobs run", LIMIT, || {
        let rows = client.another().list("/api/v1/jobs")?;
        let all = rows.len() == 3 && rows.iter().all(|row| row["state"] == "RUNNING");
        all.then_some(()).ok_or_else(|| format!("{rows:?}"))
    });
    assert_eq!(copies_in(roots.dir.path()).len(), 3);
}
