//! Users, their tokens, and tenants.

mod limits;
mod request;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use model::access::{Grant, Scope, Tenant, TenantPath, TenantState, Token, User};
use model::id::TokenId;
use model::time::Wall;
use serde::{Deserialize, Serialize};

use crate::time::{rfc3339, rfc3339_option};

pub use limits::{PolicyBody, QuotaBody};
pub use request::{
    ApproveRequest, InvitationRequest, LoginRequest, Password, PasswordError, PasswordRequest,
    RoleRequest, TenantPatch, TenantRequest, TokenRequest, UserRequest,
};

/// A user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct UserBody {
    /// Unique in the whole system.
    pub name: String,
    /// The tenant whose administrators answer for the account.
    pub home: String,
    /// `requested`, `active` or `suspended`.
    pub state: String,
    /// What the user is, by tenant; each holds below its tenant as well. Of tenants whose users you may see.
    #[serde(default)]
    pub roles: BTreeMap<String, String>,
    /// Whether it can log in by a password.
    #[serde(default)]
    pub has_password: bool,
    /// When it was asked for.
    #[serde(with = "rfc3339")]
    #[cfg_attr(feature = "openapi", schemars(with = "crate::rest::schema::Time"))]
    pub created_at: Wall,
}

/// A token of a user, or an invitation; its secret is shown once, when it is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct TokenBody {
    /// Which token it is.
    #[cfg_attr(
        feature = "openapi",
        schemars(with = "crate::rest::schema::TokenIdText")
    )]
    pub token_id: TokenId,
    /// Whose it is; null for an invitation.
    #[serde(default)]
    pub user: Option<String>,
    /// What this role may not, the token may not; of an invitation: what the account will be, null for nothing.
    #[serde(default)]
    pub role: Option<String>,
    /// Nothing outside of this tenant, null: everywhere; of an invitation: the home of the account.
    #[serde(default)]
    pub tenant: Option<String>,
    /// When it was made.
    #[serde(with = "rfc3339")]
    #[cfg_attr(feature = "openapi", schemars(with = "crate::rest::schema::Time"))]
    pub created_at: Wall,
    /// From then on it gives nothing; null: it lasts until it is revoked.
    #[serde(default, with = "rfc3339_option")]
    #[cfg_attr(
        feature = "openapi",
        schemars(with = "Option<crate::rest::schema::Time>")
    )]
    pub expires_at: Option<Wall>,
    /// When it was last used, as far as the orchestrator noted it since it started.
    #[serde(default, with = "rfc3339_option")]
    #[cfg_attr(
        feature = "openapi",
        schemars(with = "Option<crate::rest::schema::Time>")
    )]
    pub last_used: Option<Wall>,
}

/// A token that was just made: the only answer that holds its text.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct NewTokenBody {
    /// The whole token: send it as `Authorization: Bearer`. It is not shown again.
    pub token: String,
    /// Which token it is.
    #[cfg_attr(
        feature = "openapi",
        schemars(with = "crate::rest::schema::TokenIdText")
    )]
    pub token_id: TokenId,
    /// Whose it is; null for an invitation.
    #[serde(default)]
    pub user: Option<String>,
    /// What this role may not, the token may not; of an invitation: what the account will be, null for nothing.
    #[serde(default)]
    pub role: Option<String>,
    /// Nothing outside of this tenant, null: everywhere; of an invitation: the home of the account.
    #[serde(default)]
    pub tenant: Option<String>,
    /// When it was made.
    #[serde(with = "rfc3339")]
    #[cfg_attr(feature = "openapi", schemars(with = "crate::rest::schema::Time"))]
    pub created_at: Wall,
    /// From then on it gives nothing; null: it lasts until it is revoked.
    #[serde(default, with = "rfc3339_option")]
    #[cfg_attr(
        feature = "openapi",
        schemars(with = "Option<crate::rest::schema::Time>")
    )]
    pub expires_at: Option<Wall>,
}

