//! What is free in a cluster, and how far it is with its assignments.

use std::collections::BTreeSet;

use ::sync::Held;
use model::aggregate::{Aggregate, Class, ClassRoom};
use model::units::{Bytes, Millicores, Resources};
use model::workload::RuntimeKind;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::message::held::WireHeld;
use crate::message::information::percent;
use crate::message::{Beat, MessageError, Source, Text, at_most};

/// Workers that a cluster may say that it has.
const NODES: u32 = 1_000_000;

/// What an [`super::AGGREGATE`] says.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// What is free.
    pub aggregate: Aggregate,
    /// Which scheduler runs.
    pub scheduler: String,
    /// The root's set that the aggregate includes: what was assigned later is not subtracted yet.
    pub held: Held,
    /// Numbers of the reports.
    pub beat: Beat,
}

/// An aggregate as messages hold it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WireAggregate {
    number_of_nodes: u32,
    schedulable_nodes: u32,
    allocatable: WireResources,
    room: WireResources,
    cpu_percent: f64,
    memory_percent: f64,
    technology: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    runtimes_degraded: Vec<String>,
    number_of_jobs: u32,
    #[serde(default)]
    classes: Vec<WireClass>,
    capacity_revision: u64,
    scheduler: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct WireResources {
    cpu_millicores: Millicores,
    /// Bytes.
    memory: Bytes,
    /// Bytes.
    disk: Bytes,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct WireClass {
    architecture: String,
    runtime: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    accelerator: Option<String>,
    total: WireResources,
    holes: Vec<WireResources>,
}

impl WireResources {
    /// Whether so many machines may have that (see [`Resources::MACHINE`]).
    fn is_of(&self, machines: u64) -> bool {
        let most = |one: u64| one.saturating_mul(machines);
        let machine = Resources::MACHINE;
        self.cpu_millicores.0 <= most(machine.cpu.0)
            && self.memory.0 <= most(machine.memory.0)
            && self.disk.0 <= most(machine.disk.0)
    }
}

impl From<Resources> for WireResources {
    fn from(resources: Resources) -> Self {
        Self {
            cpu_millicores: resources.cpu,
            memory: resources.memory,
            disk: resources.disk,
        }
    }
}

impl From<WireResources> for Resources {
    fn from(wire: WireResources) -> Self {
        Self {
            cpu: wire.cpu_millicores,
            memory: wire.memory,
            disk: wire.disk,
        }
    }
}

impl Standing {
    /// Writes it.
    pub fn encode(&self) -> Value {
        let aggregate = &self.aggregate;
        let class = |room: &ClassRoom| WireClass {
            architecture: room.class.architecture.clone(),
            runtime: room.class.runtime.as_str().to_owned(),
            accelerator: room.class.accelerator.clone(),
            total: room.total.into(),
            holes: room
                .holes
                .iter()
                .copied()
                .map(WireResources::from)
                .collect(),
        };
        let word = |kind: &RuntimeKind| kind.as_str().to_owned();
        let wire = WireAggregate {
            number_of_nodes: aggregate.number_of_nodes,
            schedulable_nodes: aggregate.schedulable_nodes,
            allocatable: aggregate.allocatable.into(),
            room: aggregate.room.into(),
            cpu_percent: percent(aggregate.cpu_percent),
            memory_percent: percent(aggregate.memory_percent),
            technology: aggregate.technology.iter().map(word).collect(),
            runtimes_degraded: aggregate.silent.iter().map(word).collect(),
            number_of_jobs: aggregate.number_of_jobs,
            classes: aggregate.classes.iter().map(class).collect(),
            capacity_revision: aggregate.capacity_revision,
            scheduler: self.scheduler.clone(),
        };
        Text::new()
            .with(&WireHeld::from(&self.held))
            .with(&self.beat)
            .with(&wire)
            .value()
    }

    /// Reads it; runtimes that this program does not know are left out.
    ///
    /// # Errors
    /// [`MessageError`], where it is no such message or a number means nothing.
    pub fn decode(value: &Value) -> Result<Self, MessageError> {
        value.open()?;
        let wire: WireAggregate = value.fields()?;
        at_most(wire.classes.len(), Aggregate::CLASSES, "classes")?;
        at_most(wire.technology.len(), 64, "technology")?;
        at_most(wire.runtimes_degraded.len(), 64, "runtimes_degraded")?;
        at_most(wire.scheduler.len(), 512, "scheduler")?;
        let is_percent = |value: f64| (0.0..=100.0).contains(&value);
        if !is_percent(wire.cpu_percent) || !is_percent(wire.memory_percent) {
            return Err(MessageError::field(
                "cpu_percent or memory_percent",
                "is no percentage",
            ));
        }
        if wire.schedulable_nodes > wire.number_of_nodes || wire.number_of_nodes > NODES {
            return Err(MessageError::field(
                "number_of_nodes or schedulable_nodes",
                "is no number of workers",
            ));
        }
        let nodes = u64::from(wire.number_of_nodes);
        let sums = wire.classes.iter().map(|class| &class.total);
        let sums = sums.chain([&wire.allocatable, &wire.room]);
        let holes = wire.classes.iter().flat_map(|class| &class.holes);
        let fit = sums
            .map(|sum| (sum, nodes))
            .chain(holes.map(|hole| (hole, 1)));
        if fit
            .into_iter()
            .any(|(amount, machines)| !amount.is_of(machines))
        {
            return Err(MessageError::field(
                "allocatable, room or classes",
                "is more than so many machines have",
            ));
        }
        let kinds = |words: &[String]| -> BTreeSet<RuntimeKind> {
            let known = words.iter().filter_map(|word| RuntimeKind::parse(word));
            known.collect()
        };
        let mut classes = Vec::with_capacity(wire.classes.len());
        for class in wire.classes {
            at_most(class.holes.len(), Aggregate::HOLES, "holes")?;
            at_most(class.architecture.len(), 63, "architecture")?;
            let accelerator = class.accelerator.as_ref().map_or(0, String::len);
            at_most(accelerator, 255, "accelerator")?;
            if let Some(runtime) = RuntimeKind::parse(&class.runtime) {
                classes.push(ClassRoom {
                    class: Class {
                        architecture: class.architecture,
                        runtime,
                        accelerator: class.accelerator,
                    },
                    total: class.total.into(),
                    holes: class.holes.into_iter().map(Resources::from).collect(),
                });
            }
        }
        Ok(Self {
            aggregate: Aggregate {
                number_of_nodes: wire.number_of_nodes,
                schedulable_nodes: wire.schedulable_nodes,
                allocatable: wire.allocatable.into(),
                room: wire.room.into(),
                cpu_percent: wire.cpu_percent,
                memory_percent: wire.memory_percent,
                technology: kinds(&wire.technology),
                silent: kinds(&wire.runtimes_degraded),
                number_of_jobs: wire.number_of_jobs,
                classes,
                capacity_revision: wire.capacity_revision,
            },
            scheduler: wire.scheduler,
            held: value.fields::<WireHeld>()?.into(),
            beat: value.fields()?,
        })
    }
}
