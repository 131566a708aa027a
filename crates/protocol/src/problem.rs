//! Problems: the body of every refusal (RFC 9457, `application/problem+json`).

use serde::{Deserialize, Serialize};

use crate::document::Fault;

/// The media type of the body.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
pub struct Problem {
    /// `urn:edgeio:problem:<code>`: the same for every occurrence of its kind.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// A short name of the kind.
    #[serde(default)]
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened here, and what to do about it.
    #[serde(default)]
    pub detail: String,
    /// Stable snake_case word, for programs.
    #[serde(default)]
    pub code: String,
    /// All faults of a bad body; left out where there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Fault>,
}

impl Problem {
    /// A problem of these parts; the title is that of the status (RFC 9110, section 15).
    pub fn new(status: u16, code: &str, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:edgeio:problem:{code}"),
            title: title(status).to_owned(),
            status,
            detail: detail.into(),
            code: code.to_owned(),
            errors: Vec::new(),
        }
    }

    /// 400: a body with faults.
    pub fn bad_document(errors: Vec<Fault>) -> Self {
        let detail = match errors.as_slice() {
            [] => "the body cannot be used".to_owned(),
            [one] if one.path.is_empty() => format!("line {}: {}", one.line, one.message),
            [one] => format!("line {}, {}: {}", one.line, one.path, one.message),
            [first, rest @ ..] => {
                let place = if first.path.is_empty() {
                    String::new()
                } else {
                    format!(", {}", first.path)
                };
                format!(
                    "{} faults; the first in line {}{place}: {}",
                    rest.len() + 1,
                    first.line,
                    first.message
                )
            }
        };
        Self {
            errors,
            ..Self::new(400, "bad_document", detail)
        }
    }

    /// 400: a bad parameter of the path or query, or a bad header.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(400, "bad_request", detail)
    }

    /// 401: no credential, or not one of ours.
    pub fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new(401, "unauthorized", detail)
    }

    /// 403: the credential does not allow it.
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(403, "forbidden", detail)
    }

    /// 404: nothing of that kind (`job`, `cluster`, `node`, …) has this id or name; the code is `no_such_<kind>`.
    pub fn not_found(kind: &str, name: &str) -> Self {
        Self::new(
            404,
            &format!("no_such_{kind}"),
            format!("no {kind} has the id or name {:?}", clip(name)),
        )
    }

    /// 404: no such path at all.
    pub fn no_such_path(path: &str) -> Self {
        Self::new(
            404,
            "no_such_path",
            format!(
                "nothing is served at {:?}; the paths of the API begin with /api/v1, and the README lists them",
                clip(path)
            ),
        )
    }

    /// 405.
    pub fn method_not_allowed(method: &str, path: &str) -> Self {
        Self::new(
            405,
            "method_not_allowed",
            format!("{} is not possible at {:?}", clip(method), clip(path)),
        )
    }

    /// 409 of that code (`operation_running`, …).
    pub fn conflict(code: &str, detail: impl Into<String>) -> Self {
        Self::new(409, code, detail)
    }

    /// 409: a job of that name exists.
    pub fn name_in_use(name: &str) -> Self {
        let name = clip(name);
        Self::conflict(
            "name_in_use",
            format!("a job named {name:?} exists; delete it first, or change it with PUT"),
        )
    }

    /// 409: another tier decides about it.
    pub fn owned_elsewhere(name: &str, owner: &str) -> Self {
        let detail = format!(
            "{:?} is owned by {}; send the request there",
            clip(name),
            clip(owner)
        );
        Self::conflict("owned_elsewhere", detail)
    }

    /// 413: the body is larger than `limit` bytes.
    pub fn too_large(limit: usize) -> Self {
        Self::new(
            413,
            "too_large",
            format!("a body has at most {limit} bytes; split it into several requests"),
        )
    }

    /// 415: the type or encoding of the body.
    pub fn unsupported_media_type(given: &str) -> Self {
        let detail = format!(
            "{:?} is not read; send application/yaml or application/json in UTF-8, not compressed",
            clip(given)
        );
        Self::new(415, "unsupported_media_type", detail)
    }

    /// 422 of that code (`idempotency_key_reused`, `name_mismatch`, …).
    pub fn unprocessable(code: &str, detail: impl Into<String>) -> Self {
        Self::new(422, code, detail)
    }

    /// 429.
    pub fn too_many_requests(detail: impl Into<String>) -> Self {
        Self::new(429, "too_many_requests", detail)
    }

    /// 500: a fault of ours; what it was goes to the log, not to the client.
    pub fn internal() -> Self {
        Self::new(
            500,
            "internal",
            "the server failed to answer; its log says why",
        )
    }

    /// 503: not now; the answer carries `Retry-After`.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(503, "unavailable", detail)
    }
}

