//! Who may do what, and how much of it: tenants with their quotas, users with their roles and tokens.
//!
//! Pure bookkeeping, the same for a root and for a cluster, embedded as [`JobBook`](crate::book::JobBook) is. The shell
//! proves a [`Credential`]; [`AccessBook::subject`] says who that is, [`AccessBook::decide`] what a request of theirs
//! changes. For everything else a core asks [`AccessBook::authorize`] first. For jobs it then asks
//! [`AccessBook::policy`] and [`AccessBook::check`], and as it applies a job it tells [`AccessBook::charge`]: decided one
//! after another on the working state, no number of submissions exceeds a quota.
//!
//! Roles, quotas and policies hold for a tenant and all below it. What limits a tenant is decided above it.

mod authorize;
mod policy;
mod quota;
mod request;
mod role;
mod tenant;
mod tenants;
mod user;
mod users;

use std::collections::{BTreeMap, BTreeSet};

pub use authorize::{Access, Denied};
pub use policy::{Forbidden, Policy, registry};
pub use quota::{Exceeded, Measure, Quota, Quotas, Usage};
pub use request::{AccessAnswer, AccessRequest, AccessWrite, Entry, Minted, Refusal};
pub use role::{Resource, Role, Verb};
pub use tenant::{Tenant, TenantPath, TenantPathError, TenantState};
pub use user::{Credential, Grant, PasswordHash, Scope, Subject, Token, User, UserState};

use crate::id::TokenId;
use crate::name::Name;
use crate::time::Wall;

/// What a request comes to.
type Decided = Result<(Vec<AccessWrite>, AccessAnswer), Refusal>;

/// Tenants, users and tokens of one orchestrator, and what the tenants' jobs ask for.
#[derive(Debug, Clone)]
pub struct AccessBook {
    tenants: BTreeMap<TenantPath, Tenant>,
    users: BTreeMap<Name, User>,
    tokens: BTreeMap<TokenId, Token>,
    by_expiry: BTreeSet<(Wall, TokenId)>,
    quotas: Quotas,
}

impl Default for AccessBook {
    /// The root tenant, without limits, and no user.
    fn default() -> Self {
        let root = Tenant {
            path: TenantPath::root(),
            state: TenantState::Active,
            quota: Quota::default(),
            policy: Policy::default(),
            created_at: Wall::default(),
        };
        Self {
            tenants: BTreeMap::from([(root.path.clone(), root)]),
            users: BTreeMap::new(),
            tokens: BTreeMap::new(),
            by_expiry: BTreeSet::new(),
            quotas: Quotas::default(),
        }
    }
}

impl AccessBook {
    /// How many tenants below one, accounts of it and invitations to it may wait, of each.
    pub const WAITING: usize = 100;
    /// How many tokens a user may have.
    pub const TOKENS: usize = 100;

