//! What every router gets.

use axum::Router;
use axum::extract::Request;
use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, Method, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use protocol::problem::Problem;

use crate::ApiError;
use crate::metrics::{self, Metrics};

/// Adds the problems for unknown paths and methods, the refusal of foreign pages, and the metrics. Call it last, on a
/// router whose routes are all there.
pub fn finish(router: Router, metrics: Metrics) -> Router {
    router
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(no_such_path)
        .layer(middleware::from_fn(same_origin))
        .layer(middleware::from_fn_with_state(metrics, metrics::track))
}

async fn no_such_path(uri: Uri) -> ApiError {
    Problem::no_such_path(uri.path()).into()
}

async fn method_not_allowed(method: Method, uri: Uri) -> ApiError {
    Problem::method_not_allowed(method.as_str(), uri.path()).into()
}

/// A web page may send a simple POST to any address that its browser reaches, loopback included, and a body without a
/// type is a document. Browsers name the page in `Origin`: one that is not ours may change nothing.
async fn same_origin(request: Request, next: Next) -> Response {
    if request.method().is_safe() || is_own(request.headers()) {
        return next.run(request).await;
    }
    let problem = Problem::forbidden("a web page of another origin may not change anything here");
    ApiError::from(problem).into_response()
}

fn is_own(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(ORIGIN) else {
        return true;
    };
    let authority = origin
        .to_str()
        .ok()
        .and_then(|origin| origin.split_once("://"))
        .map(|(_, authority)| authority);
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    authority.is_some() && authority == host
}
