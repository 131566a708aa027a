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

use std::sync::Arc;

use model::desired::Desired;
use model::id::NodeId;
use model::job::PlacementRules;
use model::slot::Slot;
use model::time::Now;
use schedulers::{
    Answer, Candidate as _, Look, Offer, Policy, Question, Remote, Request, Scheduler, TRIES,
    Unplaceable, WorkerCandidate,
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
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum NotChosen {
    /// None will do, or the scheduler failed.
    Unplaceable(Unplaceable),
    /// The scheduler elsewhere has not said yet.
    Asking(Box<Asks>),
}

impl From<Unplaceable> for NotChosen {
    fn from(unplaceable: Unplaceable) -> Self {
        Self::Unplaceable(unplaceable)
    }
}

/// What a scheduler elsewhere is to be asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Asks {
    /// Tells apart what makes it another question.
    pub(crate) key: u64,
    /// Where the copy may run.
    pub(crate) rules: PlacementRules,
    /// Workers that it must not have.
    pub(crate) except: Vec<NodeId>,
}

impl Asks {
    pub(crate) fn new(wanted: &Desired, rules: &PlacementRules, except: Vec<NodeId>) -> Self {
        let workload = &wanted.service.workload;
        let all = format!("{rules:?} {except:?}");
        let mark = sync::mark(&[&workload.hash, &all]);
        Self {
            key: mark.0 as u64,
            rules: rules.clone(),
            except,
        }
    }
}

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
        asks: impl FnOnce() -> Asks,
    ) -> Result<(usize, String), NotChosen> {
        let remote = match &self.policy {
            Policy::BuiltIn(algorithm) => {
                let chosen = algorithm.place(request, candidates)?;
                return Ok((chosen, algorithm.as_str().to_owned()));
            }
            Policy::Remote(remote) => remote,
        };
        // Where nothing will do, there is nothing to choose.
        schedulers::Algorithm::FirstFit.place(request, candidates)?;
        let asks = asks();
        let instead = |why: &str| instead(remote, why, request, candidates);
        match self.questions.look(slot, asks.key) {
            Look::Wait => Err(NotChosen::Asking(Box::new(asks))),
            Look::Rests(why) => instead(why),
            Look::Answered(Answer::Silence(why) | Answer::Unusable(why), _) => instead(why),
            Look::Answered(Answer::Nobody(why), _) => {
                Err(Unplaceable::declined(&remote.url, why).into())
            }
            Look::Answered(Answer::Choose(key), tries) => {
                let is_meant = |candidate: &WorkerCandidate<'_>| {
                    candidate.id.to_string() == *key || candidate.name.as_str() == key
                };
                let Some(chosen) = candidates.iter().position(is_meant) else {
                    return instead(&format!("it chose {key:?}, which was not offered"));
                };
                let will_do = |candidate: &WorkerCandidate<'_>| candidate.reject(request).is_none();
                if candidates.get(chosen).is_some_and(will_do) {
                    return Ok((chosen, remote.url.clone()));
                }
                if tries >= TRIES {
                    return instead(&format!(
                        "it chose {key}, which had no room any more when the answer came, for the {tries}th time"
                    ));
                }
                Err(NotChosen::Asking(Box::new(asks)))
            }
        }
    }

    /// The next question that goes out.
    pub(crate) fn ask_next(&self, now: Now) -> Option<Decision> {
        let Policy::Remote(remote) = &self.policy else {
            return None;
        };
        // Else all that wait would be looked at in vain, each turn.
        if !self.questions.has_room() {
            return None;
        }
        let asks = |slot: &Slot| self.waiting.get(slot)?.asks.as_deref();
        let (slot, asks) = self
            .asking
            .iter()
            .filter_map(|slot| Some((slot, asks(slot)?)))
            .find(|(slot, asks)| self.questions.may_ask(slot, asks.key))?;
        let Some(wanted) = self.wanted(slot) else {
            return Some(Decision::default().soft(Soft::Wake(slot.clone())));
        };
        let request = Request {
            workload: &wanted.service.workload,
            rules: &asks.rules,
        };
        let mut candidates = self.candidates(slot);
        candidates.retain(|it| !asks.except.contains(&it.id) && it.reject(&request).is_none());
        if candidates.is_empty() {
            // Nothing will do any more: it waits for that.
            return Some(Decision::default().soft(Soft::Wake(slot.clone())));
        }
        let question = Question {
            number: self.questions.next(),
            remote: remote.clone(),
            job: wanted.job.name.clone(),
            service: slot.service.clone(),
            index: slot.index,
            spec: Arc::clone(&wanted.service),
            offers: candidates.iter().map(Offer::worker).collect(),
        };
        let asked = Soft::AskedScheduler {
            slot: slot.clone(),
            key: asks.key,
            // The shell keeps the deadline; this is for the case that it does not.
            due: now.steady.plus(remote.deadline.saturating_mul(2)),
        };
        let action = Action::AskScheduler(slot.clone(), Box::new(question));
        Some(Decision::default().soft(asked).act(action))
    }

    /// The scheduler elsewhere answers.
    pub(crate) fn advised(&self, now: Now, slot: &Slot, number: u64, answer: &Answer) -> Decision {
        if !self.questions.awaits(slot, number) {
            return Decision::default();
        }
        match answer {
            Answer::Silence(why) => self.leave_alone(now, why),
            Answer::Choose(_) | Answer::Nobody(_) | Answer::Unusable(_) => Decision::default()
                .soft(Soft::Advised {
                    slot: slot.clone(),
                    answer: answer.clone(),
                }),
        }
    }

    /// A question that nobody answered, or the end of a scheduler's rest.
    pub(crate) fn due_question(&self, now: Now) -> Option<Decision> {
        if self.questions.is_rested(now.steady) {
            return Some(Decision::default().soft(Soft::SchedulerResumes));
        }
        self.questions.overdue(now.steady)?;
        Some(self.leave_alone(now, "no answer came"))
    }

    /// The scheduler elsewhere is not asked for a while.
    fn leave_alone(&self, now: Now, why: &str) -> Decision {
        Decision::default().soft(Soft::SchedulerRests {
            until: now.steady.plus(self.config.scheduler_pause),
            why: why.to_owned(),
        })
    }

    /// A slot waits for the scheduler's answer.
    pub(crate) fn asking(&self, wanted: &Desired, asks: Box<Asks>) -> Waiting {
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

/// The choice where a scheduler elsewhere made none.
fn instead(
    remote: &Remote,
    why: &str,
    request: &Request<'_>,
    candidates: &[WorkerCandidate<'_>],
) -> Result<(usize, String), NotChosen> {
    let Some(algorithm) = remote.fallback else {
        return Err(Unplaceable::fault(&remote.url, why).into());
    };
    let chosen = algorithm.place(request, candidates)?;
    let by = format!(
        "{} (the scheduler {} failed: {why})",
        algorithm.as_str(),
        remote.url
    );
    Ok((chosen, by))
}
