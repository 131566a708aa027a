//! Writes down what happens while a test goes on.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Ask, Copy, Fault, History, Instance, Job, Line, What};
use crate::harness::{Answer, Client, Program, copies_at_once, pause};

/// Between two looks at what runs.
const TRUTH: Duration = Duration::from_millis(40);
/// Between two looks at what a server shows.
const VIEW: Duration = Duration::from_millis(100);
/// What did not change is written down again after so long.
const AGAIN: u64 = 500;

/// Looks at servers and processes in threads of its own, until it is asked for the history.
#[derive(Debug)]
pub struct Recorder {
    book: Book,
    directory: PathBuf,
    /// Where the history goes when the test fails before it asks for it.
    keep: PathBuf,
    servers: Vec<(String, Client)>,
    done: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    bystander: Arc<Mutex<Bystander>>,
}

/// Where everybody writes.
#[derive(Debug, Clone)]
struct Book {
    begun: Instant,
    lines: Arc<Mutex<Vec<Line>>>,
}

impl Book {
    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn write(&self, begun: u64, what: What) {
        let mut lines = self.lines.lock().unwrap();
        let at = self.now();
        lines.push(Line { begun, at, what });
    }
}

/// A process that is not edgeIO's business.
#[derive(Debug)]
struct Bystander(Child);

impl Bystander {
    fn start() -> Self {
        let mut command = Command::new("/bin/sleep");
        command.arg("1000000").stdin(Stdio::null());
        Self(command.spawn().unwrap())
    }

    fn seen(&mut self) -> Vec<String> {
        let runs = matches!(self.0.try_wait(), Ok(None));
        runs.then(|| format!("sleep {}", self.0.id()))
            .into_iter()
            .collect()
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        // One that is gone already was missed by I10.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Recorder {
    /// Starts to look at what runs below a directory, whose folders are the workers', and at what these servers show. A test
    /// that fails meanwhile finds what was seen at `keep`.
    pub fn start(directory: &Path, servers: Vec<(String, Client)>, keep: &Path) -> Self {
        let mut this = Self {
            book: Book {
                begun: Instant::now(),
                lines: Arc::default(),
            },
            directory: directory.to_owned(),
            keep: keep.to_owned(),
            servers,
            done: Arc::default(),
            threads: Vec::new(),
            bystander: Arc::new(Mutex::new(Bystander::start())),
        };
        let (book, place) = (this.book.clone(), this.directory.clone());
        let bystander = Arc::clone(&this.bystander);
        this.keep_looking(TRUTH, move |last| {
            let others = bystander.lock().unwrap().seen();
            look_at_truth(&book, &place, others, last);
        });
        for (name, client) in this.servers.clone() {
            let book = this.book.clone();
            let client = client.another();
            this.keep_looking(VIEW, move |last| look_at(&book, &name, &client, last));
        }
        this
    }

    fn keep_looking(
        &mut self,
        pause_between: Duration,
        mut look: impl FnMut(&mut Option<(u64, What)>) + Send + 'static,
    ) {
        let done = Arc::clone(&self.done);
        self.threads.push(std::thread::spawn(move || {
            let mut last = None;
            while !done.load(Ordering::Relaxed) {
                look(&mut last);
                pause(pause_between);
            }
        }));
    }

    /// Submits a job to a server, whatever comes of it.
    pub fn submit(&self, server: &str, name: &str, document: &str) -> Result<Answer, String> {
        self.asked(server, Ask::Submit, name, |client| {
            client.post("/api/v1/jobs", document)
        })
    }

    /// Deletes a job, by its name or id.
    pub fn delete(&self, server: &str, job: &str) -> Result<Answer, String> {
        self.asked(server, Ask::Delete, job, |client| {
            client.delete(&format!("/api/v1/jobs/{job}"))
        })
    }

    /// Says how many replicas a job has from now on.
    pub fn scale(&self, server: &str, job: &str, replicas: u32) -> Result<Answer, String> {
        self.asked(server, Ask::Change, job, |client| {
            let body = format!("{{\"replicas\": {replicas}}}");
            client.post(&format!("/api/v1/jobs/{job}/scale"), &body)
        })
    }

    fn asked(
        &self,
        server: &str,
        ask: Ask,
        name: &str,
        request: impl FnOnce(&Client) -> Result<Answer, String>,
    ) -> Result<Answer, String> {
        let mut named = self.servers.iter().filter(|(known, _)| known == server);
        let (_, client) = named
            .next()
            .ok_or_else(|| format!("there is no server {server}"))?;
        let begun = self.book.now();
        let answer = request(client);
        let job = answer.as_ref().ok().and_then(|answer| {
            let id = answer.body.get("job_id").and_then(Value::as_str);
            id.map(str::to_owned)
        });
        let asked = What::Asked {
            server: server.to_owned(),
            ask,
            status: answer.as_ref().ok().map(|answer| answer.status),
            job,
            name: name.to_owned(),
        };
        self.book.write(begun, asked);
        answer
    }

    /// Writes down what the test is about to do, or has done.
    pub fn fault(&self, fault: Fault) {
        self.book.write(self.book.now(), What::Fault(fault));
    }

    /// These servers cannot hear a worker from now on.
    pub fn cut(&self, worker: &str, from: &[&str]) {
        self.fault(Fault::Cut {
            worker: worker.to_owned(),
            from: from.iter().map(|name| (*name).to_owned()).collect(),
        });
    }

    /// Messages between a worker and its cluster are lost now and then.
    pub fn lossy(&self, worker: &str) {
        self.fault(Fault::Lossy {
            worker: worker.to_owned(),
        });
    }

    /// All can hear it again.
    pub fn mended(&self, worker: &str) {
        self.fault(Fault::Mended {
            worker: worker.to_owned(),
        });
    }

    /// Something of the control plane breaks that no application may feel.
    pub fn control(&self, what: &str) {
        self.fault(Fault::Control {
            what: what.to_owned(),
        });
    }

    /// Writes down what a program uses now.
    pub fn used(&self, program: &Program) {
        let folder = PathBuf::from(format!("/proc/{}", program.pid()));
        let status = std::fs::read_to_string(folder.join("status")).unwrap_or_default();
        let resident = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|rest| rest.split_whitespace().next()?.parse().ok());
        let descriptors = std::fs::read_dir(folder.join("fd")).map_or(0, Iterator::count);
        let used = What::Used {
            program: program.name().to_owned(),
            kib: resident.unwrap_or_default(),
            descriptors: descriptors as u64,
        };
        self.book.write(self.book.now(), used);
    }

