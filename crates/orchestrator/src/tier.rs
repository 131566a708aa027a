//! What an orchestrator's core is to its shell.

use std::fmt::Debug;
use std::hash::Hash;

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
use protocol::stored::RecordError;
use schedulers::{Answer as Advice, Policy};
use sync::{Incarnation, Term};

use crate::record::{Changes, Records};

/// What a tier decides, and how its store keeps it. The value is the settings that its state is made with.
pub trait Core: Clone + Debug + Send + Sync + 'static {
    /// Everything that it knows.
    type State: Clone + Send + Sync + 'static;
    /// What it is told.
    type Input: Send + Sync + 'static;
    /// A change of the state.
    type Write: Send + Sync + 'static;
    /// What is done after the commit.
    type Action: Send + 'static;
    /// Names a waiting request.
    type RequestId: Copy + Eq + Hash + Send + 'static;
    /// The answer to a request.
    type Answer: Debug + Send + 'static;

    /// The tier, as metrics name it.
    const TIER: &'static str;
    /// The cause of the events that say that something was placed.
    const PLACED: &'static str;

    /// A state with nothing in its store but its incarnation.
    fn empty(&self, incarnation: Incarnation) -> Self::State;
    /// What a start tells the state first; `fresh`: the store was created or restored just now.
    fn started(&self, state: &Self::State, term: Term, fresh: bool) -> Vec<Self::Input>;

    /// Takes writes that were decided.
    fn apply(state: &mut Self::State, now: Now, writes: &[Self::Write]);
    /// Decides a batch on the state, which then is ahead of the store until the writes are committed.
    fn turn(state: &mut Self::State, now: Now, inputs: &[Self::Input]) -> Decision<Self>;
    /// When a turn is due that nobody asked for.
    fn next_deadline(state: &Self::State) -> Option<Instant>;
    /// The store's incarnation.
    fn incarnation(state: &Self::State) -> Incarnation;
    /// The present term.
    fn term(state: &Self::State) -> &Term;
    /// A later run of this store is known: this one changes nothing any more.
    fn is_fenced(state: &Self::State) -> bool;

    /// The request of that number.
    fn request(number: u64) -> Self::RequestId;
    /// Tells answers from what goes out to others.
    fn effect(action: Self::Action) -> Effect<Self>;
    /// Whether a durable write may be stored with the next one that cannot wait, and be lost if none comes.
    fn can_wait(_write: &Self::Write) -> bool {
        false
    }
    /// The event that a write stores.
    fn event(write: &Self::Write) -> Option<&Event>;

    /// What a durable write changes in the store; nothing for the others.
    ///
    /// # Errors
    /// When a record has no JSON: a bug.
    fn put(changes: &mut Changes, write: &Self::Write) -> Result<(), RecordError>;
    /// The writes that rebuild the state from its records, in the order in which they are to be applied.
    ///
    /// # Errors
    /// The first record that cannot be read: a state with a hole would stop what has a right to run.
    fn read(records: &mut Records<'_>) -> Result<Vec<Self::Write>, RecordError>;
}

/// First persist `writes`, then perform `actions`.
#[must_use = "a decision that is dropped never happens"]
#[derive(Debug)]
pub struct Decision<C: Core> {
    /// In order.
    pub writes: Vec<C::Write>,
    /// In order.
    pub actions: Vec<C::Action>,
}

/// An action, sorted by who performs it.
#[derive(Debug)]
pub enum Effect<C: Core> {
    /// A waiting request is answered.
    Answer(C::RequestId, C::Answer),
    /// The program's outlets perform it.
    Outward(C::Action),
}

/// A core whose jobs users ask about.
pub trait Jobs: Core {
    /// The input of a user's request.
    fn ask(request: Self::RequestId, asked: Asked, ask: JobRequest) -> Self::Input;
    /// What became of such a request; `None` is the answer to another kind of request.
    fn answered(answer: &Self::Answer) -> Option<&JobAnswer>;
    /// The job that an id or a name means.
    fn find(state: &Self::State, asked: &Asked, key: &str) -> Option<JobId>;
    /// One job by id or name.
    fn job(state: &Self::State, now: Now, asked: &Asked, key: &str) -> Option<JobView>;
    /// A job that this tier accepted itself.
    fn own(state: &Self::State, id: JobId) -> Option<&Job>;
    /// At most `limit` jobs of a tenant, and of all below it, by id. Deleted ones are left out unless their state is asked for.
    fn jobs(
        state: &Self::State,
        now: Now,
        within: &TenantPath,
        after: Option<JobId>,
        limit: usize,
        filter: Option<JobState>,
    ) -> Vec<JobView>;
    /// The brake on replacements, where it is engaged, and how many slots wait for it.
    fn brake(state: &Self::State) -> Option<(&Engaged, usize)>;
    /// The input that releases it.
    fn release_brake(request: Self::RequestId) -> Self::Input;
    /// What happened to the jobs.
    fn history(state: &Self::State) -> &History;
}

/// A core whose places a scheduler elsewhere may choose.
pub trait Placing: Jobs {
    /// Who chooses them.
    fn policy(state: &Self::State) -> &Policy;
    /// Why a scheduler elsewhere is left alone for now, if it is.
    fn resting(state: &Self::State) -> Option<&str>;
    /// The input that exchanges it; without a request the options of the program say so.
    fn exchange(request: Option<Self::RequestId>, policy: Policy) -> Self::Input;
    /// Whether this answer says that it was.
    fn is_exchanged(answer: &Self::Answer) -> bool;
    /// The input of what came of the question of that number.
    fn advised(slot: Slot, number: u64, advice: Advice) -> Self::Input;

    /// What a start tells a state whose options ask for that scheduler, if they do.
    fn begins_with(state: &Self::State, wanted: Option<&Policy>) -> Option<Self::Input> {
        let wanted = wanted.filter(|wanted| *wanted != Self::policy(state))?;
        Some(Self::exchange(None, wanted.clone()))
    }
}

/// Where decisions go after their commit. Nothing here waits.
pub trait Outlets<C: Core>: Send + 'static {
    /// Takes note of which links are open, whatever becomes of the state.
    fn note(&mut self, input: &C::Input);
    /// What a state that knows of no link is told.
    fn links(&self) -> Vec<C::Input>;
    /// The state was made from the store: at the start, and after a failed commit.
    fn loaded(&mut self, state: &C::State);
    /// These writes are in the store.
    fn committed(&mut self, state: &C::State, writes: &[C::Write]);
    /// Performs an action.
    fn perform(&mut self, action: C::Action);
    /// What the children said is forgotten with the former state: each is asked for all of it.
    fn ask_whole(&mut self);
}
