//! The compose files: all can be read, and the demonstration does what it says, also after each of its containers was killed.

use std::collections::BTreeSet;
use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use edgeio_tests::harness::{
    Client, Container, Engine, Image, Replica, alone, programs, required, wait_until,
};
use serde_json::Value;
use tempfile::TempDir;

/// From `up` to a job that runs in a container, at most.
const RUNNING: Duration = Duration::from_secs(30);
/// From a container's end to a system that is whole again.
const HEALED: Duration = Duration::from_mins(1);
/// For anything else.
const LIMIT: Duration = Duration::from_mins(1);
/// Characters of a time in RFC 3339 to its milliseconds.
const MILLIS: usize = "2026-11-29T20:54:15.924".len();
/// Each file, with its profiles.
const FILES: [(&str, &[&str]); 4] = [
    (
        "docker-compose.yml",
        &["command", "mongodb", "redis", "monitoring"],
    ),
    (
        "docker/cluster/docker-compose.yml",
        &["command", "scheduler", "mongodb", "mosquitto"],
    ),
    ("docker/worker/docker-compose.yml", &[]),
    ("docker/demo/docker-compose.yml", &["command"]),
];
const HELLO: &str = include_str!("../../docker/demo/hello.yaml");
const DEMONSTRATION: &str = "docker/demo/docker-compose.yml";
/// What says at which ports of this machine its clusters are.
const PORTS: [&str; 4] = [
    "EDGEIO_GARCHING_HTTP",
    "EDGEIO_GARCHING_MQTT",
    "EDGEIO_MUNICH_HTTP",
    "EDGEIO_MUNICH_MQTT",
];
/// What runs on in the demonstration.
const SERVICES: [&str; 7] = [
    "root",
    "garching",
    "munich",
    "garching-1",
    "garching-2",
    "munich-1",
    "munich-2",
];

/// The forms of the command that this machine has.
fn composes() -> Vec<Vec<&'static str>> {
    let forms = [vec!["docker-compose"], vec!["docker", "compose"]];
    let there = forms.into_iter().filter(|form| {
        let mut command = Command::new(form[0]);
        command.args(&form[1..]).arg("version");
        let command = command.stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    });
    let there: Vec<_> = there.collect();
    assert!(!there.is_empty(), "docker-compose is installed");
    there
}

fn repository() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap().to_owned()
}

/// Runs a command in the repository, and gives what it wrote on standard output.
#[track_caller]
fn run(command: &mut Command) -> String {
    let done = command.current_dir(repository()).output().unwrap();
    let complained = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{command:?}: {complained}");
    String::from_utf8_lossy(&done.stdout).trim().to_owned()
}

fn docker(args: &[&str]) -> String {
    run(Command::new("docker").args(args))
}

#[test]
fn each_compose_file_is_read_with_all_its_profiles() {
    if !required("docker") {
        return;
    }
    for form in composes() {
        for (file, profiles) in FILES {
            let mut command = Command::new(form[0]);
            command.args(&form[1..]).args(["-f", file]);
            command.args(profiles.iter().flat_map(|profile| ["--profile", profile]));
            // What the operator of a cluster or worker has to say, and what the environment of this test may say.
            command
                .env("EDGEIO_NAME", "name")
                .env("EDGEIO_ADVERTISE", "host");
            let said = run(command.args(["config", "--services"]));
            assert!(
                said.lines().count() > profiles.len(),
                "{form:?} {file}: {said}"
            );
        }
        for file in [
            "docker/cluster/docker-compose.yml",
            "docker/worker/docker-compose.yml",
        ] {
            let mut command = Command::new(form[0]);
            command.args(&form[1..]).args(["-f", file, "config", "-q"]);
            let done = command.env_remove("EDGEIO_NAME").current_dir(repository());
            let done = done.output().unwrap();
            let complained = String::from_utf8_lossy(&done.stderr);
            assert!(
                !done.status.success() && complained.contains(".env"),
                "{complained}"
            );
        }
    }
}

/// One of this machine for each of [`PORTS`].
fn free_ports() -> Vec<String> {
    let listeners = PORTS.map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    let ports = listeners.iter().map(|it| it.local_addr().unwrap().port());
    ports.map(|port| port.to_string()).collect()
}

/// The demonstration under a name of its own, of images of its own. All of it goes when this is dropped.
struct Demonstration {
    form: Vec<&'static str>,
    /// Of the project, and the tag of the images.
    name: String,
    engine: Engine,
    folder: TempDir,
    /// Of this machine, for [`PORTS`].
    ports: Vec<String>,
}

/// A container of the demonstration, as the container engine knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    pid: i64,
    health: String,
    started_at: String,
}

impl Demonstration {
    /// The images, and nothing that runs.
    fn build(engine: &Engine) -> Self {
        let this = Self {
            form: composes().remove(0),
            name: format!("edgeio-test-{}", std::process::id()),
            engine: engine.clone(),
            folder: tempfile::tempdir().unwrap(),
            ports: free_ports(),
        };
        let mut build = Command::new("docker/build");
        build.env("EDGEIO_IMAGES", "edgeio-test");
        build
            .args(["--tag", &this.name, "--programs"])
            .arg(programs());
        eprintln!("{}", run(&mut build));
        this
    }

