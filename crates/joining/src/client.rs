//! Asking to be let in, and for a new certificate.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use identity::{
    Credential, CredentialError, Holder, JoinToken, Joining, Key, KeyError, Pin, Server, Trust,
    TrustError, Validity, ValidityError, secured,
};
use protocol::problem::Problem;
use protocol::rest::{JoinRequest, JoinedBody, RenewRequest};
use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::http;

/// Where a token is taken.
const JOIN: &str = "/api/v1/join";
/// Where a certificate is renewed.
const RENEW: &str = "/api/v1/join/renew";
/// How long an address may take to prove who is there.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// How much later each further address of a token is tried, unless the one before it failed by then.
const NEXT: Duration = Duration::from_millis(300);

/// A certificate that was looked at: from the authority that was expected, for clients, and for the key that asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// Who one is now.
    pub holder: Holder,
    /// One's certificate, as PEM.
    pub certificate: String,
    /// That of the authority that issued it, as PEM.
    pub authority: String,
    /// When it begins and ends, by the clock of that authority.
    pub validity: Validity,
}

/// An address, and why nobody was joined there.
#[derive(Debug)]
pub struct Tried {
    /// `host:port`.
    pub place: String,
    /// Why not.
    pub why: Why,
}

/// Why an address led nowhere.
#[derive(Debug)]
pub enum Why {
    /// Who answers there has another authority.
    Stranger,
    /// Nothing that proves who it is came in time.
    Silent,
    /// The connection failed.
    Io(io::Error),
}

/// Why nobody joined, or nothing was renewed.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The token is for something else.
    #[error("this token lets a {} join, and this is a {}", tier(*.is), tier(*.wanted))]
    Purpose {
        /// What it is for.
        is: Joining,
        /// What was wanted.
        wanted: Joining,
    },
    /// No address led to the authority.
    #[error("nobody answers who could be joined: {}", list(.0))]
    Unreached(Vec<Tried>),
    /// The server does not want this one.
    #[error("{place} refuses ({code}): {detail}")]
    Refused {
        /// Where.
        place: String,
        /// The problem's code: `bad_join_token`, `revoked`, `expired`, `no_certificate`, …
        code: String,
        /// What it says.
        detail: String,
    },
    /// The server cannot, for now, or does not know what is asked.
    #[error("{place} answers with status {status}: {detail}")]
    Answer {
        /// Where.
        place: String,
        /// The HTTP status.
        status: u16,
        /// What it says.
        detail: String,
    },
    /// What came cannot be used.
    #[error("what {place} answers cannot be used")]
    Unusable {
        /// Where.
        place: String,
        /// What is wrong with it.
        source: Unusable,
    },
    /// The own key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// What is on the disk cannot be shown.
    #[error("the certificate that is to be shown cannot be used")]
    Shown(#[source] TrustError),
}

/// What is wrong with an answer.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// It is not of the shape.
    #[error("it is no answer to who joins")]
    Shape(#[from] serde_json::Error),
    /// The id is not one of who asked.
    #[error("{0:?} is no id of who asked")]
    Id(String),
    /// It is from an authority that nobody named.
    #[error("its authority is not the one that was expected")]
    Authority,
    /// The certificate is not from that authority.
    #[error(transparent)]
    Validity(#[from] ValidityError),
    /// The certificate cannot be read.
    #[error(transparent)]
    Certificate(#[from] CredentialError),
    /// The certificate is for another key.
    #[error(transparent)]
    Key(#[from] TrustError),
}

impl JoinError {
    /// Whether the same will come of it until somebody does something about it.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Purpose { .. } | Self::Refused { .. } => true,
            Self::Unreached(_)
            | Self::Answer { .. }
            | Self::Unusable { .. }
            | Self::Key(_)
            | Self::Shown(_) => false,
        }
    }
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = &self.place;
        match &self.why {
            Why::Stranger => write!(
                f,
                "the server at {place} is not the one this token was made by"
            ),
            Why::Silent => write!(f, "{place} does not answer in time"),
            Why::Io(error) => write!(f, "{place}: {error}"),
        }
    }
}

