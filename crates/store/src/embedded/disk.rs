//! The file under the tree: who may open it, how it is made, how it grows and how it recovers.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use redb::StorageBackend;
use rustix::fs::FallocateFlags;

use super::{Medium, failure};
use crate::StoreError;

/// Bytes rewritten at once after a failed sync.
const CHUNK: u64 = 256 * 1_024;

/// An open and locked file.
///
/// The lock is ours and not the tree's: it belongs to the open file and so outlives every
/// closing and opening of the tree on it.
#[derive(Debug)]
pub(super) struct Disk {
    file: File,
    /// A sync has failed. The kernel then counts pages as clean that never reached the disk, and
    /// a later sync that succeeds says nothing about them.
    pub(super) distrusted: AtomicBool,
}

impl Disk {
    /// The file at `path`, or `None` if there is none.
    pub(super) fn existing(path: &Path) -> Result<Option<Self>, StoreError> {
        match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => {
                lock(&file, path)?;
                Ok(Some(Self::of(file)))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failure::io("open", error)),
        }
    }

    fn of(file: File) -> Self {
        Self {
            file,
            distrusted: AtomicBool::new(false),
        }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(out, offset)
    }

    /// Takes the blocks when the file grows. A full disk so fails here, where nothing is lost,
    /// and never while pages inside the file are written: deletes, recovery and reads work on.
    fn set_len(&self, len: u64) -> io::Result<()> {
        let old = self.len()?;
        if let Some(grown) = len.checked_sub(old).filter(|grown| *grown > 0) {
            match rustix::fs::fallocate(&self.file, FallocateFlags::empty(), old, grown) {
                Ok(()) => return Ok(()),
                Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {}
                Err(error) => {
                    // A file system may have grown the file by what it had left.
                    self.file.set_len(old)?;
                    return Err(error.into());
                }
            }
        }
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file
            .sync_data()
            .inspect_err(|_| self.distrusted.store(true, Ordering::Release))
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write_all_at(data, offset)
    }
}

impl Medium for Disk {
    /// Writes the file over itself if a sync failed, so that the disk has what the kernel shows.
    fn recover(&self) -> io::Result<()> {
        if !self.distrusted.load(Ordering::Acquire) {
            return Ok(());
        }
        let len = self.len()?;
        let mut chunk = vec![0; CHUNK as usize];
        for offset in (0..len).step_by(CHUNK as usize) {
            let size = CHUNK.min(len - offset) as usize;
            if let Some(part) = chunk.get_mut(..size) {
                self.file.read_exact_at(part, offset)?;
                self.file.write_all_at(part, offset)?;
            }
        }
        self.file.sync_all()?;
        self.distrusted.store(false, Ordering::Release);
        Ok(())
    }
}

/// A store in the making, under a temporary name beside its own.
pub(super) struct Creation {
    file: File,
    temporary: PathBuf,
    path: PathBuf,
}

impl Creation {
    /// Makes the temporary file, or returns `None` if the store appeared meanwhile.
    pub(super) fn begin(path: &Path) -> Result<Option<Self>, StoreError> {
        let create = |error| failure::io("create", error);
        let mut name = OsString::from(path);
        name.push(".new");
        let temporary = PathBuf::from(name);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&temporary)
            .map_err(create)?;
        lock(&file, path)?;
        // Another creator may have published, between our opening and our lock, the very file we
        // hold: only what still has the temporary name may be emptied.
        let ours = file.metadata().map_err(create)?.ino();
        let named = fs::metadata(&temporary).map(|metadata| metadata.ino()).ok();
        if named != Some(ours) {
            return Ok(None);
        }
        if path.exists() {
            fs::remove_file(&temporary).map_err(create)?;
            return Ok(None);
        }
        file.set_len(0).map_err(create)?;
        Ok(Some(Self {
            file,
            temporary,
            path: path.to_owned(),
        }))
    }

    /// The same open file, for the tree.
    pub(super) fn disk(&self) -> Result<Disk, StoreError> {
        let file = self.file.try_clone();
        Ok(Disk::of(file.map_err(|e| failure::io("create", e))?))
    }

    /// Gives the file its name, durably.
    pub(super) fn publish(self) -> Result<(), StoreError> {
        let directory = match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        self.file
            .sync_all()
            .and_then(|()| fs::rename(&self.temporary, &self.path))
            .and_then(|()| File::open(directory)?.sync_all())
            .map_err(|error| failure::io("create", error))
    }
}

fn lock(file: &File, path: &Path) -> Result<(), StoreError> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse {
            path: path.to_owned(),
        }),
        Err(TryLockError::Error(error)) => Err(failure::io("lock", error)),
    }
}
