//! What the engine keeps on its disk: the core's durable writes as records, and back.
//!
//! Values are JSON in the shapes of `protocol`, so that one golden test each keeps disks of older engines readable.

use std::time::Duration;

use model::desired::{Desired, NodeItem, NodeKey, NodeSettings};
use model::id::{InstanceId, NodeId};
use model::instance::Exit;
use model::slot::Generation;
use model::telling::Told;
use model::workload::RuntimeKind;
use node_core::{DesiredEntry, Journal, Said, Write, desired_entry};
use protocol::message::MessageError;
use protocol::message::control::{WireSettings, WireTerm};
use protocol::message::desired::WireSet;
use protocol::message::events::WireTold;
use protocol::message::report::WireExit;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use store::{Op, Record, Table};
use sync::{Incarnation, ParentMark, Update};

/// The version of all shapes here.
pub(crate) const SCHEMA: u32 = 2;

/// The worker's id; one record.
const NODE: Table = Table("node");
/// The number of the last start; one record.
const BOOT: Table = Table("boot");
/// Whose desired set it is; one record.
const MARK: Table = Table("mark");
/// The desired instances, by id.
const DESIRED: Table = Table("desired");
/// The settings of the desired set; one record.
const SETTINGS: Table = Table("settings");
/// What must be remembered of instances, by id.
const JOURNAL: Table = Table("journal");

/// What the cluster has not confirmed, by number.
const UNTOLD: Table = Table("untold");
/// The states after their last events, by instance.
const SAID: Table = Table("said");

/// The key in tables of one record.
const ONLY: &[u8] = b"0";

/// Why the records cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The value is not of its shape.
    #[error("a record of table {table} cannot be read")]
    Shape {
        /// The table.
        table: String,
        /// Why.
        source: serde_json::Error,
    },
    /// A desired instance cannot be used.
    #[error("a record of table desired cannot be used")]
    Desired(#[source] MessageError),
    /// The key is no id.
    #[error("a key of table {table} is no id")]
    Key {
        /// The table.
        table: String,
    },
    /// This program knows no such table.
    #[error("table {table} is unknown to this version of the engine")]
    Table {
        /// The table.
        table: String,
    },
}

#[derive(Serialize, Deserialize)]
struct NodeRecord {
    node_id: NodeId,
}

#[derive(Serialize, Deserialize)]
struct BootRecord {
    boot: u64,
}

#[derive(Serialize, Deserialize)]
struct MarkRecord {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    incarnation: Option<Incarnation>,
    term: WireTerm,
    revision: u64,
}

#[derive(Serialize, Deserialize)]
struct JournalRecord {
    runtime: RuntimeKind,
    grace_ms: u64,
    generation: Generation,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    leaving: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ended: Option<WireExit>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    restarting: bool,
}

/// The operations that store the durable ones of these writes, in order.
pub(crate) fn ops(writes: &[Write]) -> Vec<Op> {
    let mut ops = Vec::new();
    for write in writes.iter().filter(|write| write.is_durable()) {
        match write {
            Write::Node(node) => ops.push(put(NODE, ONLY, &NodeRecord { node_id: *node })),
            Write::Boot(boot) => ops.push(put(BOOT, ONLY, &BootRecord { boot: *boot })),
            Write::Desired(update) => desired_ops(update, &mut ops),
            Write::Journal { instance, record } => {
                let key = key(*instance);
                ops.push(match record {
                    Some(journal) => put(JOURNAL, &key, &JournalRecord::from(journal)),
                    None => Op::delete(JOURNAL, key),
                });
                if record.is_none() {
                    ops.push(Op::delete(SAID, key));
                }
            }
            Write::Tell(told) => {
                let number = told.stamp.number.to_be_bytes();
                ops.push(put(UNTOLD, &number, &WireTold::from(told)));
            }
            Write::Untell(untell) => {
                ops.push(Op::delete(UNTOLD, untell.number.to_be_bytes()));
            }
            Write::Said { instance, said } => ops.push(match said {
                Some(said) => put(SAID, &key(*instance), &said.as_str()),
                None => Op::delete(SAID, key(*instance)),
            }),
            Write::Line(_)
            | Write::Sent(_)
            | Write::Run { .. }
            | Write::Checkup { .. }
            | Write::Exit { .. }
            | Write::Staged(_)
            | Write::Refused { .. }
            | Write::Link(_)
            | Write::Room(_)
            | Write::WholeDue
            | Write::Reported
            | Write::Runtime { .. }
            | Write::Clean(_) => {}
        }
    }
    ops
}

