//! A run whose store others have gone on with: it shows what it knows and changes nothing (protocol, section 3). The same
//! for runs of the clusters' stores: an older copy of one is not let in.

use model::book::JobAnswer;
use model::id::ClusterId;
use sync::{Held, Run};

use crate::state::{Cluster, State};
use crate::{Action, Answer, Decision, Input, Registration, Write};

impl State {
    /// What a fenced run answers, or does, where it would change something.
    pub(crate) fn refuse_fenced(&self, input: &Input) -> Option<Decision> {
        if !self.fenced {
            return None;
        }
        match input {
            Input::Job { request, .. }
            | Input::Patch { request, .. }
            | Input::ReleaseBrake { request }
            | Input::Forget { request, .. }
            | Input::Schedule {
                request: Some(request),
                ..
            }
            | Input::Register { request, .. } => {
                let answer = Answer::Job(JobAnswer::Fenced);
                Some(Decision::default().act(Action::Answer(*request, answer)))
            }
            Input::Schedule { request: None, .. }
            | Input::Advised { .. }
            | Input::Adopt { .. }
            | Input::Told { .. } => Some(Decision::default()),
            Input::Started { .. }
            | Input::Quotas(_)
            | Input::Connected { .. }
            | Input::Closed { .. }
            | Input::Held { .. }
            | Input::Reported { .. }
            | Input::Aggregate { .. }
            | Input::Reconcile => None,
        }
    }

    /// What a cluster's word says of this run itself: from here on, and after the next starts too, it changes nothing
    /// until an operator gives the store a new incarnation.
    pub(crate) fn heed(&self, cluster: &Cluster, held: &Held) -> Decision {
        let overtaken = cluster
            .desired
            .is_overtaken(held, self.incarnation, &self.term);
        if overtaken && !self.fenced {
            Decision::default().write(Write::Superseded)
        } else {
            Decision::default()
        }
    }

    /// Whether another run of the cluster's store was here that this one does not descend from.
    pub(crate) fn is_overtaken(&self, cluster: ClusterId, registration: &Registration) -> bool {
        let known = self
            .clusters
            .get(&cluster)
            .and_then(|known| known.record.run);
        match (known, &registration.store) {
            (Some(known), Some((incarnation, term))) => known.overtakes(*incarnation, term),
            (None, _) | (_, None) => false,
        }
    }
}

impl Registration {
    /// The run that registers, where it says so.
    pub(crate) fn run(&self) -> Option<Run> {
        let (incarnation, term) = self.store.as_ref()?;
        Some(Run::of(*incarnation, term))
    }
}
