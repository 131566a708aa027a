//! Requests of users.

use model::book::{Applied, Draft};
use model::job::Job;
use model::time::Now;

use crate::state::State;
use crate::{Action, Answer, Decision, RequestId, Write};

impl State {
    pub(crate) fn submit(&self, now: Now, request: RequestId, drafts: &[Draft]) -> Decision {
        if self.fenced {
            return answer(request, Answer::Fenced);
        }
        match self.book.submit(&self.default_tenant, drafts, now.wall) {
            Ok(jobs) => {
                let ids = jobs.iter().map(|job| job.id).collect();
                let mut decision = Decision::default();
                decision.writes.extend(jobs.into_iter().map(Write::Job));
                decision.and(answer(request, Answer::Accepted(ids)))
            }
            Err(refusal) => answer(request, Answer::Refused(refusal)),
        }
    }

    pub(crate) fn put(&self, now: Now, request: RequestId, path: &str, draft: &Draft) -> Decision {
        if self.fenced {
            return answer(request, Answer::Fenced);
        }
        match self.book.put(&self.default_tenant, path, draft, now.wall) {
            Ok(Applied::Same(id)) => answer(request, Answer::Applied(id)),
            Ok(Applied::Created(job) | Applied::Changed(job)) => {
                let id = job.id;
                Decision::default()
                    .write(Write::Job(job))
                    .and(answer(request, Answer::Applied(id)))
            }
            Err(refusal) => answer(request, Answer::Refused(refusal)),
        }
    }

    pub(crate) fn delete(&self, now: Now, request: RequestId, key: &str) -> Decision {
        if self.fenced {
            return answer(request, Answer::Fenced);
        }
        match self.book.delete(&self.default_tenant, key, now.wall) {
            Ok(job) => {
                let id = job.id;
                Decision::default()
                    .write(Write::Job(job))
                    .and(answer(request, Answer::Deleting(id)))
            }
            Err(refusal) => answer(request, Answer::Refused(refusal)),
        }
    }

    /// A deleted job that nobody has to see any more, with its history.
    pub(crate) fn expired_job(&self, now: Now) -> Option<Decision> {
        let due = self.deleted.iter().take_while(|(at, _)| *at <= now.steady);
        let id = due
            .map(|(_, id)| *id)
            .find(|id| self.book.get(*id).is_none_or(|job| self.is_over(job)))?;
        let mut decision = Decision::default();
        for event in self.events(id) {
            decision = decision.write(Write::ForgetEvent(id, event.id));
        }
        Some(decision.write(Write::ForgetJob(id)))
    }

    /// Whether nothing is left of a job.
    pub(crate) fn is_over(&self, job: &Job) -> bool {
        job.is_deleted() && self.slots_of(job.id).next().is_none()
    }
}

fn answer(request: RequestId, answer: Answer) -> Decision {
    Decision::default().act(Action::Answer(request, answer))
}
