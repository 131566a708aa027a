//! An MQTT broker for other applications on this machine: rumqttd, in this process, where the feature `general-broker`
//! built it in.
//!
//! Workers and this cluster do not use it, unless `--broker` names its address. It has no rules about who may do what, and
//! falls by some things that a client may say (docs/decisions/0026), so it listens on loopback addresses only, and is
//! watched as a client sees it: one that fell is told, and begun anew.

use std::net::SocketAddr;

/// What is wrong with the option's value, if there is one.
pub(crate) fn fault(address: Option<SocketAddr>) -> Option<String> {
    let address = address?;
    let wrong = if cfg!(not(feature = "general-broker")) {
        "this program was built without it; build it with --features general-broker"
    } else if !address.ip().is_loopback() {
        "it must be a loopback address, for example 127.0.0.1:1883: whoever reaches this broker may read and write \
         everything on it. For other machines run one that has rules, such as Mosquitto"
    } else if address.port() == 0 {
        "it needs a port, for example 127.0.0.1:1883: this broker does not tell which free one it took"
    } else {
        return None;
    };
    Some(format!("--general-broker {address}: {wrong}"))
}

#[cfg(feature = "general-broker")]
pub(crate) use running::GeneralBroker;

#[cfg(feature = "general-broker")]
mod running {
    use std::io;
    use std::net::SocketAddr;
    use std::thread;
    use std::time::Duration;

    use mqtt::client::{self, Event};
    use rumqttd::protocol::v4::V4;
    use rumqttd::{ConnectionSettings, LinkType, Router, RouterConfig, Server, ServerSettings};
    use tokio::net::TcpListener;
    use tokio::sync::oneshot;
    use tokio_util::sync::{CancellationToken, DropGuard};

    use crate::ClusterError;

    /// Connections at a time, and one for who watches.
    const CONNECTIONS: usize = 1_000 + 1;
    /// The largest packet in bytes: what our own links send, each way.
    const PACKET: usize = 256 * 1_024;
    /// Messages on the way to a client that are not acknowledged yet.
    const INFLIGHT: usize = 100;
    /// Bytes of a topic's messages that wait for slow clients, in so many pieces; the oldest piece is dropped first.
    const SEGMENT: usize = 1_024 * 1_024;
    const SEGMENTS: usize = 10;
    /// A client says who it is within this many milliseconds.
    const CONNECT_MILLIS: u16 = 5_000;
    /// Between two looks whether new clients are let in. One that fell as a whole is noticed at once.
    const LOOK: Duration = Duration::from_secs(10);
    /// From a fall to the next beginning.
    const PAUSE: Duration = Duration::from_secs(1);

    /// A broker that serves.
    #[derive(Debug)]
    pub(crate) struct GeneralBroker {
        address: SocketAddr,
        /// Says why its thread ended; says nothing when that panicked.
        ended: oneshot::Receiver<Result<(), String>>,
        /// It ends when this is dropped.
        _stop: DropGuard,
    }

    impl GeneralBroker {
        /// Begins to serve where `reserved` listens now, and returns once it does.
        ///
        /// # Errors
        /// When the address was taken meanwhile, or there is no thread to be had.
        pub(crate) async fn start(reserved: TcpListener) -> Result<Self, ClusterError> {
            let address = crate::local(&reserved)?;
            // The library takes an address, and no listener.
            drop(reserved);
            let broker = Self::begin(address).await;
            broker.map_err(|source| ClusterError::Io {
                operation: "serve --general-broker",
                source,
            })
        }

        async fn begin(address: SocketAddr) -> io::Result<Self> {
            let stop = CancellationToken::new();
            let (listening, listens) = oneshot::channel();
            let (done, mut ended) = oneshot::channel();
            let stopped = stop.clone();
            // A thread of its own: what panics there ends nothing else.
            let run = move || {
                let _ = done.send(serve(address, listening, &stopped));
            };
            thread::Builder::new()
                .name("general-broker".to_owned())
                .spawn(run)?;
            if listens.await.is_err() {
                return Err(io::Error::other(why(&(&mut ended).await)));
            }
            Ok(Self {
                address,
                ended,
                _stop: stop.drop_guard(),
            })
        }

