//! Deployments as they go on, put together from events.

use std::collections::{BTreeMap, BTreeSet};

use model::event::{Event, Tier};
use model::id::{InstanceId, JobId};
use model::slot::Generation;
use model::time::{Instant, Wall};

/// Deployments under way that are kept at most.
const KEPT: usize = 10_000;
/// Steps of one at most: what fails for ever is told in parts.
const STEPS: usize = 64;
/// Milliseconds after which one that is not heard of any more is told as it is.
const QUIET: u64 = 60_000;

const RUNNING: &str = "RUNNING";
const TERMINATED: &str = "TERMINATED";
/// With which a deployment is over.
const LAST: [&str; 2] = [RUNNING, TERMINATED];
/// What something is in that is new.
const NEW: [&str; 3] = ["", "REQUESTED", "SCHEDULED_CLUSTER"];
/// What something was in that is brought back.
const FALLEN: [&str; 2] = [RUNNING, "UNKNOWN"];

/// How an instance came to run, or did not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Deployment {
    /// Of which job.
    pub(super) job: JobId,
    /// Which.
    pub(super) instance: InstanceId,
    /// Its generation, as it was last.
    pub(super) generation: Generation,
    /// One after the other, without gaps; never empty. The first one has no length: nobody knows here when it began.
    pub(super) steps: Vec<Step>,
}

/// What a deployment is of all that becomes of its instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// From its request on.
    First,
    /// What follows a part that was told before it ran.
    Later,
    /// It ran, and is brought back.
    Again,
}

/// A time in one state, and what ended it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    /// In which state.
    pub(super) state: &'static str,
    pub(super) from: Wall,
    /// Not before `from`: where the clock that says so is behind, it took no time.
    pub(super) to: Wall,
    /// Who ended it.
    pub(super) tier: Tier,
    /// The state after it.
    pub(super) became: &'static str,
    /// Stable word for why.
    pub(super) cause: String,
    /// One sentence for people.
    pub(super) message: String,
}

impl Deployment {
    /// What it is of all that becomes of its instance.
    pub(super) fn part(&self) -> Part {
        let began = self.steps.first().map_or("", |step| step.state);
        if NEW.contains(&began) {
            Part::First
        } else if FALLEN.contains(&began) {
            Part::Again
        } else {
            Part::Later
        }
    }

    /// The last state that is known.
    pub(super) fn became(&self) -> &'static str {
        self.steps.last().map_or("", |step| step.became)
    }

    fn add(&mut self, event: &Event) {
        let from = self.steps.last().map_or(event.at, |step| step.to);
        self.generation = event.generation;
        self.steps.push(Step {
            state: event.from,
            from,
            to: Wall(event.at.0.max(from.0)),
            tier: event.tier,
            became: event.to,
            cause: event.cause.clone(),
            message: event.message.clone(),
        });
    }

    fn is_over(&self) -> bool {
        LAST.contains(&self.became()) || self.steps.len() >= STEPS
    }
}

/// Those that are under way.
#[derive(Debug, Default)]
pub(super) struct Deployments {
    under_way: BTreeMap<InstanceId, (Instant, Deployment)>,
    /// By when they were heard of last.
    heard: BTreeSet<(Instant, InstanceId)>,
}

impl Deployments {
    /// Takes an event, and gives the deployments that it ends: its own, or one that there is no room for any more.
    pub(super) fn hear(&mut self, now: Instant, event: &Event) -> Option<Deployment> {
        let instance = event.instance.filter(|_| event.from != event.to)?;
        let known = self.take(instance);
        if known.is_none() && LAST.contains(&event.to) {
            return None;
        }
        let mut deployment = known.unwrap_or_else(|| Deployment {
            job: event.job,
            instance,
            generation: event.generation,
            steps: Vec::new(),
        });
        deployment.add(event);
        if deployment.is_over() {
            return Some(deployment);
        }
        self.heard.insert((now, instance));
        self.under_way.insert(instance, (now, deployment));
        if self.under_way.len() <= KEPT {
            return None;
        }
        let &(_, oldest) = self.heard.first()?;
        self.take(oldest)
    }

    /// Those that were not heard of for long.
    pub(super) fn quiet(&mut self, now: Instant) -> Vec<Deployment> {
        let mut quiet = Vec::new();
        while let Some(&(heard, instance)) = self.heard.first()
            && heard.0 + QUIET <= now.0
        {
            quiet.extend(self.take(instance));
        }
        quiet
    }

    /// What happened meanwhile is not known: all are forgotten.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    fn take(&mut self, instance: InstanceId) -> Option<Deployment> {
        let (heard, deployment) = self.under_way.remove(&instance)?;
        self.heard.remove(&(heard, instance));
        Some(deployment)
    }
}

#[cfg(test)]
mod tests {
    use model::access::TenantPath;
    use model::id::EventId;

    use super::*;

