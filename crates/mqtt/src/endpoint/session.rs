//! One session from CONNACK to its end.

use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;
use model::id::NodeId;
use protocol::topic::Topic;
use rmqtt_codec::types::{Publish, QoS};
use rmqtt_codec::v3::{Packet, SubscribeReturnCode};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::denied::{Attempt, clipped};
use super::handshake::Ticket;
use super::registry::{Outgoing, Role, Seat};
use super::rules;
use super::wire::{Turn, Wire};
use super::{Denied, Inbound, Reason, Shared, Who};
use crate::filter::Filter;

/// QoS 2 packets of one session that may wait for their PUBREL. MQTT 3.1.1 cannot tell a peer of such a limit, so it lies well
/// above the windows of the usual clients, which are 20 to 100.
pub const UNRELEASED_LIMIT: usize = 256;

/// Of one SUBSCRIBE so many refused filters are told: one packet holds tens of thousands.
pub const TOLD: usize = 8;

/// A timer that fires later than this shows that our own process stood still.
const LATE: Duration = Duration::from_millis(500);

/// What the peers get after that.
const GRACE: Duration = Duration::from_secs(1);

/// A seated peer.
pub(super) struct Session<S> {
    wire: Wire<S>,
    seat: Seat,
    /// Who it is, and from where.
    who: (Who, SocketAddr),
    shared: Arc<Shared>,
    /// The longest silence that is forgiven.
    patience: Duration,
    /// When its certificate ends, if it showed one.
    proven_until: Option<Instant>,
    /// When the last byte was received. What we send proves nothing.
    heard: Instant,
    /// Until then no silence counts, since we stood still ourselves.
    excused: Instant,
    last_id: u16,
    /// Ids of our publishes that wait for PUBACK.
    unacked: Vec<NonZeroU16>,
    /// The one of them that is a probe, and who asked.
    probe: Option<(NonZeroU16, oneshot::Sender<()>)>,
    /// Ids of the peer's QoS 2 publishes that wait for PUBREL.
    unreleased: Vec<NonZeroU16>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    pub(super) fn new(wire: Wire<S>, ticket: Ticket, shared: Arc<Shared>) -> Self {
        let limit = shared.options.silence_limit;
        let patience = match ticket.keep_alive {
            0 => limit,
            seconds => limit.min(Duration::from_secs(u64::from(seconds)) * 3 / 2),
        };
        Self {
            wire,
            seat: ticket.seat,
            who: ticket.who,
            shared,
            patience,
            proven_until: ticket.proven_until,
            heard: Instant::now(),
            excused: Instant::now(),
            last_id: 0,
            unacked: Vec::new(),
            probe: None,
            unreleased: Vec::new(),
        }
    }

    /// Closes the connection; the seat stays taken until it is dropped.
    pub(super) fn hang_up(self) -> Seat {
        self.seat
    }

    /// Runs the session until it ends, and says why.
    pub(super) async fn converse(&mut self) -> Reason {
        loop {
            match self.turn().await {
                Ok(()) => {}
                Err(reason) => return reason,
            }
        }
    }

    async fn turn(&mut self) -> Result<(), Reason> {
        while let Some(packet) = self.packet()? {
            self.receive(packet).await?;
        }
        while self.may_send()
            && let Ok(outgoing) = self.seat.queue.try_recv()
        {
            self.send(outgoing);
        }
        let may_send = self.may_send();
        let deadline = self.deadline();
        tokio::select! {
            biased;
            // Each branch is cancel-safe: the wire keeps its bytes, and the channels keep what was not taken.
            ended = &mut self.seat.end => Err(ended.unwrap_or(Reason::Shutdown)),
            () = self.shared.shutdown.cancelled() => Err(Reason::Shutdown),
            turn = self.wire.turn() => match turn {
                Ok(Turn::Read) => {
                    self.heard = Instant::now();
                    Ok(())
                }
                Ok(Turn::Wrote) => Ok(()),
                Ok(Turn::Ended) | Err(_) => Err(Reason::Lost),
            },
            Some(outgoing) = self.seat.queue.recv(), if may_send => {
                self.send(outgoing);
                Ok(())
            }
            // Last, so that bytes which wait to be read count before a timer that fired late.
            () = tokio::time::sleep_until(deadline) => self.check_times(),
        }
    }

    fn packet(&mut self) -> Result<Option<Packet>, Reason> {
        self.wire.packet().map_err(|error| {
            tracing::debug!(session = self.seat.session, %error, "malformed packet");
            Reason::Violation("malformed packet")
        })
    }

