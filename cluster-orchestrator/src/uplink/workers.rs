//! Workers that come through the root: their bytes go into this cluster's own MQTT endpoint, as if they had dialled it,
//! and their TLS ends there.

use mqtt::endpoint;
use orchestrator::tunnels::Tunnels;
use orchestrator::with_sources;
use protocol::message::fallback::{Fallback, Relay as Address};
use protocol::message::uplink::relay::{Event, Frame};
use protocol::message::uplink::{RelayAt, Welcome};
use serde_json::Value;
use socketio::AckReply;

use super::Relayed;
use crate::approach::root_host;

/// Between a tunnel and the endpoint, each way.
const PIPE: usize = 4 * 1024;

/// The workers of one connection of the uplink. They end with it.
pub(super) struct Relay {
    tunnels: Tunnels,
    endpoint: endpoint::Handle,
}

impl Relay {
    pub(super) const fn new(tunnels: Tunnels, endpoint: endpoint::Handle) -> Self {
        Self { tunnels, endpoint }
    }

    /// Takes a frame of the root, in the order of arrival; never waits.
    pub(super) fn take(&self, data: &Value, ack: Option<AckReply>) {
        match Frame::decode(data) {
            Ok(Some(Frame {
                connection,
                event: Event::Open { peer },
            })) => self.open(connection, peer),
            Ok(Some(frame)) => self.tunnels.take(frame),
            // Of a newer root, and counted.
            Ok(None) => {}
            Err(error) => {
                let reason = with_sources(&error);
                tracing::warn!(reason, "a relayed frame cannot be read");
            }
        }
        if let Some(ack) = ack {
            // Beside this, since the way out may be full. Those under way are few, as the root waits for them.
            tokio::spawn(async move {
                // A root that is gone has lost what was relayed, too.
                let _ = ack.send(&Value::Null).await;
            });
        }
    }

    fn open(&self, connection: u64, peer: std::net::SocketAddr) {
        let tunnel = match self.tunnels.accept(connection) {
            Ok(tunnel) => tunnel,
            // The root's deadline tells the worker.
            Err(full) => return tracing::warn!(reason = %full, "a worker cannot be served"),
        };
        let (here, there) = tokio::io::duplex(PIPE);
        let endpoint = self.endpoint.clone();
        // Not ended with the uplink: it has to tell the end of the session.
        tokio::spawn(async move { endpoint.attach(there, peer).await });
        tokio::spawn(tunnel.carry(here));
    }
}

impl Relayed {
    /// The root said where its relay is, or that there is none.
    pub(super) fn learn(&self, welcome: &Welcome, root: &str) {
        let relay = welcome.relay.as_ref();
        let relay = relay.map(|at| Address {
            cluster: welcome.cluster,
            host: host(at, root),
            port: at.port,
            tls: at.tls,
        });
        let fallback = Some(Fallback { relay });
        self.fallback.send_if_modified(|known| {
            let is_news = *known != fallback;
            *known = fallback;
            is_news
        });
    }
}

/// Where workers find the relay. A root on this machine is for them where this cluster is.
fn host(at: &RelayAt, root: &str) -> Option<String> {
    let host = at.host.clone().or_else(|| root_host(root));
    host.filter(|host| !daemon::dial::plain_allowed(host, false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_is_where_the_root_says_or_where_the_root_is() {
        let at = |named: Option<&str>, root: &str| {
            let at = RelayAt {
                host: named.map(str::to_owned),
                port: 10_002,
                tls: true,
            };
            host(&at, root)
        };
        assert_eq!(
            at(None, "http://192.0.2.1:10000").as_deref(),
            Some("192.0.2.1")
        );
        assert_eq!(
            at(Some("relay.example"), "http://192.0.2.1:10000").as_deref(),
            Some("relay.example")
        );
        // Beside this cluster: what this machine calls itself means something else at the worker's.
        for root in ["http://127.0.0.1:10000", "http://localhost", "ws://[::1]:1"] {
            assert_eq!(at(None, root), None, "{root}");
        }
    }
}
