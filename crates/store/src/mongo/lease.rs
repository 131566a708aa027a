//! The lease: who may write, how it is taken, kept and lost.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mongodb::bson::{Bson, Document, doc};
use mongodb::options::ReturnDocument;
use tokio::sync::watch;

use super::driver::{Database, Driver};
use super::failure::{self, foreign};
use super::{LEASE, Mongo, RENEWED_EVERY, text};
use crate::{MongoUrl, Options, Record, Snapshot, StoreError};

/// The `_id` of the document.
pub(super) const ID: &str = "lease";
/// What tells that a document is one of ours.
const PRODUCT: &str = "edgeio";

/// Says of a store that was carried away where it is now.
const MOVED: &str = "moved_to";
/// Says of a store that not all of its records are there.
const HALF_MADE: &str = "half_made";
/// Bytes of records that are written together where a store is filled.
const GROUP: usize = 4 * 1_024 * 1_024;

/// Who holds a lease, for those who read about it and for those who look for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holder {
    /// The program, its machine and its process: `root-orchestrator on pi-1 (712)`.
    pub name: String,
    /// Where it serves, as its own programs find it; empty if it is not to be found.
    pub url: String,
    /// What all that take turns have in common, as the first of them had it; empty if that does not matter.
    pub mark: String,
}

impl Holder {
    fn document(&self) -> Document {
        doc! {"name": &self.name, "url": &self.url}
    }
}

/// The document, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lease {
    pub(super) schema: u32,
    pub(super) term: i64,
    pub(super) commits: i64,
    beat: i64,
    pub(super) holder: Option<Holder>,
    /// Of whoever had it first, and of all that may have it.
    mark: String,
    /// The session in which its holder commits. A transaction that was open when the holder died keeps this document locked for
    /// as long as the server lets it live, which is a minute: whoever takes the lease ends that session first.
    session: Option<Document>,
}

impl Lease {
    pub(super) fn read(document: &Document) -> Result<Self, String> {
        if text(document, "product") != PRODUCT {
            return Err("its lease was written by another program".to_owned());
        }
        if let Ok(to) = document.get_str(MOVED) {
            return Err(format!("it was moved to {to}"));
        }
        if document.contains_key(HALF_MADE) {
            return Err("it is half made, since what filled it did not come to its end; drop its collections and do it again".to_owned());
        }
        let number = |field: &str| match document.get(field) {
            Some(Bson::Int64(number)) => Ok(*number),
            Some(Bson::Int32(number)) => Ok(i64::from(*number)),
            _ => Err(format!("its lease has no number {field}")),
        };
        let schema = number("schema")?;
        Ok(Self {
            schema: u32::try_from(schema).map_err(|_| format!("its schema is {schema}"))?,
            term: number("term")?,
            commits: number("commits")?,
            beat: number("beat")?,
            holder: document.get_document("holder").ok().map(|holder| Holder {
                name: text(holder, "name"),
                url: text(holder, "url"),
                mark: String::new(),
            }),
            mark: text(document, "mark"),
            session: document.get_document("session").ok().cloned(),
        })
    }

    /// Whoever has it, for an error.
    pub(super) fn held_by(&self) -> String {
        match &self.holder {
            Some(holder) => holder.name.clone(),
            None => "nobody any more".to_owned(),
        }
    }
}

/// What a look at the lease gave.
#[derive(Debug)]
pub enum Look {
    /// It is this program's now.
    Taken(Box<Mongo>),
    /// Somebody else has it, or may still have it.
    Held(Holder),
}

/// A database that is connected to, by a program that may want its lease.
#[derive(Debug)]
pub struct Candidate {
    driver: Arc<Driver>,
    options: Options,
    holder: Holder,
    /// The lease as it was last seen, and since when it has looked like that, by the own clock.
    seen: Option<(Lease, Instant)>,
}

impl Candidate {
    /// Connects to a database. `owner` says whose store in it is meant: `root`, `cluster`.
    ///
    /// # Errors
    /// When it cannot be reached, does not let this program in, cannot keep a store, or holds something else under that
    /// name.
    pub fn connect(
        url: &MongoUrl,
        owner: &'static str,
        options: Options,
        holder: Holder,
    ) -> Result<Self, StoreError> {
        let this = Self {
            driver: Arc::new(Driver::open(url, owner)?),
            options,
            holder,
            seen: None,
        };
        this.read()?;
        Ok(this)
    }

