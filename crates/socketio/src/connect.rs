//! Opening a connection: address, TCP, WebSocket upgrade, Engine.IO `open`, Socket.IO CONNECT.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::http::Uri;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};

use crate::client::{Client, Events, Outbox};
use crate::packet::{self, Body, Open, Packet};
use crate::session::{Session, Wires};

/// Events that wait for [`Events::next`], and frames that wait for the socket.
const QUEUE: usize = 64;
/// tungstenite would otherwise hold 128 KiB for each connection.
const READ_BUFFER: usize = 8 * 1024;

/// Where to connect, and as whom.
#[derive(Clone)]
pub struct Options {
    /// `http://host[:port][/path]`, or `https://…`, `ws://…`, `wss://…`. A path is where a proxy has mounted the server; `/socket.io/` is
    /// appended to it.
    pub url: String,
    /// The Socket.IO namespace, `/` by default.
    pub namespace: String,
    /// What TLS believes, for an address that begins with `https` or `wss`.
    pub tls: Option<Arc<ClientConfig>>,
    /// The name that TLS asks for; `None`: the host of `url`.
    pub tls_name: Option<ServerName<'static>>,
    /// What the server's connect middleware is shown; never logged.
    pub auth: Option<Value>,
    /// Limit for everything until the namespace is joined, 5 s by default.
    pub connect_timeout: Duration,
    /// Largest message in bytes, each way, 1 MiB by default. A larger one from the server ends the connection.
    pub max_message: usize,
}

impl Options {
    /// The defaults, for the server at `url`.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            namespace: "/".to_owned(),
            tls: None,
            tls_name: None,
            auth: None,
            connect_timeout: Duration::from_secs(5),
            max_message: 1024 * 1024,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `auth` holds credentials.
        formatter
            .debug_struct("Options")
            .field("url", &self.url)
            .field("namespace", &self.namespace)
            .field("connect_timeout", &self.connect_timeout)
            .field("max_message", &self.max_message)
            .finish_non_exhaustive()
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The options cannot be used; trying again is useless.
    #[error("unusable {what} {value:?}")]
    Invalid {
        /// Which option, and what it must be.
        what: &'static str,
        /// Its value.
        value: String,
    },
    /// The server refused the namespace, with this message.
    #[error("refused by the server: {message}")]
    Refused {
        /// The server's own words.
        message: String,
    },
    /// The server cannot be reached, or the socket broke.
    #[error("cannot reach {url}")]
    Transport {
        /// `Options::url`.
        url: String,
        /// What the system said.
        source: io::Error,
    },
    /// The namespace was not joined in time.
    #[error("no connection to {url} within {limit:?}")]
    Timeout {
        /// `Options::url`.
        url: String,
        /// `Options::connect_timeout`.
        limit: Duration,
    },
    /// Something answered, but not a Socket.IO 5 server.
    #[error("{url} does not speak Socket.IO: {problem}")]
    Protocol {
        /// `Options::url`.
        url: String,
        /// What was seen instead.
        problem: String,
    },
}

/// Connects and joins the namespace; see the crate's documentation for the flow.
///
/// Cancel-safe: a dropped call leaves no connection behind.
pub async fn connect(options: Options) -> Result<(Client, Events), ConnectError> {
    let address = Address::parse(&options.url)?;
    check_namespace(&options.namespace)?;
    // On the heap: a handshake of TLS is large, and soon over.
    let establishing = Box::pin(establish(&address, &options));
    tokio::time::timeout(options.connect_timeout, establishing)
        .await
        .unwrap_or_else(|_| {
            Err(ConnectError::Timeout {
                url: options.url.clone(),
                limit: options.connect_timeout,
            })
        })
}

/// The parts of an address that are needed to open a stream and to upgrade it.
#[derive(Debug, PartialEq, Eq)]
struct Address {
    host: String,
    port: u16,
    /// Whether TLS is spoken.
    secure: bool,
    /// The WebSocket address with path and query.
    endpoint: String,
}

