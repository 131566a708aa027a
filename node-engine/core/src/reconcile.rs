//! Level-triggered: what is desired against what is, for what is dirty and what is due.

use model::desired::InstanceReport;
use model::id::InstanceId;
use model::instance::{Observed, Report};
use model::reason::{Reason, ReasonCode};
use model::time::Now;
use sync::{Observer, UpReport};

use crate::{
    Action, Again, Checkup, Decision, Journal, Listing, NextProbe, Run, State, Write, report_entry,
};

impl State {
    /// The next thing to do, or nothing. First the runtimes are asked, then instances are looked at one by one, and
    /// the report comes last, so that one turn makes one report.
    pub(crate) fn reconcile(&self, now: Now) -> Decision {
        self.ask_a_runtime(now)
            .or_else(|| self.look_at_one(now))
            .or_else(|| self.probe_one(now))
            .or_else(|| self.tell_backlog(now))
            .or_else(|| self.report())
            .or_else(|| self.tell(now))
            .unwrap_or_default()
    }

    fn ask_a_runtime(&self, now: Now) -> Option<Decision> {
        let due = |listing: &Option<Listing>| match listing {
            None => true,
            Some(Listing::Silent { retry_at }) => *retry_at <= now.steady,
            Some(Listing::Asked | Listing::Known) => false,
        };
        let (runtime, _) = self.runtimes.iter().find(|(_, listing)| due(listing))?;
        let write = Write::Runtime {
            runtime: *runtime,
            listing: Listing::Asked,
        };
        Some(Decision::default().write(write).act(Action::List(*runtime)))
    }

    fn look_at_one(&self, now: Now) -> Option<Decision> {
        let due = |(instance, run): &(InstanceId, &Run)| match run {
            Run::Waiting { until, .. } => *until <= now.steady && self.may_start(*instance),
            Run::Stopping { retry_at, .. } => *retry_at <= now.steady,
            Run::Starting { .. } | Run::Running { .. } | Run::Forbidden { .. } => false,
        };
        let next_due = || self.timed_runs().find(due).map(|(instance, _)| instance);
        let instance = self.dirty.first().copied().or_else(next_due)?;
        let mut decision = Decision::default().write(Write::Clean(instance));
        decision = self.look_at(now, instance, decision);
        Some(decision)
    }

    /// Runs that something is due for by time.
    pub(crate) fn timed_runs(&self) -> impl Iterator<Item = (InstanceId, &Run)> {
        let timed = self.timed.iter();
        timed.filter_map(|instance| Some((*instance, self.runs.get(instance)?)))
    }

    /// Nothing is started before its runtime said what it has: that would be a second copy.
    pub(crate) fn may_start(&self, instance: InstanceId) -> bool {
        self.desired(instance).is_some()
            && self.journal.get(&instance).is_some_and(|journal| {
                !journal.leaving
                    && journal.ended.is_none()
                    && matches!(
                        self.runtimes.get(&journal.runtime),
                        Some(Some(Listing::Known))
                    )
            })
    }

    fn look_at(&self, now: Now, instance: InstanceId, decision: Decision) -> Decision {
        let Some(journal) = self.journal.get(&instance) else {
            return decision;
        };
        let failures = match self.runs.get(&instance) {
            Some(Run::Waiting {
                until, failures, ..
            }) if *until <= now.steady => *failures,
            // A stop under way is seen through, also when the instance is wanted again meanwhile.
            Some(Run::Stopping { retry_at, again }) if *retry_at <= now.steady => {
                return decision.and(self.stop(now, instance, journal, again.clone()));
            }
            Some(Run::Stopping { .. }) => return decision,
            // A start under way is stopped too: the runtime does both in order.
            Some(
                Run::Starting { .. }
                | Run::Running { .. }
                | Run::Waiting { .. }
                | Run::Forbidden { .. },
            ) if !journal.leaving => {
                return decision;
            }
            None
            | Some(
                Run::Starting { .. }
                | Run::Running { .. }
                | Run::Waiting { .. }
                | Run::Forbidden { .. },
            ) => 0,
        };
        if journal.leaving {
            return decision.and(self.stop(now, instance, journal, None));
        }
        match self.desired(instance) {
            Some(desired) if self.may_start(instance) => decision
                .write(Write::Run {
                    instance,
                    run: Some(Run::Starting { failures }),
                })
                .act(Action::Start(Box::new(desired.clone()))),
            Some(_) | None => decision,
        }
    }

