//! The uplink, against a root that a test plays.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cluster_orchestrator::Config;
use model::access::TenantPath;
use model::desired::{Desired, JobHead};
use model::id::{ClusterId, InstanceId, JobId};
use model::job::{OnPartition, Owner, PlacementRules, ServiceSpec};
use model::slot::{Generation, Slot};
use model::time::Wall;
use model::units::{Bytes, Resources};
use model::workload::{Pull, Restart, RuntimeKind, Workload};
use protocol::message::parts::Assembler;
use protocol::message::uplink::{self, Question, Standing, Submission, Welcome, Written};
use protocol::message::{AssignmentEntry, SlotEntry, assignment_entry};
use protocol::problem::Problem;
use serde_json::Value;
use socketioxide::SocketIo;
use socketioxide::extract::{AckSender, Data, SocketRef};
use store::Memory;
use sync::{Incarnation, Observed, Parent, Term, Timing};
use tokio::net::TcpListener;

use crate::site::{DEADLINE, Site, config, document};
use crate::worker::Worker;

/// What the root knows of its only cluster.
#[derive(Default)]
pub(crate) struct Known {
    desired: Parent<AssignmentEntry>,
    observed: Observed<SlotEntry>,
    reports: Assembler<protocol::message::instances::Reported<SlotEntry>>,
    standing: Option<Standing>,
    pub(crate) registered: Vec<Value>,
    socket: Option<SocketRef>,
}

#[derive(Clone)]
pub(crate) struct Root {
    pub(crate) known: Arc<Mutex<Known>>,
    pub(crate) url: String,
}

pub(crate) const CLUSTER: ClusterId = ClusterId::from_bits(7 << 64);

fn incarnation() -> Incarnation {
    Incarnation(42)
}

fn term() -> Term {
    Term::default().next(11)
}

