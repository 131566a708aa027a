//! Workers that are heard while a runtime of theirs does not answer.

use std::collections::BTreeSet;

use cluster_core::Input;
use model::id::NodeId;
use model::job::JobState;
use model::node::Liveness;
use model::reason::ReasonCode;
use model::workload::RuntimeKind;

use crate::support::{Document, Site};

fn silence(site: &mut Site, number: u32, runtimes: BTreeSet<RuntimeKind>) {
    let node = NodeId::from_bits(u128::from(number));
    site.turn([Input::Silent { node, runtimes }]);
    site.deliver();
}

#[test]
fn it_keeps_what_it_runs_gets_nothing_new_and_is_used_again_when_it_answers() {
    let mut site = Site::of(&[100, 100]);
    site.run(&Document::new("web", 10, 1));
    assert_eq!(site.rows("web"), ["0 Holder RUNNING w1 1.1"]);
    silence(&mut site, 1, BTreeSet::from([RuntimeKind::Noop]));
    assert_eq!(site.rows("web"), ["0 Holder RUNNING w1 1.1"]);
    let stale = |site: &Site| site.job("web").instances.iter().any(|row| row.stale);
    assert!(stale(&site), "it is the last that was known");
    assert_eq!(site.liveness(1), Liveness::Alive);
    site.run(&Document::new("more", 10, 2));
    assert_eq!(
        site.rows("more"),
        ["0 Holder RUNNING w2 1.1", "1 Holder RUNNING w2 1.1"]
    );
    silence(&mut site, 2, BTreeSet::from([RuntimeKind::Noop]));
    let aggregate = site.state.aggregate();
    assert!(
        aggregate.classes.is_empty(),
        "the root is offered no room: {aggregate:?}"
    );
    assert_eq!(aggregate.silent, BTreeSet::from([RuntimeKind::Noop]));
    site.submit(&[Document::new("waits", 10, 1)]);
    site.deliver();
    let job = site.job("waits");
    assert_eq!(job.state, JobState::NotDeployed);
    let reason = job.instances.iter().find_map(|row| row.reason.as_ref());
    let code = reason.map(|reason| reason.code);
    assert_eq!(code, Some(ReasonCode::RuntimeDegraded));
    // One that answers again is room that appears.
    silence(&mut site, 1, BTreeSet::new());
    assert_eq!(site.rows("waits"), ["0 Holder RUNNING w1 1.1"]);
    assert!(!stale(&site));
}
