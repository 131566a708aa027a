//! Users, their tokens, and tenants, as both orchestrators serve them: parse, one request to their owner, render.
//!
//! Nobody's password or token stands in an answer, but for a token in the answer to who made it. What a caller may not see
//! is not there for it: lists leave it out, and by its name it is not found.

mod login;
mod password;
mod refusal;
mod tenants;
#[cfg(test)]
mod tests;
mod tokens;
mod users;

use std::collections::BTreeMap;

use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::response::Response;
use model::access::{
    Access as May, AccessAnswer, AccessBook, AccessRequest, Entry, Resource, Subject, Verb,
};
use model::name::Name;
use protocol::rest::{ScopeBody, WhoamiBody};
use rest::api::{Input, Taken};
use rest::guard::{Caller, Need};
use rest::{Accept, Api, ApiError, op};

use super::joining::not_changed;
use crate::access::Access;
use crate::clock;
use password::Passwords;
use refusal::{open, refused};

/// What the handlers use.
#[derive(Debug, Clone)]
struct Service {
    access: Access,
    passwords: Passwords,
}

/// Users, tokens and tenants. A program merges its own routes.
pub fn api(access: Access) -> Api<()> {
    let about = "An orchestrator whose store is in memory has no users: everything else here is refused there (`open`).";
    Api::new("", "")
        .parameter("user", "A user's name.")
        .parameter("token", "A token's id.")
        .parameter(
            "tenant",
            "A tenant's path, its / written as %2F: `university%2Flab`.",
        )
        .get(
            "/api/v1/whoami",
            whoami,
            op("Ask who one is")
                .needs(Need::Account)
                .about(about)
                .tag("users")
                .answers::<WhoamiBody>(200, "Who asks, and what it may be"),
        )
        .merge(login::routes())
        .merge(tokens::routes())
        .merge(users::routes())
        .merge(tenants::routes())
        .with_state(Service {
            access,
            passwords: Passwords::default(),
        })
}

/// `GET /api/v1/whoami`.
async fn whoami(
    State(service): State<Service>,
    caller: Caller,
    accept: Accept,
) -> Result<Response, ApiError> {
    let book = service.access.book();
    let subject = book.access.subject(&caller.credential, clock::now().wall);
    let mut body = WhoamiBody {
        user: None,
        roles: BTreeMap::new(),
        scope: None,
        tenant: caller.tenant.to_string(),
    };
    match subject {
        Some(Subject::User { user, scope, .. }) => {
            let words = |(tenant, role): (&_, &_)| (format!("{tenant}"), format!("{role}"));
            body.user = Some(user.name.to_string());
            body.roles = user.roles.iter().map(words).collect();
            body.scope = ScopeBody::of(&scope);
        }
        Some(Subject::Invited { .. } | Subject::Stranger) | None => {}
    }
    Ok(accept.ok(&body))
}

/// The service, where there is a place to keep users; elsewhere it refuses by 409.
struct Locked(Service);

impl FromRequestParts<Service> for Locked {
    type Rejection = ApiError;

    async fn from_request_parts(_parts: &mut Parts, service: &Service) -> Result<Self, ApiError> {
        if service.access.is_open() {
            return Err(open());
        }
        Ok(Self(service.clone()))
    }
}

impl Input for Locked {
    fn describe(taken: &mut Taken) {
        taken.problem(409);
    }
}

impl Service {
    /// Asks for a change; answers what it was about.
    async fn ask(&self, caller: &Caller, request: &AccessRequest) -> Result<Entry, ApiError> {
        let answer = self.access.ask(&caller.credential, request).await;
        match answer.map_err(not_changed)? {
            AccessAnswer::Done(entry) => Ok(entry),
            AccessAnswer::Refused(refusal) => Err(refused(&refusal)),
        }
    }

    /// Reads what is committed, as who asks.
    fn read<T>(&self, caller: &Caller, read: impl FnOnce(&AccessBook, &Subject<'_>) -> T) -> T {
        let book = self.access.book();
        let subject = book.subject(&caller.credential, clock::now().wall);
        read(&book.access, &subject)
    }
}

/// Whether the subject may read that.
fn sees(book: &AccessBook, subject: &Subject<'_>, resource: &Resource) -> bool {
    book.authorize(subject, Verb::Read, resource) == May::Granted
}

/// Whether the subject is the user of that name.
fn is(subject: &Subject<'_>, name: &Name) -> bool {
    matches!(subject, Subject::User { user, .. } if user.name == *name)
}
