//! The policy of a worker's owner against a cluster that says anything: a hostile root looks like this to a worker.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::sync::Arc;

use model::desired::Desired;
use model::id::{InstanceId, NodeId};
use model::instance::{Observed, Report};
use model::reason::ReasonCode;
use model::security::{Capability, Security, User};
use model::workload::{RuntimeKind, Volume, VolumeSource, Workload};

use crate::NODE;
use crate::cluster::{Cluster, application, instance, workload};
use crate::process::{Home, lives};

/// A worker that nobody else has: what another test made is not found.
const DOCKER: NodeId = NodeId::from_bits(0x7a3d_0000_0000_0000_0000_0000_0000_0077);

fn report(cluster: &Cluster, instance: InstanceId) -> Option<&Report> {
    cluster.report(instance).map(|report| &report.report)
}

/// The sentence of a refusal that is not tried again.
fn refusal(cluster: &Cluster, instance: InstanceId) -> Option<String> {
    match &report(cluster, instance)?.observed {
        Observed::Failed {
            reason,
            next_attempt: None,
        } if reason.code == ReasonCode::ForbiddenByWorker => Some(reason.message.clone()),
        _ => None,
    }
}

#[tokio::test]
async fn what_the_owner_forbids_is_told_with_its_line_and_runs_when_the_owner_allows_it() {
    let mut cluster = Cluster::start(NODE).await;
    let home = Home::new();
    home.set_policy("# of this machine\n[tenants]\nallow = [\"lab\"]\n");
    let engine = home.engine(&cluster.url);
    let app = application(40, &["/bin/sleep", "1000"]);
    let own = Desired {
        job: Arc::new(model::desired::JobHead {
            tenant: model::access::TenantPath::new("lab").unwrap(),
            ..(*app.job).clone()
        }),
        ..application(41, &["/bin/sleep", "1000"])
    };
    let (foreign, lab) = (app.instance, own.instance);
    cluster.deploy(app.clone());
    cluster.deploy(own);
    cluster
        .until("one runs and one is refused", |cluster| {
            cluster.runs(lab) && refusal(cluster, foreign).is_some()
        })
        .await;
    let said = refusal(&cluster, foreign).unwrap();
    assert!(said.contains("jobs of tenant default"), "{said}");
    assert!(
        said.contains("(line 3 of ") && said.contains("policy.toml"),
        "{said}"
    );
    assert!(home.application(foreign).is_none());
    let pid = home.pid(lab);

    // An engine reads its policy when it starts; what runs goes on.
    assert_eq!(engine.stop().0.code(), Some(0));
    home.set_policy("[native]\nenabled = false\n");
    let engine = home.engine(&cluster.url);
    cluster
        .until("native programs are forbidden now", |cluster| {
            refusal(cluster, foreign).is_some_and(|said| said.contains("native programs"))
        })
        .await;
    let facts = cluster
        .desk
        .lock()
        .unwrap()
        .requests
        .last()
        .unwrap()
        .facts
        .clone();
    assert!(!facts.runtimes.contains(&RuntimeKind::Native), "{facts:?}");
    assert!(lives(pid) && home.pid(lab) == pid);
    assert_eq!(engine.stop().0.code(), Some(0));

    home.set_policy("# all as usual\n");
    let _engine = home.engine(&cluster.url);
    cluster
        .until("it runs", |cluster| cluster.runs(foreign))
        .await;
    cluster.terminate(foreign);
    cluster.terminate(lab);
    cluster
        .until("both are gone", |cluster| {
            cluster.report(foreign).is_none() && cluster.report(lab).is_none()
        })
        .await;
}

#[tokio::test]
async fn an_engine_with_a_wrong_policy_does_not_start_and_says_all_that_is_wrong() {
    let home = Home::new();
    home.set_policy("[containers]\nallow_root = 1\nprivileged = true\n");
    let (code, log) = home.refused();
    assert_eq!(code, Some(64), "{log}");
    assert!(log.contains("line 2: containers.allow_root"), "{log}");
    assert!(log.contains("line 3: `privileged` is unknown"), "{log}");
}

/// A container with a volume, of an image that nobody has: what is refused must not get as far as that.
fn with_volume(source: VolumeSource, target: &str) -> Workload {
    Workload {
        volumes: vec![Volume {
            source,
            target: target.to_owned(),
            read_only: false,
        }],
        ..container()
    }
}

fn container() -> Workload {
    Workload {
        runtime: RuntimeKind::Docker,
        image: Some("edgeio-test/nobody-has-this:1".to_owned()),
        ..workload(&["/bin/true"])
    }
}

fn containers_of(node: NodeId) -> String {
    let label = format!("label=edgeio.worker={node}");
    let output = Command::new("docker")
        .args(["ps", "-aq", "--filter", &label])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn no_spec_of_a_hostile_root_makes_a_container() {
    if !std::env::var("EDGEIO_REQUIRE").is_ok_and(|all| all.contains("docker")) {
        eprintln!("skipped: EDGEIO_REQUIRE does not contain docker");
        return;
    }
    let mut cluster = Cluster::start(DOCKER).await;
    let home = Home::new();
    let given = tempfile::tempdir().unwrap();
    symlink("/etc", given.path().join("out")).unwrap();
    let given = given.path().canonicalize().unwrap();
    home.set_policy(&format!(
        "[containers]\nallow_root = false\ncapabilities = [\"KILL\"]\nhost_paths = [\"{}\"]\n",
        given.display()
    ));
    let _engine = home.engine_with_docker(&cluster.url);
    let path = |path: &str| VolumeSource::HostPath(path.to_owned());
    let named = |name: &str| VolumeSource::Named(name.to_owned());
    let asks = |security| Workload {
        security,
        ..container()
    };
    let out = given.join("out");
    let own = home.path();
    let specs = [
        with_volume(path("/var/run/docker.sock"), "/s"),
        with_volume(path("/run/docker.sock"), "/s"),
        with_volume(path("/"), "/host"),
        with_volume(path("/proc"), "/p"),
        with_volume(path("/etc"), "/e"),
        with_volume(path(out.to_str().unwrap()), "/o"),
        with_volume(path(own.to_str().unwrap()), "/own"),
        with_volume(named("/etc"), "/e"),
        with_volume(named("data"), "/x:rshared"),
        asks(Security {
            user: Some(User::Root),
            ..Security::default()
        }),
        asks(Security {
            capabilities: [Capability::Kill, Capability::DacOverride].into(),
            ..Security::default()
        }),
        asks(Security {
            pids: 0,
            ..Security::default()
        }),
    ];
    let mut sent = BTreeMap::new();
    for (number, spec) in specs.into_iter().enumerate() {
        let desired = instance(500 + number as u128, spec);
        sent.insert(desired.instance, Arc::clone(&desired.service.workload));
        cluster.deploy(desired);
    }
    cluster
        .until("all are refused for good", |cluster| {
            sent.keys().all(|one| refusal(cluster, *one).is_some())
        })
        .await;
    for (one, spec) in &sent {
        let said = refusal(&cluster, *one).unwrap();
        let place = said.contains(" of ") || said.contains("correct it in the document");
        assert!(place, "{spec:?}: {said}");
    }
    assert_eq!(containers_of(DOCKER), "");
    for one in sent.keys() {
        cluster.terminate(*one);
    }
    cluster
        .until("all are gone", |cluster| {
            sent.keys().all(|one| cluster.report(*one).is_none())
        })
        .await;
}
