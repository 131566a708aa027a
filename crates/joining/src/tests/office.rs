//! A server that lets join, as an orchestrator does.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use daemon::clock::wall_millis;
use identity::authority::{Authority, Life};
use identity::door::{Door, Guest, Plain};
use identity::gate::{self, Peer, Showing};
use identity::{Holder, JoinToken, Joining, Key, Request, Secret};
use model::id::{ClusterId, JoinTokenId, NodeId};
use model::time::Wall;
use protocol::document::Format;
use protocol::problem::Problem;
use protocol::rest::{JoinRequest, JoinedBody, RenewRequest};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

pub(super) const DAY: Duration = Duration::from_hours(24);

pub(super) struct Office {
    place: String,
    desk: Arc<Desk>,
    _stop: DropGuard,
}

struct Desk {
    authority: Authority,
    secret: Secret,
    book: Mutex<Book>,
}

struct Book {
    now: Wall,
    life: Duration,
    /// Who has which key.
    keys: BTreeMap<Vec<u8>, NodeId>,
    uses: u128,
    renewals: u32,
    lost: u32,
    is_revoked: bool,
    always: Option<String>,
    /// All bodies of requests.
    heard: String,
}

impl Office {
    pub(super) async fn open() -> Self {
        let (authority, _) = Authority::make("cluster", Wall(wall_millis())).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = listener.local_addr().unwrap().to_string();
        let life = Life {
            from: Wall(wall_millis()),
            lasting: DAY,
        };
        let showing = Showing::new(&authority.server(&[], life).unwrap()).unwrap();
        let tls = gate::server(&authority, showing).unwrap();
        let desk = Arc::new(Desk {
            authority,
            secret: Secret::make().unwrap(),
            book: Mutex::new(Book {
                now: Wall(wall_millis()),
                life: DAY,
                keys: BTreeMap::new(),
                uses: 0,
                renewals: 0,
                lost: 0,
                is_revoked: false,
                always: None,
                heard: String::new(),
            }),
        });
        let stop = CancellationToken::new();
        let door = Door::new(tls, Plain::ThisMachine);
        let serving = serve(listener, door, Arc::clone(&desk));
        let stopped = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = stopped.cancelled() => {}
                () = serving => {}
            }
        });
        Self {
            place,
            desk,
            _stop: stop.drop_guard(),
        }
    }

    pub(super) fn token(&self) -> JoinToken {
        JoinToken {
            joining: Joining::Worker,
            places: vec![self.place.clone()],
            pin: self.desk.authority.pin(),
            id: JoinTokenId::from_bits(1),
            secret: self.desk.secret.clone(),
        }
    }

    pub(super) fn place(&self) -> &str {
        &self.place
    }

    pub(super) fn authority(&self) -> &Authority {
        &self.desk.authority
    }

    fn change(&self, change: impl FnOnce(&mut Book)) {
        change(&mut self.desk.book.lock().unwrap());
    }

    pub(super) fn uses(&self) -> u128 {
        self.desk.book.lock().unwrap().uses
    }

    pub(super) fn renewals(&self) -> u32 {
        self.desk.book.lock().unwrap().renewals
    }

    pub(super) fn heard(&self) -> String {
        self.desk.book.lock().unwrap().heard.clone()
    }

    pub(super) fn lose_answers(&self, lost: u32) {
        self.change(|book| book.lost = lost);
    }

    pub(super) fn set_now(&self, now: Wall) {
        self.change(|book| book.now = now);
    }

    pub(super) fn set_life(&self, life: Duration) {
        self.change(|book| book.life = life);
    }

    /// Certificates that are there are renewed no more.
    pub(super) fn revoke(&self) {
        self.change(|book| book.is_revoked = true);
    }

    /// Who joins next is somebody new, whatever its key.
    pub(super) fn forget_keys(&self) {
        self.change(|book| book.keys.clear());
        self.revoke();
    }

    pub(super) fn answer_always(&self, answer: Option<String>) {
        self.change(|book| book.always = answer);
    }

    pub(super) async fn until_renewed(&self, renewals: u32) {
        let waiting = async {
            while self.renewals() < renewals {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let waited = tokio::time::timeout(super::DEADLINE, waiting).await;
        waited.unwrap_or_else(|_| panic!("{} renewals", self.renewals()));
    }

    /// Answers that a client must not believe.
    pub(super) fn bad_answers(&self, other: &Self, key: &Key) -> Vec<String> {
        let request = key.request().unwrap();
        let life = Life {
            from: Wall(wall_millis()),
            lasting: DAY,
        };
        let node = NodeId::from_bits(7);
        let issue = |of: &Self, request: &Request| {
            let issued = of.authority().issue(request, Holder::Worker(node), life);
            issued.unwrap().certificate
        };
        let good = JoinedBody {
            id: node.to_string(),
            certificate: issue(self, &request),
            authority: self.authority().certificate(),
            expires_at: Wall(0),
        };
        let bad = [
            JoinedBody {
                id: ClusterId::from_bits(7).to_string(),
                ..good.clone()
            },
            JoinedBody {
                certificate: issue(self, &Key::make().unwrap().request().unwrap()),
                ..good.clone()
            },
            JoinedBody {
                certificate: issue(other, &request),
                ..good.clone()
            },
            JoinedBody {
                certificate: issue(other, &request),
                authority: other.authority().certificate(),
                ..good.clone()
            },
            JoinedBody {
                certificate: String::new(),
                ..good
            },
        ];
        let texts = bad.iter().map(|body| serde_json::to_string(body).unwrap());
        texts.chain(["", "{}", "null"].map(str::to_owned)).collect()
    }
}

async fn serve(listener: TcpListener, door: Door, desk: Arc<Desk>) {
    while let Ok((stream, from)) = listener.accept().await {
        let (door, desk) = (door.clone(), Arc::clone(&desk));
        tokio::spawn(async move {
            let Ok(Guest { mut stream, peer }) = door.enter(stream, from).await else {
                return;
            };
            let mut text = Vec::new();
            let (path, body) = loop {
                if stream.read_buf(&mut text).await.unwrap_or(0) == 0 {
                    return;
                }
                if let Some(request) = request(&text) {
                    break request;
                }
            };
            let (status, answer) = desk.answer(&path, &body, peer.as_ref());
            if std::mem::take(&mut desk.book.lock().unwrap().lost) > 0 {
                return;
            }
            let head = format!(
                "HTTP/1.1 {status} x\r\nContent-Length: {}\r\n\r\n",
                answer.len()
            );
            let _ = stream.write_all((head + &answer).as_bytes()).await;
            let _ = stream.flush().await;
            let _ = stream.shutdown().await;
        });
    }
}

/// Path and body, once they are there.
fn request(text: &[u8]) -> Option<(String, String)> {
    let text = std::str::from_utf8(text).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "))?;
    let path = head.split(' ').nth(1)?;
    (body.len() == length.parse::<usize>().ok()?).then(|| (path.to_owned(), body.to_owned()))
}

impl Desk {
    fn answer(&self, path: &str, body: &str, peer: Option<&Peer>) -> (u16, String) {
        let mut book = self.book.lock().unwrap();
        book.heard.push_str(body);
        if let Some(always) = &book.always {
            return (201, always.clone());
        }
        let refuse = |code: &str| {
            let problem = Problem::new(401, code, "no");
            (401, serde_json::to_string(&problem).unwrap())
        };
        if path == "/api/v1/join" {
            let asked = JoinRequest::parse(body.as_bytes(), Format::Json).unwrap();
            if asked.secret != self.secret.reveal() {
                return refuse("bad_join_token");
            }
            let key = point(&asked.request);
            let node = if let Some(node) = book.keys.get(&key) {
                *node
            } else {
                book.uses += 1;
                let node = NodeId::from_bits(book.uses);
                book.keys.insert(key, node);
                node
            };
            book.is_revoked = false;
            return (201, self.issue(&asked.request, node, &book));
        }
        assert_eq!(path, "/api/v1/join/renew");
        let asked = RenewRequest::parse(body.as_bytes(), Format::Json).unwrap();
        book.renewals += 1;
        match peer.map(|peer| peer.holder) {
            _ if book.is_revoked => refuse("revoked"),
            Some(Holder::Worker(node)) => (201, self.issue(&asked.request, node, &book)),
            Some(Holder::Cluster(_) | Holder::Root) | None => refuse("no_certificate"),
        }
    }

    fn issue(&self, request: &str, node: NodeId, book: &Book) -> String {
        let request = Request::from_pem(request).unwrap();
        let life = Life {
            from: book.now,
            lasting: book.life,
        };
        let issued = self.authority.issue(&request, Holder::Worker(node), life);
        let issued = issued.unwrap();
        let body = JoinedBody {
            id: node.to_string(),
            certificate: issued.certificate,
            authority: self.authority.certificate(),
            expires_at: issued.until,
        };
        serde_json::to_string(&body).unwrap()
    }
}

/// The key in a request: an uncompressed point on P-256 in a bit string.
fn point(request: &str) -> Vec<u8> {
    const HEAD: [u8; 4] = [0x03, 0x42, 0x00, 0x04];
    let lines = request.lines().filter(|line| !line.starts_with('-'));
    let der = base64(&lines.collect::<String>());
    let at = der.windows(4).position(|window| window == HEAD).unwrap();
    der[at..at + 68].to_vec()
}

fn base64(text: &str) -> Vec<u8> {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bits, mut count, mut bytes) = (0_u32, 0, Vec::new());
    for letter in text.bytes().filter(|letter| *letter != b'=') {
        let value = LETTERS.iter().position(|known| *known == letter).unwrap();
        bits = (bits << 6) | value as u32;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    bytes
}
