//! The life of a user, and of what it proves itself by.

use expect_test::expect;
use model::access::{
    AccessBook, AccessRequest, Credential, Quota, Resource, Role, Scope, UserState, Verb,
};
use model::id::TokenId;
use model::time::Wall;

use crate::stage::{
    Stage, minted, name, password, path, request_tenant, request_user, token, user,
};

fn approve(user: &str, role: Role) -> AccessRequest {
    AccessRequest::ApproveUser {
        user: name(user),
        role: Some(role),
    }
}

fn set_role(user: &str, tenant: &str, role: Option<Role>) -> AccessRequest {
    AccessRequest::SetRole {
        user: name(user),
        tenant: path(tenant),
        role,
    }
}

fn suspend(user: &str) -> AccessRequest {
    AccessRequest::SuspendUser { user: name(user) }
}

fn delete(user: &str) -> AccessRequest {
    AccessRequest::DeleteUser { user: name(user) }
}

fn create_token(number: u128, role: Role, expires_at: Option<Wall>) -> AccessRequest {
    AccessRequest::CreateToken {
        minted: minted(number),
        scope: Scope { role, tenant: None },
        expires_at,
    }
}

fn invite(number: u128, tenant: &str, expires_at: Wall) -> AccessRequest {
    AccessRequest::Invite {
        minted: minted(number),
        tenant: path(tenant),
        role: Some(Role::Deployer),
        expires_at,
    }
}

fn accept(user: &str) -> AccessRequest {
    AccessRequest::AcceptInvitation {
        name: name(user),
        password: password(),
    }
}

fn revoke(number: u128) -> AccessRequest {
    AccessRequest::Revoke {
        token: TokenId::from_bits(number),
    }
}

/// `uni` with its administrator `pi`, beside `other` with `chief`.
fn stage() -> Stage {
    let mut stage = Stage::new();
    stage.tenant("uni", Quota::default());
    stage.tenant("other", Quota::default());
    stage.user("pi", &[("uni", Role::Admin)]);
    stage.user("chief", &[("other", Role::Admin)]);
    stage
}

#[test]
fn the_first_start_makes_an_administrator_and_so_does_who_has_the_machine() {
    let mut stage = Stage::new();
    assert_eq!(
        stage.book.token(TokenId::from_bits(1)).unwrap().hash,
        [1; 32]
    );
    assert!(stage.may(&token(1), Verb::Backup, &Resource::System));
    assert!(stage.book.user(&name("admin")).unwrap().password.is_none());

    stage.user("other", &[("default", Role::Admin)]);
    stage.ask(&user("other"), &suspend("admin")).unwrap();
    assert!(stage.book.subject(&token(1), stage.at).is_none());
    for write in stage.book.administrator(minted(2), stage.at) {
        stage.book.apply(&write);
    }
    assert!(stage.may(&token(2), Verb::Backup, &Resource::System));
}

#[test]
fn an_account_is_asked_for_by_anybody_and_approved_by_an_administrator_of_its_home() {
    let mut stage = stage();
    stage
        .ask(&Credential::None, &request_user("eve", "uni"))
        .unwrap();
    assert!(stage.book.subject(&user("eve"), stage.at).is_none());
    expect!["there is a user eve already, or one was asked for; choose another name"].assert_eq(
        &stage
            .ask(&Credential::None, &request_user("eve", "other"))
            .unwrap_err(),
    );
    expect!["there is no tenant nowhere that you may see; GET /api/v1/tenants lists those"]
        .assert_eq(
            &stage
                .ask(&Credential::None, &request_user("bob", "nowhere"))
                .unwrap_err(),
        );
    expect!["there is no user eve that you may see; GET /api/v1/users lists those"].assert_eq(
        &stage
            .ask(&user("chief"), &approve("eve", Role::Viewer))
            .unwrap_err(),
    );
    expect!["user eve waits for approval: approve it first, or delete it to refuse it"].assert_eq(
        &stage
            .ask(&user("pi"), &set_role("eve", "uni", None))
            .unwrap_err(),
    );
    stage
        .ask(&user("pi"), &approve("eve", Role::Deployer))
        .unwrap();
    assert!(stage.may(&user("eve"), Verb::Create, &Resource::Jobs(path("uni"))));
    // Twice is once.
    stage
        .ask(&user("pi"), &approve("eve", Role::Admin))
        .unwrap();
    assert!(!stage.may(&user("eve"), Verb::Create, &Resource::Users(path("uni"))));
    expect!["this (approve users) needs the role admin at tenant uni; ask an administrator of it"]
        .assert_eq(
            &stage
                .ask(&user("eve"), &approve("eve", Role::Admin))
                .unwrap_err(),
        );
}

