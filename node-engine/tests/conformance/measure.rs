//! Figures: what a start costs. Run with `--run-ignored only`.

use std::fs;
use std::time::{Duration, Instant};

use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::{
    CreateContainerOptions, RemoveContainerOptionsBuilder, StartContainerOptions,
};

use crate::bed::{Bed, IMAGE};
use node_engine::runtime::Given;

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

#[tokio::test]
#[ignore = "a measurement"]
async fn native_start_and_the_memory_of_its_shim() {
    let bed = Bed::native();
    let rig = bed.rig();
    let (mut starts, mut stops) = (Vec::new(), Vec::new());
    let mut pss = String::new();
    for _ in 0..50 {
        let identity = bed.identity();
        let begin = Instant::now();
        rig.runtime
            .start(&identity, &bed.script("exec sleep 1000"), Given::default())
            .await
            .unwrap();
        starts.push(begin.elapsed());
        let shim = bed.running(identity.instance).shim_pid;
        let rollup = fs::read_to_string(format!("/proc/{shim}/smaps_rollup")).unwrap();
        pss = rollup
            .lines()
            .filter(|line| line.starts_with("Pss:") || line.starts_with("Private_Dirty"))
            .collect();
        let begin = Instant::now();
        rig.runtime
            .stop(identity.instance, Duration::from_secs(5))
            .await
            .unwrap();
        stops.push(begin.elapsed());
    }
    eprintln!(
        "native: start p50 {:?}, stop p50 {:?}; shim {pss}",
        median(&mut starts),
        median(&mut stops)
    );
}

#[tokio::test]
#[ignore = "a measurement"]
async fn docker_start_against_bare_create_and_start() {
    let Some(bed) = Bed::docker() else { return };
    let rig = bed.rig();
    rig.runtime.list().await.unwrap();
    let bare = bollard::Docker::connect_with_local_defaults()
        .unwrap()
        .negotiate_version()
        .await
        .unwrap();
    let (mut ours, mut floor) = (Vec::new(), Vec::new());
    for _ in 0..20 {
        let body = ContainerCreateBody {
            image: Some(IMAGE.to_owned()),
            cmd: Some(["-c", "exec sleep 1000"].map(str::to_owned).to_vec()),
            host_config: Some(HostConfig::default()),
            ..ContainerCreateBody::default()
        };
        let begin = Instant::now();
        let id = bare
            .create_container(None::<CreateContainerOptions>, body)
            .await
            .unwrap()
            .id;
        bare.start_container(&id, None::<StartContainerOptions>)
            .await
            .unwrap();
        floor.push(begin.elapsed());
        let options = RemoveContainerOptionsBuilder::new().force(true).build();
        bare.remove_container(&id, Some(options)).await.unwrap();

        let identity = bed.identity();
        let begin = Instant::now();
        rig.runtime
            .start(&identity, &bed.script("exec sleep 1000"), Given::default())
            .await
            .unwrap();
        ours.push(begin.elapsed());
        rig.runtime
            .stop(identity.instance, Duration::ZERO)
            .await
            .unwrap();
    }
    let (ours, floor) = (median(&mut ours), median(&mut floor));
    eprintln!(
        "docker: start p50 {ours:?}, bare {floor:?}, ratio {:.3}",
        ours.as_secs_f64() / floor.as_secs_f64()
    );
}
