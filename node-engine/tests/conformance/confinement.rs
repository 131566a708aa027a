//! What a native program cannot do, whatever its document says: tried from inside.

use std::fs;
use std::time::Duration;

use node_engine::runtime::Given;
use node_engine::runtime::Runtime;
use node_engine::runtime::native::Native;
use node_engine::shim::confine::{Account, Confinement};
use node_engine::shim::record::{Folder, State};
use tokio::sync::mpsc;

use crate::bed::{Bed, Rig, has, shim, until};

/// Where this program's kernel has no Landlock there is nothing to be tried.
fn has_landlock() -> bool {
    use landlock::{ABI, Access, AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr};
    let ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    let asked = ruleset.handle_access(AccessFs::from_all(ABI::V1));
    let has = asked.is_ok_and(|ruleset| ruleset.create().is_ok());
    if !has {
        eprintln!("skipped: this kernel has no Landlock");
    }
    has
}

fn native(bed: &Bed, confinement: Confinement) -> Rig {
    let (sender, exits) = mpsc::channel(64);
    let native = Native::new(bed.node, bed.folder.path(), shim(), sender).unwrap();
    let runtime = Runtime::Native(native.confined(confinement).unwrap());
    Rig { runtime, exits }
}

#[tokio::test]
async fn a_native_program_writes_in_its_own_folder_in_tmp_and_where_its_owner_says() {
    if !has_landlock() {
        return;
    }
    let bed = Bed::native();
    // Not below /tmp, where everybody writes.
    let elsewhere = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (given, kept) = (
        elsewhere.path().join("given"),
        elsewhere.path().join("kept"),
    );
    for folder in [&given, &kept] {
        fs::create_dir(folder).unwrap();
        fs::write(folder.join("old"), "old").unwrap();
    }
    let mut rig = native(
        &bed,
        Confinement {
            write: vec![given.clone(), "/no/such/place".into()],
            ..Confinement::default()
        },
    );
    let script = format!(
        "try() {{ if eval \"$2\"; then echo can $1; else echo cannot $1; fi 2>/dev/null; }}
        try own 'true > mine && rm mine'
        try tmp 'f=$(mktemp) && rm $f'
        try null 'echo x > /dev/null'
        try given 'true > {given}/new && rm {given}/old'
        try make 'true > {kept}/new'
        try change 'echo x > {kept}/old'
        try remove 'rm {kept}/old'
        try link 'ln -s /etc {kept}/link'
        try read 'cat {kept}/old > /dev/null'
        grep NoNewPrivs /proc/self/status",
        given = given.display(),
        kept = kept.display(),
    );
    let lines = rig.said(&bed.identity(), &bed.script(&script)).await;
    for line in [
        "can own",
        "can tmp",
        "can null",
        "can given",
        "cannot make",
        "cannot change",
        "cannot remove",
        "cannot link",
        "can read",
        "NoNewPrivs:\t1",
    ] {
        assert!(has(&lines, line), "{line}: {lines:?}");
    }
    assert_eq!(fs::read_to_string(kept.join("old")).unwrap(), "old");
}

/// What checks an application is as much its document's word as the application is.
#[tokio::test]
async fn a_check_of_a_native_program_has_the_same_bounds() {
    if !has_landlock() {
        return;
    }
    let bed = Bed::native();
    let kept = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (rig, identity) = (native(&bed, Confinement::default()), bed.identity());
    rig.runtime
        .start(&identity, &bed.script("sleep 1000"), Given::default())
        .await
        .unwrap();
    let probe = |script: String| node_engine::runtime::Asked {
        probe: model::workload::Probe::Command(vec!["/bin/sh".to_owned(), "-c".to_owned(), script]),
        timeout: Duration::from_secs(30),
        endpoints: Vec::new(),
    };
    let own = probe(": > checked && grep -q 'NoNewPrivs:.*1' /proc/self/status".to_owned());
    let instance = identity.instance;
    assert_eq!(rig.runtime.probe(instance, &own).await, Ok(()));
    let other = probe(format!(": > {}/checked", kept.path().display()));
    assert!(rig.runtime.probe(instance, &other).await.is_err());
    assert!(fs::read_dir(kept.path()).unwrap().next().is_none());
}