    /// Looks once more at everything, events included, and gives the history.
    pub fn finish(mut self) -> History {
        self.done.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
        let others = self.bystander.lock().unwrap().seen();
        look_at_truth(&self.book, &self.directory, others, &mut None);
        for (name, client) in &self.servers {
            look_at(&self.book, name, client, &mut None);
            self.events(name, client);
        }
        History {
            lines: std::mem::take(&mut self.book.lines.lock().unwrap()),
        }
    }

    fn events(&self, name: &str, client: &Client) {
        let begun = self.book.now();
        for row in client.list("/api/v1/events").unwrap_or_default() {
            let event = What::Event {
                server: name.to_owned(),
                instance: row
                    .get("instance_id")
                    .and_then(Value::as_str)
                    .map(str::to_owned),
                to: text(&row, "to"),
                cause: text(&row, "cause"),
                happened: text(&row, "at"),
            };
            self.book.write(begun, event);
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        if std::thread::panicking()
            && let Ok(mut lines) = self.book.lines.lock()
        {
            let lines = std::mem::take(&mut *lines);
            let kept = History { lines }.write(&self.keep);
            eprintln!(
                "what was seen until then: {} ({kept:?})",
                self.keep.display()
            );
        }
    }
}

/// Writes it down if it is another than last, or that was long ago.
fn write_down(book: &Book, begun: u64, what: What, last: &mut Option<(u64, What)>) {
    let same = last
        .as_ref()
        .is_some_and(|(at, known)| *known == what && begun < at + AGAIN);
    if !same {
        *last = Some((begun, what.clone()));
        book.write(begun, what);
    }
}

fn look_at_truth(
    book: &Book,
    directory: &Path,
    others: Vec<String>,
    last: &mut Option<(u64, What)>,
) {
    let begun = book.now();
    let found = copies_at_once(directory).into_iter();
    let copies = found.map(|copy| Copy {
        worker: worker_of(directory, &copy.directory),
        job: copy.job_id,
        slot: (copy.service, copy.index),
        instance: copy.instance,
        pid: copy.pid,
        start: copy.start,
    });
    let ran = What::Ran {
        copies: copies.collect(),
        others,
    };
    write_down(book, begun, ran, last);
}

/// The first folder on the way to what an application works in.
fn worker_of(directory: &Path, works_in: &Path) -> String {
    let below = works_in.strip_prefix(directory).ok();
    let first = below.and_then(|below| below.components().next());
    first.map_or_else(String::new, |first| {
        first.as_os_str().to_string_lossy().into_owned()
    })
}

fn look_at(book: &Book, name: &str, client: &Client, last: &mut Option<(u64, What)>) {
    let begun = book.now();
    let rows = client.list("/api/v1/jobs");
    let asked = What::Asked {
        server: name.to_owned(),
        ask: Ask::Look,
        status: rows.is_ok().then_some(200),
        job: None,
        name: String::new(),
    };
    book.write(begun, asked);
    let Ok(rows) = rows else { return };
    let shown = What::Shown {
        server: name.to_owned(),
        jobs: rows.iter().map(job).collect(),
    };
    write_down(book, begun, shown, last);
}

fn text(row: &Value, field: &str) -> String {
    let text = row.get(field).and_then(Value::as_str);
    text.unwrap_or_default().to_owned()
}

fn job(row: &Value) -> Job {
    let instances = row.get("instances").and_then(Value::as_array);
    Job {
        id: text(row, "job_id"),
        name: text(row, "job_name"),
        owner: text(row, "owner"),
        state: text(row, "state"),
        terminating: row.get("terminating") == Some(&Value::Bool(true)),
        instances: instances.into_iter().flatten().map(instance).collect(),
    }
}

fn instance(row: &Value) -> Instance {
    let number = |value: Option<&Value>| value.and_then(Value::as_u64).unwrap_or_default();
    let option = |field: &str| row.get(field).and_then(Value::as_str).map(str::to_owned);
    let generation = row.get("generation");
    Instance {
        id: option("instance_id"),
        slot: (text(row, "service"), number(row.get("index"))),
        role: text(row, "role"),
        generation: (
            number(generation.and_then(|pair| pair.get(0))),
            number(generation.and_then(|pair| pair.get(1))),
        ),
        state: text(row, "state"),
        worker: option("worker_node"),
        stale: row.get("stale") == Some(&Value::Bool(true)),
    }
}
