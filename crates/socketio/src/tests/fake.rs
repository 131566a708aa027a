//! Tests against fake servers that freeze, babble or leave.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::{reason, within};
use crate::{CloseReason, ConnectError, EmitError, Options, connect};

/// Engine.IO's first packet, of a server whose pings may take their time.
const OPEN: &str =
    r#"0{"sid":"s","upgrades":[],"pingInterval":20000,"pingTimeout":20000,"maxPayload":1000000}"#;
/// The same of a server that pings every 100 ms and allows 100 ms more.
const IMPATIENT: &str =
    r#"0{"sid":"s","upgrades":[],"pingInterval":100,"pingTimeout":100,"maxPayload":1000000}"#;

/// A WebSocket server that says what `script` says.
async fn fake<F>(
    script: impl FnOnce(WebSocketStream<TcpStream>) -> F + Send + 'static,
) -> (Options, JoinHandle<()>)
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        script(tokio_tungstenite::accept_async(stream).await.unwrap()).await;
    });
    (Options::new(format!("http://{address}")), server)
}

async fn say(socket: &mut WebSocketStream<TcpStream>, frame: &str) {
    socket.send(Message::text(frame)).await.unwrap();
}

async fn hear(socket: &mut WebSocketStream<TcpStream>) -> String {
    let message = within(socket.next()).await.unwrap().unwrap();
    message.to_text().unwrap().to_owned()
}

/// Accepts the namespace.
async fn admit(socket: &mut WebSocketStream<TcpStream>, open: &str) {
    say(socket, open).await;
    assert_eq!(hear(socket).await, "40");
    say(socket, r#"40{"sid":"t"}"#).await;
}

#[tokio::test]
async fn a_frozen_server_is_noticed_by_the_missing_ping() {
    let (options, server) = fake(async |mut socket| {
        admit(&mut socket, IMPATIENT).await;
        std::future::pending::<()>().await;
    })
    .await;
    let (client, mut events) = within(connect(options)).await.unwrap();
    let started = tokio::time::Instant::now();
    let silence = Duration::from_millis(200);
    assert_eq!(reason(&mut events).await, CloseReason::PingTimeout(silence));
    assert!(started.elapsed() >= Duration::from_millis(150));
    assert!(matches!(
        client.emit("x", &()).await,
        Err(EmitError::Closed)
    ));
    server.abort();
}

#[tokio::test]
async fn a_server_that_stops_reading_makes_emit_wait_and_not_grow() {
    let (options, server) = fake(async |mut socket| {
        admit(&mut socket, OPEN).await;
        // Its pings come, so it lives; what is sent to it stays in the pipe.
        while socket.send(Message::text("2")).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let (client, mut events) = within(connect(options)).await.unwrap();
    let big = "x".repeat(500_000);
    let stuck = async {
        // 64 queued messages and what the kernel takes, by far less than this.
        for _ in 0..1000 {
            client.emit("x", &big).await.unwrap();
        }
    };
    assert!(timeout(Duration::from_secs(1), stuck).await.is_err());
    client.close();
    assert_eq!(reason(&mut events).await, CloseReason::Local);
    server.abort();
}

#[tokio::test]
async fn pings_are_answered_before_and_after_joining() {
    let (options, server) = fake(async |mut socket| {
        say(&mut socket, OPEN).await;
        say(&mut socket, "2").await;
        assert_eq!(hear(&mut socket).await, "40");
        assert_eq!(hear(&mut socket).await, "3");
        say(&mut socket, r#"40{"sid":"t"}"#).await;
        for _ in 0..5 {
            say(&mut socket, "2").await;
            assert_eq!(hear(&mut socket).await, "3");
        }
        say(&mut socket, "1").await;
    })
    .await;
    let (_client, mut events) = within(connect(options)).await.unwrap();
    assert_eq!(reason(&mut events).await, CloseReason::ServerDisconnected);
    within(server).await.unwrap();
}

#[tokio::test]
async fn what_is_not_socket_io_is_a_protocol_error_of_the_connection() {
    for frame in ["9", r#"451-["x",{"_placeholder":true,"num":0}]"#, "42{}"] {
        let (options, server) = fake(async move |mut socket| {
            admit(&mut socket, OPEN).await;
            say(&mut socket, frame).await;
            hear_the_end(&mut socket).await;
        })
        .await;
        let (_client, mut events) = within(connect(options)).await.unwrap();
        let reason = reason(&mut events).await;
        assert!(
            matches!(reason, CloseReason::Protocol(_)),
            "{frame}: {reason}"
        );
        within(server).await.unwrap();
    }
}

async fn hear_the_end(socket: &mut WebSocketStream<TcpStream>) {
    while let Some(Ok(_)) = within(socket.next()).await {}
}

#[tokio::test]
async fn a_server_that_says_nothing_makes_connect_time_out() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (upgraded, server) = fake(async |mut socket| hear_the_end(&mut socket).await).await;
    for mut options in [Options::new(format!("http://{address}")), upgraded] {
        options.connect_timeout = Duration::from_millis(100);
        let error = within(connect(options)).await.unwrap_err();
        assert!(matches!(error, ConnectError::Timeout { .. }), "{error}");
    }
    within(server).await.unwrap();
}

#[tokio::test]
async fn a_web_server_without_socket_io_is_a_protocol_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move { axum::serve(listener, axum::Router::new()).await });
    let error = within(connect(Options::new(format!("http://{address}"))))
        .await
        .unwrap_err();
    assert!(matches!(error, ConnectError::Protocol { .. }), "{error}");
    assert!(error.to_string().contains("404"), "{error}");
    server.abort();
}

#[tokio::test]
async fn a_connection_that_is_cut_while_joining_is_a_transport_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut start = [0; 16];
        stream.read_exact(&mut start).await.unwrap();
    });
    let (joining, other) = fake(async |mut socket| say(&mut socket, OPEN).await).await;
    for options in [Options::new(format!("http://{address}")), joining] {
        let error = within(connect(options)).await.unwrap_err();
        assert!(matches!(error, ConnectError::Transport { .. }), "{error:?}");
    }
    within(server).await.unwrap();
    within(other).await.unwrap();
}
