//! What the core's actions do to the runtimes.
//!
//! # Guarantees
//! - Never two operations on one instance at a time, and in the order in which the core asked for them.
//! - A stop does not wait for a start that is still under way (a long pull): that one is given up first, and the stop
//!   cleans up what it had made.
//! - Every operation that is not given up ends in one [`Input`], a panic included.

mod ending;
mod probes;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use daemon::crashpoint;
use model::desired::Desired;
use model::id::{InstanceId, NodeId};
use model::reason::{Reason, ReasonCode};
use model::workload::RuntimeKind;
use node_core::{Found, FoundStatus, Input, ProbeId, ProbeOutcome};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};

use crate::EngineError;
use crate::config::Config;
use crate::facts;
use crate::policy::Policy;
use crate::runtime::docker::{Docker, Host, ImageLimit, Patience};
use crate::runtime::native::Native;
use crate::runtime::noop::Noop;
use crate::runtime::{Asked, Exited, Identity, Runtime, Status, chain};
use crate::secrets::{Memory, Secrets};

use probes::Probes;

/// Starts of processes under way at once: a restarted engine with hundreds of instances must not start them all in one
/// moment. The container runtime has a limit of its own, which a pull does not count against.
const STARTS: usize = 16;

/// The runtimes of this worker, and what is being done with them.
#[derive(Debug)]
pub(crate) struct Performer {
    /// `None` before the first join: without an id nothing can be ours.
    ours: Option<Ours>,
    running: JoinSet<Input>,
    subjects: HashMap<Id, Subject>,
    queues: BTreeMap<InstanceId, Queue>,
    starts: Arc<Semaphore>,
    policy: Arc<Policy>,
    secrets: Arc<Secrets>,
    probes: Probes,
}

/// What a worker has once it has an id.
#[derive(Debug)]
struct Ours {
    node: NodeId,
    runtimes: BTreeMap<RuntimeKind, Arc<Runtime>>,
    /// Where the secrets of its instances are while they run.
    memory: Memory,
}

#[derive(Debug, Clone, Copy)]
enum Subject {
    Start(InstanceId),
    Stop(InstanceId),
    List(RuntimeKind),
    Probe(InstanceId, ProbeId),
    Watch(RuntimeKind),
}

#[derive(Debug)]
struct Queue {
    current: Operation,
    abort: AbortHandle,
    waiting: VecDeque<Operation>,
}

#[derive(Debug, Clone)]
enum Operation {
    Start(Box<Desired>),
    Stop(RuntimeKind, Duration),
}

impl Operation {
    const fn is_start(&self) -> bool {
        matches!(self, Self::Start(_))
    }
}

/// Makes the runtimes of a worker that has an id.
///
/// # Errors
/// When the data directory cannot be written.
pub(crate) fn runtimes(
    config: &Config,
    policy: &Policy,
    node: NodeId,
    kinds: impl IntoIterator<Item = RuntimeKind>,
    exits: &mpsc::Sender<Exited>,
) -> Result<BTreeMap<RuntimeKind, Arc<Runtime>>, EngineError> {
    let make = |kind| -> Result<Runtime, EngineError> {
        Ok(match kind {
            RuntimeKind::Native => {
                let shim = config.shim_command()?;
                let native = Native::new(node, &config.data_dir, shim, exits.clone());
                let confined = native.and_then(|native| native.confined(policy.confinement()));
                Runtime::Native(confined.map_err(|source| EngineError::DataDir {
                    path: config.data_dir.clone(),
                    source,
                })?)
            }
            RuntimeKind::Docker => {
                let host = Host {
                    address: config.docker_host.clone(),
                    patience: Patience::new(config.docker_timeout, config.docker_check),
                    user: policy.container_user(),
                };
                let docker =
                    Docker::new(node, host, facts::cores(), &config.data_dir, exits.clone());
                Runtime::Docker(match config.image_gc.0 {
                    Some(percent) => docker.with_image_limit(ImageLimit::at(percent)),
                    None => docker,
                })
            }
            RuntimeKind::Noop => Runtime::Noop(Noop::new(exits.clone())),
        })
    };
    kinds
        .into_iter()
        .map(|kind| Ok((kind, Arc::new(make(kind)?))))
        .collect()
}

