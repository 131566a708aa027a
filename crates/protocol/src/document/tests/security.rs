//! `security`: what is read, and what is refused with what to write instead.

use std::num::NonZeroU32;

use model::security::{Capability, Security, User};

use super::*;

fn read(lines: &str) -> Security {
    let job = yaml(&container(lines)).unwrap().remove(0);
    job.services[0].workload.security.clone()
}

#[test]
fn what_a_container_asks_for_is_read_from_both_versions_and_both_formats() {
    let all = Security {
        read_only: false,
        user: Some(User::Root),
        capabilities: [Capability::Chown, Capability::NetBindService].into(),
        pids: 512,
    };
    let said = "security: {read_only: false, user: root, capabilities: [NET_BIND_SERVICE, CHOWN], pids: 512}";
    assert_eq!(read(said), all);
    let v1 = format!(
        "api_version: v1\njob_name: bad\nservices:\n  - name: bad\n    image: nginx\n    {said}\n"
    );
    let json = br#"{"api_version":"v0.1","job_name":"bad","image":"nginx","security":{"read_only":false,"user":"root","capabilities":["CHOWN","NET_BIND_SERVICE"],"pids":512}}"#;
    let json = parse(json, Format::Json, Options::default()).unwrap();
    for job in [yaml(&v1).unwrap().remove(0), json[0].clone()] {
        let workload = &job.services[0].workload;
        assert_eq!(workload.security, all);
        assert_eq!(workload.hash, crate::workload::hash(workload));
    }
}

#[test]
fn who_asks_for_nothing_gets_the_least() {
    for nothing in [
        "# nothing",
        "security: null",
        "security: {}",
        "security: {read_only: true, user: null, capabilities: [], pids: 256}",
    ] {
        assert_eq!(read(nothing), Security::default(), "{nothing}");
    }
    let user = read("security: {user: 1000}").user;
    assert_eq!(user, NonZeroU32::new(1_000).map(User::Id));
    // Files are put into the root file system, so it is written to without being asked for.
    let job = |lines: &str| yaml(&container(lines)).unwrap().remove(0);
    let with_files = job("files: {/etc/a: b}");
    assert!(!with_files.services[0].workload.is_read_only());
    assert!(with_files.services[0].workload.security.read_only);
    assert!(job("files: {}").services[0].workload.is_read_only());
}

#[test]
fn what_no_container_gets_is_refused_with_what_to_write() {
    for (said, path, fragment) in [
        ("[]", "security", "must be a mapping"),
        ("{privileged: true}", "security.privileged", "capabilities:"),
        ("{cap_add: [CHOWN]}", "security.cap_add", "`capabilities`"),
        ("{cap_drop: [ALL]}", "security.cap_drop", "all capabilities"),
        ("{run_as_user: 1}", "security.run_as_user", "`user`"),
        ("{seccomp: off}", "security.seccomp", "known here are"),
        ("{read_only: 'no'}", "security.read_only", "true or false"),
        ("{read_only: 0}", "security.read_only", "true or false"),
        ("{user: 0}", "security.user", "write root"),
        ("{user: -1}", "security.user", "1 to 2147483647"),
        ("{user: 2147483648}", "security.user", "1 to 2147483647"),
        ("{user: 1.5}", "security.user", "whole number"),
        ("{user: '1000'}", "security.user", "without quotes"),
        ("{user: nginx}", "security.user", "number of a user"),
        ("{user: '1000:0'}", "security.user", "number of a user"),
        ("{user: true}", "security.user", "truth value"),
        ("{capabilities: CHOWN}", "security.capabilities", "a list"),
        (
            "{capabilities: [SYS_ADMIN]}",
            "security.capabilities[0]",
            "no capability that is given",
        ),
        (
            "{capabilities: [CHOWN, ALL]}",
            "security.capabilities[1]",
            "NET_BIND_SERVICE",
        ),
        (
            "{capabilities: [CAP_CHOWN]}",
            "security.capabilities[0]",
            "write one of AUDIT_WRITE, CHOWN",
        ),
        (
            "{capabilities: [chown]}",
            "security.capabilities[0]",
            "write one of",
        ),
        ("{capabilities: [1]}", "security.capabilities[0]", "a text"),
        (
            "{capabilities: [CHOWN, KILL, CHOWN]}",
            "security.capabilities[2]",
            "twice",
        ),
        ("{pids: 0}", "security.pids", "1 to 65536"),
        ("{pids: 65537}", "security.pids", "1 to 65536"),
        ("{pids: '64'}", "security.pids", "without quotes"),
        ("{pids: -1}", "security.pids", "1 to 65536"),
    ] {
        check(&container(&format!("security: {said}")), path, 4, fragment);
    }
    for (line, path, fragment) in [
        (
            "privileged: true",
            "privileged",
            "no container is privileged",
        ),
        ("user: 1000", "user", "security: {user: 1000}"),
    ] {
        check(&container(line), path, 4, fragment);
    }
    check(
        &container("security: {read_only: true}\nfiles: {/etc/a: b}"),
        "security.read_only",
        4,
        "remove read_only",
    );
    check(
        &native("command: [/bin/true]\nsecurity: {}"),
        "security",
        5,
        "for containers",
    );
}

#[test]
fn all_faults_of_what_is_asked_for_are_told_at_once() {
    let body = container("security: {user: 0, pids: 0, capabilities: [ALL], read_only: 1, x: 1}");
    let told = faults(body.as_bytes(), Format::Yaml);
    let paths: Vec<&str> = told.iter().map(|fault| fault.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "security.user",
            "security.pids",
            "security.capabilities[0]",
            "security.read_only",
            "security.x",
        ]
    );
}
