//! What the jobs of a tenant may run.

use std::collections::BTreeSet;

use crate::workload::{RuntimeKind, Workload};

/// What the jobs of a tenant may run; it only narrows what is above it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    /// Registries of images, as `host` or `host:port`; `None`: those of the tenant above.
    pub registries: Option<BTreeSet<String>>,
    /// Runtimes; `None`: those of the tenant above.
    pub runtimes: Option<BTreeSet<RuntimeKind>>,
}

/// Why a policy does not admit a workload.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the tenant's policy allows no {what} {entry}; it allows {allowed}")]
pub struct Forbidden {
    /// `registry` or `runtime`.
    pub what: &'static str,
    /// The one that is not allowed.
    pub entry: String,
    /// Those that are.
    pub allowed: String,
}

impl Policy {
    /// Whether a workload may run.
    ///
    /// # Errors
    /// Names the registry or the runtime that is not allowed, and those that are.
    pub fn admits(&self, workload: &Workload) -> Result<(), Forbidden> {
        let runtime = BTreeSet::from([workload.runtime]);
        let registry: BTreeSet<String> =
            workload.image.iter().filter_map(|i| registry(i)).collect();
        within("runtime", Some(&runtime), self.runtimes.as_ref())?;
        within("registry", Some(&registry), self.registries.as_ref())
    }

    /// Whether it allows nothing that `above` does not.
    ///
    /// # Errors
    /// Names the first entry that is not allowed above, and those that are.
    pub fn is_within(&self, above: &Self) -> Result<(), Forbidden> {
        within("runtime", self.runtimes.as_ref(), above.runtimes.as_ref())?;
        within(
            "registry",
            self.registries.as_ref(),
            above.registries.as_ref(),
        )
    }

    /// What both allow: it holds for a tenant of this policy below one of that.
    #[must_use]
    pub fn below(&self, above: &Self) -> Self {
        Self {
            registries: both(self.registries.as_ref(), above.registries.as_ref()),
            runtimes: both(self.runtimes.as_ref(), above.runtimes.as_ref()),
        }
    }
}

fn within<T: Ord + ToString>(
    what: &'static str,
    these: Option<&BTreeSet<T>>,
    allowed: Option<&BTreeSet<T>>,
) -> Result<(), Forbidden> {
    let (Some(these), Some(allowed)) = (these, allowed) else {
        return Ok(());
    };
    these.difference(allowed).next().map_or(Ok(()), |entry| {
        let names: Vec<String> = allowed.iter().map(T::to_string).collect();
        Err(Forbidden {
            what,
            entry: entry.to_string(),
            allowed: if names.is_empty() {
                "none".to_owned()
            } else {
                names.join(", ")
            },
        })
    })
}

fn both<T: Ord + Clone>(
    these: Option<&BTreeSet<T>>,
    those: Option<&BTreeSet<T>>,
) -> Option<BTreeSet<T>> {
    match (these, those) {
        (Some(these), Some(those)) => Some(these & those),
        (these, those) => these.or(those).cloned(),
    }
}

/// The registry of an image's reference, as container engines read it; `None`: a program of the worker (`file://…`).
pub fn registry(image: &str) -> Option<String> {
    if image.starts_with("file://") {
        return None;
    }
    let host = image.split_once('/').map(|(host, _)| host);
    let named = host.filter(|host| host.contains(['.', ':']) || *host == "localhost");
    Some(named.unwrap_or("docker.io").to_owned())
}

#[cfg(test)]
mod tests {
    use super::registry;

    #[test]
    fn the_registry_of_an_image_is_what_a_container_engine_would_ask() {
        for (image, host) in [
            ("nginx", Some("docker.io")),
            ("nginx:1.29", Some("docker.io")),
            ("university/app", Some("docker.io")),
            ("ghcr.io/university/app@sha256:00", Some("ghcr.io")),
            ("localhost/app", Some("localhost")),
            ("registry:5000/app", Some("registry:5000")),
            ("file:///bin/sleep", None),
        ] {
            assert_eq!(registry(image).as_deref(), host, "{image}");
        }
    }
}
