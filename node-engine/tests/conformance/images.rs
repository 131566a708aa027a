//! Images that were fetched from a registry of the test's own, and which of them go again.

use std::collections::HashMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use model::workload::Workload;
use node_engine::runtime::Given;
use node_engine::runtime::docker::ImageLimit;
use node_engine::runtime::{Identity, Runtime};
use secrets::Login;

use crate::bed::{Bed, docker};

/// What a registry answers, by path.
type Answers = HashMap<String, (&'static str, Vec<u8>)>;

/// What a registry is made of: its answers, and the header that lets somebody in, where it asks for one.
type Served = Arc<(Answers, Option<String>)>;

/// The Docker Registry HTTP API, V2, as far as a pull needs it.
struct Registry {
    host: String,
}

async fn answer(State(served): State<Served>, headers: HeaderMap, uri: Uri) -> Response {
    let (answers, wanted) = served.as_ref();
    let shown = headers.get(header::AUTHORIZATION);
    if wanted
        .as_ref()
        .is_some_and(|wanted| shown.is_none_or(|shown| shown != wanted))
    {
        let ask = [(header::WWW_AUTHENTICATE, "Basic realm=\"test\"")];
        return (StatusCode::UNAUTHORIZED, ask).into_response();
    }
    match answers.get(uri.path()) {
        Some((kind, body)) => ([(header::CONTENT_TYPE, *kind)], body.clone()).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

impl Registry {
    /// With images of these names, each with a file of its name.
    fn with(names: &[&str]) -> Self {
        Self::open_to(names, None)
    }

    /// The same, for whoever shows that header.
    fn open_to(names: &[&str], wanted: Option<String>) -> Self {
        let mut answers =
            HashMap::from([("/v2/".to_owned(), ("application/json", b"{}".to_vec()))]);
        for name in names {
            let layer = layer(name);
            let config = serde_json::json!({
                "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
                "os": "linux",
                "config": {"Cmd": ["/none"]},
                "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]},
            })
            .to_string()
            .into_bytes();
            let blob = |kind: &str, body: &[u8]| serde_json::json!({"mediaType": kind, "size": body.len(), "digest": digest(body)});
            let kind = "application/vnd.docker.distribution.manifest.v2+json";
            let manifest = serde_json::json!({
                "schemaVersion": 2,
                "mediaType": kind,
                "config": blob("application/vnd.docker.container.image.v1+json", &config),
                "layers": [blob("application/vnd.docker.image.rootfs.diff.tar.gzip", &layer)],
            })
            .to_string()
            .into_bytes();
            let base = format!("/v2/{name}");
            for reference in ["1".to_owned(), digest(&manifest)] {
                answers.insert(
                    format!("{base}/manifests/{reference}"),
                    (kind, manifest.clone()),
                );
            }
            for body in [config, layer] {
                let path = format!("{base}/blobs/{}", digest(&body));
                answers.insert(path, ("application/octet-stream", body));
            }
        }
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let router = Router::new()
            .fallback(answer)
            .with_state(Arc::new((answers, wanted)));
        // On a thread of its own: the test waits for commands of the engine, which ask it. It ends with the process.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                axum::serve(listener, router).await.unwrap();
            });
        });
        Self { host }
    }
}

fn layer(name: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("name"), name).unwrap();
    run(
        "tar",
        &["-C", folder.path().to_str().unwrap(), "-c", "name"],
        Path::new("/dev/null"),
    )
}

fn digest(body: &[u8]) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), body).unwrap();
    let said = String::from_utf8(run("sha256sum", &[], file.path())).unwrap();
    format!("sha256:{}", said.split_whitespace().next().unwrap())
}

fn run(program: &str, args: &[&str], input: &Path) -> Vec<u8> {
    let output = Command::new(program)
        .args(args)
        .stdin(std::fs::File::open(input).unwrap())
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success());
    output.stdout
}

fn is_here(image: &str) -> bool {
    !docker(&["images", "-q", image]).is_empty()
}

/// Fetches an image by trying to run it: its program is missing, so nothing runs.
async fn fetch(runtime: &Runtime, identity: &Identity, workload: &Workload, image: &str) {
    let workload = Workload {
        image: Some(image.to_owned()),
        ..workload.clone()
    };
    let error = runtime
        .start(identity, &workload, Given::default())
        .await
        .unwrap_err();
    assert!(is_here(image), "{error:?}");
}

