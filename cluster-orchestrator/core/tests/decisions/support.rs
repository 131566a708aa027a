//! A cluster with its store, its workers and its root, all on one clock.

mod documents;
mod root;
mod worker;

use model::book::{Asked, JobAnswer, JobRequest};
use std::collections::BTreeMap;
use std::time::Duration;

use cluster_core::{
    Action, Answer, Config, Decision, Input, NodePatch, Registration, RequestId, SlotRecord, State,
    Write, turn,
};
use model::id::NodeId;
use model::instance::InstanceState;
use model::node::{Leaving, Liveness, Scheduling};
use model::operation::Progress;
use model::slot::Slot;
use model::time::{Instant, Now, Wall};
use model::units::{Bytes, Resources};
use model::view::JobView;
use schedulers::{Answer as Advice, Policy, Question};
use sync::{Incarnation, Term};

pub(crate) use documents::{Document, name};
pub(crate) use root::Root;
pub(crate) use worker::Worker;

/// The cluster under test, with everything around it.
pub(crate) struct Site {
    pub(crate) state: State,
    pub(crate) now: Now,
    pub(crate) term: Term,
    disk: State,
    pub(crate) workers: BTreeMap<u32, Worker>,
    pub(crate) root: Root,
    requests: u64,
    answers: BTreeMap<RequestId, Answer>,
    jobs: u128,
    /// Questions to a scheduler elsewhere that were not answered yet.
    pub(crate) questions: Vec<(Slot, Question)>,
    /// All actions of the last turn.
    pub(crate) last: Vec<Action>,
    /// Time that the core took, where it is measured instead of checked.
    pub(crate) measured: Option<Duration>,
}

pub(crate) fn config() -> Config {
    Config::new(name("north"))
}

impl Site {
    /// A cluster that was just started, without workers.
    pub(crate) fn new() -> Self {
        let blank = || State::new(config(), Incarnation(1));
        let mut site = Self {
            state: blank(),
            now: Now {
                steady: Instant(1_000_000),
                wall: Wall(1_000_000),
            },
            term: Term::default(),
            disk: blank(),
            workers: BTreeMap::new(),
            root: Root::new(),
            requests: 0,
            answers: BTreeMap::new(),
            jobs: 0,
            questions: Vec::new(),
            last: Vec::new(),
            measured: None,
        };
        site.start(false);
        site
    }

    /// With workers `w1`, `w2`, … of so many MB, heard for longer than any grace.
    pub(crate) fn of(memories: &[u64]) -> Self {
        let mut site = Self::new();
        for (number, memory) in (1..).zip(memories) {
            site.join(number, *memory);
        }
        site.pass(30);
        site
    }

    fn start(&mut self, fresh: bool) {
        self.term = self.term.next(self.now.steady.0);
        let term = self.term.clone();
        self.turn([Input::Started { term, fresh }]);
    }

    /// The orchestrator is killed and started again on its store; its workers connect again.
    pub(crate) fn restart(&mut self) {
        let mut state = State::new(config(), self.state.incarnation());
        state.apply(self.now, &self.disk.snapshot());
        assert_eq!(state.snapshot(), self.disk.snapshot());
        self.state = state;
        self.start(false);
        self.reconnect_all();
    }

    /// The store is emptied: the same cluster as a new incarnation.
    pub(crate) fn empty_store(&mut self) {
        let incarnation = Incarnation(self.state.incarnation().0 + 1);
        self.state = State::new(config(), incarnation);
        self.disk = State::new(config(), incarnation);
        self.term = Term::default();
        self.start(true);
        let numbers: Vec<u32> = self.workers.keys().copied().collect();
        for number in numbers {
            let saved = Some(self.workers[&number].id);
            self.register(number, saved);
        }
        self.reconnect_all();
    }

    /// What the store has now, to be put back later.
    pub(crate) fn copy_of_store(&self) -> State {
        self.disk.clone()
    }

    /// An older copy of the store is put back by hand: nothing but its content tells it from the original.
    pub(crate) fn put_back(&mut self, copy: &State) {
        self.begin_on(copy.incarnation(), &copy.snapshot(), false);
        self.reconnect_all();
    }

