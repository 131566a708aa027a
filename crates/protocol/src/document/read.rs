//! Typed reading of the tree: each reader answers a value, or adds a fault and answers none.

use std::ops::RangeInclusive;
use std::time::Duration;

use model::access::TenantPath;
use model::name::Name;

use super::fault::{Faults, Position, clip};
use super::fields::Fields;
use super::tree::{Kind, Node};
use crate::time::{format_duration, parse_duration};

/// A value with its path.
#[derive(Debug, Clone)]
pub(crate) struct Spot<'a> {
    /// Where in the document.
    pub(crate) path: String,
    /// Where in the body.
    pub(crate) at: Position,
    /// The value.
    pub(crate) node: &'a Node,
}

impl<'a> Spot<'a> {
    /// The document itself.
    pub(crate) const fn root(node: &'a Node) -> Self {
        Self {
            path: String::new(),
            at: node.at,
            node,
        }
    }

    /// Adds a fault here.
    pub(crate) fn fault(&self, faults: &mut Faults, message: impl Into<String>) {
        faults.add(&self.path, self.at, message);
    }

    /// Whether it is given as null.
    pub(crate) const fn is_null(&self) -> bool {
        matches!(self.node.kind, Kind::Null)
    }

    /// A text. Numbers and truth values are no texts: `1.10` and `"1.10"` differ.
    pub(crate) fn text(&self, faults: &mut Faults) -> Option<&'a str> {
        match &self.node.kind {
            Kind::Text(text) if text.contains('\0') => {
                self.fault(faults, "a text cannot hold a NUL character; remove it");
                None
            }
            Kind::Text(text) => Some(text),
            Kind::Number(text) => {
                self.fault(
                    faults,
                    format!(
                        "must be a text, not a number; write it in quotes: \"{}\"",
                        clip(text)
                    ),
                );
                None
            }
            Kind::Bool(value) => {
                self.fault(
                    faults,
                    format!("must be a text, not a truth value; write it in quotes: \"{value}\""),
                );
                None
            }
            Kind::Null | Kind::List(_) | Kind::Map(_) => self.wrong_kind(faults, "a text"),
            Kind::Refused => None,
        }
    }

    /// A text that no fault repeats, whatever it is written as.
    pub(crate) fn secret(&self, faults: &mut Faults) -> Option<&'a str> {
        match &self.node.kind {
            Kind::Number(_) | Kind::Bool(_) => {
                self.fault(faults, "must be a text; write it in quotes");
                None
            }
            Kind::Text(_) | Kind::Null | Kind::List(_) | Kind::Map(_) | Kind::Refused => {
                self.text(faults)
            }
        }
    }

    /// A text that is a name of the contract.
    pub(crate) fn name(&self, faults: &mut Faults) -> Option<Name> {
        let text = self.text(faults)?;
        Name::new(text)
            .map_err(|error| self.fault(faults, error.to_string()))
            .ok()
    }

    /// The path of a tenant.
    pub(crate) fn tenant(&self, faults: &mut Faults) -> Option<TenantPath> {
        let text = self.text(faults)?;
        TenantPath::new(text)
            .map_err(|error| self.fault(faults, error.to_string()))
            .ok()
    }

    /// A decimal number.
    pub(crate) fn number(&self, faults: &mut Faults) -> Option<f64> {
        let text = self.digits(faults, "a number")?;
        match text.parse::<f64>() {
            Ok(number)
                if number.is_finite() && !text.starts_with("0x") && !text.starts_with("0o") =>
            {
                Some(number)
            }
            _ => {
                self.fault(
                    faults,
                    format!(
                        "{} is no decimal number in range; write one such as 0.5 or 2",
                        clip(text)
                    ),
                );
                None
            }
        }
    }

    /// A whole number of that range.
    pub(crate) fn whole(&self, range: &RangeInclusive<u64>, faults: &mut Faults) -> Option<u64> {
        let text = self.digits(faults, "a whole number")?;
        let number = text
            .parse::<u64>()
            .ok()
            .filter(|number| range.contains(number) && !text.starts_with('+'));
        if number.is_none() {
            let message = format!(
                "{} is out of range; write a whole number from {} to {}",
                clip(text),
                range.start(),
                range.end()
            );
            self.fault(faults, message);
        }
        number
    }

    fn digits(&self, faults: &mut Faults, wanted: &str) -> Option<&'a str> {
        match &self.node.kind {
            Kind::Number(text) => Some(text),
            Kind::Text(text) if text.parse::<f64>().is_ok() => {
                self.fault(
                    faults,
                    format!(
                        "must be {wanted}, not a text; write {} without quotes",
                        clip(text)
                    ),
                );
                None
            }
            Kind::Text(text) => {
                self.fault(
                    faults,
                    format!(
                        "must be {wanted}, not \"{}\"; write plain decimal digits",
                        clip(text)
                    ),
                );
                None
            }
            Kind::Bool(_) | Kind::Null | Kind::List(_) | Kind::Map(_) => {
                self.wrong_kind(faults, wanted)
            }
            Kind::Refused => None,
        }
    }

    /// A truth value.
    pub(crate) fn truth(&self, faults: &mut Faults) -> Option<bool> {
        match &self.node.kind {
            Kind::Bool(value) => Some(*value),
            Kind::Null | Kind::Number(_) | Kind::Text(_) | Kind::List(_) | Kind::Map(_) => {
                self.wrong_kind(faults, "true or false, without quotes")
            }
            Kind::Refused => None,
        }
    }

    /// One of the given words.
    pub(crate) fn choice<T: Copy>(&self, words: &[(&str, T)], faults: &mut Faults) -> Option<T> {
        let text = self.text(faults)?;
        let found = words
            .iter()
            .find(|(word, _)| *word == text)
            .map(|(_, value)| *value);
        if found.is_none() {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.fault(
                faults,
                format!(
                    "\"{}\" is none of {}; write one of these",
                    clip(text),
                    known.join(", ")
                ),
            );
        }
        found
    }

    /// A duration of that range, in milliseconds.
    pub(crate) fn duration(
        &self,
        range: &RangeInclusive<Duration>,
        faults: &mut Faults,
    ) -> Option<Duration> {
        if let Kind::Number(text) = &self.node.kind {
            self.fault(
                faults,
                format!(
                    "a duration needs its unit; write {}s, or ms, m, h, d",
                    clip(text)
                ),
            );
            return None;
        }
        match parse_duration(self.text(faults)?) {
            Ok(duration) if range.contains(&duration) => Some(duration),
            Ok(duration) => {
                let (low, high) = (
                    format_duration(*range.start()),
                    format_duration(*range.end()),
                );
                let message = format!(
                    "{} is out of range; write {low} to {high}",
                    format_duration(duration)
                );
                self.fault(faults, message);
                None
            }
            Err(error) => {
                self.fault(faults, error.to_string());
                None
            }
        }
    }

    /// The items of a list.
    pub(crate) fn items(&self, faults: &mut Faults) -> Option<Vec<Spot<'a>>> {
        match &self.node.kind {
            Kind::List(items) => Some(
                items
                    .iter()
                    .enumerate()
                    .map(|(index, node)| Spot {
                        path: format!("{}[{index}]", self.path),
                        at: node.at,
                        node,
                    })
                    .collect(),
            ),
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) | Kind::Map(_) => {
                self.wrong_kind(faults, "a list: [\"a\", \"b\"]")
            }
            Kind::Refused => None,
        }
    }

    /// A list of texts.
    pub(crate) fn texts(&self, faults: &mut Faults) -> Option<Vec<String>> {
        let items = self.items(faults)?;
        let texts: Vec<Option<&str>> = items.iter().map(|item| item.text(faults)).collect();
        texts
            .into_iter()
            .map(|text| text.map(str::to_owned))
            .collect()
    }

    /// The fields of a mapping.
    pub(crate) fn fields(&self, faults: &mut Faults) -> Option<Fields<'a>> {
        match &self.node.kind {
            Kind::Map(entries) => Some(Fields::new(self, entries)),
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) | Kind::List(_) => {
                self.wrong_kind(faults, "a mapping of fields: `name: value`")
            }
            Kind::Refused => None,
        }
    }

    fn wrong_kind<T>(&self, faults: &mut Faults, wanted: &str) -> Option<T> {
        let have = match &self.node.kind {
            Kind::Null => "nothing",
            Kind::Bool(_) => "a truth value",
            Kind::Number(_) => "a number",
            Kind::Text(_) => "a text",
            Kind::List(_) => "a list",
            Kind::Map(_) => "a mapping",
            Kind::Refused => return None,
        };
        self.fault(faults, format!("must be {wanted}; it is {have}"));
        None
    }
}
