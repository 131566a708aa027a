//! What only native instances have: shims, folders, control groups.

use std::ffi::OsString;
use std::fs;
use std::time::Duration;

use model::id::{InstanceId, NodeId};
use model::reason::ReasonCode;
use model::units::{Bytes, Millicores};
use model::workload::{Volume, VolumeSource};
use node_engine::runtime::Given;
use node_engine::runtime::Status;
use node_engine::runtime::native::ShimCommand;
use node_engine::shim::process;
use node_engine::shim::record::{Running, State};
use rustix::process::Signal;

use crate::bed::{Bed, until};

const FOREVER: &str = "while :; do sleep 0.2; done";

#[tokio::test]
async fn when_the_shim_is_killed_the_application_goes_too_and_its_end_is_told() {
    let bed = Bed::native();
    let (mut rig, identity) = (bed.rig(), bed.identity());
    rig.runtime
        .start(
            &identity,
            &bed.script(&format!("setsid sleep 1000 & {FOREVER}")),
            Given::default(),
        )
        .await
        .unwrap();
    let running = bed.running(identity.instance);
    process::signal(running.shim_pid, Signal::KILL).unwrap();
    let exit = rig.exited().await.exit;
    assert_eq!((exit.code, exit.signal), (None, Some(9)));
    assert!(!process::is(running.pid, running.pid_start));
    assert!(process::with_variable(&format!("EDGEIO_INSTANCE={}", identity.instance)).is_empty());
    // The next start is a copy of its own.
    rig.runtime
        .start(&identity, &bed.script(FOREVER), Given::default())
        .await
        .unwrap();
    assert_ne!(bed.running(identity.instance).pid, running.pid);
}

#[tokio::test]
async fn a_shim_that_was_killed_while_no_engine_looked_is_settled_by_the_next() {
    let bed = Bed::native();
    let (rig, identity) = (bed.rig(), bed.identity());
    rig.runtime
        .start(&identity, &bed.script(FOREVER), Given::default())
        .await
        .unwrap();
    let running = bed.running(identity.instance);
    drop(rig);
    process::signal(running.shim_pid, Signal::KILL).unwrap();
    // Its threads end one by one; the lock goes with the last.
    let folder = bed.instance_folder(identity.instance);
    until("the shim is gone", || !folder.has_shim()).await;
    assert!(
        process::is(running.pid, running.pid_start),
        "an application outlives its shim"
    );
    let rig = bed.rig();
    let Status::Exited(exit) = rig.only().await.status else {
        panic!("it ended with its shim")
    };
    assert_eq!(exit.signal, Some(9));
    assert!(!process::is(running.pid, running.pid_start));
}

#[tokio::test]
async fn nothing_is_left_of_a_shim_that_does_not_say_what_became_of_its_application() {
    // The folder, which is named like the instance, is the shell's $0.
    let application = "EDGEIO_INSTANCE=${0##*/} sleep 100";
    for (script, why) in [
        ("& exit 1", "it ended without a word"),
        ("& exec sleep 100", "it did not answer within 10 s"),
    ] {
        let bed = Bed::native();
        let script = format!("{application} >/dev/null {script}");
        let args = ["-c", &script].map(OsString::from).to_vec();
        let rig = bed.rig_with(ShimCommand {
            program: "/bin/sh".into(),
            args,
        });
        let identity = bed.identity();
        let error = rig
            .runtime
            .start(&identity, &bed.script(FOREVER), Given::default())
            .await;
        let reason = error.unwrap_err().reason();
        assert!(reason.message.contains(why), "{}", reason.message);
        assert_eq!(bed.remains(identity.instance), 0, "{why}");
    }
}

#[tokio::test]
async fn the_shim_shares_neither_group_nor_session_nor_pipes_with_the_engine() {
    let bed = Bed::native();
    let (rig, identity) = (bed.rig(), bed.identity());
    rig.runtime
        .start(&identity, &bed.script(FOREVER), Given::default())
        .await
        .unwrap();
    let running = bed.running(identity.instance);
    let ids = |pid: i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let fields: Vec<i32> = stat
            .rsplit_once(')')
            .unwrap()
            .1
            .split_whitespace()
            .skip(2)
            .take(2)
            .map(|id| id.parse().unwrap())
            .collect();
        (fields[0], fields[1])
    };
    assert_eq!(ids(running.shim_pid), (running.shim_pid, running.shim_pid));
    assert_eq!(ids(running.pid), (running.pid, running.shim_pid));
    for descriptor in 0..3 {
        let target = fs::read_link(format!("/proc/{}/fd/{descriptor}", running.shim_pid)).unwrap();
        assert_eq!(target.to_str().unwrap(), "/dev/null");
    }
}

