//! Invariants of jobs, and of what is said of them: I1, I3, I5, I7.

use std::collections::{BTreeMap, BTreeSet};

use super::{millis, outages, violation};
use crate::history::{Ask, Bounds, Copy, Fault, History, Job, Violation, What};

/// I1: what a server accepted it shows from then on, until somebody asks for its deletion.
pub fn accepted_is_never_lost(history: &History, _: &Bounds) -> Vec<Violation> {
    let mut wrong = Vec::new();
    for line in &history.lines {
        let What::Asked {
            server,
            ask: Ask::Submit,
            status: Some(200..300),
            job: Some(job),
            name,
        } = &line.what
        else {
            continue;
        };
        let deleted = deletion_of(history, server, job, name);
        let mut looks = history.shown().filter(|(look, by, _)| {
            *by == server && look.begun > line.at && deleted.is_none_or(|at| look.at < at)
        });
        let missing = looks.find(|(_, _, jobs)| !jobs.iter().any(|shown| shown.id == *job));
        if let Some((look, ..)) = missing {
            let what = format!(
                "{server} accepted {name} ({job}) at {} ms and does not show it",
                line.at
            );
            wrong.push(violation("I1", look.at, what));
        }
        let looked = history
            .shown()
            .any(|(look, by, _)| by == server && look.begun > line.at);
        if !looked {
            let what = format!("nobody looked at {server} after it accepted {name} ({job})");
            wrong.push(violation("I1", line.at, what));
        }
    }
    wrong
}

/// When a job's deletion was first asked for.
fn deletion_of(history: &History, at: &str, id: &str, called: &str) -> Option<u64> {
    history.lines.iter().find_map(|line| match &line.what {
        What::Asked {
            server,
            ask: Ask::Delete,
            job,
            name,
            ..
        } if server == at && (job.as_deref() == Some(id) || (job.is_none() && name == called)) => {
            Some(line.begun)
        }
        _ => None,
    })
}

/// I3: from a bound after the last fault on, each server's view of each job is what runs, and what should run does.
pub fn views_and_truth_agree_once_all_is_mended(
    history: &History,
    bounds: &Bounds,
) -> Vec<Violation> {
    let Some(healed) = history.last_fault(|fault| *fault == Fault::Healed) else {
        return Vec::new();
    };
    let from = healed + millis(bounds.converge);
    let mut views: BTreeMap<&str, &[Job]> = BTreeMap::new();
    let mut running: Option<&[Copy]> = None;
    let (mut looks, mut wrong) = (0, Vec::new());
    for line in &history.lines {
        match &line.what {
            What::Shown { server, jobs } => drop(views.insert(server, jobs)),
            What::Ran { copies, .. } => running = Some(copies),
            _ => continue,
        }
        let Some(running) = running.filter(|_| line.at > from && !views.is_empty()) else {
            continue;
        };
        looks += 1;
        if let Some(what) = disagreement(&views, running) {
            wrong.push(violation(
                "I3",
                line.at,
                format!("{what} ({} ms after the mending)", line.at - healed),
            ));
        }
    }
    if looks == 0 {
        let what = format!(
            "nobody looked later than {:?} after the mending",
            bounds.converge
        );
        wrong.push(violation("I3", healed, what));
    }
    wrong
}

/// The first job of which views and truth differ.
fn disagreement(views: &BTreeMap<&str, &[Job]>, running: &[Copy]) -> Option<String> {
    for (server, jobs) in views {
        for job in *jobs {
            let really: BTreeSet<&str> = running
                .iter()
                .filter(|copy| copy.job == job.id)
                .map(|copy| copy.instance.as_str())
                .collect();
            let shown: BTreeSet<&str> = job
                .instances
                .iter()
                .filter(|instance| instance.state == "RUNNING" && !instance.stale)
                .filter_map(|instance| instance.id.as_deref())
                .collect();
            let rows = job.instances.len();
            let unsettled = !job.terminating
                && !matches!(
                    job.state.as_str(),
                    "RUNNING" | "NOT_DEPLOYED" | "TERMINATED"
                );
            if really != shown || unsettled || (job.state == "RUNNING" && rows != shown.len()) {
                return Some(format!(
                    "{server} says of {} {} {:?}, and there runs {really:?}",
                    job.name, job.state, job.instances
                ));
            }
        }
    }
    None
}

/// I5: who was superseded accepts nothing.
pub fn a_superseded_server_accepts_nothing(history: &History, _: &Bounds) -> Vec<Violation> {
    let mut superseded: BTreeMap<&str, u64> = BTreeMap::new();
    let mut wrong = Vec::new();
    for line in &history.lines {
        match &line.what {
            What::Fault(Fault::Superseded { server }) => {
                superseded.entry(server).or_insert(line.at);
            }
            What::Asked {
                server,
                ask: ask @ (Ask::Submit | Ask::Change | Ask::Delete),
                status: Some(status @ 200..300),
                name,
                ..
            } if superseded
                .get(server.as_str())
                .is_some_and(|at| line.begun > *at) =>
            {
                let what =
                    format!("{server} was superseded and answers {ask:?} of {name} with {status}");
                wrong.push(violation("I5", line.at, what));
            }
            _ => {}
        }
    }
    wrong
}

/// I7: what a server cannot hear it does not show as running without saying that this is old.
pub fn no_status_claims_what_cannot_be_known(history: &History, bounds: &Bounds) -> Vec<Violation> {
    let outages = outages(history);
    let mut wrong = Vec::new();
    for (line, server, jobs) in history.shown() {
        let unheard = |worker: &str| {
            let mut of_it = outages.get(worker).into_iter().flatten();
            of_it.any(|outage| {
                outage.by.iter().any(|by| by == server)
                    && line.begun > outage.from + millis(bounds.staleness)
                    && outage.until.is_none_or(|until| line.at < until)
            })
        };
        for job in jobs {
            let claims = job.instances.iter().find(|instance| {
                instance.state == "RUNNING"
                    && !instance.stale
                    && instance.worker.as_deref().is_some_and(unheard)
            });
            if let Some(instance) = claims {
                let what = format!(
                    "{server} cannot hear the worker of {} and says {instance:?}",
                    job.name
                );
                wrong.push(violation("I7", line.at, what));
            }
        }
    }
    wrong
}