fn list(tried: &[Tried]) -> String {
    let all: Vec<_> = tried.iter().map(Tried::to_string).collect();
    all.join("; ")
}

pub(crate) fn tier(joining: Joining) -> &'static str {
    match joining {
        Joining::Cluster => "cluster",
        Joining::Worker => "worker",
    }
}

/// Joins with a token, within that time: where, and as whom.
///
/// The token's addresses are tried in their order, and one that is silent is not waited for before the next is dialled. To
/// each server the secret is sent only after it has proven to have the authority of the token. The same key gets the same id
/// again, so that an answer that was lost costs nothing.
///
/// # Errors
/// [`JoinError`]; with each address and its reason where none led to the authority.
pub async fn join(
    token: &JoinToken,
    key: &Key,
    patience: Duration,
) -> Result<(String, Joined), JoinError> {
    let deadline = Instant::now() + patience;
    let tls = Trust::pinned(token.pin).client(None);
    let tls = tls.map_err(JoinError::Shown)?;
    let body = json(&JoinRequest {
        token_id: token.id,
        secret: token.secret.reveal(),
        request: key.request()?.to_pem(),
    });
    let mut tried = Vec::new();
    let mut opening: FuturesUnordered<_> = (0_u32..)
        .zip(&token.places)
        .map(|(number, place)| {
            let tls = Arc::clone(&tls);
            async move {
                sleep(NEXT * number).await;
                (place, open(place, tls).await)
            }
        })
        .collect();
    loop {
        let (place, opened) = match timeout_at(deadline, opening.next()).await {
            Ok(Some(opened)) => opened,
            Ok(None) => return Err(JoinError::Unreached(tried)),
            Err(_) => return Err(JoinError::Unreached(rest(token, tried))),
        };
        let asked = async {
            let answer = http::post(opened?, (place, JOIN), &body).await;
            answer.map_err(Why::Io)
        };
        match timeout_at(deadline, asked)
            .await
            .unwrap_or(Err(Why::Silent))
        {
            Ok(answer) => {
                let joined = taken(place, &answer, (key, token.pin), token.joining)?;
                return Ok((place.clone(), joined));
            }
            Err(why) => tried.push(Tried {
                place: place.clone(),
                why,
            }),
        }
    }
}

/// All addresses of a token, those that were not heard of in time among them.
fn rest(token: &JoinToken, mut tried: Vec<Tried>) -> Vec<Tried> {
    for place in &token.places {
        if !tried.iter().any(|known| known.place == *place) {
            tried.push(Tried {
                place: place.clone(),
                why: Why::Silent,
            });
        }
    }
    tried
}

/// Asks for a new certificate for the same key, showing the present one, which may have ended.
///
/// # Errors
/// [`JoinError`].
pub async fn renew(
    place: &str,
    present: &Joined,
    key: &Key,
    patience: Duration,
) -> Result<Joined, JoinError> {
    let tls = present.client(key).map_err(JoinError::Shown)?;
    let pin = Pin::of_pem(&present.authority);
    let pin = pin.ok_or(JoinError::Shown(TrustError::Authority(
        CredentialError::Pem,
    )))?;
    let body = json(&RenewRequest {
        request: key.request()?.to_pem(),
    });
    let asked = async {
        let stream = open(place, tls).await?;
        let answer = http::post(stream, (place, RENEW), &body).await;
        answer.map_err(Why::Io)
    };
    let asked = timeout(patience, asked).await.unwrap_or(Err(Why::Silent));
    let unreached = |why| {
        let place = place.to_owned();
        JoinError::Unreached(vec![Tried { place, why }])
    };
    let answer = asked.map_err(unreached)?;
    let joined = taken(place, &answer, (key, pin), kind(present.holder))?;
    if joined.holder != present.holder {
        return Err(unusable(place)(Unusable::Id(joined.holder.id())));
    }
    Ok(joined)
}

