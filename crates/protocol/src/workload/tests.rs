use expect_test::expect;
use model::id::SecretVersion;
use model::secret::{Sealed, SecretPlace, SecretRef, SecretUse, Secrets};
use std::sync::Arc;

use model::job::{JobSpec, OnPartition, PlacementRules, ServiceSpec};
use model::security::{Capability, Security, User};
use model::workload::Probe;
use proptest::prelude::*;

use super::*;

fn small() -> Workload {
    sealed(Workload {
        hash: SpecHash::default(),
        runtime: RuntimeKind::Docker,
        image: Some("nginx".to_owned()),
        pull: Pull::IfAbsent,
        command: Vec::new(),
        args: Vec::new(),
        environment: BTreeMap::new(),
        ports: Vec::new(),
        volumes: Vec::new(),
        files: BTreeMap::new(),
        resources: Resources::default(),
        restart: Restart::Always,
        health: None,
        security: Security::default(),
        secrets: Secrets::default(),
        stop_grace: Duration::from_secs(5),
    })
}

fn full() -> Workload {
    sealed(Workload {
        args: vec!["-v".to_owned()],
        command: vec!["/bin/app".to_owned()],
        environment: BTreeMap::from([
            ("B".to_owned(), "2".to_owned()),
            ("A".to_owned(), "1".to_owned()),
        ]),
        ports: vec![Port {
            host: Some(8080),
            container: 80,
            transport: Transport::Udp,
        }],
        volumes: vec![Volume {
            source: VolumeSource::HostPath("/srv".to_owned()),
            target: "/data".to_owned(),
            read_only: true,
        }],
        resources: Resources {
            cpu: Millicores(500),
            memory: Bytes::from_mb(256),
            disk: Bytes::from_mb(1),
        },
        pull: Pull::Always,
        restart: Restart::OnFailure,
        secrets: Secrets::default(),
        stop_grace: Duration::from_millis(200),
        ..small()
    })
}

/// The hash is over the fields in the order of the alphabet, so a file's content changes it and an empty list does not.
#[test]
fn files_are_part_of_the_hash_and_none_are_not() {
    let with = |content: &str| {
        let files = BTreeMap::from([("/etc/app.conf".to_owned(), content.to_owned())]);
        sealed(Workload { files, ..small() })
    };
    expect![[
        r#"{"files":{"/etc/app.conf":"a = 1\n"},"hash":"e889cf802dca757c63ba1fccb29ae40e","image":"nginx","runtime":"docker"}"#
    ]]
    .assert_eq(&serde_json::to_string(&WireWorkload::from(&with("a = 1\n"))).unwrap());
    assert_ne!(with("1").hash, with("2").hash);
    assert_ne!(with("").hash, small().hash);
}

