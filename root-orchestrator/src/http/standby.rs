//! What a root does with requests while it stands by: it passes them on to the one that decides.
//!
//! Each goes over a connection of its own, by TLS, on which this root proves to be one: so the other believes whom it says the
//! request is from. Followed answers, and the uplinks of clusters, go through as they are.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use hyper_util::rt::TokioIo;
use identity::Server;
use orchestrator::keys::Keys;
use orchestrator::{HeldBy, with_sources};
use protocol::problem::Problem;
use protocol::rest::HealthBody;
use rest::{Accept, ApiError, PASSED_ON_CERTIFICATE, PASSED_ON_FROM, Shown};
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use tokio::sync::watch;

/// How long the other root may take to accept a connection: one whose machine is gone says nothing.
const DIAL: Duration = Duration::from_secs(2);

/// A root that stands by.
#[derive(Debug, Clone)]
pub(crate) struct Standby {
    /// Who decides.
    pub(crate) holder: watch::Receiver<Option<HeldBy>>,
    /// What this root proves itself with.
    pub(crate) keys: Arc<Keys>,
}

/// Liveness and readiness of this root; everything else is passed on.
pub(crate) fn router(standby: Standby) -> Router {
    Router::new()
        .route("/healthz", get(live))
        .route("/readyz", get(ready))
        .fallback(pass_on)
        .with_state(standby)
}

async fn live(accept: Accept) -> Response {
    accept.ok(&HealthBody {
        status: "ok".to_owned(),
        missing: Vec::new(),
    })
}

/// Requests can be taken, by passing them on: whoever decides can be reached.
async fn ready(State(standby): State<Standby>, accept: Accept) -> Response {
    let holder = standby.holder.borrow().clone();
    let place = holder.map(|holder| holder.place).unwrap_or_default();
    let (status, missing) = match dial(&place).await {
        Ok(_) => (StatusCode::OK, Vec::new()),
        Err(_) => (
            StatusCode::SERVICE_UNAVAILABLE,
            vec!["a root that decides".to_owned()],
        ),
    };
    let health = HealthBody {
        status: "standing by".to_owned(),
        missing,
    };
    accept.answer(status, &health)
}

/// A connection to the root that decides.
async fn dial(place: &str) -> io::Result<TcpStream> {
    let dialled = tokio::time::timeout(DIAL, TcpStream::connect(place)).await;
    dialled.map_err(|_late| io::Error::from(io::ErrorKind::TimedOut))?
}

async fn pass_on(State(standby): State<Standby>, request: Request) -> Response {
    let holder = standby.holder.borrow().clone();
    let place = holder.map(|holder| holder.place).unwrap_or_default();
    match exchange(&standby.keys, &place, request).await {
        Ok(response) => response,
        Err(error) => nobody(&format!(
            "this root stands by, and the one that decides cannot be reached at {place}: {}",
            with_sources(&error)
        )),
    }
}

fn nobody(detail: &str) -> Response {
    let mut response = ApiError::from(Problem::unavailable(detail)).into_response();
    let soon = HeaderValue::from_static("1");
    response.headers_mut().insert(RETRY_AFTER, soon);
    response
}

/// One request and its answer; where that changes to another protocol, what follows goes on by itself.
async fn exchange(keys: &Keys, place: &str, mut request: Request) -> io::Result<Response> {
    let tls = keys.as_root().map_err(io::Error::other)?;
    let stream = dial(place).await?;
    stream.set_nodelay(true)?;
    let stream = identity::secured(stream, Some(tls), Server::Orchestrator).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    // It ends with the answer's last byte, or with what follows an upgrade.
    tokio::spawn(connection.with_upgrades());
    say_whose(&mut request);
    let before = hyper::upgrade::on(&mut request);
    let mut response = sender
        .send_request(request)
        .await
        .map_err(io::Error::other)?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let behind = hyper::upgrade::on(&mut response);
        tokio::spawn(async move {
            let (Ok(before), Ok(behind)) = tokio::join!(before, behind) else {
                return;
            };
            let (mut before, mut behind) = (TokioIo::new(before), TokioIo::new(behind));
            // Whichever end closes it, it is over.
            let _ = copy_bidirectional(&mut before, &mut behind).await;
        });
    }
    Ok(response.map(Body::new))
}

/// Whose the request is, in place of whatever it says about that itself.
fn say_whose(request: &mut Request) {
    let from = request.extensions().get::<rest::guard::From>().copied();
    let shown = request.extensions().get::<Shown>().cloned().flatten();
    let headers = request.headers_mut();
    say(headers, PASSED_ON_FROM, from.map(|from| from.0.to_string()));
    say(
        headers,
        PASSED_ON_CERTIFICATE,
        shown.map(|shown| shown.to_string()),
    );
}

fn say(headers: &mut HeaderMap, name: &'static str, value: Option<String>) {
    headers.remove(name);
    if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
        headers.insert(name, value);
    }
}
