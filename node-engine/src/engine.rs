//! One engine from its start to its stop.

use std::collections::BTreeSet;
use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use daemon::crashpoint;
use joining::{EntryError, MembershipError};
use model::desired::NodeItem;
use model::id::NodeId;
use model::node::NodeFacts;
use model::workload::{RuntimeKind, Workload};
use node_core::{State, Write};
use secrets::KeyringError;
use serde::Serialize;
use store::{Embedded, Options, Store, StoreError, Writer};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::approach;
use crate::config::Config;
use crate::controller::{Controller, Deps};
use crate::doctor;
use crate::facts::Machine;
use crate::link::Link;
use crate::link::orders::Orders;
use crate::link::saved::Known;
use crate::logs::kept::Kept;
use crate::logs::standing::Standings;
use crate::logs::{Runtimes, Sources};
use crate::policy::Policy;
use crate::record::{self, RecordError};
use crate::runtime::docker;
use crate::secrets::Secrets;

/// The store's file in the data directory.
pub(crate) const STORE: &str = "node.store";
/// Bytes of the store's pages that are kept in memory.
const STORE_CACHE: usize = 256 * 1024;
/// Inputs that may wait for the controller.
const INPUTS: usize = 256;
/// Messages that may wait for the link.
const OUTGOING: usize = 64;
/// Ends of applications that may wait for the controller.
const EXITS: usize = 256;
/// How far apart the boot numbers of two starts are: numbers between them are for states that are rebuilt meanwhile.
const BOOT_STEP: u64 = 1_024;

/// What the ready line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename = "ready")]
pub struct Ready {
    /// The worker's id; null before the first join.
    pub node_id: Option<NodeId>,
    /// Whether the cluster is connected.
    pub connected: bool,
}

/// Why an engine does not run.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The options do not fit together or mean nothing.
    #[error("{0}")]
    Config(String),
    /// Nobody knows which program this is.
    #[error("cannot find this program's own file, which native applications need as their parent")]
    OwnProgram {
        /// What the system said.
        source: io::Error,
    },
    /// The data directory cannot be used.
    #[error("cannot use the data directory {}", path.display())]
    DataDir {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The store cannot be used, or another engine uses it.
    #[error("cannot use the engine's store")]
    Store(#[from] StoreError),
    /// The store holds what this program did not write.
    #[error(
        "the store {} cannot be understood; run the version that wrote it, or move it away to begin with an empty one (what runs is then stopped)",
        path.display()
    )]
    Records {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: RecordError,
    },
    /// What is kept of having joined cannot be used.
    #[error(transparent)]
    Membership(#[from] MembershipError),
    /// What opens secrets cannot be used.
    #[error(transparent)]
    Secrets(#[from] KeyringError),
    /// It cannot join.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// The store is of a worker that nobody let join.
    #[error(
        "the data directory {} is that of worker {node}, which registered without a certificate or with another one, and a token          makes a new worker; drain that one (edgeio drain node {node}), then join with an empty --data-dir",
        path.display()
    )]
    Stranger {
        /// The directory.
        path: PathBuf,
        /// The worker in its store.
        node: NodeId,
    },
    /// A part of the engine ended by itself.
    #[error("the engine's {part} ended unasked")]
    Ended {
        /// Which.
        part: &'static str,
    },
}

impl EngineError {
    /// The program's exit code for it.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::Stranger { .. } => daemon::exit::CONFIG,
            Self::DataDir { .. }
            | Self::Store(_)
            | Self::Records { .. }
            | Self::Secrets(_)
            | Self::Membership(_) => daemon::exit::STORE_UNUSABLE,
            Self::Entry(error) => match error {
                EntryError::Membership(_) => daemon::exit::STORE_UNUSABLE,
                EntryError::Elsewhere { .. } | EntryError::Renamed { .. } => daemon::exit::CONFIG,
                EntryError::Join(error) if error.is_final() => daemon::exit::CONFIG,
                EntryError::Join(_) => daemon::exit::FAILURE,
            },
            Self::OwnProgram { .. } | Self::Ended { .. } => daemon::exit::FAILURE,
        }
    }
}

