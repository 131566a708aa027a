//! What is told as it happens: events, and what applications write.

use std::io;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::response::Response;
use futures_util::stream;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::Shared;
use super::answer::{fault, with};
use super::containers::Filters;
use super::serve::Asked;
use super::world::Status;

/// One who follows the events.
struct Follower {
    shared: Arc<Shared>,
    news: watch::Receiver<u64>,
    next: u64,
    since: i64,
    wanted: Filters,
}

pub(super) fn follow(shared: &Arc<Shared>, asked: &Asked) -> Response {
    let next = {
        let world = shared.world();
        // With a time it begins at the first that is remembered, without one at the next.
        if asked.text("since").is_empty() {
            world.events_so_far()
        } else {
            0
        }
    };
    let follower = Follower {
        shared: Arc::clone(shared),
        news: shared.news.subscribe(),
        next,
        since: asked.text("since").parse().unwrap_or_default(),
        wanted: Filters::of(asked.text("filters")),
    };
    let lines = stream::unfold(follower, |mut follower| async {
        let line = follower.next_line().await;
        Some((Ok::<_, io::Error>(line), follower))
    });
    with(200, "application/json", Body::from_stream(lines))
}

impl Follower {
    async fn next_line(&mut self) -> Bytes {
        let mut frozen = self.shared.frozen.subscribe();
        loop {
            let _ = frozen.wait_for(|frozen| !frozen).await;
            if let Some(event) = self.take() {
                return Bytes::from(format!("{event}\n"));
            }
            // The engine keeps the sender for as long as it serves.
            let _ = self.news.changed().await;
        }
    }

    fn take(&mut self) -> Option<Value> {
        let world = self.shared.world();
        let first = world.events_so_far() - world.events.len() as u64;
        self.next = self.next.max(first);
        for event in world.events_from(self.next) {
            self.next += 1;
            if self.is_wanted(event) {
                return Some(event.clone());
            }
        }
        None
    }

    fn is_wanted(&self, event: &Value) -> bool {
        let one_of = |filter: &str, field: &str| {
            let values = self.wanted.values(filter);
            let value = event.get(field).and_then(Value::as_str).unwrap_or_default();
            values.is_empty() || values.iter().any(|wanted| wanted == value)
        };
        let attributes = event.pointer("/Actor/Attributes").unwrap_or(&Value::Null);
        event.get("time").and_then(Value::as_i64) >= Some(self.since)
            && one_of("type", "Type")
            && one_of("event", "Action")
            && self.wanted.fits("label", attributes)
    }
}

pub(super) fn logs(shared: &Arc<Shared>, asked: &Asked) -> Response {
    let key = asked.part(1).to_owned();
    let Some(id) = shared.world().find(&key) else {
        return fault(404, &format!("No such container: {key}"));
    };
    let has = |world: &super::World| world.containers.get(&id).map_or(0, |it| it.output.len());
    let tail = asked.text("tail").parse::<usize>().ok();
    let next = tail.map_or(0, |tail| has(&shared.world()).saturating_sub(tail));
    let state = (
        Arc::clone(shared),
        shared.news.subscribe(),
        id.clone(),
        next,
    );
    let (follows, times) = (asked.is("follow"), asked.is("timestamps"));
    let lines = stream::unfold(state, move |(shared, mut news, id, next)| async move {
        loop {
            let (line, runs) = {
                let world = shared.world();
                let container = world.containers.get(&id)?;
                let line = container.output.get(next).cloned();
                (line, container.status == Status::Running)
            };
            if let Some((at, line)) = line {
                let text = if times {
                    format!("{at} {line}\n")
                } else {
                    format!("{line}\n")
                };
                return Some((
                    Ok::<_, io::Error>(framed(&text)),
                    (shared, news, id, next + 1),
                ));
            }
            if !(follows && runs) {
                return None;
            }
            let _ = news.changed().await;
        }
    });
    let kind = "application/vnd.docker.multiplexed-stream";
    with(200, kind, Body::from_stream(lines))
}

/// A piece of standard output with its head of eight bytes.
fn framed(text: &str) -> Bytes {
    let mut frame = vec![1, 0, 0, 0];
    frame.extend((text.len() as u32).to_be_bytes());
    frame.extend(text.as_bytes());
    Bytes::from(frame)
}

/// One line of a pull's progress.
pub(super) fn progress(layer: &str, current: u64, total: u64) -> Bytes {
    let line = json!({"status": "Downloading", "id": layer, "progressDetail": {"current": current, "total": total}});
    Bytes::from(format!("{line}\r\n"))
}
