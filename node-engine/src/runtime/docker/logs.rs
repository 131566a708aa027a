//! Reading the output of containers, and keeping its end when one goes.
//!
//! Each run of an instance is a container. What the runs before wrote is kept ([`crate::logs::kept`]), and the reader goes
//! from there to the container of now, and to the next one.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bollard::errors::Error;
use bollard::models::ContainerSummaryStateEnum;
use bollard::query_parameters::LogsOptionsBuilder;
use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use futures_util::stream::{Stream, StreamExt};
use model::id::InstanceId;
use tokio::time::{sleep, timeout};

use super::Shared;
use crate::logs::kept::Frame;
use crate::logs::standing::{Known, Standing};
use crate::logs::{Piece, Wanted};
use crate::runtime::{chain, wall};

/// Lines that are asked for when a container goes; of them, as many bytes are kept as fit.
const KEPT_LINES: u64 = 4_000;
/// Bytes of them in memory meanwhile.
const KEPT_BYTES: usize = 256 << 10;
/// How long a removal may wait for them.
const KEEP: Duration = Duration::from_secs(2);
/// Between two looks for a container, or at an engine that does not answer.
const LOOK: Duration = Duration::from_millis(500);
/// Bytes that are passed on at once, about.
const BLOCK: usize = 16 << 10;

type Frames = Pin<Box<dyn Stream<Item = Result<Frame, Error>> + Send>>;

/// Reads the output of one instance.
pub struct LogReader {
    shared: Arc<Shared>,
    instance: InstanceId,
    wanted: Wanted,
    standing: Known,
    /// What is passed on next.
    ready: VecDeque<Frame>,
    open: Option<Open>,
    /// The container that was read to its end.
    former: Option<String>,
    /// When the last frame was written that was passed on, or made ready.
    last: i64,
}

/// A container that is read.
struct Open {
    container: String,
    frames: Frames,
    /// Frames of that time and before were passed on already.
    after: i64,
}

/// A container that has begun to run.
struct Found {
    container: String,
    is_running: bool,
}

impl std::fmt::Debug for LogReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogReader")
            .field("instance", &self.instance)
            .field("wanted", &self.wanted)
            .finish_non_exhaustive()
    }
}

impl LogReader {
    /// `None` when there is nothing of the instance.
    pub(super) async fn open(
        shared: Arc<Shared>,
        instance: InstanceId,
        wanted: Wanted,
        standing: Known,
    ) -> Option<Self> {
        let mut reader = Self {
            shared,
            instance,
            wanted,
            standing,
            ready: VecDeque::new(),
            open: None,
            former: None,
            last: i64::MIN,
        };
        // What is kept can be read without an engine.
        let found = reader.shared.begun(instance).await.unwrap_or_default();
        let has_kept = reader.shared.kept.has(instance);
        if found.is_none() && !has_kept {
            return None;
        }
        let mut before = wanted.tail;
        if let (Some(found), Some(tail)) = (found.as_ref().filter(|_| has_kept), wanted.tail) {
            before = Some(tail.saturating_sub(reader.shared.count(&found.container, tail).await));
        }
        reader.take_kept(before);
        if let Some(found) = found {
            reader.begin(found.container, wanted.tail).await;
        }
        Some(reader)
    }

    pub(crate) async fn next(&mut self) -> Piece {
        loop {
            if !self.ready.is_empty() {
                return Piece::Bytes(self.block());
            }
            let Some(open) = &mut self.open else {
                if let Some(piece) = self.go_on().await {
                    return piece;
                }
                continue;
            };
            let item = open.frames.next().await;
            if let Some(piece) = self.accept(item).await {
                return piece;
            }
            // What came with it goes with it.
            let mut bytes = 0;
            while bytes < BLOCK
                && let Some(open) = &mut self.open
                && let Some(item) = open.frames.next().now_or_never()
            {
                bytes += item
                    .as_ref()
                    .map_or(0, |item| item.as_ref().map_or(0, |frame| frame.bytes.len()));
                if let Some(piece) = self.accept(item).await {
                    return piece;
                }
            }
        }
    }

