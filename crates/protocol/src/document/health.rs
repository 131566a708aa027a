//! `health`: how a worker finds out whether an application is well.

use std::ops::RangeInclusive;
use std::time::Duration;

use model::workload::{HealthCheck, Probe, RuntimeKind};

use super::fault::{Faults, clip};
use super::fields::{Fields, Known};
use super::read::Spot;

/// Ports of an application.
const PORTS: RangeInclusive<u64> = 1..=65_535;
/// Between two probes.
const INTERVAL: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_hours(24);
/// For one probe: a worker has a bounded number of them under way.
const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_mins(1);
/// Failures in a row.
const RETRIES: RangeInclusive<u64> = 1..=100;
/// After a start.
const START_PERIOD: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_hours(24);
/// Longest path of a request.
const MAX_PATH: usize = 1_024;

pub(super) const KNOWN_HEALTH: Known<'static> = Known {
    fields: &[&[
        "http",
        "tcp",
        "command",
        "interval",
        "timeout",
        "retries",
        "start_period",
    ]],
    hints: &[
        ("exec", "unknown field; did you mean `command`?"),
        ("test", "write it as command: [/bin/check, arg]"),
        ("period", "unknown field; did you mean `interval`?"),
        ("grace", "unknown field; did you mean `start_period`?"),
    ],
};

pub(super) const KNOWN_HTTP: Known<'static> = Known {
    fields: &[&["port", "path"]],
    hints: &[(
        "url",
        "write the port and the path: {port: 8080, path: /healthz}",
    )],
};

pub(super) const KNOWN_TCP: Known<'static> = Known {
    fields: &[&["port"]],
    hints: &[],
};

/// Reads `health`; `None` where there is none, or where a fault was found.
pub(super) fn health(
    fields: &Fields<'_>,
    runtime: RuntimeKind,
    faults: &mut Faults,
) -> Option<HealthCheck> {
    let fields = fields.get("health")?.fields(faults)?;
    fields.refuse_unknown(KNOWN_HEALTH, faults);
    let mut duration = |name: &str, range, default| {
        let given = fields.get(name);
        given.map_or(Some(default), |spot| spot.duration(range, faults))
    };
    let interval = duration("interval", &INTERVAL, HealthCheck::INTERVAL);
    let timeout = duration("timeout", &TIMEOUT, HealthCheck::TIMEOUT);
    let start_period = duration("start_period", &START_PERIOD, Duration::ZERO);
    let retries = fields.get("retries").map_or_else(
        || Some(u64::from(HealthCheck::RETRIES)),
        |spot| spot.whole(&RETRIES, faults),
    );
    let probe = probe(&fields, runtime, faults);
    Some(HealthCheck {
        probe: probe?,
        interval: interval?,
        timeout: timeout?,
        retries: retries? as u32,
        start_period: start_period?,
    })
}

/// The one probe.
fn probe(fields: &Fields<'_>, runtime: RuntimeKind, faults: &mut Faults) -> Option<Probe> {
    let given: Vec<&str> = ["http", "tcp", "command"]
        .into_iter()
        .filter(|name| fields.get(name).is_some())
        .collect();
    let [name] = given.as_slice() else {
        match given.split_first() {
            None => faults.add(
                &fields.path,
                fields.at,
                "needs one probe; write http: {port: 8080, path: /healthz}, tcp: {port: 5432} or command: [/bin/check]",
            ),
            Some((first, others)) => {
                for other in others {
                    let message =
                        format!("a health check has one probe; remove `{other}` or `{first}`");
                    fields.fault_at(other, message, faults);
                }
            }
        }
        return None;
    };
    let spot = fields.get(name)?;
    match *name {
        "http" => http(&spot, faults),
        "tcp" => tcp(&spot, faults),
        _ => command(&spot, runtime, faults),
    }
}

fn http(spot: &Spot<'_>, faults: &mut Faults) -> Option<Probe> {
    let fields = spot.fields(faults)?;
    fields.refuse_unknown(KNOWN_HTTP, faults);
    let port = port(&fields, faults);
    let path = match fields.get("path") {
        None => "/",
        Some(spot) => {
            let path = spot.text(faults)?;
            let plain = path
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && byte != b'#');
            if !path.starts_with('/') || !plain || path.len() > MAX_PATH {
                let message = format!(
                    "\"{}\" is no path of a request; write one such as /healthz, at most {MAX_PATH} characters of ASCII without spaces and `#`",
                    clip(path)
                );
                spot.fault(faults, message);
                return None;
            }
            path
        }
    };
    let path = path.to_owned();
    Some(Probe::Http { port: port?, path })
}

fn tcp(spot: &Spot<'_>, faults: &mut Faults) -> Option<Probe> {
    let fields = spot.fields(faults)?;
    fields.refuse_unknown(KNOWN_TCP, faults);
    let port = port(&fields, faults)?;
    Some(Probe::Tcp { port })
}

fn port(fields: &Fields<'_>, faults: &mut Faults) -> Option<u16> {
    let spot = fields.require("port", "8080", faults)?;
    let port = spot.whole(&PORTS, faults)?;
    u16::try_from(port).ok()
}

fn command(spot: &Spot<'_>, runtime: RuntimeKind, faults: &mut Faults) -> Option<Probe> {
    let command = spot.texts(faults)?;
    let program = command.first().map_or("", String::as_str);
    if program.is_empty() {
        spot.fault(
            faults,
            "begins with no program; write [/bin/check, arg], the program first",
        );
        return None;
    }
    if runtime == RuntimeKind::Native && (!program.starts_with('/') || program.ends_with('/')) {
        let message = format!(
            "must begin with an absolute path, not \"{}\"; write [/bin/check, arg]",
            clip(program)
        );
        spot.fault(faults, message);
        return None;
    }
    Some(Probe::Command(command))
}
