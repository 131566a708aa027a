//! Accounts, tenants, tokens and invitations from their beginning to their end.

use serde_json::json;

use super::*;

const PASSWORD: &str = "correct horse battery";

#[tokio::test]
async fn an_account_is_asked_for_approved_used_and_suspended() {
    let rig = Rig::new(StoreKind::Embedded).await;
    rig.tenant("university").await;
    let asked = json!({"name": "alice", "password": PASSWORD, "home": "university"});
    let reply = rig.post("", "users", asked.clone()).await;
    assert_eq!(
        (reply.status, reply.text("state").as_str()),
        (201, "requested")
    );
    assert_eq!(reply.headers["location"], "/api/v1/users/alice");
    assert_eq!(
        rig.post("", "users", asked).await.outcome(),
        "409 name_in_use"
    );
    let login = json!({"name": "alice", "password": PASSWORD});
    assert_eq!(
        rig.post("", "login", login.clone()).await.outcome(),
        "401 unauthorized"
    );

    let approve = json!({"role": "deployer"});
    let reply = rig.post(&rig.admin, "users/alice/approve", approve).await;
    assert_eq!(
        (reply.status, &reply.body["roles"]),
        (200, &json!({"university": "deployer"}))
    );
    let reply = rig.post("", "login", login.clone()).await;
    assert_eq!(reply.status, 201, "{}", reply.body);
    let token = reply.text("token");
    let whoami = rig.get(&token, "whoami").await;
    let expected = json!({"user": "alice", "roles": {"university": "deployer"}, "scope": null, "tenant": "university"});
    assert_eq!(whoami.body, expected);

    // Suspended: neither its token nor its password mean anything, at once.
    assert_eq!(
        rig.post(&rig.admin, "users/alice/suspend", Value::Null)
            .await
            .status,
        200
    );
    assert_eq!(
        rig.get(&token, "whoami").await.outcome(),
        "401 unauthorized"
    );
    assert_eq!(
        rig.post("", "login", login.clone()).await.outcome(),
        "401 unauthorized"
    );
    assert_eq!(
        rig.post(&rig.admin, "users/alice/resume", Value::Null)
            .await
            .status,
        200
    );
    assert_eq!(rig.get(&token, "whoami").await.status, 200);

    // Another password; the old one means nothing.
    let new = json!({"password": "another horse battery"});
    assert_eq!(
        rig.ask(&token, "PUT /api/v1/users/alice/password", new)
            .await
            .status,
        200
    );
    assert_eq!(
        rig.post("", "login", login).await.outcome(),
        "401 unauthorized"
    );
    let login = json!({"name": "alice", "password": "another horse battery", "ttl": "1m"});
    assert_eq!(rig.post("", "login", login).await.status, 201);

    assert_eq!(
        rig.ask(&rig.admin, "DELETE /api/v1/users/alice", Value::Null)
            .await
            .status,
        204
    );
    assert_eq!(
        rig.get(&token, "whoami").await.outcome(),
        "401 unauthorized"
    );
    assert_eq!(
        rig.get(&rig.admin, "users/alice").await.outcome(),
        "404 no_such_user"
    );
}

#[tokio::test]
async fn the_last_administrator_stays() {
    let rig = Rig::new(StoreKind::Embedded).await;
    let role = json!({"tenant": "default", "role": "viewer"});
    for (what, body) in [
        ("PUT /api/v1/users/admin/role", role),
        ("POST /api/v1/users/admin/suspend", Value::Null),
        ("DELETE /api/v1/users/admin", Value::Null),
    ] {
        let reply = rig.ask(&rig.admin, what, body).await;
        assert_eq!(reply.outcome(), "409 last_administrator", "{what}");
    }
    let second = rig.user("second", "default", Some(Role::Admin)).await;
    // Who suspends itself is answered once more.
    let reply = rig.post(&second, "users/second/suspend", Value::Null).await;
    assert_eq!(
        (reply.status, reply.text("state").as_str()),
        (200, "suspended")
    );
    assert_eq!(rig.get(&second, "whoami").await.status, 401);
}

#[tokio::test]
async fn a_tenant_is_asked_for_and_approved() {
    let rig = Rig::new(StoreKind::Embedded).await;
    rig.tenant("university").await;
    let founder = rig.user("founder", "university", Some(Role::Viewer)).await;
    let other = rig.user("other", "default", None).await;
    let asked = json!({"tenant": "university/lab", "quota": {"jobs": 5}});
    let reply = rig.post(&founder, "tenants", asked.clone()).await;
    assert_eq!(
        (reply.status, reply.text("requested_by").as_str()),
        (201, "founder")
    );
    assert_eq!(
        reply.headers["location"],
        "/api/v1/tenants/university%2Flab"
    );
    let lab = "tenants/university%2Flab";
    assert_eq!(
        rig.post(&founder, "tenants", asked).await.outcome(),
        "409 name_in_use"
    );
    assert_eq!(rig.get(&other, lab).await.outcome(), "404 no_such_tenant");
    assert_eq!(rig.get(&founder, lab).await.text("state"), "requested");
    let approve = format!("{lab}/approve");
    assert_eq!(
        rig.post(&founder, &approve, Value::Null).await.outcome(),
        "403 forbidden"
    );
    let reply = rig.post(&rig.admin, &approve, Value::Null).await;
    assert_eq!(
        (reply.status, reply.text("state").as_str()),
        (200, "active")
    );
    let whoami = rig.get(&founder, "whoami").await;
    assert_eq!(whoami.body["roles"]["university/lab"], "admin");
}

