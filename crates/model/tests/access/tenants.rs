//! The life of a tenant.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use expect_test::expect;
use model::access::{
    AccessBook, AccessRequest, Policy, Quota, Resource, Role, TenantPath, TenantState, Usage, Verb,
};
use model::units::Resources;
use model::workload::{Pull, Restart, RuntimeKind, SpecHash, Workload};

use crate::stage::{Stage, jobs, minted, name, path, request_tenant, request_user, token, user};

fn approve(tenant: &str) -> AccessRequest {
    AccessRequest::ApproveTenant {
        tenant: path(tenant),
    }
}

fn delete(tenant: &str) -> AccessRequest {
    AccessRequest::DeleteTenant {
        tenant: path(tenant),
    }
}

fn change(tenant: &str, quota: Option<Quota>, policy: Option<Policy>) -> AccessRequest {
    AccessRequest::ChangeTenant {
        tenant: path(tenant),
        quota,
        policy,
    }
}

fn registries(names: &[&str]) -> Policy {
    Policy {
        registries: Some(names.iter().map(|name| (*name).to_owned()).collect()),
        runtimes: None,
    }
}

fn job() -> Usage {
    Usage {
        jobs: 1,
        ..Usage::default()
    }
}

#[test]
fn a_path_is_names_below_the_root() {
    for good in [
        "default",
        "university",
        "university/lab",
        "a/b/c/d/e/f/g/h",
        "a/default",
    ] {
        assert_eq!(path(good).to_string(), good);
    }
    for bad in [
        "",
        "/",
        "a/",
        "/a",
        "a//b",
        "default/a",
        "a/b c",
        "../a",
        "a/b/c/d/e/f/g/h/i",
    ] {
        assert!(TenantPath::new(bad).is_err(), "{bad}");
    }
    let upwards = path("a/b/c").upwards().map(String::from);
    assert_eq!(
        upwards.collect::<Vec<_>>(),
        ["a/b/c", "a/b", "a", "default"]
    );
    assert!(path("a/b").is_within(&path("a")) && path("a").is_within(&TenantPath::root()));
    assert!(!path("ab").is_within(&path("a")) && !path("a").is_within(&path("a/b")));
    expect![[r#""default/lab" is no tenant: write 1 to 8 names with / between them, as in university/lab; the tenant above all is `default` and is not written before others"#]].assert_eq(&TenantPath::new("default/lab").unwrap_err().to_string());
}

#[test]
fn a_tenant_is_asked_for_by_a_user_and_approved_from_above() {
    let mut stage = Stage::new();
    stage.user("pi", &[]);
    let tenant = Resource::Tenant(path("uni"));
    let jobs_of = Resource::Jobs(path("uni"));
    stage
        .ask(&user("pi"), &request_tenant("uni", jobs(10)))
        .unwrap();
    expect![
        "this (approve tenant) needs the role admin at tenant default; ask an administrator of it"
    ]
    .assert_eq(&stage.ask(&user("pi"), &approve("uni")).unwrap_err());
    assert!(stage.may(&user("pi"), Verb::Read, &tenant));
    assert!(!stage.may(&user("pi"), Verb::Create, &jobs_of));
    assert!(!stage.may(&user("admin"), Verb::Create, &jobs_of));
    expect!["there is a tenant uni already, or one was asked for; choose another name"].assert_eq(
        &stage
            .ask(&user("admin"), &request_tenant("uni", jobs(1)))
            .unwrap_err(),
    );

    stage
        .ask(&user("admin"), &change("uni", Some(jobs(5)), None))
        .unwrap();
    stage.ask(&user("admin"), &approve("uni")).unwrap();
    stage.ask(&user("admin"), &approve("uni")).unwrap();
    assert!(stage.may(&user("pi"), Verb::Create, &jobs_of));
    assert_eq!(stage.book.tenant(&path("uni")).unwrap().quota, jobs(5));

    // Its administrator decides below it, and not about itself.
    stage
        .ask(&user("pi"), &request_tenant("uni/lab", jobs(2)))
        .unwrap();
    let lab = stage.book.tenant(&path("uni/lab")).unwrap();
    assert_eq!(lab.state, TenantState::Active);
    expect![
        "this (change tenant) needs the role admin at tenant default; ask an administrator of it"
    ]
    .assert_eq(
        &stage
            .ask(&user("pi"), &change("uni", Some(jobs(50)), None))
            .unwrap_err(),
    );
}

#[test]
fn what_was_asked_for_is_held_to_what_is_above_it_when_it_is_approved() {
    let mut stage = Stage::new();
    let admin = user("admin");
    stage.tenant("uni", jobs(10));
    let narrow = change("uni", None, Some(registries(&["ghcr.io"])));
    stage.ask(&admin, &narrow).unwrap();
    let wide = AccessRequest::RequestTenant {
        tenant: path("uni/lab"),
        quota: jobs(11),
        policy: registries(&["quay.io"]),
    };
    expect!["a tenant may only narrow what is allowed above it: the tenant's policy allows no registry quay.io; it allows ghcr.io"].assert_eq(&stage.ask(&admin, &wide).unwrap_err());
    stage.user("eve", &[("uni", Role::Viewer)]);
    stage.ask(&user("eve"), &wide).unwrap();
    expect!["a tenant may only narrow what is allowed above it: the tenant's policy allows no registry quay.io; it allows ghcr.io"].assert_eq(&stage.ask(&admin, &approve("uni/lab")).unwrap_err());
    let same = change("uni/lab", None, Some(Policy::default()));
    stage.ask(&admin, &same).unwrap();
    expect!["the quota does not fit: tenant uni has a quota of 10 jobs, of which 0 jobs are used or given to tenants below it: 11 jobs more do not fit; delete or scale down jobs, or ask an administrator for a greater quota"].assert_eq(&stage.ask(&admin, &approve("uni/lab")).unwrap_err());
    // It takes nothing until then, and nobody is made anything in it.
    let all = Usage { jobs: 10, ..job() };
    stage.book.check(&path("uni"), &all).unwrap();
    let set_role = AccessRequest::SetRole {
        user: name("eve"),
        tenant: path("uni/lab"),
        role: Some(Role::Viewer),
    };
    expect!["tenant uni/lab waits for approval: approve it first, or delete it to refuse it"]
        .assert_eq(&stage.ask(&admin, &set_role).unwrap_err());

    stage
        .ask(&admin, &change("uni/lab", Some(jobs(10)), None))
        .unwrap();
    let tenant = path("uni");
    stage
        .ask(&admin, &AccessRequest::SuspendTenant { tenant })
        .unwrap();
    expect!["tenant uni is suspended, and so nothing is added or changed in it or below it; an administrator above it can change that"].assert_eq(&stage.ask(&admin, &approve("uni/lab")).unwrap_err());
    let tenant = path("uni");
    stage
        .ask(&admin, &AccessRequest::ResumeTenant { tenant })
        .unwrap();
    stage.ask(&admin, &approve("uni/lab")).unwrap();
    stage.book.check(&path("uni"), &job()).unwrap_err();
}

#[test]
fn who_has_no_account_asks_for_no_tenant() {
    let mut stage = Stage::new();
    let ask = request_tenant("uni", Quota::default());
    expect!["this needs an account: send a token of yours, or log in"].assert_eq(
        &stage
            .ask(&model::access::Credential::None, &ask)
            .unwrap_err(),
    );
    stage.user("pi", &[]);
    let ask = request_tenant("nowhere/lab", Quota::default());
    expect!["there is no tenant nowhere that you may see; GET /api/v1/tenants lists those"]
        .assert_eq(&stage.ask(&user("pi"), &ask).unwrap_err());
}

#[test]
fn who_is_nothing_in_a_tenant_does_not_learn_by_asking_whether_it_is_there() {
    let mut stage = Stage::new();
    stage.tenant("uni", Quota::default());
    stage.tenant("uni/lab", Quota::default());
    stage.user("pi", &[]);
    let mut asks = |tenant: &str| {
        let ask = request_tenant(tenant, Quota::default());
        stage.ask(&user("pi"), &ask)
    };
    let there = asks("uni/new").unwrap_err();
    assert_eq!(asks("uni/lab").unwrap_err(), there);
    let missing = asks("nowhere/new").unwrap_err();
    assert_eq!(missing.replace("nowhere", "uni"), there);
    // At the top names are everybody's, and everybody may ask.
    asks("new").unwrap();
}

#[test]
fn a_bounded_number_of_tenants_waits() {
    let mut stage = Stage::new();
    stage.user("pi", &[]);
    for number in 0..AccessBook::WAITING {
        stage
            .ask(&user("pi"), &request_tenant(&format!("t{number}"), jobs(1)))
            .unwrap();
    }
    expect!["tenant default has 100 tenants that wait for approval already; have some of them decided, used or deleted first"].assert_eq(
        &stage
            .ask(&user("pi"), &request_tenant("more", jobs(1)))
            .unwrap_err(),
    );
    stage.ask(&user("admin"), &approve("t0")).unwrap();
    stage
        .ask(&user("pi"), &request_tenant("more", jobs(1)))
        .unwrap();
}

#[test]
fn a_quota_fits_into_what_the_tenant_above_has_left() {
    let mut stage = Stage::new();
    stage.tenant("uni", jobs(10));
    stage.tenant("uni/a", jobs(4));
    stage
        .book
        .charge(&path("uni"), &Usage::default(), &Usage { jobs: 3, ..job() });
    let admin = user("admin");
    expect!["the quota does not fit: tenant uni has a quota of 10 jobs, of which 7 jobs are used or given to tenants below it: 4 jobs more do not fit; delete or scale down jobs, or ask an administrator for a greater quota"].assert_eq(
        &stage
            .ask(&admin, &request_tenant("uni/b", jobs(4)))
            .unwrap_err(),
    );
    stage
        .ask(&admin, &request_tenant("uni/b", jobs(3)))
        .unwrap();
    expect!["the quota does not fit: tenant uni has a quota of 10 jobs, of which 10 jobs are used or given to tenants below it: 1 jobs more do not fit; delete or scale down jobs, or ask an administrator for a greater quota"].assert_eq(
        &stage
            .ask(&admin, &change("uni/a", Some(jobs(5)), None))
            .unwrap_err(),
    );
    expect!["a quota of 9 jobs is too little for tenant uni: 10 jobs are used or given to tenants below it; free some first"].assert_eq(
        &stage
            .ask(&admin, &change("uni", Some(jobs(9)), None))
            .unwrap_err(),
    );
    // What is given to a tenant below is not there for the one above, and the other way round.
    expect!["tenant uni has a quota of 10 jobs, of which 10 jobs are used or given to tenants below it: 1 jobs more do not fit; delete or scale down jobs, or ask an administrator for a greater quota"].assert_eq(
        &stage
            .book
            .check(&path("uni"), &job())
            .unwrap_err()
            .to_string(),
    );
    stage
        .book
        .check(&path("uni/a"), &Usage { jobs: 4, ..job() })
        .unwrap();
    stage
        .ask(&admin, &change("uni/a", Some(jobs(1)), None))
        .unwrap();
    stage
        .book
        .check(&path("uni"), &Usage { jobs: 3, ..job() })
        .unwrap();
}

#[test]
fn a_tenant_without_a_quota_shares_that_of_the_one_above() {
    let mut stage = Stage::new();
    stage.tenant("uni", jobs(2));
    for slice in ["uni/a", "uni/b"] {
        stage.tenant(slice, Quota::default());
        stage.book.check(&path(slice), &job()).unwrap();
        stage.book.charge(&path(slice), &Usage::default(), &job());
    }
    for tenant in ["uni", "uni/a", "uni/b"] {
        let exceeded = stage.book.check(&path(tenant), &job()).unwrap_err();
        assert_eq!((exceeded.tenant, exceeded.used), (path("uni"), 2));
    }
    stage.book.charge(&path("uni/a"), &job(), &Usage::default());
    stage.book.check(&path("uni/b"), &job()).unwrap();
}

#[test]
fn a_policy_only_narrows() {
    let mut stage = Stage::new();
    let admin = user("admin");
    stage.tenant("uni", Quota::default());
    stage.tenant("uni/lab", Quota::default());
    stage
        .ask(
            &admin,
            &change("uni", None, Some(registries(&["ghcr.io", "docker.io"]))),
        )
        .unwrap();
    expect!["a tenant may only narrow what is allowed above it: the tenant's policy allows no registry quay.io; it allows docker.io, ghcr.io"].assert_eq(
        &stage
            .ask(
                &admin,
                &change("uni/lab", None, Some(registries(&["quay.io"]))),
            )
            .unwrap_err(),
    );
    stage
        .ask(
            &admin,
            &change("uni/lab", None, Some(registries(&["ghcr.io"]))),
        )
        .unwrap();
    assert_eq!(
        stage.book.policy(&path("uni/lab")),
        registries(&["ghcr.io"])
    );
    // What is taken away above is not there below, whatever stands there.
    let native = Policy {
        runtimes: Some(BTreeSet::from([RuntimeKind::Native])),
        ..registries(&["docker.io"])
    };
    stage
        .ask(&admin, &change("uni", None, Some(native)))
        .unwrap();
    let policy = stage.book.policy(&path("uni/lab"));
    assert_eq!(policy.registries, Some(BTreeSet::new()));
    expect!["the tenant's policy allows no registry ghcr.io; it allows none"].assert_eq(
        &policy
            .admits(&workload(RuntimeKind::Native, "ghcr.io/a"))
            .unwrap_err()
            .to_string(),
    );
    expect!["the tenant's policy allows no runtime docker; it allows native"].assert_eq(
        &policy
            .admits(&workload(RuntimeKind::Docker, "ghcr.io/a"))
            .unwrap_err()
            .to_string(),
    );
    policy
        .admits(&workload(RuntimeKind::Native, "file:///bin/sleep"))
        .unwrap();
    Policy::default()
        .admits(&workload(RuntimeKind::Docker, "quay.io/a"))
        .unwrap();
}

pub(crate) fn workload(runtime: RuntimeKind, image: &str) -> Workload {
    Workload {
        hash: SpecHash([0; 16]),
        runtime,
        image: Some(image.to_owned()),
        pull: Pull::IfAbsent,
        command: Vec::new(),
        args: Vec::new(),
        environment: BTreeMap::new(),
        ports: Vec::new(),
        volumes: Vec::new(),
        files: BTreeMap::new(),
        resources: Resources::default(),
        security: model::security::Security::default(),
        restart: Restart::Always,
        health: None,
        secrets: model::secret::Secrets::default(),
        stop_grace: Duration::from_secs(5),
    }
}

#[test]
fn only_an_empty_tenant_is_deleted() {
    let mut stage = Stage::new();
    let admin = user("admin");
    stage.tenant("uni", jobs(5));
    stage.tenant("uni/lab", jobs(2));
    stage.book.charge(&path("uni"), &Usage::default(), &job());
    stage
        .ask(
            &model::access::Credential::None,
            &request_user("eve", "uni"),
        )
        .unwrap();
    expect!["tenant uni is not empty: 1 jobs, 1 tenants below it, 1 users; delete these first"]
        .assert_eq(&stage.ask(&admin, &delete("uni")).unwrap_err());
    stage.book.charge(&path("uni"), &job(), &Usage::default());
    stage.ask(&admin, &delete("uni/lab")).unwrap();
    let user = name("eve");
    stage
        .ask(&admin, &AccessRequest::DeleteUser { user })
        .unwrap();
    stage.ask(&admin, &delete("uni")).unwrap();
    assert_eq!(stage.book.tenants().count(), 1);
    expect!["the tenant above all stays; suspend or delete those below it"]
        .assert_eq(&stage.ask(&admin, &delete("default")).unwrap_err());
    let tenant = TenantPath::root();
    let suspend = AccessRequest::SuspendTenant { tenant };
    expect!["the tenant above all stays; suspend or delete those below it"]
        .assert_eq(&stage.ask(&admin, &suspend).unwrap_err());
}

#[test]
fn nobody_is_anything_in_a_later_tenant_of_the_same_name() {
    let mut stage = Stage::new();
    let admin = user("admin");
    stage.tenant("uni", Quota::default());
    stage.user("pi", &[("uni", Role::Admin)]);
    stage.token(10, "pi", Role::Deployer, Some("uni"));
    let invite = AccessRequest::Invite {
        minted: minted(11),
        tenant: path("uni"),
        role: Some(Role::Admin),
        expires_at: model::time::Wall(1_000),
    };
    stage.ask(&user("pi"), &invite).unwrap();
    stage.ask(&admin, &delete("uni")).unwrap();
    stage.tenant("uni", Quota::default());
    let jobs = Resource::Jobs(path("uni"));
    assert!(!stage.may(&user("pi"), Verb::Read, &jobs));
    for number in [10, 11] {
        assert!(stage.book.subject(&token(number), stage.at).is_none());
    }
}

#[test]
fn a_tenant_that_waits_is_refused_by_deleting_it() {
    let mut stage = Stage::new();
    stage.user("pi", &[]);
    stage
        .ask(&user("pi"), &request_tenant("uni", jobs(1)))
        .unwrap();
    let tenant = path("uni");
    let suspend = AccessRequest::SuspendTenant { tenant };
    expect!["tenant uni waits for approval: approve it first, or delete it to refuse it"]
        .assert_eq(&stage.ask(&user("admin"), &suspend).unwrap_err());
    expect![
        "this (delete tenant) needs the role admin at tenant default; ask an administrator of it"
    ]
    .assert_eq(&stage.ask(&user("pi"), &delete("uni")).unwrap_err());
    stage.ask(&user("admin"), &delete("uni")).unwrap();
    expect!["there is no tenant uni that you may see; GET /api/v1/tenants lists those"]
        .assert_eq(&stage.ask(&user("admin"), &approve("uni")).unwrap_err());
}
