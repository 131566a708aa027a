//! Forgetting tokens that have expired.

use model::access::{AccessWrite, Entry};

use super::record::Write;
use super::{Access, Book, NotChanged};
use crate::clock;

/// Tokens that are forgotten in one change at most.
const SLICE: usize = 1_000;

impl Access {
    /// Forgets tokens that have expired: they give nothing, but they count against how many there may be.
    ///
    /// # Errors
    /// When it cannot be stored.
    pub async fn forget_expired(&self) -> Result<(), NotChanged> {
        let now = clock::now().wall;
        // Most of the time there is none, and nobody waits for that.
        if self.book().access.expired(now).is_none() {
            return Ok(());
        }
        let decide = |book: &Book| {
            let expired = book.access.tokens().filter(|token| token.is_expired(now));
            let forget = |id| Write::Access(AccessWrite::Forget(Entry::Token(id)));
            let writes = expired.take(SLICE).map(|token| forget(token.id));
            Ok((writes.collect(), ()))
        };
        self.change(decide).await
    }
}
