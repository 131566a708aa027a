//! When each token was last used.
//!
//! It is noted in memory at each request, and stored once a minute and at the end: after a crash it may be a minute old.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use model::access::AccessBook;
use model::id::TokenId;
use model::time::Wall;
use protocol::stored::access::StoredUse;
use protocol::stored::{RecordError, json, key};
use store::{Op, Table};
use tokio_util::sync::CancellationToken;

use super::Access;

pub(super) const TOKEN_USE: Table = Table("token_use");
/// Between two times that it is stored.
const STORED_EVERY: Duration = Duration::from_mins(1);
/// What is nearer than that is the same time, in milliseconds: tokens that are used all the time are only looked at.
const SAME: i64 = 1_000;

/// Uses of tokens; only of those that are known.
#[derive(Debug, Default)]
pub(super) struct Uses {
    last: RwLock<HashMap<TokenId, AtomicI64>>,
    /// What the store has.
    stored: Mutex<BTreeMap<TokenId, Wall>>,
}

impl Uses {
    pub(super) fn new(stored: BTreeMap<TokenId, Wall>) -> Self {
        let last = stored.iter().map(|(id, at)| (*id, AtomicI64::new(at.0)));
        Self {
            last: RwLock::new(last.collect()),
            stored: Mutex::new(stored),
        }
    }

    /// It is used now.
    pub(super) fn note(&self, id: TokenId, now: Wall) {
        let last = self.last.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = last.get(&id) {
            if now.0 - at.load(Ordering::Relaxed) >= SAME {
                at.fetch_max(now.0, Ordering::Relaxed);
            }
            return;
        }
        drop(last);
        let mut last = self.last.write().unwrap_or_else(PoisonError::into_inner);
        last.entry(id)
            .or_default()
            .fetch_max(now.0, Ordering::Relaxed);
    }

    /// When it was used last.
    pub(super) fn last(&self, id: TokenId) -> Option<Wall> {
        let last = self.last.read().unwrap_or_else(PoisonError::into_inner);
        last.get(&id).map(|at| Wall(at.load(Ordering::Relaxed)))
    }

    /// What the store is to have, without tokens that are gone, and how it comes to that.
    fn news(&self, book: &AccessBook) -> Result<(BTreeMap<TokenId, Wall>, Vec<Op>), RecordError> {
        let known = |id: &TokenId| book.token(*id).is_some();
        let mut last = self.last.write().unwrap_or_else(PoisonError::into_inner);
        last.retain(|id, _| known(id));
        let now: BTreeMap<TokenId, Wall> = last
            .iter()
            .map(|(id, at)| (*id, Wall(at.load(Ordering::Relaxed))))
            .collect();
        drop(last);
        let stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        let mut ops = Vec::new();
        for (id, at) in now.iter().filter(|(id, at)| stored.get(id) != Some(at)) {
            let value = json(TOKEN_USE.0, &StoredUse { at: *at })?;
            ops.push(Op::put(TOKEN_USE, key::id(id.bits()), value));
        }
        let gone = stored.keys().filter(|id| !now.contains_key(id));
        ops.extend(gone.map(|id| Op::delete(TOKEN_USE, key::id(id.bits()))));
        Ok((now, ops))
    }
}

impl Access {
    /// When a token was last used.
    pub fn last_use(&self, id: TokenId) -> Option<Wall> {
        self.0.uses.last(id)
    }

    /// Stores when tokens were used, once a minute and at the end.
    pub async fn store_uses(self, shutdown: CancellationToken) {
        loop {
            // Cancel-safe: only time passes.
            let ended = tokio::time::timeout(STORED_EVERY, shutdown.cancelled()).await;
            self.put_uses().await;
            if ended.is_ok() {
                return;
            }
        }
    }

    pub(super) async fn put_uses(&self) {
        // Not between the decision of a change and its commit: a token that is forgotten leaves nothing behind.
        let _turn = self.0.turn.lock().await;
        let uses = &self.0.uses;
        let stored = match uses.news(&self.book().access) {
            Ok((_, ops)) if ops.is_empty() => return,
            Ok((now, ops)) => {
                let store = Arc::clone(&self.0.store);
                let committed = tokio::task::spawn_blocking(move || store.commit(&ops)).await;
                matches!(committed, Ok(Ok(()))).then_some(now)
            }
            Err(_) => None,
        };
        if let Some(now) = stored {
            *uses.stored.lock().unwrap_or_else(PoisonError::into_inner) = now;
        } else {
            // The next time has all of it.
            tracing::warn!("when tokens were last used is not stored now");
        }
    }
}
