//! Requests to an orchestrator.

mod address;
mod sse;

use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use protocol::problem::Problem;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use ureq::http::header::{CONTENT_TYPE, RETRY_AFTER};
use ureq::http::{Method, Request, Response};
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::failure::{Failure, Refusal};

use address::{Place, is_token, place};

pub(crate) use address::segment;
pub(crate) use sse::{Message, Messages};

/// How long one request may take.
pub(crate) const REQUEST: Duration = Duration::from_secs(30);
/// How long a connection may take to be there.
const CONNECT: Duration = Duration::from_secs(5);
/// The status of an answer that says no more than that it was done.
const NO_CONTENT: u16 = 204;
/// Largest answer that is read, in bytes.
const ANSWER: u64 = 256 << 20;

/// Which server, and as whom.
pub(crate) struct Target {
    /// Its address.
    pub(crate) url: String,
    /// The credential.
    pub(crate) token: Option<String>,
    /// Whether requests may leave this machine in plain text.
    pub(crate) insecure: bool,
    /// The file of the authority that is believed where the address asks for TLS.
    pub(crate) ca: Option<PathBuf>,
    /// What said that it is there.
    pub(crate) named_by: &'static str,
}

/// Where requests go, and as whom.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    agent: ureq::Agent,
    /// Without a slash at the end.
    base: String,
    token: Option<String>,
    named_by: &'static str,
}

/// A body to send.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Body<'a> {
    /// Its `Content-Type`.
    pub(crate) media_type: &'static str,
    /// The bytes.
    pub(crate) bytes: &'a [u8],
}

/// One request.
struct Ask<'a> {
    method: Method,
    path: &'a str,
    accept: &'a str,
    body: Option<Body<'a>>,
    /// One more header.
    header: Option<(&'static str, &'a str)>,
    patience: Patience,
}

/// How long an answer may take.
#[derive(Clone, Copy)]
enum Patience {
    /// All of it.
    Whole(Duration),
    /// Its beginning as long as any request; its body has no end, and is given up when nothing comes for so long.
    Endless(Option<Duration>),
}

/// An answer that is read while it is made.
pub(crate) struct Stream {
    /// Its `Content-Type`.
    pub(crate) media_type: String,
    /// Its body.
    pub(crate) body: BufReader<Box<dyn Read>>,
}

/// TLS that believes the authorities of a file.
fn believing(ca: &Path) -> Result<TlsConfig, Failure> {
    let failed = |source| Failure::Read {
        path: ca.to_owned(),
        source,
    };
    let pem = std::fs::read(ca).map_err(failed)?;
    let certificate = Certificate::from_pem(&pem).map_err(|error| Failure::Config {
        path: ca.to_owned(),
        why: format!("it is no certificate in PEM ({error})"),
    })?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&[certificate]))
        .unversioned_rustls_crypto_provider(provider)
        .build())
}

