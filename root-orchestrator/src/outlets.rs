//! Where actions go after the commit.

use std::collections::HashMap;

use model::id::ClusterId;
use protocol::message::question::Ask;
use root_core::{Action, Answer, RequestId};
use tokio::sync::oneshot;

use crate::uplink::{Down, Links};

/// All links that actions go out on. Nothing here waits.
#[derive(Debug)]
pub(crate) struct Outlets {
    pub(crate) links: Links,
}

impl Outlets {
    /// Performs actions in their order.
    pub(crate) fn perform(
        &self,
        actions: Vec<Action>,
        waiters: &mut HashMap<RequestId, oneshot::Sender<Answer>>,
    ) {
        for action in actions {
            match action {
                Action::Answer(request, answer) => {
                    if let Some(waiter) = waiters.remove(&request) {
                        // Whoever asked may have gone away.
                        let _ = waiter.send(answer);
                    }
                }
                Action::Assign(cluster, changes) => {
                    self.links.send(cluster, Down::Assign(changes));
                }
                Action::AskWhole(cluster) => self.ask_whole(cluster),
                Action::AskAdopt(cluster) => self.links.send(cluster, Down::Ask(Ask::Adopt)),
            }
        }
    }

    /// Asks a cluster for a whole report.
    pub(crate) fn ask_whole(&self, cluster: ClusterId) {
        self.links.send(cluster, Down::Ask(Ask::WholeReport));
    }
}
