//! `edgeio audit`: logs of who did what.

use std::path::{Path, PathBuf};

use audit::{Summary, verify};
use clap::Subcommand;
use serde_json::json;

use crate::failure::Failure;
use crate::output::{self, Format};

/// Reads the audit log of a root, a cluster or a worker: who asked for what, and whether it was let.
///
/// No request is sent: it reads the files of a data directory, or a copy of them. The program may run meanwhile.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  edgeio audit verify /var/lib/edgeio-root/audit
  edgeio audit verify audit-00000007.jsonl -o json")]
pub(crate) struct Options {
    /// What is to be done.
    #[command(subcommand)]
    pub(crate) what: What,
}

/// What can be done with audit logs.
#[derive(Debug, Subcommand)]
pub(crate) enum What {
    /// Holds each line against its hash and the line before it, and says the first place where one was changed, removed,
    /// inserted or moved.
    ///
    /// Of a directory it also finds an end that was cut off, by audit.head beside the files, and a beginning that the log
    /// itself did not remove. Who can write all of the files can make another log that is sound in itself: keep the number
    /// and hash that this prints somewhere else, and look whether that line still has that hash. Exit code 1 says that the
    /// log is broken or cannot be read.
    Verify {
        /// The directory of a log, or one file of it.
        #[arg(value_name = "PATH")]
        path: PathBuf,
    },
}

/// Does it.
pub(super) fn run(what: &What, format: Format) -> Result<(), Failure> {
    let What::Verify { path } = what;
    let summary = verify(path).map_err(|error| Failure::Audit(Box::new(error)))?;
    match format {
        Format::Json | Format::Yaml => output::value(&value(path, &summary), format),
        Format::Name => output::print([path.display().to_string()]),
        Format::Table | Format::Wide => output::print([line(path, &summary)]),
    }
}

fn value(path: &Path, summary: &Summary) -> serde_json::Value {
    json!({
        "path": path.display().to_string(),
        "whole": summary.whole,
        "files": summary.files,
        "first": summary.first,
        "last": summary.last,
        "hash": summary.hash.to_string(),
        "lost_records": summary.lost_records,
        "cut_bytes": summary.cut_bytes,
        "headless": summary.headless,
        "unfinished_bytes": summary.unfinished_bytes,
    })
}

fn line(path: &Path, summary: &Summary) -> String {
    let (first, last, hash) = (summary.first, summary.last, summary.hash);
    let path = path.display();
    let files = match summary.files {
        1 => "1 file".to_owned(),
        more => format!("{more} files"),
    };
    let sound = if last < first {
        format!("{path} is sound, and has no lines")
    } else {
        format!("{path} is sound: lines {first} to {last} in {files}, the last with hash {hash}")
    };
    let counted = [
        (summary.lost_records, "records were lost"),
        (summary.cut_bytes, "bytes were cut off after crashes"),
        (summary.headless, "times audit.head was missing"),
        (summary.unfinished_bytes, "bytes of a line are not finished"),
    ];
    let counted = counted.into_iter().filter(|(count, _)| *count > 0);
    let alone = "what comes before and after this file was not looked at";
    let parts: Vec<String> = std::iter::once(sound)
        .chain(counted.map(|(count, what)| format!("{count} {what}")))
        .chain((!summary.whole).then(|| alone.to_owned()))
        .collect();
    parts.join("; ")
}
