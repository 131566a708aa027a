//! What only containers have: images, labels, a daemon that goes away.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::reason::ReasonCode;
use model::units::{Bytes, Millicores};
use model::workload::{Port, Pull, Transport, Volume, VolumeSource};
use node_engine::runtime::Given;
use node_engine::runtime::docker::{DEFAULT_HOST, Docker, probe};
use node_engine::runtime::{Runtime, Status};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::bed::{Bed, IMAGE, Rig, docker, until};

const FOREVER: &str = "while :; do sleep 0.2; done";

fn inspect(container: &str, format: &str) -> String {
    docker(&["inspect", "-f", format, container])
        .trim()
        .to_owned()
}

fn container_of(bed: &Bed) -> String {
    docker(&[
        "ps",
        "-aq",
        "--filter",
        &format!("label=edgeio.worker={}", bed.node),
    ])
    .trim()
    .to_owned()
}

#[tokio::test]
async fn a_container_carries_its_labels_limits_and_bounds() {
    let Some(bed) = Bed::docker() else { return };
    let (rig, identity) = (bed.rig(), bed.identity());
    let mut workload = bed.script(FOREVER);
    workload.resources.memory = Bytes::from_mb(64);
    workload.resources.cpu = Millicores(500);
    workload.stop_grace = Duration::from_millis(2500);
    rig.runtime
        .start(&identity, &workload, Given::default())
        .await
        .unwrap();
    let name = format!("edgeio-tests-one-0-{}", identity.instance.short());
    let shown = |format: &str| inspect(&name, format);
    assert_eq!(
        shown("{{.HostConfig.Memory}} {{.HostConfig.MemorySwap}} {{.HostConfig.NanoCpus}}"),
        "67108864 67108864 500000000"
    );
    assert_eq!(
        shown(
            "{{.HostConfig.RestartPolicy.Name}} {{.HostConfig.LogConfig}} {{.Config.StopTimeout}}"
        ),
        "no {json-file map[max-file:2 max-size:10m]} 3"
    );
    let labels = [
        ("tenant", "default".to_owned()),
        ("job", identity.job.to_string()),
        ("job_name", "tests".to_owned()),
        ("service", "one".to_owned()),
        ("index", "0".to_owned()),
        ("instance", identity.instance.to_string()),
        ("generation", "3.4".to_owned()),
        ("worker", bed.node.to_string()),
        ("spec_hash", workload.hash.to_string()),
    ];
    for (label, value) in labels {
        assert_eq!(
            shown(&format!("{{{{index .Config.Labels \"edgeio.{label}\"}}}}")),
            value,
            "{label}"
        );
    }
}

#[tokio::test]
async fn an_image_that_is_not_to_be_had_is_a_pull_failure_that_leaves_nothing() {
    let Some(bed) = Bed::docker() else { return };
    let (rig, identity) = (bed.rig(), bed.identity());
    // Nobody listens there; the engine is not asked to leave this machine.
    for pull in [Pull::IfAbsent, Pull::Always] {
        let mut workload = bed.script(FOREVER);
        workload.image = Some("127.0.0.1:1/edgeio-test/absent:1".to_owned());
        workload.pull = pull;
        let reason = rig
            .runtime
            .start(&identity, &workload, Given::default())
            .await
            .unwrap_err()
            .reason();
        assert_eq!(reason.code, ReasonCode::ImagePullFailed, "{reason:?}");
        assert!(
            reason.message.contains("127.0.0.1:1/edgeio-test/absent:1"),
            "{reason:?}"
        );
        assert_eq!(bed.remains(identity.instance), 0);
    }
    let mut workload = bed.script(FOREVER);
    workload.image = Some("Not An Image".to_owned());
    let reason = rig
        .runtime
        .start(&identity, &workload, Given::default())
        .await
        .unwrap_err()
        .reason();
    assert_eq!(reason.code, ReasonCode::StartFailed, "{reason:?}");
}

#[tokio::test]
async fn foreign_containers_are_never_touched() {
    let Some(bed) = Bed::docker() else { return };
    let (rig, identity) = (bed.rig(), bed.identity());
    let name = format!("edgeio-tests-one-0-{}", identity.instance.short());
    let worker = "edgeio.worker=node_00000000000000000000000001".to_owned();
    let instance = format!("edgeio.instance={}", identity.instance);
    let foreign = docker(&[
        "create", "--name", &name, "--label", &worker, "--label", &instance, IMAGE,
    ]);
    let reason = rig
        .runtime
        .start(&identity, &bed.script(FOREVER), Given::default())
        .await
        .unwrap_err()
        .reason();
    assert_eq!(reason.code, ReasonCode::StartFailed, "{reason:?}");
    assert!(reason.message.contains(&name), "{reason:?}");
    rig.runtime
        .stop(identity.instance, Duration::ZERO)
        .await
        .unwrap();
    assert_eq!(rig.runtime.list().await.unwrap(), []);
    assert_eq!(inspect(foreign.trim(), "{{.State.Status}}"), "created");
    docker(&["rm", "-f", foreign.trim()]);
}

