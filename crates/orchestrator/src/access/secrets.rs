//! Secrets: values are encrypted as they come, and their keys handed on to who runs the jobs that have them.

use std::collections::BTreeSet;
use std::sync::Arc;

use identity::files::FileError;
use model::access::{Forbidden, TenantPath, registry};
use model::desired::Desired;
use model::id::SecretVersion;
use model::job::{JobSpec, Owner};
use model::name::Name;
use model::secret::{Sealed, Secret, SecretKind, SecretRefusal};
use model::workload::Workload;
use protocol::message::SecretKey;
use protocol::rest::SecretRequest;
use protocol::workload::sealed;
use secrets::{About, CannotOpen, DataKey, Login, PublicKey};
use zeroize::Zeroizing;

use super::{Access, NotChanged, Write, no_random};
use crate::Tier;
use crate::clock;

/// Why a job is not taken, whatever there is room for.
#[derive(Debug, thiserror::Error)]
pub enum NotTaken {
    /// To who asks there is no such tenant.
    #[error("there is no tenant {0}; GET /api/v1/tenants lists those that you see")]
    NoTenant(TenantPath),
    /// Nothing is added to the tenant.
    #[error(transparent)]
    Inactive(#[from] model::access::Denied),
    /// Its tenant's policy forbids it.
    #[error("service {service}: {source}; ask an administrator above tenant {tenant}")]
    Policy {
        /// The service.
        service: Name,
        /// The tenant.
        tenant: TenantPath,
        /// What is forbidden.
        source: Forbidden,
    },
    /// It names a secret that is not there.
    #[error("service {service}: {source}")]
    NoSecret {
        /// The service.
        service: Name,
        /// Which.
        source: SecretRefusal,
    },
    /// It names a login where a value is wanted, or the other way round.
    #[error("service {service}: secret {name} {problem}")]
    Kind {
        /// The service.
        service: Name,
        /// The secret.
        name: Name,
        /// What is wrong with that, and what to do.
        problem: String,
    },
    /// A worker could not be told of it.
    #[error(
        "service {service}: with its secrets it takes {bytes} bytes as JSON, at most {most} are sent to a worker; name fewer or smaller ones"
    )]
    TooLarge {
        /// The service.
        service: Name,
        /// What it takes.
        bytes: usize,
        /// What it may take.
        most: usize,
    },
}

impl Access {
    /// Sets a secret's value.
    ///
    /// # Errors
    /// When the tenant has too many, or it cannot be stored.
    pub async fn set_secret(
        &self,
        (tenant, name): (&TenantPath, &Name),
        by: &str,
        value: SecretRequest,
    ) -> Result<Secret, NotChanged> {
        let version = SecretVersion::from_bits(clock::mint().map_err(no_random)?);
        let about = About {
            tenant,
            name,
            version,
        };
        let (kind, value) = match value {
            SecretRequest::Value(value) => (SecretKind::Value, Zeroizing::new(value)),
            SecretRequest::Registry {
                registry,
                username,
                password,
            } => {
                let kind = SecretKind::Registry(registry.clone());
                let login = Login {
                    registry,
                    username,
                    password,
                };
                (kind, login.value())
            }
        };
        let key = self.0.keys.secrets().vault().key(version);
        let ciphertext = key.seal(&about, &value).map_err(no_random)?;
        let now = clock::now().wall;
        let secret = Secret {
            tenant: tenant.clone(),
            name: name.clone(),
            kind,
            sealed: Sealed {
                version,
                ciphertext,
            },
            by: by.to_owned(),
            created_at: now,
            updated_at: now,
        };
        let decide = |book: &super::Book| {
            let writes = book.secrets.set(secret)?;
            Ok((writes.into_iter().map(Write::Secret).collect(), ()))
        };
        self.change(decide).await?;
        let book = self.book();
        Ok(book.secrets.get(tenant, name)?.clone())
    }

    /// Forgets a secret; jobs that have it keep it.
    ///
    /// # Errors
    /// When there is none, or it cannot be stored.
    pub async fn delete_secret(&self, tenant: &TenantPath, name: &Name) -> Result<(), NotChanged> {
        let decide = |book: &super::Book| {
            let writes = book.secrets.delete(tenant, name)?;
            Ok((writes.into_iter().map(Write::Secret).collect(), ()))
        };
        self.change(decide).await
    }

