//! The container engine of this machine, asked directly: what runs there is not a matter of opinion.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

/// How long one request may take; making an image or stopping a container takes its time.
const LIMIT: Duration = Duration::from_secs(30);

/// A container engine that answers.
#[derive(Debug, Clone)]
pub struct Engine {
    socket: PathBuf,
}

/// A container.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Container {
    /// The value of its label `edgeio.job_name`.
    pub job: String,
    /// The engine's id of it.
    pub id: String,
    /// `running`, `exited`, ….
    pub state: String,
}

/// A container of a job that runs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Replica {
    /// Which replica, from 0.
    pub index: u32,
    /// The id of the worker that made it.
    pub worker: String,
    /// The engine's id of it.
    pub container: String,
}

impl Engine {
    /// The engine, if one answers.
    pub fn find() -> Option<Self> {
        let named = std::env::var("DOCKER_HOST").ok();
        let socket = named
            .as_deref()
            .and_then(|host| host.strip_prefix("unix://"));
        let this = Self {
            socket: socket.unwrap_or("/var/run/docker.sock").into(),
        };
        matches!(this.ask("GET", "/_ping", b""), Ok((200, _))).then_some(this)
    }

    /// The engine whose socket that is, whether it answers or not.
    pub fn at(socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
        }
    }

    /// Any call: its status, and its body where that is JSON.
    pub fn call(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        self.ask(method, path, body.as_bytes()).unwrap()
    }

    /// The engine, which must answer.
    pub fn connect() -> Self {
        Self::find().expect("a container engine answers, since EDGEIO_REQUIRE names docker")
    }

    /// Containers of a worker, ended ones included; none when the engine does not answer.
    pub fn containers_of(&self, node_id: &str) -> Vec<Container> {
        self.containers_with("edgeio.worker", node_id)
    }

    /// The same by the name of their job.
    pub fn containers_of_job(&self, name: &str) -> Vec<Container> {
        self.containers_with("edgeio.job_name", name)
    }

    fn containers_with(&self, label: &str, value: &str) -> Vec<Container> {
        let rows = self.labelled(label, value, true);
        let mut found: Vec<Container> = rows
            .unwrap_or_default()
            .iter()
            .map(|row| Container {
                job: text(row, "/Labels/edgeio.job_name"),
                id: text(row, "/Id"),
                state: text(row, "/State"),
            })
            .collect();
        found.sort();
        found
    }

    /// The containers of a job that run, by the job's id; `None` when the engine does not answer.
    pub fn running(&self, job_id: &str) -> Option<Vec<Replica>> {
        let rows = self.labelled("edgeio.job", job_id, false)?;
        let mut found: Vec<Replica> = rows
            .iter()
            .map(|row| Replica {
                index: text(row, "/Labels/edgeio.index").parse().unwrap(),
                worker: text(row, "/Labels/edgeio.worker"),
                container: text(row, "/Id"),
            })
            .collect();
        found.sort();
        Some(found)
    }

    /// The containers that have a label, those that ended (`all`) included.
    fn labelled(&self, label: &str, value: &str, all: bool) -> Option<Vec<Value>> {
        let filters = format!("{{\"label\":[\"{label}={value}\"]}}");
        let filters = filters
            .replace('{', "%7B")
            .replace('}', "%7D")
            .replace('"', "%22");
        let path = format!("/containers/json?all={}&filters={filters}", u8::from(all));
        match self.ask("GET", &path, b"") {
            Ok((200, Value::Array(rows))) => Some(rows),
            Ok(_) | Err(_) => None,
        }
    }

    /// All that the engine says about a container.
    pub fn inspect(&self, container: &str) -> Value {
        let (status, body) = self
            .ask("GET", &format!("/containers/{container}/json"), b"")
            .unwrap();
        assert_eq!(status, 200, "{body}");
        body
    }

    /// A label of a container; `None` for one that just went.
    pub fn label(&self, container: &str, label: &str) -> Option<String> {
        let path = format!("/containers/{container}/json");
        match self.ask("GET", &path, b"") {
            Ok((200, body)) => {
                let label = body.pointer(&format!("/Config/Labels/{label}"))?;
                label.as_str().map(str::to_owned)
            }
            Ok(_) | Err(_) => None,
        }
    }

    /// Kills a container, as a crash would.
    pub fn kill(&self, container: &str) {
        self.must("POST", &format!("/containers/{container}/kill"), b"");
    }

    /// Removes a container, whatever it does; one that is gone is fine.
    pub fn remove(&self, container: &str) {
        let _ = self.ask(
            "DELETE",
            &format!("/containers/{container}?force=1&v=1"),
            b"",
        );
    }

    /// Makes and starts a container of an image without any of our software, and gives its id.
    pub fn run(&self, image: &str) -> String {
        let body = json!({"Image": image}).to_string();
        let made = self.must("POST", "/containers/create", body.as_bytes());
        let id = made.get("Id").and_then(Value::as_str).unwrap().to_owned();
        self.must("POST", &format!("/containers/{id}/start"), b"");
        id
    }

    fn must(&self, method: &str, path: &str, body: &[u8]) -> Value {
        let (status, answer) = self.ask(method, path, body).unwrap();
        assert!(status < 300, "{method} {path}: {status} {answer}");
        answer
    }

    fn ask(&self, method: &str, path: &str, body: &[u8]) -> std::io::Result<(u16, Value)> {
        let mut stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.set_write_timeout(Some(LIMIT))?;
        // Version 1.0 of HTTP has no chunks, and the end of the connection ends the answer.
        let kind = if body.starts_with(b"{") {
            "application/json"
        } else {
            "application/x-tar"
        };
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nHost: docker\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
        )?;
        stream.write_all(body)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let text = String::from_utf8_lossy(&answer);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
        let body = serde_json::from_str(body).unwrap_or_else(|_| Value::String(body.to_owned()));
        Ok((status.unwrap_or_default(), body))
    }
}