/// A tenant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct TenantBody {
    /// Its path from below the root tenant, as in `university/lab`; `default` is the root.
    pub tenant: String,
    /// `requested`, `active` or `suspended`.
    pub state: String,
    /// Who asked for it, and will be its administrator; null once it is approved.
    #[serde(default)]
    pub requested_by: Option<String>,
    /// How much it may have, with all below it.
    #[serde(default)]
    pub quota: QuotaBody,
    /// What its jobs may run.
    #[serde(default)]
    pub policy: PolicyBody,
    /// When it was asked for.
    #[serde(with = "rfc3339")]
    #[cfg_attr(feature = "openapi", schemars(with = "crate::rest::schema::Time"))]
    pub created_at: Wall,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct WhoamiBody {
    /// The user; null where the orchestrator keeps none, and for an invitation.
    #[serde(default)]
    pub user: Option<String>,
    /// What the user is, by tenant.
    #[serde(default)]
    pub roles: BTreeMap<String, String>,
    /// What the token limits; null: nothing.
    #[serde(default)]
    pub scope: Option<ScopeBody>,
    /// The tenant of requests that name none.
    pub tenant: String,
}

/// What a token limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct ScopeBody {
    /// What this role may not, the token may not.
    pub role: String,
    /// Nothing outside of this tenant; null: everywhere.
    #[serde(default)]
    pub tenant: Option<String>,
}

impl UserBody {
    /// Of a user, with the roles at those tenants that may be seen.
    pub fn of(user: &User, sees: impl Fn(&TenantPath) -> bool) -> Self {
        let roles = user.roles.iter().filter(|(tenant, _)| sees(tenant));
        Self {
            name: user.name.to_string(),
            home: user.home.to_string(),
            state: user.state.as_str().to_owned(),
            roles: roles
                .map(|(tenant, role)| (tenant.to_string(), role.to_string()))
                .collect(),
            has_password: user.password.is_some(),
            created_at: user.created_at,
        }
    }
}

impl TokenBody {
    /// Of a token, and when it was last used.
    pub fn of(token: &Token, last_used: Option<Wall>) -> Self {
        let (user, role, tenant) = match &token.grant {
            Grant::User { name, scope } => (
                Some(name.to_string()),
                Some(scope.role),
                scope.tenant.as_ref(),
            ),
            Grant::Invitation { tenant, role } => (None, *role, Some(tenant)),
        };
        Self {
            token_id: token.id,
            user,
            role: role.map(|role| role.to_string()),
            tenant: tenant.map(ToString::to_string),
            created_at: token.created_at,
            expires_at: token.expires_at,
            last_used,
        }
    }
}

impl NewTokenBody {
    /// Of a token and its whole text.
    pub fn of(token: &Token, text: String) -> Self {
        let about = TokenBody::of(token, None);
        Self {
            token: text,
            token_id: about.token_id,
            user: about.user,
            role: about.role,
            tenant: about.tenant,
            created_at: about.created_at,
            expires_at: about.expires_at,
        }
    }
}

impl fmt::Debug for NewTokenBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewTokenBody")
            .field("token_id", &self.token_id)
            .finish_non_exhaustive()
    }
}

impl From<&Tenant> for TenantBody {
    fn from(tenant: &Tenant) -> Self {
        let requested_by = match &tenant.state {
            TenantState::Requested { by } => Some(by.to_string()),
            TenantState::Active | TenantState::Suspended => None,
        };
        Self {
            tenant: tenant.path.to_string(),
            state: tenant.state.as_str().to_owned(),
            requested_by,
            quota: (&tenant.quota).into(),
            policy: (&tenant.policy).into(),
            created_at: tenant.created_at,
        }
    }
}

impl ScopeBody {
    /// Of a scope; nothing where it lets through all that the user may.
    pub fn of(scope: &Scope) -> Option<Self> {
        (!scope.is_full()).then(|| Self {
            role: scope.role.to_string(),
            tenant: scope.tenant.as_ref().map(ToString::to_string),
        })
    }
}
