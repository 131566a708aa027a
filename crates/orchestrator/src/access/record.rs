//! Users and members as records of the store, and back.

use std::collections::BTreeMap;

use model::access::{AccessWrite, Entry, TenantPath};
use model::id::{JoinTokenId, TokenId};
use model::joining::JoinWrite;
use model::name::Name;
use model::secret::SecretWrite;
use model::time::Wall;
use protocol::stored::access::{
    StoredGrant, StoredMember, StoredTenant, StoredToken, StoredUse, StoredUser,
};
use protocol::stored::{RecordError, Stored, StoredSecret, json, key};
use store::{Op, Order, Page, Record, Store, Table};

use super::uses::TOKEN_USE;
use super::{AccessError, Book};

const TENANT: Table = Table("tenant");
const USER: Table = Table("user");
const TOKEN: Table = Table("token");
const JOIN_TOKEN: Table = Table("join_token");
const MEMBER: Table = Table("member");
const SECRET: Table = Table("secret");
/// Records that are read at a time.
const SLICE: usize = 1_000;

/// A change of the book.
#[derive(Debug)]
pub(super) enum Write {
    Access(AccessWrite),
    Join(JoinWrite),
    Secret(SecretWrite),
}

impl Write {
    pub(super) fn apply(&self, book: &mut Book) {
        match self {
            Self::Access(write) => book.access.apply(write),
            Self::Join(write) => book.joins.apply(write),
            Self::Secret(write) => book.secrets.apply(write),
        }
    }
}

/// The writes as one atomic change.
pub(super) fn ops(writes: &[Write]) -> Result<Vec<Op>, RecordError> {
    writes.iter().map(op).collect()
}

fn op(write: &Write) -> Result<Op, RecordError> {
    Ok(match write {
        Write::Access(AccessWrite::Tenant(tenant)) => {
            let value = json(TENANT.0, &StoredTenant::from(tenant))?;
            Op::put(TENANT, tenant.path.as_str(), value)
        }
        Write::Access(AccessWrite::User(user)) => {
            let value = json(USER.0, &StoredUser::from(user))?;
            Op::put(USER, user.name.as_str(), value)
        }
        Write::Access(AccessWrite::Token(token)) => {
            let value = json(TOKEN.0, &StoredToken::from(token))?;
            Op::put(TOKEN, key::id(token.id.bits()), value)
        }
        Write::Access(AccessWrite::Forget(entry)) => match entry {
            Entry::Tenant(path) => Op::delete(TENANT, path.as_str()),
            Entry::User(name) => Op::delete(USER, name.as_str()),
            Entry::Token(id) => Op::delete(TOKEN, key::id(id.bits())),
        },
        Write::Join(JoinWrite::Grant(grant)) => {
            let value = json(JOIN_TOKEN.0, &StoredGrant::from(grant))?;
            Op::put(JOIN_TOKEN, key::id(grant.id.bits()), value)
        }
        Write::Join(JoinWrite::Forget(id)) => Op::delete(JOIN_TOKEN, key::id(id.bits())),
        Write::Join(JoinWrite::Member(member)) => {
            let value = json(MEMBER.0, &StoredMember::from(member))?;
            Op::put(MEMBER, key::id(member.id), value)
        }
        Write::Secret(SecretWrite::Secret(secret)) => {
            let value = json(SECRET.0, &StoredSecret::from(secret))?;
            Op::put(
                SECRET,
                StoredSecret::key(&secret.tenant, &secret.name),
                value,
            )
        }
        Write::Secret(SecretWrite::Forget(tenant, name)) => {
            Op::delete(SECRET, StoredSecret::key(tenant, name))
        }
    })
}

/// What a store holds of all that.
pub(super) fn load(store: &dyn Store) -> Result<Book, AccessError> {
    let mut book = Book::default();
    for table in [TENANT, USER, TOKEN, JOIN_TOKEN, MEMBER, SECRET] {
        each(store, table, |record| {
            write(table, record)?.apply(&mut book);
            Ok(())
        })?;
    }
    Ok(book)
}

/// When tokens were last used, as a store has it.
pub(super) fn uses(store: &dyn Store) -> Result<BTreeMap<TokenId, Wall>, AccessError> {
    let mut uses = BTreeMap::new();
    each(store, TOKEN_USE, |record| {
        let stored = stored(record);
        let StoredUse { at } = stored.value()?;
        uses.insert(TokenId::from_bits(stored.id()?), at);
        Ok(())
    })?;
    Ok(uses)
}

fn each(
    store: &dyn Store,
    table: Table,
    mut take: impl FnMut(&Record) -> Result<(), RecordError>,
) -> Result<(), AccessError> {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let records = store.range(&Page {
            table,
            prefix: &[],
            after: after.as_deref(),
            order: Order::Ascending,
            limit: SLICE,
        })?;
        for record in &records {
            take(record)?;
        }
        match records.last() {
            Some(last) if records.len() == SLICE => after = Some(last.key.clone()),
            Some(_) | None => return Ok(()),
        }
    }
}

fn stored(record: &Record) -> Stored<'_> {
    Stored {
        table: &record.table,
        key: &record.key,
        value: &record.value,
    }
}

fn write(table: Table, record: &Record) -> Result<Write, RecordError> {
    let stored = stored(record);
    Ok(match table {
        TENANT => {
            let path = text(&stored, TenantPath::new)?;
            let tenant: StoredTenant = stored.value()?;
            let tenant = tenant.into_tenant(path);
            Write::Access(AccessWrite::Tenant(
                tenant.map_err(|error| stored.fault(error))?,
            ))
        }
        USER => {
            let name = text(&stored, Name::new)?;
            let user: StoredUser = stored.value()?;
            let user = user.into_user(name).map_err(|error| stored.fault(error))?;
            Write::Access(AccessWrite::User(user))
        }
        TOKEN => {
            let token: StoredToken = stored.value()?;
            let token = token.into_token(TokenId::from_bits(stored.id()?));
            Write::Access(AccessWrite::Token(
                token.map_err(|error| stored.fault(error))?,
            ))
        }
        JOIN_TOKEN => {
            let grant: StoredGrant = stored.value()?;
            let id = JoinTokenId::from_bits(stored.id()?);
            Write::Join(JoinWrite::Grant(grant.into_grant(id)))
        }
        SECRET => Write::Secret(SecretWrite::Secret(StoredSecret::read(&stored)?)),
        _ => {
            let member: StoredMember = stored.value()?;
            Write::Join(JoinWrite::Member(member.into_member(stored.id()?)))
        }
    })
}

/// The key, which is text.
fn text<T, E: std::error::Error + Send + Sync + 'static>(
    stored: &Stored<'_>,
    read: impl Fn(&str) -> Result<T, E>,
) -> Result<T, RecordError> {
    let text = std::str::from_utf8(stored.key).map_err(|error| stored.fault(error))?;
    read(text).map_err(|error| stored.fault(error))
}
