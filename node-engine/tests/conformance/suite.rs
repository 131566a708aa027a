//! What every runtime that runs something promises.

use std::time::{Duration, Instant};

use model::reason::ReasonCode;
use model::security::User;
use model::units::Bytes;
use model::workload::{Port, RuntimeKind, Transport};
use node_engine::runtime::Given;
use node_engine::runtime::Status;

use crate::bed::{Bed, until};
pub(crate) use crate::health::{
    a_command_probe_runs_beside_the_application_and_says_why_it_failed,
    a_command_probe_that_hangs_is_killed_when_its_time_is_over,
    a_port_that_takes_connections_is_well_and_a_closed_one_is_not,
    a_probe_that_is_given_up_leaves_no_process, a_status_from_200_to_399_is_well,
    what_is_not_there_is_not_well, who_takes_a_request_and_does_not_answer_is_given_up,
};
pub(crate) use crate::logs::{
    every_kind_of_end_carries_the_last_lines,
    following_goes_on_over_restarts_and_ends_with_the_last_word,
    one_that_ended_for_good_is_read_to_its_end,
    the_output_of_all_runs_is_one_and_is_kept_after_the_end,
};

const GRACE: Duration = Duration::from_secs(30);
const FOREVER: &str = "while :; do sleep 0.2; done";

pub(crate) async fn a_started_application_runs_and_is_listed_with_what_it_was_made_from(bed: Bed) {
    let (rig, identity, workload) = (bed.rig(), bed.identity(), bed.script(FOREVER));
    let started = rig
        .runtime
        .start(&identity, &workload, Given::default())
        .await
        .unwrap();
    let found = rig.only().await;
    assert_eq!(
        (found.instance, found.spec_hash, found.generation),
        (identity.instance, workload.hash, identity.generation)
    );
    let Status::Running(listed) = found.status else {
        panic!("{found:?}")
    };
    assert!(
        (listed.since.0 - started.since.0).abs() < 5000,
        "{listed:?} {started:?}"
    );
    rig.runtime
        .stop(identity.instance, Duration::ZERO)
        .await
        .unwrap();
    assert_eq!(rig.runtime.list().await.unwrap(), []);
    assert_eq!(bed.remains(identity.instance), 0);
}

pub(crate) async fn starting_twice_makes_one_copy(bed: Bed) {
    let (rig, identity, workload) = (
        bed.rig(),
        bed.identity(),
        bed.script("echo begun; sleep 1000"),
    );
    let both = tokio::join!(
        rig.runtime.start(&identity, &workload, Given::default()),
        rig.runtime.start(&identity, &workload, Given::default())
    );
    both.0.unwrap();
    both.1.unwrap();
    rig.runtime
        .start(&identity, &workload, Given::default())
        .await
        .unwrap();
    rig.only().await;
    let lines = rig.logs(identity.instance, |lines| !lines.is_empty()).await;
    assert_eq!(lines, ["begun"]);
    if bed.kind == RuntimeKind::Docker {
        assert_eq!(bed.remains(identity.instance), 1);
    }
}

pub(crate) async fn an_exit_code_is_recorded_and_told_once(bed: Bed) {
    let (mut rig, identity) = (bed.rig(), bed.identity());
    rig.runtime
        .start(
            &identity,
            &bed.script("echo one; echo two >&2; exit 3"),
            Given::default(),
        )
        .await
        .unwrap();
    let told = rig.exited().await;
    assert_eq!(told.instance, identity.instance);
    assert_eq!(
        (told.exit.code, told.exit.signal, told.exit.oom),
        (Some(3), None, false)
    );
    let mut tail = told.exit.log_tail.clone();
    tail.sort();
    assert_eq!(tail, ["one", "two"]);
    assert!(told.exit.at.0 > 1_700_000_000_000);
    let Status::Exited(listed) = rig.only().await.status else {
        panic!("it ended")
    };
    assert_eq!((listed.code, listed.log_tail.len()), (Some(3), 2));
    rig.runtime.stop(identity.instance, GRACE).await.unwrap();
    assert_eq!(bed.remains(identity.instance), 0);
    assert!(rig.exits.try_recv().is_err(), "told twice");
}

pub(crate) async fn an_application_that_ended_is_made_again_by_the_next_start(bed: Bed) {
    let (mut rig, identity, workload) = (bed.rig(), bed.identity(), bed.script("exit 4"));
    for _ in 0..3 {
        rig.runtime
            .start(&identity, &workload, Given::default())
            .await
            .unwrap();
        assert_eq!(rig.exited().await.exit.code, Some(4));
        rig.only().await;
    }
    assert!(
        rig.exits.try_recv().is_err(),
        "told more often than it ended"
    );
}

