//! Pages of lists: `?limit=` and `?cursor=`.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use protocol::problem::Problem;
use protocol::rest::List;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ApiError;

/// Rows of a page where the client names no number.
pub const DEFAULT_LIMIT: usize = 100;
/// Rows of a page at most.
pub const MAX_LIMIT: usize = 1_000;

/// The query of every list; a list with more parameters has its own type with these two fields.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PageQuery {
    /// How many rows, 1 to 1000; 100 where left out.
    #[schemars(range(min = 1, max = MAX_LIMIT))]
    pub limit: Option<usize>,
    /// `next_cursor` of the page before; the first page where left out.
    pub cursor: Option<String>,
}

impl PageQuery {
    /// The number of rows asked for.
    ///
    /// # Errors
    /// 400 when it is not within 1 to [`MAX_LIMIT`].
    pub fn limit(&self) -> Result<usize, ApiError> {
        match self.limit.unwrap_or(DEFAULT_LIMIT) {
            limit @ 1..=MAX_LIMIT => Ok(limit),
            _ => Err(Problem::bad_request(format!("limit must be 1 to {MAX_LIMIT}")).into()),
        }
    }

    /// The key after which the page begins; `None` for the first page.
    ///
    /// # Errors
    /// 400 when it is no cursor of such a list.
    pub fn after<K: FromStr>(&self) -> Result<Option<K>, ApiError> {
        self.cursor
            .as_deref()
            .map(|text| Cursor::read(text).map(|Cursor(key)| key))
            .transpose()
    }
}

/// Where the next page begins: the last key of this one, in a form that nobody builds on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor<K>(pub K);

impl<K: fmt::Display> fmt::Display for Cursor<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('c')?;
        let text = self.0.to_string();
        text.bytes().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl<K: FromStr> Cursor<K> {
    /// Reads what `Display` wrote.
    ///
    /// # Errors
    /// 400 for anything else.
    pub fn read(text: &str) -> Result<Self, ApiError> {
        let key = || -> Option<K> {
            let hex = text.strip_prefix('c').filter(|hex| hex.is_ascii())?;
            let bytes: Option<Vec<u8>> = hex
                .as_bytes()
                .chunks(2)
                .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
                .collect();
            String::from_utf8(bytes?).ok()?.parse().ok()
        };
        key().map(Self).ok_or_else(|| {
            Problem::bad_request("this is no cursor of this list; begin without one").into()
        })
    }
}

impl<K: fmt::Display> Cursor<K> {
    /// A page of a list, made of up to `limit` + 1 rows: one more row than asked for says that there is a next page.
    pub fn page<T>(mut rows: Vec<T>, limit: usize, key: impl Fn(&T) -> K) -> List<T> {
        let more = rows.len() > limit;
        rows.truncate(limit);
        let last = rows.last().filter(|_| more);
        List {
            next_cursor: last.map(|row| Cursor(key(row)).to_string()),
            items: rows,
        }
    }
}
