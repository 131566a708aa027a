//! Where the programs under test are.
//!
//! They stand beside the test's own executable (`target/<profile>/`). `cargo test --workspace` builds them there, but
//! `cargo test -p edgeio-tests` does not, so that build is asked for once in each run; where nothing changed it is quick.
//! It is the build of `cargo test --workspace`, since any other would choose other features of what all of them use
//! and compile that once more. `EDGEIO_TEST_PROGRAMS` names a directory with other programs, for example those that are
//! shipped.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

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

/// The crash points of a program, which says them itself; `None` where it was built without, as shipped programs are.
pub fn crash_points(program: &str) -> Option<Vec<String>> {
    let path = directory().join(program);
    let output = Command::new(path).arg("--crash-points").output().unwrap();
    let names = String::from_utf8(output.stdout).unwrap();
    let names = names.lines().map(str::to_owned).collect();
    output.status.success().then_some(names)
}

/// A cluster-orchestrator with a general broker, built first if need be: in a directory of its own, beside those of the
/// profiles, since that broker's libraries choose other features of what all programs use.
#[cfg(feature = "general-broker")]
pub fn with_general_broker() -> PathBuf {
    let target = profile_directory().parent().unwrap().join("general-broker");
    let mut command = cargo();
    command.args([
        "build",
        "--quiet",
        "--locked",
        "--package",
        "cluster-orchestrator",
    ]);
    command.args(["--no-default-features", "--features", "general-broker"]);
    // It serves for a minute: its libraries are built as fast as they can be.
    command.args(["--config", "profile.dev.package.\"*\".opt-level=0"]);
    command.arg("--target-dir").arg(&target);
    let status = command.status().expect("cargo can be run");
    assert!(status.success(), "the program does not build: {command:?}");
    target.join("debug/cluster-orchestrator")
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
    let mut command = cargo();
    command.args(["test", "--workspace", "--no-run", "--quiet", "--locked"]);
    // What `cargo test` takes of itself is in a directory of another name.
    let profile = directory.file_name().unwrap();
    if profile != "debug" {
        command.arg("--profile").arg(profile);
    }
    let target = directory.parent().unwrap();
    command.arg("--target-dir").arg(target);
    let status = command.status().expect("cargo can be run");
    assert!(status.success(), "the programs do not build: {command:?}");
    if let Some(run) = run {
        fs::write(built_for, run).unwrap();
    }
}

/// Cargo as somebody calls it at the workspace, whose standard output is nobody's.
fn cargo() -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap());
    // What cargo tells a test of its package, build scripts would take for a change of theirs, and all that depends on
    // them would be compiled once more, there and in the next build.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command.stdout(Stdio::null());
    command
}
