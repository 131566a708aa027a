//! For which tenant a request is: `?tenant=`, and `tenant:` at the top of documents.

use axum::extract::FromRequestParts;
use axum::http::Uri;
use axum::http::request::Parts;
use model::access::TenantPath;
use model::book::Asked;
use protocol::problem::Problem;
use rest::ApiError;
use rest::api::{Input, Taken};
use rest::guard::Caller;
use rest::schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::traces::Came;

/// The parameter of every request that is for a tenant.
#[derive(Debug, JsonSchema)]
#[schemars(crate = "rest::schemars")]
#[expect(dead_code, reason = "it only describes")]
struct TenantQuery {
    /// Names mean jobs of this tenant, new jobs belong to it, and a list has only what it and those below it have, as in
    /// `university/lab`; where left out: `default`, the tenant above all.
    tenant: Option<String>,
}

/// The query of a request that has no other parameter.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(crate = "rest::schemars")]
#[serde(deny_unknown_fields)]
pub struct NoMore {}

/// Who asks, for which tenant, and what else the query says.
///
/// It reads the whole query: a handler has no other [`rest::Query`] beside it.
#[derive(Debug)]
pub struct Asking<Q = NoMore> {
    /// For which tenant, and how far may be seen.
    pub tenant: ForTenant,
    /// The other parameters.
    pub query: Q,
    /// When, and from where.
    pub(crate) came: Came,
}

/// For which tenant a request is, and how far it sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForTenant {
    /// As the query says.
    given: Option<TenantPath>,
    within: TenantPath,
}

impl ForTenant {
    /// The tenant that a request names, if it does, of one who sees that much.
    ///
    /// # Errors
    /// 404 for a tenant that may not be seen.
    pub fn new(given: Option<TenantPath>, within: TenantPath) -> Result<Self, ApiError> {
        if let Some(hidden) = given.as_ref().filter(|given| !given.is_within(&within)) {
            return Err(Problem::not_found("tenant", hidden.as_str()).into());
        }
        Ok(Self { given, within })
    }

    /// As it was given: the tenant that the request names, and how far is seen.
    pub fn parts(&self) -> (Option<TenantPath>, TenantPath) {
        (self.given.clone(), self.within.clone())
    }

    /// What names mean, and what is seen.
    pub fn asked(&self) -> Asked {
        Asked {
            // One who sees less than everything means the highest that is seen.
            tenant: self.given.as_ref().unwrap_or(&self.within).clone(),
            within: self.within.clone(),
        }
    }

    /// Whose things a list has, with those of all below.
    pub fn listed(&self) -> TenantPath {
        self.asked().narrowed().within
    }

    /// The same for documents that may name their tenant.
    ///
    /// # Errors
    /// 422 where query and documents name different ones, 404 for a tenant that may not be seen.
    pub fn documents(&self, named: Option<TenantPath>) -> Result<Asked, ApiError> {
        if let (Some(given), Some(named)) = (&self.given, &named)
            && given != named
        {
            let detail = format!(
                "the document belongs to tenant {named}, and the request is for tenant {given}; name the same in both, or leave one out"
            );
            return Err(mismatch(detail));
        }
        let given = named.or_else(|| self.given.clone());
        Ok(Self::new(given, self.within.clone())?.asked())
    }
}

/// 422: not the tenant that something else names.
pub(super) fn mismatch(detail: String) -> ApiError {
    Problem::unprocessable("tenant_mismatch", detail).into()
}

impl<Q: DeserializeOwned, S: Sync> FromRequestParts<S> for Asking<Q> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let (mut given, mut others) = (None, Vec::new());
        for part in parts.uri.query().unwrap_or_default().split('&') {
            let pairs: Vec<(String, String)> = read(part)?;
            match pairs.into_iter().next() {
                Some((key, value)) if key == "tenant" => {
                    if given.is_some() {
                        return Err(Problem::bad_request("tenant is given twice").into());
                    }
                    given = Some(path(&value)?);
                }
                Some(_) | None => others.push(part),
            }
        }
        let parent = parts.headers.get("traceparent");
        Ok(Self {
            came: Came::now(parent.and_then(|parent| parent.to_str().ok())),
            tenant: ForTenant::new(given, within(parts))?,
            query: read(&others.join("&"))?,
        })
    }
}

/// What the caller may see: where its rights were looked at, which hold below as well.
fn within(parts: &Parts) -> TenantPath {
    let caller = parts.extensions.get::<Caller>();
    caller.map_or_else(TenantPath::root, |caller| caller.tenant.clone())
}

fn path(text: &str) -> Result<TenantPath, ApiError> {
    TenantPath::new(text).map_err(|error| Problem::bad_request(error.to_string()).into())
}

fn read<T: DeserializeOwned>(query: &str) -> Result<T, ApiError> {
    let uri = Uri::builder().path_and_query(format!("/?{query}")).build();
    let uri = uri.map_err(|error| Problem::bad_request(error.to_string()))?;
    axum::extract::Query::try_from_uri(&uri)
        .map(|axum::extract::Query(value)| value)
        .map_err(|rejection| Problem::bad_request(rejection.body_text()).into())
}

impl<Q: JsonSchema> Input for Asking<Q> {
    fn describe(taken: &mut Taken) {
        taken.query::<TenantQuery>();
        taken.query::<Q>();
        taken.problem(404);
    }
}

#[cfg(test)]
mod tests;
