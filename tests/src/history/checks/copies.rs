//! Invariants of what runs: I2, I4, I6, I10.

use std::collections::{BTreeMap, BTreeSet};

use super::{is_excused, outages, violation};
use crate::history::{Ask, Bounds, Copy, Fault, History, Violation, What};

/// A slot: the job's id, the service, the replica.
type Slot<'a> = (&'a str, &'a str, u64);

fn slot(copy: &Copy) -> Slot<'_> {
    (&copy.job, &copy.slot.0, copy.slot.1)
}

/// I2: of a slot one copy lives where it can be heard, two while it moves with the new one first; one more for each worker
/// that cannot be heard or could not until lately, and never two of them on one worker.
pub fn copies_stay_within_the_declared_overlap(
    history: &History,
    bounds: &Bounds,
) -> Vec<Violation> {
    let outages = outages(history);
    let mut moving: BTreeMap<&str, BTreeSet<Slot<'_>>> = BTreeMap::new();
    let mut wrong = Vec::new();
    for line in &history.lines {
        let copies = match &line.what {
            What::Shown { server, jobs } => {
                let slots = jobs.iter().flat_map(|job| {
                    let moving = job.instances.iter().filter(|row| row.role == "successor");
                    moving.map(|row| (job.id.as_str(), row.slot.0.as_str(), row.slot.1))
                });
                moving.insert(server, slots.collect());
                continue;
            }
            What::Ran { copies, .. } => copies,
            _ => continue,
        };
        let mut of_slot: BTreeMap<Slot<'_>, Vec<&Copy>> = BTreeMap::new();
        for copy in copies {
            of_slot.entry(slot(copy)).or_default().push(copy);
        }
        for (slot, copies) in of_slot {
            let declared = moving.values().any(|slots| slots.contains(&slot));
            let most = if declared { 2 } else { 1 };
            let mut on: BTreeMap<&str, usize> = BTreeMap::new();
            for copy in &copies {
                *on.entry(&copy.worker).or_default() += 1;
            }
            let firm: usize = on
                .iter()
                .filter(|(worker, _)| !is_excused(outages.get(**worker), line.at, bounds))
                .map(|(_, count)| count)
                .sum();
            if firm > most || on.values().any(|count| *count > most) {
                let what = format!("slot {slot:?} has {} copies: {copies:?}", copies.len());
                wrong.push(violation("I2", line.at, what));
            }
        }
    }
    wrong
}

/// I4: an instance that ended does not run again, and no server shows a lower generation of one than it did.
///
/// The end of what runs on a worker that nobody hears is a claim about the desired state only.
pub fn what_ended_stays_ended_and_generations_only_grow(
    history: &History,
    bounds: &Bounds,
) -> Vec<Violation> {
    let outages = outages(history);
    let mut ended: BTreeMap<&str, u64> = BTreeMap::new();
    let mut generations: BTreeMap<(&str, &str), (u64, u64)> = BTreeMap::new();
    let mut over: BTreeMap<(&str, &str), &str> = BTreeMap::new();
    let mut wrong = Vec::new();
    for line in &history.lines {
        match &line.what {
            What::Shown { server, jobs } => {
                for row in jobs.iter().flat_map(|job| &job.instances) {
                    let Some(id) = row.id.as_deref() else {
                        continue;
                    };
                    if row.state == "TERMINATED" {
                        ended.entry(id).or_insert(line.at);
                    }
                    // A row without a worker says what was assigned, not what is there.
                    if row.worker.is_none() {
                        continue;
                    }
                    let known = generations.insert((server, id), row.generation);
                    if let Some(known) = known.filter(|known| *known > row.generation) {
                        let what = format!("{server} showed generation {known:?} before {row:?}");
                        wrong.push(violation("I4", line.at, what));
                    }
                }
            }
            What::Ran { copies, .. } => {
                for copy in copies {
                    let worker = outages.get(&copy.worker);
                    let after = ended.get(copy.instance.as_str());
                    if after.is_some_and(|at| line.begun > *at)
                        && !is_excused(worker, line.at, bounds)
                    {
                        let what = format!("{copy:?} runs, and was TERMINATED at {after:?} ms");
                        wrong.push(violation("I4", line.at, what));
                    }
                }
            }
            What::Event {
                server,
                instance: Some(instance),
                to,
                happened,
                ..
            } => {
                let end = over.get(&(server.as_str(), instance.as_str()));
                if to == "TERMINATED" {
                    over.entry((server, instance)).or_insert(happened);
                } else if to == "RUNNING" && end.is_some_and(|end| happened.as_str() > *end) {
                    let what = format!("{server} tells that {instance} is RUNNING after its end");
                    wrong.push(violation("I4", line.at, what));
                }
            }
            _ => {}
        }
    }
    wrong
}

