//! Tests against a real socketioxide server.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use socketioxide::SocketIo;
use socketioxide::extract::{AckSender, Data, SocketRef};
use socketioxide::handler::ConnectHandler;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::*;

mod fake;

/// No test waits longer for anything.
const DEADLINE: Duration = Duration::from_secs(10);
async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(DEADLINE, future).await.expect("done in time")
}

async fn next(events: &mut Events) -> Option<Event> {
    within(events.next()).await
}

/// The next event's name and data, and its acknowledgement.
async fn message(events: &mut Events) -> (String, Value, Option<AckReply>) {
    match next(events).await {
        Some(Event::Message { name, data, ack }) => (name, data, ack),
        other => panic!("a message expected, not {other:?}"),
    }
}

/// Reads to the end, which must come exactly once.
async fn reason(events: &mut Events) -> CloseReason {
    loop {
        match next(events).await {
            Some(Event::Message { .. }) => {}
            Some(Event::Closed { reason }) => {
                assert!(next(events).await.is_none());
                assert!(next(events).await.is_none());
                return reason;
            }
            None => panic!("no reason was given"),
        }
    }
}

/// A server in its own runtime, so that ending it ends its connections too, as a killed process would.
struct Server {
    address: SocketAddr,
    io: SocketIo,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Server {
    /// Starts one; `setup` registers namespaces.
    async fn start(setup: impl FnOnce(&SocketIo)) -> Self {
        Self::with_ping(Duration::from_secs(5), setup).await
    }

    /// Starts one that pings every 300 ms and waits as long for the answer.
    async fn impatient(setup: impl FnOnce(&SocketIo)) -> Self {
        Self::with_ping(Duration::from_millis(300), setup).await
    }

    async fn with_ping(ping: Duration, setup: impl FnOnce(&SocketIo)) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (layer, io) = SocketIo::builder()
            .ping_interval(ping)
            .ping_timeout(ping)
            .ws_max_message_size(4 << 20)
            .build_layer();
        setup(&io);
        let router = axum::Router::new().layer(layer);
        let serving = runtime.spawn(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            tokio::spawn(async move { axum::serve(listener, router).await });
            address
        });
        Self {
            address: within(serving).await.unwrap(),
            io,
            runtime: Some(runtime),
        }
    }

    fn options(&self) -> Options {
        Options::new(format!("http://{}", self.address))
    }

    async fn connect(&self) -> (Client, Events) {
        within(connect(self.options())).await.unwrap()
    }

    /// Closes the listener and every connection without a word.
    fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The one event handler most tests want: what comes is put on the channel.
///
/// It is done before the handler returns its future: socketioxide spawns a task for each future, which loses the order.
fn collect(io: &SocketIo) -> mpsc::UnboundedReceiver<Value> {
    let (sender, receiver) = mpsc::unbounded_channel();
    io.ns("/", async move |socket: SocketRef| {
        let sender = sender.clone();
        socket.on("item", move |Data::<Value>(data)| {
            sender.send(data).unwrap();
            std::future::ready(())
        });
    });
    receiver
}

#[tokio::test]
async fn the_server_acknowledges_an_event_of_the_client() {
    let server = Server::start(|io| {
        io.ns("/", async |socket: SocketRef| {
            socket.on(
                "add",
                async |Data((a, b)): Data<(i64, i64)>, ack: AckSender| {
                    ack.send(&json!({"sum": a + b})).unwrap();
                },
            );
            socket.on("echo", async |Data::<Value>(data), ack: AckSender| {
                ack.send(&data).unwrap();
            });
        });
    })
    .await;
    let (client, _events) = server.connect().await;
    for data in [
        json!({"a": [1, "é"]}),
        json!("text"),
        json!(null),
        json!(["one", ["array"]]),
    ] {
        let answer = client.emit_with_ack("echo", &data, DEADLINE).await.unwrap();
        assert_eq!(answer, data);
    }
}

#[tokio::test]
async fn tracked_events_arrive_in_order_and_each_has_its_answer() {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let server = Server::start(move |io| {
        io.ns("/", async move |socket: SocketRef| {
            let sender = sender.clone();
            socket.on("item", move |Data::<Value>(data), ack: AckSender| {
                sender.send(data.clone()).unwrap();
                ack.send(&data).unwrap();
                std::future::ready(())
            });
        });
    })
    .await;
    let (client, _events) = server.connect().await;
    let mut answers = Vec::new();
    for number in 0..100 {
        let answer = within(client.emit_tracked("item", &number)).await.unwrap();
        answers.push((number, answer));
    }
    for (number, answer) in answers {
        assert_eq!(within(receiver.recv()).await.unwrap(), json!(number));
        assert_eq!(within(answer.wait()).await.unwrap(), json!(number));
    }
}

