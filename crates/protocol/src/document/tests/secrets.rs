//! `secrets` and `pull_secret`: names and places, never values.

use model::secret::{SecretPlace, Secrets};

use super::*;

fn read(lines: &str) -> Secrets {
    let job = yaml(&container(lines)).unwrap().remove(0);
    job.services[0].workload.secrets.clone()
}

fn places(secrets: &Secrets) -> Vec<(&str, &SecretPlace)> {
    let uses = secrets.uses.iter();
    uses.map(|one| (one.secret.name.as_str(), &one.place))
        .collect()
}

#[test]
fn a_secret_is_a_file_of_its_name_or_what_is_said() {
    let secrets = read(
        "secrets:\n  - db-password\n  - {name: tls, file: tls.pem}\n  - {name: api, env: API_KEY}\n  - {name: api, file: api.key}\npull_secret: ghcr",
    );
    let file = |name: &str| SecretPlace::File(name.to_owned());
    assert_eq!(
        places(&secrets),
        [
            ("db-password", &file("db-password")),
            ("tls", &file("tls.pem")),
            ("api", &SecretPlace::Variable("API_KEY".to_owned())),
            ("api", &file("api.key")),
        ]
    );
    assert_eq!(secrets.pull.as_ref().unwrap().name.as_str(), "ghcr");
    // Who accepts the job looks them up.
    assert!(secrets.refs().all(|secret| secret.sealed.is_none()));
    assert_eq!(read("secrets: []\npull_secret: null"), Secrets::default());
}

#[test]
fn what_is_no_secret_is_refused_with_what_to_write() {
    for (lines, path, line, fragment) in [
        ("secrets: db", "secrets", 4, "must be a list"),
        ("secrets: ['a b']", "secrets[0]", 4, "a b"),
        ("secrets: [{file: a}]", "secrets[0].name", 4, "is required"),
        (
            "secrets: [{name: a, value: b}]",
            "secrets[0].value",
            4,
            "edgeio secret set",
        ),
        (
            "secrets: [{name: a, file: ../a}]",
            "secrets[0].file",
            4,
            "no name of a file",
        ),
        (
            "secrets: [{name: a, env: EDGEIO_X}]",
            "secrets[0].env",
            4,
            "set by the system",
        ),
        (
            "secrets: [{name: a, env: A, file: a}]",
            "secrets[0].env",
            4,
            "either in a file",
        ),
        ("secrets: [a, a]", "secrets[1]", 4, "given twice"),
        (
            "secrets: [{name: a, env: A}]\nenvironment: {A: b}",
            "secrets[0]",
            4,
            "`environment` too",
        ),
        (
            "secrets: [a]\nvolumes: ['data:/run']",
            "secrets",
            4,
            "mounted over",
        ),
        (
            "secrets: [a]\nvolumes: ['data:/run/secrets/more']",
            "secrets",
            4,
            "mounted over",
        ),
    ] {
        check(&container(lines), path, line, fragment);
    }
    let many: Vec<String> = (0..65).map(|number| format!("s{number}")).collect();
    check(
        &container(&format!("secrets: [{}]", many.join(", "))),
        "secrets",
        4,
        "at most 64",
    );
    check(
        &native("command: [/bin/true]\npull_secret: ghcr"),
        "pull_secret",
        5,
        "not pulled",
    );
    check(
        &native("command: [/bin/true]\nsecrets: [{name: a, env: LD_PRELOAD}]"),
        "secrets[0].env",
        5,
        "link the library",
    );
}
