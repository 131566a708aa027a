//! Durable writes of a core as records of the store, and back: what both orchestrators store.
//!
//! The records have their shapes in [`protocol::stored`], which says how they stay readable. A program adds its own
//! tables with [`Changes::put`] and [`Records::of`].

use model::book::Submission;
use model::event::Event;
use model::id::{EventId, JobId};
use model::job::Job;
use model::telling::{Heard, Stamp, Told};
use protocol::message::events::{WireStamp, WireTold};
use protocol::stored::{
    Batch, RecordError, Shared, Stored, StoredEvent, StoredJob, StoredSubmission, json, key,
};
use serde::Serialize;
use store::{Op, Record, Table};
use sync::{Incarnation, Term};

use crate::Core;

/// Single values by name.
pub const META: Table = Table("meta");
/// The jobs that this orchestrator owns, by id.
pub const JOB: Table = Table("job");
/// Slots by job, service and index; what they hold is the program's.
pub const SLOT: Table = Table("slot");
/// Revisions of the children's desired sets by child.
pub const REVISION: Table = Table("revision");
/// Submissions by their `Idempotency-Key`.
pub const SUBMISSION: Table = Table("submission");
/// Events by job and event.
pub const EVENT: Table = Table("event");

/// Events that the parent has not confirmed, by number.
const UNTOLD: Table = Table("untold");
/// How far each child was heard of what happened, by child.
const HEARD: Table = Table("heard");

/// Keys of [`META`].
const INCARNATION: &[u8] = b"incarnation";
const TERM: &[u8] = b"term";
const SUPERSEDED: &[u8] = b"superseded";

/// What makes a restored store of a copied one: the next start gives it a new incarnation, as it gives a new store its
/// first, and its children are asked what they have.
pub fn renewal() -> [Op; 2] {
    [Op::delete(META, INCARNATION), Op::delete(META, SUPERSEDED)]
}

/// The identity of a new store.
///
/// # Errors
/// When it has no JSON: a bug.
pub fn incarnation(incarnation: Incarnation) -> Result<Op, RecordError> {
    Ok(Op::put(META, INCARNATION, json(META.0, &incarnation)?))
}

/// The durable ones of `writes` as one atomic change; of several writes of one record only the last counts.
///
/// # Errors
/// When a record has no JSON: a bug.
pub fn ops<C: Core>(writes: &[C::Write]) -> Result<Vec<Op>, RecordError> {
    let mut changes = Changes::default();
    for write in writes.iter().rev() {
        C::put(&mut changes, write)?;
    }
    let ops = changes.0.finish().map(|change| match change.value {
        Some(value) => Op::put(Table(change.table), change.key, value),
        None => Op::delete(Table(change.table), change.key),
    });
    Ok(ops.collect())
}

/// The records that one decision changes. It is filled backwards: of several changes of one record the first counts.
#[derive(Debug, Default)]
pub struct Changes(Batch);

impl Changes {
    /// A record becomes `value`, which is made only where it counts.
    ///
    /// # Errors
    /// When it has no JSON: a bug. So have all functions here.
    pub fn put<T: Serialize>(
        &mut self,
        table: Table,
        key: impl Into<Vec<u8>>,
        value: impl FnOnce() -> T,
    ) -> Result<(), RecordError> {
        self.0.put(table.0, key.into(), value)
    }

    /// A record goes.
    pub fn delete(&mut self, table: Table, key: impl Into<Vec<u8>>) {
        self.0.delete(table.0, key.into());
    }

    /// The term of this start.
    pub fn term(&mut self, term: &Term) -> Result<(), RecordError> {
        self.put(META, TERM, || term.clone())
    }

    /// Somebody goes on with another copy of this store.
    pub fn superseded(&mut self) -> Result<(), RecordError> {
        self.put(META, SUPERSEDED, || true)
    }

    /// A job, as it now is.
    pub fn job(&mut self, job: &Job) -> Result<(), RecordError> {
        self.put(JOB, key::id(job.id.bits()), || StoredJob::from(job))
    }

    /// A deleted job is forgotten.
    pub fn forget_job(&mut self, id: JobId) {
        self.delete(JOB, key::id(id.bits()));
    }

    /// A submission under a key.
    pub fn submission(&mut self, submission: &Submission) -> Result<(), RecordError> {
        self.put(SUBMISSION, submission.key.key.as_bytes(), || {
            StoredSubmission::from(submission)
        })
    }

    /// The submission of that key is forgotten.
    pub fn forget_submission(&mut self, key: &str) {
        self.delete(SUBMISSION, key.as_bytes());
    }

    /// Something happened.
    pub fn event(&mut self, event: &Event) -> Result<(), RecordError> {
        self.put(EVENT, key::event(event.job, event.id), || {
            StoredEvent::from(event)
        })
    }

