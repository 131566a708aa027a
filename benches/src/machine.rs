//! What the figures were measured on.

use std::fs;

use serde::Serialize;

/// The machine, and how busy it was.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Machine {
    /// When, RFC 3339 UTC.
    pub(crate) date: String,
    /// Load averages over 1, 5 and 15 minutes.
    pub(crate) load: String,
    /// Cores that this process may use.
    pub(crate) cores: usize,
    /// The kernel's release.
    pub(crate) kernel: String,
    /// The processor's name.
    pub(crate) processor: String,
    /// Memory, in MB.
    pub(crate) memory_mb: u64,
    /// How the measuring program was built.
    pub(crate) profile: String,
}

impl Machine {
    /// Reads it now.
    pub(crate) fn read() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let load = read("/proc/loadavg");
        let load = load.split_whitespace().take(3).collect::<Vec<_>>();
        let value = |text: &str, key: &str, separator: char| {
            let line = text.lines().find(|line| line.starts_with(key));
            let value = line.and_then(|line| line.split_once(separator));
            value.map_or_else(String::new, |(_, value)| value.trim().to_owned())
        };
        let memory = value(&read("/proc/meminfo"), "MemTotal", ':');
        let kilobytes = memory.split(' ').next().and_then(|word| word.parse().ok());
        let own = std::env::current_exe().unwrap_or_default();
        let profile = own.parent().and_then(std::path::Path::file_name);
        Self {
            date: jiff::Timestamp::now()
                .strftime("%Y-%m-%dT%H:%M:%SZ")
                .to_string(),
            load: load.join(" "),
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            processor: value(&read("/proc/cpuinfo"), "model name", ':'),
            memory_mb: kilobytes.unwrap_or(0_u64) / 1024,
            profile: profile.map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
        }
    }

    /// One line for people.
    pub(crate) fn line(&self) -> String {
        let Self {
            date,
            load,
            cores,
            kernel,
            processor,
            profile,
            ..
        } = self;
        format!(
            "{date}, {cores} cores ({processor}), Linux {kernel}, load {load}, profile {profile}"
        )
    }
}
