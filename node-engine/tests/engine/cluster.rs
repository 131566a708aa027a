//! A cluster-orchestrator as far as a worker sees it: registration, the MQTT endpoint, and one worker's desired set.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use identity::authority::Authority;
use identity::door::{Door, Plain};
use model::desired::{Desired, InstanceReport, JobHead, NodeItem, NodeKey, NodeSettings};
use model::id::{InstanceId, JobId, NodeId};
use model::instance::Observed as Word;
use model::job::{OnPartition, Owner, PlacementRules, ServiceSpec};
use model::name::Name;
use model::slot::{Generation, Slot};
use model::telling::{Heard, Told};
use model::time::Wall;
use model::units::Resources;
use model::workload::{Pull, Restart, RuntimeKind, SpecHash, Workload};
use mqtt::endpoint::{Handle, Inbound, NotAdmitted, Options, Published, Verdict, serve};
use protocol::message::adopt::Adoption;
use protocol::message::connection::Connection;
use protocol::message::information::Information;
use protocol::message::parts::Assembler;
use protocol::message::question::{Ask, Stream};
use protocol::message::register::{self, Request, Welcome};
use protocol::message::reply::{self, Chunk};
use protocol::message::{
    DesiredEntry, ReportEntry, adopt, connection, control, desired_entry, events, information,
    instances, question, signed, sync as sync_message,
};
use protocol::topic::Topic;
use serde_json::Value;
use socketioxide::SocketIo;
use socketioxide::extract::{AckSender, Data, SocketRef};
use sync::{Incarnation, Observed, Parent, Reading, Term, Timing};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Long enough for a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// What the desk says and hears.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    pub(crate) requests: Vec<Request>,
    pub(crate) password: String,
    port: u16,
}

pub(crate) struct Cluster {
    pub(crate) node: NodeId,
    pub(crate) url: String,
    pub(crate) desk: Arc<Mutex<Desk>>,
    pub(crate) parent: Parent<DesiredEntry>,
    pub(crate) observed: Observed<ReportEntry>,
    pub(crate) connections: Vec<Connection>,
    pub(crate) information: Vec<Information>,
    pub(crate) adoptions: Vec<Adoption>,
    /// What the worker told of what happened.
    pub(crate) told: Vec<Told>,
    heard: Heard,
    /// Chunks of answers, by their questions.
    pub(crate) replies: BTreeMap<String, Vec<Chunk>>,
    pub(crate) incarnation: Incarnation,
    /// Who signs what is sent; nobody at first.
    pub(crate) authority: Option<Arc<Authority>>,
    /// Changes that the endpoint took.
    pub(crate) sent: usize,
    term: Term,
    endpoint: Handle,
    inbound: mpsc::Receiver<Inbound>,
    parts: Assembler<instances::Reported<ReportEntry>>,
    adopting: Assembler<Adoption>,
    began: Instant,
    _stop: DropGuard,
}

impl Cluster {
    pub(crate) async fn start(node: NodeId) -> Self {
        let desk = Arc::new(Mutex::new(Desk {
            password: "first".to_owned(),
            ..Desk::default()
        }));
        let stop = CancellationToken::new();
        let (sender, inbound) = mpsc::channel(64);
        let judge = Arc::clone(&desk);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = serve(
            (listener, Door::plain(Plain::ThisMachine)),
            Options::default(),
            Arc::new(move |login| {
                let right = judge.lock().unwrap().password.clone();
                if login.password.as_deref() == Some(right.as_bytes()) {
                    Verdict::Worker(node)
                } else {
                    Verdict::Refused(NotAdmitted::Password)
                }
            }),
            sender,
            stop.clone(),
        )
        .unwrap();
        desk.lock().unwrap().port = endpoint.local_addr().port();
        let url = serve_desk(node, Arc::clone(&desk), stop.clone()).await;
        Self {
            node,
            url,
            desk,
            parent: Parent::default(),
            observed: Observed::default(),
            connections: Vec::new(),
            information: Vec::new(),
            adoptions: Vec::new(),
            told: Vec::new(),
            heard: Heard::default(),
            replies: BTreeMap::new(),
            incarnation: Incarnation(1),
            authority: None,
            sent: 0,
            term: Term::default().next(11),
            endpoint,
            inbound,
            parts: Assembler::default(),
            adopting: Assembler::default(),
            began: Instant::now(),
            _stop: stop.drop_guard(),
        }
    }