impl Performer {
    /// A performer with nothing to do.
    pub(crate) fn new(policy: Arc<Policy>, secrets: Arc<Secrets>) -> Self {
        Self {
            ours: None,
            running: JoinSet::new(),
            subjects: HashMap::new(),
            queues: BTreeMap::new(),
            starts: Arc::new(Semaphore::new(STARTS)),
            policy,
            secrets,
            probes: Probes::new(),
        }
    }

    /// The id that the runtimes were made for.
    pub(crate) fn node(&self) -> Option<NodeId> {
        self.ours.as_ref().map(|ours| ours.node)
    }

    /// Takes the runtimes of a worker that has an id, and asks each what it has.
    pub(crate) fn adopt(&mut self, node: NodeId, runtimes: BTreeMap<RuntimeKind, Arc<Runtime>>) {
        let kinds: Vec<RuntimeKind> = runtimes.keys().copied().collect();
        let memory = Memory::of(node, self.policy.confinement().account);
        self.ours = Some(Ours {
            node,
            runtimes,
            memory,
        });
        for kind in kinds {
            self.list(kind);
            self.watch(kind);
        }
    }

    /// Hears when a runtime that answers stops to.
    fn watch(&mut self, runtime: RuntimeKind) {
        let Some(watched) = self.runtime(runtime) else {
            return;
        };
        let task = async move {
            watched.until(true).await;
            watched.until(false).await;
            Input::ListFailed { runtime }
        };
        let handle = self.running.spawn(task);
        self.subjects.insert(handle.id(), Subject::Watch(runtime));
    }

    /// Starts an instance, after what is already being done with it.
    pub(crate) fn start(&mut self, desired: Box<Desired>) {
        self.enqueue(desired.instance, Operation::Start(desired));
    }

    /// Stops an instance and removes what is left of it.
    pub(crate) fn stop(&mut self, instance: InstanceId, runtime: RuntimeKind, grace: Duration) {
        self.probes.give_up(instance);
        if let Some(queue) = self.queues.get_mut(&instance) {
            // The core has forgotten that start already, so its answer is of no use.
            if queue.current.is_start() {
                queue.abort.abort();
            }
            queue.waiting.retain(|waiting| !waiting.is_start());
        }
        self.enqueue(instance, Operation::Stop(runtime, grace));
    }

    /// Finds out whether an instance is well; given up when it is stopped.
    pub(crate) fn probe(
        &mut self,
        instance: InstanceId,
        id: ProbeId,
        runtime: RuntimeKind,
        asked: Asked,
    ) {
        let task = self.probes.task(self.runtime(runtime), instance, id, asked);
        let handle = self.running.spawn(task);
        self.subjects
            .insert(handle.id(), Subject::Probe(instance, id));
        self.probes.begun(instance, handle);
    }

    /// Asks a runtime for all that it has.
    pub(crate) fn list(&mut self, runtime: RuntimeKind) {
        let ours = self.runtime(runtime);
        let is_ours = self.ours.is_some();
        let task = async move {
            let Some(found) = ours else {
                let found = Vec::new();
                return if is_ours {
                    Input::ListFailed { runtime }
                } else {
                    Input::Listed { runtime, found }
                };
            };
            crashpoint!("node.adopting");
            match found.list().await {
                Ok(found) => {
                    crashpoint!("node.adopted");
                    Input::Listed {
                        runtime,
                        found: found.into_iter().map(translate).collect(),
                    }
                }
                Err(error) => {
                    tracing::warn!(runtime = %runtime, error = chain(&error), "a runtime does not answer");
                    Input::ListFailed { runtime }
                }
            }
        };
        let handle = self.running.spawn(task);
        self.subjects.insert(handle.id(), Subject::List(runtime));
    }

