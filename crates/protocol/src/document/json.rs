//! JSON bodies as the same located tree.
//!
//! `serde_json` decides whether the body is JSON; the reader here only walks what it accepted, to keep line and column
//! of every value, which `serde_json` does not hand out. It reads no further than the depth limit.

use std::collections::BTreeSet;

use serde::de::IgnoredAny;

use super::fault::{Faults, Position, Segment};
use super::tree::{Entry, Kind, Node};
use super::{MAX_DEPTH, MAX_EVENTS};

/// Reads one JSON value. What is refused goes to `faults`.
pub(crate) fn json(text: &str, faults: &mut Faults) -> Option<Node> {
    if let Err(error) = serde_json::from_str::<IgnoredAny>(text) {
        let what = error.to_string();
        let what = what.split(" at line ").next().unwrap_or(&what);
        let at = Position::new(error.line().max(1), error.column().max(1));
        faults.add(
            "",
            at,
            format!("this is no JSON: {what}; check quotes, commas and brackets"),
        );
        return None;
    }
    let mut reader = Reader {
        rest: text,
        at: Position::START,
        path: Vec::new(),
        values: 0,
        faults,
    };
    reader.value()
}

struct Reader<'a, 'f> {
    rest: &'a str,
    at: Position,
    path: Vec<Segment>,
    values: usize,
    faults: &'f mut Faults,
}

impl<'a> Reader<'a, '_> {
    /// The next value; `None` after a fault that ends the reading.
    fn value(&mut self) -> Option<Node> {
        self.skip_space();
        let at = self.at;
        self.values += 1;
        if self.values > MAX_EVENTS {
            return self.stop(
                at,
                format!(
                    "the body has more than {MAX_EVENTS} values; split it into several requests"
                ),
            );
        }
        if self.path.len() > MAX_DEPTH {
            return self.stop(
                at,
                format!(
                    "lists and objects are nested deeper than {MAX_DEPTH}; flatten the document"
                ),
            );
        }
        let kind = match self.peek()? {
            '{' => self.object()?,
            '[' => self.array()?,
            '"' => Kind::Text(self.string()?),
            _ => match self
                .take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
            {
                "null" => Kind::Null,
                "true" => Kind::Bool(true),
                "false" => Kind::Bool(false),
                number => Kind::Number(number.to_owned()),
            },
        };
        Some(Node { at, kind })
    }

    fn object(&mut self) -> Option<Kind> {
        let (mut entries, mut keys) = (Vec::new(), BTreeSet::new());
        self.advance();
        self.skip_space();
        while self.peek()? != '}' {
            let at = self.at;
            let key = self.string()?;
            self.skip_past(':');
            self.path.push(Segment::Key(key.clone()));
            let value = self.value()?;
            if keys.insert(key.clone()) {
                entries.push(Entry { key, at, value });
            } else {
                let path = Segment::render(&self.path);
                self.faults
                    .add(&path, at, "this key is given twice; keep one of them");
            }
            self.path.pop();
            self.skip_past(',');
        }
        self.advance();
        Some(Kind::Map(entries))
    }

    fn array(&mut self) -> Option<Kind> {
        let mut items = Vec::new();
        self.advance();
        self.skip_space();
        while self.peek()? != ']' {
            self.path.push(Segment::Index(items.len()));
            items.push(self.value()?);
            self.path.pop();
            self.skip_past(',');
        }
        self.advance();
        Some(Kind::List(items))
    }

    /// A string with its quotes; escapes are undone by `serde_json`.
    fn string(&mut self) -> Option<String> {
        let (at, whole) = (self.at, self.rest);
        self.advance();
        loop {
            match self.peek()? {
                '"' => break,
                '\\' => {
                    self.advance();
                    self.advance();
                }
                _ => self.advance(),
            }
        }
        self.advance();
        let quoted = whole.get(..whole.len() - self.rest.len())?;
        match serde_json::from_str(quoted) {
            Ok(text) => Some(text),
            Err(_) => self.stop(
                at,
                "this string has half of a surrogate pair; write the character itself".to_owned(),
            ),
        }
    }

    fn stop<T>(&mut self, at: Position, message: String) -> Option<T> {
        let path = Segment::render(&self.path);
        self.faults.add(&path, at, message);
        None
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn advance(&mut self) {
        let mut chars = self.rest.chars();
        match chars.next() {
            Some('\n') => {
                self.at = Position {
                    line: self.at.line + 1,
                    column: 1,
                }
            }
            Some(_) => self.at.column += 1,
            None => {}
        }
        self.rest = chars.as_str();
    }

    fn take_while(&mut self, accept: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !accept(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.at.column += taken.len() as u64;
        self.rest = rest;
        taken
    }

    fn skip_space(&mut self) {
        while self
            .peek()
            .is_some_and(|c| matches!(c, ' ' | '\t' | '\r' | '\n'))
        {
            self.advance();
        }
    }

    /// Skips white space around one separator, where it is there.
    fn skip_past(&mut self, separator: char) {
        self.skip_space();
        if self.peek() == Some(separator) {
            self.advance();
        }
        self.skip_space();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Option<Node>, Vec<super::super::Fault>) {
        let mut faults = Faults::default();
        let node = json(text, &mut faults);
        (node, faults.finish(1))
    }

    #[test]
    fn json_keeps_places_and_undoes_escapes() {
        let (node, faults) = read("{\n\t\"a\" : [1.5, \"x\\u00e9\\\"\", true, null],\n \"b\":{}}");
        assert_eq!(faults, []);
        let Some(Node {
            kind: Kind::Map(entries),
            ..
        }) = node
        else {
            panic!("no object")
        };
        let Kind::List(items) = &entries[0].value.kind else {
            panic!("no list")
        };
        assert_eq!(
            items[0],
            Node {
                at: Position::new(2, 9),
                kind: Kind::Number("1.5".to_owned())
            }
        );
        assert_eq!(
            items[1],
            Node {
                at: Position::new(2, 14),
                kind: Kind::Text("xé\"".to_owned())
            }
        );
        assert_eq!(
            (entries[1].at, entries[1].value.at),
            (Position::new(3, 2), Position::new(3, 6))
        );
    }

    #[test]
    fn what_is_no_json_is_told_with_its_place() {
        for (bad, line, column) in [
            ("{\n a: 1}", 2, 2),
            ("{\"a\": 1,}", 1, 9),
            ("[1] x", 1, 5),
            ("{\"a\": 'x'}", 1, 7),
            ("{\"a\": 01}", 1, 8),
        ] {
            let (node, faults) = read(bad);
            assert!(
                node.is_none() && faults[0].message.contains("no JSON"),
                "{bad}"
            );
            assert_eq!((faults[0].line, faults[0].column), (line, column), "{bad}");
        }
        assert!(
            read("\"\\ud800\"").1[0].message.contains("JSON")
                || read("\"\\ud800\"").1[0].message.contains("surrogate")
        );
    }

    #[test]
    fn deep_nesting_and_many_values_stop_early() {
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        assert!(read(&deep).1[0].message.contains("deeper"));
        let many = format!("[{}1]", "1,".repeat(20_000));
        assert!(read(&many).1[0].message.contains("more than"));
    }
}
