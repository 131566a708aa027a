use std::path::PathBuf;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::config::RuntimeList;

fn config(folder: &std::path::Path) -> Config {
    Config {
        data_dir: folder.to_owned(),
        runtimes: Some("native".parse::<RuntimeList>().unwrap()),
        cluster: Some("http://127.0.0.1:1".to_owned()),
        ..Config::default()
    }
}

fn of<'f>(findings: &'f [Finding], check: &str) -> &'f Finding {
    findings
        .iter()
        .find(|finding| finding.check == check)
        .unwrap_or_else(|| panic!("nothing was found about {check}: {findings:#?}"))
}

/// Answers each connection with these bytes after something was heard; the port.
async fn server(answer: impl Into<Vec<u8>>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = answer.into();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream.write_all(&answer).await;
        }
    });
    port
}

fn date(apart_seconds: i64) -> String {
    let second = daemon::clock::wall_millis() / 1_000 + apart_seconds;
    let time = jiff::Timestamp::from_second(second).unwrap();
    jiff::fmt::rfc2822::DateTimePrinter::new()
        .timestamp_to_rfc9110_string(&time)
        .unwrap()
}

fn http(status: &str, kind: &str, date: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nDate: {date}\r\nConnection: close\r\n\r\n{{}}"
    )
}

/// A worker that joined, whose broker is on that port.
fn joined(folder: &std::path::Path, port: u16) {
    let json = serde_json::json!({
        "node": "node_00000000000000000000000007", "host": "127.0.0.1", "port": port,
        "password": "secret", "keep_alive_ms": 5_000,
    });
    std::fs::write(folder.join("broker.json"), json.to_string()).unwrap();
}

