//! Monitoring: what is told, what is said of it, and a real Prometheus that reads it by the files that we ship.

mod expressions;
mod prometheus;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use edgeio_tests::harness::{Client, Settings, System, alone, required, together, wait_until};
use serde_json::Value;

use crate::documents::sleeper;
use prometheus::Prometheus;

const LIMIT: Duration = Duration::from_mins(1);
/// What documents and options call a megabyte.
const MB: f64 = 1_048_576.0;
/// Selectors that find something only where something is broken that this test leaves whole.
const ONLY_IF_BROKEN: [&str; 1] = ["edgeio_http_request_seconds_count{status=~\"5..\"}"];

/// A kind, and the names of the labels.
type Shape = (String, BTreeSet<String>);

/// The metrics of a text of Prometheus, by name.
fn told(text: &str) -> BTreeMap<String, Shape> {
    let mut told = BTreeMap::new();
    for line in text.lines() {
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            told.insert(name.to_owned(), (kind.to_owned(), BTreeSet::new()));
        }
        let Some((sample, labels)) = line.split_once('{').filter(|_| !line.starts_with('#')) else {
            continue;
        };
        let ends = ["_bucket", "_sum", "_count"];
        let base = ends.iter().find_map(|end| sample.strip_suffix(end));
        let name = [Some(sample), base]
            .into_iter()
            .flatten()
            .find(|name| told.contains_key(*name));
        let (_, names) = told.get_mut(name.unwrap()).unwrap();
        let (labels, _) = labels.rsplit_once('}').unwrap();
        let pairs = labels.split("\",").filter_map(|pair| pair.split_once('='));
        names.extend(
            pairs
                .map(|(name, _)| name.to_owned())
                .filter(|name| name != "le"),
        );
    }
    told
}

/// What operators read.
fn page() -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations/monitoring.md");
    fs::read_to_string(page).unwrap()
}

/// The table of `docs/operations/monitoring.md`, of what is told at one tier.
fn documented(tier: &str) -> BTreeMap<String, Shape> {
    let page = page();
    let rows = page.lines().filter(|line| line.starts_with("| `edgeio_"));
    let mut found = BTreeMap::new();
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [metric, at, kind, what, series] = <[&str; 5]>::try_from(cells).unwrap();
        assert!(!what.is_empty() && !series.is_empty(), "{row}");
        assert!(["both", "root", "cluster"].contains(&at), "{row}");
        let metric = metric.trim_matches('`').trim_end_matches('}');
        let (name, labels) = metric.split_once('{').unwrap_or((metric, ""));
        let labels = labels.split(',').filter(|label| !label.is_empty());
        let shape = (kind.to_owned(), labels.map(str::to_owned).collect());
        if [tier, "both"].contains(&at) {
            found.insert(name.to_owned(), shape);
        }
    }
    found
}

fn metrics(client: &Client) -> String {
    let (status, text) = client.text("/metrics").unwrap();
    assert_eq!(status, 200, "{text}");
    text
}

#[test]
fn the_page_on_monitoring_has_each_metric_that_is_told_and_no_other() {
    let _turn = together();
    let mut system = System::of_one(Settings::QUICK, "cpu=2,memory=500");
    system.root().submit(&sleeper("one", ""));
    system.wait_state("one", "RUNNING", LIMIT);
    // What a worker measures comes with its first report.
    let cluster = system.cluster(0);
    wait_until("it is measured", LIMIT, || {
        let text = metrics(&cluster);
        let measured = text.contains("edgeio_node_memory_unused_bytes{node=\"worker-1\"}");
        measured.then_some(()).ok_or(text)
    });
    assert_eq!(told(&metrics(&system.root())), documented("root"));
    let text = metrics(&cluster);
    assert_eq!(told(&text), documented("cluster"));
    for line in [
        "edgeio_node_cpu_cores_capacity{node=\"worker-1\"} 2",
        "edgeio_node_memory_capacity_bytes{node=\"worker-1\"} 524288000",
        "edgeio_node_instances{node=\"worker-1\"} 1",
        "edgeio_nodes{state=\"ALIVE\"} 1",
        "edgeio_placements_total 1",
        "edgeio_storing 1",
        "edgeio_superseded 0",
        "edgeio_root_connected 1",
    ] {
        assert!(text.lines().any(|it| it == line), "{line}\n{text}");
    }

    // What a lost worker measured is no measure any more; what it could have is still told.
    system.workers[0].program.kill();
    wait_until("it counts as lost", LIMIT, || {
        let text = metrics(&cluster);
        text.contains("edgeio_nodes{state=\"LOST\"} 1")
            .then_some(())
            .ok_or(text)
    });
    let text = metrics(&cluster);
    assert!(
        text.contains("edgeio_node_up{node=\"worker-1\"} 0"),
        "{text}"
    );
    assert!(
        text.contains("edgeio_node_memory_capacity_bytes{"),
        "{text}"
    );
    assert!(!text.contains("edgeio_node_memory_unused_bytes{"), "{text}");
}

