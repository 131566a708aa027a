//! The engine restarts, is gone, or tells what is not so.

use std::time::Instant;

use edgeio_tests::fake_engine::{Containers, Fault, Lie, Route, Status};
use edgeio_tests::harness::{together, wait_until};

use super::rig::{CHECK, CONVERGED, IMAGE, NOTICED, Rig, running};

const FIVE: [&str; 5] = ["a", "b", "c", "d", "e"];

#[test]
fn row_20_a_restart_with_live_restore_touches_no_container_and_ends_are_heard_again() {
    let _turn = together();
    let mut rig = Rig::of(1);
    rig.run_all(&FIVE);
    let before = running(rig.engine(), &FIVE);
    for round in 1..=3 {
        let followed = rig.engine().count(Route::Events);
        rig.engine().restart(Containers::RunOn);
        let begun = Instant::now();
        let engine = &rig.engines[0];
        wait_until("the events are followed again", NOTICED, || {
            (engine.count(Route::Events) > followed && engine.followers() > 0)
                .then_some(())
                .ok_or_else(|| format!("{} followers", engine.followers()))
        });
        eprintln!("followed again {:?} after restart {round}", begun.elapsed());
        assert_eq!(running(engine, &FIVE), before, "I6");
    }
    rig.wait_degraded(&[]);
    // One that ends now is heard at once, and the others go on.
    let ended = before[0].0.clone();
    rig.engine().end(&ended, 3);
    rig.wait_restarts("a", 1);
    assert_eq!(running(rig.engine(), &FIVE[1..]), before[1..], "I6");
    assert_ne!(rig.engine().only("a").id, ended);
}

#[test]
fn row_20_without_live_restore_each_job_goes_on_by_its_restart_policy() {
    let _turn = together();
    let mut rig = Rig::of(1);
    for (job, policy) in [
        ("always", "always"),
        ("failed", "on_failure"),
        ("never", "never"),
    ] {
        rig.submit(job, IMAGE, &format!("restart: {policy}\n"));
    }
    let jobs = ["always", "failed", "never"];
    for job in jobs {
        rig.runs(job);
    }
    let before = running(rig.engine(), &jobs);
    rig.engine().restart(Containers::End);
    rig.wait_restarts("always", 1);
    rig.wait_restarts("failed", 1);
    let ended = rig.system.wait_state("never", "FAILED", CONVERGED);
    assert_eq!(ended["instances"][0]["last_exit"]["signal"], 9, "{ended}");
    for (job, (id, ..)) in jobs.iter().zip(&before).take(2) {
        let now = rig.engine().only(job);
        assert_eq!((now.status, now.starts), (Status::Running, 1), "{now:?}");
        assert_ne!(now.id, *id, "what ended is made again, not beside itself");
    }
}

#[test]
fn row_20_what_happens_while_the_socket_is_gone_is_made_good_when_it_is_back() {
    let _turn = together();
    let mut rig = Rig::of(1);
    rig.run_all(&["stays", "ends", "goes"]);
    let before = running(rig.engine(), &["stays", "ends"]);
    rig.engine().stop(Containers::RunOn);
    rig.wait_degraded(&["docker"]);
    rig.engine().end(&before[1].0, 1);
    let answer = rig.system.root().delete("/api/v1/jobs/goes").unwrap();
    assert_eq!(answer.status, 202);
    rig.submit("new", IMAGE, "worker_node: worker-1\n");
    rig.system.wait_state("new", "NOT_DEPLOYED", NOTICED);
    rig.engine().start_again();
    let begun = Instant::now();
    rig.wait_restarts("ends", 1);
    rig.runs("new");
    let engine = &rig.engines[0];
    wait_until("the deleted one is gone", CONVERGED, || {
        let left = engine.of_job("goes");
        left.is_empty()
            .then_some(())
            .ok_or_else(|| format!("{left:?}"))
    });
    eprintln!(
        "all as wanted {:?} after the socket was back",
        begun.elapsed()
    );
    rig.wait_degraded(&[]);
    assert_eq!(running(engine, &["stays"]), before[..1], "I6");
    assert_eq!(engine.containers().len(), 3, "{:?}", engine.containers());
}