/// I6: an instance is one process for its whole life, and what ran before the first fault, on a worker that was always heard
/// and for a job that nobody changed, runs to the end.
pub fn faults_of_the_control_plane_restart_nothing(
    history: &History,
    _: &Bounds,
) -> Vec<Violation> {
    let touched: BTreeSet<&str> = history
        .lines
        .iter()
        .filter_map(|line| match &line.what {
            What::Fault(Fault::Ended { worker }) => Some(worker.as_str()),
            _ => None,
        })
        .collect();
    let outages = outages(history);
    let first_fault = history.lines.iter().find_map(|line| match &line.what {
        What::Fault(fault) if *fault != Fault::Healed => Some(line.begun),
        _ => None,
    });
    let changed = changed(history);
    let mut processes: BTreeMap<&str, (i32, u64)> = BTreeMap::new();
    let mut steady: BTreeMap<&str, &Copy> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (line, copies) in history.ran() {
        for copy in copies
            .iter()
            .filter(|copy| !touched.contains(copy.worker.as_str()))
        {
            let process = (copy.pid, copy.start);
            let known = processes.insert(&copy.instance, process);
            if known.is_some_and(|known| known != process) {
                wrong.push(violation(
                    "I6",
                    line.at,
                    format!("{copy:?} was process {known:?}"),
                ));
            }
        }
        let mut gone: Vec<&str> = steady.keys().copied().collect();
        gone.retain(|instance| !copies.iter().any(|copy| copy.instance == *instance));
        for instance in gone {
            if let Some(copy) = steady.remove(instance) {
                wrong.push(violation("I6", line.at, format!("{copy:?} runs no more")));
            }
        }
        if first_fault.is_some_and(|at| line.at < at) {
            let stays = |copy: &&Copy| {
                !touched.contains(copy.worker.as_str())
                    && !outages.contains_key(&copy.worker)
                    && !changed.contains(copy.job.as_str())
            };
            steady.extend(
                copies
                    .iter()
                    .filter(stays)
                    .map(|copy| (copy.instance.as_str(), copy)),
            );
        }
    }
    wrong
}

/// The jobs that somebody changed or deleted.
fn changed(history: &History) -> BTreeSet<&str> {
    let names: BTreeMap<&str, &str> = history
        .shown()
        .flat_map(|(_, _, jobs)| jobs)
        .map(|job| (job.name.as_str(), job.id.as_str()))
        .collect();
    history
        .lines
        .iter()
        .filter_map(|line| match &line.what {
            What::Asked {
                ask: Ask::Change | Ask::Delete,
                job,
                name,
                ..
            } => job.as_deref().or_else(|| names.get(name.as_str()).copied()),
            _ => None,
        })
        .collect()
}

/// I10: in the end nothing runs that no server knows, and what ran beside edgeIO still does.
pub fn no_orphans_stay_and_no_bystander_goes(history: &History, _: &Bounds) -> Vec<Violation> {
    let mut wrong = Vec::new();
    let mut views: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (_, server, jobs) in history.shown() {
        let rows = jobs.iter().flat_map(|job| &job.instances);
        let known = rows.filter(|row| row.state != "TERMINATED");
        views.insert(server, known.filter_map(|row| row.id.as_deref()).collect());
    }
    if let Some((line, copies)) = history.ran().next_back() {
        let known = |copy: &&Copy| {
            views
                .values()
                .any(|known| known.contains(copy.instance.as_str()))
        };
        for copy in copies.iter().filter(|copy| !known(copy)) {
            wrong.push(violation("I10", line.at, format!("nobody knows {copy:?}")));
        }
    }
    let mut bystanders: BTreeSet<&str> = BTreeSet::new();
    for line in &history.lines {
        let What::Ran { others, .. } = &line.what else {
            continue;
        };
        let now: BTreeSet<&str> = others.iter().map(String::as_str).collect();
        for gone in bystanders.difference(&now) {
            wrong.push(violation(
                "I10",
                line.at,
                format!("{gone} is gone, and was nobody's"),
            ));
        }
        bystanders = now;
    }
    wrong
}
