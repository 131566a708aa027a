//! What the runtimes say, and what it does to an instance here.

use std::collections::BTreeSet;
use std::time::Duration;

use model::id::InstanceId;
use model::instance::{Endpoint, Exit};
use model::reason::{Reason, ReasonCode};
use model::security::User;
use model::time::{Now, Wall};
use model::workload::{Restart, RuntimeKind, Workload};

use crate::{Again, Checkup, Decision, Found, FoundStatus, Journal, Listing, Run, State, Write};

impl State {
    /// The runtimes that do not answer. What is known of their instances is what they said last.
    pub const fn silent(&self) -> &BTreeSet<RuntimeKind> {
        &self.silent
    }

    /// A runtime's list is the truth of what runs; what is there and not desired is an orphan and leaves.
    pub(crate) fn listed(&self, now: Now, runtime: RuntimeKind, found: &[Found]) -> Decision {
        let mut decision = Decision::default().write(Write::Runtime {
            runtime,
            listing: Listing::Known,
        });
        if self.silent.contains(&runtime) {
            decision.writes.extend(self.tried_again(now, runtime));
        }
        for found in found {
            let Found { instance, status } = found;
            if self
                .journal
                .get(instance)
                .is_none_or(|journal| journal.leaving)
            {
                decision = decision.write(Write::Journal {
                    instance: *instance,
                    record: Some(self.orphan(*instance, runtime)),
                });
                continue;
            }
            match (status, self.runs.get(instance)) {
                // What this engine is about to do to it is news enough.
                (_, Some(Run::Starting { .. } | Run::Stopping { .. })) => {}
                // It ended after it had been looked at; of that, the end is the news.
                (FoundStatus::Running { since, .. }, _) if self.has_ended(*instance, *since) => {}
                (FoundStatus::Running { since, endpoints }, run) => {
                    if !matches!(run, Some(Run::Running { since: known, .. }) if known == since) {
                        decision = decision.and(self.runs_now(now, *instance, *since, endpoints));
                    }
                }
                (FoundStatus::Exited(exit), None | Some(Run::Running { .. })) => {
                    let ended = self.exited(now, *instance, exit);
                    decision.writes.extend(ended.writes);
                }
                (FoundStatus::Exited(_) | FoundStatus::Created, _) => {}
            }
        }
        // What was running and is not in the list is gone without a word.
        for (instance, run) in &self.runs {
            let here = self
                .journal
                .get(instance)
                .is_some_and(|journal| journal.runtime == runtime && !journal.leaving);
            let missing = matches!(run, Run::Running { .. })
                && !found.iter().any(|found| found.instance == *instance);
            if here && missing {
                let exit = Exit {
                    at: now.wall,
                    ..Exit::default()
                };
                decision
                    .writes
                    .extend(self.exited(now, *instance, &exit).writes);
            }
        }
        decision
    }

    /// Whether the run that began then is known to have ended.
    fn has_ended(&self, instance: InstanceId, since: Wall) -> bool {
        let ended = self.exits.get(&instance);
        ended.is_some_and(|exit| exit.at >= since)
    }

    /// What could not be started because its runtime did not answer is due now that it does: that was no failure of the
    /// application, so it need not wait for one.
    fn tried_again(&self, now: Now, runtime: RuntimeKind) -> impl Iterator<Item = Write> {
        let theirs = move |instance: &InstanceId| {
            self.journal
                .get(instance)
                .is_some_and(|journal| journal.runtime == runtime)
        };
        self.timed_runs()
            .filter_map(move |(instance, run)| match run {
                Run::Waiting {
                    failures, reason, ..
                } if reason.code == ReasonCode::WorkerFault && theirs(&instance) => {
                    Some(Write::Run {
                        instance,
                        run: Some(Run::Waiting {
                            until: now.steady,
                            until_wall: now.wall,
                            failures: failures.saturating_sub(1),
                            reason: reason.clone(),
                        }),
                    })
                }
                Run::Waiting { .. }
                | Run::Starting { .. }
                | Run::Running { .. }
                | Run::Forbidden { .. }
                | Run::Stopping { .. } => None,
            })
    }

    fn orphan(&self, instance: InstanceId, runtime: RuntimeKind) -> Journal {
        self.journal
            .get(&instance)
            .cloned()
            .unwrap_or_else(|| Journal {
                runtime,
                grace: Duration::from_secs(5),
                generation: model::slot::Generation::default(),
                leaving: true,
                ended: None,
                restarting: false,
            })
    }

