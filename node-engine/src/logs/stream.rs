//! One answer in chunks.

use std::sync::Arc;
use std::time::Duration;

use protocol::message::question::Logs;
use protocol::message::reply::{Chunk, End};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{sleep, timeout};

use super::standing::{Known, Standing};
use super::text::{Rest, Text};
use super::{LogReader, Outbound, Pace, Piece, Sources, Wanted};

/// A part of a line goes out when its rest has not come within this time.
const IDLE: Duration = Duration::from_millis(300);
/// After fewer bytes than these, more are gathered for this long.
const SMALL: usize = 4_096;
const GATHER: Duration = Duration::from_millis(20);
/// Between two looks for an instance that is still being made.
const LOOK: Duration = Duration::from_millis(300);

/// A stream, before it runs.
pub(super) struct Task {
    pub(super) logs: Logs,
    pub(super) sources: Sources,
    pub(super) replies: mpsc::Sender<Outbound>,
    pub(super) pace: Pace,
    pub(super) credit: Arc<Semaphore>,
}

/// The connection ended, and the stream with it.
struct Gone;

impl Task {
    /// Sends the answer, to its end.
    pub(super) async fn run(self) {
        let mut out = Out {
            replies: self.replies,
            pace: self.pace,
            credit: self.credit,
            logs: self.logs,
            text: Text::default(),
            sequence: 0,
            is_open_line: false,
        };
        let end = match out.open(&self.sources).await {
            Ok(Ok(mut reader)) => out.copy(&mut reader).await,
            Ok(Err(end)) => Ok(end),
            Err(gone) => Err(gone),
        };
        if let Ok(end) = end {
            let _ = out.send(String::new(), Some(end)).await;
        }
    }
}

impl Out {
    /// Finds whoever has the instance's output; waits for an instance that is to be followed and not there yet. An empty
    /// chunk says that the question was heard, since what is followed may be silent for long.
    async fn open(&mut self, sources: &Sources) -> Result<Result<LogReader, End>, Gone> {
        let logs = self.logs.clone();
        let logs = &logs;
        let wanted = Wanted {
            follow: logs.follow,
            tail: logs.tail,
            since: logs.since,
        };
        let mut standing = sources.standings.of(logs.instance).await;
        loop {
            let known = told(&mut standing).await;
            let runtimes: Vec<_> = sources.runtimes.borrow().values().cloned().collect();
            for runtime in runtimes {
                let reader = runtime.logs(logs.instance, wanted, &standing).await;
                if let Some(reader) = reader {
                    if logs.follow && self.sequence == 0 {
                        self.send(String::new(), None).await?;
                    }
                    return Ok(Ok(reader));
                }
            }
            match known {
                Standing::Lives if logs.follow => {
                    if self.sequence == 0 {
                        self.send(String::new(), None).await?;
                    }
                    let _ = timeout(LOOK, standing.changed()).await;
                }
                Standing::Lives | Standing::Over => return Ok(Err(End::Done)),
                Standing::Absent | Standing::Unknown => return Ok(Err(End::NoSuchInstance)),
            }
        }
    }
}

async fn told(standing: &mut Known) -> Standing {
    standing
        .wait_for(|standing| *standing != Standing::Unknown)
        .await
        .map_or(Standing::Unknown, |standing| *standing)
}

/// Where the chunks go.
struct Out {
    replies: mpsc::Sender<Outbound>,
    pace: Pace,
    credit: Arc<Semaphore>,
    logs: Logs,
    text: Text,
    sequence: u64,
    /// What was sent last did not end a line.
    is_open_line: bool,
}

impl Out {
    async fn copy(&mut self, reader: &mut LogReader) -> Result<End, Gone> {
        loop {
            let piece = if self.text.len() == 0 {
                Some(reader.next().await)
            } else {
                timeout(IDLE, reader.next()).await.ok()
            };
            match piece {
                Some(Piece::Bytes(bytes)) => {
                    self.text.push(&bytes);
                    self.flush(Rest::Waits).await?;
                    // Many small writes are few chunks.
                    if bytes.len() < SMALL {
                        sleep(GATHER).await;
                    }
                }
                Some(Piece::Skipped(bytes)) => {
                    self.flush(Rest::Last).await?;
                    if self.is_open_line {
                        self.text.push(b"\n");
                    }
                    self.text.push(notice(bytes).as_bytes());
                }
                Some(Piece::End) => {
                    self.flush(Rest::Last).await?;
                    return Ok(End::Done);
                }
                Some(Piece::Failed) => {
                    self.flush(Rest::Last).await?;
                    return Ok(End::Failed);
                }
                None => self.flush(Rest::Goes).await?,
            }
        }
    }

    async fn flush(&mut self, rest: Rest) -> Result<(), Gone> {
        while let Some(text) = self.text.take(self.pace.text(), rest) {
            self.is_open_line = !text.ends_with('\n');
            self.send(text, None).await?;
        }
        Ok(())
    }

    /// Waits for credit, then for the link.
    async fn send(&mut self, text: String, end: Option<End>) -> Result<(), Gone> {
        let credit = self.credit.acquire_many(text.len() as u32).await;
        credit.map_err(|_| Gone)?.forget();
        let chunk = Chunk {
            sequence: self.sequence,
            text,
            end,
        };
        self.sequence += 1;
        let request = self.logs.request.clone();
        let outbound = Outbound { request, chunk };
        self.replies.send(outbound).await.map_err(|_| Gone)
    }
}

/// The line that stands for what was lost.
fn notice(bytes: u64) -> String {
    format!("[edgeio: {bytes} bytes skipped: written faster than they were read]\n")
}
