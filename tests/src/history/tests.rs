//! Each invariant catches a forged history, and none complains about an honest one.

use std::time::Duration;

use super::{ALL, Ask, Bounds, Copy, Fault, History, Instance, Job, Line, Violation, What, check};

const JOB: &str = "job_1";

fn bounds() -> Bounds {
    Bounds {
        converge: Duration::from_secs(10),
        settle: Duration::from_secs(10),
        stop_grace: Duration::from_secs(5),
        staleness: Duration::from_secs(4),
        undisturbed: vec![("other".to_owned(), Duration::from_millis(500))],
        memory: 100_000,
        descriptors: 8,
    }
}

fn copy(instance: &str, worker: &str, pid: i32) -> Copy {
    Copy {
        job: JOB.to_owned(),
        slot: ("web".to_owned(), 0),
        instance: instance.to_owned(),
        worker: worker.to_owned(),
        pid,
        start: 1,
    }
}

fn row(instance: &str, worker: &str, role: &str, state: &str) -> Instance {
    Instance {
        id: Some(instance.to_owned()),
        slot: ("web".to_owned(), 0),
        role: role.to_owned(),
        generation: (1, 1),
        state: state.to_owned(),
        worker: Some(worker.to_owned()),
        stale: false,
    }
}

fn job(state: &str, instances: Vec<Instance>) -> Vec<Job> {
    vec![Job {
        id: JOB.to_owned(),
        name: "steady".to_owned(),
        owner: "root".to_owned(),
        state: state.to_owned(),
        terminating: false,
        instances,
    }]
}

fn shown(server: &str, jobs: Vec<Job>) -> What {
    What::Shown {
        server: server.to_owned(),
        jobs,
    }
}

fn ran(copies: Vec<Copy>) -> What {
    What::Ran {
        copies,
        others: vec!["sleep 1".to_owned()],
    }
}

fn asked(server: &str, ask: Ask, status: u16) -> What {
    What::Asked {
        server: server.to_owned(),
        ask,
        status: Some(status),
        job: (ask != Ask::Look).then(|| JOB.to_owned()),
        name: "steady".to_owned(),
    }
}

fn used(kib: u64, descriptors: u64) -> What {
    What::Used {
        program: "root".to_owned(),
        kib,
        descriptors,
    }
}

fn event(to: &str, second: u32) -> What {
    What::Event {
        server: "root".to_owned(),
        instance: Some("a".to_owned()),
        to: to.to_owned(),
        cause: "requested".to_owned(),
        happened: format!("2026-01-01T00:00:{second:02}.000Z"),
    }
}

fn cut(worker: &str) -> What {
    What::Fault(Fault::Cut {
        worker: worker.to_owned(),
        from: vec!["root".to_owned()],
    })
}

fn mended(worker: &str) -> What {
    What::Fault(Fault::Mended {
        worker: worker.to_owned(),
    })
}

/// Lines at these times.
fn history(lines: Vec<(u64, What)>) -> History {
    let lines = lines.into_iter().map(|(at, what)| Line {
        begun: at,
        at: at + 1,
        what,
    });
    History {
        lines: lines.collect(),
    }
}

/// A job is accepted and runs; its worker is cut off, it is replaced, and after the mending the first copy stays.
fn honest() -> Vec<(u64, What)> {
    let (a, b) = (copy("a", "one", 10), copy("b", "two", 11));
    let running = |id, worker| job("RUNNING", vec![row(id, worker, "holder", "RUNNING")]);
    vec![
        (0, asked("other", Ask::Look, 200)),
        (10, used(50_000, 20)),
        (100, asked("root", Ask::Submit, 202)),
        (200, ran(vec![a.clone()])),
        (300, shown("root", running("a", "one"))),
        (1_000, cut("one")),
        (4_000, ran(vec![a.clone(), b.clone()])),
        (
            4_100,
            shown(
                "root",
                job(
                    "RUNNING",
                    vec![
                        row("a", "one", "dangling", "UNKNOWN"),
                        row("b", "two", "holder", "RUNNING"),
                    ],
                ),
            ),
        ),
        (7_000, mended("one")),
        (7_000, What::Fault(Fault::Healed)),
        (8_000, ran(vec![a])),
        (8_100, shown("root", running("a", "one"))),
        (20_000, ran(vec![copy("a", "one", 10)])),
        (20_100, shown("root", running("a", "one"))),
        (20_200, used(60_000, 24)),
        (20_300, event("TERMINATED", 20)),
    ]
}