    /// The next result; pending while nothing is under way. Safe to cancel.
    pub(crate) async fn next(&mut self) -> Input {
        loop {
            let Some(joined) = self.running.join_next_with_id().await else {
                return std::future::pending().await;
            };
            if let Some(input) = self.finished(joined) {
                return input;
            }
        }
    }

    /// A result that is there already.
    pub(crate) fn try_next(&mut self) -> Option<Input> {
        loop {
            let joined = self.running.try_join_next_with_id()?;
            if let Some(input) = self.finished(joined) {
                return Some(input);
            }
        }
    }

    /// What an operation that ended means; nothing for one that was given up.
    fn finished(&mut self, joined: Result<(Id, Input), JoinError>) -> Option<Input> {
        let id = match &joined {
            Ok((id, _)) => *id,
            Err(error) => error.id(),
        };
        let subject = self.subjects.remove(&id)?;
        match subject {
            Subject::Start(instance) | Subject::Stop(instance) => self.go_on(instance),
            Subject::Probe(instance, _) => self.probes.ended(instance, id),
            Subject::List(_) => {}
            Subject::Watch(runtime) => self.watch(runtime),
        }
        match joined {
            Ok((_, input)) => Some(input),
            Err(error) if error.is_cancelled() => None,
            Err(error) => {
                tracing::error!(error = %error, "an operation of a runtime panicked");
                Some(broken(subject))
            }
        }
    }

    /// Gives up everything under way; the applications stay as they are.
    pub(crate) async fn close(&mut self) {
        self.queues.clear();
        self.running.shutdown().await;
    }

    fn runtime(&self, kind: RuntimeKind) -> Option<Arc<Runtime>> {
        let ours = self.ours.as_ref()?;
        ours.runtimes.get(&kind).map(Arc::clone)
    }

    fn memory(&self) -> Option<Memory> {
        self.ours.as_ref().map(|ours| ours.memory.clone())
    }

    fn enqueue(&mut self, instance: InstanceId, operation: Operation) {
        let Some(queue) = self.queues.get_mut(&instance) else {
            return self.begin(instance, operation, VecDeque::new());
        };
        let last = queue.waiting.back().unwrap_or(&queue.current);
        // An aborted start is as good as none, so the same may be asked for again.
        let again = last.is_start() == operation.is_start()
            && !(queue.waiting.is_empty() && queue.abort.is_finished());
        if !again {
            queue.waiting.push_back(operation);
        }
    }

    fn go_on(&mut self, instance: InstanceId) {
        let Some(mut queue) = self.queues.remove(&instance) else {
            return;
        };
        if let Some(next) = queue.waiting.pop_front() {
            self.begin(instance, next, queue.waiting);
        }
    }

    fn begin(&mut self, instance: InstanceId, operation: Operation, waiting: VecDeque<Operation>) {
        let current = operation.clone();
        let (abort, subject) = match operation {
            Operation::Start(desired) => {
                let runtime = self.runtime(desired.service.workload.runtime);
                let ours = self.node().zip(self.memory());
                let starts = Arc::clone(&self.starts);
                let (policy, secrets) = (Arc::clone(&self.policy), Arc::clone(&self.secrets));
                let task = async move {
                    let native = desired.service.workload.runtime == RuntimeKind::Native;
                    let _turn = if native {
                        starts.acquire().await.ok()
                    } else {
                        None
                    };
                    start(runtime, ours, (&policy, &secrets), &desired).await
                };
                (self.running.spawn(task), Subject::Start(instance))
            }
            Operation::Stop(kind, grace) => {
                let task = stop(self.runtime(kind), self.memory(), instance, grace);
                (self.running.spawn(task), Subject::Stop(instance))
            }
        };
        self.subjects.insert(abort.id(), subject);
        let queue = Queue {
            current,
            abort,
            waiting,
        };
        self.queues.insert(instance, queue);
    }
}

