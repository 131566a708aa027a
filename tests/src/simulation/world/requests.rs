//! What users ask the root for, and what they were promised.

use std::sync::Arc;

use model::book::{Draft, JobAnswer, JobRequest};
use model::id::JobId;
use root_core::Input as RootInput;

use super::super::users;
use super::{Asked, Message, World};

impl World {
    pub(super) fn user(&mut self) {
        if self.calm {
            return;
        }
        let delay = self.rng.between(200, 8_000);
        self.later(delay, Message::User);
        self.version += 1;
        let known: Vec<JobId> = self
            .accepted
            .keys()
            .filter(|id| !self.deleted.contains(id))
            .copied()
            .collect();
        let job = self.rng.pick(&known).copied();
        self.requests += 1;
        let request = root_core::RequestId(self.requests);
        match (self.rng.below(10), job) {
            (0..=4, _) | (_, None) => {
                let id = JobId::from_bits(self.rng.bits());
                let name = format!("job-{}", self.version);
                let replicas = self.rng.between(1, 3) as u32;
                let spec = users::document(&mut self.rng, &name, replicas, self.version);
                self.waiting
                    .insert(request.0, Asked::Submit(id, Arc::clone(&spec)));
                self.root(RootInput::Job {
                    request,
                    ask: JobRequest::Submit {
                        drafts: vec![Draft { id, spec }],
                        key: None,
                    },
                });
            }
            (5..=7, Some(id)) => {
                let Some(old) = self.accepted.get(&id).cloned() else {
                    return;
                };
                let spec = users::changed(&mut self.rng, &old, self.version);
                self.waiting
                    .insert(request.0, Asked::Put(Arc::clone(&spec)));
                self.root(RootInput::Job {
                    request,
                    ask: JobRequest::Put {
                        path: id.to_string(),
                        draft: Draft { id, spec },
                    },
                });
            }
            (_, Some(id)) => {
                self.waiting.insert(request.0, Asked::Delete);
                self.root(RootInput::Job {
                    request,
                    ask: JobRequest::Delete {
                        key: id.to_string(),
                    },
                });
            }
        }
    }

    pub(super) fn answered(&mut self, request: u64, answer: &root_core::Answer) {
        use root_core::Answer;
        match (self.waiting.remove(&request), answer) {
            (Some(Asked::Submit(id, spec)), Answer::Job(JobAnswer::Accepted(_))) => {
                self.outcome.accepted += 1;
                self.accepted.insert(id, spec);
            }
            (Some(Asked::Put(spec)), Answer::Job(JobAnswer::Applied(id))) => {
                self.accepted.insert(*id, spec);
            }
            (Some(Asked::Delete), Answer::Job(JobAnswer::Deleting(id))) => {
                self.deleted.insert(*id);
            }
            (_, _) => {}
        }
    }
}
