//! The shared handlers on the smallest core that there can be.

mod beside;
mod tenants;

use std::sync::Arc;

use axum::body::BodyDataStream;
use futures_util::StreamExt as _;
use model::access::TenantPath;
use model::book::{Asked, JobAnswer, JobRequest};
use model::event::{Event, Tier};
use model::history::History;
use model::id::{EventId, JobId};
use model::job::JobState;
use model::slot::Generation;
use model::time::{Instant, Now, Wall};
use model::view::JobView;
use protocol::stored::RecordError;
use store::{Memory, Store as _};
use sync::{Incarnation, Term};
use tokio_util::sync::CancellationToken;

use super::follow::{Wanted, Whose, follow};
use super::plan::plan;
use super::*;
use crate::access::Settings;
use crate::audited::Audit;
use crate::keys::Keys;
use crate::record::{Changes, Records};
use crate::{Core, Decision, Effect, Metrics, Outlets, StoreKind};

/// A job of the tenant `uni`; most others are of the root.
const UNI: u128 = 1_001;
/// A job of the tenant `uni/lab`.
const LAB: u128 = 1_002;

/// A core to which things happen, and that answers every request about jobs in the same way.
#[derive(Debug, Clone)]
struct Toy;

#[derive(Debug, Clone, Default)]
struct State {
    incarnation: Incarnation,
    term: Term,
    history: History,
    fenced: bool,
}

#[derive(Debug)]
enum Input {
    Started(Term),
    /// So many events of that job.
    Happens(u128, u32),
    Job(u64),
    /// A request that the core panics on.
    Poison(u64),
    /// A message that it panics on.
    Curse,
    /// Another run goes on with the store.
    Superseded(u64),
}

enum Write {
    Term(Term),
    Event(Event),
}

impl Core for Toy {
    type State = State;
    type Input = Input;
    type Write = Write;
    type Action = (u64, JobAnswer);
    type RequestId = u64;
    type Answer = JobAnswer;

    const TIER: &'static str = "toy";
    const PLACED: &'static str = "placed";

    fn empty(&self, incarnation: Incarnation) -> State {
        State {
            incarnation,
            ..State::default()
        }
    }

    fn started(&self, _state: &State, term: Term, _fresh: bool) -> Vec<Input> {
        vec![Input::Started(term)]
    }

    fn apply(state: &mut State, _now: Now, writes: &[Write]) {
        for write in writes {
            match write {
                Write::Term(term) => state.term = term.clone(),
                Write::Event(event) => state.history.take(event),
            }
        }
    }

    fn turn(state: &mut State, now: Now, inputs: &[Input]) -> Decision<Self> {
        let (mut writes, mut actions) = (Vec::new(), Vec::new());
        for input in inputs {
            match input {
                Input::Started(term) => writes.push(Write::Term(term.clone())),
                Input::Happens(job, count) => {
                    let ids = (0..u64::from(*count)).map(|ahead| state.history.id(now, 1, ahead));
                    writes.extend(ids.map(|id| Write::Event(event(id, *job))));
                }
                Input::Poison(request) => panic!("request {request} is poison"),
                Input::Curse => panic!("a message is poison"),
                Input::Superseded(request) => {
                    state.fenced = true;
                    actions.push((*request, JobAnswer::Accepted(Vec::new())));
                }
                Input::Job(request) => actions.push((*request, JobAnswer::Accepted(Vec::new()))),
            }
        }
        Self::apply(state, now, &writes);
        Decision { writes, actions }
    }

    fn next_deadline(_state: &State) -> Option<Instant> {
        None
    }

    fn incarnation(state: &State) -> Incarnation {
        state.incarnation
    }

    fn term(state: &State) -> &Term {
        &state.term
    }

    fn is_fenced(state: &State) -> bool {
        state.fenced
    }

    fn request(number: u64) -> u64 {
        number
    }

    fn effect((request, answer): (u64, JobAnswer)) -> Effect<Self> {
        Effect::Answer(request, answer)
    }

    fn event(write: &Write) -> Option<&Event> {
        match write {
            Write::Term(_) => None,
            Write::Event(event) => Some(event),
        }
    }

    fn put(changes: &mut Changes, write: &Write) -> Result<(), RecordError> {
        match write {
            Write::Term(term) => changes.term(term),
            Write::Event(event) => changes.event(event),
        }
    }

    fn read(records: &mut Records<'_>) -> Result<Vec<Write>, RecordError> {
        let term = records.term()?.map(Write::Term);
        let events = records.events()?.into_iter().map(Write::Event);
        Ok(term.into_iter().chain(events).collect())
    }
}

impl Jobs for Toy {
    fn ask(request: u64, _asked: Asked, _ask: JobRequest) -> Input {
        Input::Job(request)
    }

    fn answered(answer: &JobAnswer) -> Option<&JobAnswer> {
        Some(answer)
    }

    fn find(_state: &State, _asked: &Asked, _key: &str) -> Option<JobId> {
        None
    }

    fn job(_state: &State, _now: Now, _asked: &Asked, _key: &str) -> Option<JobView> {
        None
    }