async fn start(
    runtime: Option<Arc<Runtime>>,
    ours: Option<(NodeId, Memory)>,
    (policy, secrets): (&Policy, &Secrets),
    desired: &Desired,
) -> Input {
    let instance = desired.instance;
    let workload = &desired.service.workload;
    let (Some(runtime), Some((node, memory))) = (runtime, ours) else {
        let message = format!("this worker has no {} runtime", workload.runtime);
        return Input::StartFailed {
            instance,
            reason: Reason::new(ReasonCode::RuntimeMissing, message),
        };
    };
    // Before all else that is done with it, whoever asked for it.
    let workload = match policy.admit(&desired.job.tenant, workload) {
        Ok(workload) => workload,
        Err(reason) => {
            tracing::warn!(instance.id = %instance, job = %desired.job.name, reason = reason.message, "an instance is not started");
            return Input::StartForbidden { instance, reason };
        }
    };
    let identity = Identity {
        node,
        instance,
        job: desired.job.id,
        job_name: desired.job.name.clone(),
        service: desired.slot.service.clone(),
        index: desired.slot.index,
        tenant: desired.job.tenant.clone(),
        generation: desired.generation,
    };
    let given = secrets
        .open(&identity.tenant, &workload)
        .and_then(|unsealed| {
            let placed = memory.place(instance, workload.runtime, unsealed);
            placed.map_err(|error| {
                let message = format!("cannot keep its secrets in memory: {error}");
                Reason::new(ReasonCode::WorkerFault, message)
            })
        });
    let given = match given {
        Ok(given) => given,
        Err(reason) => {
            tracing::warn!(instance.id = %instance, job = %identity.job_name, reason = reason.message, "an instance does not start");
            return Input::StartFailed { instance, reason };
        }
    };
    match runtime.start(&identity, &workload, given).await {
        Ok(started) => {
            tracing::info!(instance.id = %instance, job = %identity.job_name, "an instance runs");
            crashpoint!("node.start.done");
            Input::Started {
                instance,
                since: started.since,
                endpoints: started.endpoints,
            }
        }
        Err(error) => {
            let reason = error.reason();
            tracing::warn!(instance.id = %instance, job = %identity.job_name, reason = reason.message, "an instance does not start");
            Input::StartFailed { instance, reason }
        }
    }
}

async fn stop(
    runtime: Option<Arc<Runtime>>,
    memory: Option<Memory>,
    instance: InstanceId,
    grace: Duration,
) -> Input {
    let Some(runtime) = runtime else {
        return Input::StopFailed { instance };
    };
    match runtime.stop(instance, grace).await {
        Ok(()) => {
            if let Some(memory) = memory {
                memory.remove(instance);
            }
            tracing::info!(instance.id = %instance, "an instance is gone");
            crashpoint!("node.stop.done");
            Input::Stopped { instance }
        }
        Err(error) => {
            tracing::warn!(instance.id = %instance, error = chain(&error), "an instance cannot be stopped");
            Input::StopFailed { instance }
        }
    }
}

fn translate(found: crate::runtime::Found) -> Found {
    let status = match found.status {
        Status::Running(started) => FoundStatus::Running {
            since: started.since,
            endpoints: started.endpoints,
        },
        Status::Exited(exit) => FoundStatus::Exited(exit),
        Status::Created => FoundStatus::Created,
    };
    Found {
        instance: found.instance,
        status,
    }
}

fn broken(subject: Subject) -> Input {
    match subject {
        Subject::Start(instance) => Input::StartFailed {
            instance,
            reason: Reason::new(
                ReasonCode::WorkerFault,
                "the engine failed while it started this; look at its log",
            ),
        },
        Subject::Stop(instance) => Input::StopFailed { instance },
        Subject::List(runtime) | Subject::Watch(runtime) => Input::ListFailed { runtime },
        Subject::Probe(instance, id) => Input::Probed {
            instance,
            id,
            outcome: ProbeOutcome::Bad("the engine failed while it asked".to_owned()),
        },
    }
}
