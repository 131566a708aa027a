//! A worker that speaks everything and runs nothing: what it is told to run "runs" at once.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use model::desired::{InstanceReport, NodeItem, NodeKey};
use model::id::{InstanceId, NodeId};
use model::instance::{Observed, Report};
use model::node::{NodeFacts, Usage};
use model::time::Wall;
use model::units::{Bytes as Amount, Millicores, Resources};
use model::workload::RuntimeKind;
use mqtt::backoff::Backoff;
use mqtt::client::{self, Client, Event, Qos};
use protocol::message::information::Information;
use protocol::message::question::{Ask, Question};
use protocol::message::register::{self, Request, Welcome};
use protocol::message::{
    Beat, DesiredEntry, ReportEntry, adopt, control, information, instances, question,
    report_entry, sync as acknowledgement,
};
use protocol::topic::Topic;
use sync::{Child, Observer, Verdict};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// What outlives the engine's process, and what the test wants to know.
#[derive(Default)]
pub(crate) struct Disk {
    id: Option<NodeId>,
    boots: u64,
    child: Child<DesiredEntry>,
    running: BTreeSet<InstanceId>,
    /// Connections on which all was said.
    links: u64,
    /// Each start of an instance.
    pub(crate) started: Vec<InstanceId>,
}

impl Disk {
    pub(crate) fn running(&self) -> usize {
        self.running.len()
    }

    pub(crate) const fn links(&self) -> u64 {
        self.links
    }
}

/// A worker's process.
pub(crate) struct Worker {
    pub(crate) disk: Arc<Mutex<Disk>>,
    task: JoinHandle<()>,
}

impl Worker {
    pub(crate) fn start(http: &str, name: &str, memory: u64) -> Self {
        Self::on(http, name, memory, Arc::default())
    }

    /// An engine that finds a disk of an earlier one.
    pub(crate) fn on(http: &str, name: &str, memory: u64, disk: Arc<Mutex<Disk>>) -> Self {
        let quick = Duration::from_millis(50);
        Self::waiting(http, (name, memory), disk, Backoff::new(quick, quick))
    }

    /// One that waits between its attempts to connect, as an engine of many does.
    pub(crate) fn waiting(
        http: &str,
        (name, memory): (&str, u64),
        disk: Arc<Mutex<Disk>>,
        backoff: Backoff,
    ) -> Self {
        let facts = facts(name, memory);
        let engine = Engine {
            http: http.to_owned(),
            facts,
            disk: Arc::clone(&disk),
            backoff,
        };
        Self {
            disk,
            task: tokio::spawn(engine.run()),
        }
    }

    /// The machine loses its power.
    pub(crate) async fn kill(self) -> Arc<Mutex<Disk>> {
        self.task.abort();
        let _ = self.task.await;
        self.disk
    }
}

fn facts(name: &str, memory: u64) -> NodeFacts {
    NodeFacts {
        name: name.to_owned().try_into().unwrap(),
        hostname: name.to_owned(),
        addresses: vec!["192.0.2.7".to_owned()],
        architecture: "x86_64".to_owned(),
        allocatable: Resources {
            cpu: Millicores(8_000),
            memory: Amount::from_mb(memory),
            disk: Amount::from_mb(100_000),
        },
        accelerators: Vec::new(),
        sensors: Vec::new(),
        runtimes: [RuntimeKind::Native].into(),
        labels: [("zone".to_owned(), "a".to_owned())].into(),
        engine_version: "0.1.0".to_owned(),
    }
}

struct Engine {
    http: String,
    facts: NodeFacts,
    disk: Arc<Mutex<Disk>>,
    backoff: Backoff,
}

impl Engine {
    async fn run(mut self) {
        let boot = {
            let mut disk = self.disk.lock().unwrap();
            disk.boots += 1;
            disk.boots
        };
        loop {
            if let Some(welcome) = self.register(boot).await {
                self.disk.lock().unwrap().id = Some(welcome.node);
                let link = Link::new(&self, boot, &welcome);
                if link.run().await {
                    self.backoff.reset();
                }
            }
            tokio::time::sleep(self.backoff.next_wait()).await;
        }
    }

    async fn register(&self, boot: u64) -> Option<Welcome> {
        let options = socketio::Options::new(self.http.clone());
        let (client, _events) = socketio::connect(options).await.ok()?;
        let request = Request {
            facts: self.facts.clone(),
            node: self.disk.lock().unwrap().id,
            boot_id: format!("boot-{boot}"),
            boot,
            start: boot,
            join_token: None,
            signed: false,
            sealing_key: None,
        };
        let wait = Duration::from_secs(10);
        let answer = client
            .emit_with_ack(register::EVENT, &request.encode(), wait)
            .await
            .ok()?;
        register::read_answer(&answer).unwrap().ok()
    }
}

/// One connection to the broker.
struct Link {
    disk: Arc<Mutex<Disk>>,
    observer: Observer<ReportEntry>,
    node: NodeId,
    client: Client,
    events: client::Events,
    every: Duration,
}

impl Link {
    fn new(engine: &Engine, boot: u64, welcome: &Welcome) -> Self {
        let host = welcome.broker_host.clone().unwrap();
        let mut options = client::Options::new(host, welcome.broker_port, welcome.node.to_string());
        options.username = Some(welcome.username.clone());
        options.password = Some(Bytes::from(welcome.password.clone()));
        options.keep_alive = welcome.keep_alive.as_secs() as u16;
        let (client, events) = client::connect(options, CancellationToken::new());
        Self {
            disk: Arc::clone(&engine.disk),
            observer: Observer::new(boot),
            node: welcome.node,
            client,
            events,
            every: welcome.report_interval,
        }
    }