/// A cluster that may be read by Prometheus, and a worker in it.
fn add_cluster(system: &mut System, name: &str, token: &str) {
    let cluster = system.add_cluster(name, &["--scrape-token-file", token]);
    add_worker(system, &format!("of-{name}"), cluster);
}

fn add_worker(system: &mut System, name: &str, cluster: usize) {
    let options = ["--runtimes", "native", "--capacity", "cpu=4,memory=4000"];
    system.add_worker(name, cluster, &options);
}

/// Waits until an expression yields that number.
#[track_caller]
fn becomes(prometheus: &Prometheus, expression: &str, wanted: f64) {
    wait_until(&format!("{expression} is {wanted}"), LIMIT, || {
        let number = prometheus.number(expression)?;
        let is = (number - wanted).abs() < 1e-6;
        is.then_some(()).ok_or_else(|| number.to_string())
    });
}

/// Waits until an expression yields something that has these labels.
#[track_caller]
fn yields(prometheus: &Prometheus, expression: &str, labels: &[(&str, &str)]) {
    wait_until(&format!("{expression} yields {labels:?}"), LIMIT, || {
        let rows = prometheus.query(expression)?;
        let has = |row: &&Value| {
            let mut labels = labels.iter();
            labels.all(|(name, value)| row["metric"][*name] == **value)
        };
        let found = rows.iter().any(|row| has(&row));
        found.then_some(()).ok_or_else(|| format!("{rows:?}"))
    });
}

/// What each rule asks, by its name, after a look at whether it is as it should be.
fn rules(prometheus: &Prometheus) -> (BTreeMap<String, String>, Vec<String>) {
    let (mut alerts, mut records) = (BTreeMap::new(), Vec::new());
    for rule in prometheus.rules() {
        let text = |field: &str| rule[field].as_str().unwrap_or_default().to_owned();
        assert_eq!(text("lastError"), "", "{rule}");
        if text("type") == "recording" {
            records.push(text("query"));
            continue;
        }
        for (kind, field) in [
            ("annotations", "summary"),
            ("annotations", "runbook"),
            ("labels", "severity"),
        ] {
            assert!(
                !rule[kind][field].as_str().unwrap_or_default().is_empty(),
                "{field}: {rule}"
            );
        }
        assert_eq!(alerts.insert(text("name"), text("query")), None, "{rule}");
    }
    (alerts, records)
}

