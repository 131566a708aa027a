//! What happens to a copy: its next state, and the event of it.

use model::desired::{Desired, InstanceReport};
use model::event::{Event, Tier};
use model::id::{InstanceId, NodeId};
use model::instance::{InstanceEvent, InstanceState, Transition};
use model::time::Now;

use crate::slots::reason_of;
use crate::state::State;
use crate::{Decision, Soft, Write};

impl State {
    /// The state of a copy after an event, with its place in the job's history.
    pub(crate) fn copy_event(
        &self,
        now: Now,
        instance: InstanceId,
        event: &InstanceEvent,
        cause: &str,
        decision: Decision,
    ) -> Decision {
        self.copy_change(now, (instance, event), (cause, true), decision)
    }

    /// The same of what its worker observed. A worker that tells its events itself does not know what this cluster did not
    /// know of it: only that is told here.
    pub(crate) fn copy_observed(
        &self,
        now: Now,
        (by, report): (NodeId, &InstanceReport),
        (cause, tells): (&str, bool),
        decision: Decision,
    ) -> Decision {
        let instance = report.instance;
        // Of another worker's it knows nothing.
        let Some(copy) = self.copies.get(&instance).filter(|copy| copy.node == by) else {
            return decision;
        };
        let unknown = matches!(copy.state, InstanceState::Unknown { .. });
        let cause = if tells { "returned" } else { cause };
        let event = InstanceEvent::Reported(report.report.clone());
        self.copy_change(
            now,
            (instance, &event),
            (cause, unknown || !tells),
            decision,
        )
    }

    /// `kept`: whether a change of the state's name is an event.
    fn copy_change(
        &self,
        now: Now,
        (instance, event): (InstanceId, &InstanceEvent),
        (cause, kept): (&str, bool),
        decision: Decision,
    ) -> Decision {
        let Some(copy) = self.copies.get(&instance) else {
            return decision;
        };
        let Transition::To(next) = copy.state.on(event) else {
            return decision;
        };
        let (from, to) = (copy.state.as_str(), next.as_str());
        let record = self.slots.get(&copy.slot).filter(|_| kept);
        let desired = record.and_then(|record| {
            record
                .copies
                .iter()
                .find(|known| known.desired.instance == instance)
        });
        let decision = match desired.filter(|_| from != to) {
            Some(desired) => {
                let name = self
                    .nodes
                    .get(&copy.node)
                    .map_or("", |node| node.record.facts.name.as_str());
                let message = next.report().and_then(reason_of).map_or_else(
                    || format!("{to} on worker {name}"),
                    |reason| reason.message.clone(),
                );
                decision.and(Self::event(
                    now,
                    &desired.desired,
                    (from, to),
                    cause,
                    message,
                ))
            }
            None => decision,
        };
        decision.soft(Soft::Copy {
            instance,
            state: next,
        })
    }

    /// An event of a job's history; [`crate::turn`] numbers it.
    pub(crate) fn event(
        now: Now,
        desired: &Desired,
        change: (&'static str, &'static str),
        cause: &str,
        message: String,
    ) -> Decision {
        let event = Event::of_instance(now, desired, Tier::Cluster, change, cause, message);
        Decision::default().write(Write::Event(event))
    }
}
