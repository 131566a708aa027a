//! A scheduler that fails is told apart from one that finds nothing.

use model::reason::ReasonCode;
use schedulers::{Algorithm, FAULT_LABEL, Scheduler};

use crate::support::{Wish, Worker, workers};

#[test]
fn each_way_to_fail_is_a_fault_with_its_words_and_nobody_panics() {
    let all = [Worker::new(1), Worker::new(2)];
    for (how, words) in [
        (
            "panic",
            "the scheduler faulty failed: it panicked: a document asked for it",
        ),
        (
            "garbage",
            "the scheduler faulty failed: it chose number 2 of 2",
        ),
        (
            "misfit",
            "it chose worker-1, which will not do (label_mismatch)",
        ),
    ] {
        let mut wish = Wish::anything();
        wish.rules
            .labels
            .insert(FAULT_LABEL.to_owned(), how.to_owned());
        let failed = Algorithm::Faulty
            .place(&wish.request(), &workers(&all))
            .unwrap_err();
        let reason = failed.by_scheduler().unwrap();
        assert_eq!(reason.code, ReasonCode::SchedulerFault);
        assert!(reason.message.contains(words), "{how}: {}", reason.message);
        assert!(
            failed.rejections.is_empty(),
            "nothing is known of the candidates"
        );
    }
}

#[test]
fn what_nobody_asks_to_fail_is_placed_and_what_fits_nowhere_is_no_fault() {
    let all = [Worker::new(1)];
    let placed = Algorithm::Faulty.place(&Wish::anything().request(), &workers(&all));
    assert_eq!(placed, Ok(0));
    let nowhere = Algorithm::Faulty.place(&Wish::anything().request(), &workers(&[]));
    assert_eq!(nowhere.unwrap_err().by_scheduler(), None);
}

#[test]
fn the_failing_scheduler_is_offered_to_nobody() {
    assert!(!Algorithm::ALL.contains(&Algorithm::Faulty));
    let error = "nonsense".parse::<Algorithm>().unwrap_err();
    assert!(!error.to_string().contains("faulty"), "{error}");
    assert_eq!(
        "faulty".parse(),
        Ok(Algorithm::Faulty),
        "a store that has it can be read"
    );
}

#[test]
fn a_worker_whose_runtime_does_not_answer_is_counted_and_passed_over() {
    let mut silent = Worker::new(1);
    silent.silent.clone_from(&silent.runtimes);
    let all = [silent, Worker::new(2)];
    let wish = Wish::anything();
    assert_eq!(
        Algorithm::FirstFit.place(&wish.request(), &workers(&all)),
        Ok(1)
    );
    let refused = Algorithm::FirstFit.place(&wish.request(), &workers(&all[..1]));
    let rejections = refused.unwrap_err().rejections;
    let rows: Vec<_> = rejections
        .iter()
        .map(|(code, count, _)| (code, count))
        .collect();
    assert_eq!(rows, [(ReasonCode::RuntimeDegraded, 1)]);
    assert_eq!(
        rejections.sentence("worker"),
        "1 worker: 1 with a runtime that does not answer"
    );
}
