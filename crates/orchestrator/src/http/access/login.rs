//! `POST /api/v1/login`: a token for a name and a password.

use axum::response::Response;
use model::access::{AccessRequest, Credential, Scope};
use protocol::problem::Problem;
use protocol::rest::{LoginRequest, NewTokenBody};
use rest::guard::{Caller, Need};
use rest::{Accept, Api, ApiError, Body, op};

use super::tokens::{answer_new, mint};
use super::{Locked, Service};
use crate::clock;

/// What is said to who does not get in, whatever the reason.
const WRONG: &str =
    "no active user has this name and password; ask an administrator if you have forgotten yours";

pub(super) fn routes() -> Api<Service> {
    let about = "A failed login is answered alike, and as late, whether or not there is such a user. At most two passwords \
        are checked at a time; who comes meanwhile is asked to try again (429).";
    Api::new("", "").post(
        "/api/v1/login",
        login,
        op("Log in")
            .needs(Need::Nothing)
            .about(about)
            .tag("users")
            .takes::<LoginRequest>()
            .example(r#"{"name": "alice", "password": "correct horse battery", "ttl": "12h"}"#)
            .answers::<NewTokenBody>(201, "A token that may all that the user may")
            .header(201, "Location", "Where it can be revoked")
            .problems(&[401, 409, 429, 503]),
    )
}

/// `POST /api/v1/login`.
async fn login(
    Locked(service): Locked,
    caller: Caller,
    accept: Accept,
    body: Body,
) -> Result<Response, ApiError> {
    let LoginRequest {
        name,
        password,
        ttl,
    } = LoginRequest::parse(&body.bytes, body.format).map_err(Problem::bad_document)?;
    let book = service.access.book();
    let user = book.access.user(&name).filter(|user| user.is_active());
    let hash = user.and_then(|user| user.password.clone());
    drop(book);
    if !service.passwords.verify(password, hash).await? {
        return Err(Problem::unauthorized(WRONG).into());
    }
    let (token, minted) = mint()?;
    let create = AccessRequest::CreateToken {
        minted,
        scope: Scope::FULL,
        expires_at: Some(clock::now().wall.plus(ttl.unwrap_or(LoginRequest::TTL))),
    };
    let proven = Caller {
        credential: Credential::Password(name),
        ..caller
    };
    answer_new(&service, &proven, accept, &token, &create).await
}
