//! Who may do what with users, tokens and tenants: each operation, asked by each role.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use expect_test::expect;
use serde_json::json;

use super::*;

/// Who asks: a role at `university`; and others.
const WHO: [(&str, &str, Option<Role>); 8] = [
    ("none", "university", None),
    ("viewer", "university", Some(Role::Viewer)),
    ("deployer", "university", Some(Role::Deployer)),
    ("operator", "university", Some(Role::Operator)),
    ("auditor", "university", Some(Role::Auditor)),
    ("admin", "university", Some(Role::Admin)),
    ("of another", "company", Some(Role::Admin)),
    ("of the root", "default", Some(Role::Admin)),
];

/// The operations on what is in and below `university`; the paths as they are sent.
fn operations() -> Vec<(&'static str, Value)> {
    let lab = json!({"tenant": "university/own"});
    let password = json!({"password": "correct horse battery"});
    vec![
        ("GET /api/v1/whoami", Value::Null),
        ("GET /api/v1/tokens", Value::Null),
        ("GET /api/v1/tokens?user=alice", Value::Null),
        ("POST /api/v1/tokens", Value::Null),
        ("DELETE /api/v1/tokens/ALICES", Value::Null),
        ("GET /api/v1/invitations", Value::Null),
        ("POST /api/v1/invitations", json!({"tenant": "university"})),
        ("GET /api/v1/users", Value::Null),
        ("GET /api/v1/users/alice", Value::Null),
        ("DELETE /api/v1/users/alice", Value::Null),
        ("POST /api/v1/users/waiting/approve", Value::Null),
        ("POST /api/v1/users/alice/suspend", Value::Null),
        ("POST /api/v1/users/alice/resume", Value::Null),
        (
            "PUT /api/v1/users/alice/role",
            json!({"tenant": "university", "role": "viewer"}),
        ),
        ("PUT /api/v1/users/alice/password", password.clone()),
        ("PUT /api/v1/users/me/password", password),
        ("GET /api/v1/tenants", Value::Null),
        ("POST /api/v1/tenants", lab),
        ("GET /api/v1/tenants/university", Value::Null),
        ("PATCH /api/v1/tenants/university", json!({"quota": {}})),
        (
            "PATCH /api/v1/tenants/university%2Flab",
            json!({"quota": {}}),
        ),
        ("DELETE /api/v1/tenants/university%2Flab", Value::Null),
        ("POST /api/v1/tenants/university%2Fnew/approve", Value::Null),
        ("POST /api/v1/tenants/university%2Flab/suspend", Value::Null),
        ("POST /api/v1/tenants/university%2Flab/resume", Value::Null),
    ]
}

/// What the asker is answered; of lists, how many rows.
async fn outcome(
    keys: &Arc<Keys>,
    what: &str,
    body: Value,
    home: &str,
    role: Option<Role>,
) -> String {
    let rig = Rig::with(StoreKind::Embedded, Arc::clone(keys)).await;
    for path in ["company", "university", "university/lab"] {
        rig.tenant(path).await;
    }
    rig.user("alice", "university", None).await;
    rig.applicant("waiting", "university").await;
    let alices = rig.token("alice", Scope::FULL).await;
    let alice = Credential::Password(name("alice"));
    let new = AccessRequest::RequestTenant {
        tenant: tenant("university/new"),
        quota: model::access::Quota::default(),
        policy: model::access::Policy::default(),
    };
    // She has no role, so she may not even know of the university: it is asked for by who may.
    let viewer = AccessRequest::SetRole {
        user: name("alice"),
        tenant: tenant("university"),
        role: Some(Role::Viewer),
    };
    rig.decide(viewer).await;
    rig.access.ask(&alice, &new).await.unwrap();
    let invite = AccessRequest::Invite {
        minted: Minted {
            id: TokenId::from_bits(1),
            hash: [0; 32],
        },
        tenant: tenant("university"),
        role: None,
        expires_at: clock::now().wall.plus(std::time::Duration::from_hours(1)),
    };
    rig.decide(invite).await;
    let me = rig.user("me", home, role).await;
    let reply = rig
        .ask(&me, &what.replace("ALICES", &alices.id.to_string()), body)
        .await;
    match reply.body["items"].as_array() {
        Some(rows) => format!("{} rows", rows.len()),
        None => reply.status.to_string(),
    }
}