    fn compose(&self, args: &[&str]) -> Command {
        let mut command = Command::new(self.form[0]);
        command.args(&self.form[1..]);
        command
            .args(["-p", &self.name, "-f", DEMONSTRATION])
            .args(args);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("EDGEIO_") {
                command.env_remove(name);
            }
        }
        command.env("EDGEIO_IMAGES", "edgeio-test");
        command.env("EDGEIO_TAG", &self.name);
        // A free one, and those that were.
        command.env("EDGEIO_ROOT_PORT", "0");
        command.envs(PORTS.into_iter().zip(&self.ports));
        command
    }

    /// A client of the root from this machine: by TLS, since the container's loopback is another one. The port is another one
    /// after each start of the container.
    fn root(&self) -> Client {
        let id = self.id("root");
        let said = self.engine.inspect(&id);
        let port = &said["NetworkSettings"]["Ports"]["10000/tcp"][0]["HostPort"];
        let url = format!("https://127.0.0.1:{}", port.as_str().unwrap_or("0"));
        let fetch = |path: &str| {
            let to = self.folder.path().join("file");
            docker(&["cp", &format!("{id}:{path}"), to.to_str().unwrap()]);
            to
        };
        let token = std::fs::read_to_string(fetch("/data/admin.token")).unwrap();
        let authority = fetch("/data/identity/authority.pem");
        let client = Client::new(&url, None).believing(&authority);
        client.with_token(Some(token.trim()))
    }

    fn id(&self, service: &str) -> String {
        let of = |what, value: &str| format!("label=com.docker.compose.{what}={value}");
        let (project, service) = (of("project", &self.name), of("service", service));
        let id = docker(&["ps", "-aq", "--no-trunc", "-f", &project, "-f", &service]);
        assert_eq!(id.lines().count(), 1, "{service}: {id}");
        id
    }

    fn part(&self, id: &str) -> Part {
        let state = &self.engine.inspect(id)["State"];
        let health = state["Health"]["Status"].as_str();
        Part {
            pid: state["Pid"].as_i64().unwrap(),
            health: health.unwrap_or("none").to_owned(),
            started_at: state["StartedAt"].as_str().unwrap().to_owned(),
        }
    }

    /// What the job of docker/demo/hello.yaml is called here.
    fn hello(&self) -> String {
        format!("{}-hello", self.name)
    }

    /// The containers of its two jobs.
    fn containers(&self) -> Vec<Container> {
        let jobs = [self.name.clone(), self.hello()];
        jobs.iter()
            .flat_map(|job| self.engine.containers_of_job(job))
            .collect()
    }

    /// The command as the demonstration has it, with something on its standard input.
    fn edgeio(&self, args: &[&str], input: &str) -> String {
        let file = self.folder.path().join("input");
        std::fs::write(&file, input).unwrap();
        let mut command = self.compose(&["run", "--rm", "-T", "edgeio"]);
        run(command.args(args).stdin(File::open(file).unwrap()))
    }
}

impl Drop for Demonstration {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = self.compose(&["ps"]).current_dir(repository()).status();
            let logs = self
                .compose(&["logs", "--no-color", "--tail", "40"])
                .current_dir(repository())
                .output();
            eprintln!(
                "{}",
                logs.map_or_else(
                    |error| error.to_string(),
                    |logs| String::from_utf8_lossy(&logs.stdout).into_owned()
                )
            );
        }
        // First those who would start applications again.
        let down = [
            "--profile",
            "command",
            "down",
            "--volumes",
            "--remove-orphans",
            "--timeout",
            "5",
        ];
        let _ = self.compose(&down).current_dir(repository()).output();
        for container in self.containers() {
            self.engine.remove(&container.id);
        }
        for program in [
            "root-orchestrator",
            "cluster-orchestrator",
            "node-engine",
            "edgeio-scheduler",
            "edgeio",
        ] {
            let image = format!("edgeio-test/{program}:{}", self.name);
            let _ = Command::new("docker")
                .args(["image", "rm", "--force", &image])
                .output();
        }
    }
}

/// A job for which each worker of the demonstration has room once, with something left. Its worker asks it over the network how it is.
fn job(name: &str, image: &str) -> String {
    format!(
        "api_version: v1\njob_name: {name}\nservices:\n  - name: app\n    image: {image}\n    replicas: 4\n    \
         requirements: {{cpu: 0.8, memory: 16}}\n    command: [/bin/busybox, httpd, -f, -p, \"8080\"]\n    \
         health: {{tcp: {{port: 8080}}, interval: 1s}}\n    secrets: [word]\n"
    )
}