    /// Stops it; `again` is what follows when nothing of it is left, if it is to run again.
    pub(crate) fn stop(
        &self,
        now: Now,
        instance: InstanceId,
        journal: &Journal,
        again: Option<Again>,
    ) -> Decision {
        // Asked again well after the kill, should the answer be lost.
        let retry_at = now
            .steady
            .plus(journal.grace.saturating_mul(2))
            .plus(self.config.retry.saturating_mul(5));
        Decision::default()
            .write(Write::Run {
                instance,
                run: Some(Run::Stopping { retry_at, again }),
            })
            .act(Action::Stop {
                instance,
                runtime: journal.runtime,
                grace: journal.grace,
            })
    }

    /// Whether the link is up and takes messages.
    pub(crate) const fn may_send(&self) -> bool {
        self.connected && self.room
    }

    fn report(&self) -> Option<Decision> {
        if !self.may_send() || !self.observer.is_due() {
            return None;
        }
        let action = Action::Report {
            report: UpReport {
                tells: self.untold.is_kept(),
                ..self.observer.report()
            },
            held: self.held(),
        };
        Some(Decision::default().write(Write::Reported).act(action))
    }

    pub(crate) fn take(&mut self, now: Now, write: &Write) {
        match write {
            Write::Node(node) => self.node = Some(*node),
            Write::Boot(boot) => {
                self.boot = *boot;
                self.observer = Observer::new(*boot);
                let known: Vec<InstanceId> = self.journal.keys().copied().collect();
                for instance in known {
                    self.observe(now, instance);
                }
            }
            Write::Desired(update) => self.desired.apply(update),
            Write::Journal { instance, record } => {
                if let Some(record) = record {
                    self.journal.insert(*instance, record.clone());
                } else {
                    self.journal.remove(instance);
                    self.restarts.remove(instance);
                    self.exits.remove(instance);
                    self.said.remove(instance);
                }
                self.touched(now, *instance);
            }
            Write::Run { instance, run } => {
                self.run(*instance, run.as_ref());
                self.touched(now, *instance);
            }
            Write::Checkup { instance, checkup } => {
                self.take_checkup(now, *instance, checkup.as_ref());
            }
            Write::Exit { instance, exit } => {
                self.exits.insert(*instance, exit.clone());
            }
            Write::Staged(part) => self.desired.stage(part.clone()),
            Write::Refused {
                want_whole,
                superseded,
            } => self.desired.refused(*want_whole, *superseded),
            Write::Tell(told) => self.untold.take(told),
            Write::Untell(untell) => self.untold.forget(now.steady, untell.number),
            Write::Said { instance, said } => {
                match said {
                    Some(said) => self.said.insert(*instance, *said),
                    None => self.said.remove(instance),
                };
            }
            Write::Line(line) => {
                self.untold.begin(*line);
                self.begun = true;
            }
            Write::Sent(sent) => self.untold.told(now.steady, *sent),
            Write::Link(connected) => {
                self.connected = *connected;
                self.untold.disconnected();
            }
            Write::Room(room) => self.room = *room,
            Write::WholeDue => self.observer.ask_whole(),
            Write::Reported => self.observer.reported(),
            Write::Runtime { runtime, listing } => {
                self.runtimes.insert(*runtime, Some(*listing));
                match listing {
                    Listing::Silent { .. } => self.silent.insert(*runtime),
                    Listing::Known => self.silent.remove(runtime),
                    Listing::Asked => false,
                };
                let theirs = self
                    .journal
                    .iter()
                    .filter(|(_, journal)| journal.runtime == *runtime);
                self.dirty.extend(theirs.map(|(instance, _)| *instance));
            }
            Write::Clean(instance) => {
                self.dirty.remove(instance);
            }
        }
    }

