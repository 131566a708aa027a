//! What is asked of tenants, users and tokens, and what becomes of it.

use std::fmt;

use super::authorize::Denied;
use super::policy::{Forbidden, Policy};
use super::quota::{Exceeded, Measure, Quota};
use super::role::Role;
use super::tenant::{Tenant, TenantPath};
use super::user::{PasswordHash, Scope, Token, User};
use crate::id::TokenId;
use crate::name::Name;
use crate::time::Wall;

/// What the shell minted for a token; the secret itself goes to who asked, and nowhere else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Minted {
    /// Its id.
    pub id: TokenId,
    /// SHA-256 of its secret.
    pub hash: [u8; 32],
}

/// What is asked of tenants, users and tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessRequest {
    /// A tenant, by any user. Who may approve it need not: then it is active at once.
    RequestTenant {
        /// Where it is to be.
        tenant: TenantPath,
        /// What it should have.
        quota: Quota,
        /// What its jobs may run.
        policy: Policy,
    },
    /// Makes a tenant that was asked for active, and who asked its administrator.
    ApproveTenant {
        /// Which.
        tenant: TenantPath,
    },
    /// Another quota or policy; of one that waits for approval, too.
    ChangeTenant {
        /// Which.
        tenant: TenantPath,
        /// All of its quota; `None`: as it is.
        quota: Option<Quota>,
        /// All of its policy; `None`: as it is.
        policy: Option<Policy>,
    },
    /// Nothing is added or changed in it and below it any more; what runs goes on.
    SuspendTenant {
        /// Which.
        tenant: TenantPath,
    },
    /// A suspended tenant is active again.
    ResumeTenant {
        /// Which.
        tenant: TenantPath,
    },
    /// Forgets a tenant that is empty, or refuses one that was asked for.
    DeleteTenant {
        /// Which.
        tenant: TenantPath,
    },
    /// An account, by anybody.
    RequestUser {
        /// How it will be called.
        name: Name,
        /// Whose administrators should approve it.
        home: TenantPath,
        /// What it will log in by.
        password: PasswordHash,
    },
    /// An account, by who was invited: active at once, with the role of the invitation.
    AcceptInvitation {
        /// How it will be called.
        name: Name,
        /// What it will log in by.
        password: PasswordHash,
    },
    /// Makes an account that was asked for active.
    ApproveUser {
        /// Whose.
        user: Name,
        /// What it is at its home; `None`: nothing, for somebody who will ask for a tenant.
        role: Option<Role>,
    },
    /// What a user is at a tenant from now on, instead of what it was.
    SetRole {
        /// Of any home.
        user: Name,
        /// There, and below it.
        tenant: TenantPath,
        /// `None`: nothing.
        role: Option<Role>,
    },
    /// Neither tokens nor password of the account mean anything until it is resumed.
    SuspendUser {
        /// Whose.
        user: Name,
    },
    /// A suspended account is active again.
    ResumeUser {
        /// Whose.
        user: Name,
    },
    /// Forgets an account with its tokens and what it asked for, or refuses one that was asked for.
    DeleteUser {
        /// Whose.
        user: Name,
    },
    /// Another password: one's own, or, by an administrator of the root, anybody's.
    SetPassword {
        /// Whose.
        user: Name,
        /// What it logs in by from now on.
        password: PasswordHash,
    },
    /// A token of one's own.
    CreateToken {
        /// Its id and hash.
        minted: Minted,
        /// What it is good for.
        scope: Scope,
        /// How long; `None`: until it is revoked.
        expires_at: Option<Wall>,
    },
    /// An invitation to a tenant.
    Invite {
        /// Its id and hash.
        minted: Minted,
        /// The home of who accepts it.
        tenant: TenantPath,
        /// The role there; `None`: nothing, for somebody who will ask for a tenant.
        role: Option<Role>,
        /// How long.
        expires_at: Wall,
    },
    /// Makes a token or an invitation void: one's own token, or by an administrator of its user's or its tenant.
    Revoke {
        /// Which.
        token: TokenId,
    },
}