    /// A job as a core may take it: of a tenant that is there and active, within its policy, and with the values of its secrets.
    ///
    /// # Errors
    /// [`NotTaken`].
    pub fn prepare(&self, tenant: &TenantPath, mut job: JobSpec) -> Result<JobSpec, NotTaken> {
        use model::access::Access as May;
        let book = self.book();
        if !self.is_open() {
            match book.access.open(tenant) {
                May::Granted => {}
                May::Hidden => return Err(NotTaken::NoTenant(tenant.clone())),
                May::Denied(denied) => return Err(denied.into()),
            }
        }
        let policy = book.access.policy(tenant);
        for service in &mut job.services {
            let admitted = policy.admits(&service.workload);
            admitted.map_err(|source| NotTaken::Policy {
                service: service.name.clone(),
                tenant: tenant.clone(),
                source,
            })?;
            if service.workload.secrets.is_empty() {
                continue;
            }
            let name = service.name.clone();
            let mut workload = Workload::clone(&service.workload);
            let image = workload.image.as_deref().and_then(registry);
            for one in &mut workload.secrets.uses {
                let found = find(&book.secrets, tenant, &name, &one.secret.name)?;
                if let SecretKind::Registry(_) = found.kind {
                    let problem = "is a login at a registry; name it in pull_secret";
                    return Err(wrong_kind(&name, found, problem.to_owned()));
                }
                one.secret.sealed = Some(found.sealed.clone());
            }
            if let Some(pull) = &mut workload.secrets.pull {
                let found = find(&book.secrets, tenant, &name, &pull.name)?;
                match &found.kind {
                    SecretKind::Registry(registry) if image.as_deref() == Some(registry) => {}
                    SecretKind::Registry(registry) => {
                        let image = image.as_deref().unwrap_or("no registry");
                        let problem = format!(
                            "is a login at {registry}, and the image is of {image}; nobody's password is sent to another registry"
                        );
                        return Err(wrong_kind(&name, found, problem));
                    }
                    SecretKind::Value => {
                        let problem = "is no login; make one with edgeio secret set NAME --registry HOST --username USER";
                        return Err(wrong_kind(&name, found, problem.to_owned()));
                    }
                }
                pull.sealed = Some(found.sealed.clone());
            }
            let service = Arc::make_mut(service);
            service.workload = Arc::new(sealed(workload));
            protocol::document::fits(service).map_err(|(bytes, most)| NotTaken::TooLarge {
                service: name,
                bytes,
                most,
            })?;
        }
        Ok(job)
    }

    /// The keys to the secrets of what is sent to a machine, for it alone. A machine that named no key gets none, and will say
    /// so when it starts what needs them.
    pub fn secret_keys<'d>(
        &self,
        machine: Option<&PublicKey>,
        desired: impl Iterator<Item = &'d Desired>,
    ) -> Vec<SecretKey> {
        let mut wanted = BTreeSet::new();
        for one in desired {
            let versions = one.service.workload.secrets.versions();
            wanted.extend(versions.map(|version| (version, self.is_own(one.job.owner))));
        }
        let wrap = |(version, own)| {
            let keyring = self.0.keys.secrets();
            let key: Result<DataKey, CannotOpen> = if own {
                Ok(keyring.vault().key(version))
            } else {
                keyring.key(version)
            };
            let machine = machine.ok_or(CannotOpen)?;
            key.and_then(|key| key.wrap(machine, version))
        };
        let keys = wanted.into_iter().filter_map(|(version, own)| {
            let wrapped = wrap((version, own));
            let wrapped = wrapped.inspect_err(|_| {
                tracing::warn!(secret.version = %version, "the key to a secret cannot be handed on; what needs it will not start");
            });
            Some(SecretKey {
                version,
                wrapped: wrapped.ok()?.to_string(),
            })
        });
        keys.collect()
    }

    /// Whether jobs of that owner have their secrets here.
    fn is_own(&self, owner: Owner) -> bool {
        match self.0.settings.tier {
            Tier::Root => owner == Owner::Root,
            Tier::Cluster => matches!(owner, Owner::Cluster(_)),
        }
    }

    /// Keeps the keys to the secrets of others' jobs, on the disk when this returns.
    ///
    /// # Errors
    /// When that fails; then what they came with must not be taken.
    pub async fn keep_secret_keys(&self, keys: Vec<SecretKey>) -> Result<(), FileError> {
        if keys.is_empty() {
            return Ok(());
        }
        let own = Arc::clone(&self.0.keys);
        let kept = tokio::task::spawn_blocking(move || {
            let keys = keys.iter().map(|key| (key.version, key.wrapped.as_str()));
            own.secrets().keep_all(keys)
        });
        match kept.await.map_err(tokio::task::JoinError::try_into_panic) {
            Ok(kept) => kept,
            Err(Ok(panic)) => std::panic::resume_unwind(panic),
            // The program ends: whatever they came with comes again.
            Err(Err(_)) => std::future::pending().await,
        }
    }

    /// Forgets the keys to what no workload here has.
    pub fn tidy_secret_keys<'w>(&self, workloads: impl Iterator<Item = &'w Workload>) {
        self.0.keys.secrets().tidy(workloads);
    }

    /// For what keys are encrypted that come here, as text.
    pub fn sealing_key(&self) -> String {
        self.0.keys.secrets().public().to_string()
    }
}

fn find<'b>(
    book: &'b model::secret::SecretBook,
    tenant: &TenantPath,
    service: &Name,
    name: &Name,
) -> Result<&'b Secret, NotTaken> {
    book.get(tenant, name).map_err(|source| NotTaken::NoSecret {
        service: service.clone(),
        source,
    })
}

fn wrong_kind(service: &Name, secret: &Secret, problem: String) -> NotTaken {
    NotTaken::Kind {
        service: service.clone(),
        name: secret.name.clone(),
        problem,
    }
}

#[cfg(test)]
mod tests;
