//! What workers tell of what happened, what the root is told of it, and that nobody tells it twice.

use cluster_core::{Action, Input, Write};
use model::access::TenantPath;
use model::event::{Event, Tier};
use model::id::{EventId, InstanceId, JobId};
use model::slot::Generation;
use model::telling::{Stamp, Telling, Told};
use model::time::Wall;

use crate::support::{Document, Site};

/// Instance 0 of the root's job `web` runs on `w1`, which tells what happens to it.
fn assigned(web: &Document) -> Site {
    let mut site = Site::of(&[100, 100]);
    for worker in site.workers.values_mut() {
        worker.tells = true;
    }
    site.meet_root();
    site.sync_root();
    site.root.assign(web, 0, 1);
    site.sync_root();
    site.pass(20);
    assert_eq!(site.rows("web"), ["0 Holder RUNNING w1 1.1"]);
    site
}

fn instance(site: &Site) -> InstanceId {
    site.job("web").instances[0].instance.unwrap()
}

fn told(
    line: u64,
    number: u64,
    instance: InstanceId,
    (from, to): (&'static str, &'static str),
) -> Told {
    Told {
        stamp: Stamp { line, number },
        count: 1,
        event: Event {
            tenant: TenantPath::root(),
            id: EventId::from_bits(0),
            at: Wall(500 + number as i64),
            tier: Tier::Worker,
            job: JobId::from_bits(0x1000),
            instance: Some(instance),
            generation: Generation {
                assignment: 1,
                placement: 1,
            },
            from,
            to,
            cause: "exited".to_owned(),
            message: String::new(),
        },
    }
}

const CRASH: (&str, &str) = ("RUNNING", "FAILED");
const AGAIN: (&str, &str) = ("FAILED", "RUNNING");

fn tell(site: &mut Site, number: u32, after: Option<Stamp>, events: &[Told]) {
    let node = site.workers[&number].id;
    let events = events.to_vec();
    site.turn([Input::Told {
        node,
        telling: Telling { after, events },
    }]);
}

/// "worker RUNNING -> FAILED at 501": a history, oldest first.
fn history<'e>(events: impl IntoIterator<Item = &'e Event>) -> Vec<String> {
    let line = |event: &Event| {
        let (tier, at) = (event.tier.as_str(), event.at.0);
        format!("{tier} {} -> {} at {at}", event.from, event.to)
    };
    events.into_iter().map(line).collect()
}

fn of_workers(site: &Site) -> Vec<String> {
    let events = site.state.history().of(JobId::from_bits(0x1000));
    history(
        events
            .map(|event| &**event)
            .filter(|event| event.tier == Tier::Worker),
    )
}

fn at_the_root(site: &Site) -> Vec<String> {
    history(site.root.told.iter().map(|told| &told.event))
}

#[test]
fn a_worker_is_heard_once_whatever_comes_again_and_confirmed_each_time() {
    let web = Document::new("web", 10, 1);
    let mut site = assigned(&web);
    let it = instance(&site);
    let both = [told(7, 1, it, CRASH), told(7, 2, it, AGAIN)];
    for _ in 0..3 {
        tell(&mut site, 1, None, &both);
        site.deliver();
    }
    // What was lost before this one comes again first.
    tell(
        &mut site,
        1,
        Some(Stamp { line: 7, number: 3 }),
        &[told(7, 4, it, AGAIN)],
    );
    tell(&mut site, 1, Some(both[1].stamp), &[told(7, 3, it, CRASH)]);
    let seen = [
        "worker RUNNING -> FAILED at 501",
        "worker FAILED -> RUNNING at 502",
        "worker RUNNING -> FAILED at 503",
    ];
    assert_eq!(of_workers(&site), seen);
    let confirmed = site.workers[&1].confirmed.iter();
    let numbers: Vec<u64> = confirmed.map(|stamp| stamp.number).collect();
    assert_eq!(numbers, [2, 2, 2, 3]);

    // So it is after a restart, also of another start of the worker.
    site.restart();
    tell(&mut site, 1, None, &both);
    tell(
        &mut site,
        1,
        None,
        &[told(7, 3, it, CRASH), told(8, 4, it, AGAIN)],
    );
    assert_eq!(of_workers(&site).len(), 4);
    let message = &site
        .state
        .history()
        .of(JobId::from_bits(0x1000))
        .next_back()
        .unwrap()
        .message;
    assert_eq!(message, "RUNNING on worker w1");
}

