//! Items of desired sets and of reports, with the marks that digests are made of.

use model::desired::{Desired, InstanceReport, NodeItem, NodeKey, SlotReport};
use model::id::InstanceId;
use model::slot::Slot;
use sync::Entry;

/// An item of a worker's desired set.
pub type DesiredEntry = Entry<NodeKey, NodeItem>;
/// An item of a worker's reports.
pub type ReportEntry = Entry<InstanceId, InstanceReport>;
/// An item of this cluster's desired set at its root.
pub type AssignmentEntry = Entry<Slot, Desired>;
/// An item of this cluster's reports to its root.
pub type SlotEntry = Entry<Slot, SlotReport>;

/// The entry of an item of a worker's desired set.
pub fn desired_entry(item: NodeItem) -> DesiredEntry {
    let (key, identity, weight) = (item.key(), item.identity(), item.weight());
    let shared = item.shared();
    Entry::new(key, item, &identity, weight).sharing(shared)
}

/// The entry of a worker's report.
pub fn report_entry(report: InstanceReport) -> ReportEntry {
    let identity = report.identity();
    Entry::new(report.instance, report, &identity, 256)
}

/// The entry of an assignment.
pub fn assignment_entry(desired: Desired) -> AssignmentEntry {
    let (key, identity, weight) = (desired.slot.clone(), desired.identity(), desired.weight());
    let shared = Some(desired.shared());
    Entry::new(key, desired, &identity, weight).sharing(shared)
}

/// The entry of a slot's report.
pub fn slot_entry(report: SlotReport) -> SlotEntry {
    let identity = report.identity();
    Entry::new(report.slot.clone(), report, &identity, 512)
}
