use std::fs;
use std::path::Path;

use identity::{JoinToken, Secret};
use model::id::JoinTokenId;

use super::*;

fn config(folder: &Path) -> Config {
    Config {
        data_dir: folder.to_owned(),
        ..Config::default()
    }
}

fn token(joining: Joining) -> JoinToken {
    JoinToken {
        joining,
        places: vec!["127.0.0.1:1".to_owned()],
        pin: "A".repeat(43).parse().unwrap(),
        id: JoinTokenId::from_bits(1),
        secret: Secret::make().unwrap(),
    }
}

#[test]
fn plain_text_to_another_machine_needs_a_flag() {
    let folder = tempfile::tempdir().unwrap();
    let at = |cluster: &str, insecure| {
        Config {
            cluster: Some(cluster.to_owned()),
            insecure,
            ..config(folder.path())
        }
        .approach(None)
        .map(|approach| (approach.host, approach.port))
    };
    for near in ["http://localhost:1", "http://127.0.0.9", "ws://[::1]:7/x"] {
        assert!(at(near, false).is_ok(), "{near}");
    }
    assert!(at("http://192.0.2.1:10001", false).is_err());
    let far = at("http://192.0.2.1:10001", true).unwrap();
    assert_eq!(far, ("192.0.2.1".to_owned(), 10_001));
    for bad in [
        "ftp://localhost",
        "localhost:10001",
        "http://",
        "http://[::1",
    ] {
        assert!(at(bad, true).is_err(), "{bad}");
    }
}

#[test]
fn tls_to_a_cluster_needs_somebody_to_believe() {
    let folder = tempfile::tempdir().unwrap();
    let of = |ca: Option<&str>| {
        let config = Config {
            cluster: Some("https://192.0.2.1:10001".to_owned()),
            ca: ca.map(PathBuf::from),
            ..config(folder.path())
        };
        config.check().unwrap_err().to_string()
    };
    assert!(of(None).contains("identity/authority.pem"));
    assert!(of(Some("/nowhere.pem")).contains("/nowhere.pem"));
    assert!(of(Some("/dev/null")).contains("cannot be read"));
}

#[test]
fn a_token_says_where_the_cluster_is_and_whom_to_believe() {
    let folder = tempfile::tempdir().unwrap();
    let text = token(Joining::Worker).reveal();
    for cluster in [None, Some("https://192.0.2.1"), Some("http://192.0.2.1")] {
        let config = Config {
            cluster: cluster.map(str::to_owned),
            join_token: Some(text.clone()),
            ..config(folder.path())
        };
        assert!(config.check().is_ok(), "{cluster:?}");
    }
}

#[test]
fn a_token_that_is_none_is_told_before_anything_is_made_and_not_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data");
    let of = |token: &str| {
        let config = Config {
            join_token: Some(token.to_owned()),
            ..config(&data_dir)
        };
        config.check().unwrap_err().to_string()
    };
    let text = token(Joining::Worker).reveal();
    let half = &text[..text.len() - 1];
    for bad in ["", "-", "secret", half] {
        let fault = of(bad);
        assert!(fault.contains("join token"), "{fault}");
        assert!(bad.len() < 10 || !fault.contains(bad), "{fault}");
    }
    let asked = Config {
        is_joining: true,
        ..config(&data_dir)
    };
    let fault = asked.check().unwrap_err().to_string();
    assert!(fault.contains("node-engine join TOKEN"), "{fault}");
    let file = folder.path().join("token");
    let from_file = Config {
        join_token_file: Some(file.clone()),
        ..config(&data_dir)
    };
    let fault = from_file.check().unwrap_err().to_string();
    assert!(fault.contains("--join-token-file"), "{fault}");
    fs::write(&file, format!("{text}\n")).unwrap();
    assert!(from_file.check().is_ok());
    assert!(!data_dir.exists());
}

#[tokio::test]
async fn a_token_is_not_spent_where_it_would_be_of_no_use() {
    let folder = tempfile::tempdir().unwrap();
    let with = |joining| Config {
        join_token: Some(token(joining).reveal()),
        ..config(folder.path())
    };
    let was = Some(NodeId::from_bits(7));
    let error = with(Joining::Worker).enter(was).await.unwrap_err();
    assert!(matches!(error, EngineError::Stranger { .. }), "{error}");
    let error = with(Joining::Cluster).enter(None).await.unwrap_err();
    assert!(chain(&error).contains("lets a cluster join"), "{error}");
    assert_eq!(error.exit_code(), daemon::exit::CONFIG);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    // Nobody is there: the key is kept for the next try.
    let error = with(Joining::Worker).enter(None).await.unwrap_err();
    assert_eq!(error.exit_code(), daemon::exit::FAILURE, "{error}");
    assert!(chain(&error).contains("127.0.0.1:1"), "{error}");
    let files = fs::read_dir(folder.path().join(FOLDER)).unwrap();
    assert_eq!(files.count(), 1);
}
