//! Bad inputs; the numbers in comments are the rows of their list in the reliability notes.

use super::*;

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn bodies_that_are_no_document() {
    // 1, 2, 5, 6, 7, 8, 10, 11, 17
    for (body, path, line, fragment) in [
        ("", "", 1, "empty"),
        ("\n  # nothing\n---\n---\n", "", 1, "empty"),
        ("just text", "", 1, "mapping"),
        ("- a\n- b\n", "", 1, "mapping"),
        ("42", "", 1, "mapping"),
        ("a: b\n  c: d\n\t- e", "", 2, "no YAML"),
        ("a: 'b", "a", 1, "no YAML"),
        ("%YAML 9.9\n---\n- x", "", 1, "version"),
        (
            "api_version: v0.1\njob_name: bad\nimage: a\nimage: b\n",
            "image",
            4,
            "twice",
        ),
        ("a: &x\n  <<: *x\n", "a", 2, "anchors"),
        ("a: &x\n  <<: *x\n", "a.<<", 2, "aliases"),
        ("a: *missing\n", "a", 1, "aliases"),
        ("<<: {image: nginx}\n", "<<", 1, "merge"),
        (
            "api_version: v0.1\njob_name: bad\nimage: !include /etc/passwd\n",
            "image",
            3,
            "tags",
        ),
        ("!!python/object:os.system\njob_name: bad\n", "", 1, "tags"),
        (
            "api_version: v0.1\njob_name: !!str 2\n",
            "job_name",
            2,
            "!!str",
        ),
        ("? [a, b]\n: c\n", "", 1, "key"),
        ("\u{feff}api_version: v0.1\n", "", 1, "byte-order"),
        ("api_version: v0.1\njob_name: \"a\0\"\n", "", 2, "NUL"),
        (
            "api_version: v0.1\njob_name: x\nimage: \"a\\0b\"\n",
            "image",
            3,
            "NUL",
        ),
        (
            "api_version: v99\njob_name: bad\n",
            "api_version",
            1,
            "v0.1, v1",
        ),
        (
            "api_version: 1\njob_name: bad\n",
            "api_version",
            1,
            "in quotes",
        ),
        (
            "job_name: bad\nimage: nginx\n",
            "api_version",
            1,
            "required",
        ),
        (
            "api_version: v0.1\nimage: nginx\n",
            "job_name",
            1,
            "required",
        ),
        (
            "api_version: v1\njob_name: bad\n",
            "services",
            1,
            "required",
        ),
        (
            "api_version: v1\njob_name: bad\nservices: []\n",
            "services",
            3,
            "1 to 100",
        ),
        (
            "api_version: v1\njob_name: bad\nservices: {a: b}\n",
            "services",
            3,
            "list",
        ),
        (
            "api_version: v1\njob_name: bad\nservices: [3]\n",
            "services[0]",
            3,
            "mapping",
        ),
        (
            "api_version: v1\njob_name: bad\nimage: nginx\nservices: [{image: a}]\n",
            "image",
            3,
            "belongs to a service",
        ),
        (
            "api_version: v1\njob_name: bad\nservices: [{image: a}]\n",
            "services[0].name",
            3,
            "required",
        ),
        (
            "api_version: v0.1\njob_name: bad\nservices: []\n",
            "services",
            3,
            "needs api_version: v1",
        ),
    ] {
        check(body, path, line, fragment);
    }
    let utf16: Vec<u8> = "api".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(faults(&utf16, Format::Yaml)[0].message.contains("UTF-16"));
    assert!(
        faults(&[&[0xff, 0xfe], utf16.as_slice()].concat(), Format::Yaml)[0]
            .message
            .contains("UTF-16")
    );
    let broken = faults(b"a: b\nc: \xc3\x28\n", Format::Json);
    assert_eq!((broken[0].line, broken[0].column), (2, 4));
}

