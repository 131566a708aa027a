//! What a decision is: what to persist, and what to do afterwards.

use crate::{Action, Soft, Write};

/// First persist `writes`, then perform `actions`.
#[must_use = "a decision that is dropped never happens"]
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Decision {
    /// In order.
    pub writes: Vec<Write>,
    /// In order.
    pub actions: Vec<Action>,
}

impl Decision {
    pub(crate) fn write(mut self, write: Write) -> Self {
        self.writes.push(write);
        self
    }

    pub(crate) fn soft(self, soft: Soft) -> Self {
        self.write(Write::Soft(soft))
    }

    pub(crate) fn act(mut self, action: Action) -> Self {
        self.actions.push(action);
        self
    }

    pub(crate) fn and(mut self, other: Self) -> Self {
        self.writes.extend(other.writes);
        self.actions.extend(other.actions);
        self
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.actions.is_empty()
    }
}
