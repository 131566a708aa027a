//! What can fail for want of room, or because a disk is bad.

use std::fmt::Debug;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// How bytes reach a file; tests have one that fails.
pub(crate) trait Disk: Debug + Send {
    /// Writes all of it. After an error a part of it may be there.
    fn write(&mut self, file: &File, bytes: &[u8], at: u64) -> io::Result<()>;

    /// Waits until the disk has what was written.
    fn sync(&mut self, file: &File) -> io::Result<()>;
}

/// The real one.
#[derive(Debug)]
pub(crate) struct Machine;

impl Disk for Machine {
    fn write(&mut self, file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
        file.write_all_at(bytes, at)
    }

    fn sync(&mut self, file: &File) -> io::Result<()> {
        file.sync_data()
    }
}
