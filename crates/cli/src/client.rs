//! Requests to an orchestrator.

use std::time::Duration;

use protocol::problem::Problem;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use ureq::http::{Method, Request};

use crate::failure::Failure;

/// How long one request may take.
pub(crate) const REQUEST: Duration = Duration::from_secs(30);
/// How long a connection may take to be there.
const CONNECT: Duration = Duration::from_secs(5);
/// Largest answer that is read, in bytes.
const ANSWER: u64 = 256 << 20;

/// Where requests go, and as whom.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    agent: ureq::Agent,
    /// Without a slash at the end.
    base: String,
    token: Option<String>,
}

/// A body to send.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Body<'a> {
    /// Its `Content-Type`.
    pub(crate) media_type: &'static str,
    /// The bytes.
    pub(crate) bytes: &'a [u8],
}

impl Client {
    /// A client of the server at `url`.
    ///
    /// # Errors
    /// When the URL or the token cannot be used, or the URL leaves this machine in plain text and nobody said that this is wanted.
    pub(crate) fn new(url: &str, token: Option<String>, insecure: bool) -> Result<Self, Failure> {
        let usage = |why: &str| Failure::Usage(format!("the URL {url:?} cannot be used: {why}"));
        let base = url.trim_end_matches('/');
        let uri: ureq::http::Uri = base
            .parse()
            .map_err(|_| usage("write it as http://127.0.0.1:10000"))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => return Err(usage("TLS is not supported yet; use http://")),
            Some(_) | None => return Err(usage("it must begin with http://")),
        }
        if uri.query().is_some() || uri.authority().is_some_and(|a| a.as_str().contains('@')) {
            return Err(usage(
                "it must be no more than http://HOST:PORT; give a token with --token",
            ));
        }
        // A URI keeps the brackets of an IPv6 address; an address does not.
        let host = uri
            .host()
            .map(|host| host.trim_start_matches('[').trim_end_matches(']'));
        let local = host.is_some_and(|host| daemon::dial::plain_allowed(host, false));
        if !local && !insecure {
            return Err(usage(
                "requests would leave this machine in plain text; use --insecure if the network is trusted",
            ));
        }
        if token.as_ref().is_some_and(|token| !is_token(token)) {
            return Err(Failure::Usage(
                "the token cannot be used: it must be one line of visible ASCII characters"
                    .to_owned(),
            ));
        }
        let mut config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(CONNECT))
            .user_agent(concat!("edgeio/", env!("CARGO_PKG_VERSION")));
        if local {
            // A proxy cannot reach what this machine alone reaches.
            config = config.proxy(None);
        }
        Ok(Self {
            agent: config.build().new_agent(),
            base: base.to_owned(),
            token,
        })
    }

    /// The server's address.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// Asks for one thing.
    pub(crate) fn get(&self, path: &str) -> Result<Value, Failure> {
        self.ask(&Method::GET, path, None, REQUEST)
    }

    /// Asks for one thing, for no longer than that.
    pub(crate) fn get_within(&self, path: &str, limit: Duration) -> Result<Value, Failure> {
        self.ask(&Method::GET, path, None, limit)
    }

    /// All rows of a list, page after page.
    pub(crate) fn list(&self, path: &str) -> Result<Vec<Value>, Failure> {
        // How many rows a page has is left to the server: not every list takes a limit.
        let mut page: Page = self.read(self.get(path)?, path)?;
        let mut rows = page.items;
        let mark = if path.contains('?') { '&' } else { '?' };
        while let Some(cursor) = page.next_cursor {
            let next = self.get(&format!("{path}{mark}cursor={}", segment(&cursor)))?;
            page = self.read(next, path)?;
            // A page without rows has no successor, or this would never end.
            if page.items.is_empty() {
                break;
            }
            rows.append(&mut page.items);
        }
        Ok(rows)
    }

    /// Puts a body there.
    pub(crate) fn put(&self, path: &str, body: Body<'_>) -> Result<Value, Failure> {
        self.ask(&Method::PUT, path, Some(body), REQUEST)
    }

    /// Deletes what is there.
    pub(crate) fn delete(&self, path: &str) -> Result<Value, Failure> {
        self.ask(&Method::DELETE, path, None, REQUEST)
    }

    /// An answer as the type it should have.
    pub(crate) fn read<T: DeserializeOwned>(&self, value: Value, path: &str) -> Result<T, Failure> {
        serde_json::from_value(value).map_err(|error| self.foreign(path, 200, &error))
    }

    fn foreign(&self, path: &str, status: u16, why: &serde_json::Error) -> Failure {
        Failure::Foreign {
            url: format!("{}{path}", self.base),
            status,
            why: why.to_string(),
        }
    }

    fn ask(
        &self,
        method: &Method,
        path: &str,
        body: Option<Body<'_>>,
        limit: Duration,
    ) -> Result<Value, Failure> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header("accept", "application/json");
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let sent = match body {
            Some(Body { media_type, bytes }) => request
                .header("content-type", media_type)
                .body(bytes)
                .map_err(ureq::Error::from)
                .and_then(|request| self.run(request, limit)),
            None => request
                .body(())
                .map_err(ureq::Error::from)
                .and_then(|request| self.run(request, limit)),
        };
        let mut answer = sent.map_err(|source| self.failed(source))?;
        let status = answer.status().as_u16();
        let bytes = answer
            .body_mut()
            .with_config()
            .limit(ANSWER)
            .read_to_vec()
            .map_err(|source| self.failed(source))?;
        if (200..300).contains(&status) {
            return serde_json::from_slice(&bytes)
                .map_err(|error| self.foreign(path, status, &error));
        }
        // What stands before an orchestrator may answer too, and without a problem.
        match serde_json::from_slice::<Problem>(&bytes) {
            Ok(problem) => Err(Failure::Refused(Box::new(problem))),
            Err(error) => Err(self.foreign(path, status, &error)),
        }
    }

    fn run<B: ureq::AsSendBody>(
        &self,
        request: Request<B>,
        limit: Duration,
    ) -> Result<ureq::http::Response<ureq::Body>, ureq::Error> {
        let request = self
            .agent
            .configure_request(request)
            .timeout_global(Some(limit))
            .build();
        self.agent.run(request)
    }

    fn failed(&self, source: ureq::Error) -> Failure {
        let connected = match &source {
            ureq::Error::Io(error) => !matches!(
                error.kind(),
                std::io::ErrorKind::ConnectionRefused
                    | std::io::ErrorKind::HostUnreachable
                    | std::io::ErrorKind::NetworkUnreachable
            ),
            ureq::Error::Timeout(timeout) => {
                !matches!(timeout, ureq::Timeout::Connect | ureq::Timeout::Resolve)
            }
            error => !matches!(
                error,
                ureq::Error::HostNotFound | ureq::Error::ConnectionFailed
            ),
        };
        let url = self.base.clone();
        let source = Box::new(source);
        if connected {
            Failure::Broken { url, source }
        } else {
            Failure::Unreachable { url, source }
        }
    }
}

