//! Invariants of what is used and of who waits: I8, I9.

use std::collections::BTreeMap;

use super::{millis, violation};
use crate::history::{Ask, Bounds, History, Violation, What};

/// I8: no program needs more memory than it may, nor keeps more descriptors open than at first.
pub fn memory_and_descriptors_stay_bounded(history: &History, bounds: &Bounds) -> Vec<Violation> {
    let mut programs: BTreeMap<&str, (u64, u64, u64)> = BTreeMap::new();
    let mut wrong = Vec::new();
    for line in &history.lines {
        let What::Used {
            program,
            kib,
            descriptors,
        } = &line.what
        else {
            continue;
        };
        if *kib > bounds.memory {
            let what = format!("{program} uses {kib} KiB, and may use {}", bounds.memory);
            wrong.push(violation("I8", line.at, what));
        }
        let used = programs
            .entry(program)
            .or_insert((*descriptors, *descriptors, line.at));
        (used.1, used.2) = (*descriptors, line.at);
    }
    for (program, (first, last, at)) in programs {
        if last > first + bounds.descriptors {
            let what = format!("{program} has {last} descriptors in the end, and had {first}");
            wrong.push(violation("I8", at, what));
        }
    }
    wrong
}

/// I9: who has nothing to do with the fault is asked in vain never, and waited for briefly.
pub fn others_are_not_disturbed(history: &History, bounds: &Bounds) -> Vec<Violation> {
    let mut wrong = Vec::new();
    for (name, limit) in &bounds.undisturbed {
        let mut took = Vec::new();
        for line in &history.lines {
            match &line.what {
                What::Asked {
                    server,
                    ask,
                    status,
                    ..
                } if server == name => {
                    if !matches!(status, Some(200..500)) {
                        let what = format!("{name} answers {ask:?} with {status:?}");
                        wrong.push(violation("I9", line.at, what));
                    }
                    if *ask == Ask::Look {
                        took.push((line.at - line.begun, line.at));
                    }
                }
                _ => {}
            }
        }
        took.sort_unstable();
        let nearly_worst = took.get((took.len() * 99 / 100).min(took.len().saturating_sub(1)));
        match nearly_worst {
            None => wrong.push(violation("I9", 0, format!("nobody asked {name}"))),
            Some((time, at)) if *time > millis(*limit) => {
                let what =
                    format!("99 of 100 answers of {name} take {time} ms, which is over {limit:?}");
                wrong.push(violation("I9", *at, what));
            }
            Some(_) => {}
        }
    }
    wrong
}
