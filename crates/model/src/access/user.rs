//! Users, and what they prove themselves by.

use std::collections::BTreeMap;
use std::fmt;

use super::role::Role;
use super::tenant::TenantPath;
use crate::id::TokenId;
use crate::name::Name;
use crate::time::Wall;

/// Where an account is in its life. A deleted one is forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserState {
    /// It waits for an administrator of its home, and can do nothing.
    Requested,
    /// It may do what its roles allow.
    Active,
    /// Neither its tokens nor its password mean anything.
    Suspended,
}

impl UserState {
    /// The word in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Active => "active",
            Self::Suspended => "suspended",
        }
    }
}

/// The hash of a password as the shell made it, with its parameters and salt. It is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(pub String);

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash")
    }
}

/// An account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Unique in the whole system.
    pub name: Name,
    /// The tenant whose administrators answer for it: they approve, suspend and delete it.
    pub home: TenantPath,
    /// Where it is in its life.
    pub state: UserState,
    /// `None`: it has tokens only.
    pub password: Option<PasswordHash>,
    /// What it is, at which tenants; each holds below its tenant as well.
    pub roles: BTreeMap<TenantPath, Role>,
    /// When it was asked for.
    pub created_at: Wall,
}

impl User {
    /// Whether it may do anything.
    pub fn is_active(&self) -> bool {
        self.state == UserState::Active
    }

    /// Whether it decides about everything.
    pub fn is_administrator(&self) -> bool {
        self.is_active() && self.roles.get(&TenantPath::root()) == Some(&Role::Admin)
    }
}

/// What a token is good for, at most: never more than its user may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// What this role may not, the token may not.
    pub role: Role,
    /// Nothing outside of this tenant and those below it; `None`: everywhere.
    pub tenant: Option<TenantPath>,
}

impl Scope {
    /// All that the user may.
    pub const FULL: Self = Self {
        role: Role::Admin,
        tenant: None,
    };

    /// Whether it lets through all that the user may.
    pub fn is_full(&self) -> bool {
        *self == Self::FULL
    }
}

/// What a token gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grant {
    /// A user's own: what the user may, within the scope.
    User {
        /// Whose.
        name: Name,
        /// How far.
        scope: Scope,
    },
    /// An account whose home is this tenant, once.
    Invitation {
        /// The tenant.
        tenant: TenantPath,
        /// What the account will be there; `None`: nothing, for somebody who will ask for a tenant.
        role: Option<Role>,
    },
}

/// What a secret proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Public.
    pub id: TokenId,
    /// SHA-256 of the secret. The shell compares it, in constant time.
    pub hash: [u8; 32],
    /// What it gives.
    pub grant: Grant,
    /// When it was made.
    pub created_at: Wall,
    /// From then on it gives nothing; `None`: never.
    pub expires_at: Option<Wall>,
}

impl Token {
    /// Whether it gives nothing any more.
    pub fn is_expired(&self, at: Wall) -> bool {
        self.expires_at.is_some_and(|end| end <= at)
    }
}

/// What the shell has proved of who sends a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// Nothing.
    None,
    /// The secret of this token came with it.
    Token(TokenId),
    /// This user's password came with it.
    Password(Name),
}

/// Who asks. It borrows the book, so it is never older than what is decided by it.
#[derive(Debug, Clone)]
pub enum Subject<'a> {
    /// Nobody that is known.
    Stranger,
    /// Who was invited and has no account yet.
    Invited {
        /// The invitation.
        token: TokenId,
        /// The home that it offers.
        tenant: &'a TenantPath,
        /// The role there.
        role: Option<Role>,
    },
    /// A user.
    User {
        /// Active.
        user: &'a User,
        /// How far the credential goes.
        scope: Scope,
        /// The token; `None`: it was the password.
        token: Option<TokenId>,
    },
}