/// A name that the client sent, cut short.
fn clip(text: &str) -> String {
    text.chars().take(80).collect()
}

/// The reason phrase of a status that a problem has; `Error` for others.
pub const fn title(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        422 => "Unprocessable Content",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Error",
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::document::{Format, Options, parse};

    #[test]
    fn a_bad_document_shows_all_its_faults() {
        let faults = parse(
            b"api_version: v1\njob_name: a b\nservces: []\n",
            Format::Yaml,
            Options::default(),
        )
        .unwrap_err();
        let problem = Problem::bad_document(faults);
        let json = serde_json::to_string_pretty(&problem).unwrap();
        expect![[r#"
            {
              "type": "urn:edgeio:problem:bad_document",
              "title": "Bad Request",
              "status": 400,
              "detail": "3 faults; the first in line 1, services: is required; write services: [{name: web, image: nginx}]",
              "code": "bad_document",
              "errors": [
                {
                  "path": "services",
                  "line": 1,
                  "column": 1,
                  "message": "is required; write services: [{name: web, image: nginx}]"
                },
                {
                  "path": "job_name",
                  "line": 2,
                  "column": 11,
                  "message": "\"a b\" is no name: use 1 to 63 characters of A-Z a-z 0-9 _ . - with a letter or digit first and last"
                },
                {
                  "path": "servces",
                  "line": 3,
                  "column": 1,
                  "message": "unknown field; did you mean `services`?"
                }
              ]
            }"#]].assert_eq(&json);
        assert_eq!(serde_json::from_str::<Problem>(&json).unwrap(), problem);
    }

    #[test]
    fn the_usual_problems_have_stable_codes() {
        let all = [
            Problem::bad_request("limit is a number"),
            Problem::unauthorized("no token"),
            Problem::forbidden("viewers do not delete"),
            Problem::not_found("job", "hello"),
            Problem::no_such_path("/x"),
            Problem::method_not_allowed("PUT", "/healthz"),
            Problem::name_in_use("hello"),
            Problem::owned_elsewhere("hello", "munich"),
            Problem::too_large(262_144),
            Problem::unsupported_media_type("text/html"),
            Problem::unprocessable("name_mismatch", "the path says a, the document b"),
            Problem::too_many_requests("slower"),
            Problem::internal(),
            Problem::unavailable("starting"),
        ];
        let shown = all
            .iter()
            .map(|p| format!("{} {}: {} ({})\n", p.status, p.code, p.detail, p.title))
            .collect::<Vec<_>>()
            .concat();
        expect![[r#"
            400 bad_request: limit is a number (Bad Request)
            401 unauthorized: no token (Unauthorized)
            403 forbidden: viewers do not delete (Forbidden)
            404 no_such_job: no job has the id or name "hello" (Not Found)
            404 no_such_path: nothing is served at "/x"; the paths of the API begin with /api/v1, and the README lists them (Not Found)
            405 method_not_allowed: PUT is not possible at "/healthz" (Method Not Allowed)
            409 name_in_use: a job named "hello" exists; delete it first, or change it with PUT (Conflict)
            409 owned_elsewhere: "hello" is owned by munich; send the request there (Conflict)
            413 too_large: a body has at most 262144 bytes; split it into several requests (Content Too Large)
            415 unsupported_media_type: "text/html" is not read; send application/yaml or application/json in UTF-8, not compressed (Unsupported Media Type)
            422 name_mismatch: the path says a, the document b (Unprocessable Content)
            429 too_many_requests: slower (Too Many Requests)
            500 internal: the server failed to answer; its log says why (Internal Server Error)
            503 unavailable: starting (Service Unavailable)
        "#]].assert_eq(&shown);
    }

    #[test]
    fn foreign_problems_are_read_too() {
        let problem: Problem =
            serde_json::from_str(r#"{"status": 502, "title": "Bad Gateway", "x": 1}"#).unwrap();
        assert_eq!((problem.status, problem.code.as_str()), (502, ""));
    }
}