/// One page of a list, its rows as they came.
#[derive(Debug, Deserialize)]
struct Page {
    items: Vec<Value>,
    #[serde(default)]
    next_cursor: Option<String>,
}

/// A text as one segment of a path (RFC 3986, section 3.3).
pub(crate) fn segment(text: &str) -> String {
    use std::fmt::Write as _;
    let mut segment = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            segment.push(char::from(byte));
        } else {
            let _ = write!(segment, "%{byte:02X}");
        }
    }
    segment
}

fn is_token(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_that_cannot_be_used_are_told_with_the_remedy() {
        let table = [
            ("127.0.0.1:10000", "http://"),
            ("https://127.0.0.1", "TLS"),
            ("http://192.0.2.1:10000", "--insecure"),
            ("http://user@127.0.0.1", "--token"),
            ("http://127.0.0.1/?a=b", "HOST:PORT"),
            ("ftp://127.0.0.1", "http://"),
            ("", "http://"),
        ];
        for (url, remedy) in table {
            let failure = Client::new(url, None, false).unwrap_err();
            assert_eq!(failure.exit_code(), 2);
            assert!(failure.to_string().contains(remedy), "{url}: {failure}");
        }
        for url in [
            "http://127.0.0.1:10000/",
            "http://[::1]:1",
            "http://localhost",
        ] {
            Client::new(url, Some("abc".to_owned()), false).unwrap();
        }
        Client::new("http://192.0.2.1", None, true).unwrap();
        assert!(Client::new("http://[::1]", Some("a\nb".to_owned()), false).is_err());
    }

    #[test]
    fn names_stay_one_segment_of_a_path() {
        assert_eq!(segment("a-b_c.1"), "a-b_c.1");
        assert_eq!(segment("a/b?c d\u{e4}"), "a%2Fb%3Fc%20d%C3%A4");
    }
}
