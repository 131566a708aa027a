//! The container engine, asked directly over its socket.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::{Value, json};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::http::Connection;

/// How long the engine may take for one thing.
const LIMIT: Duration = Duration::from_secs(30);
/// What an application does: nothing, until it is asked to end, which it then does at once.
pub(crate) const COMMAND: [&str; 4] = [
    "/bin/busybox",
    "sh",
    "-c",
    "trap 'exit 0' TERM; /bin/busybox sleep 1000000 & wait",
];

/// An engine that answers.
#[derive(Debug, Clone)]
pub(crate) struct Engine {
    socket: String,
}

/// Something happened to a container.
#[derive(Debug)]
pub(crate) struct Event {
    /// `create`, `start`, `destroy`.
    pub(crate) action: String,
    pub(crate) container: String,
    pub(crate) labels: BTreeMap<String, String>,
    /// When it was read here.
    pub(crate) at: Instant,
}

/// The engine's events as they come.
#[derive(Debug)]
pub(crate) struct Events {
    queue: mpsc::Receiver<Event>,
    reader: JoinHandle<()>,
}

impl Engine {
    /// The engine at `unix:///path`, which must answer.
    pub(crate) async fn find(host: &str) -> anyhow::Result<Self> {
        let socket = host.strip_prefix("unix://");
        let socket = socket.with_context(|| format!("{host} is no unix:///PATH"))?;
        let this = Self {
            socket: socket.to_owned(),
        };
        let mut connection = this.connect().await.context(
            "no container engine answers; start one, or name its socket with --docker-host",
        )?;
        connection.ask("GET", "/_ping", None).await?.good()?;
        Ok(this)
    }

    /// A connection, which can be kept.
    pub(crate) async fn connect(&self) -> anyhow::Result<Connection<UnixStream>> {
        Connection::unix(&self.socket).await
    }

    /// What it says of itself, in a line.
    pub(crate) async fn version(&self) -> anyhow::Result<String> {
        let said = self.connect().await?.get("/version").await?;
        let of = |field: &str| said.get(field).and_then(Value::as_str).unwrap_or("?");
        Ok(format!(
            "engine {} (API {})",
            of("Version"),
            of("ApiVersion")
        ))
    }

    /// Begins to listen; what happens from now on is told.
    pub(crate) async fn events(&self) -> anyhow::Result<Events> {
        let filters = json!({"type": ["container"], "event": ["create", "start", "destroy"]});
        let path = format!("/events?filters={}", encoded(&filters.to_string()));
        let mut connection = self.connect().await?;
        let request = crate::http::request("GET", &path, None);
        connection.send(&request).await?;
        if connection.begin().await? != 200 {
            bail!("the engine tells no events");
        }
        let (sender, queue) = mpsc::channel(1_024);
        let reader = tokio::spawn(async move {
            let mut text = Vec::new();
            while let Ok(Some(chunk)) = connection.chunk().await {
                let at = Instant::now();
                text.extend_from_slice(&chunk);
                while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = text.drain(..=end).collect();
                    let Some(event) = event(&line, at) else {
                        continue;
                    };
                    if sender.send(event).await.is_err() {
                        return;
                    }
                }
            }
        });
        Ok(Events { queue, reader })
    }

    /// How many containers run.
    pub(crate) async fn running(&self) -> anyhow::Result<usize> {
        let rows = self.connect().await?.get("/containers/json").await?;
        let rows = rows.as_array().context("no list of containers")?;
        Ok(rows.len())
    }

    /// Makes the image of the applications; it goes when what is given here does.
    pub(crate) async fn image(&self) -> anyhow::Result<Image> {
        Ok(Image {
            engine: self.clone(),
            name: self.make_image().await?,
        })
    }

    /// Makes the image of the applications, a static busybox and nothing else, and gives its name.
    pub(crate) async fn make_image(&self) -> anyhow::Result<String> {
        let name = format!("edgeio-bench/sleeper:{}", std::process::id());
        let (repository, tag) = name.split_once(':').unwrap_or((&name, "latest"));
        let path = format!("/images/create?fromSrc=-&repo={repository}&tag={tag}");
        let tar = archive()?;
        let mut connection = self.connect().await?;
        let body = Some(("application/x-tar", tar.as_slice()));
        connection.ask("POST", &path, body).await?.good()?;
        Ok(name)
    }

    /// Removes the containers that were made from an image, and the image.
    async fn clear(&self, image: &str) -> anyhow::Result<()> {
        let filters = json!({"ancestor": [image]}).to_string();
        let path = format!("/containers/json?all=1&filters={}", encoded(&filters));
        let mut connection = self.connect().await?;
        let rows = connection.get(&path).await?;
        for row in rows.as_array().into_iter().flatten() {
            let id = row.get("Id").and_then(Value::as_str).unwrap_or_default();
            let path = format!("/containers/{id}?force=1&v=1");
            connection.ask("DELETE", &path, None).await?;
        }
        let path = format!("/images/{image}");
        connection.ask("DELETE", &path, None).await?.good()?;
        Ok(())
    }
}