    /// An operator makes a restored store of what it has.
    pub(crate) fn restore(&mut self, copy: &State) {
        let mut writes = copy.snapshot();
        writes.retain(|write| *write != Write::Superseded);
        let incarnation = Incarnation(self.state.incarnation().0 + 1);
        self.begin_on(incarnation, &writes, true);
        self.reconnect_all();
    }

    fn begin_on(&mut self, incarnation: Incarnation, writes: &[Write], fresh: bool) {
        for state in [&mut self.state, &mut self.disk] {
            *state = State::new(config(), incarnation);
            state.apply(self.now, writes);
        }
        self.term = self.state.term().clone();
        // Two starts at one moment are two runs.
        self.jump(1);
        self.start(fresh);
    }

    fn reconnect_all(&mut self) {
        let there: Vec<u32> = self.workers.keys().copied().collect();
        for number in there {
            if self.workers[&number].up {
                self.back(number);
            }
        }
    }

    /// One turn; its durable part goes to the disk, its messages to the workers.
    pub(crate) fn turn(&mut self, inputs: impl IntoIterator<Item = Input>) {
        let begun = std::time::Instant::now();
        let decision = turn(&mut self.state, self.now, inputs);
        let took = begun.elapsed();
        match &mut self.measured {
            Some(measured) => *measured += took,
            None => self.check(&decision),
        }
        self.last.clone_from(&decision.actions);
        for action in decision.actions {
            match action {
                Action::Answer(request, answer) => {
                    self.answers.insert(request, answer);
                }
                Action::Control(node, changes) => {
                    let mut all = self.workers.values_mut();
                    if let Some(worker) = all.find(|worker| worker.id == node && worker.up) {
                        worker.inbox.extend(changes);
                    }
                }
                Action::AskWhole(node) => {
                    let mut all = self.workers.values_mut();
                    if let Some(worker) = all.find(|worker| worker.id == node) {
                        worker.observer.ask_whole();
                    }
                }
                Action::AskAdopt(node) => {
                    let mut all = self.workers.values_mut();
                    if let Some(worker) = all.find(|worker| worker.id == node) {
                        worker.asked_for_its_set = true;
                    }
                }
                Action::Report { report, .. } => self.root.take(&report),
                Action::Tell(telling) => self.root.hear(telling),
                Action::Confirm(node, stamp) => {
                    let mut all = self.workers.values_mut();
                    if let Some(worker) = all.find(|worker| worker.id == node) {
                        worker.confirmed.push(stamp);
                    }
                }
                Action::AskScheduler(slot, question) => self.questions.push((slot, *question)),
                Action::Acknowledge { .. } | Action::Adopt { .. } | Action::Aggregate(_) => {}
            }
        }
    }

    fn check(&mut self, decision: &Decision) {
        self.disk.apply(self.now, &decision.writes);
        assert_eq!(
            self.disk.snapshot(),
            self.state.snapshot(),
            "the store has what the cluster knows"
        );
        let again = self.state.decide(self.now, &Input::Reconcile);
        assert_eq!(again, Decision::default(), "a turn leaves nothing to do");
    }

    /// A request, and its answer.
    pub(crate) fn ask(&mut self, input: impl FnOnce(RequestId) -> Input) -> Answer {
        self.requests += 1;
        let request = RequestId(self.requests);
        self.turn([input(request)]);
        self.answers.remove(&request).unwrap()
    }

    /// Everybody says and does what he has to, until nobody has anything more to say.
    pub(crate) fn deliver(&mut self) {
        for _ in 0..50 {
            let confirmed = self.root.confirm.take().map(Input::RootConfirmed);
            let inputs: Vec<Input> = self
                .workers
                .values_mut()
                .filter(|worker| worker.up)
                .flat_map(Worker::act)
                .chain(confirmed)
                .collect();
            if inputs.is_empty() {
                return;
            }
            self.turn(inputs);
        }
        panic!("they go on talking: {:?}", self.last);
    }

