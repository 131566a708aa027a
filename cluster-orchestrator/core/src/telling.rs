//! What happened, event by event: what workers tell, and what the root is told (see [`model::telling`]).
//!
//! A worker tells what it saw of its instances; this cluster tells what it did with them, and passes on what it was told.
//! What is of its own jobs nobody else has to know.

use model::access::TenantPath;
use model::event::{Event, Tier};
use model::id::{EventId, InstanceId, JobId, NodeId};
use model::telling::{Stamp, Telling, Told};
use model::time::Now;

use crate::state::State;
use crate::{Action, Decision, Soft, Write};

/// Where an event belongs.
enum Place {
    /// Into the history of its job here, and to the root if it owns the job.
    Here,
    /// To the root only, and only while half of what may be kept is free.
    Root,
    /// It is not the worker's to tell.
    Nowhere,
}

impl State {
    /// What of it is new is one commit with how far the worker was heard; the confirmation follows.
    pub(crate) fn node_told(&self, id: NodeId, telling: &Telling) -> Decision {
        let Some(node) = self.nodes.get(&id) else {
            return Decision::default();
        };
        let mut decision = Decision::default().soft(Soft::Proof(id));
        // A cluster whose store was lost learns what its worker has first; then this comes again.
        if node.desired.held().is_none() || node.desired.wants_former(self.incarnation) {
            return decision;
        }
        let Some((heard, news)) = node.heard.take(telling) else {
            return decision;
        };
        for told in news {
            let mut event = Event {
                tier: Tier::Worker,
                tenant: self.tenant_of(told.event.job),
                ..told.event.clone()
            };
            if event.message.is_empty() {
                event.message = format!("{} on worker {}", event.to, node.record.facts.name);
            }
            decision = match self.place_of(id, &event) {
                Place::Here if self.history.tells(&event) => decision,
                Place::Here => decision.write(Write::Event(event)),
                Place::Root if self.untold.has_room() => decision.soft(Soft::Pass(Box::new(event))),
                Place::Root | Place::Nowhere => decision,
            };
        }
        if heard != node.heard {
            decision = decision.write(Write::Heard { node: id, heard });
        }
        match telling.last() {
            Some(last) => decision.act(Action::Confirm(id, last)),
            None => decision,
        }
    }

    /// Where an event of a worker belongs. Only a worker that was given something of a job knows its id, and what it had may
    /// be gone by the time it is heard; what is nowhere here any more may still be remembered by the root.
    fn place_of(&self, id: NodeId, event: &Event) -> Place {
        let copy = event
            .instance
            .and_then(|instance| self.copies.get(&instance));
        match copy {
            Some(copy) if copy.node == id && copy.slot.job == event.job => Place::Here,
            Some(_) => Place::Nowhere,
            None if self.is_known(event.job) => Place::Here,
            None => Place::Root,
        }
    }

    fn is_known(&self, job: JobId) -> bool {
        self.book.get(job).is_some()
            || self.slots_of(job).next().is_some()
            || self.history.of(job).next().is_some()
    }

    /// The root has everything up to this event.
    pub(crate) fn root_confirmed(&self, stamp: Stamp) -> Decision {
        let confirmed = self.untold.confirmed(stamp).into_iter();
        Decision {
            writes: confirmed.map(Write::Untell).collect(),
            ..Decision::default()
        }
    }

    /// Adds what the root is to be told to writes that are about to be applied.
    pub(crate) fn tell_events(&self, writes: &mut Vec<Write>) {
        if !self.untold.is_kept() {
            return;
        }
        let events = writes.iter().filter_map(|write| match write {
            Write::Event(event) => Some(event),
            Write::Soft(Soft::Pass(event)) => Some(event.as_ref()),
            _ => None,
        });
        let foreign = events.filter(|event| self.book.get(event.job).is_none());
        let told: Vec<Write> = (0..)
            .zip(foreign)
            .map(|(ahead, event)| {
                Write::Tell(Told {
                    stamp: self.untold.stamp(ahead),
                    count: 1,
                    // The root gives it an id of its own, and knows whose its job is.
                    event: Event {
                        id: EventId::from_bits(0),
                        tenant: TenantPath::root(),
                        ..event.clone()
                    },
                })
            })
            .collect();
        writes.extend(told);
    }

    /// Where more is kept than may be, some is left out: durable writes, which are in the state already.
    pub(crate) fn leave_out(&mut self, now: Now) -> impl Iterator<Item = Write> {
        let left_out = self.untold.leave_out(now.steady).into_iter();
        left_out.flat_map(|(untell, merged)| {
            std::iter::once(Write::Untell(untell)).chain(merged.map(Write::Tell))
        })
    }

    /// What the root is to be told next.
    pub(crate) fn tell_up(&self, now: Now) -> Option<Decision> {
        let telling = (self.root_connected && !self.fenced)
            .then(|| self.untold.telling(now.steady))
            .flatten()?;
        Some(
            Decision::default()
                .soft(Soft::SentUp(telling.sent()))
                .act(Action::Tell(telling)),
        )
    }

    /// The durable part of it, as the writes that rebuild it.
    pub(crate) fn telling_snapshot(&self) -> impl Iterator<Item = Write> {
        let nodes = self.nodes.iter();
        let heard = nodes.filter(|(_, known)| !known.heard.lines().is_empty());
        let heard = heard.map(|(node, known)| Write::Heard {
            node: *node,
            heard: known.heard.clone(),
        });
        let told = self.untold.iter().cloned().map(Write::Tell);
        heard.chain(told)
    }

    /// The events that the root has not confirmed, the oldest first.
    pub fn untold(&self) -> impl DoubleEndedIterator<Item = &Told> {
        self.untold.iter()
    }

    /// Whether there is a copy of that id; for checkers.
    pub fn has(&self, instance: InstanceId) -> bool {
        self.copies.contains_key(&instance)
    }
}
