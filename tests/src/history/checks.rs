//! The invariants. Each takes a whole history and gives what is wrong with it.

mod copies;
mod jobs;
mod limits;

pub use copies::{
    copies_stay_within_the_declared_overlap, faults_of_the_control_plane_restart_nothing,
    no_orphans_stay_and_no_bystander_goes, what_ended_stays_ended_and_generations_only_grow,
};
pub use jobs::{
    a_superseded_server_accepts_nothing, accepted_is_never_lost,
    no_status_claims_what_cannot_be_known, views_and_truth_agree_once_all_is_mended,
};
pub use limits::{memory_and_descriptors_stay_bounded, others_are_not_disturbed};

use std::collections::BTreeMap;

use super::{Bounds, Fault, History, Violation, What};

fn millis(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn violation(invariant: &'static str, at: u64, what: String) -> Violation {
    Violation {
        invariant,
        at,
        what,
    }
}

/// When a worker could not be heard surely, and who could not hear it at all.
#[derive(Debug, Clone)]
struct Outage {
    from: u64,
    /// The end, if it ended.
    until: Option<u64>,
    by: Vec<String>,
}

/// The outages of each worker.
fn outages(history: &History) -> BTreeMap<String, Vec<Outage>> {
    let mut found: BTreeMap<String, Vec<Outage>> = BTreeMap::new();
    for line in &history.lines {
        match &line.what {
            What::Fault(Fault::Cut { worker, from }) => {
                found.entry(worker.clone()).or_default().push(Outage {
                    from: line.begun,
                    until: None,
                    by: from.clone(),
                });
            }
            What::Fault(Fault::Lossy { worker }) => {
                found.entry(worker.clone()).or_default().push(Outage {
                    from: line.begun,
                    until: None,
                    by: Vec::new(),
                });
            }
            What::Fault(Fault::Mended { worker }) => {
                for outage in found.entry(worker.clone()).or_default() {
                    outage.until.get_or_insert(line.at);
                }
            }
            _ => {}
        }
    }
    found
}

/// Whether a second copy on this worker is declared at a moment: it cannot be heard, or could not until lately.
fn is_excused(outages: Option<&Vec<Outage>>, at: u64, bounds: &Bounds) -> bool {
    let after = millis(bounds.settle + bounds.stop_grace);
    outages
        .into_iter()
        .flatten()
        .any(|outage| outage.from <= at && outage.until.is_none_or(|until| at <= until + after))
}
