//! Stores that are emptied, restored from a backup, and put back by hand, under real programs.

pub(crate) mod faults;
mod resumed;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use edgeio_tests::harness::{
    Client, Copy, Sampler, Settings, System, TOKEN, alone, edgeio, pause, wait_until,
};
use serde_json::Value;

use crate::documents::sleeper;

const LIMIT: Duration = Duration::from_secs(40);
/// Longer than a new store waits for its children, and than anybody is silent before being taken for lost.
const QUIET: Duration = Duration::from_secs(8);

/// The jobs of a list that are in a state, by name.
fn in_state(client: &Client, state: &str) -> Result<BTreeSet<String>, String> {
    let rows = client.list("/api/v1/jobs")?;
    let name = |row: &Value| row["job_name"].as_str().unwrap_or_default().to_owned();
    Ok(rows
        .iter()
        .filter(|row| row["state"] == state)
        .map(name)
        .collect())
}

/// Waits until all these jobs run, as an orchestrator says.
fn wait_running(client: &Client, jobs: &[&str]) {
    wait_until("all run", LIMIT, || {
        let running = in_state(client, "RUNNING")?;
        let missing: Vec<&&str> = jobs.iter().filter(|job| !running.contains(**job)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(format!("{missing:?} of {:?}", client.list("/api/v1/jobs")))
    });
}

/// Waits until a job has so many copies and no more, each of another instance.
fn wait_copies(system: &System, job: &str, number: usize) -> Vec<Copy> {
    wait_until(&format!("{number} copies of {job}"), LIMIT, || {
        let copies = system.copies(job);
        let instances: BTreeSet<&String> = copies.iter().map(|copy| &copy.instance).collect();
        if copies.len() == number && instances.len() == number {
            Ok(copies)
        } else {
            Err(format!("{copies:?}"))
        }
    })
}

fn all_copies(system: &System) -> BTreeSet<Copy> {
    edgeio_tests::harness::copies_in(system.directory())
        .into_iter()
        .collect()
}

/// Nothing of `before` ended.
#[track_caller]
fn still_there(system: &System, before: &BTreeSet<Copy>) {
    let now = all_copies(system);
    let ended: Vec<&Copy> = before.difference(&now).collect();
    assert!(ended.is_empty(), "ended: {ended:?}; now: {now:?}");
}

fn scale(client: &Client, job: &str, replicas: u32) {
    let path = format!("/api/v1/jobs/{job}/scale");
    let answer = client.post(&path, &format!("replicas: {replicas}\n"));
    let answer = answer.unwrap();
    assert_eq!(answer.status, 202, "{}", answer.body);
}

fn delete(client: &Client, job: &str) {
    let answer = client.delete(&format!("/api/v1/jobs/{job}")).unwrap();
    assert_eq!(answer.status, 202, "{}", answer.body);
}

/// What `edgeio backup` does while the orchestrator runs.
fn back_up(url: &str, file: &Path) {
    let file = file.to_str().unwrap();
    let done = edgeio(&["backup", "--url", url, "--token", TOKEN, "--to", file]);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.said.starts_with("backed up"), "{done:?}");
}

/// What `edgeio restore` says.
fn restore(args: &[&str]) -> String {
    let done = edgeio(&[&["restore"], args].concat());
    assert_eq!(done.code, Some(0), "{done:?}");
    done.said
}

fn copy_directory(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status();
    let (from, to) = (from.display(), to.display());
    assert!(status.unwrap().success(), "{from} to {to}");
}

fn data(system: &System, program: &str) -> PathBuf {
    system.directory().join(program)
}

/// A data directory is lost, but for a copy of its keys, which is brought back.
fn lose(directory: &Path) {
    let away = directory.with_extension("lost");
    fs::rename(directory, &away).unwrap();
    bring_back_keys(&away, directory);
    fs::remove_dir_all(&away).unwrap();
}

/// By which others know an orchestrator; no backup has them.
fn bring_back_keys(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    fs::rename(from.join("identity"), to.join("identity")).unwrap();
}