#[tokio::test]
async fn a_container_that_was_made_and_not_started_is_started_by_the_next_start() {
    let Some(bed) = Bed::docker() else { return };
    let (rig, identity) = (bed.rig(), bed.identity());
    let name = format!("edgeio-tests-one-0-{}", identity.instance.short());
    let labels = [
        format!("edgeio.worker={}", bed.node),
        format!("edgeio.instance={}", identity.instance),
    ];
    docker(&[
        "create", "--name", &name, "--label", &labels[0], "--label", &labels[1], IMAGE,
    ]);
    assert_eq!(rig.only().await.status, Status::Created);
    rig.runtime
        .start(&identity, &bed.script(FOREVER), Given::default())
        .await
        .unwrap();
    assert!(matches!(rig.only().await.status, Status::Running(_)));
}

#[tokio::test]
async fn a_fixed_host_port_is_shown_and_a_taken_one_is_a_start_failure() {
    let Some(bed) = Bed::docker() else { return };
    let (rig, first, second) = (bed.rig(), bed.identity(), bed.identity());
    let free = std::net::TcpListener::bind(("127.0.0.1", 0))
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let mut workload = bed.script(FOREVER);
    workload.ports = vec![Port {
        host: Some(free),
        container: 80,
        transport: Transport::Tcp,
    }];
    let started = rig
        .runtime
        .start(&first, &workload, Given::default())
        .await
        .unwrap();
    assert_eq!(
        (
            started.endpoints[0].host_port,
            started.endpoints[0].container_port
        ),
        (free, 80)
    );
    let reason = rig
        .runtime
        .start(&second, &workload, Given::default())
        .await
        .unwrap_err()
        .reason();
    assert_eq!(reason.code, ReasonCode::StartFailed);
    assert!(reason.message.contains("free the host port"), "{reason:?}");
    assert_eq!(bed.remains(second.instance), 0);
}

#[tokio::test]
async fn folders_and_named_volumes_are_mounted() {
    let Some(bed) = Bed::docker() else { return };
    let (mut rig, identity) = (bed.rig(), bed.identity());
    fs::write(bed.folder.path().join("greeting"), "good morning\n").unwrap();
    let named = format!("edgeio-test-{}", identity.instance.short());
    let mut workload = bed
        .script("cat /models/greeting; echo x > /models/x; echo kept > /data/kept; cat /data/kept");
    workload.volumes = vec![
        Volume {
            source: VolumeSource::HostPath(bed.folder.path().to_str().unwrap().to_owned()),
            target: "/models".to_owned(),
            read_only: true,
        },
        Volume {
            source: VolumeSource::Named(named.clone()),
            target: "/data".to_owned(),
            read_only: false,
        },
    ];
    rig.runtime
        .start(&identity, &workload, Given::default())
        .await
        .unwrap();
    let tail = rig.exited().await.exit.log_tail;
    assert!(
        tail.contains(&"good morning".to_owned()) && tail.contains(&"kept".to_owned()),
        "{tail:?}"
    );
    assert!(!bed.folder.path().join("x").exists(), "mounted read-only");
    rig.runtime
        .stop(identity.instance, Duration::ZERO)
        .await
        .unwrap();
    assert_eq!(
        docker(&["volume", "ls", "-q", "--filter", &format!("name={named}")]).trim(),
        named,
        "its data is kept"
    );
    docker(&["volume", "rm", &named]);
}

#[tokio::test]
async fn a_container_that_somebody_removes_is_told_as_killed() {
    let Some(bed) = Bed::docker() else { return };
    let (mut rig, identity) = (bed.rig(), bed.identity());
    rig.runtime
        .start(&identity, &bed.script(FOREVER), Given::default())
        .await
        .unwrap();
    docker(&["rm", "-f", &container_of(&bed)]);
    assert_eq!(rig.exited().await.exit.signal, Some(9));
    assert_eq!(rig.runtime.list().await.unwrap(), []);
}

#[tokio::test]
async fn a_start_that_is_given_up_leaves_nothing_after_a_stop() {
    let Some(bed) = Bed::docker() else { return };
    let (rig, identity, workload) = (bed.rig(), bed.identity(), bed.script(FOREVER));
    for after in [0, 5, 30, 100] {
        let start = rig.runtime.start(&identity, &workload, Given::default());
        let _ = tokio::time::timeout(Duration::from_millis(after), start).await;
        rig.runtime
            .stop(identity.instance, Duration::ZERO)
            .await
            .unwrap();
        assert_eq!(bed.remains(identity.instance), 0);
    }
}

