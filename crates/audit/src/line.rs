//! One line, and the chain that it is a link of.

use std::io::{self, BufRead, Read, Write};

use serde::{Deserialize, Serialize};

use crate::{Decision, Digest, Record, Subject, Tier};

/// The version of the format.
const VERSION: u32 = 1;
/// More than any line has: six clipped texts of which every byte is escaped take 37 KiB.
const LINE_BYTES: u64 = 64 * 1_024;

/// A line as the next one continues it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) number: u64,
    pub(crate) hash: Digest,
}

impl Link {
    /// What line 1 continues.
    pub(crate) const START: Self = Self {
        number: 0,
        hash: Digest::ZERO,
    };
}

/// What is to become a line.
#[derive(Debug)]
pub(crate) enum Entry {
    Record(Box<Record>),
    Note(Note),
}

/// What the log says about itself; the module comment of the crate has the words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Note {
    Cut { bytes: u64 },
    Lost { records: u64 },
    Removed { before: u64, previous: String },
    Headless,
    Astray { found: u64 },
}

impl Note {
    /// That the files before the one whose first line continues `link` are removed.
    pub(crate) fn removed(link: Link) -> Self {
        Self::Removed {
            before: link.number.saturating_add(1),
            previous: link.hash.to_string(),
        }
    }
}

/// A line without its hash, in the order of its members.
#[derive(Serialize, Default)]
struct Line<'a> {
    v: u32,
    number: u64,
    time: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<&'a Note>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tier: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    who: Option<Who<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verb: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<&'a str>,
    previous: String,
}

#[derive(Serialize)]
struct Who<'a> {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
}

impl<'a> Line<'a> {
    fn of(entry: &'a Entry, time: &'a str, last: Link) -> Self {
        let line = Self {
            v: VERSION,
            number: last.number.saturating_add(1),
            time,
            previous: last.hash.to_string(),
            ..Self::default()
        };
        let record = match entry {
            Entry::Note(note) => {
                return Self {
                    log: Some(note),
                    ..line
                };
            }
            Entry::Record(record) => record,
        };
        let (decision, reason) = match &record.decision {
            Decision::Granted => ("granted", None),
            Decision::Denied(reason) => ("denied", Some(reason.as_str())),
            Decision::Hidden(reason) => ("hidden", Some(reason.as_str())),
            Decision::Refused(reason) => ("refused", Some(reason.as_str())),
        };
        let (kind, id) = match &record.who {
            Subject::Anonymous => ("anonymous", None),
            Subject::User(id) => ("user", Some(id.as_str())),
            Subject::Cluster(id) => ("cluster", Some(id.as_str())),
            Subject::Worker(id) => ("worker", Some(id.as_str())),
        };
        Self {
            tier: Some(match record.tier {
                Tier::Root => "root",
                Tier::Cluster => "cluster",
                Tier::Worker => "worker",
            }),
            who: Some(Who { kind, id }),
            from: record.from.map(|from| from.to_string()),
            verb: Some(&record.verb),
            resource: Some(&record.resource),
            decision: Some(decision),
            reason,
            before: record.before.map(|digest| digest.to_string()),
            after: record.after.map(|digest| digest.to_string()),
            request: record.request.as_deref(),
            ..line
        }
    }
}

/// Adds the line of an entry, which continues `last`; a note has no time of its own.
pub(crate) fn append(
    lines: &mut Vec<u8>,
    entry: &Entry,
    time: &str,
    last: Link,
) -> io::Result<Link> {
    let line = Line::of(entry, time, last);
    let text = serde_json::to_string(&line)?;
    // The brace at the end comes after the hash.
    let body = ascii(text.strip_suffix('}').unwrap_or(&text));
    let hash = Digest::of(body.as_bytes());
    writeln!(lines, "{body}{}", ending(hash))?;
    Ok(Link {
        number: line.number,
        hash,
    })
}

/// JSON without anything that a terminal could take for more than a sign to show.
fn ascii(json: &str) -> String {
    use std::fmt::Write;
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        if matches!(c, ' '..='~') {
            escaped.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Text takes whatever is written to it.
                let _ = write!(escaped, "\\u{unit:04x}");
            }
        }
    }
    escaped
}

/// What follows the bytes that the hash is of.
fn ending(hash: Digest) -> String {
    format!(",\"hash\":\"{hash}\"}}")
}

