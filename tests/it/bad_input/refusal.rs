//! What must come back over HTTP.

use std::net::SocketAddr;

use serde_json::Value;

use super::exchange::{Answer, Reply, exchange};
use super::rig::{Rig, Tier};
use super::row::{Row, Verdict, clipped};

/// What an answer must be.
#[derive(Debug, Clone, Default)]
pub(crate) struct Refusal {
    statuses: Vec<u16>,
    code: Option<String>,
    words: Vec<String>,
    place: Option<(u64, u64)>,
    path: Option<String>,
    header: Option<(&'static str, String)>,
    /// The server's HTTP reader refuses it, before anything of ours sees it.
    bare: bool,
    closing: bool,
}

/// A problem with this status and code.
pub(crate) fn problem(status: u16, code: &str) -> Refusal {
    Refusal {
        statuses: vec![status],
        code: Some(code.to_owned()),
        ..Refusal::default()
    }
}

/// A bad document whose faults say this; several words with `|` between them must all be there.
pub(crate) fn fault(words: &str) -> Refusal {
    problem(400, "bad_document").says(words)
}

/// An answer with one of these statuses, which need not explain itself.
pub(crate) fn bare(statuses: &[u16]) -> Refusal {
    Refusal {
        statuses: statuses.to_vec(),
        bare: true,
        ..Refusal::default()
    }
}

/// A good answer: what was sent is odd, and allowed.
pub(crate) fn fine(status: u16) -> Refusal {
    bare(&[status])
}

impl Refusal {
    /// All these words, with `|` between them, stand in the detail or in a fault.
    pub(crate) fn says(mut self, words: &str) -> Self {
        self.words.extend(words.split('|').map(str::to_owned));
        self
    }

    /// One of the faults is at this line and column.
    pub(crate) const fn at(mut self, line: u64, column: u64) -> Self {
        self.place = Some((line, column));
        self
    }

    /// One of the faults is of this field.
    pub(crate) fn of(mut self, path: &str) -> Self {
        self.path = Some(path.to_owned());
        self
    }

    /// A header has this in its value.
    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.header = Some((name, value.to_owned()));
        self
    }

    /// Closing the connection without an answer is right, too.
    pub(crate) const fn or_closed(mut self) -> Self {
        self.closing = true;
        self
    }

    /// Whether an answer is so.
    pub(crate) fn judge(&self, answer: &Answer) -> Verdict {
        let reply = match answer {
            Answer::Http(reply) => reply,
            Answer::Closed(_) if self.closing => return Ok(()),
            Answer::Closed(bytes) => {
                return Err(format!("closed after {:?}", String::from_utf8_lossy(bytes)));
            }
        };
        self.judge_reply(reply)
            .map_err(|why| format!("{why}: {} {}", reply.status, clipped(&reply.text)))
    }

    fn judge_reply(&self, reply: &Reply) -> Verdict {
        if !self.statuses.contains(&reply.status) {
            return Err(format!("expected {:?}", self.statuses));
        }
        if let Some((name, value)) = &self.header
            && !reply.header(name).is_some_and(|is| is.contains(value))
        {
            return Err(format!("expected {name}: {value} in {}", reply.head));
        }
        if self.bare {
            return Ok(());
        }
        let body = reply.json();
        is_problem(reply, &body)?;
        if let Some(code) = &self.code
            && body["code"] != code.as_str()
        {
            return Err(format!("expected the code {code}"));
        }
        let told = told(&body);
        let missing = self.words.iter().find(|word| !told.contains(word.as_str()));
        if let Some(word) = missing {
            return Err(format!("{word:?} is not said"));
        }
        let faults: Vec<&Value> = body["errors"].as_array().into_iter().flatten().collect();
        if let Some((line, column)) = self.place
            && !faults
                .iter()
                .any(|fault| fault["line"] == line && fault["column"] == column)
        {
            return Err(format!("no fault at {line}:{column}"));
        }
        if let Some(path) = &self.path
            && !faults.iter().any(|fault| fault["path"] == path.as_str())
        {
            return Err(format!("no fault of {path}"));
        }
        Ok(())
    }
}

/// Whether it is a complete problem, and small.
fn is_problem(reply: &Reply, body: &Value) -> Verdict {
    let typed = reply
        .header("content-type")
        .is_some_and(|is| is.starts_with("application/problem+json"));
    let named = ["type", "title", "detail", "code"]
        .iter()
        .all(|field| body[*field].as_str().is_some_and(|text| !text.is_empty()));
    if !typed || !named || body["status"] != reply.status {
        return Err("no complete problem".to_owned());
    }
    if reply.text.len() > 512 * 1024 {
        return Err(format!("a problem of {} bytes", reply.text.len()));
    }
    let faults: Vec<&Value> = body["errors"].as_array().into_iter().flatten().collect();
    let complete = |fault: &&Value| {
        fault["line"].as_u64() >= Some(1)
            && fault["column"].as_u64() >= Some(1)
            && fault["path"].is_string()
            && fault["message"]
                .as_str()
                .is_some_and(|text| !text.is_empty())
    };
    if !faults.iter().all(complete) || (body["code"] == "bad_document" && faults.is_empty()) {
        return Err("a fault without its place or message".to_owned());
    }
    Ok(())
}

/// All that is told.
fn told(body: &Value) -> String {
    let faults = body["errors"].as_array().into_iter().flatten();
    let messages = faults.filter_map(|fault| fault["message"].as_str());
    let all: Vec<&str> = body["detail"]
        .as_str()
        .into_iter()
        .chain(messages)
        .collect();
    all.join("\n")
}

/// Bytes sent to one tier.
pub(crate) fn row(name: impl Into<String>, tier: Tier, bytes: Vec<u8>, expected: Refusal) -> Row {
    Row::new(name, move |rig: &Rig| {
        ask(rig.http(tier), &bytes, &expected)
    })
}

/// Bytes sent to an address.
pub(crate) fn ask(address: SocketAddr, bytes: &[u8], expected: &Refusal) -> Verdict {
    expected.judge(&exchange(address, bytes)?)
}
