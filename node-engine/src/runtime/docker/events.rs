//! Hearing of ends: one stream of events, and a list after each gap in it.
//!
//! # Guarantees
//! No end of a watched container is missed: the list is asked for after `since` was taken, and the stream begins at
//! `since`. So an end is in the list or in the stream; one that is in both is told once, by the container's phase.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bollard::errors::Error;
use bollard::models::{
    ContainerInspectResponse, ContainerSummary, ContainerSummaryStateEnum, EventMessage,
};
use bollard::query_parameters::{EventsOptionsBuilder, InspectContainerOptions};
use futures_util::StreamExt;
use model::id::InstanceId;
use model::instance::Exit;
use tokio::time::{Instant, MissedTickBehavior, timeout};

use super::fault::status;
use super::watched::Phase;
use super::{Shared, read};
use crate::runtime::{Exited, chain, wall};

/// The engine may be gone for a moment or for good; asking a socket that nobody serves costs next to nothing.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
/// A list after so many checks, for an event that was lost.
const SWEEP: u32 = 4;
/// How much later than the end the news may come that memory was the cause.
const LATE_OOM: Duration = Duration::from_millis(300);
/// Between two looks for that news.
const LOOK: Duration = Duration::from_millis(10);

/// Runs for ever.
pub(super) async fn follow(shared: Arc<Shared>) {
    let mut back_off = BACK_OFF.0;
    loop {
        // A second of overlap, since the engine compares whole seconds.
        let since = wall().0 / 1000 - 1;
        let begun = Instant::now();
        let heard = match sweep(&shared).await {
            Ok(docker) => {
                shared.set_fault(None);
                stream(&shared, &docker, since).await
            }
            Err(error) => Err(error),
        };
        if let Err(error) = heard {
            shared.set_fault(Some(error));
            // The next engine may speak another version.
            *shared.client.lock().await = None;
        }
        // An engine that lists but has no events is not asked all the time.
        if begun.elapsed() >= BACK_OFF.1 {
            back_off = BACK_OFF.0;
        }
        tokio::time::sleep(back_off).await;
        back_off = (back_off * 2).min(BACK_OFF.1);
    }
}

/// Reads events until the stream breaks.
///
/// # Errors
/// When the engine does not answer any more, though its stream is open.
async fn stream(shared: &Arc<Shared>, docker: &bollard::Docker, since: i64) -> Result<(), String> {
    let filters = HashMap::from([
        ("type".to_owned(), vec!["container".to_owned()]),
        ("event".to_owned(), vec!["die".to_owned(), "oom".to_owned()]),
        (
            "label".to_owned(),
            vec![format!("edgeio.worker={}", shared.node)],
        ),
    ]);
    let options = EventsOptionsBuilder::new()
        .since(&since.to_string())
        .filters(&filters)
        .build();
    let mut events = Box::pin(docker.events(Some(options)));
    let mut checks = tokio::time::interval(shared.host.patience.check);
    checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first comes at once, and the list was asked for just now.
    checks.tick().await;
    let mut number = 0;
    loop {
        // Both are safe to cancel: what is not taken comes with the next turn.
        tokio::select! {
            event = events.next() => match event {
                Some(Ok(event)) => heard(shared, docker, event),
                Some(Err(_)) | None => return Ok(()),
            },
            _ = checks.tick() => {
                number += 1;
                if number % SWEEP == 0 {
                    sweep(shared).await?;
                } else {
                    answers(shared, docker).await?;
                }
            }
        }
    }
}

/// Whether the engine answers at all.
async fn answers(shared: &Shared, docker: &bollard::Docker) -> Result<(), String> {
    let check = shared.host.patience.check;
    match timeout(check, docker.ping()).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(chain(&error)),
        Err(_) => Err(no_answer(check)),
    }
}

fn no_answer(within: Duration) -> String {
    format!("no answer within {within:?}")
}

