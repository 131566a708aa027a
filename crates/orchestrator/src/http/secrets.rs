//! Secrets. Values go in; nothing that goes out has one.

use axum::extract::State;
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use model::access::{TenantPath, Verb};
use model::name::Name;
use model::secret::SecretRefusal;
use protocol::problem::Problem;
use protocol::rest::{List, SecretBody, SecretRequest};
use rest::guard::{Caller, Realm};
use rest::{Accept, Api, ApiError, Body, Cursor, PageQuery, Path, op};

use super::asked::Asking;
use super::joining::{by, not_changed};
use crate::access::Access;

/// Secrets of tenants.
pub fn api(access: Access) -> Api<()> {
    let op = |summary| op(summary).tag("secrets");
    let secret = "/api/v1/secrets/{secret}";
    Api::new("", "")
        .parameter("secret", "A secret's name, in the tenant that is asked for.")
        .get(
            "/api/v1/secrets",
            list,
            op("List secrets")
                .may(Verb::Read, Realm::Secrets)
                .about("Of a tenant, and of all below it, without their values. By tenant and name.")
                .answers::<List<SecretBody>>(200, "A page"),
        )
        .get(
            secret,
            one,
            op("Get a secret")
                .may(Verb::Read, Realm::Secrets)
                .about("All but its value, which nobody is told.")
                .answers::<SecretBody>(200, "The secret")
                .problems(&[404]),
        )
        .put(
            secret,
            set,
            op("Set a secret")
                .may(Verb::Change, Realm::Secrets)
                .about(
                    "Makes it, or gives it another value. Jobs keep the value that there was when their document was applied: \
                     apply it again to give them this one.",
                )
                .takes::<SecretRequest>()
                .example(r#"{"value": "correct horse battery staple"}"#)
                .answers::<SecretBody>(200, "The secret")
                .problems(&[404, 409, 503]),
        )
        .delete(
            secret,
            delete,
            op("Delete a secret")
                .may(Verb::Delete, Realm::Secrets)
                .about("Jobs that have it keep it.")
                .empty(204, "There is no such secret any more")
                .problems(&[404, 503]),
        )
        .with_state(access)
}

/// `GET /api/v1/secrets`.
async fn list(
    State(access): State<Access>,
    accept: Accept,
    Asking { tenant, query, .. }: Asking<PageQuery>,
) -> Result<Response, ApiError> {
    let (limit, after) = (query.limit()?, query.after::<String>()?);
    let after = after.map(|after| position(&after)).transpose()?;
    let book = access.book();
    let within = tenant.listed();
    let rows = book.secrets.within(&within, after.as_ref());
    let rows = rows.take(limit + 1).map(SecretBody::from).collect();
    Ok(accept.ok(&Cursor::page(rows, limit, |row: &SecretBody| {
        format!("{} {}", row.tenant, row.name)
    })))
}

/// `GET /api/v1/secrets/{secret}`.
async fn one(
    State(access): State<Access>,
    accept: Accept,
    Path(secret): Path<String>,
    asking: Asking,
) -> Result<Response, ApiError> {
    let book = access.book();
    let tenant = asking.tenant.asked().tenant;
    let name = named(&secret)?;
    let found = book.secrets.get(&tenant, &name);
    match found {
        Ok(found) => Ok(accept.ok(&SecretBody::from(found))),
        Err(refusal) => Err(refused(&refusal).into()),
    }
}

/// `PUT /api/v1/secrets/{secret}`.
async fn set(
    State(access): State<Access>,
    caller: Caller,
    accept: Accept,
    Path(secret): Path<String>,
    asking: Asking,
    body: Body,
) -> Result<Response, ApiError> {
    let value = SecretRequest::parse(&body.bytes, body.format).map_err(Problem::bad_document)?;
    let tenant = asking.tenant.asked().tenant;
    let name = named(&secret)?;
    let by = by(&caller);
    let set = access.set_secret((&tenant, &name), &by, value);
    let secret = set.await.map_err(not_changed)?;
    let mut answer = accept.ok(&SecretBody::from(&secret));
    // The buffers of the connection hold the value until they are used again, or freed and wiped.
    let close = HeaderValue::from_static("close");
    answer.headers_mut().insert(CONNECTION, close);
    Ok(answer)
}

/// `DELETE /api/v1/secrets/{secret}`.
async fn delete(
    State(access): State<Access>,
    Path(secret): Path<String>,
    asking: Asking,
) -> Result<Response, ApiError> {
    let tenant = asking.tenant.asked().tenant;
    let deleted = access.delete_secret(&tenant, &named(&secret)?).await;
    deleted.map_err(not_changed)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn named(text: &str) -> Result<Name, ApiError> {
    Name::new(text).map_err(|error| Problem::bad_request(error.to_string()).into())
}

/// What a cursor says.
fn position(text: &str) -> Result<(TenantPath, Name), ApiError> {
    let read = || {
        let (tenant, name) = text.split_once(' ')?;
        Some((TenantPath::new(tenant).ok()?, Name::new(name).ok()?))
    };
    read().ok_or_else(|| Problem::bad_request("cursor is none of this list").into())
}

/// What a refusal means.
pub(super) fn refused(refusal: &SecretRefusal) -> Problem {
    let text = refusal.to_string();
    match refusal {
        SecretRefusal::NotFound { .. } => Problem::new(404, "no_such_secret", text),
        SecretRefusal::TooMany { .. } => Problem::conflict("too_many_secrets", text),
    }
}
