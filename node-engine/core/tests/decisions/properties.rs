//! Whatever happens in whatever order: no second start of what runs, one probe at a time of what runs and of nothing else,
//! and in the end what is desired runs and is well.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use model::id::InstanceId;
use model::reason::{Reason, ReasonCode};
use model::time::Wall;
use model::workload::{Restart, RuntimeKind};
use node_core::{Action, Found, FoundStatus, Input, ProbeId};
use proptest::prelude::*;

use crate::support::{Worker, checked, desired, exit, id, probed};

/// The runtime: it performs what it is asked in order, and keeps what it has when the engine dies.
#[derive(Default)]
struct Runtime {
    has: BTreeMap<InstanceId, bool>,
    /// The probe of its present run that is under way.
    probing: BTreeMap<InstanceId, ProbeId>,
    /// Whose checks fail.
    sick: BTreeSet<InstanceId>,
    /// Probes that were answered, some of them to be answered again.
    answered: Vec<Input>,
    asked: VecDeque<Action>,
}

impl Runtime {
    /// Performs the next thing; what it has to say is an input.
    fn perform(&mut self) -> Option<Input> {
        match self.asked.pop_front()? {
            Action::Start(desired) => {
                self.has.insert(desired.instance, true);
                self.probing.remove(&desired.instance);
                Some(Input::Started {
                    instance: desired.instance,
                    since: Wall(0),
                    endpoints: Vec::new(),
                })
            }
            Action::Stop { instance, .. } => {
                self.has.remove(&instance);
                Some(Input::Stopped { instance })
            }
            Action::List(runtime) => {
                let found = self.has.iter().map(|(instance, runs)| Found {
                    instance: *instance,
                    status: if *runs {
                        FoundStatus::Running {
                            since: Wall(0),
                            endpoints: Vec::new(),
                        }
                    } else {
                        FoundStatus::Exited(exit(1))
                    },
                });
                let found = found.collect();
                Some(Input::Listed { runtime, found })
            }
            Action::Probe { instance, id, .. } => {
                let well = self.has.get(&instance) == Some(&true) && !self.sick.contains(&instance);
                if self.probing.get(&instance) == Some(&id) {
                    self.probing.remove(&instance);
                }
                let answer = probed(instance.bits(), id, well);
                self.answered.push(answer.clone());
                Some(answer)
            }
            _ => None,
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Want(u128),
    Drop(u128),
    Sync,
    Perform,
    Crash(u128),
    Sick(u128, bool),
    AnswerAgain(usize),
    Pass(u64),
    Restart,
    List,
    Silence,
    Hang,
    Link(bool),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1..5u128).prop_map(Step::Want),
        2 => (1..5u128).prop_map(Step::Drop),
        5 => Just(Step::Sync),
        8 => Just(Step::Perform),
        3 => (1..5u128).prop_map(Step::Crash),
        3 => (1..5u128, prop::bool::ANY).prop_map(|(number, sick)| Step::Sick(number, sick)),
        1 => (0..8usize).prop_map(Step::AnswerAgain),
        4 => (1..40u64).prop_map(Step::Pass),
        1 => Just(Step::Restart),
        1 => Just(Step::List),
        1 => Just(Step::Silence),
        2 => Just(Step::Hang),
        1 => prop::bool::ANY.prop_map(Step::Link),
    ]
}

struct Run {
    worker: Worker,
    runtime: Runtime,
}

impl Run {
    fn new() -> Self {
        let mut run = Self {
            worker: Worker::new(),
            runtime: Runtime::default(),
        };
        run.runtime.asked.push_back(Action::List(RuntimeKind::Noop));
        run
    }