#[tokio::test]
async fn a_native_program_has_limits_and_none_of_the_engine_s_variables() {
    let bed = Bed::native();
    let mut rig = native(
        &bed,
        Confinement {
            max_files: 321,
            ..Confinement::default()
        },
    );
    let script = "ulimit -n; ulimit -c; env | cut -d= -f1 | sort | tr '\\n' ' '; tr '\\0' '\\n' < /proc/$PPID/environ | cut -d= -f1 | sort | tr '\\n' ' '";
    let lines = rig.said(&bed.identity(), &bed.script(script)).await;
    assert_eq!(lines[..2], ["321", "0"], "{lines:?}");
    for name in ["CARGO_MANIFEST_DIR", "HOME", "EDGEIO_TOKEN"] {
        assert!(!lines.iter().any(|line| line.contains(name)), "{lines:?}");
    }
    assert!(
        lines.iter().any(|line| line.contains("EDGEIO_INSTANCE")),
        "{lines:?}"
    );
}

/// Only root can start a program as somebody else.
#[tokio::test]
async fn native_programs_of_a_user_of_their_own_reach_their_folder_and_no_other() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: this is not run as root");
        return;
    }
    let bed = Bed::native();
    let account = Account {
        uid: 54_321,
        gid: 54_322,
    };
    fs::write(bed.folder.path().join("node.store"), "secrets").unwrap();
    let rig = native(
        &bed,
        Confinement {
            account: Some(account),
            ..Confinement::default()
        },
    );
    let identity = bed.identity();
    let mut workload = bed.script(
        "id -u; id -G; cat conf/a; : > mine && echo writes; cd $PWD && echo arrives; cat ../spec.json; cat ../../../node.store; ls ../..; grep Cap[EP] /proc/self/status; sleep 1000",
    );
    workload.files = [("conf/a".to_owned(), "own file\n".to_owned())].into();
    rig.runtime
        .start(&identity, &workload, Given::default())
        .await
        .unwrap();
    let lines = rig
        .logs(identity.instance, |lines| {
            lines.iter().any(|line| line.starts_with("CapEff"))
        })
        .await;
    for line in [
        "54321",
        "54322",
        "own file",
        "writes",
        "arrives",
        "CapPrm:\t0000000000000000",
        "CapEff:\t0000000000000000",
    ] {
        assert!(has(&lines, line), "{line}: {lines:?}");
    }
    let denied = lines
        .iter()
        .filter(|line| line.contains("ermission denied"))
        .count();
    assert_eq!(denied, 3, "{lines:?}");
    rig.runtime
        .stop(identity.instance, Duration::from_secs(30))
        .await
        .unwrap();
    assert_eq!(bed.remains(identity.instance), 0);
}

/// An engine that is newer than what it finds: a folder without bounds is one of a program that has none.
#[tokio::test]
async fn what_an_older_engine_started_is_found_and_checked_as_it_was() {
    let bed = Bed::native();
    let (rig, identity) = (bed.rig(), bed.identity());
    rig.runtime
        .start(&identity, &bed.script("sleep 1000"), Given::default())
        .await
        .unwrap();
    let folder: Folder = bed.instance_folder(identity.instance);
    let path = folder.path().join("spec.json");
    let mut spec: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert!(
        spec.as_object_mut()
            .unwrap()
            .remove("confinement")
            .is_some()
    );
    fs::write(&path, spec.to_string()).unwrap();
    let next = bed.rig();
    assert_eq!(next.only().await.instance, identity.instance);
    let asked = node_engine::runtime::Asked {
        probe: model::workload::Probe::Command(vec!["/bin/true".to_owned()]),
        timeout: Duration::from_secs(30),
        endpoints: Vec::new(),
    };
    assert_eq!(next.runtime.probe(identity.instance, &asked).await, Ok(()));
    until("it still runs", || {
        matches!(folder.state(), Some(State::Running(_)))
    })
    .await;
}