    fn own(_state: &State, _id: JobId) -> Option<&model::job::Job> {
        None
    }

    fn jobs(
        _state: &State,
        _now: Now,
        _within: &TenantPath,
        _after: Option<JobId>,
        _limit: usize,
        _filter: Option<JobState>,
    ) -> Vec<JobView> {
        Vec::new()
    }

    fn brake(_state: &State) -> Option<(&model::brake::Engaged, usize)> {
        None
    }

    fn release_brake(request: u64) -> Input {
        Input::Job(request)
    }

    fn history(state: &State) -> &History {
        &state.history
    }
}

/// Nobody to speak to.
struct Nobody;

impl Outlets<Toy> for Nobody {
    fn note(&mut self, _input: &Input) {}

    fn links(&self) -> Vec<Input> {
        Vec::new()
    }

    fn loaded(&mut self, _state: &State) {}

    fn committed(&mut self, _state: &State, _writes: &[Write]) {}

    fn perform(&mut self, _action: (u64, JobAnswer)) {}

    fn ask_whole(&mut self) {}
}

fn event(id: EventId, job: u128) -> Event {
    Event {
        id,
        at: Wall(0),
        tier: Tier::Root,
        job: JobId::from_bits(job),
        tenant: TenantPath::new(match job {
            UNI => "uni",
            LAB => "uni/lab",
            _ => "default",
        })
        .unwrap(),
        instance: None,
        generation: Generation::default(),
        from: "",
        to: JobState::Running.as_str(),
        cause: "observed".to_owned(),
        message: String::new(),
    }
}

async fn toy() -> (Handle<Toy>, CancellationToken) {
    let metrics = Metrics::new().unwrap();
    let opened = crate::open(Arc::new(Memory::new()), Toy, metrics).await;
    let (controller, handle) = opened.unwrap();
    let shutdown = CancellationToken::new();
    tokio::spawn(controller.run(Nobody, shutdown.clone()));
    (handle, shutdown)
}

/// Returns when it is committed.
async fn happens(handle: &Handle<Toy>, job: u128, count: u32) {
    handle.tell(Input::Happens(job, count)).await.unwrap();
    // Questions are answered first, requests in their order.
    handle.ask(Input::Job).await.unwrap();
}

fn all() -> Wanted {
    Wanted {
        whose: Whose::Tenant(TenantPath::root()),
        after: None,
        last: 200,
    }
}

/// The owner of no users: everybody may do everything.
async fn open_to_all() -> Access {
    let settings = Settings {
        tier: crate::Tier::Root,
        store: StoreKind::Memory,
        admin_token: "admin.token".into(),
        insecure: false,
        places: Vec::new(),
        rates: crate::access::RateOptions::default(),
    };
    let nowhere = std::path::Path::new("");
    let keys = Keys::open(StoreKind::Memory, nowhere, crate::Tier::Root, Vec::new()).unwrap();
    let audit = Audit::open(StoreKind::Memory, nowhere, crate::Tier::Root).unwrap();
    let store = Arc::new(Memory::new());
    let access = Access::open(settings, store, Arc::new(keys), audit).await;
    access.unwrap()
}

fn backups() -> Backups {
    Backups::new(Arc::new(Memory::new()), crate::Tier::Root, None)
}

fn stream(handle: &Handle<Toy>, wanted: Wanted) -> BodyDataStream {
    follow(handle, wanted)
        .unwrap()
        .into_body()
        .into_data_stream()
}

/// The next frame as text; `None` at the end.
async fn frame(stream: &mut BodyDataStream) -> Option<String> {
    let bytes = stream.next().await?.unwrap();
    Some(String::from_utf8(bytes.to_vec()).unwrap())
}

#[tokio::test]
async fn every_route_is_described_as_it_is() {
    let (handle, _shutdown) = toy().await;
    let service = Service::new(handle, Options::default(), backups(), open_to_all().await);
    let api = api(service);
    assert_eq!(api.faults(), [] as [String; 0]);
}

#[tokio::test]
async fn a_follower_that_takes_nothing_slows_nobody_and_is_told_what_it_missed() {
    let (handle, _shutdown) = toy().await;
    let mut slow = stream(&handle, all());
    happens(&handle, 1, 1).await;
    assert!(frame(&mut slow).await.unwrap().starts_with("id: evt_"));
    for _ in 0..5 {
        happens(&handle, 1, 1_000).await;
    }
    assert_eq!(
        frame(&mut slow).await.unwrap(),
        "event: reset\ndata: {}\n\n"
    );
    let (mut count, mut last) = (0, String::new());
    while count < 200 {
        last = frame(&mut slow).await.unwrap();
        count += 1;
    }
    let newest = handle.read(|state, _now| {
        let mut all = state.history.after(&TenantPath::root(), None).rev();
        all.next().map(|event| event.id.to_string())
    });
    assert!(last.contains(&newest.await.unwrap().unwrap()), "{last}");
}

