//! `edgeio backup`: an orchestrator's store as a file.

use std::fs::File;
use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use orchestrator::backup::{About, check};
use serde::Serialize;
use tempfile::NamedTempFile;

use crate::client::{Client, Stream};
use crate::failure::Failure;
use crate::output::{self, Format};
use crate::table::ago;

/// Where an orchestrator gives its backup.
const PATH: &str = "/api/v1/backup";
/// A server that sends nothing for so long sends no more.
const SILENCE: Duration = Duration::from_mins(1);

/// Copies all that a root or a cluster has stored into a file, while it goes on.
///
/// The file has the state of the moment when the command began, and gets its name when it is whole and was checked; one
/// that was there is replaced then. It holds all documents with their environments and files: keep it as safe as the data
/// directory. `edgeio restore` makes a store of it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  edgeio backup --to root.edgeio
  edgeio backup --url http://127.0.0.1:10001 --to /var/backups/garching.edgeio")]
pub(crate) struct Options {
    /// The file to write.
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
}

/// What was written.
#[derive(Debug, Serialize)]
struct Done<'a> {
    file: &'a Path,
    bytes: u64,
    records: u64,
    backup: About,
}

/// Takes it.
pub(super) fn run(client: &Client, options: &Options, format: Format) -> Result<(), Failure> {
    let to = &options.to;
    let failed = |source| Failure::Write {
        path: to.clone(),
        source,
    };
    // Before anything is asked for: a place that cannot be written to is found out at once.
    let mut part = beside(to).map_err(failed)?;
    let stream = client.bytes(PATH, SILENCE)?;
    copy(client, stream, &mut part, to)?;
    part.as_file().sync_all().map_err(failed)?;
    let (backup, summary) = check(part.path()).map_err(|error| Failure::Backup(Box::new(error)))?;
    part.persist(to).map_err(|error| failed(error.error))?;
    sync_directory(to).map_err(failed)?;
    let done = Done {
        file: to,
        bytes: summary.bytes,
        records: summary.records,
        backup,
    };
    match format {
        Format::Json | Format::Yaml => output::value(&done, format),
        Format::Name => output::print([to.display().to_string()]),
        Format::Table | Format::Wide => output::print([format!(
            "backed up {} to {}: {} records, {} bytes, as of {}",
            done.backup.owner(),
            to.display(),
            done.records,
            done.bytes,
            ago(done.backup.taken_at),
        )]),
    }
}

/// A file that only its owner may read, in the directory of the one that it will be.
fn beside(to: &Path) -> io::Result<NamedTempFile> {
    if to.file_name().is_none() {
        return Err(io::Error::other("it names no file"));
    }
    tempfile::Builder::new()
        .prefix(".edgeio-backup-")
        .tempfile_in(directory(to))
}

fn directory(to: &Path) -> &Path {
    match to.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    }
}

fn sync_directory(to: &Path) -> io::Result<()> {
    File::open(directory(to))?.sync_all()
}

fn copy(
    client: &Client,
    mut stream: Stream,
    part: &mut NamedTempFile,
    to: &Path,
) -> Result<(), Failure> {
    loop {
        let bytes = match stream.body.fill_buf() {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                return Err(Failure::Wait(format!(
                    "the backup from {} ended in the middle, and nothing was written: {error}",
                    client.base()
                )));
            }
        };
        if bytes.is_empty() {
            return Ok(());
        }
        part.write_all(bytes).map_err(|source| Failure::Write {
            path: to.to_owned(),
            source,
        })?;
        let read = bytes.len();
        stream.body.consume(read);
    }
}
