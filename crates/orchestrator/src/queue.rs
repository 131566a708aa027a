//! Questions to schedulers elsewhere by a queue in Redis: any number of them take what comes, may be added, and may die.
//!
//! # Flow
//! 1. Who asks adds an entry to the stream `edgeio:schedulers:NAME`: the question, how long it stands, and the key of a list
//!    for its answer. It waits at that list until its deadline, and then takes the question back, where Redis still hears it.
//! 2. A scheduler reads the stream as one consumer of the group `schedulers`, so each question is with one of them. It puts the
//!    answer into the list and removes the question, in one transaction.
//! 3. What a scheduler took and did not answer within [`CLAIMED`] is taken over by the others.
//!
//! # Guarantees
//! - Redis keeps nothing that matters: questions are made from what an orchestrator's store says, and are asked again. Whatever
//!   becomes of it, each question has an answer within its deadline: the last one is silence.
//! - A question may be answered twice, where a scheduler was slow: the first answer counts, the other one is forgotten by Redis
//!   after [`KEPT`].
//! - An answer counts for the question that it was given to, whoever gives it: its list has a name that nobody can guess.

#[cfg(feature = "redis")]
mod answering;
#[cfg(feature = "redis")]
mod asking;
#[cfg(feature = "redis")]
mod connection;
mod url;

use std::path::PathBuf;
use std::time::Duration;

#[cfg(feature = "redis")]
pub use connection::Redis;
pub use url::{RedisUrl, RedisUrlError};

/// After which time what one scheduler took is taken over by another one.
pub const CLAIMED: Duration = Duration::from_millis(500);
/// How long Redis keeps an answer that nobody fetches.
pub const KEPT: Duration = Duration::from_mins(1);

/// Bytes of an answer that are read.
#[cfg(feature = "redis")]
const ANSWER: usize = 64 * 1024;
/// The beginning of the name of each list for an answer.
#[cfg(feature = "redis")]
const ANSWERS: &str = "edgeio:answers:";
/// Questions that may wait in a queue; older ones are forgotten.
#[cfg(feature = "redis")]
const LONGEST: usize = 10_000;

/// The stream of a queue.
#[cfg(feature = "redis")]
fn stream(queue: &str) -> String {
    format!("edgeio:schedulers:{queue}")
}

/// Where Redis is; `#[command(flatten)]` it.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub struct RedisOptions {
    /// The Redis that has the queues of schedulers elsewhere (queue:NAME): redis://HOST:PORT/DATABASE, or rediss:// for TLS. A URL with
    /// a password belongs into EDGEIO_REDIS or the configuration file.
    #[arg(long, value_name = "URL")]
    pub redis: Option<RedisUrl>,
    /// Whom to believe to be the Redis at rediss://…: the certificate of its authority, a file in PEM.
    #[arg(long, value_name = "FILE")]
    pub redis_ca: Option<PathBuf>,
}

#[cfg(feature = "redis")]
impl RedisOptions {
    /// By what Redis is reached, if it is named. `insecure`: in plain text on another machine, too.
    ///
    /// # Errors
    /// What is wrong with the options.
    pub fn redis(&self, insecure: bool) -> Result<Option<Redis>, String> {
        let Some(url) = &self.redis else {
            return Ok(None);
        };
        Redis::new(url, self.redis_ca.as_deref(), insecure).map(Some)
    }
}

/// There is none in this program.
#[cfg(not(feature = "redis"))]
#[derive(Debug, Clone)]
pub enum Redis {}

#[cfg(not(feature = "redis"))]
impl RedisOptions {
    /// None.
    ///
    /// # Errors
    /// When one is named.
    pub fn redis(&self, _insecure: bool) -> Result<Option<Redis>, String> {
        if self.redis.is_none() {
            return Ok(None);
        }
        Err("--redis: this program was built without Redis; take one that is shipped, or build it with --features redis".to_owned())
    }
}

#[cfg(not(feature = "redis"))]
impl Redis {
    #[expect(clippy::unused_async, reason = "as with the feature")]
    pub(crate) async fn ask(
        &self,
        _queue: &str,
        _question: &[u8],
        _deadline: Duration,
    ) -> Result<Vec<u8>, schedulers::Answer> {
        match *self {}
    }
}

#[cfg(test)]
#[cfg(feature = "redis")]
mod tests;
