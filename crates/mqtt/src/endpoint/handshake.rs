//! From the first byte to CONNACK: who is there, may they come in, and where do they sit.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use bytestring::ByteString;
use identity::Holder;
use model::id::NodeId;
use model::time::Wall;
use protocol::topic::Topic;
use rmqtt_codec::error::DecodeError;
use rmqtt_codec::v3::{Connect, ConnectAck, ConnectAckReason, LastWill, Packet};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::connection::Arrival;
use super::denied::{Attempt, NotAdmitted, clipped};
use super::frame::Malformed;
use super::registry::{Role, Seat};
use super::wire::{Turn, Wire};
use super::{Denied, Inbound, Login, Shared, Verdict, Who, relay};

/// The largest CONNECT in bytes. A stranger cannot make us keep more than this.
pub(super) const CONNECT_LIMIT: u32 = 16 * 1024;

/// The first byte of every CONNECT.
pub(super) const CONNECT: u8 = 0x10;

/// The longest boot id in bytes.
const BOOT_LIMIT: usize = 64;

/// How a peer's CONNECT ended.
pub(super) enum Admission {
    /// The peer has a seat, its owner was told, and CONNACK waits to be written.
    Granted(Box<Ticket>),
    /// A refusing CONNACK waits to be written.
    Refused,
    /// There is nobody to answer.
    Gone,
}

/// What an admitted peer comes with.
pub(super) struct Ticket {
    pub(super) seat: Seat,
    pub(super) who: (Who, SocketAddr),
    pub(super) keep_alive: u16,
    /// When the certificate ends that was shown, if one was.
    pub(super) proven_until: Option<Instant>,
    pub(super) will: Option<Will>,
}

/// The message to publish if the peer vanishes.
#[derive(Debug, Clone)]
pub(super) struct Will {
    node: NodeId,
    pub(super) name: ByteString,
    pub(super) payload: Bytes,
}

impl Will {
    pub(super) fn into_inbound(self, session: u64) -> Inbound {
        let Self { node, payload, .. } = self;
        Inbound::Message {
            node,
            session,
            topic: Topic::Connection(node),
            payload,
        }
    }
}

/// Why no seat is given.
enum Refusal {
    /// Answered by this code.
    Code(ConnectAckReason),
    /// Answered by this code, and told: who is there may not come in.
    Denied(ConnectAckReason, Attempt),
    /// Not answered: what came is no CONNECT, or the connection ended.
    Silent,
}

/// Who the peer is, once its CONNECT was found in order.
struct Guest {
    role: Role,
    boot: Option<String>,
    will: Option<Will>,
}

/// Reads the CONNECT, judges it, and takes the seat.
pub(super) async fn admit<S>(wire: &mut Wire<S>, arrival: Arrival, shared: &Shared) -> Admission
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (peer, until) = (arrival.peer, arrival.until);
    let mut known = None;
    let admitted = async {
        let connect = first_packet(wire).await?;
        let who = known.insert(Who {
            holder: arrival.certificate.as_ref().map(|shown| shown.holder),
            client_id: clipped(&connect.client_id),
        });
        let keep_alive = connect.keep_alive;
        let proven_until = arrival.certificate.as_ref();
        let proven_until = proven_until.and_then(|shown| end_of(shown.until));
        let guest = judge(*connect, arrival, shared)?;
        let seat = seat(guest.role, guest.boot.as_deref(), peer, shared).await?;
        Ok(Ticket {
            seat,
            who: (who.clone(), peer),
            keep_alive,
            proven_until,
            will: guest.will,
        })
    };
    let outcome = tokio::time::timeout_at(until, admitted).await;
    let (code, admission) = match outcome {
        Ok(Ok(ticket)) => (
            ConnectAckReason::ConnectionAccepted,
            Admission::Granted(Box::new(ticket)),
        ),
        Ok(Err(Refusal::Code(code))) => (code, Admission::Refused),
        Ok(Err(Refusal::Denied(code, attempt))) => {
            if let Some(who) = known {
                let denied = Denied { who, peer, attempt };
                shared.options.witness.tell(&denied);
            }
            (code, Admission::Refused)
        }
        Err(_) if known.is_some() => (ConnectAckReason::ServiceUnavailable, Admission::Refused),
        Ok(Err(Refusal::Silent)) | Err(_) => return Admission::Gone,
    };
    if let Admission::Granted(_) = admission {
        wire.limit(shared.options.max_packet);
    } else {
        tracing::info!(%peer, ?code, "an MQTT connection was refused");
    }
    wire.put(Packet::ConnectAck(ConnectAck {
        return_code: code,
        session_present: false,
    }));
    admission
}

/// When that will be, as far as the clock tells now; `None`: it was, and the owner of the endpoint let it in all the same.
fn end_of(until: Wall) -> Option<Instant> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |now| i64::try_from(now.as_millis()).unwrap_or(i64::MAX));
    let left = u64::try_from(until.0.saturating_sub(now)).ok()?;
    // A moment that the clock cannot name is as good as never.
    Instant::now().checked_add(Duration::from_millis(left))
}