    fn feed(&mut self, inputs: Vec<Input>) {
        let decision = self.worker.decide(inputs);
        for action in &decision.actions {
            if let Action::Probe { instance, id, .. } = action {
                let report = self
                    .worker
                    .state
                    .observed()
                    .find(|report| report.instance == *instance);
                let health = report.and_then(|report| report.report.health());
                assert!(health.is_some(), "probed and not running: {instance}");
                let id = self.runtime.probing.insert(*instance, *id);
                assert!(id.is_none(), "probed twice at once");
            }
        }
        self.runtime.asked.extend(decision.actions);
        let again = self.worker.decide([]);
        assert_eq!(again.writes, [], "a turn leaves nothing to do");
        assert_eq!(again.actions, []);
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Want(number) if number.is_multiple_of(2) => {
                let workload = checked(Restart::Always);
                self.worker.want(desired(*number, 1, workload));
            }
            Step::Want(number) => self.worker.want_web(*number),
            Step::Sick(number, sick) => {
                self.runtime.sick.remove(&id(*number));
                self.runtime.sick.extend(sick.then(|| id(*number)));
            }
            Step::AnswerAgain(which) => {
                let answer = self.runtime.answered.get(*which).cloned();
                let before: Vec<_> = self.worker.state.observed().cloned().collect();
                self.feed(answer.into_iter().collect());
                let after: Vec<_> = self.worker.state.observed().cloned().collect();
                assert_eq!(before, after, "an old answer changed something");
            }
            Step::Drop(number) => self.worker.drop_web(*number),
            Step::Sync => {
                let changes = self.worker.cluster.due(self.worker.state.held());
                self.feed(changes.into_iter().map(Input::Control).collect());
            }
            Step::Perform => {
                if let Some(Action::Start(desired)) = self.runtime.asked.front() {
                    let runs = self.runtime.has.get(&desired.instance);
                    assert_ne!(runs, Some(&true), "started a second time");
                }
                if let Some(input) = self.runtime.perform() {
                    self.feed(vec![input]);
                }
            }
            Step::Crash(number) => {
                if self.runtime.has.get(&id(*number)) == Some(&true) {
                    self.runtime.has.insert(id(*number), false);
                    self.feed(vec![crate::support::exited(*number, 1)]);
                }
            }
            Step::Pass(seconds) => {
                // A runtime answers before it is asked to stop the same thing again: that may start twice, and is
                // why a start is idempotent.
                while !self.runtime.asked.is_empty() {
                    self.step(&Step::Perform);
                }
                let passed = Duration::from_secs(*seconds);
                self.worker.now.steady = self.worker.now.steady.plus(passed);
                self.feed(Vec::new());
            }
            Step::Restart => {
                self.worker.restart();
                self.runtime.probing.clear();
                self.runtime.asked = [Action::List(RuntimeKind::Noop)].into();
            }
            Step::List => {
                // A list is always taken after everything that was asked before it.
                self.runtime
                    .asked
                    .push_back(Action::List(RuntimeKind::Noop));
            }
            // The shell noticed that the runtime does not answer.
            Step::Silence => self.feed(vec![Input::ListFailed {
                runtime: RuntimeKind::Noop,
            }]),
            // What was asked last is not answered in time; whether it was done nobody knows.
            Step::Hang => match self.runtime.asked.front().cloned() {
                Some(Action::Start(desired)) => {
                    self.runtime.asked.pop_front();
                    let instance = desired.instance;
                    let reason = Reason::new(ReasonCode::WorkerFault, "no answer");
                    self.feed(vec![Input::StartFailed { instance, reason }]);
                }
                Some(Action::List(runtime)) => {
                    self.runtime.asked.pop_front();
                    self.feed(vec![Input::ListFailed { runtime }]);
                }
                Some(_) | None => {}
            },
            Step::Link(true) => self.feed(vec![Input::Connected]),
            Step::Link(false) => self.feed(vec![Input::Disconnected]),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_is_desired_runs_in_the_end_and_is_never_started_twice(
        steps in prop::collection::vec(any_step(), 0..80),
    ) {
        let mut run = Run::new();
        for step in &steps {
            run.step(step);
        }
        run.step(&Step::Sync);
        run.runtime.sick.clear();
        for _ in 0..40 {
            while !run.runtime.asked.is_empty() {
                run.step(&Step::Perform);
            }
            run.step(&Step::Pass(30));
        }
        let runs: BTreeSet<InstanceId> =
            run.runtime.has.iter().filter(|(_, runs)| **runs).map(|(id, _)| *id).collect();
        let has: BTreeSet<InstanceId> = run.runtime.has.keys().copied().collect();
        let wanted: BTreeSet<InstanceId> =
            run.worker.state.desired_instances().map(|desired| desired.instance).collect();
        prop_assert_eq!(&runs, &wanted);
        prop_assert_eq!(&has, &wanted, "nothing else is left");
        let observed: BTreeSet<InstanceId> =
            run.worker.state.observed().map(|report| report.instance).collect();
        prop_assert_eq!(&observed, &wanted);
        for report in run.worker.state.observed() {
            let well = report.report.is_ready();
            prop_assert!(well, "{:?}", report);
        }
        // What was told of each instance follows from what was told before, and ends where it is.
        run.step(&Step::Link(true));
        let mut last: BTreeMap<InstanceId, &str> = BTreeMap::new();
        for told in &run.worker.told {
            let event = &told.event;
            let before = last.insert(event.instance.unwrap(), event.to);
            let begins = event.from == "SCHEDULED_NODE";
            prop_assert!(begins || before == Some(event.from), "{:?} after {:?}", event, before);
            prop_assert_ne!(event.from, event.to);
        }
        for instance in &wanted {
            prop_assert_eq!(last.get(instance), Some(&"RUNNING"));
        }
        prop_assert_eq!(run.worker.state.untold().count(), 0);
    }
}
