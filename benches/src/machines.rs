//! Machines of this machine: each a network namespace on one bridge, with a container engine of its own, which can be lost.
//!
//! An engine has its own containerd, data, sockets and settings, so it and the machine's own one do not see each other.
//! It needs root, `iproute2`, `nsenter`, `containerd` and `dockerd`. All of it is removed when it is dropped.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command as Blocking, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::process::{Child, Command};

use crate::docker::Engine;
use crate::figure::complain;
use crate::fleet::{belonging, kill};

/// How long an engine may take until it answers.
const READY: Duration = Duration::from_mins(1);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);
/// How long everything on a machine may take to be gone.
const END: Duration = Duration::from_secs(10);
/// Lines of a log that are shown when an engine does not start.
const TAIL: usize = 6;
/// The bridge's name in its namespace.
const BRIDGE: &str = "bridge0";

/// One machine.
#[derive(Debug)]
pub(crate) struct Machine {
    /// Its address on the bridge.
    pub(crate) address: String,
    /// Where its engine listens: `unix:///PATH`.
    pub(crate) host: String,
    /// Its engine.
    pub(crate) engine: Engine,
    directory: PathBuf,
    _containerd: Child,
    _dockerd: Child,
}

/// Some of them.
#[derive(Debug)]
pub(crate) struct Machines {
    pub(crate) all: Vec<Machine>,
    namespaces: Namespaces,
    directory: tempfile::TempDir,
}

/// Network namespaces, which go with this.
#[derive(Debug)]
struct Namespaces {
    prefix: String,
    made: Vec<String>,
}

impl Machines {
    /// Starts so many, and waits until each engine answers.
    pub(crate) async fn start(count: u8) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("edgeio-bench-").tempdir();
        let mut this = Self {
            all: Vec::new(),
            namespaces: Namespaces::new()?,
            directory: directory.context("cannot make a directory")?,
        };
        for number in 1..=count {
            let (namespace, address) = this.namespaces.add(number)?;
            let directory = this.directory.path().join(number.to_string());
            let machine = Machine::start(&directory, &namespace, address).await?;
            this.all.push(machine);
        }
        Ok(this)
    }
}

impl Drop for Machines {
    fn drop(&mut self) {
        for machine in &self.all {
            if let Err(error) = machine.lose() {
                complain(&format!("{error:#}"));
            }
        }
        // Whatever a start that failed left behind.
        let left = belonging(self.directory.path());
        left.into_iter().for_each(kill);
        unmount(self.directory.path());
    }
}

impl Machine {
    async fn start(directory: &Path, namespace: &str, address: String) -> anyhow::Result<Self> {
        fs::create_dir(directory).context("cannot make a directory")?;
        let path = |name: &str| directory.join(name).to_string_lossy().into_owned();
        let settings = format!(
            "version = 2\nroot = {:?}\nstate = {:?}\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
             [grpc]\naddress = {:?}\n",
            path("containerd"),
            path("state"),
            path("containerd.sock"),
        );
        fs::write(path("containerd.toml"), settings).context("cannot write settings")?;
        // Else those of the machine's own engine would hold.
        fs::write(path("daemon.json"), "{}\n").context("cannot write settings")?;
        let mut command = Command::new("containerd");
        command.args(["--config", &path("containerd.toml")]);
        let containerd = spawn(command, directory, "containerd")?;
        let socket = directory.join("containerd.sock");
        wait(directory, "containerd", async || socket.exists()).await?;

        let mut command = Command::new("nsenter");
        let host = format!("unix://{}", path("docker.sock"));
        command.arg(format!("--net=/run/netns/{namespace}"));
        command.args(["dockerd", "--host", &host]);
        for (option, name) in [
            ("--containerd", "containerd.sock"),
            ("--data-root", "data"),
            ("--exec-root", "exec"),
            ("--pidfile", "docker.pid"),
            ("--config-file", "daemon.json"),
        ] {
            command.args([option, &path(name)]);
        }
        // Swarm would look for a newer image before each start, in a registry that cannot be reached here.
        command.env("DOCKER_SERVICE_PREFER_OFFLINE_IMAGE", "1");
        let dockerd = spawn(command, directory, "dockerd")?;
        wait(directory, "dockerd", async || {
            Engine::find(&host).await.is_ok()
        })
        .await?;
        Ok(Self {
            address,
            engine: Engine::find(&host).await?,
            host,
            directory: directory.to_owned(),
            _containerd: containerd,
            _dockerd: dockerd,
        })
    }

