//! What is counted when nothing fits, and what is said of it.

use model::node::Scheduling;
use model::reason::{ReasonCode as Code, Rejections};
use model::workload::RuntimeKind;
use schedulers::{Algorithm, Scheduler};

use crate::support::{Wish, Worker, amount, workers};

fn rejections(wish: &Wish, all: &[Worker]) -> Rejections {
    let placed = Algorithm::FirstFit.place(&wish.request(), &workers(all));
    placed.unwrap_err().rejections
}

#[test]
fn every_candidate_is_counted_once_with_at_most_five_examples() {
    let all: Vec<Worker> = (0..9)
        .map(|number| {
            Worker::new(number).with(|worker| {
                if number < 7 {
                    worker.room = amount(4000, 10, 4000);
                } else {
                    worker.scheduling = Scheduling::Cordoned;
                }
            })
        })
        .collect();
    let counted = rejections(&Wish::of(amount(1, 100, 1)), &all);
    let rows: Vec<_> = counted.iter().collect();
    let examples: Vec<String> = (0..5).map(|number| format!("worker-{number}")).collect();
    let cordoned = ["worker-7".to_owned(), "worker-8".to_owned()];
    assert_eq!(
        rows,
        [
            (Code::InsufficientMemory, 7, examples.as_slice()),
            (Code::Cordoned, 2, cordoned.as_slice()),
        ]
    );
    assert_eq!(counted.total(), 9);
    assert_eq!(
        counted.sentence("worker"),
        "9 workers: 7 short of memory, 2 cordoned"
    );
}

#[test]
fn without_candidates_nothing_is_counted() {
    let counted = rejections(&Wish::anything(), &[]);
    assert!(counted.is_empty());
    assert_eq!(counted.main(), None);
}

#[test]
fn the_sentence_of_one_candidate_is_in_the_singular() {
    let other = Wish::anything().with(|wish| wish.workload.runtime = RuntimeKind::Noop);
    assert_eq!(
        rejections(&other, &[Worker::new(1)]).sentence("worker"),
        "1 worker: 1 without the runtime"
    );
}