    /// When the peer's silence or its not reading is too long.
    fn limits(&self) -> (Instant, Option<Instant>) {
        let stalled = self
            .wire
            .stalled_since()
            .map(|since| since + self.shared.options.write_stall);
        (
            (self.heard + self.patience).max(self.excused),
            stalled.map(|at| at.max(self.excused)),
        )
    }

    fn deadline(&self) -> Instant {
        let (silent, stalled) = self.limits();
        let ends = [stalled, self.proven_until].into_iter().flatten();
        ends.fold(silent, Instant::min)
    }

    fn check_times(&mut self) -> Result<(), Reason> {
        let now = Instant::now();
        if self.proven_until.is_some_and(|until| now >= until) {
            return Err(Reason::Expired);
        }
        if now > self.deadline() + LATE {
            // Our own process stood still (suspended, stopped, overloaded), and with thousands of connections the bytes that
            // came meanwhile may not have been reported yet. This is our outage and not the peer's.
            self.excused = now + GRACE;
            return Ok(());
        }
        let (silent, stalled) = self.limits();
        if stalled.is_some_and(|stalled| now >= stalled) {
            return Err(Reason::Stalled);
        }
        if now >= silent {
            return Err(Reason::Silent);
        }
        Ok(())
    }

    fn may_send(&self) -> bool {
        self.wire.has_room() && self.unacked.len() < self.shared.options.inflight
    }

    fn send(&mut self, outgoing: Outgoing) {
        match outgoing {
            Outgoing::Message {
                topic,
                payload,
                qos: QoS::AtMostOnce,
            } => {
                self.put(topic, payload, None);
            }
            Outgoing::Message {
                topic,
                payload,
                qos: QoS::AtLeastOnce | QoS::ExactlyOnce,
            } => {
                let id = self.next_id();
                self.put(topic, payload, Some(id));
            }
            Outgoing::Probe(answered) => {
                let Role::Worker(node) = self.seat.role else {
                    return;
                };
                let id = self.next_id();
                self.probe = Some((id, answered));
                self.put(
                    Topic::Request(node).to_string().into(),
                    Bytes::new(),
                    Some(id),
                );
            }
        }
    }

    fn put(&mut self, topic: ByteString, payload: Bytes, packet_id: Option<NonZeroU16>) {
        let qos = if packet_id.is_some() {
            QoS::AtLeastOnce
        } else {
            QoS::AtMostOnce
        };
        let publish = Publish {
            dup: false,
            retain: false,
            qos,
            topic,
            packet_id,
            payload,
            properties: None,
        };
        self.wire.put(Packet::Publish(Box::new(publish)));
    }

    /// An id that waits for no PUBACK; `may_send` keeps those few.
    fn next_id(&mut self) -> NonZeroU16 {
        loop {
            self.last_id = self.last_id.wrapping_add(1);
            if let Some(id) = NonZeroU16::new(self.last_id)
                && !self.unacked.contains(&id)
            {
                self.unacked.push(id);
                return id;
            }
        }
    }

    async fn receive(&mut self, packet: Packet) -> Result<(), Reason> {
        match packet {
            Packet::Publish(publish) => return self.on_publish(*publish).await,
            Packet::PublishAck { packet_id } => self.on_ack(packet_id),
            Packet::PublishRelease { packet_id } => {
                self.unreleased.retain(|id| *id != packet_id);
                self.wire.put(Packet::PublishComplete { packet_id });
            }
            Packet::Subscribe {
                packet_id,
                topic_filters,
            } => {
                let grants = topic_filters.iter();
                let status: Vec<_> = grants.map(|(f, qos)| self.grant(f, *qos)).collect();
                let refused = topic_filters.iter().zip(&status);
                for ((filter, _), _) in refused
                    .filter(|(_, code)| **code == SubscribeReturnCode::Failure)
                    .take(TOLD)
                {
                    self.deny(Attempt::Subscribe(clipped(filter)));
                }
                self.wire.put(Packet::SubscribeAck { packet_id, status });
            }
            Packet::Unsubscribe {
                packet_id,
                topic_filters,
            } => {
                for filter in &topic_filters {
                    self.unsubscribe(filter);
                }
                self.wire.put(Packet::UnsubscribeAck { packet_id });
            }
            Packet::PingRequest => self.wire.put(Packet::PingResponse),
            Packet::Disconnect => return Err(Reason::Disconnected),
            Packet::Connect(_) => return Err(Reason::Violation("a second CONNECT")),
            Packet::PublishReceived { .. }
            | Packet::PublishComplete { .. }
            | Packet::ConnectAck(_)
            | Packet::SubscribeAck { .. }
            | Packet::UnsubscribeAck { .. }
            | Packet::PingResponse => {
                return Err(Reason::Violation("a packet that only servers send"));
            }
        }
        Ok(())
    }