#[tokio::test]
async fn what_limits_a_tenant_is_decided_above_it() {
    let rig = Rig::new(StoreKind::Embedded).await;
    rig.tenant("university").await;
    rig.tenant("university/lab").await;
    let founder = rig.user("founder", "university", Some(Role::Viewer)).await;
    let lab = "tenants/university%2Flab";
    let approve = format!("{lab}/approve");
    let limits = json!({"quota": {"cpu": 1.5, "jobs": 7}, "policy": {"runtimes": ["docker"]}});
    let patch = format!("PATCH /api/v1/{lab}");
    assert_eq!(
        rig.ask(&founder, &patch, limits.clone()).await.outcome(),
        "403 forbidden"
    );
    let reply = rig.ask(&rig.admin, &patch, limits).await;
    assert_eq!(reply.body["quota"]["cpu"], 1.5);
    assert_eq!(reply.body["policy"]["runtimes"], json!(["docker"]));
    let narrower = json!({"quota": {"jobs": 3}});
    let of_university = rig
        .ask(&rig.admin, "PATCH /api/v1/tenants/university", narrower)
        .await;
    assert_eq!(of_university.outcome(), "409 quota_below_use");

    let suspend = format!("{lab}/suspend");
    assert_eq!(
        rig.post(&rig.admin, &suspend, Value::Null)
            .await
            .text("state"),
        "suspended"
    );
    assert_eq!(
        rig.post(&rig.admin, &approve, Value::Null).await.outcome(),
        "409 suspended"
    );
    let below = json!({"tenant": "university/lab/room"});
    assert_eq!(
        rig.post(&founder, "tenants", below).await.outcome(),
        "403 forbidden"
    );
    let resume = format!("{lab}/resume");
    assert_eq!(
        rig.post(&rig.admin, &resume, Value::Null)
            .await
            .text("state"),
        "active"
    );

    let delete = |path: &str| format!("DELETE /api/v1/tenants/{path}");
    let root = rig.ask(&rig.admin, &delete("default"), Value::Null).await;
    assert_eq!(root.outcome(), "409 root_tenant");
    let full = rig
        .ask(&rig.admin, &delete("university"), Value::Null)
        .await;
    assert_eq!(full.outcome(), "409 not_empty");
    let empty = rig
        .ask(&rig.admin, &delete("university%2Flab"), Value::Null)
        .await;
    assert_eq!(empty.status, 204);
    assert_eq!(
        rig.get(&rig.admin, lab).await.outcome(),
        "404 no_such_tenant"
    );
}

#[tokio::test]
async fn an_invitation_makes_one_account_at_once() {
    let rig = Rig::new(StoreKind::Embedded).await;
    rig.tenant("university").await;
    let head = rig.user("head", "university", Some(Role::Admin)).await;
    let invite = json!({"tenant": "university", "role": "operator"});
    let reply = rig.post(&head, "invitations", invite).await;
    assert_eq!(reply.status, 201, "{}", reply.body);
    let (invitation, id) = (reply.text("token"), reply.text("token_id"));
    let listed = rig.get(&head, "invitations").await;
    assert_eq!(listed.column("token_id"), [id.as_str()]);
    // It is good for an account, and for nothing else.
    assert_eq!(
        rig.get(&invitation, "whoami").await.body["user"],
        Value::Null
    );
    assert_eq!(rig.get(&invitation, "users").await.column("name"), [""; 0]);
    assert_eq!(
        rig.post(&invitation, "tokens", Value::Null).await.outcome(),
        "401 unauthorized"
    );
    let with_home = json!({"name": "guest", "password": PASSWORD, "home": "default"});
    assert_eq!(
        rig.post(&invitation, "users", with_home).await.outcome(),
        "400 bad_request"
    );
    let accept = |name: &str| json!({"name": name, "password": PASSWORD});
    let reply = rig.post(&invitation, "users", accept("guest")).await;
    assert_eq!(reply.status, 201, "{}", reply.body);
    assert_eq!(reply.body["roles"], json!({"university": "operator"}));
    assert_eq!(reply.text("state"), "active");
    let again = rig.post(&invitation, "users", accept("another")).await;
    assert_eq!(again.outcome(), "409 no_invitation");
    assert_eq!(
        rig.get(&head, "invitations").await.column("token_id"),
        [""; 0]
    );
}

