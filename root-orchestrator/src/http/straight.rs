//! Documents for one cluster: it is told of them, or who sends them is sent there. The root does not read them.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{FromRequestParts, State};
use axum::http::header::LOCATION;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use daemon::dial::{Dialled, plain_allowed};
use model::view::{ClusterState, ClusterView};
use orchestrator::http::asked::{Asking, ForTenant};
use orchestrator::http::submission::ApplyQuery;
use protocol::document;
use protocol::message::uplink::{Question, Submission};
use protocol::problem::Problem;
use rest::api::{Input, Taken};
use rest::guard::Caller;
use rest::{Accept, ApiError, Body, IdempotencyKey, Path, PrefersRedirect};
use serde_json::Value;

use super::Service;
use super::clusters::find;
use super::refusal::unanswered;
use crate::uplink::Unanswered;

/// Where jobs are, at a root and at a cluster.
const JOBS: &str = "/api/v1/jobs";
/// Says which preference was heeded (RFC 7240, section 3).
const APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// What clusters tell of themselves.
const TOLD: Dialled = Dialled {
    option: "http",
    schemes: &["http"],
    secure: &["https"],
    path: true,
    example: "https://192.0.2.1:10001",
};

/// Who asks, and how.
#[derive(Debug)]
pub(super) struct Sent {
    caller: Caller,
    tenant: ForTenant,
    dry_run: bool,
    key: Option<String>,
    prefers_redirect: bool,
    /// The query as it was sent.
    query: Option<String>,
}

impl<S: Sync + Send> FromRequestParts<S> for Sent {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let caller = Caller::from_request_parts(parts, state).await?;
        let asking = Asking::<ApplyQuery>::from_request_parts(parts, state).await?;
        let IdempotencyKey(key) = IdempotencyKey::from_request_parts(parts, state).await?;
        let Ok(PrefersRedirect(prefers_redirect)) =
            PrefersRedirect::from_request_parts(parts, state).await;
        Ok(Self {
            caller,
            tenant: asking.tenant,
            dry_run: asking.query.is_dry(),
            key,
            prefers_redirect,
            query: parts.uri.query().map(str::to_owned),
        })
    }
}

impl Input for Sent {
    fn describe(taken: &mut Taken) {
        Caller::describe(taken);
        Asking::<ApplyQuery>::describe(taken);
        IdempotencyKey::describe(taken);
        PrefersRedirect::describe(taken);
    }
}

/// `POST /api/v1/clusters/{cluster}/jobs`.
pub(super) async fn submit(
    State(service): State<Service>,
    accept: Accept,
    Path(key): Path<String>,
    sent: Sent,
    body: Body,
) -> Result<Response, ApiError> {
    let cluster = find(&service, key).await?;
    let there = cluster.http.as_deref();
    let there = there.filter(|http| leads(http, sent.caller.from));
    if sent.prefers_redirect
        && cluster.state != ClusterState::Inactive
        && let Some(redirect) = there.and_then(|http| redirect(http, sent.query.as_deref()))
    {
        return Ok(redirect);
    }
    let (dry_run, has_key) = (sent.dry_run, sent.key.is_some());
    let question = Question::Submit(sent.with(&body)?);
    let answer = service.links.question(cluster.id, &question).await;
    let answer = answer.map_err(|reason| {
        let lost = if dry_run {
            None
        } else {
            lost(&cluster, &reason, has_key)
        };
        lost.unwrap_or_else(|| unanswered(reason))
    })?;
    if dry_run {
        return Ok(accept.ok(&answer));
    }
    Ok(match there {
        Some(http) => accept.accepted(&format!("{http}{}", path_of(&answer)), &answer),
        None => accept.answer(StatusCode::ACCEPTED, &answer),
    })
}

impl Sent {
    /// What the cluster is told.
    ///
    /// # Errors
    /// 400 where the body is no text.
    fn with(self, body: &Body) -> Result<Submission, ApiError> {
        let document = document::text(&body.bytes).map_err(Problem::bad_document)?;
        let (tenant, within) = self.tenant.parts();
        let user = self.caller.user;
        Ok(Submission {
            document: document.to_owned(),
            format: body.format.into(),
            dry_run: self.dry_run,
            key: self.key,
            tenant,
            within,
            by: user.map_or_else(|| "somebody".to_owned(), |user| user.to_string()),
        })
    }
}

/// 307 to the cluster's own path, with the same query; `None` where its address is none for a header.
fn redirect(http: &str, query: Option<&str>) -> Option<Response> {
    let query = query.map_or_else(String::new, |query| format!("?{query}"));
    let location = HeaderValue::from_str(&format!("{http}{JOBS}{query}")).ok()?;
    let headers = [
        (LOCATION, location),
        (APPLIED, HeaderValue::from_static("redirect")),
    ];
    Some((StatusCode::TEMPORARY_REDIRECT, headers).into_response())
}

