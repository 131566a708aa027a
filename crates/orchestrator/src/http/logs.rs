//! What instances write: `GET /api/v1/jobs/{job}/logs`.
//!
//! The body is made as fast as the client takes it, and no faster: its children send what they were granted, and are
//! granted what was taken.

mod lines;
mod merge;
mod target;

use std::fmt::Debug;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use model::access::Verb;
use model::id::{InstanceId, JobId};
use model::time::Wall;
use model::view::InstanceView;
use protocol::problem::Problem;
use protocol::time::{parse_duration, parse_wall};
use rest::guard::Realm;
use rest::schemars::JsonSchema;
use rest::{Api, ApiError, Path, op};
use serde::Deserialize;

use super::asked::Asking;
use crate::streams::{Child, Streams};
use crate::{Handle, Jobs, clock};
use merge::Merge;
use target::Which;

/// Lines of each instance where the query does not say.
const TAIL: u64 = 100;
/// Instances that are followed at once.
const FOLLOWED: usize = 64;
/// Seconds after which a reader too many may try again.
const RETRY: u32 = 10;

/// Who of the children has an instance's output.
pub trait Holders: Clone + Debug + Send + Sync + 'static {
    /// What names a child.
    type Child: Child;

    /// The child that has the instance of a row.
    fn of(&self, row: &InstanceView) -> Option<Self::Child>;
    /// Those that may have what is left of an instance that is in no row any more, the likeliest first.
    fn former(&self, instance: InstanceId) -> Vec<Self::Child>;
    /// The instances that a job is known to have had, the oldest first; those in its events need not be among them.
    fn past(&self, job: JobId) -> Vec<InstanceId>;
    /// What an instance of no row was called: `service/index`.
    fn label(&self, instance: InstanceId) -> Option<String>;
    /// What to call a child that has no row: `worker e580`, `cluster north`.
    fn name(&self, child: Self::Child) -> String;
}

/// What the handler uses.
#[derive(Debug, Clone)]
pub struct Logs<C: Jobs, H: Holders> {
    /// The state.
    pub handle: Handle<C>,
    /// The children.
    pub streams: Streams<H::Child>,
    /// Who has what.
    pub holders: H,
}

/// The query.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(crate = "rest::schemars")]
#[serde(deny_unknown_fields)]
struct LogsQuery {
    /// One instance only, by its id or as `service/index`: then without a prefix on each line.
    instance: Option<String>,
    /// Goes on with what will be written.
    follow: Option<bool>,
    /// Only so many of the last lines of each instance, or `all`; 100 if it is not given.
    tail: Option<String>,
    /// Only what was written since: a time (RFC 3339) or how long ago (`10m`).
    since: Option<String>,
}

/// What of each output is wanted.
#[derive(Debug, Clone, Copy)]
struct Part {
    follow: bool,
    tail: Option<u64>,
    since: Option<Wall>,
}

impl LogsQuery {
    fn part(&self) -> Result<Part, ApiError> {
        let tail = match self.tail.as_deref() {
            None => Some(TAIL),
            Some("all") => None,
            Some(text) => Some(text.parse().map_err(|_| {
                Problem::bad_request(format!(
                    "tail is a number of lines, or \"all\", and not {:?}",
                    shown(text)
                ))
            })?),
        };
        let since = self.since.as_deref().map(since).transpose()?;
        Ok(Part {
            follow: self.follow.unwrap_or_default(),
            tail,
            since,
        })
    }
}

fn since(text: &str) -> Result<Wall, ApiError> {
    if let Ok(ago) = parse_duration(text) {
        let ago = i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
        return Ok(Wall(clock::now().wall.0.saturating_sub(ago)));
    }
    // A plus that was not written as %2B arrives as a space.
    parse_wall(&text.replace(' ', "+")).map_err(|_| {
        let problem = Problem::bad_request(format!(
            "since is a time such as 2026-11-05T08:30:00Z, or how long ago, such as 10m, and not {:?}",
            shown(text)
        ));
        problem.into()
    })
}

/// A text of a client, short enough for a sentence.
fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

/// The route. A program merges it with its own.
pub fn api<C: Jobs, H: Holders>(logs: Logs<C, H>) -> Api<()> {
    routes().with_state(logs)
}

/// The same before anything is served.
pub fn routes<C: Jobs, H: Holders>() -> Api<Logs<C, H>> {
    let about = "Plain text, each line with its instance (`service/index | `) unless one instance is asked for. What is \
        not to be had is said in a line (`[edgeio: …]`). Of an instance that is gone, the end is kept for an hour. With \
        `follow` the answer goes on, also with instances that come later.";
    Api::new("", "").get(
        "/api/v1/jobs/{job}/logs",
        show::<C, H>,
        op("Read the logs of a job")
            .may(Verb::Logs, Realm::Jobs)
            .about(about)
            .tag("jobs")
            .text("text/plain; charset=utf-8", "What its instances wrote")
            .problems(&[404, 503]),
    )
}

async fn show<C: Jobs, H: Holders>(
    State(logs): State<Logs<C, H>>,
    Path(key): Path<String>,
    Asking { tenant, query, .. }: Asking<LogsQuery>,
) -> Result<Response, ApiError> {
    let part = query.part()?;
    let which = Which::parse(query.instance.as_deref())?;
    let asked = tenant.asked();
    let (job, targets) = target::find(&logs, &asked, &key, &which).await?;
    if part.follow && targets.len() > FOLLOWED {
        let detail = format!(
            "{} instances are more than the {FOLLOWED} that can be followed at once; choose one with instance=",
            targets.len()
        );
        return Err(Problem::bad_request(detail).into());
    }
    let mut merge = Merge::new(logs, (asked, job), which, part, targets);
    merge.begin().await?;
    Ok(body(merge))
}

fn body<C: Jobs, H: Holders>(merge: Merge<C, H>) -> Response {
    let texts = stream::unfold(merge, |mut merge| async move {
        let text = merge.next().await?;
        Some((Ok::<Bytes, std::convert::Infallible>(text), merge))
    });
    let mut response = Body::from_stream(texts).into_response();
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE, "text/plain; charset=utf-8"),
        // It may hold anything, a page as well.
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