/// Runs a worker until the token is cancelled; applications go on running after that.
///
/// `ready` is called once, when what the disk says is started, or after 5 s with what is started by then.
///
/// # Errors
/// [`EngineError`], before anything was started; later failures are logged and repaired.
pub async fn run(
    config: Config,
    shutdown: CancellationToken,
    ready: impl FnOnce(Ready) + Send,
) -> Result<(), EngineError> {
    let config = Config {
        shim: Some(config.shim_command()?),
        ..config
    };
    config.check()?;
    if config.is_joining {
        doctor::say(&doctor::machine(&config).await);
    }
    make_data_dir(&config.data_dir)?;
    let policy = Policy::load(&config)?;
    let store = open(&config.data_dir)?;
    let restored = restore(&config, store.as_ref())?;
    // The store's lock is held: nobody else joins in this directory.
    let membership = Box::pin(config.enter(restored.node())).await?;
    let approach = config.approach(membership)?;
    let orders = Orders::load(&config.data_dir)?;
    let secrets = Arc::new(Secrets::load(&config.data_dir)?);
    secrets.tidy(restored.workloads());
    if config.is_joining {
        doctor::say(&doctor::reached(&approach).await);
    }
    crashpoint!("node.start.loaded");
    let writer = Writer::start(store)?;
    let kinds = restored.kinds(&config).await;
    let facts = facts(&config, &policy, &kinds)?;
    let mut state = State::new(core_config(&config), kinds.iter().copied());
    let now = crate::controller::now();
    let boot = restored.boot / BOOT_STEP * BOOT_STEP + BOOT_STEP;
    let mut began = vec![Write::Boot(boot)];
    // Who has joined is known to its cluster, whenever it gets there.
    let joined = approach::node(&approach).filter(|_| restored.node().is_none());
    began.extend(joined.map(Write::Node));
    state.apply(now, &restored.writes);
    state.apply(now, &[Write::Line(daemon::random())]);
    state.apply(now, &began);
    writer.commit(record::ops(&began)).await?;
    crashpoint!("node.start.committed");
    tracing::info!(worker.name = %facts.name, worker.id = state.node().map(tracing::field::display), boot, "the engine starts");
    let (inputs, from_link) = mpsc::channel(INPUTS);
    let (outgoing, to_link) = mpsc::channel(OUTGOING);
    let (exits, ended) = mpsc::channel(EXITS);
    let (runtimes, known_runtimes) = watch::channel(Runtimes::default());
    let standings = Standings::new(inputs.clone());
    let sources = Sources {
        runtimes: known_runtimes,
        standings: standings.clone(),
    };
    let link = Link {
        facts,
        node: state.node(),
        boot,
        known: Known::load(&config.data_dir, &approach.host, state.node()),
        approach: approach.clone(),
        orders,
        secrets: Arc::clone(&secrets),
        config: config.clone(),
        inputs,
        sources,
    };
    // Not a child of `shutdown`: the link ends after the controller, which would take an earlier end for a fault.
    let linking = CancellationToken::new();
    let link = tokio::spawn(link.run(to_link, linking.clone()));
    let sweeping = tokio::spawn(Kept::new(&config.data_dir).keep_tidy(linking.clone()));
    let renewing = tokio::spawn(approach.credentials.keep(linking.clone()));
    let controller = Controller::new(Deps {
        config,
        policy: Arc::new(policy),
        secrets,
        kinds,
        state,
        writer,
        outgoing,
        exits,
        runtimes,
        standings,
        shutdown,
        linking: linking.clone(),
    });
    let result = controller.run(from_link, ended, ready).await;
    // The link says goodbye within two seconds; a panic of it was logged when it happened.
    let _ended = (link.await, sweeping.await, renewing.await);
    result
}

