//! Contexts, in a file of the user's.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;

use crate::fake::{Answer, Server};
use crate::{code, command, err, job, list, out};

fn edgeio(config: &Path, args: &[&str], env: &[(&str, &str)]) -> Output {
    command(args)
        .env("XDG_CONFIG_HOME", config)
        .envs(env.iter().copied())
        .output()
        .unwrap()
}

fn server() -> Server {
    let jobs = list(&job("RUNNING", "null"));
    Server::start(vec![("GET /api/v1/jobs", vec![Answer::new(200, &jobs)])])
}

/// The credential of the last request.
fn shown(server: &Server) -> Option<String> {
    let request = server.requests().pop().unwrap();
    let mut lines = request.head.lines();
    let line = lines.find_map(|line| line.strip_prefix("authorization: bearer "))?;
    Some(line.to_owned())
}

#[test]
fn contexts_are_kept_used_and_forgotten() {
    let (config, lab, home) = (tempfile::tempdir().unwrap(), server(), server());
    let secret = config.path().join("secret");
    std::fs::write(&secret, "of-file\n").unwrap();
    let run = |args: &[&str]| {
        let output = edgeio(config.path(), args, &[]);
        assert_eq!(code(&output), 0, "{args:?}: {}", err(&output));
        out(&output)
    };
    run(&[
        "context", "set", "lab", "--url", &lab.url, "--token", "of-lab",
    ]);
    let file = secret.to_str().unwrap();
    run(&[
        "context",
        "set",
        "home",
        "--url",
        &home.url,
        "--token-file",
        file,
    ]);
    let path = config.path().join("edgeio").join("config.toml");
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    assert_eq!(run(&["context", "current"]), "lab\n");
    run(&["get", "jobs"]);
    assert_eq!(shown(&lab).as_deref(), Some("of-lab"));
    run(&["--context", "home", "get", "jobs"]);
    assert_eq!(shown(&home).as_deref(), Some("of-file"));
    assert_eq!(
        run(&["context", "use", "home"]),
        "context/home is the current one\n"
    );
    run(&["get", "jobs"]);
    assert_eq!(home.requests().len(), 2);
    // A context's token does not go to another server.
    run(&["get", "jobs", "--url", &lab.url]);
    assert_eq!(shown(&lab), None);

    let listed = run(&["context", "list"]);
    assert!(
        listed.contains("*         home") && listed.contains(file),
        "{listed}"
    );
    for format in ["table", "json", "yaml"] {
        let listed = run(&["context", "list", "-o", format]);
        assert!(!listed.contains("of-lab"), "{listed}");
    }
    assert_eq!(
        run(&["context", "list", "-o", "name"]),
        "context/home\ncontext/lab\n"
    );
    run(&["context", "delete", "home"]);
    let output = edgeio(config.path(), &["context", "current"], &[]);
    assert_eq!(code(&output), 1);
    // What is not given stays, but for a token when the address changes.
    run(&["context", "set", "lab", "--url", &lab.url]);
    run(&["get", "jobs", "--context", "lab"]);
    assert_eq!(shown(&lab).as_deref(), Some("of-lab"));
    run(&["context", "set", "lab", "--url", &home.url]);
    run(&["get", "jobs", "--context", "lab"]);
    assert_eq!(shown(&home), None);
}

#[test]
fn contexts_that_cannot_be_used_are_told() {
    let config = tempfile::tempdir().unwrap();
    let dir = config.path().join("edgeio");
    std::fs::create_dir(&dir).unwrap();
    let path = dir.join("config.toml");
    let table: [(&str, u32, &str); 4] = [
        ("current = \"lab\"\n", 0o600, "no context is named \"lab\""),
        ("curent = \"lab\"\n", 0o600, "curent"),
        ("x = ", 0o600, "config.toml"),
        (
            "[contexts.lab]\nurl = \"http://127.0.0.1\"\ntoken = \"x\"\n",
            0o644,
            "chmod 600",
        ),
    ];
    for (text, mode, told) in table {
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let output = edgeio(config.path(), &["get", "jobs"], &[]);
        assert_eq!(code(&output), 2, "{text}: {}", err(&output));
        assert!(err(&output).contains(told), "{text}: {}", err(&output));
        // Whoever names a server does not need the file.
        let server = server();
        let output = edgeio(
            config.path(),
            &["get", "jobs"],
            &[("EDGEIO_URL", &server.url)],
        );
        assert_eq!(code(&output), 0, "{text}: {}", err(&output));
    }
    let empty = tempfile::tempdir().unwrap();
    let table: [&[&str]; 6] = [
        &["context", "set", "x"],
        &["context", "set", "a b", "--url", "http://127.0.0.1"],
        &["context", "set", "x", "--url", "http://192.0.2.1"],
        &[
            "context",
            "set",
            "x",
            "--url",
            "http://127.0.0.1",
            "--token",
            "a",
            "--token-file",
            "b",
        ],
        &["context", "use", "x"],
        &["context", "delete", "x"],
    ];
    for args in table {
        let output = edgeio(empty.path(), args, &[]);
        assert_eq!(code(&output), 2, "{args:?}: {}", err(&output));
    }
    assert_eq!(std::fs::read_dir(empty.path()).unwrap().count(), 0);
}

#[test]
fn shells_are_told_how_to_complete() {
    let config = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let output = edgeio(config.path(), &["completions", shell], &[]);
        assert_eq!(code(&output), 0);
        let text = out(&output);
        assert!(
            text.contains("edgeio") && text.contains("uncordon"),
            "{shell}"
        );
    }
    assert_eq!(
        code(&edgeio(config.path(), &["completions", "csh"], &[])),
        2
    );
}