#[test]
fn without_a_usable_version_the_other_faults_are_told_as_of_the_one_it_looks_like() {
    let single = "job_name: a b\nimage: nginx\nreplcas: 2\n";
    let several = "job_name: a b\nimage: nginx\nservices: [{name: c}]\n";
    let of_single = ["api_version", "job_name", "replcas"];
    let of_several = ["api_version", "job_name", "image", "services[0].image"];
    for version in [
        "api_version: v99\n",
        "api_version: 1\n",
        "api_version: [v1]\n",
        "api_version:\n",
        "",
    ] {
        for (rest, expected) in [(single, &of_single[..]), (several, &of_several[..])] {
            let body = format!("{version}{rest}");
            let faults = faults(body.as_bytes(), Format::Yaml);
            let paths: Vec<&str> = faults.iter().map(|fault| fault.path.as_str()).collect();
            assert_eq!(paths, expected, "{body}");
        }
    }
    // Alone, the version is the only fault.
    let faults = faults(
        b"api_version: v2\njob_name: a\nimage: nginx\n",
        Format::Yaml,
    );
    assert_eq!((faults.len(), faults[0].path.as_str()), (1, "api_version"));
}

#[test]
fn bodies_that_want_to_be_much() {
    // 2, 5, 6, 19: each is read in the time and space of a small one.
    let laughs = ('b'..='i').zip('a'..).fold(
        "a: &a [lol, lol, lol, lol]\n".to_owned(),
        |text, (to, from)| {
            text + &format!("{to}: &{to} [{}]\n", vec![format!("*{from}"); 9].join(", "))
        },
    );
    check(&laughs, "b[8]", 2, "aliases");
    for deep in [
        "[".repeat(10_000),
        "{a: ".repeat(10_000),
        "- ".repeat(10_000),
        "[".repeat(10_000) + &"]".repeat(10_000),
    ] {
        let faults = faults(deep.as_bytes(), Format::Yaml);
        assert!(
            faults
                .iter()
                .any(|fault| fault.message.contains("nest") || fault.message.contains("limit")),
            "{faults:?}"
        );
    }
    let block: String = (0..400)
        .map(|depth| format!("{}a:\n", " ".repeat(depth)))
        .collect::<Vec<_>>()
        .concat();
    assert_eq!(faults(block.as_bytes(), Format::Yaml).len(), 1);
    assert!(faults("{\"a\":".repeat(10_000).as_bytes(), Format::Json).len() == 1);
    check(&"x".repeat(MAX_BYTES + 1), "", 1, "262144");
    assert!(
        faults(&vec![b'['; 1 << 20], Format::Yaml)[0]
            .message
            .contains("1048576 bytes")
    );
    assert!(
        faults(&vec![b' '; MAX_BYTES], Format::Yaml)[0]
            .message
            .contains("empty")
    );
    let variables = (0..10_000)
        .map(|i| format!("  V{i}: v\n"))
        .collect::<Vec<_>>()
        .concat();
    assert!(
        faults(
            container(&format!("environment:\n{variables}")).as_bytes(),
            Format::Yaml
        )
        .iter()
        .any(|fault| fault.message.contains("10000"))
    );
    let wrong = (0..4_000)
        .map(|i| format!("f{i}: 1\n"))
        .collect::<Vec<_>>()
        .concat();
    let many = faults(container(&wrong).as_bytes(), Format::Yaml);
    assert_eq!(many.len(), MAX_FAULTS + 1);
    assert!(many[MAX_FAULTS].message.contains("3000 more"));
    for filler in [
        "a", "\"", "'", "# ", "- ", "? ", "{", "a: ", ": ", "&a ", "*a ", "!a ", "|\n", "%", "\t",
        "--- ", "---\n", "...\n", "[,", "\\", "é",
    ] {
        let body = filler.repeat(MAX_BYTES / filler.len());
        assert!(!faults(body.as_bytes(), Format::Yaml).is_empty());
        assert!(!faults(body.as_bytes(), Format::Json).is_empty());
    }
    let key = format!("{}: [{}]", "k".repeat(1_000), "0,".repeat(4_000));
    assert!(!faults(key.as_bytes(), Format::Yaml).is_empty());
    let key = format!(
        "{{\"{}\": [{}0]}}",
        "k".repeat(200_000),
        "{\"a\":1},".repeat(3_000)
    );
    assert!(!faults(key.as_bytes(), Format::Json).is_empty());
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn names_that_are_no_names() {
    // 12
    let long = "x".repeat(254);
    for bad in [
        "../../etc/x",
        "a/b",
        ".",
        "..",
        "-a",
        "a-",
        "😀",
        "раypal",
        "a b",
        "a\\n",
        "",
        &long,
    ] {
        check(
            &format!("api_version: v0.1\njob_name: \"{bad}\"\nimage: nginx\n"),
            "job_name",
            2,
            "1 to 63",
        );
    }
    check(
        "api_version: v0.1\njob_name: 123\nimage: nginx\n",
        "job_name",
        2,
        "\"123\"",
    );
    check(
        "api_version: v0.1\njob_name: true\nimage: nginx\n",
        "job_name",
        2,
        "in quotes",
    );
    check(
        "api_version: v0.1\njob_name: [a]\nimage: nginx\n",
        "job_name",
        2,
        "a list",
    );
    check(&container("worker_node: 580"), "worker_node", 4, "\"580\"");
    check(&container("worker_node: a/b"), "worker_node", 4, "1 to 63");
    check(
        &container("cluster_location: ''"),
        "cluster_location",
        4,
        "one line",
    );
    check(
        &container("cluster_location: \"a\\nb\""),
        "cluster_location",
        4,
        "one line",
    );
    check(
        &container("placement: {cluster: a}\ncluster_location: b"),
        "cluster_location",
        5,
        "keep one",
    );
    check(
        &container("placement: {worker_node: a}\nworker_node: b"),
        "worker_node",
        5,
        "keep one",
    );
    check(
        &container("placement: {labels: {'a b': c}}"),
        "placement.labels.a b",
        4,
        "label's key",
    );
    check(
        &container("placement: {labels: {a: 1}}"),
        "placement.labels.a",
        4,
        "\"1\"",
    );
    check(&container("placement: munich"), "placement", 4, "mapping");
    check(
        &container("placement: {worker: a}"),
        "placement.worker",
        4,
        "`worker_node`",
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn numbers_that_are_no_numbers() {
    // 13, 14, 15
    for (cpu, fragment) in [
        ("-1", "0.001"),
        ("1e309", "decimal"),
        (".nan", "decimal"),
        (".inf", "decimal"),
        ("0", "0.001"),
        ("0.0001", "0.001"),
        ("\"2\"", "without quotes"),
        ("0x10", "decimal"),
        ("0o7", "decimal"),
        ("1_000", "plain decimal"),
        ("yes", "plain decimal"),
        ("true", "truth value"),
        ("[1]", "a list"),
        ("{a: 1}", "a mapping"),
        ("1e30", "0.001"),
        ("500m", "plain decimal"),
    ] {
        check(
            &container(&format!("requirements:\n  cpu: {cpu}")),
            "requirements.cpu",
            5,
            fragment,
        );
    }
    for memory in [
        "18446744073709551616",
        "-1",
        "1.5",
        "1000.0",
        "1e3",
        "0x10",
        "+5",
        "1000000001",
        "\"2\"",
        "128Mi",
        "null_",
        "~~",
    ] {
        check(
            &container(&format!("requirements: {{memory: {memory}}}")),
            "requirements.memory",
            4,
            "whole number",
        );
    }
    check(
        &container("requirements: {disk: -1}"),
        "requirements.disk",
        4,
        "0 to 1000000000",
    );
    check(
        &container("replicas: 1000000000"),
        "replicas",
        4,
        "0 to 100000",
    );
    check(&container("replicas: 1.0"), "replicas", 4, "0 to 100000");
    check(&container("replicas: '2'"), "replicas", 4, "without quotes");
    check(
        &container("requirements: {architecture: x86_64}"),
        "requirements.architecture",
        4,
        "list",
    );
    check(
        &container("requirements: {architecture: ['../x']}"),
        "requirements.architecture[0]",
        4,
        "aarch64",
    );
    check(
        &container("requirements: {runtime: native}"),
        "requirements.runtime",
        4,
        "docker",
    );
    check(&container("lost_after: 10"), "lost_after", 4, "10s");
    check(
        &container("lost_after: 0s"),
        "lost_after",
        4,
        "100ms to 30d",
    );
    check(&container("lost_after: soon"), "lost_after", 4, "10s");
    check(&container("stop_grace: 2h"), "stop_grace", 4, "0s to 1h");
}
