//! Row 11: a cluster is cut from its root while users change jobs on both sides.

use std::time::{Duration, Instant};

use edgeio_tests::harness::{pause, wait_until};
use edgeio_tests::history::Recorder;
use edgeio_tests::simulation::Rng;

use crate::documents::sleeper;
use crate::stage::{
    LIMIT, Stage, UNDISTURBED, Wanted, cluster_lost_after, delete, judge, of, seed, submit,
    wait_agreed,
};

/// How many jobs each side accepts while they cannot hear each other.
const NEW: usize = 4;

/// Both clusters have a worker; root and `cluster-a` have jobs there, two of each side.
fn stage() -> Option<(Stage, Recorder)> {
    let mut stage = Stage::open()?;
    stage.worker("near-a", 0);
    stage.and_cluster_b();
    stage.worker("near-b", 1);
    let recorder = stage.record();
    for name in ["kept", "ended", "grown"] {
        let here = format!("placement: {{cluster: {}}}\n", "cluster-a");
        submit(&recorder, "root", name, &sleeper(name, &here));
    }
    for name in ["own-kept", "own-ended"] {
        submit(&recorder, "cluster-a", name, &sleeper(name, ""));
    }
    let there = [
        ("root", "kept", 1),
        ("root", "ended", 1),
        ("root", "grown", 1),
        ("cluster-a", "own-kept", 1),
        ("cluster-a", "own-ended", 1),
    ];
    wait_agreed(&stage.system, &there, LIMIT);
    Some((stage, recorder))
}

/// What users of both sides do meanwhile, one after another over the time of the cut.
fn both_sides_work(stage: &Stage, recorder: &Recorder, time: Duration) {
    let mut rng = Rng::new(seed());
    let begun = Instant::now();
    delete(recorder, "root", "ended");
    delete(recorder, "cluster-a", "own-ended");
    let scaled = recorder.scale("root", "grown", 3).unwrap();
    assert!(matches!(scaled.status, 200 | 202), "{}", scaled.body);
    // Who does not own a job says who does.
    let refused = recorder.delete("cluster-a", &id_of(stage, "kept")).unwrap();
    assert_eq!(refused.status, 409, "{}", refused.body);
    for number in 0..NEW {
        let step = time / u32::try_from(NEW + 1).unwrap();
        let chance = Duration::from_millis(rng.below(200));
        let at = step * u32::try_from(number).unwrap() + chance;
        pause(at.saturating_sub(begun.elapsed()));
        for server in ["root", "cluster-a"] {
            let name = format!("{server}-new-{number}");
            submit(recorder, server, &name, &sleeper(&name, ""));
        }
    }
    wait_until("the cluster places its own meanwhile", LIMIT, || {
        let missing = (0..NEW).find(|number| {
            let name = format!("cluster-a-new-{number}");
            stage.system.copies(&name).len() != 1
        });
        missing.map_or(Ok(()), |number| Err(format!("cluster-a-new-{number}")))
    });
    pause(time.saturating_sub(begun.elapsed()));
}

fn id_of(stage: &Stage, job: &str) -> String {
    let body = stage.system.root().job(job).unwrap();
    body["job_id"].as_str().unwrap().to_owned()
}

fn cut_for(row: &str, time: Duration) {
    let Some((stage, recorder)) = stage() else {
        return;
    };
    let steady = [("root", "kept", 1), ("cluster-a", "own-kept", 1)];
    let (before, _) = wait_agreed(&stage.system, &steady, LIMIT);
    recorder.cut("near-a", &["root"]);
    stage.lab.cut("root", "cluster-a");
    both_sides_work(&stage, &recorder, time);
    stage.lab.mend("root", "cluster-a");
    recorder.mended("near-a");

    let names: Vec<(String, String)> = (0..NEW)
        .flat_map(|number| ["root", "cluster-a"].map(|server| (server, number)))
        .map(|(server, number)| (server.to_owned(), format!("{server}-new-{number}")))
        .collect();
    let mut wanted: Vec<Wanted<'_>> = vec![
        ("root", "kept", 1),
        ("cluster-a", "own-kept", 1),
        ("root", "grown", 3),
        ("root", "ended", 0),
        ("cluster-a", "own-ended", 0),
    ];
    wanted.extend(
        names
            .iter()
            .map(|(server, name)| (server.as_str(), name.as_str(), 1)),
    );
    let after = judge(row, &stage.system, recorder, &wanted, |bounds| {
        bounds.undisturbed = vec![("cluster-b".to_owned(), UNDISTURBED)];
    });
    assert_eq!(after[..2], before, "what nobody touched was not touched");
    let told = stage.system.root().job("grown").unwrap();
    assert_eq!(told["generation"].as_u64(), Some(2), "{told}");
}

/// A cluster cut from the root for 60 s while both sides take jobs: afterwards every accepted job is there under its owner,
/// none doubled, none resurrected.
#[test]
fn row_11_cluster_cut_from_the_root_while_both_take_jobs() {
    cut_for("row_11", of(60.0));
}

/// The same for longer than the root waits before it moves what may move.
#[test]
fn row_11_cluster_cut_from_the_root_until_it_counts_as_lost() {
    cut_for("row_11_lost", cluster_lost_after() * 2);
}
