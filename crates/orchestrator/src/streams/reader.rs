//! Who asks, and who is waited for.

use std::sync::Arc;

use model::id::InstanceId;
use model::time::Wall;
use protocol::message::question::{Logs, RequestId};
use protocol::message::reply::End;

use super::{Child, GRANT, Inbox, Streams};

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Whose output.
    pub instance: InstanceId,
    /// Go on with what will be written.
    pub follow: bool,
    /// Only the last lines of what there is.
    pub tail: Option<u64>,
    /// Only what was written then or later.
    pub since: Option<Wall>,
}

impl Wanted {
    pub(super) fn logs(self, request: RequestId, credit: u64) -> Logs {
        Logs {
            request,
            instance: self.instance,
            follow: self.follow,
            tail: self.tail,
            since: self.since,
            credit,
        }
    }
}

/// What a reader finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Came {
    /// Nothing new.
    Nothing,
    /// The child has heard the question, and there is no text now.
    Heard,
    /// Text.
    Text(String),
    /// Some of it was lost on the way, before the text that comes next.
    Lost,
    /// That was all.
    End(End),
}

/// How far a question is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Nobody has answered yet.
    Waits,
    /// There is an answer.
    Heard,
    /// There is none, or no more of it.
    Ended(End),
}

/// One who reads an answer. The question ends with it.
#[derive(Debug)]
pub struct Reader<K: Child> {
    pub(super) streams: Streams<K>,
    pub(super) child: K,
    pub(super) request: RequestId,
    pub(super) inbox: Arc<Inbox>,
    /// Taken, and not granted again.
    pub(super) owed: u64,
    pub(super) is_over: bool,
}

impl<K: Child> Reader<K> {
    /// What came since; each take lets the child send as much again.
    pub fn take(&mut self) -> Came {
        if self.is_over {
            return Came::Nothing;
        }
        let mut waiting = self.inbox.lock();
        if std::mem::take(&mut waiting.lost) {
            return Came::Lost;
        }
        let text = std::mem::take(&mut waiting.text);
        if !text.is_empty() {
            waiting.heard = false;
            drop(waiting);
            self.owed += text.len() as u64;
            self.pay();
            return Came::Text(text);
        }
        if let Some(end) = waiting.end {
            drop(waiting);
            self.is_over = true;
            return Came::End(end);
        }
        if std::mem::take(&mut waiting.heard) {
            return Came::Heard;
        }
        drop(waiting);
        // One that could not be told before.
        self.pay();
        Came::Nothing
    }

    /// What is known without taking anything: whether the child has heard the question, or how it ended.
    pub fn asked(&self) -> Asked {
        let waiting = self.inbox.lock();
        match waiting.end {
            _ if !waiting.text.is_empty() => Asked::Heard,
            Some(end) => Asked::Ended(end),
            None if waiting.heard => Asked::Heard,
            None => Asked::Waits,
        }
    }

    fn pay(&mut self) {
        if self.owed >= GRANT && self.streams.grant(self.child, &self.request, self.owed) {
            self.owed = 0;
        }
    }
}

impl<K: Child> Drop for Reader<K> {
    fn drop(&mut self) {
        self.streams.leave(self.child, &self.request);
    }
}

/// A question of the parent that a child answers. It ends with this.
#[derive(Debug)]
pub struct Relay<K: Child> {
    pub(super) streams: Streams<K>,
    pub(super) child: K,
    pub(super) request: RequestId,
    /// Granted by the parent, and not told.
    pub(super) owed: u64,
}

impl<K: Child> Relay<K> {
    /// The parent lets more of it be sent. What the child could not be told now goes with the next call, if only of 0.
    pub fn grant(&mut self, bytes: u64) {
        self.owed = self.owed.saturating_add(bytes);
        if self.owed > 0 && self.streams.grant(self.child, &self.request, self.owed) {
            self.owed = 0;
        }
    }

    /// Whether chunks may still come.
    pub fn is_open(&self) -> bool {
        self.streams.lock().open.contains_key(&self.request)
    }
}

impl<K: Child> Drop for Relay<K> {
    fn drop(&mut self) {
        self.streams.leave(self.child, &self.request);
    }
}