fn heard(shared: &Arc<Shared>, docker: &bollard::Docker, event: EventMessage) {
    let Some(actor) = event.actor else { return };
    let attributes = actor.attributes.unwrap_or_default();
    let instance = attributes
        .get("edgeio.instance")
        .and_then(|text| text.parse().ok());
    let Some((container, instance)) = actor.id.zip(instance) else {
        return;
    };
    if event.action.as_deref() == Some("oom") {
        return shared.watched.set_starved(container);
    }
    let code = attributes
        .get("exitCode")
        .and_then(|code| code.parse().ok());
    tell(shared, docker, instance, container, code);
}

/// Compares what is watched with what the engine has, and tells the ends that were missed.
async fn sweep(shared: &Arc<Shared>) -> Result<bollard::Docker, String> {
    // Before the list: what is started meanwhile is not in it.
    let running = shared.watched.running();
    let check = shared.host.patience.check;
    let listed = timeout(check, async {
        let docker = shared.client().await?;
        let all = shared.all(&docker).await?;
        Ok::<_, Error>((docker, all))
    });
    let (docker, all) = match listed.await {
        Ok(Ok(listed)) => listed,
        Ok(Err(error)) => return Err(chain(&error)),
        Err(_) => return Err(no_answer(check)),
    };
    for (instance, container) in running {
        let there = all
            .iter()
            .find(|summary| summary.id.as_ref() == Some(&container));
        if there.is_none_or(has_ended) {
            tell(shared, &docker, instance, container, None);
        }
    }
    Ok(docker)
}

fn has_ended(summary: &ContainerSummary) -> bool {
    matches!(
        summary.state,
        Some(ContainerSummaryStateEnum::EXITED | ContainerSummaryStateEnum::DEAD)
    )
}

/// Tells the end of a container once; `code` is what the event said, for one that is already removed.
fn tell(
    shared: &Arc<Shared>,
    docker: &bollard::Docker,
    instance: InstanceId,
    container: String,
    code: Option<i64>,
) {
    if !shared.watched.end(instance, &container) {
        return;
    }
    let (shared, docker) = (Arc::clone(shared), docker.clone());
    // By itself, so that an engine that is slow to inspect delays no other end.
    tokio::spawn(async move {
        let inspected = docker
            .inspect_container(&container, None::<InspectContainerOptions>)
            .await;
        let exit = match &inspected {
            // Somebody restarted it behind our back: it is the instance all the same.
            Ok(inspected) if read::is_running(inspected) => {
                return shared
                    .watched
                    .remember(instance, &container, Phase::Running);
            }
            Ok(inspected) => {
                let oom = was_starved(&shared, &container, inspected).await;
                let ended = read::ended(&docker, &container, inspected).await;
                ended.map(|exit| Exit { oom, ..exit })
            }
            // An engine that did not answer said nothing about an end; the next list asks again.
            Err(error) if code.is_none() && status(error) != Some(404) => {
                return shared
                    .watched
                    .remember(instance, &container, Phase::Running);
            }
            Err(_) => None,
        };
        let exit = exit.unwrap_or_else(|| {
            // Somebody removed it by force.
            let (code, signal) = read::code_or_signal(code.unwrap_or(137));
            Exit {
                code,
                signal,
                at: wall(),
                ..Exit::default()
            }
        });
        // Nobody listens while the engine ends; the next one finds the container.
        let _ = shared.exits.send(Exited { instance, exit }).await;
    });
}

/// Whether the kernel killed it for memory. The engine may hear of that after the end, and then never corrects what an
/// inspection shows; the event comes all the same.
async fn was_starved(
    shared: &Shared,
    container: &str,
    inspected: &ContainerInspectResponse,
) -> bool {
    let state = inspected.state.as_ref();
    if state.and_then(|state| state.oom_killed) == Some(true) {
        return true;
    }
    let killed = state.and_then(|state| state.exit_code) == Some(137);
    let limited = inspected
        .host_config
        .as_ref()
        .and_then(|config| config.memory)
        .is_some_and(|memory| memory > 0);
    let deadline = Instant::now() + LATE_OOM;
    while killed && limited && !shared.watched.is_starved(container) && Instant::now() < deadline {
        tokio::time::sleep(LOOK).await;
    }
    killed && shared.watched.is_starved(container)
}
