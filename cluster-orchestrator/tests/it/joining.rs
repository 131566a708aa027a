//! A cluster that joins its root with a token, by TLS before a root that the test plays.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cluster_orchestrator::{ClusterError, Config, Ready, StoreAt};
use identity::authority::{Authority, Life};
use identity::door::{Door, Guest, Plain, Stream};
use identity::gate::{self, Peer, Showing};
use identity::{Holder, JoinToken, Joining, Request, Secret};
use model::id::JoinTokenId;
use model::time::Wall;
use protocol::document::Format;
use protocol::message::uplink;
use protocol::rest::{JoinRequest, JoinedBody, RenewRequest};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::root::{CLUSTER, Root};
use crate::site::{DEADLINE, config};

/// How often the cluster joined and renewed, and what it showed at each connection of its uplink.
#[derive(Default)]
struct Log {
    joined: u32,
    renewed: u32,
    peers: Vec<Option<Peer>>,
}

struct Gate {
    authority: Authority,
    secret: Secret,
    behind: String,
    log: Mutex<Log>,
}

impl Gate {
    /// Serves at that address, with certificates for two seconds.
    async fn open(self: Arc<Self>, listener: TcpListener) {
        let own = life(Duration::from_hours(1));
        let showing = Showing::new(&self.authority.server(&[], own).unwrap()).unwrap();
        let tls = gate::server(&self.authority, showing).unwrap();
        let door = Door::new(tls, Plain::ThisMachine);
        while let Ok((stream, from)) = listener.accept().await {
            let (door, gate) = (door.clone(), Arc::clone(&self));
            tokio::spawn(async move {
                if let Ok(Guest { stream, peer }) = door.enter(stream, from).await {
                    gate.serve(stream, peer).await;
                }
            });
        }
    }

    fn token(&self, place: String) -> String {
        let token = JoinToken {
            joining: Joining::Cluster,
            places: vec![place],
            pin: self.authority.pin(),
            id: JoinTokenId::from_bits(1),
            secret: self.secret.clone(),
        };
        token.reveal()
    }

    async fn serve(&self, mut stream: Stream, peer: Option<Peer>) {
        let mut text = Vec::new();
        loop {
            if stream.read_buf(&mut text).await.unwrap_or(0) == 0 {
                return;
            }
            if !text.starts_with(b"POST /api/v1/join") {
                self.log.lock().unwrap().peers.push(peer);
                let mut behind = TcpStream::connect(&self.behind).await.unwrap();
                behind.write_all(&text).await.unwrap();
                let _ = copy_bidirectional(&mut stream, &mut behind).await;
                return;
            }
            if text.ends_with(b"}") {
                break;
            }
        }
        let text = String::from_utf8(text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let body = self.answer(head, body, peer.as_ref());
        let length = body.len();
        let answer = format!("HTTP/1.1 201 Created\r\nContent-Length: {length}\r\n\r\n{body}");
        stream.write_all(answer.as_bytes()).await.unwrap();
        let _ = stream.shutdown().await;
    }

    fn answer(&self, head: &str, body: &str, peer: Option<&Peer>) -> String {
        let mut log = self.log.lock().unwrap();
        let holder = Holder::Cluster(CLUSTER);
        let request = if head.starts_with("POST /api/v1/join/renew ") {
            assert_eq!(peer.map(|peer| peer.holder), Some(holder));
            log.renewed += 1;
            RenewRequest::parse(body.as_bytes(), Format::Json)
                .unwrap()
                .request
        } else {
            let asked = JoinRequest::parse(body.as_bytes(), Format::Json).unwrap();
            assert_eq!(asked.secret, self.secret.reveal());
            log.joined += 1;
            asked.request
        };
        let request = Request::from_pem(&request).unwrap();
        let life = life(Duration::from_secs(2));
        let issued = self.authority.issue(&request, holder, life).unwrap();
        let body = JoinedBody {
            id: CLUSTER.to_string(),
            certificate: issued.certificate,
            authority: self.authority.certificate(),
            expires_at: issued.until,
        };
        serde_json::to_string(&body).unwrap()
    }
}

fn life(lasting: Duration) -> Life {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let from = Wall(since.as_millis() as i64);
    Life { from, lasting }
}

type Ended = JoinHandle<Result<(), ClusterError>>;

/// A cluster with a data directory of its own.
async fn start(folder: &Path, token: Option<String>) -> (Ready, CancellationToken, Ended) {
    let config = Config {
        store: StoreAt::Embedded,
        data_dir: folder.to_owned(),
        join_token: token,
        ..config()
    };
    let shutdown = CancellationToken::new();
    let (sender, ready) = tokio::sync::oneshot::channel();
    let run = cluster_orchestrator::run(config, shutdown.clone(), move |ready| {
        let _ = sender.send(ready);
    });
    let ended = tokio::spawn(run);
    let ready = tokio::time::timeout(DEADLINE, ready).await.unwrap();
    (ready.unwrap(), shutdown, ended)
}

#[tokio::test]
async fn a_cluster_joins_a_root_that_comes_later_and_stays_its_member() {
    let root = Root::start().await;
    // A port where nobody listens yet.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = listener.local_addr().unwrap();
    drop(listener);
    let (authority, _) = Authority::make("root", Wall(0)).unwrap();
    let gate = Arc::new(Gate {
        authority,
        secret: Secret::make().unwrap(),
        behind: root.url.strip_prefix("http://").unwrap().to_owned(),
        log: Mutex::default(),
    });
    let folder = tempfile::tempdir().unwrap();
    let token = gate.token(place.to_string());
    let (ready, shutdown, ended) = start(folder.path(), Some(token)).await;
    assert_eq!(ready.cluster_id, None);
    let listener = TcpListener::bind(place).await.unwrap();
    tokio::spawn(Arc::clone(&gate).open(listener));
    root.until("registered", |known| !known.registered.is_empty())
        .await;
    let registered = root.known.lock().unwrap().registered[0].clone();
    let request = uplink::Request::decode(&registered).unwrap();
    assert_eq!(
        (request.cluster_id, request.join_token),
        (Some(CLUSTER), None)
    );
    root.until("renewed", |_| gate.log.lock().unwrap().renewed >= 2)
        .await;
    // The link was not given up for it.
    assert_eq!(gate.log.lock().unwrap().peers.len(), 1);
    shutdown.cancel();
    ended.await.unwrap().unwrap();

    // The next start needs neither token nor address.
    let (ready, shutdown, ended) = start(folder.path(), None).await;
    assert_eq!(ready.cluster_id, Some(CLUSTER));
    root.until("registered again", |known| known.registered.len() == 2)
        .await;
    shutdown.cancel();
    ended.await.unwrap().unwrap();
    let log = gate.log.lock().unwrap();
    assert_eq!(log.joined, 1);
    for peer in &log.peers {
        let peer = peer.as_ref().map(|peer| peer.holder);
        assert_eq!(peer, Some(Holder::Cluster(CLUSTER)));
    }
}
