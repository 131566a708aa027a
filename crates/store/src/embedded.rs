//! The store in one file, crash-safe and without a server.
//!
//! One tree holds all records under `table 0x00 key`: whatever tables a commit touches, it
//! rewrites one path per record and syncs once.
//!
//! The tree stops at its first I/O error and must be opened anew. [`Embedded`] does that at the
//! next call, under the same file lock and on the same open file, so that nobody can slip in
//! between.

mod disk;
mod failure;
mod keys;
mod schema;
mod snapshot;

use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use redb::{Builder, Database, ReadableDatabase, StorageBackend, TableDefinition};

use self::disk::{Creation, Disk};
use self::keys::{FIRST_RECORD, bounds, decode, encode};
use self::schema::{SCHEMA, initialise, read_schema};
use crate::{Op, Order, Page, Record, Snapshot, Store, StoreError, Table, check_ops, check_table};

const RECORDS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("records");
/// How an [`Embedded`] store is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Bytes of pages kept in memory, beside what a commit itself needs.
    pub cache_bytes: usize,
    /// The version of what the caller writes into its tables. A file of a newer one is refused, so that what this
    /// program does not know is never lost by being written again.
    pub schema: u32,
    /// The oldest version that the caller reads. A file of an older one is refused; one in between has the caller's from
    /// the first commit on, and an older program can open it until then.
    pub reads_from: u32,
    /// What a commit pays for being told from damage.
    pub syncs: Syncs,
}

impl Default for Options {
    /// 1 MiB, schema 1, two syncs. A node-engine is content with 256 KiB.
    fn default() -> Self {
        Self {
            cache_bytes: 1_024 * 1_024,
            schema: 1,
            reads_from: 1,
            syncs: Syncs::Two,
        }
    }
}

/// How often a commit waits for the disk. Both survive any power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syncs {
    /// Once. After a crash, a last commit whose pages are damaged looks like one that was being
    /// made, so it is dropped in silence although it was acknowledged.
    One,
    /// Twice, first for the pages and then for their being valid. Damage to any commit, the last
    /// one too, is found and refused.
    Two,
}

/// What the tree lives on: a file, or a test's idea of one.
trait Medium: StorageBackend {
    /// Makes what was written before a failure trustworthy; called before the tree is opened
    /// again.
    fn recover(&self) -> std::io::Result<()>;
}

/// Lets the tree be opened more than once on one medium; the tree wants to own what it lives on.
#[derive(Debug, Clone)]
struct Shared(Arc<dyn Medium>);

impl StorageBackend for Shared {
    fn len(&self) -> std::io::Result<u64> {
        self.0.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.0.read(offset, out)
    }
    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.0.set_len(len)
    }
    fn sync_data(&self) -> std::io::Result<()> {
        self.0.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        self.0.write(offset, data)
    }
}

/// A [`Store`] in one file.
///
/// Opening reads the whole file and verifies every checksum, since the state is loaded whole
/// anyway and a damaged file must not be served.
///
/// The file doubles when it is full, and takes the blocks for that at once: a disk with less
/// room than the file is long gives [`StoreError::Full`] early, but a full disk never stops
/// reads, deletes, or commits that fit into what is free inside the file.
#[derive(Debug)]
pub struct Embedded {
    path: PathBuf,
    options: Options,
    medium: Shared,
    tree: RwLock<Tree>,
    /// The file says an older schema, and the next commit says ours.
    raises: AtomicBool,
}

#[derive(Debug)]
enum Tree {
    Open(Database),
    /// An I/O error closed it; the next call opens it again.
    Closed,
    /// Damage was found while running. Opening again could fall back to an older commit.
    Damaged(StoreError),
}

