//! The few MQTT 3.1.1 packets that the workers need, as bytes.

use bytes::{Buf, Bytes, BytesMut};
use model::id::NodeId;

/// The id of a worker by its number.
pub(crate) fn node(number: u32) -> NodeId {
    NodeId::from_bits((0x0192_u128 << 112) | u128::from(number))
}

/// A packet with its fixed header.
fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut length = body.len();
    loop {
        let low = (length % 128) as u8;
        length /= 128;
        bytes.push(if length > 0 { low | 0x80 } else { low });
        if length == 0 {
            break;
        }
    }
    bytes.extend(body);
    bytes
}

fn text(text: &str) -> Vec<u8> {
    let mut bytes = (text.len() as u16).to_be_bytes().to_vec();
    bytes.extend(text.bytes());
    bytes
}

/// A CONNECT with a clean session, a keep-alive of a minute and, for a worker, its id as the user name.
pub(crate) fn connect(client_id: &str, is_worker: bool) -> Vec<u8> {
    let mut body = text("MQTT");
    body.extend([4, if is_worker { 0x82 } else { 0x02 }, 0, 60]);
    body.extend(text(client_id));
    if is_worker {
        body.extend(text(client_id));
    }
    packet(0x10, &body)
}

/// A SUBSCRIBE to one filter.
pub(crate) fn subscribe(filter: &str, qos: u8) -> Vec<u8> {
    let mut body = vec![0, 1];
    body.extend(text(filter));
    body.push(qos);
    packet(0x82, &body)
}

/// A PUBLISH at QoS 1.
pub(crate) fn publish(topic: &str, id: u16, payload: &[u8]) -> Vec<u8> {
    let mut body = text(topic);
    body.extend(id.to_be_bytes());
    body.extend(payload);
    packet(0x32, &body)
}

/// A PUBACK.
pub(crate) fn ack(id: u16) -> [u8; 4] {
    let [high, low] = id.to_be_bytes();
    [0x40, 2, high, low]
}

/// Takes the next whole packet from what was read: its first byte and its body.
pub(crate) fn take(input: &mut BytesMut) -> Option<(u8, Bytes)> {
    let (first, rest) = input.split_first()?;
    let first = *first;
    let digits = rest.iter().take_while(|byte| **byte & 0x80 != 0).count() + 1;
    let length = rest
        .get(..digits)?
        .iter()
        .rev()
        .fold(0, |sum, byte| sum << 7 | usize::from(byte & 0x7f));
    if input.len() < 1 + digits + length {
        return None;
    }
    input.advance(1 + digits);
    Some((first, input.split_to(length).freeze()))
}

/// The packet id and the payload of a PUBLISH.
pub(crate) fn published(first: u8, mut body: Bytes) -> Option<(Option<u16>, Bytes)> {
    let topic = usize::from(body.try_get_u16().ok()?);
    if body.len() < topic {
        return None;
    }
    body.advance(topic);
    if first & 0x06 == 0 {
        return Some((None, body));
    }
    let id = body.try_get_u16().ok()?;
    Some((Some(id), body))
}
