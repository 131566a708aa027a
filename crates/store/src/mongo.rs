//! The store in a database of a `MongoDB` replica set, for levels that must not depend on one machine's disk.
//!
//! # What is there
//! A database holds, for each owner (`root`, `cluster`), a collection of records and one document that says whose they are:
//!
//! ```text
//! root.records  {_id: {t: "jobs", k: "job_01…"}, v: BinData(…)}      k: each byte of the key as the character of that number
//! root.lease    {_id: "lease", product: "edgeio", schema: 2, term: 7, commits: 9120, beat: 431,
//!                holder: {name, url} | null, session: {id}}
//! ```
//!
//! Characters compare as their bytes do, so the index of `_id` has the order that [`Store`] promises. Both collections are
//! made at the first start; there is no other index.
//!
//! # Who may write
//! One program at a time holds the **lease**: it has the current `term`, and counts `beat` up every [`RENEWED_EVERY`] or with a
//! commit. Whoever wants it looks at the document, and takes it when its holder has given it back, or when nothing in it has
//! changed for [`LEASE`] by the own clock: clocks of different machines are never compared. Taking it is one update that
//! matches the term and the counters that were seen, and raises the term.
//!
//! # Why a superseded holder changes nothing
//! A commit is a transaction whose first write matches `term` and `commits` of the lease and raises `commits`. A holder that
//! slept while another one took the lease does not match, nor does a commit that was decided before one whose outcome was
//! unknown: `commits` is read with the records, in one snapshot, so whatever landed in between is noticed.
//!
//! Commits are acknowledged by a majority, which has them in its journals.

mod driver;
mod failure;
mod lease;
mod records;

use std::fmt::{self, Debug, Formatter};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mongodb::ClientSession;
use mongodb::bson::{Document, doc};
use tokio::sync::{Mutex as AsyncMutex, watch};

use self::driver::Driver;
use self::failure::Failed;
pub use self::lease::{Candidate, Holder, Look};
use crate::{Op, Page, Record, Snapshot, Store, StoreError, Table, check_ops, check_table};

/// How long a lease lives that is not renewed, by the clock of whoever watches it.
pub const LEASE: Duration = Duration::from_secs(3);
/// How often a holder renews its lease at least.
pub const RENEWED_EVERY: Duration = Duration::from_millis(500);
/// How long one call waits for the database in all.
const PATIENCE: Duration = Duration::from_secs(6);
/// Between two attempts at a transaction that the server asked to try again.
const PAUSE: Duration = Duration::from_millis(20);

/// A [`Store`] in a database of `MongoDB`, whose lease this program holds.
///
/// Every call blocks; a thread of its own talks to the database, so that it may be called from anywhere.
pub struct Mongo {
    driver: Arc<Driver>,
    /// In which all is committed. One for good: a transaction that was left open ends when the next one begins in its session.
    session: Arc<AsyncMutex<ClientSession>>,
    schema: u32,
    term: i64,
    /// How many commits the caller knows of; `None` when it has to load first.
    known: Mutex<Option<i64>>,
    /// Set when the lease is somebody else's.
    lost: watch::Sender<Option<StoreError>>,
    /// When something of ours was last acknowledged.
    renewed: Arc<Mutex<Instant>>,
}

impl Debug for Mongo {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mongo")
            .field("place", &self.driver.database.place)
            .field("term", &self.term)
            .finish_non_exhaustive()
    }
}

impl Mongo {
    /// With a lease that was just taken.
    fn holding(
        (driver, session): (Arc<Driver>, ClientSession),
        schema: u32,
        term: i64,
        commits: i64,
    ) -> Self {
        let renewed = Arc::new(Mutex::new(Instant::now()));
        let (lost, _) = watch::channel(None);
        let renewing = lease::renew(
            driver.database.clone(),
            term,
            Arc::clone(&renewed),
            lost.clone(),
        );
        driver.spawn(renewing);
        Self {
            driver,
            session: Arc::new(AsyncMutex::new(session)),
            schema,
            term,
            known: Mutex::new(Some(commits)),
            lost,
            renewed,
        }
    }

    /// Tells when the lease is lost, and why: whoever holds this store must then stop deciding. Nothing of it is stored any
    /// more anyway.
    pub fn lost(&self) -> watch::Receiver<Option<StoreError>> {
        self.lost.subscribe()
    }