    fn event(instance: u128, at: i64, tier: Tier, from: &'static str, to: &'static str) -> Event {
        Event {
            id: EventId::from_bits(at as u128),
            at: Wall(at),
            tier,
            job: JobId::from_bits(1),
            tenant: TenantPath::root(),
            instance: Some(InstanceId::from_bits(instance)),
            generation: Generation::default(),
            from,
            to,
            cause: "because".to_owned(),
            message: format!("{from} to {to}"),
        }
    }

    fn steps(deployment: &Deployment) -> Vec<(&'static str, i64, i64, Tier)> {
        let row = |step: &Step| (step.state, step.from.0, step.to.0, step.tier);
        deployment.steps.iter().map(row).collect()
    }

    #[test]
    fn a_deployment_goes_from_the_first_event_to_running() {
        let mut deployments = Deployments::default();
        let now = Instant(0);
        for going_on in [
            event(1, 10, Tier::Root, "REQUESTED", "SCHEDULED_CLUSTER"),
            event(1, 15, Tier::Cluster, "SCHEDULED_CLUSTER", "SCHEDULED_NODE"),
        ] {
            assert_eq!(deployments.hear(now, &going_on), None);
        }
        // The worker's clock is behind.
        let ends = event(1, 12, Tier::Worker, "SCHEDULED_NODE", "RUNNING");
        let deployment = deployments.hear(now, &ends).unwrap();
        assert_eq!(deployment.part(), Part::First);
        assert_eq!(deployment.became(), "RUNNING");
        assert_eq!(
            steps(&deployment),
            [
                ("REQUESTED", 10, 10, Tier::Root),
                ("SCHEDULED_CLUSTER", 10, 15, Tier::Cluster),
                ("SCHEDULED_NODE", 15, 15, Tier::Worker),
            ]
        );
        // Nothing of it is left.
        let later = event(1, 20, Tier::Worker, "RUNNING", "TERMINATED");
        assert_eq!(deployments.hear(now, &later), None);
        assert!(deployments.under_way.is_empty() && deployments.heard.is_empty());
    }

    #[test]
    fn what_ran_and_comes_back_is_one_of_its_own() {
        let mut deployments = Deployments::default();
        let falls = event(1, 10, Tier::Worker, "RUNNING", "FAILED");
        assert_eq!(deployments.hear(Instant(0), &falls), None);
        let rises = event(1, 30, Tier::Worker, "FAILED", "RUNNING");
        let deployment = deployments.hear(Instant(0), &rises).unwrap();
        assert_eq!(deployment.part(), Part::Again);
        let expected = [
            ("RUNNING", 10, 10, Tier::Worker),
            ("FAILED", 10, 30, Tier::Worker),
        ];
        assert_eq!(steps(&deployment), expected);
    }

    #[test]
    fn events_that_change_no_state_of_an_instance_are_passed_over() {
        let mut deployments = Deployments::default();
        let same = event(1, 1, Tier::Root, "NOT_DEPLOYED", "NOT_DEPLOYED");
        assert_eq!(deployments.hear(Instant(0), &same), None);
        let of_the_job = Event {
            instance: None,
            ..event(1, 1, Tier::Root, "", "REQUESTED")
        };
        assert_eq!(deployments.hear(Instant(0), &of_the_job), None);
        assert!(deployments.under_way.is_empty());
    }

    #[test]
    fn what_does_not_come_to_run_is_told_when_it_is_quiet_and_in_parts() {
        let mut deployments = Deployments::default();
        let waits = event(1, 1, Tier::Root, "REQUESTED", "NOT_DEPLOYED");
        assert_eq!(deployments.hear(Instant(1_000), &waits), None);
        let other = event(2, 1, Tier::Root, "REQUESTED", "NOT_DEPLOYED");
        assert_eq!(deployments.hear(Instant(5_000), &other), None);
        assert_eq!(deployments.quiet(Instant(60_999)), []);
        let quiet = deployments.quiet(Instant(61_000));
        assert_eq!(quiet.len(), 1);
        assert_eq!(quiet[0].became(), "NOT_DEPLOYED");
        let mut told = Vec::new();
        for at in 0..200 {
            let (from, to) = [("SCHEDULED_NODE", "FAILED"), ("FAILED", "SCHEDULED_NODE")]
                [usize::from(at % 2 == 1)];
            let fails = event(3, at, Tier::Worker, from, to);
            told.extend(deployments.hear(Instant(62_000), &fails));
        }
        let parts: Vec<_> = told.iter().map(Deployment::part).collect();
        assert_eq!(parts, [Part::Later; 3]);
    }

    #[test]
    fn of_too_many_the_one_that_is_quiet_longest_goes() {
        let mut deployments = Deployments::default();
        for instance in 0..=KEPT as u64 {
            let begins = event(
                u128::from(instance),
                1,
                Tier::Root,
                "REQUESTED",
                "NOT_DEPLOYED",
            );
            let gone = deployments.hear(Instant(instance), &begins);
            let gone = gone.map(|deployment| deployment.instance);
            let expected = (instance == KEPT as u64).then_some(InstanceId::from_bits(0));
            assert_eq!(gone, expected);
        }
        assert_eq!(deployments.under_way.len(), KEPT);
        assert_eq!(deployments.heard.len(), KEPT);
    }
}
