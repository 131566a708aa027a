//! Wire and disk shape of the secrets that a workload names: ciphertexts, never keys.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD_NO_PAD as BASE64;
use model::id::SecretVersion;
use model::name::Name;
use model::secret::{Sealed, SecretPlace, SecretRef, SecretUse, Secrets};
use serde::{Deserialize, Serialize};

use super::WorkloadError;

/// A secret with its value; the order of the fields is hashed, as that of a workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireSecret {
    /// Base64 of the encrypted value; left out together with `version` where nobody has looked it up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ciphertext: Option<String>,
    /// In the job's tenant.
    pub name: Name,
    /// Which value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<SecretVersion>,
}

/// A secret that the application is given; one of `file` and `variable` is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireSecretUse {
    /// Name of a file in the folder of its secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Which.
    pub secret: WireSecret,
    /// Name of an environment variable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variable: Option<String>,
}

/// The fields of a workload that its secrets are.
pub(super) struct Fields {
    pub(super) pull: Option<WireSecret>,
    pub(super) uses: Vec<WireSecretUse>,
}

impl From<&Secrets> for Fields {
    fn from(secrets: &Secrets) -> Self {
        Self {
            pull: secrets.pull.as_ref().map(WireSecret::from),
            uses: secrets.uses.iter().map(WireSecretUse::from).collect(),
        }
    }
}

impl TryFrom<Fields> for Secrets {
    type Error = WorkloadError;

    fn try_from(fields: Fields) -> Result<Self, WorkloadError> {
        let uses = fields.uses.into_iter().map(SecretUse::try_from);
        Ok(Self {
            uses: uses.collect::<Result<_, _>>()?,
            pull: fields.pull.map(SecretRef::try_from).transpose()?,
        })
    }
}

impl From<&SecretRef> for WireSecret {
    fn from(secret: &SecretRef) -> Self {
        let sealed = secret.sealed.as_ref();
        Self {
            ciphertext: sealed.map(|sealed| BASE64.encode(&sealed.ciphertext)),
            name: secret.name.clone(),
            version: sealed.map(|sealed| sealed.version),
        }
    }
}

impl TryFrom<WireSecret> for SecretRef {
    type Error = WorkloadError;

    fn try_from(wire: WireSecret) -> Result<Self, WorkloadError> {
        let sealed = match (wire.ciphertext, wire.version) {
            (Some(text), Some(version)) => Some(Sealed {
                version,
                ciphertext: BASE64
                    .decode(text)
                    .map_err(|_not_base64| WorkloadError::Secret)?,
            }),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => return Err(WorkloadError::Secret),
        };
        Ok(Self {
            name: wire.name,
            sealed,
        })
    }
}

impl From<&SecretUse> for WireSecretUse {
    fn from(one: &SecretUse) -> Self {
        let (file, variable) = match &one.place {
            SecretPlace::File(name) => (Some(name.clone()), None),
            SecretPlace::Variable(name) => (None, Some(name.clone())),
        };
        Self {
            file,
            secret: WireSecret::from(&one.secret),
            variable,
        }
    }
}

impl TryFrom<WireSecretUse> for SecretUse {
    type Error = WorkloadError;

    fn try_from(wire: WireSecretUse) -> Result<Self, WorkloadError> {
        let place = match (wire.file, wire.variable) {
            (Some(name), None) => SecretPlace::File(name),
            (None, Some(name)) => SecretPlace::Variable(name),
            (Some(_), Some(_)) | (None, None) => return Err(WorkloadError::Secret),
        };
        Ok(Self {
            secret: wire.secret.try_into()?,
            place,
        })
    }
}