/// Where what was answered is at the cluster.
fn path_of(answer: &Value) -> String {
    let id = answer.get("job_id").and_then(Value::as_str);
    id.map_or_else(|| JOBS.to_owned(), |id| format!("{JOBS}/{id}"))
}

/// 503 where it was asked, and nobody knows what became of that.
fn lost(cluster: &ClusterView, reason: &Unanswered, has_key: bool) -> Option<ApiError> {
    let how = match reason {
        Unanswered::Silent(waited) => {
            format!(
                "cluster {} did not answer within {}s",
                cluster.name,
                waited.as_secs()
            )
        }
        Unanswered::Broken => {
            format!(
                "the connection to cluster {} broke before it answered",
                cluster.name
            )
        }
        Unanswered::NotConnected
        | Unanswered::Unreadable
        | Unanswered::TooLong { .. }
        | Unanswered::Refused(_) => return None,
    };
    let again = if has_key {
        "send the same again with the same Idempotency-Key, by which nothing is taken twice"
    } else {
        "look among the cluster's own jobs before it is sent again; what is sent with an Idempotency-Key can be sent again at \
         any time, and nothing is taken twice"
    };
    let detail = format!("{how}, and may have taken the documents all the same; {again}");
    Some(Problem::new(503, "answer_lost", detail).into())
}

/// What is kept of the address that a cluster told, which connects from there: one on loopback means something only where it
/// is on this machine itself, and plain text with another machine nobody is sent to.
pub(crate) fn kept(told: Option<String>, cluster: Option<SocketAddr>) -> Option<String> {
    let told = told?;
    let host = TOLD.read(&told, false).ok()?.host;
    let anywhere = host.parse::<IpAddr>();
    if anywhere.is_ok_and(|host| host.is_unspecified()) || !leads(&told, cluster) {
        return None;
    }
    Some(told.trim_end_matches('/').to_owned())
}

/// Whether somebody who comes from there can follow the address: one on loopback from the same machine alone.
fn leads(http: &str, from: Option<SocketAddr>) -> bool {
    let Ok(remote) = TOLD.read(http, true) else {
        return false;
    };
    let near = from.is_none_or(|from| from.ip().to_canonical().is_loopback());
    near || !plain_allowed(&remote.host, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: &str = "127.0.0.1:9";
    const THERE: &str = "192.0.2.9:9";

    #[test]
    fn an_address_is_kept_where_it_leads_to_the_cluster() {
        let of = |told: &str, from: &str| kept(Some(told.to_owned()), from.parse().ok());
        for told in [
            "http://127.0.0.1:10001",
            "http://localhost:10001",
            "http://[::1]:10001",
        ] {
            assert_eq!(of(told, HERE).as_deref(), Some(told));
            assert_eq!(of(told, "[::ffff:127.0.0.1]:9").as_deref(), Some(told));
            assert_eq!(of(told, THERE), None, "{told}");
        }
        for told in ["https://192.0.2.1:10001", "https://edge.example/one"] {
            assert_eq!(of(told, HERE).as_deref(), Some(told));
            assert_eq!(of(&format!("{told}/"), THERE).as_deref(), Some(told));
        }
        for told in [
            "http://192.0.2.1:10001",
            "https://0.0.0.0:10001",
            "https://[::]:10001",
            "ftp://192.0.2.1",
            "192.0.2.1:10001",
            "https://192.0.2.1:10001/?a=b",
            "https://192.0.2.1:10001/\r\nx: y",
            "",
        ] {
            assert_eq!(of(told, THERE), None, "{told}");
        }
        assert_eq!(kept(None, None), None);
    }

    #[test]
    fn who_is_elsewhere_is_not_sent_to_its_own_loopback() {
        let of = |http, from: &str| leads(http, from.parse().ok());
        assert!(of("http://127.0.0.1:10001", HERE));
        assert!(!of("http://127.0.0.1:10001", THERE));
        assert!(of("https://192.0.2.1:10001", THERE));
    }

    #[test]
    fn a_redirect_keeps_the_query() {
        let of = |query| {
            let answer = redirect("https://192.0.2.1:10001/one", query).unwrap();
            assert_eq!(answer.status(), 307);
            assert_eq!(answer.headers()["preference-applied"], "redirect");
            answer.headers()["location"].to_str().unwrap().to_owned()
        };
        assert_eq!(of(None), "https://192.0.2.1:10001/one/api/v1/jobs");
        assert_eq!(
            of(Some("dry_run=true&tenant=a%2Fb")),
            "https://192.0.2.1:10001/one/api/v1/jobs?dry_run=true&tenant=a%2Fb"
        );
    }
}