/// These texts are on disks and in flight: they and their hashes stay for ever.
#[test]
fn the_wire_shape_and_its_hash_are_as_ever() {
    let show =
        |workload: &Workload| serde_json::to_string_pretty(&WireWorkload::from(workload)).unwrap();
    expect![[r#"
        {
          "hash": "cb090669e115414f47287f5bf802340a",
          "image": "nginx",
          "runtime": "docker"
        }"#]]
    .assert_eq(&show(&small()));
    expect![[r#"
        {
          "args": [
            "-v"
          ],
          "command": [
            "/bin/app"
          ],
          "cpu": 500,
          "disk": 1048576,
          "environment": {
            "A": "1",
            "B": "2"
          },
          "hash": "23500b0ef2215dba1a19a4b7f5fd7b31",
          "image": "nginx",
          "memory": 268435456,
          "ports": [
            {
              "container": 80,
              "host": 8080,
              "transport": "udp"
            }
          ],
          "pull": "always",
          "restart": "on_failure",
          "runtime": "docker",
          "stop_grace_ms": 200,
          "volumes": [
            {
              "host_path": "/srv",
              "read_only": true,
              "target": "/data"
            }
          ]
        }"#]]
    .assert_eq(&show(&full()));
}

#[test]
fn a_health_check_is_part_of_the_hash_and_must_have_one_probe() {
    let with = |retries| {
        let health = Some(HealthCheck {
            probe: Probe::Tcp { port: 5432 },
            interval: HealthCheck::INTERVAL,
            timeout: HealthCheck::TIMEOUT,
            retries,
            start_period: Duration::ZERO,
        });
        sealed(Workload { health, ..small() })
    };
    expect![[r#"{"hash":"f6ed0b37b90ce8929d87c02ffa27b104","health":{"tcp":{"port":5432}},"image":"nginx","runtime":"docker"}"#]].assert_eq(&serde_json::to_string(&WireWorkload::from(&with(3))).unwrap());
    assert_ne!(with(3).hash, small().hash);
    assert_ne!(with(3).hash, with(4).hash);
    for probes in [
        serde_json::json!({}),
        serde_json::json!({"tcp": {"port": 1}, "command": ["/bin/true"]}),
    ] {
        let wire: WireHealth = serde_json::from_value(probes).unwrap();
        assert_eq!(HealthCheck::try_from(wire), Err(WorkloadError::Probe));
    }
}

/// What asks for nothing has no field, and the hash that it has always had: an upgrade restarts nothing.
#[test]
fn what_a_container_asks_for_is_part_of_the_hash_and_nothing_is_not() {
    let with = |security| {
        sealed(Workload {
            security,
            ..small()
        })
    };
    let all = Security {
        read_only: false,
        user: Some(User::Root),
        capabilities: [Capability::NetBindService, Capability::Chown].into(),
        pids: 512,
    };
    expect![[r#"{"hash":"f288b731dbf4407db9c64a36700a35d3","image":"nginx","runtime":"docker","security":{"capabilities":["CHOWN","NET_BIND_SERVICE"],"pids":512,"user":0,"writable":true}}"#]].assert_eq(&serde_json::to_string(&WireWorkload::from(&with(all.clone()))).unwrap());
    assert_eq!(with(Security::default()).hash, small().hash);
    let one = |change: fn(&mut Security)| {
        let mut security = Security::default();
        change(&mut security);
        with(security)
    };
    let each = [
        one(|it| it.read_only = false),
        one(|it| it.user = Some(User::Root)),
        one(|it| it.user = std::num::NonZeroU32::new(1).map(User::Id)),
        one(|it| it.capabilities = [Capability::Chown].into()),
        one(|it| it.pids = 1),
    ];
    for workload in &each {
        assert_ne!(workload.hash, small().hash);
        let wire = WireWorkload::from(workload);
        assert_eq!(Workload::try_from(wire).as_ref(), Ok(workload));
    }
    for one in Capability::ALL {
        assert_eq!(serde_json::to_value(one).unwrap(), one.as_str());
    }
    // No sender can name what no document can ask for.
    let mut json = serde_json::to_value(WireWorkload::from(&with(all))).unwrap();
    for foreign in ["SYS_ADMIN", "ALL", "CAP_CHOWN"] {
        json["security"]["capabilities"] = serde_json::json!([foreign]);
        assert!(serde_json::from_value::<WireWorkload>(json.clone()).is_err());
    }
}

#[test]
fn a_workload_whose_hash_is_not_that_of_its_content_is_refused() {
    let mut json = serde_json::to_value(WireWorkload::from(&full())).unwrap();
    json["image"] = "other".into();
    let wire: WireWorkload = serde_json::from_value(json.clone()).unwrap();
    assert!(matches!(
        Workload::try_from(wire),
        Err(WorkloadError::HashMismatch { .. })
    ));
    json.as_object_mut().unwrap().remove("hash");
    let wire: WireWorkload = serde_json::from_value(json).unwrap();
    assert_eq!(Workload::try_from(wire), Err(WorkloadError::NoHash));
    let volume = WireVolume {
        host_path: None,
        name: None,
        read_only: false,
        target: "/x".to_owned(),
    };
    assert!(Volume::try_from(volume).is_err());
}

fn text() -> impl Strategy<Value = String> {
    // Any text at all: stores must give back what an older version admitted.
    proptest::collection::vec(any::<char>(), 0..8).prop_map(|chars| chars.into_iter().collect())
}

prop_compose! {
    fn port()(host in any::<Option<u16>>(), container in any::<u16>(), udp in any::<bool>()) -> Port {
        Port { host, container, transport: if udp { Transport::Udp } else { Transport::Tcp } }
    }
}

prop_compose! {
    fn volume()(named in any::<bool>(), source in text(), target in text(), read_only in any::<bool>()) -> Volume {
        let source = if named { VolumeSource::Named(source) } else { VolumeSource::HostPath(source) };
        Volume { source, target, read_only }
    }
}

fn probe() -> impl Strategy<Value = Probe> {
    prop_oneof![
        (any::<u16>(), text()).prop_map(|(port, path)| Probe::Http { port, path }),
        any::<u16>().prop_map(|port| Probe::Tcp { port }),
        prop::collection::vec(text(), 0..3).prop_map(Probe::Command),
    ]
}

prop_compose! {
    fn health()(probe in probe(), [interval, timeout, start_period] in any::<[u64; 3]>(), retries in any::<u32>()) -> HealthCheck {
        let [interval, timeout, start_period] = [interval, timeout, start_period].map(Duration::from_millis);
        HealthCheck { probe, interval, timeout, retries, start_period }
    }
}

prop_compose! {
    fn secret()(name in "[a-z][a-z0-9]{0,8}", version in any::<u128>(), ciphertext in any::<Vec<u8>>()) -> SecretRef {
        let version = SecretVersion::from_bits(version);
        SecretRef { name: Name::new(&name).unwrap(), sealed: Some(Sealed { version, ciphertext }) }
    }
}

prop_compose! {
    fn secrets()(
        uses in prop::collection::vec((secret(), any::<bool>(), text()), 0..3),
        pull in prop::option::of(secret()),
    ) -> Secrets {
        let uses = uses.into_iter().map(|(secret, file, place)| SecretUse {
            secret,
            place: if file { SecretPlace::File(place) } else { SecretPlace::Variable(place) },
        });
        Secrets { uses: uses.collect(), pull }
    }
}

/// A ciphertext is a part of what a workload is, so a new value is another workload; none changes no old hash.
#[test]
fn secrets_are_part_of_the_hash_and_none_are_not() {
    let with = |ciphertext: &[u8]| {
        let secret = SecretRef {
            name: Name::new("db").unwrap(),
            sealed: Some(Sealed {
                version: SecretVersion::from_bits(7),
                ciphertext: ciphertext.to_vec(),
            }),
        };
        let uses = vec![SecretUse {
            secret: secret.clone(),
            place: SecretPlace::Variable("DB".to_owned()),
        }];
        let secrets = Secrets {
            uses,
            pull: Some(secret),
        };
        sealed(Workload { secrets, ..small() })
    };
    expect![[r#"{"hash":"58f810389c4847806aa163f9757f7976","image":"nginx","pull_secret":{"ciphertext":"b25l","name":"db","version":"sec_00000000000000000000000007"},"runtime":"docker","secrets":[{"secret":{"ciphertext":"b25l","name":"db","version":"sec_00000000000000000000000007"},"variable":"DB"}]}"#]].assert_eq(&serde_json::to_string(&WireWorkload::from(&with(b"one"))).unwrap());
    assert_ne!(with(b"one").hash, with(b"two").hash);
    assert_eq!(
        sealed(Workload {
            secrets: Secrets::default(),
            ..small()
        })
        .hash,
        small().hash
    );
    let half = r#"{"image":"nginx","pull_secret":{"name":"db","version":"sec_00000000000000000000000007"},"runtime":"docker"}"#;
    let mut half: WireWorkload = serde_json::from_str(half).unwrap();
    half.hash = Some(hash_wire(&half));
    assert_eq!(Workload::try_from(half), Err(WorkloadError::Secret));
}

prop_compose! {
    fn security()(
        (read_only, root, id) in any::<(bool, bool, Option<std::num::NonZeroU32>)>(),
        capabilities in prop::collection::btree_set(prop::sample::select(Capability::ALL.to_vec()), 0..4),
        pids in any::<u32>(),
    ) -> Security {
        let user = if root { Some(User::Root) } else { id.map(User::Id) };
        Security { read_only, user, capabilities, pids }
    }
}

prop_compose! {
    fn workload()(
        runtime in prop::sample::select(vec![RuntimeKind::Docker, RuntimeKind::Native, RuntimeKind::Noop]),
        image in prop::option::of(text()),
        (command, args) in (prop::collection::vec(text(), 0..3), prop::collection::vec(text(), 0..3)),
        environment in prop::collection::btree_map(text(), text(), 0..3),
        files in prop::collection::btree_map(text(), text(), 0..3),
        ports in prop::collection::vec(port(), 0..3),
        volumes in prop::collection::vec(volume(), 0..3),
        (cpu, memory, disk) in any::<(u64, u64, u64)>(),
        pull in prop::sample::select(vec![Pull::IfAbsent, Pull::Always]),
        restart in prop::sample::select(vec![Restart::Always, Restart::OnFailure, Restart::Never]),
        (grace, health, security, secrets) in (any::<u64>(), prop::option::of(health()), security(), secrets()),
    ) -> Workload {
        let resources = Resources { cpu: Millicores(cpu), memory: Bytes(memory), disk: Bytes(disk) };
        let stop_grace = Duration::from_millis(grace);
        sealed(Workload { hash: SpecHash::default(), runtime, image, pull, command, args, environment, files, ports, volumes, resources, restart, health, security, secrets, stop_grace })
    }
}

prop_compose! {
    fn service()(
        name in "[a-z][a-z0-9]{0,8}",
        workload in workload(),
        (cluster, location, worker) in (prop::option::of(text()), prop::option::of(text()), prop::option::of(text())),
        labels in prop::collection::btree_map(text(), text(), 0..3),
        architectures in prop::collection::vec(text(), 0..3),
        replicas in any::<u32>(),
    ) -> ServiceSpec {
        let placement = PlacementRules { cluster, location, worker, labels, architectures };
        ServiceSpec { takeover: model::job::Takeover::default(), name: Name::new(&name).unwrap(), workload: Arc::new(workload), placement, replicas }
    }
}

prop_compose! {
    fn job()(
        name in "[a-z][a-z0-9]{0,8}",
        lost_after in any::<Option<u64>>(),
        moves in any::<bool>(),
        services in prop::collection::vec(service(), 1..3),
    ) -> JobSpec {
        let on_partition = if moves { OnPartition::Move } else { OnPartition::Stay };
        JobSpec { reconcile: model::job::Reconcile::default(), name: Name::new(&name).unwrap(), lost_after: lost_after.map(Duration::from_millis), on_partition, services: services.into_iter().map(Arc::new).collect() }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_job_survives_its_wire_shape(job in job()) {
        let text = serde_json::to_string(&WireJobSpec::from(&job)).unwrap();
        let wire: WireJobSpec = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(JobSpec::try_from(wire), Ok(job));
    }

    #[test]
    fn equal_hashes_mean_equal_workloads(one in workload(), other in workload()) {
        let again = sealed(Workload { hash: SpecHash([7; 16]), ..one.clone() });
        prop_assert_eq!(&again, &one);
        prop_assert_eq!(one.hash == other.hash, one == other);
    }
}
