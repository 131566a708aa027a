//! What clusters tell of what happened, event by event (see [`model::telling`]).

use model::event::{Event, Tier};
use model::id::ClusterId;
use model::job::Job;
use model::telling::{Heard, Telling};

use crate::state::State;
use crate::{Action, Decision, Soft, Write};

impl State {
    /// What of it is new is one commit with how far the cluster was heard; the confirmation follows.
    pub(crate) fn cluster_told(&self, id: ClusterId, telling: &Telling) -> Decision {
        let Some(cluster) = self.clusters.get(&id) else {
            return Decision::default();
        };
        let mut decision = Decision::default().soft(Soft::Proof(id));
        // A root whose store was lost learns of its jobs first; then this comes again.
        if cluster.desired.held().is_none() || cluster.desired.wants_former(self.incarnation) {
            return decision;
        }
        let Some((heard, news)) = cluster.heard.take(telling) else {
            return decision;
        };
        for told in news {
            let event = &told.event;
            if let Some(job) = self.told_of(event)
                && !self.history.tells(event)
            {
                let mut event = Event {
                    tenant: job.tenant.clone(),
                    ..event.clone()
                };
                if !cluster.had.contains(&job.id) {
                    let name = &cluster.record.name;
                    event.message = format!(
                        "{} (told by cluster {name}, which has nothing of this job)",
                        event.message
                    );
                }
                decision = decision.write(Write::Event(event));
            }
        }
        if heard != cluster.heard {
            decision = decision.write(Write::Heard { cluster: id, heard });
        }
        match telling.last() {
            Some(last) => decision.act(Action::Confirm(id, last)),
            None => decision,
        }
    }

    /// The job of this root's that it is about. What a cluster had of it may be gone by the time it is heard, also from this root's
    /// memory: so nothing is dropped, and what comes from one that is not known to have had it says so.
    fn told_of(&self, event: &Event) -> Option<&Job> {
        self.book
            .get(event.job)
            .filter(|_| event.tier != Tier::Root)
    }

    pub(crate) fn take_heard(&mut self, id: ClusterId, heard: &Heard) {
        if let Some(cluster) = self.clusters.get_mut(&id) {
            cluster.heard = heard.clone();
        }
    }

    /// How far each cluster was heard, as the writes that rebuild it.
    pub(crate) fn all_heard(&self) -> impl Iterator<Item = Write> {
        let clusters = self.clusters.iter();
        let heard = clusters.filter(|(_, cluster)| !cluster.heard.lines().is_empty());
        heard.map(|(id, cluster)| Write::Heard {
            cluster: *id,
            heard: cluster.heard.clone(),
        })
    }
}
