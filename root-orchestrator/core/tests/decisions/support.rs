//! A root with its store and its clusters, all on one clock.

pub(crate) mod cluster;
mod documents;

use model::book::{Asked, JobAnswer, JobRequest};
use std::collections::BTreeMap;
use std::time::Duration;

use model::id::ClusterId;
use model::instance::InstanceState;
use model::location::Location;
use model::node::Scheduling;
use model::slot::Slot;
use model::time::{Instant, Now, Wall};
use model::units::{Bytes, Resources};
use model::view::JobView;
use root_core::{
    Action, Answer, Config, Decision, Input, Registration, RequestId, SlotRecord, State, Write,
    turn,
};
use schedulers::{Answer as Advice, Policy, Question};
use sync::{Incarnation, Term};

pub(crate) use cluster::Cluster;
pub(crate) use documents::{Document, name};

/// The root under test, with everything around it.
pub(crate) struct World {
    pub(crate) state: State,
    pub(crate) now: Now,
    term: Term,
    disk: State,
    pub(crate) clusters: BTreeMap<u32, Cluster>,
    requests: u64,
    answers: BTreeMap<RequestId, Answer>,
    jobs: u128,
    /// Questions to a scheduler elsewhere that were not answered yet.
    pub(crate) questions: Vec<(Slot, Question)>,
    /// All writes and actions of the last turn.
    pub(crate) last: Decision,
    /// Time that the core took, where it is measured instead of checked.
    pub(crate) measured: Option<Duration>,
}

impl World {
    /// A root that was just started, without clusters.
    pub(crate) fn new() -> Self {
        let blank = || State::new(Config::default(), Incarnation(1));
        let mut world = Self {
            state: blank(),
            now: Now {
                steady: Instant(1_000_000),
                wall: Wall(1_000_000),
            },
            term: Term::default(),
            disk: blank(),
            clusters: BTreeMap::new(),
            requests: 0,
            answers: BTreeMap::new(),
            jobs: 0,
            questions: Vec::new(),
            last: Decision::default(),
            measured: None,
        };
        world.start(false);
        world
    }

    /// With clusters `c1`, `c2`, … of so many MB, heard for longer than any grace.
    pub(crate) fn of(memories: &[u64]) -> Self {
        let mut world = Self::new();
        for (number, memory) in (1..).zip(memories) {
            world.join(number, *memory);
        }
        world.pass(30);
        world
    }

    fn start(&mut self, fresh: bool) {
        self.term = self.term.next(self.now.steady.0);
        let term = self.term.clone();
        self.turn([Input::Started { term, fresh }]);
    }

    /// The root is killed and started again on its store; its clusters connect again.
    pub(crate) fn restart(&mut self) {
        let mut state = State::new(Config::default(), self.state.incarnation());
        state.apply(self.now, &self.disk.snapshot());
        assert_eq!(state.snapshot(), self.disk.snapshot());
        self.state = state;
        self.start(false);
        self.reconnect_all();
    }

