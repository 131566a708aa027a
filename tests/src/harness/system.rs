//! A root, its clusters and their workers.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::{Client, Copy, Engine, Program, wait_until};

/// How long joining may take.
const JOIN: Duration = Duration::from_secs(20);

/// Times; `None` leaves the program's default.
#[derive(Debug, Clone, Copy, Default)]
pub struct Settings {
    /// MQTT keep-alive.
    pub keep_alive: Option<Duration>,
    /// Between two reports of a worker, and of a cluster.
    pub report_interval: Option<Duration>,
    /// Until a worker's instances are placed elsewhere.
    pub lost_after: Option<Duration>,
    /// The longest wait between two attempts to connect.
    pub reconnect_max: Option<Duration>,
    /// Until a cluster's movable work is placed elsewhere.
    pub cluster_lost_after: Option<Duration>,
}

impl Settings {
    /// For tests that are not about time, or wait until it has passed.
    pub const QUICK: Self = Self {
        keep_alive: Some(Duration::from_secs(1)),
        report_interval: Some(Duration::from_secs(1)),
        lost_after: Some(Duration::from_secs(2)),
        reconnect_max: Some(Duration::from_millis(300)),
        cluster_lost_after: None,
    };

    /// The true times of the design by a factor, as far as the programs take them: a keep-alive has whole seconds, and nobody
    /// is lost before three of it, so that a busy machine is none that is away.
    pub fn scaled(factor: f64) -> Self {
        let second = Duration::from_secs(1);
        let keep_alive = Duration::from_secs(5).mul_f64(factor).as_secs_f64().ceil();
        let keep_alive = Duration::from_secs_f64(keep_alive).max(second);
        Self {
            keep_alive: Some(keep_alive),
            report_interval: Some(Duration::from_secs(15).mul_f64(factor)),
            lost_after: Some(Duration::from_secs(10).mul_f64(factor).max(keep_alive * 3)),
            reconnect_max: Some(Duration::from_secs(5).mul_f64(factor)),
            cluster_lost_after: Some(Duration::from_mins(1).mul_f64(factor)),
        }
    }

    fn options(&self, cluster: bool) -> Vec<String> {
        let all = [
            ("--report-interval", self.report_interval, true),
            ("--reconnect-max", self.reconnect_max, true),
            ("--keep-alive", self.keep_alive, cluster),
            ("--lost-after", self.lost_after, cluster),
            ("--lost-after", self.cluster_lost_after, !cluster),
        ];
        all.into_iter()
            .filter(|(_, _, applies)| *applies)
            .filter_map(|(option, value, _)| Some([option.to_owned(), written(value?)]))
            .flatten()
            .collect()
    }
}

/// A worker.
#[derive(Debug)]
pub struct Worker {
    /// The node-engine.
    pub program: Program,
    /// Its name.
    pub name: String,
    /// Its id.
    pub node_id: String,
    /// Its data directory.
    pub directory: PathBuf,
}

/// Everything that a test started.
#[derive(Debug)]
pub struct System {
    /// The root-orchestrator.
    pub root: Program,
    /// Cluster-orchestrators, in the order of their start.
    pub clusters: Vec<Program>,
    /// Workers, in the order of their start.
    pub workers: Vec<Worker>,
    settings: Settings,
    directory: tempfile::TempDir,
}

impl System {
    /// A root alone on the loopback address.
    pub fn start(settings: Settings) -> Self {
        Self::start_at(settings, "127.0.0.1", None)
    }

    /// A root, a cluster `cluster-1` and a worker `worker-1` with the native runtime, and this capacity.
    pub fn of_one(settings: Settings, capacity: &str) -> Self {
        let mut this = Self::start(settings);
        this.add_cluster("cluster-1", &[]);
        this.add_worker(
            "worker-1",
            0,
            &["--runtimes", "native", "--capacity", capacity],
        );
        this
    }

    /// A root alone at an address, in a network namespace if one is named.
    pub fn start_at(settings: Settings, address: &str, namespace: Option<&str>) -> Self {
        Self::start_in(settings, address, namespace, |_directory| ())
    }

