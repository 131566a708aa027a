//! Keys to secrets, beside the workloads that need them: each is encrypted for the one machine that gets the message.

use model::id::SecretVersion;
use serde::{Deserialize, Serialize};

use super::{MessageError, Source, Text, at_most};

/// Keys in one message at most; a message holds fewer.
const KEYS: usize = 2_000;
/// Bytes of one, as text, at most.
const TEXT: usize = 256;

/// The key to one version of a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretKey {
    /// Which version.
    pub version: SecretVersion,
    /// The key, wrapped for who gets the message; base64.
    pub wrapped: String,
}

/// The fields that they are in a message.
#[derive(Serialize, Deserialize)]
struct Keys {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    secret_keys: Vec<SecretKey>,
}

/// The message with keys; as it was where there are none.
pub(crate) fn with(text: Text, keys: &[SecretKey]) -> Text {
    if keys.is_empty() {
        return text;
    }
    text.with(&Keys {
        secret_keys: keys.to_vec(),
    })
}

/// Reads the keys of a message that was opened.
pub(crate) fn read<S: Source + ?Sized>(source: &S) -> Result<Vec<SecretKey>, MessageError> {
    let Keys { secret_keys } = source.fields()?;
    at_most(secret_keys.len(), KEYS, "secret_keys")?;
    for key in &secret_keys {
        at_most(key.wrapped.len(), TEXT, "secret_keys")?;
    }
    Ok(secret_keys)
}
