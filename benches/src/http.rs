//! A lean HTTP/1.1 client: what measures must not cost what it measures.
//!
//! One connection, one request at a time, bodies with a length or in chunks. It trusts the server to be well behaved,
//! and bounds what it keeps.

use std::io;

use anyhow::{Context, bail};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use crate::program::TOKEN;

/// The longest answer that is kept.
const LARGEST: usize = 64 << 20;
/// The longest head.
const HEAD: usize = 64 << 10;

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The body as JSON; null where it is none.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The same answer, if its status says that all is well.
    pub(crate) fn good(self) -> anyhow::Result<Self> {
        if (200..300).contains(&self.status) {
            return Ok(self);
        }
        bail!(
            "{} {}",
            self.status,
            String::from_utf8_lossy(&self.body).trim()
        )
    }
}

/// A connection that is kept.
#[derive(Debug)]
pub(crate) struct Connection<S> {
    stream: S,
    buffer: Vec<u8>,
}

/// How a body ends.
enum Length {
    Known(usize),
    Chunks,
}

impl Connection<TcpStream> {
    /// To `http://host:port`, or `host:port`.
    pub(crate) async fn tcp(server: &str) -> anyhow::Result<Self> {
        let address = server.strip_prefix("http://").unwrap_or(server);
        let stream = TcpStream::connect(address).await;
        let stream = stream.with_context(|| format!("cannot connect to {server}"))?;
        stream.set_nodelay(true).context("cannot set TCP_NODELAY")?;
        Ok(Self::over(stream))
    }
}

impl Connection<UnixStream> {
    /// To a socket of the file system.
    pub(crate) async fn unix(path: &str) -> anyhow::Result<Self> {
        let stream = UnixStream::connect(path).await;
        Ok(Self::over(
            stream.with_context(|| format!("cannot connect to {path}"))?,
        ))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Over any stream.
    pub(crate) fn over(stream: S) -> Self {
        Self {
            stream,
            buffer: Vec::with_capacity(16 << 10),
        }
    }

    /// Asks, and waits for the whole answer.
    pub(crate) async fn ask(
        &mut self,
        method: &str,
        path: &str,
        body: Option<(&str, &[u8])>,
    ) -> anyhow::Result<Answer> {
        let failed = || format!("{method} {path}");
        self.send(&request(method, path, body))
            .await
            .with_context(failed)?;
        self.answer().await.with_context(failed)
    }

    /// Asks for JSON that must be there.
    pub(crate) async fn get(&mut self, path: &str) -> anyhow::Result<Value> {
        let answer = self.ask("GET", path, None).await?;
        let answer = answer.good().with_context(|| format!("GET {path}"))?;
        Ok(answer.json())
    }

    /// Sends a request that was made before.
    pub(crate) async fn send(&mut self, request: &[u8]) -> io::Result<()> {
        self.stream.write_all(request).await
    }

    /// The answer to what was sent.
    pub(crate) async fn answer(&mut self) -> anyhow::Result<Answer> {
        let (status, length) = self.head().await?;
        let body = match length {
            Length::Known(length) => self.take(length).await?,
            Length::Chunks => {
                let mut body = Vec::new();
                while let Some(chunk) = self.chunk().await? {
                    body.extend_from_slice(&chunk);
                    if body.len() > LARGEST {
                        bail!("the answer is too long");
                    }
                }
                body
            }
        };
        Ok(Answer { status, body })
    }

    /// The status of an answer whose body is then taken with [`Connection::chunk`], as it comes.
    pub(crate) async fn begin(&mut self) -> anyhow::Result<u16> {
        match self.head().await? {
            (status, Length::Chunks) => Ok(status),
            (status, Length::Known(_)) => bail!("{status}, and no stream"),
        }
    }

    /// The next chunk; `None` after the last.
    pub(crate) async fn chunk(&mut self) -> anyhow::Result<Option<Vec<u8>>> {
        let line = self.until(b"\r\n").await?;
        let line = String::from_utf8_lossy(&line);
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).context("a chunk has no size")?;
        let mut chunk = self.take(size + 2).await?;
        chunk.truncate(size);
        Ok((size > 0).then_some(chunk))
    }

