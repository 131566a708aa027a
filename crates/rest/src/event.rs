//! What asks for a stream of events, and from where.

use std::convert::Infallible;
use std::str::FromStr;

use axum::extract::FromRequestParts;
use axum::http::header::ACCEPT;
use axum::http::request::Parts;
use model::id::EventId;
use protocol::problem::Problem;

use crate::ApiError;

/// Whether `Accept` names `text/event-stream`, as a browser's `EventSource` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WantsEvents(pub bool);

impl<S: Sync> FromRequestParts<S> for WantsEvents {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        let named = parts
            .headers
            .get_all(ACCEPT)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|range| range.split(';').next())
            .any(|media| media.trim().eq_ignore_ascii_case("text/event-stream"));
        Ok(Self(named))
    }
}

/// `Last-Event-ID`: the last event that a follower has read. Refuses by 400 what is no id of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastEventId(pub Option<EventId>);

impl<S: Sync> FromRequestParts<S> for LastEventId {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let mut all = parts.headers.get_all("last-event-id").iter();
        let Some(given) = all.next() else {
            return Ok(Self(None));
        };
        if all.next().is_some() {
            return Err(Problem::bad_request(
                "a request has one Last-Event-ID at most; send the last one alone",
            )
            .into());
        }
        let id = given.to_str().ok().map(str::trim);
        match id.map(EventId::from_str) {
            Some(Ok(id)) => Ok(Self(Some(id))),
            // What a client sends that has read no id yet.
            None | Some(Err(_)) if given.is_empty() => Ok(Self(None)),
            None | Some(Err(_)) => Err(Problem::bad_request(
                "Last-Event-ID is no id of an event; begin without one",
            )
            .into()),
        }
    }
}