    /// Looks at the lease, and takes it when it is free: given back, never taken, or not renewed for [`LEASE`] while this
    /// program looked. To be called several times in that time.
    ///
    /// # Errors
    /// When the database cannot be used; it may be asked again.
    pub fn look(&mut self) -> Result<Look, StoreError> {
        let now = Instant::now();
        let Some(found) = self.read()? else {
            return self.take(None);
        };
        let since = match &self.seen {
            Some((seen, since)) if *seen == found => *since,
            Some(_) | None => now,
        };
        if found.mark != self.holder.mark && !self.holder.mark.is_empty() && !found.mark.is_empty()
        {
            return Err(StoreError::Mark {
                database: self.driver.database.place.clone(),
                holder: found.held_by(),
            });
        }
        let is_over = now.duration_since(since) >= LEASE;
        self.seen = Some((found.clone(), since));
        match found.holder.clone() {
            Some(holder) if !is_over => Ok(Look::Held(holder)),
            Some(_) | None => self.take(Some(&found)),
        }
    }

    /// All records as they now are, without any right to change them.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn load(&self) -> Result<Vec<Record>, StoreError> {
        let (database, place) = (self.driver.database.clone(), &self.driver.database.place);
        let loaded = self
            .driver
            .wait("load", async move { database.load().await });
        let (_, records) = loaded?.map_err(|failed| failed.of("load", place))?;
        Ok(records)
    }

    /// Makes a store of all records of another one, in a database that holds none, and gives their number. Nobody has its
    /// lease then. One that was not filled to the end is refused by whoever opens it.
    ///
    /// # Errors
    /// When there is a store, or when either cannot be used.
    pub fn fill(self, from: &mut dyn Snapshot) -> Result<u64, StoreError> {
        let (driver, schema) = (&self.driver, from.schema());
        let place = driver.database.place.clone();
        if self.read()?.is_some() {
            let reason = "there is a store in it, which is not replaced".to_owned();
            return Err(foreign(&place, reason));
        }
        let failed = |error| failure::of(&error, "fill", &place);
        let database = driver.database.clone();
        let begun = driver.wait("fill", async move {
            let half_made = doc! {
                "_id": ID, "product": PRODUCT, "schema": i64::from(schema), "term": 0_i64, "commits": 0_i64, "beat": 0_i64,
                "holder": null, HALF_MADE: true,
            };
            database.leases.insert_one(half_made).await
        });
        begun?.map_err(failed)?;
        let mut number = 0;
        loop {
            let records = from.next(GROUP)?;
            if records.is_empty() {
                break;
            }
            number += records.len() as u64;
            let documents = records.iter().map(super::records::document);
            let documents = documents.collect::<Result<Vec<_>, _>>().map_err(failed)?;
            let database = driver.database.clone();
            let written = driver.wait("fill", async move {
                database.records.insert_many(documents).await
            });
            written?.map_err(failed)?;
        }
        let database = driver.database.clone();
        let ended = driver.wait("fill", async move {
            let whole = doc! {"$unset": {HALF_MADE: ""}};
            database.leases.update_one(doc! {"_id": ID}, whole).await
        });
        ended?.map_err(failed)?;
        Ok(number)
    }

    /// The lease, if there is one; content of another program or version is refused.
    fn read(&self) -> Result<Option<Lease>, StoreError> {
        let (database, place) = (self.driver.database.clone(), &self.driver.database.place);
        let found = self.driver.wait("open", async move {
            let lease = database.leases.find_one(doc! {"_id": ID}).await?;
            let is_used = lease.is_none() && database.records.find_one(doc! {}).await?.is_some();
            Ok((lease, is_used))
        });
        let (lease, is_used) = found?.map_err(|error| failure::of(&error, "open", place))?;
        if is_used {
            let reason = "it has records and no lease".to_owned();
            return Err(foreign(place, reason));
        }
        let Some(lease) = lease else {
            return Ok(None);
        };
        let lease = Lease::read(&lease).map_err(|reason| foreign(place, reason))?;
        if (self.options.reads_from..=self.options.schema).contains(&lease.schema) {
            Ok(Some(lease))
        } else {
            Err(StoreError::Schema {
                store: place.clone(),
                found: lease.schema,
                expected: self.options.schema,
            })
        }
    }

    /// Takes the lease as it was seen, unless somebody was faster.
    fn take(&mut self, seen: Option<&Lease>) -> Result<Look, StoreError> {
        let (database, place) = (self.driver.database.clone(), &self.driver.database.place);
        let (schema, holder) = (i64::from(self.options.schema), self.holder.document());
        let mark = self.holder.mark.clone();
        let seen = seen.cloned();
        let taken = self.driver.wait("open", async move {
            let session = database.client.start_session().await?;
            let mut mine =
                doc! {"schema": schema, "holder": holder, "session": session.id().clone()};
            if !mark.is_empty() {
                mine.insert("mark", mark);
            }
            let taken = database.take(seen.as_ref(), mine).await?;
            Ok((taken, session))
        });
        let (taken, session) = taken?.map_err(|error| failure::of(&error, "open", place))?;
        let Some(taken) = taken else {
            // Whoever was faster is seen at the next look.
            self.seen = None;
            return Ok(Look::Held(Holder::default()));
        };
        let lease = Lease::read(&taken).map_err(|reason| foreign(place, reason))?;
        Ok(Look::Taken(Box::new(Mongo::holding(
            (Arc::clone(&self.driver), session),
            self.options.schema,
            lease.term,
            lease.commits,
        ))))
    }
}