    /// The number of this lease; each one that is taken has a greater one.
    pub fn term(&self) -> u64 {
        self.term.unsigned_abs()
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Option<i64>> {
        // What it holds is set last, so a panic in between leaves it true.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn place(&self) -> &str {
        &self.driver.database.place
    }
}

impl Store for Mongo {
    fn load(&self) -> Result<Vec<Record>, StoreError> {
        let mut known = self.known();
        let database = self.driver.database.clone();
        let loaded = self
            .driver
            .wait("load", async move { database.load().await });
        let (lease, records) = loaded?.map_err(|failed| failed.of("load", self.place()))?;
        // What a lease of somebody else counts says nothing about what may be built on these records.
        *known = lease
            .filter(|lease| lease.term == self.term)
            .map(|lease| lease.commits);
        Ok(records)
    }

    fn commit(&self, ops: &[Op]) -> Result<(), StoreError> {
        check_ops(ops)?;
        if ops.is_empty() {
            return Ok(());
        }
        let mut known = self.known();
        let Some(commits) = *known else {
            return Err(self.lost.borrow().clone().unwrap_or(StoreError::Stale {
                source: Box::new(StoreError::Unknown {
                    database: self.place().to_owned(),
                }),
            }));
        };
        // Whatever happens from here on, the outcome is unknown until it is known.
        *known = None;
        let changes = records::changes(ops);
        let (database, term) = (self.driver.database.clone(), self.term);
        let session = Arc::clone(&self.session);
        let committed = self.driver.wait("commit to", async move {
            let mut session = session.lock().await;
            database
                .commit(&mut session, &changes, (term, commits))
                .await
        })?;
        let Err(failed) = committed else {
            *known = Some(commits + 1);
            *self.renewed.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
            return Ok(());
        };
        if matches!(failed, Failed::Untouched(_)) {
            *known = Some(commits);
        }
        let error = failed.of("commit to", self.place());
        if matches!(error, StoreError::Superseded { .. }) {
            self.lost.send_replace(Some(error.clone()));
        }
        Err(error)
    }

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        check_table(table)?;
        let id = records::id(table.0, key);
        let database = self.driver.database.clone();
        let found = self
            .driver
            .wait("read", async move { database.get(id).await });
        found?.map_err(|failed| failed.of("read", self.place()))
    }

    fn range(&self, page: &Page<'_>) -> Result<Vec<Record>, StoreError> {
        check_table(page.table)?;
        if page.limit == 0 {
            return Ok(Vec::new());
        }
        let (filter, order) = records::within(page);
        let (database, limit) = (self.driver.database.clone(), page.limit);
        let found = self.driver.wait(
            "read",
            async move { database.range(filter, order, limit).await },
        );
        found?.map_err(|failed| failed.of("read", self.place()))
    }

    /// The lease is this program's for certain: it was renewed a moment ago. When it could not be, somebody else may have taken
    /// it, and what is read here may be old.
    fn is_sure(&self) -> bool {
        let renewed = *self.renewed.lock().unwrap_or_else(PoisonError::into_inner);
        self.lost.borrow().is_none() && renewed.elapsed() < LEASE
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        let database = self.driver.database.clone();
        let begun = self
            .driver
            .wait("read", async move { database.stream().await });
        let stream = begun?.map_err(|failed| failed.of("read", self.place()))?;
        Ok(Box::new(records::Slices {
            driver: Arc::clone(&self.driver),
            stream: Some(stream),
            schema: self.schema,
        }))
    }
}

impl Drop for Mongo {
    /// Gives the lease back, so that the next one need not wait until it has ended.
    fn drop(&mut self) {
        self.lost.send_replace(Some(StoreError::Closed));
        let (database, term) = (self.driver.database.clone(), self.term);
        let given_back = self.driver.wait("give back", async move {
            let release = database.leases.update_one(
                doc! {"_id": lease::ID, "term": term},
                doc! {"$set": {"holder": null}, "$inc": {"beat": 1}},
            );
            tokio::time::timeout(Duration::from_secs(2), release).await
        });
        if !matches!(given_back, Ok(Ok(Ok(_)))) {
            tracing::warn!(
                database = self.place(),
                "the lease is not given back; it ends by itself"
            );
        }
    }
}

/// A document without what cannot be read in it.
fn text(document: &Document, field: &str) -> String {
    document.get_str(field).unwrap_or_default().to_owned()
}

#[cfg(test)]
pub(crate) mod tests;