fn found(name: &str, lines: Vec<(u64, What)>) -> Vec<Violation> {
    let (_, check) = ALL.into_iter().find(|(known, _)| *known == name).unwrap();
    let found = check(&history(lines), &bounds());
    assert!(
        found.iter().all(|wrong| wrong.invariant == name),
        "{found:?}"
    );
    found
}

/// An honest history passes; with more lines it does not.
#[track_caller]
fn is_caught(name: &str, more: Vec<(u64, What)>, says: &str) {
    let mut lines = honest();
    assert_eq!(found(name, lines.clone()), [], "an honest history");
    lines.extend(more);
    lines.sort_by_key(|(at, _)| *at);
    let found = found(name, lines);
    let named = found.iter().any(|wrong| wrong.to_string().contains(says));
    assert!(named, "{says:?} is not in {found:?}");
}

#[test]
fn an_honest_history_breaks_nothing_and_survives_being_kept() {
    let history = history(honest());
    assert_eq!(check(&history, &bounds()), []);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.jsonl");
    history.write(&path).unwrap();
    assert_eq!(History::read(&path), Ok(history));
    std::fs::write(&path, "{\"kind\": \"ran\"}\n").unwrap();
    assert!(History::read(&path).unwrap_err().contains(".jsonl:1:"));
}

#[test]
fn i1_a_job_that_is_accepted_and_not_shown() {
    is_caught(
        "I1",
        vec![(20_150, shown("root", Vec::new()))],
        "does not show it",
    );
    let accepted = vec![(20_150, asked("cluster", Ask::Submit, 202))];
    is_caught("I1", accepted, "nobody looked at cluster");
}

#[test]
fn i1_one_that_was_deleted_may_go() {
    let mut lines = honest();
    lines.push((20_400, asked("root", Ask::Delete, 202)));
    lines.push((20_500, shown("root", Vec::new())));
    assert_eq!(found("I1", lines), []);
}

#[test]
fn i2_two_copies_that_nothing_declares() {
    let two = |one: &str, other: &str| ran(vec![copy("a", one, 10), copy("c", other, 12)]);
    is_caught("I2", vec![(500, two("two", "three"))], "has 2 copies");
    // What is cut off is one copy more, not two.
    is_caught("I2", vec![(5_000, two("two", "three"))], "has 2 copies");
    is_caught("I2", vec![(5_000, two("one", "one"))], "has 2 copies");
    // The time after the mending is over.
    let late = 7_001 + 15_000 + 1;
    is_caught("I2", vec![(late, two("one", "two"))], "has 2 copies");
}

#[test]
fn a_worker_that_may_be_taken_for_away_is_one_copy_more_and_may_be_said_to_run() {
    let lossy = What::Fault(Fault::Lossy {
        worker: "one".to_owned(),
    });
    let mut lines = honest();
    lines[5].1 = lossy.clone();
    let claims = row("a", "one", "holder", "RUNNING");
    lines.insert(8, (6_000, shown("root", job("RUNNING", vec![claims]))));
    assert_eq!(found("I2", lines.clone()), []);
    assert_eq!(found("I7", lines.clone()), []);
    lines[5].1 = mended("one");
    assert_ne!(found("I2", lines), []);
}

#[test]
fn i2_a_successor_is_declared() {
    let mut lines = honest();
    let moving = job(
        "MIGRATING",
        vec![
            row("a", "two", "holder", "RUNNING"),
            row("c", "three", "successor", "SCHEDULED_NODE"),
        ],
    );
    lines.insert(5, (400, shown("root", moving)));
    lines.insert(
        6,
        (500, ran(vec![copy("a", "two", 10), copy("c", "three", 12)])),
    );
    assert_eq!(found("I2", lines), []);
}

#[test]
fn i3_a_view_that_differs_long_after_the_mending() {
    let orphan = ran(vec![copy("a", "one", 10), copy("x", "two", 12)]);
    is_caught("I3", vec![(20_120, orphan)], "there runs");
    let waits = shown("cluster", job("SCHEDULED_NODE", Vec::new()));
    is_caught("I3", vec![(20_130, waits)], "cluster says of steady");
    let lines = honest().into_iter().filter(|(at, _)| *at < 10_000);
    let found = found("I3", lines.collect());
    assert!(found[0].what.contains("nobody looked later"), "{found:?}");
}

