//! What a process uses, as the kernel counts it.

use std::fs;
use std::time::Duration;

/// Clock ticks of a second in `/proc`, the same on every Linux that this runs on.
const TICKS: f64 = 100.0;

/// The CPU time that a process has used, ended threads included, to the hundredth of a second.
pub(crate) fn cpu(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let of = |field| fields.split_whitespace().nth(field);
    let ticks = |field| of(field).and_then(|word| word.parse::<f64>().ok());
    let ticks = ticks(11).unwrap_or(0.0) + ticks(12).unwrap_or(0.0);
    Duration::from_secs_f64(ticks / TICKS)
}

/// The same for short use over a long time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cpu {
    /// Of all threads that ever were, to the hundredth of a second.
    all: Duration,
    /// Of those that there are, to the nanosecond.
    living: Duration,
}

impl Cpu {
    /// What a process has used.
    pub(crate) fn of(pid: u32) -> Self {
        let tasks = fs::read_dir(format!("/proc/{pid}/task"));
        let tasks = tasks.into_iter().flatten().flatten();
        let nanos = tasks.filter_map(|task| {
            let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse::<u64>().ok()
        });
        Self {
            all: cpu(pid),
            living: Duration::from_nanos(nanos.sum()),
        }
    }

    /// What it has used since an earlier look: the fine figure, unless a thread that ended in between hides more than
    /// the coarse one can be wrong by.
    pub(crate) fn since(self, before: Self) -> Duration {
        let all = self.all.saturating_sub(before.all);
        let living = self.living.saturating_sub(before.living);
        if all > living + Duration::from_secs_f64(1.0 / TICKS) {
            all
        } else {
            living
        }
    }
}

/// Memory of a process, in MiB.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Memory {
    /// Its own, and its share of what it shares.
    pub(crate) pss: f64,
    /// That part of it which has no file behind it.
    pub(crate) anonymous: f64,
}

impl std::ops::Add for Memory {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            pss: self.pss + other.pss,
            anonymous: self.anonymous + other.anonymous,
        }
    }
}

/// What a process has in memory now; zero for one that is gone.
pub(crate) fn memory(pid: u32) -> Memory {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"));
    memory_of(&text.unwrap_or_default())
}

fn memory_of(rollup: &str) -> Memory {
    let of = |key: &str| {
        let line = rollup.lines().find_map(|line| line.strip_prefix(key));
        let number = line.and_then(|line| line.split_whitespace().next());
        number.and_then(|number| number.parse().ok()).unwrap_or(0.0) / 1024.0
    };
    Memory {
        pss: of("Pss:"),
        anonymous: of("Pss_Anon:"),
    }
}

/// Bytes that a process caused to be written to a disk.
pub(crate) fn written(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("write_bytes:"));
    line.and_then(|line| line.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_from_the_rollup() {
        let text =
            "55 7f ---p\nRss: 9000 kB\nPss:    2048 kB\nPss_Dirty: 7 kB\nPss_Anon:  1024 kB\n";
        let memory = memory_of(text);
        assert!((memory.pss - 2.0).abs() < 1e-9);
        assert!((memory.anonymous - 1.0).abs() < 1e-9);
    }

    #[test]
    fn this_process_uses_something() {
        let pid = std::process::id();
        assert!(memory(pid).pss > 0.1);
        let begin = Cpu {
            all: Duration::ZERO,
            living: Duration::ZERO,
        };
        let used = Cpu::of(pid).since(begin);
        assert!(
            used > Duration::ZERO && used < Duration::from_hours(1),
            "{used:?}"
        );
    }

    #[test]
    fn a_thread_that_ended_counts() {
        let of = |all, living| Cpu {
            all: Duration::from_millis(all),
            living: Duration::from_millis(living),
        };
        let since = |after: Cpu| after.since(of(100, 100)).as_millis();
        assert_eq!(since(of(110, 104)), 4);
        assert_eq!(since(of(300, 104)), 200);
    }
}