impl Address {
    fn parse(url: &str) -> Result<Self, ConnectError> {
        let invalid = |what| ConnectError::Invalid {
            what,
            value: url.to_owned(),
        };
        let uri: Uri = url.parse().map_err(|_| invalid("address"))?;
        let secure = match uri.scheme_str() {
            Some("http" | "ws") => false,
            Some("https" | "wss") => true,
            _ => return Err(invalid("address (expected https://HOST:PORT)")),
        };
        let authority = uri.authority().ok_or_else(|| invalid("address"))?;
        if authority.as_str().contains('@') {
            return Err(invalid("address (credentials do not belong into it)"));
        }
        if uri.query().is_some() {
            return Err(invalid("address (a query does not belong into it)"));
        }
        let path = uri.path().trim_end_matches('/');
        Ok(Self {
            // An IPv6 address stands in brackets in a URL, and without them in a socket address.
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port: authority
                .port_u16()
                .unwrap_or(if secure { 443 } else { 80 }),
            secure,
            // What encrypts the stream is beneath it.
            endpoint: format!("ws://{authority}{path}/socket.io/?EIO=4&transport=websocket"),
        })
    }
}

fn check_namespace(namespace: &str) -> Result<(), ConnectError> {
    if namespace.starts_with('/') && !namespace.contains([',', '?']) {
        return Ok(());
    }
    Err(ConnectError::Invalid {
        what: "namespace (it starts with / and has neither , nor ?)",
        value: namespace.to_owned(),
    })
}

async fn establish(address: &Address, options: &Options) -> Result<(Client, Events), ConnectError> {
    let transport = |source| ConnectError::Transport {
        url: options.url.clone(),
        source,
    };
    let secured = secured(address, options)?;
    let stream = TcpStream::connect((address.host.as_str(), address.port))
        .await
        .map_err(transport)?;
    // Messages are small and answers are waited for.
    stream.set_nodelay(true).map_err(transport)?;
    match secured {
        Some((tls, name)) => {
            let connected = TlsConnector::from(tls).connect(name, stream).await;
            upgrade(Box::new(connected.map_err(transport)?), address, options).await
        }
        None => upgrade(stream, address, options).await,
    }
}

/// What TLS needs, where it is spoken.
fn secured(
    address: &Address,
    options: &Options,
) -> Result<Option<(Arc<ClientConfig>, ServerName<'static>)>, ConnectError> {
    if !address.secure {
        return Ok(None);
    }
    let invalid = |what| ConnectError::Invalid {
        what,
        value: options.url.clone(),
    };
    let tls = options.tls.clone();
    let tls = tls.ok_or_else(|| invalid("address (it asks for TLS, and nobody is believed)"))?;
    let name = match &options.tls_name {
        Some(name) => name.clone(),
        None => ServerName::try_from(address.host.clone())
            .map_err(|_| invalid("address (its host cannot be named in TLS)"))?,
    };
    Ok(Some((tls, name)))
}

/// Makes a WebSocket of a stream, and joins.
async fn upgrade<S>(
    stream: S,
    address: &Address,
    options: &Options,
) -> Result<(Client, Events), ConnectError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(READ_BUFFER)
        .max_message_size(Some(options.max_message))
        .max_frame_size(Some(options.max_message));
    let (socket, _response) = tokio_tungstenite::client_async_with_config(
        address.endpoint.as_str(),
        stream,
        Some(config),
    )
    .await
    .map_err(|error| options.fault(error))?;
    join(socket, options).await
}

/// Joins the namespace over an upgraded stream, whatever carries it, and starts the session.
async fn join<S>(
    mut socket: WebSocketStream<S>,
    options: &Options,
) -> Result<(Client, Events), ConnectError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Packet::Open(open) = receive(&mut socket, options).await? else {
        return Err(options.violation("the first packet is not open"));
    };
    let prefix = packet::namespace_prefix(&options.namespace);
    let hello = packet::connect_frame(&prefix, options.auth.as_ref());
    send(&mut socket, hello, options).await?;
    loop {
        match receive(&mut socket, options).await? {
            // The server's first ping comes before the answer, and a slow connect middleware may outlast several.
            Packet::Ping => send(&mut socket, packet::PONG.to_owned(), options).await?,
            Packet::Message { namespace, body } if namespace == options.namespace => match body {
                Body::Connected => break,
                Body::Refused { message } => {
                    return Err(ConnectError::Refused { message });
                }
                Body::Disconnected | Body::Event { .. } | Body::Ack { .. } => {
                    return Err(options.violation("a message before the namespace was joined"));
                }
            },
            Packet::Idle | Packet::Message { .. } => {}
            Packet::Open(_) => return Err(options.violation("a second open packet")),
            Packet::Close => return Err(options.fault(WsError::ConnectionClosed)),
        }
    }
    Ok(start(socket, options, &open, prefix))
}

