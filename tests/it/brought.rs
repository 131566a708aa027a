//! A certificate that was made elsewhere, which users see and machines do not.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use edgeio_tests::harness::{Program, Settings, System, TOKEN, programs, together, wait_until};

use crate::broker::files_of;

/// The files are looked at every ten seconds.
const LIMIT: Duration = Duration::from_secs(30);

/// Whether `edgeio` believes who answers there.
fn believes(url: &str, ca: &Path) -> Result<(), String> {
    let mut command = Command::new(programs().join("edgeio"));
    command.args(["get", "jobs", "--url", url, "--token", TOKEN, "--ca"]);
    let output = command.arg(ca).output().unwrap();
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn users_see_what_was_made_elsewhere_and_machines_what_the_authority_issued() {
    let _turn = together();
    // Two authorities that have nothing to do with the system below: they stand for somebody who sells certificates.
    let mut elsewhere = System::start(Settings::QUICK);
    let made: Vec<PathBuf> = ["first", "second"]
        .into_iter()
        .map(|name| {
            elsewhere.add_cluster(name, &[]);
            let out = elsewhere.directory().join(format!("{name}-files"));
            files_of(&elsewhere.directory().join(name), &out, 1);
            out
        })
        .collect();
    let (chain, key) = (
        elsewhere.directory().join("chain.pem"),
        elsewhere.directory().join("chain.key"),
    );
    let bring = |from: &Path| {
        // Whole, as what renews certificates does it.
        for (name, to) in [("broker.key", &key), ("broker.pem", &chain)] {
            let beside = to.with_extension("new");
            fs::copy(from.join(name), &beside).unwrap();
            fs::rename(&beside, to).unwrap();
        }
    };
    bring(&made[0]);
    let options = [
        "--tls-cert",
        chain.to_str().unwrap(),
        "--tls-key",
        key.to_str().unwrap(),
    ];
    let mut system = System::start_with(Settings::QUICK, "127.0.0.1", None, &options);
    let url = system.root.said("http").replace("http://", "https://");
    let own = system.directory().join("root/identity/authority.pem");
    let sold = |of: usize| made[of].join("authority.pem");
    assert_eq!(believes(&url, &sold(0)), Ok(()));
    let refused = believes(&url, &own).unwrap_err();
    assert!(refused.contains("certificate"), "{refused}");

    // A cluster knows the authority alone, by its file or by a token.
    system.add_cluster("munich", &["--root", &url, "--ca", own.to_str().unwrap()]);
    let token = system.root().post("/api/v1/join-tokens", "{}").unwrap();
    let token = token.body["token"].as_str().unwrap().to_owned();
    let data = system.directory().join("garching");
    let args = [
        "--name",
        "garching",
        "--http",
        "127.0.0.1:0",
        "--mqtt",
        "127.0.0.1:0",
        "--data-dir",
        data.to_str().unwrap(),
        "--join-token",
        &token,
    ];
    let args = args.map(str::to_owned);
    let directory = system.directory().to_owned();
    let joined = Program::start("cluster-orchestrator", "garching", &directory, &args, None);
    let root = system.root();
    wait_until("the other cluster has joined", LIMIT, || {
        let row = root.get("/api/v1/clusters/garching")?.body;
        (row["state"].is_string() && row["state"] != "INACTIVE")
            .then_some(())
            .ok_or_else(|| row.to_string())
    });

    // Another one in its place is shown soon; something else is not, and the log says where and what to do.
    bring(&made[1]);
    wait_until("the other certificate is shown", LIMIT, || {
        believes(&url, &sold(1))
    });
    assert!(believes(&url, &sold(0)).is_err());
    fs::write(&chain, "nothing").unwrap();
    wait_until("the log says what is wrong", LIMIT, || {
        let log = system.root.log();
        (log.contains("is not a chain of certificates") && log.contains("chain.pem"))
            .then_some(())
            .ok_or(log)
    });
    assert_eq!(believes(&url, &sold(1)), Ok(()));
    drop(joined);

    // At a start that is a fault of the options.
    system.root.kill();
    let ended = system.root.fails();
    assert_eq!(ended.code(), Some(64), "{}", system.root.log());
}
