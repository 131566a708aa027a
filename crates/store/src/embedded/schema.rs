//! The version of what a store holds, written beside it.

use redb::{Database, ReadableDatabase};

use super::RECORDS;

/// Where the schema version lives; no table has an empty name, so no record collides with it.
pub(super) const SCHEMA: &[u8] = b"\0schema";

/// Writes the version into an empty tree.
pub(super) fn initialise(database: &Database, schema: u32) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    transaction
        .open_table(RECORDS)?
        .insert(SCHEMA, schema.to_le_bytes().as_slice())?;
    transaction.commit()?;
    Ok(())
}

/// The schema bytes, or `None` if this is some other program's tree.
pub(super) fn read_schema(database: &Database) -> Result<Option<Vec<u8>>, redb::Error> {
    match database.begin_read()?.open_table(RECORDS) {
        Ok(records) => Ok(records.get(SCHEMA)?.map(|value| value.value().to_vec())),
        Err(redb::TableError::Storage(error)) => Err(error.into()),
        Err(_another_programs) => Ok(None),
    }
}
