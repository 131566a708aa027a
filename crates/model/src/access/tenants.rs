//! Requests about tenants.

use super::authorize::Access;
use super::policy::Policy;
use super::quota::Quota;
use super::request::{AccessAnswer, AccessWrite, Entry, Refusal};
use super::role::{Resource, Role, Verb};
use super::tenant::{Tenant, TenantPath, TenantState};
use super::user::{Grant, Subject, Token, User};
use super::{AccessBook, Decided};
use crate::time::Wall;

impl AccessBook {
    pub(super) fn request_tenant(
        &self,
        subject: &Subject<'_>,
        path: &TenantPath,
        quota: &Quota,
        policy: &Policy,
        at: Wall,
    ) -> Decided {
        let user = subject.user()?;
        let parent = path.parent().unwrap_or_else(TenantPath::root);
        // Who is nothing there learns nothing of what is there; at the top, names are everybody's.
        let at_home = user.home.is_within(&parent);
        let concerned = at_home || !self.roles(user, &parent).is_empty();
        if !concerned {
            return Err(Refusal::NotFound((&parent).into()));
        }
        if self.tenants.contains_key(path) {
            return Err(Refusal::Exists(path.into()));
        }
        self.open(&parent).shown(concerned).granted(&parent)?;
        let mut tenant = Tenant {
            path: path.clone(),
            state: TenantState::Active,
            quota: *quota,
            policy: policy.clone(),
            created_at: at,
        };
        let approves = self.authorize(subject, Verb::Approve, &Resource::Tenant(path.clone()));
        if approves == Access::Granted {
            self.narrows(&tenant)?;
            self.quotas.fits(path, quota)?;
        } else {
            let waits = |other: &&Tenant| {
                let requested = matches!(other.state, TenantState::Requested { .. });
                requested && other.path.parent().as_ref() == Some(&parent)
            };
            let waiting = self.tenants().filter(waits).count();
            room(waiting, &parent, "tenants that wait for approval")?;
            let by = user.name.clone();
            tenant.state = TenantState::Requested { by };
        }
        Ok(written(tenant))
    }

    pub(super) fn approve_tenant(&self, subject: &Subject<'_>, path: &TenantPath) -> Decided {
        let tenant = self.governed(subject, Verb::Approve, path)?;
        let by = match &tenant.state {
            TenantState::Requested { by } => by,
            TenantState::Active => return Ok((Vec::new(), AccessAnswer::Done(path.into()))),
            TenantState::Suspended => return Err(Refusal::Suspended(path.into())),
        };
        let parent = path.parent().unwrap_or_else(TenantPath::root);
        self.open(&parent).granted(&parent)?;
        self.narrows(tenant)?;
        self.quotas.fits(path, &tenant.quota)?;
        let (mut writes, answer) = written(Tenant {
            state: TenantState::Active,
            ..tenant.clone()
        });
        if let Some(mut founder) = self.users.get(by).cloned() {
            founder.roles.insert(path.clone(), Role::Admin);
            writes.push(AccessWrite::User(founder));
        }
        Ok((writes, answer))
    }

    pub(super) fn change_tenant(
        &self,
        subject: &Subject<'_>,
        path: &TenantPath,
        quota: Option<&Quota>,
        policy: Option<&Policy>,
    ) -> Decided {
        let mut tenant = self.governed(subject, Verb::Change, path)?.clone();
        let approved = !matches!(tenant.state, TenantState::Requested { .. });
        if let Some(policy) = policy {
            tenant.policy = policy.clone();
        }
        if let Some(quota) = quota {
            tenant.quota = *quota;
        }
        // What waits for approval is held to what is above it when it is approved.
        if approved && policy.is_some() {
            self.narrows(&tenant)?;
        }
        if approved && quota.is_some() {
            self.quotas.fits(path, &tenant.quota)?;
        }
        Ok(written(tenant))
    }

    /// Suspends an active tenant, or makes a suspended one active.
    pub(super) fn turn_tenant(
        &self,
        subject: &Subject<'_>,
        path: &TenantPath,
        state: TenantState,
    ) -> Decided {
        let tenant = self.governed(subject, Verb::Change, path)?;
        match tenant.state {
            TenantState::Requested { .. } => Err(Refusal::Requested(path.into())),
            TenantState::Active | TenantState::Suspended if path.parent().is_none() => {
                Err(Refusal::Root)
            }
            TenantState::Active | TenantState::Suspended => Ok(written(Tenant {
                state,
                ..tenant.clone()
            })),
        }
    }

    pub(super) fn delete_tenant(&self, subject: &Subject<'_>, path: &TenantPath) -> Decided {
        self.governed(subject, Verb::Delete, path)?;
        if path.parent().is_none() {
            return Err(Refusal::Root);
        }
        let below = |tenant: &&Tenant| tenant.path != *path && tenant.path.is_within(path);
        let tenants = self.tenants().filter(below).count();
        let users = self.users().filter(|user| user.home == *path).count();
        let jobs = self.usage(path).jobs;
        if jobs > 0 || tenants > 0 || users > 0 {
            return Err(Refusal::NotEmpty {
                tenant: path.clone(),
                jobs,
                tenants,
                users,
            });
        }
        // Whoever was something here must not be it in a later tenant of this name.
        let stripped = self.users().filter_map(|user| {
            let mut user: User = user.clone();
            user.roles.remove(path)?;
            Some(AccessWrite::User(user))
        });
        let bound = |token: &&Token| match &token.grant {
            Grant::User { scope, .. } => scope.tenant.as_ref() == Some(path),
            Grant::Invitation { tenant, .. } => tenant == path,
        };
        let void = self.tokens().filter(bound);
        let mut writes = vec![AccessWrite::Forget(path.into())];
        writes.extend(stripped);
        writes.extend(void.map(|token| AccessWrite::Forget(Entry::Token(token.id))));
        Ok((writes, AccessAnswer::Done(path.into())))
    }

    /// Whether a tenant's policy allows nothing that is not allowed above it.
    fn narrows(&self, tenant: &Tenant) -> Result<(), Refusal> {
        let above = tenant.path.parent().map(|parent| self.policy(&parent));
        tenant.policy.is_within(&above.unwrap_or_default())?;
        Ok(())
    }

    /// The tenant that the subject may do this to.
    fn governed(
        &self,
        subject: &Subject<'_>,
        verb: Verb,
        path: &TenantPath,
    ) -> Result<&Tenant, Refusal> {
        self.authorize(subject, verb, &Resource::Tenant(path.clone()))
            .granted(path)?;
        let tenant = self.tenants.get(path);
        tenant.ok_or_else(|| Refusal::NotFound(path.into()))
    }
}

/// Whether one more may wait beside so many.
pub(super) fn room(waiting: usize, tenant: &TenantPath, what: &'static str) -> Result<(), Refusal> {
    if waiting < AccessBook::WAITING {
        return Ok(());
    }
    Err(Refusal::TooMany {
        tenant: tenant.clone(),
        what,
        limit: AccessBook::WAITING,
    })
}

fn written(tenant: Tenant) -> (Vec<AccessWrite>, AccessAnswer) {
    let answer = AccessAnswer::Done((&tenant.path).into());
    (vec![AccessWrite::Tenant(tenant)], answer)
}