#[test]
fn what_is_taken_is_one_commit_with_how_far_the_worker_was_heard() {
    let web = Document::new("web", 10, 1);
    let site = assigned(&web);
    let it = instance(&site);
    let node = site.workers[&1].id;
    let telling = Telling {
        after: None,
        events: vec![told(7, 1, it, CRASH)],
    };
    let decision = cluster_core::turn(
        &mut site.state.clone(),
        site.now,
        [Input::Told { node, telling }],
    );
    let kinds: Vec<&str> = decision
        .writes
        .iter()
        .filter_map(|write| match write {
            Write::Event(_) => Some("event"),
            Write::Heard { .. } => Some("heard"),
            Write::Tell(_) => Some("to the root"),
            _ => None,
        })
        .collect();
    assert_eq!(kinds, ["event", "heard", "to the root"]);
    let confirms = |action: &Action| matches!(action, Action::Confirm(..));
    assert!(decision.actions.iter().any(confirms));
}

#[test]
fn a_worker_that_tells_is_not_told_of_beside_it_and_one_that_does_not_is() {
    let web = Document::new("web", 10, 1);
    let mut site = assigned(&web);
    assert!(
        at_the_root(&site)
            .iter()
            .all(|line| !line.contains("-> RUNNING"))
    );
    for (tells, seen) in [(true, 0), (false, 1)] {
        for worker in site.workers.values_mut() {
            worker.tells = tells;
        }
        let before = site
            .state
            .history()
            .after(&TenantPath::root(), None)
            .count();
        site.workers.get_mut(&1).unwrap().crashes = true;
        site.workers.get_mut(&1).unwrap().reboot();
        site.pass(1);
        let after = site
            .state
            .history()
            .after(&TenantPath::root(), None)
            .count();
        assert_eq!(after - before, seen, "tells: {tells}");
        site.workers.get_mut(&1).unwrap().crashes = false;
        site.pass(1);
    }
}

#[test]
fn only_the_cluster_knows_that_a_worker_could_not_be_heard() {
    let web = Document {
        worker: Some("w1".to_owned()),
        ..Document::new("web", 10, 1)
    };
    let mut site = assigned(&web);
    site.root.told.clear();
    site.cut(1);
    site.pass(20);
    site.back(1);
    site.pass(1);
    let lines: Vec<String> = site
        .root
        .told
        .iter()
        .map(|told| {
            format!(
                "{} -> {} {}",
                told.event.from, told.event.to, told.event.cause
            )
        })
        .collect();
    assert_eq!(
        lines,
        [
            "RUNNING -> UNKNOWN worker_lost",
            "SCHEDULED_CLUSTER -> NOT_DEPLOYED unreachable",
            "UNKNOWN -> RUNNING returned",
        ]
    );
}

#[test]
fn what_happened_while_the_root_was_away_it_is_told_once_with_its_times() {
    let web = Document::new("web", 10, 1);
    let mut site = assigned(&web);
    let it = instance(&site);
    assert_eq!(site.state.untold().count(), 0);
    site.root.told.clear();
    site.turn([Input::RootClosed]);
    tell(
        &mut site,
        1,
        None,
        &[told(7, 1, it, CRASH), told(7, 2, it, AGAIN)],
    );
    site.pass(600);
    // A replacement that only this cluster knows of.
    site.cut(1);
    site.pass(20);
    site.restart();
    site.pass(5);
    assert_eq!(site.root.told, []);
    site.root.deaf = true;
    site.meet_root();
    site.pass(3);
    site.root.deaf = false;
    site.pass(20);
    let told = at_the_root(&site);
    assert_eq!(
        told[..3],
        [
            "worker RUNNING -> FAILED at 501",
            "worker FAILED -> RUNNING at 502",
            "cluster RUNNING -> UNKNOWN at 1660000",
        ]
    );
    assert!(
        told.iter()
            .any(|line| line.starts_with("cluster SCHEDULED_CLUSTER -> SCHEDULED_NODE"))
    );
    let mut once = told.clone();
    once.dedup();
    assert_eq!(once, told);
    assert_eq!(site.state.untold().count(), 0);
}

#[test]
fn events_of_this_clusters_own_jobs_stay_here() {
    let mut site = Site::of(&[100]);
    site.meet_root();
    site.run(&Document::new("own", 10, 1));
    site.pass(5);
    assert!(
        site.state
            .history()
            .after(&TenantPath::root(), None)
            .count()
            > 0
    );
    assert_eq!(site.root.told, []);
}

#[test]
fn the_end_of_a_job_is_told_though_nothing_of_it_is_remembered() {
    let web = Document::new("web", 10, 1);
    let mut site = assigned(&web);
    let it = instance(&site);
    site.root.told.clear();
    site.root.take_back(&web, 0);
    site.sync_root();
    site.pass(2);
    assert_eq!(
        site.state
            .history()
            .after(&TenantPath::root(), None)
            .count(),
        0
    );
    // What a worker says late of it still may mean something to the root.
    tell(&mut site, 1, None, &[told(7, 1, it, CRASH)]);
    site.deliver();
    let told = at_the_root(&site);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told[0].starts_with("cluster RUNNING -> TERMINATED"),
        "{told:?}"
    );
    assert_eq!(told[1], "worker RUNNING -> FAILED at 501");
    assert_eq!(
        site.state
            .history()
            .after(&TenantPath::root(), None)
            .count(),
        0
    );
}

