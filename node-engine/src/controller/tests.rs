use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ::sync::{Change, Digest, Incarnation, Item, Term};
use model::desired::{Desired, JobHead, NodeItem};
use model::id::{InstanceId, JobId, NodeId};
use model::instance::Observed;
use model::job::{OnPartition, Owner, PlacementRules, ServiceSpec};
use model::name::Name;
use model::slot::{Generation, Slot};
use model::units::Resources;
use model::workload::{Pull, Restart, SpecHash, Workload};
use node_core::{DesiredEntry, desired_entry};
use protocol::message::ReportEntry;
use protocol::message::instances::Reported;
use store::{Memory, Op, Page, Record, Store, StoreError, Table};

use super::*;

/// A store that fails while it is told to.
#[derive(Debug, Default)]
struct Flaky {
    memory: Memory,
    fails: AtomicBool,
}

impl Store for Flaky {
    fn load(&self) -> Result<Vec<Record>, StoreError> {
        self.memory.load()
    }

    fn commit(&self, ops: &[Op]) -> Result<(), StoreError> {
        if self.fails.load(Ordering::SeqCst) {
            return Err(StoreError::Closed);
        }
        self.memory.commit(ops)
    }

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.memory.get(table, key)
    }

    fn range(&self, page: &Page<'_>) -> Result<Vec<Record>, StoreError> {
        self.memory.range(page)
    }
}

/// A controller with the noop runtime, whose link is the test.
struct Rig {
    store: Arc<Flaky>,
    inputs: mpsc::Sender<FromLink>,
    outgoing: mpsc::Receiver<Outgoing>,
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<Result<(), EngineError>>,
    _folder: tempfile::TempDir,
}

impl Rig {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let kinds = BTreeSet::from([RuntimeKind::Noop]);
        let mut state = State::new(node_core::Config::default(), kinds.iter().copied());
        let node = [Write::Node(NodeId::from_bits(7)), Write::Boot(1_024)];
        state.apply(now(), &node);
        let store = Arc::new(Flaky::default());
        store.commit(&record::ops(&node)).unwrap();
        let shared: Arc<dyn Store> = Arc::<Flaky>::clone(&store);
        let (outgoing, sent) = mpsc::channel(64);
        let (inputs, receiver) = mpsc::channel(64);
        let (exits, ended) = mpsc::channel(64);
        let shutdown = CancellationToken::new();
        let controller = Controller::new(Deps {
            policy: Arc::default(),
            secrets: Arc::new(crate::secrets::Secrets::load(folder.path()).unwrap()),
            config: Config {
                data_dir: folder.path().to_owned(),
                ..Config::default()
            },
            kinds,
            state,
            writer: Writer::start(shared).unwrap(),
            outgoing,
            exits,
            runtimes: tokio::sync::watch::Sender::default(),
            standings: crate::logs::standing::Standings::new(inputs.clone()),
            shutdown: shutdown.clone(),
            linking: CancellationToken::new(),
        });
        let task = tokio::spawn(controller.run(receiver, ended, |_ready| {}));
        Self {
            store,
            inputs,
            outgoing: sent,
            shutdown,
            task,
            _folder: folder,
        }
    }

    async fn say(&self, input: Input) {
        self.inputs.send(input).await.unwrap();
    }

    /// The next message that is not about use.
    async fn heard(&mut self) -> Outgoing {
        loop {
            let next = tokio::time::timeout(Duration::from_secs(20), self.outgoing.recv());
            match next.await.expect("a message in time").unwrap() {
                Outgoing::Information(_) => {}
                message => return message,
            }
        }
    }

    /// The revision that is acknowledged next.
    async fn acknowledged(&mut self) -> u64 {
        loop {
            if let Outgoing::Sync(payload) = self.heard().await {
                return sync::decode(&payload).unwrap().0.revision;
            }
        }
    }

    async fn report(&mut self) -> Reported<ReportEntry> {
        loop {
            if let Outgoing::Instances(parts) = self.heard().await {
                return instances::decode(&parts[0]).unwrap().content;
            }
        }
    }
}

/// A whole set of one instance.
fn change() -> Change<DesiredEntry> {
    changes(1)
}

