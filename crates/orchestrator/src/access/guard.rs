//! Who sends a request to the REST interface, and whether that may be done.

use std::net::SocketAddr;
use std::sync::PoisonError;

use audit::{Decision, Subject as Who};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use identity::{UserToken, UserTokenError};
use model::access::{
    Access as May, Credential, Denied, Resource, Scope, Subject, TenantPath, User, Verb,
};
use model::name::Name;
use protocol::problem::Problem;
use rest::ApiError;
use rest::guard::{Caller, Deed, Guard, Need, Realm, from};
use subtle::ConstantTimeEq as _;

use super::{Access, Book};
use crate::audited::Decided;
use crate::clock;

/// What whoever proves nothing is told.
const NO_TOKEN: &str = "send a user's token as 'Authorization: Bearer TOKEN'; the first one stands in admin.token in the data directory";
/// What whoever proves something that means nothing is told, whatever the reason.
const BAD_TOKEN: &str = "the token is not known here, was revoked, or has expired; ask an administrator for another one";

/// How an administrator of the root is called at its clusters.
const OF_ROOT: &str = "administrator-of-the-root";

impl Guard for Access {
    fn admit(&self, need: Need, request: &Parts) -> Result<Caller, ApiError> {
        let from = from(request);
        let wanted = tenant_of(request)?;
        if self.is_open() {
            return self.near(need, from, wanted);
        }
        let token = shown(request);
        if let Ok(Some(token)) = &token
            && let Some(user) = self.of_root(token)
        {
            return Ok(Caller {
                user: Some(user),
                ..nobody(Credential::None, from, wanted)
            });
        }
        let proven = token.and_then(|token| match token {
            Some(token) => self.proven(&token),
            None => Ok(Credential::None),
        });
        if need == Need::Nothing {
            // Who only looks whether it lives is not sent away for an old token.
            let credential = proven.unwrap_or(Credential::None);
            return Ok(nobody(credential, from, wanted));
        }
        let (book, now) = (self.book(), clock::now().wall);
        let credential = proven?;
        let subject = book.access.subject(&credential, now);
        let subject = subject.ok_or_else(|| Problem::unauthorized(BAD_TOKEN))?;
        let caller = match &subject {
            Subject::Stranger => return Err(Problem::unauthorized(NO_TOKEN).into()),
            Subject::Invited { tenant, .. } => nobody(credential, from, Some((*tenant).clone())),
            Subject::User { user, scope, .. } => Caller {
                user: Some(user.name.clone()),
                tenant: wanted.unwrap_or_else(|| own(user, scope)),
                credential,
                from,
            },
        };
        if let Need::Right(verb, realm) = need {
            may(&book, &subject, verb, &resource(realm, &caller.tenant))?;
        }
        Ok(caller)
    }

    fn told(&self, deed: &Deed<'_>) {
        let changes = !deed.method.is_safe();
        if deed.refused.is_none() && !changes {
            return;
        }
        let decision = match (deed.refused, deed.status) {
            (Some(problem), 404) => Decision::Hidden(problem.detail.clone()),
            (Some(problem), _) => Decision::Denied(problem.detail.clone()),
            (None, status) if status >= 400 => Decision::Refused(format!("status {status}")),
            (None, _) => Decision::Granted,
        };
        let who = match deed.caller.and_then(|caller| caller.user.as_ref()) {
            Some(user) => Who::User(user.to_string()),
            None => Who::Anonymous,
        };
        let verb = match deed.need {
            Need::Right(verb, realm) => format!("{} {}", verb.as_str(), realm.as_str()),
            Need::Account | Need::Nothing => deed.method.as_str().to_ascii_lowercase(),
        };
        self.0.audit.record(Decided {
            who,
            from: deed.from,
            verb,
            // Queries hold no secrets, but nobody promises that they never will.
            resource: format!("{} {}", deed.method, deed.uri.path()),
            decision,
        });
    }
}

impl Access {
    /// Without users: everybody on this machine, and wherever plain text was allowed.
    fn near(
        &self,
        need: Need,
        from: Option<SocketAddr>,
        wanted: Option<TenantPath>,
    ) -> Result<Caller, ApiError> {
        if self.trusts(from) || need == Need::Nothing {
            return Ok(nobody(Credential::None, from, wanted));
        }
        let why = "this orchestrator keeps its store in memory, and so knows no users but those of its own machine";
        Err(Problem::unauthorized(why).into())
    }