#[test]
fn row_20_errors_of_single_routes_are_retried_and_cost_no_storm_of_calls() {
    let _turn = together();
    let mut rig = Rig::of(1);
    rig.submit("before", IMAGE, "");
    rig.runs("before");
    let before = running(rig.engine(), &["before"]);
    // Nothing can be made.
    rig.engine()
        .fault(Route::Create, Fault::Error(500, "the test says so"));
    rig.submit("later", IMAGE, "");
    let failed = rig.system.wait_state("later", "FAILED", NOTICED);
    let instance = &failed["instances"][0];
    let reason = instance["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("the test says so"), "{failed}");
    assert!(instance["next_attempt_at"].is_string(), "{failed}");
    rig.engine().heal();
    rig.runs("later");
    // No events: ends are found by lists, and the engine is not asked all the time.
    rig.submit("ends", IMAGE, "");
    let job = rig.runs("ends");
    assert_eq!(job["instances"][0]["restarts"], 0, "{job}");
    rig.engine()
        .fault(Route::Events, Fault::Error(500, "the test says so"));
    rig.engine().restart(Containers::RunOn);
    let calls = rig.engine().calls().len();
    let begun = Instant::now();
    let id = rig.engine().only("ends").id;
    rig.engine().end(&id, 1);
    rig.wait_restarts("ends", 1);
    let (took, more) = (begun.elapsed(), rig.engine().calls().len() - calls);
    eprintln!("heard without events after {took:?}, with {more} calls");
    assert!(more > 0, "the end was heard of somehow");
    assert!(more < 60, "{more} calls in {took:?}");
    rig.wait_degraded(&[]);
    // The answer to a start is lost: the next attempt finds what it made.
    rig.engine().heal();
    rig.engine().fault(Route::Start, Fault::Deaf);
    rig.submit("deaf", IMAGE, "");
    rig.system.wait_state("deaf", "FAILED", NOTICED);
    rig.engine().heal();
    rig.runs("deaf");
    running(rig.engine(), &["deaf"]);
    assert_eq!(running(rig.engine(), &["before"]), before, "I6");
}

#[test]
fn row_20_a_list_that_leaves_one_out_does_not_end_it() {
    let _turn = together();
    let mut rig = Rig::of(1);
    rig.submit("one", IMAGE, "");
    rig.runs("one");
    let before = running(rig.engine(), &["one"]);
    rig.engine().lie(&before[0].0, Lie::LeftOut);
    // Lists for both who ask for them: the one that follows events, and the one that adopts after a silence.
    rig.engine().restart(Containers::RunOn);
    let lists = rig.engine().count(Route::List);
    let engine = &rig.engines[0];
    wait_until("it was listed again", CONVERGED + 8 * CHECK, || {
        let more = engine.count(Route::List) - lists;
        (more >= 4)
            .then_some(())
            .ok_or_else(|| format!("{more} lists"))
    });
    assert_eq!(running(engine, &["one"]), before, "I6");
    let job = rig.runs("one");
    assert_eq!(job["instances"][0]["restarts"], 0, "{job}");
}

#[test]
fn row_20_a_lie_about_a_state_makes_no_second_copy_and_is_made_good() {
    let _turn = together();
    let mut rig = Rig::of(1);
    rig.run_all(&["ended", "runs"]);
    // Said to have ended though it runs: it is replaced, and the one that ran is gone before.
    let runs = rig.engine().only("runs").id;
    rig.engine().lie(&runs, Lie::Ended(1));
    // Said to run though it ended: nobody can know, until the lie ends.
    let ended = rig.engine().only("ended").id;
    rig.engine().lie(&ended, Lie::Runs);
    rig.engine().end(&ended, 1);
    rig.engine().restart(Containers::RunOn);
    rig.wait_restarts("runs", 1);
    let now = running(rig.engine(), &["runs"]);
    assert_ne!(now[0].0, runs);
    assert_eq!(rig.engine().only("ended").status, Status::Exited(1));
    rig.engine().heal();
    let engine = &rig.engines[0];
    wait_until(
        "the one that ended runs again",
        CONVERGED + 8 * CHECK,
        || {
            let seen = engine.only("ended");
            (seen.status == Status::Running)
                .then_some(())
                .ok_or_else(|| format!("{seen:?}"))
        },
    );
    // Where its end was heard before the engine fell, what the lie then said was a restart too.
    rig.wait_restarts_of("ended", 1..=2);
}

#[test]
fn row_20_events_that_come_thrice_or_never_count_once() {
    let _turn = together();
    let mut rig = Rig::of(1);
    rig.run_all(&["thrice", "never"]);
    rig.engine().repeat_events(3);
    let id = rig.engine().only("thrice").id;
    rig.engine().end(&id, 1);
    rig.wait_restarts("thrice", 1);
    rig.engine().repeat_events(0);
    let id = rig.engine().only("never").id;
    let begun = Instant::now();
    rig.engine().end(&id, 1);
    let root = rig.system.root();
    wait_until("the lost end is found", CONVERGED + 8 * CHECK, || {
        let job = root.job("never")?;
        let instance = &job["instances"][0];
        (job["state"] == "RUNNING" && instance["restarts"] == 1)
            .then_some(())
            .ok_or_else(|| job.to_string())
    });
    eprintln!(
        "an end without an event was found after {:?}",
        begun.elapsed()
    );
    rig.wait_restarts("thrice", 1);
    running(rig.engine(), &["thrice", "never"]);
}
