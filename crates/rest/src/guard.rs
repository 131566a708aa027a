//! Who asks, and whether that may be done: asked before any handler of an [`Api`](crate::Api) runs.
//!
//! Each operation says what it [`Need`]s. A [`Guard`] knows the users; what it says of a request stands in its extensions
//! as a [`Caller`], and it is told what became of the request, for the audit log.

use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{FromRequestParts, Request};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use model::access::{Credential, TenantPath, Verb};
use model::name::Name;
use protocol::problem::Problem;

use crate::ApiError;
use crate::Shown;
use crate::api::{Input, Taken};
use crate::held::hold;

/// What an operation needs of who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Nothing: anybody may.
    Nothing,
    /// A credential that means something; what it may is decided by what is asked.
    Account,
    /// To be allowed this.
    Right(Verb, Realm),
}

/// What of an orchestrator an operation is about: a [`Resource`](model::access::Resource) but for the tenant, which the
/// request says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Realm {
    /// The jobs of the tenant that is asked for.
    Jobs,
    /// Its secrets.
    Secrets,
    /// The audit log of that tenant.
    Audit,
    /// Workers.
    Nodes,
    /// Clusters.
    Clusters,
    /// Tokens by which machines join.
    JoinTokens,
    /// The orchestrator itself.
    System,
}

impl Realm {
    /// The word in descriptions.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Jobs => "jobs",
            Self::Secrets => "secrets",
            Self::Audit => "audit",
            Self::Nodes => "nodes",
            Self::Clusters => "clusters",
            Self::JoinTokens => "join tokens",
            Self::System => "system",
        }
    }
}

/// The address that a request comes from; missing where it did not come over a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct From(pub SocketAddr);

/// Who sends a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// What the request proves.
    pub credential: Credential,
    /// The user; `None`: nobody that is known, or an invitation.
    pub user: Option<Name>,
    /// The tenant that is asked for, or else the user's own.
    pub tenant: TenantPath,
    /// Where it comes from.
    pub from: Option<SocketAddr>,
}

/// What became of a request.
#[derive(Debug)]
pub struct Deed<'a> {
    /// Who asked, as far as it is known.
    pub caller: Option<&'a Caller>,
    /// Where it came from.
    pub from: Option<SocketAddr>,
    /// What it needs.
    pub need: Need,
    /// How it was asked.
    pub method: &'a Method,
    /// What for.
    pub uri: &'a Uri,
    /// The answer's status.
    pub status: u16,
    /// Why the guard let nobody through; `None`: it did.
    pub refused: Option<&'a Problem>,
}

/// Who knows the users.
pub trait Guard: fmt::Debug + Send + Sync + 'static {
    /// Who asks, if that may be done. It does not block.
    ///
    /// # Errors
    /// 401 where the credential means nothing, 403 where it is not enough, 404 where what is asked for is none of the
    /// user's business.
    fn admit(&self, need: Need, request: &Parts) -> Result<Caller, ApiError>;

    /// Who sent a request that was not admitted, where that is somebody; it does not count as asking. It does not block.
    fn known(&self, _request: &Parts) -> Option<Caller> {
        None
    }

    /// A request was answered. It does not block.
    fn told(&self, deed: &Deed<'_>);
}

/// A guard that is shared by all routes.
pub type Guarded = Arc<dyn Guard>;

/// Lets everybody do everything as if it were on this machine: for services that nobody else reaches, and for tests.
#[derive(Debug, Clone, Copy)]
pub struct Unguarded;

impl Guard for Unguarded {
    fn admit(&self, _need: Need, request: &Parts) -> Result<Caller, ApiError> {
        Ok(Caller {
            credential: Credential::None,
            user: None,
            tenant: TenantPath::root(),
            from: from(request),
        })
    }

    fn told(&self, _deed: &Deed<'_>) {}
}

/// The certificate that the sender of a request has shown, if it has.
#[derive(Debug, Clone)]
pub struct Certificate(pub Shown);

impl<S: Send + Sync> FromRequestParts<S> for Certificate {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(Self(parts.extensions.get::<Shown>().cloned().flatten()))
    }
}

impl Input for Certificate {
    fn describe(_taken: &mut Taken) {}
}

/// Where a request comes from.
pub fn from(request: &Parts) -> Option<SocketAddr> {
    request.extensions.get::<From>().map(|from| from.0)
}

/// Asks the guard before the handler, and tells it after.
pub(crate) async fn guarded(need: Need, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let Some(Extension(guard)) = parts.extensions.get::<Extension<Guarded>>().cloned() else {
        tracing::error!("a route is served without a guard; nobody is let through");
        return ApiError::from(Problem::internal()).into_response();
    };
    let from = from(&parts);
    let (method, uri) = (parts.method.clone(), parts.uri.clone());
    let again = Again::of(&parts);
    let deed = |caller, status, refused| {
        guard.told(&Deed {
            caller,
            from,
            need,
            method: &method,
            uri: &uri,
            status,
            refused,
        });
    };
    let caller = match guard.admit(need, &parts) {
        Ok(caller) => caller,
        Err(refusal) => {
            let status = refusal.problem.status;
            // Who is known is named, though it may not do this.
            let known = if matches!(status, 403 | 404) {
                guard.known(&parts)
            } else {
                None
            };
            deed(known.as_ref(), status, Some(&refusal.problem));
            return refusal.into_response();
        }
    };
    parts.extensions.insert(caller.clone());
    let response = next.run(Request::from_parts(parts, body)).await;
    deed(Some(&caller), response.status().as_u16(), None);
    if need == Need::Nothing {
        return response;
    }
    let guard = Arc::clone(&guard);
    hold(response, move || {
        let refused = guard.admit(need, &again.parts()).err();
        // Who asks too often may read on.
        refused.is_none_or(|refusal| refusal.problem.status == 429)
    })
}

/// What a guard looks at of a request, to be asked again.
struct Again {
    method: Method,
    uri: Uri,
    token: Option<HeaderValue>,
    from: Option<From>,
}

impl Again {
    fn of(request: &Parts) -> Self {
        Self {
            method: request.method.clone(),
            uri: request.uri.clone(),
            token: request.headers.get(AUTHORIZATION).cloned(),
            from: request.extensions.get::<From>().copied(),
        }
    }

    fn parts(&self) -> Parts {
        let mut request = axum::http::Request::new(());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        if let Some(token) = &self.token {
            request.headers_mut().insert(AUTHORIZATION, token.clone());
        }
        if let Some(from) = self.from {
            request.extensions_mut().insert(from);
        }
        request.into_parts().0
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        // Every route of an `Api` has asked its guard by then.
        let caller = parts.extensions.get::<Self>().cloned();
        caller.ok_or_else(|| Problem::internal().into())
    }
}

impl Input for Caller {
    fn describe(_taken: &mut Taken) {}
}
