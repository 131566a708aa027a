//! What happens to instances here, as events that the cluster is told (see [`model::telling`]).

use model::access::TenantPath;
use model::desired::InstanceReport;
use model::event::{Event, Tier};
use model::id::{EventId, InstanceId};
use model::instance::Observed;
use model::telling::{Stamp, Told};
use model::time::Now;

use crate::{Action, Decision, Listing, Said, State, Write};

/// A change of an instance's state that is no event yet.
#[derive(Debug, Clone)]
pub(crate) struct News {
    instance: InstanceId,
    /// `None`: what it was before is not known, so nothing is told.
    event: Option<Event>,
}

impl State {
    /// What enters the set is scheduled here; what was here before has its own last state.
    pub(crate) fn say_scheduled(&self, entering: &[Write]) -> Vec<Write> {
        if !self.untold.is_kept() {
            return Vec::new();
        }
        let entered = entering.iter().filter_map(|write| {
            let Write::Journal { instance, .. } = write else {
                return None;
            };
            (!self.journal.contains_key(instance)).then_some(*instance)
        });
        let said = entered.map(|instance| Write::Said {
            instance,
            said: Some(Said::Scheduled),
        });
        said.collect()
    }

    /// Notes what is observed, where that is another state than the last event said.
    pub(crate) fn note_news(&mut self, report: &InstanceReport) {
        let instance = report.instance;
        let Some(journal) = self
            .journal
            .get(&instance)
            .filter(|journal| !journal.leaving && self.begun && self.untold.is_kept())
        else {
            return;
        };
        let listed = self.runtimes.get(&journal.runtime) == Some(&Some(Listing::Known));
        let before = self.said.get(&instance).copied();
        let (said, cause, message) = match &report.report.observed {
            // Between two attempts the failure is what matters.
            Observed::Starting if matches!(before, Some(Said::Scheduled | Said::Failed)) => return,
            // An engine that has just started does not know yet what runs.
            Observed::Starting if !listed => return,
            Observed::Starting => (Said::Scheduled, "starting", String::new()),
            Observed::Running { .. } if report.report.restarts > 0 => {
                (Said::Running, "restarted", String::new())
            }
            Observed::Running { .. } => (Said::Running, "started", String::new()),
            Observed::Failed { reason, .. } => {
                (Said::Failed, reason.code.as_str(), reason.message.clone())
            }
            Observed::Ended => {
                let exit = report.report.last_exit.clone().unwrap_or_default();
                let said = if exit.success() {
                    Said::Ended
                } else {
                    Said::Failed
                };
                let workload = self.desired(instance).map(|it| &*it.service.workload);
                (said, "exited", crate::runs::ended(workload, &exit))
            }
        };
        if before == Some(said) {
            return;
        }
        let job = self.desired(instance).map(|desired| desired.slot.job);
        let event = before.zip(job).map(|(before, job)| Event {
            id: EventId::from_bits(0),
            at: report.report.at,
            tier: Tier::Worker,
            job,
            tenant: TenantPath::root(),
            instance: Some(instance),
            generation: report.generation,
            from: before.as_str(),
            to: said.as_str(),
            cause: cause.to_owned(),
            message,
        });
        self.said.insert(instance, said);
        self.news.push_back(News { instance, event });
    }

    /// Makes events of what was noted: durable writes, which are in the state already.
    pub(crate) fn take_news(&mut self, now: Now) -> Vec<Write> {
        let mut writes = Vec::new();
        while let Some(news) = self.news.pop_front() {
            let told = news.event.map(|event| Told {
                stamp: self.untold.stamp(0),
                count: 1,
                event,
            });
            if let Some(told) = told {
                self.untold.take(&told);
                writes.push(Write::Tell(told));
            }
            for (untell, merged) in self.untold.leave_out(now.steady) {
                writes.push(Write::Untell(untell));
                writes.extend(merged.map(Write::Tell));
            }
            writes.push(Write::Said {
                instance: news.instance,
                said: self.said.get(&news.instance).copied(),
            });
        }
        writes
    }

    /// On a new connection what happened before comes first; later the states do, so that who hears of a change sees it.
    pub(crate) fn tell_backlog(&self, now: Now) -> Option<Decision> {
        self.observer
            .is_whole_due()
            .then(|| self.tell(now))
            .flatten()
    }

    /// What is to be told next.
    pub(crate) fn tell(&self, now: Now) -> Option<Decision> {
        let telling = self
            .may_send()
            .then(|| self.untold.telling(now.steady))
            .flatten()?;
        Some(
            Decision::default()
                .write(Write::Sent(telling.sent()))
                .act(Action::Tell(telling)),
        )
    }

    /// The cluster has everything up to this event.
    pub(crate) fn confirmed(&self, stamp: Stamp) -> Decision {
        let confirmed = self.untold.confirmed(stamp).into_iter();
        Decision {
            writes: confirmed.map(Write::Untell).collect(),
            ..Decision::default()
        }
    }

    /// The events that the cluster has not confirmed, the oldest first.
    pub fn untold(&self) -> impl DoubleEndedIterator<Item = &Told> {
        self.untold.iter()
    }
}
