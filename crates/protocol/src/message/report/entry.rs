//! Reports that were read, with the marks that their senders gave them.
//!
//! Digests cover the words of states, roles and reasons. Under the word that replaces an unknown one, what is observed
//! would never have the digest that its sender tells, and the whole report be asked for again and again.

use model::desired::{CopyReport, InstanceReport, SlotReport};
use model::instance::Report;
use model::reason::ReasonCode;

use super::slot::STATES;
use super::{WireCopy, WireInstance, WireReason, WireReport, WireSlotReport, Word, known_code};
use crate::message::{MessageError, ReportEntry, SlotEntry, report_entry_of, slot_entry_of};
use crate::skew::Spoken;

/// The entry of a worker's report of an instance.
pub(crate) fn instance_in(wire: WireInstance) -> Result<ReportEntry, MessageError> {
    let word = unknown_word(&wire.report);
    let health = unknown_health(&wire.report);
    let report = InstanceReport::try_from(wire)?;
    let mut identity = report.identity();
    let mut before = format!("{}|{}|", report.instance, report.generation);
    let known = report.report.word();
    if let Some(word) = &word {
        restore(&mut identity, &before, known, word);
    }
    if let (Some(said), Some(known_health)) = (health, report.report.health()) {
        before.push_str(word.as_deref().unwrap_or(known));
        before = format!("{before}|{}|", report.report.restarts);
        restore(&mut identity, &before, known_health.as_str(), &said);
    }
    Ok(report_entry_of(report, &identity))
}

/// The entry of a cluster's report of a slot.
pub(crate) fn slot_in(wire: WireSlotReport) -> Result<SlotEntry, MessageError> {
    let offered = wire.offer.as_ref().and_then(|offer| unknown(&offer.reason));
    let copies: Vec<CopyWords> = wire.copies.iter().map(CopyWords::of).collect();
    let report = SlotReport::try_from(wire)?;
    let mut identity = report.identity();
    if let Some(word) = offered {
        restore(
            &mut identity,
            "|offer ",
            ReasonCode::WorkerFault.as_str(),
            &word,
        );
    }
    for (words, copy) in copies.iter().zip(&report.copies) {
        words.restore(&mut identity, copy);
    }
    Ok(slot_entry_of(report, &identity))
}

/// The words of a copy that this program does not know.
struct CopyWords {
    role: Option<String>,
    state: Option<String>,
    observed: Option<String>,
    health: Option<String>,
}

impl CopyWords {
    fn of(copy: &WireCopy) -> Self {
        Self {
            role: match &copy.role {
                Spoken::Known(_) => None,
                Spoken::Newer(word) => Some(word.clone()),
            },
            state: (!STATES.contains(&copy.state.as_str())).then(|| copy.state.clone()),
            observed: copy.report.as_ref().and_then(unknown_word),
            health: copy.report.as_ref().and_then(unknown_health),
        }
    }

    /// Puts them into the identity: `|<instance> <generation> <role> <state> <word> <restarts>[ <health>]`.
    fn restore(&self, identity: &mut String, copy: &CopyReport) {
        let mut before = format!("|{} {} ", copy.instance, copy.generation);
        let role = format!("{:?}", copy.role);
        let state = copy.state.as_str();
        let observed = copy.state.report().map_or("", Report::word);
        // Roles stand there by their names in Rust, which begin with a capital.
        let said_role = self.role.as_deref().map(capitalised);
        for (replaced, said) in [
            (role.as_str(), said_role.as_deref()),
            (state, self.state.as_deref()),
            (observed, self.observed.as_deref()),
        ] {
            if let Some(said) = said {
                restore(identity, &before, replaced, said);
            }
            before.push_str(said.unwrap_or(replaced));
            before.push(' ');
        }
        let report = copy.state.report();
        if let (Some(said), Some(report)) = (&self.health, report)
            && let Some(known) = report.health()
        {
            before = format!("{before}{} ", report.restarts);
            restore(identity, &before, known.as_str(), said);
        }
    }
}

/// `must_leave` as `MustLeave`.
fn capitalised(word: &str) -> String {
    let mut name = String::with_capacity(word.len());
    let mut is_first = true;
    for c in word.chars() {
        if c == '_' {
            is_first = true;
        } else if std::mem::take(&mut is_first) {
            name.push(c.to_ascii_uppercase());
        } else {
            name.push(c);
        }
    }
    name
}

/// What the sender's identity has in the place of the word of our own.
fn unknown_word(report: &WireReport) -> Option<String> {
    match &report.state {
        Spoken::Known(Word::Failed) => report.reason.as_ref().and_then(unknown),
        Spoken::Known(Word::Starting | Word::Running | Word::Ended) => None,
        // A state that carries a reason is told by the reason's word, as ours is.
        Spoken::Newer(word) => Some(
            report
                .reason
                .as_ref()
                .map_or_else(|| word.clone(), |reason| reason.code.clone()),
        ),
    }
}

/// The word of a health check that this program does not know.
fn unknown_health(report: &WireReport) -> Option<String> {
    match &report.health {
        Some(Spoken::Newer(word)) => Some(word.clone()),
        Some(Spoken::Known(_)) | None => None,
    }
}

fn unknown(reason: &WireReason) -> Option<String> {
    known_code(&reason.code)
        .is_none()
        .then(|| reason.code.clone())
}

/// Puts the word that was sent in the place of its replacement, where the identity goes on after `before`.
fn restore(identity: &mut String, before: &str, replaced: &str, word: &str) {
    let found = identity.find(before).and_then(|at| {
        let begin = at + before.len();
        identity
            .get(begin..)?
            .starts_with(replaced)
            .then_some(begin)
    });
    if let Some(at) = found {
        identity.replace_range(at..at + replaced.len(), word);
    }
}
