//! What the kernel counts on TCP connections, read with `ss` of iproute2.

use std::process::Stdio;

use anyhow::{Context, bail};
use tokio::process::Command;

/// Bytes that IP version 4 and TCP with time stamps put before each segment.
const HEADERS: u64 = 20 + 20 + 12;

/// One end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Socket {
    pub(crate) pid: u32,
    pub(crate) local: String,
    pub(crate) peer: String,
    pub(crate) sent: Traffic,
    pub(crate) received: Traffic,
}

/// What went one way since the connection was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Traffic {
    /// Bytes of the application.
    pub(crate) payload: u64,
    /// TCP segments, acknowledgements alone among them.
    pub(crate) segments: u64,
}

impl Traffic {
    /// What went since an earlier look.
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            payload: self.payload.saturating_sub(before.payload),
            segments: self.segments.saturating_sub(before.segments),
        }
    }

    /// Bytes on an IP network: payload and headers.
    pub(crate) const fn on_the_wire(self) -> u64 {
        self.payload + self.segments * HEADERS
    }
}

/// The established connections of a process.
pub(crate) async fn of_process(pid: u32) -> anyhow::Result<Vec<Socket>> {
    let output = Command::new("ss")
        .args(["-tinOHp"])
        .stdin(Stdio::null())
        .output()
        .await
        .context("cannot run ss; install iproute2")?;
    if !output.status.success() {
        bail!("ss: {}", String::from_utf8_lossy(&output.stderr));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let mut found: Vec<Socket> = text.lines().filter_map(socket).collect();
    found.retain(|socket| socket.pid == pid);
    Ok(found)
}

fn socket(line: &str) -> Option<Socket> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let ["ESTAB", _, _, local, peer, rest @ ..] = words.as_slice() else {
        return None;
    };
    let number = |key: &str| {
        let word = rest.iter().find_map(|word| word.strip_prefix(key));
        word.and_then(|word| word.parse().ok()).unwrap_or(0)
    };
    let (_, pid) = line.split_once("pid=")?;
    let pid = pid.split(|c: char| !c.is_ascii_digit()).next()?;
    let traffic = |payload, segments| Traffic {
        payload: number(payload),
        segments: number(segments),
    };
    Some(Socket {
        pid: pid.parse().ok()?,
        local: (*local).to_owned(),
        peer: (*peer).to_owned(),
        sent: traffic("bytes_sent:", "segs_out:"),
        received: traffic("bytes_received:", "segs_in:"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_ss_is_read() {
        let line = "ESTAB 0 0 127.0.0.1:4000 127.0.0.1:5000 users:((\"node-engine\",pid=77,fd=12)) cubic rto:204 bytes_sent:103 bytes_acked:104 bytes_received:14 segs_out:14 segs_in:8 data_segs_out:6 data_segs_in:6";
        let socket = socket(line).unwrap();
        assert_eq!((socket.pid, socket.peer.as_str()), (77, "127.0.0.1:5000"));
        let sent = Traffic {
            payload: 103,
            segments: 14,
        };
        assert_eq!(socket.sent, sent);
        assert_eq!(socket.sent.on_the_wire(), 103 + 14 * 52);
        let before = Traffic {
            payload: 3,
            segments: 4,
        };
        assert_eq!(sent.since(before).payload, 100);
    }

    #[test]
    fn what_does_not_carry_data_is_passed_over() {
        assert_eq!(
            socket("LISTEN 0 128 127.0.0.1:1 0.0.0.0:* users:((\"a\",pid=1,fd=1))"),
            None
        );
    }
}
