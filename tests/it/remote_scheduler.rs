//! Schedulers elsewhere: a program in another language decides, is exchanged, and fails in every way.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use edgeio_tests::harness::{Client, Program, Settings, System, pause, together, wait_until};
use serde_json::Value;

use crate::documents::sleeper;

mod queue;
mod root;

const LIMIT: Duration = Duration::from_secs(30);
/// Jobs that arrive while the scheduler is exchanged.
const ARRIVE: usize = 60;

/// `schedulers/examples/most_free.py`.
struct Python {
    child: Child,
    address: SocketAddr,
}

impl Python {
    fn start(port: u16) -> Self {
        let example =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../schedulers/examples/most_free.py");
        let child = Command::new("python3")
            .arg(example)
            .arg(port.to_string())
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        wait_until("the scheduler listens", LIMIT, || {
            std::net::TcpStream::connect(address)
                .map(drop)
                .map_err(|error| error.to_string())
        });
        Self { child, address }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn has_python() -> bool {
    let version = Command::new("python3").arg("--version").output();
    let there = version.is_ok_and(|output| output.status.success());
    if !there {
        eprintln!("ignored: there is no python3");
    }
    there
}

fn free_port() -> u16 {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    free.local_addr().unwrap().port()
}

/// A scheduler that takes every question and answers none, or with this.
fn broken(answer: Option<&'static str>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        let mut held = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            if let Some(answer) = answer {
                let mut question = vec![0; 64 * 1024];
                let _ = stream.read(&mut question);
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
                    answer.len()
                );
                let _ = stream.write_all(format!("{head}{answer}").as_bytes());
            }
            held.push(stream);
        }
    });
    url
}

/// A cluster whose scheduler is that, with a small worker in Munich and a large one elsewhere.
fn system(scheduler: &str) -> System {
    system_with(&["--scheduler", scheduler])
}

fn system_with(options: &[&str]) -> System {
    let mut system = System::start(Settings::QUICK);
    system.add_cluster(
        "cluster-1",
        &[options, &["--scheduler-pause", "1s"]].concat(),
    );
    let worker = |label, capacity| {
        [
            "--runtimes",
            "native",
            "--label",
            label,
            "--capacity",
            capacity,
        ]
    };
    system.add_worker("small", 0, &worker("city=munich", "cpu=64,memory=8000"));
    system.add_worker("large", 0, &worker("city=berlin", "cpu=64,memory=64000"));
    system
}

fn exchange(cluster: &Client, scheduler: &str) {
    let answer = cluster.put("/api/v1/scheduler", scheduler).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
}

/// A job of the cluster's own that would rather be in Munich.
fn submit(cluster: &Client, name: &str) {
    let more = "requirements: {memory: 10}\ncluster_location: munich\n";
    cluster.submit(&sleeper(name, more));
}

/// Where its one instance runs, and what is said of why.
#[track_caller]
fn wait_placed(cluster: &Client, name: &str) -> (String, String) {
    wait_until(&format!("{name} runs"), LIMIT, || {
        let job = cluster.job(name)?;
        if job["state"] != "RUNNING" {
            return Err(job.to_string());
        }
        let instances = job["instances"].as_array().unwrap();
        assert_eq!(instances.len(), 1, "{job}");
        let worker = instances[0]["worker_node"].as_str().unwrap().to_owned();
        let explained = cluster.get(&format!("/api/v1/jobs/{name}/explain"))?.body;
        let why = explained["items"][0]["message"]
            .as_str()
            .unwrap()
            .to_owned();
        Ok((worker, why))
    })
}

/// Jobs arrive while `location` and that one take turns: how often.
fn exchange_while_jobs_arrive(cluster: &Client, scheduler: &str) -> usize {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let exchanging = scope.spawn(|| {
            let mut exchanges = 0;
            while !done.load(Ordering::Relaxed) {
                exchange(
                    cluster,
                    &format!("scheduler: {}", ["location", scheduler][exchanges % 2]),
                );
                exchanges += 1;
                pause(Duration::from_millis(50));
            }
            exchanges
        });
        for number in 0..ARRIVE {
            submit(cluster, &format!("job-{number}"));
        }
        done.store(true, Ordering::Relaxed);
        exchanging.join().unwrap()
    })
}

