//! What a container cannot do that did not ask for it: tried from inside.

use std::fs;
use std::num::NonZeroU32;

use model::security::{Capability, Security, User};
use model::workload::{Volume, VolumeSource};

use crate::bed::{Bed, IMAGE, docker, has};

/// What the kernel says of a process: its capabilities, and whether it can get more.
const STATUS: &str = "busybox grep -E 'Cap(Prm|Eff|Bnd)|NoNewPrivs|Seccomp:' /proc/self/status | busybox tr '\\t' ' '";
/// Whether files can be made in folders.
const WRITES: &str = "for place in / /etc /bin /tmp /run /var/run; do if true > $place/x; then echo writes $place; else echo denied $place; fi 2>/dev/null; done";

#[tokio::test]
async fn a_container_has_no_capabilities_no_root_and_no_way_to_more() {
    let Some(bed) = Bed::docker() else { return };
    let (mut rig, identity) = (bed.rig(), bed.identity());
    let workload = bed.script(&format!("busybox id; {STATUS}; {WRITES}"));
    let lines = rig.said(&identity, &workload).await;
    for line in [
        "uid=65532 gid=65532 groups=65532",
        "CapPrm: 0000000000000000",
        "CapEff: 0000000000000000",
        "CapBnd: 0000000000000000",
        "NoNewPrivs: 1",
        // A filter of system calls: the engine's own.
        "Seccomp: 2",
        "denied /",
        "denied /etc",
        "denied /bin",
        "writes /tmp",
        "writes /run",
        "writes /var/run",
    ] {
        assert!(has(&lines, line), "{line}: {lines:?}");
    }
    // A root that was asked for has what was asked for, and no way to more either.
    let mut asking = bed.script(&format!("busybox id -u; {STATUS}; {WRITES}"));
    asking.security = Security {
        read_only: false,
        user: Some(User::Root),
        capabilities: [Capability::Chown, Capability::NetBindService].into(),
        pids: 64,
    };
    let lines = rig.said(&bed.identity(), &asking).await;
    for line in [
        "0",
        "CapEff: 0000000000000401",
        "CapBnd: 0000000000000401",
        "NoNewPrivs: 1",
        "writes /etc",
    ] {
        assert!(has(&lines, line), "{line}: {lines:?}");
    }
}

#[tokio::test]
async fn a_container_shares_no_namespace_with_its_host_and_has_a_bounded_number_of_processes() {
    let Some(bed) = Bed::docker() else { return };
    let (mut rig, identity) = (bed.rig(), bed.identity());
    let kinds = ["pid", "net", "ipc", "uts", "mnt"];
    let links = kinds.map(|kind| format!("busybox readlink /proc/self/ns/{kind}"));
    let lines = rig.said(&identity, &bed.script(&links.join(";"))).await;
    assert_eq!(lines.len(), kinds.len(), "{lines:?}");
    for (kind, inside) in kinds.iter().zip(&lines) {
        let outside = fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
        assert_ne!(outside.to_str().unwrap(), inside, "{kind}");
    }
    let fork = "i=0; while [ $i -lt 60 ]; do sleep 30 & i=$((i + 1)); done; echo all of them";
    let mut workload = bed.script(fork);
    workload.security.pids = 20;
    let lines = rig.said(&bed.identity(), &workload).await;
    assert!(!has(&lines, "all of them"), "{lines:?}");
    assert!(
        lines.iter().any(|it| it.contains("can't fork")),
        "{lines:?}"
    );
}