impl Embedded {
    /// Opens the store at `path`, or makes an empty one if there is no such file.
    ///
    /// # Errors
    ///
    /// [`StoreError::InUse`] if somebody has it open, [`StoreError::Corrupt`] if it is damaged,
    /// empty or something else, [`StoreError::Schema`] if another version wrote it, and
    /// [`StoreError::Full`] or [`StoreError::Io`] if the disk fails.
    pub fn open(path: &Path, options: Options) -> Result<Self, StoreError> {
        if let Some(disk) = Disk::existing(path)? {
            return Self::on(path, options, Shared(Arc::new(disk)), Origin::Existing);
        }
        // An interrupted creation leaves only the temporary name, so a file under the real name
        // is always a whole store: one that is empty was emptied by somebody.
        let Some(new) = Creation::begin(path)? else {
            // Somebody made the store between our two looks, and may have it open.
            return match Disk::existing(path)? {
                Some(disk) => Self::on(path, options, Shared(Arc::new(disk)), Origin::Existing),
                None => Err(StoreError::InUse {
                    path: path.to_owned(),
                }),
            };
        };
        let store = Self::on(path, options, Shared(Arc::new(new.disk()?)), Origin::New)?;
        new.publish()?;
        tracing::info!(path = %path.display(), schema = options.schema, "made an empty store");
        Ok(store)
    }

    /// Opens the tree on any medium; `path` only names it in errors.
    fn on(
        path: &Path,
        options: Options,
        medium: Shared,
        origin: Origin,
    ) -> Result<Self, StoreError> {
        let store = Self {
            path: path.to_owned(),
            options,
            medium,
            tree: RwLock::new(Tree::Closed),
            raises: AtomicBool::new(false),
        };
        let tree = store.open_tree(origin)?;
        *store.tree.write().unwrap_or_else(PoisonError::into_inner) = Tree::Open(tree);
        Ok(store)
    }

    fn open_tree(&self, origin: Origin) -> Result<Database, StoreError> {
        let operation = "open";
        if origin == Origin::Existing
            && self.medium.len().map_err(|e| failure::io(operation, e))? == 0
        {
            return Err(self.corrupt("the file is empty"));
        }
        self.guarded(operation, || {
            let database = Builder::new()
                .set_cache_size(self.options.cache_bytes)
                .set_check_integrity_on_open(true)
                .create_with_backend(self.medium.clone())?;
            let found = match origin {
                Origin::New => {
                    initialise(&database, self.options.schema)?;
                    Some(self.options.schema.to_le_bytes().to_vec())
                }
                Origin::Existing => read_schema(&database)?,
            };
            Ok((database, found))
        })
        .and_then(|(database, found)| {
            let found = found
                .and_then(|bytes| <[u8; 4]>::try_from(bytes).ok())
                .map(u32::from_le_bytes)
                .ok_or_else(|| self.corrupt("it has no schema version"))?;
            if (self.options.reads_from..=self.options.schema).contains(&found) {
                self.raises
                    .store(found < self.options.schema, Ordering::Relaxed);
                return Ok(database);
            }
            Err(StoreError::Schema {
                store: self.path.display().to_string(),
                found,
                expected: self.options.schema,
            })
        })
    }

    /// Runs `run` on the tree, opening it first if an error had closed it.
    fn with<T>(
        &self,
        operation: &'static str,
        run: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        self.reopen()?;
        let result = {
            let tree = self.tree.read().unwrap_or_else(PoisonError::into_inner);
            match &*tree {
                Tree::Open(database) => self.guarded(operation, || run(database)),
                Tree::Damaged(error) => return Err(error.clone()),
                // Another caller's error closed it since; its cause is the disk's all the same.
                Tree::Closed => Err(failure::io(
                    operation,
                    std::io::Error::other("the store was closed by an earlier error"),
                )),
            }
        };
        if let Err(error) = &result {
            self.shut(error);
        }
        result
    }

    fn reopen(&self) -> Result<(), StoreError> {
        if !matches!(
            *self.tree.read().unwrap_or_else(PoisonError::into_inner),
            Tree::Closed
        ) {
            return Ok(());
        }
        let mut tree = self.tree.write().unwrap_or_else(PoisonError::into_inner);
        if !matches!(*tree, Tree::Closed) {
            return Ok(());
        }
        self.medium
            .0
            .recover()
            .map_err(|e| failure::io("reopen", e))?;
        match self.open_tree(Origin::Existing) {
            Ok(database) => {
                tracing::warn!(path = %self.path.display(), "opened the store again after an error");
                *tree = Tree::Open(database);
                Ok(())
            }
            Err(error) => {
                if matches!(error, StoreError::Corrupt { .. }) {
                    *tree = Tree::Damaged(error.clone());
                }
                Err(error)
            }
        }
    }

