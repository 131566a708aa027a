//! What users and tenants are asked and answered with, as clients write and read it.

use std::collections::BTreeSet;
use std::time::Duration;

use expect_test::{Expect, expect};
use model::access::{Minted, PasswordHash, Policy, Quota, Role, UserState};
use model::name::Name;
use model::units::{Bytes, Millicores};
use model::workload::RuntimeKind;
use proptest::prelude::*;
use serde_json::json as of;

use super::*;
use crate::document::{Fault, Format};

const SECRET: &str = "correct horse battery";

fn tenant(path: &str) -> TenantPath {
    TenantPath::new(path).unwrap()
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn told<T: fmt::Debug>(read: Result<T, Vec<Fault>>) -> String {
    let faults = read.unwrap_err();
    let line = |fault: &Fault| format!("{}: {}\n", fault.path, fault.message);
    faults.iter().map(line).collect()
}

fn json(value: &impl Serialize, expected: &Expect) {
    expected.assert_eq(&format!("{:#}", serde_json::to_value(value).unwrap()));
}

#[test]
fn a_user_shows_the_roles_that_may_be_seen_and_not_its_password() {
    let user = User {
        name: name("alice"),
        home: tenant("university"),
        state: UserState::Active,
        password: Some(PasswordHash("$argon2id$secret".to_owned())),
        roles: BTreeMap::from([
            (tenant("university"), Role::Deployer),
            (tenant("company"), Role::Viewer),
        ]),
        created_at: Wall(0),
    };
    let body = UserBody::of(&user, |at| at.is_within(&tenant("university")));
    json(
        &body,
        &expect![[r#"
        {
          "created_at": "1970-01-01T00:00:00.000Z",
          "has_password": true,
          "home": "university",
          "name": "alice",
          "roles": {
            "university": "deployer"
          },
          "state": "active"
        }"#]],
    );
}

#[test]
fn a_token_shows_its_text_once_and_never_in_debug() {
    let token = Token {
        id: TokenId::from_bits(7),
        hash: [1; 32],
        grant: Grant::User {
            name: name("alice"),
            scope: Scope {
                role: Role::Viewer,
                tenant: Some(tenant("university/lab")),
            },
        },
        created_at: Wall(0),
        expires_at: None,
    };
    let new = NewTokenBody::of(&token, SECRET.to_owned());
    json(
        &new,
        &expect![[r#"
        {
          "created_at": "1970-01-01T00:00:00.000Z",
          "expires_at": null,
          "role": "viewer",
          "tenant": "university/lab",
          "token": "correct horse battery",
          "token_id": "tok_00000000000000000000000007",
          "user": "alice"
        }"#]],
    );
    assert!(!format!("{new:?}").contains(SECRET));
    let invitation = Token {
        grant: Grant::Invitation {
            tenant: tenant("university"),
            role: None,
        },
        expires_at: Some(Wall(1_000)),
        ..token
    };
    json(
        &TokenBody::of(&invitation, Some(Wall(5))),
        &expect![[r#"
        {
          "created_at": "1970-01-01T00:00:00.000Z",
          "expires_at": "1970-01-01T00:00:01.000Z",
          "last_used": "1970-01-01T00:00:00.005Z",
          "role": null,
          "tenant": "university",
          "token_id": "tok_00000000000000000000000007",
          "user": null
        }"#]],
    );
    // What is shown is no more than what was minted, but for the hash.
    let minted = Minted {
        id: invitation.id,
        hash: invitation.hash,
    };
    assert_eq!(minted.id, TokenBody::of(&invitation, None).token_id);
}

#[test]
fn a_tenant_is_written_and_read_alike() {
    let request = TenantRequest {
        tenant: tenant("university/lab"),
        quota: QuotaBody {
            jobs: Some(10),
            cpu: Some(2.5),
            memory_in_mb: Some(4_096),
            ..QuotaBody::default()
        },
        policy: PolicyBody {
            registries: Some(BTreeSet::from(["ghcr.io".to_owned()])),
            runtimes: Some(BTreeSet::from(["docker".to_owned()])),
        },
    };
    let text = serde_json::to_vec(&request).unwrap();
    assert_eq!(
        TenantRequest::parse(&text, Format::Json),
        Ok(request.clone())
    );
    let quota = Quota::from(&request.quota);
    assert_eq!(
        quota,
        Quota {
            jobs: Some(10),
            instances: None,
            cpu: Some(Millicores(2_500)),
            memory: Some(Bytes::from_mb(4_096)),
            disk: None,
        }
    );
    let policy = Policy::from(&request.policy);
    assert_eq!(policy.runtimes, Some(BTreeSet::from([RuntimeKind::Docker])));
    let body = TenantBody::from(&Tenant {
        path: request.tenant,
        state: TenantState::Requested { by: name("bob") },
        quota,
        policy,
        created_at: Wall(0),
    });
    json(
        &body,
        &expect![[r#"
        {
          "created_at": "1970-01-01T00:00:00.000Z",
          "policy": {
            "registries": [
              "ghcr.io"
            ],
            "runtimes": [
              "docker"
            ]
          },
          "quota": {
            "cpu": 2.5,
            "disk_in_mb": null,
            "instances": null,
            "jobs": 10,
            "memory_in_mb": 4096
          },
          "requested_by": "bob",
          "state": "requested",
          "tenant": "university/lab"
        }"#]],
    );
}

#[test]
fn requests_are_read_from_what_clients_write() {
    let token = TokenRequest {
        role: Some(Role::Viewer),
        tenant: None,
        ttl: Some(Duration::from_hours(24 * 30)),
    };
    let text = serde_json::to_string(&token).unwrap();
    expect![[r#"{"role":"viewer","tenant":null,"ttl":"30d"}"#]].assert_eq(&text);
    assert_eq!(
        TokenRequest::parse(text.as_bytes(), Format::Json),
        Ok(token)
    );
    assert_eq!(
        TokenRequest::parse(b"", Format::Json),
        Ok(TokenRequest::default())
    );
    let role = RoleRequest {
        tenant: TenantPath::root(),
        role: None,
    };
    let text = serde_json::to_vec(&role).unwrap();
    assert_eq!(RoleRequest::parse(&text, Format::Json), Ok(role));
    let user = UserRequest {
        name: name("alice"),
        password: Password::new(SECRET).unwrap(),
        home: None,
    };
    let text = serde_json::to_vec(&user).unwrap();
    assert_eq!(UserRequest::parse(&text, Format::Json), Ok(user));
    let login = LoginRequest::parse(b"{name: alice, password: x}", Format::Yaml).unwrap();
    assert_eq!(login.password.reveal(), "x");
    let invitation = InvitationRequest::parse(b"{tenant: a/b, role: admin, ttl: 1h}", Format::Yaml);
    assert_eq!(invitation.unwrap().ttl, Some(Duration::from_hours(1)));
    assert_eq!(
        ApproveRequest::parse(b" ", Format::Json),
        Ok(ApproveRequest::default())
    );
    assert_eq!(
        TenantPatch::parse(b"{}", Format::Json),
        Ok(TenantPatch::default())
    );
}

#[test]
fn bad_requests_tell_all_their_faults() {
    let body = b"{tenant: a//b, quota: {jobs: -1, cpus: 2, cpu: -1}, policy: {registries: ['a b'], runtimes: [vm]}}";
    expect![[r#"
        tenant: "a//b" is no tenant: write 1 to 8 names with / between them, as in university/lab; the tenant above all is `default` and is not written before others
        quota.jobs: -1 is out of range; write a whole number from 0 to 1000000000
        quota.cpus: unknown field; did you mean `cpu`?
        quota.cpu: must be cores from 0 to 1000000000
        policy.registries[0]: is no registry; write its host, or host:port, in lower case, as in ghcr.io
        policy.runtimes[0]: "vm" is none of docker, native, noop; write one of these
    "#]].assert_eq(&told(TenantRequest::parse(body, Format::Yaml)));
    expect![[r#"
        name: is required; write name: alice
        password: is required; write password: "…", of 12 characters or more
        home: must be a text, not a number; write it in quotes: "7"
    "#]]
    .assert_eq(&told(UserRequest::parse(b"{home: 7}", Format::Yaml)));
    expect![[r"
        role: is required; write role: viewer, or null for none
    "]]
    .assert_eq(&told(RoleRequest::parse(
        b"{tenant: default}",
        Format::Yaml,
    )));
    expect![[r#"
        role: "root" is none of viewer, deployer, operator, admin, auditor; write one of these
        ttl: 9000d is out of range; write 1s to 3650d
    "#]]
    .assert_eq(&told(TokenRequest::parse(
        b"{role: root, ttl: 9000d}",
        Format::Yaml,
    )));
}

#[test]
fn a_password_is_long_enough_and_stands_in_nothing_that_is_printed() {
    let long = "ü".repeat(Password::LONGEST);
    for good in ["123456789012", "ünïcödé wörds", &long] {
        assert_eq!(Password::new(good).unwrap().reveal(), good);
    }
    for bad in [
        "12345678901",
        "",
        &format!("{long}x"),
        "a\0b of some length",
    ] {
        assert_eq!(Password::new(bad), Err(PasswordError), "{bad}");
    }
    let password = Password::new(SECRET).unwrap();
    let request = UserRequest {
        name: name("a"),
        password,
        home: None,
    };
    assert!(!format!("{request:?}").contains(SECRET));
    // As a number, as a list, too short, under a name that is not known, and in a body that is broken.
    for body in [
        "{\"name\": \"a\", \"password\": 8814}",
        "{\"name\": \"a\", \"password\": [\"8814\"]}",
        "{\"name\": \"a\", \"password\": \"8814\"}",
        "{\"name\": \"a\", \"pasword\": \"8814\"}",
        "{\"name\": \"a\", \"password\": \"8814\"",
        "{\"name\": \"a\", \"password\": \"8814\\x\"}",
    ] {
        for format in [Format::Json, Format::Yaml] {
            let told = told(PasswordRequest::parse(body.as_bytes(), format));
            assert!(!told.contains("8814"), "{body}: {told}");
        }
    }
}

#[test]
fn answers_of_a_later_version_are_read() {
    let body = of!({"user": "a", "roles": {"default": "emperor"}, "tenant": "default", "more": 1,
        "scope": {"role": "viewer"}});
    let body: WhoamiBody = serde_json::from_value(body).unwrap();
    assert_eq!(body.roles["default"], "emperor");
    let scope = Scope {
        role: Role::Viewer,
        tenant: None,
    };
    assert_eq!(ScopeBody::of(&scope), body.scope);
    assert_eq!(ScopeBody::of(&Scope::FULL), None);
}

proptest! {
    #[test]
    fn no_body_breaks_the_readers(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        for format in [Format::Json, Format::Yaml] {
            let _ = TenantRequest::parse(&body, format);
            let _ = TenantPatch::parse(&body, format);
            let _ = UserRequest::parse(&body, format);
            let _ = ApproveRequest::parse(&body, format);
            let _ = RoleRequest::parse(&body, format);
            let _ = PasswordRequest::parse(&body, format);
            let _ = TokenRequest::parse(&body, format);
            let _ = InvitationRequest::parse(&body, format);
            let _ = LoginRequest::parse(&body, format);
        }
    }
}
