//! Join tokens, without their secrets.

use protocol::rest::JoinTokenBody;

use super::Seen::{Always, Wide};
use super::{Column, ago, render};

/// One row a token.
pub(crate) fn join_tokens(tokens: &[JoinTokenBody]) -> Vec<String> {
    let columns: [Column<'_, JoinTokenBody>; 5] = [
        Column(Always, "TOKEN", &|row| row.token_id.to_string()),
        Column(Always, "USED", &|row| format!("{}/{}", row.used, row.uses)),
        Column(Always, "EXPIRES", &|row| {
            protocol::time::format_wall(row.expires_at)
        }),
        Column(Always, "MADE BY", &|row| row.created_by.clone()),
        Column(Wide, "MADE", &|row| ago(row.created_at)),
    ];
    render(&columns, tokens, false)
}
