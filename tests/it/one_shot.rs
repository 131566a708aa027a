//! Jobs that end: each runs to its end once, whatever is started again around it.

#![expect(clippy::panic, reason = "helpers of tests fail like tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use edgeio_tests::harness::{Settings, System, end_all_in, together};
use serde_json::Value;

use crate::documents::sleeper;

const LIMIT: Duration = Duration::from_secs(30);

/// A job that adds a line to a file, and succeeds with the line of that number.
fn job(name: &str, restart: &str, file: &Path, succeeds_with: usize) -> String {
    let file = file.display();
    let script = format!("echo ran >> {file}; test $(grep -c ran {file}) -ge {succeeds_with}");
    format!(
        "api_version: v0.1\njob_name: {name}\nimage_runtime: native\nrestart: {restart}\ncommand: [/bin/sh, -c, '{script}']\n"
    )
}

fn runs(file: &Path) -> usize {
    fs::read_to_string(file).unwrap_or_default().lines().count()
}

/// Each job with its file and how often it runs.
struct Jobs(Vec<(&'static str, PathBuf, usize)>);

impl Jobs {
    fn submit(system: &System) -> Self {
        let jobs = [
            ("never", "never", 1),
            ("on-failure", "on_failure", 1),
            ("at-last", "on_failure", 3),
        ];
        let jobs = jobs.map(|(name, restart, count)| {
            let file = system.directory().join(format!("{name}.runs"));
            system.root().submit(&job(name, restart, &file, count));
            (name, file, count)
        });
        Self(jobs.into())
    }

    /// They have ended, as they should, and have not run once more.
    #[track_caller]
    fn have_ended(&self, system: &System) {
        for (name, file, count) in &self.0 {
            let job = system.wait_state(name, "TERMINATED", LIMIT);
            let [row] = job["instances"].as_array().unwrap().as_slice() else {
                panic!("{job}")
            };
            assert_eq!(row["state"], "TERMINATED", "{job}");
            assert_eq!(row["last_exit"]["code"], 0, "{job}");
            assert_eq!(row["last_exit"]["signal"], Value::Null, "{job}");
            assert_eq!(runs(file), *count, "{name}: {job}");
        }
    }
}

/// A job that is sent now and runs shows that the worker has done everything that it was told before.
fn settle(system: &System, name: &str) {
    system.root().submit(&sleeper(name, ""));
    system.wait_state(name, "RUNNING", LIMIT);
}

#[test]
fn a_job_that_ended_with_0_is_over_whatever_is_started_again() {
    let _turn = together();
    let mut system = System::of_one(Settings::QUICK, "cpu=4,memory=500");
    let jobs = Jobs::submit(&system);
    jobs.have_ended(&system);

    // The engine alone.
    system.workers[0].program.kill();
    system.workers[0].program.again();
    settle(&system, "after-the-engine");
    jobs.have_ended(&system);

    system.clusters[0].kill();
    system.clusters[0].again();
    settle(&system, "after-the-cluster");
    jobs.have_ended(&system);

    // The machine, with nobody to ask.
    system.root.kill();
    system.clusters[0].kill();
    system.workers[0].program.kill();
    end_all_in(&system.workers[0].directory);
    system.workers[0].program.again();
    for (name, file, count) in &jobs.0 {
        assert_eq!(runs(file), *count, "{name} ran again without a cluster");
    }
    system.clusters[0].again();
    system.root.again();
    settle(&system, "after-the-machine");
    jobs.have_ended(&system);
}
