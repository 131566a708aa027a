//! Tokens and passwords: what they are good for, and where they do not stand.

use serde_json::json;

use super::*;

#[tokio::test]
async fn a_token_is_shown_once_and_only_its_hash_is_stored() {
    let rig = Rig::new(StoreKind::Embedded).await;
    let ask = json!({"role": "viewer", "ttl": "1h"});
    let made = rig.post(&rig.admin, "tokens", ask).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let text = made.text("token");
    let token: UserToken = text.parse().unwrap();
    assert_eq!(made.text("token_id"), token.id.to_string());
    let secret = token.secret.reveal();
    assert!(text.contains(&secret));
    let listed = rig.get(&rig.admin, "tokens").await;
    assert_eq!(listed.column("token_id").len(), 2);
    assert!(!listed.body.to_string().contains(&secret));
    assert!(!listed.body.to_string().contains("hash"));

    let password = "correct horse battery";
    let ask = json!({"name": "alice", "password": password, "home": "default"});
    assert_eq!(rig.post("", "users", ask).await.status, 201);
    let records = rig.store.load().unwrap();
    assert!(records.len() >= 4, "two users and two tokens: {records:?}");
    for record in records {
        let value = String::from_utf8_lossy(&record.value);
        for secret in [secret.as_str(), text.as_str(), password, rig.admin.as_str()] {
            assert!(!value.contains(secret), "{value}");
        }
    }
    let known = rig.access.book().access.token(token.id).unwrap().hash;
    assert_eq!(known, token.secret.hash());
}

#[tokio::test]
async fn a_token_may_no_more_than_it_was_made_for() {
    let rig = Rig::new(StoreKind::Embedded).await;
    for path in ["university", "university/lab"] {
        rig.tenant(path).await;
    }
    let ask = json!({"role": "viewer", "tenant": "university/lab"});
    let narrow = rig.post(&rig.admin, "tokens", ask).await.text("token");
    let whoami = rig.get(&narrow, "whoami").await;
    let scope = json!({"role": "viewer", "tenant": "university/lab"});
    assert_eq!(
        (whoami.text("user").as_str(), &whoami.body["scope"]),
        ("admin", &scope)
    );
    assert_eq!(whoami.text("tenant"), "university/lab");
    assert_eq!(
        rig.get(&narrow, "tenants").await.column("tenant"),
        ["university/lab"]
    );
    assert_eq!(
        rig.get(&narrow, "tenants/university").await.outcome(),
        "404 no_such_tenant"
    );
    let lab = "tenants/university%2Flab";
    let suspend = format!("{lab}/suspend");
    assert_eq!(
        rig.post(&narrow, &suspend, Value::Null).await.outcome(),
        "403 forbidden"
    );
    // It makes no token and no password that may more, and revokes itself alone.
    assert_eq!(
        rig.post(&narrow, "tokens", Value::Null).await.outcome(),
        "403 forbidden"
    );
    let password = json!({"password": "correct horse battery"});
    let set = rig
        .ask(&narrow, "PUT /api/v1/users/admin/password", password)
        .await;
    assert_eq!(set.outcome(), "403 forbidden");
    let revoke = |token: &str| {
        format!(
            "DELETE /api/v1/tokens/{}",
            token.parse::<UserToken>().unwrap()
        )
    };
    let admins = rig.ask(&narrow, &revoke(&rig.admin), Value::Null).await;
    assert_eq!(admins.outcome(), "403 forbidden");
    assert_eq!(
        rig.ask(&narrow, &revoke(&narrow), Value::Null).await.status,
        204
    );
    assert_eq!(
        rig.get(&narrow, "whoami").await.outcome(),
        "401 unauthorized"
    );
}

#[tokio::test]
async fn a_failed_login_does_not_say_why() {
    let rig = Rig::new(StoreKind::Embedded).await;
    let password = json!({"password": "correct horse battery"});
    let set = rig
        .ask(&rig.admin, "PUT /api/v1/users/admin/password", password)
        .await;
    assert_eq!(set.status, 200, "{}", set.body);
    rig.user("tokens-only", "default", None).await;
    let wrong = rig
        .post(
            "",
            "login",
            json!({"name": "admin", "password": "correct horse batterY"}),
        )
        .await;
    assert_eq!(wrong.outcome(), "401 unauthorized");
    let nobody = rig
        .post("", "login", json!({"name": "nobody", "password": "x"}))
        .await;
    assert_eq!((nobody.status, &nobody.body), (401, &wrong.body));
    // With both turns taken nobody is kept waiting, and nobody is let in.
    let turns = Passwords::default();
    let service = Service {
        access: rig.access.clone(),
        passwords: turns.clone(),
    };
    let (first, second) = (turns.occupy(), turns.occupy());
    assert!(first.is_some() && second.is_some() && turns.occupy().is_none());
    let password = protocol::rest::Password::entered("x").unwrap();
    let busy = service
        .passwords
        .verify(password.clone(), None)
        .await
        .unwrap_err();
    assert_eq!((busy.problem.status, busy.retry_after), (429, Some(1)));
    drop(first);
    assert_eq!(service.passwords.verify(password, None).await, Ok(false));
}

#[tokio::test]
async fn expired_tokens_do_not_count() {
    let rig = Rig::new(StoreKind::Embedded).await;
    let made = rig.post(&rig.admin, "tokens", json!({"ttl": "1s"})).await;
    let short = made.text("token");
    let id = made.text("token_id");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while rig.get(&short, "whoami").await.status == 200 {
        assert!(std::time::Instant::now() < deadline, "it does not expire");
        tokio::task::yield_now().await;
    }
    let listed = rig.get(&rig.admin, "tokens").await;
    assert!(listed.column("token_id").contains(&id.as_str()));
    // The next one that is made takes its place.
    assert_eq!(
        rig.post(&rig.admin, "tokens", Value::Null).await.status,
        201
    );
    let listed = rig.get(&rig.admin, "tokens").await;
    assert!(!listed.column("token_id").contains(&id.as_str()));
}
