//! The files of a log: their names, their order, and `audit.head`.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::Digest;
use crate::line::Link;

/// The name of the file that knows the last line.
const HEAD: &str = "audit.head";
/// Its length; less than a sector of a disk.
const HEAD_BYTES: usize = 128;
/// So often it is read until it stands still.
const READS: usize = 100;

/// Where the file with this number is.
pub(crate) fn path(directory: &Path, index: u64) -> PathBuf {
    directory.join(format!("audit-{index:08}.jsonl"))
}

/// Where `audit.head` is.
pub(crate) fn head_path(directory: &Path) -> PathBuf {
    directory.join(HEAD)
}

/// The numbers of the files that are there, the oldest first.
pub(crate) fn list(directory: &Path) -> io::Result<Vec<u64>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let index = name.to_str().and_then(|name| {
            let index = name.strip_prefix("audit-")?.strip_suffix(".jsonl")?;
            index.parse().ok()
        });
        // What only looks like one of ours is none.
        found.extend(index.filter(|index| path(directory, *index).ends_with(&name)));
    }
    found.sort_unstable();
    Ok(found)
}

/// Makes the directory if it is not there, for its owner only.
pub(crate) fn make(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)?;
    match directory.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_directory(parent),
        Some(_) | None => sync_directory(Path::new(".")),
    }
}

/// Makes names durable.
pub(crate) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Opens a file to write at any place of it; one that is not there is made, for its owner only.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    number: u64,
    hash: String,
}

/// What `audit.head` holds for a last line.
///
/// It is written over what is there, always as long, in one write of less than a sector: after a power cut the disk has the
/// old one or the new one. A new file with a rename would need a sync of its own for each batch, or could be empty then.
pub(crate) fn head(last: Link) -> io::Result<Vec<u8>> {
    let mut head = serde_json::to_vec(&Head {
        number: last.number,
        hash: last.hash.to_string(),
    })?;
    head.resize(HEAD_BYTES - 1, b' ');
    head.push(b'\n');
    Ok(head)
}

/// The last line that `audit.head` knows; `None` if there is none or it says nothing.
pub(crate) fn read_head(directory: &Path) -> io::Result<Option<Link>> {
    let path = head_path(directory);
    let read = || match File::open(&path) {
        Ok(file) => {
            let mut bytes = Vec::new();
            file.take(HEAD_BYTES as u64).read_to_end(&mut bytes)?;
            Ok(bytes)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    };
    // A writer may be in the middle of it; nobody reads the same half twice.
    let mut bytes: Vec<u8> = read()?;
    for _more in 0..READS {
        let again = read()?;
        if again == bytes {
            break;
        }
        bytes = again;
    }
    let head: Option<Head> = serde_json::from_slice(&bytes).ok();
    Ok(head.and_then(|head| {
        Some(Link {
            number: head.number,
            hash: Digest::parse(&head.hash)?,
        })
    }))
}
