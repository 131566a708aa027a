//! A cluster that speaks the uplink's protocol and runs nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use model::aggregate::{Aggregate, Class};
use model::desired::{CopyReport, Desired, Offer, SlotReport};
use model::id::{ClusterId, InstanceId, NodeId};
use model::instance::{InstanceState, Observed, Report};
use model::name::Name;
use model::reason::{Reason, ReasonCode, Rejections};
use model::slot::{Generation, Role, Slot};
use model::time::Wall;
use model::units::{Bytes, Millicores, Resources};
use model::workload::RuntimeKind;
use protocol::message::question::Ask;
use protocol::message::uplink::{self, Question, Request, Standing};
use protocol::message::{AssignmentEntry, Beat, SlotEntry, slot_entry};
use protocol::problem::Problem;
use serde_json::{Value, json};
use socketio::{Client, Event, Options};
use sync::{Child, Observer, Verdict};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::root::PATIENCE;

/// Where it says that its own REST interface is.
pub(crate) const HTTP: &str = "http://127.0.0.1:7";
/// A document that has this in it is taken, and not answered: the connection ends.
pub(crate) const LOST: &str = "lost";

/// What it does with assignments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Everything runs at once.
    Runs,
    /// Everything is offered back.
    Refuses,
}

/// What outlives its connections, and what tests look at.
#[derive(Debug)]
pub(crate) struct Disk {
    pub(crate) id: Option<ClusterId>,
    held: Child<AssignmentEntry>,
    boot: u64,
    manner: Manner,
    memory: u64,
    capacity_revision: u64,
    running: BTreeMap<Slot, InstanceId>,
    /// How often each instance was begun.
    pub(crate) begun: BTreeMap<InstanceId, u32>,
    /// How often each slot was told or taken away.
    pub(crate) touched: BTreeMap<Slot, u32>,
    /// The questions that came.
    pub(crate) questions: Vec<Question>,
    /// The event names that came.
    pub(crate) heard: Vec<String>,
}

pub(crate) struct FakeCluster {
    name: Name,
    pub(crate) disk: Arc<Mutex<Disk>>,
    changes: mpsc::UnboundedSender<()>,
    task: JoinHandle<()>,
}

struct Connection {
    name: Name,
    disk: Arc<Mutex<Disk>>,
    client: Client,
    observer: Observer<SlotEntry>,
}

impl FakeCluster {
    /// One that has `memory` MB free in its only worker, and reaches the root at `url`, again and again.
    pub(crate) fn start(url: &str, name: &str, memory: u64, manner: Manner) -> Self {
        let disk = Disk {
            id: None,
            held: Child::default(),
            boot: 0,
            manner,
            memory,
            capacity_revision: 1,
            running: BTreeMap::new(),
            begun: BTreeMap::new(),
            touched: BTreeMap::new(),
            questions: Vec::new(),
            heard: Vec::new(),
        };
        Self::on(url, name, Arc::new(Mutex::new(disk)))
    }

