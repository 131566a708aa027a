//! Secrets: what applications need and nobody else may know.
//!
//! Where a secret stands anywhere but in its application, its value is a ciphertext, and the key to it is not beside it: it goes to
//! the worker that runs the job, encrypted for that worker alone. A job carries the ciphertext of the version that was there
//! when its document was accepted, so a new version changes no job until its document is applied again, and what was taken
//! back by an update comes back with the version that it had.

use std::collections::BTreeMap;
use std::fmt;

use crate::access::TenantPath;
use crate::id::SecretVersion;
use crate::name::Name;
use crate::time::Wall;

/// The value of a secret as it may stand anywhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Which value it is; its key is known by this.
    pub version: SecretVersion,
    /// The value, encrypted and bound to tenant, name and version.
    pub ciphertext: Vec<u8>,
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} bytes)", self.version, self.ciphertext.len())
    }
}

/// A secret that a workload names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretRef {
    /// Its name, in the job's tenant.
    pub name: Name,
    /// Its value; `None` in a document that was only read: who accepts the job looks it up.
    pub sealed: Option<Sealed>,
}

/// Where an application finds a secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum SecretPlace {
    /// In a file of that name in the folder of its secrets, which is in memory.
    File(String),
    /// In an environment variable.
    Variable(String),
}

/// A secret that an application is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretUse {
    /// Which.
    pub secret: SecretRef,
    /// Where it finds it.
    pub place: SecretPlace,
}

/// What a workload needs of secrets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Secrets {
    /// What the application is given.
    pub uses: Vec<SecretUse>,
    /// With what its image is pulled: a login at the image's registry.
    pub pull: Option<SecretRef>,
}

impl Secrets {
    /// The folder of a container in which it finds them.
    pub const FOLDER: &str = "/run/secrets";

    /// All secrets that it names.
    pub fn refs(&self) -> impl Iterator<Item = &SecretRef> {
        self.uses.iter().map(|one| &one.secret).chain(&self.pull)
    }

    /// The values that it carries.
    pub fn versions(&self) -> impl Iterator<Item = SecretVersion> {
        let sealed = self.refs().filter_map(|one| one.sealed.as_ref());
        sealed.map(|sealed| sealed.version)
    }

    /// Whether it needs none.
    pub fn is_empty(&self) -> bool {
        self.refs().next().is_none()
    }

    /// About how many bytes they take in a message.
    pub(crate) fn weight(&self) -> usize {
        let one = |secret: &SecretRef| {
            let bytes = secret.sealed.as_ref();
            let bytes = bytes.map_or(0, |sealed| sealed.ciphertext.len() * 4 / 3);
            // The key to it comes along.
            400 + bytes
        };
        self.refs().map(one).sum()
    }
}

/// What a secret is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretKind {
    /// For applications.
    Value,
    /// A login at the registry of that name, for pulling images.
    Registry(String),
}

impl SecretKind {
    /// `value` or `registry`.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Value => "value",
            Self::Registry(_) => "registry",
        }
    }
}

/// A secret of a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// Whose it is.
    pub tenant: TenantPath,
    /// Its name, unique there.
    pub name: Name,
    /// What it is for.
    pub kind: SecretKind,
    /// Its value.
    pub sealed: Sealed,
    /// Who set it last, in words.
    pub by: String,
    /// When it was made.
    pub created_at: Wall,
    /// When its value was set.
    pub updated_at: Wall,
}

/// A change of the book, to be stored before it is applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretWrite {
    /// A secret, as it now is.
    Secret(Secret),
    /// It is forgotten.
    Forget(TenantPath, Name),
}

/// Why a secret is not set, or not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretRefusal {
    /// There is none of that name.
    #[error(
        "tenant {tenant} has no secret {name}; edgeio secret set {name} makes it, edgeio secret list has those that there are"
    )]
    NotFound {
        /// Where it was looked for.
        tenant: TenantPath,
        /// The name.
        name: Name,
    },
    /// The tenant has as many as it may have.
    #[error(
        "tenant {tenant} has {} secrets already; delete some first",
        SecretBook::PER_TENANT
    )]
    TooMany {
        /// Which.
        tenant: TenantPath,
    },
}

