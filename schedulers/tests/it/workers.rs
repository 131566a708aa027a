//! Workers: why each is refused, and which of those that fit is taken.

use model::node::Scheduling;
use model::reason::ReasonCode as Code;
use model::workload::{RuntimeKind, Transport};
use schedulers::{Algorithm, Candidate, Scheduler, fixed_ports};

use crate::support::{Wish, Worker, amount, workers};

/// The reason for which the only worker is refused.
fn refusal(wish: &Wish, worker: &Worker) -> Option<Code> {
    worker.candidate().reject(&wish.request())
}

fn chosen(algorithm: Algorithm, wish: &Wish, all: &[Worker]) -> Option<usize> {
    algorithm.place(&wish.request(), &workers(all)).ok()
}

#[test]
fn every_reason_against_a_worker_has_its_code() {
    let wish = || Wish::of(amount(1000, 1000, 1000));
    let worker = || Worker::new(1);
    let pinned = |to: &str| wish().with(|wish| wish.rules.worker = Some(to.to_owned()));
    let table: [(Option<Code>, Wish, Worker); 17] = [
        (None, wish(), worker()),
        (None, pinned("worker-1"), worker()),
        (None, pinned(&worker().id.to_string()), worker()),
        (Some(Code::NotPinned), pinned("worker-2"), worker()),
        (Some(Code::NotPinned), pinned("WORKER-1"), worker()),
        (
            Some(Code::ArchitectureMismatch),
            wish().with(|wish| wish.rules.architectures = vec!["aarch64".to_owned()]),
            worker(),
        ),
        (
            None,
            wish().with(|wish| {
                wish.rules.architectures = vec!["aarch64".to_owned(), "x86_64".to_owned()];
            }),
            worker(),
        ),
        (
            Some(Code::RuntimeMissing),
            wish().with(|wish| wish.workload.runtime = RuntimeKind::Native),
            worker(),
        ),
        (
            Some(Code::LabelMismatch),
            wish().with(|wish| wish.rules.labels = [("gpu".to_owned(), "yes".to_owned())].into()),
            worker().label("gpu", "no"),
        ),
        (
            None,
            wish().with(|wish| wish.rules.labels = [("gpu".to_owned(), "yes".to_owned())].into()),
            worker().label("gpu", "yes").label("other", "label"),
        ),
        (
            Some(Code::Cordoned),
            wish(),
            worker().with(|worker| worker.scheduling = Scheduling::Cordoned),
        ),
        (
            Some(Code::Unreachable),
            wish(),
            worker().with(|worker| worker.reachable = false),
        ),
        (
            Some(Code::PortTaken),
            wish().port(Some(80), 8080, Transport::Tcp),
            worker().with(|worker| worker.ports = [(Transport::Tcp, 80)].into()),
        ),
        (
            Some(Code::InsufficientMemory),
            wish(),
            worker().with(|worker| worker.room = amount(999, 999, 999)),
        ),
        (
            Some(Code::InsufficientCpu),
            wish(),
            worker().with(|worker| worker.room = amount(999, 1000, 999)),
        ),
        (
            Some(Code::InsufficientDisk),
            wish(),
            worker().with(|worker| worker.room = amount(1000, 1000, 999)),
        ),
        (
            None,
            wish(),
            worker().with(|worker| worker.room = amount(1000, 1000, 1000)),
        ),
    ];
    for (row, (code, wish, worker)) in table.iter().enumerate() {
        assert_eq!(refusal(wish, worker), *code, "row {row}");
    }
}

#[test]
fn of_several_faults_the_one_that_never_changes_is_named() {
    let hopeless = Worker::new(1).with(|worker| {
        worker.scheduling = Scheduling::Cordoned;
        worker.reachable = false;
        worker.room = amount(0, 0, 0);
    });
    let wish = Wish::of(amount(1, 1, 1));
    assert_eq!(refusal(&wish, &hopeless), Some(Code::Cordoned));
    let other = wish.with(|wish| wish.workload.runtime = RuntimeKind::Noop);
    assert_eq!(refusal(&other, &hopeless), Some(Code::RuntimeMissing));
}