fn start<S>(
    socket: WebSocketStream<S>,
    options: &Options,
    open: &Open,
    prefix: String,
) -> (Client, Events)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (commands, outbox) = mpsc::channel(QUEUE);
    let (events, queue) = mpsc::channel(QUEUE);
    let (ended, reason) = oneshot::channel();
    let client = Client {
        outbox: Outbox {
            commands,
            prefix: Arc::from(prefix),
            max_message: options.max_message,
        },
        closing: Arc::new(Notify::new()),
        next_ack: Arc::new(AtomicU32::new(0)),
    };
    let silence = Duration::from_millis(open.ping_interval.saturating_add(open.ping_timeout));
    let wires = Wires {
        outbox,
        replies: client.outbox.clone(),
        events,
        closing: Arc::clone(&client.closing),
    };
    let session = Session::new(socket, options.namespace.clone(), silence, wires);
    tokio::spawn(session.run(ended));
    let reason = Some(reason);
    (client, Events { queue, reason })
}

async fn receive<S>(
    socket: &mut WebSocketStream<S>,
    options: &Options,
) -> Result<Packet, ConnectError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        let message = socket
            .next()
            .await
            .unwrap_or(Err(WsError::ConnectionClosed));
        match message.map_err(|error| options.fault(error))? {
            Message::Text(frame) => {
                return packet::parse(&frame)
                    .map_err(|malformed| options.violation(&malformed.to_string()));
            }
            Message::Binary(_) => return Err(options.violation("a binary message")),
            Message::Close(_) => return Err(options.fault(WsError::ConnectionClosed)),
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
        }
    }
}

async fn send<S>(
    socket: &mut WebSocketStream<S>,
    frame: String,
    options: &Options,
) -> Result<(), ConnectError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    socket
        .send(Message::text(frame))
        .await
        .map_err(|error| options.fault(error))
}

impl Options {
    fn violation(&self, problem: &str) -> ConnectError {
        ConnectError::Protocol {
            url: self.url.clone(),
            problem: problem.to_owned(),
        }
    }

    /// A broken socket is the network's fault, everything else the peer's.
    fn fault(&self, error: WsError) -> ConnectError {
        let source = match error {
            WsError::Io(source) => source,
            WsError::ConnectionClosed
            | WsError::AlreadyClosed
            | WsError::Protocol(
                ProtocolError::HandshakeIncomplete | ProtocolError::ResetWithoutClosingHandshake,
            ) => io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the server closed the connection while it was being opened",
            ),
            WsError::Http(response) => {
                let status = response.status();
                return self.violation(&format!("HTTP status {status} to the WebSocket upgrade"));
            }
            other => return self.violation(&other.to_string()),
        };
        ConnectError::Transport {
            url: self.url.clone(),
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        let table = [
            (
                "http://root:10000",
                "root",
                10000,
                "ws://root:10000/socket.io/",
            ),
            ("ws://edge", "edge", 80, "ws://edge/socket.io/"),
            ("wss://edge", "edge", 443, "ws://edge/socket.io/"),
            (
                "https://root:10000/x",
                "root",
                10000,
                "ws://root:10000/x/socket.io/",
            ),
            ("http://[::1]:7/", "::1", 7, "ws://[::1]:7/socket.io/"),
            ("http://h:1/edge/", "h", 1, "ws://h:1/edge/socket.io/"),
        ];
        for (url, host, port, endpoint) in table {
            let address = Address::parse(url).unwrap();
            let endpoint = format!("{endpoint}?EIO=4&transport=websocket");
            let expected = Address {
                host: host.to_owned(),
                port,
                secure: url.starts_with("https") || url.starts_with("wss"),
                endpoint,
            };
            assert_eq!(address, expected, "{url}");
        }
    }

    #[test]
    fn unusable_addresses_are_refused_with_the_reason() {
        for url in [
            "",
            "root",
            "root:10000",
            "ftp://h",
            "http://u:p@h",
            "http://h/?x",
        ] {
            let error = Address::parse(url).unwrap_err();
            assert!(
                matches!(error, ConnectError::Invalid { .. }),
                "{url}: {error}"
            );
        }
        assert!(check_namespace("a").is_err());
        assert!(check_namespace("/a,b").is_err());
    }

    #[test]
    fn tls_without_anybody_to_believe_is_refused_before_anything_is_dialled() {
        let options = Options::new("https://192.0.2.1");
        let address = Address::parse(&options.url).unwrap();
        let error = secured(&address, &options).unwrap_err();
        assert!(error.to_string().contains("believed"), "{error}");
    }

    #[test]
    fn credentials_do_not_reach_a_debug_print() {
        let mut options = Options::new("http://h");
        options.auth = Some(serde_json::json!({"token": "hush"}));
        assert!(!format!("{options:?}").contains("hush"));
    }
}
