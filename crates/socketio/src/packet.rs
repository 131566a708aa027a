//! The text form of the packets: Engine.IO 4 outside, Socket.IO 5 inside.
//!
//! Sources: the Engine.IO protocol, revision 4, and the Socket.IO protocol, revision 5, of the Socket.IO project.
//! No I/O here: [`parse`] and the `*_frame` functions are each other's border with the session.

use serde::Deserialize;
use serde_json::Value;

/// Engine.IO's answer to a ping.
pub(crate) const PONG: &str = "3";

/// What the server says in its first packet.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Open {
    /// Milliseconds between two pings of the server.
    #[serde(rename = "pingInterval")]
    pub(crate) ping_interval: u64,
    /// Milliseconds that a ping may be late.
    #[serde(rename = "pingTimeout")]
    pub(crate) ping_timeout: u64,
}

/// One packet from the server.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Packet {
    /// Engine.IO `open`: the parameters of this connection.
    Open(Open),
    /// Engine.IO `close`: the server ends the connection.
    Close,
    /// Engine.IO `ping`: to be answered with [`PONG`].
    Ping,
    /// Engine.IO packets that ask for nothing (`pong`, `upgrade`, `noop`).
    Idle,
    /// A Socket.IO packet for one namespace.
    Message { namespace: String, body: Body },
}

/// The part of a Socket.IO packet after its namespace.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Body {
    /// The namespace was joined.
    Connected,
    /// The server ended the namespace.
    Disconnected,
    /// An event; `ack` is the number that the answer must bear.
    Event {
        name: String,
        data: Value,
        ack: Option<u64>,
    },
    /// The answer to an event of ours.
    Ack { id: u64, data: Value },
    /// The namespace was refused, for this reason.
    Refused { message: String },
}

/// A frame that is not Socket.IO as this crate speaks it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    /// The first character is no packet type.
    #[error("unknown packet type")]
    Type,
    /// The packet is binary, or has binary attachments.
    #[error("binary packets are not supported")]
    Binary,
    /// The payload is missing, is no JSON, or has the wrong shape.
    #[error("malformed payload")]
    Payload,
}

/// Reads one text frame.
pub(crate) fn parse(frame: &str) -> Result<Packet, Malformed> {
    let (kind, rest) = split_type(frame)?;
    match kind {
        '0' => serde_json::from_str(rest)
            .map(Packet::Open)
            .map_err(|_| Malformed::Payload),
        '1' => Ok(Packet::Close),
        '2' => Ok(Packet::Ping),
        '3' | '5' | '6' => Ok(Packet::Idle),
        '4' => parse_message(rest),
        'b' => Err(Malformed::Binary),
        _ => Err(Malformed::Type),
    }
}

/// Reads `<type>[/namespace,][ack id][JSON]`.
fn parse_message(message: &str) -> Result<Packet, Malformed> {
    let (kind, rest) = split_type(message)?;
    let (namespace, rest) = split_namespace(rest);
    let (id, payload) = split_id(rest)?;
    let body = match kind {
        '0' => Body::Connected,
        '1' => Body::Disconnected,
        '2' => event(id, payload)?,
        '3' => Body::Ack {
            id: id.ok_or(Malformed::Payload)?,
            data: only_or_all(array(payload)?),
        },
        '4' => Body::Refused {
            message: refusal(payload),
        },
        '5' | '6' => return Err(Malformed::Binary),
        _ => return Err(Malformed::Type),
    };
    Ok(Packet::Message {
        namespace: namespace.to_owned(),
        body,
    })
}

fn split_type(frame: &str) -> Result<(char, &str), Malformed> {
    let mut characters = frame.chars();
    let kind = characters.next().ok_or(Malformed::Type)?;
    Ok((kind, characters.as_str()))
}

/// The namespace without the query that a client may have appended to it; the default one is not written.
fn split_namespace(rest: &str) -> (&str, &str) {
    if !rest.starts_with('/') {
        return ("/", rest);
    }
    let (namespace, rest) = rest.split_once(',').unwrap_or((rest, ""));
    let name = namespace
        .split_once('?')
        .map_or(namespace, |(name, _)| name);
    (name, rest)
}

fn split_id(rest: &str) -> Result<(Option<u64>, &str), Malformed> {
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (id, payload) = rest.split_at_checked(digits).ok_or(Malformed::Payload)?;
    if id.is_empty() {
        return Ok((None, payload));
    }
    let id = id.parse().map_err(|_| Malformed::Payload)?;
    Ok((Some(id), payload))
}

fn event(ack: Option<u64>, payload: &str) -> Result<Body, Malformed> {
    let mut arguments = array(payload)?.into_iter();
    let Some(Value::String(name)) = arguments.next() else {
        return Err(Malformed::Payload);
    };
    Ok(Body::Event {
        name,
        data: only_or_all(arguments.collect()),
        ack,
    })
}

fn array(payload: &str) -> Result<Vec<Value>, Malformed> {
    serde_json::from_str(payload).map_err(|_| Malformed::Payload)
}

/// One argument stands for itself, none is null, several are an array.
fn only_or_all(mut arguments: Vec<Value>) -> Value {
    if arguments.len() > 1 {
        return Value::Array(arguments);
    }
    arguments.pop().unwrap_or(Value::Null)
}

