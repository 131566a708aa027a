//! Users, their tokens, and tenants.

use std::os::unix::fs::PermissionsExt;

use crate::fake::{Answer, Server};
use crate::{code, command, edgeio, edgeio_with, err, list, out, problem};

const TOKEN: &str = r#"{"token":"eio_pat_secret","token_id":"tok_00000000000000000000000007","user":"alice","role":"viewer",
    "tenant":null,"created_at":"2026-11-05T08:00:00Z","expires_at":"2026-12-05T08:00:00Z"}"#;

fn user(state: &str) -> String {
    format!(
        r#"{{"name":"alice","home":"university","state":"{state}","roles":{{"university":"deployer"}},"has_password":true,
        "created_at":"2026-11-05T08:00:00Z"}}"#
    )
}

fn tenant(state: &str) -> String {
    format!(
        r#"{{"tenant":"university/lab","state":"{state}","requested_by":null,"quota":{{"jobs":5,"instances":null,"cpu":2.5,
        "memory_in_mb":null,"disk_in_mb":null}},"policy":{{"registries":null,"runtimes":["docker"]}},
        "created_at":"2026-11-05T08:00:00Z"}}"#
    )
}

/// What was asked: the request and its body.
fn asked(server: &Server) -> Vec<String> {
    let requests = server.requests();
    let line = |it: &crate::fake::Request| format!("{} {}", it.first, it.body);
    requests
        .iter()
        .map(line)
        .map(|line| line.trim_end().to_owned())
        .collect()
}

#[test]
fn users_are_asked_for_decided_about_and_shown() {
    let base = "/api/v1/users";
    let ok = |state| vec![Answer::new(200, &user(state))];
    let server = Server::start(vec![
        (
            "GET /api/v1/users",
            vec![Answer::new(200, &list(&user("active")))],
        ),
        (
            "POST /api/v1/users",
            vec![Answer::new(201, &user("requested"))],
        ),
        (&format!("POST {base}/alice/approve"), ok("active")),
        (&format!("POST {base}/alice/suspend"), ok("suspended")),
        (&format!("PUT {base}/alice/role"), ok("active")),
        (&format!("PUT {base}/alice/password"), ok("active")),
        (&format!("DELETE {base}/alice"), vec![Answer::new(204, "")]),
    ]);
    let table: [(&[&str], &str); 8] = [
        (&["user", "list", "-o", "name"], "user/alice\n"),
        (
            &["user", "create", "alice", "--home", "university"],
            "user/alice asked for; it waits for approval\n",
        ),
        (
            &["user", "approve", "user/alice", "--role", "deployer"],
            "user/alice approved\n",
        ),
        (&["user", "suspend", "alice"], "user/alice suspended\n"),
        (
            &[
                "user",
                "role",
                "alice",
                "none",
                "--tenant",
                "university/lab",
            ],
            "user/alice is nothing at university/lab\n",
        ),
        (
            &["user", "passwd", "alice"],
            "user/alice has a new password\n",
        ),
        (&["user", "delete", "alice"], "user/alice deleted\n"),
        (
            &["user", "delete", "alice", "-o", "json"],
            "{\n  \"name\": \"alice\"\n}\n",
        ),
    ];
    for (args, told) in table {
        let output = edgeio_with(&server.url, args, &[], "correct horse battery\n");
        let told = (0, told.to_owned(), String::new());
        assert_eq!(
            (code(&output), out(&output), err(&output)),
            told,
            "{args:?}"
        );
    }
    let asked = asked(&server);
    assert_eq!(
        asked[1..6],
        [
            r#"POST /api/v1/users {"name":"alice","password":"correct horse battery","home":"university"}"#,
            r#"POST /api/v1/users/alice/approve {"role":"deployer"}"#,
            "POST /api/v1/users/alice/suspend",
            r#"PUT /api/v1/users/alice/role {"tenant":"university/lab","role":null}"#,
            r#"PUT /api/v1/users/alice/password {"password":"correct horse battery"}"#,
        ]
    );
    let shown = out(&edgeio(&server, &["user", "list", "-o", "wide"]));
    assert!(
        shown.contains("deployer@university") && shown.contains("active"),
        "{shown}"
    );
}

#[test]
fn what_cannot_be_meant_is_refused_before_anything_is_sent() {
    let server = Server::start(vec![]);
    let short = edgeio_with(&server.url, &["user", "passwd", "alice"], &[], "8814\n");
    assert_eq!(code(&short), 2);
    assert!(
        err(&short).contains("12 to 256") && !err(&short).contains("8814"),
        "{}",
        err(&short)
    );
    for args in [
        &["user", "role", "alice", "king", "--tenant", "default"][..],
        &["user", "invite", "--tenant", "a//b"],
        &["user", "token", "create", "--ttl", "soon"],
        &["tenant", "quota", "university", "--jobs", "-1"],
    ] {
        assert_eq!(code(&edgeio(&server, args)), 2, "{args:?}");
    }
    assert_eq!(server.requests().len(), 0);
}

