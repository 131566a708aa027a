//! Who answers.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{RedisError, Value, cmd, from_redis_value, from_redis_value_ref, pipe};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{ANSWERS, CLAIMED, KEPT, Redis, stream};
use crate::clock;

/// All schedulers of a queue.
const GROUP: &str = "schedulers";
/// How long one look at the queue waits for a question; then follows a look at what others took and left.
const LOOK: Duration = Duration::from_millis(250);
/// What is taken over at once, at most.
const TAKEN_OVER: usize = 16;
/// A consumer that has not looked for so long, and has nothing, is one that died.
const DEAD: Duration = Duration::from_hours(1);
/// How long Redis may take for anything: longer than a look.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two attempts to reach Redis.
const AGAIN: Duration = Duration::from_millis(500);

/// An entry of the stream: its id, and its fields.
type Entry = (String, HashMap<String, Vec<u8>>);

impl Redis {
    /// Answers what comes by a queue until the token is cancelled: `answer` is given a question and makes the answer. `reached` is
    /// told whether the queue can be read, whenever that changes.
    ///
    /// # Errors
    /// When the system has no random numbers for the name of a consumer.
    pub async fn serve(
        &self,
        queue: &str,
        shutdown: &CancellationToken,
        reached: impl Fn(bool),
        answer: impl Fn(&[u8]) -> Vec<u8>,
    ) -> io::Result<()> {
        let consumer = Consumer {
            stream: stream(queue),
            name: format!("{:032x}", clock::mint().map_err(io::Error::other)?),
        };
        // Told once, until it is reached again.
        let is_told = AtomicBool::new(false);
        let reached = |is: bool| {
            is_told.fetch_and(!is, Ordering::Relaxed);
            reached(is);
        };
        loop {
            let working = self.work(&consumer, &reached, &answer);
            let error = match shutdown.run_until_cancelled(working).await {
                None => break,
                Some(Ok(never)) => match never {},
                Some(Err(error)) => error,
            };
            reached(false);
            if is_told.swap(true, Ordering::Relaxed) {
                tracing::debug!(%error, "the queue cannot be read yet");
            } else {
                tracing::warn!(queue, redis = %self.url(), %error, "the queue cannot be read");
            }
            if shutdown.run_until_cancelled(sleep(AGAIN)).await.is_none() {
                break;
            }
        }
        Ok(())
    }

    async fn work(
        &self,
        consumer: &Consumer,
        reached: &impl Fn(bool),
        answer: &impl Fn(&[u8]) -> Vec<u8>,
    ) -> Result<Infallible, RedisError> {
        let mut connection = soon(self.connect(u64::MAX)).await?;
        soon(consumer.begin(&mut connection)).await?;
        reached(true);
        tracing::info!(stream = consumer.stream, redis = %self.url(), "questions are taken from a queue");
        let mut looked_at_others = Instant::now();
        loop {
            let mut entries = soon(consumer.next(&mut connection)).await?;
            if looked_at_others.elapsed() >= LOOK {
                entries.extend(soon(consumer.take_over(&mut connection)).await?);
                looked_at_others = Instant::now();
            }
            for (id, fields) in entries {
                let answer = fields.get("question").map(|question| answer(question));
                let list = fields.get("answer");
                // Another one would be refused, again and again, to whoever has rights for ours alone.
                let list = list.filter(|list| list.starts_with(ANSWERS.as_bytes()));
                soon(consumer.answer(&mut connection, &id, list.zip(answer))).await?;
            }
        }
    }
}

/// Fails where Redis says nothing for longer than anything should take: a connection may be gone without a word.
async fn soon<T>(what: impl Future<Output = Result<T, RedisError>>) -> Result<T, RedisError> {
    let late = || Err(io::Error::from(io::ErrorKind::TimedOut).into());
    timeout(PATIENCE, what).await.unwrap_or_else(|_| late())
}

struct Consumer {
    stream: String,
    name: String,
}

