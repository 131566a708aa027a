//! Whom a client asks for, as somebody between the two reads it: the first words of TLS are not encrypted, all others are.

use std::io;

use model::id::ClusterId;
use rustls::server::{Accepted, Acceptor};

use crate::trust::asked;

/// How a TLS connection begins.
pub const HANDSHAKE: u8 = 0x16;
/// Bytes of first words at most: rustls itself says fewer than 600.
pub const HELLO_LIMIT: usize = 16 * 1024;

/// Reads a client's first words as they come; what was read is still the caller's to pass on.
#[derive(Default)]
pub struct Hello {
    acceptor: Acceptor,
    length: usize,
}

/// What came is not how TLS begins, or is too much of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not how TLS begins")]
pub struct NoHello;

/// Whose server is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// That of this cluster ([`crate::Server::Relayed`]).
    Cluster(ClusterId),
    /// Something else, or nothing.
    Other,
}

impl std::fmt::Debug for Hello {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hello")
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

impl Hello {
    /// Takes what came next; `None`: more is to come.
    ///
    /// # Errors
    /// [`NoHello`].
    pub fn read(&mut self, mut bytes: &[u8]) -> Result<Option<Asked>, NoHello> {
        self.length += bytes.len();
        if self.length > HELLO_LIMIT {
            return Err(NoHello);
        }
        while !bytes.is_empty() {
            let taken: io::Result<usize> = self.acceptor.read_tls(&mut bytes);
            if taken.map_err(|_| NoHello)? == 0 {
                return Err(NoHello);
            }
            if let Some(accepted) = self.acceptor.accept().map_err(|_| NoHello)? {
                return Ok(Some(whom(&accepted)));
            }
        }
        Ok(None)
    }
}

fn whom(accepted: &Accepted) -> Asked {
    let hello = accepted.client_hello();
    let cluster = hello.server_name().and_then(asked);
    cluster.map_or(Asked::Other, Asked::Cluster)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rustls::ClientConnection;
    use rustls::pki_types::ServerName;

    use super::*;
    use crate::trust::{Server, any_name};
    use crate::{Pin, Trust};

    const CLUSTER: ClusterId = ClusterId::from_bits(u128::MAX / 3);

    fn hello(name: ServerName<'static>) -> Vec<u8> {
        let nobody: Pin = "A".repeat(43).parse().unwrap();
        let config = Trust::pinned(nobody).client(None).unwrap();
        let mut client = ClientConnection::new(config, name).unwrap();
        let mut said = Vec::new();
        client.write_tls(&mut said).unwrap();
        said
    }

    #[test]
    fn a_cluster_that_is_asked_for_is_read_however_the_bytes_come() {
        let said = hello(Server::Relayed(CLUSTER).name());
        assert_eq!(said.first(), Some(&HANDSHAKE));
        assert_eq!(
            Hello::default().read(&said),
            Ok(Some(Asked::Cluster(CLUSTER)))
        );
        let mut slowly = Hello::default();
        let (last, before) = said.split_last().unwrap();
        for byte in before {
            assert_eq!(slowly.read(&[*byte]), Ok(None));
        }
        assert_eq!(slowly.read(&[*last]), Ok(Some(Asked::Cluster(CLUSTER))));
    }

    #[test]
    fn who_asks_for_something_else_is_told_apart() {
        let names = [
            "root.example",
            "x.clusters.edgeio.internal",
            "clusters.edgeio.internal",
        ];
        let named = names.map(|name| ServerName::try_from(name).unwrap());
        let address = ServerName::IpAddress(std::net::IpAddr::from([192, 0, 2, 1]).into());
        for name in named.into_iter().chain([any_name(), address]) {
            let what = format!("{name:?}");
            assert_eq!(
                Hello::default().read(&hello(name)),
                Ok(Some(Asked::Other)),
                "{what}"
            );
        }
    }

    #[test]
    fn what_is_no_hello_is_refused() {
        assert_eq!(
            Hello::default().read(b"\x16\x03\x01\x00\x05hello"),
            Err(NoHello)
        );
        assert_eq!(
            Hello::default().read(b"GET / HTTP/1.1\r\n\r\n"),
            Err(NoHello)
        );
        // A message of the largest length, whose records go on and on.
        let record = [&[HANDSHAKE, 3, 1, 0x3f, 0xff][..], &[0; 0x3fff]].concat();
        let mut hello = Hello::default();
        let first = hello.read(&record);
        assert!(first.is_err() || hello.read(&record).is_err());
    }

    proptest! {
        #[test]
        fn bytes_of_any_kind_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = Hello::default().read(&bytes);
            let _ = Hello::default().read(&[&[HANDSHAKE, 3, 1][..], &bytes].concat());
        }
    }
}
