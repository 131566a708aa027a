//! Socket.IO over long polling: a session made of plain requests, so that anything can be sent in it.

use std::net::SocketAddr;

use serde_json::Value;

use super::exchange::{Answer, Reply, exchange, request};

/// A session of Engine.IO.
pub(crate) struct Session {
    address: SocketAddr,
    id: String,
    /// Packets that came and were not asked for.
    came: Vec<String>,
}

const PATH: &str = "/socket.io/?EIO=4&transport=polling";

impl Session {
    /// Opens a session without joining a namespace.
    pub(crate) fn open(address: SocketAddr) -> Result<Self, String> {
        let reply = ask(address, &format!("GET {PATH}"), b"")?;
        let open: Value = reply
            .text
            .find('{')
            .and_then(|at| serde_json::from_str(reply.text.get(at..)?.trim_end()).ok())
            .unwrap_or_default();
        let id = open["sid"]
            .as_str()
            .ok_or_else(|| format!("no session: {reply:?}"))?;
        Ok(Self {
            address,
            id: id.to_owned(),
            came: Vec::new(),
        })
    }

    /// Opens one and joins a namespace, as `/uplink`.
    pub(crate) fn join(address: SocketAddr, namespace: &str) -> Result<Self, String> {
        let mut this = Self::open(address)?;
        let prefix = prefix(namespace);
        this.send(&format!("40{prefix}"))?;
        let joined = this.until(&format!("40{prefix}"))?;
        joined
            .map(|_| this)
            .ok_or_else(|| "the session was closed".to_owned())
    }

    /// Sends packets; gives the status.
    pub(crate) fn send(&mut self, packets: &str) -> Result<u16, String> {
        self.send_bytes(packets.as_bytes())
    }

    /// Sends bytes; gives the status.
    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) -> Result<u16, String> {
        let line = format!("POST {PATH}&sid={}", self.id);
        ask(self.address, &line, bytes).map(|reply| reply.status)
    }

    /// Emits an event with an acknowledgement, and gives that; `None` when the session ends instead.
    pub(crate) fn emit(
        &mut self,
        namespace: &str,
        event: &str,
        data: &str,
    ) -> Result<Option<Value>, String> {
        let prefix = prefix(namespace);
        let status = self.send(&format!("42{prefix}7[\"{event}\",{data}]"))?;
        if status != 200 {
            return Ok(None);
        }
        let Some(packet) = self.until(&format!("43{prefix}7"))? else {
            return Ok(None);
        };
        let data: Value = packet
            .find('[')
            .and_then(|at| serde_json::from_str(packet.get(at..)?).ok())
            .unwrap_or_default();
        Ok(Some(data[0].clone()))
    }

    /// Reads packets until one begins so; `None` when the session ends.
    pub(crate) fn until(&mut self, beginning: &str) -> Result<Option<String>, String> {
        loop {
            while !self.came.is_empty() {
                let packet = self.came.remove(0);
                if packet.starts_with(beginning) {
                    return Ok(Some(packet));
                }
                // A ping waits for its answer; a close is the end.
                if packet == "2" {
                    self.send("3")?;
                } else if packet == "1" {
                    return Ok(None);
                }
            }
            let line = format!("GET {PATH}&sid={}", self.id);
            let reply = ask(self.address, &line, b"")?;
            if reply.status != 200 {
                return Ok(None);
            }
            // An answer in chunks has their lengths between its lines.
            let text = reply.text.replace("\r\n", "\x1e");
            self.came.extend(text.split('\x1e').map(str::to_owned));
        }
    }
}

/// What stands before the data of packets of a namespace.
fn prefix(namespace: &str) -> String {
    if namespace == "/" {
        String::new()
    } else {
        format!("{namespace},")
    }
}

fn ask(address: SocketAddr, line: &str, body: &[u8]) -> Result<Reply, String> {
    match exchange(address, &request(line, "", body))? {
        Answer::Http(reply) => Ok(reply),
        Answer::Closed(_) => Err(format!("{line}: the connection was closed")),
    }
}
