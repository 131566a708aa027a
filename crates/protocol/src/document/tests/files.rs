//! `files`: what is read, and what is refused with what to write instead.

use super::*;

/// As `check`, for what only the reader can find: what it compares and adds up.
fn told(body: &str, path: &str, line: u64, fragment: &str) {
    let faults = faults(body.as_bytes(), Format::Yaml);
    let found = faults
        .iter()
        .any(|fault| fault.path == path && fault.line == line && fault.message.contains(fragment));
    assert!(
        found,
        "no fault at {path:?}, line {line} with {fragment:?}\n{faults:#?}"
    );
}

#[test]
fn files_are_read_from_both_versions_and_both_formats() {
    let native = "conf/a.toml: 'x = 1'";
    let v0 = yaml(&super::native(&format!(
        "command: [/bin/true]\nfiles:\n  {native}"
    )))
    .unwrap();
    let v1 = yaml(&format!(
        "api_version: v1\njob_name: bad\nservices:\n  - name: bad\n    image_runtime: native\n    command: [/bin/true]\n    files: {{{native}}}\n"
    ))
    .unwrap();
    let json = br#"{"api_version":"v0.1","job_name":"bad","image_runtime":"native","command":["/bin/true"],"files":{"conf/a.toml":"x = 1"}}"#;
    let json = parse(json, Format::Json, Options::default()).unwrap();
    assert_eq!(v0, v1);
    assert_eq!(v0, json);
    let files = &v0[0].services[0].workload.files;
    assert_eq!(files["conf/a.toml"], "x = 1");
    let body = container("files: {/etc/app.conf: \"a\\nb\\n\", /x/y: \"\"}");
    let workload = &yaml(&body).unwrap()[0].services[0].workload;
    assert_eq!(workload.files["/etc/app.conf"], "a\nb\n");
    assert_eq!(workload.hash, crate::workload::hash(workload));
    // None at all is the same as nothing said.
    let hash = |lines: &str| {
        yaml(&container(lines)).unwrap()[0].services[0]
            .workload
            .hash
    };
    assert_eq!(hash("files: {}"), hash("# nothing"));
    assert_eq!(hash("files: null"), hash("# nothing"));
}

#[test]
fn paths_that_are_none_are_refused_with_what_to_write() {
    for (path, says) in [
        ("etc/app.conf", "absolute path such as /etc/app.conf"),
        ("/", "absolute path"),
        ("/a/", "absolute path"),
        ("/a//b", "absolute path"),
        ("/a/../b", "absolute path"),
        ("/./b", "absolute path"),
        ("\"/a\\nb\"", "absolute path"),
        ("/proc/1/mem", "kernel"),
        ("/sys", "kernel"),
        ("/dev/null", "kernel"),
        ("/etc/hosts", "container engine"),
    ] {
        let path_in_faults = format!("files.{}", path.trim_matches('"'));
        check(
            &container(&format!("files:\n  {path}: text")),
            &path_in_faults,
            5,
            says,
        );
    }
    assert!(yaml(&container("files: {/processes: a, /etc/hosts.d/a: b}")).is_ok());
    for (path, says) in [
        ("/etc/app.conf", "write a relative path: \"app.conf\""),
        ("../app.conf", "without . and .."),
        ("conf/", "without . and .."),
        ("a//b", "without . and .."),
    ] {
        check(
            &native(&format!("command: [/bin/true]\nfiles:\n  {path}: text")),
            &format!("files.{path}"),
            6,
            says,
        );
    }
    let long = format!("/{}", "x".repeat(256));
    assert!(yaml(&container(&format!("files: {{{long}: text}}"))).is_err());
    let deep = "/folder".repeat(150);
    assert!(yaml(&container(&format!("files: {{{deep}: text}}"))).is_err());
}

#[test]
fn a_place_is_one_file_s_alone() {
    told(
        &container("files:\n  /a: x\n  /a/b: y"),
        "files./a",
        5,
        "folder of another",
    );
    for volume in ["/data", "/data/sub", "/data/sub/f/inner"] {
        told(
            &container(&format!(
                "volumes: ['v1:{volume}']\nfiles:\n  /data/sub/f: x"
            )),
            "files./data/sub/f",
            6,
            "mounted over it",
        );
    }
    assert!(yaml(&container("volumes: ['v1:/data']\nfiles: {/database: x}")).is_ok());
}

#[test]
fn contents_are_texts_and_bounded() {
    told(
        &container("files: {/a: 1}"),
        "files./a",
        4,
        "in quotes: \"1\"",
    );
    told(&container("files: [a]"), "files", 4, "mapping");
    let of = |sizes: &[usize]| {
        let files = sizes
            .iter()
            .enumerate()
            .map(|(number, size)| format!("  /f{number}: \"{}\"\n", "x".repeat(*size)));
        container(&format!("files:\n{}", files.collect::<String>()))
    };
    assert!(yaml(&of(&[65_536, 65_536, 65_536])).is_ok());
    told(&of(&[65_537]), "files./f0", 5, "at most 65536");
    told(
        &of(&[65_536, 65_536, 65_536, 1]),
        "files",
        5,
        "196608 bytes in all",
    );
    assert!(yaml(&of(&[1; 64])).is_ok());
    told(&of(&[1; 65]), "files", 5, "at most 64 files");
}

#[test]
fn what_escaping_makes_too_large_for_a_message_is_refused_and_not_lost_later() {
    let quotes = format!("environment: {{A: '{}'}}", "\"".repeat(120 * 1024));
    told(&container(&quotes), "", 1, "as JSON");
    let labels: Vec<String> = (0..900)
        .map(|number| format!("    l{number}: '{}'\n", "\"".repeat(240)))
        .collect();
    let labels = container(&format!("placement:\n  labels:\n{}", labels.concat()));
    told(&labels, "", 1, "as JSON");
    let letters = format!("environment: {{A: '{}'}}", "x".repeat(200 * 1024));
    assert!(yaml(&container(&letters)).is_ok());
}
