//! What users ask the root for, and what they were promised.

use std::sync::Arc;

use model::book::{Draft, JobAnswer, JobRequest};
use model::id::JobId;
use model::job::Strategy;
use model::node::Scheduling;
use root_core::Input as RootInput;

use super::super::users;
use super::{Asked, Message, World};

/// A request of somebody who sees everything.
fn seen(request: root_core::RequestId, ask: JobRequest) -> RootInput {
    RootInput::Job {
        request,
        asked: model::book::Asked::default(),
        ask,
    }
}

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
        if self.rng.percent(8) {
            self.schedule_somebody();
            return;
        }
        match (self.rng.below(13), job) {
            (10, Some(id)) => {
                let ask = JobRequest::Restart {
                    key: id.to_string(),
                    service: None,
                };
                self.root(seen(request, ask));
            }
            (11..=12, Some(id)) => {
                let ask = self.migration(id);
                self.root(seen(request, ask));
            }
            (0..=4, _) | (_, None) => {
                let id = JobId::from_bits(self.rng.bits());
                let name = format!("job-{}", self.version);
                let replicas = self.rng.between(1, 3) as u32;
                let spec = users::document(&mut self.rng, &name, replicas, self.version);
                self.waiting
                    .insert(request.0, Asked::Submit(id, Arc::clone(&spec)));
                self.root(RootInput::Job {
                    request,
                    asked: model::book::Asked::at(users::tenant(id)),
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
                    asked: model::book::Asked::default(),
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
                    asked: model::book::Asked::default(),
                    ask: JobRequest::Delete {
                        key: id.to_string(),
                    },
                });
            }
        }
    }

    fn migration(&mut self, id: JobId) -> JobRequest {
        let cluster = self.rng.percent(30);
        let worker = self.rng.percent(20);
        let strategy = match self.rng.below(3) {
            0 => Some(Strategy::StartFirst),
            1 => Some(Strategy::StopFirst),
            _ => None,
        };
        JobRequest::Migrate {
            key: id.to_string(),
            instance: self.rng.percent(50).then(|| "main/0".to_owned()),
            cluster: cluster.then(|| format!("cluster-{}", self.rng.below(2))),
            worker: worker.then(|| format!("worker-{}", self.rng.below(5))),
            strategy,
        }
    }

    /// An operator drains or cordons a worker or a cluster, quarantines a worker, or opens it again.
    fn schedule_somebody(&mut self) {
        let scheduling = match self.rng.below(5) {
            0 => Scheduling::Draining,
            1 => Scheduling::Cordoned,
            2 => Scheduling::Quarantined,
            _ => Scheduling::Open,
        };
        self.drained |= scheduling.empties();
        // A cluster is not put into quarantine.
        if scheduling != Scheduling::Quarantined && self.rng.percent(30) {
            let key = format!("cluster-{}", self.rng.below(2));
            self.schedule_cluster(&key, scheduling);
        } else {
            let index = self.rng.below(self.workers.len() as u64) as usize;
            self.schedule_worker(index, scheduling);
        }
    }

    fn schedule_cluster(&mut self, key: &str, scheduling: Scheduling) {
        self.note(format!("{key} is {}", scheduling.as_str()));
        self.requests += 1;
        self.root(RootInput::Patch {
            request: root_core::RequestId(self.requests),
            key: key.to_owned(),
            scheduling,
        });
    }

    fn schedule_worker(&mut self, index: usize, scheduling: Scheduling) {
        self.note(format!("worker {index} is {}", scheduling.as_str()));
        let cluster = self.workers[index].cluster;
        self.requests += 1;
        let patch = cluster_core::NodePatch {
            scheduling: Some(scheduling),
            ..cluster_core::NodePatch::default()
        };
        self.cluster(
            cluster,
            cluster_core::Input::Patch {
                request: cluster_core::RequestId(self.requests),
                key: format!("worker-{index}"),
                patch,
            },
        );
    }

    /// Everybody gets work again.
    pub(super) fn open_all(&mut self) {
        for index in 0..self.clusters.len() {
            self.schedule_cluster(&format!("cluster-{index}"), Scheduling::Open);
        }
        for index in 0..self.workers.len() {
            self.schedule_worker(index, Scheduling::Open);
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