    /// The same on a disk that is there.
    pub(crate) fn on(url: &str, name: &str, disk: Arc<Mutex<Disk>>) -> Self {
        let (changes, mut changed) = mpsc::unbounded_channel();
        let name = Name::new(name).unwrap();
        let task = tokio::spawn({
            let (url, name, disk) = (url.to_owned(), name.clone(), Arc::clone(&disk));
            async move {
                loop {
                    live(&url, &name, &disk, &mut changed).await;
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        });
        Self {
            name,
            disk,
            changes,
            task,
        }
    }

    /// From now on it does otherwise, and has so much free.
    pub(crate) fn change(&self, manner: Manner, memory: u64) {
        let mut disk = self.disk.lock().unwrap();
        disk.manner = manner;
        disk.memory = memory;
        disk.capacity_revision += 1;
        drop(disk);
        self.changes.send(()).unwrap();
    }

    /// The slots that it holds.
    pub(crate) fn slots(&self) -> Vec<Slot> {
        self.disk
            .lock()
            .unwrap()
            .held
            .set()
            .keys()
            .cloned()
            .collect()
    }

    pub(crate) fn touched(&self) -> BTreeMap<Slot, u32> {
        self.disk.lock().unwrap().touched.clone()
    }

    /// Waits until its root sees it in this state.
    pub(crate) async fn until_active(&self, root: &crate::root::Root) {
        let path = format!("/api/v1/clusters/{}", self.name);
        root.until(&path, |reply| reply.value()["state"] == "ACTIVE")
            .await;
    }

    /// Goes away; its disk stays.
    pub(crate) async fn end(self) -> Arc<Mutex<Disk>> {
        self.task.abort();
        let _ = self.task.await;
        self.disk
    }
}

/// One connection, as long as it lasts.
async fn live(
    url: &str,
    name: &Name,
    disk: &Arc<Mutex<Disk>>,
    changed: &mut mpsc::UnboundedReceiver<()>,
) {
    let options = Options {
        namespace: uplink::NAMESPACE.to_owned(),
        ..Options::new(url)
    };
    let Ok((client, mut events)) = socketio::connect(options).await else {
        return;
    };
    let (cluster_id, boot) = {
        let mut disk = disk.lock().unwrap();
        disk.boot += 1;
        (disk.id, disk.boot)
    };
    let request = Request {
        name: name.clone(),
        location: format!("city={name}"),
        scheduler: "first-fit".to_owned(),
        cluster_id,
        boot,
        start: boot,
        incarnation: None,
        term: None,
        http: Some(HTTP.to_owned() + "/"),
        join_token: None,
        sealing_key: None,
    };
    let answer = client
        .emit_with_ack(uplink::REGISTER, &request.encode(), PATIENCE)
        .await;
    let Ok(Ok(Ok(welcome))) = answer.map(|value| uplink::read_answer(&value)) else {
        return;
    };
    disk.lock().unwrap().id = Some(welcome.cluster);
    let mut connection = Connection {
        name: name.clone(),
        disk: Arc::clone(disk),
        client,
        observer: Observer::new(boot),
    };
    connection.observe();
    connection.tell().await;
    connection.aggregate().await;
    let mut beat = tokio::time::interval(welcome.report_interval);
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(Event::Message { name, data, ack }) => {
                    let answer = connection.hear(&name, &data).await;
                    if let (Some(ack), Some(answer)) = (ack, answer) {
                        let _ = ack.send(&answer).await;
                    }
                }
                Some(Event::Closed { .. }) | None => return,
            },
            _ = changed.recv() => {
                connection.observe();
                connection.tell().await;
                connection.aggregate().await;
            }
            _ = beat.tick() => connection.aggregate().await,
        }
    }
}

impl Connection {
    async fn hear(&mut self, name: &str, data: &Value) -> Option<Value> {
        if name == uplink::ADMINISTRATORS {
            // Nobody asks it anything.
            return None;
        }
        self.disk.lock().unwrap().heard.push(name.to_owned());
        match name {
            uplink::ASSIGN => self.assigned(data).await,
            uplink::ASK => match uplink::read_ask(data).unwrap() {
                Ask::WholeReport => {
                    self.observer.ask_whole();
                    self.tell().await;
                }
                Ask::Adopt => {
                    let (held, desired) = {
                        let disk = self.disk.lock().unwrap();
                        let desired: Vec<Desired> = disk
                            .held
                            .set()
                            .values()
                            .map(|entry| entry.value.clone())
                            .collect();
                        (disk.held.held(), desired)
                    };
                    for part in uplink::adoption(&held, &desired) {
                        let _ = self.client.emit(uplink::ADOPT, &part).await;
                    }
                }
            },
            uplink::QUESTION => {
                let question = Question::decode(data).unwrap();
                let answer = self.answer(&question);
                if matches!(&question, Question::Submit(sent) if sent.document.contains(LOST)) {
                    self.client.close();
                    return None;
                }
                return Some(answer);
            }
            other => panic!("nobody knows the event {other}"),
        }
        None
    }

    fn answer(&mut self, question: &Question) -> Value {
        self.disk.lock().unwrap().questions.push(question.clone());
        uplink::reply(match question {
            Question::Nodes { .. } => Ok(json!({"items": [{"name": "w1"}], "next_cursor": null})),
            Question::Node { node } if node != "w1" => Err(Problem::not_found("node", node)),
            Question::Node { .. } | Question::PatchNode { .. } | Question::ForgetNode { .. } => {
                Ok(json!({"name": "w1"}))
            }
            Question::RevokeNode { .. } | Question::CreateJoinToken { .. } => {
                Err(Problem::unavailable("this cluster has no members"))
            }
            Question::Submit(sent) if sent.dry_run => Ok(json!({"dry_run": true})),
            Question::Submit(sent) if sent.document == "{[" => Err(Problem::unprocessable(
                "mine",
                "it is the cluster that reads",
            )),
            Question::Submit(_) => Ok(json!({"job_id": "job_of_its_own"})),
            Question::Explain { job } => {
                Ok(json!({"items": [{"message": format!("{} has {job}", self.name)}]}))
            }
        })
    }