    fn run(&mut self, instance: InstanceId, run: Option<&Run>) {
        let again = matches!(self.runs.get(&instance), Some(Run::Waiting { .. }));
        self.plan_probe(instance, checkup_of(run));
        if matches!(run, Some(Run::Waiting { .. } | Run::Stopping { .. })) {
            self.timed.insert(instance);
        } else {
            self.timed.remove(&instance);
        }
        match run {
            Some(run) => {
                if again && matches!(run, Run::Starting { .. }) {
                    *self.restarts.entry(instance).or_default() += 1;
                }
                self.runs.insert(instance, run.clone());
            }
            None => {
                self.runs.remove(&instance);
            }
        }
    }

    fn take_checkup(&mut self, now: Now, instance: InstanceId, checkup: Option<&Checkup>) {
        self.plan_probe(instance, checkup);
        if let Some(NextProbe::UnderWay(id)) = checkup.map(|checkup| checkup.next) {
            self.last_probe = self.last_probe.max(id.number);
        }
        let Some(Run::Running { checkup: known, .. }) = self.runs.get_mut(&instance) else {
            return;
        };
        let said = |checkup: Option<&Checkup>| checkup.map(|checkup| checkup.said);
        let news = said(known.as_ref()) != said(checkup);
        *known = checkup.cloned();
        if news {
            self.observe(now, instance);
        }
    }

    /// The plan of probes follows what is about to be known of an instance.
    fn plan_probe(&mut self, instance: InstanceId, next: Option<&Checkup>) {
        let due = |checkup: Option<&Checkup>| match checkup?.next {
            NextProbe::Due(at) => Some((at, instance)),
            NextProbe::UnderWay(_) => None,
        };
        if let Some(planned) = due(checkup_of(self.runs.get(&instance))) {
            self.probes.remove(&planned);
        }
        self.probes.extend(due(next));
    }

    fn touched(&mut self, now: Now, instance: InstanceId) {
        self.dirty.insert(instance);
        self.observe(now, instance);
    }

    /// Every instance with a journal is in the reports, until nothing is left of it.
    fn observe(&mut self, now: Now, instance: InstanceId) {
        let Some(journal) = self.journal.get(&instance) else {
            self.observer.remove(&instance);
            return;
        };
        // What is being stopped runs until nothing is left of it: the last word stands.
        let stopping = matches!(self.runs.get(&instance), Some(Run::Stopping { .. }));
        if stopping && journal.ended.is_none() && self.observer.states().contains_key(&instance) {
            return;
        }
        let observed = match (self.runs.get(&instance), &journal.ended) {
            (_, Some(_)) => Observed::Ended,
            (
                Some(Run::Running {
                    since,
                    endpoints,
                    checkup,
                    ..
                }),
                None,
            ) => Observed::Running {
                since: *since,
                endpoints: endpoints.clone(),
                health: checkup.as_ref().map(|checkup| checkup.said),
            },
            (
                Some(Run::Waiting {
                    until_wall, reason, ..
                }),
                None,
            ) => Observed::Failed {
                reason: reason.clone(),
                next_attempt: Some(*until_wall),
            },
            (Some(Run::Forbidden { reason }), None) => Observed::Failed {
                reason: reason.clone(),
                next_attempt: None,
            },
            (None | Some(Run::Starting { .. } | Run::Stopping { .. }), None) => {
                self.not_running(journal)
            }
        };
        let report = InstanceReport {
            instance,
            generation: journal.generation,
            report: Report {
                observed,
                restarts: self.restarts.get(&instance).copied().unwrap_or(0),
                last_exit: journal
                    .ended
                    .clone()
                    .or_else(|| self.exits.get(&instance).cloned()),
                at: now.wall,
            },
        };
        self.note_news(&report);
        self.observer.put(report_entry(report));
    }

    fn not_running(&self, journal: &Journal) -> Observed {
        if journal.leaving || self.runtimes.contains_key(&journal.runtime) {
            return Observed::Starting;
        }
        let message = format!(
            "this worker has no {} runtime; start the engine with --runtimes {}",
            journal.runtime, journal.runtime
        );
        Observed::Failed {
            reason: Reason::new(ReasonCode::RuntimeMissing, message),
            next_attempt: None,
        }
    }
}

fn checkup_of(run: Option<&Run>) -> Option<&Checkup> {
    match run {
        Some(Run::Running { checkup, .. }) => checkup.as_ref(),
        Some(
            Run::Starting { .. }
            | Run::Waiting { .. }
            | Run::Forbidden { .. }
            | Run::Stopping { .. },
        )
        | None => None,
    }
}
