//! Clusters: why each is refused, by its name, its place and its aggregate.

use model::node::Scheduling;
use model::reason::ReasonCode as Code;
use model::units::Resources;
use model::workload::RuntimeKind;
use schedulers::{Algorithm, Candidate, Scheduler};

use crate::support::{Cluster, Wish, amount, class, clusters};

fn refusal(wish: &Wish, cluster: &Cluster) -> Option<Code> {
    cluster.candidate().reject(&wish.request())
}

#[test]
fn every_reason_against_a_cluster_has_its_code() {
    let wish = || Wish::of(amount(1000, 1000, 1000));
    let cluster = || Cluster::new(1);
    let pinned = |to: &str| wish().with(|wish| wish.rules.cluster = Some(to.to_owned()));
    let at = |place: &str| wish().with(|wish| wish.rules.location = Some(place.to_owned()));
    let two = || Cluster::of(1, &[amount(9000, 900, 9000), amount(9000, 900, 9000)]);
    let table: Vec<(Option<Code>, Wish, Cluster)> = vec![
        (None, wish(), cluster()),
        (None, pinned("cluster-1"), cluster()),
        (None, pinned(&cluster().id.to_string()), cluster()),
        (Some(Code::NotPinned), pinned("cluster-2"), cluster()),
        (None, at("GARCHING"), cluster()),
        (None, at("Cluster-1"), cluster()),
        (None, at("city=garching,country=de"), cluster()),
        (Some(Code::LocationMismatch), at("DE"), cluster()),
        (
            Some(Code::Unreachable),
            wish(),
            cluster().with(|cluster| cluster.reachable = false),
        ),
        (
            Some(Code::Cordoned),
            wish(),
            cluster().with(|cluster| cluster.scheduling = Scheduling::Cordoned),
        ),
        (Some(Code::NoWorker), wish(), Cluster::of(1, &[])),
        (
            Some(Code::RuntimeMissing),
            wish().with(|wish| wish.workload.runtime = RuntimeKind::Native),
            cluster(),
        ),
        (
            Some(Code::ArchitectureMismatch),
            wish().with(|wish| wish.rules.architectures = vec!["aarch64".to_owned()]),
            cluster(),
        ),
        (
            Some(Code::InsufficientMemory),
            Wish::of(amount(1, 4001, 1)),
            cluster(),
        ),
        (
            Some(Code::InsufficientCpu),
            Wish::of(amount(4001, 1, 1)),
            cluster(),
        ),
        (
            Some(Code::InsufficientDisk),
            Wish::of(amount(1, 1, 4001)),
            cluster(),
        ),
        // Room enough in all, but in no single worker.
        (Some(Code::InsufficientMemory), wish(), two()),
        (None, Wish::of(amount(1000, 900, 1000)), two()),
        // What the root assigned and the aggregate does not include yet counts.
        (
            Some(Code::InsufficientMemory),
            wish(),
            cluster().with(|cluster| cluster.pending = amount(0, 3001, 0)),
        ),
        (
            None,
            wish(),
            cluster().with(|cluster| cluster.pending = amount(0, 3000, 0)),
        ),
        (
            Some(Code::Refused),
            wish(),
            cluster().with(|cluster| cluster.refused = true),
        ),
    ];
    for (row, (code, wish, cluster)) in table.iter().enumerate() {
        assert_eq!(refusal(wish, cluster), *code, "row {row}");
    }
}

#[test]
fn a_cluster_fits_when_one_of_its_classes_does() {
    let mut cluster = Cluster::of(1, &[amount(100, 100, 100)]);
    let arm = class("aarch64", RuntimeKind::Docker);
    cluster.aggregate.add_room(&arm, amount(5000, 5000, 5000));
    let big = Wish::of(amount(1000, 1000, 1000));
    assert_eq!(refusal(&big, &cluster), None);
    let on_x86 = big.with(|wish| wish.rules.architectures = vec!["x86_64".to_owned()]);
    assert_eq!(refusal(&on_x86, &cluster), Some(Code::InsufficientMemory));
}

#[test]
fn lack_of_room_is_named_before_an_old_refusal() {
    let cluster = Cluster::new(1).with(|cluster| cluster.refused = true);
    let big = Wish::of(amount(1, 4001, 1));
    assert_eq!(refusal(&big, &cluster), Some(Code::InsufficientMemory));
}

#[test]
fn the_room_of_a_cluster_is_the_most_that_one_of_its_workers_has() {
    let arm = class("aarch64", RuntimeKind::Docker);
    let cluster = Cluster::new(1).with(|cluster| {
        cluster.aggregate.add_room(&arm, amount(1, 5000, 1));
    });
    let room = cluster.candidate().room();
    assert_eq!(room.memory, amount(0, 5000, 0).memory);
    assert!(room.cpu > amount(1, 0, 0).cpu);
    let empty = Cluster::of(1, &[]);
    assert_eq!(empty.candidate().room(), Resources::default());
}

#[test]
fn replicas_spread_over_the_clusters_whatever_the_algorithm() {
    for algorithm in Algorithm::ALL {
        let mut all: Vec<Cluster> = (0..3).map(Cluster::new).collect();
        for _ in 0..7 {
            let chosen = algorithm.place(&Wish::anything().request(), &clusters(&all));
            all[chosen.unwrap()].replicas += 1;
        }
        let counts: Vec<u32> = all.iter().map(|cluster| cluster.replicas).collect();
        assert_eq!(counts, [3, 2, 2], "{algorithm:?}");
    }
}
