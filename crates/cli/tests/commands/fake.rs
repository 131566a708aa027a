//! A server that answers from a script.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What is answered.
#[derive(Clone)]
pub(crate) enum Answer {
    /// A status and a body of JSON.
    Json(u16, String),
    /// The connection is closed without an answer.
    Hangup,
}

impl Answer {
    pub(crate) fn new(status: u16, body: &str) -> Self {
        Self::Json(status, body.to_owned())
    }
}

/// What was asked.
#[derive(Clone)]
pub(crate) struct Request {
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
    loop {
        let mut first = String::new();
        if reader.read_line(&mut first).unwrap_or(0) == 0 {
            return;
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
        let body = String::from_utf8(body).unwrap();
        requests.lock().unwrap().push(Request { head, body });
        let request = first.trim().trim_end_matches(" HTTP/1.1").to_owned();
        let answer = next(&mut script.lock().unwrap(), &request);
        let Answer::Json(status, body) = answer else {
            return;
        };
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        if (&*stream).write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

fn next(script: &mut Script, request: &str) -> Answer {
    match script.get_mut(request) {
        Some(answers) if answers.len() > 1 => answers.remove(0),
        Some(answers) => answers[0].clone(),
        None => Answer::new(
            500,
            &serde_json::json!({"status": 500, "detail": format!("{request:?} is not in the script")})
                .to_string(),
        ),
    }
}