impl Database {
    /// Makes the lease `mine`, if it is as it was seen; gives it then.
    async fn take(
        &self,
        seen: Option<&Lease>,
        mine: Document,
    ) -> mongodb::error::Result<Option<Document>> {
        let Some(seen) = seen else {
            let mut first = doc! {"_id": ID, "product": PRODUCT, "term": 1_i64, "commits": 0_i64, "beat": 0_i64};
            first.extend(mine);
            return match self.leases.insert_one(&first).await {
                Ok(_) => Ok(Some(first)),
                Err(error) if failure::code(&error) == Some(DUPLICATE) => Ok(None),
                Err(error) => Err(error),
            };
        };
        if let Some(session) = &seen.session {
            // Where it is not allowed to, the server does it after a time.
            let ended = self
                .whole
                .run_command(doc! {"killSessions": [session.clone()]})
                .await;
            if let Err(error) = ended {
                let error = failure::said(&error);
                tracing::warn!(error, "the former holder's session is not ended");
            }
        }
        let unchanged =
            doc! {"_id": ID, "term": seen.term, "commits": seen.commits, "beat": seen.beat};
        let mine = doc! {"$set": mine, "$inc": {"term": 1_i64, "beat": 1_i64}};
        let taking = self.leases.find_one_and_update(unchanged, mine);
        taking.return_document(ReturnDocument::After).await
    }
}

impl Mongo {
    /// Ends this store for good, since it is elsewhere now: nobody opens it any more.
    ///
    /// # Errors
    /// When the database cannot be used, or the lease is somebody else's.
    pub fn retire(self, moved_to: &str) -> Result<(), StoreError> {
        let (database, term, place) = (self.driver.database.clone(), self.term, self.place());
        let moved = doc! {"$set": {MOVED: moved_to, "holder": null}};
        let retired = self.driver.wait("retire", async move {
            database
                .leases
                .update_one(doc! {"_id": ID, "term": term}, moved)
                .await
        });
        let retired = retired?.map_err(|error| failure::of(&error, "retire", place))?;
        if retired.matched_count == 1 {
            return Ok(());
        }
        Err(StoreError::Superseded {
            database: place.to_owned(),
            holder: "somebody else".to_owned(),
        })
    }
}

/// A document of that `_id` is there.
const DUPLICATE: i32 = 11_000;

/// Whether it was told already that the database is away.
struct Away(bool);

impl Away {
    fn tell(&mut self, database: &str, reason: &str) {
        if !self.0 {
            tracing::warn!(
                database,
                reason,
                "the lease is not renewed; it is tried on and on"
            );
        }
        self.0 = true;
    }
}

/// Keeps a lease until it is somebody else's. While the database is away nobody can take it, so it is tried on and on.
pub(super) async fn renew(
    database: Database,
    term: i64,
    renewed: Arc<Mutex<Instant>>,
    lost: watch::Sender<Option<StoreError>>,
) {
    let mut away = Away(false);
    let last = || *renewed.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        tokio::time::sleep_until((last() + RENEWED_EVERY).into()).await;
        if lost.borrow().is_some() {
            return;
        }
        if last().elapsed() < RENEWED_EVERY {
            continue;
        }
        let asked = Instant::now();
        let renewing = database.leases.update_one(
            doc! {"_id": ID, "term": term},
            doc! {"$inc": {"beat": 1_i64}},
        );
        // An attempt that hangs must not keep this from noticing that the time is over.
        let ended = tokio::time::timeout(LEASE / 2, renewing).await;
        match ended {
            Ok(Ok(update)) if update.matched_count == 1 => {
                *renewed.lock().unwrap_or_else(PoisonError::into_inner) = asked;
                away.0 = false;
            }
            Ok(Ok(_not_ours)) => {
                let found = database.leases.find_one(doc! {"_id": ID}).await;
                let lease = found
                    .ok()
                    .flatten()
                    .and_then(|found| Lease::read(&found).ok());
                lost.send_replace(Some(StoreError::Superseded {
                    holder: lease.map_or_else(|| "nobody".to_owned(), |lease| lease.held_by()),
                    database: database.place,
                }));
                return;
            }
            Ok(Err(error)) => {
                away.tell(&database.place, &failure::said(&error));
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Err(_late) => away.tell(&database.place, "no answer"),
        }
    }
}
