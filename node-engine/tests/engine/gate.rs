//! TLS before a cluster that the test plays, where workers join.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use identity::authority::{Authority, Life};
use identity::door::{Door, Guest, Plain, Stream};
use identity::gate::{self, Peer, Showing};
use identity::{Holder, JoinToken, Joining, Request, Secret};
use model::id::{JoinTokenId, NodeId};
use model::time::Wall;
use protocol::document::Format;
use protocol::problem::Problem;
use protocol::rest::{JoinRequest, JoinedBody, RenewRequest};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

/// What came in.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// How often somebody joined, and renewed.
    pub(crate) joined: u32,
    pub(crate) renewed: u32,
    /// Who registered, by the certificate that it showed.
    pub(crate) peers: Vec<Option<Peer>>,
}

impl Log {
    /// How many certificates were shown by who registered.
    pub(crate) fn certificates(&self) -> usize {
        let serials = self.peers.iter().flatten().map(|peer| &peer.serial);
        serials.collect::<BTreeSet<_>>().len()
    }
}

pub(crate) struct Gate {
    pub(crate) place: String,
    pub(crate) log: Arc<Mutex<Log>>,
    inner: Arc<Inner>,
}

struct Inner {
    authority: Arc<Authority>,
    secret: Secret,
    node: NodeId,
    life: Duration,
    /// The cluster behind it.
    behind: String,
    log: Arc<Mutex<Log>>,
}

impl Gate {
    /// Who issues here, and signs what its workers are to run.
    pub(crate) fn authority(&self) -> Arc<Authority> {
        Arc::clone(&self.inner.authority)
    }

    /// Lets one worker join, with certificates for so long.
    pub(crate) async fn open(url: &str, node: NodeId, life: Duration) -> Self {
        let (authority, _) = Authority::make("cluster", now()).unwrap();
        let authority = Arc::new(authority);
        let own = Life {
            from: now(),
            lasting: Duration::from_hours(1),
        };
        let showing = Showing::new(&authority.server(&[], own).unwrap()).unwrap();
        let door = Door::new(
            gate::server(&authority, showing).unwrap(),
            Plain::ThisMachine,
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = listener.local_addr().unwrap().to_string();
        let log = Arc::new(Mutex::new(Log::default()));
        let inner = Arc::new(Inner {
            authority,
            secret: Secret::make().unwrap(),
            node,
            life,
            behind: url.strip_prefix("http://").unwrap().to_owned(),
            log: Arc::clone(&log),
        });
        let serving = Arc::clone(&inner);
        tokio::spawn(async move {
            while let Ok((stream, from)) = listener.accept().await {
                let (door, inner) = (door.clone(), Arc::clone(&serving));
                tokio::spawn(async move {
                    if let Ok(Guest { stream, peer }) = door.enter(stream, from).await {
                        inner.serve(stream, peer).await;
                    }
                });
            }
        });
        Self { place, log, inner }
    }

    pub(crate) fn pin(&self) -> String {
        self.inner.authority.pin().to_string()
    }

    pub(crate) fn token(&self) -> String {
        let token = JoinToken {
            joining: Joining::Worker,
            places: vec![self.place.clone()],
            pin: self.inner.authority.pin(),
            id: JoinTokenId::from_bits(1),
            secret: self.inner.secret.clone(),
        };
        token.reveal()
    }
}

impl Inner {
    async fn serve(&self, mut stream: Stream, peer: Option<Peer>) {
        let mut text = Vec::new();
        loop {
            if stream.read_buf(&mut text).await.unwrap_or(0) == 0 {
                return;
            }
            if !text.starts_with(b"POST /api/v1/join") {
                if text.starts_with(b"GET /socket.io/") {
                    self.log.lock().unwrap().peers.push(peer);
                }
                let mut behind = TcpStream::connect(&self.behind).await.unwrap();
                behind.write_all(&text).await.unwrap();
                let _ = copy_bidirectional(&mut stream, &mut behind).await;
                return;
            }
            let Some((path, body)) = request(&text) else {
                continue;
            };
            let (status, body) = self.answer(&path, &body, peer.as_ref());
            let length = body.len();
            let answer = format!("HTTP/1.1 {status} x\r\nContent-Length: {length}\r\n\r\n{body}");
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
            return;
        }
    }

    fn answer(&self, path: &str, body: &str, peer: Option<&Peer>) -> (u16, String) {
        let mut log = self.log.lock().unwrap();
        let refuse = |code| {
            let problem = Problem::new(401, code, "no");
            (401, serde_json::to_string(&problem).unwrap())
        };
        let request = if path == "/api/v1/join" {
            let asked = JoinRequest::parse(body.as_bytes(), Format::Json).unwrap();
            if asked.secret != self.secret.reveal() {
                return refuse("bad_join_token");
            }
            log.joined += 1;
            asked.request
        } else {
            let shown = peer.map(|peer| peer.holder);
            if shown != Some(Holder::Worker(self.node)) {
                return refuse("no_certificate");
            }
            log.renewed += 1;
            RenewRequest::parse(body.as_bytes(), Format::Json)
                .unwrap()
                .request
        };
        let life = Life {
            from: now(),
            lasting: self.life,
        };
        let request = Request::from_pem(&request).unwrap();
        let holder = Holder::Worker(self.node);
        let issued = self.authority.issue(&request, holder, life).unwrap();
        let body = JoinedBody {
            id: self.node.to_string(),
            certificate: issued.certificate,
            authority: self.authority.certificate(),
            expires_at: issued.until,
        };
        (201, serde_json::to_string(&body).unwrap())
    }
}

/// Path and body, once they are there.
fn request(text: &[u8]) -> Option<(String, String)> {
    let (head, body) = std::str::from_utf8(text).ok()?.split_once("\r\n\r\n")?;
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "))?;
    let path = head.split(' ').nth(1)?;
    (body.len() == length.parse::<usize>().ok()?).then(|| (path.to_owned(), body.to_owned()))
}

fn now() -> Wall {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Wall(since.as_millis() as i64)
}