    pub(crate) fn list_failed(&self, now: Now, runtime: RuntimeKind) -> Decision {
        let retry_at = now.steady.plus(self.config.retry);
        Decision::default().write(Write::Runtime {
            runtime,
            listing: Listing::Silent { retry_at },
        })
    }

    pub(crate) fn started(
        &self,
        now: Now,
        instance: InstanceId,
        since: Wall,
        endpoints: &[Endpoint],
    ) -> Decision {
        // It may have ended, or be told to stop, before the start was answered.
        if !matches!(self.runs.get(&instance), Some(Run::Starting { .. })) {
            return Decision::default();
        }
        self.runs_now(now, instance, since, endpoints)
    }

    fn runs_now(
        &self,
        now: Now,
        instance: InstanceId,
        since: Wall,
        endpoints: &[Endpoint],
    ) -> Decision {
        let run = Run::Running {
            since,
            seen: now.steady,
            endpoints: endpoints.to_vec(),
            failures: self.failures(instance),
            checkup: self.checkup(now, instance, since),
        };
        let decision = Decision::default().write(Write::Run {
            instance,
            run: Some(run),
        });
        match self.journal.get(&instance) {
            // It is through: from now on an end is one of its own.
            Some(journal) if journal.restarting => decision.write(Write::Journal {
                instance,
                record: Some(Journal {
                    restarting: false,
                    ..journal.clone()
                }),
            }),
            Some(_) | None => decision,
        }
    }

    /// How the health of an instance is found out that runs since then.
    fn checkup(&self, now: Now, instance: InstanceId, since: Wall) -> Option<Checkup> {
        let service = &self.desired(instance)?.service;
        match &service.workload.health {
            Some(check) => Some(Checkup::begin(now.steady, check)),
            None => Checkup::trial(now, since, service.takeover.min_ready),
        }
    }

    pub(crate) fn start_failed(&self, now: Now, instance: InstanceId, reason: &Reason) -> Decision {
        if !matches!(self.runs.get(&instance), Some(Run::Starting { .. })) {
            return Decision::default();
        }
        Decision::default().write(self.wait(now, instance, self.failures(instance), reason.clone()))
    }

    /// It is left as it is: what was not allowed once is not allowed a second later.
    pub(crate) fn forbidden(&self, instance: InstanceId, reason: &Reason) -> Decision {
        if !matches!(self.runs.get(&instance), Some(Run::Starting { .. })) {
            return Decision::default();
        }
        let reason = reason.clone();
        Decision::default().write(Write::Run {
            instance,
            run: Some(Run::Forbidden { reason }),
        })
    }

    /// A crash is restarted here, by the restart policy, with or without a link.
    pub(crate) fn exited(&self, now: Now, instance: InstanceId, exit: &Exit) -> Decision {
        let Some(journal) = self
            .journal
            .get(&instance)
            .filter(|journal| !journal.leaving)
        else {
            return Decision::default();
        };
        let Some(desired) = self.desired(instance) else {
            return Decision::default();
        };
        if journal.ended.is_some()
            || matches!(
                self.runs.get(&instance),
                Some(Run::Waiting { .. } | Run::Forbidden { .. } | Run::Stopping { .. })
            )
        {
            return Decision::default();
        }
        let again = journal.restarting
            || match desired.service.workload.restart {
                Restart::Always => true,
                Restart::OnFailure => !exit.success(),
                Restart::Never => false,
            };
        if !again {
            let record = Journal {
                ended: Some(exit.clone()),
                ..journal.clone()
            };
            return Decision::default()
                .write(Write::Exit {
                    instance,
                    exit: exit.clone(),
                })
                .write(Write::Journal {
                    instance,
                    record: Some(record),
                })
                .write(Write::Run {
                    instance,
                    run: None,
                });
        }
        let failures = self.failures_at(now, instance);
        let code = if failures >= 2 {
            ReasonCode::CrashLoop
        } else {
            ReasonCode::Exited
        };
        let message = format!(
            "the application ended ({}) and is started again{}",
            how(exit),
            hint(&desired.service.workload, exit)
        );
        Decision::default()
            .write(Write::Exit {
                instance,
                exit: exit.clone(),
            })
            .write(self.wait(now, instance, failures, Reason::new(code, message)))
    }

