//! What Prometheus is told by both orchestrators (contract, Metrics).

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use model::job::JobState;
use prometheus::core::Collector;
use prometheus::{
    GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntGauge, Opts, Registry,
};
use protocol::skew::{unknown_fields, unknown_words};

use crate::Core;

/// Rows by the word of their state.
pub type Counts = BTreeMap<&'static str, u64>;

/// The series that both orchestrators have. Clones count together; a program adds its own to the registry.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Everything that is told.
    pub registry: Registry,
    /// Requests.
    pub http: rest::Metrics,
    /// Messages of the tier below that could not be read.
    pub dropped: IntCounter,
    /// Clients that follow events.
    pub(crate) followers: IntGauge,
    unknown_fields: IntCounter,
    unknown_words: IntCounter,
    jobs: GaugeVec,
    instances: GaugeVec,
    deploy: Histogram,
    placement: HistogramVec,
    commit: Histogram,
}

impl Metrics {
    /// A registry with all series.
    ///
    /// # Errors
    /// Two series of one name: a bug.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let counter = |name: &str, help: &str| registered(&registry, IntCounter::new(name, help)?);
        let gauges = |name: &str, help: &str| {
            registered(&registry, GaugeVec::new(Opts::new(name, help), &["state"])?)
        };
        let seconds = |name: &str, help: &str, buckets: &[f64]| {
            HistogramOpts::new(name, help).buckets(buckets.to_vec())
        };
        let long = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];
        let short = [
            0.0001, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.0,
        ];
        let deploy = "Time from a job's acceptance to the first RUNNING of an instance, in seconds";
        let placement = "Time of a turn that placed something, in seconds";
        let placement = seconds("edgeio_placement_seconds", placement, &short);
        let commit = "Time of a commit, in seconds";
        let dropped = "Messages of the tier below that could not be read";
        let fields = "Fields of neighbours' messages that were ignored, since this version does not know them";
        let words = "Words of neighbours that were read as their nearest meaning, since this version does not know them";
        Ok(Self {
            http: rest::Metrics::register(&registry)?,
            dropped: counter("edgeio_messages_dropped_total", dropped)?,
            followers: registered(
                &registry,
                IntGauge::new("edgeio_event_followers", "Clients that follow events")?,
            )?,
            unknown_fields: counter("edgeio_unknown_fields_total", fields)?,
            unknown_words: counter("edgeio_unknown_words_total", words)?,
            jobs: gauges("edgeio_jobs", "Jobs by state")?,
            instances: gauges("edgeio_instances", "Instances by state")?,
            deploy: registered(
                &registry,
                Histogram::with_opts(seconds("edgeio_deploy_seconds", deploy, &long))?,
            )?,
            placement: registered(&registry, HistogramVec::new(placement, &["tier"])?)?,
            commit: registered(
                &registry,
                Histogram::with_opts(seconds("edgeio_commit_seconds", commit, &short))?,
            )?,
            registry,
        })
    }

    /// A commit took this long.
    pub(crate) fn committed(&self, took: Duration) {
        self.commit.observe(took.as_secs_f64());
    }

    /// A turn with these writes took this long.
    pub(crate) fn placed<C: Core>(&self, writes: &[C::Write], took: Duration) {
        let places = |write| C::event(write).is_some_and(|event| event.cause == C::PLACED);
        if writes.iter().any(places) {
            self.placement
                .with_label_values(&[C::TIER])
                .observe(took.as_secs_f64());
        }
    }

    /// An instance runs for the first time, so long after its job was accepted.
    pub fn deployed(&self, after: Duration) {
        self.deploy.observe(after.as_secs_f64());
    }

    /// Sets what is counted when it is asked for; a state that nothing is in shows 0.
    pub fn show(&self, jobs: &Counts, instances: &Counts) {
        raise(&self.unknown_fields, unknown_fields());
        raise(&self.unknown_words, unknown_words());
        let of = |counts: &Counts, state| counts.get(state).copied().unwrap_or_default() as f64;
        for state in JobState::ALL.map(JobState::as_str) {
            self.jobs.with_label_values(&[state]).set(of(jobs, state));
            // Only a job as a whole migrates or is scaled.
            if !["MIGRATING", "SCALING"].contains(&state) {
                let count = of(instances, state);
                self.instances.with_label_values(&[state]).set(count);
            }
        }
    }
}

/// Brings a counter up to what was counted elsewhere.
fn raise(counter: &IntCounter, counted: u64) {
    /// Two who ask at the same moment must not both add the difference.
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    counter.inc_by(counted.saturating_sub(counter.get()));
}

/// Adds a series to a registry.
///
/// # Errors
/// When the registry has one of its name.
pub fn registered<M: Collector + Clone + 'static>(
    registry: &Registry,
    series: M,
) -> Result<M, prometheus::Error> {
    registry.register(Box::new(series.clone()))?;
    Ok(series)
}

#[cfg(test)]
mod tests {
    use protocol::message::connection;
    use protocol::message::report::Word;
    use protocol::skew::Spoken;

    use super::*;

    fn shown(metrics: &Metrics, name: &str) -> u64 {
        metrics.show(&Counts::new(), &Counts::new());
        let families = metrics.registry.gather();
        let family = families
            .iter()
            .find(|family| family.name() == name)
            .unwrap();
        family.get_metric()[0].get_counter().get_value() as u64
    }

    #[test]
    fn what_a_newer_neighbour_says_is_counted_once_however_often_it_is_asked() {
        let metrics = Metrics::new().unwrap();
        let fields = shown(&metrics, "edgeio_unknown_fields_total");
        let words = shown(&metrics, "edgeio_unknown_words_total");

        let newer = br#"{"version": 1, "online": true, "connect": 1, "mood": "good"}"#;
        assert!(connection::decode(newer).unwrap().online);
        let word: Spoken<Word> = serde_json::from_str("\"dreaming\"").unwrap();
        assert!(matches!(word, Spoken::Newer(_)), "{word:?}");

        for _ in 0..2 {
            assert_eq!(shown(&metrics, "edgeio_unknown_fields_total"), fields + 1);
            assert_eq!(shown(&metrics, "edgeio_unknown_words_total"), words + 1);
        }
        // Counts are of the process; a registry that is made later shows them all the same.
        let later = Metrics::new().unwrap();
        assert_eq!(shown(&later, "edgeio_unknown_fields_total"), fields + 1);
    }
}