#[test]
fn i4_an_end_that_is_taken_back_and_a_generation_that_falls() {
    let over = || {
        shown(
            "cluster",
            job("RUNNING", vec![row("a", "two", "leaving", "TERMINATED")]),
        )
    };
    let again = || ran(vec![copy("a", "two", 10)]);
    is_caught("I4", vec![(500, over()), (600, again())], "was TERMINATED");
    is_caught("I4", vec![(20_400, event("RUNNING", 21))], "after its end");
    let mut late = honest();
    late.push((20_400, event("RUNNING", 19)));
    assert_eq!(found("I4", late), [], "it ran before, and was told late");
    let mut lower = row("a", "one", "holder", "RUNNING");
    lower.generation = (0, 9);
    let fallen = shown("root", job("RUNNING", vec![lower]));
    is_caught("I4", vec![(20_150, fallen)], "showed generation (1, 1)");
}

#[test]
fn i4_the_end_of_what_nobody_hears_is_not_its_end() {
    let over = shown(
        "root",
        job("RUNNING", vec![row("a", "one", "dangling", "TERMINATED")]),
    );
    let mut lines = honest();
    lines.insert(9, (5_000, over));
    lines.insert(10, (5_100, ran(vec![copy("a", "one", 10)])));
    assert_eq!(found("I4", lines), []);
}

#[test]
fn i5_a_superseded_server_that_accepts() {
    let superseded = What::Fault(Fault::Superseded {
        server: "root".to_owned(),
    });
    let more = vec![
        (20_400, superseded),
        (20_500, asked("root", Ask::Change, 200)),
    ];
    is_caught("I5", more, "superseded");
}

#[test]
fn i6_another_process_and_one_that_is_gone() {
    let restarted = ran(vec![copy("a", "one", 99)]);
    is_caught("I6", vec![(9_000, restarted)], "was process");
    let steady = |pid| copy("s", "three", pid);
    let more = vec![
        (600, ran(vec![steady(5)])),
        (3_000, ran(vec![copy("a", "one", 10)])),
    ];
    is_caught("I6", more, "runs no more");
}

#[test]
fn i6_what_the_test_ended_may_start_again() {
    let mut lines = honest();
    let ended = Fault::Ended {
        worker: "one".to_owned(),
    };
    lines.insert(6, (1_100, What::Fault(ended)));
    lines.push((20_400, ran(vec![copy("a", "one", 99)])));
    assert_eq!(found("I6", lines), []);
}

#[test]
fn i7_running_said_of_what_is_cut_off() {
    let claims = || {
        shown(
            "root",
            job("RUNNING", vec![row("a", "one", "holder", "RUNNING")]),
        )
    };
    is_caught("I7", vec![(6_000, claims())], "cannot hear");
    // Not yet, and of somebody else's link.
    let mut lines = honest();
    lines.push((3_000, claims()));
    lines.push((
        6_000,
        shown(
            "cluster",
            job("RUNNING", vec![row("a", "one", "holder", "RUNNING")]),
        ),
    ));
    assert_eq!(found("I7", lines), []);
}

#[test]
fn i8_too_much_memory_and_descriptors_that_stay() {
    is_caught("I8", vec![(9_000, used(100_001, 20))], "KiB");
    is_caught("I8", vec![(20_400, used(50_000, 29))], "descriptors");
}

#[test]
fn i9_errors_and_slow_answers_of_others() {
    is_caught(
        "I9",
        vec![(9_000, asked("other", Ask::Look, 503))],
        "Some(503)",
    );
    let mut lines = history(honest()).lines;
    lines[0].at = lines[0].begun + 600;
    let (_, check) = ALL[8];
    let found = check(&History { lines }, &bounds());
    assert!(found[0].what.contains("take 600 ms"), "{found:?}");
    let found = check(&History::default(), &bounds());
    assert!(found[0].what.contains("nobody asked other"), "{found:?}");
}

#[test]
fn i10_an_orphan_in_the_end_and_a_bystander_that_is_gone() {
    let orphan = || ran(vec![copy("a", "one", 10), copy("x", "two", 12)]);
    is_caught("I10", vec![(20_400, orphan())], "nobody knows");
    let gone = What::Ran {
        copies: vec![copy("a", "one", 10)],
        others: Vec::new(),
    };
    is_caught("I10", vec![(20_050, gone)], "sleep 1 is gone");
}