#[tokio::test]
async fn nobody_learns_of_another_tenant() {
    let rig = Rig::new(StoreKind::Embedded).await;
    for path in ["company", "university", "university/lab"] {
        rig.tenant(path).await;
    }
    let head = rig.user("head", "university", Some(Role::Admin)).await;
    let boss = rig.user("boss", "company", Some(Role::Admin)).await;
    let worker = rig.token("boss", Scope::FULL).await;
    let invite = json!({"tenant": "company"});
    assert_eq!(rig.post(&boss, "invitations", invite).await.status, 201);
    assert_eq!(rig.get(&head, "users").await.column("name"), ["head"]);
    assert_eq!(
        rig.get(&head, "tenants").await.column("tenant"),
        ["university", "university/lab"]
    );
    assert_eq!(
        rig.get(&head, "invitations").await.column("token_id"),
        [""; 0]
    );
    let missing = [
        ("GET /api/v1/users/boss", Value::Null, "404 no_such_user"),
        ("GET /api/v1/users/nobody", Value::Null, "404 no_such_user"),
        (
            "GET /api/v1/tokens?user=boss",
            Value::Null,
            "404 no_such_user",
        ),
        ("DELETE /api/v1/users/boss", Value::Null, "404 no_such_user"),
        (
            "POST /api/v1/users/boss/suspend",
            Value::Null,
            "404 no_such_user",
        ),
        (
            "GET /api/v1/tenants/company",
            Value::Null,
            "404 no_such_tenant",
        ),
        (
            "GET /api/v1/tenants/nothing",
            Value::Null,
            "404 no_such_tenant",
        ),
        (
            "DELETE /api/v1/tenants/company",
            Value::Null,
            "404 no_such_tenant",
        ),
        (
            "POST /api/v1/invitations",
            json!({"tenant": "company"}),
            "404 no_such_tenant",
        ),
        (
            "PUT /api/v1/users/head/role",
            json!({"tenant": "company", "role": "admin"}),
            "404 no_such_tenant",
        ),
    ];
    for (what, body, expected) in missing {
        assert_eq!(
            rig.ask(&head, what, body).await.outcome(),
            expected,
            "{what}"
        );
    }
    let revoke = format!("DELETE /api/v1/tokens/{}", worker.id);
    let reply = rig.ask(&head, &revoke, Value::Null).await;
    assert_eq!(reply.outcome(), "404 no_such_token");
}

#[tokio::test]
async fn of_a_user_with_roles_at_two_tenants_each_sees_its_own() {
    let rig = Rig::new(StoreKind::Embedded).await;
    for path in ["company", "university", "university/lab"] {
        rig.tenant(path).await;
    }
    let head = rig.user("head", "university", Some(Role::Admin)).await;
    let boss = rig.user("boss", "company", Some(Role::Admin)).await;
    let role = json!({"tenant": "university/lab", "role": "viewer"});
    assert_eq!(
        rig.ask(&head, "PUT /api/v1/users/boss/role", role)
            .await
            .status,
        200
    );
    let seen = rig.get(&head, "users/boss").await;
    assert_eq!(seen.body["roles"], json!({"university/lab": "viewer"}));
    let seen = rig.get(&boss, "users/boss").await;
    assert_eq!(
        seen.body["roles"],
        json!({"university/lab": "viewer", "company": "admin"})
    );
}

#[tokio::test]
async fn lists_are_read_page_by_page() {
    let rig = Rig::new(StoreKind::Embedded).await;
    for path in ["a", "b", "c"] {
        rig.tenant(path).await;
        rig.user(&format!("user-{path}"), path, None).await;
    }
    for (list, field, all) in [
        ("users", "name", ["admin", "user-a", "user-b", "user-c"]),
        ("tenants", "tenant", ["a", "b", "c", "default"]),
    ] {
        let mut seen = Vec::new();
        let mut path = format!("{list}?limit=3");
        loop {
            let page = rig.get(&rig.admin, &path).await;
            seen.extend(page.column(field).into_iter().map(str::to_owned));
            let Some(cursor) = page.body["next_cursor"].as_str() else {
                break;
            };
            path = format!("{list}?limit=3&cursor={cursor}");
        }
        assert_eq!(seen, all);
    }
}

#[tokio::test]
async fn without_users_everything_is_refused_but_to_ask_who_one_is() {
    let rig = Rig::new(StoreKind::Memory).await;
    let whoami = rig.get("", "whoami").await;
    let nobody = json!({"user": null, "roles": {}, "scope": null, "tenant": "default"});
    assert_eq!((whoami.status, whoami.body), (200, nobody));
    let api = api(rig.access.clone());
    let mut refused = 0;
    for (method, path, _) in api.needs() {
        if path == "/api/v1/whoami" {
            continue;
        }
        let what = format!("{} {path}", method.to_uppercase()).replace(['{', '}'], "");
        assert_eq!(
            rig.ask("", &what, Value::Null).await.outcome(),
            "409 open",
            "{what}"
        );
        refused += 1;
    }
    assert!(refused > 20, "{refused}");
}
