//! The units that are shipped for systemd.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn units() -> Vec<(PathBuf, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/systemd");
    let mut units: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|it| it == "service"))
        .map(|path| (path.clone(), fs::read_to_string(path).unwrap()))
        .collect();
    units.sort();
    units
}

fn has(unit: &str, line: &str) -> bool {
    unit.lines().any(|one| one == line)
}

#[test]
fn every_program_is_watched_started_again_and_keeps_its_data_in_its_own_folder() {
    let units = units();
    assert_eq!(units.len(), 3);
    for (path, unit) in &units {
        let program = path.file_stem().unwrap().to_str().unwrap();
        for line in ["Type=notify", "WatchdogSec=30", "Restart=always"] {
            assert!(has(unit, line), "{program}: {line}");
        }
        assert!(has(unit, &format!("ExecStart=/usr/local/bin/{program}")));
        assert!(has(
            unit,
            &format!("EnvironmentFile=-/etc/edgeio/{program}.env")
        ));
        let folder = unit
            .lines()
            .find_map(|line| line.strip_prefix("StateDirectory="))
            .unwrap();
        assert!(has(
            unit,
            &format!("Environment=EDGEIO_DATA_DIR=/var/lib/{folder}")
        ));
    }
}

#[test]
fn a_worker_s_unit_leaves_its_applications_alone() {
    let units = units();
    let (_, worker) = units
        .iter()
        .find(|(path, _)| path.ends_with("node-engine.service"))
        .unwrap();
    for line in [
        "KillMode=process",
        "OOMPolicy=continue",
        "TasksMax=infinity",
    ] {
        assert!(has(worker, line), "{line}");
    }
    assert!(worker.contains("After=network-online.target docker.service"));
    assert!(!worker.contains("Requires="), "it works without an engine");
    // What these set, native applications would inherit.
    for sandbox in [
        "Protect",
        "Private",
        "NoNewPrivileges",
        "SystemCall",
        "OOMScoreAdjust",
    ] {
        assert!(!worker.contains(sandbox), "{sandbox}");
    }
}

#[test]
fn systemd_understands_every_line() {
    let folder = tempfile::tempdir().unwrap();
    let mut verify = Command::new("systemd-analyze");
    verify.arg("verify");
    for (path, unit) in units() {
        // The programs are not installed on the machine of the tests.
        let unit = unit.replace("ExecStart=/usr/local/bin/", "ExecStart=/bin/true ");
        let copy = folder.path().join(path.file_name().unwrap());
        fs::write(&copy, unit).unwrap();
        verify.arg(copy);
    }
    // A machine without systemd cannot say.
    let Ok(said) = verify.output() else { return };
    let words = String::from_utf8_lossy(&said.stderr).into_owned();
    let ours: Vec<&str> = words
        .lines()
        .filter(|line| line.contains("orchestrator") || line.contains("node-engine"))
        .collect();
    assert_eq!(ours, Vec::<&str>::new());
}
