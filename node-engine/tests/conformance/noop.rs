//! The runtime that runs nothing keeps the promises that concern it.

use std::time::Duration;

use model::instance::Exit;
use model::workload::Probe;
use node_engine::runtime::Given;
use node_engine::runtime::{Asked, Runtime, Status};

use crate::bed::Bed;

#[tokio::test]
async fn everything_succeeds_at_once_and_is_listed() {
    let bed = Bed::noop();
    let mut rig = bed.rig();
    let (identity, workload) = (bed.identity(), bed.workload());
    let started = rig
        .runtime
        .start(&identity, &workload, Given::default())
        .await
        .unwrap();
    assert_eq!(
        rig.runtime
            .start(&identity, &workload, Given::default())
            .await
            .unwrap(),
        started
    );
    assert_eq!(rig.only().await.status, Status::Running(started));
    let probe = Asked::new(Probe::Tcp { port: 1 }, Duration::from_secs(1), Vec::new());
    assert_eq!(rig.runtime.probe(identity.instance, &probe).await, Ok(()));
    let Runtime::Noop(noop) = &rig.runtime else {
        panic!("another runtime")
    };
    let exit = Exit {
        code: Some(1),
        ..Exit::default()
    };
    noop.end(identity.instance, exit.clone()).await;
    noop.end(identity.instance, exit.clone()).await;
    assert_eq!(rig.exited().await.exit, exit);
    assert!(rig.exits.try_recv().is_err(), "told twice");
    assert_eq!(rig.only().await.status, Status::Exited(exit));
    rig.runtime
        .stop(identity.instance, Duration::ZERO)
        .await
        .unwrap();
    rig.runtime
        .stop(identity.instance, Duration::ZERO)
        .await
        .unwrap();
    assert_eq!(rig.runtime.list().await.unwrap(), []);
    let gone = rig.runtime.probe(identity.instance, &probe).await;
    assert!(gone.is_err());
}
