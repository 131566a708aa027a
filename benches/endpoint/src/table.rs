//! The figures as a table.

use std::io::Write;
use std::time::Duration;

use crate::Options;
use crate::broker::Kind;
use crate::measure::Run;

/// One line: what it shows, how it is read off a run, and the goal if there is one.
type Line = (&'static str, fn(&Run) -> String, &'static str);

const LINES: [Line; 19] = [
    ("", |run| name(run.kind).to_owned(), "goal"),
    (
        "connects a second",
        |run| format!("{:.0}", run.connects),
        "",
    ),
    (
        "CPU of a connect",
        |run| {
            let one = run.entering / f64::from(run.workers.max(1));
            format!("{:.2} ms", 1000.0 * one)
        },
        "",
    ),
    ("memory of a connection", memory_of_one, "20 kB"),
    (
        "memory at most",
        |run| format!("{:.1} MB", run.resident[2] as f64 / 1e6),
        "",
    ),
    (
        "command p50",
        |run| percentile(&run.tally.commands, 500),
        "",
    ),
    (
        "command p99",
        |run| percentile(&run.tally.commands, 990),
        "10 ms",
    ),
    (
        "command p99.9",
        |run| percentile(&run.tally.commands, 999),
        "",
    ),
    ("PUBACK p50", |run| percentile(&run.tally.answers, 500), ""),
    ("PUBACK p99", |run| percentile(&run.tally.answers, 990), ""),
    ("messages sent", |run| run.tally.sent.to_string(), ""),
    (
        "messages lost",
        |run| run.tally.sent.saturating_sub(run.arrived).to_string(),
        "0",
    ),
    ("commands sent", |run| run.commanded.to_string(), ""),
    (
        "commands lost",
        |run| {
            let arrived = run.tally.commands.len() as u64;
            run.commanded.saturating_sub(arrived).to_string()
        },
        "0",
    ),
    ("workers lost", |run| run.tally.lost.to_string(), "0"),
    (
        "half-open ones closed",
        |run| run.half_open_ended.to_string(),
        "",
    ),
    ("readers dropped", |run| run.readers_ended.to_string(), ""),
    (
        "CPU of one core",
        |run| format!("{:.1} %", 100.0 * run.cpu.0 / run.cpu.1),
        "",
    ),
    (
        "load before, after",
        |run| format!("{:.1} {:.1}", run.load[0], run.load[1]),
        "",
    ),
];

/// Prints the runs side by side, with the goals.
pub(crate) fn print(options: &Options, runs: &[Run]) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{} workers, {} bytes every {} s each at QoS 1, {} commands a second, for {} s;",
        options.workers, options.payload, options.every, options.commands, options.seconds,
    )?;
    writeln!(
        out,
        "beside them {} half-open connections and a reader that never reads\n",
        options.half_open
    )?;
    for (what, figure, goal) in LINES {
        write!(out, "{what:<24}")?;
        for run in runs {
            write!(out, "{:>14}", figure(run))?;
        }
        writeln!(out, "{goal:>10}")?;
    }
    Ok(())
}

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Own => "edgeIO",
        Kind::Secured => "edgeIO, TLS",
        Kind::Mosquitto => "Mosquitto",
    }
}

fn memory_of_one(run: &Run) -> String {
    let [empty, connected, _] = run.resident;
    let one = connected.saturating_sub(empty) as f64 / f64::from(run.workers.max(1));
    format!("{:.1} kB", one / 1000.0)
}

fn percentile(times: &[Duration], per_mille: usize) -> String {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let at = sorted.len() * per_mille / 1000;
    match sorted.get(at.min(sorted.len().saturating_sub(1))) {
        Some(time) => format!("{:.2} ms", time.as_secs_f64() * 1000.0),
        None => "-".to_owned(),
    }
}
