//! Records as documents, and the reads and the commit that are made of them.

use std::collections::BTreeMap;
use std::fmt::{self, Debug, Formatter};
use std::sync::Arc;

use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, Document, RawDocument, RawDocumentBuf, doc};
use mongodb::error::UNKNOWN_TRANSACTION_COMMIT_RESULT;
use mongodb::{ClientSession, SessionCursor};

use super::driver::{Database, Driver};
use super::failure::{Failed, is_transient};
use super::lease::{self, Lease};
use super::{PATIENCE, PAUSE};
use crate::snapshot::size;
use crate::{Op, Order, Page, Record, Snapshot, StoreError};

/// Statements of one command at most; the server takes 100,000.
const STATEMENTS: usize = 10_000;
/// Bytes of keys and values in one command at most; the server takes 48 MB.
const BYTES: usize = 16 * 1_024 * 1_024;
/// Greater than every character that stands for a byte.
const ABOVE: char = '\u{100}';

/// A key as text: each byte as the character of that number, which compare alike.
fn key_text(key: &[u8]) -> String {
    key.iter().map(|byte| char::from(*byte)).collect()
}

/// A text as key again.
fn key_bytes(text: &str) -> Option<Vec<u8>> {
    text.chars()
        .map(|c| u8::try_from(u32::from(c)).ok())
        .collect()
}

/// The `_id` of a record.
pub(super) fn id(table: &str, key: &[u8]) -> Document {
    doc! {"t": table, "k": key_text(key)}
}

/// Which documents make a page, and their order.
pub(super) fn within(page: &Page<'_>) -> (Document, Document) {
    let table = page.table.0;
    let prefix = key_text(page.prefix);
    let mut above = prefix.clone();
    above.push(ABOVE);
    let mut bounds = doc! {"$gte": {"t": table, "k": prefix}, "$lt": {"t": table, "k": above}};
    let after = page.after.map(|after| id(table, after));
    let direction = match page.order {
        Order::Ascending => 1,
        Order::Descending => -1,
    };
    let mut filter = vec![doc! {"_id": std::mem::take(&mut bounds)}];
    if let Some(after) = after {
        let beyond = if direction == 1 { "$gt" } else { "$lt" };
        filter.push(doc! {"_id": {beyond: after}});
    }
    (doc! {"$and": filter}, doc! {"_id": direction})
}