    /// Seconds pass, one by one, in which everybody talks.
    pub(crate) fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.jump(1);
            let up = self.workers.values_mut().filter(|worker| worker.up);
            let beats: Vec<Input> = up.map(|worker| worker.beat()).collect();
            self.turn(beats);
            self.deliver();
        }
    }

    /// Seconds pass in which this cluster does nothing at all.
    pub(crate) fn jump(&mut self, seconds: u64) {
        self.now.steady = self.now.steady.plus(Duration::from_secs(seconds));
        self.now.wall = Wall(self.now.wall.0 + 1_000 * seconds as i64);
    }

    pub(crate) fn register(&mut self, number: u32, saved: Option<NodeId>) -> Answer {
        let worker = &self.workers[&number];
        let registration = Box::new(Registration {
            facts: worker.facts.clone(),
            saved,
            fresh: NodeId::from_bits(u128::from(number)),
            credential: [number as u8; 32],
            verifies: false,
            sealing: None,
            boot: worker.observer.boot(),
            start: worker.observer.boot() + 100 * u64::from(number),
        });
        self.ask(|request| Input::Register {
            request,
            registration,
        })
    }

    /// A new worker registers, connects and says that it has nothing.
    pub(crate) fn join(&mut self, number: u32, memory: u64) {
        self.workers.insert(number, Worker::new(number, memory));
        let answer = self.register(number, None);
        assert_eq!(answer, Answer::Registered(self.workers[&number].id));
        self.back(number);
        self.deliver();
    }

    /// The worker's connection is closed by the other side.
    pub(crate) fn cut(&mut self, number: u32) {
        self.close(number, None);
    }

    /// The same, with what the worker said of it.
    pub(crate) fn close(&mut self, number: u32, leaving: Option<Leaving>) {
        let Some(worker) = self.workers.get_mut(&number).filter(|worker| worker.up) else {
            return;
        };
        worker.up = false;
        worker.inbox.clear();
        let (node, session) = (worker.id, worker.session);
        self.turn([Input::Closed {
            node,
            session,
            silent: false,
            leaving,
        }]);
    }

    /// The worker connects (again) and says everything.
    pub(crate) fn back(&mut self, number: u32) {
        let Some(worker) = self.workers.get_mut(&number) else {
            return;
        };
        worker.up = true;
        worker.session += 1;
        worker.observer.ask_whole();
        let (node, session) = (worker.id, worker.session);
        let held = worker.beat();
        self.turn([Input::Connected { node, session }, held]);
    }

    pub(crate) fn request(&mut self, ask: JobRequest) -> JobAnswer {
        self.request_for(Asked::default(), ask)
    }

    pub(crate) fn request_for(&mut self, asked: Asked, ask: JobRequest) -> JobAnswer {
        let input = |request| Input::Job {
            request,
            asked,
            ask,
        };
        match self.ask(input) {
            Answer::Job(answer) => answer,
            other => panic!("no answer to a request about jobs: {other:?}"),
        }
    }

    pub(crate) fn submit(&mut self, documents: &[Document]) -> JobAnswer {
        let drafts = documents
            .iter()
            .map(|document| {
                self.jobs += 1;
                document.draft(self.jobs)
            })
            .collect();
        self.request(JobRequest::Submit { drafts, key: None })
    }

    /// A job that is accepted, and all that follows.
    pub(crate) fn run(&mut self, document: &Document) {
        let answer = self.submit(std::slice::from_ref(document));
        assert!(matches!(answer, JobAnswer::Accepted(_)), "{answer:?}");
        self.deliver();
    }

    pub(crate) fn put(&mut self, document: &Document) -> JobAnswer {
        self.jobs += 1;
        let (path, draft) = (document.name.clone(), document.draft(self.jobs));
        self.request(JobRequest::Put { path, draft })
    }

    /// Another scheduler from now on.
    pub(crate) fn schedule_by(&mut self, policy: &str) {
        let policy: Policy = policy.parse().unwrap();
        let answer = self.ask(|request| Input::Schedule {
            request: Some(request),
            policy,
        });
        assert_eq!(answer, Answer::Scheduled);
    }

    /// The scheduler elsewhere answers all that it was asked.
    pub(crate) fn advise(&mut self, mut advice: impl FnMut(&Question) -> Advice) {
        for (slot, question) in std::mem::take(&mut self.questions) {
            let (number, advice) = (question.number, advice(&question));
            self.turn([Input::Advised {
                slot,
                number,
                advice,
            }]);
        }
        self.deliver();
    }

    /// What users are told of why a job is where it is, or nowhere.
    pub(crate) fn told(&self, key: &str) -> Vec<String> {
        let job = self.job(key).job.id;
        let events = self.state.history().of(job);
        let placed = events.map(|event| event.message.clone());
        let waits = self.state.explain(self.now, job);
        let waits = waits.into_iter().map(|row| row.message);
        placed.chain(waits).collect()
    }

    pub(crate) fn delete(&mut self, key: &str) -> JobAnswer {
        let key = key.to_owned();
        self.request(JobRequest::Delete { key })
    }

    pub(crate) fn schedule_on(&mut self, number: u32, scheduling: Scheduling) {
        let key = format!("w{number}");
        let patch = NodePatch {
            scheduling: Some(scheduling),
            ..NodePatch::default()
        };
        self.ask(|request| Input::Patch {
            request,
            key,
            patch,
        });
    }

    pub(crate) fn liveness(&self, number: u32) -> Liveness {
        self.state.node(&format!("w{number}")).unwrap().liveness
    }

    pub(crate) fn job(&self, key: &str) -> JobView {
        self.state.job(self.now, &Asked::default(), key).unwrap()
    }

    /// "0 Holder RUNNING w1 1.1": the rows of a job.
    pub(crate) fn rows(&self, key: &str) -> Vec<String> {
        let view = self.job(key);
        let rows = view.instances.iter().map(|row| {
            let worker = row.worker.as_ref().map_or("-", |worker| worker.as_str());
            let code = match &row.state {
                InstanceState::NotDeployed { reason, .. } => format!(" {}", reason.code),
                _ => String::new(),
            };
            format!(
                "{} {:?} {}{code} {worker} {}",
                row.index, row.role, row.state, row.generation
            )
        });
        rows.collect()
    }

    /// How many rows of a job are in a state.
    pub(crate) fn count(&self, key: &str, state: &str) -> usize {
        let view = self.job(key);
        let rows = view.instances.iter();
        rows.filter(|row| row.state.as_str() == state).count()
    }

    /// The durable records of all slots.
    pub(crate) fn slots(&self) -> BTreeMap<Slot, SlotRecord> {
        let writes = self.state.snapshot().into_iter();
        let slots = writes.filter_map(|write| match write {
            Write::Slot { slot, record } => Some((slot, record?)),
            _ => None,
        });
        slots.collect()
    }

    /// Allocatable and reserved of each worker, from the durable records alone.
    pub(crate) fn ledger(&self) -> BTreeMap<NodeId, (Resources, Resources)> {
        let mut ledger = BTreeMap::new();
        for write in self.state.snapshot() {
            match write {
                Write::Node { node, record } => {
                    ledger.insert(node, (record.facts.allocatable, Resources::default()));
                }
                Write::Slot { record, .. } => {
                    for copy in record.into_iter().flat_map(|record| record.copies) {
                        let (_, reserved) = ledger.get_mut(&copy.node).unwrap();
                        *reserved = reserved.plus(copy.desired.service.workload.resources);
                    }
                }
                _ => {}
            }
        }
        ledger
    }

    /// The instances that a worker really runs, by their numbers in the job.
    pub(crate) fn runs(&self, number: u32) -> usize {
        self.workers[&number].observer.states().len()
    }

    pub(crate) fn memory_left(&self, number: u32) -> u64 {
        let view = self.state.node(&format!("w{number}")).unwrap();
        view.room.memory.mb()
    }
}

/// How the last operation of a job ended.
pub(crate) fn progress(site: &Site, key: &str) -> Progress {
    site.job(key).job.operation.unwrap().progress
}

pub(crate) fn megabytes(mb: u64) -> Resources {
    Resources {
        memory: Bytes::from_mb(mb),
        ..Resources::default()
    }
}
