//! Processes as `/proc` shows them.

use std::fs;
use std::io;

use rustix::process::{Pid, Signal};

/// This boot's id; empty where the kernel does not tell.
pub fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|text| text.trim().to_owned())
        .unwrap_or_default()
}

/// Fields of `/proc/<pid>/stat` after the command's name, which may itself hold spaces and brackets.
fn stat(pid: i32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(')')?;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}

/// When a process started, in clock ticks since the boot (field 22 of its stat); `None` when there is none.
pub fn start_time(pid: i32) -> Option<u64> {
    stat(pid)?.get(19)?.parse().ok()
}

/// Whether `pid` is alive (not a zombie) and started at `start`.
pub fn is(pid: i32, start: u64) -> bool {
    stat(pid).is_some_and(|fields| {
        let alive = fields
            .first()
            .is_some_and(|state| state != "Z" && state != "X");
        alive && fields.get(19).and_then(|field| field.parse().ok()) == Some(start)
    })
}

/// All pids of the machine.
fn pids() -> impl Iterator<Item = i32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Children of `parent`, zombies included.
pub fn children(parent: i32) -> Vec<i32> {
    let of = |pid: &i32| {
        stat(*pid).and_then(|fields| fields.get(1)?.parse::<i32>().ok()) == Some(parent)
    };
    pids().filter(of).collect()
}

/// Processes whose environment holds `variable` (`NAME=value`), as far as this user may look.
pub fn with_variable(variable: &str) -> Vec<i32> {
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    let has = |pid: &i32| {
        *pid != own
            && fs::read(format!("/proc/{pid}/environ")).is_ok_and(|environment| {
                environment
                    .split(|byte| *byte == 0)
                    .any(|entry| entry == variable.as_bytes())
            })
    };
    pids().filter(has).collect()
}

/// Signals one process; one that is gone is fine.
pub fn signal(pid: i32, signal: Signal) -> io::Result<()> {
    let Some(pid) = Pid::from_raw(pid) else {
        return Ok(());
    };
    gone_is_fine(rustix::process::kill_process(pid, signal))
}

/// Signals a process group; one that is gone is fine.
pub fn signal_group(group: i32, signal: Signal) -> io::Result<()> {
    let Some(group) = Pid::from_raw(group) else {
        return Ok(());
    };
    gone_is_fine(rustix::process::kill_process_group(group, signal))
}

fn gone_is_fine(result: rustix::io::Result<()>) -> io::Result<()> {
    match result {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_told_from_one_that_reuses_its_pid() {
        let own = i32::try_from(std::process::id()).unwrap();
        let start = start_time(own).unwrap();
        assert!(is(own, start));
        assert!(!is(own, start + 1));
        assert_eq!(start_time(i32::MAX), None);
        assert!(!boot_id().is_empty());
    }

    #[test]
    fn children_and_their_environment_are_found() {
        let mut child = std::process::Command::new("sleep")
            .arg("100")
            .env("EDGEIO_TEST_PROCESS", "7")
            .spawn()
            .unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        assert!(children(i32::try_from(std::process::id()).unwrap()).contains(&pid));
        assert_eq!(with_variable("EDGEIO_TEST_PROCESS=7"), [pid]);
        signal(pid, Signal::KILL).unwrap();
        child.wait().unwrap();
        signal(pid, Signal::KILL).unwrap();
    }
}
