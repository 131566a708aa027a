//! What befalls MQTT packets.

use std::num::NonZeroU16;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rmqtt_codec::types::{Publish, QoS};
use rmqtt_codec::v3::{Codec, Packet};
use tokio_util::codec::{Decoder, Encoder};

use super::connection::Connection;
use super::{Direction, Fate, Shared, TAPE, Way};
use crate::simulation::Rng;

/// A PUBLISH packet that came to the proxy.
#[derive(Debug, Clone)]
pub struct Taped {
    /// Which way it went.
    pub direction: Direction,
    /// The client id of its connection.
    pub client: String,
    pub(super) publish: Publish,
}

impl Taped {
    /// Its topic.
    pub fn topic(&self) -> &str {
        &self.publish.topic
    }

    /// What it carried.
    pub fn payload(&self) -> &[u8] {
        &self.publish.payload
    }
}

/// The first packet of what was read, as it came, if it is all there.
pub(super) fn take(input: &mut BytesMut) -> Option<Bytes> {
    let mut length = 0_usize;
    // A remaining length has at most four bytes (section 2.2.3).
    for (at, byte) in input.iter().skip(1).take(4).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            let whole = at + 2 + length;
            return (input.len() >= whole).then(|| input.split_to(whole).freeze());
        }
    }
    None
}

/// How late the next piece is.
pub(super) fn delay(way: &Way, rng: &mut Rng) -> Duration {
    way.delay
        .map_or(Duration::ZERO, |(low, high)| between(rng, low, high))
}

fn between(rng: &mut Rng, low: Duration, high: Duration) -> Duration {
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    Duration::from_micros(rng.between(micros(low), micros(high.max(low))))
}

/// One direction of one connection, under the rules that hold now.
pub(super) struct Judge<'a> {
    pub(super) shared: &'a Shared,
    pub(super) connection: &'a Connection,
    pub(super) direction: Direction,
    pub(super) way: &'a Way,
}

impl Judge<'_> {
    /// Passes a packet on, or does to it what the rules say.
    pub(super) fn carry(&self, packet: Bytes, rng: &mut Rng) {
        let delay = delay(self.way, rng);
        // What the codec does not understand is for the peer to refuse.
        let read = Codec::default().decode(&mut BytesMut::from(packet.as_ref()));
        match read {
            Ok(Some((Packet::Connect(connect), _))) => {
                self.connection.is(connect.client_id.to_string());
            }
            Ok(Some((Packet::PublishAck { packet_id }, _)))
                if self
                    .connection
                    .acknowledged(self.direction.back(), packet_id) =>
            {
                return;
            }
            Ok(Some((Packet::Publish(publish), _))) => {
                self.tape(&publish);
                self.publish(*publish, packet, delay, rng);
                return;
            }
            Ok(_) | Err(_) => {}
        }
        self.pass(delay, packet);
    }

    fn pass(&self, delay: Duration, packet: Bytes) {
        self.connection
            .schedule(self.direction)
            .in_order(delay, packet);
    }

    fn tape(&self, publish: &Publish) {
        self.shared
            .count(self.direction, |tally| tally.publishes += 1);
        let mut tape = self.shared.tape.lock().unwrap();
        if tape.len() < TAPE {
            tape.push(Taped {
                direction: self.direction,
                client: self.connection.client().unwrap_or_default().to_owned(),
                publish: publish.clone(),
            });
        }
    }

    fn publish(&self, publish: Publish, packet: Bytes, delay: Duration, rng: &mut Rng) {
        let hit = self
            .way
            .packets
            .iter()
            .find(|rule| matches(&rule.filter, &publish.topic) && rng.percent(rule.percent));
        let schedule = self.connection.schedule(self.direction);
        let direction = self.direction;
        match hit.map(|rule| rule.fate) {
            None => self.pass(delay, packet),
            Some(Fate::Lose) => {
                self.shared.count(direction, |tally| tally.lost += 1);
                if let (QoS::AtLeastOnce, Some(packet_id)) = (publish.qos, publish.packet_id) {
                    let bytes = encode(Packet::PublishAck { packet_id });
                    self.connection
                        .schedule(direction.back())
                        .in_order(Duration::ZERO, bytes);
                }
            }
            Some(Fate::Swallow) => self.shared.count(direction, |tally| tally.swallowed += 1),
            Some(Fate::Double { times, apart }) => {
                self.pass(delay, packet);
                for number in 1..=times {
                    let bytes = again(self.connection, direction, &publish);
                    schedule.by_itself(delay + apart * number, bytes);
                }
                let times = u64::from(times);
                self.shared.count(direction, |tally| tally.doubled += times);
            }
            Some(Fate::Late(low, high)) => {
                self.shared.count(direction, |tally| tally.late += 1);
                schedule.by_itself(delay + between(rng, low, high), packet);
            }
            Some(Fate::Corrupt) => {
                self.shared.count(direction, |tally| tally.corrupted += 1);
                self.pass(delay, corrupt(publish, rng));
            }
        }
    }
}

/// A packet once more, with an id of the proxy's own.
pub(super) fn again(connection: &Connection, direction: Direction, publish: &Publish) -> Bytes {
    let acknowledged = publish.qos != QoS::AtMostOnce;
    let id: Option<NonZeroU16> = acknowledged.then(|| connection.fresh_id(direction));
    encode(Packet::Publish(Box::new(Publish {
        // Never sent at QoS 0 a second time, says the standard; a broker that doubles does not say so either.
        dup: false,
        packet_id: id,
        ..publish.clone()
    })))
}

fn corrupt(publish: Publish, rng: &mut Rng) -> Bytes {
    let mut payload = publish.payload.to_vec();
    let length = payload.len() as u64;
    for _ in 0..rng.between(1, 8) {
        let at = usize::try_from(rng.below(length)).unwrap_or_default();
        if let Some(byte) = payload.get_mut(at) {
            // Never by nothing, so that one hit is a change.
            *byte ^= u8::try_from(rng.between(1, 255)).unwrap_or(1);
        }
    }
    encode(Packet::Publish(Box::new(Publish {
        payload: payload.into(),
        ..publish
    })))
}

pub(super) fn encode(packet: Packet) -> Bytes {
    let mut bytes = BytesMut::new();
    Codec::default()
        .encode(packet, &mut bytes)
        .expect("a packet that was decoded can be encoded");
    bytes.freeze()
}

/// Whether a topic is one of a filter's (section 4.7).
pub(super) fn matches(filter: &str, topic: &str) -> bool {
    let (mut filter, mut topic) = (filter.split('/'), topic.split('/'));
    loop {
        match (filter.next(), topic.next()) {
            (Some("#"), _) | (None, None) => return true,
            (Some("+"), Some(_)) => {}
            (Some(one), Some(other)) if one == other => {}
            _ => return false,
        }
    }
}
