//! The root of the cluster: what it assigns, and what it has heard.

use cluster_core::{AssignmentEntry, Input, SlotEntry, assignment_entry};
use model::access::TenantPath;
use model::desired::{Desired, Handover, JobHead, SlotReport};
use model::id::{ClusterId, InstanceId, JobId};
use model::job::{OnPartition, Owner};
use model::slot::{Generation, Slot};
use model::telling::{Stamp, Telling, Told};
use model::time::Wall;
use std::sync::Arc;
use sync::{Incarnation, Observed, Parent, Term, Timing, UpReport};

use super::{Document, Site, name};

pub(crate) struct Root {
    pub(crate) incarnation: Incarnation,
    term: Term,
    set: Parent<AssignmentEntry>,
    heard: Observed<SlotEntry>,
    pub(crate) reports: usize,
    /// What it was told, and its confirmation that is under way.
    pub(crate) told: Vec<Told>,
    pub(crate) confirm: Option<Stamp>,
    /// It hears nothing of what it is told.
    pub(crate) deaf: bool,
}

/// The job of the root that all its slots are of.
pub(crate) fn slot(document: &Document, index: u32) -> Slot {
    Slot {
        job: JobId::from_bits(0x1000),
        service: name(&document.name),
        index,
    }
}

impl Root {
    /// The order that another worker gets a copy, and starts it first.
    pub(crate) fn migration_of(copy: InstanceId, number: u64) -> Handover {
        Handover {
            number,
            start_first: true,
            keep_old: true,
            replace: Some(copy),
            same_worker: false,
            worker: None,
        }
    }

    pub(crate) fn new() -> Self {
        Self {
            incarnation: Incarnation(77),
            term: Term::default().next(1),
            set: Parent::default(),
            heard: Observed::default(),
            reports: 0,
            told: Vec::new(),
            confirm: None,
            deaf: false,
        }
    }

    pub(crate) fn take(&mut self, report: &UpReport<SlotEntry>) {
        self.heard.apply(report);
        self.reports += 1;
    }

    pub(crate) fn hear(&mut self, telling: Telling) {
        if !self.deaf {
            self.confirm = telling.last();
            self.told.extend(telling.events);
        }
    }

    /// What the cluster said last of a slot.
    pub(crate) fn heard(&self, document: &Document, index: u32) -> Option<&SlotReport> {
        let states = self.heard.states();
        states.get(&slot(document, index)).map(|entry| &entry.value)
    }

    pub(crate) fn assign(&mut self, document: &Document, index: u32, assignment: u64) {
        self.order(document, index, assignment, Handover::default());
    }

    /// An assignment that says how it takes over.
    pub(crate) fn order(
        &mut self,
        document: &Document,
        index: u32,
        assignment: u64,
        handover: Handover,
    ) {
        let desired = Desired {
            handover,
            instance: InstanceId::from_bits(
                0xa000 + u128::from(index) * 100 + u128::from(assignment),
            ),
            slot: slot(document, index),
            generation: Generation {
                assignment,
                placement: 0,
            },
            job: Arc::new(JobHead {
                reconcile: model::job::Reconcile::default(),
                id: JobId::from_bits(0x1000),
                name: name(&document.name),
                tenant: TenantPath::root(),
                owner: Owner::Root,
                lost_after: None,
                on_partition: OnPartition::Stay,
                created_at: Wall(0),
            }),
            service: document.service(),
        };
        self.set.put(assignment_entry(desired));
    }

    pub(crate) fn take_back(&mut self, document: &Document, index: u32) {
        self.set.remove(&slot(document, index));
    }
}

impl Site {
    /// The uplink is up.
    pub(crate) fn meet_root(&mut self) {
        self.turn([Input::RootConnected(ClusterId::from_bits(5))]);
    }

    /// The root sends what is due, and the workers do what follows.
    pub(crate) fn sync_root(&mut self) {
        let timing = Timing::default();
        let root = &mut self.root;
        root.set.disconnected();
        root.set
            .acknowledge(self.state.held(), root.incarnation, &timing);
        let due = root
            .set
            .due(u64::MAX, root.incarnation, &root.term, &timing);
        self.turn(due.into_iter().flatten().map(Input::Assigned));
        self.deliver();
    }
}
