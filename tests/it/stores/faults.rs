//! Disks that are full, and stores that are damaged.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use edgeio_tests::harness::{
    Client, Program, Settings, System, alone, pause, required, wait_until,
};

use super::{LIMIT, all_copies, data, still_there, wait_copies, wait_running};
use crate::documents::sleeper;

/// What an orchestrator's disk has.
const SIZE: &str = "12m";
/// Three files of so many bytes are nearly what a document may have, and fill a store soon.
const LARGE: usize = 60_000;

/// A small disk of its own; unmounted when this is dropped, which must be before its directory is removed.
pub(crate) struct Disk(PathBuf);

impl Disk {
    /// A file system in memory, as large as `size` says.
    pub(crate) fn mount(at: &Path, size: &str) -> Self {
        fs::create_dir_all(at).unwrap();
        let options = format!("size={size},mode=700");
        run(Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "edgeio-test"])
            .arg(at));
        Self(at.to_owned())
    }

    /// Takes what is left, to the last byte.
    pub(crate) fn fill(&self) {
        let mut ballast = File::create(self.0.join("ballast")).unwrap();
        let block = [7; 4_096];
        while ballast.write_all(&block).is_ok() {}
    }

    pub(crate) fn free(&self) {
        fs::remove_file(self.0.join("ballast")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Also while a process that a failed test leaves behind has files open.
        run(Command::new("umount").arg("--lazy").arg(&self.0));
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
}

/// A job that runs nothing and takes room in the store.
pub(crate) fn large(name: &str) -> String {
    let text = "x".repeat(LARGE);
    let files = format!("files: {{a: \"{text}\", b: \"{text}\", c: \"{text}\"}}");
    sleeper(name, &format!("replicas: 0\n{files}\n"))
}

/// Submits until the disk is full; gives what was accepted.
fn submit_until_refused(client: &Client) -> Vec<String> {
    let mut accepted = Vec::new();
    for number in 0..200 {
        let name = format!("large-{number}");
        let answer = client.post("/api/v1/jobs", &large(&name)).unwrap();
        if matches!(answer.status, 503 | 507) {
            return accepted;
        }
        assert_eq!(answer.status, 202, "{}", answer.body);
        accepted.push(name);
    }
    let number = accepted.len();
    assert_eq!(number, 0, "so many jobs were accepted on a disk of {SIZE}");
    accepted
}

/// Writes are refused and reads answered as long as the disk is full; all that was accepted is there afterwards.
fn survives_a_full_disk(system: &System, client: &Client, disk: &Disk) {
    let before = all_copies(system);
    let mut accepted = vec!["large".to_owned()];
    client.submit(&large("large"));
    disk.fill();
    accepted.extend(submit_until_refused(client));
    let begun = Instant::now();
    let mut refused = 0;
    while begun.elapsed() < Duration::from_secs(5) {
        let answer = client.post("/api/v1/jobs", &large("refused")).unwrap();
        assert!(matches!(answer.status, 503 | 507), "{}", answer.body);
        refused += 1;
        assert_eq!(client.get("/healthz").unwrap().status, 200);
        wait_until("what was accepted can be read", LIMIT, || {
            accepted
                .last()
                .map_or(Ok(()), |last| client.job(last).map(drop))
        });
        pause(Duration::from_millis(200));
    }
    still_there(system, &before);
    disk.free();
    let freed = Instant::now();
    wait_until("it is ready", LIMIT, || {
        let health = client.get("/readyz")?;
        (health.status == 200)
            .then_some(())
            .ok_or_else(|| health.body.to_string())
    });
    wait_until("it takes a job", LIMIT, || {
        let answer = client.post("/api/v1/jobs", &sleeper("after", ""))?;
        (answer.status == 202)
            .then_some(())
            .ok_or_else(|| answer.body.to_string())
    });
    eprintln!(
        "{} jobs accepted, {refused} refused; the first accepted {:?} after there was room",
        accepted.len(),
        freed.elapsed()
    );
    for job in &accepted {
        assert!(client.job(job).is_ok(), "{job}: {:?}", client.job(job));
    }
    assert_eq!(client.get("/api/v1/jobs/refused").unwrap().status, 404);
    wait_running(client, &["after", "steady"]);
    still_there(system, &before);
}

fn with_a_small_disk(program: &str) -> (System, Disk) {
    let mut disk = None;
    let mut system = System::start_in(Settings::QUICK, "127.0.0.1", None, |directory| {
        disk = Some(Disk::mount(&directory.join(program), SIZE));
    });
    system.add_cluster("cluster-1", &[]);
    system.add_worker(
        "worker-1",
        0,
        &["--runtimes", "native", "--capacity", "cpu=8,memory=4000"],
    );
    (system, disk.unwrap())
}

#[test]
fn row_17_a_full_disk_of_the_root_refuses_writes_and_recovers_alone() {
    if !required("netns") {
        return;
    }
    let _turn = alone();
    let (system, disk) = with_a_small_disk("root");
    let client = system.root();
    client.submit(&sleeper("steady", ""));
    wait_running(&client, &["steady"]);
    survives_a_full_disk(&system, &client, &disk);
}

#[test]
fn row_17_a_full_disk_of_a_cluster_refuses_writes_and_recovers_alone() {
    if !required("netns") {
        return;
    }
    let _turn = alone();
    let (system, disk) = with_a_small_disk("cluster-1");
    let client = system.cluster(0);
    client.submit(&sleeper("steady", ""));
    wait_running(&client, &["steady"]);
    survives_a_full_disk(&system, &client, &disk);
}

#[test]
fn row_17_a_full_disk_of_a_worker_stops_nothing_and_recovers_alone() {
    if !required("netns") {
        return;
    }
    let _turn = alone();
    let (system, disk) = with_a_small_disk("worker-1");
    let client = system.root();
    client.submit(&sleeper("steady", ""));
    wait_running(&client, &["steady"]);
    let before = all_copies(&system);
    disk.fill();
    // Its files are made on the worker.
    let text = "x".repeat(LARGE);
    client.submit(&sleeper(
        "waits",
        &format!("files: {{large.txt: \"{text}\"}}\n"),
    ));
    wait_until(
        "the worker cannot take it, and says why or nothing",
        LIMIT,
        || {
            let job = client.job("waits")?;
            let state = job["state"].as_str().unwrap_or_default().to_owned();
            let runs = !system.copies("waits").is_empty();
            let waits = matches!(state.as_str(), "FAILED" | "SCHEDULED_NODE");
            (waits && !runs)
                .then_some(())
                .ok_or_else(|| job.to_string())
        },
    );
    pause(Duration::from_secs(3));
    still_there(&system, &before);
    assert_eq!(client.job("steady").unwrap()["state"], "RUNNING");
    disk.free();
    let freed = Instant::now();
    wait_running(&client, &["steady", "waits"]);
    eprintln!("it runs {:?} after there was room", freed.elapsed());
    wait_copies(&system, "waits", 1);
    still_there(&system, &before);
}

/// How a program ends that is started on such a store: refused with the exit code for that and with the way out.
#[track_caller]
fn refuses(program: &mut Program, what: &str) {
    let before = program.log().len();
    let status = program.fails();
    let said = program.log();
    let said = said.get(before..).unwrap_or_default();
    assert_eq!(status.code(), Some(78), "{what}: {said}");
    assert!(
        said.contains("edgeio restore FILE --data-dir DIR"),
        "{what}: {said}"
    );
}

#[test]
fn row_18_a_damaged_store_is_refused_with_the_way_out_and_a_backup_brings_it_back() {
    let _turn = alone();
    let mut system = System::of_one(Settings::QUICK, "cpu=8,memory=4000");
    system.root().submit(&sleeper("steady", ""));
    system.cluster(0).submit(&sleeper("own", ""));
    wait_running(&system.root(), &["steady"]);
    wait_running(&system.cluster(0), &["own"]);
    let before = all_copies(&system);
    let file = system.directory().join("cluster.edgeio");
    super::back_up(system.clusters[0].said("http"), &file);
    assert_eq!(system.clusters[0].stop().code(), Some(0));
    let directory = data(&system, "cluster-1");
    let store = directory.join("cluster.redb");
    let whole = fs::read(&store).unwrap();

    let half = &whole[..whole.len() / 2];
    let foreign: &[u8] = b"#!/bin/sh\nexit 0\n";
    for (what, bytes) in [("cut off", half), ("emptied", &[]), ("foreign", foreign)] {
        fs::write(&store, bytes).unwrap();
        refuses(&mut system.clusters[0], what);
        assert!(fs::read(&store).unwrap() == bytes, "{what}: it was changed");
    }
    // Each page that holds something, one after the other: what is read is what was written, or nothing is.
    let used: Vec<usize> = (0..whole.len() / 4_096)
        .filter(|page| {
            whole[page * 4_096..(page + 1) * 4_096]
                .iter()
                .any(|byte| *byte != 0)
        })
        .collect();
    let mut found = 0;
    let step = used.len().div_ceil(12);
    for page in used.iter().copied().step_by(step) {
        let mut damaged = whole.clone();
        let at = page * 4_096 + 40;
        damaged[at] ^= 0x10;
        fs::write(&store, &damaged).unwrap();
        system.clusters[0].spawn();
        let ended = system.clusters[0].ended_or_ready();
        if let Some(status) = ended {
            assert_eq!(status.code(), Some(78), "page {page}");
            found += 1;
            continue;
        }
        // The page was of no commit that counts. Since the first time that this happens it is an older copy, too.
        for job in ["own", "steady"] {
            let shown = system.cluster(0).job(job);
            assert!(shown.is_ok(), "page {page}: {shown:?}");
        }
        system.clusters[0].kill();
    }
    eprintln!(
        "{} of {} pages tried, {found} refused",
        used.len().div_ceil(step),
        used.len()
    );
    assert!(found > 0, "no damage was found");
    still_there(&system, &before);

    let damaged = system.directory().join("damaged");
    fs::rename(&directory, &damaged).unwrap();
    super::bring_back_keys(&damaged, &directory);
    super::restore(&[
        file.to_str().unwrap(),
        "--data-dir",
        directory.to_str().unwrap(),
    ]);
    system.clusters[0].again();
    wait_running(&system.cluster(0), &["own", "steady"]);
    wait_running(&system.root(), &["steady"]);
    still_there(&system, &before);
    super::work_goes_on(&system, "new");
}