#[tokio::test]
async fn the_client_acknowledges_an_event_of_the_server() {
    let (sender, mut answers) = mpsc::unbounded_channel();
    let server = Server::start(|io| {
        io.ns("/", async move |socket: SocketRef| {
            let answer = socket
                .emit_with_ack::<_, Value>("question", &json!({"n": 1}))
                .unwrap();
            sender.send(answer.await.unwrap()).unwrap();
        });
    })
    .await;
    let (_client, mut events) = server.connect().await;
    let (name, data, ack) = message(&mut events).await;
    assert_eq!((name.as_str(), data), ("question", json!({"n": 1})));
    ack.unwrap().send(&json!({"answer": 42})).await.unwrap();
    assert_eq!(within(answers.recv()).await, Some(json!({"answer": 42})));
}

#[tokio::test]
async fn an_acknowledgement_that_does_not_come_times_out_and_the_connection_lives() {
    let server = Server::start(|io| {
        io.ns("/", async |socket: SocketRef| {
            socket.on("mute", async || {});
            socket.on("echo", async |Data::<Value>(data), ack: AckSender| {
                ack.send(&data).unwrap();
            });
        });
    })
    .await;
    let (client, _events) = server.connect().await;
    let error = client
        .emit_with_ack("mute", &1, Duration::from_millis(50))
        .await;
    assert!(matches!(error, Err(AckError::Timeout(_))), "{error:?}");
    assert_eq!(
        client.emit_with_ack("echo", &2, DEADLINE).await.unwrap(),
        json!(2)
    );
}

#[derive(Debug)]
struct NoEntry;

impl std::fmt::Display for NoEntry {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("join token is not valid")
    }
}

/// Lets in who shows the right token, after longer than two pings take.
fn guarded(io: &SocketIo, path: &'static str) {
    async fn welcome(socket: SocketRef) {
        socket.emit("welcome", &json!("in")).unwrap();
    }
    async fn check(Data(auth): Data<Value>) -> Result<(), NoEntry> {
        tokio::time::sleep(Duration::from_millis(700)).await;
        if auth == json!({"token": "right"}) {
            Ok(())
        } else {
            Err(NoEntry)
        }
    }
    io.ns(path, welcome.with(check));
}

#[tokio::test]
async fn a_refusal_by_the_connect_middleware_reaches_the_client_in_its_own_words() {
    for path in ["/", "/uplink"] {
        let server = Server::impatient(|io| guarded(io, path)).await;
        for auth in [Some(json!({"token": "wrong"})), Some(json!({}))] {
            let mut options = server.options();
            path.clone_into(&mut options.namespace);
            options.auth = auth;
            let error = within(connect(options)).await.unwrap_err();
            let ConnectError::Refused { message } = error else {
                panic!("{error}")
            };
            assert_eq!(message, "join token is not valid");
        }
    }
}

#[tokio::test]
async fn a_slow_connect_middleware_is_outlasted_because_pings_are_answered_while_joining() {
    for path in ["/", "/uplink"] {
        let server = Server::impatient(|io| guarded(io, path)).await;
        let mut options = server.options();
        path.clone_into(&mut options.namespace);
        options.auth = Some(json!({"token": "right"}));
        let (_client, mut events) = within(connect(options)).await.unwrap();
        let (name, data, _) = message(&mut events).await;
        assert_eq!((name.as_str(), data), ("welcome", json!("in")));
    }
}

#[tokio::test]
async fn a_namespace_that_does_not_exist_is_refused_by_the_server() {
    let server = Server::start(|io| drop(collect(io))).await;
    let mut options = server.options();
    options.namespace = "/nowhere".to_owned();
    let error = within(connect(options)).await.unwrap_err();
    assert!(matches!(error, ConnectError::Refused { .. }), "{error}");
}

#[tokio::test]
async fn a_server_that_disconnects_ends_the_events_and_fails_the_senders() {
    let server = Server::start(|io| {
        io.ns("/", async |socket: SocketRef| {
            socket.on("leave", async |socket: SocketRef| {
                socket.disconnect().unwrap();
            });
        });
    })
    .await;
    let (client, mut events) = server.connect().await;
    let unanswered = client.emit_with_ack("leave", &(), DEADLINE).await;
    assert!(
        matches!(unanswered, Err(AckError::Closed)),
        "{unanswered:?}"
    );
    assert_eq!(reason(&mut events).await, CloseReason::ServerDisconnected);
    assert!(matches!(
        client.emit("late", &()).await,
        Err(EmitError::Closed)
    ));
}

#[tokio::test]
async fn a_server_that_shuts_down_cleanly_ends_the_events() {
    let server = Server::start(|io| drop(collect(io))).await;
    let (_client, mut events) = server.connect().await;
    within(server.io.close()).await;
    let reason = reason(&mut events).await;
    assert!(
        matches!(
            reason,
            CloseReason::ServerDisconnected | CloseReason::Lost(_)
        ),
        "{reason}"
    );
}

