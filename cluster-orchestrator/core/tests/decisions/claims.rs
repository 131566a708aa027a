//! Workers that say what is not theirs to say.

use std::sync::Arc;

use cluster_core::{Input, report_entry};
use model::desired::{Desired, InstanceReport, NodeItem};
use model::id::NodeId;
use model::instance::{Observed, Report};
use model::slot::Generation;
use model::time::Wall;
use model::workload::Workload;
use sync::{Held, Incarnation, Observer};

use crate::support::{Document, Site};

/// A job with its one copy on `w1`, and `w2` beside it.
fn site() -> Site {
    let mut site = Site::of(&[100, 100]);
    site.run(&Document::new("web", 10, 1));
    assert_eq!((site.runs(1), site.runs(2)), (1, 0));
    site
}

/// What `w1` is to run.
fn of_the_other(site: &Site) -> Desired {
    let set = site.workers[&1].held.set();
    let mut instances = set.values().filter_map(|entry| match &entry.value {
        NodeItem::Instance(desired) => Some(desired.clone()),
        NodeItem::Settings(_) => None,
    });
    instances.next_back().unwrap()
}

#[test]
fn a_worker_that_reports_the_instance_of_another_changes_nothing_of_it() {
    let mut site = site();
    let victim = of_the_other(&site);
    let lie = |observed| InstanceReport {
        instance: victim.instance,
        generation: victim.generation,
        report: Report {
            observed,
            restarts: 9,
            last_exit: None,
            at: Wall(0),
        },
    };
    let before = site.rows("web");
    let mut observer = Observer::new(1);
    for observed in [Observed::Ended, Observed::Starting] {
        observer.put(report_entry(lie(observed)));
        let report = observer.report();
        observer.reported();
        let held = site.workers[&2].held.held();
        site.turn([Input::Reported {
            node: NodeId::from_bits(2),
            report,
            held,
        }]);
        assert_eq!(site.rows("web"), before);
    }
    site.pass(5);
    assert_eq!((site.rows("web"), site.runs(1)), (before, 1));
}

#[test]
fn a_worker_that_claims_the_set_of_another_store_changes_nothing_of_others() {
    let mut site = site();
    let victim = of_the_other(&site);
    // The same instance, later, with a program of its own.
    let mut service = victim.service.as_ref().clone();
    service.workload = Arc::new(Workload {
        command: vec!["/bin/evil".to_owned()],
        ..service.workload.as_ref().clone()
    });
    let forged = Desired {
        generation: Generation {
            placement: victim.generation.placement + 5,
            ..victim.generation
        },
        service: Arc::new(service),
        ..victim.clone()
    };
    let node = NodeId::from_bits(2);
    let held = Held {
        incarnation: Some(Incarnation(666)),
        revision: 9,
        ..site.workers[&2].held.held()
    };
    let Input::Held { beat, .. } = site.workers[&2].beat() else {
        unreachable!("a beat")
    };
    site.turn([Input::Held {
        node,
        held,
        beat,
        usage: None,
    }]);
    site.turn([Input::Adopt {
        node,
        held,
        desired: vec![forged],
    }]);
    site.pass(10);
    assert_eq!(of_the_other(&site), victim, "w1 runs what it was to run");
    assert_eq!(site.runs(1), 1);
}
