//! Tenants, users, their tokens, and who may join and has.

use std::collections::{BTreeMap, BTreeSet};

use model::access::{
    Grant, PasswordHash, Policy, Quota, Role, Scope, Tenant, TenantPath, TenantState, Token, User,
    UserState,
};
use model::id::{JoinTokenId, TokenId};
use model::joining::{JoinGrant, Member};
use model::name::Name;
use model::time::Wall;
use model::units::{Bytes, Millicores};
use model::workload::RuntimeKind;
use serde::{Deserialize, Serialize};

use crate::workload::is_default;

/// The word is one of a later version.
#[derive(Debug, thiserror::Error)]
#[error("{word:?} is no {what} that this program knows; run the version that wrote it")]
pub struct UnknownWord {
    what: &'static str,
    word: String,
}

fn unknown(what: &'static str, word: &str) -> UnknownWord {
    UnknownWord {
        what,
        word: word.to_owned(),
    }
}

fn role(word: &str) -> Result<Role, UnknownWord> {
    Role::parse(word).ok_or_else(|| unknown("role", word))
}

/// A quota; what is not limited is left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct StoredQuota {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    jobs: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    instances: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cpu_millicores: Option<Millicores>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    memory: Option<Bytes>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    disk: Option<Bytes>,
}

impl From<&Quota> for StoredQuota {
    fn from(quota: &Quota) -> Self {
        Self {
            jobs: quota.jobs,
            instances: quota.instances,
            cpu_millicores: quota.cpu,
            memory: quota.memory,
            disk: quota.disk,
        }
    }
}

impl From<StoredQuota> for Quota {
    fn from(stored: StoredQuota) -> Self {
        Self {
            jobs: stored.jobs,
            instances: stored.instances,
            cpu: stored.cpu_millicores,
            memory: stored.memory,
            disk: stored.disk,
        }
    }
}

/// A tenant, but for its path, which the key is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredTenant {
    state: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    requested_by: Option<Name>,
    #[serde(default, skip_serializing_if = "is_default")]
    quota: StoredQuota,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    registries: Option<BTreeSet<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    runtimes: Option<Vec<String>>,
    created_at: Wall,
}

impl From<&Tenant> for StoredTenant {
    fn from(tenant: &Tenant) -> Self {
        let requested_by = match &tenant.state {
            TenantState::Requested { by } => Some(by.clone()),
            TenantState::Active | TenantState::Suspended => None,
        };
        let runtimes = tenant.policy.runtimes.as_ref();
        Self {
            state: tenant.state.as_str().to_owned(),
            requested_by,
            quota: (&tenant.quota).into(),
            registries: tenant.policy.registries.clone(),
            runtimes: runtimes.map(|all| all.iter().map(ToString::to_string).collect()),
            created_at: tenant.created_at,
        }
    }
}

impl StoredTenant {
    /// The tenant of that path.
    ///
    /// # Errors
    /// A word of a later version.
    pub fn into_tenant(self, path: TenantPath) -> Result<Tenant, UnknownWord> {
        let state = match (self.state.as_str(), self.requested_by) {
            ("requested", Some(by)) => TenantState::Requested { by },
            ("active", None) => TenantState::Active,
            ("suspended", None) => TenantState::Suspended,
            (word, _) => return Err(unknown("state of a tenant", word)),
        };
        let runtime =
            |word: &String| RuntimeKind::parse(word).ok_or_else(|| unknown("runtime", word));
        let runtimes = self.runtimes.as_ref();
        let runtimes = runtimes.map(|all| all.iter().map(runtime).collect::<Result<_, _>>());
        Ok(Tenant {
            path,
            state,
            quota: self.quota.into(),
            policy: Policy {
                registries: self.registries,
                runtimes: runtimes.transpose()?,
            },
            created_at: self.created_at,
        })
    }
}

/// A user, but for the name, which the key is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredUser {
    home: TenantPath,
    state: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    password: Option<String>,
    #[serde(default)]
    roles: BTreeMap<TenantPath, String>,
    created_at: Wall,
}