    /// The same with more options.
    pub fn start_with(
        settings: Settings,
        address: &str,
        namespace: Option<&str>,
        more: &[&str],
    ) -> Self {
        Self::begin(settings, (address, namespace), more, |_directory| ())
    }

    /// The same, after something was done in the directory of the whole system.
    pub fn start_in(
        settings: Settings,
        address: &str,
        namespace: Option<&str>,
        prepare: impl FnOnce(&Path),
    ) -> Self {
        Self::begin(settings, (address, namespace), &[], prepare)
    }

    fn begin(
        settings: Settings,
        (address, namespace): (&str, Option<&str>),
        more: &[&str],
        prepare: impl FnOnce(&Path),
    ) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("edgeio-it-")
            .tempdir()
            .unwrap();
        prepare(directory.path());
        let data = directory.path().join("root");
        let mut args = arguments(&["--http", &format!("{address}:0"), "--data-dir"], &data);
        args.extend(settings.options(false));
        args.extend(more.iter().map(|arg| (*arg).to_owned()));
        let root = Program::start(
            "root-orchestrator",
            "root",
            directory.path(),
            &args,
            namespace,
        );
        Self {
            root,
            clusters: Vec::new(),
            workers: Vec::new(),
            settings,
            directory,
        }
    }

    /// Starts a cluster on the loopback address, and waits until it has joined.
    pub fn add_cluster(&mut self, name: &str, more: &[&str]) -> usize {
        self.add_cluster_at(name, "127.0.0.1", None, more)
    }

    /// The same at another address.
    pub fn add_cluster_at(
        &mut self,
        name: &str,
        address: &str,
        namespace: Option<&str>,
        more: &[&str],
    ) -> usize {
        self.add_cluster_of("cluster-orchestrator", name, (address, namespace), more)
    }

    /// The same of another program: one beside the others, or by its path.
    pub fn add_cluster_of(
        &mut self,
        program: &str,
        name: &str,
        (address, namespace): (&str, Option<&str>),
        more: &[&str],
    ) -> usize {
        let bind = format!("{address}:0");
        let fixed = [
            "--name",
            name,
            "--http",
            &bind,
            "--mqtt",
            &bind,
            "--data-dir",
        ];
        let mut args = arguments(&fixed, &self.directory.path().join(name));
        args.extend(self.settings.options(true));
        add(&mut args, &joining("--root", &self.root(), more));
        let program = Program::start(program, name, self.directory.path(), &args, namespace);
        self.clusters.push(program);
        let root = self.root();
        wait_until("the cluster joins", JOIN, || {
            let clusters = root.list("/api/v1/clusters")?;
            let is = |row: &&Value| {
                field(row, "cluster_name") == name && field(row, "state") != "INACTIVE"
            };
            clusters
                .iter()
                .find(is)
                .map(|_| ())
                .ok_or_else(|| format!("{clusters:?}"))
        });
        self.clusters.len() - 1
    }

    /// Starts a worker of a cluster, and waits until it is alive.
    pub fn add_worker(&mut self, name: &str, cluster: usize, more: &[&str]) -> usize {
        self.add_worker_in(name, cluster, None, more)
    }

    /// The same in a network namespace.
    pub fn add_worker_in(
        &mut self,
        name: &str,
        cluster: usize,
        namespace: Option<&str>,
        more: &[&str],
    ) -> usize {
        let directory = self.directory.path().join(name);
        let mut args = arguments(&["--name", name, "--data-dir"], &directory);
        if let Some(time) = self.settings.reconnect_max {
            args.extend(["--reconnect-max".to_owned(), written(time)]);
        }
        add(
            &mut args,
            &joining("--cluster", &self.cluster(cluster), more),
        );
        let program = Program::start("node-engine", name, self.directory.path(), &args, namespace);
        let mut worker = Worker {
            program,
            name: name.to_owned(),
            node_id: String::new(),
            directory,
        };
        let client = self.cluster(cluster);
        worker.node_id = wait_until("the worker joins", JOIN, || alive(&client, name));
        self.workers.push(worker);
        // The root places by what the cluster told it last.
        let (root, cluster) = (self.root(), self.cluster_program(cluster).name());
        wait_until("the root hears of the worker", JOIN, || {
            let row = root.get(&format!("/api/v1/clusters/{cluster}"))?.body;
            let nodes = client.list("/api/v1/nodes")?.len();
            let seen = row.get("number_of_nodes").and_then(Value::as_u64);
            (seen == u64::try_from(nodes).ok())
                .then_some(())
                .ok_or_else(|| row.to_string())
        });
        self.workers.len() - 1
    }

    /// The times that its programs were started with.
    pub const fn settings(&self) -> Settings {
        self.settings
    }

    /// A client of the root.
    pub fn root(&self) -> Client {
        client(&self.root)
    }

    /// A client of a cluster.
    pub fn cluster(&self, cluster: usize) -> Client {
        client(self.cluster_program(cluster))
    }

    /// The directory of all that belongs to this system.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The native copies of a job that run.
    pub fn copies(&self, job: &str) -> Vec<Copy> {
        super::copies(self.directory(), job)
    }

    /// Waits until a job is in a state at the root, and gives it.
    #[track_caller]
    pub fn wait_state(&self, job: &str, state: &str, limit: Duration) -> Value {
        let root = self.root();
        wait_until(&format!("{job} is {state}"), limit, || {
            let body = root.job(job)?;
            if field(&body, "state") == state {
                Ok(body)
            } else {
                Err(body.to_string())
            }
        })
    }

    fn cluster_program(&self, cluster: usize) -> &Program {
        self.clusters.get(cluster).expect("such a cluster")
    }
}

