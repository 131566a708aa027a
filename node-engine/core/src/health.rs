//! Health checks: when a running instance is probed, and what the answers mean.
//!
//! # Path of a check
//! An instance begins to run -> its [`Checkup`] is due at once -> `Action::Probe` -> `Input::Probed` -> the next is due.
//! The first success makes it healthy; from then on it is probed once an interval. Before that it is probed more often,
//! so that a quick application is healthy soon; of the failures meanwhile one an interval counts, and none before the
//! start period is over. `retries` counted failures in a row make it unhealthy: that is reported, and then, unless its
//! restart policy is `never`, it is stopped and started again after the same wait as after a crash.
//!
//! What has no check is on trial for its service's `min_ready`: its health is "starting" meanwhile, and none afterwards.

use std::time::Duration;

use model::id::InstanceId;
use model::instance::Health;
use model::reason::{Reason, ReasonCode};
use model::time::{Instant, Now, Wall};
use model::workload::{HealthCheck, Probe, Restart};

use crate::{
    Action, Again, Checkup, Decision, Journal, NextProbe, ProbeId, ProbeOutcome, Run, State, Write,
};

impl Checkup {
    /// Of an instance that runs since now.
    pub(crate) fn begin(now: Instant, check: &HealthCheck) -> Self {
        Self {
            said: Health::Starting,
            failed: 0,
            counts_from: now.plus(check.start_period.max(check.interval)),
            next: NextProbe::Due(now),
        }
    }

    /// Of an instance without a check that began to run at `since`: until it has run for `min_ready` it may still be one
    /// that ends at once.
    pub(crate) fn trial(now: Now, since: Wall, min_ready: Duration) -> Option<Self> {
        let run = Duration::from_millis(u64::try_from(now.wall.0 - since.0).unwrap_or_default());
        let left = min_ready.checked_sub(run).filter(|left| !left.is_zero())?;
        Some(Self {
            said: Health::Starting,
            failed: 0,
            counts_from: now.steady,
            next: NextProbe::Due(now.steady.plus(left)),
        })
    }

    /// After an answer.
    fn after(
        &self,
        now: Instant,
        check: &HealthCheck,
        outcome: &ProbeOutcome,
        early: Duration,
    ) -> Self {
        match outcome {
            ProbeOutcome::Good => Self {
                said: Health::Healthy,
                failed: 0,
                counts_from: now,
                next: NextProbe::Due(now.plus(check.interval)),
            },
            ProbeOutcome::Bad(_) => {
                let counts = self.counts_from <= now;
                let failed = self.failed.saturating_add(u32::from(counts));
                let pace = match self.said {
                    Health::Starting => check.interval.min(early),
                    Health::Healthy | Health::Unhealthy => check.interval,
                };
                Self {
                    said: if failed >= check.retries.max(1) {
                        Health::Unhealthy
                    } else {
                        self.said
                    },
                    failed,
                    counts_from: if counts {
                        now.plus(check.interval)
                    } else {
                        self.counts_from
                    },
                    next: NextProbe::Due(now.plus(pace)),
                }
            }
        }
    }
}

impl State {
    /// The check of an instance, if it has one.
    pub(crate) fn check(&self, instance: InstanceId) -> Option<&HealthCheck> {
        self.desired(instance)?.service.workload.health.as_ref()
    }

    /// The next probe that is due.
    pub(crate) fn probe_one(&self, now: Now) -> Option<Decision> {
        let (_, instance) = self.probes.first().filter(|(at, _)| *at <= now.steady)?;
        let Some(Run::Running {
            endpoints,
            checkup: Some(checkup),
            ..
        }) = self.runs.get(instance)
        else {
            return None;
        };
        let (Some(journal), Some(check)) = (self.journal.get(instance), self.check(*instance))
        else {
            // It has run for long enough, or is leaving: nobody asks any more how it is.
            return Some(Decision::default().write(Write::Checkup {
                instance: *instance,
                checkup: None,
            }));
        };
        let id = ProbeId {
            boot: self.boot,
            number: self.last_probe + 1,
        };
        let under_way = Checkup {
            next: NextProbe::UnderWay(id),
            ..checkup.clone()
        };
        let decision = Decision::default()
            .write(Write::Checkup {
                instance: *instance,
                checkup: Some(under_way),
            })
            .act(Action::Probe {
                instance: *instance,
                id,
                runtime: journal.runtime,
                probe: check.probe.clone(),
                timeout: check.timeout,
                endpoints: endpoints.clone(),
            });
        Some(decision)
    }

    pub(crate) fn probed(
        &self,
        now: Now,
        instance: InstanceId,
        id: ProbeId,
        outcome: &ProbeOutcome,
    ) -> Decision {
        // The answer to a probe of an earlier run says nothing of this one.
        let checkup = match self.runs.get(&instance) {
            Some(Run::Running {
                checkup: Some(checkup),
                ..
            }) if checkup.next == NextProbe::UnderWay(id) => checkup,
            Some(
                Run::Running { .. }
                | Run::Starting { .. }
                | Run::Waiting { .. }
                | Run::Forbidden { .. }
                | Run::Stopping { .. },
            )
            | None => return Decision::default(),
        };
        let (Some(desired), Some(journal)) = (self.desired(instance), self.journal.get(&instance))
        else {
            return Decision::default();
        };
        let Some(check) = &desired.service.workload.health else {
            return Decision::default();
        };
        let after = checkup.after(now.steady, check, outcome, self.config.probe_early);
        let unhealthy = after.said == Health::Unhealthy;
        let decision = Decision::default().write(Write::Checkup {
            instance,
            checkup: Some(after),
        });
        let stays = desired.service.workload.restart == Restart::Never;
        match outcome {
            ProbeOutcome::Bad(why) if unhealthy && !stays && !journal.leaving => {
                let message = format!(
                    "the health check failed {} times in a row ({}: {why}) and the application is started again",
                    check.retries,
                    named(&check.probe),
                );
                self.stop_unhealthy(now, instance, journal, message, decision)
            }
            ProbeOutcome::Good | ProbeOutcome::Bad(_) => decision,
        }
    }

    /// Stops it for a while. The journal says so first: an engine that is killed meanwhile must not take the end that this
    /// stop causes for one that the restart policy leaves as it is.
    fn stop_unhealthy(
        &self,
        now: Now,
        instance: InstanceId,
        journal: &Journal,
        message: String,
        decision: Decision,
    ) -> Decision {
        let again = Again {
            failures: self.failures_at(now, instance),
            reason: Reason::new(ReasonCode::Unhealthy, message),
        };
        let intent = Journal {
            restarting: true,
            ..journal.clone()
        };
        let decision = decision.write(Write::Journal {
            instance,
            record: Some(intent),
        });
        decision.and(self.stop(now, instance, journal, Some(again)))
    }
}

/// "GET :8080/healthz", "port 5432", "/bin/check".
fn named(probe: &Probe) -> String {
    match probe {
        Probe::Http { port, path } => format!("GET :{port}{path}"),
        Probe::Tcp { port } => format!("port {port}"),
        Probe::Command(command) => command.first().cloned().unwrap_or_default(),
    }
}
