//! `edgeio apply`: documents become jobs.

use std::io::Read;
use std::path::{Path, PathBuf};

use protocol::rest::PlanBody;
use serde_json::Value;

use crate::client::Client;
use crate::documents::{self, Document, Joined};
use crate::failure::Failure;
use crate::output::{self, Format};
use crate::table;
use crate::values;

use super::{JOBS, for_each, job_path, near, place, print_answers, print_done};

/// The largest file of documents, in bytes.
const LARGEST: u64 = 16 * 1024 * 1024;
/// The code of a refusal: a cluster was asked, and its answer did not come.
const LOST: &str = "answer_lost";
/// How often what got no answer is sent.
const TRIES: usize = 3;

/// Creates the jobs that documents describe, or changes them to what is written.
///
/// Each document of each file is applied on its own, in the order given (PUT /api/v1/jobs/NAME); one that is refused
/// does not keep the others back. With --create all of them become new jobs in one step, or none of them does (POST
/// /api/v1/jobs); with --cluster, jobs of that cluster's own, which go on without the root. What got no answer is sent again: no
/// way makes a job twice.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  edgeio apply -f sla-examples/hello.yaml
  edgeio apply -f sla-examples/hello.yaml --dry-run
  edgeio apply -f web.yaml -f database.yaml --create
  edgeio apply -f web.yaml --create --cluster garching
  cat job.json | edgeio apply -f -")]
pub(crate) struct Options {
    /// A file of YAML documents, or of one JSON document; - is standard input. May be given several times.
    #[arg(short, long = "file", value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Shows where the instances would go, and why some would go nowhere; nothing is changed.
    #[arg(long)]
    dry_run: bool,
    /// Creates all jobs or none; one whose name is in use is refused instead of changed.
    #[arg(long)]
    create: bool,
    /// Passes them on to this cluster, unread by the root that is asked: the jobs are the cluster's own, and the root does not
    /// list them.
    #[arg(long, value_name = "CLUSTER", requires = "create", value_parser = values::cluster)]
    cluster: Option<String>,
    /// The key by which the server knows the request of --create again, so that a script may send it twice; a random
    /// one where it is not given.
    #[arg(long, value_name = "KEY", requires = "create", value_parser = values::key)]
    idempotency_key: Option<String>,
}

/// Applies all documents of all files. Nothing is sent before all files were read.
pub(super) fn run(client: &Client, options: &Options, format: Format) -> Result<(), Failure> {
    let mut documents = Vec::new();
    for path in &options.files {
        let (origin, bytes) = read(path)?;
        documents.extend(documents::read(&origin, &bytes)?);
    }
    // The later would undo what the earlier says.
    documents::no_name_twice(&documents)?;
    if options.create {
        return create(client, options, &documents, format);
    }
    let (answers, result) = for_each(&documents, |document| {
        apply(client, document, options.dry_run, format)
    });
    print_answers(&answers, format)?;
    result
}

fn apply(
    client: &Client,
    document: &Document,
    dry_run: bool,
    format: Format,
) -> Result<Value, Failure> {
    let path = with_dry_run(job_path(&document.job), dry_run);
    let answer = retried(|| client.put(&path, document.body()))
        .map_err(|failure| document.locate(failure))?;
    if dry_run {
        told_plan(client, &document.job, &answer, format)?;
    } else {
        // What was there is changed by an operation, which may take its time, or fail.
        let done = match table::running_operation(&answer) {
            Some(kind) => format!("applied ({kind} begun)"),
            None => "applied".to_owned(),
        };
        print_done(&format!("job/{}", document.job), &done, format)?;
    }
    Ok(answer)
}

fn create(
    client: &Client,
    options: &Options,
    documents: &[Document],
    format: Format,
) -> Result<(), Failure> {
    let joined = Joined::new(documents);
    let cluster = options.cluster.as_deref();
    let path = match cluster {
        Some(name) => format!("{}/jobs", place::cluster_path(name)),
        None => JOBS.to_owned(),
    };
    let path = with_dry_run(path, options.dry_run);
    let sent = if options.dry_run {
        retried(|| client.post(&path, joined.body()))
    } else {
        let key = match &options.idempotency_key {
            Some(key) => key.clone(),
            None => random_key()?,
        };
        retried(|| client.post_once(&path, joined.body(), &key))
    };
    let answer = sent.map_err(|failure| match cluster {
        Some(name) => near::cluster(client, name, joined.locate(failure)),
        None => joined.locate(failure),
    })?;
    if format.is_raw() {
        return output::value(&answer, format);
    }
    let answers = match answer.get("items").and_then(Value::as_array) {
        // One document is answered with one, which may have items of other kinds.
        Some(items) if documents.len() > 1 => items.clone(),
        Some(_) | None => vec![answer],
    };
    for (document, answer) in documents.iter().zip(&answers) {
        if options.dry_run {
            told_plan(client, &document.job, answer, format)?;
        } else {
            print_done(&format!("job/{}", document.job), "created", format)?;
        }
    }
    Ok(())
}

/// Says where the instances of a job would go.
fn told_plan(client: &Client, job: &str, answer: &Value, format: Format) -> Result<(), Failure> {
    match format {
        Format::Json | Format::Yaml => Ok(()),
        Format::Name => output::print([format!("job/{job}")]),
        Format::Table | Format::Wide => {
            let plan: PlanBody = client.read(answer.clone(), JOBS)?;
            output::print(table::plan(job, &plan, format == Format::Wide))
        }
    }
}

fn with_dry_run(path: String, dry_run: bool) -> String {
    if dry_run {
        path + "?dry_run=true"
    } else {
        path
    }
}

/// Sends it again when the connection broke before the answer was there, this one's or that of the root to the cluster; the
/// request must count once all the same.
fn retried(mut send: impl FnMut() -> Result<Value, Failure>) -> Result<Value, Failure> {
    let mut tries = 1;
    loop {
        match send() {
            Err(Failure::Broken { source, .. }) if tries < TRIES => {
                output::notice(&format!("no answer ({source}); sending it again"));
                tries += 1;
            }
            Err(failure) if failure.has_code(LOST) && tries < TRIES => {
                output::notice("the cluster did not answer the root; sending it again");
                tries += 1;
            }
            result => return result,
        }
    }
}

fn random_key() -> Result<String, Failure> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| Failure::Wait(format!("cannot make a random key: {error}")))?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}

/// The file and what it is called in messages.
fn read(path: &Path) -> Result<(String, Vec<u8>), Failure> {
    let fault = |source| Failure::Read {
        path: path.to_owned(),
        source,
    };
    if path == Path::new("-") {
        let bytes = bounded(std::io::stdin().lock()).map_err(fault)?;
        return Ok(("standard input".to_owned(), bytes));
    }
    let bytes = std::fs::File::open(path).and_then(bounded);
    Ok((path.display().to_string(), bytes.map_err(fault)?))
}

/// All bytes, as far as documents can be long: what a path names may have no end.
fn bounded(from: impl Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        return Err(std::io::Error::other(format!(
            "it is larger than {LARGEST} bytes; give the documents in several files"
        )));
    }
    Ok(bytes)
}