async fn first_packet<S>(wire: &mut Wire<S>) -> Result<Box<Connect>, Refusal>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut begun = false;
    loop {
        // Whoever speaks another protocol is not waited for.
        if !begun && let Some(first) = wire.peek() {
            if first != CONNECT {
                return Err(Refusal::Silent);
            }
            begun = true;
        }
        match wire.packet() {
            Ok(Some(Packet::Connect(connect))) => return Ok(connect),
            Ok(None) => {}
            Err(Malformed::Version) => {
                return Err(Refusal::Code(ConnectAckReason::UnacceptableProtocolVersion));
            }
            Err(Malformed::Codec(DecodeError::InvalidClientId)) => {
                return Err(Refusal::Code(ConnectAckReason::IdentifierRejected));
            }
            Ok(Some(_)) | Err(_) => return Err(Refusal::Silent),
        }
        match wire.turn().await {
            Ok(Turn::Read | Turn::Wrote) => {}
            Ok(Turn::Ended) | Err(_) => return Err(Refusal::Silent),
        }
    }
}

/// Checks all that can be said without waiting.
fn judge(connect: Connect, arrival: Arrival, shared: &Shared) -> Result<Guest, Refusal> {
    let login = Login {
        client_id: connect.client_id.to_string(),
        username: connect.username.map(|name| name.to_string()),
        password: connect.password,
        peer: arrival.peer,
        way: arrival.way,
        certificate: arrival.certificate,
        clean_session: connect.clean_session,
    };
    let verdict = (shared.authenticate)(&login);
    // Whatever the owner says: a certificate makes nobody but its holder.
    if let (Verdict::Worker(_) | Verdict::Reader, Some(shown)) = (verdict, &login.certificate)
        && verdict != of(shown.holder)
    {
        return Err(not_admitted(NotAdmitted::Name));
    }
    match verdict {
        Verdict::Worker(node) => {
            if login.client_id != node.to_string() {
                return Err(not_admitted(NotAdmitted::Name));
            }
            let boot = boot_id(&login)
                .map_err(|NoName| {
                    let attempt = Attempt::Connect(NotAdmitted::Name);
                    Refusal::Denied(ConnectAckReason::BadUserNameOrPassword, attempt)
                })?
                .map(str::to_owned);
            let will = connect
                .last_will
                .map(|will| will_of(node, will))
                .transpose()?;
            Ok(Guest {
                role: Role::Worker(node),
                boot,
                will,
            })
        }
        Verdict::Reader => {
            if let Some(will) = connect.last_will {
                return Err(no_will(Attempt::Will(clipped(&will.topic))));
            }
            let name = connect.client_id;
            let name = if name.is_empty() {
                shared.registry.unnamed()
            } else {
                name
            };
            Ok(Guest {
                role: Role::Reader(name),
                boot: None,
                will: None,
            })
        }
        Verdict::Refused(reason) => Err(not_admitted(reason)),
    }
}

/// The one verdict that may be given to whom a certificate names.
fn of(holder: Holder) -> Verdict {
    match holder {
        Holder::Worker(node) => Verdict::Worker(node),
        Holder::Cluster(_) | Holder::Root => Verdict::Refused(NotAdmitted::NoWorker),
    }
}

fn not_admitted(reason: NotAdmitted) -> Refusal {
    let code = match reason {
        NotAdmitted::Name | NotAdmitted::Cloned => ConnectAckReason::IdentifierRejected,
        NotAdmitted::Password
        | NotAdmitted::NoCertificate
        | NotAdmitted::NoWorker
        | NotAdmitted::Expired
        | NotAdmitted::Revoked => ConnectAckReason::NotAuthorized,
    };
    Refusal::Denied(code, Attempt::Connect(reason))
}

fn no_will(attempt: Attempt) -> Refusal {
    Refusal::Denied(ConnectAckReason::NotAuthorized, attempt)
}

/// The user name is not that of a worker.
struct NoName;

/// The boot id in a worker's user name, if it carries one. What brought the worker here, a relay, is not part of it.
fn boot_id(login: &Login) -> Result<Option<&str>, NoName> {
    let name = login.username.as_deref().ok_or(NoName)?;
    let name = name.split_once(relay::SEPARATOR).map_or(name, |it| it.0);
    let rest = name.strip_prefix(&login.client_id).ok_or(NoName)?;
    if rest.is_empty() {
        return Ok(None);
    }
    let boot = rest.strip_prefix(':').ok_or(NoName)?;
    if (1..=BOOT_LIMIT).contains(&boot.len()) {
        Ok(Some(boot))
    } else {
        Err(NoName)
    }
}

fn will_of(node: NodeId, will: LastWill) -> Result<Will, Refusal> {
    if will.topic.parse() != Ok(Topic::Connection(node)) {
        return Err(no_will(Attempt::Will(clipped(&will.topic))));
    }
    if will.retain {
        return Err(no_will(Attempt::Retained(clipped(&will.topic))));
    }
    Ok(Will {
        node,
        name: will.topic,
        payload: Bytes::copy_from_slice(&will.message),
    })
}

/// Takes the seat and tells the owner. The timeout around this gives the seat back if the owner does not listen.
async fn seat(
    role: Role,
    boot: Option<&str>,
    peer: SocketAddr,
    shared: &Shared,
) -> Result<Seat, Refusal> {
    let unavailable = || Refusal::Code(ConnectAckReason::ServiceUnavailable);
    let seat = shared
        .registry
        .sit(role, boot, shared.options.probe_within)
        .await
        .map_err(|_| {
            tracing::warn!(%peer, "a second machine wants the seat of a worker that is alive");
            not_admitted(NotAdmitted::Cloned)
        })?;
    if let Role::Worker(node) = seat.role {
        let place = shared.inbound.reserve().await.map_err(|_| unavailable())?;
        place.send(Inbound::Connected {
            node,
            session: seat.session,
            peer,
        });
    }
    Ok(seat)
}
