//! What is kept of a secret, which jobs get it, and who is handed its key.

use std::path::Path;

use model::access::{AccessRequest, Credential, Policy, Quota};
use model::desired::JobHead;
use model::id::{ClusterId, InstanceId, JobId};
use model::slot::{Generation, Slot};
use protocol::document::{Format, Options, read};
use secrets::Keyring;
use store::{Memory, Store as _};

use super::super::{ADMIN_TOKEN, Settings};
use super::*;
use crate::StoreKind;
use crate::audited::Audit;
use crate::keys::Keys;

async fn open(dir: &Path, store: &Arc<Memory>, tier: Tier) -> Access {
    let settings = Settings {
        tier,
        store: StoreKind::Embedded,
        admin_token: dir.join(ADMIN_TOKEN),
        insecure: false,
        places: Vec::new(),
        rates: super::super::RateOptions::default(),
    };
    let keys = Keys::open(StoreKind::Embedded, dir, tier, Vec::new()).unwrap();
    let audit = Audit::open(StoreKind::Embedded, dir, tier).unwrap();
    let opened = Access::open(settings, Arc::clone(store) as _, Arc::new(keys), audit);
    opened.await.unwrap()
}

fn job(more: &str) -> JobSpec {
    let body = format!("api_version: v0.1\njob_name: shop\n{more}\n");
    let options = Options::default();
    let mut read = read(body.as_bytes(), Format::Yaml, options).unwrap();
    read.jobs.remove(0)
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn tenant(text: &str) -> TenantPath {
    TenantPath::new(text).unwrap()
}

async fn set(access: &Access, tenant: &TenantPath, key: &str, value: &str) -> Secret {
    let value = SecretRequest::Value(value.as_bytes().to_vec());
    put(access, tenant, key, value).await
}

async fn put(access: &Access, tenant: &TenantPath, key: &str, value: SecretRequest) -> Secret {
    let key = name(key);
    let set = access.set_secret((tenant, &key), "alice", value);
    set.await.unwrap()
}

fn login(registry: &str) -> SecretRequest {
    SecretRequest::Registry {
        registry: registry.to_owned(),
        username: "bob".to_owned(),
        password: "hunter2".to_owned(),
    }
}

/// A tenant that an administrator made, with images of one registry only.
async fn make_tenant(access: &Access, path: &str) -> TenantPath {
    let path = tenant(path);
    let book = access.book();
    let token = book.access.tokens().next().unwrap().id;
    let policy = Policy {
        registries: Some(["ghcr.io".to_owned()].into()),
        ..Policy::default()
    };
    let request = AccessRequest::RequestTenant {
        tenant: path.clone(),
        quota: Quota::default(),
        policy,
    };
    let asked = access.ask(&Credential::Token(token), &request).await;
    asked.unwrap();
    path
}

#[tokio::test]
async fn a_value_is_in_no_record_and_opens_again_after_a_restart() {
    let (dir, store) = (tempfile::tempdir().unwrap(), Arc::new(Memory::new()));
    let access = open(dir.path(), &store, Tier::Root).await;
    let root = TenantPath::root();
    let first = set(&access, &root, "db", "hunter2").await;
    let second = set(&access, &root, "db", "hunter3").await;
    assert_ne!(first.sealed, second.sealed);
    assert_eq!(first.created_at, second.created_at);
    for record in store.load().unwrap() {
        let text = String::from_utf8_lossy(&record.value).into_owned();
        assert!(!text.contains("hunter"), "{text}");
    }
    drop(access);
    let access = open(dir.path(), &store, Tier::Root).await;
    let book = access.book();
    let secret = book.secrets.get(&root, &name("db")).unwrap();
    assert_eq!(*secret, second);
    let about = About {
        tenant: &root,
        name: &secret.name,
        version: secret.sealed.version,
    };
    let key = access.0.keys.secrets().vault().key(about.version);
    let opened = key.open(&about, &secret.sealed.ciphertext).unwrap();
    assert_eq!(*opened, b"hunter3");
    access.delete_secret(&root, &name("db")).await.unwrap();
    let again = access.delete_secret(&root, &name("db")).await;
    assert!(matches!(again, Err(NotChanged::Secret(_))), "{again:?}");
}

#[tokio::test]
async fn a_job_gets_the_secrets_of_its_own_tenant_and_what_the_policy_allows() {
    let (dir, store) = (tempfile::tempdir().unwrap(), Arc::new(Memory::new()));
    let access = open(dir.path(), &store, Tier::Root).await;
    let (root, lab) = (TenantPath::root(), make_tenant(&access, "lab").await);
    set(&access, &root, "db", "of the root").await;
    let ours = set(&access, &lab, "db", "of the lab").await;
    put(&access, &lab, "ghcr", login("ghcr.io")).await;

    let wanted = job("image: ghcr.io/lab/shop\nsecrets: [db]\npull_secret: ghcr");
    let prepared = access.prepare(&lab, wanted.clone()).unwrap();
    let workload = &prepared.services[0].workload;
    let [one] = workload.secrets.uses.as_slice() else {
        panic!("{workload:?}")
    };
    assert_eq!(one.secret.sealed.as_ref(), Some(&ours.sealed));
    assert_eq!(workload.secrets.versions().count(), 2);
    assert_eq!(workload.hash, protocol::workload::hash(workload));
    // The same again is the same, and another value is not.
    assert_eq!(access.prepare(&lab, wanted.clone()).unwrap(), prepared);
    set(&access, &lab, "db", "another").await;
    let newer = access.prepare(&lab, wanted.clone()).unwrap();
    assert_ne!(newer.services[0].workload.hash, workload.hash);

    let refused = |tenant: &TenantPath, more: &str| {
        let refused = access.prepare(tenant, job(more)).unwrap_err();
        let code = crate::http::refusal::not_taken(&refused).problem.code;
        (code, refused.to_string())
    };
    for (path, more, code, fragment) in [
        (
            "default",
            "image: ghcr.io/a\npull_secret: ghcr",
            "no_such_secret",
            "tenant default has no secret ghcr",
        ),
        (
            "lab",
            "image: ghcr.io/a\nsecrets: [key]",
            "no_such_secret",
            "edgeio secret set key",
        ),
        (
            "lab",
            "image: ghcr.io/a\nsecrets: [ghcr]",
            "wrong_kind_of_secret",
            "pull_secret",
        ),
        (
            "lab",
            "image: ghcr.io/a\npull_secret: db",
            "wrong_kind_of_secret",
            "--registry",
        ),
        (
            "lab",
            "image: nginx",
            "forbidden_by_policy",
            "no registry docker.io",
        ),
        (
            "nobody",
            "image: nginx",
            "no_such_tenant",
            "no tenant nobody",
        ),
    ] {
        let (found, text) = refused(&tenant(path), more);
        assert_eq!(found, code, "{text}");
        assert!(text.contains(fragment), "{text}");
    }
    // A login is for its registry.
    put(&access, &lab, "quay", login("quay.io")).await;
    let (_, text) = refused(&lab, "image: ghcr.io/a\npull_secret: quay");
    assert!(text.contains("nobody's password"), "{text}");
}

#[tokio::test]
async fn what_goes_with_a_tenant_goes_with_its_secrets() {
    let (dir, store) = (tempfile::tempdir().unwrap(), Arc::new(Memory::new()));
    let access = open(dir.path(), &store, Tier::Root).await;
    let lab = make_tenant(&access, "lab").await;
    set(&access, &lab, "db", "hunter2").await;
    let token = access.book().access.tokens().next().unwrap().id;
    let delete = AccessRequest::DeleteTenant {
        tenant: lab.clone(),
    };
    let asked = access.ask(&Credential::Token(token), &delete).await;
    asked.unwrap();
    assert!(access.book().secrets.get(&lab, &name("db")).is_err());
    make_tenant(&access, "lab").await;
    assert!(access.book().secrets.get(&lab, &name("db")).is_err());
}

fn desired(spec: &JobSpec, owner: Owner) -> Desired {
    let service = &spec.services[0];
    Desired {
        instance: InstanceId::from_bits(1),
        slot: Slot {
            job: JobId::from_bits(1),
            service: service.name.clone(),
            index: 0,
        },
        generation: Generation::default(),
        job: Arc::new(JobHead {
            id: JobId::from_bits(1),
            name: spec.name.clone(),
            tenant: TenantPath::root(),
            owner,
            lost_after: None,
            on_partition: spec.on_partition,
            reconcile: spec.reconcile,
            created_at: clock::now().wall,
        }),
        service: Arc::clone(service),
        handover: model::desired::Handover::default(),
    }
}

#[tokio::test]
async fn a_key_goes_from_the_root_by_its_cluster_to_the_worker() {
    let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let store = || Arc::new(Memory::new());
    let root = open(dirs[0].path(), &store(), Tier::Root).await;
    let cluster = open(dirs[1].path(), &store(), Tier::Cluster).await;
    let worker = Keyring::temporary().unwrap();
    let tenant = TenantPath::root();
    let secret = set(&root, &tenant, "db", "hunter2").await;
    let spec = root
        .prepare(&tenant, job("image: a\nsecrets: [db]"))
        .unwrap();
    let assigned = desired(&spec, Owner::Root);

    let public = cluster.sealing_key().parse().unwrap();
    let down = root.secret_keys(Some(&public), [&assigned, &assigned].into_iter());
    assert_eq!(down.len(), 1);
    // The cluster has nothing to hand on before it came.
    let to_worker =
        |access: &Access| access.secret_keys(Some(&worker.public()), std::iter::once(&assigned));
    assert_eq!(to_worker(&cluster), []);
    cluster.keep_secret_keys(down).await.unwrap();
    let [key] = to_worker(&cluster).try_into().unwrap();
    worker.keep(key.version, &key.wrapped).unwrap();
    let about = About {
        tenant: &tenant,
        name: &secret.name,
        version: secret.sealed.version,
    };
    let key = worker.key(about.version).unwrap();
    let opened = key.open(&about, &secret.sealed.ciphertext).unwrap();
    assert_eq!(*opened, b"hunter2");

    // A worker that has no key gets none, and what nobody has is forgotten.
    assert_eq!(cluster.secret_keys(None, std::iter::once(&assigned)), []);
    cluster.tidy_secret_keys(std::iter::once(spec.services[0].workload.as_ref()));
    assert_eq!(to_worker(&cluster).len(), 1);
    cluster.tidy_secret_keys(std::iter::empty());
    assert_eq!(to_worker(&cluster), []);

    // Its own jobs it needs nobody for.
    let own = set(&cluster, &tenant, "db", "own").await;
    let spec = cluster
        .prepare(&tenant, job("image: a\nsecrets: [db]"))
        .unwrap();
    let own_job = desired(&spec, Owner::Cluster(ClusterId::from_bits(7)));
    let keys = cluster.secret_keys(Some(&worker.public()), std::iter::once(&own_job));
    assert_eq!(keys[0].version, own.sealed.version);
}