/// An image made of a static busybox, which sleeps; it is removed when this is dropped, if it was not there before.
#[derive(Debug)]
pub struct Image {
    engine: Engine,
    /// Its name, with a tag.
    pub name: String,
    ours: bool,
}

impl Image {
    /// Makes an image of a name that no other test has.
    pub fn sleeper(engine: &Engine) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let tag = format!("{}-{number}", std::process::id());
        Self::make(engine, "edgeio-test/sleeper", &tag)
    }

    /// Makes the image `repository:tag`, unless the engine has it.
    pub fn make(engine: &Engine, repository: &str, tag: &str) -> Self {
        let name = format!("{repository}:{tag}");
        let there = matches!(
            engine.ask("GET", &format!("/images/{name}/json"), b""),
            Ok((200, _))
        );
        if !there {
            let change = "CMD%20%5B%22/bin/busybox%22,%22sleep%22,%221000000%22%5D";
            let path =
                format!("/images/create?fromSrc=-&repo={repository}&tag={tag}&changes={change}");
            engine.must("POST", &path, &archive());
        }
        Self {
            engine: engine.clone(),
            name,
            ours: !there,
        }
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        if self.ours {
            let _ = self
                .engine
                .ask("DELETE", &format!("/images/{}", self.name), b"");
        }
    }
}

/// A text of a row; empty if there is none.
fn text(row: &Value, at: &str) -> String {
    let text = row.pointer(at).and_then(Value::as_str);
    text.unwrap_or_default().to_owned()
}

/// A root file system as a tar archive.
fn archive() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("bin")).unwrap();
    let busybox = Path::new("/bin/busybox");
    std::fs::copy(busybox, folder.path().join("bin/busybox"))
        .expect("a static busybox is installed");
    let tar = Command::new("tar")
        .args(["-c", "."])
        .current_dir(folder.path())
        .output();
    let tar = tar.expect("tar is installed");
    assert!(tar.status.success(), "{tar:?}");
    tar.stdout
}
