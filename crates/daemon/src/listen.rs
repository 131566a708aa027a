//! Listening.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket};

use crate::exit;

/// Connections that may wait to be accepted; the system may allow fewer.
///
/// With the library's default of 128 the burst after a restart, when all workers come back at once, overflows the queue,
/// and Linux resets what it believed to be connected.
const BACKLOG: u32 = 4_096;

/// Why there is no listener.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Something else listens there.
    #[error("the address {address} is in use")]
    InUse {
        /// The address asked for.
        address: SocketAddr,
    },
    /// The system refuses for another reason.
    #[error("cannot listen on {address}")]
    Io {
        /// The address asked for.
        address: SocketAddr,
        /// The reason.
        source: io::Error,
    },
}

impl BindError {
    /// The program's exit code for this error, of [`exit`].
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::InUse { .. } => exit::ADDRESS_IN_USE,
            Self::Io { .. } => exit::FAILURE,
        }
    }
}

/// Listens on `address`; port 0 asks for a free one (`TcpListener::local_addr` tells which).
///
/// Must be called inside a tokio runtime.
pub fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    listen(address).map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse { address },
        _ => BindError::Io { address, source },
    })
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    // A restart must not wait for the connections of the former run to be forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_taken_port_is_told_apart() {
        let first = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = first.local_addr().unwrap();
        let error = bind(address).unwrap_err();
        assert!(matches!(error, BindError::InUse { .. }), "{error}");
        assert_eq!(error.exit_code(), 69);
    }

    #[tokio::test]
    async fn a_burst_of_connections_waits_to_be_accepted() {
        let allowed = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
        let burst = allowed
            .trim()
            .parse()
            .map_or(128, |most: usize| most.min(400));
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let waiting: Vec<_> = (0..burst)
            .map(|_| std::net::TcpStream::connect_timeout(&address, Duration::from_secs(5)))
            .collect::<Result<_, _>>()
            .unwrap();
        for _ in &waiting {
            let accepted = tokio::time::timeout(Duration::from_secs(5), listener.accept());
            accepted.await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn an_address_of_another_machine_is_a_plain_failure() {
        let error = bind("192.0.2.1:0".parse().unwrap()).unwrap_err();
        assert_eq!(error.exit_code(), 1, "{error}");
    }
}
