//! What really runs, as the kernel tells it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// One native application, and which process it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Copy {
    /// The job's name.
    pub job: String,
    /// The job's id.
    pub job_id: String,
    /// Its service.
    pub service: String,
    /// Which replica.
    pub index: u64,
    /// The instance's id.
    pub instance: String,
    /// Where it works.
    pub directory: PathBuf,
    /// The process.
    pub pid: i32,
    /// When it began, in clock ticks since the boot: tells a reused number from the process.
    pub start: u64,
}

/// The processes of native applications that work below `directory`.
pub fn copies_in(directory: &Path) -> Vec<Copy> {
    let found = pids().filter_map(|pid| {
        let cwd = fs::read_link(format!("/proc/{pid}/cwd")).ok()?;
        // A deleted folder ends with " (deleted)", and is below the directory nevertheless.
        cwd.starts_with(directory).then_some(())?;
        let environ = fs::read(format!("/proc/{pid}/environ")).ok()?;
        let environ = String::from_utf8_lossy(&environ);
        let variable = |name: &str| {
            let found = environ.split('\0').find_map(|pair| pair.strip_prefix(name));
            found.map(str::to_owned)
        };
        Some(Copy {
            job: variable("EDGEIO_JOB_NAME=")?,
            job_id: variable("EDGEIO_JOB=")?,
            service: variable("EDGEIO_SERVICE=")?,
            index: variable("EDGEIO_INDEX=")?.parse().ok()?,
            instance: variable("EDGEIO_INSTANCE=")?,
            directory: cwd,
            pid,
            start: start_of(pid)?,
        })
    });
    let mut found: Vec<Copy> = found.collect();
    found.sort();
    found
}

/// The processes of one job below `directory`.
pub fn copies(directory: &Path, job: &str) -> Vec<Copy> {
    let mut found = copies_in(directory);
    found.retain(|copy| copy.job == job);
    found
}

/// Those processes that all ran at one moment: one that ends while the others are looked for is not among them.
pub fn copies_at_once(directory: &Path) -> Vec<Copy> {
    let mut found = copies_in(directory);
    found.retain(|copy| start_of(copy.pid) == Some(copy.start));
    found
}

/// Kills everything that works below `directory` or names it on its command line, until nothing does.
///
/// The applications first: their shims record the end and remove the control groups.
pub fn end_all_in(directory: &Path) {
    let deadline = Instant::now() + Duration::from_secs(5);
    let kind = |is: fn(i32, &Path) -> bool| pids().filter(move |pid| is(*pid, directory));
    loop {
        let applications: Vec<i32> = kind(works_in).collect();
        let shims: Vec<i32> = kind(names).collect();
        let late = Instant::now() + Duration::from_secs(3) > deadline;
        for pid in applications.iter().chain(shims.iter().filter(|_| late)) {
            kill(*pid, Signal::KILL);
        }
        if (applications.is_empty() && shims.is_empty()) || Instant::now() > deadline {
            return;
        }
        super::pause(Duration::from_millis(10));
    }
}

/// Sockets on which a process waits for others: listening TCP and unconnected UDP, as `ss -ltnup` shows them.
pub fn listening(pid: i32) -> Vec<String> {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let own: BTreeSet<String> = descriptors
        .filter_map(|entry| {
            let target = fs::read_link(entry.ok()?.path()).ok()?;
            let inode = target
                .to_str()?
                .strip_prefix("socket:[")?
                .strip_suffix(']')?;
            Some(inode.to_owned())
        })
        .collect();
    let mut found = Vec::new();
    // The states: TCP_LISTEN, and for UDP TCP_CLOSE, which says that it has no peer.
    for (kind, state) in [("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07")] {
        let table = fs::read_to_string(format!("/proc/{pid}/net/{kind}")).unwrap_or_default();
        for line in table.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            if let [_, local, _, now, _, _, _, _, _, inode, ..] = fields.as_slice()
                && *now == state
                && own.contains(*inode)
            {
                found.push(format!("{kind} {local}"));
            }
        }
    }
    found
}

/// Sends a signal; a process that is gone is fine.
pub(super) fn kill(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process(pid, signal);
    }
}

fn works_in(pid: i32, directory: &Path) -> bool {
    fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(directory))
}

fn names(pid: i32, directory: &Path) -> bool {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let mut words = line.split(|byte| *byte == 0);
    words.any(|word| PathBuf::from(String::from_utf8_lossy(word).as_ref()).starts_with(directory))
}

fn pids() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").unwrap();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// Field 22 of its `stat`; `None` for one that is gone or only waits to be reaped.
fn start_of(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    if matches!(fields.first(), Some(&"Z" | &"X")) {
        return None;
    }
    fields.get(19)?.parse().ok()
}
