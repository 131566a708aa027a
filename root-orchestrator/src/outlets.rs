//! Where actions go after the commit.

use std::collections::BTreeMap;

use model::access::{Quota, TenantPath};
use model::id::ClusterId;
use orchestrator::scheduler::Advisor;
use protocol::message::question::Ask;
use root_core::{Action, Input, Report, State, Write};

use crate::metrics::Metrics;
use crate::tier::Root;
use crate::uplink::{Down, Links};

/// All links that actions go out on.
#[derive(Debug)]
pub(crate) struct Outlets {
    links: Links,
    metrics: Metrics,
    advisor: Advisor<Root>,
    /// Which links are open, and what was last heard on them.
    open: BTreeMap<ClusterId, (u64, Option<Box<Report>>)>,
    /// The quotas that the state was told last: it does not store them.
    quotas: Vec<(TenantPath, Quota)>,
}

impl Outlets {
    /// With no link open.
    pub(crate) const fn new(links: Links, metrics: Metrics, advisor: Advisor<Root>) -> Self {
        Self {
            links,
            metrics,
            advisor,
            open: BTreeMap::new(),
            quotas: Vec::new(),
        }
    }
}

impl orchestrator::Outlets<Root> for Outlets {
    fn note(&mut self, input: &Input) {
        match input {
            Input::Connected { cluster, session } => {
                self.open.insert(*cluster, (*session, None));
            }
            Input::Closed {
                cluster, session, ..
            } => {
                let known = self.open.get(cluster);
                if known.is_some_and(|(open, _)| open == session) {
                    self.open.remove(cluster);
                }
            }
            Input::Aggregate { cluster, report } => {
                if let Some((_, last)) = self.open.get_mut(cluster) {
                    *last = Some(report.clone());
                }
            }
            Input::Quotas(quotas) => self.quotas.clone_from(quotas),
            Input::Started { .. }
            | Input::Job { .. }
            | Input::Patch { .. }
            | Input::ReleaseBrake { .. }
            | Input::Forget { .. }
            | Input::Schedule { .. }
            | Input::Advised { .. }
            | Input::Register { .. }
            | Input::Held { .. }
            | Input::Reported { .. }
            | Input::Adopt { .. }
            | Input::Told { .. }
            | Input::Reconcile => {}
        }
    }

    fn links(&self) -> Vec<Input> {
        let mut inputs = vec![Input::Quotas(self.quotas.clone())];
        for (cluster, (session, last)) in &self.open {
            inputs.push(Input::Connected {
                cluster: *cluster,
                session: *session,
            });
            inputs.extend(last.as_ref().map(|report| Input::Aggregate {
                cluster: *cluster,
                report: report.clone(),
            }));
        }
        inputs
    }

    fn loaded(&mut self, _state: &State) {}

    fn committed(&mut self, _state: &State, writes: &[Write]) {
        self.metrics.happened(writes);
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Assign(cluster, changes) => self.links.send(cluster, Down::Assign(changes)),
            Action::AskWhole(cluster) => self.links.send(cluster, Down::Ask(Ask::WholeReport)),
            Action::AskAdopt(cluster) => self.links.send(cluster, Down::Ask(Ask::Adopt)),
            Action::Confirm(cluster, stamp) => self.links.send(cluster, Down::Confirm(stamp)),
            Action::AskScheduler(slot, question) => self.advisor.ask(slot, question),
            // The controller answers.
            Action::Answer(..) => {}
        }
    }

    fn ask_whole(&mut self) {
        for cluster in self.open.keys() {
            self.links.send(*cluster, Down::Ask(Ask::WholeReport));
        }
    }
}
