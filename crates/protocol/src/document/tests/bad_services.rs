//! Services that cannot be; the numbers in comments are the rows of their list in the reliability notes.

use super::*;

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn fields_that_nobody_knows_or_not_yet() {
    // 16
    check(
        &container("privilged: true"),
        "privilged",
        4,
        "unknown field",
    );
    check(
        &container("privileged: true"),
        "privileged",
        4,
        "no container is privileged",
    );
    check(
        &container("replcias: 2"),
        "replcias",
        4,
        "did you mean `replicas`",
    );
    check(
        &container("enviroment: {}"),
        "enviroment",
        4,
        "did you mean `environment`",
    );
    check(
        &container("requirments: {}"),
        "requirments",
        4,
        "did you mean `requirements`",
    );
    check(
        &container("requirements: {mem: 1}"),
        "requirements.mem",
        4,
        "unknown field",
    );
    check(
        &container("update: {max_surge: 0, max_unavailable: 0}"),
        "update",
        4,
        "cannot both be 0",
    );
    check(
        &container("update: {parallelism: 2}"),
        "update.parallelism",
        4,
        "max_surge",
    );
    check(
        &container("update: {monitor: 5s}"),
        "update.monitor",
        4,
        "min_ready",
    );
    check(
        &container("update: {min_ready: 2h}"),
        "update.min_ready",
        4,
        "0s to 1h",
    );
    check(
        &container("update: {on_failure: panic}"),
        "update.on_failure",
        4,
        "rollback",
    );
    check(
        &container("migration: never"),
        "migration",
        4,
        "start_first",
    );
    check(&container("drain_delay: 2h"), "drain_delay", 4, "0s to 1h");
    check(
        &container("reconcile: both"),
        "reconcile",
        4,
        "keep_original",
    );
    check(&container("name: x"), "name", 4, "job_name");
    for later in ["links", "configs", "areas", "affinity"] {
        check(
            &container(&format!("{later}: {{}}")),
            later,
            4,
            "not supported yet",
        );
        let v1 = format!(
            "api_version: v1\njob_name: a\nservices:\n  - {{name: s, image: nginx, {later}: []}}\n"
        );
        check(&v1, &format!("services[0].{later}"), 4, "not supported yet");
    }
    check(
        &container("image_runtime: noop"),
        "image_runtime",
        4,
        "docker, native;",
    );
    check(
        &container("image_runtime: Docker"),
        "image_runtime",
        4,
        "docker, native",
    );
    check(&container("pull: never"), "pull", 4, "if_absent, always");
    check(
        &container("restart: unless-stopped"),
        "restart",
        4,
        "on_failure",
    );
    check(
        &container("on_partition: wait"),
        "on_partition",
        4,
        "stay, move",
    );
    let noop = Options {
        allow_noop: true,
        ..Options::default()
    };
    let job = parse(
        b"api_version: v0.1\njob_name: a\nimage_runtime: noop\n",
        Format::Yaml,
        noop,
    )
    .unwrap()
    .remove(0);
    assert_eq!(job.services[0].workload.runtime, RuntimeKind::Noop);
}

#[test]
fn images_and_commands_that_cannot_run() {
    // 18
    let long = "a".repeat(5_000);
    for bad in [
        "",
        "Nginx",
        "a b",
        "x@sha256:short",
        "-v/:/host",
        "localhost:2375/x",
        "[::1]:5000/x",
        "169.254.169.254/x",
        "0x7f000001/x",
        "user:pass@host/x",
        "http://x/y",
        "file:///bin/sh",
        &long,
    ] {
        let body = image(bad);
        check(
            &body,
            "image",
            3,
            &format!("\"{}", bad.get(..5).unwrap_or(bad)),
        );
    }
    check("api_version: v0.1\njob_name: bad\n", "image", 1, "required");
    check(
        "api_version: v0.1\njob_name: bad\nimage: 7\n",
        "image",
        3,
        "in quotes",
    );
    check(&container("command: /bin/sh"), "command", 4, "list");
    check(
        &container("command: [sleep, 10]"),
        "command[1]",
        4,
        "\"10\"",
    );
    check(&container("command: ['']"), "command", 4, "program");
    check(&container("args: [null]"), "args[0]", 4, "nothing");
    check(&native("command: [sleep, '1']"), "command", 4, "absolute");
    check(&native("command: []"), "command", 4, "required");
    check(&native("replicas: 1"), "command", 1, "required");
    check(&native("image: nginx"), "image", 4, "file:///");
    check(&native("image: file:///bin/../sh"), "image", 4, "file:///");
    check(
        &native("image: file:///bin/sh\ncommand: [/bin/sh]"),
        "image",
        4,
        "remove one",
    );
    check(
        &native("command: [/bin/sh]\npull: always"),
        "pull",
        5,
        "not pulled",
    );
    check(
        &native("command: [/bin/sh]\nports: ['8080:80']"),
        "ports[0]",
        5,
        "\"80\"",
    );
    check(
        &native("command: [/bin/sh]\nvolumes: ['data:/d']"),
        "volumes",
        5,
        "own folders",
    );
    assert!(yaml(&native("image: file:///bin/sh\nargs: [-c, 'exit 0']")).is_ok());
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn variables_ports_and_volumes_that_cannot_be() {
    // 19, 20
    check(
        &container("environment: {'A=B': c}"),
        "environment.A=B",
        4,
        "rename",
    );
    check(
        &container("environment: {\"A\\nB\": c}"),
        "environment.A\\nB",
        4,
        "rename",
    );
    check(
        &container("environment: {\"A\\0B\": c}"),
        "environment.A\\0B",
        4,
        "rename",
    );
    check(
        &container("environment: {'': c}"),
        "environment.",
        4,
        "rename",
    );
    check(
        &container("environment: {A: 1}"),
        "environment.A",
        4,
        "\"1\"",
    );
    check(
        &container("environment: {A: yes, B: true}"),
        "environment.B",
        4,
        "\"true\"",
    );
    check(
        &container("environment: {A: null}"),
        "environment.A",
        4,
        "nothing",
    );
    check(
        &container("environment: [A=b]"),
        "environment",
        4,
        "mapping",
    );
    check(
        &container("environment: {EDGEIO_JOB: x}"),
        "environment.EDGEIO_JOB",
        4,
        "rename",
    );
    check(
        &native("command: [/bin/sh]\nenvironment: {LD_PRELOAD: /x.so}"),
        "environment.LD_PRELOAD",
        5,
        "container",
    );
    for volume in [
        "/:/host",
        "/var/run/docker.sock:/s",
        "/proc:/p",
        "/proc/1/root:/p",
        "data:relative",
        "data:/a/../b",
        "data",
        "-v:/x",
        "a:/b:zz",
    ] {
        check(
            &container(&format!("volumes:\n  - {volume}")),
            "volumes[0]",
            5,
            "",
        );
    }
    check(
        &container("volumes: ['a1:/x', 'b1:/x']"),
        "volumes[1]",
        4,
        "twice",
    );
    for port in [
        "80",
        "\"70000\"",
        "\"a\"",
        "\"127.0.0.1:80:80\"",
        "\"80/sctp\"",
        "\"0\"",
    ] {
        check(
            &container(&format!("ports:\n  - {port}")),
            "ports[0]",
            5,
            "",
        );
    }
    check(
        &container("ports: ['8080:80', '8080:81']"),
        "ports[1]",
        4,
        "twice",
    );
    assert!(
        yaml(&container(
            "ports: ['8080:80', '8080:80/udp', '0:80', '81']"
        ))
        .is_ok()
    );
}
