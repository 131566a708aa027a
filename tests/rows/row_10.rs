//! Row 10: a worker is cut from its cluster, for moments and for long, both ways and one way.

use std::time::{Duration, Instant};

use edgeio_tests::harness::{pause, wait_until};
use edgeio_tests::history::Recorder;
use edgeio_tests::simulation::Rng;

use crate::stage::{
    AGREE, JOBS, Stage, instances, judge, lost_after, of, seed, settings, wait_agreed,
    wait_replaced,
};

/// Who cannot hear a worker that its cluster cannot hear.
const DEAF: [&str; 2] = ["root", "cluster-a"];
/// What of a link is cut.
#[derive(Debug, Clone, Copy)]
enum Cut {
    Both,
    /// What the worker says is lost.
    Up,
    /// What the cluster says is lost.
    Down,
}

impl Cut {
    fn cut(self, stage: &Stage) {
        match self {
            Self::Both => stage.lab.cut("far-a", "cluster-a"),
            Self::Up => stage.lab.cut_one_way("far-a", "cluster-a"),
            Self::Down => stage.lab.cut_one_way("cluster-a", "far-a"),
        }
    }

    fn mend(self, stage: &Stage) {
        match self {
            Self::Both => stage.lab.mend("far-a", "cluster-a"),
            Self::Up => stage.lab.mend_one_way("far-a", "cluster-a"),
            Self::Down => stage.lab.mend_one_way("cluster-a", "far-a"),
        }
    }
}

/// Cuts the link for a time, and waits for accord after the mending. Where the time is long enough and the worker is not
/// heard at all, its job must run elsewhere in time: twice `lost_after` for each time that it was lost before (row 12). Gives
/// whether it was lost.
fn outage(stage: &Stage, recorder: &Recorder, cut: Cut, time: Duration, losses: u32) -> bool {
    let replaced = lost_after() * 2_u32.pow(losses) + Duration::from_secs(3);
    recorder.cut("far-a", &DEAF);
    let begun = Instant::now();
    cut.cut(stage);
    let holder = stage.system.root().job("moved").unwrap()["instances"][0]["worker_node"].clone();
    if holder == "far-a" && time >= replaced && matches!(cut, Cut::Both) {
        let took = wait_replaced(&stage.system, "moved", "near-a", replaced);
        eprintln!(
            "{cut:?} cut: replaced {took:?} after the cut, lost_after is {:?}",
            lost_after()
        );
    }
    pause(time.saturating_sub(begun.elapsed()));
    let rows = instances(&stage.system.root(), "moved").unwrap();
    let lost = rows.iter().any(|row| row["worker_node"] == "near-a");
    cut.mend(stage);
    recorder.mended("far-a");
    let (copies, took) = wait_agreed(&stage.system, &JOBS, AGREE);
    let copy = &copies[0];
    eprintln!(
        "{cut:?} cut for {time:?}: all agree {took:?} after the mending, the copy is in {}",
        copy.directory.display()
    );
    lost
}

#[test]
fn row_10_worker_cut_from_its_cluster() {
    let Some((stage, recorder)) = Stage::two_workers(settings()) else {
        return;
    };
    let mut rng = Rng::new(seed());
    // A minute; more than `lost_after`, as chance has it; and long.
    let chance = Duration::from_millis(rng.between(200, 2_500));
    let mut losses = 0;
    for time in [of(60.0), lost_after() + chance, of(150.0)] {
        losses += u32::from(outage(&stage, &recorder, Cut::Both, time, losses));
    }
    judge("row_10_both", &stage.system, recorder, &JOBS, |_| {});
}

#[test]
fn row_10_worker_cut_one_way() {
    let Some((stage, recorder)) = Stage::two_workers(settings()) else {
        return;
    };
    let mut rng = Rng::new(seed());
    let mut losses = 0;
    for cut in [Cut::Up, Cut::Down] {
        let chance = Duration::from_millis(rng.between(0, 1_000));
        losses += u32::from(outage(&stage, &recorder, cut, of(60.0) + chance, losses));
    }
    judge("row_10_one_way", &stage.system, recorder, &JOBS, |_| {});
}

/// Named regression: others replaced what ran, or told of it, for a moment's silence.
#[test]
fn row_10_a_cut_of_a_moment_changes_nothing() {
    let Some((stage, recorder)) = Stage::two_workers(settings()) else {
        return;
    };
    let root = stage.system.root();
    let events = || {
        root.list("/api/v1/jobs/moved/events")
            .map(|rows| rows.len())
    };
    let (before, told) = (stage.system.copies("moved"), events());
    let mut rng = Rng::new(seed());
    for cut in [Cut::Both, Cut::Up, Cut::Down] {
        recorder.control("the link of far-a for a moment");
        cut.cut(&stage);
        pause(of(5.0) + Duration::from_millis(rng.between(0, 100)));
        cut.mend(&stage);
        let (copies, took) = wait_agreed(&stage.system, &JOBS, AGREE);
        eprintln!("{cut:?} cut for a moment: all agree {took:?} after the mending");
        assert_eq!(copies[..1], before);
    }
    // Nobody is cut off as far as the history goes, so that a second copy or a restart at any moment is a violation.
    let after = judge("row_10_moment", &stage.system, recorder, &JOBS, |_| {});
    assert_eq!(after[..1], before);
    assert_eq!(events(), told, "nothing is told of it");
}

/// Named regression: a node that returns after a partition leaves two copies running.
#[test]
fn row_10_a_node_that_returns_after_a_partition_leaves_one_copy() {
    let Some((stage, recorder)) = Stage::two_workers(settings()) else {
        return;
    };
    recorder.cut("far-a", &DEAF);
    stage.lab.cut("far-a", "cluster-a");
    let limit = lost_after() + Duration::from_secs(3);
    wait_replaced(&stage.system, "moved", "near-a", limit);
    let two = stage.system.copies("moved");
    assert_eq!(
        two.len(),
        2,
        "the first one runs on behind its NAT: {two:?}"
    );
    stage.lab.mend("far-a", "cluster-a");
    recorder.mended("far-a");
    let begun = Instant::now();
    let left = wait_until("one copy is left", AGREE, || {
        match stage.system.copies("moved").as_slice() {
            [copy] => Ok(copy.clone()),
            copies => Err(format!("{copies:?}")),
        }
    });
    eprintln!("one copy is left {:?} after the return", begun.elapsed());
    let after = judge("row_10_return", &stage.system, recorder, &JOBS, |_| {});
    assert_eq!(after[0], left);
}
