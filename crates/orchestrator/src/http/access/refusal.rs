//! Refusals of users' owner as problems.

use model::access::{Denied, Entry, Refusal};
use protocol::problem::Problem;
use rest::ApiError;

use super::super::joining::not_changed;
use crate::access::NotChanged;

/// 409: there is nowhere to keep users.
pub(super) fn open() -> ApiError {
    not_changed(NotChanged::Open)
}

/// 404: to who asks there is none.
pub(super) fn not_found(entry: impl Into<Entry>) -> ApiError {
    refused(&Refusal::NotFound(entry.into()))
}

/// What a refusal means.
pub(super) fn refused(refusal: &Refusal) -> ApiError {
    let detail = refusal.to_string();
    let code = match refusal {
        Refusal::NotFound(entry) => return Problem::new(404, missing(entry), detail).into(),
        Refusal::Denied(Denied::NoAccount) => return Problem::unauthorized(detail).into(),
        Refusal::Denied(_) => return Problem::forbidden(detail).into(),
        Refusal::Exists(_) => "name_in_use",
        Refusal::Requested(_) => "requested",
        Refusal::Suspended(_) => "suspended",
        Refusal::Exceeded(_) => "quota_exceeded",
        Refusal::BelowUse { .. } => "quota_below_use",
        Refusal::Wider(_) => "policy_wider",
        Refusal::NotEmpty { .. } => "not_empty",
        Refusal::Root => "root_tenant",
        Refusal::LastAdministrator(_) => "last_administrator",
        Refusal::TooMany { .. } => "too_many",
        Refusal::TooManyTokens { .. } => "too_many_tokens",
        Refusal::Past => "past",
        Refusal::NoInvitation => "no_invitation",
    };
    Problem::conflict(code, detail).into()
}

const fn missing(entry: &Entry) -> &'static str {
    match entry {
        Entry::Tenant(_) => "no_such_tenant",
        Entry::User(_) => "no_such_user",
        Entry::Token(_) => "no_such_token",
    }
}
