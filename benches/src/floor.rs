//! What the machine can do at best: its disk, and a server that only answers.

use std::convert::Infallible;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Syncs of a file a second: 4 KiB are written over and synced, again and again for a time.
pub(crate) fn syncs_per_second(directory: &Path, time: Duration) -> anyhow::Result<f64> {
    let path = directory.join("sync-floor");
    let measured = syncs(&path, time);
    let _ = std::fs::remove_file(&path);
    measured.with_context(|| format!("cannot write {}", path.display()))
}

fn syncs(path: &Path, time: Duration) -> std::io::Result<f64> {
    use std::os::unix::fs::FileExt;

    let mut file = File::create(path)?;
    file.write_all(&[0; 4096])?;
    file.sync_all()?;
    let (begun, mut count) = (Instant::now(), 0_u32);
    while begun.elapsed() < time {
        file.write_all_at(&[count as u8; 4096], 0)?;
        file.sync_data()?;
        count += 1;
    }
    Ok(f64::from(count) / begun.elapsed().as_secs_f64())
}

/// Serves until it is killed: reads a JSON body and answers 202 with a small one. Two threads, as the machine has cores.
pub(crate) fn serve() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.context("cannot listen")?;
        let address = listener.local_addr().context("no address")?;
        let ready = json!({"event": "ready", "http": format!("http://{address}")});
        writeln!(std::io::stdout(), "{ready}").context("nobody reads the ready line")?;
        loop {
            let (stream, _) = listener.accept().await.context("cannot accept")?;
            let _ = stream.set_nodelay(true);
            let service = hyper::service::service_fn(answer);
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service);
            tokio::spawn(connection);
        }
    })
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = request.into_body().collect().await;
    let body = body.map(http_body_util::Collected::to_bytes);
    let value = body.map(|body| serde_json::from_slice::<Value>(&body).unwrap_or_default());
    let name = value.ok().and_then(|value| value.get("job_name").cloned());
    let text = json!({"job_name": name, "state": "REQUESTED"}).to_string();
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = StatusCode::ACCEPTED;
    Ok(response)
}