impl Root {
    pub(crate) async fn start() -> Self {
        let known: Arc<Mutex<Known>> = Arc::default();
        let (layer, io) = SocketIo::new_layer();
        let mine = Arc::clone(&known);
        io.ns(uplink::NAMESPACE, async move |socket: SocketRef| {
            listen(&socket, &mine);
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = axum::Router::new().layer(layer);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { known, url }
    }

    /// Waits until the root knows something.
    pub(crate) async fn until(&self, what: &str, wanted: impl Fn(&Known) -> bool) {
        let begun = Instant::now();
        while !wanted(&self.known.lock().unwrap()) {
            assert!(begun.elapsed() < DEADLINE, "{what}");
            self.send();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn send(&self) {
        let mut known = self.known.lock().unwrap();
        let now = Instant::now().elapsed().as_millis() as u64;
        let due = known
            .desired
            .due(now, incarnation(), &term(), &Timing::default());
        if let (Some(changes), Some(socket)) = (due, known.socket.clone()) {
            known.desired.sent(&changes, now);
            for change in &changes {
                let _ = socket.emit(uplink::ASSIGN, &uplink::assign(change, &[]));
            }
        }
    }

    fn socket(&self) -> SocketRef {
        self.known.lock().unwrap().socket.clone().unwrap()
    }

    async fn question(&self, question: &Question) -> Value {
        self.asked(question).await.unwrap()
    }

    async fn asked(&self, question: &Question) -> Result<Value, Problem> {
        let answer = self
            .socket()
            .emit_with_ack::<_, Value>(uplink::QUESTION, &question.encode())
            .unwrap();
        uplink::read_reply(&answer.await.unwrap()).unwrap()
    }
}

/// Each event is taken before the future of its handler begins: futures may overtake each other.
fn listen(socket: &SocketRef, known: &Arc<Mutex<Known>>) {
    let mine = Arc::clone(known);
    socket.on(
        uplink::REGISTER,
        move |socket: SocketRef, Data::<Value>(data), ack: AckSender| {
            let mut known = mine.lock().unwrap();
            known.registered.push(data);
            known.desired.disconnected();
            known.socket = Some(socket);
            let welcome = Welcome {
                cluster: CLUSTER,
                report_interval: Duration::from_secs(15),
                relay: None,
            };
            let _ = ack.send(&uplink::answer(&Ok(welcome)));
            std::future::ready(())
        },
    );
    let mine = Arc::clone(known);
    socket.on(uplink::SYNC, move |Data::<Value>(data)| {
        let (held, _beat) = uplink::read_sync(&data).unwrap();
        let mut known = mine.lock().unwrap();
        known
            .desired
            .acknowledge(held, incarnation(), &Timing::default());
        std::future::ready(())
    });
    let mine = Arc::clone(known);
    socket.on(uplink::REPORT, move |Data::<Value>(data)| {
        let piece = uplink::read_report(&data).unwrap();
        let mut known = mine.lock().unwrap();
        if let Some(whole) = known.reports.take(piece) {
            known.observed.apply(&whole.report);
        }
        std::future::ready(())
    });
    let mine = Arc::clone(known);
    socket.on(uplink::AGGREGATE, move |Data::<Value>(data)| {
        mine.lock().unwrap().standing = Some(Standing::decode(&data).unwrap());
        std::future::ready(())
    });
}

fn assignment() -> AssignmentEntry {
    let name: model::name::Name = "from-root".to_owned().try_into().unwrap();
    let job = JobId::from_bits(1 << 80);
    let workload = protocol::workload::sealed(Workload {
        hash: model::workload::SpecHash::default(),
        runtime: RuntimeKind::Native,
        image: None,
        pull: Pull::IfAbsent,
        command: vec!["/bin/sleep".to_owned(), "1000".to_owned()],
        args: Vec::new(),
        environment: BTreeMap::new(),
        ports: Vec::new(),
        volumes: Vec::new(),
        files: BTreeMap::new(),
        resources: Resources {
            memory: Bytes::from_mb(100),
            ..Resources::default()
        },
        restart: Restart::Always,
        health: None,
        security: model::security::Security::default(),
        secrets: model::secret::Secrets::default(),
        stop_grace: Duration::from_secs(5),
    });
    assignment_entry(Desired {
        handover: model::desired::Handover::default(),
        instance: InstanceId::from_bits(2 << 80),
        slot: Slot {
            job,
            service: name.clone(),
            index: 0,
        },
        generation: Generation {
            assignment: 1,
            placement: 0,
        },
        job: Arc::new(JobHead {
            reconcile: model::job::Reconcile::default(),
            id: job,
            name: name.clone(),
            tenant: model::access::TenantPath::root(),
            owner: Owner::Root,
            lost_after: None,
            on_partition: OnPartition::Stay,
            created_at: Wall(1_000),
        }),
        service: Arc::new(ServiceSpec {
            takeover: model::job::Takeover::default(),
            name,
            workload: Arc::new(workload),
            placement: PlacementRules::default(),
            replicas: 1,
        }),
    })
}

fn runs(known: &Known) -> bool {
    let mut copies = known
        .observed
        .states()
        .values()
        .flat_map(|entry| &entry.value.copies);
    copies.any(|copy| copy.state.as_str() == "RUNNING")
}

#[tokio::test]
async fn an_assignment_runs_is_reported_and_ends() {
    let root = Root::start().await;
    let config = Config {
        root: Some(root.url.clone()),
        ..config()
    };
    let site = Site::start(config, Arc::new(Memory::new())).await;
    let _worker = Worker::start(&site.ready.http, "e580", 1_000);
    root.until("room", |known| {
        let room = known
            .standing
            .as_ref()
            .map(|standing| standing.aggregate.room);
        room.is_some_and(|room| room.memory == Bytes::from_mb(1_000))
    })
    .await;
    root.known.lock().unwrap().desired.put(assignment());
    root.until("running", runs).await;
    let job = site.until_state("from-root", "RUNNING").await;
    assert_eq!(
        (&job["owner"], &job["instances"][0]["cluster_id"]),
        (&"root".into(), &CLUSTER.to_string().into())
    );
    let refused = site.ask("DELETE /api/v1/jobs/from-root", "", "").await;
    assert_eq!(
        (refused.status, &refused.json()["code"]),
        (409, &"owned_elsewhere".into())
    );

    let nodes = root
        .question(&Question::Nodes {
            limit: None,
            cursor: None,
        })
        .await;
    assert_eq!(nodes["items"][0]["name"], "e580");
    let job = job["job_id"].as_str().unwrap().to_owned();
    let why = root.question(&Question::Explain { job }).await;
    assert_eq!(why["items"][0]["worker_node"], "e580");

    root.known.lock().unwrap().desired.remove(&assignment().key);
    root.until("gone", |known| known.observed.states().is_empty())
        .await;
    site.stop().await;
}

#[tokio::test]
async fn a_cluster_that_lost_its_root_goes_on_and_comes_back_under_its_id() {
    let root = Root::start().await;
    let config = Config {
        root: Some(root.url.clone()),
        ..config()
    };
    let site = Site::start(config, Arc::new(Memory::new())).await;
    let worker = Worker::start(&site.ready.http, "e580", 1_000);
    site.until("/api/v1/nodes/e580", |node| node["state"] == "ALIVE")
        .await;
    root.until("registered", |known| known.socket.is_some())
        .await;
    root.known.lock().unwrap().desired.put(assignment());
    root.until("running", runs).await;
    root.socket().disconnect().unwrap();
    site.submit(&document("own", 100)).await;
    site.until_state("own", "RUNNING").await;
    root.until("registered again", |known| known.registered.len() > 1)
        .await;
    let registered = root.known.lock().unwrap().registered.clone();
    let [first, again] = [0, 1].map(|at| uplink::Request::decode(&registered[at]).unwrap());
    assert_eq!(again.cluster_id, Some(CLUSTER));
    assert_eq!((again.boot, again.start), (first.boot, first.start));
    assert_ne!(first.start, 0);
    root.until("synced again", |known| {
        known.desired.is_synced(incarnation())
    })
    .await;
    assert_eq!(worker.disk.lock().unwrap().started.len(), 2);
    site.stop().await;
}

/// As the root passes documents on.
fn submit(document: &str, dry_run: bool) -> Question {
    Question::Submit(Submission {
        document: document.to_owned(),
        format: Written::Yaml,
        dry_run,
        key: Some("once".to_owned()),
        tenant: None,
        within: TenantPath::root(),
        by: "alice".to_owned(),
    })
}

#[tokio::test]
async fn documents_that_the_root_passes_on_are_the_clusters_own_jobs() {
    let root = Root::start().await;
    let config = Config {
        root: Some(root.url.clone()),
        ..config()
    };
    let site = Site::start(config, Arc::new(Memory::new())).await;
    root.until("registered", |known| known.socket.is_some())
        .await;
    let registered = root.known.lock().unwrap().registered[0].clone();
    assert_eq!(registered["http"], site.ready.http.as_str());

    let document = "api_version: v0.1\njob_name: straight\nimage_runtime: native\ncommand: [/bin/sleep, '9']\n";
    let planned = root.question(&submit(document, true)).await;
    assert_eq!(planned["dry_run"], true, "{planned}");
    let taken = root.question(&submit(document, false)).await;
    assert_eq!(
        (&taken["job_name"], &taken["owner"]),
        (&"straight".into(), &"garching".into())
    );
    let again = root.question(&submit(document, false)).await;
    assert_eq!(again["job_id"], taken["job_id"]);
    let own = site.get("/api/v1/jobs").await;
    assert_eq!(own["items"].as_array().unwrap().len(), 1, "{own}");

    let bad = root.asked(&submit("job_name: [", false)).await.unwrap_err();
    assert_eq!((bad.status, bad.code.as_str()), (400, "bad_document"));
    assert!(!bad.errors.is_empty(), "{bad:?}");
    let hidden = Question::Submit(Submission {
        document: format!("{document}tenant: university\n"),
        format: Written::Yaml,
        dry_run: false,
        key: None,
        tenant: None,
        within: TenantPath::new("company").unwrap(),
        by: "alice".to_owned(),
    });
    let hidden = root.asked(&hidden).await.unwrap_err();
    assert_eq!(
        (hidden.status, hidden.code.as_str()),
        (404, "no_such_tenant")
    );
    assert!(hidden.detail.contains("are its own"), "{hidden:?}");
    site.stop().await;
}

#[tokio::test]
async fn an_answer_that_is_longer_than_a_message_comes_without_its_rows() {
    let root = Root::start().await;
    let config = Config {
        root: Some(root.url.clone()),
        ..config()
    };
    let site = Site::start(config, Arc::new(Memory::new())).await;
    root.until("registered", |known| known.socket.is_some())
        .await;
    let document = "api_version: v0.1\njob_name: many\nimage_runtime: native\ncommand: [/bin/sleep, '9']\nreplicas: 10000\n";
    let taken = root.question(&submit(document, false)).await;
    assert_eq!(
        (&taken["job_name"], &taken["instances"]),
        (&"many".into(), &serde_json::json!([]))
    );
    let whole = site.get("/api/v1/jobs/many").await;
    assert_eq!(whole["instances"].as_array().unwrap().len(), 10_000);
    site.stop().await;
}
