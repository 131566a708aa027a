//! Tokens of users, and invitations.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use identity::UserToken;
use model::access::{
    AccessBook, AccessRequest, Entry, Grant, Minted, Resource, Role, Scope, Subject, Token,
};
use model::id::TokenId;
use model::name::Name;
use protocol::problem::Problem;
use protocol::rest::{InvitationRequest, List, NewTokenBody, TokenBody, TokenRequest};
use rest::guard::{Caller, Need};
use rest::schemars::JsonSchema;
use rest::{Accept, Api, ApiError, Body, Cursor, PageQuery, Path, Query, op};
use serde::Deserialize;

use super::super::joining::not_changed;
use super::refusal::not_found;
use super::{Locked, Service, is, sees};
use crate::access::{self, Access};
use crate::clock;

/// The query of the list of tokens.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(crate = "rest::schemars")]
#[serde(deny_unknown_fields)]
struct TokensQuery {
    /// Whose; one's own where left out.
    user: Option<String>,
    /// How many rows, 1 to 1000.
    #[schemars(range(min = 1, max = 1000))]
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

pub(super) fn routes() -> Api<Service> {
    let op = |summary| op(summary).needs(Need::Account).tag("tokens");
    Api::new("", "")
        .get(
            "/api/v1/tokens",
            list,
            op("List tokens")
                .about("One's own, or those of a user whose account one may see. By id.")
                .answers::<List<TokenBody>>(200, "A page")
                .problems(&[404, 409]),
        )
        .post(
            "/api/v1/tokens",
            create,
            op("Make a token")
                .about("A token of one's own, by a credential that nothing limits. Its text is in this answer and nowhere else.")
                .may_take::<TokenRequest>()
                .example(r#"{"role": "deployer", "tenant": "university/lab", "ttl": "30d"}"#)
                .answers::<NewTokenBody>(201, "The token, with its text")
                .header(201, "Location", "Where it can be revoked")
                .problems(&[409, 503]),
        )
        .delete(
            "/api/v1/tokens/{token}",
            revoke,
            op("Revoke a token")
                .about("One's own, or, for administrators of its user's home or of the tenant that it invites to, any.")
                .empty(204, "It gives nothing any more")
                .problems(&[404, 409, 503]),
        )
        .get(
            "/api/v1/invitations",
            invitations,
            op("List invitations")
                .about("Those to tenants whose users one may see, that nobody has accepted. By id.")
                .answers::<List<TokenBody>>(200, "A page")
                .problems(&[409]),
        )
        .post(
            "/api/v1/invitations",
            invite,
            op("Invite a user")
                .about("Who sends the token of the answer to `POST /api/v1/users` has an account at once. It serves once.")
                .takes::<InvitationRequest>()
                .example(r#"{"tenant": "university", "role": "deployer", "ttl": "7d"}"#)
                .answers::<NewTokenBody>(201, "The invitation, with its text")
                .header(201, "Location", "Where it can be revoked")
                .problems(&[404, 409, 503]),
        )
}

/// `GET /api/v1/tokens`.
async fn list(
    Locked(service): Locked,
    caller: Caller,
    accept: Accept,
    Query(query): Query<TokensQuery>,
) -> Result<Response, ApiError> {
    let page = PageQuery {
        limit: query.limit,
        cursor: query.cursor,
    };
    let user = query.user.as_deref().map(Name::new).transpose();
    let user = user.map_err(|error| Problem::bad_request(error.to_string()))?;
    let governs = |book: &AccessBook, subject: &Subject<'_>, whose: &Name| {
        let home = book.user(whose).map(|user| user.home.clone());
        is(subject, whose) || home.is_some_and(|home| sees(book, subject, &Resource::Users(home)))
    };
    if let Some(user) = &user
        && !service.read(&caller, |book, subject| governs(book, subject, user))
    {
        return Err(not_found(user));
    }
    // An invitation has no tokens.
    let whose = user.or_else(|| caller.user.clone());
    let tokens = service.read(&caller, |book, _| {
        let of = |token: &&Token| match &token.grant {
            Grant::User { name, .. } => whose.as_ref() == Some(name),
            Grant::Invitation { .. } => false,
        };
        page_of(&service.access, book, &page, of)
    })?;
    Ok(accept.ok(&tokens))
}

/// `POST /api/v1/tokens`.
async fn create(
    Locked(service): Locked,
    caller: Caller,
    accept: Accept,
    body: Body,
) -> Result<Response, ApiError> {
    let TokenRequest { role, tenant, ttl } =
        TokenRequest::parse(&body.bytes, body.format).map_err(Problem::bad_document)?;
    let (token, minted) = mint()?;
    let create = AccessRequest::CreateToken {
        minted,
        scope: Scope {
            role: role.unwrap_or(Role::Admin),
            tenant,
        },
        expires_at: ttl.map(|ttl| clock::now().wall.plus(ttl)),
    };
    answer_new(&service, &caller, accept, &token, &create).await
}

/// `DELETE /api/v1/tokens/{token}`.
async fn revoke(
    Locked(service): Locked,
    caller: Caller,
    Path(token): Path<String>,
) -> Result<Response, ApiError> {
    let token: TokenId = token.parse().map_err(|_| {
        Problem::bad_request("a token's id begins with tok_; GET /api/v1/tokens lists yours")
    })?;
    let revoke = AccessRequest::Revoke { token };
    service.ask(&caller, &revoke).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `GET /api/v1/invitations`.
async fn invitations(
    Locked(service): Locked,
    caller: Caller,
    accept: Accept,
    Query(page): Query<PageQuery>,
) -> Result<Response, ApiError> {
    let invitations = service.read(&caller, |book, subject| {
        let shown = |token: &&Token| match &token.grant {
            Grant::User { .. } => false,
            Grant::Invitation { tenant, .. } => {
                sees(book, subject, &Resource::Users(tenant.clone()))
            }
        };
        page_of(&service.access, book, &page, shown)
    })?;
    Ok(accept.ok(&invitations))
}

/// `POST /api/v1/invitations`.
async fn invite(
    Locked(service): Locked,
    caller: Caller,
    accept: Accept,
    body: Body,
) -> Result<Response, ApiError> {
    let InvitationRequest { tenant, role, ttl } =
        InvitationRequest::parse(&body.bytes, body.format).map_err(Problem::bad_document)?;
    let (token, minted) = mint()?;
    let ttl = ttl.unwrap_or(InvitationRequest::TTL);
    let invite = AccessRequest::Invite {
        minted,
        tenant,
        role,
        expires_at: clock::now().wall.plus(ttl),
    };
    answer_new(&service, &caller, accept, &token, &invite).await
}

/// A token that is not known yet, and what its owner is to know of it.
pub(super) fn mint() -> Result<(UserToken, Minted), ApiError> {
    let token = access::mint().map_err(|error| {
        tracing::error!(%error, "cannot make a secret");
        Problem::internal()
    })?;
    let minted = access::minted(&token);
    Ok((token, minted))
}

/// Asks for a token, and answers it with its text: the only answer that has it.
pub(super) async fn answer_new(
    service: &Service,
    caller: &Caller,
    accept: Accept,
    token: &UserToken,
    request: &AccessRequest,
) -> Result<Response, ApiError> {
    service.access.forget_expired().await.map_err(not_changed)?;
    service.ask(caller, request).await?;
    let book = service.access.book();
    let made = book.access.token(token.id);
    let made = made.ok_or_else(|| not_found(Entry::Token(token.id)))?;
    let body = NewTokenBody::of(made, token.reveal());
    Ok(accept.created(&format!("/api/v1/tokens/{}", token.id), &body))
}

fn page_of(
    access: &Access,
    book: &AccessBook,
    page: &PageQuery,
    shown: impl FnMut(&&Token) -> bool,
) -> Result<List<TokenBody>, ApiError> {
    let limit = page.limit()?;
    let after: Option<TokenId> = page.after()?;
    let rows = book.tokens().filter(|token| Some(token.id) > after);
    let rows = rows.filter(shown).take(limit + 1);
    let rows = rows.map(|token| TokenBody::of(token, access.last_use(token.id)));
    Ok(Cursor::page(rows.collect(), limit, |row: &TokenBody| {
        row.token_id
    }))
}