#[test]
fn a_prometheus_by_our_files_finds_all_that_rules_and_panels_name() {
    if !required("prometheus") {
        return;
    }
    let _turn = alone();
    let place = tempfile::tempdir().unwrap();
    let token = prometheus::token(place.path()).display().to_string();
    let scraped = ["--scrape-token-file", token.as_str()];
    let mut system = System::start_with(Settings::QUICK, "127.0.0.1", None, &scraped);
    add_cluster(&mut system, "cluster-1", &token);
    let prometheus = Prometheus::start(place.path(), &system.root, &system.clusters[0]);
    becomes(&prometheus, "sum(up{job=~\"edgeio-.*\"})", 2.0);
    what_grows_is_seen(&mut system, &prometheus, &token);
    what_runs_is_seen(&system, &prometheus);
    everything_is_found(&prometheus);
    let (alerts, _) = rules(&prometheus);
    // The tests of the rules know each, and are content.
    let tests = prometheus::shipped().join("alerts_test.yml");
    prometheus::check(&["test", "rules"], &tests);
    let tests = fs::read_to_string(tests).unwrap();
    for (name, expression) in &alerts {
        let rows = prometheus.query(expression).unwrap();
        assert!(rows.is_empty(), "{name} of a system that is well: {rows:?}");
        assert!(tests.contains(&format!("alertname=\"{name}\"")), "{name}");
    }
    let page = page();
    let said: BTreeSet<&str> = page
        .split('`')
        .filter(|it| it.starts_with("Edgeio"))
        .collect();
    assert_eq!(said, alerts.keys().map(String::as_str).collect());
    what_breaks_is_an_alert(&mut system, &prometheus, &alerts);

    // The token reads metrics, and nothing else.
    let scraper = system.root();
    let scraper = scraper.with_token(Some(fs::read_to_string(&token).unwrap().trim()));
    assert_eq!(scraper.text("/metrics").unwrap().0, 200);
    for path in ["/api/v1/jobs", "/api/v1/clusters", "/api/v1/brake"] {
        assert_eq!(scraper.get(path).unwrap().status, 401, "{path}");
    }
}

/// Capacity grows by a worker, then by a cluster, which is one file.
fn what_grows_is_seen(system: &mut System, prometheus: &Prometheus, token: &str) {
    let cores = "sum(cluster:edgeio_cpu_cores_capacity:sum)";
    becomes(prometheus, cores, 4.0);
    add_worker(system, "second", 0);
    becomes(prometheus, cores, 8.0);
    add_cluster(system, "cluster-2", token);
    prometheus.add(&system.clusters[1]);
    for (expression, wanted) in [
        (cores, 12.0),
        ("sum(edgeio_cluster_cpu_cores_capacity)", 12.0),
        (
            "edgeio_cluster_memory_capacity_bytes{cluster=\"cluster-2\"}",
            4000.0 * MB,
        ),
    ] {
        becomes(prometheus, expression, wanted);
    }
}

/// Jobs run, and take what they reserve.
fn what_runs_is_seen(system: &System, prometheus: &Prometheus) {
    for expression in [
        "sum(edgeio_jobs{job=\"edgeio-root\"})",
        "sum(edgeio_deploy_seconds_count)",
        "sum(edgeio_placements_total)",
    ] {
        becomes(prometheus, expression, 0.0);
    }
    let more = "requirements: {cpu: 1, memory: 500}\nworker_node: second\n";
    for job in ["first", "other"] {
        system.root().submit(&sleeper(job, more));
        system.wait_state(job, "RUNNING", LIMIT);
    }
    for (expression, wanted) in [
        ("edgeio_jobs{job=\"edgeio-root\",state=\"RUNNING\"}", 2.0),
        (
            "edgeio_instances{job=\"edgeio-cluster\",cluster=\"cluster-1\",state=\"RUNNING\"}",
            2.0,
        ),
        ("edgeio_deploy_seconds_count{job=\"edgeio-root\"}", 2.0),
        ("edgeio_placements_total{cluster=\"cluster-1\"}", 2.0),
        ("edgeio_node_instances{node=\"second\"}", 2.0),
        ("edgeio_node_cpu_cores_free{node=\"second\"}", 2.0),
        (
            "cluster:edgeio_memory_free_bytes:sum{cluster=\"cluster-1\"}",
            7000.0 * MB,
        ),
        (
            "edgeio_cluster_memory_free_bytes{cluster=\"cluster-1\"}",
            7000.0 * MB,
        ),
    ] {
        becomes(prometheus, expression, wanted);
    }
}

