//! The root: what it assigns, what it is told, and what is offered back to it.

use cluster_core::Action;
use model::book::{JobAnswer, Refusal};
use model::instance::InstanceState;
use model::node::Liveness;
use model::reason::ReasonCode;

use crate::support::{Document, Site};

/// Under a root that has assigned `web` so many times, past the first hold.
fn assigned(memories: &[u64], web: &Document) -> Site {
    let mut site = Site::of(memories);
    site.meet_root();
    // The first set of a root is empty, unless this cluster has lost its store.
    site.sync_root();
    for index in 0..web.replicas {
        site.root.assign(web, index, 1);
    }
    site.sync_root();
    site.pass(20);
    site
}

#[test]
fn an_assignment_is_acknowledged_placed_and_reported() {
    let web = Document::new("web", 10, 1);
    let site = assigned(&[100], &web);
    assert_eq!(site.state.held().revision, 1);
    let report = site.root.heard(&web, 0).unwrap();
    assert_eq!((report.assignment, &report.offer), (1, &None));
    let [copy] = &report.copies[..] else {
        panic!("one copy: {report:?}");
    };
    assert!(matches!(copy.state, InstanceState::Running(_)));
    assert_eq!(copy.node_name.as_str(), "w1");
    assert_eq!(
        copy.instance.bits(),
        0xa001,
        "the root's id for the first copy"
    );
}

#[test]
fn what_is_known_of_a_worker_that_is_not_heard_is_stale_at_the_root_before_it_is_lost() {
    let web = Document::new("web", 10, 1);
    let mut site = assigned(&[100], &web);
    let stale = |site: &Site| site.root.heard(&web, 0).unwrap().copies[0].stale;
    assert!(!stale(&site));
    site.cut(1);
    site.pass(5);
    assert_eq!(site.liveness(1), Liveness::Suspect);
    assert!(stale(&site));
    site.back(1);
    site.deliver();
    assert!(!stale(&site));
}

#[test]
fn what_does_not_fit_is_offered_and_the_offer_withdrawn_when_it_does() {
    let web = Document::new("web", 50, 1);
    let mut site = assigned(&[10], &web);
    let offer = site.root.heard(&web, 0).unwrap().offer.clone().unwrap();
    assert_eq!(offer.reason.code, ReasonCode::InsufficientMemory);
    assert_eq!(offer.rejections.total(), 1);
    site.join(2, 100);
    let report = site.root.heard(&web, 0).unwrap();
    assert_eq!(report.offer, None);
    assert_eq!(report.copies[0].node_name.as_str(), "w2");
}

#[test]
fn nothing_is_reported_while_there_is_no_uplink_and_all_of_it_after() {
    let web = Document::new("web", 10, 1);
    let mut site = assigned(&[100, 100], &web);
    let before = site.root.reports;
    site.turn([cluster_core::Input::RootClosed]);
    site.cut(1);
    site.pass(20);
    assert_eq!(site.root.reports, before);
    assert_eq!(site.root.heard(&web, 0).unwrap().copies.len(), 1);
    site.meet_root();
    assert_eq!(site.root.heard(&web, 0).unwrap().copies.len(), 2);
}

/// A cluster whose cable was pulled hears its root first, and its workers a moment later.
#[test]
fn after_an_isolation_nothing_is_offered_before_the_workers_can_be_back() {
    let web = Document::new("web", 10, 1);
    let mut site = assigned(&[100], &web);
    site.turn([cluster_core::Input::RootClosed]);
    site.cut(1);
    site.pass(20);
    assert_eq!(site.liveness(1), Liveness::Lost);
    site.meet_root();
    assert!(site.root.heard(&web, 0).unwrap().offer.is_none());
    site.back(1);
    site.deliver();
    assert_eq!(site.rows("web"), ["0 Holder RUNNING w1 1.1"]);
    // All are back, so new work does not wait.
    site.run(&Document::new("own", 10, 1));
    assert_eq!(site.rows("own"), ["0 Holder RUNNING w1 1.1"]);
}