#[track_caller]
fn runs_by(cluster: &Client, name: &str, worker: &str, words: &str) {
    submit(cluster, name);
    let (on, why) = wait_placed(cluster, name);
    assert!(on == worker && why.contains(words), "{name} on {on}: {why}");
}

#[test]
fn a_scheduler_in_python_decides_and_is_exchanged_while_jobs_arrive() {
    if !has_python() {
        return;
    }
    let _turn = together();
    let python = Python::start(free_port());
    let system = system(&python.url());
    let cluster = system.cluster(0);
    let shown = cluster.get("/api/v1/scheduler").unwrap().body;
    let expected = serde_json::json!({"scheduler": python.url(), "deadline": "2000ms", "fallback": "first-fit"});
    assert_eq!(shown, expected);
    // More memory is free on the large one; the others would take the first, or the one in Munich.
    let chose = format!("{} chose worker large", python.url());
    runs_by(&cluster, "by-python", "large", &chose);

    let exchanges = exchange_while_jobs_arrive(&cluster, &python.url());
    let placed: Vec<_> = (0..ARRIVE)
        .map(|number| wait_placed(&cluster, &format!("job-{number}")))
        .collect();
    let by = |words: &str| placed.iter().filter(|(_, why)| why.contains(words)).count();
    eprintln!(
        "{exchanges} exchanges, {} by python, {} by location",
        by("http://"),
        by("location chose")
    );
    assert!(
        placed
            .iter()
            .all(|(on, why)| (on == "small") == why.starts_with("location")),
        "{placed:?}"
    );

    // Away: the declared one decides, and the explanation says why. Back: it is asked again.
    exchange(&cluster, &format!("scheduler: {}", python.url()));
    let (port, url) = (python.address.port(), python.url());
    drop(python);
    runs_by(
        &cluster,
        "while-away",
        "small",
        "first-fit (the scheduler http://",
    );
    let python = Python::start(port);
    let mut tries = 0;
    wait_until("the scheduler is asked again", LIMIT, || {
        tries += 1;
        let name = format!("again-{tries}");
        submit(&cluster, &name);
        let (on, why) = wait_placed(&cluster, &name);
        if on == "large" { Ok(()) } else { Err(why) }
    });
    drop(python);
    // With nobody declared what arrives waits, and says so.
    exchange(
        &cluster,
        &format!("{{scheduler: \"{url}\", fallback: none}}"),
    );
    submit(&cluster, "patient");
    wait_until("it waits for the scheduler", LIMIT, || {
        let job = cluster.job("patient")?;
        let reason = job["reason"].as_str().unwrap_or_default();
        let is = job["state"] == "NOT_DEPLOYED" && reason.contains("cannot be reached");
        if is { Ok(()) } else { Err(job.to_string()) }
    });
    let _python = Python::start(port);
    assert_eq!(wait_placed(&cluster, "patient").0, "large");
}