/// What is wrong with a place of a log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The bytes are others than those that were written.
    #[error("the line was changed: its hash is not that of its bytes")]
    Changed,
    /// The hash fits, but this program never wrote such a line.
    #[error("this is no line of an audit log")]
    Foreign,
    /// A later program wrote it.
    #[error("the line has version {0}, and this program reads version {VERSION}; use a newer one")]
    Newer(u32),
    /// The line has no end.
    #[error("the line is cut off")]
    CutOff,
    /// Lines are missing, doubled, inserted or moved.
    #[error("line number {due} must stand here, and number {found} does")]
    Number {
        /// The number after that of the line before.
        due: u64,
        /// The number of this line.
        found: u64,
    },
    /// Another line was before this one when it was written.
    #[error("the line does not continue the one before it")]
    Chain,
    /// The beginning is missing.
    #[error(
        "the log begins with line number {first}, and no line of it says that it removed what was before"
    )]
    Front {
        /// The number of the first line.
        first: u64,
    },
    /// The end is missing.
    #[error("the log ends with line number {last}, and audit.head knows of line number {head}")]
    End {
        /// The number of the last line.
        last: u64,
        /// The number in `audit.head`.
        head: u64,
    },
    /// The last line that was known is another one.
    #[error("audit.head has another hash for line number {0}")]
    Head(u64),
    /// `audit.head` is not there, or has no number and hash.
    #[error("there is no number and hash of the last line")]
    Headless,
}

/// A line that is sound in itself.
#[derive(Debug)]
pub(crate) struct Sound {
    /// What it says that it continues.
    pub(crate) before: Link,
    /// What the next one continues.
    pub(crate) link: Link,
    pub(crate) note: Option<Note>,
}

/// What of a line matters to the chain.
#[derive(Deserialize)]
struct Members {
    v: u32,
    number: u64,
    log: Option<Note>,
    previous: String,
}

#[derive(Deserialize)]
struct Version {
    v: u32,
}

impl Sound {
    /// Reads a line, without the end of line.
    pub(crate) fn read(line: &[u8]) -> Result<Self, Fault> {
        Self::parse(line).map_err(|fault| match serde_json::from_slice(line) {
            Ok(Version { v }) if v > VERSION => Fault::Newer(v),
            Ok(_) | Err(_) => fault,
        })
    }

    fn parse(line: &[u8]) -> Result<Self, Fault> {
        let body = line.len().checked_sub(ending(Digest::ZERO).len());
        let (body, end) = body
            .and_then(|body| line.split_at_checked(body))
            .ok_or(Fault::Changed)?;
        let hash = Digest::of(body);
        if end != ending(hash).as_bytes() {
            return Err(Fault::Changed);
        }
        let members: Members = serde_json::from_slice(line).map_err(|_| Fault::Foreign)?;
        let previous = Digest::parse(&members.previous).ok_or(Fault::Foreign)?;
        let before = members.number.checked_sub(1).ok_or(Fault::Foreign)?;
        if members.v != VERSION {
            return Err(Fault::Foreign);
        }
        Ok(Self {
            before: Link {
                number: before,
                hash: previous,
            },
            link: Link {
                number: members.number,
                hash,
            },
            note: members.log,
        })
    }

    /// Whether it stands in its place, after `last`.
    pub(crate) fn continues(&self, last: Link) -> Result<(), Fault> {
        if self.before.number != last.number {
            return Err(Fault::Number {
                due: last.number.saturating_add(1),
                found: self.link.number,
            });
        }
        if self.before.hash != last.hash {
            return Err(Fault::Chain);
        }
        Ok(())
    }
}

/// Reads lines with bounded memory.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    reader: R,
    line: Vec<u8>,
}

/// What comes next in a file.
#[derive(Debug)]
pub(crate) enum Next<'a> {
    /// A line, without its end; or the beginning of something that is too long for one.
    Line(&'a [u8]),
    /// So many bytes, and no end of line.
    CutOff(u64),
    /// Nothing.
    End,
}

impl<R: BufRead> Lines<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self {
            reader,
            line: Vec::new(),
        }
    }

    pub(crate) fn next(&mut self) -> io::Result<Next<'_>> {
        self.line.clear();
        let mut reader = self.reader.by_ref().take(LINE_BYTES);
        let bytes = reader.read_until(b'\n', &mut self.line)? as u64;
        Ok(match self.line.strip_suffix(b"\n") {
            Some(line) => Next::Line(line),
            None if bytes == LINE_BYTES => Next::Line(&self.line),
            None if bytes == 0 => Next::End,
            None => Next::CutOff(bytes),
        })
    }
}
