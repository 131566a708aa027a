//! Routes together with their description (OpenAPI 3.1), so that what is described is what is served.
//!
//! A route is added with its handler and an [`Operation`]. What the handler takes is read from its extractors, each of
//! which says so itself ([`Input`]): parameters, headers, the body's types and the refusals that follow cannot be
//! described and not served, nor the other way round. The operation adds what types do not say: the answers, the shape
//! of the body, and the refusals that the handler itself decides.
//!
//! [`Api::serve`] makes the router of it, which also serves `/openapi.json`, `/docs` and `/api/v1/schema/job`.

mod describe;
mod input;
mod operation;
mod pages;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::body::HttpBody as _;
use axum::extract::{Request, State};
use axum::handler::Handler;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use axum::{Extension, Router};
use protocol::problem::Problem;
use serde_json::Value;

pub use input::{Input, Inputs, Taken};
pub use operation::{Operation, op};

use crate::ApiError;
use crate::guard::{Guarded, Need, guarded};
use describe::Description;

/// Routes with state `S`, and what they do. Made by [`Api::new`], filled by a method for each HTTP method, combined by
/// [`Api::merge`], ended by [`Api::serve`].
#[derive(Debug)]
pub struct Api<S> {
    router: Router<S>,
    description: Description,
}

impl<S: Clone + Send + Sync + 'static> Api<S> {
    /// No routes yet. `about` is one paragraph (CommonMark) on what is served here.
    pub fn new(title: &str, about: &str) -> Self {
        Self {
            router: Router::new(),
            description: Description::new(title, about),
        }
    }

    /// Says what a path parameter of that name is, for all paths that have it.
    #[must_use]
    pub fn parameter(mut self, name: &str, about: &str) -> Self {
        self.description.parameter(name, about);
        self
    }

    /// Adds `GET path`. Axum answers HEAD by it, too.
    #[must_use]
    pub fn get<H, T>(self, path: &str, handler: H, operation: Operation) -> Self
    where
        H: Handler<T, S>,
        T: Inputs + 'static,
    {
        self.on(MethodFilter::GET, path, handler, operation)
    }

    /// Adds `POST path`.
    #[must_use]
    pub fn post<H, T>(self, path: &str, handler: H, operation: Operation) -> Self
    where
        H: Handler<T, S>,
        T: Inputs + 'static,
    {
        self.on(MethodFilter::POST, path, handler, operation)
    }

    /// Adds `PUT path`.
    #[must_use]
    pub fn put<H, T>(self, path: &str, handler: H, operation: Operation) -> Self
    where
        H: Handler<T, S>,
        T: Inputs + 'static,
    {
        self.on(MethodFilter::PUT, path, handler, operation)
    }

    /// Adds `PATCH path`.
    #[must_use]
    pub fn patch<H, T>(self, path: &str, handler: H, operation: Operation) -> Self
    where
        H: Handler<T, S>,
        T: Inputs + 'static,
    {
        self.on(MethodFilter::PATCH, path, handler, operation)
    }

    /// Adds `DELETE path`.
    #[must_use]
    pub fn delete<H, T>(self, path: &str, handler: H, operation: Operation) -> Self
    where
        H: Handler<T, S>,
        T: Inputs + 'static,
    {
        self.on(MethodFilter::DELETE, path, handler, operation)
    }

    /// With the routes and descriptions of another; its title goes.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        self.router = self.router.merge(other.router);
        self.description.merge(other.description);
        self
    }

    /// The same with that state given, so that it can be merged with routes of another state.
    #[must_use]
    pub fn with_state<S2>(self, state: S) -> Api<S2> {
        Api {
            router: self.router.with_state(state),
            description: self.description,
        }
    }

    /// What each operation needs of who asks, with its method and path, as they were added.
    pub fn needs(&self) -> Vec<(&'static str, &str, Need)> {
        self.description.needs()
    }

    /// The OpenAPI document of the routes so far.
    pub fn document(&self) -> Value {
        self.description.document()
    }

    /// What the extractors of handlers and their operations do not agree on, and what is not explained: nothing in a
    /// service that is ready. In builds for tests, [`Api::serve`] asserts it.
    pub fn faults(&self) -> Vec<String> {
        self.description.faults()
    }

    /// The router, with the pages that describe it: `/openapi.json`, `/docs`, `/api/v1/schema/job`. Before each handler the
    /// guard is asked. What every service has besides is added by [`crate::finish`].
    pub fn serve(self, state: S, guard: Guarded) -> Router {
        let described = pages::add(self);
        debug_assert_eq!(described.faults(), [""; 0]);
        let document = pages::Document::new(&described.document());
        described
            .router
            .with_state(state)
            .layer(Extension(document))
            .layer(Extension(Extension(guard)))
    }

    fn on<H, T>(
        mut self,
        method: MethodFilter,
        path: &str,
        handler: H,
        operation: Operation,
    ) -> Self
    where
        H: Handler<T, S>,
        T: Inputs + 'static,
    {
        let mut taken = Taken::default();
        T::describe(&mut taken);
        let need = operation.need();
        let mut route: MethodRouter<S> = on(method, handler);
        if !taken.has_query() {
            route = route.route_layer(middleware::from_fn(no_query));
        }
        if !taken.body {
            route = route.route_layer(middleware::from_fn(no_body));
        }
        route = route.route_layer(middleware::from_fn(move |request, next| {
            guarded(need, request, next)
        }));
        let statuses = self
            .description
            .add(method_name(method), path, taken, operation);
        if cfg!(debug_assertions) {
            route = route.route_layer(middleware::from_fn_with_state(statuses, described));
        }
        self.router = self.router.route(path, route);
        self
    }
}

/// The key of a path item; only the five methods of [`Api`] come here.
const fn method_name(method: MethodFilter) -> &'static str {
    match method {
        MethodFilter::POST => "post",
        MethodFilter::PUT => "put",
        MethodFilter::PATCH => "patch",
        MethodFilter::DELETE => "delete",
        _ => "get",
    }
}

/// Holds answers against their description, in builds for tests: every test of a service then tests its description too.
async fn described(
    State(statuses): State<Arc<BTreeSet<u16>>>,
    request: Request,
    next: Next,
) -> Response {
    let asked = format!("{} {}", request.method(), request.uri());
    let response = next.run(request).await;
    let status = response.status().as_u16();
    debug_assert!(
        statuses.contains(&status),
        "{asked} answers {status}, which its description does not have: {statuses:?}"
    );
    response
}

/// Refuses parameters where none is taken: one that is given is not ignored.
async fn no_query(request: Request, next: Next) -> Response {
    if request.uri().query().is_none_or(str::is_empty) {
        return next.run(request).await;
    }
    let problem = Problem::bad_request("this path takes no query parameters; leave them out");
    ApiError::from(problem).into_response()
}

/// Refuses a body where none is taken, for the same reason; one of no bytes is none.
async fn no_body(request: Request, next: Next) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let problem = Problem::bad_request("this path takes no body; leave it out");
    ApiError::from(problem).into_response()
}