impl Joined {
    /// Looks at what came.
    fn read(body: &[u8], (key, pin): (&Key, Pin), wanted: Joining) -> Result<Self, Unusable> {
        let body: JoinedBody = serde_json::from_slice(body)?;
        let holder = match wanted {
            Joining::Worker => body.id.parse().ok().map(Holder::Worker),
            Joining::Cluster => body.id.parse().ok().map(Holder::Cluster),
        };
        let holder = holder.ok_or_else(|| Unusable::Id(body.id.chars().take(80).collect()))?;
        if Pin::of_pem(&body.authority) != Some(pin) {
            return Err(Unusable::Authority);
        }
        let validity = Validity::read(&body.certificate, &body.authority)?;
        let joined = Self {
            holder,
            certificate: body.certificate,
            authority: body.authority,
            validity,
        };
        joined.client(key)?;
        Ok(joined)
    }

    /// TLS that shows the certificate, and believes the authority that issued it.
    ///
    /// # Errors
    /// When the certificate is not for this key.
    pub fn client(&self, key: &Key) -> Result<Arc<ClientConfig>, TrustError> {
        let own = Credential::new(&self.certificate, key).map_err(TrustError::Authority)?;
        Trust::authority(&self.authority)?.client(Some(&own))
    }
}

pub(crate) fn kind(holder: Holder) -> Joining {
    match holder {
        Holder::Worker(_) => Joining::Worker,
        // Roots share what they are by files; none joins another one.
        Holder::Cluster(_) | Holder::Root => Joining::Cluster,
    }
}

/// A connection to an address, whose server has proven who it is.
async fn open(
    place: &str,
    tls: Arc<ClientConfig>,
) -> Result<impl AsyncRead + AsyncWrite + Unpin + use<>, Why> {
    let opening = async {
        let stream = TcpStream::connect(place).await?;
        stream.set_nodelay(true)?;
        secured(stream, Some(tls), Server::Orchestrator).await
    };
    // On the heap: a handshake of TLS is large, and soon over.
    let opened = timeout(HANDSHAKE, Box::pin(opening)).await;
    opened.map_err(|_| Why::Silent)?.map_err(Why::of)
}

impl Why {
    fn of(error: io::Error) -> Self {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
        match inner {
            Some(rustls::Error::InvalidCertificate(_)) => Self::Stranger,
            Some(rustls::Error::InvalidMessage(_)) => Self::Io(io::Error::new(
                io::ErrorKind::InvalidData,
                "what answers there does not speak TLS",
            )),
            Some(_) | None => Self::Io(error),
        }
    }
}

fn json(request: &impl serde::Serialize) -> Vec<u8> {
    // Structs of texts always have a JSON.
    serde_json::to_vec(request).unwrap_or_default()
}

fn unusable(place: &str) -> impl FnOnce(Unusable) -> JoinError {
    move |source| JoinError::Unusable {
        place: place.to_owned(),
        source,
    }
}

/// What an answer says.
fn taken(
    place: &str,
    answer: &http::Answer,
    expected: (&Key, Pin),
    wanted: Joining,
) -> Result<Joined, JoinError> {
    if (200..300).contains(&answer.status) {
        return Joined::read(&answer.body, expected, wanted).map_err(unusable(place));
    }
    let problem = serde_json::from_slice::<Problem>(&answer.body).ok();
    let place = place.to_owned();
    let (code, detail) = problem.map_or_else(
        || (String::new(), "it does not say why".to_owned()),
        |problem| (problem.code, problem.detail),
    );
    Err(match answer.status {
        401 | 403 => JoinError::Refused {
            place,
            code,
            detail,
        },
        status => JoinError::Answer {
            place,
            status,
            detail,
        },
    })
}