impl Events {
    /// The next event that is wanted; others are passed over.
    pub(crate) async fn wait(
        &mut self,
        what: &str,
        is: impl Fn(&Event) -> bool,
    ) -> anyhow::Result<Event> {
        let next = async {
            while let Some(event) = self.queue.recv().await {
                if is(&event) {
                    return Ok(event);
                }
            }
            bail!("the engine tells no more events")
        };
        let found = tokio::time::timeout(LIMIT, next).await;
        found.with_context(|| format!("not within {LIMIT:?}: {what}"))?
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// An image that is removed with all its containers when this is dropped.
#[derive(Debug)]
pub(crate) struct Image {
    engine: Engine,
    pub(crate) name: String,
}

impl Drop for Image {
    fn drop(&mut self) {
        let clear = || -> anyhow::Result<()> {
            let runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = { runtime }.enable_all().build()?;
            let clear = self.engine.clear(&self.name);
            runtime.block_on(async { tokio::time::timeout(LIMIT, clear).await? })
        };
        // A thread of its own, since a runtime cannot be begun inside another.
        let cleared = std::thread::scope(|scope| scope.spawn(clear).join());
        if let Ok(Err(error)) = cleared {
            crate::figure::complain(&format!("cannot remove image {}: {error:#}", self.name));
        }
    }
}

fn event(line: &[u8], at: Instant) -> Option<Event> {
    let value: Value = serde_json::from_slice(line).ok()?;
    let text = |pointer: &str| Some(value.pointer(pointer)?.as_str()?.to_owned());
    let attributes = value.pointer("/Actor/Attributes")?.as_object()?;
    let labels = attributes
        .iter()
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
    Some(Event {
        action: text("/Action")?,
        container: text("/Actor/ID")?,
        labels: labels.collect(),
        at,
    })
}

/// JSON in a query.
fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            encoded.push(char::from(byte));
        } else {
            // Writing to a text cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// A root file system as a tar archive.
fn archive() -> anyhow::Result<Vec<u8>> {
    let folder = tempfile::tempdir().context("cannot make a directory")?;
    let bin = folder.path().join("bin");
    std::fs::create_dir(&bin).context("cannot make a directory")?;
    let busybox = ["/bin/busybox", "/usr/bin/busybox"];
    let busybox = busybox.into_iter().find(|path| Path::new(path).is_file());
    let busybox = busybox.context("no /bin/busybox; install a static busybox")?;
    std::fs::copy(busybox, bin.join("busybox")).context("cannot copy busybox")?;
    let tar = Command::new("tar")
        .args(["-c", "."])
        .current_dir(folder.path())
        .output()
        .context("cannot run tar")?;
    if !tar.status.success() {
        bail!("tar: {}", String::from_utf8_lossy(&tar.stderr));
    }
    Ok(tar.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_read_with_its_labels() {
        let line = br#"{"Type":"container","Action":"start","Actor":{"ID":"abc","Attributes":{"edgeio.job_name":"a","image":"x"}},"timeNano":1}"#;
        let event = event(line, Instant::now()).unwrap();
        assert_eq!(event.action, "start");
        assert_eq!(event.container, "abc");
        assert_eq!(event.labels["edgeio.job_name"], "a");
    }

    #[test]
    fn filters_can_stand_in_a_query() {
        assert_eq!(encoded("{\"a\"}"), "%7B%22a%22%7D");
    }
}
