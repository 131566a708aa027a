//! Whether an application is well: what is the same for every runtime.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use model::instance::Endpoint;
use model::workload::Probe;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Bytes of an answer that are read until its status is found.
const ANSWER: usize = 16 << 10;
/// Bytes of a command's output that are kept, and told where it fails.
pub(super) const WORDS: usize = 256;

/// A probe that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// How.
    pub probe: Probe,
    /// Without an answer by then it is not well.
    pub timeout: Duration,
    /// The published ports of the application.
    pub endpoints: Vec<Endpoint>,
}

impl Asked {
    /// A probe of these parts.
    pub const fn new(probe: Probe, timeout: Duration, endpoints: Vec<Endpoint>) -> Self {
        Self {
            probe,
            timeout,
            endpoints,
        }
    }
}

/// Why an application is not well, in a few words.
pub type Unwell = String;

/// Gives a probe up that takes longer.
pub(super) async fn within(
    timeout: Duration,
    probe: impl Future<Output = Result<(), Unwell>>,
) -> Result<(), Unwell> {
    tokio::time::timeout(timeout, probe)
        .await
        .unwrap_or_else(|_| Err(too_late(timeout)))
}

/// What is said of a probe that was given up.
pub(super) fn too_late(timeout: Duration) -> Unwell {
    format!("no answer within {timeout:?}")
}

/// Opens a connection.
pub(super) async fn connect(at: SocketAddr) -> Result<TcpStream, Unwell> {
    TcpStream::connect(at)
        .await
        .map_err(|error| refused(&error))
}

/// The system's words for why there is no connection, without its numbers.
pub(super) fn refused(error: &io::Error) -> Unwell {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::ConnectionReset => "connection reset".to_owned(),
        _ => error.to_string(),
    }
}

/// Asks for `path` over a fresh connection; a status from 200 to 399 is well.
pub(super) async fn get(stream: &mut TcpStream, at: SocketAddr, path: &str) -> Result<(), Unwell> {
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {at}\r\nUser-Agent: edgeio-health\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    let sent = stream.write_all(request.as_bytes()).await;
    sent.map_err(|error| refused(&error))?;
    let status = status(stream).await?;
    if (200..400).contains(&status) {
        Ok(())
    } else {
        Err(format!("status {status}"))
    }
}

async fn status(stream: &mut (impl AsyncRead + Unpin)) -> Result<u16, Unwell> {
    let mut answer = Vec::with_capacity(4 << 10);
    loop {
        match read_status(&answer) {
            Read::Status(status) => return Ok(status),
            Read::More if answer.len() < ANSWER => {}
            Read::More | Read::Nonsense => return Err("the answer is no HTTP".to_owned()),
        }
        let read = stream.read_buf(&mut answer).await;
        if read.map_err(|error| refused(&error))? == 0 {
            return Err("it closed the connection without an answer".to_owned());
        }
    }
}

/// What the beginning of an answer says.
#[derive(Debug, PartialEq, Eq)]
enum Read {
    Status(u16),
    More,
    Nonsense,
}

/// The status, which may come after informational ones (RFC 9110, 15.2).
fn read_status(answer: &[u8]) -> Read {
    let Some(end) = answer.iter().position(|byte| *byte == b'\n') else {
        return Read::More;
    };
    let line = answer.get(..end).unwrap_or_default();
    let status = std::str::from_utf8(line).ok().and_then(|line| {
        let (version, rest) = line.trim_end().split_once(' ')?;
        let code = rest.split(' ').next()?;
        let digits = code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_digit());
        let known = version.starts_with("HTTP/1.") && digits;
        known.then(|| code.parse::<u16>().ok()).flatten()
    });
    match status {
        Some(100..200) => {
            let head = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
            head.and_then(|head| answer.get(head + 4..))
                .map_or(Read::More, read_status)
        }
        Some(status) => Read::Status(status),
        None => Read::Nonsense,
    }
}

/// The last line of a command's output, for people; nothing where it said nothing.
pub(super) fn last_words(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let line = text
        .lines()
        .rev()
        .map(str::trim)
        .find(|line| !line.is_empty());
    line.map_or_else(String::new, |line| format!(": {line}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_from_the_beginning_of_an_answer() {
        for (answer, read) in [
            ("HTTP/1.1 200 OK\r\n", Read::Status(200)),
            ("HTTP/1.0 404\r\n\r\n", Read::Status(404)),
            ("HTTP/1.1 500 \nX: y", Read::Status(500)),
            ("", Read::More),
            ("HTTP/1.1 200 O", Read::More),
            ("HTTP/1.1 103 Early Hints\r\nLink: a\r\n", Read::More),
            (
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n",
                Read::Status(204),
            ),
            ("SSH-2.0-OpenSSH_9.2\r\n", Read::Nonsense),
            ("HTTP/2 200\r\n", Read::Nonsense),
            ("HTTP/1.1 20 OK\r\n", Read::Nonsense),
            ("HTTP/1.1 +20 OK\r\n", Read::Nonsense),
            ("\u{1}\u{2}\n", Read::Nonsense),
        ] {
            assert_eq!(read_status(answer.as_bytes()), read, "{answer:?}");
        }
    }

    #[tokio::test]
    async fn an_answer_without_an_end_is_given_up() {
        let endless = tokio::io::repeat(b'x');
        let mut endless = endless.take(1 << 20);
        let told = status(&mut endless).await;
        assert_eq!(told, Err("the answer is no HTTP".to_owned()));
        assert!(endless.limit() >= (1 << 20) - 2 * ANSWER as u64);
    }

    #[test]
    fn the_last_words_are_one_line() {
        assert_eq!(last_words(b"a\nb \n\n"), ": b");
        assert_eq!(last_words(b"\n"), "");
        assert_eq!(last_words(b""), "");
    }
}
