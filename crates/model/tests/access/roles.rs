//! The table of roles, and how it is applied to a tree of tenants.

use std::fmt::Write as _;

use expect_test::{expect, expect_file};
use model::access::{Access, AccessRequest, Credential, Quota, Resource, Role, TenantPath, Verb};

use crate::stage::{Stage, path, request_tenant, token, user};

/// One resource of each kind; what belongs to a tenant belongs to this one.
fn resources(tenant: &TenantPath) -> [Resource; 9] {
    [
        Resource::Jobs(tenant.clone()),
        Resource::Secrets(tenant.clone()),
        Resource::Tenant(tenant.clone()),
        Resource::Users(tenant.clone()),
        Resource::Audit(tenant.clone()),
        Resource::Nodes,
        Resource::Clusters,
        Resource::JoinTokens,
        Resource::System,
    ]
}

/// Everything that may be asked about that tenant and about the system.
fn questions(tenant: &TenantPath) -> Vec<(Verb, Resource)> {
    let of_each = |verb| {
        resources(tenant)
            .into_iter()
            .map(move |thing| (verb, thing))
    };
    Verb::ALL.into_iter().flat_map(of_each).collect()
}

/// `uni/lab` beside `other`; of each role one user at each level.
fn stage() -> Stage {
    let mut stage = Stage::new();
    for tenant in ["uni", "uni/lab", "uni/lab/room", "other"] {
        stage.tenant(tenant, Quota::default());
    }
    stage.user("nothing", &[]);
    for role in Role::ALL {
        for (level, tenant) in [("root", "default"), ("above", "uni"), ("here", "uni/lab")] {
            stage.user(&format!("{level}.{role}"), &[(tenant, role)]);
        }
    }
    stage
}

/// The lowest place at which a role is enough.
fn place(stage: &Stage, role: Role, verb: Verb, resource: &Resource) -> &'static str {
    let may = |who: &str| stage.may(&user(who), verb, resource);
    if may("nothing") {
        return "account";
    }
    let mut places = ["here", "above", "root"].into_iter();
    let found = places.find(|level| may(&format!("{level}.{role}")));
    assert!(places.all(|above| found.is_none() || may(&format!("{above}.{role}"))));
    found.unwrap_or("-")
}

#[test]
fn who_may_do_what() {
    let stage = stage();
    let mut table = String::new();
    let mut line = |first: &str, cells: [&str; 5]| {
        write!(table, "{first:<20}").unwrap();
        for cell in cells {
            write!(table, " {cell:<8}").unwrap();
        }
        table.truncate(table.trim_end().len());
        table.push('\n');
    };
    line("", Role::ALL.map(Role::as_str));
    for resource in resources(&path("uni/lab")) {
        for verb in Verb::ALL {
            let cells = Role::ALL.map(|role| place(&stage, role, verb, &resource));
            if cells != ["-"; 5] {
                line(&format!("{} {}", resource.as_str(), verb.as_str()), cells);
            }
        }
    }
    table.push_str("all else: nobody\n");
    expect_file!["roles.txt"].assert_eq(&table);
}

#[test]
fn a_role_may_what_the_one_before_it_may_and_an_administrator_everything() {
    let stage = stage();
    let chain = [Role::Viewer, Role::Deployer, Role::Operator, Role::Admin];
    let pairs = chain.windows(2).map(|pair| (pair[0], pair[1]));
    for (less, more) in pairs.chain([(Role::Auditor, Role::Admin)]) {
        for (verb, resource) in questions(&path("uni/lab")) {
            let may = |role| stage.may(&user(&format!("root.{role}")), verb, &resource);
            assert!(may(more) || !may(less), "{less} {verb:?} {resource:?}");
        }
    }
}

#[test]
fn a_tenant_is_hidden_from_whoever_is_nothing_in_it_or_above_it() {
    let mut stage = stage();
    stage.user("sibling", &[("other", Role::Admin)]);
    stage.user("below", &[("uni/lab/room", Role::Admin)]);
    let strangers = [
        user("nothing"),
        user("sibling"),
        user("below"),
        Credential::None,
    ];
    for who in &strangers {
        for (verb, resource) in questions(&path("uni/lab")) {
            let asks_for_one = (verb, resource.as_str()) == (Verb::Create, "tenant");
            if resource.tenant().is_some() && !(asks_for_one && *who != Credential::None) {
                let access = stage.access(who, verb, &resource);
                assert_eq!(access, Access::Hidden, "{who:?} {verb:?} {resource:?}");
            }
        }
    }
    let unknown = Resource::Jobs(path("uni/nowhere"));
    assert_eq!(
        stage.access(&user("sibling"), Verb::Read, &unknown),
        Access::Hidden
    );
    assert_eq!(
        stage.access(&user("root.admin"), Verb::Create, &unknown),
        Access::Hidden
    );
}

