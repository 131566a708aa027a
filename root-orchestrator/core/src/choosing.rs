//! Which cluster may have a slot, and why none can: chosen here, or asked of a scheduler elsewhere.
//!
//! # Flow of a question
//! A vacant slot, or one whose cluster is drained, that finds clusters and has no answer yet waits ([`Asks`]), and its question
//! goes out ([`State::ask_next`]) with the clusters that will do. The answer wakes the slot, which looks again: what was chosen
//! is checked against the aggregates of then.
//!
//! # Guarantees
//! - A scheduler elsewhere chooses among what will do, and nothing else: pins, rooms and rules are not its business.
//! - Whatever it does or does not do, its slot is placed by the declared algorithm, or waits and says why. A scheduler that
//!   cannot be reached is left alone for [`crate::Config::scheduler_pause`], and all that waits for it is looked at again.
//! - What cannot wait is chosen by the declared algorithm ([`State::choose_at_once`]): steps of operations, whose clusters
//!   are mostly named, and whether another cluster could have what one offers back.

use model::desired::Desired;
use model::id::ClusterId;
use model::job::ServiceSpec;
use model::reason::{Reason, ReasonCode, Rejections};
use model::slot::Slot;
use model::time::Now;
use schedulers::{
    Answer, Asks, Candidate, ClusterCandidate, Note, Offer, Policy, Question, Request, Scheduler,
    Unplaceable,
};

use crate::state::{SlotRecord, Stage, State, Waiting};
use crate::{Action, Decision, Soft};

/// Who chose, where an operation named the cluster.
pub(crate) const ORDER: &str = "the operation";

/// A cluster that was chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chosen {
    pub(crate) cluster: ClusterId,
    /// By whom, for people.
    pub(crate) by: String,
}

/// Why no cluster was chosen.
pub(crate) type NotChosen = schedulers::NotChosen<ClusterId>;

impl State {
    /// The cluster for a slot.
    ///
    /// # Errors
    /// Why none was chosen.
    pub(crate) fn choose(
        &self,
        slot: &Slot,
        wanted: &Desired,
        except: &[ClusterId],
    ) -> Result<Chosen, NotChosen> {
        let Policy::Remote(remote) = &self.policy else {
            return Ok(self.choose_at_once(slot, wanted, except)?);
        };
        let request = request(wanted);
        let candidates = self.candidates_but(slot, except);
        let asks = Asks::new(wanted, request.rules, except.to_vec());
        let known = self.questions.look(slot, asks.key);
        match remote.judge(&known, &request, &candidates)? {
            Some(chosen) => Ok(chosen_of(&candidates, chosen)?),
            None => Err(NotChosen::Asking(Box::new(asks))),
        }
    }

