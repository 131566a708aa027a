//! One port for TLS and for plain text, and who may use which.
//!
//! The first byte tells them apart: a TLS record of a handshake begins with 0x16, which begins no request of HTTP and no
//! packet of MQTT. So users of the machine itself, scripts and service managers among them, need no certificate, and all others
//! get nothing but TLS at the same address.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, join, split};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

use crate::gate::Peer;
use crate::hello::HANDSHAKE;

/// A connection in plain text, or by TLS.
pub type Stream<S = TcpStream> = Either<S, Box<TlsStream<S>>>;

/// Who may speak in plain text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plain {
    /// Who dials from this machine.
    ThisMachine,
    /// Everybody: `--insecure`.
    Everybody,
}

/// Lets connections in.
#[derive(Clone)]
pub struct Door {
    tls: Option<TlsAcceptor>,
    plain: Plain,
}

/// Who came in.
#[derive(Debug)]
pub struct Guest<S = TcpStream> {
    /// What is said.
    pub stream: Stream<S>,
    /// Who it is, where it showed a certificate.
    pub peer: Option<Peer>,
}

/// Why a connection was not let in.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It is plain text from another machine. The stream is whole, so that it can be told so.
    #[error("plain text from another machine")]
    Plain(TcpStream),
    /// It is TLS, and there is none here.
    #[error("TLS at a port of plain text")]
    NoTls,
    /// The connection ended, or its handshake failed.
    #[error("the connection was not opened")]
    Io(#[source] io::Error),
}

impl Door {
    /// A door for TLS and plain text.
    pub fn new(tls: Arc<ServerConfig>, plain: Plain) -> Self {
        Self {
            tls: Some(TlsAcceptor::from(tls)),
            plain,
        }
    }

    /// A door for plain text alone.
    pub fn plain(plain: Plain) -> Self {
        Self { tls: None, plain }
    }

    /// Waits for the first byte, then for the handshake; the caller sets the limit of time.
    ///
    /// # Errors
    /// When the connection is not let in.
    pub async fn enter(&self, stream: TcpStream, from: SocketAddr) -> Result<Guest, Refused> {
        let mut first = [0];
        let read = stream.peek(&mut first).await.map_err(Refused::Io)?;
        if read == 0 {
            return Err(Refused::Io(io::ErrorKind::UnexpectedEof.into()));
        }
        if first == [HANDSHAKE] {
            return self.tls(stream).await;
        }
        let near = from.ip().to_canonical().is_loopback();
        if !near && self.plain == Plain::ThisMachine {
            return Err(Refused::Plain(stream));
        }
        Ok(Guest {
            stream: Either::Left(stream),
            peer: None,
        })
    }

    /// The same for what did not come from the network, for example a pipe. Who may speak in plain text there is for the
    /// caller to say.
    ///
    /// # Errors
    /// When the connection is not let in; never [`Refused::Plain`].
    pub async fn enter_attached<S>(
        &self,
        mut stream: S,
    ) -> Result<Guest<impl AsyncRead + AsyncWrite + Unpin + use<S>>, Refused>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut first = [0];
        stream.read_exact(&mut first).await.map_err(Refused::Io)?;
        let is_tls = first == [HANDSHAKE];
        let (reading, writing) = split(stream);
        let whole = join(io::Cursor::new(first).chain(reading), writing);
        if is_tls {
            return self.tls(whole).await;
        }
        Ok(Guest {
            stream: Either::Left(whole),
            peer: None,
        })
    }

    async fn tls<S>(&self, stream: S) -> Result<Guest<S>, Refused>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let acceptor = self.tls.as_ref().ok_or(Refused::NoTls)?;
        // On the heap, so that a connection in plain text has no room for one in TLS.
        let accepted = Box::pin(acceptor.accept(stream)).await;
        let stream = Box::new(accepted.map_err(Refused::Io)?);
        let shown = stream.get_ref().1.peer_certificates();
        let peer = shown.and_then(<[_]>::first).and_then(Peer::read);
        Ok(Guest {
            stream: Either::Right(stream),
            peer,
        })
    }
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Door")
            .field("tls", &self.tls.is_some())
            .field("plain", &self.plain)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use model::time::Wall;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsConnector;

    use super::*;
    use crate::Trust;
    use crate::authority::{Authority, Life};
    use crate::gate::{self, Showing};
    use crate::trust::any_name;

    const FAR: &str = "192.0.2.7:1";
    const NEAR: &str = "127.0.0.1:1";

    fn door() -> (Door, Trust) {
        let (authority, _) = Authority::make("cluster", Wall(0)).unwrap();
        let life = Life {
            from: Wall(0),
            lasting: Duration::from_hours(1),
        };
        let showing = Showing::new(&authority.server(&[], life).unwrap()).unwrap();
        let tls = gate::server(&authority, showing).unwrap();
        let trust = Trust::authority(&authority.certificate()).unwrap();
        (Door::new(tls, Plain::ThisMachine), trust)
    }

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
        (near.unwrap(), far.unwrap().0)
    }

    #[tokio::test]
    async fn tls_comes_in_from_everywhere_and_plain_text_from_this_machine() {
        let (door, trust) = door();
        let (client, server) = pair().await;
        let config = trust.client(None).unwrap();
        let dial = async {
            let mut stream = TlsConnector::from(config)
                .connect(any_name(), client)
                .await?;
            stream.write_all(b"hello").await?;
            stream.shutdown().await
        };
        let serve = async {
            let mut guest = door.enter(server, FAR.parse().unwrap()).await.unwrap();
            let mut said = String::new();
            guest.stream.read_to_string(&mut said).await.unwrap();
            said
        };
        let (dialled, said) = tokio::join!(dial, serve);
        dialled.unwrap();
        assert_eq!(said, "hello");

        for (from, welcome) in [(NEAR, true), ("[::ffff:127.0.0.1]:1", true), (FAR, false)] {
            let (mut client, server) = pair().await;
            client.write_all(b"GET").await.unwrap();
            let entered = door.enter(server, from.parse().unwrap()).await;
            assert_eq!(entered.is_ok(), welcome, "{from}");
            if let Ok(mut guest) = entered {
                let mut said = [0; 3];
                guest.stream.read_exact(&mut said).await.unwrap();
                assert_eq!(&said, b"GET");
                assert_eq!(guest.peer, None);
            }
        }
    }

    #[tokio::test]
    async fn what_is_no_handshake_and_who_says_nothing_is_refused() {
        let (door, _) = door();
        let (mut client, server) = pair().await;
        // A record of TLS, and then nothing of it.
        client
            .write_all(b"\x16\x03\x01\x00\x05hello")
            .await
            .unwrap();
        let refused = door.enter(server, FAR.parse().unwrap()).await.unwrap_err();
        assert!(matches!(refused, Refused::Io(_)), "{refused}");
        let (client, server) = pair().await;
        drop(client);
        let refused = door.enter(server, FAR.parse().unwrap()).await.unwrap_err();
        assert!(matches!(refused, Refused::Io(_)), "{refused}");
        let (mut client, server) = pair().await;
        client.write_all(b"\x16\x03\x01").await.unwrap();
        let plain = Door::plain(Plain::Everybody);
        let refused = plain.enter(server, FAR.parse().unwrap()).await.unwrap_err();
        assert!(matches!(refused, Refused::NoTls), "{refused}");
    }
}
