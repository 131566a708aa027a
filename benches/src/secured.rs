//! What identity costs: a deploy in a system that is locked beside one in plain text, and what of a request goes into knowing
//! who asks and writing it down.
//!
//! # Flow
//! Two systems of three tiers stand side by side, with a runtime that runs nothing: one in plain text, whose cluster and worker came
//! without proof; one where the client, the cluster and the worker speak TLS 1.3, and both joined by tokens. They are asked in
//! turn. Then roots alone are asked over one kept connection each: with users and an audit log, and with a store in memory,
//! where there is neither.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::figure::{Figure, Section, tell};
use crate::fleet::{Fleet, Shape};
use crate::http::Connection;
use crate::options::Secured;
use crate::program::Programs;
use crate::samples::Samples;

/// How long a deploy may take.
const LIMIT: Duration = Duration::from_secs(30);
/// Between two looks at a job.
const LOOK: Duration = Duration::from_micros(200);
/// Deploys before those that count.
pub(crate) const WARM: u32 = 10;

/// What a connection may be over.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

/// A connection, in plain text or over TLS.
pub(crate) type Way = Connection<Box<dyn Stream>>;

/// Measures it.
pub(crate) async fn measure(programs: &Programs, options: &Secured) -> anyhow::Result<Section> {
    let mut section = Section::new("secured");
    tell("secured: deploys in turn");
    deploys(programs, options, &mut section).await?;
    tell("secured: single requests");
    requests(programs, options, &mut section).await?;
    section.note("the floor of a deploy is the same in plain text, without join tokens, in the same run and in turn with it");
    section.note("the floor of a request is the same root with its store in memory, which knows no users and keeps no audit log");
    section.note("one kept connection at a time; a deploy goes from the first byte sent to the answer that says RUNNING, asked every 0.2 ms");
    Ok(section)
}

async fn deploys(
    programs: &Programs,
    options: &Secured,
    section: &mut Section,
) -> anyhow::Result<()> {
    let shape = |locked| Shape {
        clusters: 1,
        workers: 1,
        orchestrators: vec!["--allow-noop".to_owned()],
        engines: [
            "--runtimes",
            "noop",
            "--capacity",
            "cpu=1000,memory=1000000",
        ]
        .map(str::to_owned)
        .to_vec(),
        locked,
    };
    let plain = Fleet::start(programs, &shape(false)).await?;
    let locked = Fleet::start(programs, &shape(true)).await?;
    let mut ways = [
        (over_tcp(plain.url()).await?, Samples::default()),
        (
            over_tls(locked.url(), &locked.path("root")).await?,
            Samples::default(),
        ),
    ];
    for number in 0..WARM + options.deploys {
        for (way, samples) in &mut ways {
            let took = deploy(way, &format!("bench-{number}")).await?;
            if number >= WARM {
                samples.push_time(took);
            }
        }
    }
    let [(_, plain), (_, locked)] = ways;
    for (what, part) in [("p50", 0.5), ("p99", 0.99)] {
        let figure = Figure::new(
            format!("deploy with TLS and tokens, {what}"),
            locked.quantile(part),
            "ms",
        );
        section.push(figure.floor(plain.quantile(part)));
    }
    Ok(())
}

/// From the request to the answer that says that it runs; the job is gone when this returns.
pub(crate) async fn deploy(way: &mut Way, name: &str) -> anyhow::Result<Duration> {
    let document = format!("api_version: v0.1\njob_name: {name}\nimage_runtime: noop\n");
    let body = Some(("application/yaml", document.as_bytes()));
    let path = format!("/api/v1/jobs/{name}");
    let begun = Instant::now();
    way.ask("POST", "/api/v1/jobs", body).await?.good()?;
    loop {
        let job = way.get(&path).await?;
        if job.get("state").is_some_and(|state| state == "RUNNING") {
            break;
        }
        if begun.elapsed() > LIMIT {
            bail!("{name} does not run: {job}");
        }
        tokio::time::sleep(LOOK).await;
    }
    let took = begun.elapsed();
    way.ask("DELETE", &path, None).await?.good()?;
    Ok(took)
}

async fn requests(
    programs: &Programs,
    options: &Secured,
    section: &mut Section,
) -> anyhow::Result<()> {
    let shape = |store: &str| Shape {
        orchestrators: ["--allow-noop", "--store", store]
            .map(str::to_owned)
            .to_vec(),
        ..Shape::default()
    };
    let open = Fleet::start(programs, &shape("memory")).await?;
    // A root for each way, so that none waits for what the one before left to be written.
    let guarded = Fleet::start(programs, &shape("embedded")).await?;
    let secured = Fleet::start(programs, &shape("embedded")).await?;
    let mut ways = [
        over_tcp(open.url()).await?,
        over_tcp(guarded.url()).await?,
        over_tls(secured.url(), &secured.path("root")).await?,
    ];
    let document = b"api_version: v0.1\njob_name: bench\nimage_runtime: noop\n";
    let body = Some(("application/yaml", document.as_slice()));
    let asked = [
        ("read", "GET", "/api/v1/jobs?limit=1", None),
        // A change that changes nothing: it is written to the audit log, and to no store.
        ("dry run", "POST", "/api/v1/jobs?dry_run=true", body),
    ];
    for (what, method, path, body) in asked {
        let mut samples = [(); 3].map(|()| Samples::default());
        for number in 0..WARM + options.requests {
            for (way, samples) in ways.iter_mut().zip(&mut samples) {
                let begun = Instant::now();
                way.ask(method, path, body).await?.good()?;
                if number >= WARM {
                    samples.push(begun.elapsed().as_secs_f64() * 1e6);
                }
            }
        }
        let [open, guarded, tls] = samples;
        for (how, samples) in [
            ("a user known, recorded", guarded),
            ("the same over TLS", tls),
        ] {
            for (which, part) in [("p50", 0.5), ("p99", 0.99)] {
                let what = format!("{what}: {how}, {which}");
                let figure = Figure::new(what, samples.quantile(part), "us");
                section.push(figure.floor(open.quantile(part)));
            }
        }
    }
    Ok(())
}

pub(crate) async fn over_tcp(url: &str) -> anyhow::Result<Way> {
    Ok(Connection::over(Box::new(dial(url).await?)))
}

/// Over TLS, believing the authority of the orchestrator with this data directory.
async fn over_tls(url: &str, data: &Path) -> anyhow::Result<Way> {
    let pem = data.join("identity/authority.pem");
    let authority = CertificateDer::from_pem_file(&pem);
    let authority = authority.with_context(|| format!("cannot read {}", pem.display()))?;
    let mut roots = RootCertStore::empty();
    roots.add(authority)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    let stream = dial(url).await?;
    let stream = connector.connect(ServerName::try_from("localhost")?, stream);
    let stream = Box::pin(stream).await.context("cannot speak TLS")?;
    Ok(Connection::over(Box::new(stream)))
}

async fn dial(url: &str) -> anyhow::Result<TcpStream> {
    let (_, address) = url.split_once("://").unwrap_or(("", url));
    let stream = TcpStream::connect(address).await;
    let stream = stream.with_context(|| format!("cannot connect to {url}"))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