    /// Who that is; `None`: the credential means nothing (any more), whatever the reason (401).
    pub fn subject(&self, credential: &Credential, at: Wall) -> Option<Subject<'_>> {
        let active = |name| self.users.get(name).filter(|user| user.is_active());
        let id = match credential {
            Credential::None => return Some(Subject::Stranger),
            Credential::Password(name) => {
                return Some(Subject::User {
                    user: active(name)?,
                    scope: Scope::FULL,
                    token: None,
                });
            }
            Credential::Token(id) => *id,
        };
        let token = self.tokens.get(&id).filter(|token| !token.is_expired(at))?;
        Some(match &token.grant {
            Grant::User { name, scope } => Subject::User {
                user: active(name)?,
                scope: scope.clone(),
                token: Some(id),
            },
            Grant::Invitation { tenant, role } => Subject::Invited {
                token: id,
                tenant,
                role: *role,
            },
        })
    }

    /// What a request means: the changes to store, and the answer once they are.
    pub fn decide(
        &self,
        subject: &Subject<'_>,
        at: Wall,
        request: &AccessRequest,
    ) -> (Vec<AccessWrite>, AccessAnswer) {
        use AccessRequest as Ask;
        let decided = match request {
            Ask::RequestTenant {
                tenant,
                quota,
                policy,
            } => self.request_tenant(subject, tenant, quota, policy, at),
            Ask::ApproveTenant { tenant } => self.approve_tenant(subject, tenant),
            Ask::ChangeTenant {
                tenant,
                quota,
                policy,
            } => self.change_tenant(subject, tenant, quota.as_ref(), policy.as_ref()),
            Ask::SuspendTenant { tenant } => {
                self.turn_tenant(subject, tenant, TenantState::Suspended)
            }
            Ask::ResumeTenant { tenant } => self.turn_tenant(subject, tenant, TenantState::Active),
            Ask::DeleteTenant { tenant } => self.delete_tenant(subject, tenant),
            Ask::RequestUser {
                name,
                home,
                password,
            } => self.request_user(name, home, password, at),
            Ask::AcceptInvitation { name, password } => {
                self.accept_invitation(subject, name, password, at)
            }
            Ask::ApproveUser { user, role } => self.approve_user(subject, user, *role),
            Ask::SetRole { user, tenant, role } => self.set_role(subject, user, tenant, *role),
            Ask::SuspendUser { user } => self.turn_user(subject, user, UserState::Suspended),
            Ask::ResumeUser { user } => self.turn_user(subject, user, UserState::Active),
            Ask::DeleteUser { user } => self.delete_user(subject, user),
            Ask::SetPassword { user, password } => self.set_password(subject, user, password),
            Ask::CreateToken {
                minted,
                scope,
                expires_at,
            } => self.create_token(subject, *minted, scope, *expires_at, at),
            Ask::Invite {
                minted,
                tenant,
                role,
                expires_at,
            } => {
                let grant = Grant::Invitation {
                    tenant: tenant.clone(),
                    role: *role,
                };
                self.invite(subject, minted.token(grant, at, Some(*expires_at)), tenant)
            }
            Ask::Revoke { token } => self.revoke(subject, *token),
        };
        decided.unwrap_or_else(|refusal| (Vec::new(), AccessAnswer::Refused(refusal)))
    }

    /// Takes a change that was decided. The order of those of one store does not matter.
    pub fn apply(&mut self, write: &AccessWrite) {
        match write {
            AccessWrite::Tenant(tenant) => {
                let nothing = Quota::default();
                let quota = match &tenant.state {
                    // What is not approved takes nothing.
                    TenantState::Requested { .. } => &nothing,
                    TenantState::Active | TenantState::Suspended => &tenant.quota,
                };
                self.quotas.limit(&tenant.path, quota);
                self.tenants.insert(tenant.path.clone(), tenant.clone());
            }
            AccessWrite::User(user) => {
                self.users.insert(user.name.clone(), user.clone());
            }
            AccessWrite::Token(token) => {
                self.by_expiry
                    .extend(token.expires_at.map(|end| (end, token.id)));
                self.tokens.insert(token.id, token.clone());
            }
            AccessWrite::Forget(Entry::Tenant(path)) => {
                self.quotas.limit(path, &Quota::default());
                self.tenants.remove(path);
            }
            AccessWrite::Forget(Entry::User(name)) => {
                self.users.remove(name);
            }
            AccessWrite::Forget(Entry::Token(id)) => {
                let forgotten = self.tokens.remove(id);
                if let Some(end) = forgotten.and_then(|token| token.expires_at) {
                    self.by_expiry.remove(&(end, *id));
                }
            }
        }
    }
}

/// What others read, ask and tell.
impl AccessBook {
    /// All tenants by path.
    pub fn tenants(&self) -> impl Iterator<Item = &Tenant> {
        self.tenants.values()
    }

    /// The tenant of that path.
    pub fn tenant(&self, path: &TenantPath) -> Option<&Tenant> {
        self.tenants.get(path)
    }

    /// All users by name.
    pub fn users(&self) -> impl Iterator<Item = &User> {
        self.users.values()
    }

    /// The user of that name.
    pub fn user(&self, name: &Name) -> Option<&User> {
        self.users.get(name)
    }

    /// All tokens by id, invitations included.
    pub fn tokens(&self) -> impl Iterator<Item = &Token> {
        self.tokens.values()
    }

    /// The token of that id, whose hash the shell compares before it believes in it.
    pub fn token(&self, id: TokenId) -> Option<&Token> {
        self.tokens.get(&id)
    }

    /// The token that expired first, if one has: there is no use in keeping it.
    pub fn expired(&self, now: Wall) -> Option<TokenId> {
        let (end, id) = self.by_expiry.first()?;
        (*end <= now).then_some(*id)
    }

    /// Everything but what jobs ask for, as the changes that make it.
    pub fn writes(&self) -> impl Iterator<Item = AccessWrite> {
        let tenants = self.tenants.values().cloned().map(AccessWrite::Tenant);
        let users = self.users.values().cloned().map(AccessWrite::User);
        let tokens = self.tokens.values().cloned().map(AccessWrite::Token);
        tenants.chain(users).chain(tokens)
    }

    /// What the jobs of a tenant may run: what its policy and each one above it allow.
    pub fn policy(&self, tenant: &TenantPath) -> Policy {
        let path = tenant
            .upwards()
            .filter_map(|above| self.tenants.get(&above));
        path.fold(Policy::default(), |policy, above| {
            policy.below(&above.policy)
        })
    }

    /// What the jobs of a tenant, and of all below it, ask for.
    pub fn usage(&self, tenant: &TenantPath) -> Usage {
        self.quotas.usage(tenant)
    }

    /// Whether a tenant has room for so much more. What is not demanded is not refused, even where there is too much of it.
    ///
    /// # Errors
    /// Names the quota that is in the way: its own, or one above it.
    pub fn check(&self, tenant: &TenantPath, demand: &Usage) -> Result<(), Exceeded> {
        self.quotas.check(tenant, demand)
    }

    /// Takes what a job of the tenant asked for before, and asks for now; nothing, where there is no job.
    pub fn charge(&mut self, tenant: &TenantPath, before: &Usage, after: &Usage) {
        self.quotas.charge(tenant, before, after);
    }
}
