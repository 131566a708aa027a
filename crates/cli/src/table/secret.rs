//! Secrets, without their values.

use protocol::rest::SecretBody;

use super::Seen::{Always, Wide};
use super::{Column, age, now, render};

/// One row a secret.
pub(crate) fn secrets(secrets: &[SecretBody], wide: bool) -> Vec<String> {
    let now = now();
    let columns: [Column<'_, SecretBody>; 6] = [
        Column(Always, "NAME", &|secret| secret.name.clone()),
        Column(Always, "TENANT", &|secret| secret.tenant.clone()),
        Column(Always, "FOR", &|secret| {
            let registry = secret.registry.as_ref();
            registry.map_or_else(
                || "applications".to_owned(),
                |host| format!("images of {host}"),
            )
        }),
        Column(Wide, "VERSION", &|secret| secret.version.to_string()),
        Column(Always, "SET BY", &|secret| secret.updated_by.clone()),
        Column(Always, "SET", &|secret| age(secret.updated_at.0, now)),
    ];
    render(&columns, secrets, wide)
}