    fn block(&mut self) -> Bytes {
        let mut block = BytesMut::new();
        while block.len() < BLOCK
            && let Some(frame) = self.ready.pop_front()
        {
            block.extend_from_slice(&frame.bytes);
        }
        block.freeze()
    }

    /// Takes what a container's stream gave.
    async fn accept(&mut self, item: Option<Result<Frame, Error>>) -> Option<Piece> {
        match item {
            Some(Ok(frame)) => {
                let after = self.open.as_ref().map_or(i64::MIN, |open| open.after);
                if frame.at > after && frame.at >= self.since() {
                    self.last = self.last.max(frame.at);
                    self.ready.push_back(frame);
                }
            }
            Some(Err(error)) => {
                tracing::debug!(instance.id = %self.instance, error = chain(&error), "the output of a container breaks off");
                self.open = None;
                if !self.wanted.follow {
                    return Some(Piece::Failed);
                }
                sleep(LOOK).await;
            }
            None => self.former = self.open.take().map(|open| open.container),
        }
        None
    }

    /// Without an open container: the next one, or the end.
    async fn go_on(&mut self) -> Option<Piece> {
        if !self.wanted.follow {
            return Some(Piece::End);
        }
        // Before the look: what is known then is over now.
        let standing = *self.standing.borrow();
        let Ok(found) = self.shared.begun(self.instance).await else {
            sleep(LOOK).await;
            return None;
        };
        let is_former = |found: &Found| self.former.as_ref() == Some(&found.container);
        match found {
            Some(found) if !is_former(&found) => {
                self.take_kept(None);
                self.begin(found.container, None).await;
                return None;
            }
            // Somebody started it again behind our back, or its end is not yet shown.
            Some(found) if found.is_running => {
                sleep(LOOK).await;
                self.begin(found.container, None).await;
                return None;
            }
            Some(_) if standing == Standing::Over => return Some(Piece::End),
            Some(_) => {}
            None => {
                self.take_kept(None);
                let is_over = matches!(standing, Standing::Over | Standing::Absent);
                if is_over && self.ready.is_empty() {
                    return Some(Piece::End);
                }
                if !self.ready.is_empty() {
                    return None;
                }
            }
        }
        let _ = timeout(LOOK, self.standing.changed()).await;
        None
    }

    /// Makes ready what is kept of runs before and was not passed on; of it, the last lines.
    fn take_kept(&mut self, lines: Option<u64>) {
        let mut frames = self.shared.kept.frames(self.instance);
        let since = self.since();
        frames.retain(|frame| frame.at > self.last && frame.at >= since);
        self.last = frames.last().map_or(self.last, |frame| frame.at);
        if let Some(lines) = lines {
            let mut ends = 0;
            // The end of the last line is no beginning of another one.
            let from_end = frames.iter().rev().enumerate().find(|(at, frame)| {
                let is_end = frame.bytes.ends_with(b"\n");
                ends += u64::from(is_end || *at == 0);
                ends > lines
            });
            let skip = from_end.map_or(0, |(at, _)| frames.len() - at);
            frames.drain(..skip);
        }
        self.ready.extend(frames);
    }

    /// Begins to read a container.
    async fn begin(&mut self, container: String, tail: Option<u64>) {
        // An engine that is away is asked again by whoever waits for the next piece.
        let Ok(docker) = self.shared.client().await else {
            return;
        };
        let after = self.last;
        let since = after.max(self.since()).max(0) / 1_000_000_000;
        let options = LogsOptionsBuilder::new()
            .follow(self.wanted.follow)
            .since(i32::try_from(since).unwrap_or(i32::MAX));
        // Who does not follow gets what is there now, also of one that writes without end. 0: no such bound.
        let until = if self.wanted.follow {
            0
        } else {
            wall().0 / 1_000 + 1
        };
        let options = options.until(i32::try_from(until).unwrap_or(i32::MAX));
        self.open = Some(Open {
            frames: frames(&docker, &container, tail, options),
            container,
            after,
        });
    }