pub(crate) async fn an_application_that_was_killed_is_told_with_its_signal(bed: Bed) {
    let (mut rig, identity) = (bed.rig(), bed.identity());
    rig.runtime
        .start(&identity, &bed.script(FOREVER), Given::default())
        .await
        .unwrap();
    bed.kill(identity.instance);
    let exit = rig.exited().await.exit;
    assert_eq!((exit.code, exit.signal, exit.oom), (None, Some(9), false));
}

pub(crate) async fn a_polite_application_is_stopped_within_its_grace_and_nobody_is_told(bed: Bed) {
    let (mut rig, identity) = (bed.rig(), bed.identity());
    let script = format!("trap 'exit 0' TERM; echo ready; {FOREVER}");
    rig.runtime
        .start(&identity, &bed.script(&script), Given::default())
        .await
        .unwrap();
    rig.logs(identity.instance, |lines| !lines.is_empty()).await;
    let begin = Instant::now();
    rig.runtime.stop(identity.instance, GRACE).await.unwrap();
    assert!(begin.elapsed() < GRACE / 2, "{:?}", begin.elapsed());
    assert_eq!(bed.remains(identity.instance), 0);
    assert!(rig.exits.try_recv().is_err(), "a stop is told");
}

pub(crate) async fn a_deaf_application_is_killed_after_its_grace_with_all_its_children(bed: Bed) {
    let (rig, identity) = (bed.rig(), bed.identity());
    // One child in its group, and one that left it for a session of its own.
    let script = format!("trap '' TERM; sleep 1000 & setsid sleep 1000 & echo ready; {FOREVER}");
    rig.runtime
        .start(&identity, &bed.script(&script), Given::default())
        .await
        .unwrap();
    rig.logs(identity.instance, |lines| !lines.is_empty()).await;
    let begin = Instant::now();
    rig.runtime
        .stop(identity.instance, Duration::from_secs(1))
        .await
        .unwrap();
    assert!(
        begin.elapsed() >= Duration::from_secs(1),
        "{:?}",
        begin.elapsed()
    );
    assert!(
        begin.elapsed() < Duration::from_secs(15),
        "{:?}",
        begin.elapsed()
    );
    assert_eq!(bed.remains(identity.instance), 0);
}

pub(crate) async fn an_application_outlives_its_engine_and_the_next_engine_hears_its_end(bed: Bed) {
    let (rig, identity, workload) = (bed.rig(), bed.identity(), bed.script(FOREVER));
    rig.runtime
        .start(&identity, &workload, Given::default())
        .await
        .unwrap();
    let Status::Running(before) = rig.only().await.status else {
        panic!("it runs")
    };
    drop(rig);
    let mut rig = bed.rig();
    let Status::Running(after) = rig.only().await.status else {
        panic!("it runs still")
    };
    assert_eq!(after, before);
    rig.runtime
        .start(&identity, &workload, Given::default())
        .await
        .unwrap();
    let Status::Running(again) = rig.only().await.status else {
        panic!("it runs still")
    };
    assert_eq!(again, before);
    bed.kill(identity.instance);
    assert_eq!(rig.exited().await.exit.signal, Some(9));
    rig.runtime.stop(identity.instance, GRACE).await.unwrap();
    assert!(rig.exits.try_recv().is_err(), "told twice");
}

pub(crate) async fn an_end_that_nobody_watched_is_listed(bed: Bed) {
    let (rig, identity) = (bed.rig(), bed.identity());
    rig.runtime
        .start(
            &identity,
            &bed.script("sleep 0.3; echo over; exit 5"),
            Given::default(),
        )
        .await
        .unwrap();
    drop(rig);
    match bed.kind {
        RuntimeKind::Native => {
            until("the end is recorded", || {
                bed.instance_folder(identity.instance).exit().is_some()
            })
            .await;
        }
        RuntimeKind::Docker | RuntimeKind::Noop => {
            let label = format!("label=edgeio.instance={}", identity.instance);
            let exited = ["ps", "-aq", "--filter", "status=exited", "--filter", &label];
            until("the container has ended", || {
                !crate::bed::docker(&exited).is_empty()
            })
            .await;
        }
    }
    let mut rig = bed.rig();
    let Status::Exited(exit) = rig.only().await.status else {
        panic!("it ended")
    };
    assert_eq!(
        (exit.code, exit.log_tail),
        (Some(5), vec!["over".to_owned()])
    );
    rig.runtime.stop(identity.instance, GRACE).await.unwrap();
    assert!(
        rig.exits.try_recv().is_err(),
        "what the list shows is told as well"
    );
}

pub(crate) async fn arguments_and_environment_arrive(bed: Bed) {
    let (mut rig, identity) = (bed.rig(), bed.identity());
    let mut workload = bed.workload();
    workload.args = [
        "-c",
        "echo \"$GREETING, $1 $0\"; echo \"job $EDGEIO_JOB_NAME\"",
        "zero",
        "a b",
    ]
    .map(str::to_owned)
    .to_vec();
    workload
        .environment
        .insert("GREETING".to_owned(), "good = morning".to_owned());
    rig.runtime
        .start(&identity, &workload, Given::default())
        .await
        .unwrap();
    let job = if bed.kind == RuntimeKind::Native {
        "job tests"
    } else {
        "job "
    };
    assert_eq!(
        rig.exited().await.exit.log_tail,
        ["good = morning, a b zero", job]
    );
}