fn desired_ops(update: &Update<DesiredEntry>, ops: &mut Vec<Op>) {
    let mark = MarkRecord {
        incarnation: update.mark.incarnation,
        term: (&update.mark.term).into(),
        revision: update.mark.revision,
    };
    ops.push(put(MARK, ONLY, &mark));
    // As in the core: what is both removed and put is there.
    for removed in &update.remove {
        ops.push(match removed {
            NodeKey::Settings => Op::delete(SETTINGS, ONLY),
            NodeKey::Instance(instance) => Op::delete(DESIRED, key(*instance)),
        });
    }
    for entry in &update.put {
        ops.push(match &entry.value {
            NodeItem::Settings(settings) => put(SETTINGS, ONLY, &WireSettings::from(settings)),
            NodeItem::Instance(desired) => {
                put(DESIRED, &key(desired.instance), &WireSet::pack([desired]))
            }
        });
    }
}

/// The writes that rebuild the state from what was loaded.
///
/// # Errors
/// [`RecordError`], where a record is not what this program writes.
pub(crate) fn writes(records: &[Record]) -> Result<Vec<Write>, RecordError> {
    let (mut node, mut boot, mut mark) = (None, None, None);
    let mut put: Vec<DesiredEntry> = Vec::new();
    let mut desired: Vec<Desired> = Vec::new();
    let (mut events, mut journals): (Vec<Write>, Vec<Write>) = Default::default();
    for record in records {
        match record.table.as_str() {
            table if table == NODE.0 => node = Some(read::<NodeRecord>(record)?.node_id),
            table if table == BOOT.0 => boot = Some(read::<BootRecord>(record)?.boot),
            table if table == MARK.0 => mark = Some(read::<MarkRecord>(record)?),
            table if table == SETTINGS.0 => {
                let settings = NodeSettings::try_from(read::<WireSettings>(record)?);
                put.push(desired_entry(NodeItem::Settings(
                    settings.map_err(RecordError::Desired)?,
                )));
            }
            table if table == DESIRED.0 => {
                let set = read::<WireSet>(record)?;
                desired.extend(set.unpack().map_err(RecordError::Desired)?);
            }
            table if table == JOURNAL.0 => journals.push(Write::Journal {
                instance: instance(record)?,
                record: Some(read::<JournalRecord>(record)?.into()),
            }),
            table if table == UNTOLD.0 => {
                events.push(Write::Tell(Told::from(read::<WireTold>(record)?)));
            }
            table if table == SAID.0 => {
                let word: String = read(record)?;
                events.push(Write::Said {
                    instance: instance(record)?,
                    said: Said::ALL.into_iter().find(|said| said.as_str() == word),
                });
            }
            table => {
                return Err(RecordError::Table {
                    table: table.to_owned(),
                });
            }
        }
    }
    put.extend(shared(&desired)?);
    let mut writes: Vec<Write> = node.map(Write::Node).into_iter().collect();
    writes.extend(boot.map(Write::Boot));
    if let Some(mark) = mark {
        writes.push(Write::Desired(Update {
            mark: ParentMark {
                incarnation: mark.incarnation,
                term: mark.term.into(),
                revision: mark.revision,
            },
            put,
            remove: Vec::new(),
        }));
    }
    // As in a snapshot: what is known of an instance again must not seem to be news.
    writes.extend(events);
    writes.extend(journals);
    Ok(writes)
}

/// Packing all at once lets equal jobs and workloads share their memory again.
fn shared(desired: &[Desired]) -> Result<impl Iterator<Item = DesiredEntry>, RecordError> {
    let desired = WireSet::pack(desired)
        .unpack()
        .map_err(RecordError::Desired)?;
    Ok(desired
        .into_iter()
        .map(|desired| desired_entry(NodeItem::Instance(desired))))
}

fn key(instance: InstanceId) -> [u8; 16] {
    instance.bits().to_be_bytes()
}

fn instance(record: &Record) -> Result<InstanceId, RecordError> {
    <[u8; 16]>::try_from(record.key.as_slice())
        .map(|bytes| InstanceId::from_bits(u128::from_be_bytes(bytes)))
        .map_err(|_| RecordError::Key {
            table: record.table.clone(),
        })
}

fn put(table: Table, key: &[u8], value: &impl Serialize) -> Op {
    // Structs of texts and numbers always have a JSON; an empty value would be refused at the next start.
    Op::put(table, key, serde_json::to_vec(value).unwrap_or_default())
}

fn read<T: DeserializeOwned>(record: &Record) -> Result<T, RecordError> {
    serde_json::from_slice(&record.value).map_err(|source| RecordError::Shape {
        table: record.table.clone(),
        source,
    })
}

impl From<&Journal> for JournalRecord {
    fn from(journal: &Journal) -> Self {
        Self {
            runtime: journal.runtime,
            grace_ms: journal.grace.as_millis() as u64,
            generation: journal.generation,
            leaving: journal.leaving,
            ended: journal.ended.as_ref().map(WireExit::from),
            restarting: journal.restarting,
        }
    }
}

impl From<JournalRecord> for Journal {
    fn from(record: JournalRecord) -> Self {
        Self {
            runtime: record.runtime,
            grace: Duration::from_millis(record.grace_ms),
            generation: record.generation,
            leaving: record.leaving,
            ended: record.ended.map(Exit::from),
            restarting: record.restarting,
        }
    }
}

#[cfg(test)]
mod tests;