    /// The cluster for a slot, where nobody elsewhere can be waited for.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn choose_at_once(
        &self,
        slot: &Slot,
        wanted: &Desired,
        except: &[ClusterId],
    ) -> Result<Chosen, Unplaceable> {
        let candidates = self.candidates_but(slot, except);
        let algorithm = self.policy.at_once();
        let chosen = algorithm.place(&request(wanted), &candidates)?;
        chosen_of(&candidates, (chosen, algorithm.as_str().to_owned()))
    }

    fn candidates_but<'a>(
        &'a self,
        slot: &'a Slot,
        except: &[ClusterId],
    ) -> Vec<ClusterCandidate<'a>> {
        let all = self.candidates(slot);
        all.filter(|candidate| !except.contains(&candidate.id))
            .collect()
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
        let mut candidates = self.candidates_but(slot, &asks.except);
        candidates.retain(|candidate| candidate.reject(&request).is_none());
        if candidates.is_empty() {
            return otherwise;
        }
        let offers = candidates.iter().map(|it| Offer::cluster(it, &request));
        let question = Question::new(self.questions.next(), remote, &wanted, offers.collect());
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

    /// A question that nobody answered, the end of a scheduler's rest, or a slot that it failed on and is asked about again.
    pub(crate) fn due_question(&self, now: Now) -> Option<Decision> {
        let until = now.steady.plus(self.config.scheduler_pause);
        if let Some(note) = self.questions.due(now.steady, until) {
            return Some(Decision::default().soft(Soft::Scheduler(note)));
        }
        let (_, slot) = self.again.first().filter(|(at, _)| *at <= now.steady)?;
        Some(Decision::default().soft(Soft::Again(slot.clone())))
    }

    /// The failure of the scheduler on that slot, if it is not long ago: so that one document cannot keep it failing.
    pub(crate) fn known_fault(&self, now: Now, wanted: &Desired) -> Option<Waiting> {
        let known = self.waiting.get(&wanted.slot)?;
        let lasts = known.again_at.is_some_and(|at| at > now.steady);
        (lasts && known.class == class(&wanted.service)).then(|| known.clone())
    }

    /// A slot for which no cluster was chosen waits.
    pub(crate) fn not_chosen(&self, now: Now, wanted: &Desired, why: NotChosen) -> Waiting {
        match why {
            NotChosen::Asking(asks) => self.asking(wanted, asks),
            NotChosen::Unplaceable(unplaceable) => {
                self.unplaced(now, class(&wanted.service), unplaceable, &wanted.service)
            }
        }
    }

    /// A slot waits for the scheduler's answer.
    pub(crate) fn asking(&self, wanted: &Desired, asks: Box<Asks<ClusterId>>) -> Waiting {
        let message = format!(
            "the scheduler {} is asked which cluster gets it",
            self.policy.name()
        );
        Waiting {
            reason: Reason::new(ReasonCode::Requested, message),
            rejections: Rejections::default(),
            class: class(&wanted.service),
            again_at: None,
            asks: Some(asks),
        }
    }

    /// A slot that no cluster can host now, or that the scheduler does not place.
    pub(crate) fn unplaced(
        &self,
        now: Now,
        class: String,
        unplaceable: Unplaceable,
        service: &ServiceSpec,
    ) -> Waiting {
        let fault = unplaceable.fault.as_ref();
        Waiting {
            again_at: fault.map(|_| now.steady.plus(self.config.scheduler_pause)),
            reason: self.no_cluster(&unplaceable, service),
            rejections: unplaceable.rejections,
            class,
            asks: None,
        }
    }

    pub(crate) fn candidates<'a>(
        &'a self,
        slot: &'a Slot,
    ) -> impl Iterator<Item = ClusterCandidate<'a>> {
        let service = (slot.job, slot.service.clone());
        let refusals = self.refusals.get(slot);
        self.clusters
            .iter()
            .map(move |(id, cluster)| ClusterCandidate {
                id: *id,
                name: &cluster.record.name,
                location: &cluster.record.location,
                reachable: cluster.is_heard(),
                scheduling: cluster.record.scheduling,
                aggregate: &cluster.aggregate,
                pending: cluster.pending.total(),
                refused: refusals
                    .and_then(|known| known.get(id))
                    .is_some_and(|at| *at >= cluster.capacity),
                replicas: cluster.services.get(&service).copied().unwrap_or(0),
            })
    }

    /// Where a vacant slot goes: where an order says, if that can have it.
    pub(crate) fn destination(
        &self,
        slot: &Slot,
        wanted: &Desired,
        record: &SlotRecord,
    ) -> Result<Chosen, NotChosen> {
        let named = record
            .moving
            .as_ref()
            .and_then(|moving| match moving.stage {
                Stage::Away { to } => Some(to),
                Stage::Inside { .. } | Stage::Across { .. } => None,
            });
        let request = request(wanted);
        let fits = |to: &ClusterId| {
            self.candidates(slot)
                .any(|candidate| candidate.id == *to && candidate.reject(&request).is_none())
        };
        match named.filter(fits) {
            Some(cluster) => Ok(Chosen {
                cluster,
                by: ORDER.to_owned(),
            }),
            None => self.choose(slot, wanted, &[]),
        }
    }

    /// The sentence for what no cluster can host.
    pub(crate) fn no_cluster(&self, unplaceable: &Unplaceable, service: &ServiceSpec) -> Reason {
        if let Some(fault) = unplaceable.by_scheduler() {
            return fault;
        }
        let rejections = &unplaceable.rejections;
        if self.clusters.is_empty() {
            let message = "no cluster has joined yet; start a cluster-orchestrator with --root and this root's address";
            return Reason::new(ReasonCode::NoCluster, message);
        }
        let rules = &service.placement;
        if let Some(wish) = rules.cluster.as_ref().or(rules.location.as_ref())
            && rejections.iter().all(|(code, ..)| {
                matches!(code, ReasonCode::NotPinned | ReasonCode::LocationMismatch)
            })
        {
            return Reason::new(
                ReasonCode::NoSuchCluster,
                format!("there is no cluster named {wish:?}, or at that place"),
            );
        }
        let code = rejections.main().unwrap_or(ReasonCode::NoCluster);
        let request = Request {
            workload: &service.workload,
            rules: &service.placement,
        };
        Reason::new(code, unplaceable.sentence(&request, "cluster"))
    }
}

fn request(wanted: &Desired) -> Request<'_> {
    Request {
        workload: &wanted.service.workload,
        rules: &wanted.service.placement,
    }
}

fn chosen_of(
    candidates: &[ClusterCandidate<'_>],
    (position, by): (usize, String),
) -> Result<Chosen, Unplaceable> {
    let chosen = candidates.get(position);
    let cluster = chosen.map(|candidate| candidate.id);
    let cluster = cluster.ok_or_else(Unplaceable::default)?;
    Ok(Chosen { cluster, by })
}

/// Slots of one class fit or do not fit together.
pub(crate) fn class(service: &ServiceSpec) -> String {
    let workload = &service.workload;
    format!(
        "{:?} {} {:?}",
        workload.resources, workload.runtime, service.placement
    )
}
