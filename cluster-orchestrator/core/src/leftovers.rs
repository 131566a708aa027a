//! What no document asks for any more and the workers still have: quotas count it until it has ended.

use model::id::JobId;
use model::slot::Slot;
use model::units::Resources;

use crate::state::{SlotRecord, State};

impl State {
    /// A slot's record has changed.
    pub(crate) fn count_left(&mut self, slot: &Slot, record: Option<&SlotRecord>) {
        self.book.has_of(slot, record.and_then(left_of));
    }

    /// A job's document has changed.
    pub(crate) fn count_leftovers(&mut self, job: JobId) {
        let slots: Vec<(Slot, Option<Resources>)> = self
            .slots_of(job)
            .map(|(slot, record)| (slot.clone(), left_of(record)))
            .collect();
        for (slot, left) in slots {
            self.book.has_of(&slot, left);
        }
    }
}

/// Of several, each measure of the one that takes most of it: a slot counts once.
fn left_of(record: &SlotRecord) -> Option<Resources> {
    let copies = record.copies.iter();
    let taken = copies.map(|copy| copy.desired.service.workload.resources);
    taken.reduce(Resources::most)
}
