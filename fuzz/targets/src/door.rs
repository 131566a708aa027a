//! What comes first at a port that speaks TLS, and the certificates of a handshake.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use identity::authority::{Authority, Life};
use identity::door::{Door, Guest, Plain, Refused};
use identity::gate::{self, Showing};
use identity::{Holder, Key, Trust, any_name};
use model::id::NodeId;
use model::time::Wall;
use rustls::client::ResolvesClientCert;
use rustls::crypto::ring::{default_provider, sign};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ServerConfig, SignatureScheme};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::{TlsAcceptor, TlsConnector};

const NEAR: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 1);
const FAR: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)), 1);
/// How a TLS connection begins.
const HANDSHAKE: u8 = 0x16;
const LIFE: Life = Life {
    from: Wall(0),
    lasting: Duration::from_hours(1),
};

/// Shows certificates, whatever they are, with a key of somebody's.
#[derive(Debug)]
struct Shows(Arc<CertifiedKey>);

impl ResolvesClientCert for Shows {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl ResolvesServerCert for Shows {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// A door, a worker that may come in, and somebody who believes the door's authority.
struct Bench {
    runtime: Runtime,
    listener: TcpListener,
    door: Door,
    authority: Authority,
    key: Key,
    holder: Holder,
    certificate: Vec<u8>,
    trusts: [Trust; 2],
}

impl Bench {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let listener = runtime
            .block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
            .expect("a port");
        let (authority, _) = Authority::make("cluster", Wall(0)).expect("it can be made");
        let shown = authority.server(&[], LIFE).expect("a certificate");
        let showing = Showing::new(&shown).expect("its key");
        let tls = gate::server(&authority, showing).expect("TLS");
        let key = Key::make().expect("a key");
        let holder = Holder::Worker(NodeId::from_bits(7));
        let request = key.request().expect("a request");
        let issued = authority.issue(&request, holder, LIFE).expect("a worker's");
        let certificate = CertificateDer::from_pem_slice(issued.certificate.as_bytes());
        let known = Trust::authority(&authority.certificate()).expect("ours");
        Self {
            door: Door::new(tls, Plain::ThisMachine),
            certificate: certificate.expect("PEM").to_vec(),
            trusts: [known, Trust::pinned(authority.pin())],
            runtime,
            listener,
            authority,
            key,
            holder,
        }
    }

    async fn pair(&self) -> (TcpStream, TcpStream) {
        let address = self.listener.local_addr().expect("bound");
        let (near, far) = tokio::join!(TcpStream::connect(address), self.listener.accept());
        let (near, far) = (near.expect("a connection"), far.expect("a connection").0);
        // Closed at once, so that thousands in a second leave no port behind.
        near.set_zero_linger().expect("an option");
        (near, far)
    }

    /// The bytes as the first of a connection from somewhere.
    async fn first(&self, bytes: &[u8], from: SocketAddr) {
        let (mut near, far) = self.pair().await;
        near.write_all(bytes).await.expect("a few bytes");
        near.shutdown().await.expect("an end");
        let entered = self.door.enter(far, from).await;
        match (bytes.first(), entered) {
            (None | Some(&HANDSHAKE), Err(Refused::Io(_))) => {}
            (Some(_), Ok(guest)) => {
                assert_eq!((guest.peer, from), (None, NEAR));
            }
            (Some(_), Err(Refused::Plain(_))) => assert_eq!(from, FAR),
            (first, other) => panic!("{first:?} from {from}: {other:?}"),
        }
    }

    fn shows(&self, chain: Vec<CertificateDer<'static>>) -> Arc<Shows> {
        let key = PrivateKeyDer::from_pem_slice(self.key.to_pem().as_bytes()).expect("PEM");
        let key = sign::any_supported_type(&key).expect("a key");
        Arc::new(Shows(Arc::new(CertifiedKey::new(chain, key))))
    }

    /// A client shows a certificate: it is let in with that of a worker, under that worker's name, and with no other.
    async fn client(&self, certificate: Vec<u8>) {
        let whole = certificate == self.certificate;
        let anybody = Trust::client(&self.trusts[0], None).expect("TLS");
        let mut config = ClientConfig::clone(&anybody);
        config.client_auth_cert_resolver = self.shows(vec![certificate.into()]);
        let (near, far) = self.pair().await;
        let connector = TlsConnector::from(Arc::new(config));
        let (_connected, entered) = tokio::join!(
            Box::pin(connector.connect(any_name(), near)),
            Box::pin(self.door.enter(far, FAR))
        );
        match entered {
            Ok(Guest { peer, .. }) => {
                let peer = peer.expect("who shows a certificate is somebody");
                assert_eq!(peer.holder, self.holder);
            }
            Err(Refused::Io(_)) => assert!(!whole, "a worker is refused"),
            Err(other) => panic!("{other:?}"),
        }
    }

    /// A server shows a certificate, and that of the authority behind it: nobody believes it, for it is no server's.
    async fn server(&self, certificate: Vec<u8>, behind: Vec<u8>) {
        let provider = Arc::new(default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3")
            .with_no_client_auth()
            .with_cert_resolver(self.shows(vec![certificate.into(), behind.into()]));
        let acceptor = TlsAcceptor::from(Arc::new(config));
        for trust in &self.trusts {
            let connector = TlsConnector::from(trust.client(None).expect("TLS"));
            let (near, far) = self.pair().await;
            let (connected, _accepted) = tokio::join!(
                Box::pin(connector.connect(any_name(), near)),
                Box::pin(acceptor.accept(far))
            );
            assert!(connected.is_err(), "a stranger is believed");
        }
    }

    fn authority(&self) -> Vec<u8> {
        let pem = self.authority.certificate();
        let read = CertificateDer::from_pem_slice(pem.as_bytes());
        read.expect("PEM").to_vec()
    }
}

/// A certificate with changes: two bytes say where, and the third what is added there.
fn changed(mut certificate: Vec<u8>, changes: &[u8]) -> Vec<u8> {
    for change in changes.chunks_exact(3) {
        let &[high, low, by] = change else { continue };
        let length = certificate.len();
        let place = usize::from(u16::from_be_bytes([high, low])) % length;
        if let Some(byte) = certificate.get_mut(place) {
            *byte = byte.wrapping_add(by);
        }
    }
    certificate
}

/// The first byte says what the others are: what comes first at a port, from this machine or another one; the certificate
/// that a client or a server shows; or changes to that of a worker, shown as a client's, a server's, or as the
/// authority's behind one.
///
/// Plain text comes in from this machine alone and as nobody, a worker as itself, and no certificate that is not whole counts.
pub fn door(data: &[u8]) {
    static BENCH: OnceLock<Bench> = OnceLock::new();
    let Some((mode, rest)) = data.split_first() else {
        return;
    };
    let bench = BENCH.get_or_init(Bench::new);
    let worker = || bench.certificate.clone();
    bench.runtime.block_on(async {
        match mode % 7 {
            0 => bench.first(rest, NEAR).await,
            1 => bench.first(rest, FAR).await,
            2 => bench.client(rest.to_vec()).await,
            3 => bench.server(rest.to_vec(), bench.authority()).await,
            4 => bench.client(changed(worker(), rest)).await,
            5 => {
                let shown = changed(worker(), rest);
                bench.server(shown, bench.authority()).await;
            }
            _ => {
                let behind = changed(bench.authority(), rest);
                bench.server(worker(), behind).await;
            }
        }
    });
}
