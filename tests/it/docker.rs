//! The document of the seed, to the letter, as a container.

use std::time::{Duration, Instant};

use edgeio_tests::harness::{
    Engine, Image, Settings, System, alone, listening, required, wait_until,
};

const LISTING: &str = include_str!("../../sla-examples/seed-listing.yaml");
const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn the_listing_of_the_seed_becomes_a_container_with_its_limits_and_labels() {
    if !required("docker") {
        return;
    }
    let _turn = alone();
    let engine = Engine::connect();
    let _image = Image::make(&engine, "quay.io/codait/max-object-detector", "latest");
    let mut system = System::start(Settings::QUICK);
    system.add_cluster(
        "cluster-1",
        &["--location", "city=Garching,country=Germany"],
    );
    system.add_worker("e580", 0, &["--capacity", "cpu=4,memory=4000"]);
    let node = system.workers[0].node_id.clone();
    let begun = Instant::now();
    let accepted = system.root().submit(LISTING);
    let job = system.wait_state("image_detection", "RUNNING", LIMIT);
    eprintln!("the listing runs {:?} after it was sent", begun.elapsed());
    let instance = &job["instances"][0];
    assert_eq!(instance["worker_node"], "e580");

    let containers = engine.containers_of(&node);
    assert_eq!(containers.len(), 1, "{containers:?}");
    assert_eq!(containers[0].state, "running");
    let said = engine.inspect(&containers[0].id);
    let host = &said["HostConfig"];
    assert_eq!(host["NanoCpus"], 2_000_000_000_u64, "{host}");
    assert_eq!(host["Memory"], 1000_u64 << 20, "{host}");
    assert_eq!(host["MemorySwap"], 1000_u64 << 20, "{host}");
    let policy = host["RestartPolicy"]["Name"].as_str();
    assert!(matches!(policy, Some("" | "no")), "{host}");
    assert!(
        host["LogConfig"]["Config"]["max-size"].is_string(),
        "{host}"
    );
    let labels = &said["Config"]["Labels"];
    for (label, value) in [
        ("edgeio.tenant", "default"),
        ("edgeio.job", accepted["job_id"].as_str().unwrap()),
        ("edgeio.job_name", "image_detection"),
        ("edgeio.instance", instance["instance_id"].as_str().unwrap()),
        ("edgeio.worker", &node),
    ] {
        assert_eq!(labels[label], value, "{labels}");
    }
    assert!(
        labels["edgeio.service"].is_string() && labels["edgeio.generation"].is_string(),
        "{labels}"
    );
    let name = said["Name"].as_str().unwrap();
    assert!(name.starts_with("/edgeio-image_detection-"), "{name}");
    assert_eq!(listening(system.workers[0].program.pid()), [""; 0]);

    let answer = system
        .root()
        .delete("/api/v1/jobs/image_detection")
        .unwrap();
    assert_eq!(answer.status, 202, "{}", answer.body);
    wait_until("the container is gone", LIMIT, || {
        let left = engine.containers_of(&node);
        left.is_empty()
            .then_some(())
            .ok_or_else(|| format!("{left:?}"))
    });
}