/// A whole set of instances 1, 2, ….
fn changes(count: u32) -> Change<DesiredEntry> {
    let items: Vec<DesiredEntry> = (0..count).map(item).collect();
    Change {
        incarnation: Incarnation(1),
        term: Term::default().next(1),
        base: None,
        revision: 1,
        digest: items
            .iter()
            .fold(Digest::default(), |sum, item| sum.plus(item.mark())),
        part: 0,
        parts: 1,
        put: items,
        remove: Vec::new(),
        adopted: None,
    }
}

fn item(index: u32) -> DesiredEntry {
    let name = Name::new("app").unwrap();
    let workload = protocol::workload::sealed(Workload {
        hash: SpecHash::default(),
        runtime: RuntimeKind::Noop,
        image: None,
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
    });
    let job = JobId::from_bits(1);
    desired_entry(NodeItem::Instance(Desired {
        handover: model::desired::Handover::default(),
        instance: InstanceId::from_bits(u128::from(index) + 1),
        slot: Slot {
            job,
            service: name.clone(),
            index,
        },
        generation: Generation::default(),
        job: Arc::new(JobHead {
            reconcile: model::job::Reconcile::default(),
            id: job,
            name: name.clone(),
            tenant: model::access::TenantPath::root(),
            owner: Owner::Root,
            lost_after: None,
            on_partition: OnPartition::Stay,
            created_at: Wall(0),
        }),
        service: Arc::new(ServiceSpec {
            takeover: model::job::Takeover::default(),
            name,
            workload: Arc::new(workload),
            placement: PlacementRules::default(),
            replicas: 1,
        }),
    }))
}

#[tokio::test]
async fn nothing_is_said_or_done_before_it_is_on_the_disk() {
    let mut rig = Rig::start();
    rig.say(Input::Connected).await;
    assert_eq!(rig.acknowledged().await, 0);
    let first = rig.report().await.report;
    assert!(first.whole && first.states.is_empty());

    rig.store.fails.store(true, Ordering::SeqCst);
    rig.say(Input::Control(change())).await;
    // The state was rebuilt, and the cluster hears what is really held, under a later boot.
    assert_eq!(rig.acknowledged().await, 0);
    let second = rig.report().await.report;
    assert!(second.whole && second.states.is_empty() && second.boot > first.boot);

    rig.store.fails.store(false, Ordering::SeqCst);
    rig.say(Input::Control(change())).await;
    assert_eq!(rig.acknowledged().await, 1);
    loop {
        let report = rig.report().await.report;
        let runs =
            |entry: &ReportEntry| matches!(entry.value.report.observed, Observed::Running { .. });
        if report.states.iter().any(runs) {
            break;
        }
    }
    rig.shutdown.cancel();
    rig.task.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_store_that_fails_for_good_does_not_keep_the_engine_from_stopping() {
    let mut rig = Rig::start();
    rig.say(Input::Connected).await;
    assert_eq!(rig.acknowledged().await, 0);
    rig.store.fails.store(true, Ordering::SeqCst);
    rig.say(Input::Control(change())).await;
    rig.shutdown.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(5), rig.task);
    ended.await.expect("it ends in time").unwrap().unwrap();
}

#[test]
fn an_engine_can_run_beside_others_in_one_process() {
    fn is_send(_: impl Send) {}
    is_send(crate::run(
        Config::default(),
        CancellationToken::new(),
        |_ready| {},
    ));
}

/// What a slow link holds up is told at once when it goes on, and not only with the next interval.
#[tokio::test]
async fn states_that_a_full_link_held_up_are_told_when_it_has_room() {
    const COUNT: u32 = 5_000;
    let mut rig = Rig::start();
    rig.say(Input::Connected).await;
    assert_eq!(rig.acknowledged().await, 0);
    rig.say(Input::Control(changes(COUNT))).await;
    // Nobody reads while thousands of starts finish: the queue fills.
    let deadline = tokio::time::Instant::now() + Duration::from_secs(2);
    while rig.outgoing.len() < 64 - ROOM && tokio::time::Instant::now() < deadline {
        tokio::task::yield_now().await;
    }
    let mut running = BTreeSet::new();
    while running.len() < COUNT as usize {
        let Outgoing::Instances(parts) = rig.heard().await else {
            continue;
        };
        for part in parts {
            for entry in instances::decode(&part).unwrap().content.report.states {
                if matches!(entry.value.report.observed, Observed::Running { .. }) {
                    running.insert(entry.key);
                }
            }
        }
    }
    rig.shutdown.cancel();
    rig.task.await.unwrap().unwrap();
}