    fn on_ack(&mut self, id: NonZeroU16) {
        self.unacked.retain(|waiting| *waiting != id);
        if let Some((_, answered)) = self.probe.take_if(|(waiting, _)| *waiting == id) {
            // The newcomer may have given up by now.
            let _ = answered.send(());
        }
    }

    async fn on_publish(&mut self, publish: Publish) -> Result<(), Reason> {
        let Role::Worker(node) = self.seat.role else {
            self.deny(Attempt::Publish(clipped(&publish.topic)));
            return Err(Reason::Violation("a reader published"));
        };
        let topic = rules::upward(node, &publish.topic).map_err(|why| {
            self.deny(Attempt::Publish(clipped(&publish.topic)));
            Reason::Violation(why)
        })?;
        if publish.retain {
            self.deny(Attempt::Retained(clipped(&publish.topic)));
            return Err(Reason::Violation("a message to be retained"));
        }
        let known = publish
            .packet_id
            .is_some_and(|id| self.unreleased.contains(&id));
        if publish.qos == QoS::ExactlyOnce && known {
            // The peer sends again what we already have.
            return self.acknowledge(publish.qos, publish.packet_id);
        }
        // A copy, so that a few bytes that someone keeps do not keep the whole read buffer.
        let payload = Bytes::copy_from_slice(&publish.payload);
        if rules::is_shown(&topic) {
            self.shared.registry.show(&publish.topic, &payload);
        }
        self.forward(node, topic, payload).await?;
        self.acknowledge(publish.qos, publish.packet_id)
    }

    /// Hands a message to the owner; while the owner's queue is full, this session stands still.
    async fn forward(&mut self, node: NodeId, topic: Topic, payload: Bytes) -> Result<(), Reason> {
        let message = Inbound::Message {
            node,
            session: self.seat.session,
            topic,
            payload,
        };
        tokio::select! {
            biased;
            // A message that is cut off here was not acknowledged.
            ended = &mut self.seat.end => Err(ended.unwrap_or(Reason::Shutdown)),
            () = self.shared.shutdown.cancelled() => Err(Reason::Shutdown),
            sent = self.shared.inbound.send(message) => sent.map_err(|_| Reason::Shutdown),
        }
    }

    fn acknowledge(&mut self, qos: QoS, packet_id: Option<NonZeroU16>) -> Result<(), Reason> {
        match (qos, packet_id) {
            (QoS::AtLeastOnce, Some(packet_id)) => self.wire.put(Packet::PublishAck { packet_id }),
            (QoS::ExactlyOnce, Some(packet_id)) => {
                if !self.unreleased.contains(&packet_id) {
                    if self.unreleased.len() >= UNRELEASED_LIMIT {
                        return Err(Reason::Violation("too many QoS 2 packets without PUBREL"));
                    }
                    self.unreleased.push(packet_id);
                }
                self.wire.put(Packet::PublishReceived { packet_id });
            }
            (QoS::AtMostOnce, _) | (_, None) => {}
        }
        Ok(())
    }

    fn grant(&self, filter: &str, asked: QoS) -> SubscribeReturnCode {
        let registry = &self.shared.registry;
        match self.seat.role {
            Role::Worker(node) => match rules::own(node, filter) {
                Some(down) => {
                    let granted = asked.less_value(QoS::AtLeastOnce);
                    registry.grant(&self.seat, down, Some(granted));
                    SubscribeReturnCode::Success(granted)
                }
                None => SubscribeReturnCode::Failure,
            },
            Role::Reader(_) => match Filter::parse(filter) {
                Ok(filter)
                    if rules::is_readable(&filter)
                        && registry.watch(&self.seat, filter.clone()) =>
                {
                    SubscribeReturnCode::Success(QoS::AtMostOnce)
                }
                Ok(_) | Err(_) => SubscribeReturnCode::Failure,
            },
        }
    }

    fn unsubscribe(&self, filter: &str) {
        match self.seat.role {
            Role::Worker(node) => {
                if let Some(down) = rules::own(node, filter) {
                    self.shared.registry.grant(&self.seat, down, None);
                }
            }
            Role::Reader(_) => self.shared.registry.unwatch(&self.seat, filter),
        }
    }

    /// Tells that something was refused to this peer.
    fn deny(&self, attempt: Attempt) {
        let (who, peer) = self.who.clone();
        self.shared
            .options
            .witness
            .tell(&Denied { who, peer, attempt });
    }
}
