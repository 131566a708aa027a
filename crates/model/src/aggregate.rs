//! What a root knows of a cluster: the shape of what is free, of a size that does not grow with the number of workers.

use std::collections::BTreeSet;

use crate::units::Resources;
use crate::workload::RuntimeKind;

/// Workers that are alike for placement: one architecture, one runtime, one accelerator (or none).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Class {
    /// CPU architecture.
    pub architecture: String,
    /// Runtime.
    pub runtime: RuntimeKind,
    /// Accelerator; `None` counts every worker, with or without one.
    pub accelerator: Option<String>,
}

/// What a class of workers has free.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassRoom {
    /// Which workers.
    pub class: Class,
    /// Sum of the room of all its workers.
    pub total: Resources,
    /// The largest holes, none of which fits into another; at most [`Aggregate::HOLES`].
    pub holes: Vec<Resources>,
}

/// One cluster's row at its root.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Aggregate {
    /// Workers known.
    pub number_of_nodes: u32,
    /// Workers that take work now.
    pub schedulable_nodes: u32,
    /// Allocatable in all.
    pub allocatable: Resources,
    /// Allocatable minus reserved.
    pub room: Resources,
    /// Mean measured use, 0 to 100.
    pub cpu_percent: f64,
    /// Mean measured use, 0 to 100.
    pub memory_percent: f64,
    /// Runtimes present.
    pub technology: BTreeSet<RuntimeKind>,
    /// Those that do not answer on some worker that would take work.
    pub silent: BTreeSet<RuntimeKind>,
    /// Jobs with an instance here.
    pub number_of_jobs: u32,
    /// What is free, by class; at most [`Aggregate::CLASSES`].
    pub classes: Vec<ClassRoom>,
    /// Grows whenever room grows; a refusal is asked again only after it did (inside one incarnation).
    pub capacity_revision: u64,
}

impl Aggregate {
    /// Holes kept for each class.
    pub const HOLES: usize = 8;
    /// Classes kept.
    pub const CLASSES: usize = 32;

    /// Adds one schedulable worker of that room to its class.
    pub fn add_room(&mut self, class: &Class, room: Resources) {
        if let Some(known) = self.classes.iter_mut().find(|known| known.class == *class) {
            known.total = known.total.plus(room);
            keep_hole(&mut known.holes, room);
        } else if self.classes.len() < Self::CLASSES {
            self.classes.push(ClassRoom {
                class: class.clone(),
                total: room,
                holes: vec![room],
            });
        }
    }

    /// The classes that a service with these wishes could use.
    pub fn classes_for<'a>(
        &'a self,
        runtime: RuntimeKind,
        architectures: &'a [String],
    ) -> impl Iterator<Item = &'a ClassRoom> {
        self.classes.iter().filter(move |room| {
            room.class.runtime == runtime
                && room.class.accelerator.is_none()
                && (architectures.is_empty() || architectures.contains(&room.class.architecture))
        })
    }
}

/// Keeps `holes` a Pareto front of bounded size.
fn keep_hole(holes: &mut Vec<Resources>, room: Resources) {
    if holes.iter().any(|hole| room.fits(*hole)) {
        return;
    }
    holes.retain(|hole| !hole.fits(room));
    holes.push(room);
    if holes.len() > Aggregate::HOLES {
        // The smallest by memory goes: memory is what edge machines lack first.
        let smallest = holes
            .iter()
            .enumerate()
            .min_by_key(|(_, hole)| (hole.memory, hole.cpu))
            .map(|(index, _)| index);
        if let Some(index) = smallest {
            holes.swap_remove(index);
        }
    }
}
