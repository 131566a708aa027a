//! The brake on replacements.

use axum::extract::State;
use axum::response::Response;
use protocol::rest::BrakeBody;
use rest::{Accept, ApiError};

use super::Service;
use super::refusal::unavailable;
use crate::Jobs;

/// `GET /api/v1/brake`.
pub(super) async fn show<C: Jobs>(
    State(service): State<Service<C>>,
    accept: Accept,
) -> Result<Response, ApiError> {
    let read = |core: &C::State, _| BrakeBody::of(C::brake(core));
    let brake = service.handle.read(read).await.map_err(unavailable)?;
    Ok(accept.ok(&brake))
}

/// `DELETE /api/v1/brake`.
pub(super) async fn release<C: Jobs>(
    state: State<Service<C>>,
    accept: Accept,
) -> Result<Response, ApiError> {
    let answer = state.handle.ask(C::release_brake).await;
    answer.map_err(unavailable)?;
    show(state, accept).await
}
