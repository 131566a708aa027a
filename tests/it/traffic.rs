//! Clients of a job that know its addresses from its rows and its events alone.
//!
//! One thread follows the job's events. Whenever one comes, the job is read, and the pool becomes the endpoints of its
//! rows that are RUNNING and are there to stay: `holder`, or `successor`. As any balancer does, a new endpoint gets traffic
//! when it has answered once, and one that leaves gets it until there is another for its replica, which is what a drain
//! delay is for. In between every request must be answered. Each client asks one replica after another; a replica
//! without an endpoint counts as a request that failed.

#![expect(clippy::panic, reason = "helpers of tests fail like tests")]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use edgeio_tests::harness::{Client, TOKEN, pause, wait_until};
use serde_json::Value;

/// How long one request may take.
const LIMIT: Duration = Duration::from_secs(5);
/// Between two tries of an endpoint that has not answered yet.
const AGAIN: Duration = Duration::from_millis(20);
/// Between two requests of one client.
const BEAT: Duration = Duration::from_millis(4);
/// How many clients ask.
const CLIENTS: usize = 4;
/// Failures that are told in full.
const TOLD: usize = 10;

/// What answers for one replica.
type Pool = BTreeSet<(u32, SocketAddr)>;

#[derive(Default)]
struct Shared {
    pool: Mutex<Pool>,
    done: AtomicBool,
    answered: AtomicU64,
    failures: Mutex<Vec<String>>,
}

/// Traffic, until it is asked how it went.
pub(crate) struct Traffic {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// How it went.
pub(crate) struct Outcome {
    /// Requests that were answered.
    pub(crate) answered: u64,
    /// Requests that were not: how many, and the first of them.
    pub(crate) failed: usize,
    pub(crate) first: Vec<String>,
}

impl Traffic {
    /// Begins to ask a job's replicas, once each of them has answered.
    pub(crate) fn start(root: &Client, server: &str, job: &str, replicas: u32) -> Self {
        let shared = Arc::<Shared>::default();
        let (sender, events) = mpsc::channel();
        let (follower, keeper) = (Arc::clone(&shared), Arc::clone(&shared));
        let (server, path) = (server.to_owned(), job.to_owned());
        let mut threads = vec![std::thread::spawn(move || {
            follow(&follower, &server, &path, &sender);
        })];
        let (root, job) = (root.another(), job.to_owned());
        threads.push(std::thread::spawn(move || {
            keep(&keeper, &root, &job, &events);
        }));
        wait_until("every replica has answered once", LIMIT * 4, || {
            let pool = shared.pool.lock().unwrap().clone();
            let indices: BTreeSet<u32> = pool.iter().map(|(index, _)| *index).collect();
            (indices.len() == replicas as usize)
                .then_some(())
                .ok_or_else(|| format!("{pool:?}"))
        });
        for number in 0..CLIENTS {
            let shared = Arc::clone(&shared);
            threads.push(std::thread::spawn(move || {
                ask_all(&shared, replicas, number);
            }));
        }
        Self { shared, threads }
    }

    /// Ends, and says how it went.
    pub(crate) fn finish(self) -> Outcome {
        self.shared.done.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().unwrap();
        }
        let failures = self.shared.failures.lock().unwrap();
        Outcome {
            answered: self.shared.answered.load(Ordering::Relaxed),
            failed: failures.len(),
            first: failures.iter().take(TOLD).cloned().collect(),
        }
    }
}

impl Shared {
    fn is_done(&self) -> bool {
        self.done.load(Ordering::Relaxed)
    }
}

