//! The life of one instance, as its cluster and its root see it.
//!
//! `InstanceState::on` is the whole table of what may follow what; a golden test prints it into
//! `docs/instance-states.md`. A duplicate or stale report is ordinary and answered `Ignored`.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::reason::{Reason, Rejections};
use crate::time::Wall;
use crate::workload::Transport;

/// How an application ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Exit {
    /// Exit code, when it ended by itself.
    pub code: Option<i32>,
    /// Signal number, when it was killed.
    pub signal: Option<i32>,
    /// Killed by the kernel for memory.
    pub oom: bool,
    /// When, by the worker's wall clock.
    pub at: Wall,
    /// Its last lines of output.
    pub log_tail: Vec<String>,
}

impl Exit {
    /// Whether it ended by itself with exit code 0.
    pub fn success(&self) -> bool {
        self.code == Some(0)
    }
}

/// Where a published port can be reached.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// Port inside the container.
    pub container_port: u16,
    /// Port on the worker.
    pub host_port: u16,
    /// TCP or UDP.
    pub transport: Transport,
}

/// What the health check of a running instance says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// No probe has succeeded since its start, and not enough have failed.
    Starting,
    /// A probe succeeded, and not enough have failed since.
    Healthy,
    /// Too many probes failed in a row.
    Unhealthy,
}

impl Health {
    /// The word in answers and digests.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a worker observed of an instance; the only source of "it runs".
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observed {
    /// Accepted; its image is fetched or it is being started.
    Starting,
    /// It runs.
    Running {
        /// Since when, by the worker's wall clock.
        since: Wall,
        /// Published ports.
        endpoints: Vec<Endpoint>,
        /// What its health check says; `None` where it has none.
        health: Option<Health>,
    },
    /// It does not run, and the worker will try again, or not (`next_attempt` is `None`).
    Failed {
        /// Why.
        reason: Reason,
        /// When the worker tries again, by its wall clock.
        next_attempt: Option<Wall>,
    },
    /// It ended and its restart policy leaves it ended.
    Ended,
}

/// An observation with what goes along.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The state.
    pub observed: Observed,
    /// Starts after the first one.
    pub restarts: u32,
    /// How it last ended.
    pub last_exit: Option<Exit>,
    /// When the worker saw this, by its wall clock.
    pub at: Wall,
}

impl Report {
    /// Whether it runs and its check, if it has one, has said how it is.
    pub const fn has_settled(&self) -> bool {
        match &self.observed {
            Observed::Running { health, .. } => !matches!(health, Some(Health::Starting)),
            Observed::Starting | Observed::Failed { .. } | Observed::Ended => false,
        }
    }

    /// Whether it does not run and its worker will not, or need not, be waited for any longer: there is no next attempt, or
    /// there were several.
    pub const fn has_given_up(&self) -> bool {
        /// So many starts are enough to tell.
        const ATTEMPTS: u32 = 3;
        match &self.observed {
            Observed::Failed {
                next_attempt: Some(_),
                ..
            } => self.restarts + 1 >= ATTEMPTS,
            Observed::Failed {
                next_attempt: None, ..
            }
            | Observed::Ended => true,
            Observed::Starting | Observed::Running { .. } => false,
        }
    }

    /// Whether it runs and its check says that it does not do well.
    pub const fn is_unhealthy(&self) -> bool {
        match &self.observed {
            Observed::Running { health, .. } => matches!(health, Some(Health::Unhealthy)),
            Observed::Starting | Observed::Failed { .. } | Observed::Ended => false,
        }
    }

    /// One word for what was observed; failures carry their code.
    pub const fn word(&self) -> &'static str {
        match &self.observed {
            Observed::Starting => "starting",
            Observed::Running { .. } => "running",
            Observed::Failed { reason, .. } => reason.code.as_str(),
            Observed::Ended => "ended",
        }
    }

    /// What the health check says, of what runs and has one.
    pub const fn health(&self) -> Option<Health> {
        match &self.observed {
            Observed::Running { health, .. } => *health,
            Observed::Starting | Observed::Failed { .. } | Observed::Ended => None,
        }
    }

    /// Whether it does its work: it runs, and is healthy if it has a health check.
    pub const fn is_ready(&self) -> bool {
        match &self.observed {
            Observed::Running { health, .. } => matches!(health, None | Some(Health::Healthy)),
            Observed::Starting | Observed::Failed { .. } | Observed::Ended => false,
        }
    }
}

/// The state of an instance. The wire names are the seed's (`as_str`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InstanceState {
    /// Accepted by its owner; no cluster chosen yet.
    Requested,
    /// A cluster is chosen; no worker yet.
    ScheduledCluster,
    /// A worker is chosen; it has not been seen running.
    ScheduledNode,
    /// Its worker saw it run.
    Running(Report),
    /// It does not run though it should; its worker or its owner tries again, or says why not.
    Failed(Report),
    /// Nothing can host it now; tried again when capacity that fits appears.
    NotDeployed {
        /// The sentence and the code.
        reason: Reason,
        /// Counted over the candidates of the last try.
        rejections: Rejections,
    },
    /// Its worker or cluster cannot be heard.
    Unknown {
        /// The last thing heard, if any.
        last: Option<Report>,
    },
    /// Ended: as told, or by itself for good.
    Terminated {
        /// How it ended by itself.
        last: Option<Report>,
    },
}

