//! The child: what it does with a message, and how that is judged.

use std::collections::BTreeSet;

use sync::{Change, TermOrder, Update, Verdict};

use super::run::{Message, Truth};
use super::world::World;
use super::{Hop, Rule, Sabotage, Thing};

impl World {
    /// What a child does with a message.
    pub(super) fn receive(&mut self, hop: &Hop, message: &Message, out: &mut Vec<Message>) {
        let Message::Down(change, truth) = message else {
            let former = self.child.set().values().copied().collect();
            out.push(Message::Former(self.child.held(), former));
            return;
        };
        match self.decide(hop, change) {
            Verdict::Apply(update) => {
                self.judge(change, truth, &update);
                self.child.apply(&update);
                if *self.child.set() != truth.set {
                    self.broken.insert(Rule::Promise);
                }
            }
            Verdict::Stage(part) => self.child.stage(part),
            Verdict::Refuse { want_whole } => {
                let mute = hop.sabotage == Some(Sabotage::NeverWhole);
                let known = self.child.held().want_whole;
                self.child.refused((want_whole || known) && !mute, false);
            }
            Verdict::Superseded => self.child.refused(self.child.held().want_whole, true),
            Verdict::Known | Verdict::Foreign(_) => {}
        }
        out.push(Message::Held(self.child.held()));
    }

    /// The verdict of `sync`, or what a faulty child makes of it.
    fn decide(&self, hop: &Hop, change: &Change<Thing>) -> Verdict<Thing> {
        let verdict = self.child.decide(change);
        let again = |change: &Change<Thing>| self.child.decide(change);
        match (hop.sabotage, &verdict) {
            (Some(Sabotage::AnyDigest), Verdict::Refuse { want_whole: true }) => {
                let digest = self
                    .child
                    .held_after(&self.unchecked(change))
                    .desired_digest;
                again(&Change {
                    digest,
                    ..change.clone()
                })
            }
            (Some(Sabotage::AnyStore), Verdict::Foreign(_)) => again(&Change {
                adopted: Some(self.child.digest()),
                ..change.clone()
            }),
            (Some(Sabotage::AnyTerm), Verdict::Superseded) => again(&Change {
                term: self.child.mark().term.clone(),
                ..change.clone()
            }),
            (Some(Sabotage::AnyRevision), Verdict::Known)
                if change.base.is_none() && change.parts == 1 =>
            {
                Verdict::Apply(self.unchecked(change))
            }
            (_, _) => verdict,
        }
    }

    /// What a change of one part does, whatever it builds on.
    fn unchecked(&self, change: &Change<Thing>) -> Update<Thing> {
        let mut mark = self.child.mark().clone();
        mark.revision = change.revision;
        let named: BTreeSet<u16> = change.put.iter().map(|thing| thing.key).collect();
        let absent = self.child.set().keys().filter(|key| !named.contains(key));
        Update {
            mark,
            put: change.put.clone(),
            remove: match change.base {
                Some(_) => change.remove.clone(),
                None => absent.copied().collect(),
            },
        }
    }

    /// What the child is about to write, against what it holds.
    fn judge(&mut self, change: &Change<Thing>, truth: &Truth, update: &Update<Thing>) {
        let mark = self.child.mark();
        let order = mark.term.order(&change.term);
        let same = mark
            .incarnation
            .is_none_or(|known| known == change.incarnation);
        let stranger = !same || order == TermOrder::Diverged;
        if stranger && !update.remove.is_empty() && !truth.taken.contains(&self.child.digest()) {
            self.broken.insert(Rule::Adoption);
        }
        if same && update.mark.revision < mark.revision {
            self.broken.insert(Rule::Forward);
        }
        if same && order == TermOrder::Superseded {
            self.broken.insert(Rule::Superseded);
        }
    }
}
