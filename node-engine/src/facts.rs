//! What this machine is, read from `/proc` when the engine starts.
//!
//! The engine adds what only it knows (name, labels, limits of its operator) and registers with the whole.

pub mod usage;

use std::fs;
use std::path::Path;

use model::units::{Bytes, Millicores, Resources};

/// What a machine says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Host name.
    pub hostname: String,
    /// Addresses, without loopback and link-local ones; IPv4 first.
    pub addresses: Vec<String>,
    /// CPU architecture, as in `uname -m`.
    pub architecture: String,
    /// All of its cores, its memory, and the disk that holds the data directory.
    pub capacity: Resources,
}

impl Machine {
    /// Reads the facts; `data_dir` must exist. What the kernel does not tell is empty or zero.
    pub fn read(data_dir: &Path) -> Self {
        let uname = rustix::system::uname();
        let cpu = Millicores(cores() as u64 * 1000);
        let memory = memory().map_or(Bytes(0), |memory| memory.total);
        let disk = disk(data_dir).map_or(Bytes(0), |disk| disk.total);
        Self {
            hostname: uname.nodename().to_string_lossy().into_owned(),
            addresses: daemon::network::addresses(),
            architecture: uname.machine().to_string_lossy().into_owned(),
            capacity: Resources { cpu, memory, disk },
        }
    }
}

/// A total with what is free of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) total: Bytes,
    pub(crate) free: Bytes,
}

/// All cores of the machine that are switched on: containers may use them, whatever this process may.
pub fn cores() -> usize {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let is_core = |line: &&str| {
        line.strip_prefix("cpu")
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    match stat.lines().filter(is_core).count() {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        cores => cores,
    }
}

/// Main memory; free is what can be had without swapping.
pub(crate) fn memory() -> Option<Share> {
    memory_of(&fs::read_to_string("/proc/meminfo").ok()?)
}

fn memory_of(meminfo: &str) -> Option<Share> {
    let kilobytes = |name: &str| {
        let line = meminfo
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(Bytes(
            line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024,
        ))
    };
    Some(Share {
        total: kilobytes("MemTotal")?,
        free: kilobytes("MemAvailable").or_else(|| kilobytes("MemFree"))?,
    })
}

/// The file system of `path`; free is what this user may still write.
pub(crate) fn disk(path: &Path) -> Option<Share> {
    let stat = rustix::fs::statvfs(path).ok()?;
    let bytes = |blocks: u64| Bytes(blocks.saturating_mul(stat.f_frsize));
    Some(Share {
        total: bytes(stat.f_blocks),
        free: bytes(stat.f_bavail),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_with_and_without_an_estimate_of_what_is_available() {
        let all = "MemTotal:       24683584 kB\nMemFree:        23206000 kB\nMemAvailable:   23500000 kB\n";
        assert_eq!(memory_of(all).unwrap().free, Bytes(23_500_000 * 1024));
        let old = "MemTotal:  1000 kB\nMemFree:   600 kB\n";
        assert_eq!(
            memory_of(old),
            Some(Share {
                total: Bytes(1_024_000),
                free: Bytes(614_400)
            })
        );
        assert_eq!(memory_of("nothing"), None);
    }

    #[test]
    fn this_machine_tells_its_facts() {
        let folder = tempfile::tempdir().unwrap();
        let machine = Machine::read(folder.path());
        assert!(!machine.hostname.is_empty());
        assert_eq!(machine.architecture, std::env::consts::ARCH);
        assert!(machine.capacity.cpu >= Millicores(1000));
        assert!(machine.capacity.memory > Bytes::from_mb(64));
        assert!(machine.capacity.disk > Bytes::from_mb(64));
    }
}
