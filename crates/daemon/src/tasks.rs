//! The long-running parts of a program, each with a name, none of which may end unnoticed.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

/// A set of named tasks that live and end together.
///
/// # Guarantees
///
/// - A task that ends before the token was cancelled, or panics at any time, cancels the token, at once and without
///   anybody having to poll the set.
/// - [`Tasks::finish`] names that task, and every task that did not end within the grace period.
///
/// Dropping the set aborts all tasks.
#[derive(Debug)]
pub struct Tasks {
    token: CancellationToken,
    running: JoinSet<Finished>,
    names: HashMap<Id, String>,
}

/// How a task's future ended, and whether it had been asked to.
#[derive(Debug)]
struct Finished {
    result: Result<(), String>,
    asked: bool,
}

/// How everything ended: `Ok` when all tasks ended in time because they were asked to.
#[derive(Debug, Default, PartialEq, Eq)]
#[must_use = "a task that died is to be reported"]
pub struct Outcome {
    /// The tasks that ended unasked, failed or panicked, in the order of their ends.
    pub ended: Vec<Ended>,
    /// The tasks that were aborted after the grace period, by name.
    pub still_running: Vec<String>,
}

/// A task that did not end as it should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The name given to [`Tasks::spawn`].
    pub task: String,
    /// How it ended.
    pub how: How,
}

/// How a task ended that should not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum How {
    /// It returned, although nobody had asked it to.
    Unasked,
    /// It returned this error.
    Failed(String),
    /// It panicked with this message.
    Panicked(String),
}

/// What the future of a task may return: nothing, or a result whose error is shown with its sources.
pub trait Ending: Send + 'static {
    /// The error as one line.
    fn into_result(self) -> Result<(), String>;
}

impl Ending for () {
    fn into_result(self) -> Result<(), String> {
        Ok(())
    }
}

impl<E: Into<anyhow::Error> + Send + 'static> Ending for Result<(), E> {
    fn into_result(self) -> Result<(), String> {
        self.map_err(|error| format!("{:#}", error.into()))
    }
}

/// Cancels the token when it is dropped, so that a panic cannot pass it by.
struct Alarm(CancellationToken);

impl Drop for Alarm {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl Tasks {
    /// An empty set that ends when `token` is cancelled.
    pub fn new(token: CancellationToken) -> Self {
        Self {
            token,
            running: JoinSet::new(),
            names: HashMap::new(),
        }
    }

    /// The token; tasks watch a clone of it.
    pub fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// Starts a task that is to run until the token is cancelled.
    pub fn spawn<F>(&mut self, name: impl Into<String>, future: F)
    where
        F: Future<Output: Ending> + Send + 'static,
    {
        let token = self.token.clone();
        let handle = self.running.spawn(async move {
            let alarm = Alarm(token);
            let result = future.await.into_result();
            let asked = alarm.0.is_cancelled();
            Finished { result, asked }
        });
        self.names.insert(handle.id(), name.into());
    }

    /// Waits until the token is cancelled, then at most `grace` for all tasks; what still runs is aborted.
    pub async fn finish(mut self, grace: Duration) -> Outcome {
        self.token.cancelled().await;
        let deadline = Instant::now() + grace;
        let mut outcome = Outcome::default();
        loop {
            match timeout_at(deadline, self.running.join_next_with_id()).await {
                Ok(Some(joined)) => outcome.ended.extend(self.leave(joined)),
                Ok(None) => return outcome,
                Err(_) => break,
            }
        }
        outcome.still_running = self.names.into_values().collect();
        outcome.still_running.sort();
        outcome
    }

    /// Takes a joined task off the list; `None` if it ended as it should.
    fn leave(&mut self, joined: Result<(Id, Finished), JoinError>) -> Option<Ended> {
        let (id, how) = match joined {
            Ok((id, finished)) => (id, finished.fault()),
            Err(error) => (error.id(), panic_message(error).map(How::Panicked)),
        };
        let task = self.names.remove(&id)?;
        how.map(|how| Ended { task, how })
    }
}

impl Finished {
    fn fault(self) -> Option<How> {
        match self.result {
            Err(message) => Some(How::Failed(message)),
            Ok(()) if self.asked => None,
            Ok(()) => Some(How::Unasked),
        }
    }
}

/// `None` for a task that was aborted, which only dropping the set does.
fn panic_message(error: JoinError) -> Option<String> {
    let payload: Box<dyn Any + Send> = error.try_into_panic().ok()?;
    let text = match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(payload) => payload
            .downcast_ref::<&str>()
            .map_or_else(|| "no message".to_owned(), |text| (*text).to_owned()),
    };
    Some(text)
}