/// What can happen to an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InstanceEvent {
    /// The owner chose a cluster.
    Assigned,
    /// The cluster chose a worker.
    Placed,
    /// No candidate fits.
    Rejected {
        /// The sentence and the code.
        reason: Reason,
        /// Counted.
        rejections: Rejections,
    },
    /// Its worker reported.
    Reported(Report),
    /// Its worker or cluster is lost.
    Lost,
    /// Its worker or cluster is back; what it runs is not heard yet.
    Returned,
    /// Its cluster gave the slot up again.
    HandedUp,
    /// It was stopped as told and nothing is left of it.
    Gone,
}

/// What an event does to a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transition {
    /// The state after it.
    To(InstanceState),
    /// A duplicate, or too late: nothing changes.
    Ignored,
}

impl InstanceState {
    /// The seed's name, as in every answer.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Requested => "REQUESTED",
            Self::ScheduledCluster => "SCHEDULED_CLUSTER",
            Self::ScheduledNode => "SCHEDULED_NODE",
            Self::Running(_) => "RUNNING",
            Self::Failed(_) => "FAILED",
            Self::NotDeployed { .. } => "NOT_DEPLOYED",
            Self::Unknown { .. } => "UNKNOWN",
            Self::Terminated { .. } => "TERMINATED",
        }
    }

    /// The last report heard from the worker.
    pub const fn report(&self) -> Option<&Report> {
        match self {
            Self::Running(report) | Self::Failed(report) => Some(report),
            Self::Unknown { last } | Self::Terminated { last } => last.as_ref(),
            Self::Requested
            | Self::ScheduledCluster
            | Self::ScheduledNode
            | Self::NotDeployed { .. } => None,
        }
    }

    /// Whether nothing more can happen to it.
    pub const fn is_final(&self) -> bool {
        matches!(self, Self::Terminated { .. })
    }

    /// Whether nothing more is to be waited for in an operation on its job. Of a copy that took over from another
    /// (`replaced`) it is that it works, or has done its work; of any other that it runs, or that it does not, or cannot be
    /// heard.
    pub const fn has_settled(&self, replaced: bool) -> bool {
        match self {
            Self::Running(report) => !replaced || report.has_settled(),
            Self::Terminated { .. } => true,
            Self::Failed(_) | Self::Unknown { .. } | Self::NotDeployed { .. } => !replaced,
            Self::Requested | Self::ScheduledCluster | Self::ScheduledNode => false,
        }
    }

    /// Whether it does its work, or was one that ends, and has done it.
    pub const fn is_ready(&self) -> bool {
        match self {
            Self::Running(report) => report.is_ready(),
            Self::Terminated { .. } => true,
            Self::Requested
            | Self::ScheduledCluster
            | Self::ScheduledNode
            | Self::Failed(_)
            | Self::NotDeployed { .. }
            | Self::Unknown { .. } => false,
        }
    }

    /// The state after `event`: the whole table of an instance's life.
    #[must_use]
    pub fn on(&self, event: &InstanceEvent) -> Transition {
        use InstanceEvent as E;
        match (self, event) {
            // What has ended stays ended; a late report changes nothing.
            (Self::Terminated { .. }, _) => Transition::Ignored,
            (_, E::Reported(report)) => self.on_report(report),
            (Self::Requested | Self::NotDeployed { .. }, E::Assigned) => {
                Transition::To(Self::ScheduledCluster)
            }
            (Self::Requested | Self::ScheduledCluster | Self::NotDeployed { .. }, E::Placed) => {
                Transition::To(Self::ScheduledNode)
            }
            (Self::Requested | Self::ScheduledCluster, E::Rejected { reason, rejections }) => {
                Transition::To(Self::NotDeployed {
                    reason: reason.clone(),
                    rejections: rejections.clone(),
                })
            }
            (
                Self::NotDeployed {
                    reason: known,
                    rejections: counted,
                },
                E::Rejected { reason, rejections },
            ) => {
                if known == reason && counted == rejections {
                    Transition::Ignored
                } else {
                    Transition::To(Self::NotDeployed {
                        reason: reason.clone(),
                        rejections: rejections.clone(),
                    })
                }
            }
            (Self::ScheduledCluster | Self::ScheduledNode, E::HandedUp) => {
                Transition::To(Self::Requested)
            }
            (Self::ScheduledCluster | Self::ScheduledNode, E::Lost) => {
                Transition::To(Self::Unknown { last: None })
            }
            (Self::Running(report) | Self::Failed(report), E::Lost) => {
                Transition::To(Self::Unknown {
                    last: Some(report.clone()),
                })
            }
            (_, E::Gone) => Transition::To(Self::Terminated {
                last: self.report().cloned(),
            }),
            // Only the worker's next report says what it is now.
            (Self::Unknown { .. }, E::Returned) => Transition::To(Self::ScheduledNode),
            (_, _) => Transition::Ignored,
        }
    }

    fn on_report(&self, report: &Report) -> Transition {
        let next = match &report.observed {
            // "Starting" is what SCHEDULED_NODE means; between two attempts the failure is what matters.
            Observed::Starting => match self {
                Self::Failed(_) | Self::ScheduledNode => return Transition::Ignored,
                Self::Requested
                | Self::ScheduledCluster
                | Self::Running(_)
                | Self::NotDeployed { .. }
                | Self::Unknown { .. }
                | Self::Terminated { .. } => Self::ScheduledNode,
            },
            Observed::Running { .. } => Self::Running(report.clone()),
            Observed::Failed { .. } => Self::Failed(report.clone()),
            Observed::Ended
                if report
                    .last_exit
                    .as_ref()
                    .is_some_and(|exit| !exit.success()) =>
            {
                Self::Failed(report.clone())
            }
            Observed::Ended => Self::Terminated {
                last: Some(report.clone()),
            },
        };
        if next == *self {
            Transition::Ignored
        } else {
            Transition::To(next)
        }
    }
}

impl fmt::Display for InstanceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
