//! The world of one hop: runs of the parent, the child, what is under way.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use sync::{Child, Incarnation, Parent, Update};

use super::agree::late;
use super::run::{Message, Run, Set};
use super::{Budget, Hop, Rule, Step, Stores, Thing};
use crate::check::{Print, print};

/// Everything there is.
#[derive(Debug, Clone)]
pub struct World {
    left: Budget,
    /// The earliest that lives first, the present one last.
    pub(super) runs: Vec<Run>,
    pub(super) child: Child<Thing>,
    net: BTreeMap<u64, Arc<Message>>,
    /// The store as it was at first: what is restored.
    copy: (Set, u64),
    nonce: u64,
    pub(super) broken: BTreeSet<Rule>,
}

impl World {
    /// A set of two parts, of which the child knows nothing yet.
    pub fn fresh(hop: &Hop) -> Self {
        Self::new(hop, 3)
    }

    /// A smaller set, which the child has; what was said of it may arrive again.
    pub fn agreed(hop: &Hop) -> Self {
        let mut world = Self::new(hop, 2);
        let honest = Hop {
            sabotage: None,
            ..*hop
        };
        let first = world.net.values().map(|message| Message::clone(message));
        let mut queue: VecDeque<Message> = first.collect();
        while let Some(message) = queue.pop_front() {
            let mut out = Vec::new();
            world.arrive(&honest, &message, 0, &mut out);
            world.emit(out.clone());
            queue.extend(out);
        }
        world
    }

    fn new(hop: &Hop, things: u16) -> Self {
        let set: Set = (0..things).map(|key| (key, thing(key, 1))).collect();
        let copy = (set, u64::from(things));
        let child = Child::default();
        let mut world = Self {
            left: hop.budget,
            runs: vec![Run::on(Incarnation(1), &copy.0, copy.1)],
            net: BTreeMap::new(),
            copy,
            nonce: 1,
            broken: BTreeSet::new(),
            child,
        };
        world.emit(vec![Message::Held(world.child.held())]);
        world
    }

    fn emit(&mut self, out: Vec<Message>) {
        for message in out {
            self.net.insert(print(&message), Arc::new(message));
        }
    }

    /// The rules that the last step broke.
    pub(super) const fn broken(&self) -> &BTreeSet<Rule> {
        &self.broken
    }

    pub(super) const fn child(&self) -> &Child<Thing> {
        &self.child
    }

    /// Whether a run knows that it is superseded.
    pub(super) fn has_fenced_run(&self) -> bool {
        self.runs.iter().any(|run| run.fenced)
    }

    /// Whether the child follows a store that took its former set over.
    pub(super) fn has_adopted(&self) -> bool {
        let present = self.runs.last();
        present.is_some_and(|run| {
            !run.taken.is_empty() && self.child.mark().incarnation == Some(run.incarnation)
        })
    }

    pub(super) fn fingerprint(&self) -> u64 {
        let Self {
            left,
            runs,
            child,
            net,
            copy: _,
            nonce,
            broken,
        } = self;
        let net: Vec<&u64> = net.keys().collect();
        Print::default()
            .and(left)
            .and(runs)
            .and(child)
            .and(&net)
            .and(nonce)
            .and(broken)
            .end()
    }

    pub(super) fn steps(&self, hop: &Hop) -> Vec<Step> {
        let mut steps = Vec::new();
        // After a broken rule nothing is of interest.
        if !self.broken.is_empty() {
            return steps;
        }
        let (left, last) = (self.left, self.runs.len() - 1);
        if left.changes > 0 {
            let able = match hop.stores {
                Stores::One => last..=last,
                Stores::Copied => 0..=last,
            };
            for run in able {
                steps.extend([Step::Put(run), Step::PutTwo(run), Step::Remove(run)]);
            }
        }
        for (id, message) in &self.net {
            match &**message {
                Message::Down(..) => {
                    steps.push(Step::Down(*id));
                    if left.child_crashes > 0 {
                        steps.push(Step::DownAndCrash(*id));
                    }
                }
                Message::Ask => steps.push(Step::Down(*id)),
                Message::Held(_) | Message::Former(..) => {
                    steps.extend((0..=last).map(|run| Step::Up(*id, run)));
                }
            }
        }
        let mut may = |left: u8, some: &[Step]| {
            if left > 0 {
                steps.extend(some);
            }
        };
        may(left.parent_crashes, &[Step::ParentCrash]);
        may(left.child_crashes, &[Step::ChildCrash]);
        may(left.restores, &[Step::RestoreCopy, Step::RestoreEmpty]);
        may(left.successors, &[Step::Successor]);
        for run in 0..=last {
            may(left.reconnects, &[Step::Reconnect(run)]);
            may(left.resends, &[Step::Resend(run)]);
        }
        steps
    }