#[test]
fn a_user_is_something_else_in_each_tenant() {
    let mut stage = stage();
    stage.user("eve", &[("uni", Role::Deployer)]);
    expect!["there is no tenant other that you may see; GET /api/v1/tenants lists those"]
        .assert_eq(
            &stage
                .ask(&user("pi"), &set_role("eve", "other", None))
                .unwrap_err(),
        );
    stage
        .ask(
            &user("chief"),
            &set_role("eve", "other", Some(Role::Viewer)),
        )
        .unwrap();
    let may =
        |stage: &Stage, verb, tenant| stage.may(&user("eve"), verb, &Resource::Jobs(path(tenant)));
    assert!(may(&stage, Verb::Create, "uni") && may(&stage, Verb::Read, "other"));
    assert!(!may(&stage, Verb::Create, "other"));
    stage
        .ask(&user("chief"), &set_role("eve", "other", None))
        .unwrap();
    assert!(!may(&stage, Verb::Read, "other") && may(&stage, Verb::Create, "uni"));
    // Only its home answers for the account.
    expect!["there is no user eve that you may see; GET /api/v1/users lists those"]
        .assert_eq(&stage.ask(&user("chief"), &suspend("eve")).unwrap_err());
}

#[test]
fn an_invitation_is_an_account_once() {
    let mut stage = stage();
    expect!["there is no tenant uni that you may see; GET /api/v1/tenants lists those"].assert_eq(
        &stage
            .ask(&user("chief"), &invite(20, "uni", Wall(100)))
            .unwrap_err(),
    );
    stage
        .ask(&user("pi"), &invite(20, "uni", Wall(100)))
        .unwrap();
    expect!["this needs an account: send a token of yours, or log in"].assert_eq(
        &stage
            .ask(&token(20), &request_tenant("uni/lab", Quota::default()))
            .unwrap_err(),
    );
    expect!["there is a user pi already, or one was asked for; choose another name"]
        .assert_eq(&stage.ask(&token(20), &accept("pi")).unwrap_err());
    stage.ask(&token(20), &accept("eve")).unwrap();
    let eve = stage.book.user(&name("eve")).unwrap();
    assert_eq!((eve.state, &eve.home), (UserState::Active, &path("uni")));
    assert!(stage.may(&user("eve"), Verb::Create, &Resource::Jobs(path("uni"))));
    expect!["401"].assert_eq(&stage.ask(&token(20), &accept("bob")).unwrap_err());
    expect![
        "this needs an invitation: send its token, or ask for an account and wait for approval"
    ]
    .assert_eq(&stage.ask(&Credential::None, &accept("bob")).unwrap_err());

    stage
        .ask(&user("pi"), &invite(21, "uni", Wall(100)))
        .unwrap();
    stage.at = Wall(100);
    expect!["401"].assert_eq(&stage.ask(&token(21), &accept("bob")).unwrap_err());
    expect!["the token would have expired already; choose a later end"].assert_eq(
        &stage
            .ask(&user("pi"), &invite(22, "uni", Wall(100)))
            .unwrap_err(),
    );
}

#[test]
fn nobody_is_invited_to_a_suspended_tenant() {
    let mut stage = stage();
    stage
        .ask(&user("pi"), &invite(20, "uni", Wall(100)))
        .unwrap();
    let tenant = path("uni");
    let suspend = AccessRequest::SuspendTenant { tenant };
    stage.ask(&user("admin"), &suspend).unwrap();
    for (who, request) in [
        (user("pi"), invite(21, "uni", Wall(100))),
        (token(20), accept("eve")),
    ] {
        let refusal = stage.ask(&who, &request).unwrap_err();
        assert!(refusal.contains("uni is suspended"), "{refusal}");
    }
    let hidden = stage
        .ask(&Credential::None, &request_user("eve", "uni"))
        .unwrap_err();
    assert!(hidden.contains("no tenant uni"), "{hidden}");
}

#[test]
fn what_is_expired_revoked_or_of_a_suspended_user_gives_no_subject() {
    let mut stage = stage();
    stage
        .ask(&user("pi"), &create_token(30, Role::Admin, Some(Wall(100))))
        .unwrap();
    stage
        .ask(&user("pi"), &create_token(31, Role::Viewer, None))
        .unwrap();
    let known = |stage: &Stage, number| stage.book.subject(&token(number), stage.at).is_some();
    assert!(known(&stage, 30) && known(&stage, 31) && !known(&stage, 32));
    assert_eq!(stage.book.expired(Wall(99)), None);
    stage.at = Wall(100);
    assert!(!known(&stage, 30) && known(&stage, 31));
    assert_eq!(stage.book.expired(Wall(100)), Some(TokenId::from_bits(30)));

    let admin = user("admin");
    stage.ask(&admin, &suspend("pi")).unwrap();
    assert!(!known(&stage, 31) && stage.book.subject(&user("pi"), stage.at).is_none());
    let again = stage.ask(&admin, &approve("pi", Role::Admin)).unwrap_err();
    expect!["user pi is suspended: resume it instead"].assert_eq(&again);
    let resume = AccessRequest::ResumeUser { user: name("pi") };
    stage.ask(&admin, &resume).unwrap();
    assert!(known(&stage, 31));

    expect!["there is no token tok_0000000000000000000000000Z that you may see; GET /api/v1/tokens lists those"].assert_eq(&stage.ask(&user("chief"), &revoke(31)).unwrap_err());
    // A token may end itself, whatever its scope.
    stage.ask(&token(31), &revoke(31)).unwrap();
    assert!(!known(&stage, 31));
    stage.ask(&admin, &revoke(30)).unwrap();
    assert_eq!(stage.book.expired(Wall(100)), None);
}

