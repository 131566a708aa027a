//! One request over a connection of its own (RFC 9112): all that joining needs of HTTP.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// Bytes of an answer that are read.
const ANSWER: usize = 64 * 1024;

/// What a server answered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

/// Posts JSON, and reads the answer whole.
///
/// # Errors
/// When the connection breaks, or what comes is not HTTP, or too much.
pub(crate) async fn post<S>(
    mut stream: S,
    (place, path): (&str, &str),
    body: &[u8],
) -> io::Result<Answer>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {place}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Accept: application/json\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let request = [head.as_bytes(), body].concat();
    stream.write_all(&request).await?;
    stream.flush().await?;
    let mut text = Vec::new();
    loop {
        let ended = stream.read_buf(&mut text).await? == 0;
        if let Some(answer) = read(&text, ended)? {
            return Ok(answer);
        }
        if ended {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if text.len() > ANSWER {
            return Err(strange("it answers more than anybody asked for"));
        }
    }
}

/// The answer, once it is whole.
fn read(text: &[u8], ended: bool) -> io::Result<Option<Answer>> {
    const GAP: &[u8] = b"\r\n\r\n";
    let Some(gap) = text.windows(GAP.len()).position(|window| window == GAP) else {
        return Ok(None);
    };
    let (head, rest) = text.split_at_checked(gap).unwrap_or((text, &[]));
    let rest = rest.get(GAP.len()..).unwrap_or_default();
    let head = String::from_utf8_lossy(head);
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .filter(|line| line.starts_with("HTTP/1."))
        .and_then(|line| line.split(' ').nth(1)?.parse().ok())
        .ok_or_else(|| strange("it does not speak HTTP"))?;
    let mut length = None;
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        if name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(strange("it answers in pieces, which nothing here does"));
        }
        if name.eq_ignore_ascii_case("content-length") {
            let value = value.trim().parse::<usize>();
            length = Some(value.map_err(|_| strange("it does not speak HTTP"))?);
        }
    }
    let body = match length {
        Some(length) => rest.get(..length),
        None => ended.then_some(rest),
    };
    Ok(body.map(|body| Answer {
        status,
        body: body.to_vec(),
    }))
}

fn strange(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer {
            status,
            body: body.as_bytes().to_vec(),
        }
    }

    #[test]
    fn an_answer_is_read_once_it_is_whole() {
        let text = b"HTTP/1.1 201 Created\r\nContent-length: 2\r\nx: y\r\n\r\n{}";
        for cut in 0..text.len() {
            assert_eq!(read(&text[..cut], false).unwrap(), None, "{cut}");
        }
        assert_eq!(read(text, false).unwrap(), Some(answer(201, "{}")));
        let open = b"HTTP/1.0 503 x\r\n\r\nno";
        assert_eq!(read(open, false).unwrap(), None);
        assert_eq!(read(open, true).unwrap(), Some(answer(503, "no")));
        for bad in [
            "SSH-2.0\r\n\r\n",
            "HTTP/1.1 x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        ] {
            assert!(read(bad.as_bytes(), true).is_err(), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_break_the_reader(text: Vec<u8>, head in "(HTTP/1\\.1 [0-9]{1,5} .{0,20}\r\n)?(Content-Length: [0-9]{0,25}\r\n)?\r\n") {
            let _ = read(&text, true);
            let _ = read(&[head.as_bytes(), &text].concat(), true);
        }
    }
}
