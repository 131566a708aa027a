//! Row 12: a link that comes and goes.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use edgeio_tests::harness::{Sampler, Settings, pause};
use edgeio_tests::history::Recorder;
use edgeio_tests::simulation::Rng;

use crate::stage::{
    JOBS, LIMIT, Stage, judge, keep_alive, lost_after, of, seed, settings, wait_agreed,
};

/// Pulls and plugs the cable until the time is over; gives the instances of the job that ever ran.
fn flap(
    stage: &Stage,
    recorder: &Recorder,
    time: Duration,
    mut next: impl FnMut(u64) -> Duration,
) -> (u64, BTreeSet<String>) {
    let directory = stage.system.directory().to_owned();
    let sampler = Sampler::start(move || {
        let copies = edgeio_tests::harness::copies(&directory, "moved");
        copies.into_iter().map(|copy| copy.instance).collect()
    });
    let (begun, mut times) = (Instant::now(), 0);
    while begun.elapsed() < time {
        // Until the cable is out, which may take seconds where the machine is busy, some is heard and some is not.
        recorder.lossy("far-a");
        stage.lab.pull("far-a");
        recorder.cut("far-a", &["root", "cluster-a"]);
        pause(next(times));
        stage.lab.plug("far-a");
        // It is heard again until the next time, and what is said of it is true.
        recorder.mended("far-a");
        pause(next(times));
        times += 1;
    }
    wait_agreed(&stage.system, &JOBS, LIMIT);
    (times, sampler.finish().ever)
}

/// Two seconds up and two down, for ten minutes.
///
/// At any scale the link flaps at its true pace, with the true settings, for a part of the time: what TCP does meanwhile is no
/// setting, and its waits (0.2 s and doubling for data, 1 s and doubling for a SYN) are made for seconds. Down for 0.2 s in
/// every 0.4 s, a connection would mostly break again before it carried anything.
#[test]
fn row_12_flapping_link() {
    let Some((stage, recorder)) = Stage::two_workers(Settings::scaled(1.0)) else {
        return;
    };
    let mut rng = Rng::new(seed());
    let (times, ever) = flap(&stage, &recorder, of(600.0), |_| {
        Duration::from_millis(rng.between(1_600, 2_400))
    });
    eprintln!("flapped {times} times; instances that ran: {}", ever.len());
    assert!(ever.len() <= 2, "one replacement at most: {ever:?}");
    judge("row_12_flapping", &stage.system, recorder, &JOBS, |_| {});
}

/// Down for longer than `lost_after` each time: who was lost and returned is waited for twice as long the next time, and then
/// four times. What it takes to connect again counts as silence too, so that the second time may be too long as well.
#[test]
fn row_12_a_worker_that_is_lost_again_and_again_is_waited_for_longer() {
    let Some((stage, recorder)) = Stage::two_workers(settings()) else {
        return;
    };
    let mut rng = Rng::new(seed());
    // Less than twice `lost_after`, and time for a replacement.
    let down = lost_after().mul_f64(1.4) + Duration::from_millis(rng.below(200));
    let (times, ever) = flap(&stage, &recorder, (down + of(40.0)) * 6, |_| {
        down.max(keep_alive() * 2)
    });
    eprintln!(
        "lost {times} times for {down:?}; instances that ran: {}",
        ever.len()
    );
    assert!(times >= 5, "{times}");
    assert!(ever.len() <= 3, "two replacements at most: {ever:?}");
    judge("row_12_lost_again", &stage.system, recorder, &JOBS, |_| {});
}
