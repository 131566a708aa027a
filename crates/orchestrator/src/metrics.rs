//! What Prometheus is told by both orchestrators (contract, Metrics).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::job::JobState;
use prometheus::core::Collector;
use prometheus::{
    GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntGauge, Opts, Registry,
};
use protocol::skew::{unknown_fields, unknown_words};

use crate::scheduler::Asked;
use crate::traces::Spans;
use crate::{Core, Handle, Jobs};

/// Rows by the word of their state.
pub type Counts = BTreeMap<&'static str, u64>;

/// What is counted when it is asked for.
#[derive(Debug, Default)]
pub struct Seen {
    /// Jobs by state.
    pub jobs: Counts,
    /// Instances by state.
    pub instances: Counts,
    /// How this orchestrator itself is.
    pub standing: Standing,
}

/// How an orchestrator itself is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// Changes can be stored.
    storing: bool,
    /// A later run of its store is known.
    superseded: bool,
    /// The brake is engaged, and not released.
    braking: bool,
    /// Slots that wait for the brake.
    braked: usize,
}

impl Standing {
    /// As it is now.
    pub fn of<C: Jobs>(state: &C::State, handle: &Handle<C>) -> Self {
        let brake = C::brake(state);
        Self {
            storing: handle.is_storing(),
            superseded: handle.is_fenced(),
            braking: brake.is_some_and(|(engaged, _)| !engaged.released),
            braked: brake.map_or(0, |(_, waiting)| waiting),
        }
    }
}

/// The series that both orchestrators have. Clones count together; a program adds its own to the registry.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Everything that is told.
    pub registry: Registry,
    /// Requests.
    pub http: rest::Metrics,
    /// Messages of the tier below that could not be read.
    pub dropped: IntCounter,
    /// Questions to a scheduler elsewhere.
    pub(crate) asked: Asked,
    /// What became of spans.
    pub(crate) spans: Spans,
    /// Clients that follow events.
    pub(crate) followers: IntGauge,
    unknown_fields: IntCounter,
    unknown_words: IntCounter,
    jobs: GaugeVec,
    instances: GaugeVec,
    deploy: Histogram,
    placement: HistogramVec,
    commit: Histogram,
    placements: IntCounter,
    commit_failures: IntCounter,
    storing: IntGauge,
    superseded: IntGauge,
    braking: IntGauge,
    braked: IntGauge,
    /// Who reads all of them at a time.
    turn: Arc<Mutex<()>>,
}

impl Metrics {
    /// A registry with all series.
    ///
    /// # Errors
    /// Two series of one name: a bug.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let counter = |name: &str, help: &str| registered(&registry, IntCounter::new(name, help)?);
        let gauge = |name: &str, help: &str| registered(&registry, IntGauge::new(name, help)?);
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
        let failures = "Commits that the store refused";
        let superseded =
            "1 where a later run of this store is known, so that this one decides nothing";
        let braking = "1 while replacements are held back since most children vanished at once";
        let dropped = "Messages of the tier below that could not be read";
        let fields = "Fields of neighbours' messages that were ignored, since this version does not know them";
        let words = "Words of neighbours that were read as their nearest meaning, since this version does not know them";
        Ok(Self {
            http: rest::Metrics::register(&registry)?,
            asked: Asked::register(&registry)?,
            spans: Spans::register(&registry)?,
            dropped: counter("edgeio_messages_dropped_total", dropped)?,
            followers: gauge("edgeio_event_followers", "Clients that follow events")?,
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
            placements: counter("edgeio_placements_total", "Instances that were placed")?,
            commit_failures: counter("edgeio_commit_failures_total", failures)?,
            storing: gauge("edgeio_storing", "1 while changes can be stored")?,
            superseded: gauge("edgeio_superseded", superseded)?,
            braking: gauge("edgeio_brake_engaged", braking)?,
            braked: gauge(
                "edgeio_brake_waiting",
                "Instances that the brake holds back",
            )?,
            turn: Arc::default(),
            registry,
        })
    }

    /// Nobody else sets and reads what is counted when it is asked for until this is dropped: two who ask at one moment would
    /// each see half of what the other sets.
    pub fn exclusively(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The store refused a commit.
    pub(crate) fn not_committed(&self) {
        self.commit_failures.inc();
    }

    /// A commit took this long.
    pub(crate) fn committed(&self, took: Duration) {
        self.commit.observe(took.as_secs_f64());
    }

    /// A turn with these writes took this long.
    pub(crate) fn placed<C: Core>(&self, writes: &[C::Write], took: Duration) {
        let places = |write| C::event(write).is_some_and(|event| event.cause == C::PLACED);
        let placed = writes.iter().filter(|write| places(write)).count();
        if placed > 0 {
            self.placements.inc_by(placed as u64);
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
    pub fn show(&self, seen: &Seen) {
        let Seen {
            jobs,
            instances,
            standing,
        } = seen;
        self.storing.set(standing.storing.into());
        self.superseded.set(standing.superseded.into());
        self.braking.set(standing.braking.into());
        self.braked.set(standing.braked as i64);
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
        metrics.show(&Seen::default());
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
