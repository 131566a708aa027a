//! From a request to a started container, in turn with the container engine alone.
//!
//! # What is measured
//! Both ways the container is the same: image, command, labels, log driver, default (bridge) network. Ours begins when
//! the first byte of the POST is sent to the root; the floor's when the first byte of the engine's `create` is sent. Both
//! end when the engine's own `start` event of that container is read from one stream of events. Connections are kept in both cases.
//! One is deployed and removed before the next; which comes first changes from pair to pair.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::{Value, json};
use tokio::net::{TcpStream, UnixStream};

use crate::docker::{COMMAND, Engine, Event, Events};
use crate::figure::{Figure, Goal, Section, tell};
use crate::fleet::{Fleet, Shape};
use crate::http::Connection;
use crate::options::Deploy;
use crate::program::Programs;
use crate::samples::Samples;

/// How long one deploy may take.
const LIMIT: Duration = Duration::from_secs(30);
/// Between two looks at a job's state.
const LOOK: Duration = Duration::from_millis(2);
/// Pairs before the first one that counts.
const WARM: u32 = 3;
/// What the engine keeps of the output, as the worker asks for it.
const LOGS: [(&str, &str); 2] = [("max-size", "10m"), ("max-file", "2")];

/// Of one way, in milliseconds since the request.
#[derive(Debug, Default)]
struct Way {
    /// The engine has made the container.
    created: Samples,
    /// The container runs.
    started: Samples,
    /// From the one to the other.
    starting: Samples,
    /// Who asked is told: the job is RUNNING, or the engine's answer to `start` has come.
    told: Samples,
    /// The root's answer.
    accepted: Samples,
}

/// What both ways use.
struct Bench {
    root: Connection<TcpStream>,
    engine: Connection<UnixStream>,
    events: Events,
    image: String,
}

/// Measures it.
pub(crate) async fn measure(programs: &Programs, options: &Deploy) -> anyhow::Result<Section> {
    let engine = Engine::find(&options.docker_host).await?;
    let mut section = Section::new("deploy");
    // Before the fleet, so that it is dropped after it: an engine would start again what is removed.
    let image = engine.image().await?;
    let shape = Shape {
        clusters: 1,
        workers: 1,
        engines: [
            "--runtimes",
            "docker",
            "--docker-host",
            &options.docker_host,
        ]
        .map(str::to_owned)
        .to_vec(),
        ..Shape::default()
    };
    let fleet = Fleet::start(programs, &shape).await?;
    let mut bench = Bench {
        root: Connection::tcp(fleet.url()).await?,
        engine: engine.connect().await?,
        events: engine.events().await?,
        image: image.name.clone(),
    };
    let (mut ours, mut floor) = (Way::default(), Way::default());
    for number in 0..WARM {
        bench
            .ours(&format!("warm-{number}"), &mut Way::default())
            .await?;
        bench
            .floor(&format!("warm-{number}"), &mut Way::default())
            .await?;
    }
    for number in 0..options.count {
        if number % 10 == 0 {
            tell(&format!("deploy: {number} of {}", options.count));
        }
        let name = format!("bench-{number}");
        if number % 2 == 0 {
            bench.ours(&name, &mut ours).await?;
            bench.floor(&name, &mut floor).await?;
        } else {
            bench.floor(&name, &mut floor).await?;
            bench.ours(&name, &mut ours).await?;
        }
    }
    show(&mut section, &ours, &floor);
    section.note(format!(
        "{} deploys, one at a time, each removed before the next; bridge network; {}",
        ours.started.len(),
        engine.version().await?
    ));
    section.note("started: from the first byte of the request to the engine's own start event; floor: create and start over the engine's API");
    section.note(format!(
        "known: the job is RUNNING as its REST resource shows it, looked at every {LOOK:?} from the start event on; floor: the answer to start"
    ));
    Ok(section)
}

fn show(section: &mut Section, ours: &Way, floor: &Way) {
    let figures = [
        ("started, median", &ours.started, &floor.started, 0.5),
        ("started, p90", &ours.started, &floor.started, 0.9),
        ("created, median", &ours.created, &floor.created, 0.5),
        (
            "created to started, median",
            &ours.starting,
            &floor.starting,
            0.5,
        ),
        ("known, median", &ours.told, &floor.told, 0.5),
        ("known, p90", &ours.told, &floor.told, 0.9),
    ];
    for (index, (what, ours, floor, part)) in figures.into_iter().enumerate() {
        let figure = Figure::new(what, ours.quantile(part), "ms").floor(floor.quantile(part));
        section.push(if index == 0 {
            figure.goal(Goal::RatioAtMost(1.15))
        } else {
            figure
        });
    }
    section.push(Figure::new(
        "POST answered, median",
        ours.accepted.median(),
        "ms",
    ));
}

