//! The histories of jobs.

use axum::extract::State;
use axum::response::Response;
use model::history::History;
use model::id::EventId;
use protocol::problem::Problem;
use protocol::rest::EventBody;
use rest::schemars::JsonSchema;
use rest::{Accept, ApiError, Cursor, LastEventId, PageQuery, Path, WantsEvents};
use serde::Deserialize;

use super::Service;
use super::asked::Asking;
use super::follow::{Wanted, Whose, follow};
use super::refusal::unavailable;
use crate::Jobs;

/// The query of a history.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(crate = "rest::schemars")]
#[serde(deny_unknown_fields)]
pub(super) struct EventsQuery {
    /// How many rows, 1 to 1000; of a stream, how many of the events that there are already. 200 of a job's and of a
    /// stream's, else 100.
    #[schemars(range(min = 1, max = 1000))]
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// Answers with server-sent events: what there is, and then what comes.
    follow: Option<bool>,
}

/// How a history is to be answered.
struct How {
    /// As a stream.
    stream: bool,
    after: Option<EventId>,
    limit: usize,
}

impl EventsQuery {
    fn how(self, events: WantsEvents, last: LastEventId, of_job: bool) -> Result<How, ApiError> {
        let stream = self.follow.unwrap_or(events.0);
        let usual = (stream || of_job).then_some(History::OF_A_JOB);
        let page = PageQuery {
            limit: self.limit.or(usual),
            cursor: self.cursor,
        };
        Ok(How {
            stream,
            after: last.0.filter(|_| stream).or(page.after()?),
            limit: page.limit()?,
        })
    }
}

/// `GET /api/v1/jobs/{job}/events`, oldest first.
pub(super) async fn of_job<C: Jobs>(
    State(service): State<Service<C>>,
    accept: Accept,
    Path(key): Path<String>,
    Asking { tenant, query, .. }: Asking<EventsQuery>,
    events: WantsEvents,
    last: LastEventId,
) -> Result<Response, ApiError> {
    let how = query.how(events, last, true)?;
    let (asked, wanted) = (tenant.asked(), key.clone());
    let find = move |core: &C::State, _now| C::find(core, &asked, &wanted);
    let id = service.handle.read(find).await.map_err(unavailable)?;
    let id = id.ok_or_else(|| Problem::not_found("job", &key))?;
    answer(&service, accept, Whose::Job(id), how).await
}

/// `GET /api/v1/events`, oldest first.
pub(super) async fn all<C: Jobs>(
    State(service): State<Service<C>>,
    accept: Accept,
    Asking { tenant, query, .. }: Asking<EventsQuery>,
    events: WantsEvents,
    last: LastEventId,
) -> Result<Response, ApiError> {
    let how = query.how(events, last, false)?;
    answer(&service, accept, Whose::Tenant(tenant.listed()), how).await
}

async fn answer<C: Jobs>(
    service: &Service<C>,
    accept: Accept,
    whose: Whose,
    how: How,
) -> Result<Response, ApiError> {
    let How {
        stream,
        after,
        limit,
    } = how;
    if stream {
        let wanted = Wanted {
            whose,
            after,
            last: limit,
        };
        return follow(&service.handle, wanted);
    }
    let read = move |core: &C::State, _now| {
        let history = C::history(core);
        let events: Vec<_> = match &whose {
            Whose::Job(job) => {
                let later = history
                    .of(*job)
                    .filter(|event| after.is_none_or(|after| event.id > after));
                later.take(limit + 1).cloned().collect()
            }
            Whose::Tenant(within) => {
                let later = history.after(within, after);
                later.take(limit + 1).cloned().collect()
            }
        };
        events
    };
    let events = service.handle.read(read).await.map_err(unavailable)?;
    let bodies = events.iter().map(|event| EventBody::from(event.as_ref()));
    Ok(accept.ok(&Cursor::page(bodies.collect(), limit, |event| event.id)))
}
