//! Faults: what is wrong with a body, where, and what to write instead.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::MAX_FAULTS;

/// One fault of a body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Fault {
    /// Which field: `services[0].requirements.cpu`; begins with `documents[1].` where the body has several, empty for the body as a whole.
    pub path: String,
    /// Line in the body, from 1.
    pub line: u64,
    /// Column in characters, from 1.
    pub column: u64,
    /// What is wrong and what to write instead.
    pub message: String,
}

/// A place in the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    /// From 1.
    pub(crate) line: u64,
    /// In characters, from 1.
    pub(crate) column: u64,
}

impl Position {
    /// The first character.
    pub(crate) const START: Self = Self { line: 1, column: 1 };

    /// A place; both count from 1.
    pub(crate) const fn new(line: usize, column: usize) -> Self {
        Self {
            line: line as u64,
            column: column as u64,
        }
    }

    /// The place just after `text`.
    pub(crate) fn after(text: &str) -> Self {
        let line = text.matches('\n').count() + 1;
        let column = text
            .rsplit('\n')
            .next()
            .map_or(0, |last| last.chars().count())
            + 1;
        Self::new(line, column)
    }
}

/// A step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Segment {
    /// A field.
    Key(String),
    /// An item of a list.
    Index(usize),
}

impl Segment {
    /// The path as faults show it.
    pub(crate) fn render(path: &[Self]) -> String {
        path.iter()
            .fold(String::new(), |text, segment| match segment {
                Self::Key(key) => join(&text, key),
                Self::Index(index) => format!("{text}[{index}]"),
            })
    }
}

/// `path.key`, with a long key cut short.
pub(crate) fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        clip(key)
    } else {
        format!("{path}.{}", clip(key))
    }
}

/// A text of the user's for a message: one line of at most 80 characters.
pub(crate) fn clip(text: &str) -> String {
    let mut short: String = text.chars().take(80).flat_map(char::escape_debug).collect();
    if text.chars().nth(80).is_some() {
        short.push('…');
    }
    short
}

/// Collects the faults of a body.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    document: usize,
    list: Vec<(usize, Fault)>,
    dropped: usize,
}

impl Faults {
    /// Adds one fault of the present document.
    pub(crate) fn add(&mut self, path: &str, at: Position, message: impl Into<String>) {
        if self.list.len() >= MAX_FAULTS {
            self.dropped += 1;
            return;
        }
        let fault = Fault {
            path: path.to_owned(),
            line: at.line,
            column: at.column,
            message: message.into(),
        };
        self.list.push((self.document, fault));
    }

    /// From here on faults are those of the next document.
    pub(crate) const fn next_document(&mut self) {
        self.document += 1;
    }

    /// From here on faults are those of the first document again.
    pub(crate) const fn rewind(&mut self) {
        self.document = 0;
    }

    /// How many there are.
    pub(crate) const fn count(&self) -> usize {
        self.list.len() + self.dropped
    }

    /// All of them in the order of the body, which has that many documents.
    pub(crate) fn finish(self, documents: usize) -> Vec<Fault> {
        let mut faults: Vec<Fault> = self
            .list
            .into_iter()
            .map(|(document, mut fault)| {
                if documents > 1 {
                    let inner = std::mem::take(&mut fault.path);
                    let dot = if inner.is_empty() { "" } else { "." };
                    let _ = write!(fault.path, "documents[{document}]{dot}{inner}");
                }
                fault
            })
            .collect();
        faults.sort_by_key(|fault| (fault.line, fault.column));
        if self.dropped > 0 {
            let (line, column) = faults
                .last()
                .map_or((1, 1), |last| (last.line, last.column));
            let message = format!(
                "{} more faults are not listed; correct these first",
                self.dropped
            );
            faults.push(Fault {
                path: String::new(),
                line,
                column,
                message,
            });
        }
        faults
    }
}
