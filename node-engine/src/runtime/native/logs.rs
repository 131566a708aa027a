//! Reading the output of a native instance, also of one that is gone.

use std::path::PathBuf;
use std::time::Duration;

use crate::logs::standing::{Known, Standing};
use crate::logs::{Piece, Wanted};
use crate::shim::output::read::{Reader, Step};
use bytes::Bytes;

/// Between two looks at files that had nothing new.
const LOOK: Duration = Duration::from_millis(100);
/// Read at once.
const BLOCK: usize = 16 << 10;

/// Reads the output of one instance.
#[derive(Debug)]
pub struct LogReader {
    places: Places,
    reader: Reader,
    follow: bool,
    standing: Known,
}

/// Where the output is: with the instance, or kept after its end.
#[derive(Debug, Clone)]
pub(super) struct Places {
    pub(super) live: PathBuf,
    pub(super) kept: PathBuf,
}

impl Places {
    fn now(&self) -> Option<&PathBuf> {
        [&self.live, &self.kept]
            .into_iter()
            .find(|place| place.exists())
    }
}

impl LogReader {
    /// `None` when there is no output of it.
    pub(super) async fn open(places: Places, wanted: Wanted, standing: Known) -> Option<Self> {
        let folder = places.now()?.clone();
        // The last lines may begin far back.
        let opened = tokio::task::spawn_blocking(move || {
            let reader = Reader::open(folder, wanted.tail, wanted.since);
            if wanted.follow {
                reader
            } else {
                reader.present()
            }
        });
        let reader = opened.await.ok()?;
        Some(Self {
            places,
            reader,
            follow: wanted.follow,
            standing,
        })
    }

    pub(crate) async fn next(&mut self) -> Piece {
        let mut block = vec![0; BLOCK];
        loop {
            // Before it is read: what is written until then is read.
            let is_over = self.is_over();
            if let Some(place) = self.places.now() {
                self.reader.move_to(place);
            }
            match self.reader.read(&mut block) {
                Ok(Step::Bytes(count)) => {
                    block.truncate(count);
                    return Piece::Bytes(Bytes::from(block));
                }
                Ok(Step::Skipped(bytes)) => return Piece::Skipped(bytes),
                Ok(Step::End) if is_over => return Piece::End,
                Ok(Step::End) => tokio::time::sleep(LOOK).await,
                Err(error) => {
                    tracing::warn!(%error, "the output of an instance cannot be read");
                    return Piece::Failed;
                }
            }
        }
    }

    /// Whether nothing can come any more, or nobody waits for it.
    fn is_over(&self) -> bool {
        if !self.follow {
            return true;
        }
        match *self.standing.borrow() {
            Standing::Unknown | Standing::Lives => false,
            // This is told when its parent has ended, which is after its output.
            Standing::Over => true,
            // A stop may take its time, and the last words are said in it.
            Standing::Absent => !self.places.live.exists(),
        }
    }
}