#[tokio::test]
async fn only_unused_images_that_this_worker_fetched_go() {
    let Some(bed) = Bed::docker() else { return };
    // Names of one run only, since the engine of the machine keeps them.
    let unique = bed.node.to_string().to_lowercase();
    let names = ["ours", "desired", "used", "foreign", "named"].map(|it| format!("{it}-{unique}"));
    let registry = Registry::with(&names.each_ref().map(String::as_str));
    let [ours, desired, used, foreign, named] =
        names.map(|name| format!("{}/{name}:1", registry.host));
    let rig = bed.rig();
    let Runtime::Docker(runtime) = &rig.runtime else {
        panic!("it is docker")
    };
    let workload = bed.workload();
    docker(&["pull", "-q", &foreign]);
    let always = Workload {
        pull: model::workload::Pull::Always,
        ..workload.clone()
    };
    let mut gone = Vec::new();
    for image in [&ours, &used, &named] {
        gone.push(bed.identity());
        fetch(&rig.runtime, gone.last().unwrap(), &workload, image).await;
    }
    gone.push(bed.identity());
    fetch(&rig.runtime, gone.last().unwrap(), &always, &foreign).await;
    fetch(&rig.runtime, &bed.identity(), &workload, &desired).await;
    for identity in &gone {
        rig.runtime
            .stop(identity.instance, Duration::ZERO)
            .await
            .unwrap();
    }
    let container = docker(&["create", &used, "/none"]).trim().to_owned();
    let alias = format!("edgeio-test/{unique}:1");
    docker(&["tag", &named, &alias]);

    // There is room, and nothing is old.
    let day = ImageLimit {
        percent: 100,
        unused_after: Duration::from_hours(24),
    };
    assert_eq!(runtime.collect_images(day).await.unwrap(), [""; 0]);
    // The disk is full.
    let full = ImageLimit { percent: 0, ..day };
    assert_eq!(runtime.collect_images(full).await.unwrap().len(), 1);
    let here = [&ours, &desired, &used, &foreign, &named].map(|image| is_here(image));
    assert_eq!(here, [false, true, true, true, true]);
    // A new engine knows them again; what is old goes though there is room.
    let later = bed.rig();
    let Runtime::Docker(runtime) = &later.runtime else {
        panic!("it is docker")
    };
    docker(&["rm", &container]);
    let old = ImageLimit {
        unused_after: Duration::ZERO,
        ..day
    };
    assert_eq!(runtime.collect_images(old).await.unwrap().len(), 2);
    let here = [&desired, &used, &foreign, &named].map(|image| is_here(image));
    assert_eq!(here, [false, false, true, true]);
    docker(&["rmi", &foreign, &named, &alias]);
}

#[tokio::test]
async fn an_image_is_pulled_with_the_login_of_its_secret_and_not_without() {
    let Some(bed) = Bed::docker() else { return };
    let name = format!("private-{}", bed.node.to_string().to_lowercase());
    // bob:correct horse
    let registry = Registry::open_to(&[&name], Some("Basic Ym9iOmNvcnJlY3QgaG9yc2U=".to_owned()));
    let image = format!("{}/{name}:1", registry.host);
    let rig = bed.rig();
    let workload = Workload {
        image: Some(image.clone()),
        ..bed.workload()
    };
    let start = async |password: Option<&str>| {
        let login = password.map(|password| Login {
            registry: registry.host.clone(),
            username: "bob".to_owned(),
            password: password.to_owned(),
        });
        let given = Given {
            login,
            ..Given::default()
        };
        let started = rig.runtime.start(&bed.identity(), &workload, given).await;
        // Its program is missing, so nothing runs; the image is there or not.
        started.unwrap_err().reason().message
    };
    for wrong in [None, Some("wrong horse")] {
        let said = start(wrong).await;
        assert!(said.contains("cannot pull image"), "{said}");
        assert!(!said.contains("wrong horse"), "{said}");
        assert!(!is_here(&image));
    }
    let said = start(Some("correct horse")).await;
    assert!(is_here(&image), "{said}");
    docker(&["rmi", &image]);
}
