//! Frames of a WebSocket that cannot be (RFC 6455, section 5): the connection is closed.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};

use super::exchange::connect;
use super::rig::{Rig, Tier};
use super::row::{Row, Verdict};

/// What opens one.
const HANDSHAKE: &[u8] = b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Bits of a frame's first bytes.
const LAST: u8 = 0x80;
const MASKED: u8 = 0x80;

pub(crate) fn rows() -> Vec<Row> {
    let part = frame(0, &vec![b'x'; 60_000]);
    let parts = [frame(1, b"42[\"register\","), part.repeat(40)].concat();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("random bytes", super::bodies::random(512)),
        ("a frame without a mask", vec![LAST | 1, 2, b'4', b'0']),
        ("a frame of 2^63", long(1 << 63)),
        ("a frame of 1 GiB", long(1 << 30)),
        ("a kind that is none", frame(LAST | 3, b"")),
        ("a reserved bit", frame(LAST | 0x41, b"40")),
        ("a text that is no UTF-8", frame(LAST | 1, b"4\xff\xfe")),
        ("a ping of 126", frame(LAST | 9, &[b'x'; 126])),
        ("a ping in parts", frame(9, b"x")),
        ("an end without a beginning", frame(LAST, b"x")),
        ("a message of 2.4 MB in parts", parts),
        ("a close of one byte", frame(LAST | 8, b"x")),
        ("a binary packet", frame(LAST | 2, b"\x04\xff")),
        ("a packet of another protocol", frame(LAST | 1, b"GET /")),
        ("an empty packet", frame(LAST | 1, b"")),
        ("a namespace that is none", frame(LAST | 1, b"40/nowhere,")),
        ("nothing", Vec::new()),
    ];
    let each = |(name, bytes): (&str, Vec<u8>)| {
        Tier::BOTH.map(|tier| {
            let bytes = bytes.clone();
            let name = format!("{tier:?}: {name}");
            Row::new(name, move |rig: &Rig| closed(rig, tier, &bytes))
                // Who does not join in 5 s is sent away.
                .within(std::time::Duration::from_secs(8))
        })
    };
    cases.into_iter().flat_map(each).collect()
}

/// A frame with a mask of zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = payload.len();
    let mut bytes = vec![first];
    if length < 126 {
        bytes.push(MASKED | length as u8);
    } else {
        bytes.push(MASKED | 0x7e);
        bytes.extend((length as u16).to_be_bytes());
    }
    bytes.extend([0; 4]);
    bytes.extend(payload);
    bytes
}

/// The beginning of a frame of that length.
fn long(length: u64) -> Vec<u8> {
    let mut bytes = vec![LAST | 1, MASKED | 0x7f];
    bytes.extend(length.to_be_bytes());
    bytes.extend([0; 4]);
    bytes.extend([b'x'; 1_000]);
    bytes
}

fn closed(rig: &Rig, tier: Tier, bytes: &[u8]) -> Verdict {
    let stream = connect(rig.http(tier))?;
    let patience = std::time::Duration::from_secs(7);
    let set = stream.set_read_timeout(Some(patience));
    set.map_err(|error| error.to_string())?;
    let mut writing = stream.try_clone().map_err(|error| error.to_string())?;
    writing
        .write_all(HANDSHAKE)
        .map_err(|error| error.to_string())?;
    let mut first = [0; 12];
    (&stream)
        .read_exact(&mut first)
        .map_err(|error| error.to_string())?;
    if first != *b"HTTP/1.1 101" {
        return Err(format!(
            "no WebSocket: {:?}",
            String::from_utf8_lossy(&first)
        ));
    }
    std::thread::scope(|scope| {
        scope.spawn(move || writing.write_all(bytes));
        let ended = until_end(&stream);
        // A writer that still writes is ended by this.
        let _ = stream.shutdown(Shutdown::Both);
        ended
    })
}

fn until_end(mut stream: &TcpStream) -> Verdict {
    let mut buffer = [0; 4_096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Err("the connection is not closed".to_owned());
            }
            Err(_reset) => return Ok(()),
        }
    }
}
