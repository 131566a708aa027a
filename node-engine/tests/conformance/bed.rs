//! What the suite needs to know of a runtime to test it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use model::id::{InstanceId, JobId, NodeId};
use model::name::Name;
use model::slot::Generation;
use model::units::Resources;
use model::workload::{Pull, Restart, RuntimeKind, SpecHash, Workload};
use node_engine::runtime::Given;
use node_engine::runtime::docker::{DEFAULT_HOST, Docker};
use node_engine::runtime::native::{Native, ShimCommand};
use node_engine::runtime::{Exited, Found, Identity, Runtime};
use node_engine::shim::process;
use node_engine::shim::record::{Folder, Running, State};
use rustix::process::Signal;
use tokio::sync::mpsc;

pub(crate) const IMAGE: &str = "edgeio-test/busybox:1";
/// Long enough for a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_mins(1);

/// A runtime's home: a node id of its own, and a data directory.
pub(crate) struct Bed {
    pub(crate) node: NodeId,
    pub(crate) kind: RuntimeKind,
    pub(crate) folder: tempfile::TempDir,
}

/// A runtime with the ends that it tells.
pub(crate) struct Rig {
    pub(crate) runtime: Runtime,
    pub(crate) exits: mpsc::Receiver<Exited>,
}

impl Bed {
    pub(crate) fn native() -> Self {
        Self::new(RuntimeKind::Native)
    }

    pub(crate) fn noop() -> Self {
        Self::new(RuntimeKind::Noop)
    }

    /// `None`, with the reason printed, where Docker is not asked for.
    pub(crate) fn docker() -> Option<Self> {
        if !required("docker") {
            return None;
        }
        make_image();
        Some(Self::new(RuntimeKind::Docker))
    }