    pub(super) fn take(&mut self, hop: &Hop, step: Step) {
        let mut out = Vec::new();
        match step {
            Step::Put(run) => self.change(run, &mut out, |parent| parent.put(thing(0, 2))),
            Step::PutTwo(run) => self.change(run, &mut out, |parent| {
                parent.put(thing(0, 3));
                parent.put(thing(3, 1));
            }),
            Step::Remove(run) => self.change(run, &mut out, |parent| parent.remove(&1)),
            Step::Down(id) => {
                if let Some(message) = self.net.get(&id).cloned() {
                    self.receive(hop, &message, &mut out);
                }
            }
            Step::DownAndCrash(id) => {
                self.left.child_crashes -= 1;
                if let Some(message) = self.net.get(&id).cloned() {
                    self.receive(hop, &message, &mut Vec::new());
                }
                self.crash_child(&mut out);
            }
            Step::Up(id, run) => {
                if let (Some(message), Some(run)) = (self.net.get(&id), self.runs.get_mut(run)) {
                    run.hear(message, &mut out);
                    run.send(0, &mut out);
                }
            }
            Step::ChildCrash => {
                self.left.child_crashes -= 1;
                self.crash_child(&mut out);
            }
            Step::Reconnect(run) => {
                self.left.reconnects -= 1;
                if let Some(run) = self.runs.get_mut(run) {
                    run.parent.disconnected();
                }
                out.push(Message::Held(self.child.held()));
            }
            Step::Resend(run) => {
                self.left.resends -= 1;
                let now = late(hop);
                if let Some(run) = self.runs.get_mut(run) {
                    run.send(now, &mut out);
                }
            }
            Step::ParentCrash => {
                self.left.parent_crashes -= 1;
                let next = self.next_run();
                self.runs.pop();
                self.begin(next, &mut out);
            }
            Step::Successor => {
                self.left.successors -= 1;
                let next = self.next_run();
                self.begin(next, &mut out);
            }
            Step::RestoreCopy => {
                let (set, revision) = self.copy.clone();
                self.restore(&set, revision, &mut out);
            }
            Step::RestoreEmpty => self.restore(&Set::new(), 0, &mut out),
        }
        self.emit(out);
    }

    fn change(&mut self, run: usize, out: &mut Vec<Message>, change: impl Fn(&mut Parent<Thing>)) {
        self.left.changes -= 1;
        if let Some(run) = self.runs.get_mut(run).filter(|run| !run.fenced) {
            change(&mut run.parent);
            run.send(0, out);
        }
    }

    fn next_run(&mut self) -> Option<Run> {
        self.nonce += 1;
        self.runs.last().map(|run| run.next(self.nonce))
    }

    /// The child connects to a run that begins.
    fn begin(&mut self, run: Option<Run>, out: &mut Vec<Message>) {
        self.runs.extend(run);
        out.push(Message::Held(self.child.held()));
    }

    fn restore(&mut self, set: &Set, revision: u64, out: &mut Vec<Message>) {
        self.left.restores -= 1;
        self.nonce += 1;
        let term = self.runs.last().map(|run| run.term.next(self.nonce));
        let incarnation = self.runs.last().map_or(0, |run| run.incarnation.0) + 1;
        let mut run = Run::on(Incarnation(incarnation), set, revision);
        run.term = term.unwrap_or_default();
        self.runs.clear();
        self.begin(Some(run), out);
    }

    /// What is on the child's disk is all that is left of it.
    fn crash_child(&mut self, out: &mut Vec<Message>) {
        let durable = Update {
            mark: self.child.mark().clone(),
            put: self.child.set().values().copied().collect(),
            remove: Vec::new(),
        };
        self.child = Child::default();
        self.child.apply(&durable);
        for run in &mut self.runs {
            run.parent.disconnected();
        }
        out.push(Message::Held(self.child.held()));
    }

    /// Without faults: a message arrives where it is meant to.
    pub(super) fn arrive(
        &mut self,
        hop: &Hop,
        message: &Message,
        now: u64,
        out: &mut Vec<Message>,
    ) {
        match message {
            Message::Down(..) | Message::Ask => self.receive(hop, message, out),
            Message::Held(_) | Message::Former(..) => {
                if let Some(run) = self.runs.last_mut() {
                    run.hear(message, out);
                    run.send(now, out);
                }
            }
        }
    }

    pub(super) fn tell(&self, step: Step) -> String {
        let message = match step {
            Step::Down(id) | Step::DownAndCrash(id) | Step::Up(id, _) => self.net.get(&id),
            Step::Put(_)
            | Step::PutTwo(_)
            | Step::Remove(_)
            | Step::ParentCrash
            | Step::ChildCrash
            | Step::RestoreCopy
            | Step::RestoreEmpty
            | Step::Successor
            | Step::Reconnect(_)
            | Step::Resend(_) => None,
        };
        match message.map(|message| &**message) {
            Some(Message::Down(change, _)) => format!(
                "{step:?}: from {:?} to {} of term {}, part {} of {}: put {:?}, remove {:?}, adopted {:?}",
                change.base,
                change.revision,
                change.term.number,
                change.part + 1,
                change.parts,
                change.put,
                change.remove,
                change.adopted
            ),
            Some(message) => format!("{step:?}: {message:?}"),
            None => format!("{step:?}"),
        }
    }
}

const fn thing(key: u16, version: u16) -> Thing {
    Thing { key, version }
}