/// The core's settings, of those that can be set from outside.
pub(crate) fn core_config(config: &Config) -> node_core::Config {
    node_core::Config {
        backoff: config.crash_backoff,
        ..node_core::Config::default()
    }
}

/// What the disk says.
#[derive(Debug)]
pub(crate) struct Restored {
    writes: Vec<Write>,
    boot: u64,
}

impl Restored {
    /// Who this worker was.
    fn node(&self) -> Option<NodeId> {
        self.writes.iter().find_map(|write| {
            let Write::Node(node) = write else {
                return None;
            };
            Some(*node)
        })
    }

    /// What it is to run.
    fn workloads(&self) -> impl Iterator<Item = &Workload> {
        let updates = self.writes.iter().filter_map(|write| match write {
            Write::Desired(update) => Some(&update.put),
            _ => None,
        });
        let items = updates.flatten().map(|entry| &entry.value);
        items.filter_map(|item| match item {
            NodeItem::Instance(desired) => Some(desired.service.workload.as_ref()),
            NodeItem::Settings(_) => None,
        })
    }

    /// The runtimes to use: those that are named, or found, and those that already have something of this worker.
    async fn kinds(&self, config: &Config) -> BTreeSet<RuntimeKind> {
        if let Some(named) = &config.runtimes {
            return named.0.clone();
        }
        let mut kinds = BTreeSet::from([RuntimeKind::Native]);
        // After a reboot the container engine may start later than this one, so its socket counts too.
        let socket = config.docker_host.strip_prefix("unix://").map(Path::new);
        let is_socket = |path: &Path| path.metadata().is_ok_and(|it| it.file_type().is_socket());
        if socket.is_some_and(is_socket) || docker::probe(&config.docker_host).await {
            kinds.insert(RuntimeKind::Docker);
        }
        kinds.extend(self.writes.iter().filter_map(|write| {
            let Write::Journal { record, .. } = write else {
                return None;
            };
            Some(record.as_ref()?.runtime)
        }));
        kinds
    }
}

fn restore(config: &Config, store: &dyn Store) -> Result<Restored, EngineError> {
    let writes = record::writes(&store.load()?).map_err(|source| EngineError::Records {
        path: config.data_dir.join(STORE),
        source,
    })?;
    let boot = writes.iter().find_map(|write| {
        let Write::Boot(boot) = write else {
            return None;
        };
        Some(*boot)
    });
    let boot = boot.unwrap_or_default();
    Ok(Restored { writes, boot })
}

fn make_data_dir(path: &Path) -> Result<(), EngineError> {
    let made = DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        // Shims, of which one may run under an older umask, and credentials live here.
        .and_then(|()| std::fs::set_permissions(path, Permissions::from_mode(0o700)));
    made.map_err(|source| EngineError::DataDir {
        path: path.to_owned(),
        source,
    })
}

/// The store's lock is what keeps two engines off one data directory.
fn open(data_dir: &Path) -> Result<Arc<dyn Store>, EngineError> {
    let options = Options {
        cache_bytes: STORE_CACHE,
        schema: record::SCHEMA,
        ..Options::default()
    };
    Ok(Arc::new(Embedded::open(&data_dir.join(STORE), options)?))
}

fn facts(
    config: &Config,
    policy: &Policy,
    kinds: &BTreeSet<RuntimeKind>,
) -> Result<NodeFacts, EngineError> {
    let machine = Machine::read(&config.data_dir);
    let mut runtimes = kinds.clone();
    // What runs is found and stopped; no cluster places more here.
    if !policy.has_native() {
        runtimes.remove(&RuntimeKind::Native);
    }
    Ok(NodeFacts {
        name: config.worker_name(&machine.hostname)?,
        hostname: machine.hostname,
        addresses: machine.addresses,
        architecture: machine.architecture,
        allocatable: config.capacity.of(machine.capacity),
        accelerators: Vec::new(),
        sensors: Vec::new(),
        runtimes,
        labels: config.label_map(),
        engine_version: env!("CARGO_PKG_VERSION").to_owned(),
    })
}