/// The secrets of all tenants.
#[derive(Debug, Clone, Default)]
pub struct SecretBook {
    /// None of them is empty.
    tenants: BTreeMap<TenantPath, BTreeMap<Name, Secret>>,
}

impl SecretBook {
    /// How many a tenant may have, those below it not counted.
    pub const PER_TENANT: usize = 1_000;
    /// Bytes of a value at most.
    pub const LARGEST: usize = 32 * 1024;

    /// A secret by its name.
    ///
    /// # Errors
    /// [`SecretRefusal::NotFound`]. What another tenant has, one above it too, is not there.
    pub fn get(&self, tenant: &TenantPath, name: &Name) -> Result<&Secret, SecretRefusal> {
        let own = self.tenants.get(tenant);
        let found = own.and_then(|own| own.get(name));
        found.ok_or_else(|| SecretRefusal::NotFound {
            tenant: tenant.clone(),
            name: name.clone(),
        })
    }

    /// Those of a tenant and all below it, from the one after `after` on.
    pub fn within<'a>(
        &'a self,
        tenant: &'a TenantPath,
        after: Option<&'a (TenantPath, Name)>,
    ) -> impl Iterator<Item = &'a Secret> {
        let later = move |secret: &&Secret| {
            after.is_none_or(|(path, name)| (&secret.tenant, &secret.name) > (path, name))
        };
        let tenants = self.tenants.iter();
        let tenants = tenants.filter(|(path, _)| path.is_within(tenant));
        tenants.flat_map(|(_, own)| own.values()).filter(later)
    }

    /// A secret with a new value; one that was there keeps its time of making.
    ///
    /// # Errors
    /// [`SecretRefusal::TooMany`].
    pub fn set(&self, secret: Secret) -> Result<Vec<SecretWrite>, SecretRefusal> {
        let known = self.get(&secret.tenant, &secret.name).ok();
        let count = self.tenants.get(&secret.tenant).map_or(0, BTreeMap::len);
        if known.is_none() && count >= Self::PER_TENANT {
            return Err(SecretRefusal::TooMany {
                tenant: secret.tenant,
            });
        }
        let created_at = known.map_or(secret.created_at, |known| known.created_at);
        Ok(vec![SecretWrite::Secret(Secret {
            created_at,
            ..secret
        })])
    }

    /// A secret is forgotten; jobs that have it keep it.
    ///
    /// # Errors
    /// [`SecretRefusal::NotFound`].
    pub fn delete(
        &self,
        tenant: &TenantPath,
        name: &Name,
    ) -> Result<Vec<SecretWrite>, SecretRefusal> {
        let secret = self.get(tenant, name)?;
        Ok(vec![SecretWrite::Forget(
            secret.tenant.clone(),
            secret.name.clone(),
        )])
    }

    /// What goes with a tenant that is deleted.
    pub fn of_deleted(&self, tenant: &TenantPath) -> Vec<SecretWrite> {
        let own = self.within(tenant, None);
        own.map(|secret| SecretWrite::Forget(secret.tenant.clone(), secret.name.clone()))
            .collect()
    }

    /// Takes a change.
    pub fn apply(&mut self, write: &SecretWrite) {
        match write {
            SecretWrite::Secret(secret) => {
                let own = self.tenants.entry(secret.tenant.clone()).or_default();
                own.insert(secret.name.clone(), secret.clone());
            }
            SecretWrite::Forget(tenant, name) => {
                let Some(own) = self.tenants.get_mut(tenant) else {
                    return;
                };
                own.remove(name);
                if own.is_empty() {
                    self.tenants.remove(tenant);
                }
            }
        }
    }
}