#[test]
fn only_a_port_that_the_document_names_is_fixed_and_a_native_one_always() {
    let free = Wish::anything().port(None, 8080, Transport::Tcp);
    assert_eq!(fixed_ports(&free.workload).count(), 0);
    let native = free.with(|wish| wish.workload.runtime = RuntimeKind::Native);
    let ports: Vec<_> = fixed_ports(&native.workload).collect();
    assert_eq!(ports, [(Transport::Tcp, 8080)]);
    let named = Wish::anything().port(Some(53), 5353, Transport::Udp);
    let ports: Vec<_> = fixed_ports(&named.workload).collect();
    assert_eq!(ports, [(Transport::Udp, 53)]);
}

#[test]
fn the_same_port_of_the_other_transport_is_free() {
    let wish = Wish::anything().port(Some(53), 53, Transport::Udp);
    let taken = |transport| Worker::new(1).with(|worker| worker.ports = [(transport, 53)].into());
    assert_eq!(refusal(&wish, &taken(Transport::Tcp)), None);
    assert_eq!(
        refusal(&wish, &taken(Transport::Udp)),
        Some(Code::PortTaken)
    );
}

#[test]
fn replicas_spread_over_the_workers_whatever_the_algorithm() {
    for algorithm in Algorithm::ALL {
        let mut all: Vec<Worker> = (0..3).map(Worker::new).collect();
        for _ in 0..7 {
            let index = chosen(algorithm, &Wish::anything(), &all).unwrap();
            all[index].replicas += 1;
        }
        let counts: Vec<u32> = all.iter().map(|worker| worker.replicas).collect();
        assert_eq!(counts, [3, 2, 2], "{algorithm:?}");
    }
}

#[test]
fn a_full_worker_gets_no_replica_though_it_has_fewest() {
    let mut all: Vec<Worker> = (0..2).map(Worker::new).collect();
    all[0].room = amount(0, 0, 0);
    all[1].replicas = 9;
    for algorithm in Algorithm::ALL {
        assert_eq!(chosen(algorithm, &Wish::of(amount(1, 1, 1)), &all), Some(1));
    }
}

#[test]
fn first_fit_takes_the_first_and_location_the_one_at_the_place() {
    let all = [
        Worker::new(0),
        Worker::new(1).label("city", "Garching"),
        Worker::new(2).label("location", "GARCHING"),
    ];
    let wish = Wish::anything().with(|wish| wish.rules.location = Some("garching".to_owned()));
    assert_eq!(chosen(Algorithm::FirstFit, &wish, &all), Some(0));
    assert_eq!(chosen(Algorithm::Location, &wish, &all), Some(1));
    assert_eq!(chosen(Algorithm::Location, &wish, &all[2..]), Some(0));
    assert_eq!(
        chosen(Algorithm::Location, &Wish::anything(), &all),
        Some(0)
    );
}

#[test]
fn at_a_worker_a_location_is_a_wish_and_no_condition() {
    let wish = Wish::anything().with(|wish| wish.rules.location = Some("nowhere".to_owned()));
    assert_eq!(
        chosen(Algorithm::Location, &wish, &[Worker::new(0)]),
        Some(0)
    );
}

#[test]
fn an_algorithm_is_found_by_its_name_and_an_unknown_one_lists_them() {
    for algorithm in Algorithm::ALL {
        assert_eq!(algorithm.as_str().parse(), Ok(algorithm));
        assert_eq!(algorithm.name(), algorithm.as_str());
    }
    let unknown = "best".parse::<Algorithm>().unwrap_err();
    assert_eq!(
        unknown.to_string(),
        "there is no scheduler \"best\"; choose one of first-fit, location"
    );
}