/// Every selector of every rule and panel finds something, and every panel shows something.
fn everything_is_found(prometheus: &Prometheus) {
    let (alerts, records) = rules(prometheus);
    let dashboard = fs::read_to_string(prometheus::shipped().join("grafana/edgeio.json")).unwrap();
    let panels = expressions::of_dashboard(&serde_json::from_str(&dashboard).unwrap());
    assert!(panels.len() > 40 && records.len() >= 7 && alerts.len() >= 15);
    let all = alerts.values().chain(&records).chain(&panels);
    let selectors: BTreeSet<String> = all.flat_map(|it| expressions::selectors(it)).collect();
    let named = selectors
        .iter()
        .filter(|it| !ONLY_IF_BROKEN.contains(&it.as_str()));
    for expression in named.chain(&records).chain(&panels) {
        wait_until(&format!("there is {expression}"), LIMIT, || {
            let rows = prometheus.query(expression)?;
            (!rows.is_empty())
                .then_some(())
                .ok_or_else(|| "nothing".to_owned())
        });
    }
    for rows in prometheus.query("scrape_samples_scraped").unwrap() {
        eprintln!("{} has {} samples", rows["metric"], rows["value"][1]);
    }
    eprintln!(
        "{} alerts, {} recorded, {} queries of panels, {} selectors",
        alerts.len(),
        records.len(),
        panels.len(),
        selectors.len()
    );
}

/// Breaks one thing after the other, and looks what the rules say.
fn what_breaks_is_an_alert(
    system: &mut System,
    prometheus: &Prometheus,
    alerts: &BTreeMap<String, String>,
) {
    // A scheduler elsewhere that is not there: another one decides, and somebody should know.
    let cluster = system.cluster(0);
    let nobody = "scheduler: http://127.0.0.1:1";
    assert_eq!(
        cluster.put("/api/v1/scheduler", nobody).unwrap().status,
        200
    );
    cluster.submit(&sleeper("asked", ""));
    becomes(
        prometheus,
        "edgeio_scheduler_answers_total{cluster=\"cluster-1\",answer=\"silence\"}",
        1.0,
    );
    becomes(
        prometheus,
        "edgeio_scheduler_seconds_count{cluster=\"cluster-1\"}",
        1.0,
    );
    yields(
        prometheus,
        &alerts["EdgeioSchedulerFails"],
        &[("cluster", "cluster-1")],
    );
    // A worker, and what has no other place.
    system.workers[1].program.kill();
    becomes(prometheus, "edgeio_node_up{node=\"second\"}", 0.0);
    becomes(
        prometheus,
        "cluster:edgeio_cpu_cores_capacity:sum{cluster=\"cluster-1\"}",
        4.0,
    );
    let second = [("node", "second"), ("cluster", "cluster-1")];
    yields(prometheus, &alerts["EdgeioWorkerLost"], &second);
    yields(
        prometheus,
        "ALERTS{alertname=\"EdgeioWorkerLost\"}",
        &second,
    );
    yields(
        prometheus,
        &alerts["EdgeioManyWorkersLost"],
        &[("cluster", "cluster-1")],
    );
    yields(
        prometheus,
        &alerts["EdgeioInstancesNotDeployed"],
        &[("job", "edgeio-root")],
    );
    // A cluster.
    system.clusters[1].kill();
    becomes(prometheus, "edgeio_cluster_up{cluster=\"cluster-2\"}", 0.0);
    becomes(prometheus, "edgeio_clusters{state=\"INACTIVE\"}", 1.0);
    let second = [("cluster", "cluster-2")];
    yields(prometheus, &alerts["EdgeioClusterInactive"], &second);
    yields(prometheus, &alerts["EdgeioOrchestratorDown"], &second);
    // The root.
    system.root.kill();
    yields(
        prometheus,
        &alerts["EdgeioUplinkDown"],
        &[("cluster", "cluster-1")],
    );
    yields(
        prometheus,
        &alerts["EdgeioOrchestratorDown"],
        &[("job", "edgeio-root")],
    );
    system.root.again();
    becomes(
        prometheus,
        "edgeio_root_connected{cluster=\"cluster-1\"}",
        1.0,
    );
}