impl Client {
    /// A client of that server.
    ///
    /// # Errors
    /// When the URL or the token cannot be used, or the URL leaves this machine in plain text and nobody said that this is wanted.
    pub(crate) fn new(target: &Target) -> Result<Self, Failure> {
        let Target {
            url,
            token,
            insecure,
            ca,
            named_by,
        } = target;
        let usage = |why: &str| {
            Failure::Usage(format!(
                "the URL {url:?}, which is {named_by}, cannot be used: {why}"
            ))
        };
        let base = url.trim_end_matches('/');
        let Place { local, secure } = place(base).map_err(usage)?;
        if !local && !secure && !insecure {
            return Err(usage(
                "requests would leave this machine in plain text; write https://, or use --insecure if the network is trusted",
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
        if secure {
            let ca = ca.as_deref().ok_or_else(|| {
                usage("nothing says whom to believe; give the server's authority.pem with --ca")
            })?;
            config = config.tls_config(believing(ca)?);
        }
        if local {
            // A proxy cannot reach what this machine alone reaches.
            config = config.proxy(None);
        }
        Ok(Self {
            agent: config.build().new_agent(),
            base: base.to_owned(),
            token: token.clone(),
            named_by,
        })
    }

    /// The server's address.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// Asks for one thing.
    pub(crate) fn get(&self, path: &str) -> Result<Value, Failure> {
        self.get_within(path, REQUEST)
    }

    /// Asks for one thing, for no longer than that.
    pub(crate) fn get_within(&self, path: &str, limit: Duration) -> Result<Value, Failure> {
        self.json(&Ask {
            patience: Patience::Whole(limit),
            ..Ask::new(Method::GET, path)
        })
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

    /// All rows of a list as the type that they should have.
    pub(crate) fn list_of<T: DeserializeOwned>(&self, path: &str) -> Result<Vec<T>, Failure> {
        self.read(Value::Array(self.list(path)?), path)
    }

    /// Puts a body there.
    pub(crate) fn put(&self, path: &str, body: Body<'_>) -> Result<Value, Failure> {
        self.json(&Ask {
            body: Some(body),
            ..Ask::new(Method::PUT, path)
        })
    }

    /// Changes what is there by a body.
    pub(crate) fn patch(&self, path: &str, body: Body<'_>) -> Result<Value, Failure> {
        self.json(&Ask {
            body: Some(body),
            ..Ask::new(Method::PATCH, path)
        })
    }

    /// Posts a body there.
    pub(crate) fn post(&self, path: &str, body: Body<'_>) -> Result<Value, Failure> {
        self.json(&Ask {
            body: Some(body),
            ..Ask::new(Method::POST, path)
        })
    }

    /// Posts a body under a key by which the server knows it again, so that sending it twice is safe.
    pub(crate) fn post_once(
        &self,
        path: &str,
        body: Body<'_>,
        key: &str,
    ) -> Result<Value, Failure> {
        self.json(&Ask {
            body: Some(body),
            header: Some(("idempotency-key", key)),
            ..Ask::new(Method::POST, path)
        })
    }

    /// Deletes what is there.
    pub(crate) fn delete(&self, path: &str) -> Result<Value, Failure> {
        self.json(&Ask::new(Method::DELETE, path))
    }

    /// Opens a stream of plain text; it is given up when nothing comes for `silence`, or never.
    pub(crate) fn text(&self, path: &str, silence: Option<Duration>) -> Result<Stream, Failure> {
        self.open(&Ask {
            accept: "text/plain, application/problem+json",
            patience: Patience::Endless(silence),
            ..Ask::new(Method::GET, path)
        })
    }

    /// Opens a stream of bytes; it is given up when nothing comes for `silence`.
    pub(crate) fn bytes(&self, path: &str, silence: Duration) -> Result<Stream, Failure> {
        self.open(&Ask {
            accept: "application/octet-stream, application/problem+json",
            patience: Patience::Endless(Some(silence)),
            ..Ask::new(Method::GET, path)
        })
    }

    /// Opens a stream of events after the last one that was seen; it is given up when nothing comes for `silence`.
    pub(crate) fn events(
        &self,
        path: &str,
        last: Option<&str>,
        silence: Duration,
    ) -> Result<Stream, Failure> {
        self.open(&Ask {
            accept: "text/event-stream, application/problem+json",
            header: last.map(|last| ("last-event-id", last)),
            patience: Patience::Endless(Some(silence)),
            ..Ask::new(Method::GET, path)
        })
    }

    /// An answer as the type it should have.
    pub(crate) fn read<T: DeserializeOwned>(&self, value: Value, path: &str) -> Result<T, Failure> {
        serde_json::from_value(value).map_err(|error| self.foreign(path, 200, &error))
    }

    /// An answer of this status that is none of edgeIO's.
    pub(crate) fn foreign(&self, path: &str, status: u16, why: &impl ToString) -> Failure {
        Failure::Foreign {
            url: format!("{}{path}", self.base),
            status,
            why: why.to_string(),
        }
    }

    fn json(&self, ask: &Ask<'_>) -> Result<Value, Failure> {
        let mut answer = self.answer(ask)?;
        let status = answer.status().as_u16();
        let bytes = self.whole(&mut answer)?;
        if status == NO_CONTENT {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes).map_err(|error| self.foreign(ask.path, status, &error))
    }

    fn open(&self, ask: &Ask<'_>) -> Result<Stream, Failure> {
        let answer = self.answer(ask)?;
        let media_type = answer.headers().get(CONTENT_TYPE);
        let media_type = media_type.and_then(|value| value.to_str().ok());
        Ok(Stream {
            media_type: media_type.unwrap_or_default().to_owned(),
            body: BufReader::new(Box::new(answer.into_body().into_with_config().reader())),
        })
    }

    /// An answer that is none of refusal; its body is still to be read.
    fn answer(&self, ask: &Ask<'_>) -> Result<Response<ureq::Body>, Failure> {
        let mut answer = self.send(ask).map_err(|source| self.failed(source))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let retry_after = answer.headers().get(RETRY_AFTER);
        let retry_after = retry_after.and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let bytes = self.whole(&mut answer)?;
        // What stands before an orchestrator may answer too, and without a problem.
        match serde_json::from_slice::<Problem>(&bytes) {
            Ok(problem) => Err(Failure::Refused(Box::new(Refusal::new(
                problem,
                retry_after,
            )))),
            Err(error) => Err(self.foreign(ask.path, status.as_u16(), &error)),
        }
    }

    fn whole(&self, answer: &mut Response<ureq::Body>) -> Result<Vec<u8>, Failure> {
        let body = answer.body_mut().with_config().limit(ANSWER);
        body.read_to_vec().map_err(|source| self.failed(source))
    }

    fn send(&self, ask: &Ask<'_>) -> Result<Response<ureq::Body>, ureq::Error> {
        let mut request = Request::builder()
            .method(&ask.method)
            .uri(format!("{}{}", self.base, ask.path))
            .header("accept", ask.accept);
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if let Some((name, value)) = ask.header {
            request = request.header(name, value);
        }
        match ask.body {
            Some(Body { media_type, bytes }) => {
                let request = request.header("content-type", media_type).body(bytes)?;
                self.run(request, ask.patience)
            }
            None => self.run(request.body(())?, ask.patience),
        }
    }

    fn run<B: ureq::AsSendBody>(
        &self,
        request: Request<B>,
        patience: Patience,
    ) -> Result<Response<ureq::Body>, ureq::Error> {
        let request = self.agent.configure_request(request);
        let request = match patience {
            Patience::Whole(limit) => request.timeout_global(Some(limit)),
            Patience::Endless(silence) => request
                .timeout_recv_response(Some(REQUEST))
                .timeout_per_read(silence),
        };
        self.agent.run(request.build())
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
            Failure::Unreachable {
                url,
                named_by: self.named_by,
                source,
            }
        }
    }
}

impl<'a> Ask<'a> {
    /// A request without a body, as most are.
    const fn new(method: Method, path: &'a str) -> Self {
        Self {
            method,
            path,
            accept: "application/json",
            body: None,
            header: None,
            patience: Patience::Whole(REQUEST),
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