    pub(crate) fn deploy(&mut self, desired: Desired) {
        self.parent.put(desired_entry(NodeItem::Instance(desired)));
    }

    pub(crate) fn set_interval(&mut self, report_interval: Duration) {
        let settings = NodeSettings { report_interval };
        self.parent.put(desired_entry(NodeItem::Settings(settings)));
    }

    pub(crate) fn terminate(&mut self, instance: InstanceId) {
        self.parent.remove(&NodeKey::Instance(instance));
    }

    pub(crate) fn disconnect(&self) {
        self.endpoint.disconnect(self.node);
    }

    pub(crate) fn ask(&self, ask: Ask) {
        let payload = question::encode(ask).into();
        let _ = self.endpoint.publish(&Topic::Request(self.node), payload);
    }

    pub(crate) fn stream(&self, stream: &Stream) {
        let payload = question::encode_stream(stream).into();
        let _ = self.endpoint.publish(&Topic::Request(self.node), payload);
    }

    /// The text of an answer as far as it came.
    pub(crate) fn text(&self, request: &str) -> String {
        let chunks = self.replies.get(request).into_iter().flatten();
        chunks.map(|chunk| chunk.text.as_str()).collect()
    }

    /// The last report of an instance.
    pub(crate) fn report(&self, instance: InstanceId) -> Option<&InstanceReport> {
        self.observed
            .states()
            .get(&instance)
            .map(|entry| &entry.value)
    }

    pub(crate) fn runs(&self, instance: InstanceId) -> bool {
        self.report(instance)
            .is_some_and(|report| matches!(report.report.observed, Word::Running { .. }))
    }

    /// Does a cluster's work until the condition holds.
    pub(crate) async fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !holds(self) {
            assert!(
                Instant::now() < deadline,
                "not within {DEADLINE:?}: {what}; reported: {:?}",
                self.observed.states()
            );
            self.send();
            let next = tokio::time::timeout(Duration::from_millis(50), self.inbound.recv());
            if let Ok(inbound) = next.await {
                self.take(inbound.unwrap());
            }
        }
    }

    fn send(&mut self) {
        let now = self.began.elapsed().as_millis() as u64;
        let timing = Timing::default();
        let due = self
            .parent
            .due(now, self.incarnation, &self.term, &timing)
            .unwrap_or_default();
        for change in &due {
            let topic = Topic::Control(self.node);
            let mut payload = control::encode(change, &[]);
            if let Some(authority) = &self.authority {
                let signature = authority.sign(&topic.to_string(), &payload).unwrap();
                payload = signed::seal(payload, &signature.to_string());
            }
            if self.endpoint.publish(&topic, payload.into()) == Published::Published {
                self.sent += 1;
            }
        }
        if !due.is_empty() {
            self.parent.sent(&due, now);
        }
    }

    fn take(&mut self, inbound: Inbound) {
        match inbound {
            Inbound::Connected { .. } | Inbound::Closed { .. } => self.parent.disconnected(),
            Inbound::Message { topic, payload, .. } => self.read(&topic, &payload),
            Inbound::Broker(_) => {}
        }
    }

    fn read(&mut self, topic: &Topic, payload: &[u8]) {
        match topic {
            Topic::Sync(_) => {
                let (held, beat) = sync_message::decode(payload).unwrap();
                self.held(held);
                self.compare(beat);
            }
            Topic::Information(_) => {
                let information = information::decode(payload).unwrap();
                self.held(information.held);
                self.compare(information.beat);
                self.information.push(information);
            }
            Topic::Instances(_) => {
                let piece = instances::decode(payload).unwrap();
                if let Some(whole) = self.parts.take(piece) {
                    self.held(whole.held);
                    match self.observed.read(&whole.report) {
                        Reading::Fresh => self.observed.apply(&whole.report),
                        Reading::Gap => {
                            self.observed.apply(&whole.report);
                            self.ask(Ask::WholeReport);
                        }
                        Reading::Stale => {}
                    }
                }
            }
            Topic::Connection(_) => self.connections.push(connection::decode(payload).unwrap()),
            Topic::Reply { request, .. } if request == events::REQUEST => {
                let telling = events::decode(payload).unwrap();
                let Some((heard, news)) = self.heard.take(&telling) else {
                    return;
                };
                self.told.extend(news.into_iter().cloned());
                self.heard = heard;
                if let Some(last) = telling.last() {
                    let payload = question::encode_confirmed(last).into();
                    let _ = self.endpoint.publish(&Topic::Request(self.node), payload);
                }
            }
            Topic::Reply { request, .. } if request != adopt::REQUEST => {
                let chunk = reply::decode(payload).unwrap();
                self.replies.entry(request.clone()).or_default().push(chunk);
            }
            Topic::Reply { .. } => {
                let piece = adopt::decode(payload).unwrap();
                self.adoptions.extend(self.adopting.take(piece));
            }
            Topic::Control(_) | Topic::Request(_) => panic!("{topic} came up"),
        }
    }

    fn held(&mut self, held: sync::Held) {
        self.parent
            .acknowledge(held, self.incarnation, &Timing::default());
    }

    fn compare(&self, beat: protocol::message::Beat) {
        if self
            .observed
            .misses(beat.boot, beat.sequence, beat.observed_digest)
        {
            self.ask(Ask::WholeReport);
        }
    }
}

