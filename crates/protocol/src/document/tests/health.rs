//! `health`: what is read, and what is refused with what to write instead.

use model::workload::{HealthCheck, Probe};

use super::*;

fn read(lines: &str) -> Option<HealthCheck> {
    let body = container(lines);
    let job = yaml(&body).unwrap().remove(0);
    job.services[0].workload.health.clone()
}

#[test]
fn a_health_check_is_read_with_its_defaults_in_both_versions_and_formats() {
    let path = "/healthz".to_owned();
    let check = HealthCheck {
        probe: Probe::Http { port: 8080, path },
        interval: Duration::from_secs(10),
        timeout: Duration::from_secs(2),
        retries: 3,
        start_period: Duration::ZERO,
    };
    let said = "health: {http: {port: 8080, path: /healthz}}";
    assert_eq!(read(said), Some(check.clone()));
    let v1 = format!(
        "api_version: v1\njob_name: bad\nservices:\n  - name: bad\n    image: nginx\n    {said}\n"
    );
    let json = br#"{"api_version":"v0.1","job_name":"bad","image":"nginx","health":{"http":{"port":8080,"path":"/healthz"}}}"#;
    let json = parse(json, Format::Json, Options::default()).unwrap();
    for job in [yaml(&v1).unwrap().remove(0), json[0].clone()] {
        let workload = &job.services[0].workload;
        assert_eq!(workload.health.as_ref(), Some(&check));
        assert_eq!(workload.hash, crate::workload::hash(workload));
    }
    assert_eq!(read("health: null"), None);
    assert_eq!(read("# nothing"), None);
}

#[test]
fn every_field_of_a_health_check_is_honoured() {
    let times = "interval: 500ms, timeout: 100ms, retries: 5, start_period: 1m";
    let command = ["/bin/check", "now"].map(str::to_owned).to_vec();
    for (said, probe) in [
        ("tcp: {port: 65535}", Probe::Tcp { port: 65_535 }),
        ("command: [/bin/check, now]", Probe::Command(command)),
        (
            "http: {port: 1}",
            Probe::Http {
                port: 1,
                path: "/".to_owned(),
            },
        ),
        (
            "http: {port: 1, path: '/a?b=c%20d'}, tcp: null",
            Probe::Http {
                port: 1,
                path: "/a?b=c%20d".to_owned(),
            },
        ),
    ] {
        let check = HealthCheck {
            probe,
            interval: Duration::from_millis(500),
            timeout: Duration::from_millis(100),
            retries: 5,
            start_period: Duration::from_mins(1),
        };
        assert_eq!(read(&format!("health: {{{said}, {times}}}")), Some(check));
    }
    // In a container a command may be looked for; a native one is of the whole machine.
    let sh = Probe::Command(vec!["sh".to_owned()]);
    assert_eq!(read("health: {command: [sh]}").unwrap().probe, sh);
}

#[test]
fn a_health_check_that_means_nothing_is_refused_with_what_to_write() {
    for (said, path, fragment) in [
        ("{}", "health", "needs one probe"),
        ("[]", "health", "must be a mapping"),
        ("{tcp: null}", "health", "needs one probe"),
        (
            "{http: {port: 1}, tcp: {port: 1}}",
            "health.tcp",
            "remove `tcp` or `http`",
        ),
        ("{http: {path: /}}", "health.http.port", "is required"),
        ("{tcp: {}}", "health.tcp.port", "write port: 8080"),
        ("{tcp: {port: 0}}", "health.tcp.port", "1 to 65535"),
        ("{tcp: {port: 65536}}", "health.tcp.port", "1 to 65535"),
        ("{tcp: {port: '80'}}", "health.tcp.port", "without quotes"),
        ("{tcp: {port: 1, path: /}}", "health.tcp.path", "unknown"),
        (
            "{http: {port: 1, url: 'http://a'}}",
            "health.http.url",
            "path: /healthz",
        ),
        (
            "{http: {port: 1, path: healthz}}",
            "health.http.path",
            "such as /healthz",
        ),
        (
            "{http: {port: 1, path: '/a b'}}",
            "health.http.path",
            "such as /healthz",
        ),
        (
            "{http: {port: 1, path: '/a#b'}}",
            "health.http.path",
            "without spaces and `#`",
        ),
        ("{command: []}", "health.command", "program first"),
        ("{command: ['']}", "health.command", "program first"),
        ("{command: /bin/true}", "health.command", "must be a list"),
        ("{exec: [a]}", "health.exec", "did you mean `command`"),
        (
            "{tcp: {port: 1}, interval: 10}",
            "health.interval",
            "write 10s",
        ),
        (
            "{tcp: {port: 1}, interval: 99ms}",
            "health.interval",
            "100ms to 1d",
        ),
        (
            "{tcp: {port: 1}, timeout: 2m}",
            "health.timeout",
            "10ms to 1m",
        ),
        ("{tcp: {port: 1}, retries: 0}", "health.retries", "1 to 100"),
        (
            "{tcp: {port: 1}, start_period: 2d}",
            "health.start_period",
            "0s to 1d",
        ),
        (
            "{tcp: {port: 1}, retires: 3}",
            "health.retires",
            "did you mean `retries`",
        ),
    ] {
        check(&container(&format!("health: {said}")), path, 4, fragment);
    }
    let body = native("command: [/bin/true]\nhealth: {command: [check]}");
    check(&body, "health.command", 5, "absolute path");
}