    fn new(kind: RuntimeKind) -> Self {
        Self {
            node: NodeId::from_bits(bits()),
            kind,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// A new engine, as far as the runtime sees it.
    pub(crate) fn rig(&self) -> Rig {
        let (sender, exits) = mpsc::channel(64);
        let runtime = match self.kind {
            RuntimeKind::Native => self.native_with(shim(), sender),
            RuntimeKind::Docker => Runtime::Docker(Docker::new(
                self.node,
                DEFAULT_HOST,
                2,
                self.folder.path(),
                sender,
            )),
            RuntimeKind::Noop => Runtime::Noop(node_engine::runtime::noop::Noop::new(sender)),
        };
        Rig { runtime, exits }
    }

    /// An engine whose native instances get another shim.
    pub(crate) fn rig_with(&self, shim: ShimCommand) -> Rig {
        let (sender, exits) = mpsc::channel(64);
        let runtime = self.native_with(shim, sender);
        Rig { runtime, exits }
    }

    fn native_with(&self, shim: ShimCommand, exits: mpsc::Sender<Exited>) -> Runtime {
        Runtime::Native(Native::new(self.node, self.folder.path(), shim, exits).unwrap())
    }

    pub(crate) fn identity(&self) -> Identity {
        Identity {
            node: self.node,
            instance: InstanceId::from_bits(bits()),
            job: JobId::from_bits(bits()),
            job_name: Name::new("tests").unwrap(),
            service: Name::new("one").unwrap(),
            index: 0,
            tenant: model::access::TenantPath::root(),
            generation: Generation {
                assignment: 3,
                placement: 4,
            },
        }
    }

    /// A workload that runs a shell script.
    pub(crate) fn script(&self, script: &str) -> Workload {
        let command = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        Workload {
            command,
            ..self.workload()
        }
    }

    /// A workload without a command: the image's entry point is a shell.
    pub(crate) fn workload(&self) -> Workload {
        let image = match self.kind {
            RuntimeKind::Docker => IMAGE,
            RuntimeKind::Native | RuntimeKind::Noop => "file:///bin/sh",
        };
        Workload {
            hash: SpecHash([7; 16]),
            runtime: self.kind,
            image: Some(image.to_owned()),
            pull: Pull::IfAbsent,
            command: Vec::new(),
            args: Vec::new(),
            environment: BTreeMap::new(),
            ports: Vec::new(),
            volumes: Vec::new(),
            files: BTreeMap::new(),
            resources: Resources::default(),
            restart: Restart::Always,
            health: None,
            security: model::security::Security::default(),
            secrets: model::secret::Secrets::default(),
            stop_grace: Duration::from_secs(5),
        }
    }

    pub(crate) fn instance_folder(&self, instance: InstanceId) -> Folder {
        Folder::new(
            self.folder
                .path()
                .join("instances")
                .join(instance.to_string()),
        )
    }

    /// What the shim wrote of a native instance.
    pub(crate) fn running(&self, instance: InstanceId) -> Running {
        match self.instance_folder(instance).state() {
            Some(State::Running(running)) => running,
            other => panic!("{instance} has state {other:?}"),
        }
    }

    /// Kills an application as if it had crashed.
    pub(crate) fn kill(&self, instance: InstanceId) {
        match self.kind {
            RuntimeKind::Native => {
                process::signal(self.running(instance).pid, Signal::KILL).unwrap();
            }
            RuntimeKind::Docker => {
                let label = format!("label=edgeio.instance={instance}");
                docker(&["kill", docker(&["ps", "-q", "--filter", &label]).trim()]);
            }
            RuntimeKind::Noop => {}
        }
    }

    /// What there is of an instance: processes, or containers.
    pub(crate) fn remains(&self, instance: InstanceId) -> usize {
        match self.kind {
            RuntimeKind::Native => {
                process::with_variable(&format!("EDGEIO_INSTANCE={instance}")).len()
                    + usize::from(self.instance_folder(instance).exists())
            }
            RuntimeKind::Docker => {
                let label = format!("label=edgeio.instance={instance}");
                docker(&["ps", "-aq", "--filter", &label]).lines().count()
            }
            RuntimeKind::Noop => 0,
        }
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        match self.kind {
            RuntimeKind::Native => {
                // By the records first: a program that has just begun does not show its environment yet.
                for entry in std::fs::read_dir(self.folder.path().join("instances"))
                    .into_iter()
                    .flatten()
                    .flatten()
                {
                    if let Some(State::Running(running)) = Folder::new(entry.path()).state()
                        && running.boot_id == process::boot_id()
                        && process::is(running.pid, running.pid_start)
                    {
                        let _ = process::signal_group(running.pid, Signal::KILL);
                    }
                }
                for pid in process::with_variable(&format!("EDGEIO_WORKER={}", self.node)) {
                    let _ = process::signal(pid, Signal::KILL);
                }
            }
            RuntimeKind::Docker => {
                let ids = docker(&[
                    "ps",
                    "-aq",
                    "--filter",
                    &format!("label=edgeio.worker={}", self.node),
                ]);
                for id in ids.lines() {
                    docker(&["rm", "-f", "-v", id]);
                }
            }
            RuntimeKind::Noop => {}
        }
    }
}

impl Rig {
    /// The next end that is told.
    pub(crate) async fn exited(&mut self) -> Exited {
        tokio::time::timeout(DEADLINE, self.exits.recv())
            .await
            .expect("an end is told in time")
            .unwrap()
    }

    /// Runs it once: the lines that it wrote.
    pub(crate) async fn said(&mut self, identity: &Identity, workload: &Workload) -> Vec<String> {
        self.runtime
            .start(identity, workload, Given::default())
            .await
            .unwrap();
        let exit = self.exited().await.exit;
        let stopped = self.runtime.stop(identity.instance, Duration::ZERO).await;
        stopped.unwrap();
        exit.log_tail
    }

    /// The only instance there is.
    pub(crate) async fn only(&self) -> Found {
        let mut found = self.runtime.list().await.unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        found.remove(0)
    }

    /// Waits until the output of an instance says something that `is_enough`.
    pub(crate) async fn logs(
        &self,
        instance: InstanceId,
        is_enough: impl Fn(&[String]) -> bool,
    ) -> Vec<String> {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        loop {
            let lines = self.runtime.logs_tail(instance, 50).await;
            if is_enough(&lines) {
                return lines;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "the output stays {lines:?}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Whether one of the lines is that.
pub(crate) fn has(lines: &[String], line: &str) -> bool {
    lines.iter().any(|it| it == line)
}

/// Waits until `is_so`.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while !is_so() {
        assert!(
            tokio::time::Instant::now() < deadline,
            "not in time: {what}"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Whether tests that need `what` must run; prints why not.
pub(crate) fn required(what: &str) -> bool {
    let all = std::env::var("EDGEIO_REQUIRE").unwrap_or_default();
    let is = all.split(',').any(|one| one.trim() == what);
    if !is {
        eprintln!("skipped: EDGEIO_REQUIRE does not contain {what}");
    }
    is
}

pub(crate) fn shim() -> ShimCommand {
    ShimCommand {
        program: PathBuf::from(env!("CARGO_BIN_EXE_node-engine")),
        args: vec!["shim".into()],
    }
}

/// Runs the Docker CLI; its output.
pub(crate) fn docker(args: &[&str]) -> String {
    let output = Command::new("docker").args(args).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Makes the image of the tests from the machine's static busybox, if it is absent.
fn make_image() {
    if !docker(&["images", "-q", IMAGE]).is_empty() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let bin = root.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    let busybox = ["/bin/busybox", "/usr/bin/busybox"]
        .into_iter()
        .find(|path| Path::new(path).exists())
        .unwrap();
    std::fs::copy(busybox, bin.join("busybox")).unwrap();
    for name in [
        "sh", "sleep", "cat", "env", "dd", "setsid", "true", "head", "tr", "seq",
    ] {
        std::os::unix::fs::symlink("busybox", bin.join(name)).unwrap();
    }
    let mut tar = Command::new("tar")
        .arg("-C")
        .arg(root.path())
        .args(["-c", "."])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let change = r#"ENTRYPOINT ["/bin/sh"]"#;
    let import = Command::new("docker")
        .args([
            "import",
            "--change",
            change,
            "--change",
            "ENV PATH=/bin",
            "-",
            IMAGE,
        ])
        .stdin(tar.stdout.take().unwrap())
        .output()
        .unwrap();
    tar.wait().unwrap();
    assert!(
        import.status.success(),
        "{}",
        String::from_utf8_lossy(&import.stderr)
    );
}

/// Unlike any before: time, process, and a count.
fn bits() -> u128 {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let time = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_nanos();
    let count = u128::from(COUNT.fetch_add(1, Ordering::Relaxed));
    // 48 bits of milliseconds first, as in any ULID; names end in the low bits.
    ((time / 1_000_000) << 80)
        | (u128::from(std::process::id()) << 40)
        | ((time & 0xffff_ffff) << 8)
        | count
}