async fn serve_desk(node: NodeId, desk: Arc<Mutex<Desk>>, stop: CancellationToken) -> String {
    let (layer, io) = SocketIo::builder().build_layer();
    io.ns(register::NAMESPACE, async move |socket: SocketRef| {
        socket.on(
            register::EVENT,
            async move |Data::<Value>(value), ack: AckSender| {
                let request = Request::decode(&value).unwrap();
                let mut desk = desk.lock().unwrap();
                let welcome = Welcome {
                    node,
                    broker_host: None,
                    broker_port: desk.port,
                    broker_tls: false,
                    username: format!("{node}:{}", request.boot_id),
                    password: desk.password.clone(),
                    keep_alive: Duration::from_secs(5),
                    report_interval: Duration::from_secs(15),
                    fallback: None,
                };
                desk.requests.push(request);
                drop(desk);
                ack.send(&register::answer(&Ok(welcome))).unwrap();
            },
        );
    });
    let router = axum::Router::new().layer(layer);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            served = axum::serve(listener, router) => served.unwrap(),
        }
    });
    format!("http://{address}")
}

/// A native application of that command line.
pub(crate) fn application(seed: u128, command: &[&str]) -> Desired {
    instance(seed, workload(command))
}

/// What runs that command line natively.
pub(crate) fn workload(command: &[&str]) -> Workload {
    Workload {
        hash: SpecHash::default(),
        runtime: RuntimeKind::Native,
        image: None,
        pull: Pull::IfAbsent,
        command: command.iter().map(|&word| word.to_owned()).collect(),
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

/// An instance of that workload, as a cluster would send it.
pub(crate) fn instance(seed: u128, workload: Workload) -> Desired {
    let name = Name::new("app").unwrap();
    let workload = protocol::workload::sealed(workload);
    let job = JobId::from_bits(seed);
    Desired {
        handover: model::desired::Handover::default(),
        instance: InstanceId::from_bits(seed),
        slot: Slot {
            job,
            service: name.clone(),
            index: 0,
        },
        generation: Generation {
            assignment: 1,
            placement: 1,
        },
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
    }
}
