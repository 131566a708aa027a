//! How much of this machine is in use.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use model::node::Usage;
use model::units::Millicores;

/// The first line of `/proc/stat` is far shorter.
const STAT_BYTES: u64 = 512;

/// Clock ticks of all cores together since the boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Ticks {
    all: u64,
    idle: u64,
}

/// Samples the use of the machine; CPU is the average since the sample before.
#[derive(Debug)]
pub struct Sampler {
    data_dir: PathBuf,
    cores: usize,
    before: Ticks,
}

impl Sampler {
    /// A sampler for the machine and the disk of `data_dir`. The first sample averages since this call.
    pub fn new(data_dir: PathBuf) -> Self {
        Self {
            data_dir,
            cores: super::cores(),
            before: ticks(),
        }
    }

    /// The use of the machine now. What the kernel does not tell is zero.
    pub fn usage(&mut self) -> Usage {
        let now = ticks();
        let busy = busy_share(self.before, now);
        self.before = now;
        let memory = super::memory();
        let used =
            |share: super::Share| 100.0 * (1.0 - share.free.0 as f64 / share.total.0.max(1) as f64);
        Usage {
            cpu_percent: 100.0 * busy,
            free_cores: Millicores::from_cores(self.cores as f64 * (1.0 - busy)),
            memory_percent: memory.map(used).unwrap_or_default(),
            memory_free: memory.map(|memory| memory.free).unwrap_or_default(),
            disk_free: super::disk(&self.data_dir)
                .map(|disk| disk.free)
                .unwrap_or_default(),
        }
    }
}

fn busy_share(before: Ticks, now: Ticks) -> f64 {
    let all = now.all.saturating_sub(before.all);
    // The kernel may take idle time back a little; the share stays between 0 and 1.
    let idle = now.idle.saturating_sub(before.idle).min(all);
    if all == 0 {
        0.0
    } else {
        (all - idle) as f64 / all as f64
    }
}

fn ticks() -> Ticks {
    let mut text = String::new();
    // The whole file has a line for each core and each interrupt; the sum stands in the first.
    let read =
        File::open("/proc/stat").and_then(|file| file.take(STAT_BYTES).read_to_string(&mut text));
    read.map(|_| ticks_of(&text)).unwrap_or_default()
}

/// user, nice, system, idle, iowait, irq, softirq, steal; guest time is within user time already.
fn ticks_of(stat: &str) -> Ticks {
    let line = stat
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("cpu "))
        .unwrap_or_default();
    let mut ticks = Ticks::default();
    for (position, field) in line.split_whitespace().take(8).enumerate() {
        let count: u64 = field.parse().unwrap_or_default();
        ticks.all += count;
        if position == 3 || position == 4 {
            ticks.idle += count;
        }
    }
    ticks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_of_busy_time_lies_between_two_samples() {
        let before = ticks_of("cpu  100 0 100 700 100 0 0 0 50 0\ncpu0 1 2 3\n");
        assert_eq!(
            before,
            Ticks {
                all: 1000,
                idle: 800
            }
        );
        let now = ticks_of("cpu  400 0 100 1300 200 0 0 0 350 0\n");
        assert!((busy_share(before, now) - 0.3).abs() < 1e-9);
        assert!(busy_share(now, before).abs() < 1e-9);
        assert_eq!(ticks_of("nothing"), Ticks::default());
    }

    #[test]
    fn usage_stays_within_its_units() {
        let folder = tempfile::tempdir().unwrap();
        let mut sampler = Sampler::new(folder.path().to_owned());
        let usage = sampler.usage();
        assert!((0.0..=100.0).contains(&usage.cpu_percent));
        assert!((0.0..=100.0).contains(&usage.memory_percent));
        assert!(usage.free_cores <= Millicores::from_cores(super::super::cores() as f64));
        assert!(usage.memory_free.0 > 0 && usage.disk_free.0 > 0);
    }
}