impl Consumer {
    /// Makes the group where there is none, which takes what waits already, and forgets consumers that died.
    async fn begin(&self, connection: &mut MultiplexedConnection) -> Result<(), RedisError> {
        let made = cmd("XGROUP")
            .arg(&["CREATE", &self.stream, GROUP, "0", "MKSTREAM"])
            .query_async(connection)
            .await;
        match made {
            Err(error) if error.code() == Some("BUSYGROUP") => {}
            made => made?,
        }
        let consumers: Vec<HashMap<String, Value>> = cmd("XINFO")
            .arg(&["CONSUMERS", &self.stream, GROUP])
            .query_async(connection)
            .await?;
        for name in consumers.iter().filter_map(dead) {
            let forgetting = cmd("XGROUP")
                .arg(&["DELCONSUMER", &self.stream, GROUP, &name])
                .to_owned();
            forgetting.query_async::<u64>(connection).await?;
        }
        Ok(())
    }

    /// The next question, if one comes soon.
    async fn next(&self, connection: &mut MultiplexedConnection) -> Result<Vec<Entry>, RedisError> {
        let read: Option<Vec<(String, Vec<Entry>)>> = cmd("XREADGROUP")
            .arg(&["GROUP", GROUP, &self.name, "COUNT", "1", "BLOCK"])
            .arg(LOOK.as_millis() as u64)
            .arg(&["STREAMS", &self.stream, ">"])
            .query_async(connection)
            .await?;
        Ok(read
            .into_iter()
            .flatten()
            .flat_map(|(_, entries)| entries)
            .collect())
    }

    /// What another one took long ago. What was taken back since is forgotten by Redis on the way.
    async fn take_over(
        &self,
        connection: &mut MultiplexedConnection,
    ) -> Result<Vec<Entry>, RedisError> {
        // Where to go on, what is taken over now, and, since Redis 7, what was taken back.
        let reply: Vec<Value> = cmd("XAUTOCLAIM")
            .arg(&[&self.stream, GROUP, &self.name])
            .arg(CLAIMED.as_millis() as u64)
            .arg(&["0", "COUNT"])
            .arg(TAKEN_OVER)
            .query_async(connection)
            .await?;
        let entries: Vec<Option<Entry>> = match reply.into_iter().nth(1) {
            Some(entries) => from_redis_value(entries)?,
            None => Vec::new(),
        };
        Ok(entries.into_iter().flatten().collect())
    }

    /// Gives the answer, if the entry is a question, and removes it.
    async fn answer(
        &self,
        connection: &mut MultiplexedConnection,
        id: &str,
        answer: Option<(&Vec<u8>, Vec<u8>)>,
    ) -> Result<(), RedisError> {
        let mut giving = pipe();
        giving.atomic();
        if let Some((list, answer)) = answer {
            giving.cmd("RPUSH").arg(list).arg(answer).ignore();
            giving
                .cmd("PEXPIRE")
                .arg(list)
                .arg(KEPT.as_millis() as u64)
                .ignore();
        }
        giving.cmd("XACK").arg(&[&self.stream, GROUP, id]).ignore();
        giving.cmd("XDEL").arg(&[&self.stream, id]).ignore();
        giving.query_async(connection).await
    }
}

/// The name of a consumer that died.
fn dead(consumer: &HashMap<String, Value>) -> Option<String> {
    let number = |name| from_redis_value_ref::<u64>(consumer.get(name)?).ok();
    let idle = Duration::from_millis(number("idle")?);
    let is_dead = number("pending")? == 0 && idle > DEAD;
    let name = from_redis_value_ref(consumer.get("name")?).ok()?;
    is_dead.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_consumer_is_dead_that_has_nothing_and_has_not_looked_for_long() {
        let is_dead = |pending, idle| {
            let name = Value::BulkString(b"it".to_vec());
            let fields = [
                ("name", name),
                ("pending", Value::Int(pending)),
                ("idle", Value::Int(idle)),
            ];
            let fields = fields.map(|(name, value)| (name.to_owned(), value));
            dead(&fields.into())
        };
        assert_eq!(is_dead(0, 3_600_001), Some("it".to_owned()));
        assert_eq!(is_dead(1, 3_600_001), None);
        assert_eq!(is_dead(0, 3_600_000), None);
        assert_eq!(dead(&HashMap::new()), None);
    }
}