#[test]
fn a_token_gives_what_its_user_may_and_its_scope_lets_through() {
    let mut stage = stage();
    stage.user("ann", &[("uni", Role::Admin)]);
    stage.user("vic", &[("uni", Role::Viewer)]);
    stage.token(10, "ann", Role::Deployer, Some("uni/lab"));
    stage.token(11, "ann", Role::Auditor, None);
    stage.token(12, "vic", Role::Admin, None);
    stage.token(13, "root.admin", Role::Admin, Some("uni"));
    for (verb, resource) in questions(&path("uni/lab")) {
        let may = |number| stage.may(&token(number), verb, &resource);
        let user_may = |who: &str| stage.may(&user(who), verb, &resource);
        assert!(!may(10) || user_may("ann"));
        assert_eq!(
            may(11),
            user_may("ann") && user_may("root.auditor"),
            "{verb:?} {resource:?}"
        );
        assert_eq!(may(12), user_may("vic"));
    }
    let jobs = |tenant| Resource::Jobs(path(tenant));
    assert!(stage.may(&token(10), Verb::Create, &jobs("uni/lab/room")));
    assert_eq!(
        stage.access(&token(10), Verb::Read, &jobs("uni")),
        Access::Hidden
    );
    let quota = Resource::Tenant(path("uni"));
    let cordon = |number| stage.access(&token(number), Verb::Cordon, &Resource::Nodes);
    expect!["you may do this, but not with this token, which was made for less; use another one"]
        .assert_eq(&denied(stage.access(&token(13), Verb::Change, &quota)));
    expect!["you may do this, but not with this token, which was made for less; use another one"]
        .assert_eq(&denied(cordon(13)));
    expect!["this (cordon nodes) needs the role operator or admin at tenant default; ask an administrator of it"]
        .assert_eq(&denied(cordon(10)));
}

fn denied(access: Access) -> String {
    match access {
        Access::Denied(denied) => denied.to_string(),
        Access::Granted | Access::Hidden => format!("{access:?}"),
    }
}

#[test]
fn nothing_is_added_or_changed_in_and_below_a_suspended_tenant() {
    let mut stage = stage();
    let tenant = path("uni");
    let suspend = AccessRequest::SuspendTenant { tenant };
    stage.ask(&user("admin"), &suspend).unwrap();
    for tenant in ["uni", "uni/lab"] {
        let jobs = Resource::Jobs(path(tenant));
        for verb in [Verb::Create, Verb::Change, Verb::Exec] {
            expect!["tenant uni is suspended, and so nothing is added or changed in it or below it; an administrator above it can change that"]
                .assert_eq(&denied(stage.access(&user("above.admin"), verb, &jobs)));
        }
        for verb in [Verb::Read, Verb::Logs, Verb::Delete] {
            assert!(stage.may(&user("above.deployer"), verb, &jobs));
        }
    }
    let below = request_tenant("uni/new", Quota::default());
    expect!["tenant uni is suspended, and so nothing is added or changed in it or below it; an administrator above it can change that"]
        .assert_eq(&stage.ask(&user("above.admin"), &below).unwrap_err());
    expect!["there is no tenant uni that you may see; GET /api/v1/tenants lists those"]
        .assert_eq(&stage.ask(&user("nothing"), &below).unwrap_err());

    let tenant = path("uni");
    let resume = AccessRequest::ResumeTenant { tenant };
    expect![
        "this (change tenant) needs the role admin at tenant default; ask an administrator of it"
    ]
    .assert_eq(&stage.ask(&user("above.admin"), &resume).unwrap_err());
    stage.ask(&user("admin"), &resume).unwrap();
    assert!(stage.may(
        &user("here.deployer"),
        Verb::Create,
        &Resource::Jobs(path("uni/lab"))
    ));
}
