//! What the owner of users asks of the core: whether this run still decides anything, and what tenants' jobs ask for.
//!
//! A job that is accepted between such a question and the commit of a change is not seen by it.

use std::fmt;
use std::pin::Pin;

use model::access::{AccessBook, AccessRequest, TenantPath, Usage};

use super::{Access, NotChanged};
use crate::{Handle, Jobs, Unavailable};

type Counted = Pin<Box<dyn Future<Output = Result<Vec<Usage>, Unavailable>> + Send>>;

/// The core, whatever it is.
pub(super) struct Core {
    is_fenced: Box<dyn Fn() -> bool + Send + Sync>,
    /// What the jobs of each of these tenants, and of all below it, ask for.
    usage: Box<dyn Fn(Vec<TenantPath>) -> Counted + Send + Sync>,
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").finish_non_exhaustive()
    }
}

impl Access {
    /// From now on changes are held against the core: a superseded run makes none, and what tenants' jobs ask for counts
    /// where a tenant is deleted or limited.
    pub fn beside<C: Jobs>(&self, handle: &Handle<C>, usage: fn(&C::State, &TenantPath) -> Usage) {
        let (fenced, handle) = (handle.clone(), handle.clone());
        let counted = move |tenants: Vec<TenantPath>| -> Counted {
            let handle = handle.clone();
            let count = move |state: &C::State, _now| {
                let tenants = tenants.iter();
                tenants.map(|tenant| usage(state, tenant)).collect()
            };
            Box::pin(async move { handle.read(count).await })
        };
        let core = Core {
            is_fenced: Box::new(move || fenced.is_fenced()),
            usage: Box::new(counted),
        };
        // The first one stays: there is one core.
        let _ = self.0.core.set(core);
    }

    /// Whether another orchestrator goes on with another copy of the store.
    pub(super) fn is_fenced(&self) -> bool {
        let core = self.0.core.get();
        core.is_some_and(|core| (core.is_fenced)())
    }

    /// What each tenant's own jobs ask for, where that matters for a request.
    ///
    /// # Errors
    /// When the core does not answer.
    pub(super) async fn charges(
        &self,
        request: &AccessRequest,
    ) -> Result<Vec<(TenantPath, Usage)>, NotChanged> {
        let counts = matches!(
            request,
            AccessRequest::DeleteTenant { .. }
                | AccessRequest::ChangeTenant { .. }
                | AccessRequest::ApproveTenant { .. }
                | AccessRequest::RequestTenant { .. }
        );
        let Some(core) = self.0.core.get().filter(|_| counts) else {
            return Ok(Vec::new());
        };
        let book = self.book();
        let tenants: Vec<TenantPath> = book.access.tenants().map(|it| it.path.clone()).collect();
        let counted = (core.usage)(tenants.clone()).await;
        let counted = counted.map_err(|_unavailable| NotChanged::Unavailable)?;
        Ok(own(tenants, &counted))
    }
}

/// Usage without what is below.
fn own(tenants: Vec<TenantPath>, counted: &[Usage]) -> Vec<(TenantPath, Usage)> {
    let below = |path: &TenantPath| {
        let children = tenants.iter().zip(counted);
        let children = children.filter(|(child, _)| child.parent().as_ref() == Some(path));
        children.fold(Usage::default(), |sum, (_, usage)| sum.plus(*usage))
    };
    let own: Vec<Usage> = tenants
        .iter()
        .zip(counted)
        .map(|(path, usage)| usage.minus(below(path)))
        .collect();
    tenants.into_iter().zip(own).collect()
}

/// The book with what jobs ask for.
pub(super) fn charged(book: &AccessBook, charges: &[(TenantPath, Usage)]) -> AccessBook {
    let mut charged = book.clone();
    for (tenant, usage) in charges {
        charged.charge(tenant, &Usage::default(), usage);
    }
    charged
}