impl Outcome {
    /// Whether all tasks ended in time because they were asked to.
    pub fn is_clean(&self) -> bool {
        self.ended.is_empty() && self.still_running.is_empty()
    }

    /// The outcome as an error, for `main`.
    pub fn into_result(self) -> Result<(), Self> {
        if self.is_clean() { Ok(()) } else { Err(self) }
    }
}

impl std::error::Error for Outcome {}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_clean() {
            return formatter.write_str("stopped cleanly");
        }
        let mut separator = "";
        for ended in &self.ended {
            write!(formatter, "{separator}{ended}")?;
            separator = "; ";
        }
        if !self.still_running.is_empty() {
            let names = self.still_running.join(", ");
            write!(
                formatter,
                "{separator}still running after the grace period: {names}"
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { task, how } = self;
        match how {
            How::Unasked => write!(formatter, "task {task} ended unasked"),
            How::Failed(message) => write!(formatter, "task {task} failed: {message}"),
            How::Panicked(message) => write!(formatter, "task {task} panicked: {message}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(task: &str, how: How) -> Vec<Ended> {
        let task = task.to_owned();
        vec![Ended { task, how }]
    }

    fn with_obedient_task() -> Tasks {
        let token = CancellationToken::new();
        let mut tasks = Tasks::new(token.clone());
        tasks.spawn("obedient", async move { token.cancelled().await });
        tasks
    }

    const GRACE: Duration = Duration::from_hours(1);

    #[tokio::test(start_paused = true)]
    async fn tasks_that_end_when_asked_are_clean() {
        let tasks = with_obedient_task();
        tasks.token().cancel();
        let outcome = tasks.finish(GRACE).await;
        assert_eq!(outcome, Outcome::default());
        assert_eq!(outcome.into_result(), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_panicking_task_stops_the_others_and_is_named() {
        let mut tasks = with_obedient_task();
        let addresses = Vec::<u32>::new();
        tasks.spawn("uplink", async move {
            addresses.first().expect("no root");
        });
        let outcome = tasks.finish(GRACE).await;
        assert_eq!(
            outcome.ended,
            ended("uplink", How::Panicked("no root".to_owned()))
        );
        assert_eq!(outcome.to_string(), "task uplink panicked: no root");
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_returns_unasked_stops_the_others_and_is_named() {
        let mut tasks = with_obedient_task();
        tasks.spawn("http", async {});
        let outcome = tasks.finish(GRACE).await;
        assert_eq!(outcome.ended, ended("http", How::Unasked));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failing_task_is_named_with_its_error_and_the_sources() {
        let mut tasks = with_obedient_task();
        tasks.spawn("store", async {
            let error = std::io::Error::other("disk full");
            Err::<(), _>(anyhow::Error::new(error).context("cannot write"))
        });
        let outcome = tasks.finish(GRACE).await;
        let how = How::Failed("cannot write: disk full".to_owned());
        assert_eq!(outcome.ended, ended("store", how));
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_fails_while_stopping_is_reported_too() {
        let token = CancellationToken::new();
        let mut tasks = Tasks::new(token.clone());
        let stop = token.clone();
        tasks.spawn("store", async move {
            stop.cancelled().await;
            Err::<(), _>(std::io::Error::other("disk full"))
        });
        token.cancel();
        let outcome = tasks.finish(GRACE).await;
        assert_eq!(
            outcome.ended,
            ended("store", How::Failed("disk full".to_owned()))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn tasks_that_exceed_the_grace_period_are_named_and_aborted() {
        let mut tasks = with_obedient_task();
        let (alive, dropped) = tokio::sync::oneshot::channel::<()>();
        tasks.spawn("stubborn", async move {
            std::future::pending::<()>().await;
            drop(alive);
        });
        tasks.spawn("deaf", std::future::pending::<()>());
        tasks.token().cancel();
        let before = Instant::now();
        let outcome = tasks.finish(Duration::from_secs(10)).await;
        assert_eq!(before.elapsed().as_secs(), 10);
        assert_eq!(outcome.still_running, ["deaf", "stubborn"]);
        assert!(outcome.ended.is_empty());
        assert!(outcome.to_string().contains("deaf, stubborn"));
        assert!(dropped.await.is_err(), "the future was dropped");
    }
}