/// Tells of each event that comes on the stream.
fn follow(shared: &Shared, server: &str, job: &str, events: &Sender<()>) {
    let address = server.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    write!(
        stream,
        "GET /api/v1/jobs/{job}/events?follow=true HTTP/1.1\r\nHost: {address}\r\n\
         Authorization: Bearer {TOKEN}\r\n\r\n"
    )
    .unwrap();
    let mut lines = BufReader::new(stream);
    let mut line = Vec::new();
    while !shared.is_done() {
        match lines.read_until(b'\n', &mut line) {
            Ok(0) => panic!("the stream of events ended"),
            Ok(_) if !line.ends_with(b"\n") => {}
            Ok(_) => {
                // The lines between them are lengths of chunks, heads and signs of life.
                if line.starts_with(b"data:") {
                    events.send(()).unwrap();
                }
                line.clear();
            }
            Err(error) => assert!(
                matches!(
                    error.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                ),
                "{error}"
            ),
        }
    }
}

/// Keeps the pool as the job's rows say after each event.
fn keep(shared: &Shared, root: &Client, job: &str, events: &Receiver<()>) {
    let mut wanted = Pool::new();
    while !shared.is_done() {
        match events.recv_timeout(AGAIN) {
            Ok(()) => {
                // One read is as new as all that has come.
                while events.try_recv().is_ok() {}
                wanted = endpoints(&root.job(job).unwrap());
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let known = shared.pool.lock().unwrap().clone();
        for endpoint in wanted.difference(&known) {
            if ask(endpoint.1).is_ok() {
                shared.pool.lock().unwrap().insert(*endpoint);
            }
        }
        let mut pool = shared.pool.lock().unwrap();
        let stay = |index: u32| {
            let mut stay = pool.iter().filter(|endpoint| wanted.contains(endpoint));
            stay.any(|endpoint| endpoint.0 == index)
        };
        let leave: Vec<_> = pool.difference(&wanted).copied().collect();
        let leave: Vec<_> = leave
            .into_iter()
            .filter(|(index, _)| stay(*index))
            .collect();
        for endpoint in leave {
            pool.remove(&endpoint);
        }
    }
}

/// The endpoints of the rows that run and are there to stay.
fn endpoints(job: &Value) -> Pool {
    let rows = job["instances"].as_array().unwrap().iter();
    let serves = |row: &&Value| {
        let stays = row["role"] == "holder" || row["role"] == "successor";
        stays && row["state"] == "RUNNING"
    };
    let found = rows.filter(serves).flat_map(|row| {
        let index = u32::try_from(row["index"].as_u64().unwrap()).unwrap();
        let endpoints = row["endpoints"].as_array().unwrap().iter();
        endpoints.map(move |endpoint| {
            let address = endpoint["address"].as_str().unwrap().parse().unwrap();
            let port = endpoint["host_port"].as_u64().unwrap();
            (
                index,
                SocketAddr::new(address, u16::try_from(port).unwrap()),
            )
        })
    });
    found.collect()
}

/// Asks one replica after another.
fn ask_all(shared: &Shared, replicas: u32, number: usize) {
    let mut round = number;
    while !shared.is_done() {
        for index in 0..replicas {
            let pool = shared.pool.lock().unwrap().clone();
            let of_index: Vec<_> = pool.iter().filter(|endpoint| endpoint.0 == index).collect();
            round += 1;
            let chosen = of_index.get(round % of_index.len().max(1));
            let asked = match chosen {
                Some((_, address)) => ask(*address).map_err(|error| format!("{address}: {error}")),
                None => Err("it has no endpoint".to_owned()),
            };
            match asked {
                Ok(()) => {
                    shared.answered.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => {
                    let failure = format!("replica {index}: {error}; of {of_index:?}");
                    shared.failures.lock().unwrap().push(failure);
                }
            }
            pause(BEAT);
        }
    }
}

/// One request.
fn ask(address: SocketAddr) -> Result<(), String> {
    let exchange = || -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect_timeout(&address, LIMIT)?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.write_all(b"GET /index.html HTTP/1.0\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(answer)
    };
    let answer = exchange().map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&answer);
    let fine = text.split(' ').nth(1) == Some("200") && text.ends_with("here\n");
    fine.then_some(()).ok_or_else(|| format!("{text:?}"))
}