    fn wait(&self, now: Now, instance: InstanceId, failures: u32, reason: Reason) -> Write {
        let wait = self
            .config
            .backoff
            .saturating_mul(1 << failures.min(16))
            .min(self.config.backoff_max);
        let run = Run::Waiting {
            until: now.steady.plus(wait),
            until_wall: Wall(now.wall.0.saturating_add(wait.as_millis() as i64)),
            failures: failures + 1,
            reason,
        };
        Write::Run {
            instance,
            run: Some(run),
        }
    }

    /// What counts when a run ends now: one that was long enough forgets earlier failures.
    pub(crate) fn failures_at(&self, now: Now, instance: InstanceId) -> u32 {
        match self.runs.get(&instance) {
            Some(Run::Running { seen, .. })
                if now.steady.since(*seen) >= self.config.backoff_reset =>
            {
                0
            }
            Some(
                Run::Running { .. }
                | Run::Starting { .. }
                | Run::Waiting { .. }
                | Run::Forbidden { .. }
                | Run::Stopping { .. },
            )
            | None => self.failures(instance),
        }
    }

    fn failures(&self, instance: InstanceId) -> u32 {
        match self.runs.get(&instance) {
            Some(
                Run::Starting { failures }
                | Run::Running { failures, .. }
                | Run::Waiting { failures, .. },
            ) => *failures,
            Some(Run::Forbidden { .. } | Run::Stopping { .. }) | None => 0,
        }
    }

    /// Nothing of it is left: it may be forgotten, unless it is wanted (again).
    pub(crate) fn stopped(&self, now: Now, instance: InstanceId) -> Decision {
        let leaving = |journal: &Journal| journal.leaving;
        if let Some(Run::Stopping {
            again: Some(Again { failures, reason }),
            ..
        }) = self.runs.get(&instance)
            && !self.journal.get(&instance).is_none_or(leaving)
        {
            return Decision::default().write(self.wait(now, instance, *failures, reason.clone()));
        }
        let forgotten = Decision::default().write(Write::Run {
            instance,
            run: None,
        });
        if self.desired(instance).is_some() {
            forgotten
        } else {
            forgotten.write(Write::Journal {
                instance,
                record: None,
            })
        }
    }

    pub(crate) fn stop_failed(&self, now: Now, instance: InstanceId) -> Decision {
        let retry_at = now.steady.plus(self.config.retry);
        let again = match self.runs.get(&instance) {
            Some(Run::Stopping { again, .. }) => again.clone(),
            Some(
                Run::Running { .. }
                | Run::Starting { .. }
                | Run::Waiting { .. }
                | Run::Forbidden { .. },
            )
            | None => None,
        };
        Decision::default().write(Write::Run {
            instance,
            run: Some(Run::Stopping { retry_at, again }),
        })
    }
}

/// The sentence for an end that is left as it is.
pub(crate) fn ended(workload: Option<&Workload>, exit: &Exit) -> String {
    let hint = workload.map_or_else(String::new, |workload| hint(workload, exit));
    format!("the application ended ({}){hint}", how(exit))
}

/// What to write in the document, where the last words of a container that failed are those of one that was refused what
/// it did not ask for.
fn hint(workload: &Workload, exit: &Exit) -> String {
    let security = &workload.security;
    if workload.runtime != RuntimeKind::Docker || exit.success() {
        return String::new();
    }
    let says = |words: &str| {
        let lines = exit.log_tail.iter();
        lines
            .map(|line| line.to_lowercase())
            .any(|line| line.contains(words))
    };
    let remedy = if says("read-only file system") && workload.is_read_only() {
        "its root file system is read-only: write in /tmp, /run or a volume, or ask for security: {read_only: false}"
    } else if (says("permission denied") || says("operation not permitted"))
        && (security.user != Some(User::Root) || security.capabilities.is_empty())
    {
        "it has neither root nor capabilities unless it asks for them: security: {user: root, capabilities: [CHOWN, …]}"
    } else if says("resource temporarily unavailable") {
        "it may have reached its limit of processes: ask for more with security: {pids: …}"
    } else {
        return String::new();
    };
    format!("; {remedy}")
}

/// "exit code 3", "signal 9", "out of memory".
fn how(exit: &Exit) -> String {
    match exit {
        Exit { oom: true, .. } => "out of memory".to_owned(),
        Exit {
            code: Some(code), ..
        } => format!("exit code {code}"),
        Exit {
            signal: Some(signal),
            ..
        } => format!("signal {signal}"),
        Exit { .. } => "no exit status is known".to_owned(),
    }
}
