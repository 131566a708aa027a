//! Reports that were read, with the marks that their senders gave them.
//!
//! Digests cover the words of reasons. Under the word that replaces an unknown one, what is observed would never have the
//! digest that its sender tells, and the whole report be asked for again and again.

use model::desired::{InstanceReport, SlotReport};
use model::reason::ReasonCode;

use super::{WireInstance, WireReason, WireReport, WireSlotReport, Word, known_code};
use crate::message::{MessageError, ReportEntry, SlotEntry, report_entry_of, slot_entry_of};

/// The entry of a worker's report of an instance.
pub(crate) fn instance_in(wire: WireInstance) -> Result<ReportEntry, MessageError> {
    let word = unknown_word(&wire.report);
    let report = InstanceReport::try_from(wire)?;
    let mut identity = report.identity();
    if let Some(word) = word {
        let before = format!("{}|{}|", report.instance, report.generation);
        restore(&mut identity, &before, &word);
    }
    Ok(report_entry_of(report, &identity))
}

/// The entry of a cluster's report of a slot.
pub(crate) fn slot_in(wire: WireSlotReport) -> Result<SlotEntry, MessageError> {
    let offered = wire.offer.as_ref().and_then(|offer| unknown(&offer.reason));
    let mut words: Vec<(String, String)> = offered
        .map(|word| ("|offer ".to_owned(), word))
        .into_iter()
        .collect();
    words.extend(wire.copies.iter().filter_map(|copy| {
        let word = unknown_word(copy.report.as_ref()?)?;
        Some((format!("|{} ", copy.instance), word))
    }));
    let report = SlotReport::try_from(wire)?;
    let mut identity = report.identity();
    for (before, word) in words {
        restore(&mut identity, &before, &word);
    }
    Ok(slot_entry_of(report, &identity))
}

fn unknown_word(report: &WireReport) -> Option<String> {
    let failed = report.state == Word::Failed;
    report.reason.as_ref().filter(|_| failed).and_then(unknown)
}

fn unknown(reason: &WireReason) -> Option<String> {
    known_code(&reason.code)
        .is_none()
        .then(|| reason.code.clone())
}

/// Puts the word that was sent in the place of its replacement, in the field of the identity that begins after `before`.
fn restore(identity: &mut String, before: &str, word: &str) {
    let replaced = ReasonCode::WorkerFault.as_str();
    let found = identity.find(before).and_then(|at| {
        let begin = at + before.len();
        let field = identity.get(begin..)?.split('|').next()?;
        Some(begin + field.find(replaced)?)
    });
    if let Some(at) = found {
        identity.replace_range(at..at + replaced.len(), word);
    }
}