#[tokio::test]
async fn nothing_that_ended_stays_as_a_zombie() {
    let bed = Bed::native();
    let (mut rig, identity) = (bed.rig(), bed.identity());
    let own = i32::try_from(std::process::id()).unwrap();
    // Other tests of this process have children of their own.
    let is_left = |shim: i32| process::children(own).contains(&shim);
    rig.runtime
        .start(
            &identity,
            &bed.script("sleep 0.3; exit 0"),
            Given::default(),
        )
        .await
        .unwrap();
    let ended = bed.running(identity.instance);
    assert!(is_left(ended.shim_pid));
    rig.exited().await;
    assert!(!is_left(ended.shim_pid));
    rig.runtime
        .start(&identity, &bed.script(FOREVER), Given::default())
        .await
        .unwrap();
    let stopped = bed.running(identity.instance);
    rig.runtime
        .stop(identity.instance, Duration::ZERO)
        .await
        .unwrap();
    assert!(!is_left(stopped.shim_pid));
}

#[tokio::test]
async fn after_a_reboot_a_folder_without_an_end_has_ended_and_no_process_is_touched() {
    let bed = Bed::native();
    let (rig, identity) = (bed.rig(), bed.identity());
    rig.runtime
        .start(&identity, &bed.script("exit 0"), Given::default())
        .await
        .unwrap();
    let folder = bed.instance_folder(identity.instance);
    until("the end is recorded", || folder.exit().is_some()).await;
    drop(rig);
    // The pid is reused: by the only process that the test cannot do without.
    let own = i32::try_from(std::process::id()).unwrap();
    let running = Running {
        pid: own,
        pid_start: process::start_time(own).unwrap(),
        boot_id: "another".to_owned(),
        ..bed.running(identity.instance)
    };
    folder.set_state(&State::Running(running)).unwrap();
    fs::remove_file(folder.path().join("exit.json")).unwrap();
    until("the shim is gone", || !folder.has_shim()).await;
    let Status::Exited(exit) = bed.rig().only().await.status else {
        panic!("a reboot ends everything")
    };
    assert_eq!((exit.code, exit.signal), (None, None));
}

#[tokio::test]
async fn limits_are_set_and_their_groups_are_removed() {
    let bed = Bed::native();
    let (rig, identity) = (bed.rig(), bed.identity());
    let mut workload = bed.script(FOREVER);
    workload.resources.memory = Bytes::from_mb(64);
    workload.resources.cpu = Millicores(500);
    rig.runtime
        .start(&identity, &workload, Given::default())
        .await
        .unwrap();
    let running = bed.running(identity.instance);
    if let Some(why) = running.unlimited {
        eprintln!("skipped: {why}");
        return;
    }
    let read = |names: [&str; 2]| {
        let mut files = running
            .cgroups
            .iter()
            .flat_map(|group| names.map(|name| group.join(name)));
        files
            .find_map(|file| fs::read_to_string(file).ok())
            .unwrap()
            .trim()
            .to_owned()
    };
    assert_eq!(read(["memory.limit_in_bytes", "memory.max"]), "67108864");
    assert!(["50000", "50000 100000"].contains(&read(["cpu.cfs_quota_us", "cpu.max"]).as_str()));
    for group in &running.cgroups {
        let members = fs::read_to_string(group.join("cgroup.procs")).unwrap();
        assert!(
            members.lines().any(|pid| pid == running.pid.to_string()),
            "{members}"
        );
        assert!(
            members
                .lines()
                .all(|pid| pid != running.shim_pid.to_string()),
            "the shim is limited too"
        );
    }
    rig.runtime
        .stop(identity.instance, Duration::ZERO)
        .await
        .unwrap();
    assert!(running.cgroups.iter().all(|group| !group.exists()));
}