/// What a commit leaves behind: the last word about each record.
pub(super) struct Changes {
    /// `None` is deleted.
    last: BTreeMap<(&'static str, Vec<u8>), Option<Vec<u8>>>,
}

pub(super) fn changes(ops: &[Op]) -> Changes {
    let last = ops.iter().map(|op| match op {
        Op::Put { table, key, value } => ((table.0, key.clone()), Some(value.clone())),
        Op::Delete { table, key } => ((table.0, key.clone()), None),
    });
    Changes {
        last: last.collect(),
    }
}

impl Changes {
    /// The commands that make them, in a collection of that name.
    fn commands(&self, collection: &str) -> Vec<Document> {
        let mut commands = Vec::new();
        let (mut updates, mut deletes, mut bytes) = (Vec::new(), Vec::new(), 0);
        let flush = |updates: &mut Vec<Bson>,
                     deletes: &mut Vec<Bson>,
                     commands: &mut Vec<Document>| {
            for (command, field, statements) in [
                ("update", "updates", updates),
                ("delete", "deletes", deletes),
            ] {
                if !statements.is_empty() {
                    commands.push(doc! {command: collection, field: std::mem::take(statements)});
                }
            }
        };
        for ((table, key), value) in &self.last {
            let id = id(table, key);
            bytes += key.len() + value.as_ref().map_or(0, Vec::len);
            match value {
                Some(value) => {
                    let document = doc! {"_id": id.clone(), "v": binary(value)};
                    updates.push(Bson::Document(
                        doc! {"q": {"_id": id}, "u": document, "upsert": true},
                    ));
                }
                None => deletes.push(Bson::Document(doc! {"q": {"_id": id}, "limit": 1})),
            }
            if updates.len() + deletes.len() >= STATEMENTS || bytes >= BYTES {
                flush(&mut updates, &mut deletes, &mut commands);
                bytes = 0;
            }
        }
        flush(&mut updates, &mut deletes, &mut commands);
        commands
    }
}

fn binary(bytes: &[u8]) -> Binary {
    Binary {
        subtype: BinarySubtype::Generic,
        bytes: bytes.to_vec(),
    }
}

/// A record as the document that it is in the database.
pub(super) fn document(record: &Record) -> mongodb::error::Result<RawDocumentBuf> {
    let document = doc! {"_id": id(&record.table, &record.key), "v": binary(&record.value)};
    Ok(RawDocumentBuf::try_from(&document)?)
}

/// A document as the record it is.
fn record(document: &RawDocument) -> Result<Record, Failed> {
    let read = || {
        let id = document.get_document("_id").ok()?;
        Some(Record {
            table: id.get_str("t").ok()?.to_owned(),
            key: key_bytes(id.get_str("k").ok()?)?,
            value: document.get_binary("v").ok()?.bytes.to_vec(),
        })
    };
    read().ok_or_else(|| Failed::Content("a document among its records is none".to_owned()))
}

impl Database {
    /// The lease and all records, as they were at one moment.
    pub(super) async fn load(&self) -> Result<(Option<Lease>, Vec<Record>), Failed> {
        let mut session = self.client.start_session().snapshot(true).await?;
        let lease = self.lease_in(&mut session).await?;
        let mut cursor = self.sorted(&mut session).await?;
        let mut records = Vec::new();
        while cursor.advance(&mut session).await? {
            records.push(record(cursor.current())?);
        }
        Ok((lease, records))
    }

    /// All records as they are now, to be read in slices.
    pub(super) async fn stream(&self) -> Result<Stream, Failed> {
        let mut session = self.client.start_session().snapshot(true).await?;
        let cursor = self.sorted(&mut session).await?;
        Ok(Stream { session, cursor })
    }

    async fn sorted(
        &self,
        session: &mut ClientSession,
    ) -> Result<SessionCursor<RawDocumentBuf>, Failed> {
        let all = self.records.find(doc! {}).sort(doc! {"_id": 1});
        Ok(all.batch_size(10_000).session(session).await?)
    }

    async fn lease_in(&self, session: &mut ClientSession) -> Result<Option<Lease>, Failed> {
        let found = self
            .leases
            .find_one(doc! {"_id": lease::ID})
            .session(session)
            .await?;
        let read = |found| Lease::read(&found).map_err(Failed::Content);
        found.map(read).transpose()
    }

    pub(super) async fn get(&self, id: Document) -> Result<Option<Vec<u8>>, Failed> {
        let found = self.records.find_one(doc! {"_id": id}).await?;
        let value = |document: RawDocumentBuf| record(&document).map(|record| record.value);
        found.map(value).transpose()
    }

    pub(super) async fn range(
        &self,
        filter: Document,
        order: Document,
        limit: usize,
    ) -> Result<Vec<Record>, Failed> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut cursor = self.records.find(filter).sort(order).limit(limit).await?;
        let mut records = Vec::new();
        while cursor.advance().await? {
            records.push(record(cursor.current())?);
        }
        Ok(records)
    }