    /// Whether an administrator of the root asks its cluster, and who that is here.
    fn of_root(&self, token: &UserToken) -> Option<Name> {
        let known = self.0.of_root.read();
        let known = known.unwrap_or_else(PoisonError::into_inner);
        let known = known.iter().find(|known| known.token == token.id)?;
        let lives = known.expires_at.is_none_or(|end| clock::now().wall < end);
        let right = bool::from(known.hash.ct_eq(&token.secret.hash()));
        Name::new(OF_ROOT).ok().filter(|_| lives && right)
    }

    /// What a token proves.
    fn proven(&self, token: &UserToken) -> Result<Credential, ApiError> {
        let book = self.book();
        let given = token.secret.hash();
        // A token that is not known is compared as well, so that nobody learns from the time which ones are.
        let known = book.access.token(token.id).map_or([0; 32], |it| it.hash);
        if bool::from(known.ct_eq(&given)) {
            Ok(Credential::Token(token.id))
        } else {
            Err(Problem::unauthorized(BAD_TOKEN).into())
        }
    }
}

/// The token that a request shows, if it shows one.
fn shown(request: &Parts) -> Result<Option<UserToken>, ApiError> {
    let Some(header) = request.headers.get(AUTHORIZATION) else {
        return Ok(None);
    };
    let text = header.to_str();
    let text = text.map_err(|_| Problem::unauthorized(BAD_TOKEN))?;
    let token = bearer(text).ok_or_else(|| Problem::unauthorized(NO_TOKEN))?;
    let unread = |error: UserTokenError| Problem::unauthorized(error.to_string());
    Ok(Some(token.parse().map_err(unread)?))
}

/// The token of `Bearer TOKEN`; the scheme in any case (RFC 9110, section 11.1).
fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// `?tenant=`, if it is given.
fn tenant_of(request: &Parts) -> Result<Option<TenantPath>, ApiError> {
    #[derive(serde::Deserialize)]
    struct Wanted {
        tenant: Option<String>,
    }
    let query = axum::extract::Query::<Wanted>::try_from_uri(&request.uri);
    // What is wrong with a query is for the handler to say.
    let Some(text) = query.ok().and_then(|query| query.0.tenant) else {
        return Ok(None);
    };
    let path = TenantPath::new(&text);
    let path = path.map_err(|error| Problem::bad_request(error.to_string()))?;
    Ok(Some(path))
}

/// The tenant of who names none: the token's, or where the user is something, or its home.
fn own(user: &User, scope: &Scope) -> TenantPath {
    if let Some(tenant) = &scope.tenant {
        return tenant.clone();
    }
    let root = TenantPath::root();
    let mut roles = user.roles.keys();
    match (roles.next(), roles.next()) {
        _ if user.roles.contains_key(&root) => root,
        (Some(only), None) => only.clone(),
        (_, _) => user.home.clone(),
    }
}

fn resource(realm: Realm, tenant: &TenantPath) -> Resource {
    match realm {
        Realm::Jobs => Resource::Jobs(tenant.clone()),
        Realm::Secrets => Resource::Secrets(tenant.clone()),
        Realm::Audit => Resource::Audit(tenant.clone()),
        Realm::Nodes => Resource::Nodes,
        Realm::Clusters => Resource::Clusters,
        Realm::JoinTokens => Resource::JoinTokens,
        Realm::System => Resource::System,
    }
}

fn may(
    book: &Book,
    subject: &Subject<'_>,
    verb: Verb,
    resource: &Resource,
) -> Result<(), ApiError> {
    match book.access.authorize(subject, verb, resource) {
        May::Granted => Ok(()),
        May::Hidden => {
            let tenant = resource.tenant().map_or("", TenantPath::as_str);
            Err(Problem::not_found("tenant", tenant).into())
        }
        May::Denied(Denied::NoAccount) => Err(Problem::unauthorized(NO_TOKEN).into()),
        May::Denied(denied) => Err(Problem::forbidden(denied.to_string()).into()),
    }
}

fn nobody(credential: Credential, from: Option<SocketAddr>, wanted: Option<TenantPath>) -> Caller {
    Caller {
        credential,
        user: None,
        tenant: wanted.unwrap_or_else(TenantPath::root),
        from,
    }
}