pub(crate) async fn an_application_over_its_memory_limit_is_told_as_out_of_memory(bed: Bed) {
    let (mut rig, identity) = (bed.rig(), bed.identity());
    // Container engines begin to listen for it only after the start, and do not hear of what happens before.
    let mut workload = bed.script("sleep 1; exec dd if=/dev/zero of=/dev/null bs=200M count=1");
    workload.resources.memory = Bytes::from_mb(32);
    rig.runtime
        .start(&identity, &workload, Given::default())
        .await
        .unwrap();
    let exit = rig.exited().await.exit;
    assert_eq!(
        (exit.code, exit.signal, exit.oom),
        (None, Some(9), true),
        "{exit:?}"
    );
    rig.runtime.stop(identity.instance, GRACE).await.unwrap();
}

pub(crate) async fn an_absent_program_is_a_start_failure_that_leaves_nothing(bed: Bed) {
    let (rig, identity) = (bed.rig(), bed.identity());
    let mut workload = bed.workload();
    workload.command = vec!["/no/such/program".to_owned()];
    let reason = rig
        .runtime
        .start(&identity, &workload, Given::default())
        .await
        .unwrap_err()
        .reason();
    assert_eq!(reason.code, ReasonCode::StartFailed, "{reason:?}");
    assert!(reason.message.contains("/no/such/program"), "{reason:?}");
    assert_eq!(rig.runtime.list().await.unwrap(), []);
    assert_eq!(bed.remains(identity.instance), 0);
}

pub(crate) async fn published_ports_are_endpoints(bed: Bed) {
    let (rig, identity) = (bed.rig(), bed.identity());
    let mut workload = bed.script(FOREVER);
    let port = |container, transport| Port {
        host: None,
        container,
        transport,
    };
    workload.ports = vec![port(28_080, Transport::Tcp), port(28_053, Transport::Udp)];
    let started = rig
        .runtime
        .start(&identity, &workload, Given::default())
        .await
        .unwrap();
    let shown: Vec<_> = started
        .endpoints
        .iter()
        .map(|one| (one.container_port, one.transport))
        .collect();
    assert_eq!(shown.len(), 2, "{shown:?}");
    assert!(
        shown.contains(&(28_080, Transport::Tcp)) && shown.contains(&(28_053, Transport::Udp)),
        "{shown:?}"
    );
    assert!(
        started.endpoints.iter().all(|one| one.host_port != 0),
        "{started:?}"
    );
    let Status::Running(listed) = rig.only().await.status else {
        panic!("it runs")
    };
    assert_eq!(listed.endpoints, started.endpoints);
    rig.runtime
        .stop(identity.instance, Duration::ZERO)
        .await
        .unwrap();
}

pub(crate) async fn stopping_what_is_not_there_is_fine(bed: Bed) {
    let rig = bed.rig();
    rig.runtime
        .stop(bed.identity().instance, GRACE)
        .await
        .unwrap();
    assert_eq!(rig.runtime.list().await.unwrap(), []);
}

pub(crate) async fn files_are_there_at_every_start_as_the_document_has_them(bed: Bed) {
    let (mut rig, identity) = (bed.rig(), bed.identity());
    let root = if bed.kind == RuntimeKind::Docker {
        "/"
    } else {
        ""
    };
    let deep = format!("{root}etc/{}/deep.conf", ["long-folder"; 12].join("/"));
    // What it changes of them is gone with the run: the next start begins with the document again.
    let mut workload = bed.script(&format!(
        "cat {root}etc/app.conf {root}new/empty {deep}; echo changed > {root}etc/app.conf"
    ));
    workload.files = [
        (format!("{root}etc/app.conf"), "name = \"größe\"\n"),
        (format!("{root}new/empty"), ""),
        (deep, "deep\n"),
    ]
    .map(|(path, content)| (path, content.to_owned()))
    .into();
    // They are root's; who is not finds them as they are, too, and cannot change them.
    workload.security.user = Some(User::Root);
    for _ in 0..2 {
        rig.runtime
            .start(&identity, &workload, Given::default())
            .await
            .unwrap();
        let exit = rig.exited().await.exit;
        assert_eq!(exit.code, Some(0), "{exit:?}");
        assert_eq!(exit.log_tail, ["name = \"größe\"", "deep"]);
    }
    rig.runtime
        .stop(identity.instance, Duration::ZERO)
        .await
        .unwrap();
    assert_eq!(bed.remains(identity.instance), 0);
}
