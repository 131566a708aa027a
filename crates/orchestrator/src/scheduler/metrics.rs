//! What became of questions to a scheduler elsewhere, and how long it took.

use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, IntCounterVec, Opts, Registry};
use schedulers::Answer;

use crate::metrics::registered;

/// What a scheduler elsewhere may do with a question.
const ANSWERS: [&str; 4] = ["chose", "nobody", "unusable", "silence"];
/// Seconds that it takes: its deadline is 60 s at most.
const SECONDS: [f64; 9] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 2.0, 10.0, 60.0];

/// The series. Clones count together.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    answers: IntCounterVec,
    seconds: Histogram,
}

impl Asked {
    pub(crate) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let answers = Opts::new(
            "edgeio_scheduler_answers_total",
            "What became of questions to a scheduler elsewhere",
        );
        let seconds = "Time from a question to a scheduler elsewhere until its answer, in seconds";
        let seconds = HistogramOpts::new("edgeio_scheduler_seconds", seconds);
        let this = Self {
            answers: registered(registry, IntCounterVec::new(answers, &["answer"])?)?,
            seconds: registered(
                registry,
                Histogram::with_opts(seconds.buckets(SECONDS.to_vec()))?,
            )?,
        };
        // Each is there from the start, so that a first failure is seen as one more.
        for answer in ANSWERS {
            this.answers.with_label_values(&[answer]);
        }
        Ok(this)
    }

    /// It was asked.
    pub(super) fn count(&self, answer: &Answer, took: Duration) {
        let [chose, nobody, unusable, silence] = ANSWERS;
        let answer = match answer {
            Answer::Choose(_) => chose,
            Answer::Nobody(_) => nobody,
            Answer::Unusable(_) => unusable,
            Answer::Silence(_) => silence,
        };
        self.answers.with_label_values(&[answer]).inc();
        self.seconds.observe(took.as_secs_f64());
    }
}