    /// Makes all changes or none, if the lease is the one of that term and has seen so many commits.
    pub(super) async fn commit(
        &self,
        session: &mut ClientSession,
        changes: &Changes,
        (term, commits): (i64, i64),
    ) -> Result<(), Failed> {
        // One that was given up in the middle; the driver says so where there is none.
        let _ = session.abort_transaction().await;
        let commands = changes.commands(self.records.name());
        let deadline = tokio::time::Instant::now() + PATIENCE / 2;
        loop {
            let failed = match self.attempt(session, &commands, term, commits).await {
                Err(Failed::Untouched(error)) if is_transient(&error) => error,
                ended => return ended,
            };
            if tokio::time::Instant::now() >= deadline {
                return Err(Failed::Untouched(failed));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn attempt(
        &self,
        session: &mut ClientSession,
        commands: &[Document],
        term: i64,
        commits: i64,
    ) -> Result<(), Failed> {
        session
            .start_transaction()
            .await
            .map_err(Failed::Untouched)?;
        let written = self.write(session, commands, term, commits).await;
        if let Err(failed) = written {
            // The server ends it by itself where this does not reach it.
            let _ = session.abort_transaction().await;
            return Err(failed);
        }
        let deadline = tokio::time::Instant::now() + PATIENCE / 2;
        loop {
            match session.commit_transaction().await {
                Ok(()) => return Ok(()),
                // The same transaction is committed again: it is there once at most.
                Err(error)
                    if error.contains_label(UNKNOWN_TRANSACTION_COMMIT_RESULT)
                        && tokio::time::Instant::now() < deadline =>
                {
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) if is_transient(&error) => return Err(Failed::Untouched(error)),
                Err(error) => return Err(Failed::Driver(error)),
            }
        }
    }

    /// The writes of a transaction; before it is committed nothing of them is there.
    async fn write(
        &self,
        session: &mut ClientSession,
        commands: &[Document],
        term: i64,
        commits: i64,
    ) -> Result<(), Failed> {
        let ours = doc! {"_id": lease::ID, "term": term, "commits": commits};
        let counted = doc! {"$inc": {"commits": 1_i64, "beat": 1_i64}};
        let fence = self.leases.update_one(ours, counted).session(&mut *session);
        if fence.await.map_err(Failed::Untouched)?.matched_count != 1 {
            return Err(match self.lease_in(session).await? {
                Some(lease) if lease.term == term => Failed::Overtaken,
                Some(lease) => Failed::NotOurs(lease.held_by()),
                None => Failed::Content("its lease is gone".to_owned()),
            });
        }
        for command in commands {
            let made = self
                .whole
                .run_command(command.clone())
                .session(&mut *session);
            let reply = made.await.map_err(Failed::Untouched)?;
            if let Some(errors) = reply.get("writeErrors") {
                return Err(Failed::Content(format!("it refuses a record: {errors}")));
            }
        }
        Ok(())
    }
}

/// Records on their way.
pub(super) struct Stream {
    session: ClientSession,
    cursor: SessionCursor<RawDocumentBuf>,
}

impl Stream {
    async fn next(&mut self) -> Result<Option<Record>, Failed> {
        if self.cursor.advance(&mut self.session).await? {
            return record(self.cursor.current()).map(Some);
        }
        Ok(None)
    }

    /// About `bytes` bytes of records, at least one; none at the end.
    async fn slice(&mut self, bytes: usize) -> Result<Vec<Record>, Failed> {
        let (mut slice, mut sum) = (Vec::new(), 0);
        while sum < bytes || slice.is_empty() {
            let Some(record) = self.next().await? else {
                break;
            };
            sum += size(&record);
            slice.push(record);
        }
        Ok(slice)
    }
}

/// A snapshot that is read from the database as it is asked for.
pub(super) struct Slices {
    pub(super) driver: Arc<Driver>,
    /// `None` after a failure.
    pub(super) stream: Option<Stream>,
    pub(super) schema: u32,
}

impl Debug for Slices {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slices").finish_non_exhaustive()
    }
}

impl Snapshot for Slices {
    fn next(&mut self, bytes: usize) -> Result<Vec<Record>, StoreError> {
        let mut stream = self.stream.take().ok_or(StoreError::Closed)?;
        let (stream, slice) = self.driver.wait("read", async move {
            let slice = stream.slice(bytes).await;
            (stream, slice)
        })?;
        let slice = slice.map_err(|failed| failed.of("read", &self.driver.database.place))?;
        self.stream = Some(stream);
        Ok(slice)
    }

    fn schema(&self) -> u32 {
        self.schema
    }
}