#[test]
fn a_token_that_was_made_for_less_makes_neither_tokens_nor_passwords() {
    let mut stage = stage();
    stage
        .ask(&user("pi"), &create_token(30, Role::Deployer, None))
        .unwrap();
    let set_password = AccessRequest::SetPassword {
        user: name("pi"),
        password: password(),
    };
    for request in [
        create_token(31, Role::Admin, None),
        set_password.clone(),
        revoke(30),
    ] {
        let by_less = stage.ask(&token(30), &request);
        assert_eq!(by_less.is_err(), request != revoke(30), "{request:?}");
    }
    stage.ask(&user("pi"), &set_password).unwrap();
    // Whoever sets an administrator's password is one.
    let set_password = AccessRequest::SetPassword {
        user: name("admin"),
        password: password(),
    };
    expect!["there is no user admin that you may see; GET /api/v1/users lists those"]
        .assert_eq(&stage.ask(&user("pi"), &set_password).unwrap_err());
}

#[test]
fn a_user_has_a_bounded_number_of_tokens_and_is_told_when_one_was_used() {
    let mut stage = stage();
    for number in 0..AccessBook::TOKENS as u128 {
        stage
            .ask(&user("pi"), &create_token(100 + number, Role::Viewer, None))
            .unwrap();
    }
    expect!["pi has 100 tokens already; revoke some first"].assert_eq(
        &stage
            .ask(&user("pi"), &create_token(1_000, Role::Viewer, None))
            .unwrap_err(),
    );
}

#[test]
fn the_last_administrator_stays() {
    let mut stage = stage();
    let admin = user("admin");
    for request in [
        suspend("admin"),
        delete("admin"),
        set_role("admin", "default", None),
    ] {
        expect!["admin is the last administrator of the root tenant; make another user one first"]
            .assert_eq(&stage.ask(&admin, &request).unwrap_err());
    }
    stage
        .ask(&admin, &set_role("pi", "default", Some(Role::Admin)))
        .unwrap();
    stage.ask(&user("pi"), &delete("admin")).unwrap();
    assert!(stage.book.subject(&token(1), stage.at).is_none());
}

#[test]
fn with_a_user_goes_what_it_asked_for() {
    let mut stage = stage();
    stage.user("eve", &[]);
    stage
        .ask(&user("eve"), &request_tenant("lab", Quota::default()))
        .unwrap();
    stage
        .ask(&user("eve"), &create_token(40, Role::Admin, None))
        .unwrap();
    stage.ask(&user("admin"), &delete("eve")).unwrap();
    assert!(stage.book.tenant(&path("lab")).is_none());
    assert!(stage.book.token(TokenId::from_bits(40)).is_none());
}

#[test]
fn a_bounded_number_of_accounts_and_invitations_waits() {
    let mut stage = stage();
    for number in 0..AccessBook::WAITING {
        stage
            .ask(
                &Credential::None,
                &request_user(&format!("u{number}"), "uni"),
            )
            .unwrap();
        stage
            .ask(&user("pi"), &invite(500 + number as u128, "uni", Wall(100)))
            .unwrap();
    }
    expect!["tenant uni has 100 accounts that wait for approval already; have some of them decided, used or deleted first"].assert_eq(
        &stage
            .ask(&Credential::None, &request_user("more", "uni"))
            .unwrap_err(),
    );
    expect!["tenant uni has 100 invitations that nobody has accepted already; have some of them decided, used or deleted first"].assert_eq(
        &stage
            .ask(&user("pi"), &invite(900, "uni", Wall(100)))
            .unwrap_err(),
    );
    // One tenant's queue is not another's.
    stage
        .ask(&Credential::None, &request_user("more", "other"))
        .unwrap();
}

#[test]
fn a_password_is_not_shown() {
    let shown = format!("{:?}", request_user("eve", "uni"));
    assert!(!shown.contains("argon2"), "{shown}");
}
