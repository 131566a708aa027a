//! Secrets, and keys to those of others: what stands here opens nothing by itself.

use model::access::TenantPath;
use model::name::Name;
use model::secret::{Secret, SecretKind, SecretRef};
use model::time::Wall;
use serde::{Deserialize, Serialize};

use super::RecordError;
use super::Stored;
use crate::workload::{WireSecret, WorkloadError};

/// A secret, but for its tenant, which is in the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredSecret {
    #[serde(flatten)]
    secret: WireSecret,
    /// Of a login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    registry: Option<String>,
    by: String,
    created_at: Wall,
    updated_at: Wall,
}

impl From<&Secret> for StoredSecret {
    fn from(secret: &Secret) -> Self {
        let named = SecretRef {
            name: secret.name.clone(),
            sealed: Some(secret.sealed.clone()),
        };
        let registry = match &secret.kind {
            SecretKind::Value => None,
            SecretKind::Registry(name) => Some(name.clone()),
        };
        Self {
            secret: WireSecret::from(&named),
            registry,
            by: secret.by.clone(),
            created_at: secret.created_at,
            updated_at: secret.updated_at,
        }
    }
}

impl StoredSecret {
    /// Its key: `tenant` LF `name`.
    pub fn key(tenant: &TenantPath, name: &Name) -> String {
        format!("{tenant}\n{name}")
    }

    /// The secret of a record.
    ///
    /// # Errors
    /// When the record is not what this program writes.
    pub fn read(stored: &Stored<'_>) -> Result<Secret, RecordError> {
        let key = std::str::from_utf8(stored.key).map_err(|error| stored.fault(error))?;
        let tenant = key.split_once('\n').map_or(key, |(tenant, _)| tenant);
        let tenant = TenantPath::new(tenant).map_err(|error| stored.fault(error))?;
        let value: Self = stored.value()?;
        let named = SecretRef::try_from(value.secret).map_err(|error| stored.fault(error))?;
        let sealed = named.sealed.ok_or(WorkloadError::Secret);
        Ok(Secret {
            tenant,
            name: named.name,
            kind: value
                .registry
                .map_or(SecretKind::Value, SecretKind::Registry),
            sealed: sealed.map_err(|error| stored.fault(error))?,
            by: value.by,
            created_at: value.created_at,
            updated_at: value.updated_at,
        })
    }
}