impl Drop for System {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.root.print_tail();
            self.clusters.iter().for_each(Program::print_tail);
            self.workers
                .iter()
                .for_each(|worker| worker.program.print_tail());
        }
        self.workers
            .iter_mut()
            .for_each(|worker| worker.program.kill());
        self.clusters.iter_mut().for_each(Program::kill);
        self.root.kill();
        super::end_all_in(self.directory.path());
        let Some(engine) = Engine::find() else { return };
        for worker in &self.workers {
            for container in engine.containers_of(&worker.node_id) {
                engine.remove(&container.id);
            }
        }
    }
}

/// The id of a worker that is alive.
fn alive(cluster: &Client, name: &str) -> Result<String, String> {
    let nodes = cluster.list("/api/v1/nodes")?;
    let is = |row: &&Value| field(row, "name") == name && field(row, "state") == "ALIVE";
    let node = nodes
        .iter()
        .find(is)
        .map(|row| field(row, "node_id").to_owned());
    node.ok_or_else(|| format!("{nodes:?}"))
}

fn field<'a>(row: &'a Value, name: &str) -> &'a str {
    row.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn arguments(fixed: &[&str], data: &Path) -> Vec<String> {
    let mut args: Vec<String> = fixed.iter().map(|arg| (*arg).to_owned()).collect();
    args.push(data.to_str().unwrap().to_owned());
    args
}

/// Adds options, which count in place of those that are there.
fn add(args: &mut Vec<String>, more: &[String]) {
    for option in more.iter().filter(|arg| arg.starts_with("--")) {
        if let Some(at) = args.iter().position(|arg| arg == option) {
            args.drain(at..at + 2);
        }
    }
    args.extend(more.iter().cloned());
}

/// A time as options have it.
fn written(time: Duration) -> String {
    format!("{}ms", time.as_millis())
}

/// More arguments, and a token of the orchestrator that is to be joined, so that all goes by TLS; none where a test says itself
/// how it is reached, since it puts something in between.
fn joining(option: &str, at: &Client, more: &[&str]) -> Vec<String> {
    let mut args: Vec<String> = more.iter().map(|arg| (*arg).to_owned()).collect();
    if !more.contains(&option) {
        args.extend(["--join-token".to_owned(), join_token(at)]);
    }
    args
}

/// A client of an orchestrator, by TLS where that is what it serves.
fn client(program: &Program) -> Client {
    let url = program.said("http");
    let client = Client::new(url, program.namespace());
    if !url.starts_with("https:") {
        return client;
    }
    client.believing(&Path::new(program.said("data_dir")).join("identity/authority.pem"))
}

/// A token by which one more joins.
fn join_token(at: &Client) -> String {
    let answer = at.post("/api/v1/join-tokens", "{}").expect("it answers");
    field(&answer.body, "token").to_owned()
}