/// What the book has one of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A tenant.
    Tenant(TenantPath),
    /// A user.
    User(Name),
    /// A token or an invitation.
    Token(TokenId),
}

impl Entry {
    const fn kind(&self) -> &'static str {
        match self {
            Self::Tenant(_) => "tenant",
            Self::User(_) => "user",
            Self::Token(_) => "token",
        }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name: &dyn fmt::Display = match self {
            Self::Tenant(path) => path,
            Self::User(name) => name,
            Self::Token(id) => id,
        };
        write!(f, "{} {name}", self.kind())
    }
}

impl From<&TenantPath> for Entry {
    fn from(path: &TenantPath) -> Self {
        Self::Tenant(path.clone())
    }
}

impl From<&Name> for Entry {
    fn from(name: &Name) -> Self {
        Self::User(name.clone())
    }
}

/// What became of an [`AccessRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessAnswer {
    /// It is as asked: it stands in the book as it now is, or is forgotten.
    Done(Entry),
    /// It is refused.
    Refused(Refusal),
}

/// A change of the book, to be stored before it is applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessWrite {
    /// A tenant, as it now is.
    Tenant(Tenant),
    /// A user, as it now is.
    User(User),
    /// A token, which never changes.
    Token(Token),
    /// It is forgotten.
    Forget(Entry),
}

/// Why a request about tenants, users or tokens is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is none, or it is none of the subject's business.
    #[error("there is no {0} that you may see; GET /api/v1/{kind}s lists those", kind = .0.kind())]
    NotFound(Entry),
    /// The subject may not.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The name is taken.
    #[error("there is a {0} already, or one was asked for; choose another name")]
    Exists(Entry),
    /// It was not approved yet.
    #[error("{0} waits for approval: approve it first, or delete it to refuse it")]
    Requested(Entry),
    /// It was approved, and suspended since.
    #[error("{0} is suspended: resume it instead")]
    Suspended(Entry),
    /// A tenant above has no room for the quota.
    #[error("the quota does not fit: {0}")]
    Exceeded(#[from] Exceeded),
    /// The quota is less than what the tenant has.
    #[error(
        "a quota of {} is too little for tenant {tenant}: {} are used or given to tenants below it; free some first",
        what.amount(*limit), what.amount(*used)
    )]
    BelowUse {
        /// Whose.
        tenant: TenantPath,
        /// What it would have too little of.
        what: Measure,
        /// As asked, in the unit of the measure.
        limit: u64,
        /// What is used by its own jobs or given to tenants below it.
        used: u64,
    },
    /// The policy allows what is not allowed above.
    #[error("a tenant may only narrow what is allowed above it: {0}")]
    Wider(#[from] Forbidden),
    /// Something is in the tenant.
    #[error(
        "tenant {tenant} is not empty: {jobs} jobs, {tenants} tenants below it, {users} users; delete these first"
    )]
    NotEmpty {
        /// Which.
        tenant: TenantPath,
        /// Jobs that are not deleted.
        jobs: u64,
        /// Tenants below it, those that were asked for included.
        tenants: usize,
        /// Accounts whose home it is.
        users: usize,
    },
    /// The root cannot be suspended or deleted.
    #[error("the tenant above all stays; suspend or delete those below it")]
    Root,
    /// Nobody would be left to decide about everything.
    #[error("{0} is the last administrator of the root tenant; make another user one first")]
    LastAdministrator(Name),
    /// Too many wait already.
    #[error(
        "tenant {tenant} has {limit} {what} already; have some of them decided, used or deleted first"
    )]
    TooMany {
        /// Where.
        tenant: TenantPath,
        /// Of what, in the plural.
        what: &'static str,
        /// How many there may be.
        limit: usize,
    },
    /// The user has too many tokens.
    #[error("{user} has {limit} tokens already; revoke some first")]
    TooManyTokens {
        /// Whose.
        user: Name,
        /// How many there may be.
        limit: usize,
    },
    /// Such a token would be of no use.
    #[error("the token would have expired already; choose a later end")]
    Past,
    /// What comes with the request is no invitation.
    #[error(
        "this needs an invitation: send its token, or ask for an account and wait for approval"
    )]
    NoInvitation,
}
