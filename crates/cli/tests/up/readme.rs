//! The commands of the README, run in their order against a whole system.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::{Running, edgeio};

/// The lines of the README's blocks of code that are ours, without comments; those with words in capitals are forms,
/// `up` has tests of its own, and what `doctor` finds depends on the machine.
fn commands() -> Vec<String> {
    let readme = include_str!("../../../../README.md");
    let blocks = readme.split("```").skip(1).step_by(2);
    let lines = blocks.flat_map(str::lines);
    let commands = lines.filter_map(|line| {
        let line = line.split(" # ").next().unwrap();
        let line = line.split(" > ").next().unwrap().trim();
        let is_form = line.contains("   ")
            || line.contains(" NAME")
            || line.contains("/NAME")
            || line.contains(" | ");
        let elsewhere = line.starts_with("edgeio up") || line.starts_with("edgeio doctor");
        (line.starts_with("edgeio ") && !elsewhere && !is_form).then(|| line.to_owned())
    });
    commands.collect()
}

/// Runs it as a shell would; one that follows something is given a second.
fn run(command: &str, root: &str, dir: &Path) {
    let follows = [" -f ", " -w", " --watch", " --follow"]
        .iter()
        .any(|option| format!("{command} ").contains(option) && !command.contains("apply"))
        || (command.contains(" logs ") && command.ends_with(" -f"));
    let args: Vec<&str> = command.split_whitespace().skip(1).collect();
    let mut child = edgeio(&args)
        .env("EDGEIO_URL", root)
        .env("XDG_CONFIG_HOME", dir)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
        .spawn()
        .unwrap();
    if !follows {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{command}: {output:?}");
        return;
    }
    let end = Instant::now() + Duration::from_secs(1);
    while Instant::now() < end {
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "{command}: {status}");
            return;
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn the_commands_of_the_readme_do_what_they_say() {
    let dir = tempfile::tempdir().unwrap();
    // What is not deleted ends with the system.
    let running = Running::start_ephemeral(dir.path(), &[]);
    for command in commands() {
        run(&command, &running.root, dir.path());
    }
    assert_eq!(running.stop().0, 0);
}
