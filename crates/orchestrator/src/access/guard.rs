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

use super::rates::{Identity, Limit, TooOften};
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
        let book = self.book();
        let asks = self.who(need, request, &book);
        self.pace(need, request, &asks)?;
        let (caller, subject) = called(asks?, request)?;
        if let (Need::Right(verb, realm), Some(subject)) = (need, &subject) {
            may(&book, subject, verb, &resource(realm, &caller.tenant))?;
        }
        Ok(caller)
    }

    fn known(&self, request: &Parts) -> Option<Caller> {
        let book = self.book();
        let asks = self.who(Need::Account, request, &book).ok()?;
        Some(called(asks, request).ok()?.0)
    }

    fn told(&self, deed: &Deed<'_>) {
        if deed.refused.is_none() && deed.status == 401 {
            // What the handler looks at: a password, a join token. The next try is refused, if this was one too many.
            let _ = self.failed(deed.from);
        }
        let changes = !deed.method.is_safe();
        // Who asks too often is recorded where that is found, and not each time.
        let paced = deed.refused.is_some_and(|problem| problem.status == 429);
        if paced || (deed.refused.is_none() && !changes) {
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

/// As whom the handler knows somebody, and who that is where rights are looked at.
///
/// # Errors
/// 401 for a stranger; what is wrong with the tenant that is asked for.
fn called<'a>(asks: Asks<'a>, request: &Parts) -> Result<(Caller, Option<Subject<'a>>), ApiError> {
    let from = from(request);
    let wanted = tenant_of(request)?;
    let (credential, subject) = match asks {
        Asks::Near => return Ok((nobody(Credential::None, from, wanted), None)),
        Asks::Somebody(credential) => return Ok((nobody(credential, from, wanted), None)),
        Asks::OfRoot(user) | Asks::Scraper(user) => {
            let caller = Caller {
                user: Some(user),
                ..nobody(Credential::None, from, wanted)
            };
            return Ok((caller, None));
        }
        Asks::Subject(credential, subject) => (credential, subject),
    };
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
    Ok((caller, Some(subject)))
}

/// Who asks, as far as its credential says.
enum Asks<'a> {
    /// Without users: somebody on this machine, or wherever plain text was allowed.
    Near,
    /// An administrator of the root.
    OfRoot(Name),
    /// Prometheus, which asks for the metrics.
    Scraper(Name),
    /// Whoever it is: what is asked for needs nothing.
    Somebody(Credential),
    /// Somebody who is known, or nobody.
    Subject(Credential, Subject<'a>),
}

impl Access {
    /// # Errors
    /// 401 where a credential is shown that means nothing.
    fn who<'a>(&self, need: Need, request: &Parts, book: &'a Book) -> Result<Asks<'a>, ApiError> {
        if let Some(scraper) = self.scraper(need, request) {
            return Ok(Asks::Scraper(scraper));
        }
        if self.is_open() {
            return self.near(need, from(request));
        }
        let token = shown(request);
        if let Ok(Some(token)) = &token
            && let Some(user) = self.of_root(token)
        {
            return Ok(Asks::OfRoot(user));
        }
        let proven = token.and_then(|token| match token {
            Some(token) => proven(book, &token),
            None => Ok(Credential::None),
        });
        if need == Need::Nothing {
            // Who only looks whether it lives is not sent away for an old token.
            return Ok(Asks::Somebody(proven.unwrap_or(Credential::None)));
        }
        let (credential, now) = (proven?, clock::now().wall);
        let subject = book.access.subject(&credential, now);
        let subject = subject.ok_or_else(|| Problem::unauthorized(BAD_TOKEN))?;
        if let Credential::Token(id) = credential {
            self.0.uses.note(id, now);
        }
        Ok(Asks::Subject(credential, subject))
    }

    /// Without users: everybody on this machine, and wherever plain text was allowed.
    fn near<'a>(&self, need: Need, from: Option<SocketAddr>) -> Result<Asks<'a>, ApiError> {
        if self.trusts(from) {
            return Ok(Asks::Near);
        }
        if need == Need::Nothing {
            return Ok(Asks::Somebody(Credential::None));
        }
        let why = "this orchestrator keeps its store in memory, and so knows no users but those of its own machine";
        Err(Problem::unauthorized(why).into())
    }

    /// Whether it may ask once more just now.
    ///
    /// # Errors
    /// 429 where it asks too often.
    fn pace(
        &self,
        need: Need,
        request: &Parts,
        asks: &Result<Asks<'_>, ApiError>,
    ) -> Result<(), ApiError> {
        let from = from(request);
        let rates = &self.0.rates;
        let (limit, identity) = match asks {
            Err(_) => (Limit::Failures, Identity::failing(from)),
            Ok(Asks::Near) => (Limit::Administrators, Identity::address(from)),
            Ok(Asks::OfRoot(user)) => (Limit::Administrators, Identity::User(user.clone())),
            Ok(Asks::Scraper(user)) => (Limit::Users, Identity::User(user.clone())),
            Ok(Asks::Subject(_, Subject::User { user, scope, .. })) => {
                let all = scope.is_full() && user.is_administrator();
                let limit = if all {
                    Limit::Administrators
                } else {
                    Limit::Users
                };
                (limit, Identity::User(user.name.clone()))
            }
            Ok(Asks::Somebody(_) | Asks::Subject(..)) => {
                (Limit::Addresses, Identity::address(from))
            }
        };
        let now = rates.now();
        let mut taken = rates.take(limit, &identity, now);
        // A body may prove something, and is not looked at where too many were wrong: a password, a join token.
        if taken.is_ok() && need == Need::Nothing && !request.method.is_safe() {
            taken = rates.look(Limit::Failures, &Identity::failing(from), now);
        }
        taken.map_err(|refused| self.too_often(&identity, request, refused))
    }

    /// A try to prove something failed.
    fn failed(&self, from: Option<SocketAddr>) -> Result<(), TooOften> {
        let rates = &self.0.rates;
        rates.take(Limit::Failures, &Identity::failing(from), rates.now())
    }

    fn too_often(&self, identity: &Identity, request: &Parts, refused: TooOften) -> ApiError {
        let seconds = refused.seconds();
        let (who, detail) = match identity {
            Identity::User(user) => (
                Who::User(user.to_string()),
                format!("{user} sends too many requests; try again in {seconds} s"),
            ),
            Identity::Address(_) | Identity::Failing(_) => (
                Who::Anonymous,
                format!("too many requests come from this address; try again in {seconds} s"),
            ),
        };
        if refused.news {
            self.0.audit.record(Decided {
                who,
                from: from(request),
                verb: "ask too often".to_owned(),
                resource: format!("{} {}", request.method, request.uri.path()),
                decision: Decision::Refused(detail.clone()),
            });
        }
        ApiError::from(Problem::too_many_requests(detail)).after(seconds)
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
}

/// What a token proves.
fn proven(book: &Book, token: &UserToken) -> Result<Credential, ApiError> {
    let given = token.secret.hash();
    // A token that is not known is compared as well, so that nobody learns from the time which ones are.
    let known = book.access.token(token.id).map_or([0; 32], |it| it.hash);
    if bool::from(known.ct_eq(&given)) {
        Ok(Credential::Token(token.id))
    } else {
        Err(Problem::unauthorized(BAD_TOKEN).into())
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
pub(super) fn bearer(header: &str) -> Option<&str> {
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