    /// An event that the parent is to be told.
    pub fn tell(&mut self, told: &Told) -> Result<(), RecordError> {
        let number = told.stamp.number.to_be_bytes().to_vec();
        self.put(UNTOLD, number, || WireTold::from(told))
    }

    /// That event is confirmed, or left out.
    pub fn untell(&mut self, number: u64) {
        self.delete(UNTOLD, number.to_be_bytes().to_vec());
    }

    /// How far the child of this id was heard.
    pub fn heard(&mut self, child: u128, heard: &Heard) -> Result<(), RecordError> {
        self.put(HEARD, key::id(child), || -> Vec<WireStamp> {
            heard.lines().iter().copied().map(WireStamp::from).collect()
        })
    }

    /// The child of this id is not expected any longer.
    pub fn unheard(&mut self, child: u128) {
        self.delete(HEARD, key::id(child));
    }

    /// An old event is forgotten.
    pub fn forget_event(&mut self, job: JobId, id: EventId) {
        self.delete(EVENT, key::event(job, id));
    }
}

/// What a store holds.
#[derive(Debug)]
pub struct Loaded<W> {
    /// `None`: the store is new.
    pub incarnation: Option<Incarnation>,
    /// In the order in which they are to be applied.
    pub writes: Vec<W>,
}

/// Reads all records. Tables and single values that are not known are skipped.
///
/// # Errors
/// The first record that cannot be read: a state with a hole would stop what has a right to run.
pub fn load<C: Core>(records: &[Record]) -> Result<Loaded<C::Write>, RecordError> {
    let mut records = Records {
        records,
        shared: Shared::default(),
    };
    let incarnation = records.meta(INCARNATION);
    Ok(Loaded {
        incarnation: incarnation.map(|record| record.value()).transpose()?,
        writes: C::read(&mut records)?,
    })
}

/// The records of a store, to be read table by table.
#[derive(Debug)]
pub struct Records<'a> {
    records: &'a [Record],
    /// Specs and heads that records repeat are one in memory.
    pub shared: Shared,
}

impl<'a> Records<'a> {
    /// The records of a table, by key.
    pub fn of(&self, table: Table) -> impl Iterator<Item = Stored<'a>> + use<'a> {
        let records = self.records.iter();
        records
            .filter(move |record| record.table == table.0)
            .map(|record| Stored {
                table: &record.table,
                key: &record.key,
                value: &record.value,
            })
    }

    /// A single value by name.
    pub fn meta(&self, name: &[u8]) -> Option<Stored<'a>> {
        self.of(META).find(|record| record.key == name)
    }

    /// The last term.
    ///
    /// # Errors
    /// When it cannot be read. So have all functions here.
    pub fn term(&self) -> Result<Option<Term>, RecordError> {
        self.meta(TERM).map(|record| record.value()).transpose()
    }

    /// Whether somebody goes on with another copy of this store.
    pub fn is_superseded(&self) -> bool {
        self.meta(SUPERSEDED).is_some()
    }

    /// The jobs.
    pub fn jobs(&mut self) -> Result<Vec<Job>, RecordError> {
        let records = self.of(JOB);
        records.map(|record| self.shared.job(&record)).collect()
    }

    /// The submissions.
    pub fn submissions(&self) -> Result<Vec<Submission>, RecordError> {
        let read = |record: Stored<'_>| {
            let key = String::from_utf8_lossy(record.key).into_owned();
            let stored: StoredSubmission = record.value()?;
            Ok(stored.into_submission(key))
        };
        self.of(SUBMISSION).map(read).collect()
    }

    /// The events, but for those with words that this program does not have: history is not worth a start.
    pub fn events(&self) -> Result<Vec<Event>, RecordError> {
        let mut events = Vec::new();
        for record in self.of(EVENT) {
            let (job, id) = record.event()?;
            match record.value::<StoredEvent>()?.into_event(job, id) {
                Ok(event) => events.push(event),
                Err(unknown) => tracing::warn!(
                    tier = unknown.tier,
                    from = unknown.from,
                    to = unknown.to,
                    "an event of another version was left out"
                ),
            }
        }
        Ok(events)
    }

    /// What the parent is to be told, the oldest first.
    pub fn untold(&self) -> Result<Vec<Told>, RecordError> {
        let read = |record: Stored<'_>| record.value::<WireTold>().map(Told::from);
        self.of(UNTOLD).map(read).collect()
    }

    /// How far each child was heard.
    pub fn all_heard(&self) -> Result<Vec<(u128, Heard)>, RecordError> {
        let read = |record: Stored<'_>| {
            let lines: Vec<WireStamp> = record.value()?;
            Ok((record.id()?, Heard::of(lines.into_iter().map(Stamp::from))))
        };
        self.of(HEARD).map(read).collect()
    }
}
