//! The core of a cluster, as the shell that both orchestrators share knows it.

use cluster_core::{Action, Answer, Config, Input, Page, RequestId, State, Write};
use model::access::TenantPath;
use model::book::{Asked, JobAnswer, JobRequest};
use model::brake::Engaged;
use model::event::Event;
use model::history::History;
use model::id::JobId;
use model::job::{Job, JobState};
use model::slot::Slot;
use model::time::{Instant, Now};
use model::view::JobView;
use orchestrator::record::{Changes, Records};
use orchestrator::{Core, Decision, Effect, Jobs, Placing};
use protocol::stored::RecordError;
use schedulers::{Answer as Advice, Policy};
use sync::{Incarnation, Term};

use crate::record;

/// How everybody else reaches the state of a cluster.
pub(crate) type Handle = orchestrator::Handle<Cluster>;

/// The decisions of a cluster, with their settings.
#[derive(Debug, Clone)]
pub(crate) struct Cluster {
    pub(crate) config: Config,
    /// The scheduler that the options ask for, if they do.
    pub(crate) policy: Option<Policy>,
}

impl Core for Cluster {
    type State = State;
    type Input = Input;
    type Write = Write;
    type Action = Action;
    type RequestId = RequestId;
    type Answer = Answer;

    const TIER: &'static str = "cluster";
    const PLACED: &'static str = "placed";

    fn empty(&self, incarnation: Incarnation) -> State {
        State::new(self.config.clone(), incarnation)
    }

    fn started(&self, state: &State, term: Term, fresh: bool) -> Vec<Input> {
        let schedule = Self::begins_with(state, self.policy.as_ref());
        std::iter::once(Input::Started { term, fresh })
            .chain(schedule)
            .collect()
    }

    fn apply(state: &mut State, now: Now, writes: &[Write]) {
        state.apply(now, writes);
    }

    fn turn(state: &mut State, now: Now, inputs: &[Input]) -> Decision<Self> {
        let cluster_core::Decision { writes, actions } = cluster_core::turn_of(state, now, inputs);
        Decision { writes, actions }
    }

    fn next_deadline(state: &State) -> Option<Instant> {
        state.next_deadline()
    }

    fn incarnation(state: &State) -> Incarnation {
        state.incarnation()
    }

    fn term(state: &State) -> &Term {
        state.term()
    }

    fn is_fenced(state: &State) -> bool {
        state.is_fenced()
    }

    fn request(number: u64) -> RequestId {
        RequestId(number)
    }

    fn effect(action: Action) -> Effect<Self> {
        match action {
            Action::Answer(request, answer) => Effect::Answer(request, answer),
            Action::Control(..)
            | Action::AskWhole(_)
            | Action::AskAdopt(_)
            | Action::Acknowledge { .. }
            | Action::Report { .. }
            | Action::Adopt { .. }
            | Action::Confirm(..)
            | Action::Tell(_)
            | Action::AskScheduler(..)
            | Action::Aggregate(_) => Effect::Outward(action),
        }
    }

    fn can_wait(write: &Write) -> bool {
        write.can_wait()
    }

    fn event(write: &Write) -> Option<&Event> {
        match write {
            Write::Event(event) => Some(event),
            _ => None,
        }
    }

    fn put(changes: &mut Changes, write: &Write) -> Result<(), RecordError> {
        record::put(changes, write)
    }

    fn read(records: &mut Records<'_>) -> Result<Vec<Write>, RecordError> {
        record::read(records)
    }
}

impl Jobs for Cluster {
    fn ask(request: RequestId, asked: Asked, ask: JobRequest) -> Input {
        Input::Job {
            request,
            asked,
            ask,
        }
    }

    fn answered(answer: &Answer) -> Option<&JobAnswer> {
        match answer {
            Answer::Job(answer) => Some(answer),
            Answer::Patched(_)
            | Answer::Released(_)
            | Answer::Scheduled
            | Answer::Registered(_)
            | Answer::Forgotten(_)
            | Answer::NodeIsThere(..)
            | Answer::NoSuchNode(_)
            | Answer::NodeNameInUse(_) => None,
        }
    }

    fn find(state: &State, asked: &Asked, key: &str) -> Option<JobId> {
        state.find_job(asked, key)
    }

    fn job(state: &State, now: Now, asked: &Asked, key: &str) -> Option<JobView> {
        state.job(now, asked, key)
    }

    fn own(state: &State, id: JobId) -> Option<&Job> {
        state.own(id)
    }

    fn jobs(
        state: &State,
        now: Now,
        within: &TenantPath,
        after: Option<JobId>,
        limit: usize,
        filter: Option<JobState>,
    ) -> Vec<JobView> {
        state.jobs(now, within, &Page { after, limit }, filter)
    }

    fn brake(state: &State) -> Option<(&Engaged, usize)> {
        state.brake()
    }

    fn release_brake(request: RequestId) -> Input {
        Input::ReleaseBrake { request }
    }

    fn history(state: &State) -> &History {
        state.history()
    }
}

impl Placing for Cluster {
    fn policy(state: &State) -> &Policy {
        state.policy()
    }

    fn resting(state: &State) -> Option<&str> {
        state.scheduler_rests()
    }

    fn exchange(request: Option<RequestId>, policy: Policy) -> Input {
        Input::Schedule { request, policy }
    }

    fn is_exchanged(answer: &Answer) -> bool {
        matches!(answer, Answer::Scheduled)
    }

    fn advised(slot: Slot, number: u64, advice: Advice) -> Input {
        Input::Advised {
            slot,
            number,
            advice,
        }
    }
}
