//! Health checks from the document to what the root shows, and without anybody to tell it to.

use std::fs;
use std::time::Duration;

use edgeio_tests::harness::{Copy, Settings, System, together, wait_until};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(30);

/// Well as long as a file is in its working folder, which it makes when it starts.
const CHECKED: &str = "api_version: v0.1
job_name: checked
image_runtime: native
command: [/bin/sh, -c, \": > well; exec sleep 1000000\"]
health:
  command: [/bin/sh, -c, \"test -f well || { echo no such file; exit 1; }\"]
  interval: 200ms
  timeout: 5s
  retries: 2
stop_grace: 1s
";

fn instance(system: &System) -> Result<Value, String> {
    let job = system.root().job("checked")?;
    let instances = job["instances"].as_array().map(Vec::as_slice);
    match instances {
        Some([one]) => Ok(one.clone()),
        _ => Err(job.to_string()),
    }
}

/// Waits until it runs and is well; its row.
#[track_caller]
fn wait_healthy(system: &System, restarts: u64) -> Value {
    wait_until("it is healthy", LIMIT, || {
        let row = instance(system)?;
        let is = row["state"] == "RUNNING"
            && row["health"] == "healthy"
            && row["restarts"].as_u64() >= Some(restarts);
        is.then_some(row.clone()).ok_or_else(|| row.to_string())
    })
}

/// The application; its checks work in the same folder.
#[track_caller]
fn application(system: &System) -> Copy {
    wait_until("the application is there", LIMIT, || {
        let copies = system.copies("checked");
        let sleeps = |copy: &&Copy| {
            let command = fs::read(format!("/proc/{}/cmdline", copy.pid)).unwrap_or_default();
            command.starts_with(b"sleep\0")
        };
        let found = copies.iter().find(sleeps).cloned();
        found.ok_or_else(|| format!("{copies:?}"))
    })
}

fn make_sick(copy: &Copy) {
    fs::remove_file(format!("/proc/{}/cwd/well", copy.pid)).unwrap();
}

#[test]
fn an_application_that_is_not_well_is_started_again_and_everybody_hears_why() {
    let _turn = together();
    let system = System::of_one(Settings::QUICK, "cpu=2,memory=500");
    system.root().submit(CHECKED);
    let row = wait_healthy(&system, 0);
    assert_eq!(row["restarts"], 0, "{row}");
    let before = application(&system);
    make_sick(&before);
    let row = wait_healthy(&system, 1);
    let after = application(&system);
    assert_ne!((before.pid, before.start), (after.pid, after.start));
    assert_eq!(row["instance_id"].as_str(), Some(after.instance.as_str()));
    let events = system.root().list("/api/v1/jobs/checked/events").unwrap();
    let told = events.iter().find(|event| event["to"] == "FAILED");
    let told = told.unwrap_or_else(|| panic!("{events:?}"));
    let message = told["message"].as_str().unwrap();
    assert!(
        message.contains("failed 2 times in a row") && message.contains("no such file"),
        "{message}"
    );
}

#[test]
fn an_application_that_is_never_restarted_stays_and_is_shown_as_unhealthy() {
    let _turn = together();
    let system = System::of_one(Settings::QUICK, "cpu=2,memory=500");
    system.root().submit(&format!("{CHECKED}restart: never\n"));
    wait_healthy(&system, 0);
    let before = application(&system);
    make_sick(&before);
    let row = wait_until("it is unhealthy", LIMIT, || {
        let row = instance(&system)?;
        let is = row["health"] == "unhealthy";
        is.then_some(row.clone()).ok_or_else(|| row.to_string())
    });
    assert_eq!(
        (&row["state"], &row["restarts"]),
        (&"RUNNING".into(), &0.into())
    );
    fs::write(format!("/proc/{}/cwd/well", before.pid), "").unwrap();
    wait_healthy(&system, 0);
    assert_eq!(application(&system), before);
}

#[test]
fn a_worker_on_its_own_still_heals_what_is_not_well() {
    let _turn = together();
    let mut system = System::of_one(Settings::QUICK, "cpu=2,memory=500");
    system.root().submit(CHECKED);
    wait_healthy(&system, 0);
    let before = application(&system);
    system.root.kill();
    system.clusters[0].kill();
    make_sick(&before);
    let after = wait_until("it is started again", LIMIT, || {
        let after = application(&system);
        let is = after.pid != before.pid;
        is.then_some(after.clone())
            .ok_or_else(|| format!("{after:?}"))
    });
    system.clusters[0].again();
    system.root.again();
    let row = wait_healthy(&system, 1);
    assert_eq!(row["instance_id"].as_str(), Some(before.instance.as_str()));
    assert_eq!(application(&system), after);
}