#[tokio::test]
async fn a_long_backlog_is_read_in_slices_up_to_the_present() {
    let (handle, _shutdown) = toy().await;
    happens(&handle, 1, 1).await;
    let first = handle.read(|state, _now| {
        let mut events = state.history.after(&TenantPath::root(), None);
        events.next().map(|event| event.id)
    });
    let after = first.await.unwrap();
    // More than the ring holds, so that it comes out of the history.
    for job in 2..8 {
        happens(&handle, job, 1_000).await;
    }
    let mut behind = stream(&handle, Wanted { after, ..all() });
    let mut ids = std::collections::BTreeSet::new();
    for _ in 0..6_000 {
        let text = frame(&mut behind).await.unwrap();
        let id = text.lines().next().unwrap().to_owned();
        assert!(ids.insert(id), "each once");
    }
    happens(&handle, 9, 1).await;
    let text = frame(&mut behind).await.unwrap();
    assert!(text.contains(&JobId::from_bits(9).to_string()), "{text}");
}

#[tokio::test]
async fn a_stream_ends_with_the_orchestrator() {
    let (handle, shutdown) = toy().await;
    let mut follower = stream(&handle, all());
    happens(&handle, 1, 1).await;
    assert!(frame(&mut follower).await.is_some());
    shutdown.cancel();
    assert_eq!(frame(&mut follower).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_stream_on_which_nothing_happens_gives_a_sign_of_life() {
    let (handle, _shutdown) = toy().await;
    let mut follower = stream(&handle, all());
    let begun = tokio::time::Instant::now();
    assert_eq!(frame(&mut follower).await.unwrap(), ":\n\n");
    assert_eq!(begun.elapsed().as_secs(), 15);
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_that_waits_in_vain_for_others_is_asked_to_come_again() {
    let (handle, _shutdown) = toy().await;
    let service = Service::new(handle, Options::default(), backups(), open_to_all().await);
    let ask = || JobRequest::Delete {
        key: "a".to_owned(),
    };
    assert_eq!(plan(&service, Asked::default(), ask()).await.unwrap(), []);
    let _other = service.planning.acquire().await.unwrap();
    let refused = plan(&service, Asked::default(), ask()).await.unwrap_err();
    assert_eq!(
        (refused.problem.status, refused.retry_after),
        (503, Some(5))
    );
}

#[tokio::test]
async fn what_happened_survives_a_restart() {
    let store = Arc::new(Memory::new());
    for _ in 0..2 {
        let opened = crate::open(Arc::clone(&store) as _, Toy, Metrics::new().unwrap());
        let (controller, handle) = opened.await.unwrap();
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(controller.run(Nobody, shutdown.clone()));
        happens(&handle, 1, 1).await;
        shutdown.cancel();
        running.await.unwrap();
    }
    let loaded = crate::record::load::<Toy>(&store.load().unwrap()).unwrap();
    assert_eq!(loaded.writes.len(), 3);
}

#[tokio::test]
async fn a_request_that_a_decision_panics_on_is_refused_alone() {
    let (handle, _shutdown) = toy().await;
    happens(&handle, 1, 5).await;
    let term = |state: &State, _| state.term.number;
    let before = handle.read(term).await.unwrap();
    // One batch: on one thread all of them wait before the owner of the state runs.
    let asked = (0..40).map(|number| {
        let handle = handle.clone();
        async move {
            if number % 20 == 7 {
                handle.ask(Input::Poison).await
            } else {
                handle.ask(Input::Job).await
            }
        }
    });
    let answers = futures_util::future::join_all(asked).await;
    for (number, answer) in answers.iter().enumerate() {
        if number % 20 == 7 {
            assert_eq!(answer, &Err(crate::Unavailable::Fault), "{number}");
        } else {
            assert!(
                matches!(answer, Ok(JobAnswer::Accepted(_))),
                "{number}: {answer:?}"
            );
        }
    }
    // What was accepted before is there, under a new term.
    let kept = handle.read(|state: &State, _| state.history.of(JobId::from_bits(1)).count());
    assert_eq!(kept.await.unwrap(), 5);
    assert!(handle.read(term).await.unwrap() > before);
    // Alone it is refused at once.
    let alone = handle.ask(Input::Poison).await;
    assert_eq!(alone, Err(crate::Unavailable::Fault));
    happens(&handle, 1, 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_message_that_a_decision_panics_on_costs_its_batch_and_a_pause() {
    let (handle, _shutdown) = toy().await;
    for _ in 0..5 {
        handle.tell(Input::Curse).await.unwrap();
        // Those of its batch are decided, those of the pause after it are sent away.
        answers(&handle).await;
    }
    // The last pause may have begun only after that answer.
    answers(&handle).await;
    happens(&handle, 1, 1).await;
}

/// Returns when a request is taken.
async fn answers(handle: &Handle<Toy>) {
    while handle.ask(Input::Job).await.is_err() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_question_that_panics_is_answered_by_nobody() {
    let (handle, _shutdown) = toy().await;
    let answer = handle.read(|_: &State, _| -> u32 { panic!("the question is poison") });
    assert_eq!(answer.await, Err(crate::Unavailable::Now));
    happens(&handle, 1, 1).await;
}
