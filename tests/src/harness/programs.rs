//! Where the programs under test are.
//!
//! They stand beside the test's own executable (`target/<profile>/`). `cargo test --workspace` builds them there, but
//! `cargo test -p edgeio-tests` does not, so they are built once for each run; where nothing changed that is quick.
//! `EDGEIO_TEST_PROGRAMS` names a directory with other ones, for example those that are shipped.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The packages; all but the last have a program of the same name, and so has that.
const PACKAGES: [&str; 4] = [
    "root-orchestrator",
    "cluster-orchestrator",
    "node-engine",
    "edgeio",
];

/// The directory of the programs, built first if need be.
pub fn directory() -> &'static Path {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        if let Some(named) = std::env::var_os("EDGEIO_TEST_PROGRAMS") {
            return PathBuf::from(named);
        }
        let directory = profile_directory();
        build(&directory);
        directory
    })
}

/// `target/<profile>`.
pub(super) fn profile_directory() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    // The test is `target/<profile>/deps/it-<hash>`.
    own.ancestors().nth(2).unwrap().to_owned()
}

fn build(directory: &Path) {
    let lock = File::create(directory.join(".edgeio-building")).unwrap();
    lock.lock().unwrap();
    // A runner with a process for each test would build for each.
    let run = std::env::var("NEXTEST_RUN_ID").ok();
    let built_for = directory.join(".edgeio-built-for");
    if run.is_some() && fs::read_to_string(&built_for).ok() == run {
        return;
    }
    let profile = match directory.file_name().unwrap().to_str().unwrap() {
        "debug" => "dev",
        other => other,
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--locked", "--profile", profile]);
    command.arg("--manifest-path").arg(manifest());
    command
        .arg("--target-dir")
        .arg(directory.parent().unwrap())
        .args(PACKAGES.iter().flat_map(|package| ["-p", package]));
    let status = command.status().expect("cargo can be run");
    assert!(status.success(), "the programs do not build: {command:?}");
    if let Some(run) = run {
        fs::write(built_for, run).unwrap();
    }
}

/// The workspace's manifest.
fn manifest() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .join("Cargo.toml")
}