    /// In nanoseconds.
    fn since(&self) -> i64 {
        self.wanted
            .since
            .map_or(i64::MIN, |since| since.0.saturating_mul(1_000_000))
    }
}

/// A container's output with its times.
fn frames(
    docker: &bollard::Docker,
    container: &str,
    tail: Option<u64>,
    options: LogsOptionsBuilder,
) -> Frames {
    let tail = tail.map_or_else(|| "all".to_owned(), |lines| lines.to_string());
    let options = options
        .stdout(true)
        .stderr(true)
        .timestamps(true)
        .tail(&tail)
        .build();
    let output = docker.logs(container, Some(options));
    Box::pin(output.map(|output| output.map(|output| frame(&output.into_bytes()))))
}

/// A time, a space, and what was written.
fn frame(message: &Bytes) -> Frame {
    let parsed = message
        .iter()
        .position(|byte| *byte == b' ')
        .and_then(|space| {
            let (time, rest) = message.split_at(space);
            let at = std::str::from_utf8(time)
                .ok()?
                .parse::<jiff::Timestamp>()
                .ok()?;
            let at = i64::try_from(at.as_nanosecond()).ok()?;
            Some(Frame {
                at,
                bytes: rest.get(1..)?.to_vec(),
            })
        });
    parsed.unwrap_or_else(|| Frame {
        at: 0,
        bytes: message.to_vec(),
    })
}

impl Shared {
    /// The lines that a container has, up to `limit`.
    async fn count(&self, container: &str, limit: u64) -> u64 {
        let Ok(docker) = self.client().await else {
            return 0;
        };
        let mut frames = frames(&docker, container, Some(limit), LogsOptionsBuilder::new());
        let mut lines = 0;
        while let Some(Ok(frame)) = frames.next().await {
            lines += u64::from(frame.bytes.ends_with(b"\n"));
        }
        lines
    }

    /// The container of an instance that has begun to run.
    async fn begun(&self, instance: InstanceId) -> Result<Option<Found>, Error> {
        let docker = self.client().await?;
        let all = self.of_instance(&docker, instance).await?;
        Ok(all.into_iter().find_map(|summary| {
            // One that was never started has no output, and following it ends at once.
            let has_begun = summary.state != Some(ContainerSummaryStateEnum::CREATED);
            Some(Found {
                container: summary.id.filter(|_| has_begun)?,
                is_running: summary.state == Some(ContainerSummaryStateEnum::RUNNING),
            })
        }))
    }

    /// Keeps the end of what a container wrote, before it is removed. What cannot be had in time is lost.
    pub(super) async fn keep_output(
        &self,
        docker: &bollard::Docker,
        container: &str,
        instance: InstanceId,
    ) {
        let mut kept: VecDeque<Frame> = VecDeque::new();
        let gather = async {
            let mut bytes = 0;
            let mut frames = frames(
                docker,
                container,
                Some(KEPT_LINES),
                LogsOptionsBuilder::new(),
            );
            while let Some(Ok(frame)) = frames.next().await {
                bytes += frame.bytes.len();
                kept.push_back(frame);
                while bytes > KEPT_BYTES
                    && let Some(first) = kept.pop_front()
                {
                    bytes -= first.bytes.len();
                }
            }
        };
        if timeout(KEEP, gather).await.is_err() {
            tracing::warn!(instance.id = %instance, "not all of an instance's last output could be kept in time");
        }
        let store = self.kept.clone();
        let adding =
            tokio::task::spawn_blocking(move || store.add(instance, kept.make_contiguous()));
        if let Ok(Err(error)) = adding.await {
            tracing::warn!(instance.id = %instance, %error, "the last output of an instance cannot be kept");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_a_time_and_the_line() {
        let read = |text: &'static str| frame(&Bytes::from_static(text.as_bytes()));
        let line = read("2026-11-23T13:26:58.014446285Z a line with spaces\n");
        assert_eq!(line.at, 1_795_440_418_014_446_285);
        assert_eq!(line.bytes, b"a line with spaces\n");
        assert_eq!(read("2026-11-23T13:26:58Z ").bytes, b"");
        assert_eq!(read("no time\n").bytes, b"no time\n");
    }
}
