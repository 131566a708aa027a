//! For whom something is asked.

use crate::access::TenantPath;

/// Which tenant a request is about, and how far it may see. The default sees everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Names mean jobs of this tenant, and new jobs belong to it.
    pub tenant: TenantPath,
    /// Only what belongs to this tenant or one below it is seen; everything else is not there, as if it never had been.
    pub within: TenantPath,
}

impl Default for Asked {
    fn default() -> Self {
        Self {
            tenant: TenantPath::root(),
            within: TenantPath::root(),
        }
    }
}

impl Asked {
    /// About that tenant, by one who sees everything.
    pub fn at(tenant: TenantPath) -> Self {
        Self {
            tenant,
            ..Self::default()
        }
    }

    /// Whether what belongs to that tenant is seen.
    pub fn sees(&self, tenant: &TenantPath) -> bool {
        tenant.is_within(&self.within)
    }

    /// What a list of it shows: no more than what is seen, and no more than the tenant has, with all below it.
    #[must_use]
    pub fn narrowed(self) -> Self {
        let within = if self.sees(&self.tenant) {
            self.tenant.clone()
        } else {
            self.within
        };
        Self {
            tenant: self.tenant,
            within,
        }
    }

    /// A client's key with the tenant that it is used for; of the root's tenant the key alone, as stores have it from before
    /// there were others. Neither a key nor a tenant has a space in it.
    pub(super) fn place(&self, key: &str) -> String {
        if self.tenant.is_root() {
            key.to_owned()
        } else {
            format!("{} {key}", self.tenant)
        }
    }
}
