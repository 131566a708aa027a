//! What both orchestrators' REST services share, so that a handler is: parse, one call on a handle, render.
//!
//! - [`Api`] takes routes together with their description, and serves both.
//! - [`serve`] serves a router with the timeouts that keep slow clients from holding sockets.
//! - [`Body`], [`Path`] and [`Query`] are extractors whose refusals are problems (RFC 9457).
//! - [`IdempotencyKey`], [`LastEventId`], [`PrefersRedirect`] and [`WantsEvents`] read headers.
//! - [`Accept`] renders an answer in the form that the client asked for.
//! - [`ApiError`] is every refusal.
//! - [`guard`] is asked before each handler, whether that may be done.
//! - [`finish`] adds to a router what every service has: 404 and 405 as problems, the body limit, the refusal of writes
//!   from foreign web pages, and the request metrics.
//!
//! Nothing here knows what is served.

mod answer;
pub mod api;
mod body;
mod error;
mod event;
pub mod guard;
mod held;
mod key;
mod metrics;
mod page;
mod path;
mod patience;
mod prefer;
mod router;
mod serve;

pub use answer::Accept;
pub use api::{Api, Operation, op};
pub use body::{Body, MAX_BODY, job_document, job_documents};
pub use error::ApiError;
pub use event::{LastEventId, WantsEvents};
pub use key::IdempotencyKey;
pub use metrics::{Metrics, render as render_metrics};
pub use page::{Cursor, DEFAULT_LIMIT, MAX_LIMIT, PageQuery};
pub use path::{Path, Query};
pub use prefer::PrefersRedirect;
pub use router::finish;
pub use schemars;
pub use serve::{Limits, PASSED_ON_CERTIFICATE, PASSED_ON_FROM, Shown, serve, serve_with};

#[cfg(test)]
mod tests;
