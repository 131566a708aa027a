//! Server-sent events (WHATWG HTML, section 9.2.6), as far as edgeIO sends them: fields `id`, `event` and `data`.

use std::io::{self, BufRead, Read};

/// Longest line, in bytes.
const LINE: u64 = 1 << 20;

/// One message of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Message {
    /// Its id, where it has one.
    pub(crate) id: Option<String>,
    /// Its kind; empty where it says none.
    pub(crate) event: String,
    /// What it says.
    pub(crate) data: String,
}

/// The messages of a stream, one after the other.
pub(crate) struct Messages<R>(R);

impl<R: BufRead> Messages<R> {
    /// Reads this stream.
    pub(crate) const fn new(stream: R) -> Self {
        Self(stream)
    }

    /// The next one; nothing at the end of the stream, where what is not complete counts for nothing.
    ///
    /// # Errors
    /// When the stream breaks, or a line is longer than 1 MiB.
    pub(crate) fn next(&mut self) -> io::Result<Option<Message>> {
        let mut message = Message::default();
        let mut says_something = false;
        let mut line = Vec::new();
        loop {
            line.clear();
            (&mut self.0).take(LINE).read_until(b'\n', &mut line)?;
            if !line.ends_with(b"\n") {
                if line.len() as u64 == LINE {
                    let fault = "a line of the stream is too long";
                    return Err(io::Error::new(io::ErrorKind::InvalidData, fault));
                }
                return Ok(None);
            }
            let text = String::from_utf8_lossy(&line);
            let text = text.trim_end_matches(['\n', '\r']);
            if text.is_empty() {
                if says_something {
                    return Ok(Some(message));
                }
                continue;
            }
            let (field, value) = text.split_once(':').unwrap_or((text, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "id" => message.id = Some(value.to_owned()),
                "event" => value.clone_into(&mut message.event),
                "data" => {
                    if !message.data.is_empty() {
                        message.data.push('\n');
                    }
                    message.data.push_str(value);
                }
                // A comment, which keeps the connection alive, or a field of a later server.
                _ => continue,
            }
            says_something = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(text: &[u8]) -> Vec<(Option<String>, String, String)> {
        let mut messages = Messages::new(text);
        let next = std::iter::from_fn(|| messages.next().unwrap());
        next.map(|message| (message.id, message.event, message.data))
            .collect()
    }

    #[test]
    fn messages_are_told_apart_by_empty_lines() {
        let text = b": hello\n\nid: 1\nevent: event\ndata: {\"a\":1}\n\n:\n\r\nid:2\r\ndata: x\r\ndata: y\r\nretry: 5\r\n\r\nevent: reset\n\nid: 3\ndata: cut";
        let one = |id: Option<&str>, event: &str, data: &str| {
            (id.map(str::to_owned), event.to_owned(), data.to_owned())
        };
        assert_eq!(
            messages(text),
            [
                one(Some("1"), "event", "{\"a\":1}"),
                one(Some("2"), "", "x\ny"),
                one(None, "reset", ""),
            ]
        );
    }

    #[test]
    fn a_line_without_an_end_is_no_way_to_fill_the_memory() {
        let endless = vec![b'a'; 3 << 20];
        let fault = Messages::new(endless.as_slice()).next().unwrap_err();
        assert_eq!(fault.kind(), io::ErrorKind::InvalidData);
        assert!(messages(b"data: \xff\n\n")[0].2.contains('\u{fffd}'));
    }
}