        /// Watches it, and begins it anew when it fell, until the token is cancelled.
        pub(crate) async fn keep(mut self, shutdown: CancellationToken) {
            let address = self.address;
            tracing::info!(%address, "a general MQTT broker serves other applications on this machine");
            loop {
                let reason = tokio::select! {
                    () = shutdown.cancelled() => return,
                    ended = &mut self.ended => why(&ended),
                    reason = watch(address) => reason,
                };
                tracing::error!(%address, reason, "the general MQTT broker fell; it begins anew, and has lost what it held for its clients");
                drop(self);
                self = loop {
                    tokio::select! {
                        () = shutdown.cancelled() => return,
                        () = tokio::time::sleep(PAUSE) => {}
                    }
                    match Self::begin(address).await {
                        Ok(broker) => break broker,
                        Err(error) => {
                            tracing::error!(%address, %error, "the general MQTT broker cannot begin; it is tried again");
                        }
                    }
                };
            }
        }
    }

    fn why(ended: &Result<Result<(), String>, oneshot::error::RecvError>) -> String {
        match ended {
            Ok(Ok(())) => "it stopped".to_owned(),
            Ok(Err(reason)) => reason.clone(),
            Err(_) => "its thread panicked".to_owned(),
        }
    }

    /// Serves until the token is cancelled. Only the thread of its router outlives that, idle: it cannot be told to end.
    fn serve(
        address: SocketAddr,
        listening: oneshot::Sender<()>,
        stop: &CancellationToken,
    ) -> Result<(), String> {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let router = Router::new(0, router()).spawn();
        let mut server = Server::new(server(address), router, V4);
        runtime.block_on(async {
            tokio::select! {
                // In this order: when it was asked for the first time and has not failed, it listens.
                biased;
                ended = server.start(LinkType::Remote) => ended.map_err(|error| error.to_string()),
                () = async {
                    let _ = listening.send(());
                    stop.cancelled().await;
                } => Ok(()),
            }
        })
    }

    fn router() -> RouterConfig {
        RouterConfig {
            max_connections: CONNECTIONS,
            max_outgoing_packet_count: 200,
            max_segment_size: SEGMENT,
            max_segment_count: SEGMENTS,
            ..RouterConfig::default()
        }
    }

    fn server(address: SocketAddr) -> ServerSettings {
        ServerSettings {
            name: "general-broker".to_owned(),
            listen: address,
            tls: None,
            next_connection_delay_ms: 0,
            connections: ConnectionSettings {
                connection_timeout_ms: CONNECT_MILLIS,
                max_payload_size: PACKET,
                max_inflight_count: INFLIGHT,
                auth: None,
                external_auth: None,
                // Without it, who publishes what nobody has asked for yet is thrown out.
                dynamic_filters: true,
            },
        }
    }

    /// Comes to the broker as any client does, again and again, until that fails; says why.
    async fn watch(address: SocketAddr) -> String {
        let id = format!("edgeio-watch-{}", std::process::id());
        loop {
            let options = client::Options::new(address.ip().to_string(), address.port(), &id);
            let (client, mut events) = client::connect(options, CancellationToken::new());
            loop {
                match tokio::time::timeout(LOOK, events.next()).await {
                    Ok(Some(Event::Closed { reason })) => return reason.to_string(),
                    Ok(Some(Event::Connected | Event::Message { .. })) => {}
                    Ok(None) => return "the connection ended".to_owned(),
                    Err(_) => break,
                }
            }
            // One that cannot hear it any more is seen by the next.
            let _ = client.disconnect().await;
        }
    }
}