#[test]
fn a_token_is_printed_alone_and_shown_by_its_id_later() {
    let rows = list(&TOKEN.replacen(r#""token":"eio_pat_secret","#, "", 1));
    let server = Server::start(vec![
        ("POST /api/v1/tokens", vec![Answer::new(201, TOKEN)]),
        ("POST /api/v1/invitations", vec![Answer::new(201, TOKEN)]),
        ("GET /api/v1/tokens?user=bob", vec![Answer::new(200, &rows)]),
        ("GET /api/v1/invitations", vec![Answer::new(200, &rows)]),
        ("DELETE /api/v1/tokens/tok_7", vec![Answer::new(204, "")]),
    ]);
    let made = edgeio(&server, &["user", "token", "create", "--role", "viewer"]);
    assert_eq!(
        (code(&made), out(&made).as_str()),
        (0, "eio_pat_secret\n"),
        "{}",
        err(&made)
    );
    assert!(err(&made).contains("not shown again") && !err(&made).contains("eio_pat"));
    let forever = edgeio(&server, &["user", "token", "create", "--ttl", "never"]);
    assert_eq!(code(&forever), 0);
    let invited = edgeio(
        &server,
        &["user", "invite", "--tenant", "university", "--ttl", "2d"],
    );
    assert_eq!(out(&invited), "eio_pat_secret\n");
    for args in [
        &["user", "token", "list", "--user", "bob"][..],
        &["user", "token", "list", "--invitations"],
    ] {
        let listed = out(&edgeio(&server, args));
        assert!(
            listed.contains("tok_00000000000000000000000007"),
            "{listed}"
        );
        assert!(listed.contains("2026-12-05T08:00:00.000Z"), "{listed}");
    }
    let revoked = edgeio(&server, &["user", "token", "revoke", "token/tok_7"]);
    assert_eq!(out(&revoked), "token/tok_7 revoked\n", "{}", err(&revoked));
    assert_eq!(
        asked(&server)[..3],
        [
            r#"POST /api/v1/tokens {"role":"viewer","tenant":null,"ttl":"30d"}"#,
            r#"POST /api/v1/tokens {"role":null,"tenant":null,"ttl":null}"#,
            r#"POST /api/v1/invitations {"tenant":"university","role":null,"ttl":"2d"}"#,
        ]
    );
}

#[test]
fn tenants_are_asked_for_limited_and_shown() {
    let path = "/api/v1/tenants/university%2Flab";
    let ok = |state| vec![Answer::new(200, &tenant(state))];
    let server = Server::start(vec![
        (
            "GET /api/v1/tenants",
            vec![Answer::new(200, &list(&tenant("active")))],
        ),
        (
            "POST /api/v1/tenants",
            vec![Answer::new(201, &tenant("active"))],
        ),
        (&format!("GET {path}"), ok("active")),
        (&format!("PATCH {path}"), ok("active")),
        (&format!("POST {path}/approve"), ok("active")),
        (&format!("DELETE {path}"), vec![Answer::new(204, "")]),
    ]);
    let table: [(&[&str], &str); 5] = [
        (
            &[
                "tenant",
                "create",
                "university/lab",
                "--jobs",
                "5",
                "--runtime",
                "docker",
            ],
            "tenant/university/lab created\n",
        ),
        (
            &[
                "tenant",
                "quota",
                "university/lab",
                "--cpu",
                "none",
                "--disk",
                "100",
            ],
            "tenant/university/lab has another quota\n",
        ),
        (
            &["tenant", "approve", "tenant/university/lab"],
            "tenant/university/lab approved\n",
        ),
        (
            &["tenant", "delete", "university/lab"],
            "tenant/university/lab deleted\n",
        ),
        (&["tenant", "list", "-o", "name"], "tenant/university/lab\n"),
    ];
    for (args, told) in table {
        let output = edgeio(&server, args);
        assert_eq!(
            (code(&output), out(&output).as_str()),
            (0, told),
            "{args:?}: {}",
            err(&output)
        );
    }
    // What was not given stays as it is.
    assert_eq!(
        asked(&server)[2],
        format!(
            r#"PATCH {path} {{"quota":{{"jobs":5,"instances":null,"cpu":null,"memory_in_mb":null,"disk_in_mb":100}}}}"#
        )
    );
    let listed = out(&edgeio(&server, &["tenant", "list"]));
    assert!(listed.contains("5 jobs, 2.5 cores"), "{listed}");
    let shown = out(&edgeio(&server, &["tenant", "show", "university/lab"]));
    assert!(
        shown.contains("Runtimes:   docker") && shown.contains("Registries: as above it"),
        "{shown}"
    );
}

#[test]
fn a_login_keeps_its_token_in_the_context_and_shows_it_nowhere() {
    let config = tempfile::tempdir().unwrap();
    let wrong = problem(
        401,
        "unauthorized",
        "no active user has this name and password",
        "",
    );
    let whoami = r#"{"user":"alice","roles":{"default":"viewer"},"scope":null,"tenant":"default"}"#;
    let server = Server::start(vec![
        ("POST /api/v1/login", vec![wrong, Answer::new(201, TOKEN)]),
        ("GET /api/v1/whoami", vec![Answer::new(200, whoami)]),
    ]);
    let password = config.path().join("password");
    std::fs::write(&password, "correct horse battery\n").unwrap();
    let run = |args: &[&str]| {
        let mut command = command(args);
        command
            .env("XDG_CONFIG_HOME", config.path())
            .output()
            .unwrap()
    };
    let file = password.to_str().unwrap();
    let login = [
        "login",
        "alice",
        "--password-file",
        file,
        "--url",
        &server.url,
    ];
    assert_eq!(code(&run(&login)), 1);
    assert!(
        !config.path().join("edgeio").exists(),
        "nothing is kept of a login that failed"
    );
    let done = run(&login);
    let told = "context/default is logged in as alice until 2026-12-05T08:00:00.000Z\n";
    assert_eq!(
        (code(&done), out(&done).as_str()),
        (0, told),
        "{}",
        err(&done)
    );
    let kept = config.path().join("edgeio").join("config.toml");
    assert!(
        std::fs::read_to_string(&kept)
            .unwrap()
            .contains("eio_pat_secret")
    );
    assert_eq!(
        std::fs::metadata(&kept).unwrap().permissions().mode() & 0o777,
        0o600
    );
    // From now on it is sent, without a word.
    let who = run(&["whoami"]);
    assert!(
        out(&who).contains("alice") && out(&who).contains("viewer@default"),
        "{}",
        err(&who)
    );
    let last = server.requests().pop().unwrap();
    assert!(
        last.head.contains("authorization: bearer eio_pat_secret"),
        "{}",
        last.head
    );
    assert_eq!(out(&run(&["whoami", "-o", "name"])), "user/alice\n");
    let json = run(&["login", "alice", "--password-file", file, "-o", "json"]);
    assert_eq!(code(&json), 0, "{}", err(&json));
    assert!(
        out(&json).contains("tok_") && !out(&json).contains("eio_pat"),
        "{}",
        out(&json)
    );
}

#[test]
fn a_login_without_a_context_to_keep_it_in_is_refused_before_it_is_sent() {
    let config = tempfile::tempdir().unwrap();
    let file = config.path().join("password");
    std::fs::write(&file, "correct horse battery\n").unwrap();
    let file = file.to_str().unwrap();
    let run = |args: &[&str]| {
        let mut command = command(args);
        let command = command.env("XDG_CONFIG_HOME", config.path());
        command.output().unwrap()
    };
    let set = run(&["context", "set", "default", "--url", "http://127.0.0.1:1"]);
    assert_eq!(code(&set), 0, "{}", err(&set));
    let other = Server::start(vec![]);
    let refused = run(&[
        "login",
        "alice",
        "--password-file",
        file,
        "--url",
        &other.url,
    ]);
    assert_eq!(
        (code(&refused), other.requests().len()),
        (2, 0),
        "{}",
        err(&refused)
    );
}

#[test]
fn a_join_token_goes_to_a_file_of_its_owner_alone_and_is_not_printed() {
    let made = r#"{"token":"eio1.worker.where.pin.id.secret","token_id":"join_00000000000000000000000007","uses":2,"used":0,
        "created_by":"administrator","created_at":"2026-11-05T08:00:00.000Z","expires_at":"2026-11-05T09:00:00.000Z"}"#;
    let server = Server::start(vec![(
        "POST /api/v1/join-tokens",
        vec![Answer::new(201, made)],
    )]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    let (to, nowhere) = (
        path.to_str().unwrap(),
        folder.path().join("not/there").display().to_string(),
    );
    let create = ["token", "create", "--uses", "2", "--out"];
    let done = edgeio(&server, &[&create[..], &[to]].concat());
    assert_eq!(
        (code(&done), out(&done).as_str()),
        (0, ""),
        "{}",
        err(&done)
    );
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text, "eio1.worker.where.pin.id.secret\n");
    let mode = std::os::unix::fs::PermissionsExt::mode(&path.metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let lost = edgeio(&server, &[&create[..], &[&nowhere]].concat());
    assert_eq!(code(&lost), 1);
    assert!(
        err(&lost).contains(&nowhere) && !err(&lost).contains("eio1"),
        "{}",
        err(&lost)
    );
}