/// One root, one cluster, one worker, and two jobs of each orchestrator.
fn system() -> System {
    let system = System::of_one(Settings::QUICK, "cpu=32,memory=4000");
    system.root().submit(&sleeper("of-root", "replicas: 2\n"));
    system
        .cluster(0)
        .submit(&sleeper("of-cluster", "replicas: 2\n"));
    wait_running(&system.root(), &["of-root"]);
    wait_running(&system.cluster(0), &["of-cluster"]);
    system
}

/// Both orchestrators place something new.
fn work_goes_on(system: &System, name: &str) {
    let jobs = [format!("{name}-root"), format!("{name}-cluster")];
    system.root().submit(&sleeper(&jobs[0], ""));
    system.cluster(0).submit(&sleeper(&jobs[1], ""));
    wait_running(&system.root(), &[&jobs[0]]);
    wait_running(&system.cluster(0), &[&jobs[1]]);
    for job in &jobs {
        wait_copies(system, job, 1);
    }
}

fn sampler(system: &System) -> Sampler {
    let directory = system.directory().to_owned();
    Sampler::start(move || {
        let copies = edgeio_tests::harness::copies_in(&directory);
        copies.iter().map(|copy| format!("{copy:?}")).collect()
    })
}

#[test]
fn an_emptied_cluster_store_stops_nothing_and_has_the_jobs_again() {
    let _turn = alone();
    let mut system = system();
    // Later than its first copy, so that not every copy knows how many there are.
    scale(&system.cluster(0), "of-cluster", 4);
    wait_copies(&system, "of-cluster", 4);
    wait_running(&system.cluster(0), &["of-cluster"]);
    let before = all_copies(&system);
    assert_eq!(before.len(), 6);
    let sampler = sampler(&system);
    system.clusters[0].kill();
    lose(&data(&system, "cluster-1"));
    let begun = Instant::now();
    system.clusters[0].again();
    wait_running(&system.cluster(0), &["of-cluster", "of-root"]);
    wait_running(&system.root(), &["of-root"]);
    eprintln!(
        "an emptied cluster has all jobs {:?} after its start",
        begun.elapsed()
    );
    pause(QUIET);
    still_there(&system, &before);
    let sampling = sampler.finish();
    assert_eq!(
        sampling.ever.len(),
        6,
        "none was made anew: {:?}",
        sampling.ever
    );
    work_goes_on(&system, "new");
    delete(&system.cluster(0), "of-cluster");
    wait_copies(&system, "of-cluster", 0);
}

#[test]
fn an_emptied_root_store_stops_nothing_and_has_the_jobs_again() {
    let _turn = alone();
    let mut system = system();
    scale(&system.root(), "of-root", 4);
    wait_copies(&system, "of-root", 4);
    wait_running(&system.root(), &["of-root"]);
    let before = all_copies(&system);
    let sampler = sampler(&system);
    system.root.kill();
    lose(&data(&system, "root"));
    let begun = Instant::now();
    system.root.again();
    wait_running(&system.root(), &["of-root"]);
    eprintln!(
        "an emptied root has all jobs {:?} after its start",
        begun.elapsed()
    );
    pause(QUIET);
    still_there(&system, &before);
    let sampling = sampler.finish();
    assert_eq!(
        sampling.ever.len(),
        6,
        "none was made anew: {:?}",
        sampling.ever
    );
    work_goes_on(&system, "new");
    delete(&system.root(), "of-root");
    wait_copies(&system, "of-root", 0);
}

/// What happens after a backup: jobs are added, scaled, and deleted, at the root and at the cluster.
fn go_on(system: &System) {
    for (client, job) in [
        (system.root(), "of-root"),
        (system.cluster(0), "of-cluster"),
    ] {
        scale(&client, job, 3);
    }
    for (client, job) in [
        (system.root(), "gone-root"),
        (system.cluster(0), "gone-cluster"),
    ] {
        delete(&client, job);
    }
    for (client, job) in [
        (system.root(), "added-root"),
        (system.cluster(0), "added-cluster"),
    ] {
        client.submit(&sleeper(job, ""));
    }
    for (job, number) in [("gone-root", 0), ("gone-cluster", 0)] {
        wait_copies(system, job, number);
    }
    wait_copies(system, "of-root", 3);
    wait_copies(system, "of-cluster", 3);
    wait_running(&system.root(), &["of-root", "added-root"]);
    wait_running(&system.cluster(0), &["of-cluster", "added-cluster"]);
}

