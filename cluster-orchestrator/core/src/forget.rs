//! Workers that an operator gives up: what they had is placed elsewhere at once.
//!
//! # Guarantees
//! One that is heard is never forgotten. One that returns after all is a new worker: since its set begins above every
//! revision that it may hold, it takes that over as a whole, and stops what it still runs.

use model::node::Liveness;
use model::time::Now;

use crate::state::{Copy, Node, State};
use crate::{Action, Answer, Decision, RequestId, Write};

impl State {
    pub(crate) fn forget(&self, now: Now, request: RequestId, key: &str) -> Decision {
        let found = self.find_node(key);
        let Some((id, node)) = found.and_then(|id| Some((id, self.nodes.get(&id)?))) else {
            let answer = Answer::NoSuchNode(key.to_owned());
            return Decision::default().act(Action::Answer(request, answer));
        };
        if node.session.is_some() || !may_be_forgotten(node.liveness) {
            let answer = Answer::NodeIsThere(node.record.facts.name.clone(), node.liveness);
            return Decision::default().act(Action::Answer(request, answer));
        }
        let mut decision = self
            .copies_on(id)
            .fold(Decision::default(), |decision, (_, copy)| {
                decision.and(self.given_up(now, node, copy))
            });
        let revision = node.desired.revision();
        if revision > self.floor {
            decision = decision.write(Write::Floor(revision));
        }
        decision
            .write(Write::ForgetNode(id))
            .act(Action::Answer(request, Answer::Forgotten(id)))
    }

    /// Whether it runs on somewhere nobody knows any more.
    fn given_up(&self, now: Now, node: &Node, copy: &Copy) -> Decision {
        let from = self
            .copies
            .get(&copy.desired.instance)
            .map_or("UNKNOWN", |copy| copy.state.as_str());
        let message = format!("worker {} was forgotten", node.record.facts.name);
        Self::event(
            now,
            &copy.desired,
            (from, "UNKNOWN"),
            "worker_forgotten",
            message,
        )
    }
}

/// What was only restarted with this cluster, or connects just now, is expected.
const fn may_be_forgotten(liveness: Liveness) -> bool {
    match liveness {
        Liveness::Suspect | Liveness::Lost => true,
        Liveness::Alive | Liveness::Reconnecting => false,
    }
}
