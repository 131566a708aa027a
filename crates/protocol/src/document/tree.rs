//! A document as a tree whose every node knows where it stands.
//!
//! The tree is built from the parser's events, never from its values: no alias is followed, no tag is obeyed and no
//! scalar is converted, so the work is linear in the size of the body and the depth of the tree is bounded.

use std::collections::BTreeSet;

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span};

use super::fault::{Faults, Position, Segment, clip};
use super::{MAX_DEPTH, MAX_DOCUMENTS, MAX_EVENTS};

/// A value and where it begins.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    /// Where it begins.
    pub(crate) at: Position,
    /// What it is.
    pub(crate) kind: Kind,
}

/// What a value is, by the YAML 1.2 core schema.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    /// Nothing, `null` or `~`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A plain scalar that YAML reads as a number, as written.
    Number(String),
    /// Everything else that is one scalar.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A mapping, in the order of the body, without repeated keys.
    Map(Vec<Entry>),
    /// Something whose fault is already told.
    Refused,
}

/// One field of a mapping.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    /// Its key.
    pub(crate) key: String,
    /// Where the key begins.
    pub(crate) at: Position,
    /// Its value.
    pub(crate) value: Node,
}

/// Reads all documents of a YAML stream, without the empty ones. What is refused goes to `faults`.
pub(crate) fn yaml(text: &str, faults: &mut Faults) -> Vec<Node> {
    let options = granit_parser::options! {
        emit_comments: false,
        emit_unresolved_aliases: true,
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    };
    let mut parser = Parser::new_from_str_with_options(text, options);
    let mut builder = Builder {
        frames: Vec::new(),
        documents: Vec::new(),
        faults,
        events: 0,
    };
    while let Some(next) = parser.next_event() {
        match next {
            Ok((event, span)) => {
                if builder.event(event, &span).is_break() {
                    break;
                }
            }
            Err(error) => {
                builder.syntax(&error);
                // The documents after a broken one are read too: their faults are told in the same answer.
                if !matches!(parser.proceed_next_document(), Ok(true)) {
                    break;
                }
            }
        }
    }
    builder.documents
}

/// A list or mapping that is not closed yet.
enum Frame {
    List {
        at: Position,
        items: Vec<Node>,
    },
    Map {
        at: Position,
        entries: Vec<Entry>,
        keys: BTreeSet<String>,
        key: Option<(String, Position)>,
    },
}

struct Builder<'f> {
    frames: Vec<Frame>,
    documents: Vec<Node>,
    faults: &'f mut Faults,
    events: usize,
}

type Flow = std::ops::ControlFlow<()>;

