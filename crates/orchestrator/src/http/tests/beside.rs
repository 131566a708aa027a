//! Users and tenants beside a core: what its jobs ask for counts, and a superseded run changes nothing.

use model::access::{
    AccessAnswer, AccessRequest, Credential, Policy, Quota, Refusal as Denial, Usage,
};
use model::name::first_user;
use tempfile::TempDir;

use super::*;
use crate::access::{ADMIN_TOKEN, Access, NotChanged, RateOptions, Settings};
use crate::audited::Audit;
use crate::keys::Keys;
use crate::{StoreKind, Tier};

/// Each event of a tenant counts as a job.
fn usage(state: &State, tenant: &TenantPath) -> Usage {
    Usage {
        jobs: state.history.after(tenant, None).count() as u64,
        ..Usage::default()
    }
}

async fn users(dir: &TempDir) -> Access {
    let settings = Settings {
        tier: Tier::Cluster,
        store: StoreKind::Embedded,
        admin_token: dir.path().join(ADMIN_TOKEN),
        insecure: false,
        places: vec![],
        rates: RateOptions::default(),
    };
    let keys = Keys::open(StoreKind::Memory, dir.path(), Tier::Cluster, vec![]).unwrap();
    let audit = Audit::open(StoreKind::Memory, dir.path(), Tier::Cluster).unwrap();
    let store = Arc::new(Memory::new());
    let access = Access::open(settings, store, Arc::new(keys), audit).await;
    access.unwrap()
}

async fn ask(access: &Access, request: AccessRequest) -> Result<AccessAnswer, NotChanged> {
    let admin = Credential::Password(first_user());
    access.ask(&admin, &request).await
}

fn uni() -> TenantPath {
    TenantPath::new("uni").unwrap()
}

fn request() -> AccessRequest {
    AccessRequest::RequestTenant {
        tenant: uni(),
        quota: Quota::default(),
        policy: Policy::default(),
    }
}

fn at_most(jobs: u64) -> AccessRequest {
    AccessRequest::ChangeTenant {
        tenant: uni(),
        quota: Some(Quota {
            jobs: Some(jobs),
            ..Quota::default()
        }),
        policy: None,
    }
}

#[tokio::test]
async fn what_jobs_ask_for_counts_where_a_tenant_is_limited_or_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let (access, (handle, _shutdown)) = (users(&dir).await, toy().await);
    access.beside(&handle, usage);
    ask(&access, request()).await.unwrap();
    happens(&handle, UNI, 3).await;
    let refused = async |request| match ask(&access, request).await.unwrap() {
        AccessAnswer::Refused(refusal) => refusal,
        AccessAnswer::Done(entry) => panic!("{entry:?} is done"),
    };
    let delete = || AccessRequest::DeleteTenant { tenant: uni() };
    let not_empty = Denial::NotEmpty {
        tenant: uni(),
        jobs: 3,
        tenants: 0,
        users: 0,
    };
    assert_eq!(refused(delete()).await, not_empty);
    let below = refused(at_most(2)).await;
    assert!(matches!(below, Denial::BelowUse { .. }), "{below:?}");
    let done = ask(&access, at_most(3)).await.unwrap();
    assert_eq!(done, AccessAnswer::Done((&uni()).into()));
}

#[tokio::test]
async fn a_superseded_run_changes_no_user() {
    let dir = tempfile::tempdir().unwrap();
    let (access, (handle, _shutdown)) = (users(&dir).await, toy().await);
    access.beside(&handle, usage);
    handle.ask(Input::Superseded).await.unwrap();
    let refused = ask(&access, request()).await.unwrap_err();
    assert!(matches!(refused, NotChanged::Superseded), "{refused}");
    let refused = super::super::joining::not_changed(refused);
    let problem = &refused.problem;
    assert_eq!((problem.status, problem.code.as_str()), (503, "superseded"));
    assert!(access.book().access.tenant(&uni()).is_none());
}
