//! What is behind the points of a program that has them.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Mutex, OnceLock, PoisonError};

use rustix::process::{Signal, getpid, kill_process};

use super::VARIABLE;
use crate::exit;

/// The option that asks for the names.
const LIST: &str = "--crash-points";

static ARMED: OnceLock<Armed> = OnceLock::new();

/// Where the orders come from, and how far the present one is.
struct Armed {
    source: Source,
    count: Mutex<Count>,
}

enum Source {
    Fixed(String),
    File(PathBuf),
}

#[derive(Default)]
struct Count {
    order: String,
    hits: u32,
}

pub(super) fn begin(
    arguments: &[OsString],
    variable: &dyn Fn(&str) -> Option<String>,
    points: &[&[&'static str]],
) -> Option<ExitCode> {
    if arguments.get(1).is_some_and(|first| first == LIST) {
        let names: Vec<&str> = points.iter().copied().flatten().copied().collect();
        let lines = names.join("\n") + "\n";
        return Some(match io::stdout().write_all(lines.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::from(exit::FAILURE),
        });
    }
    let order = variable(VARIABLE).filter(|order| !order.is_empty())?;
    let source = if let Some(path) = order.strip_prefix('@') {
        Source::File(path.into())
    } else {
        let (name, _) = parse(&order);
        if !points.iter().copied().flatten().any(|known| *known == name) {
            say(&format!(
                "{VARIABLE}: this program has no crash point {name:?}; {LIST} lists them"
            ));
            return Some(ExitCode::from(exit::CONFIG));
        }
        Source::Fixed(order)
    };
    let count = Mutex::default();
    // Nothing else sets it, and a program begins once.
    let _first = ARMED.set(Armed { source, count });
    None
}

/// Kills this process if this is the point, and the time, that was ordered.
pub fn reached(point: &'static str) {
    let Some(armed) = ARMED.get() else { return };
    let order = match &armed.source {
        Source::Fixed(order) => order.clone(),
        Source::File(path) => fs::read_to_string(path).unwrap_or_default(),
    };
    let (name, wanted) = parse(&order);
    if name != point {
        return;
    }
    let mut count = armed.count.lock().unwrap_or_else(PoisonError::into_inner);
    if count.order != order {
        *count = Count {
            order: order.clone(),
            hits: 0,
        };
    }
    count.hits += 1;
    if count.hits >= wanted {
        die(point);
    }
}

/// `NAME` or `NAME:N`.
fn parse(order: &str) -> (&str, u32) {
    let order = order.trim();
    match order.rsplit_once(':') {
        Some((name, times)) => (name, times.parse().unwrap_or(1)),
        None => (order, 1),
    }
}

fn die(point: &str) {
    say(&format!("crash point {point}: this process kills itself"));
    // It cannot be caught, so nothing runs after it: no destructor, no flush.
    let _ = kill_process(getpid(), Signal::KILL);
    loop {
        std::thread::park();
    }
}

fn say(line: &str) {
    // A program without a standard error dies all the same.
    let _ = writeln!(io::stderr(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_a_name_and_how_often_it_is_passed_first() {
        assert_eq!(parse("turn.after_commit"), ("turn.after_commit", 1));
        assert_eq!(parse("turn.after_commit:3\n"), ("turn.after_commit", 3));
        assert_eq!(parse(""), ("", 1));
    }
}