#[test]
fn a_scheduler_that_hangs_or_answers_garbage_loses_nothing() {
    let _turn = together();
    let hangs = broken(None);
    let mut system = system(&format!("{hangs} deadline=300ms fallback=location"));
    let cluster = system.cluster(0);
    runs_by(&cluster, "hung", "small", "no answer came within 300 ms");
    for (name, answer, words) in [
        ("number", "42", "its answer cannot be used"),
        ("empty", "{}", "missing field `choose`"),
        (
            "stranger",
            r#"{"choose": "nobody"}"#,
            "which was not offered",
        ),
    ] {
        exchange(
            &cluster,
            &format!("{{scheduler: \"{}\"}}", broken(Some(answer))),
        );
        runs_by(&cluster, name, "small", words);
    }
    let refuses = broken(Some(r#"{"choose": null, "reason": "all are asleep"}"#));
    exchange(&cluster, &format!("{{scheduler: \"{refuses}\"}}"));
    submit(&cluster, "declined");
    wait_until("it is declined", LIMIT, || {
        let job = cluster.job("declined")?;
        let reason = job["reason"].as_str().unwrap_or_default();
        reason
            .contains("places it nowhere: all are asleep")
            .then_some(())
            .ok_or_else(|| job.to_string())
    });
    // The cluster dies while it waits for an answer, and asks somebody else when it is back.
    exchange(
        &cluster,
        &format!("{{scheduler: \"{hangs}\", deadline: 60s}}"),
    );
    submit(&cluster, "asked");
    wait_until("it is asked", LIMIT, || {
        let explained = cluster.get("/api/v1/jobs/asked/explain")?.body.to_string();
        explained
            .contains("is asked where it runs")
            .then_some(())
            .ok_or(explained)
    });
    assert_eq!(cluster.job("asked").unwrap()["state"], "SCHEDULED_CLUSTER");
    system.clusters[0].kill();
    system.clusters[0].again();
    for job in ["asked", "declined", "hung", "number", "empty", "stranger"] {
        wait_placed(&cluster, job);
    }
}

#[test]
fn every_algorithm_is_served_by_a_program_of_its_own() {
    let _turn = together();
    let mut system = system("first-fit");
    let cluster = system.cluster(0);
    let args = ["--http", "127.0.0.1:0"].map(str::to_owned);
    let mut scheduler = Program::start(
        "edgeio-scheduler",
        "scheduler",
        system.directory(),
        &args,
        None,
    );
    let url = scheduler.said("http").to_owned();
    for (path, worker) in [
        ("/location", "small"),
        ("/first-fit", "small"),
        ("", "small"),
    ] {
        exchange(&cluster, &format!("scheduler: {url}{path}"));
        let name = format!("by{}", path.replace('/', "-"));
        runs_by(
            &cluster,
            &name,
            worker,
            &format!("{url}{path} chose worker {worker}"),
        );
    }
    // It is the cluster's through a restart, without the option.
    exchange(
        &cluster,
        &format!("{{scheduler: \"{url}/location\", deadline: 1s}}"),
    );
    let known: Value = cluster.get("/api/v1/scheduler").unwrap().body;
    assert_eq!(known["deadline"], "1000ms");
    scheduler.kill();
    runs_by(&cluster, "away", "small", "cannot be reached");
    for (wrong, remedy) in [
        ("scheduler: best-guess", "first-fit, location"),
        ("scheduler: ftp://a", "http://127.0.0.1:10005"),
        ("scheduler: http://192.0.2.1:10005", "--insecure"),
        ("scheduler: https://127.0.0.1:10005", "--scheduler-ca"),
        ("scheduler: faulty", "for tests alone"),
        ("{scheduler: location, deadline: 1s}", "first-fit, location"),
        (
            "{scheduler: \"http://127.0.0.1:1\", fallback: nobody}",
            "fallback=NAME",
        ),
        (
            "{scheduler: \"http://127.0.0.1:1\", deadline: 2h}",
            "deadline",
        ),
        ("algorithm: location", "scheduler"),
    ] {
        let answer = cluster.put("/api/v1/scheduler", wrong).unwrap();
        assert_eq!(answer.status, 400, "{wrong}: {}", answer.body);
        assert!(
            answer.body.to_string().contains(remedy),
            "{wrong}: {}",
            answer.body
        );
    }
    let mut kept = cluster.get("/api/v1/scheduler").unwrap().body;
    if let Some(away) = kept.as_object_mut().unwrap().remove("away") {
        assert!(away.to_string().contains("cannot be reached"), "{away}");
    }
    assert_eq!(kept, known);
    system.clusters[0].stop();
}
