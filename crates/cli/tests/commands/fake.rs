//! A server that answers from a script.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What is answered.
#[derive(Clone)]
pub(crate) enum Answer {
    /// A status, header lines, and a body of JSON.
    Json(u16, String, String),
    /// A body that is sent in parts.
    Stream {
        /// Its `Content-Type`.
        media_type: &'static str,
        parts: Vec<String>,
        end: End,
    },
    /// The connection is closed without an answer.
    Hangup,
}

/// How a body in parts ends.
#[derive(Clone, Copy)]
pub(crate) enum End {
    /// As it should.
    Complete,
    /// The connection is closed in the middle.
    Cut,
    /// Not before the client leaves.
    Never,
}

impl Answer {
    pub(crate) fn new(status: u16, body: &str) -> Self {
        Self::Json(status, String::new(), body.to_owned())
    }

    pub(crate) fn events(parts: &[&str], end: End) -> Self {
        Self::stream("text/event-stream", parts, end)
    }

    pub(crate) fn text(parts: &[&str], end: End) -> Self {
        Self::stream("text/plain; charset=utf-8", parts, end)
    }

    fn stream(media_type: &'static str, parts: &[&str], end: End) -> Self {
        Self::Stream {
            media_type,
            parts: parts.iter().map(|part| (*part).to_owned()).collect(),
            end,
        }
    }
}

/// What was asked.
#[derive(Clone)]
pub(crate) struct Request {
    /// `GET /path?query`
    pub(crate) first: String,
    /// All header lines in lower case.
    pub(crate) head: String,
    pub(crate) body: String,
}

/// `GET /path?query` and its answers; the last one stays.
type Script = BTreeMap<String, Vec<Answer>>;

pub(crate) struct Server {
    pub(crate) url: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// Serves until the test's process ends. What the script does not know is 500.
    pub(crate) fn start(script: Vec<(&str, Vec<Answer>)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::default();
        let server = Self {
            url,
            requests: Arc::clone(&requests),
        };
        let script: Script = script
            .into_iter()
            .map(|(request, answers)| (request.to_owned(), answers))
            .collect();
        let script = Arc::new(Mutex::new(script));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (script, requests) = (Arc::clone(&script), Arc::clone(&requests));
                std::thread::spawn(move || serve(&stream.unwrap(), &script, &requests));
            }
        });
        server
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

/// An address at which nobody listens.
pub(crate) fn unused_url() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

fn serve(stream: &TcpStream, script: &Mutex<Script>, requests: &Mutex<Vec<Request>>) {
    let mut reader = BufReader::new(stream);
    while let Some(request) = read(&mut reader) {
        let first = request.first.clone();
        requests.lock().unwrap().push(request);
        let answer = next(&mut script.lock().unwrap(), &first);
        let goes_on = match answer {
            Answer::Hangup => false,
            Answer::Json(status, headers, body) => {
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n{headers}content-length: {length}\r\n\r\n{body}"
                );
                (&*stream).write_all(answer.as_bytes()).is_ok()
            }
            Answer::Stream {
                media_type,
                parts,
                end,
            } => in_parts(stream, media_type, &parts, end),
        };
        if !goes_on {
            return;
        }
    }
}

/// The next request of a connection.
fn read(reader: &mut impl BufRead) -> Option<Request> {
    let mut first = String::new();
    if reader.read_line(&mut first).unwrap_or(0) == 0 {
        return None;
    }
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if line.trim().is_empty() {
            break;
        }
        let line = line.to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    Some(Request {
        first: first.trim().trim_end_matches(" HTTP/1.1").to_owned(),
        head,
        body: String::from_utf8(body).unwrap(),
    })
}

/// Sends a body in chunks (RFC 9112, section 7.1); whether the connection goes on.
fn in_parts(mut stream: &TcpStream, media_type: &str, parts: &[String], end: End) -> bool {
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {media_type}\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    let chunks = parts
        .iter()
        .map(|part| format!("{:x}\r\n{part}\r\n", part.len()));
    for text in std::iter::once(head).chain(chunks) {
        if stream.write_all(text.as_bytes()).is_err() {
            return false;
        }
    }
    match end {
        End::Complete => stream.write_all(b"0\r\n\r\n").is_ok(),
        End::Cut => false,
        End::Never => {
            // It reads until the client closes its side.
            let _ = stream.read(&mut [0]);
            false
        }
    }
}

fn next(script: &mut Script, request: &str) -> Answer {
    // A time that has passed is another one each time.
    let known = match request.split_once("&since=") {
        Some((before, _)) if !script.contains_key(request) => before,
        Some(_) | None => request,
    };
    match script.get_mut(known) {
        Some(answers) if answers.len() > 1 => answers.remove(0),
        Some(answers) => answers[0].clone(),
        None => Answer::new(
            500,
            &serde_json::json!({"status": 500, "detail": format!("{request:?} is not in the script")})
                .to_string(),
        ),
    }
}
