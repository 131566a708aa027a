//! Jobs that this cluster accepted itself.

use std::collections::BTreeMap;

use model::book::{Asked, JobAnswer, JobRequest, Refusal};
use model::id::InstanceId;
use model::job::Job;
use model::slot::{Role, Slot};
use model::time::Now;

use crate::state::{Copy, SlotRecord, State};
use crate::{Action, Answer, Decision, RequestId, Write};

impl State {
    pub(crate) fn job_request(
        &self,
        now: Now,
        request: RequestId,
        asked: &Asked,
        ask: &JobRequest,
    ) -> Decision {
        if let Some(refused) = ask.names().and_then(|key| self.foreign(asked, key)) {
            return answer(request, refused);
        }
        if let Some(refused) = self.no_target(ask) {
            return answer(request, JobAnswer::Refused(refused));
        }
        let copies = |job: &Job| self.holders(now, job);
        let (writes, decided) = self.book.decide(asked, now.wall, ask, &copies);
        let mut decision = answer(request, decided);
        decision.writes.extend(writes.into_iter().map(Write::from));
        decision
    }

    /// The place that a migration names and that is not here.
    fn no_target(&self, ask: &JobRequest) -> Option<Refusal> {
        let JobRequest::Migrate {
            cluster, worker, ..
        } = ask
        else {
            return None;
        };
        let this = |name: &String| {
            self.config.name.as_str() == name
                || self.cluster.is_some_and(|id| id.to_string() == *name)
        };
        let elsewhere = cluster.as_ref().filter(|name| !this(name));
        let unknown = worker
            .as_ref()
            .filter(|name| self.find_node(name).is_none());
        let named = elsewhere
            .map(|name| ("cluster", name))
            .or_else(|| unknown.map(|name| ("node", name)))?;
        Some(Refusal::NoSuchTarget {
            what: named.0,
            name: named.1.clone(),
        })
    }

    /// The copies that fill a job's slots.
    fn holders(&self, now: Now, job: &Job) -> BTreeMap<Slot, InstanceId> {
        let holder = |(slot, record): (&Slot, &SlotRecord)| {
            let holds = |copy: &&Copy| self.role(now, record, copy) == Role::Holder;
            let copy = record.copies.iter().find(holds)?;
            Some((slot.clone(), copy.desired.instance))
        };
        self.slots_of(job.id).filter_map(holder).collect()
    }

    /// Why a write to this job is not for this cluster.
    fn foreign(&self, asked: &Asked, key: &str) -> Option<JobAnswer> {
        if self.book.find(asked, key).is_ok() {
            return None;
        }
        let head = self.find_foreign(asked, key)?;
        let refusal = Refusal::OwnedElsewhere {
            job: head.name.to_string(),
            owner: "root".to_owned(),
        };
        Some(JobAnswer::Refused(refusal))
    }

    /// A deleted job that nobody has to see any more, with its history.
    pub(crate) fn expired_job(&self, now: Now) -> Option<Decision> {
        let due = self.deleted.iter().take_while(|(at, _)| *at <= now.steady);
        let id = due
            .map(|(_, id)| *id)
            .find(|id| self.book.get(*id).is_none_or(|job| self.is_over(job)))?;
        let mut decision = Decision::default();
        for event in self.history.of(id) {
            decision = decision.write(Write::ForgetEvent(id, event.id));
        }
        Some(decision.write(Write::ForgetJob(id)))
    }

    /// A key that need not be remembered any more.
    pub(crate) fn expired_submission(&self, now: Now) -> Option<Decision> {
        let key = self.book.expired_submission(now.wall)?;
        Some(Decision::default().write(Write::ForgetSubmission(key.to_owned())))
    }

    /// An event that is one too many.
    pub(crate) fn excess_event(&self) -> Option<Decision> {
        let oldest = self.history.excess()?;
        Some(Decision::default().write(Write::ForgetEvent(oldest.job, oldest.id)))
    }

    /// Gives the events among `writes` the ids that follow those of all events before.
    pub(crate) fn number_events(&self, now: Now, writes: &mut [Write]) {
        let events = writes.iter_mut().filter_map(|write| match write {
            Write::Event(event) => Some(event),
            _ => None,
        });
        for (ahead, event) in (0..).zip(events) {
            event.id = self.history.id(now, self.term.number, ahead);
        }
    }

    /// Whether nothing is left of a job.
    pub(crate) fn is_over(&self, job: &Job) -> bool {
        job.is_deleted() && self.slots_of(job.id).next().is_none()
    }
}

fn answer(request: RequestId, answer: JobAnswer) -> Decision {
    Decision::default().act(Action::Answer(request, Answer::Job(answer)))
}