    /// The store is emptied: the same root as a new incarnation.
    pub(crate) fn empty_store(&mut self) {
        let incarnation = Incarnation(self.state.incarnation().0 + 1);
        self.state = State::new(Config::default(), incarnation);
        self.disk = State::new(Config::default(), incarnation);
        self.term = Term::default();
        self.start(true);
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
            *state = State::new(Config::default(), incarnation);
            state.apply(self.now, writes);
        }
        self.term = self.state.term().clone();
        // Two starts at one moment are two runs.
        self.jump(1);
        self.start(fresh);
    }

    fn reconnect_all(&mut self) {
        let there: Vec<u32> = self.clusters.keys().copied().collect();
        for number in there {
            if self.clusters[&number].up {
                self.back(number);
            }
        }
    }

    /// One turn; its durable part goes to the disk, its messages to the clusters.
    pub(crate) fn turn(&mut self, inputs: impl IntoIterator<Item = Input>) {
        let begun = std::time::Instant::now();
        let decision = turn(&mut self.state, self.now, inputs);
        let took = begun.elapsed();
        match &mut self.measured {
            Some(measured) => *measured += took,
            None => self.check(&decision),
        }
        for action in decision.actions.clone() {
            let to = match &action {
                Action::Answer(request, answer) => {
                    self.answers.insert(*request, answer.clone());
                    continue;
                }
                Action::AskScheduler(slot, question) => {
                    let question = Question::clone(question);
                    self.questions.push((slot.clone(), question));
                    continue;
                }
                Action::Assign(to, _)
                | Action::AskWhole(to)
                | Action::AskAdopt(to)
                | Action::Confirm(to, _) => *to,
            };
            let mut all = self.clusters.values_mut();
            let Some(cluster) = all.find(|cluster| cluster.id == to && cluster.up) else {
                continue;
            };
            match action {
                Action::Assign(_, changes) => cluster.inbox.extend(changes),
                Action::AskWhole(_) => cluster.observer.ask_whole(),
                Action::AskAdopt(_) => cluster.asked_for_its_set = true,
                Action::Confirm(_, stamp) => cluster.confirmed.push(stamp),
                Action::Answer(..) | Action::AskScheduler(..) => {}
            }
        }
        self.last = decision;
    }

    fn check(&mut self, decision: &Decision) {
        self.disk.apply(self.now, &decision.writes);
        assert_eq!(
            self.disk.snapshot(),
            self.state.snapshot(),
            "the store has what the root knows"
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
        for _ in 0..60 {
            let incarnation = self.state.incarnation();
            let up = self.clusters.values_mut().filter(|cluster| cluster.up);
            let inputs: Vec<Input> = up.flat_map(|cluster| cluster.act(incarnation)).collect();
            if inputs.is_empty() {
                return;
            }
            self.turn(inputs);
        }
        panic!("they go on talking: {:?}", self.last.actions);
    }

    /// Seconds pass, one by one, in which everybody talks.
    pub(crate) fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.jump(1);
            let up = self.clusters.values_mut().filter(|cluster| cluster.up);
            let beats: Vec<Input> = up.map(|cluster| cluster.beat()).collect();
            self.turn(beats);
            self.deliver();
        }
    }

    /// Seconds pass in which nothing is heard of a cluster, whose connection is still open.
    pub(crate) fn pause(&mut self, number: u32, seconds: u64) {
        let hear = |world: &mut Self, up: bool| {
            if let Some(cluster) = world.clusters.get_mut(&number) {
                cluster.up = up;
            }
        };
        hear(self, false);
        self.pass(seconds);
        hear(self, true);
    }

    /// Seconds pass in which this root does nothing at all.
    pub(crate) fn jump(&mut self, seconds: u64) {
        self.now.steady = self.now.steady.plus(Duration::from_secs(seconds));
        self.now.wall = Wall(self.now.wall.0 + 1_000 * seconds as i64);
    }

    pub(crate) fn register(&mut self, number: u32, saved: Option<ClusterId>) -> Answer {
        let cluster = &self.clusters[&number];
        let registration = Box::new(Registration {
            name: cluster.name.clone(),
            location: Location::parse(&format!("city=City{number}")).unwrap(),
            http: None,
            saved,
            fresh: ClusterId::from_bits(u128::from(number)),
            boot: cluster.observer.boot(),
            start: cluster.observer.boot() + 100 * u64::from(number) + 10_000 * cluster.restored,
            store: None,
        });
        self.ask(|request| Input::Register {
            request,
            registration,
        })
    }

    /// A new cluster registers, connects and says what it has.
    pub(crate) fn join(&mut self, number: u32, memory: u64) {
        self.clusters.insert(number, Cluster::new(number, memory));
        self.back(number);
        self.deliver();
    }

    /// The cluster's uplink ends.
    pub(crate) fn cut(&mut self, number: u32) {
        self.end(number, false);
    }

    /// The cluster's uplink ends, or is given up after its silence.
    pub(crate) fn end(&mut self, number: u32, silent: bool) {
        let Some(cluster) = self.clusters.get_mut(&number).filter(|cluster| cluster.up) else {
            return;
        };
        cluster.up = false;
        cluster.inbox.clear();
        let (cluster, session) = (cluster.id, cluster.session);
        self.turn([Input::Closed {
            cluster,
            session,
            silent,
        }]);
    }

    /// The cluster registers and connects (again) and says everything.
    pub(crate) fn back(&mut self, number: u32) {
        let Some(cluster) = self.clusters.get(&number) else {
            return;
        };
        if !cluster.up || self.state.cluster(cluster.name.as_str()).is_none() {
            let saved = Some(cluster.id);
            self.register(number, saved);
        }
        let Some(cluster) = self.clusters.get_mut(&number) else {
            return;
        };
        cluster.up = true;
        cluster.session += 1;
        cluster.observer.ask_whole();
        cluster.aggregate_due = true;
        let (id, session) = (cluster.id, cluster.session);
        let held = cluster.beat();
        self.turn([
            Input::Connected {
                cluster: id,
                session,
            },
            held,
        ]);
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
        let events = events.map(|event| event.message.clone());
        let explained = self.state.explain(job).into_iter();
        events.chain(explained.map(|row| row.message)).collect()
    }

    pub(crate) fn delete(&mut self, key: &str) -> JobAnswer {
        let key = key.to_owned();
        self.request(JobRequest::Delete { key })
    }

    pub(crate) fn schedule_on(&mut self, number: u32, scheduling: Scheduling) -> Answer {
        let key = format!("c{number}");
        self.ask(|request| Input::Patch {
            request,
            key,
            scheduling,
        })
    }

    pub(crate) fn job(&self, key: &str) -> JobView {
        self.state.job(&Asked::default(), key).unwrap()
    }

    /// "0 Holder RUNNING c1 1.1": the rows of a job.
    pub(crate) fn rows(&self, key: &str) -> Vec<String> {
        let view = self.job(key);
        let rows = view.instances.iter().map(|row| {
            let cluster = row.cluster.as_ref().map_or("-", |cluster| cluster.as_str());
            let code = match &row.state {
                InstanceState::NotDeployed { reason, .. } => format!(" {}", reason.code),
                _ => String::new(),
            };
            format!(
                "{} {:?} {}{code} {cluster} {}",
                row.index, row.role, row.state, row.generation
            )
        });
        rows.collect()
    }

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

    /// The indexes of the slots that the last turn wrote.
    pub(crate) fn slots_written(&self) -> Vec<u32> {
        let writes = self.last.writes.iter();
        let slots = writes.filter_map(|write| match write {
            Write::Slot { slot, .. } => Some(slot.index),
            _ => None,
        });
        slots.collect()
    }

    /// How many instances a cluster really runs.
    pub(crate) fn runs(&self, number: u32) -> usize {
        self.clusters[&number].running.len()
    }
}

pub(crate) fn megabytes(mb: u64) -> Resources {
    Resources {
        memory: Bytes::from_mb(mb),
        ..Resources::default()
    }
}
