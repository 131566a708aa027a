//! `edgeio apply`: documents become jobs.

use std::io::Read;
use std::path::{Path, PathBuf};

use crate::client::Client;
use crate::documents::{self, Document};
use crate::failure::Failure;
use crate::output::Format;

use super::{for_each, job_path, print_answers, print_done};

/// Applies all documents of all files. Nothing is sent before all files were read.
pub(super) fn run(client: &Client, files: &[PathBuf], format: Format) -> Result<(), Failure> {
    let mut documents = Vec::new();
    for path in files {
        let (origin, bytes) = read(path)?;
        documents.extend(documents::read(&origin, &bytes)?);
    }
    let (answers, result) = for_each(&documents, |document| apply(client, document, format));
    print_answers(&answers, format)?;
    result
}

fn apply(
    client: &Client,
    document: &Document,
    format: Format,
) -> Result<serde_json::Value, Failure> {
    let answer = client
        .put(&job_path(&document.job), document.body())
        .map_err(|failure| document.locate(failure))?;
    print_done(&document.job, "applied", format)?;
    Ok(answer)
}

/// The file and what it is called in messages.
fn read(path: &Path) -> Result<(String, Vec<u8>), Failure> {
    let fault = |source| Failure::Read {
        path: path.to_owned(),
        source,
    };
    if path == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin()
            .lock()
            .read_to_end(&mut bytes)
            .map_err(fault)?;
        return Ok(("standard input".to_owned(), bytes));
    }
    let bytes = std::fs::read(path).map_err(fault)?;
    Ok((path.display().to_string(), bytes))
}