#[test]
fn a_worker_tells_of_its_own_instances_only_and_as_a_worker() {
    let web = Document::new("web", 10, 1);
    let mut site = assigned(&web);
    let it = instance(&site);
    site.run(&Document::new("own", 10, 1));
    let own = site.job("own");
    let before = site
        .state
        .history()
        .after(&TenantPath::root(), None)
        .count();
    site.root.told.clear();
    // Of another worker's instance, under its own job and under another.
    let mut job = told(7, 2, it, CRASH);
    job.event.job = own.job.id;
    tell(&mut site, 2, None, &[told(7, 1, it, CRASH), job]);
    site.deliver();
    assert_eq!(
        site.state
            .history()
            .after(&TenantPath::root(), None)
            .count(),
        before
    );
    assert_eq!(site.root.told, []);
    // It is confirmed all the same: the worker need not say it for ever.
    assert_eq!(site.workers[&2].confirmed, [Stamp { line: 7, number: 2 }]);
    let mut grand = told(8, 1, it, CRASH);
    grand.event.tier = Tier::Root;
    tell(&mut site, 1, None, &[grand]);
    assert_eq!(of_workers(&site), ["worker RUNNING -> FAILED at 501"]);
}

#[test]
fn an_emptied_store_hears_and_tells_without_a_stop_and_without_a_double() {
    let web = Document::new("web", 10, 1);
    let mut site = assigned(&web);
    let it = instance(&site);
    let first = [told(7, 1, it, CRASH), told(7, 2, it, AGAIN)];
    tell(&mut site, 1, None, &first);
    let copy = site.copy_of_store();
    tell(&mut site, 1, Some(first[1].stamp), &[told(7, 3, it, CRASH)]);
    site.pass(2);
    // The confirmation of the last one was lost, and so is the store that had it.
    site.restore(&copy);
    site.pass(2);
    tell(
        &mut site,
        1,
        None,
        &[told(7, 3, it, CRASH), told(7, 4, it, AGAIN)],
    );
    let seen = of_workers(&site);
    assert_eq!(seen.len(), 4, "{seen:?}");
    site.empty_store();
    site.pass(2);
    tell(&mut site, 1, None, &[told(7, 5, it, CRASH)]);
    let last = site.workers[&1].confirmed.last();
    assert_eq!(last, Some(&Stamp { line: 7, number: 5 }));
}

#[test]
fn a_superseded_run_takes_nothing_and_confirms_nothing() {
    let web = Document::new("web", 10, 1);
    let mut site = assigned(&web);
    let it = instance(&site);
    site.turn([Input::RootKnowsLater]);
    tell(&mut site, 1, None, &[told(7, 1, it, CRASH)]);
    assert_eq!(of_workers(&site), Vec::<String>::new());
    assert_eq!(site.workers[&1].confirmed, []);
}

#[test]
fn what_nobody_here_knows_does_not_push_out_what_is_known() {
    let web = Document::new("web", 10, 1);
    let mut site = assigned(&web);
    let it = instance(&site);
    site.turn([Input::RootClosed]);
    for batch in 0..60 {
        let strange = (1..=100).map(|number| {
            let mut told = told(7, batch * 100 + number, it, CRASH);
            told.event.job = JobId::from_bits(0x9000 + u128::from(batch * 100 + number));
            told.event.instance = None;
            told
        });
        tell(&mut site, 1, None, &strange.collect::<Vec<_>>());
    }
    assert_eq!(site.state.untold().count(), 5_000);
    tell(&mut site, 1, None, &[told(7, 6_001, it, CRASH)]);
    assert_eq!(
        history(site.state.untold().next_back().map(|told| &told.event)),
        ["worker RUNNING -> FAILED at 6501"]
    );
}

#[test]
fn messages_that_are_taken_together_are_confirmed_together() {
    let web = Document::new("web", 10, 1);
    let mut site = assigned(&web);
    let it = instance(&site);
    let node = site.workers[&1].id;
    let messages = (1..=3).map(|number| Input::Told {
        node,
        telling: Telling {
            after: None,
            events: vec![told(7, number, it, CRASH)],
        },
    });
    site.turn(messages.collect::<Vec<_>>());
    let confirmed = site.last.iter().filter_map(|action| match action {
        Action::Confirm(to, stamp) => Some((*to, stamp.number)),
        _ => None,
    });
    assert_eq!(confirmed.collect::<Vec<_>>(), [(node, 3)]);
    assert_eq!(of_workers(&site).len(), 3);
}