#[tokio::test]
async fn a_named_volume_is_its_makers_who_is_not_root_and_one_that_was_there_is_left_alone() {
    let Some(bed) = Bed::docker() else { return };
    let (mut rig, identity) = (bed.rig(), bed.identity());
    let names =
        ["new", "old"].map(|name| format!("edgeio-test-{name}-{}", identity.instance.short()));
    docker(&["volume", "create", &names[1]]);
    let volume = |name: &String, target: &str| Volume {
        source: VolumeSource::Named(name.clone()),
        target: target.to_owned(),
        read_only: false,
    };
    let owners = "busybox stat -c '%u %n' /new /old; : > /new/mine; : > /new/kept; : > /old/mine";
    let mut workload = bed.script(owners);
    workload.volumes = vec![volume(&names[0], "/new"), volume(&names[1], "/old")];
    let lines = rig.said(&identity, &workload).await;
    assert!(
        has(&lines, "65532 /new") && has(&lines, "0 /old"),
        "{lines:?}"
    );
    let denied = |lines: &[String], path: &str| {
        lines
            .iter()
            .any(|it| it.contains(path) && it.contains("ermission denied"))
    };
    assert!(denied(&lines, "/old/mine"), "{lines:?}");
    assert!(!denied(&lines, "/new/mine"), "{lines:?}");
    // Another instance, as after an update: what it finds is as the first one left it, whoever runs it.
    let mut next = bed.script("busybox stat -c '%u %n' /new /new/kept");
    next.volumes = vec![volume(&names[0], "/new")];
    next.security.user = NonZeroU32::new(4_000_000).map(User::Id);
    let lines = rig.said(&bed.identity(), &next).await;
    assert!(
        has(&lines, "65532 /new") && has(&lines, "65532 /new/kept"),
        "{lines:?}"
    );
    // A maker with a number that takes more than seven octal digits.
    docker(&["volume", "rm", &names[0]]);
    let lines = rig.said(&bed.identity(), &next).await;
    assert!(has(&lines, "4000000 /new"), "{lines:?}");
    for name in &names {
        docker(&["volume", "rm", name]);
    }
    let label = format!("edgeio.worker={}", bed.node);
    let left = || docker(&["ps", "-aq", "--filter", &format!("label={label}")]);
    assert_eq!(left(), "");
    // One that an engine left which was killed in between.
    let holder = ["--label", &label, "--label", "edgeio.holder", IMAGE];
    docker(&[["create"].as_slice(), &holder].concat());
    assert_ne!(left(), "");
    assert_eq!(bed.rig().runtime.list().await.unwrap(), []);
    assert_eq!(left(), "");
}

/// An image of the tests with a user of its own, removed at the end.
struct Image(String);

impl Image {
    fn with_user(bed: &Bed, user: &str) -> Self {
        let name = format!("edgeio-test/user-{user}:{}", bed.node).to_lowercase();
        let script = "mkdir -p /etc; printf 'root:x:0:0::/:\\ntoor:x:0:0::/:\\napp:x:1234:1234::/:\\n' > /etc/passwd";
        let container = docker(&[
            "create",
            "--entrypoint",
            "/bin/busybox",
            IMAGE,
            "sh",
            "-c",
            script,
        ]);
        let container = container.trim();
        docker(&["start", "-a", container]);
        let change = format!("USER {user}");
        docker(&["commit", "--change", &change, container, &name]);
        docker(&["rm", "-f", container]);
        Self(name)
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        docker(&["rmi", "-f", &self.0]);
    }
}

#[tokio::test]
async fn the_user_of_an_image_is_taken_unless_it_is_root_under_whatever_name() {
    let Some(bed) = Bed::docker() else { return };
    let (mut rig, id) = (bed.rig(), "busybox id -u");
    for (user, runs_as) in [
        ("1000", "1000"),
        ("app", "1234"),
        ("0", "65532"),
        ("root", "65532"),
        ("toor", "65532"),
        ("nobody-there", "65532"),
    ] {
        let image = Image::with_user(&bed, user);
        let mut workload = bed.script(id);
        workload.image = Some(image.0.clone());
        // The first one asks the image, and so does one whose document has another list of users.
        assert_eq!(
            rig.said(&bed.identity(), &workload).await,
            [runs_as],
            "{user}"
        );
        workload.files = [("/etc/passwd".to_owned(), "app:x:0:0::/:\n".to_owned())].into();
        assert_eq!(
            rig.said(&bed.identity(), &workload).await,
            [runs_as],
            "{user}"
        );
        workload.security.user = NonZeroU32::new(7).map(User::Id);
        assert_eq!(rig.said(&bed.identity(), &workload).await, ["7"], "{user}");
    }
}
