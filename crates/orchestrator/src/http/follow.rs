//! Histories as server-sent events: what there is, and then what comes.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::{Event as Frame, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use model::access::TenantPath;
use model::event::Event;
use model::history::History;
use model::id::{EventId, JobId};
use protocol::problem::Problem;
use protocol::rest::EventBody;
use rest::ApiError;

use crate::feed::{Coming, Feed, Seat};
use crate::{Handle, Jobs};

/// Between two signs of life on a stream that nothing happens on.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Stored events read at once.
const CHUNK: usize = 500;
/// Seconds after which one follower too many may try again.
const RETRY: u32 = 10;

/// Whose events are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Whose {
    /// One job's.
    Job(JobId),
    /// Those of a tenant, and of all below it.
    Tenant(TenantPath),
}

impl Whose {
    fn is_of(&self, event: &Event) -> bool {
        match self {
            Self::Job(job) => event.job == *job,
            Self::Tenant(within) => event.tenant.is_within(within),
        }
    }
}

/// What is followed, and from where.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    /// Whose events.
    pub(super) whose: Whose,
    /// The last one that the client has read.
    pub(super) after: Option<EventId>,
    /// How many of the stored ones a client gets that has read none.
    pub(super) last: usize,
}

/// A stream that ends with the orchestrator, or when the client goes.
///
/// # Errors
/// 503 when too many follow.
pub(super) fn follow<C: Jobs>(handle: &Handle<C>, wanted: Wanted) -> Result<Response, ApiError> {
    let feed = handle.feed().clone();
    let seat = feed.seat().ok_or_else(|| {
        let problem = Problem::unavailable("too many clients follow events; try again later");
        ApiError::from(problem).after(RETRY)
    })?;
    let follower = Follower {
        handle: handle.clone(),
        feed,
        place: wanted.after.map_or(Place::Begin, Place::After),
        wanted,
        frames: VecDeque::new(),
        _seat: seat,
    };
    let frames = stream::unfold(follower, |mut follower| async move {
        let frame = follower.next().await?;
        Some((Ok::<_, Infallible>(frame), follower))
    });
    let heartbeat = KeepAlive::new().interval(HEARTBEAT);
    Ok(Sse::new(frames).keep_alive(heartbeat).into_response())
}

struct Follower<C: Jobs> {
    handle: Handle<C>,
    feed: Feed,
    wanted: Wanted,
    place: Place,
    frames: VecDeque<Frame>,
    _seat: Seat,
}

/// How far a follower is.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// It gets the last stored events.
    Begin,
    /// It has this one, and gets what is stored after it.
    After(EventId),
    /// It has all that was stored, and gets what comes after this position.
    Live(u64),
}

/// What was stored.
struct Stored {
    events: Vec<Arc<Event>>,
    /// Where the rest is; `None`: what the client has read is not kept any more.
    then: Option<Place>,
}

impl<C: Jobs> Follower<C> {
    /// The next frame; `None` at the end of the orchestrator.
    async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.frames.pop_front() {
                return Some(frame);
            }
            match self.place {
                Place::Live(position) => self.take(position).await?,
                Place::Begin | Place::After(_) => self.catch_up().await?,
            }
        }
    }

    /// Takes what comes after a position, or waits for it.
    async fn take(&mut self, position: u64) -> Option<()> {
        self.feed.mark();
        match self.feed.read(position) {
            Coming::Events(events, _) if events.is_empty() => {
                return self.feed.changed().await.then_some(());
            }
            Coming::Events(events, next) => {
                let whose = &self.wanted.whose;
                let wanted = events.iter().filter(|event| whose.is_of(event));
                self.frames.extend(wanted.map(|event| frame(event)));
                self.place = Place::Live(next);
            }
            Coming::Lost => self.reset(),
        }
        Some(())
    }

    /// Takes what is stored.
    async fn catch_up(&mut self) -> Option<()> {
        let (wanted, place, feed) = (self.wanted.clone(), self.place, self.feed.clone());
        // On the owner task nothing is committed between the two.
        let read = move |state: &C::State, _now| stored(C::history(state), &feed, &wanted, place);
        // A client comes again after a failure, and says what it has.
        let stored = self.handle.read(read).await.ok()?;
        self.frames
            .extend(stored.events.iter().map(|event| frame(event)));
        match stored.then {
            Some(place) => self.place = place,
            None => self.reset(),
        }
        Some(())
    }

    /// The client missed something: it is told, and begins again.
    fn reset(&mut self) {
        self.frames
            .push_back(Frame::default().event("reset").data("{}"));
        self.place = Place::Begin;
    }
}

/// What is stored for a follower at that place. Events of a job that gave way to its later ones are not told of.
fn stored(history: &History, feed: &Feed, wanted: &Wanted, place: Place) -> Stored {
    let live = Place::Live(feed.end());
    let after = match place {
        Place::Live(_) => None,
        Place::Begin => {
            let mut events = match &wanted.whose {
                Whose::Job(job) => last(history.of(*job), wanted.last),
                Whose::Tenant(within) => last(history.after(within, None), wanted.last),
            };
            events.reverse();
            let then = Some(live);
            return Stored { events, then };
        }
        Place::After(id) => Some(id),
    };
    let in_ring = after.and_then(|id| feed.after(id));
    let Some(id) = after.filter(|id| in_ring.is_none() && history.has(*id)) else {
        return Stored {
            events: Vec::new(),
            then: in_ring.map(Place::Live),
        };
    };
    let events: Vec<_> = match &wanted.whose {
        Whose::Job(job) => {
            let later = history.of(*job).filter(|event| event.id > id);
            later.take(CHUNK).cloned().collect()
        }
        Whose::Tenant(within) => {
            let later = history.after(within, after);
            later.take(CHUNK).cloned().collect()
        }
    };
    let more = events.last().filter(|_| events.len() == CHUNK);
    let then = more.map_or(live, |last| Place::After(last.id));
    Stored {
        events,
        then: Some(then),
    }
}

fn last<'a>(
    events: impl DoubleEndedIterator<Item = &'a Arc<Event>>,
    limit: usize,
) -> Vec<Arc<Event>> {
    events.rev().take(limit).cloned().collect()
}

fn frame(event: &Event) -> Frame {
    let body = EventBody::from(event);
    let frame = Frame::default().id(body.id.to_string()).event("event");
    frame.json_data(&body).unwrap_or_else(|error| {
        tracing::error!(%error, "an event cannot be written");
        Frame::default()
    })
}