impl Builder<'_> {
    fn event(&mut self, event: Event<'_>, span: &Span) -> Flow {
        let at = position(span);
        self.events += 1;
        if self.events > MAX_EVENTS {
            self.fault(at, format!("the body has more than {MAX_EVENTS} keys and values; split it into several requests"));
            return Flow::Break(());
        }
        match event {
            Event::DocumentStart(..) if self.documents.len() >= MAX_DOCUMENTS => {
                self.fault(
                    at,
                    format!(
                        "more than {MAX_DOCUMENTS} documents; split them into several requests"
                    ),
                );
                Flow::Break(())
            }
            Event::Scalar(value, style, anchor, tag) => {
                let kind = if self.refuse_properties(span, anchor, tag.as_deref()) {
                    Kind::Refused
                } else if style == ScalarStyle::Plain {
                    plain(&value)
                } else {
                    Kind::Text(value.clone().into_owned())
                };
                self.scalar(at, &value, kind);
                Flow::Continue(())
            }
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                self.fault(
                    at,
                    "aliases (*name) are not supported; write the value out".to_owned(),
                );
                self.scalar(at, "*", Kind::Refused);
                Flow::Continue(())
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.refuse_properties(span, anchor, tag.as_deref());
                self.open(
                    Frame::List {
                        at,
                        items: Vec::new(),
                    },
                    at,
                )
            }
            Event::MappingStart(_, anchor, tag) => {
                self.refuse_properties(span, anchor, tag.as_deref());
                self.open(
                    Frame::Map {
                        at,
                        entries: Vec::new(),
                        keys: BTreeSet::new(),
                        key: None,
                    },
                    at,
                )
            }
            Event::SequenceEnd | Event::MappingEnd => {
                match self.frames.pop() {
                    Some(Frame::List { at, items }) => self.complete(Node {
                        at,
                        kind: Kind::List(items),
                    }),
                    Some(Frame::Map { at, entries, .. }) => self.complete(Node {
                        at,
                        kind: Kind::Map(entries),
                    }),
                    None => {}
                }
                Flow::Continue(())
            }
            // Starts and ends of the stream carry nothing; the enum is open for events that we did not ask for.
            _ => Flow::Continue(()),
        }
    }

    fn open(&mut self, frame: Frame, at: Position) -> Flow {
        if let Some(Frame::Map { key: None, .. }) = self.frames.last() {
            self.fault(at, "a key must be one word; write `key: value`".to_owned());
            return Flow::Break(());
        }
        if self.frames.len() >= MAX_DEPTH {
            self.fault(
                at,
                format!(
                    "lists and mappings are nested deeper than {MAX_DEPTH}; flatten the document"
                ),
            );
            return Flow::Break(());
        }
        self.frames.push(frame);
        Flow::Continue(())
    }

    /// A scalar is a key where its mapping waits for one, else a value.
    fn scalar(&mut self, at: Position, text: &str, kind: Kind) {
        if let Some(Frame::Map {
            key: key @ None, ..
        }) = self.frames.last_mut()
        {
            *key = Some((text.to_owned(), at));
        } else {
            self.complete(Node { at, kind });
        }
    }

    fn complete(&mut self, node: Node) {
        match self.frames.last_mut() {
            None => {
                if node.kind != Kind::Null {
                    self.documents.push(node);
                    self.faults.next_document();
                }
            }
            Some(Frame::List { items, .. }) => items.push(node),
            Some(Frame::Map {
                entries, keys, key, ..
            }) => {
                let Some((name, at)) = key.take() else { return };
                if keys.insert(name.clone()) {
                    entries.push(Entry {
                        key: name,
                        at,
                        value: node,
                    });
                } else {
                    *key = Some((name, at));
                    self.fault(at, "this key is given twice; keep one of them".to_owned());
                    if let Some(Frame::Map { key, .. }) = self.frames.last_mut() {
                        *key = None;
                    }
                }
            }
        }
    }

    /// Anchors and tags: neither is ever needed, and both are how documents attack their readers.
    fn refuse_properties(
        &mut self,
        span: &Span,
        anchor: usize,
        tag: Option<&granit_parser::Tag>,
    ) -> bool {
        let at = position(span);
        if anchor > 0 {
            self.fault(
                at,
                "anchors (&name) are not supported; remove it and write values out".to_owned(),
            );
        }
        if let Some(tag) = tag {
            let at = span
                .tag_start
                .map_or(at, |start| Position::new(start.line(), start.col() + 1));
            self.fault(
                at,
                format!(
                    "tags ({}) are not supported; remove it",
                    clip(&tag.original())
                ),
            );
        }
        anchor > 0 || tag.is_some()
    }

    fn syntax(&mut self, error: &ScanError) {
        let at = Position::new(error.marker().line(), error.marker().col() + 1);
        self.fault(
            at,
            format!(
                "this is no YAML: {}; check indentation, quotes and brackets",
                error.kind()
            ),
        );
        self.frames.clear();
        self.documents.push(Node {
            at,
            kind: Kind::Refused,
        });
        self.faults.next_document();
    }

    fn fault(&mut self, at: Position, message: String) {
        let path: Vec<Segment> = self
            .frames
            .iter()
            .filter_map(|frame| match frame {
                Frame::List { items, .. } => Some(Segment::Index(items.len())),
                Frame::Map { key, .. } => key.as_ref().map(|(key, _)| Segment::Key(key.clone())),
            })
            .collect();
        self.faults.add(&Segment::render(&path), at, message);
    }
}

fn position(span: &Span) -> Position {
    Position::new(span.start.line(), span.start.col() + 1)
}

/// What a plain scalar is in the core schema (YAML 1.2.2, section 10.3.2).
fn plain(text: &str) -> Kind {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Kind::Null,
        "true" | "True" | "TRUE" => Kind::Bool(true),
        "false" | "False" | "FALSE" => Kind::Bool(false),
        _ if is_number(text) => Kind::Number(text.to_owned()),
        _ => Kind::Text(text.to_owned()),
    }
}

fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    if let Some(digits) = text.strip_prefix("0x") {
        return !digits.is_empty() && digits.chars().all(|c| c.is_ascii_hexdigit());
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return !digits.is_empty() && digits.chars().all(|c| ('0'..='7').contains(&c));
    }
    unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && unsigned.contains(|c: char| c.is_ascii_digit())
        && unsigned
            .chars()
            .all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-'))
        && unsigned.parse::<f64>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_follow_the_core_schema() {
        for number in [
            "2", "-1", "+3", "0.5", ".5", "5.", "1e309", "1E-3", "0x1F", "0o17", ".inf", "-.INF",
            ".nan", "007",
        ] {
            assert_eq!(plain(number), Kind::Number(number.to_owned()));
        }
        for text in [
            "yes", "no", "on", "1_000", "1.2.3", "10s", "8080:80", "0x", "0xg", "inf", "nan", "1e",
            ".", "-", "0b1", "e5",
        ] {
            assert_eq!(plain(text), Kind::Text(text.to_owned()));
        }
        assert_eq!(
            (plain("~"), plain("null"), plain("True")),
            (Kind::Null, Kind::Null, Kind::Bool(true))
        );
    }
}
