//! The figures as a table.

use std::io::Write;
use std::time::Duration;

use crate::Options;
use crate::broker::Kind;
use crate::measure::Run;

/// Prints the runs side by side, with the goals.
pub(crate) fn print(options: &Options, runs: &[Run]) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{} workers, {} bytes every {} s each at QoS 1, {} commands a second, for {} s;\nbeside them {} half-open connections and a reader that never reads\n",
        options.workers,
        options.payload,
        options.every,
        options.commands,
        options.seconds,
        options.half_open
    )?;
    let mut rows: Vec<(&str, Vec<String>, &str)> =
        vec![("", runs.iter().map(name).collect(), "goal")];
    rows.push((
        "connects a second",
        each(runs, |run| format!("{:.0}", run.connects)),
        "",
    ));
    rows.push((
        "memory of a connection",
        each(runs, |run| {
            let [empty, connected, _] = run.resident;
            format!(
                "{:.1} kB",
                connected.saturating_sub(empty) as f64 / f64::from(options.workers) / 1000.0
            )
        }),
        "20 kB",
    ));
    rows.push((
        "memory at most",
        each(runs, |run| {
            format!("{:.1} MB", run.resident[2] as f64 / 1e6)
        }),
        "",
    ));
    for (what, percent, goal) in [
        ("command p50", 50, ""),
        ("command p99", 99, "10 ms"),
        ("command p99.9", 999, ""),
    ] {
        rows.push((
            what,
            each(runs, |run| percentile(&run.tally.commands, percent)),
            goal,
        ));
    }
    for (what, percent) in [("PUBACK p50", 50), ("PUBACK p99", 99)] {
        rows.push((
            what,
            each(runs, |run| percentile(&run.tally.answers, percent)),
            "",
        ));
    }
    rows.push((
        "messages sent",
        each(runs, |run| run.tally.sent.to_string()),
        "",
    ));
    rows.push((
        "messages lost",
        each(runs, |run| {
            run.tally.sent.saturating_sub(run.arrived).to_string()
        }),
        "0",
    ));
    rows.push((
        "commands sent",
        each(runs, |run| run.commanded.to_string()),
        "",
    ));
    rows.push((
        "commands lost",
        each(runs, |run| {
            run.commanded
                .saturating_sub(run.tally.commands.len() as u64)
                .to_string()
        }),
        "0",
    ));
    rows.push((
        "workers lost",
        each(runs, |run| run.tally.lost.to_string()),
        "0",
    ));
    rows.push((
        "half-open ones closed",
        each(runs, |run| run.half_open_ended.to_string()),
        "",
    ));
    rows.push((
        "readers dropped",
        each(runs, |run| run.readers_ended.to_string()),
        "",
    ));
    rows.push((
        "CPU of one core",
        each(runs, |run| {
            format!("{:.1} %", 100.0 * run.cpu.0 / run.cpu.1)
        }),
        "",
    ));
    rows.push((
        "load before and after",
        each(runs, |run| format!("{:.2} {:.2}", run.load[0], run.load[1])),
        "",
    ));
    for (what, figures, goal) in rows {
        write!(out, "{what:<24}")?;
        for figure in figures {
            write!(out, "{figure:>14}")?;
        }
        writeln!(out, "{goal:>10}")?;
    }
    Ok(())
}

fn name(run: &Run) -> String {
    match run.kind {
        Kind::Own => "edgeIO".to_owned(),
        Kind::Mosquitto => "Mosquitto".to_owned(),
    }
}

fn each(runs: &[Run], figure: impl Fn(&Run) -> String) -> Vec<String> {
    runs.iter().map(figure).collect()
}

/// A percentile, or with three digits a per mille.
fn percentile(times: &[Duration], percent: usize) -> String {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let of = if percent > 100 { 1000 } else { 100 };
    let at = sorted.len() * percent / of;
    match sorted.get(at.min(sorted.len().saturating_sub(1))) {
        Some(time) => format!("{:.2} ms", time.as_secs_f64() * 1000.0),
        None => "-".to_owned(),
    }
}
