use std::sync::Arc;

use model::id::{ClusterId, NodeId};
use rustls::{ClientConfig, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use super::*;
use crate::gate::{self, Peer, Showing, Standing};
use crate::{Server as Role, Trust, any_name};

const NOW: Wall = Wall(1_800_000_000_000);
const DAY: Life = Life {
    from: NOW,
    lasting: Duration::from_hours(24),
};

fn authority() -> Authority {
    Authority::make("cluster", NOW).unwrap().0
}

fn holder() -> Holder {
    Holder::Worker(NodeId::from_bits(7))
}

/// What a worker has after it joined.
fn joined(authority: &Authority, life: Life) -> Credential {
    let key = Key::make().unwrap();
    let issued = authority
        .issue(&key.request().unwrap(), holder(), life)
        .unwrap();
    Credential::new(&issued.certificate, &key).unwrap()
}

fn serving(authority: &Authority) -> Arc<ServerConfig> {
    let shown = authority.server(&["localhost".to_owned()], DAY).unwrap();
    gate::server(authority, Showing::new(&shown).unwrap()).unwrap()
}

fn trusting(authority: &Authority) -> Trust {
    Trust::authority(&authority.certificate()).unwrap()
}

type Client = client::TlsStream<DuplexStream>;
type Server = server::TlsStream<DuplexStream>;

/// A handshake; that of a client ends before the server has looked at its certificate, so a byte goes over and back.
async fn met(
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
) -> std::io::Result<(Client, Server)> {
    let (near, far) = tokio::io::duplex(16 * 1024);
    let serve = async {
        let mut stream = TlsAcceptor::from(server).accept(far).await?;
        stream.write_all(b"x").await?;
        stream.flush().await?;
        Ok::<_, std::io::Error>(stream)
    };
    let dial = async {
        let mut stream = TlsConnector::from(client).connect(any_name(), near).await?;
        stream.read_u8().await?;
        Ok::<_, std::io::Error>(stream)
    };
    let (served, dialled) = tokio::join!(serve, dial);
    Ok((dialled?, served?))
}

fn peer(stream: &Server) -> Option<Peer> {
    let shown = stream.get_ref().1.peer_certificates()?;
    Peer::read(shown.first()?)
}

#[tokio::test]
async fn a_worker_is_known_by_its_certificate_and_a_user_is_nobody() {
    let authority = authority();
    let own = joined(&authority, DAY);
    let client = trusting(&authority).client(Some(&own)).unwrap();
    let (_client, server) = met(serving(&authority), client).await.unwrap();
    let peer = peer(&server).unwrap();
    assert_eq!(peer.holder, holder());
    assert_eq!(peer.until, NOW.plus(DAY.lasting));
    let client = trusting(&authority).client(None).unwrap();
    let (_client, server) = met(serving(&authority), client).await.unwrap();
    assert_eq!(server.get_ref().1.peer_certificates(), None);
}

#[tokio::test]
async fn who_knows_the_pin_alone_finds_the_authority_and_nobody_else() {
    let (authority, other) = (authority(), authority());
    let client = Trust::pinned(authority.pin()).client(None).unwrap();
    met(serving(&authority), Arc::clone(&client)).await.unwrap();
    assert!(met(serving(&other), client).await.is_err());
}

#[tokio::test]
async fn somebody_in_the_middle_who_shows_the_right_authority_with_a_certificate_of_its_own_is_refused()
 {
    let (authority, other) = (authority(), authority());
    let mut shown = other.server(&[], DAY).unwrap();
    shown.chain[1] = authority.der().clone();
    let server = gate::server(&other, Showing::new(&shown).unwrap()).unwrap();
    let client = Trust::pinned(authority.pin()).client(None).unwrap();
    assert!(met(server, client).await.is_err());
}

#[tokio::test]
async fn each_certificate_serves_its_own_side_only() {
    let authority = authority();
    // A worker's certificate at a server.
    let own = joined(&authority, DAY);
    let shown = Credential {
        chain: vec![own.chain[0].clone(), authority.der().clone()],
        key: own.key.clone_key(),
    };
    let server = gate::server(&authority, Showing::new(&shown).unwrap()).unwrap();
    let client = trusting(&authority).client(None).unwrap();
    assert!(met(server, client).await.is_err());
    // A server's certificate at a client.
    let shown = authority.server(&[], DAY).unwrap();
    let client = trusting(&authority).client(Some(&shown)).unwrap();
    assert!(met(serving(&authority), client).await.is_err());
}

/// A handshake with a server that shows this, by who dials such a server.
async fn secured(shown: &Credential, of: &Authority, trust: &Trust, dialled: Role) -> bool {
    let server = gate::server(of, Showing::new(shown).unwrap()).unwrap();
    let (near, far) = tokio::io::duplex(16 * 1024);
    let client = trust.client(None).unwrap();
    let (dialled, _) = tokio::join!(
        crate::secured(near, Some(client), dialled),
        TlsAcceptor::from(server).accept(far)
    );
    dialled.is_ok()
}

#[tokio::test]
async fn a_broker_is_believed_as_a_broker_and_as_nothing_else() {
    let (authority, other) = (authority(), authority());
    let names = ["127.0.0.1".to_owned()];
    let broker = authority.broker(&names, DAY).unwrap();
    let own = authority.server(&names, DAY).unwrap();
    for trust in [trusting(&authority), Trust::pinned(authority.pin())] {
        for (shown, dialled, believed) in [
            (&broker, Role::Broker, true),
            (&broker, Role::Orchestrator, false),
            (&own, Role::Broker, true),
            (&own, Role::Orchestrator, true),
        ] {
            let is = secured(shown, &authority, &trust, dialled).await;
            assert_eq!(is, believed, "{dialled:?}");
        }
    }
    let stranger = trusting(&other);
    assert!(!secured(&broker, &authority, &stranger, Role::Broker).await);
}

#[tokio::test]
async fn an_authority_proves_itself_as_a_client_of_its_own() {
    let authority = authority();
    let own = authority.client(holder(), DAY).unwrap();
    let client = trusting(&authority).client(Some(&own)).unwrap();
    let (_, stream) = met(serving(&authority), client).await.unwrap();
    let shown = stream.get_ref().1.peer_certificates().unwrap();
    assert_eq!(Peer::read(&shown[0]).unwrap().holder, holder());
}

#[tokio::test]
async fn users_and_machines_are_shown_what_each_believes() {
    let (authority, sold) = (authority(), authority());
    let show = |credential: &Credential| Showing::new(credential).unwrap();
    let both = gate::Both {
        own: show(&authority.server(&[], DAY).unwrap()),
        brought: show(&sold.server(&["root.example".to_owned()], DAY).unwrap()),
    };
    let server = gate::server(&authority, Arc::new(both)).unwrap();
    let own = joined(&authority, DAY);
    let machine = trusting(&authority).client(Some(&own)).unwrap();
    met(Arc::clone(&server), machine).await.unwrap();
    let user = async |trust: Trust| {
        let (near, far) = tokio::io::duplex(16 * 1024);
        let config = trust.client(None).unwrap();
        let name = rustls::pki_types::ServerName::try_from("root.example").unwrap();
        let connector = TlsConnector::from(config);
        let (dialled, _) = tokio::join!(
            connector.connect(name, near),
            TlsAcceptor::from(Arc::clone(&server)).accept(far)
        );
        dialled.is_ok()
    };
    assert!(user(trusting(&sold)).await);
    assert!(!user(trusting(&authority)).await);
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused() {
    let (authority, other) = (authority(), authority());
    let own = joined(&other, DAY);
    let client = trusting(&authority).client(Some(&own)).unwrap();
    assert!(met(serving(&authority), client).await.is_err());
}

#[tokio::test]
async fn the_time_of_a_client_means_nothing_and_an_expired_certificate_is_told_apart() {
    let authority = authority();
    for from in [Wall(0), Wall(4_000_000_000_000)] {
        let life = Life { from, ..DAY };
        let shown = authority.server(&[], life).unwrap();
        let server = gate::server(&authority, Showing::new(&shown).unwrap()).unwrap();
        let own = joined(&authority, life);
        let client = trusting(&authority).client(Some(&own)).unwrap();
        let (_client, server) = met(server, client).await.unwrap();
        let peer = peer(&server).unwrap();
        let end = from.plus(DAY.lasting);
        assert_eq!(peer.standing(end), Standing::Valid);
        let late = end.plus(Duration::from_secs(7));
        assert_eq!(
            peer.standing(late),
            Standing::Expired(Duration::from_secs(7))
        );
    }
}

#[tokio::test]
async fn what_is_shown_can_be_exchanged_while_it_serves() {
    let authority = authority();
    let showing = Showing::new(&authority.server(&[], DAY).unwrap()).unwrap();
    let server = gate::server(&authority, Arc::clone(&showing)).unwrap();
    let client = trusting(&authority).client(None).unwrap();
    let mut shown = Vec::new();
    for _ in 0..2 {
        let (client, _server) = met(Arc::clone(&server), Arc::clone(&client)).await.unwrap();
        shown.push(client.get_ref().1.peer_certificates().unwrap()[0].clone());
        showing
            .exchange(&authority.server(&[], DAY).unwrap())
            .unwrap();
    }
    // The second may be taken up again with what was known of the first.
    let fresh = trusting(&authority).client(None).unwrap();
    let (client, _server) = met(server, fresh).await.unwrap();
    assert!(!shown.contains(&client.get_ref().1.peer_certificates().unwrap()[0]));
}

#[test]
fn an_authority_survives_its_files_and_another_key_is_refused() {
    let (authority, key) = Authority::make("root", NOW).unwrap();
    let loaded = Authority::load(&key, &authority.certificate()).unwrap();
    assert_eq!(loaded.pin(), authority.pin());
    assert_eq!(Pin::of_pem(&authority.certificate()), Some(authority.pin()));
    let other = Key::make().unwrap();
    let error = Authority::load(&other, &authority.certificate()).unwrap_err();
    assert!(matches!(error, IssueError::Mismatch), "{error}");
}

#[test]
fn names_rights_and_keys_of_a_request_are_not_honoured() {
    let authority = authority();
    let issue = |request: &Request| authority.issue(request, holder(), DAY);
    let mut params = CertificateParams::new(vec!["root.example".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let uri = Holder::Worker(NodeId::from_bits(666)).to_string();
    params
        .subject_alt_names
        .push(SanType::URI(uri.try_into().unwrap()));
    let pair = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let asked = Request(params.serialize_request(&pair).unwrap().der().clone());
    let issued = issue(&asked).unwrap();
    let chain = certificates(&issued.certificate).unwrap();
    let (_, read) = x509_parser::parse_x509_certificate(&chain[0]).unwrap();
    assert!(!read.is_ca());
    let usage = read.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.client_auth && !usage.server_auth);
    let names = &read
        .subject_alternative_name()
        .unwrap()
        .unwrap()
        .value
        .general_names;
    assert_eq!(names.len(), 1);
    assert_eq!(Peer::read(&chain[0]).unwrap().holder, holder());
    assert_eq!(Peer::read(&chain[0]).unwrap().serial, issued.serial);

    // Another kind of key, and a signature that is not of the key.
    let other = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let params = CertificateParams::default();
    let asked = Request(params.serialize_request(&other).unwrap().der().clone());
    assert!(matches!(issue(&asked), Err(IssueError::Request)));
    let good = Key::make().unwrap().request().unwrap();
    for at in [good.0.len() - 1, good.0.len() / 2] {
        let mut bytes = good.0.to_vec();
        bytes[at] ^= 1;
        assert!(matches!(
            issue(&Request(bytes.into())),
            Err(IssueError::Request)
        ));
    }
}

#[test]
fn two_certificates_of_one_key_have_two_numbers() {
    let authority = authority();
    let request = Key::make().unwrap().request().unwrap();
    let serials: Vec<_> = (0..2)
        .map(|_| authority.issue(&request, holder(), DAY).unwrap().serial)
        .collect();
    assert_ne!(serials[0], serials[1]);
    assert_eq!(serials[0].as_str().len(), 32);
}

#[test]
fn a_root_vouches_for_a_cluster_whose_workers_can_be_followed_to_it_and_whose_servers_cannot() {
    let root = Authority::make("root", NOW).unwrap().0;
    let cluster = authority();
    let vouched = root.vouch(&cluster.certificate(), DAY).unwrap();
    let between = certificates(&vouched).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(root.der().clone()).unwrap();
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
        Arc::new(roots.clone()),
        crate::provider(),
    );
    let at = rustls::pki_types::UnixTime::since_unix_epoch(Duration::from_millis(NOW.0 as u64));
    let worker = joined(&cluster, DAY);
    let verifier = verifier.build().unwrap();
    verifier
        .verify_client_cert(&worker.chain[0], &between, at)
        .unwrap();
    assert!(
        verifier
            .verify_client_cert(&worker.chain[0], &[], at)
            .is_err()
    );
    let server = cluster.server(&[], DAY).unwrap();
    let read = rustls::server::ParsedCertificate::try_from(&server.chain[0]).unwrap();
    let algorithms = crate::provider().signature_verification_algorithms.all;
    let check = rustls::client::verify_server_cert_signed_by_trust_anchor;
    assert!(check(&read, &roots, &between, at, algorithms).is_err());
    // Nothing else is vouched for.
    for other in [root.certificate(), joined_pem(&cluster)] {
        assert!(root.vouch(&other, DAY).is_err());
    }
}

fn joined_pem(authority: &Authority) -> String {
    let request = Key::make().unwrap().request().unwrap();
    authority
        .issue(&request, Holder::Cluster(ClusterId::from_bits(1)), DAY)
        .unwrap()
        .certificate
}

#[test]
fn a_server_is_named_by_addresses_and_hosts_alone() {
    let names = ["127.0.0.1", "::1", "root.example"].map(str::to_owned);
    authority().server(&names, DAY).unwrap();
    let error = authority()
        .server(&["root\u{fc}".to_owned()], DAY)
        .unwrap_err();
    assert!(error.to_string().contains("root\u{fc}"), "{error}");
}
