//! Streams of events that go on after a lost connection.

use std::time::Duration;

use serde_json::Value;

use crate::client::{Client, Message, Messages};
use crate::failure::Failure;
use crate::output;

/// A server says something every 15 s; one that is silent for that long is not there any more.
const SILENCE: Duration = Duration::from_secs(45);
/// Before the first attempt to come back.
const FIRST: Duration = Duration::from_millis(500);
/// Between two attempts, at most.
const LAST: Duration = Duration::from_secs(10);

/// How a connection ended.
enum End {
    /// Nobody reads what is printed.
    Reader,
    /// The connection is lost, for this reason.
    Lost(String),
}

/// Gives each event of a path to `each`, until nobody reads what is printed any more. After a lost connection it goes
/// on after the last event seen.
///
/// # Errors
/// When the server refuses, now or later; when it cannot be reached at the first attempt; and what `each` says.
pub(super) fn events(
    client: &Client,
    path: &str,
    mut each: impl FnMut(Value) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut last: Option<String> = None;
    let mut met = false;
    let mut pause = FIRST;
    loop {
        match client.events(path, last.as_deref(), SILENCE) {
            Ok(stream) => {
                if !stream.media_type.starts_with("text/event-stream") {
                    let why = "events cannot be followed there";
                    return Err(client.foreign(path, 200, &why));
                }
                if met {
                    output::notice("connected again");
                }
                (met, pause) = (true, FIRST);
                let mut messages = Messages::new(stream.body);
                match read(client, path, &mut messages, &mut last, &mut each)? {
                    End::Reader => return Ok(()),
                    End::Lost(why) => {
                        output::notice(&format!(
                            "the connection to {} is lost ({why}); connecting again",
                            client.base()
                        ));
                    }
                }
            }
            Err(failure) if met && failure.passes() => {}
            Err(failure) => return Err(failure),
        }
        std::thread::park_timeout(pause);
        pause = (pause * 2).min(LAST);
    }
}

fn read(
    client: &Client,
    path: &str,
    messages: &mut Messages<impl std::io::BufRead>,
    last: &mut Option<String>,
    each: &mut impl FnMut(Value) -> Result<(), Failure>,
) -> Result<End, Failure> {
    loop {
        let message = match messages.next() {
            Ok(Some(message)) => message,
            Ok(None) => return Ok(End::Lost("it was closed".to_owned())),
            Err(error) => return Ok(End::Lost(error.to_string())),
        };
        let Message { id, event, data } = message;
        match event.as_str() {
            "event" => {
                let event = serde_json::from_str(&data)
                    .map_err(|error| client.foreign(path, 200, &error))?;
                each(event)?;
            }
            "reset" => output::notice(
                "some events are missing here: the server does not keep them any more",
            ),
            // Of a later server.
            _ => {}
        }
        if id.is_some() {
            *last = id;
        }
        if output::reader_is_gone() {
            return Ok(End::Reader);
        }
    }
}