/// The text of a CONNECT_ERROR: `{"message": …}` since revision 5, a bare string before.
fn refusal(payload: &str) -> String {
    let value: Value = serde_json::from_str(payload).unwrap_or(Value::Null);
    let message = value.get("message").unwrap_or(&value);
    message
        .as_str()
        .map_or_else(|| message.to_string(), str::to_owned)
}

/// A namespace as it stands in a packet: nothing for `/`, otherwise with its closing comma.
pub(crate) fn namespace_prefix(namespace: &str) -> String {
    if namespace == "/" {
        String::new()
    } else {
        format!("{namespace},")
    }
}

/// CONNECT, with the credentials if there are any.
pub(crate) fn connect_frame(prefix: &str, auth: Option<&Value>) -> String {
    let auth = auth.map(Value::to_string).unwrap_or_default();
    format!("40{prefix}{auth}")
}

/// DISCONNECT.
pub(crate) fn disconnect_frame(prefix: &str) -> String {
    format!("41{prefix}")
}

/// EVENT: `body` is the JSON array of the event's name and its arguments.
pub(crate) fn event_frame(prefix: &str, ack: Option<u64>, body: &str) -> String {
    match ack {
        Some(id) => format!("42{prefix}{id}{body}"),
        None => format!("42{prefix}{body}"),
    }
}

/// ACK: `body` is the JSON array of the answer.
pub(crate) fn ack_frame(prefix: &str, id: u64, body: &str) -> String {
    format!("43{prefix}{id}{body}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn message(namespace: &str, body: Body) -> Packet {
        Packet::Message {
            namespace: namespace.to_owned(),
            body,
        }
    }

    fn event(name: &str, data: Value, ack: Option<u64>) -> Body {
        let name = name.to_owned();
        Body::Event { name, data, ack }
    }

    #[test]
    fn frames_of_the_protocol_documents_are_read() {
        let open =
            r#"0{"sid":"x","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":9}"#;
        let table = [
            (
                open,
                Packet::Open(Open {
                    ping_interval: 25_000,
                    ping_timeout: 20_000,
                }),
            ),
            ("1", Packet::Close),
            ("2", Packet::Ping),
            ("2probe", Packet::Ping),
            ("6", Packet::Idle),
            (r#"40{"sid":"y"}"#, message("/", Body::Connected)),
            (r#"40/a-b,{"sid":"y"}"#, message("/a-b", Body::Connected)),
            ("41", message("/", Body::Disconnected)),
            ("41/a,", message("/a", Body::Disconnected)),
            (r#"42["n"]"#, message("/", event("n", Value::Null, None))),
            (r#"42["n",1]"#, message("/", event("n", json!(1), None))),
            (
                r#"42/a?t=1,["n",1]"#,
                message("/a", event("n", json!(1), None)),
            ),
            (
                r#"4217["n",1,2]"#,
                message("/", event("n", json!([1, 2]), Some(17))),
            ),
            (
                r#"42/a,3["n",[1]]"#,
                message("/a", event("n", json!([1]), Some(3))),
            ),
            (
                r#"43/a,3["ok"]"#,
                message(
                    "/a",
                    Body::Ack {
                        id: 3,
                        data: json!("ok"),
                    },
                ),
            ),
            (
                r#"44{"message":"no"}"#,
                message(
                    "/",
                    Body::Refused {
                        message: "no".to_owned(),
                    },
                ),
            ),
            (
                r#"44/a,"old""#,
                message(
                    "/a",
                    Body::Refused {
                        message: "old".to_owned(),
                    },
                ),
            ),
        ];
        for (frame, packet) in table {
            assert_eq!(parse(frame), Ok(packet), "{frame}");
        }
    }

    #[test]
    fn what_is_not_the_protocol_is_an_error() {
        let table = [
            ("", Malformed::Type),
            ("4", Malformed::Type),
            ("9", Malformed::Type),
            ("é", Malformed::Type),
            ("4é", Malformed::Type),
            ("0", Malformed::Payload),
            ("0{}", Malformed::Payload),
            ("42", Malformed::Payload),
            ("42{}", Malformed::Payload),
            ("42[]", Malformed::Payload),
            ("42[1]", Malformed::Payload),
            ("43[1]", Malformed::Payload),
            ("4299999999999999999999999[\"n\"]", Malformed::Payload),
            (
                r#"451-["n",{"_placeholder":true,"num":0}]"#,
                Malformed::Binary,
            ),
            ("bAQID", Malformed::Binary),
        ];
        for (frame, error) in table {
            assert_eq!(parse(frame), Err(error), "{frame}");
        }
    }

    #[test]
    fn deep_nesting_is_refused_and_does_not_overflow_the_stack() {
        let frame = format!("42[\"n\",{}", "[".repeat(200_000));
        assert_eq!(parse(&frame), Err(Malformed::Payload));
    }

    #[test]
    fn frames_are_written_as_the_protocol_document_shows_them() {
        assert_eq!(connect_frame("", None), "40");
        let auth = json!({"token": "t"});
        assert_eq!(connect_frame("/a,", Some(&auth)), r#"40/a,{"token":"t"}"#);
        assert_eq!(disconnect_frame("/a,"), "41/a,");
        assert_eq!(event_frame("", Some(7), r#"["n",1]"#), r#"427["n",1]"#);
        assert_eq!(event_frame("/a,", None, r#"["n"]"#), r#"42/a,["n"]"#);
        assert_eq!(ack_frame("/a,", 7, "[1]"), "43/a,7[1]");
        assert_eq!(namespace_prefix("/"), "");
    }
}
