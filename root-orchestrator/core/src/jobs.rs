//! Requests of users.

use std::collections::BTreeMap;

use model::book::{Asked, JobAnswer, JobRequest, Refusal};
use model::id::InstanceId;
use model::job::Job;
use model::slot::Slot;
use model::time::Now;

use crate::state::{SlotRecord, State};
use crate::{Action, Answer, Decision, RequestId, Write};

impl State {
    pub(crate) fn job_request(
        &self,
        now: Now,
        request: RequestId,
        asked: &Asked,
        ask: &JobRequest,
    ) -> Decision {
        if let JobRequest::Migrate {
            cluster: Some(name),
            ..
        } = ask
            && self.find_cluster(name).is_none()
        {
            let refusal = Refusal::NoSuchTarget {
                what: "cluster",
                name: name.clone(),
            };
            return answer(request, JobAnswer::Refused(refusal));
        }
        let copies = |job: &Job| self.holders(job);
        let (writes, decided) = self.book.decide(asked, now.wall, ask, &copies);
        let mut decision = answer(request, decided);
        decision.writes.extend(writes.into_iter().map(Write::from));
        decision
    }

    /// The copies that fill a job's slots, as their clusters say.
    fn holders(&self, job: &Job) -> BTreeMap<Slot, InstanceId> {
        let holder = |(slot, record): (&Slot, &SlotRecord)| {
            let holding = record.holdings.iter().find(|holding| {
                holding.counts() && !record.is_successor(holding) && !self.is_lost(holding.cluster)
            })?;
            let copy = self.report_of(holding)?.holder()?;
            Some((slot.clone(), copy.instance))
        };
        self.slots_of(job.id).filter_map(holder).collect()
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
