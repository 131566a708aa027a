//! Requests as raw bytes, for what no client would send, and the answers to them.

use std::fmt::Write as _;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use edgeio_tests::harness::TOKEN;
use serde_json::Value;

/// How long a server may be silent.
const PATIENCE: Duration = Duration::from_secs(4);

/// What came back.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answer {
    /// An HTTP answer.
    Http(Reply),
    /// The connection was closed, with these bytes before.
    Closed(Vec<u8>),
}

/// An HTTP answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Reply {
    /// The HTTP status.
    pub(crate) status: u16,
    /// Status line and headers in lower case.
    pub(crate) head: String,
    /// The body.
    pub(crate) text: String,
}

impl Reply {
    /// The value of a header; its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let line = |line: &'_ str| line.split_once(": ").is_some_and(|(key, _)| key == name);
        let found = self.head.lines().find(|text| line(text))?;
        found.split_once(": ").map(|(_, value)| value)
    }

    /// The body as JSON; null if it is none.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }
}

/// An administrator's request with a body, its length, and any further header lines (each with its end).
pub(crate) fn request(line: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let mut bytes = format!(
        "{line} HTTP/1.1\r\nHost: test\r\nConnection: close\r\nAuthorization: Bearer {TOKEN}\r\n{headers}"
    );
    // A length of nothing is what no client sends with GET.
    if length > 0 || !line.starts_with("GET ") {
        let _ = write!(bytes, "Content-Length: {length}\r\n");
    }
    bytes.push_str("\r\n");
    [bytes.as_bytes(), body].concat()
}

/// Sends bytes while reading what comes back, until that is complete or the connection ends.
pub(crate) fn exchange(address: SocketAddr, bytes: &[u8]) -> Result<Answer, String> {
    let stream = connect(address)?;
    let mut writing = stream.try_clone().map_err(|error| error.to_string())?;
    std::thread::scope(|scope| {
        // The server may refuse before it has read everything.
        scope.spawn(move || writing.write_all(bytes));
        let answer = read(&stream);
        // A writer that still writes is ended by this.
        let _ = stream.shutdown(Shutdown::Both);
        answer
    })
}

/// A connection with patience.
pub(crate) fn connect(address: SocketAddr) -> Result<TcpStream, String> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE);
    let stream = stream.map_err(|error| format!("cannot connect: {error}"))?;
    let limits = [
        stream.set_read_timeout(Some(PATIENCE)),
        stream.set_write_timeout(Some(PATIENCE)),
        stream.set_nodelay(true),
    ];
    limits
        .into_iter()
        .collect::<Result<(), _>>()
        .map_err(|error| error.to_string())?;
    Ok(stream)
}

/// Reads one answer.
pub(crate) fn read(mut stream: &TcpStream) -> Result<Answer, String> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        if let Some(reply) = whole(&bytes, false) {
            return Ok(Answer::Http(reply));
        }
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => bytes.extend(&buffer[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Err(format!("nothing came within {PATIENCE:?}"));
            }
            Err(_reset) => break,
        }
    }
    Ok(whole(&bytes, true).map_or(Answer::Closed(bytes), Answer::Http))
}

/// The answer that these bytes are, once they are all of it.
fn whole(bytes: &[u8], ended: bool) -> Option<Reply> {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let reply = Reply {
        status: head.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()?,
        head: head.to_lowercase(),
        text: body.to_owned(),
    };
    let length: Option<usize> = reply
        .header("content-length")
        .and_then(|length| length.parse().ok());
    let complete = length.is_some_and(|length| body.len() >= length);
    (ended || complete).then_some(reply)
}