fn system_with_jobs_to_delete() -> System {
    let system = system();
    system.root().submit(&sleeper("gone-root", ""));
    system.cluster(0).submit(&sleeper("gone-cluster", ""));
    wait_running(&system.root(), &["gone-root"]);
    wait_running(&system.cluster(0), &["gone-cluster"]);
    system
}

#[test]
fn a_restored_cluster_store_stops_nothing_that_has_a_right_to_run() {
    let _turn = alone();
    let mut system = system_with_jobs_to_delete();
    let file = system.directory().join("cluster.edgeio");
    back_up(system.clusters[0].said("http"), &file);
    go_on(&system);
    let before = all_copies(&system);
    assert_eq!(before.len(), 8);

    assert_eq!(system.clusters[0].stop().code(), Some(0));
    let directory = data(&system, "cluster-1");
    fs::rename(&directory, system.directory().join("away")).unwrap();
    bring_back_keys(&system.directory().join("away"), &directory);
    let said = restore(&[
        file.to_str().unwrap(),
        "--data-dir",
        directory.to_str().unwrap(),
    ]);
    for words in [
        "cluster cluster-1",
        " ago)",
        "cluster-orchestrator",
        "workers",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let begun = Instant::now();
    system.clusters[0].again();
    wait_running(
        &system.cluster(0),
        &["of-cluster", "added-cluster", "of-root", "added-root"],
    );
    wait_running(&system.root(), &["of-root", "added-root"]);
    eprintln!(
        "a restored cluster has all jobs {:?} after its start",
        begun.elapsed()
    );
    pause(QUIET);
    still_there(&system, &before);
    for (job, number) in [
        ("of-root", 3),
        ("of-cluster", 3),
        ("added-root", 1),
        ("added-cluster", 1),
    ] {
        wait_copies(&system, job, number);
    }
    // The root knows that its job was deleted. Of the cluster's own nobody else does: it is there again, and can be
    // deleted again.
    assert_eq!(system.copies("gone-root"), []);
    wait_copies(&system, "gone-cluster", 1);
    delete(&system.cluster(0), "gone-cluster");
    wait_copies(&system, "gone-cluster", 0);
    work_goes_on(&system, "new");
    scale(&system.cluster(0), "of-cluster", 1);
    wait_copies(&system, "of-cluster", 1);
    scale(&system.root(), "of-root", 1);
    wait_copies(&system, "of-root", 1);
}

#[test]
fn a_restored_root_store_stops_nothing_that_has_a_right_to_run() {
    let _turn = alone();
    let mut system = system_with_jobs_to_delete();
    let file = system.directory().join("root.edgeio");
    back_up(system.root.said("http"), &file);
    go_on(&system);
    let before = all_copies(&system);

    assert_eq!(system.root.stop().code(), Some(0));
    let directory = data(&system, "root");
    fs::rename(&directory, system.directory().join("away")).unwrap();
    bring_back_keys(&system.directory().join("away"), &directory);
    let said = restore(&[
        file.to_str().unwrap(),
        "--data-dir",
        directory.to_str().unwrap(),
    ]);
    for words in ["the root", " ago)", "root-orchestrator", "clusters"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let begun = Instant::now();
    system.root.again();
    wait_running(&system.root(), &["of-root", "added-root"]);
    eprintln!(
        "a restored root has all jobs {:?} after its start",
        begun.elapsed()
    );
    pause(QUIET);
    still_there(&system, &before);
    for (job, number) in [
        ("of-root", 3),
        ("of-cluster", 3),
        ("added-root", 1),
        ("added-cluster", 1),
    ] {
        wait_copies(&system, job, number);
    }
    // Its cluster ended it and forgot it: it is there again, and can be deleted again.
    wait_copies(&system, "gone-root", 1);
    delete(&system.root(), "gone-root");
    wait_copies(&system, "gone-root", 0);
    assert_eq!(system.copies("gone-cluster"), []);
    work_goes_on(&system, "new");
    scale(&system.root(), "of-root", 1);
    wait_copies(&system, "of-root", 1);
}

/// What a superseded orchestrator says of itself.
fn is_fenced(client: &Client) -> Result<(), String> {
    let health = client.get("/readyz")?;
    let missing = health.body["missing"].to_string();
    let says = missing.contains("edgeio restore --in-place");
    if health.status == 503 && says {
        Ok(())
    } else {
        Err(format!("{health:?}"))
    }
}

/// It refuses every change with the reason, and shows what it knows.
fn refuses_changes(client: &Client, job: &str) {
    let refused = [
        client.post("/api/v1/jobs", &sleeper("refused", "")),
        client.put("/api/v1/jobs/refused", &sleeper("refused", "")),
        client.delete(&format!("/api/v1/jobs/{job}")),
        client.post(&format!("/api/v1/jobs/{job}/scale"), "replicas: 5\n"),
    ];
    for answer in refused {
        let answer = answer.unwrap();
        assert_eq!(answer.status, 503, "{}", answer.body);
        assert_eq!(answer.body["code"], "superseded", "{}", answer.body);
        let detail = answer.body["detail"].as_str().unwrap();
        assert!(detail.contains("--in-place"), "{detail}");
    }
    assert!(client.job(job).is_ok(), "{:?}", client.job(job));
    assert_eq!(client.get("/healthz").unwrap().status, 200);
}

#[test]
fn a_cluster_directory_that_is_put_back_by_hand_is_fenced_until_an_operator_says_so() {
    let _turn = alone();
    let mut system = system_with_jobs_to_delete();
    let (directory, copy) = (data(&system, "cluster-1"), system.directory().join("copy"));
    assert_eq!(system.clusters[0].stop().code(), Some(0));
    copy_directory(&directory, &copy);
    system.clusters[0].again();
    wait_running(&system.cluster(0), &["of-cluster", "of-root"]);
    go_on(&system);
    let before = all_copies(&system);

    assert_eq!(system.clusters[0].stop().code(), Some(0));
    fs::rename(&directory, system.directory().join("away")).unwrap();
    copy_directory(&copy, &directory);
    system.clusters[0].again();
    let begun = Instant::now();
    let client = system.cluster(0);
    wait_until("it is fenced", LIMIT, || is_fenced(&client));
    eprintln!(
        "an older copy of a cluster is fenced {:?} after its start",
        begun.elapsed()
    );
    refuses_changes(&client, "of-cluster");
    let answer = client.post("/api/v1/nodes/worker-1/cordon", "").unwrap();
    assert_eq!(answer.status, 503, "{}", answer.body);
    let log = system.clusters[0].log();
    assert!(log.contains("edgeio restore --in-place"), "{log}");
    pause(QUIET);
    still_there(&system, &before);
    assert_eq!(all_copies(&system), before, "nothing is placed either");
    // Nor does another start help.
    assert_eq!(system.clusters[0].stop().code(), Some(0));
    system.clusters[0].again();
    assert_eq!(is_fenced(&system.cluster(0)), Ok(()));
    assert_eq!(system.clusters[0].stop().code(), Some(0));

    let said = restore(&["--in-place", "--data-dir", directory.to_str().unwrap()]);
    assert!(said.contains("counts as restored"), "{said}");
    system.clusters[0].again();
    wait_running(
        &system.cluster(0),
        &["of-cluster", "added-cluster", "of-root", "added-root"],
    );
    wait_running(&system.root(), &["of-root", "added-root"]);
    pause(QUIET);
    still_there(&system, &before);
    assert_eq!(system.cluster(0).get("/readyz").unwrap().status, 200);
    for (job, number) in [
        ("of-root", 3),
        ("of-cluster", 3),
        ("added-root", 1),
        ("added-cluster", 1),
    ] {
        wait_copies(&system, job, number);
    }
    work_goes_on(&system, "new");
}

#[test]
fn a_root_directory_that_is_put_back_by_hand_is_fenced_until_an_operator_says_so() {
    let _turn = alone();
    let mut system = system_with_jobs_to_delete();
    let (directory, copy) = (data(&system, "root"), system.directory().join("copy"));
    assert_eq!(system.root.stop().code(), Some(0));
    copy_directory(&directory, &copy);
    system.root.again();
    wait_running(&system.root(), &["of-root", "gone-root"]);
    go_on(&system);
    let before = all_copies(&system);

    assert_eq!(system.root.stop().code(), Some(0));
    fs::rename(&directory, system.directory().join("away")).unwrap();
    copy_directory(&copy, &directory);
    system.root.again();
    let client = system.root();
    wait_until("it is fenced", LIMIT, || is_fenced(&client));
    refuses_changes(&client, "of-root");
    let answer = client
        .post("/api/v1/clusters/cluster-1/cordon", "")
        .unwrap();
    assert_eq!(answer.status, 503, "{}", answer.body);
    pause(QUIET);
    assert_eq!(all_copies(&system), before);
    // The cluster works on without it.
    system.cluster(0).submit(&sleeper("alone", ""));
    wait_running(&system.cluster(0), &["alone"]);
    assert_eq!(system.root.stop().code(), Some(0));

    restore(&["--in-place", "--data-dir", directory.to_str().unwrap()]);
    system.root.again();
    wait_running(&system.root(), &["of-root", "added-root"]);
    pause(QUIET);
    still_there(&system, &before);
    work_goes_on(&system, "new");
}

#[test]
fn what_cannot_be_restored_is_refused_and_leaves_nothing() {
    let system = System::start(Settings::QUICK);
    let place = system.directory();
    let file = place.join("root.edgeio");
    back_up(system.root.said("http"), &file);
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let (directory, running) = (text(&place.join("new")), text(&data(&system, "root")));
    let whole = fs::read(&file).unwrap();
    let refused = |args: &[&str], words: &[&str]| {
        let done = edgeio(&[&["restore"], args].concat());
        assert_eq!(done.code, Some(1), "{done:?}");
        for words in words {
            assert!(done.complained.contains(words), "{words}: {done:?}");
        }
        assert!(!place.join("new").exists(), "{args:?}");
    };
    for (bytes, words) in [
        (&whole[..whole.len() / 2], "cut off"),
        (&whole[..5], "no backup"),
        (b"something else entirely".as_slice(), "no backup"),
    ] {
        let other = place.join("other");
        fs::write(&other, bytes).unwrap();
        refused(
            &[&text(&other), "--data-dir", &directory],
            &[words, "other"],
        );
    }
    let mut damaged = whole.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 4;
    fs::write(place.join("other"), &damaged).unwrap();
    refused(
        &[&text(&place.join("other")), "--data-dir", &directory],
        &["other"],
    );
    refused(
        &[&text(&file), "--data-dir", &running],
        &["not empty", "root.redb"],
    );
    refused(&["--in-place", "--data-dir", &running], &["in use", "stop"]);
    // An authority that is there goes on.
    let kept = place.join("kept");
    fs::create_dir_all(kept.join("identity")).unwrap();
    let done = edgeio(&["restore", &text(&file), "--data-dir", &text(&kept)]);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(kept.join("identity").exists() && kept.join("root.redb").exists());
    refused(&["--in-place", "--data-dir", &directory], &["root.redb"]);
    let wrong = edgeio(&["restore", "--data-dir", &directory]);
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
    // A file that is there is replaced when the new one is whole, and not before.
    let done = edgeio(&[
        "backup",
        "--url",
        "http://127.0.0.1:1",
        "--to",
        &text(&file),
    ]);
    assert_eq!(done.code, Some(1), "{done:?}");
    assert_eq!(fs::read(&file).unwrap(), whole);
    let names: Vec<String> = fs::read_dir(place)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(!names.iter().any(|name| name.starts_with('.')), "{names:?}");
}
