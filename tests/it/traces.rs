//! What a collector of OpenTelemetry is told: a stand-in for one takes what the real programs post.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use edgeio_tests::harness::{Client, Settings, System, together, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::documents::sleeper;

const LIMIT: Duration = Duration::from_secs(30);
/// A trace that its sender began elsewhere (W3C Trace Context).
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";

#[derive(Debug, Clone)]
struct Span {
    service: String,
    trace: String,
    id: String,
    parent: String,
    name: String,
    from: u64,
    to: u64,
    attributes: BTreeMap<String, String>,
}

/// Takes traces at `/v1/traces`, as the specification of OTLP over HTTP says.
struct Collector {
    url: String,
    spans: Arc<Mutex<Vec<Span>>>,
    /// It refuses everything.
    is_ill: Arc<AtomicBool>,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let this = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            spans: Arc::default(),
            is_ill: Arc::default(),
        };
        let (spans, is_ill) = (Arc::clone(&this.spans), Arc::clone(&this.is_ill));
        thread::spawn(move || {
            for stream in listener.incoming() {
                take(stream.unwrap(), &spans, &is_ill);
            }
        });
        this
    }

    fn spans(&self) -> Vec<Span> {
        self.spans.lock().unwrap().clone()
    }

    /// The spans of a deployment of that job, with the span of its request.
    #[track_caller]
    fn wait_deployed(&self, job: &str, name: &str) -> BTreeMap<String, Span> {
        wait_until(&format!("{name} of {job} is told"), LIMIT, || {
            let spans = self.spans();
            let whole = spans.iter().find(|span| {
                span.name == name
                    && span
                        .attributes
                        .get("edgeio.job.name")
                        .is_some_and(|it| it == job)
            });
            let whole = whole.ok_or_else(|| format!("{spans:?}"))?;
            let mut found = spans.iter().filter(|span| span.trace == whole.trace);
            if !found.any(|span| {
                span.attributes
                    .get("edgeio.became")
                    .is_some_and(|it| it == "RUNNING")
            }) {
                return Err(format!("{spans:?}"));
            }
            let found = spans.iter().filter(|span| span.trace == whole.trace);
            Ok(found
                .map(|span| (span.name.clone(), span.clone()))
                .collect())
        })
    }
}

fn take(stream: TcpStream, spans: &Mutex<Vec<Span>>, is_ill: &AtomicBool) {
    let mut stream = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    while !head.ends_with("\r\n\r\n") {
        let begins = head.len();
        if stream.read_line(&mut head).unwrap() == 0 {
            return;
        }
        let line = head[begins..].to_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    let is_ill = is_ill.load(Ordering::Relaxed);
    if !is_ill && head.starts_with("POST /v1/traces HTTP/1.1\r\n") {
        assert!(
            head.to_lowercase()
                .contains("content-type: application/json"),
            "{head}"
        );
        spans
            .lock()
            .unwrap()
            .extend(read(&serde_json::from_slice(&body).unwrap()));
    }
    let status = if is_ill { "400 Bad Request" } else { "200 OK" };
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{{}}");
    stream.get_mut().write_all(answer.as_bytes()).unwrap();
}

fn rows<'v>(value: &'v Value, field: &str) -> impl Iterator<Item = &'v Value> {
    value[field].as_array().unwrap().iter()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn attributes(of: &Value) -> BTreeMap<String, String> {
    let pair = |row: &Value| (text(&row["key"]), text(&row["value"]["stringValue"]));
    rows(of, "attributes").map(pair).collect()
}

fn read(message: &Value) -> Vec<Span> {
    let mut spans = Vec::new();
    for resource in rows(message, "resourceSpans") {
        let service = attributes(&resource["resource"])["service.name"].clone();
        for scope in rows(resource, "scopeSpans") {
            spans.extend(rows(scope, "spans").map(|span| Span {
                service: service.clone(),
                trace: text(&span["traceId"]),
                id: text(&span["spanId"]),
                parent: text(&span["parentSpanId"]),
                name: text(&span["name"]),
                from: text(&span["startTimeUnixNano"]).parse().unwrap(),
                to: text(&span["endTimeUnixNano"]).parse().unwrap(),
                attributes: attributes(span),
            }));
        }
    }
    spans
}

/// A root that tells the first one, with a cluster that tells the other one, and a worker.
fn system(root: &Collector, cluster: &Collector) -> System {
    let mut system = System::start_with(Settings::QUICK, "127.0.0.1", None, &["--otlp", &root.url]);
    system.add_cluster("munich", &["--otlp", &cluster.url]);
    system.add_worker("pi", 0, &["--runtimes", "native"]);
    system
}

fn submit(client: &Client, name: &str) {
    client.submit(&sleeper(name, ""));
}