#[tokio::test]
async fn a_worker_with_everything_in_place_has_nothing_bad() {
    let folder = tempfile::tempdir().unwrap();
    joined(folder.path(), server([0x20, 2, 0, 5]).await);
    let port = server(http("200 OK", "application/json", &date(3))).await;
    let config = Config {
        cluster: Some(format!("http://127.0.0.1:{port}")),
        ..config(folder.path())
    };
    let findings = examine(&config).await;
    for check in ["data_dir", "cluster", "mqtt", "clock", "runtimes", "engine"] {
        assert_eq!(of(&findings, check).level, Level::Ok, "{findings:#?}");
    }
    assert_ne!(worst(&findings), Level::Bad, "{findings:#?}");
    for check in ["disk", "limits", "open_files", "kernel", "uptime"] {
        let _ = of(&findings, check);
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn a_cluster_that_is_none_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let now = date(0);
    let json = "application/problem+json";
    for (answer, level, says) in [
        (http("404 Not Found", json, &now), Level::Bad, "port 10001"),
        (http("401 Unauthorized", json, &now), Level::Ok, ""),
        (http("200 OK", "text/html", &now), Level::Bad, "--cluster"),
        ("SSH-2.0-OpenSSH_9\r\n".to_owned(), Level::Bad, "--cluster"),
    ] {
        let port = server(answer).await;
        let config = Config {
            cluster: Some(format!("http://127.0.0.1:{port}")),
            ..config(folder.path())
        };
        let findings = cluster::examine(&config).await;
        let finding = of(&findings, "cluster");
        let remedy = finding.remedy.as_deref().unwrap_or_default();
        assert!(
            finding.level == level && remedy.contains(says),
            "{finding:?}"
        );
    }
    let nobody = cluster::examine(&config(folder.path())).await;
    assert_eq!(of(&nobody, "cluster").level, Level::Bad);
    let far = Config {
        cluster: Some("http://192.0.2.1:10001".to_owned()),
        ..config(folder.path())
    };
    let refused = cluster::examine(&far).await;
    assert!(
        of(&refused, "cluster").what.contains("--insecure"),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_wrong_clock_and_a_closed_broker_are_told() {
    let folder = tempfile::tempdir().unwrap();
    for broker in [
        server("HTTP/1.1 400 Bad Request\r\n").await,
        server("").await,
        1,
    ] {
        joined(folder.path(), broker);
        let port = server(http("200 OK", "application/json", &date(-900))).await;
        let config = Config {
            cluster: Some(format!("http://127.0.0.1:{port}")),
            ..config(folder.path())
        };
        let findings = cluster::examine(&config).await;
        let clock = of(&findings, "clock");
        assert_eq!(clock.level, Level::Warn);
        assert!(clock.what.contains("90"), "{clock:?}");
        assert_eq!(of(&findings, "mqtt").level, Level::Bad, "{findings:?}");
    }
}

#[tokio::test]
async fn an_engine_that_is_not_there_matters_only_to_those_who_asked_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config {
        docker_host: "unix:///no/such/socket".to_owned(),
        runtimes: None,
        ..config(folder.path())
    };
    let findings = container::examine(&config).await;
    assert_eq!(of(&findings, "docker").level, Level::Warn);
    assert!(of(&findings, "runtimes").what.ends_with("native"));
    config.runtimes = Some("docker".parse().unwrap());
    let findings = container::examine(&config).await;
    assert_eq!(of(&findings, "docker").level, Level::Bad);
    config.runtimes = Some("native".parse().unwrap());
    assert_eq!(container::examine(&config).await.len(), 1);
}

#[test]
fn folders_and_engines_on_them_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path());
    config.data_dir = PathBuf::from("/dev/null/edgeio");
    let findings = local::examine(&config);
    assert_eq!(of(&findings, "data_dir").level, Level::Bad);
    config.data_dir = folder.path().join("not").join("yet");
    let findings = local::examine(&config);
    assert!(of(&findings, "data_dir").what.ends_with("can be made"));
    assert!(!config.data_dir.exists());
    config.data_dir = folder.path().to_owned();
    let store = std::fs::File::create(folder.path().join(crate::engine::STORE)).unwrap();
    assert!(
        of(&local::examine(&config), "engine")
            .what
            .starts_with("no engine runs")
    );
    store.try_lock().unwrap();
    let findings = local::examine(&config);
    let pid = format!("(process {})", std::process::id());
    assert!(of(&findings, "engine").what.contains(&pid), "{findings:?}");
    // It works once it is somebody's worker, too.
    let findings = [local::work(&config), vec![membership::work(&config)]].concat();
    assert_eq!(of(&findings, "engine").level, Level::Ok, "{findings:?}");
    assert_eq!(of(&findings, "identity").level, Level::Bad);
    joined(folder.path(), 1);
    assert_eq!(membership::work(&config).level, Level::Ok);
    drop(store);
    let findings = local::work(&config);
    assert_eq!(of(&findings, "engine").level, Level::Bad, "{findings:?}");
    let locks = "1: POSIX  ADVISORY  WRITE 7 08:01:99 0 EOF\n2: FLOCK  ADVISORY  WRITE 4711 08:01:99 0 EOF\n";
    let device = rustix::fs::makedev(8, 1);
    assert_eq!(local::holder(locks, &local::file(device, 99)), Some(4711));
    assert_eq!(local::holder(locks, &local::file(device, 9)), None);
}

#[test]
fn what_the_owner_lets_run_is_told_and_a_policy_that_is_wrong_is_bad() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path());
    let findings = policy::examine(&config);
    assert_eq!(of(&findings, "policy").level, Level::Ok, "{findings:?}");
    let user = of(&findings, "native_user");
    let is_root = rustix::process::geteuid().is_root();
    assert_eq!(user.level == Level::Warn, is_root, "{user:?}");
    let _ = of(&findings, "landlock");
    let file = folder.path().join("own.toml");
    config.policy = Some(file.clone());
    std::fs::write(&file, "[native]\nenabled = false\n").unwrap();
    let findings = policy::examine(&config);
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert!(findings[0].what.contains("own.toml"), "{findings:?}");
    std::fs::write(&file, "[native]\nenabled = 7\n").unwrap();
    let findings = policy::examine(&config);
    assert_eq!(worst(&findings), Level::Bad);
    assert!(findings[0].what.contains("line 2"), "{findings:?}");
}

#[test]
fn a_finding_is_two_lines_at_most_and_plain_json() {
    let finding = Finding::bad("disk", "it is full", "empty it");
    assert_eq!(
        finding.lines(),
        [
            "bad   disk          it is full",
            "                     empty it"
        ]
    );
    assert_eq!(
        serde_json::to_string(&finding).unwrap(),
        r#"{"check":"disk","level":"bad","what":"it is full","remedy":"empty it"}"#
    );
    assert_eq!(worst(&[]), Level::Ok);
}