#[tokio::test]
async fn a_flood_of_output_is_bounded_on_disk_and_its_end_is_kept() {
    let bed = Bed::native();
    let (mut rig, identity) = (bed.rig(), bed.identity());
    let script = "head -c 300000000 /dev/zero | tr '\\0' 'x'; echo; echo the end; exit 1";
    rig.runtime
        .start(&identity, &bed.script(script), Given::default())
        .await
        .unwrap();
    let exit = rig.exited().await.exit;
    assert_eq!(exit.log_tail.last().unwrap(), "the end");
    assert!(exit.log_tail.iter().map(String::len).sum::<usize>() <= 4096);
    let folder = bed.instance_folder(identity.instance);
    let files = fs::read_dir(folder.output()).unwrap();
    let sizes: Vec<u64> = files
        .map(|file| file.unwrap().metadata().unwrap().len())
        .collect();
    // Two files, each with its times.
    assert_eq!(sizes.len(), 4);
    assert!(sizes.iter().all(|size| *size <= 1 << 20), "{sizes:?}");
}

#[tokio::test]
async fn what_is_no_program_is_refused_with_what_to_do() {
    let bed = Bed::native();
    let (rig, identity) = (bed.rig(), bed.identity());
    let mut relative = bed.workload();
    relative.image = Some("busybox".to_owned());
    let mut folder = bed.workload();
    folder.image = Some("file:///etc".to_owned());
    let mut volume = bed.script(FOREVER);
    volume.volumes = vec![Volume {
        source: VolumeSource::Named("data".to_owned()),
        target: "/data".to_owned(),
        read_only: false,
    }];
    for (workload, says) in [
        (relative, "file:///absolute/path"),
        (folder, "make it executable"),
        (volume, "leave volumes out"),
    ] {
        let reason = rig
            .runtime
            .start(&identity, &workload, Given::default())
            .await
            .unwrap_err()
            .reason();
        assert_eq!(reason.code, ReasonCode::StartFailed);
        assert!(reason.message.contains(says), "{reason:?}");
        assert_eq!(bed.remains(identity.instance), 0);
    }
}

#[tokio::test]
async fn folders_of_another_worker_are_left_alone() {
    let bed = Bed::native();
    let (rig, identity) = (bed.rig(), bed.identity());
    rig.runtime
        .start(&identity, &bed.script(FOREVER), Given::default())
        .await
        .unwrap();
    let folder = bed.instance_folder(identity.instance);
    let mut spec = folder.spec().unwrap();
    spec.node = NodeId::from_bits(1);
    fs::write(
        folder.path().join("spec.json"),
        serde_json::to_vec(&spec).unwrap(),
    )
    .unwrap();
    fs::create_dir(folder.path().with_file_name("lost+found")).unwrap();
    fs::create_dir(
        folder
            .path()
            .with_file_name(InstanceId::from_bits(9).to_string()),
    )
    .unwrap();
    assert_eq!(rig.runtime.list().await.unwrap(), []);
    let running = bed.running(identity.instance);
    assert!(process::is(running.pid, running.pid_start));
}

#[tokio::test]
async fn a_shim_that_cannot_be_run_is_the_workers_fault() {
    let bed = Bed::native();
    let (sender, _exits) = tokio::sync::mpsc::channel(1);
    for program in ["/no/such/shim", "/bin/true"] {
        let shim = node_engine::runtime::native::ShimCommand {
            program: program.into(),
            args: Vec::new(),
        };
        let native = node_engine::runtime::native::Native::new(
            bed.node,
            bed.folder.path(),
            shim,
            sender.clone(),
        )
        .unwrap();
        let runtime = node_engine::runtime::Runtime::Native(native);
        let identity = bed.identity();
        let reason = runtime
            .start(&identity, &bed.script(FOREVER), Given::default())
            .await
            .unwrap_err()
            .reason();
        assert_eq!(reason.code, ReasonCode::WorkerFault, "{reason:?}");
        assert_eq!(bed.remains(identity.instance), 0);
    }
}

#[tokio::test]
async fn files_outside_of_the_working_folder_are_refused_whoever_wrote_the_set() {
    let bed = Bed::native();
    let (rig, identity) = (bed.rig(), bed.identity());
    for path in ["/tmp/edgeio-absolute", "../up", "a/../../up", ""] {
        let mut workload = bed.script("exit 0");
        workload.files = [(path.to_owned(), String::new())].into();
        let reason = rig
            .runtime
            .start(&identity, &workload, Given::default())
            .await
            .unwrap_err()
            .reason();
        assert_eq!(reason.code, ReasonCode::StartFailed, "{reason:?}");
        assert_eq!(bed.remains(identity.instance), 0);
    }
}
