//! Both algorithms against a brute force over random workers.

use model::node::Scheduling;
use model::workload::{RuntimeKind, Transport};
use proptest::prelude::*;
use schedulers::{Algorithm, Candidate, Scheduler, fixed_ports};

use crate::support::{Wish, Worker, amount, workers};

/// Every condition at once, in no order.
fn fits(wish: &Wish, worker: &Worker) -> bool {
    let (workload, rules) = (&wish.workload, &wish.rules);
    let pin = |pin: &String| *pin == worker.name.to_string() || *pin == worker.id.to_string();
    rules.worker.iter().all(pin)
        && (rules.architectures.is_empty() || rules.architectures.contains(&worker.architecture))
        && worker.runtimes.contains(&workload.runtime)
        && rules
            .labels
            .iter()
            .all(|(key, value)| worker.labels.get(key) == Some(value))
        && worker.scheduling == Scheduling::Open
        && worker.reachable
        && fixed_ports(workload).all(|port| !worker.ports.contains(&port))
        && workload.resources.minus(worker.room) == amount(0, 0, 0)
}

/// The least of (replicas, away from the wished place, position) of those that fit.
fn brute_force(algorithm: Algorithm, wish: &Wish, all: &[Worker]) -> Option<usize> {
    let away = |worker: &Worker| match (algorithm, &wish.rules.location) {
        (Algorithm::Location, Some(place)) => !worker.labels.values().any(|here| here == place),
        _ => false,
    };
    (0..all.len())
        .filter(|index| fits(wish, &all[*index]))
        .min_by_key(|index| (all[*index].replicas, away(&all[*index]), *index))
}

fn any_worker() -> impl Strategy<Value = Worker> {
    let facts = (
        0..4u32,
        prop::bool::weighted(0.85),
        prop::bool::weighted(0.85),
        0..3usize,
    );
    let rest = (
        0..4u64,
        0..4u64,
        0..4u64,
        prop::bool::ANY,
        0..3usize,
        0..3u32,
    );
    (facts, rest).prop_map(|((number, reachable, open, kind), rest)| {
        let (cpu, memory, disk, port, place, replicas) = rest;
        let kinds = [RuntimeKind::Docker, RuntimeKind::Native, RuntimeKind::Noop];
        let worker = Worker::new(number).with(|worker| {
            worker.reachable = reachable;
            worker.scheduling = if open {
                Scheduling::Open
            } else {
                Scheduling::Cordoned
            };
            worker.architecture = ["x86_64", "aarch64", "riscv64"][kind].to_owned();
            worker.runtimes = kinds[..=kind].iter().copied().collect();
            worker.room = amount(cpu, memory, disk);
            worker.replicas = replicas;
            if port {
                worker.ports.insert((Transport::Tcp, 80));
            }
        });
        match place {
            0 => worker,
            1 => worker.label("city", "here"),
            _ => worker.label("location", "there"),
        }
    })
}

fn any_wish() -> impl Strategy<Value = Wish> {
    let room = (0..3u64, 0..3u64, 0..3u64);
    let rules = (0..6u32, 0..3usize, prop::bool::weighted(0.2), 0..4usize);
    (room, rules, 0..3usize, prop::bool::ANY).prop_map(|(room, rules, runtime, port)| {
        let (pin, architectures, label, place) = rules;
        let kinds = [RuntimeKind::Docker, RuntimeKind::Native, RuntimeKind::Noop];
        Wish::of(amount(room.0, room.1, room.2)).with(|wish| {
            wish.workload.runtime = kinds[runtime];
            wish.rules.architectures = ["x86_64", "aarch64"][..architectures]
                .iter()
                .map(ToString::to_string)
                .collect();
            wish.rules.worker = match pin {
                0 => Some("worker-1".to_owned()),
                1 => Some(Worker::new(2).id.to_string()),
                _ => None,
            };
            if label {
                wish.rules
                    .labels
                    .insert("city".to_owned(), "here".to_owned());
            }
            let places = [None, None, Some("here"), Some("there")];
            wish.rules.location = places[place].map(str::to_owned);
            if port {
                *wish = wish.clone().port(Some(80), 80, Transport::Tcp);
            }
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn both_algorithms_choose_what_a_brute_force_chooses(
        wish in any_wish(),
        all in prop::collection::vec(any_worker(), 0..8),
    ) {
        let candidates = workers(&all);
        for algorithm in Algorithm::ALL {
            let placed = algorithm.place(&wish.request(), &candidates);
            prop_assert_eq!(placed.clone().ok(), brute_force(algorithm, &wish, &all));
            if let Err(unplaceable) = placed {
                prop_assert_eq!(unplaceable.rejections.total() as usize, all.len());
            }
        }
        for (worker, candidate) in all.iter().zip(&candidates) {
            prop_assert_eq!(candidate.reject(&wish.request()).is_none(), fits(&wish, worker));
        }
    }
}
