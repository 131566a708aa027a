//! What an engine is asked for, to the letter: a change of a default is a change of this text.

use std::collections::BTreeMap;
use std::time::Duration;

use expect_test::{Expect, expect};
use model::id::{InstanceId, JobId, NodeId};
use model::name::Name;
use model::security::{Capability, Security};
use model::slot::Generation;
use model::units::{Bytes, Resources};
use model::workload::{Pull, Restart, RuntimeKind, SpecHash};

use super::*;

fn identity() -> Identity {
    Identity {
        node: NodeId::from_bits(1),
        instance: InstanceId::from_bits(2),
        job: JobId::from_bits(3),
        job_name: Name::new("web").unwrap(),
        service: Name::new("nginx").unwrap(),
        index: 0,
        tenant: model::access::TenantPath::root(),
        generation: Generation::default(),
    }
}

fn workload() -> Workload {
    Workload {
        hash: SpecHash([7; 16]),
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
        secrets: model::secret::Secrets::default(),
        stop_grace: Duration::from_secs(5),
    }
}

/// The body without its labels, which another test has; keys in order.
fn check(workload: &Workload, account: Account, expected: &Expect) {
    let body = ContainerCreateBody {
        labels: None,
        ..body((&identity(), workload, &Given::default()), account)
    };
    let json = serde_json::to_value(body).unwrap();
    expected.assert_eq(&serde_json::to_string_pretty(&json).unwrap());
}

#[test]
fn a_container_that_asks_for_nothing_gets_the_least() {
    check(
        &workload(),
        Account::user(65_532),
        &expect![[r#"
        {
          "Env": [],
          "ExposedPorts": {},
          "HostConfig": {
            "Binds": [],
            "CapAdd": [],
            "CapDrop": [
              "ALL"
            ],
            "IpcMode": "private",
            "LogConfig": {
              "Config": {
                "max-file": "2",
                "max-size": "10m"
              },
              "Type": "json-file"
            },
            "PidsLimit": 256,
            "PortBindings": {},
            "Privileged": false,
            "ReadonlyRootfs": true,
            "RestartPolicy": {
              "Name": "no"
            },
            "SecurityOpt": [
              "no-new-privileges"
            ],
            "Tmpfs": {
              "/run": "rw,noexec,nosuid,nodev,size=64m,mode=1777",
              "/tmp": "rw,noexec,nosuid,nodev,size=64m,mode=1777",
              "/var/run": "rw,noexec,nosuid,nodev,size=64m,mode=1777"
            }
          },
          "Image": "nginx",
          "StopTimeout": 5,
          "User": "65532:65532"
        }"#]],
    );
}

#[test]
fn a_container_gets_what_it_asks_for_and_nothing_else() {
    let volume = |name: &str, target: &str| Volume {
        source: VolumeSource::Named(name.to_owned()),
        target: target.to_owned(),
        read_only: false,
    };
    let mut asking = workload();
    asking.security = Security {
        read_only: false,
        user: Some(model::security::User::Root),
        capabilities: [Capability::NetBindService, Capability::Chown].into(),
        pids: 512,
    };
    asking.volumes = vec![volume("data", "/data")];
    asking.resources.memory = Bytes::from_mb(64);
    check(
        &asking,
        Account::Root,
        &expect![[r#"
        {
          "Env": [],
          "ExposedPorts": {},
          "HostConfig": {
            "Binds": [
              "data:/data"
            ],
            "CapAdd": [
              "CHOWN",
              "NET_BIND_SERVICE"
            ],
            "CapDrop": [
              "ALL"
            ],
            "IpcMode": "private",
            "LogConfig": {
              "Config": {
                "max-file": "2",
                "max-size": "10m"
              },
              "Type": "json-file"
            },
            "Memory": 67108864,
            "MemorySwap": 67108864,
            "PidsLimit": 512,
            "PortBindings": {},
            "Privileged": false,
            "ReadonlyRootfs": false,
            "RestartPolicy": {
              "Name": "no"
            },
            "SecurityOpt": [
              "no-new-privileges"
            ]
          },
          "Image": "nginx",
          "StopTimeout": 5,
          "User": "0:0"
        }"#]],
    );
}

#[test]
fn where_a_volume_is_there_is_no_other_room_and_with_files_there_is_none() {
    let rooms = |workload: &Workload| {
        let body = body(
            (&identity(), workload, &Given::default()),
            Account::OfImage { uid: 101 },
        );
        assert_eq!(body.user, None, "as the image says");
        let host = body.host_config.unwrap();
        let rooms: BTreeMap<String, String> = host.tmpfs.unwrap_or_default().into_iter().collect();
        (host.readonly_rootfs, rooms.into_keys().collect::<Vec<_>>())
    };
    let mut workload = workload();
    workload.volumes = vec![Volume {
        source: VolumeSource::Named("scratch".to_owned()),
        target: "/tmp".to_owned(),
        read_only: false,
    }];
    let left = ["/run", "/var/run"].map(str::to_owned).to_vec();
    assert_eq!(rooms(&workload), (Some(true), left));
    workload.files = [("/etc/a".to_owned(), "b".to_owned())].into();
    assert_eq!(rooms(&workload), (Some(false), Vec::new()));
}
