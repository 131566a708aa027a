//! `GET /api/v1/backup`: the store as it is now, while decisions go on.
//!
//! The body is read from one state of the store as fast as the client takes it; memory holds a piece of it at a time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use model::access::Verb;
use protocol::problem::Problem;
use rest::guard::Realm;
use rest::{Api, ApiError, op};
use store::backup::Backup;
use store::{Store, StoreError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinError;

use super::Service;
use super::refusal::unavailable;
use crate::backup::{About, begin};
use crate::{Jobs, Tier, with_sources};

/// Bytes of a piece, about.
const PIECE: usize = 128 * 1_024;
/// What a backup may take at most: as long as it is read, the store keeps what was there when it began.
const LONGEST: Duration = Duration::from_mins(30);
/// Seconds after which one that met another may try again.
const RETRY: u32 = 10;
/// What a backup is called by HTTP.
const MEDIA_TYPE: &str = "application/octet-stream";

/// What is backed up, one at a time.
#[derive(Debug, Clone)]
pub struct Backups {
    store: Arc<dyn Store>,
    tier: Tier,
    name: Option<String>,
    turn: Arc<Semaphore>,
}

impl Backups {
    /// Of the store of a root, or of a cluster of that name.
    pub fn new(store: Arc<dyn Store>, tier: Tier, name: Option<String>) -> Self {
        Self {
            store,
            tier,
            name,
            turn: Arc::new(Semaphore::new(1)),
        }
    }
}

/// A backup on its way to a client.
struct Sending {
    backup: Backup,
    begun: Instant,
    _turn: OwnedSemaphorePermit,
}

/// Why a body ends before its end, so that the client sees that it does.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("the store cannot be read")]
    Store(#[from] StoreError),
    #[error("reading the store ended")]
    Ended(#[from] JoinError),
    #[error("the client took longer than {LONGEST:?}")]
    Late,
}

pub(super) fn api<C: Jobs>() -> Api<Service<C>> {
    let about = "Everything that this orchestrator has stored, as it is now; decisions go on meanwhile. `edgeio restore` \
        makes a store of it again. Keep it as safe as the data directory: it holds the documents of all jobs, with \
        whatever their environments and files hold. Its last bytes are a checksum; one that is cut off is refused.";
    Api::new("", "").get(
        "/api/v1/backup",
        take::<C>,
        op("Back up the store")
            .may(Verb::Backup, Realm::System)
            .about(about)
            .text(MEDIA_TYPE, "The backup")
            .header(200, "Content-Disposition", "A name for the file")
            .problems(&[503]),
    )
}

async fn take<C: Jobs>(State(service): State<Service<C>>) -> Result<Response, ApiError> {
    let Backups {
        store,
        tier,
        name,
        turn,
    } = service.backups;
    let Ok(turn) = turn.try_acquire_owned() else {
        let problem = Problem::unavailable("another backup is being taken; wait until it is done");
        return Err(ApiError::from(problem).after(RETRY));
    };
    // A store that cannot be used does not answer here, and no backup of it is begun.
    let about = service.handle.read(move |state, now| {
        About::new(tier, name, now.wall, C::incarnation(state), C::term(state))
    });
    let about = about.await.map_err(unavailable)?;
    let disposition = disposition(&about);
    let begun = tokio::task::spawn_blocking(move || begin(store.as_ref(), &about)).await;
    let failed = |broken: Broken| {
        tracing::error!(reason = with_sources(&broken), "a backup cannot be taken");
        Problem::unavailable("the store cannot be read now; the log says why")
    };
    let backup = begun
        .map_err(Broken::from)
        .and_then(|begun| begun.map_err(Broken::from))
        .map_err(failed)?;
    tracing::info!(bytes_at_a_time = PIECE, "a backup begins");
    let sending = Sending {
        backup,
        begun: Instant::now(),
        _turn: turn,
    };
    Ok(answer(sending, disposition))
}

/// `attachment; filename="cluster-garching-2026-11-28T08-30-00.edgeio"`
fn disposition(about: &About) -> Option<HeaderValue> {
    let owner = match &about.name {
        Some(name) => format!("{}-{name}", about.tier.as_str()),
        None => about.tier.as_str().to_owned(),
    };
    let time = protocol::time::format_wall(about.taken_at);
    let (time, _millis) = time.split_once('.').unwrap_or((&time, ""));
    let time = time.replace(':', "-");
    HeaderValue::from_str(&format!("attachment; filename=\"{owner}-{time}.edgeio\"")).ok()
}

fn answer(sending: Sending, disposition: Option<HeaderValue>) -> Response {
    let pieces = stream::unfold(Some(sending), |sending| async move {
        match next(sending?).await {
            Ok(Some((piece, sending))) => Some((Ok(piece), Some(sending))),
            Ok(None) => None,
            Err(broken) => {
                tracing::error!(
                    reason = with_sources(&broken),
                    "a backup ended in the middle"
                );
                Some((Err(broken), None))
            }
        }
    });
    let mut response = Body::from_stream(pieces).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(disposition) = disposition {
        headers.insert(CONTENT_DISPOSITION, disposition);
    }
    response
}

async fn next(mut sending: Sending) -> Result<Option<(Bytes, Sending)>, Broken> {
    if sending.begun.elapsed() > LONGEST {
        return Err(Broken::Late);
    }
    let reading = tokio::task::spawn_blocking(move || {
        let piece = sending.backup.next_piece(PIECE)?;
        Ok::<_, StoreError>(piece.map(|piece| (Bytes::from(piece), sending)))
    });
    Ok(reading.await??)
}
