//! Tenants: a tree of namespaces, each with a quota and a policy.

use std::fmt;
use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Serialize};

use super::policy::Policy;
use super::quota::Quota;
use crate::name::Name;
use crate::time::Wall;

/// The text of the tenant above all.
const ROOT: &str = "default";

/// Where a tenant is in the tree: the names from below the root down to it, as in `university/lab`; `default` is the root.
/// Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TenantPath(Arc<str>);

/// Why a text is no path of a tenant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no tenant: write 1 to {} names with / between them, as in university/lab; the tenant above all is `default` and is not written before others",
    TenantPath::DEPTH
)]
pub struct TenantPathError {
    text: String,
}

impl TenantPath {
    /// How many names a path has at most.
    pub const DEPTH: usize = 8;

    /// Checks and keeps a path.
    ///
    /// # Errors
    /// When one of its parts is no name, it has too many, or it writes out the root before others.
    pub fn new(text: &str) -> Result<Self, TenantPathError> {
        let fits = text.split('/').count() <= Self::DEPTH
            && text.split('/').all(|part| Name::new(part).is_ok())
            && (text == ROOT || text.split('/').next() != Some(ROOT));
        if fits {
            Ok(Self(text.into()))
        } else {
            Err(TenantPathError {
                text: text.chars().take(80).collect(),
            })
        }
    }

    /// The tenant above all: `default`.
    pub fn root() -> Self {
        static SHARED: LazyLock<Arc<str>> = LazyLock::new(|| ROOT.into());
        Self(Arc::clone(&SHARED))
    }

    /// Whether it is the tenant above all.
    pub fn is_root(&self) -> bool {
        &*self.0 == ROOT
    }

    /// The tenant one level above; `None`: it is the root.
    pub fn parent(&self) -> Option<Self> {
        match self.0.rsplit_once('/') {
            Some((above, _)) => Some(Self(above.into())),
            None => (!self.is_root()).then(Self::root),
        }
    }

    /// This tenant and all above it, the root last.
    pub fn upwards(&self) -> impl Iterator<Item = Self> + use<> {
        std::iter::successors(Some(self.clone()), Self::parent)
    }

    /// This tenant and all above it but the root: where an index lists what belongs to it, since all belongs to the root.
    pub fn below_root(&self) -> impl Iterator<Item = Self> + use<> {
        self.upwards().take_while(|tenant| !tenant.is_root())
    }

    /// Whether it is `other` or below it.
    pub fn is_within(&self, other: &Self) -> bool {
        let below = || self.0.strip_prefix(&*other.0)?.chars().next();
        other.is_root() || self == other || below() == Some('/')
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TenantPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TenantPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl TryFrom<String> for TenantPath {
    type Error = TenantPathError;

    fn try_from(text: String) -> Result<Self, TenantPathError> {
        Self::new(&text)
    }
}

impl From<TenantPath> for String {
    fn from(path: TenantPath) -> String {
        path.0.as_ref().to_owned()
    }
}

/// Where a tenant is in its life. A deleted one is forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TenantState {
    /// It waits for an administrator of the tenant above, and can do nothing.
    Requested {
        /// The user who asked for it, and will be its administrator.
        by: Name,
    },
    /// It may do what its quota and policy allow.
    Active,
    /// What it has runs on; nothing is added or changed, in it and below it.
    Suspended,
}

impl TenantState {
    /// The word in answers.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Requested { .. } => "requested",
            Self::Active => "active",
            Self::Suspended => "suspended",
        }
    }
}

/// A tenant: whose jobs, secrets and users are kept apart from all others'.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    /// Its place in the tree.
    pub path: TenantPath,
    /// Where it is in its life.
    pub state: TenantState,
    /// How much it may have, with all below it.
    pub quota: Quota,
    /// What its jobs may run, where it is narrower than what is above.
    pub policy: Policy,
    /// When it was asked for.
    pub created_at: Wall,
}
