//! Servers elsewhere that options name: how they are reached, and one request to them over a connection of its own.

use std::io;
use std::path::Path;
use std::sync::Arc;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::{Request, StatusCode};
use daemon::dial::{Dialled, Remote as Place};
use hyper_util::rt::TokioIo;
use identity::{Server, Trust};
use rustls::ClientConfig;
use tokio::net::TcpStream;

use crate::with_sources;

/// Where the server of an option is, and the TLS towards it, if its URL asks for that, which believes the authority in the
/// file of `ca`, an option and its value. `insecure`: in plain text on another machine, too.
///
/// # Errors
/// What is wrong with the options.
#[cfg_attr(
    not(any(feature = "otlp", feature = "redis")),
    expect(dead_code, reason = "there is none that would be named so")
)]
pub(crate) fn reach(
    dialled: &Dialled,
    url: &str,
    ca: (&str, Option<&Path>),
    insecure: bool,
) -> Result<(Place, Option<Arc<ClientConfig>>), String> {
    let place = dialled.read(url, insecure);
    let place = place.map_err(|error| error.to_string())?;
    let (option, file) = ca;
    let trust = |file: &Path| Trust::file(file)?.client(None);
    let tls = file.map(trust).transpose().map_err(|error| {
        let why = with_sources(&error);
        format!("{option} cannot be used: {why}")
    })?;
    if place.secure && tls.is_none() {
        let named = dialled.option;
        return Err(format!(
            "{named} {url} is to be reached by TLS; say whom to believe with {option} FILE"
        ));
    }
    Ok((place, tls))
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExchangeError {
    /// It cannot be dialled, or is not who it should be.
    #[error("it cannot be reached: {}", with_sources(.0))]
    Unreachable(io::Error),
    /// What came is no answer.
    #[error("it does not speak HTTP: {}", with_sources(.0))]
    NoHttp(hyper::Error),
    /// Its end did not come, or is too far.
    #[error("its answer cannot be read to its end")]
    Unread,
}

/// Sends one request, whose URI is a path, and gives the answer; of a body no more than so many bytes are read. It takes as long as it takes.
///
/// # Errors
/// When there is no whole answer.
pub(crate) async fn exchange(
    place: &Place,
    tls: Option<Arc<ClientConfig>>,
    request: Request<Body>,
    limit: usize,
) -> Result<(StatusCode, Bytes), ExchangeError> {
    let port = if place.secure { 443 } else { 80 };
    let stream = dial(place, port, tls).await;
    let stream = stream.map_err(ExchangeError::Unreachable)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(ExchangeError::NoHttp)?;
    let exchange = async {
        let answer = sender.send_request(request).await;
        let answer = answer.map_err(ExchangeError::NoHttp)?;
        let status = answer.status();
        let body = to_bytes(Body::new(answer.into_body()), limit).await;
        Ok((status, body.map_err(|_| ExchangeError::Unread)?))
    };
    tokio::pin!(connection, exchange);
    tokio::select! {
        biased;
        exchanged = &mut exchange => exchanged,
        // The other side has hung up: perhaps after its answer, which then is here.
        _ = &mut connection => exchange.await,
    }
}

/// A stream to a server, at that port where its URL names none; secured where its URL says so.
///
/// # Errors
/// When it cannot be dialled, or is not who it should be.
pub(crate) async fn dial(
    place: &Place,
    port: u16,
    tls: Option<Arc<ClientConfig>>,
) -> io::Result<impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + use<>> {
    let port = place.port.unwrap_or(port);
    let stream = TcpStream::connect((place.host.as_str(), port)).await?;
    stream.set_nodelay(true)?;
    let tls = tls.filter(|_| place.secure);
    identity::secured(stream, tls, Server::Orchestrator).await
}
