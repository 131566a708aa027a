//! What is asked of an orchestrator that was just started, before it has heard its workers.

use model::job::Takeover;
use model::operation::Progress;
use model::reason::ReasonCode;

use crate::support::{Document, Root, Site, progress};

/// Two workers with a job, whose orchestrator was just started again and has heard neither.
fn unheard(memories: &[u64], document: &Document) -> Site {
    let mut site = Site::of(memories);
    site.run(document);
    for worker in site.workers.values_mut() {
        worker.up = false;
    }
    site.restart();
    site
}

#[test]
fn a_change_that_comes_before_the_workers_are_heard_again_waits_for_them() {
    for takeover in [
        Takeover::default(),
        Takeover {
            max_surge: 0,
            ..Takeover::default()
        },
    ] {
        let document = |version| Document {
            version,
            takeover: takeover.clone(),
            ..Document::new("web", 60, 2)
        };
        // There is no room for one more: the old copy stops first, once its own worker is heard.
        let mut site = unheard(&[60, 60], &document(1));
        site.put(&document(2));
        site.pass(2);
        assert_eq!(progress(&site, "web"), Progress::Running);
        site.back(1);
        site.back(2);
        site.pass(5);
        assert_eq!(progress(&site, "web"), Progress::Done, "{takeover:?}");
        let rows = site.rows("web");
        assert!(rows.iter().all(|row| row.contains(" 2.")), "{rows:?}");
    }
}

#[test]
fn a_change_fails_when_those_that_it_waits_for_are_lost() {
    let mut site = unheard(&[100, 100], &Document::new("web", 60, 1));
    // The one that has it is heard, and has no room for one more; it may not be missing.
    let strict = Takeover {
        max_unavailable: 0,
        ..Takeover::default()
    };
    site.back(1);
    site.put(&Document {
        version: 2,
        takeover: strict,
        ..Document::new("web", 60, 1)
    });
    site.pass(2);
    assert_eq!(progress(&site, "web"), Progress::Running);
    site.pass(60);
    let ended = progress(&site, "web");
    assert!(matches!(ended, Progress::Failed(_)), "{ended:?}");
    assert_eq!(site.rows("web"), ["0 Holder RUNNING w1 1.1"]);
}

#[test]
fn the_root_is_told_of_a_refusal_only_when_nobody_is_expected_any_more() {
    let mut site = Site::of(&[100, 100]);
    site.meet_root();
    site.sync_root();
    let document = Document::new("web", 60, 1);
    site.root.assign(&document, 0, 1);
    site.sync_root();
    for worker in site.workers.values_mut() {
        worker.up = false;
    }
    site.restart();
    site.meet_root();
    site.back(1);
    let first = site.root.heard(&document, 0).unwrap().copies[0].instance;
    site.root
        .order(&document, 0, 2, Root::migration_of(first, 2));
    site.sync_root();
    site.pass(2);
    let report = site.root.heard(&document, 0).unwrap();
    assert!(report.refused.is_none(), "{report:?}");
    site.pass(60);
    let report = site.root.heard(&document, 0).unwrap();
    let refused = report.refused.as_ref().expect("nobody came");
    assert_eq!(refused.reason.code, ReasonCode::Unreachable);
    assert_eq!((report.assignment, report.copies[0].instance), (2, first));
}
