//! MQTT 3.1.1 packets as bytes, good and bad, and a session over them.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use super::exchange::connect as dial;

/// A packet with its fixed header.
pub(crate) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
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

/// A text with its length.
pub(crate) fn text(text: &[u8]) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes(), text].concat()
}

/// A CONNECT of these flags and fields.
pub(crate) fn connect_with(protocol: &str, level: u8, flags: u8, fields: &[&[u8]]) -> Vec<u8> {
    let mut body = text(protocol.as_bytes());
    body.extend([level, flags, 0, 60]);
    for field in fields {
        body.extend(text(field));
    }
    packet(0x10, &body)
}

/// A good CONNECT of somebody without a name.
pub(crate) fn reader() -> Vec<u8> {
    connect_with("MQTT", 4, 2, &[b"somebody"])
}

/// A good CONNECT of a worker.
pub(crate) fn worker(id: &str, username: &str, password: &str) -> Vec<u8> {
    let fields = [id.as_bytes(), username.as_bytes(), password.as_bytes()];
    connect_with("MQTT", 4, 0xc2, &fields)
}

/// A PUBLISH at a quality of service, with more flags.
pub(crate) fn publish(flags: u8, topic: &[u8], id: Option<u16>, payload: &[u8]) -> Vec<u8> {
    let mut body = text(topic);
    body.extend(id.into_iter().flat_map(u16::to_be_bytes));
    body.extend(payload);
    packet(0x30 | flags, &body)
}

/// A SUBSCRIBE.
pub(crate) fn subscribe<'a>(filters: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut body = vec![0, 1];
    for filter in filters {
        body.extend(text(filter));
        body.push(0);
    }
    packet(0x82, &body)
}

/// PINGREQ.
pub(crate) const PING: [u8; 2] = [0xc0, 0];
/// PINGRESP.
const PONG: [u8; 2] = [0xd0, 0];

/// A connection to a broker.
pub(crate) struct Peer(TcpStream);

/// What a peer heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Heard {
    /// All bytes.
    pub(crate) bytes: Vec<u8>,
    /// Whether the connection was closed.
    pub(crate) closed: bool,
}

impl Heard {
    /// The code of the CONNACK, if one came.
    pub(crate) fn code(&self) -> Option<u8> {
        match self.bytes.as_slice() {
            [0x20, 2, _, code, ..] => Some(*code),
            _ => None,
        }
    }
}

impl Peer {
    pub(crate) fn new(address: SocketAddr) -> Result<Self, String> {
        dial(address).map(Self)
    }

    /// Sends bytes; the broker may have closed already.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        let _ = self.0.write_all(bytes);
    }

    /// Sends bytes and a ping, and reads until the ping is answered or the connection ends.
    pub(crate) fn say(&mut self, bytes: &[u8]) -> Result<Heard, String> {
        let mut writing = self.0.try_clone().map_err(|error| error.to_string())?;
        let bytes = [bytes, &PING].concat();
        std::thread::scope(|scope| {
            scope.spawn(move || writing.write_all(&bytes));
            let heard = self.hear();
            if heard.as_ref().is_ok_and(|heard| !heard.closed) {
                return heard;
            }
            // A writer that still writes is ended by this.
            let _ = self.0.shutdown(Shutdown::Both);
            heard
        })
    }

    /// Reads until a ping is answered or the connection ends.
    pub(crate) fn hear(&mut self) -> Result<Heard, String> {
        let mut bytes = Vec::new();
        let mut buffer = [0; 4_096];
        loop {
            if bytes.ends_with(&PONG) {
                return Ok(Heard {
                    bytes,
                    closed: false,
                });
            }
            match self.0.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => bytes.extend(&buffer[..count]),
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    return Err(format!("neither an answer nor an end came after {bytes:?}"));
                }
                Err(_reset) => break,
            }
        }
        Ok(Heard {
            bytes,
            closed: true,
        })
    }
}