    async fn assigned(&mut self, data: &Value) {
        let change = uplink::read_assign(data).unwrap();
        {
            let mut disk = self.disk.lock().unwrap();
            match disk.held.decide(&change) {
                Verdict::Apply(update) => {
                    let puts = update.put.iter().map(|entry| entry.key.clone());
                    for slot in puts.chain(update.remove.iter().cloned()) {
                        *disk.touched.entry(slot).or_default() += 1;
                    }
                    disk.held.apply(&update);
                }
                Verdict::Stage(part) => disk.held.stage(part),
                Verdict::Known => {}
                Verdict::Refuse { want_whole } => disk.held.refused(want_whole, false),
                Verdict::Superseded => disk.held.refused(false, true),
                Verdict::Foreign(_) => disk.held.refused(false, false),
            }
        }
        self.observe();
        self.tell().await;
    }

    /// What it would see of what it holds.
    fn observe(&mut self) {
        let mut disk = self.disk.lock().unwrap();
        let held: Vec<Desired> = disk
            .held
            .set()
            .values()
            .map(|entry| entry.value.clone())
            .collect();
        let gone: Vec<Slot> = self
            .observer
            .states()
            .keys()
            .filter(|slot| !disk.held.set().contains_key(slot))
            .cloned()
            .collect();
        for slot in gone {
            self.observer.remove(&slot);
            disk.running.remove(&slot);
        }
        let (manner, capacity_revision) = (disk.manner, disk.capacity_revision);
        for desired in held {
            match manner {
                Manner::Runs => {
                    let (slot, instance) = (desired.slot.clone(), desired.instance);
                    if disk.running.insert(slot, instance) != Some(instance) {
                        *disk.begun.entry(instance).or_default() += 1;
                    }
                    self.observer.put(running(&desired));
                }
                Manner::Refuses => self.observer.put(offer(&desired, capacity_revision)),
            }
        }
    }

    /// The acknowledgement, and the report where one is due.
    async fn tell(&mut self) {
        let held = self.disk.lock().unwrap().held.held();
        if self.observer.is_due() {
            let report = self.observer.report();
            self.observer.reported();
            for part in uplink::report(&report, &held) {
                let _ = self.client.emit(uplink::REPORT, &part).await;
            }
        }
        let message = uplink::sync(&held, &self.beat());
        let _ = self.client.emit(uplink::SYNC, &message).await;
    }

    async fn aggregate(&mut self) {
        let message = {
            let disk = self.disk.lock().unwrap();
            let used = disk
                .held
                .set()
                .values()
                .fold(Resources::default(), |sum, entry| {
                    sum.plus(entry.value.service.workload.resources)
                });
            let all = Resources {
                cpu: Millicores(64_000),
                memory: Bytes::from_mb(disk.memory),
                disk: Bytes::from_mb(1_000_000),
            };
            let room = all.minus(used);
            let mut aggregate = Aggregate {
                number_of_nodes: 1,
                schedulable_nodes: 1,
                allocatable: all,
                room,
                technology: [RuntimeKind::Noop].into(),
                capacity_revision: disk.capacity_revision,
                ..Aggregate::default()
            };
            let class = Class {
                architecture: "x86_64".to_owned(),
                runtime: RuntimeKind::Noop,
                accelerator: None,
            };
            aggregate.add_room(&class, room);
            Standing {
                aggregate,
                scheduler: "first-fit".to_owned(),
                held: disk.held.held(),
                beat: self.beat(),
            }
        };
        let _ = self.client.emit(uplink::AGGREGATE, &message.encode()).await;
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
}

fn running(desired: &Desired) -> SlotEntry {
    let report = Report {
        observed: Observed::Running {
            since: Wall(1),
            endpoints: Vec::new(),
            health: None,
        },
        restarts: 0,
        last_exit: None,
        at: Wall(1),
    };
    slot_entry(SlotReport {
        refused: None,
        slot: desired.slot.clone(),
        assignment: desired.generation.assignment,
        offer: None,
        copies: vec![CopyReport {
            instance: desired.instance,
            generation: Generation {
                placement: 1,
                ..desired.generation
            },
            role: Role::Holder,
            node: NodeId::from_bits(7),
            node_name: Name::new("w1").unwrap(),
            address: None,
            state: InstanceState::Running(report),
            since: Wall(1),
            stale: false,
        }],
    })
}

fn offer(desired: &Desired, capacity_revision: u64) -> SlotEntry {
    let mut rejections = Rejections::default();
    rejections.add(ReasonCode::PortTaken, "w1");
    slot_entry(SlotReport {
        refused: None,
        slot: desired.slot.clone(),
        assignment: desired.generation.assignment,
        offer: Some(Offer {
            reason: Reason::new(ReasonCode::PortTaken, "no worker has the port free"),
            rejections,
            capacity_revision,
        }),
        copies: Vec::new(),
    })
}