#[tokio::test]
async fn a_killed_server_ends_the_events_and_fails_who_waits() {
    let mut server = Server::start(|io| {
        io.ns("/", async |socket: SocketRef| {
            socket.on("mute", async || {});
        });
    })
    .await;
    let (client, mut events) = server.connect().await;
    let waiting = tokio::spawn(async move { client.emit_with_ack("mute", &1, DEADLINE).await });
    server.kill();
    let reason = reason(&mut events).await;
    assert!(matches!(reason, CloseReason::Lost(_)), "{reason}");
    let answer = within(waiting).await.unwrap();
    assert!(matches!(answer, Err(AckError::Closed)), "{answer:?}");
    let error = within(connect(server.options())).await.unwrap_err();
    assert!(matches!(error, ConnectError::Transport { .. }), "{error}");
}

#[tokio::test]
async fn pings_keep_an_idle_connection_alive() {
    let server = Server::impatient(|io| drop(collect(io))).await;
    let (_client, mut events) = server.connect().await;
    // Four times as long as the server and the client tolerate silence.
    let quiet = timeout(Duration::from_millis(2400), events.next()).await;
    assert!(quiet.is_err(), "{quiet:?}");
}

#[tokio::test]
async fn a_thousand_emits_arrive_in_order() {
    let mut items = None;
    let server = Server::start(|io| items = Some(collect(io))).await;
    let mut items = items.unwrap();
    let (client, _events) = server.connect().await;
    for index in 0..1000 {
        client.emit("item", &json!({"index": index})).await.unwrap();
    }
    for index in 0..1000 {
        assert_eq!(within(items.recv()).await, Some(json!({"index": index})));
    }
}

#[tokio::test]
async fn closing_sends_what_was_queued_before() {
    let mut items = None;
    let server = Server::start(|io| items = Some(collect(io))).await;
    let mut items = items.unwrap();
    let (client, mut events) = server.connect().await;
    for index in 0..50 {
        client.emit("item", &index).await.unwrap();
    }
    client.close();
    client.close();
    assert_eq!(reason(&mut events).await, CloseReason::Local);
    for index in 0..50 {
        assert_eq!(within(items.recv()).await, Some(json!(index)));
    }
}

#[tokio::test]
async fn big_messages_pass_and_too_big_ones_are_refused_without_harm() {
    let server = Server::start(|io| {
        io.ns("/", async |socket: SocketRef| {
            socket.on("echo", async |Data::<String>(data), ack: AckSender| {
                ack.send(&data).unwrap();
            });
            socket.on("flood", async |socket: SocketRef| {
                socket.emit("flood", &"x".repeat(2 << 20)).unwrap();
            });
        });
    })
    .await;
    let (client, mut events) = server.connect().await;
    let big = "é".repeat(500_000);
    let answer = client.emit_with_ack("echo", &big, DEADLINE).await.unwrap();
    assert_eq!(answer, json!(big));
    let error = client.emit("echo", &"x".repeat(1 << 20)).await;
    assert!(
        matches!(error, Err(EmitError::TooLarge { .. })),
        "{error:?}"
    );
    assert_eq!(
        client.emit_with_ack("echo", "x", DEADLINE).await.unwrap(),
        json!("x")
    );

    client.emit("flood", &()).await.unwrap();
    let reason = reason(&mut events).await;
    assert!(matches!(reason, CloseReason::Protocol(_)), "{reason}");
}

#[tokio::test]
async fn dropped_events_close_the_connection() {
    let (sender, mut gone) = mpsc::unbounded_channel();
    let server = Server::start(|io| {
        io.ns("/", async move |socket: SocketRef| {
            socket.on_disconnect(async move || sender.send(()).unwrap());
        });
    })
    .await;
    let (client, events) = server.connect().await;
    drop(events);
    within(gone.recv()).await.unwrap();
    let error = within(async {
        loop {
            if let Err(error) = client.emit("x", &()).await {
                return error;
            }
        }
    })
    .await;
    assert!(matches!(error, EmitError::Closed));
}

#[tokio::test]
async fn a_consumer_that_does_not_read_loses_nothing_and_can_still_send() {
    let server = Server::start(|io| {
        io.ns("/", async |socket: SocketRef| {
            socket.on("go", async |socket: SocketRef| {
                for index in 0..500 {
                    while socket.emit("item", &index).is_err() {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                }
            });
            socket.on("done", async |ack: AckSender| ack.send("done").unwrap());
        });
    })
    .await;
    let (client, mut events) = server.connect().await;
    client.emit("go", &()).await.unwrap();
    let first = message(&mut events).await;
    assert_eq!(first.1, json!(0));
    // The incoming queue fills up behind the consumer's back; sending is not held up by that.
    for _ in 0..200 {
        within(client.emit("other", &())).await.unwrap();
    }
    for index in 1..500 {
        assert_eq!(message(&mut events).await.1, json!(index));
    }
    assert_eq!(
        client.emit_with_ack("done", &(), DEADLINE).await.unwrap(),
        json!("done")
    );
}