#[tokio::test]
async fn who_may_do_what_with_users_and_tenants() {
    let keys = keys();
    let mut table = format!("{:<46}", "");
    for (who, ..) in WHO {
        let _ = write!(table, " {who:<11}");
    }
    let mut asked = BTreeSet::new();
    for (what, body) in operations() {
        let _ = write!(table, "\n{:<46}", what.replace("/api/v1", ""));
        for (_, home, role) in WHO {
            let outcome = outcome(&keys, what, body.clone(), home, role).await;
            let _ = write!(table, " {outcome:<11}");
        }
        asked.insert(shape(what));
    }
    let table: Vec<&str> = table.lines().map(str::trim_end).collect();
    expect![[r"
                                                       none        viewer      deployer    operator    auditor     admin       of another  of the root
        GET /whoami                                    200         200         200         200         200         200         200         200
        GET /tokens                                    1 rows      1 rows      1 rows      1 rows      1 rows      1 rows      1 rows      1 rows
        GET /tokens?user=alice                         404         404         404         404         2 rows      2 rows      404         2 rows
        POST /tokens                                   201         201         201         201         201         201         201         201
        DELETE /tokens/ALICES                          404         403         403         403         403         204         404         204
        GET /invitations                               0 rows      0 rows      0 rows      0 rows      1 rows      1 rows      0 rows      1 rows
        POST /invitations                              404         403         403         403         403         201         404         201
        GET /users                                     1 rows      1 rows      1 rows      1 rows      3 rows      3 rows      1 rows      4 rows
        GET /users/alice                               404         404         404         404         200         200         404         200
        DELETE /users/alice                            404         403         403         403         403         204         404         204
        POST /users/waiting/approve                    404         403         403         403         403         200         404         200
        POST /users/alice/suspend                      404         403         403         403         403         200         404         200
        POST /users/alice/resume                       404         403         403         403         403         200         404         200
        PUT /users/alice/role                          404         403         403         403         403         200         404         200
        PUT /users/alice/password                      404         404         404         404         404         404         404         200
        PUT /users/me/password                         200         200         200         200         200         200         200         200
        GET /tenants                                   0 rows      3 rows      3 rows      3 rows      3 rows      3 rows      1 rows      5 rows
        POST /tenants                                  201         201         201         201         201         201         404         201
        GET /tenants/university                        404         200         200         200         200         200         404         200
        PATCH /tenants/university                      404         403         403         403         403         403         404         200
        PATCH /tenants/university%2Flab                404         403         403         403         403         200         404         200
        DELETE /tenants/university%2Flab               404         403         403         403         403         204         404         204
        POST /tenants/university%2Fnew/approve         404         403         403         403         403         200         404         200
        POST /tenants/university%2Flab/suspend         404         403         403         403         403         200         404         200
        POST /tenants/university%2Flab/resume          404         403         403         403         403         200         404         200
    "]].assert_eq(&format!("{}\n", table.join("\n")));
    // All of them were asked, but for those that anybody may.
    let rig = Rig::with(StoreKind::Embedded, keys).await;
    let api = api(rig.access.clone());
    let guarded = api.needs();
    let guarded = guarded.iter().filter(|(.., need)| *need != Need::Nothing);
    let described: BTreeSet<String> = guarded
        .map(|(method, path, _)| shape(&format!("{} {path}", method.to_uppercase())))
        .collect();
    assert_eq!(asked, described);
}

/// An operation without the names in its path.
fn shape(what: &str) -> String {
    let path = what.split('?').next().unwrap();
    let parts = path.split('/').enumerate().map(|(at, part)| match at {
        4 => "*",
        _ => part,
    });
    parts.collect::<Vec<_>>().join("/")
}