#[test]
fn after_an_isolation_what_does_not_return_is_offered_after_one_grace() {
    let web = Document::new("web", 10, 1);
    let mut site = assigned(&[100], &web);
    site.turn([cluster_core::Input::RootClosed]);
    site.cut(1);
    site.pass(20);
    site.meet_root();
    site.pass(17);
    assert!(site.root.heard(&web, 0).unwrap().offer.is_none());
    site.pass(2);
    assert!(site.root.heard(&web, 0).unwrap().offer.is_some());
}

#[test]
fn what_the_root_takes_back_is_reported_gone_only_when_it_has_ended() {
    let web = Document::new("web", 10, 1);
    let mut site = assigned(&[100], &web);
    site.workers.get_mut(&1).unwrap().never_stops = true;
    site.root.take_back(&web, 0);
    site.sync_root();
    assert!(site.root.heard(&web, 0).is_some());
    site.workers.get_mut(&1).unwrap().never_stops = false;
    site.deliver();
    assert!(site.root.heard(&web, 0).is_none());
    assert!(site.slots().is_empty());
}

#[test]
fn a_newer_assignment_of_the_same_workload_stays_under_a_new_generation() {
    let web = Document::new("web", 10, 1);
    let mut site = assigned(&[100], &web);
    site.root.assign(&web, 0, 2);
    site.sync_root();
    assert_eq!(site.rows("web"), ["0 Holder RUNNING w1 2.2"]);
    assert_eq!(site.root.heard(&web, 0).unwrap().assignment, 2);
    assert_eq!(site.root.heard(&web, 0).unwrap().copies.len(), 1);
}

#[test]
fn a_job_of_the_root_is_owned_elsewhere() {
    let web = Document::new("web", 10, 1);
    let mut site = assigned(&[100], &web);
    let refusal = JobAnswer::Refused(Refusal::OwnedElsewhere {
        job: "web".to_owned(),
        owner: "root".to_owned(),
    });
    assert_eq!(site.delete("web"), refusal);
    assert_eq!(site.put(&Document::new("web", 10, 2)), refusal);
}

#[test]
fn a_job_of_the_clusters_own_is_never_handed_up() {
    let mut site = Site::of(&[10]);
    site.meet_root();
    site.run(&Document::new("own", 50, 1));
    site.run(&Document::new("fits", 5, 1));
    let own = Document::new("own", 50, 1);
    assert!(site.root.heard(&own, 0).is_none());
}

#[test]
fn the_aggregate_says_what_is_free_and_grows_its_revision_when_room_grows() {
    let mut site = Site::of(&[100, 40]);
    site.run(&Document::new("web", 30, 1));
    let before = site.state.aggregate();
    assert_eq!(before.number_of_nodes, 2);
    assert_eq!(before.room.memory.mb(), 110);
    assert_eq!(before.allocatable.memory.mb(), 140);
    let holes = before.classes[0].holes.iter().map(|hole| hole.memory.mb());
    assert_eq!(holes.collect::<Vec<_>>(), [70]);
    site.delete("web");
    site.deliver();
    let after = site.state.aggregate();
    assert_eq!(after.room.memory.mb(), 140);
    assert!(after.capacity_revision > before.capacity_revision);
    site.cut(1);
    site.pass(1);
    assert_eq!(
        site.state.aggregate().room.memory.mb(),
        40,
        "only who is heard"
    );
}

#[test]
fn an_aggregate_goes_out_in_the_turn_that_changed_the_room() {
    let mut site = Site::of(&[100]);
    site.meet_root();
    site.pass(5);
    site.submit(&[Document::new("web", 30, 1)]);
    let sent = site.last.iter().find_map(|action| match action {
        Action::Aggregate(aggregate) => Some(aggregate.room.memory.mb()),
        _ => None,
    });
    assert_eq!(sent, Some(70));
}
