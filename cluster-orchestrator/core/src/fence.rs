//! A run whose store others have gone on with: it shows what it knows and changes nothing (protocol, section 3).

use model::book::JobAnswer;
use model::node::Scheduling;
use sync::Held;

use crate::state::{Node, State};
use crate::{Action, Answer, Decision, Input, Write};

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
            | Input::Assigned(_)
            | Input::RootAsksWhole
            | Input::RootAsksAdopt
            | Input::Told { .. }
            | Input::RootConfirmed(_)
            | Input::RootKnowsLater => Some(Decision::default()),
            Input::Started { .. }
            | Input::Quotas(_)
            | Input::Connected { .. }
            | Input::Closed { .. }
            | Input::Held { .. }
            | Input::Reported { .. }
            | Input::RootConnected(_)
            | Input::Broker { .. }
            | Input::Silent { .. }
            | Input::Cloned(_)
            | Input::RootClosed
            | Input::Reconcile => None,
        }
    }

    /// From here on, and after the next starts too, until an operator gives the store a new incarnation.
    pub(crate) fn overtaken() -> Decision {
        Decision::default().write(Write::Superseded)
    }

    /// What a worker's word says of this run itself.
    pub(crate) fn heed(&self, node: &Node, held: &Held) -> Decision {
        let overtaken = node
            .desired
            .is_overtaken(held, self.incarnation, &self.term);
        // Whoever is not trusted does not stop this cluster by a word.
        let trusted = node.record.scheduling != Scheduling::Quarantined;
        if overtaken && trusted && !self.fenced {
            Self::overtaken()
        } else {
            Decision::default()
        }
    }
}
