//! Clusters that an operator gives up: what they had is assigned elsewhere at once, whatever a job says of partitions.
//!
//! # Guarantees
//! One that is heard is never forgotten. One that returns after all is a new cluster: since its set begins above every
//! revision that it may hold, it takes that over as a whole, and stops what it still has of the old one.

use model::event::Tier;
use model::id::ClusterId;
use model::node::Liveness;
use model::slot::Slot;
use model::time::Now;

use crate::state::{Cluster, State};
use crate::{Action, Answer, Decision, RequestId, Write};

impl State {
    pub(crate) fn forget(&self, now: Now, request: RequestId, key: &str) -> Decision {
        let found = self.find_cluster(key);
        let Some((id, cluster)) = found.and_then(|id| Some((id, self.clusters.get(&id)?))) else {
            let answer = Answer::NoSuchCluster(key.to_owned());
            return Decision::default().act(Action::Answer(request, answer));
        };
        if cluster.session.is_some() || !may_be_forgotten(cluster.liveness) {
            let answer = Answer::ClusterIsThere(cluster.record.name.clone(), cluster.liveness);
            return Decision::default().act(Action::Answer(request, answer));
        }
        let mut decision = cluster
            .slots
            .iter()
            .fold(Decision::default(), |decision, slot| {
                decision.and(self.given_up(now, (id, cluster), slot))
            });
        let revision = cluster.desired.revision();
        if revision > self.floor {
            decision = decision.write(Write::Floor(revision));
        }
        decision
            .write(Write::ForgetCluster(id))
            .act(Action::Answer(request, Answer::Forgotten(id)))
    }

    /// Whether its copies run on somewhere nobody knows any more.
    fn given_up(&self, now: Now, (id, cluster): (ClusterId, &Cluster), slot: &Slot) -> Decision {
        let holdings = self.slots.get(slot).into_iter();
        let holding = holdings
            .flat_map(|record| &record.holdings)
            .find(|holding| holding.cluster == id);
        let Some(holding) = holding else {
            return Decision::default();
        };
        let copies = self.report_of(holding).map(|report| &report.copies);
        let from = copies
            .and_then(|copies| copies.first())
            .map_or("SCHEDULED_CLUSTER", |copy| copy.state.as_str());
        let message = format!("cluster {} was forgotten", cluster.record.name);
        Self::event(
            now,
            &holding.desired,
            Tier::Root,
            (from, "UNKNOWN"),
            "cluster_forgotten",
            message,
        )
    }
}

/// What was only restarted with this root, or connects just now, is expected.
const fn may_be_forgotten(liveness: Liveness) -> bool {
    match liveness {
        Liveness::Suspect | Liveness::Lost => true,
        Liveness::Alive | Liveness::Reconnecting => false,
    }
}