    async fn head(&mut self) -> anyhow::Result<(u16, Length)> {
        let head = self.until(b"\r\n\r\n").await?;
        let head = std::str::from_utf8(&head).context("the head is no text")?;
        let status = head.get(9..12).and_then(|word| word.parse().ok());
        let status: u16 = status.with_context(|| format!("no status: {head:?}"))?;
        let mut length = Length::Known(0);
        for line in head.split("\r\n").skip(1) {
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            if name.eq_ignore_ascii_case("content-length") {
                length = Length::Known(value.trim().parse().context("no length")?);
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                length = Length::Chunks;
            }
        }
        Ok((status, length))
    }

    /// Takes what stands before the mark, and the mark.
    async fn until(&mut self, mark: &[u8]) -> anyhow::Result<Vec<u8>> {
        let mut looked = 0;
        loop {
            let from = self.buffer.get(looked..).unwrap_or_default();
            let at = from.windows(mark.len()).position(|window| window == mark);
            if let Some(at) = at {
                let end = looked + at;
                let found = self.buffer.get(..end).unwrap_or_default().to_vec();
                self.buffer.drain(..end + mark.len());
                return Ok(found);
            }
            looked = (self.buffer.len() + 1).saturating_sub(mark.len());
            if self.buffer.len() > HEAD {
                bail!("a line has no end");
            }
            self.read().await?;
        }
    }

    async fn take(&mut self, length: usize) -> anyhow::Result<Vec<u8>> {
        if length > LARGEST {
            bail!("the answer is too long");
        }
        while self.buffer.len() < length {
            self.read().await?;
        }
        Ok(self.buffer.drain(..length).collect())
    }

    async fn read(&mut self) -> anyhow::Result<()> {
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => bail!("the server closed the connection"),
            _ => Ok(()),
        }
    }
}

/// A whole request of the administrator's; a body comes with its type.
pub(crate) fn request(method: &str, path: &str, body: Option<(&str, &[u8])>) -> Vec<u8> {
    let line =
        format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {TOKEN}\r\n");
    let mut text = line.into_bytes();
    let (kind, body) = body.unwrap_or_default();
    if !kind.is_empty() {
        text.extend_from_slice(format!("content-type: {kind}\r\n").as_bytes());
    }
    if !kind.is_empty() || method != "GET" {
        text.extend_from_slice(format!("content-length: {}\r\n", body.len()).as_bytes());
    }
    text.extend_from_slice(b"\r\n");
    text.extend_from_slice(body);
    text
}

/// A single request on a connection of its own.
pub(crate) async fn get(server: &str, path: &str) -> anyhow::Result<Value> {
    Connection::tcp(server).await?.get(path).await
}

/// A token by which machines join, made at an orchestrator.
pub(crate) async fn join_token(server: &str) -> anyhow::Result<String> {
    let mut connection = Connection::tcp(server).await?;
    let body = Some(("application/yaml", b"{uses: 100}".as_slice()));
    let answer = connection.ask("POST", "/api/v1/join-tokens", body).await?;
    let made = answer.good().context("no join token")?.json();
    let token = made.get("token").and_then(Value::as_str);
    Ok(token.context("no join token")?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn answers(text: &'static [u8]) -> Vec<Answer> {
        let (near, mut far) = tokio::io::duplex(7);
        let writer = tokio::spawn(async move {
            far.write_all(text).await.unwrap();
        });
        let mut connection = Connection::over(near);
        let mut answers = Vec::new();
        while let Ok(answer) = connection.answer().await {
            answers.push(answer);
        }
        writer.await.unwrap();
        answers
    }

    #[tokio::test]
    async fn answers_with_a_length_and_in_chunks_are_read_one_after_another() {
        let text = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n1;x\r\nd\r\n0\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n";
        let answers = answers(text).await;
        let seen: Vec<(u16, &[u8])> = answers
            .iter()
            .map(|answer| (answer.status, answer.body.as_slice()))
            .collect();
        assert_eq!(seen, [(202, b"{}".as_slice()), (200, b"abcd"), (204, b"")]);
    }

    #[test]
    fn a_request_says_how_long_its_body_is() {
        let text = request("POST", "/a", Some(("text/yaml", b"x: 1")));
        let text = String::from_utf8(text).unwrap();
        assert!(text.ends_with("content-type: text/yaml\r\ncontent-length: 4\r\n\r\nx: 1"));
        assert!(
            !request("GET", "/", None)
                .windows(7)
                .any(|at| at == b"content")
        );
    }
}