#[test]
fn one_trace_goes_from_the_request_through_all_tiers_to_running() {
    let _turn = together();
    let (of_root, of_cluster) = (Collector::start(), Collector::start());
    let system = system(&of_root, &of_cluster);
    let parent = format!("00-{TRACE}-{SPAN}-01");
    let root = system.root().with_header("traceparent", &parent);
    submit(&root, "shop");
    let told = of_root.wait_deployed("shop", "deploy");
    let expected = [
        ("choose a cluster", "root-orchestrator", "deploy"),
        ("choose a worker", "cluster-orchestrator", "deploy"),
        ("deploy", "root-orchestrator", "submit"),
        ("start", "node-engine", "deploy"),
        ("submit", "root-orchestrator", ""),
    ];
    assert_eq!(told.len(), expected.len(), "{told:?}");
    for (name, service, parent) in expected {
        let span = &told[name];
        assert_eq!(
            (span.trace.as_str(), span.service.as_str()),
            (TRACE, service),
            "{span:?}"
        );
        let above = told.get(parent).map_or(SPAN, |span| span.id.as_str());
        assert_eq!(span.parent, above, "{span:?}");
        assert!(span.from <= span.to, "{span:?}");
    }
    // The steps follow each other without gaps, from the request on.
    let steps = ["choose a cluster", "choose a worker", "start"].map(|name| &told[name]);
    assert_eq!(steps[0].from, told["submit"].from);
    assert!(steps.is_sorted_by_key(|step| step.from));
    assert!(
        steps.windows(2).all(|pair| pair[0].to == pair[1].from),
        "{steps:?}"
    );
    assert_eq!(
        (told["deploy"].from, told["deploy"].to),
        (steps[0].from, steps[2].to)
    );
    assert!(steps[1].attributes["edgeio.message"].contains("worker pi by first-fit"));

    // Nobody wants to see this one; the next one shows that it would have been told by now.
    let hidden = format!("00-{}-{SPAN}-00", TRACE.replace('0', "1"));
    submit(&system.root().with_header("traceparent", &hidden), "hidden");
    system.wait_state("hidden", "RUNNING", LIMIT);
    // No parent: a trace of its own.
    submit(&system.root().with_header("traceparent", "00-zz"), "alone");
    let alone = of_root.wait_deployed("alone", "deploy");
    assert_eq!(alone["submit"].parent, "");
    assert_ne!(alone["submit"].trace, TRACE);
    assert!(
        of_root
            .spans()
            .iter()
            .all(|span| !span.trace.starts_with("1af7"))
    );

    // The cluster tells of its own jobs, and of no other ones.
    submit(&system.cluster(0), "local");
    let local = of_cluster.wait_deployed("local", "deploy");
    assert_eq!(local["submit"].service, "cluster-orchestrator");
    assert_eq!(local["start"].service, "node-engine");
    let traces = of_cluster.spans().into_iter().map(|span| span.trace);
    assert!(traces.eq(std::iter::repeat_n(
        local["submit"].trace.clone(),
        local.len()
    )));
}

#[test]
fn what_comes_back_is_a_trace_of_its_own_and_a_collector_that_fails_costs_its_spans_alone() {
    let _turn = together();
    let (of_root, of_cluster) = (Collector::start(), Collector::start());
    let system = system(&of_root, &of_cluster);
    of_root.is_ill.store(true, Ordering::Relaxed);
    submit(&system.root(), "shop");
    system.wait_state("shop", "RUNNING", LIMIT);
    wait_until("what it refused is counted", LIMIT, || {
        let (_, metrics) = system.root().text("/metrics")?;
        let failed = "edgeio_spans_total{became=\"failed\"} ";
        let failed = metrics.lines().find_map(|line| line.strip_prefix(failed));
        match failed.map(str::parse::<f64>) {
            Some(Ok(failed)) if failed >= 5.0 => Ok(()),
            _ => Err(metrics),
        }
    });
    of_root.is_ill.store(false, Ordering::Relaxed);
    let copies = system.copies("shop");
    let pid = Pid::from_raw(copies[0].pid).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
    let told = of_root.wait_deployed("shop", "recover");
    assert!(
        !told.contains_key("submit") && !told.contains_key("deploy"),
        "{told:?}"
    );
    assert_eq!(told["recover"].attributes["edgeio.state"], "RUNNING");
    assert_eq!(told["wait for the next attempt"].service, "node-engine");
}

#[test]
fn a_collector_that_cannot_be_is_refused() {
    let root = edgeio_tests::harness::programs().join("root-orchestrator");
    for (wrong, remedy) in [
        ("localhost:4318", "http://127.0.0.1:4318"),
        ("http://192.0.2.1:4318", "--insecure"),
        ("https://127.0.0.1:4318", "--otlp-ca FILE"),
    ] {
        let scratch = tempfile::tempdir().unwrap();
        let done = std::process::Command::new(&root)
            .args([
                "--http",
                "127.0.0.1:0",
                "--store",
                "memory",
                "--otlp",
                wrong,
                "--data-dir",
            ])
            .arg(scratch.path())
            .output()
            .unwrap();
        assert_eq!(done.status.code(), Some(64), "{wrong}");
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(said.contains(remedy), "{wrong}: {said}");
    }
}