    /// After any error the tree is not used again: it has stopped, or it lost track of its pages.
    fn shut(&self, error: &StoreError) {
        let mut tree = self.tree.write().unwrap_or_else(PoisonError::into_inner);
        let after = match error {
            StoreError::Corrupt { .. } => Tree::Damaged(error.clone()),
            _ => Tree::Closed,
        };
        if let Tree::Open(database) = std::mem::replace(&mut *tree, after) {
            // Closing a tree that lost its disk can only fail in ways already reported.
            let _closed = catch_unwind(AssertUnwindSafe(|| drop(database)));
        }
    }

    /// Runs `run` and names its errors. A panic inside the tree means that its pages make no
    /// sense, which is the file's fault and must not take the process down.
    fn guarded<T>(
        &self,
        operation: &'static str,
        run: impl FnOnce() -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        match catch_unwind(AssertUnwindSafe(run)) {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(failure::tree(&self.path, operation, error)),
            Err(_panic) => Err(self.corrupt("its pages make no sense")),
        }
    }

    fn corrupt(&self, reason: &str) -> StoreError {
        StoreError::Corrupt {
            path: self.path.clone(),
            reason: reason.to_owned(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    New,
    Existing,
}

impl Store for Embedded {
    fn load(&self) -> Result<Vec<Record>, StoreError> {
        self.with("load", |database| {
            let records = database.begin_read()?.open_table(RECORDS)?;
            records
                .range(FIRST_RECORD..)?
                .map(|entry| {
                    let (key, value) = entry?;
                    decode(key.value(), value.value())
                })
                .collect()
        })
    }

    fn commit(&self, ops: &[Op]) -> Result<(), StoreError> {
        check_ops(ops)?;
        if ops.is_empty() {
            return Ok(());
        }
        let raises = self.raises.load(Ordering::Relaxed);
        self.with("commit to", |database| {
            let mut transaction = database.begin_write()?;
            transaction.set_two_phase_commit(self.options.syncs == Syncs::Two);
            {
                let mut records = transaction.open_table(RECORDS)?;
                if raises {
                    records.insert(SCHEMA, self.options.schema.to_le_bytes().as_slice())?;
                }
                for op in ops {
                    match op {
                        Op::Put { table, key, value } => {
                            records.insert(encode(*table, key).as_slice(), value.as_slice())?;
                        }
                        Op::Delete { table, key } => {
                            records.remove(encode(*table, key).as_slice())?;
                        }
                    }
                }
            }
            transaction.commit()?;
            Ok(())
        })?;
        if raises {
            self.raises.store(false, Ordering::Relaxed);
            tracing::info!(path = %self.path.display(), schema = self.options.schema, "the store is of this version now; older programs do not open it any more");
        }
        Ok(())
    }

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        check_table(table)?;
        self.with("read", |database| {
            let records = database.begin_read()?.open_table(RECORDS)?;
            let value = records.get(encode(table, key).as_slice())?;
            Ok(value.map(|value| value.value().to_vec()))
        })
    }

    fn range(&self, page: &Page<'_>) -> Result<Vec<Record>, StoreError> {
        check_table(page.table)?;
        let Some((lower, upper)) = bounds(page) else {
            return Ok(Vec::new());
        };
        let range = (
            lower.as_ref().map(Vec::as_slice),
            upper.as_ref().map(Vec::as_slice),
        );
        self.with("read", |database| {
            let records = database.begin_read()?.open_table(RECORDS)?;
            let mut entries = records.range::<&[u8]>(range)?;
            let mut found = Vec::new();
            while found.len() < page.limit {
                let entry = match page.order {
                    Order::Ascending => entries.next(),
                    Order::Descending => entries.next_back(),
                };
                let Some(entry) = entry else { break };
                let (key, value) = entry?;
                found.push(decode(key.value(), value.value())?);
            }
            Ok(found)
        })
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        self.reader()
    }
}

#[cfg(test)]
mod tests;
