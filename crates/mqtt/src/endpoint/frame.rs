//! Where a packet ends in a stream of bytes, and the rules of MQTT 3.1.1 that the codec does not hold.
//!
//! A packet is judged by its first bytes as far as possible, so that a peer which announces nonsense is not waited for.

use rmqtt_codec::error::DecodeError;

/// A remaining length has at most this many bytes (section 2.2.3).
const LENGTH_BYTES: usize = 4;

/// The protocol level of MQTT 3.1.1.
const LEVEL: u8 = 4;

/// CONNECT flags (section 3.1.2.3).
const WILL: u8 = 0x04;
const PASSWORD: u8 = 0x40;
const USER: u8 = 0x80;

/// Why bytes are no packet of MQTT 3.1.1.
#[derive(Debug, thiserror::Error)]
pub(super) enum Malformed {
    /// The packet type or its flags do not exist [MQTT-2.2.2-2].
    #[error("{0:#04x} begins no packet")]
    First(u8),
    /// The remaining length has more than four bytes.
    #[error("the remaining length does not end")]
    Length,
    /// The packet is larger than we take.
    #[error("the packet has {0} bytes, which is too many")]
    TooLarge(usize),
    /// The peer speaks another MQTT [MQTT-3.1.2-2].
    #[error("the peer speaks another version of MQTT")]
    Version,
    /// A field ends after the packet, or the packet after its last field.
    #[error("the fields do not fill the packet")]
    Fields,
    /// A password without a user name [MQTT-3.1.2-22].
    #[error("a password comes without a user name")]
    Password,
    /// A text holds U+0000 [MQTT-1.5.3-2].
    #[error("a text holds U+0000")]
    Text,
    /// Reserved bits of a requested QoS are set [MQTT-3-8.3-4].
    #[error("reserved bits of a requested QoS are set")]
    Requested,
    /// The codec refused the packet.
    #[error("the packet cannot be read")]
    Codec(#[source] DecodeError),
}

/// The bytes of the first packet, header included, or `None` while they are not all there.
pub(super) fn whole(input: &[u8], max_packet: u32) -> Result<Option<&[u8]>, Malformed> {
    let Some((&first, rest)) = input.split_first() else {
        return Ok(None);
    };
    if !exists(first) {
        return Err(Malformed::First(first));
    }
    let mut length = 0_usize;
    for (at, byte) in rest.iter().take(LENGTH_BYTES).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            if length > max_packet as usize {
                return Err(Malformed::TooLarge(length));
            }
            return Ok(input.get(..at + 2 + length));
        }
    }
    if rest.len() < LENGTH_BYTES {
        Ok(None)
    } else {
        Err(Malformed::Length)
    }
}

/// Whether a first byte is that of a packet: its type (table 2.1) and its flags (table 2.2).
fn exists(first: u8) -> bool {
    let flags = first & 0x0f;
    match first >> 4 {
        // QoS 3 does not exist [MQTT-3.3.1-4], and QoS 0 is never sent again [MQTT-3.3.1-2].
        3 => flags & 0x06 != 0x06 && flags & 0x0e != 0x08,
        6 | 8 | 10 => flags == 0x02,
        kind => (1..15).contains(&kind) && flags == 0,
    }
}

/// Checks what the codec passes over in a whole packet.
pub(super) fn check(packet: &[u8]) -> Result<(), Malformed> {
    let Some((first, rest)) = packet.split_first() else {
        return Err(Malformed::Fields);
    };
    let header = rest.iter().take_while(|byte| **byte & 0x80 != 0).count() + 1;
    let mut fields = Fields(rest.get(header..).unwrap_or_default());
    match first >> 4 {
        1 => connect(&mut fields),
        8 => {
            fields.take(2)?;
            while !fields.0.is_empty() {
                fields.text()?;
                if fields.byte()? & !0x03 != 0 {
                    return Err(Malformed::Requested);
                }
            }
            Ok(())
        }
        10 => {
            fields.take(2)?;
            while !fields.0.is_empty() {
                fields.text()?;
            }
            Ok(())
        }
        12..=14 => fields.end(),
        // A topic with U+0000 is none of ours and is refused as such.
        _ => Ok(()),
    }
}

/// The fields of a CONNECT (section 3.1). Those of another version are not looked at.
fn connect(fields: &mut Fields<'_>) -> Result<(), Malformed> {
    match fields.text()? {
        b"MQTT" => {}
        b"MQIsdp" => return Err(Malformed::Version),
        _ => return Err(Malformed::Fields),
    }
    if fields.byte()? != LEVEL {
        return Err(Malformed::Version);
    }
    let flags = fields.byte()?;
    fields.take(2)?;
    fields.text()?;
    if flags & WILL != 0 {
        fields.text()?;
        fields.binary()?;
    }
    if flags & USER != 0 {
        fields.text()?;
    }
    if flags & PASSWORD != 0 {
        if flags & USER == 0 {
            return Err(Malformed::Password);
        }
        fields.binary()?;
    }
    fields.end()
}

/// What is left of a packet.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Malformed::Fields)?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        self.take(1)?.first().copied().ok_or(Malformed::Fields)
    }

    fn binary(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.take(2)?;
        self.take(
            length
                .iter()
                .fold(0, |sum, byte| sum << 8 | usize::from(*byte)),
        )
    }

    /// A text, whose UTF-8 the codec checks.
    fn text(&mut self) -> Result<&'a [u8], Malformed> {
        let text = self.binary()?;
        if text.contains(&0) {
            return Err(Malformed::Text);
        }
        Ok(text)
    }

    fn end(&self) -> Result<(), Malformed> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Malformed::Fields)
        }
    }
}
