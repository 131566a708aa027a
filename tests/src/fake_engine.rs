//! A container engine that does what a test tells it: the Docker Engine API 1.41 on a Unix socket, as far as a worker uses
//! it, with containers and images that are rows in memory.
//!
//! # What it promises
//! - Without a [`Fault`], a lie or a [`Pulling`] that a test asked for it answers as dockerd does: the same status codes, the
//!   same words where a worker reads them. `a_real_engine_answers_as_the_fake_one` in `tests/it/engine.rs` holds it to that.
//! - It logs each call before it does anything, hung and refused ones too ([`FakeEngine::calls`]).
//! - Containers never end by themselves; [`FakeEngine::end`] ends one.
//!
//! It runs on a thread of its own, so that a test that waits does not stop it; stopping it closes the socket and every
//! connection at once, as the end of a daemon does.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "it is called by tests alone, and a test that panics is a test that fails"
)]

mod answer;
mod containers;
mod events;
mod images;
mod knobs;
mod serve;
mod world;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

pub use knobs::{Call, Fault, Lie, Pulling, Route};
pub use world::{Seen, Status};

use serve::Server;
use world::World;

/// What becomes of the containers when the engine stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Containers {
    /// They run on (dockerd's `live-restore`).
    RunOn,
    /// They end with it.
    End,
}

/// An engine on a socket of its own.
#[derive(Debug)]
pub struct FakeEngine {
    socket: PathBuf,
    shared: Arc<Shared>,
    server: Option<Server>,
}

/// What the test and the server share.
#[derive(Debug)]
struct Shared {
    world: Mutex<World>,
    /// While it is true no request is looked at and no event goes out.
    frozen: watch::Sender<bool>,
    /// How many events there were.
    news: watch::Sender<u64>,
}

impl Shared {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the world, and tells who follows its events.
    fn change<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        let (result, events) = {
            let mut world = self.world();
            (change(&mut world), world.events_so_far())
        };
        self.news.send_replace(events);
        result
    }
}

impl FakeEngine {
    /// Starts one whose socket is `engine.sock` in this folder.
    pub fn start(folder: &Path) -> Self {
        let mut this = Self {
            socket: folder.join("engine.sock"),
            shared: Arc::new(Shared {
                world: Mutex::default(),
                frozen: watch::Sender::new(false),
                news: watch::Sender::new(0),
            }),
            server: None,
        };
        this.start_again();
        this
    }

    /// Its socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Its address, for `--docker-host`.
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// Stops it: the socket is gone, and so is every connection and the memory of events.
    pub fn stop(&mut self, containers: Containers) {
        drop(self.server.take());
        let _ = std::fs::remove_file(&self.socket);
        self.shared.change(|world| world.engine_stops(containers));
    }

    /// Starts it again.
    pub fn start_again(&mut self) {
        assert!(self.server.is_none(), "the engine runs");
        self.shared.frozen.send_replace(false);
        self.server = Some(Server::start(&self.socket, &self.shared));
    }

    /// Stops it and starts it again.
    pub fn restart(&mut self, containers: Containers) {
        self.stop(containers);
        self.start_again();
    }

    /// It accepts connections and answers nothing, as a daemon that waits for a lock; what is asked meanwhile is done when
    /// it goes on.
    pub fn freeze(&self) {
        self.shared.frozen.send_replace(true);
    }

    /// It goes on.
    pub fn thaw(&self) {
        self.shared.frozen.send_replace(false);
    }

    /// A route misbehaves until [`FakeEngine::heal`]; the last fault of a route counts.
    pub fn fault(&self, route: Route, fault: Fault) {
        self.shared.world().knobs.fault(route, fault);
    }

    /// All routes behave, and there are no lies.
    pub fn heal(&self) {
        self.shared.change(|world| {
            world.knobs.heal();
            world.all_lies_end();
        });
    }

    /// What happens when this image is asked of its registry; an image that nobody named is not found there.
    pub fn registry(&self, image: &str, pulling: Pulling) {
        self.shared.world().knobs.registry(image, pulling);
    }

    /// It has this image.
    pub fn has_image(&self, image: &str) {
        self.shared.world().add_image(image);
    }

    /// The images that it has, by name.
    pub fn images(&self) -> Vec<String> {
        self.shared.world().image_names()
    }

    /// The bytes of images that were fetched in part and are still there.
    pub fn partial_bytes(&self) -> u64 {
        self.shared.world().partial_bytes()
    }

    /// It says something of a container that is not so.
    pub fn lie(&self, container: &str, lie: Lie) {
        self.shared.change(|world| world.lie(container, lie));
    }

    /// Events go out so many times each; 0 loses them.
    pub fn repeat_events(&self, times: usize) {
        self.shared.world().knobs.events = times;
    }

    /// The application of a container ends.
    pub fn end(&self, container: &str, code: i64) {
        self.shared.change(|world| world.end(container, code));
    }

    /// The application of a container writes a line.
    pub fn write(&self, container: &str, line: &str) {
        self.shared.change(|world| world.write(container, line));
    }

    /// A container that somebody else made, and that runs.
    pub fn foreign(&self, name: &str, image: &str) -> String {
        self.shared.change(|world| world.foreign(name, image))
    }

    /// All containers as they really are, by name.
    pub fn containers(&self) -> Vec<Seen> {
        self.shared.world().seen()
    }

    /// The containers of a job as they really are, by index.
    pub fn of_job(&self, job: &str) -> Vec<Seen> {
        let all = self.containers().into_iter();
        all.filter(|seen| seen.job == job).collect()
    }

    /// The only container of a job.
    #[track_caller]
    pub fn only(&self, job: &str) -> Seen {
        let mut all = self.of_job(job);
        assert_eq!(all.len(), 1, "containers of {job}: {all:?}");
        all.remove(0)
    }

    /// Every call since the start, in order.
    pub fn calls(&self) -> Vec<Call> {
        self.shared.world().calls.clone()
    }

    /// How often a route was called.
    pub fn count(&self, route: Route) -> usize {
        let world = self.shared.world();
        world.calls.iter().filter(|it| it.route == route).count()
    }

    /// How many streams of events, or of what an application writes, are open.
    pub fn followers(&self) -> usize {
        self.shared.news.receiver_count()
    }
}

impl Drop for FakeEngine {
    fn drop(&mut self) {
        drop(self.server.take());
    }
}

/// How often a slow answer says something.
const SAID_EVERY: Duration = Duration::from_millis(100);