    /// Kills all of it at once: the engine, its parts, and what it runs.
    pub(crate) fn lose(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + END;
        loop {
            let own = belonging(&self.directory);
            // Containers name nothing here; their parents do.
            let containers = children(&own);
            if own.is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("processes of {} do not end: {own:?}", self.address);
            }
            own.into_iter().chain(containers).for_each(kill);
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }
}

impl Namespaces {
    fn new() -> anyhow::Result<Self> {
        let mut this = Self {
            prefix: format!("eib{}-", std::process::id()),
            made: Vec::new(),
        };
        let hub = this.make("hub")?;
        run(&format!("ip -n {hub} link add name {BRIDGE} type bridge"))?;
        run(&format!("ip -n {hub} link set {BRIDGE} up"))?;
        Ok(this)
    }

    /// One more, on the bridge; gives its name and its address.
    fn add(&mut self, number: u8) -> anyhow::Result<(String, String)> {
        let hub = format!("{}hub", self.prefix);
        let name = self.make(&number.to_string())?;
        let (port, address) = (format!("port{number}"), format!("10.79.0.{number}"));
        for command in [
            format!("ip link add {port} netns {hub} type veth peer name eth0 netns {name}"),
            format!("ip -n {hub} link set {port} master {BRIDGE}"),
            format!("ip -n {hub} link set {port} up"),
            format!("ip -n {name} addr add {address}/24 dev eth0"),
            format!("ip -n {name} link set eth0 up"),
        ] {
            run(&command)?;
        }
        Ok((name, address))
    }

    fn make(&mut self, name: &str) -> anyhow::Result<String> {
        let name = format!("{}{name}", self.prefix);
        run(&format!("ip netns add {name}"))?;
        self.made.push(name.clone());
        run(&format!("ip -n {name} link set lo up"))?;
        Ok(name)
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for name in &self.made {
            if let Err(error) = run(&format!("ip netns del {name}")) {
                complain(&format!("{error:#}"));
            }
        }
    }
}

/// Starts one part of a machine, with a log of its name.
fn spawn(mut command: Command, directory: &Path, name: &str) -> anyhow::Result<Child> {
    let log = fs::File::create(directory.join(format!("{name}.log")));
    let log = log.context("cannot make a log")?;
    let out = log.try_clone().context("cannot make a log")?;
    command
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(log)
        .kill_on_drop(true);
    let child = command.spawn();
    child.with_context(|| format!("cannot run {name}; install it"))
}

/// Waits until it is there; else shows the end of its log.
async fn wait(directory: &Path, name: &str, is: impl AsyncFn() -> bool) -> anyhow::Result<()> {
    let deadline = Instant::now() + READY;
    while !is().await {
        if Instant::now() > deadline {
            let log = fs::read_to_string(directory.join(format!("{name}.log"))).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let from = lines.len().saturating_sub(TAIL);
            let tail = lines.get(from..).unwrap_or_default().join("\n");
            bail!("{name} is not ready within {READY:?}:\n{tail}");
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// The processes whose parent is one of these.
fn children(parents: &[u32]) -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let parent = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses may hold blanks; the parent is the second field after it.
        let (_, fields) = stat.rsplit_once(')')?;
        fields.split_whitespace().nth(1)?.parse::<u32>().ok()
    };
    pids.filter(|pid| parent(pid).is_some_and(|parent| parents.contains(&parent)))
        .collect()
}

/// Unmounts what engines left below a directory, the innermost first.
fn unmount(directory: &Path) {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    let mut below: Vec<&str> = points
        .filter(|point| Path::new(point).starts_with(directory))
        .collect();
    below.sort_unstable();
    for point in below.iter().rev() {
        if let Err(error) = run(&format!("umount --lazy {point}")) {
            complain(&format!("{error:#}"));
        }
    }
}

fn run(command: &str) -> anyhow::Result<()> {
    let mut words = command.split_whitespace();
    let program = words.next().unwrap_or_default();
    let output = Blocking::new(program).args(words).output();
    let output = output.with_context(|| format!("cannot run {program}; install it"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{command}: {}", said.trim());
    }
    Ok(())
}
