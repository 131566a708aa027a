//! Reading an application's output while it is written.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use model::time::Wall;

use super::segment::{self, Segment};

/// Reads on from a position, over the changes of files.
#[derive(Debug)]
pub(crate) struct Reader {
    folder: PathBuf,
    /// Of the next byte.
    position: u64,
    /// Nothing from here on is read.
    until: u64,
    /// A file that is open can be read to its end, also when it was removed in the meantime.
    open: Option<(Segment, File)>,
}

/// What there is to read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// So many bytes, which are in the buffer.
    Bytes(usize),
    /// So many bytes that are not there any more: they were written faster than read.
    Skipped(u64),
    /// Nothing more now.
    End,
}

impl Reader {
    /// Begins before the last `tail` lines (`None`: before all that is kept), of what was written at `since` or later.
    pub(crate) fn open(folder: PathBuf, tail: Option<u64>, since: Option<Wall>) -> Self {
        // A folder that is not there yet has nothing yet.
        let segments = segment::list(&folder).unwrap_or_default();
        let mut position = segments.first().map_or(0, |first| first.base);
        if let Some(since) = since {
            position = segment::since(&segments, since).max(position);
        }
        if let Some(lines) = tail {
            let end = segment::end(&segments);
            position = segment::tail(&segments, position, end, lines);
        }
        Self {
            folder,
            position,
            until: u64::MAX,
            open: None,
        }
    }

    /// Reads only what is there now.
    #[must_use]
    pub(crate) fn present(mut self) -> Self {
        self.until = segment::end(&segment::list(&self.folder).unwrap_or_default());
        self
    }

    /// The files are in another folder now.
    pub(crate) fn move_to(&mut self, folder: &Path) {
        if self.folder != folder {
            folder.clone_into(&mut self.folder);
        }
    }

    /// The next bytes.
    ///
    /// # Errors
    /// When the files cannot be read; an absent folder has none.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Step> {
        loop {
            if let Some(count) = self.read_open(buffer)? {
                return Ok(Step::Bytes(count));
            }
            let segments = match segment::list(&self.folder) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Step::End),
                other => other?,
            };
            let next = self.next(&segments);
            let Some(next) = next.filter(|next| next.base < self.until) else {
                return Ok(Step::End);
            };
            let file = match File::open(&next.path) {
                // It was removed after it was listed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other?,
            };
            // What was written between the last read and the change of files.
            if let Some(count) = self.read_open(buffer)? {
                return Ok(Step::Bytes(count));
            }
            let skipped = next.base.saturating_sub(self.position);
            self.position = self.position.max(next.base);
            self.open = Some((next, file));
            if skipped > 0 {
                return Ok(Step::Skipped(skipped));
            }
        }
    }

    fn read_open(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let Some((segment, file)) = &self.open else {
            return Ok(None);
        };
        let room = self.until.saturating_sub(self.position);
        let length = buffer
            .len()
            .min(usize::try_from(room).unwrap_or(usize::MAX));
        let buffer = buffer.get_mut(..length).unwrap_or_default();
        let count = file.read_at(buffer, self.position.saturating_sub(segment.base))?;
        self.position += count as u64;
        Ok((count > 0).then_some(count))
    }

    /// The file to open: the one that holds the position, or the first after it.
    fn next(&self, segments: &[Segment]) -> Option<Segment> {
        let newer = |segment: &&Segment| {
            self.open
                .as_ref()
                .is_none_or(|(open, _)| segment.base > open.base)
        };
        let newer = segments.iter().filter(newer);
        let holding = newer.clone().rfind(|segment| segment.base <= self.position);
        holding.or_else(|| newer.clone().next()).cloned()
    }
}
