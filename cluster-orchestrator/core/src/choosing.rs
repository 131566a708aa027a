//! Which of the workers that will do gets a copy: chosen here, or asked of a scheduler elsewhere.
//!
//! # Flow of a question
//! A slot that finds workers and has no answer yet waits ([`Asks`]), and its question goes out ([`State::ask_next`]) with the
//! workers that will do. The answer wakes the slot, which looks again: what was chosen is checked against what is free by then.
//!
//! # Guarantees
//! - A scheduler elsewhere chooses among what will do, and nothing else: pins, rooms and rules are not its business.
//! - Whatever it does or does not do, its slot is placed by the declared algorithm, or waits and says why. A scheduler that
//!   cannot be reached is left alone for [`crate::Config::scheduler_pause`], and all that waits for it is looked at again.

use model::desired::Desired;
use model::id::NodeId;
use model::slot::Slot;
use model::time::Now;
use schedulers::{
    Answer, Asks, Candidate as _, Note, Offer, Policy, Question, Request, Scheduler,
    WorkerCandidate,
};

use crate::state::{State, Waiting};
use crate::{Action, Decision, Soft};

/// A worker that was chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chosen {
    pub(crate) node: NodeId,
    /// By whom, for people.
    pub(crate) by: String,
}

/// Why no worker was chosen.
pub(crate) type NotChosen = schedulers::NotChosen<NodeId>;

impl State {
    /// One of the candidates: its position, and who chose it.
    ///
    /// # Errors
    /// Why none was.
    pub(crate) fn pick(
        &self,
        slot: &Slot,
        request: &Request<'_>,
        candidates: &[WorkerCandidate<'_>],
        asks: impl FnOnce() -> Asks<NodeId>,
    ) -> Result<(usize, String), NotChosen> {
        let remote = match &self.policy {
            Policy::BuiltIn(algorithm) => {
                let chosen = algorithm.place(request, candidates)?;
                return Ok((chosen, algorithm.as_str().to_owned()));
            }
            Policy::Remote(remote) => remote,
        };
        let asks = asks();
        let known = self.questions.look(slot, asks.key);
        let chosen = remote.judge(&known, request, candidates)?;
        chosen.ok_or_else(|| NotChosen::Asking(Box::new(asks)))
    }

    /// The next question that goes out.
    pub(crate) fn ask_next(&self, now: Now) -> Option<Decision> {
        let Policy::Remote(remote) = &self.policy else {
            return None;
        };
        let slot = self.questions.next_to_ask()?;
        // It is not wanted any more, or nothing will do: it waits for that.
        let otherwise = Some(Decision::default().soft(Soft::Wake(slot.clone())));
        let asks = self.waiting.get(slot).and_then(|it| it.asks.as_deref());
        let (Some(asks), Some(wanted)) = (asks, self.wanted(slot)) else {
            return otherwise;
        };
        let request = Request {
            workload: &wanted.service.workload,
            rules: &asks.rules,
        };
        let mut candidates = self.candidates(slot);
        candidates.retain(|it| !asks.except.contains(&it.id) && it.reject(&request).is_none());
        if candidates.is_empty() {
            return otherwise;
        }
        let offers = candidates.iter().map(Offer::worker).collect();
        let question = Question::new(self.questions.next(), remote, &wanted, offers);
        let asked = Note::Asked {
            of: slot.clone(),
            key: asks.key,
            // The shell keeps the deadline; this is for the case that it does not.
            due: now.steady.plus(remote.deadline.saturating_mul(2)),
        };
        let action = Action::AskScheduler(slot.clone(), Box::new(question));
        Some(Decision::default().soft(Soft::Scheduler(asked)).act(action))
    }

    /// The scheduler elsewhere answers.
    pub(crate) fn advised(&self, now: Now, slot: &Slot, number: u64, answer: &Answer) -> Decision {
        let until = now.steady.plus(self.config.scheduler_pause);
        let note = self.questions.heard(slot, number, answer, until);
        note.map_or_else(Decision::default, |note| {
            Decision::default().soft(Soft::Scheduler(note))
        })
    }

    /// A question that nobody answered, or the end of a scheduler's rest.
    pub(crate) fn due_question(&self, now: Now) -> Option<Decision> {
        let until = now.steady.plus(self.config.scheduler_pause);
        let note = self.questions.due(now.steady, until)?;
        Some(Decision::default().soft(Soft::Scheduler(note)))
    }

    /// A slot waits for the scheduler's answer.
    pub(crate) fn asking(&self, wanted: &Desired, asks: Box<Asks<NodeId>>) -> Waiting {
        let message = format!(
            "the scheduler {} is asked where it runs",
            self.policy.name()
        );
        Waiting {
            asks: Some(asks),
            ..self.held_back_because(wanted, message)
        }
    }
}
