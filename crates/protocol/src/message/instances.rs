//! `nodes/{id}/instances`: what a worker observes, whole or what changed.

use ::sync::{Digest, Held, UpReport, mark};
use model::id::InstanceId;
use serde::{Deserialize, Serialize};

use super::held::WireHeld;
use super::parts::{Number, Piece, Whole, deal_json};
use super::report::{WireInstance, instance_in};
use super::{Beat, MessageError, ReportEntry, Source, Text, is_default};

/// A report with the set that was held while it was made.
#[derive(Debug, Clone, PartialEq)]
pub struct Reported<T: ::sync::Item> {
    /// The report.
    pub report: UpReport<T>,
    /// The set held.
    pub held: Held,
}

impl<T: ::sync::Item> Whole for Reported<T> {
    fn mark(&self) -> Digest {
        mark(&[
            &self.report.boot,
            &self.report.sequence,
            &self.report.whole,
            &self.report.digest,
        ])
    }

    fn absorb(&mut self, next: Self) {
        self.report.states.extend(next.report.states);
        self.report.gone.extend(next.report.gone);
    }
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Fields<S, G> {
    #[serde(default, skip_serializing_if = "is_default")]
    whole: bool,
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    states: Vec<S>,
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    gone: Vec<G>,
    #[serde(default, skip_serializing_if = "is_default")]
    tells: bool,
}

/// Writes a report, in as many messages as it takes.
pub fn encode(report: &UpReport<ReportEntry>, held: &Held) -> Vec<Vec<u8>> {
    texts(
        report,
        held,
        |entry| WireInstance::from(&entry.value),
        |key: &InstanceId| *key,
    )
    .into_iter()
    .map(Text::bytes)
    .collect()
}

/// Reads one message of it.
///
/// # Errors
/// [`MessageError`], where it is no such message.
pub fn decode(payload: &[u8]) -> Result<Piece<Reported<ReportEntry>>, MessageError> {
    read(payload, instance_in, |instance: InstanceId| instance)
}

pub(crate) fn texts<T: ::sync::Item, S: Serialize, G: Serialize>(
    report: &UpReport<T>,
    held: &Held,
    state: impl Fn(&T) -> S,
    gone: impl Fn(&T::Key) -> G,
) -> Vec<Text> {
    let states = deal_json(report.states.iter().map(state).collect());
    let mut all_gone = deal_json(report.gone.iter().map(gone).collect());
    let beat = Beat {
        boot: report.boot,
        sequence: report.sequence,
        observed_digest: report.digest,
        // A part of a report says less than all, and the report itself tells what its reader must know.
        settled: false,
    };
    // What is gone comes first, in parts of its own only where it is much.
    let shared = match all_gone.pop() {
        Some(last) if all_gone.is_empty() && last.len() < 100 => last,
        last => {
            all_gone.extend(last);
            Vec::new()
        }
    };
    let mut bodies: Vec<Fields<S, G>> = all_gone
        .into_iter()
        .map(|gone| (Vec::new(), gone))
        .chain(with_first(states, shared))
        .map(|(states, gone)| Fields {
            whole: report.whole,
            states,
            gone,
            tells: report.tells,
        })
        .collect();
    bodies.retain({
        let mut first = true;
        move |body| std::mem::take(&mut first) || !body.states.is_empty() || !body.gone.is_empty()
    });
    let parts = bodies.len();
    bodies
        .into_iter()
        .enumerate()
        .map(|(part, body)| {
            Text::new()
                .with(&WireHeld::from(held))
                .with(&beat)
                .with(&Number::new(part, parts))
                .with(&body)
        })
        .collect()
}

fn with_first<S, G>(states: Vec<Vec<S>>, gone: Vec<G>) -> impl Iterator<Item = (Vec<S>, Vec<G>)> {
    let mut gone = Some(gone);
    states
        .into_iter()
        .map(move |states| (states, gone.take().unwrap_or_default()))
}

pub(crate) fn read<T, S, G, Z>(
    source: &Z,
    state: impl Fn(S) -> Result<T, MessageError>,
    gone: impl Fn(G) -> T::Key,
) -> Result<Piece<Reported<T>>, MessageError>
where
    T: ::sync::Item,
    S: serde::de::DeserializeOwned,
    G: serde::de::DeserializeOwned,
    Z: Source + ?Sized,
{
    source.open()?;
    let held: Held = source.fields::<WireHeld>()?.into();
    let beat: Beat = source.fields()?;
    let number: Number = source.fields()?;
    let body: Fields<S, G> = source.fields()?;
    number.piece(Reported {
        report: UpReport {
            boot: beat.boot,
            sequence: beat.sequence,
            whole: body.whole,
            states: body
                .states
                .into_iter()
                .map(state)
                .collect::<Result<_, _>>()?,
            gone: body.gone.into_iter().map(gone).collect(),
            digest: beat.observed_digest,
            tells: body.tells,
        },
        held,
    })
}