    /// Runs until the connection ends; whether there was one.
    async fn run(mut self) -> bool {
        let topics =
            [Topic::Control(self.node), Topic::Request(self.node)].map(|topic| topic.to_string());
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        // Where nobody listens, a subscription would wait for ever.
        let connected = matches!(self.events.next().await, Some(Event::Connected));
        if !connected || self.client.subscribe(&names).await.is_err() {
            return false;
        }
        self.observe();
        self.acknowledge().await;
        self.report().await;
        self.disk.lock().unwrap().links += 1;
        let mut tick = tokio::time::interval(self.every);
        loop {
            tokio::select! {
                event = self.events.next() => match event {
                    Some(Event::Message { topic, payload }) => self.take(&topic, &payload).await,
                    Some(Event::Connected) => {}
                    Some(Event::Closed { .. }) | None => return true,
                },
                _ = tick.tick() => self.inform().await,
            }
        }
    }

    async fn take(&mut self, topic: &str, payload: &[u8]) {
        match topic.parse().unwrap() {
            Topic::Control(_) => {
                self.change(payload);
                self.acknowledge().await;
                self.report().await;
            }
            Topic::Request(_) => match question::decode(payload).unwrap() {
                Some(Question::Ask(Ask::WholeReport)) => {
                    self.observer.ask_whole();
                    self.report().await;
                }
                Some(Question::Ask(Ask::Adopt)) => self.send_set().await,
                Some(
                    Question::Stream(_)
                    | Question::Fallback(_)
                    | Question::Confirmed(_)
                    | Question::Newer,
                )
                | None => {}
            },
            other => panic!("{other}"),
        }
    }

    fn change(&mut self, payload: &[u8]) {
        let change = control::decode(payload).unwrap();
        {
            let mut disk = self.disk.lock().unwrap();
            match disk.child.decide(&change) {
                Verdict::Apply(update) => disk.child.apply(&update),
                Verdict::Stage(part) => disk.child.stage(part),
                Verdict::Refuse { want_whole } => disk.child.refused(want_whole, false),
                Verdict::Superseded => disk.child.refused(false, true),
                Verdict::Known | Verdict::Foreign(_) => {}
            }
        }
        self.observe();
    }

    /// What should run runs, and nothing else.
    fn observe(&mut self) {
        let mut disk = self.disk.lock().unwrap();
        let wanted: Vec<_> = disk
            .child
            .set()
            .values()
            .filter_map(|entry| match &entry.value {
                NodeItem::Instance(desired) => Some((desired.instance, desired.generation)),
                NodeItem::Settings(_) => None,
            })
            .collect();
        for (instance, generation) in &wanted {
            if disk.running.insert(*instance) {
                disk.started.push(*instance);
            }
            self.observer.put(running(*instance, *generation));
        }
        let child = &disk.child;
        let gone: Vec<InstanceId> = disk
            .running
            .iter()
            .copied()
            .filter(|instance| !child.set().contains_key(&NodeKey::Instance(*instance)))
            .collect();
        for instance in gone {
            disk.running.remove(&instance);
            self.observer.remove(&instance);
        }
    }

    fn beat(&self) -> Beat {
        let (boot, sequence, observed_digest) = self.observer.stamp();
        Beat {
            boot,
            sequence,
            observed_digest,
            settled: !self.observer.is_due(),
        }
    }

    fn held(&self) -> sync::Held {
        self.disk.lock().unwrap().child.held()
    }

    async fn acknowledge(&self) {
        let payload = acknowledgement::encode(&self.held(), &self.beat());
        self.publish(&Topic::Sync(self.node), payload).await;
    }

    async fn report(&mut self) {
        if self.observer.is_due() {
            let report = self.observer.report();
            self.observer.reported();
            for payload in instances::encode(&report, &self.held()) {
                self.publish(&Topic::Instances(self.node), payload).await;
            }
        }
    }

    async fn inform(&self) {
        let message = Information {
            usage: Usage {
                cpu_percent: 12.5,
                free_cores: Millicores(7_000),
                memory_percent: 10.0,
                memory_free: Amount::from_mb(1_000),
                disk_free: Amount::from_mb(1_000),
            },
            silent: std::collections::BTreeSet::new(),
            held: self.held(),
            beat: self.beat(),
        };
        let payload = information::encode(&message, []);
        self.publish(&Topic::Information(self.node), payload).await;
    }

    async fn send_set(&self) {
        let (held, desired) = {
            let disk = self.disk.lock().unwrap();
            let items = disk.child.set().values();
            let desired: Vec<_> = items
                .filter_map(|entry| match &entry.value {
                    NodeItem::Instance(desired) => Some(desired.clone()),
                    NodeItem::Settings(_) => None,
                })
                .collect();
            (disk.child.held(), desired)
        };
        let topic = Topic::Reply {
            node: self.node,
            request: "adopt".to_owned(),
        };
        for payload in adopt::encode(&held, &desired) {
            self.publish(&topic, payload).await;
        }
    }

    async fn publish(&self, topic: &Topic, payload: Vec<u8>) {
        // A connection that is gone says so itself.
        let _ = self
            .client
            .publish(&topic.to_string(), Bytes::from(payload), Qos::AtLeastOnce)
            .await;
    }
}

fn running(instance: InstanceId, generation: model::slot::Generation) -> ReportEntry {
    report_entry(InstanceReport {
        instance,
        generation,
        report: Report {
            observed: Observed::Running {
                since: Wall(0),
                endpoints: Vec::new(),
                health: None,
            },
            restarts: 0,
            last_exit: None,
            at: Wall(0),
        },
    })
}
