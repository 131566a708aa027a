//! Why each instance is where it is, or is nowhere, as far as this cluster decides it.

use axum::extract::State;
use axum::response::Response;
use orchestrator::http::asked::Asking;
use orchestrator::http::refusal::unavailable;
use protocol::problem::Problem;
use protocol::rest::{ExplanationBody, List};
use rest::{Accept, ApiError, Path};

use super::Service;

/// `GET /api/v1/jobs/{job}/explain`.
pub(super) async fn job(
    State(service): State<Service>,
    accept: Accept,
    Path(key): Path<String>,
    asking: Asking,
) -> Result<Response, ApiError> {
    let (asked, wanted) = (asking.tenant.asked(), key.clone());
    let read = move |core: &cluster_core::State, now| {
        let id = core.find_job(&asked, &wanted)?;
        Some(core.explain(now, id))
    };
    let slots = service.handle.read(read).await.map_err(unavailable)?;
    let slots = slots.ok_or_else(|| Problem::not_found("job", &key))?;
    let items: Vec<_> = slots.iter().map(ExplanationBody::from).collect();
    Ok(accept.ok(&List::complete(items)))
}
