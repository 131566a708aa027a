//! The socket, and which route a request means.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Instant;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Query, Request, State};
use axum::http::{Method, Uri};
use axum::response::Response;
use tokio::net::UnixListener;
use tokio::sync::oneshot;

use super::answer::{self, empty, fault};
use super::knobs::{Call, Fault, Route};
use super::{Shared, containers, events, images};

/// Bytes of a request's body; files of a container are a few kilobytes.
const BODY: usize = 16 << 20;

/// A thread that serves until this is dropped.
#[derive(Debug)]
pub(super) struct Server {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(super) fn start(socket: &Path, shared: &Arc<Shared>) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let (ready, is_ready) = mpsc::channel();
        let (socket, shared) = (socket.to_owned(), Arc::clone(shared));
        let serve = move || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_all().build().unwrap();
            runtime.block_on(async {
                let _ = std::fs::remove_file(&socket);
                let listener = UnixListener::bind(&socket).expect("the socket can be made");
                let router = Router::new().fallback(take).with_state(shared);
                ready.send(()).unwrap();
                let serving = axum::serve(listener, router);
                tokio::select! {
                    _ = stopped => {}
                    ended = serving.into_future() => ended.expect("it serves"),
                }
            });
            // Every connection ends here, in the middle of whatever it was.
            runtime.shutdown_background();
        };
        let thread = std::thread::spawn(serve);
        is_ready.recv().expect("the engine serves");
        Self {
            stop: Some(stop),
            thread: Some(thread),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(
            std::thread::panicking() || ended.is_none_or(|ended| ended.is_ok()),
            "the fake engine panicked"
        );
    }
}

/// A request as the routes see it.
#[derive(Debug)]
pub(super) struct Asked {
    /// What stands between the slashes, without the version.
    pub(super) path: Vec<String>,
    pub(super) query: HashMap<String, String>,
    pub(super) body: Bytes,
}

impl Asked {
    pub(super) fn part(&self, at: usize) -> &str {
        self.path.get(at).map_or("", String::as_str)
    }

    /// Whether a word of the query is set.
    pub(super) fn is(&self, word: &str) -> bool {
        let value = self.query.get(word).map(String::as_str);
        matches!(value, Some("true" | "1" | "True"))
    }

    pub(super) fn text(&self, word: &str) -> &str {
        self.query.get(word).map_or("", String::as_str)
    }
}

async fn take(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let path = segments(&head.uri);
    let route = route(&head.method, &path);
    let line = format!(
        "{} /{}{}",
        head.method,
        path.join("/"),
        head.uri
            .query()
            .map(|query| format!("?{query}"))
            .unwrap_or_default()
    );
    let at = Instant::now();
    shared.world().calls.push(Call { route, line, at });
    let mut frozen = shared.frozen.subscribe();
    let _ = frozen.wait_for(|frozen| !frozen).await;
    let knob = shared.world().knobs.of(route);
    match knob {
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::Error(status, message)) => return fault(status, message),
        Some(Fault::Slow(time)) => tokio::time::sleep(time).await,
        Some(Fault::Deaf) | None => {}
    }
    let query = Query::<HashMap<String, String>>::try_from_uri(&head.uri);
    let asked = Asked {
        path,
        query: query.map(|query| query.0).unwrap_or_default(),
        body: axum::body::to_bytes(body, BODY).await.unwrap_or_default(),
    };
    let answer = answer(&shared, route, asked).await;
    if knob == Some(Fault::Deaf) {
        // The task of the connection ends, and the connection with it; nothing is printed.
        std::panic::resume_unwind(Box::new("the answer is lost"));
    }
    answer
}

async fn answer(shared: &Arc<Shared>, route: Route, asked: Asked) -> Response {
    match route {
        Route::Ping => answer::text("OK"),
        Route::Version => answer::version(),
        Route::Info => answer::info(),
        Route::Create => containers::create(shared, &asked),
        Route::Start => containers::start(shared, &asked),
        Route::Stop => containers::stop(shared, &asked),
        Route::Kill => containers::kill(shared, &asked),
        Route::Remove => containers::remove(shared, &asked),
        Route::Inspect => containers::inspect(shared, &asked),
        Route::List => containers::list(shared, &asked),
        Route::Logs => events::logs(shared, &asked),
        Route::Archive => empty(200),
        Route::Events => events::follow(shared, &asked),
        Route::Pull => images::pull(shared, &asked).await,
        Route::ImageInspect => images::inspect(shared, &asked),
        Route::ImageList => images::list(shared),
        Route::ImageRemove => images::remove(shared, &asked),
        Route::Other => fault(404, "page not found"),
    }
}

/// The parts of a path, without the version.
fn segments(uri: &Uri) -> Vec<String> {
    let decoded = |part: &str| {
        part.replace("%3A", ":")
            .replace("%2F", "/")
            .replace("%40", "@")
    };
    let mut parts: Vec<String> = uri.path().split('/').skip(1).map(decoded).collect();
    let is_version = |part: &String| part.starts_with("v1.");
    if parts.first().is_some_and(is_version) {
        parts.remove(0);
    }
    parts
}

fn route(method: &Method, path: &[String]) -> Route {
    let parts: Vec<&str> = path.iter().map(String::as_str).collect();
    match (method.as_str(), parts.as_slice()) {
        ("GET" | "HEAD", ["_ping"]) => Route::Ping,
        ("GET", ["version"]) => Route::Version,
        ("GET", ["info"]) => Route::Info,
        ("GET", ["events"]) => Route::Events,
        ("POST", ["containers", "create"]) => Route::Create,
        ("GET", ["containers", "json"]) => Route::List,
        ("POST", ["containers", _, "start"]) => Route::Start,
        ("POST", ["containers", _, "stop"]) => Route::Stop,
        ("POST", ["containers", _, "kill"]) => Route::Kill,
        ("GET", ["containers", _, "json"]) => Route::Inspect,
        ("GET", ["containers", _, "logs"]) => Route::Logs,
        ("PUT", ["containers", _, "archive"]) => Route::Archive,
        ("DELETE", ["containers", _]) => Route::Remove,
        ("POST", ["images", "create"]) => Route::Pull,
        ("GET", ["images", "json"]) => Route::ImageList,
        ("GET", ["images", .., "json"]) => Route::ImageInspect,
        ("DELETE", ["images", ..]) => Route::ImageRemove,
        _ => Route::Other,
    }
}
