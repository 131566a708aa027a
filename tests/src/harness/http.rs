//! Requests as other people's clients send them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use ureq::http::{Method, Request};
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use super::TOKEN;

/// How long one request may take.
const LIMIT: Duration = Duration::from_secs(10);

/// A client of one server.
#[derive(Debug, Clone)]
pub struct Client {
    base: String,
    /// The network namespace that it asks from, as `ip netns` names it.
    namespace: Option<String>,
    /// The `Idempotency-Key` of what it sends.
    key: Option<String>,
    /// What else it says with each request.
    headers: Vec<(&'static str, String)>,
    /// The token that it shows.
    token: Option<String>,
    tls: Option<TlsConfig>,
    agent: ureq::Agent,
}

/// An answer that came, whatever its status.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body; null if it is no JSON.
    pub body: Value,
    /// Where it points to, if it does.
    pub location: Option<String>,
}

impl Client {
    /// A client of the server at `base`, as `http://127.0.0.1:10000`, in a network namespace if one is named. It is an
    /// administrator.
    pub fn new(base: &str, namespace: Option<&str>) -> Self {
        Self {
            base: base.to_owned(),
            namespace: namespace.map(str::to_owned),
            key: None,
            headers: Vec::new(),
            token: Some(TOKEN.to_owned()),
            tls: None,
            agent: agent(None),
        }
    }

    /// The same for `https`, which believes that authority: a file in PEM.
    #[must_use]
    pub fn believing(self, authority: &Path) -> Self {
        let pem = std::fs::read(authority).expect("there is an authority");
        let certificate = Certificate::from_pem(&pem).expect("it is PEM");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::new_with_certs(&[certificate]))
            .unversioned_rustls_crypto_provider(provider)
            .build();
        let agent = agent(Some(tls.clone()));
        Self {
            tls: Some(tls),
            agent,
            ..self
        }
    }

    /// The same with another token, or with none.
    #[must_use]
    pub fn with_token(&self, token: Option<&str>) -> Self {
        Self {
            token: token.map(str::to_owned),
            ..self.clone()
        }
    }

    /// The same, which says that with each request.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// Another one of the same server, with connections of its own.
    #[must_use]
    pub fn another(&self) -> Self {
        Self {
            agent: agent(self.tls.clone()),
            ..self.clone()
        }
    }

    /// Asks for what is there.
    pub fn get(&self, path: &str) -> Result<Answer, String> {
        self.ask(&Method::GET, path, None)
    }

    /// Sends a document with the type that `curl --data-binary` gives it.
    pub fn post(&self, path: &str, document: &str) -> Result<Answer, String> {
        self.ask(&Method::POST, path, Some(document))
    }

    /// The same under an `Idempotency-Key`.
    pub fn post_under(&self, key: &str, path: &str, document: &str) -> Result<Answer, String> {
        let this = Self {
            key: Some(key.to_owned()),
            ..self.clone()
        };
        this.post(path, document)
    }

    /// Puts a document there.
    pub fn put(&self, path: &str, document: &str) -> Result<Answer, String> {
        self.ask(&Method::PUT, path, Some(document))
    }

    /// Deletes what is there.
    pub fn delete(&self, path: &str) -> Result<Answer, String> {
        self.ask(&Method::DELETE, path, None)
    }

    /// Submits a job that must be accepted.
    #[track_caller]
    pub fn submit(&self, document: &str) -> Value {
        let answer = self.post("/api/v1/jobs", document).unwrap();
        assert_eq!(answer.status, 202, "{}", answer.body);
        answer.body
    }

    /// A job by its name or id.
    pub fn job(&self, job: &str) -> Result<Value, String> {
        let answer = self.get(&format!("/api/v1/jobs/{job}"))?;
        match answer.status {
            200 => Ok(answer.body),
            status => Err(format!("{status} {}", answer.body)),
        }
    }

    /// All rows of a list, page after page.
    pub fn list(&self, path: &str) -> Result<Vec<Value>, String> {
        let (mut rows, mut cursor) = (Vec::new(), String::new());
        loop {
            let answer = self.get(&format!("{path}{cursor}"))?;
            let Some(Value::Array(mut items)) = answer.body.get("items").cloned() else {
                return Err(format!("{} {}", answer.status, answer.body));
            };
            rows.append(&mut items);
            match answer.body.get("next_cursor").and_then(Value::as_str) {
                Some(next) => cursor = format!("?cursor={next}"),
                None => return Ok(rows),
            }
        }
    }

    /// The status and the text of what is there, where that is no JSON.
    pub fn text(&self, path: &str) -> Result<(u16, String), String> {
        let url = format!("{}{path}", self.base);
        let get = || {
            let failed = |error: ureq::Error| format!("GET {url}: {error}");
            let mut get = self.agent.get(&url);
            if let Some(token) = &self.token {
                get = get.header("authorization", format!("Bearer {token}"));
            }
            let mut response = get.call().map_err(failed)?;
            let text = response.body_mut().read_to_string().map_err(failed)?;
            Ok((response.status().as_u16(), text))
        };
        match &self.namespace {
            Some(namespace) => super::inside(namespace, get),
            None => get(),
        }
    }

    fn ask(&self, method: &Method, path: &str, body: Option<&str>) -> Result<Answer, String> {
        let Some(namespace) = &self.namespace else {
            return self.ask_here(method, path, body);
        };
        super::inside(namespace, || self.ask_here(method, path, body))
    }

    fn ask_here(&self, method: &Method, path: &str, body: Option<&str>) -> Result<Answer, String> {
        let url = format!("{}{path}", self.base);
        let mut request = Request::builder().method(method).uri(&url);
        if body.is_some() {
            request = request.header("content-type", "application/x-www-form-urlencoded");
        }
        if let Some(key) = &self.key {
            request = request.header("idempotency-key", key);
        }
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.body(body.unwrap_or_default().to_owned()).unwrap();
        let failed = |error: ureq::Error| format!("{method} {url}: {error}");
        let mut response = self.agent.run(request).map_err(failed)?;
        let text = response.body_mut().read_to_string().map_err(failed)?;
        let location = response.headers().get("location");
        let location = location.and_then(|value| value.to_str().ok());
        Ok(Answer {
            location: location.map(str::to_owned),
            status: response.status().as_u16(),
            body: serde_json::from_str(&text).unwrap_or(Value::Null),
        })
    }
}

fn agent(tls: Option<TlsConfig>) -> ureq::Agent {
    let mut config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_global(Some(LIMIT))
        .proxy(None);
    if let Some(tls) = tls {
        config = config.tls_config(tls);
    }
    config.build().new_agent()
}