#[tokio::test]
async fn an_engine_is_probed_without_waiting_long() {
    assert!(!probe("unix:///no/such/socket").await);
    if crate::bed::required("docker") {
        assert!(probe(DEFAULT_HOST).await);
    }
}

#[tokio::test]
async fn without_an_engine_every_call_says_so() {
    let bed = Bed::noop();
    let (sender, _exits) = mpsc::channel(1);
    let runtime = Runtime::Docker(Docker::new(
        bed.node,
        "unix:///no/such/socket",
        1,
        bed.folder.path(),
        sender,
    ));
    let reason = runtime
        .start(&bed.identity(), &bed.workload(), Given::default())
        .await
        .unwrap_err()
        .reason();
    assert_eq!(reason.code, ReasonCode::WorkerFault, "{reason:?}");
    assert!(runtime.list().await.is_err());
    assert!(
        runtime
            .stop(bed.identity().instance, Duration::ZERO)
            .await
            .is_err()
    );
    until("the fault is known", || runtime.fault().is_some()).await;
}

#[tokio::test]
async fn ends_during_a_loss_of_the_engine_are_told_when_it_is_back() {
    let Some(bed) = Bed::docker() else { return };
    let mut proxy = Proxy::new(bed.folder.path());
    let (sender, exits) = mpsc::channel(8);
    let host = format!("unix://{}", proxy.path.display());
    let mut rig = Rig {
        runtime: Runtime::Docker(Docker::new(
            bed.node,
            host.as_str(),
            2,
            bed.folder.path(),
            sender,
        )),
        exits,
    };
    let (first, second) = (bed.identity(), bed.identity());
    proxy.open();
    for identity in [&first, &second] {
        rig.runtime
            .start(identity, &bed.script(FOREVER), Given::default())
            .await
            .unwrap();
    }
    proxy.cut();
    until("the loss is noticed", || rig.runtime.fault().is_some()).await;
    bed.kill(first.instance);
    docker(&[
        "rm",
        "-f",
        docker(&[
            "ps",
            "-q",
            "--filter",
            &format!("label=edgeio.instance={}", second.instance),
        ])
        .trim(),
    ]);
    proxy.open();
    let told = [rig.exited().await, rig.exited().await];
    for identity in [&first, &second] {
        let exit = &told
            .iter()
            .find(|told| told.instance == identity.instance)
            .unwrap()
            .exit;
        assert_eq!(exit.signal, Some(9), "{exit:?}");
    }
    until("the engine is fine again", || rig.runtime.fault().is_none()).await;
    assert!(rig.exits.try_recv().is_err(), "told twice");
}

/// The engine's socket under another name, which can go away.
struct Proxy {
    path: PathBuf,
    task: Option<JoinHandle<()>>,
}

impl Proxy {
    fn new(folder: &Path) -> Self {
        Self {
            path: folder.join("engine.sock"),
            task: None,
        }
    }

    fn open(&mut self) {
        let listener = UnixListener::bind(&self.path).unwrap();
        self.task = Some(tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                connections.spawn(async move {
                    let mut engine =
                        UnixStream::connect(DEFAULT_HOST.trim_start_matches("unix://"))
                            .await
                            .unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut engine).await;
                });
            }
        }));
    }

    /// Closes everything.
    fn cut(&mut self) {
        fs::remove_file(&self.path).unwrap();
        self.task.take().unwrap().abort();
    }
}

#[tokio::test]
async fn files_leave_the_image_s_folders_alone_and_never_replace_them() {
    let Some(bed) = Bed::docker() else { return };
    let (mut rig, identity) = (bed.rig(), bed.identity());
    let list = |path: &str| format!("busybox ls -ld {path} | busybox cut -c1-10");
    let mut workload = bed.script(&[list("/made"), list("/made/a.conf"), list("/bin")].join(";"));
    workload.files = [("/made/a.conf", "1"), ("/bin/tool.conf", "2")]
        .map(|(path, content)| (path.to_owned(), content.to_owned()))
        .into();
    rig.runtime
        .start(&identity, &workload, Given::default())
        .await
        .unwrap();
    let tail = rig.exited().await.exit.log_tail;
    assert_eq!(tail, ["drwxr-xr-x", "-rw-r--r--", "drwxr-xr-x"]);
    rig.runtime
        .stop(identity.instance, Duration::ZERO)
        .await
        .unwrap();
    workload.files = [("/bin".to_owned(), "no folder".to_owned())].into();
    let error = rig
        .runtime
        .start(&identity, &workload, Given::default())
        .await
        .unwrap_err();
    let reason = error.reason();
    assert_eq!(reason.code, ReasonCode::StartFailed, "{reason:?}");
    assert!(reason.message.contains("files"), "{reason:?}");
    assert_eq!(bed.remains(identity.instance), 0);
}