impl From<&User> for StoredUser {
    fn from(user: &User) -> Self {
        let roles = user.roles.iter();
        Self {
            home: user.home.clone(),
            state: user.state.as_str().to_owned(),
            password: user.password.as_ref().map(|hash| hash.0.clone()),
            roles: roles
                .map(|(tenant, role)| (tenant.clone(), role.as_str().to_owned()))
                .collect(),
            created_at: user.created_at,
        }
    }
}

impl StoredUser {
    /// The user of that name.
    ///
    /// # Errors
    /// A word of a later version.
    pub fn into_user(self, name: Name) -> Result<User, UnknownWord> {
        let state = match self.state.as_str() {
            "requested" => UserState::Requested,
            "active" => UserState::Active,
            "suspended" => UserState::Suspended,
            word => return Err(unknown("state of a user", word)),
        };
        let roles = self.roles.into_iter();
        Ok(User {
            name,
            home: self.home,
            state,
            password: self.password.map(PasswordHash),
            roles: roles
                .map(|(tenant, word)| Ok((tenant, role(&word)?)))
                .collect::<Result<_, UnknownWord>>()?,
            created_at: self.created_at,
        })
    }
}

/// A token of a user, or an invitation, but for the id, which the key is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredToken {
    hash: [u8; 32],
    /// A user's own; absent: an invitation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Option<Name>,
    /// Of a user's: the scope; of an invitation: what is offered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    role: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tenant: Option<TenantPath>,
    created_at: Wall,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<Wall>,
}

impl From<&Token> for StoredToken {
    fn from(token: &Token) -> Self {
        let (user, role, tenant) = match &token.grant {
            Grant::User { name, scope } => {
                (Some(name.clone()), Some(scope.role), scope.tenant.clone())
            }
            Grant::Invitation { tenant, role } => (None, *role, Some(tenant.clone())),
        };
        Self {
            hash: token.hash,
            user,
            role: role.map(|role| role.as_str().to_owned()),
            tenant,
            created_at: token.created_at,
            expires_at: token.expires_at,
        }
    }
}

impl StoredToken {
    /// The token of that id.
    ///
    /// # Errors
    /// A word of a later version.
    pub fn into_token(self, id: TokenId) -> Result<Token, UnknownWord> {
        let role = self.role.as_deref().map(role).transpose()?;
        let grant = match (self.user, role, self.tenant) {
            (Some(name), Some(role), tenant) => Grant::User {
                name,
                scope: Scope { role, tenant },
            },
            (None, role, Some(tenant)) => Grant::Invitation { tenant, role },
            (_, _, _) => return Err(unknown("kind of token", "")),
        };
        Ok(Token {
            id,
            hash: self.hash,
            grant,
            created_at: self.created_at,
            expires_at: self.expires_at,
        })
    }
}

/// A join token, but for the id, which the key is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredGrant {
    hash: [u8; 32],
    uses: u32,
    by: String,
    created_at: Wall,
    expires_at: Wall,
}

impl From<&JoinGrant> for StoredGrant {
    fn from(grant: &JoinGrant) -> Self {
        Self {
            hash: grant.hash,
            uses: grant.uses,
            by: grant.by.clone(),
            created_at: grant.created_at,
            expires_at: grant.expires_at,
        }
    }
}

impl StoredGrant {
    /// The join token of that id.
    pub fn into_grant(self, id: JoinTokenId) -> JoinGrant {
        JoinGrant {
            id,
            hash: self.hash,
            uses: self.uses,
            by: self.by,
            created_at: self.created_at,
            expires_at: self.expires_at,
        }
    }
}

/// When a token was last used, but for its id, which the key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredUse {
    /// Then.
    pub at: Wall,
}

/// Somebody who has an identity, but for the id, which the key is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredMember {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<[u8; 32]>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    tokens: BTreeSet<JoinTokenId>,
    joined_at: Wall,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    revoked_at: Option<Wall>,
}

impl From<&Member> for StoredMember {
    fn from(member: &Member) -> Self {
        Self {
            key: member.key,
            tokens: member.tokens.clone(),
            joined_at: member.joined_at,
            revoked_at: member.revoked_at,
        }
    }
}

impl StoredMember {
    /// The member of that id.
    pub fn into_member(self, id: u128) -> Member {
        Member {
            id,
            key: self.key,
            tokens: self.tokens,
            joined_at: self.joined_at,
            revoked_at: self.revoked_at,
        }
    }
}
