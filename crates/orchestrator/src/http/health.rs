//! Liveness and readiness.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use protocol::rest::HealthBody;
use rest::Accept;

use super::Service;
use crate::{Jobs, Unavailable};

/// A controller that does not answer within this is not ready.
const PATIENCE: Duration = Duration::from_secs(1);

/// `GET /healthz`: the process serves.
pub(super) async fn live(accept: Accept) -> Response {
    accept.ok(&HealthBody {
        status: "ok".to_owned(),
        missing: Vec::new(),
    })
}

/// `GET /readyz`: requests can be taken.
pub(super) async fn ready<C: Jobs>(State(service): State<Service<C>>, accept: Accept) -> Response {
    let asked = service.handle.read(|core, _now| C::is_fenced(core));
    let missing = match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(_)) if !service.handle.is_storing() => Some("the store"),
        Ok(Ok(false)) => None,
        Ok(Ok(true)) => Some(crate::SUPERSEDED),
        Ok(Err(Unavailable::Now | Unavailable::Fault)) => Some("the store"),
        Err(_late) => Some("the controller does not answer"),
    };
    let (status, word) = match missing {
        None => (StatusCode::OK, "ready"),
        Some(_) => (StatusCode::SERVICE_UNAVAILABLE, "not ready"),
    };
    let health = HealthBody {
        status: word.to_owned(),
        missing: missing.into_iter().map(str::to_owned).collect(),
    };
    accept.answer(status, &health)
}