/// Whether all is as it should be: each cluster and worker is heard, the job runs, and each of its instances is one container, on a
/// worker of its own. Who was started `again`, at that time, has been heard since.
fn whole(
    root: &Client,
    engine: &Engine,
    job_id: &str,
    again: (&str, &str),
) -> Result<Vec<Replica>, String> {
    let clusters = root.list("/api/v1/clusters")?;
    let mut nodes = Vec::new();
    for cluster in &clusters {
        let name = cluster["cluster_name"].as_str().unwrap_or_default();
        nodes.extend(root.list(&format!("/api/v1/clusters/{name}/nodes"))?);
    }
    let (name, start) = again;
    for row in clusters.iter().chain(&nodes) {
        let is_it = row["cluster_name"] == name || row["name"] == name;
        let seen = row["last_seen"].as_str().unwrap_or_default();
        // Both are RFC 3339 in UTC by this machine's clock, and differ in digits of the second.
        if is_it && seen.get(..MILLIS) < start.get(..MILLIS) {
            return Err(format!(
                "{name} was started at {start}, and last seen at {seen}"
            ));
        }
    }
    let heard = |rows: &[Value], word| rows.iter().filter(|row| row["state"] == word).count();
    let (clusters, nodes) = (heard(&clusters, "ACTIVE"), heard(&nodes, "ALIVE"));
    let job = root.job(job_id)?;
    let state = job["state"].as_str().unwrap_or_default();
    let running = engine
        .running(job_id)
        .ok_or("the container engine does not answer")?;
    let indices: BTreeSet<u32> = running.iter().map(|replica| replica.index).collect();
    let workers: BTreeSet<&str> = running
        .iter()
        .map(|replica| replica.worker.as_str())
        .collect();
    let each_once = (running.len(), indices.len(), workers.len()) == (4, 4, 4);
    if (clusters, nodes, state) == (2, 4, "RUNNING") && each_once {
        return Ok(running);
    }
    Err(format!(
        "{clusters} clusters, {nodes} workers, {state}, {running:?}"
    ))
}

#[test]
fn the_demonstration_of_docker_compose_runs_a_job_and_heals_when_each_container_is_killed() {
    if !required("docker") {
        return;
    }
    let _turn = alone();
    let engine = Engine::connect();
    let image = Image::sleeper(&engine);
    let begun = Instant::now();
    let demonstration = Demonstration::build(&engine);
    eprintln!("the images were made in {:?}", begun.elapsed());

    let begun = Instant::now();
    run(&mut demonstration.compose(&["up", "--detach"]));
    eprintln!("up took {:?}", begun.elapsed());
    let root = demonstration.root();
    let kept = root.put("/api/v1/secrets/word", r#"{"value": "open sesame"}"#);
    assert!(
        kept.as_ref().is_ok_and(|answer| answer.status < 300),
        "{kept:?}"
    );
    let accepted = root.submit(&job(&demonstration.name, &image.name));
    let job_id = accepted["job_id"].as_str().unwrap();
    let at_first = wait_until("the job runs", LIMIT, || {
        whole(&root, &engine, job_id, ("", ""))
    });
    let took = begun.elapsed();
    eprintln!("the job runs {took:?} after up began");
    assert!(took < RUNNING, "{took:?}");

    for replica in &at_first {
        let read = [
            "exec",
            &replica.container,
            "/bin/busybox",
            "cat",
            "/run/secrets/word",
        ];
        assert_eq!(docker(&read), "open sesame");
    }

    for service in SERVICES {
        let id = demonstration.id(service);
        let before = wait_until(&format!("{service} is healthy"), LIMIT, || {
            let part = demonstration.part(&id);
            let healthy = part.health == "healthy";
            healthy
                .then_some(part.pid)
                .ok_or_else(|| format!("{part:?}"))
        });
        // As a crash: what `docker kill` ends, the engine takes for stopped by its user.
        let killed = Instant::now();
        run(Command::new("kill").args(["-9", &before.to_string()]));
        let start = wait_until(&format!("{service} was started again"), HEALED, || {
            let now = demonstration.part(&id);
            let again = now.pid != 0 && now.pid != before;
            let said = format!("{now:?}");
            again.then_some(now.started_at).ok_or(said)
        });
        let back = killed.elapsed();
        let root = demonstration.root();
        let what = format!("all is well after {service} was killed");
        let now = wait_until(&what, HEALED.saturating_sub(back), || {
            whole(&root, &engine, job_id, (service, &start))
        });
        let healed = killed.elapsed();
        eprintln!("{service} was back {back:?} after it was killed, all was well after {healed:?}");
        assert_eq!(now, at_first, "applications outlive {service}");
    }

    // As docs/operations/compose.md has it.
    let scheduler = format!("edgeio-test/edgeio-scheduler:{}", demonstration.name);
    let named = demonstration.hello();
    let hello = HELLO.replace("edgeio/edgeio-scheduler:latest", &scheduler);
    let hello = hello.replace("job_name: hello", &format!("job_name: {named}"));
    demonstration.edgeio(&["apply", "-f", "-"], &hello);
    demonstration.edgeio(&["wait", &named, "--timeout", "30s"], "");
    for job in [&named, &demonstration.name] {
        demonstration.edgeio(&["delete", job], "");
    }
    wait_until("the containers are gone", LIMIT, || {
        let left = demonstration.containers();
        left.is_empty()
            .then_some(())
            .ok_or_else(|| format!("{left:?}"))
    });
}