impl Bench {
    async fn ours(&mut self, name: &str, way: &mut Way) -> anyhow::Result<()> {
        let document = format!(
            "api_version: v0.1\njob_name: {name}\nimage: {}\nimage_runtime: docker\ncommand: {}\n",
            self.image,
            json!(COMMAND)
        );
        let begun = Instant::now();
        let body = Some(("application/yaml", document.as_bytes()));
        let answer = self.root.ask("POST", "/api/v1/jobs", body).await?;
        answer.good()?;
        way.accepted.push_time(begun.elapsed());
        let is_it = |event: &Event| {
            event
                .labels
                .get("edgeio.job_name")
                .is_some_and(|it| it == name)
        };
        let container = self.started(begun, way, is_it).await?;
        let path = format!("/api/v1/jobs/{name}");
        loop {
            let job = self.root.get(&path).await?;
            if job.get("state").is_some_and(|state| state == "RUNNING") {
                break;
            }
            if begun.elapsed() > LIMIT {
                bail!("{name} does not run: {job}");
            }
            tokio::time::sleep(LOOK).await;
        }
        way.told.push_time(begun.elapsed());
        self.root.ask("DELETE", &path, None).await?.good()?;
        self.gone(&container).await
    }

    async fn floor(&mut self, name: &str, way: &mut Way) -> anyhow::Result<()> {
        let body = self.container(name).to_string();
        let begun = Instant::now();
        let path = format!("/containers/create?name=edgeio-bench-floor-{name}");
        let body = Some(("application/json", body.as_bytes()));
        let made = self.engine.ask("POST", &path, body).await?.good()?.json();
        let id = made.get("Id").and_then(Value::as_str);
        let id = id.context("the engine gives no id")?.to_owned();
        let path = format!("/containers/{id}/start");
        self.engine.ask("POST", &path, None).await?.good()?;
        way.told.push_time(begun.elapsed());
        let container = self
            .started(begun, way, |event| event.container == id)
            .await?;
        let path = format!("/containers/{container}?force=1&v=1");
        self.engine.ask("DELETE", &path, None).await?.good()?;
        self.gone(&container).await
    }

    /// Waits for both events of a container, and gives its id.
    async fn started(
        &mut self,
        begun: Instant,
        way: &mut Way,
        is_it: impl Fn(&Event) -> bool,
    ) -> anyhow::Result<String> {
        let of = |action: &'static str| {
            let is_it = &is_it;
            move |event: &Event| event.action == action && is_it(event)
        };
        let created = self.events.wait("it is created", of("create")).await?;
        let started = self.events.wait("it is started", of("start")).await?;
        way.created.push_time(created.at.duration_since(begun));
        way.started.push_time(started.at.duration_since(begun));
        way.starting
            .push_time(started.at.duration_since(created.at));
        Ok(started.container)
    }

    async fn gone(&mut self, container: &str) -> anyhow::Result<()> {
        let is_it = |event: &Event| event.action == "destroy" && event.container == container;
        self.events.wait("it is removed", is_it).await.map(|_| ())
    }

    /// The request that a worker makes for the document above.
    fn container(&self, name: &str) -> Value {
        let words = [
            "tenant",
            "job",
            "service",
            "index",
            "instance",
            "generation",
            "worker",
            "spec_hash",
        ];
        let mut labels: serde_json::Map<String, Value> = words
            .into_iter()
            .map(|word| {
                (
                    format!("edgeio-bench.{word}"),
                    json!("01JABCDEFGHJKMNPQRSTVWXYZ0"),
                )
            })
            .collect();
        labels.insert("edgeio-bench.job_name".to_owned(), json!(name));
        let logs: serde_json::Map<String, Value> = LOGS
            .into_iter()
            .map(|(key, value)| (key.to_owned(), json!(value)))
            .collect();
        json!({
            "Image": self.image,
            "Entrypoint": COMMAND,
            "Cmd": [],
            "Env": [],
            "Labels": labels,
            "ExposedPorts": {},
            "StopTimeout": 5,
            "HostConfig": {
                "Binds": [],
                "PortBindings": {},
                "RestartPolicy": {"Name": "no"},
                "LogConfig": {"Type": "json-file", "Config": logs},
            },
        })
    }
}
