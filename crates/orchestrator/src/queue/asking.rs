//! Who asks.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{RedisError, cmd};
use schedulers::Answer;
use tokio::time::{Instant, timeout, timeout_at};

use super::{ANSWER, ANSWERS, LONGEST, Redis, stream};
use crate::clock;

/// Bytes of what Redis says beside an answer.
const BESIDE: u64 = 4 * 1024;
/// How long taking a question back may take; nobody waits for it.
const TAKING_BACK: Duration = Duration::from_secs(1);

impl Redis {
    /// Asks by a queue, and waits for the answer until the deadline.
    ///
    /// # Errors
    /// With what counts as the answer where there is none.
    pub(crate) async fn ask(
        &self,
        queue: &str,
        question: &[u8],
        deadline: Duration,
    ) -> Result<Vec<u8>, Answer> {
        let due = Instant::now() + deadline;
        let late = || {
            let millis = deadline.as_millis();
            Answer::Silence(format!("no answer came within {millis} ms"))
        };
        let broken = |error: RedisError| {
            let url = self.url();
            Answer::Silence(format!("its queue at {url} cannot be used: {error}"))
        };
        let list = list().map_err(|error| Answer::Silence(error.to_string()))?;
        let asking = self.put(queue, question, &list, deadline);
        let (mut connection, id) = timeout_at(due, asking)
            .await
            .map_err(|_| late())?
            .map_err(broken)?;
        // What is left of it, by the clock of Redis as well; 0 would mean for ever.
        let left = (due - Instant::now()).max(Duration::from_millis(1));
        let waiting = cmd("BLPOP").arg(&list).arg(left.as_secs_f64()).to_owned();
        let answered = timeout_at(due, waiting.query_async(&mut connection)).await;
        let Some((_, answer)) = answered
            .map_or(
                Ok(None),
                |answered: Result<Option<(String, Vec<u8>)>, _>| answered,
            )
            .map_err(broken)?
        else {
            take_back(connection, queue, id);
            return Err(late());
        };
        Ok(answer)
    }

    async fn put(
        &self,
        queue: &str,
        question: &[u8],
        list: &str,
        deadline: Duration,
    ) -> Result<(MultiplexedConnection, String), RedisError> {
        let mut connection = self.connect(ANSWER as u64 + BESIDE).await?;
        let id = cmd("XADD")
            .arg(stream(queue))
            .arg(&["MAXLEN", "~"])
            .arg(LONGEST)
            .arg("*")
            .arg(&[("question", question), ("answer", list.as_bytes())])
            .arg("deadline_ms")
            .arg(deadline.as_millis() as u64)
            .query_async(&mut connection)
            .await?;
        Ok((connection, id))
    }
}

/// So that schedulers do not work for nobody.
fn take_back(mut connection: MultiplexedConnection, queue: &str, id: String) {
    let stream = stream(queue);
    tokio::spawn(async move {
        let taking = cmd("XDEL").arg(stream).arg(id).to_owned();
        // Where it fails, an answer comes that nobody fetches.
        let _ = timeout(TAKING_BACK, taking.query_async::<u64>(&mut connection)).await;
    });
}

/// A list for one answer.
fn list() -> Result<String, clock::NoRandom> {
    let random = u128::from_be_bytes(clock::random()?);
    Ok(format!("{ANSWERS}{random:032x}"))
}
