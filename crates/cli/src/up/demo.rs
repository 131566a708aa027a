//! The demonstration: the example is deployed, seen running, and, with `--once`, ended again.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use protocol::rest::JobBody;

use crate::client::Client;
use crate::command::{job_path, wait};
use crate::documents::{self, Document};
use crate::failure::Failure;
use crate::{output, table};

/// What is deployed.
const EXAMPLE: &str = include_str!("../../../../sla-examples/hello.yaml");
/// Where it stands in the repository.
const PATH: &str = "sla-examples/hello.yaml";
/// How long it may take to run.
const RUNNING: Duration = Duration::from_mins(1);
/// How long it may take to be gone, so that stopping stays within ten seconds.
const GONE: Duration = Duration::from_secs(8);

/// Runs it; with `once` the job is gone afterwards. `token` is the file of the administrator's token, for what is to be tried next.
///
/// # Errors
/// When the example does not run, or is not gone in time.
pub(super) async fn run(client: &Client, token: Option<&Path>, once: bool) -> anyhow::Result<()> {
    let (client, token) = (client.clone(), token.map(Path::to_owned));
    // A thread of its own, since the client blocks; nothing waits for it when the process ends.
    tokio::task::spawn_blocking(move || shown(&client, token.as_deref(), once))
        .await
        .context("the demonstration broke off")?
}

fn shown(client: &Client, token: Option<&Path>, once: bool) -> anyhow::Result<()> {
    let documents = documents::read(PATH, EXAMPLE.as_bytes())?;
    let example = documents.first().context("the example is empty")?;
    let ran = deploy(client, example);
    if !once {
        ran.context("the example does not run")?;
        output::print(next_steps(client, token, &example.job))?;
        return Ok(());
    }
    let ended = end(client, &example.job);
    ran.context("the example did not run")?;
    ended.context("the example did not end")?;
    output::print([format!("job/{} ran and is gone.", example.job)])?;
    Ok(())
}

/// Deploys the example and prints the table of jobs once it runs.
fn deploy(client: &Client, example: &Document) -> Result<(), Failure> {
    client
        .put(&job_path(&example.job), example.body())
        .map_err(|failure| example.locate(failure))?;
    let wish = wait::Wish::new(example.job.clone(), "RUNNING".to_owned(), RUNNING);
    wait::until(client, &wish)?;
    let path = "/api/v1/jobs";
    let jobs = client.list(path)?;
    let jobs: Vec<JobBody> = client.read(jobs.into(), path)?;
    output::print(table::jobs(&jobs, false))
}

/// Deletes the job and waits until it is gone; its id shows that, since its name is free at once.
fn end(client: &Client, job: &str) -> Result<(), Failure> {
    let path = job_path(job);
    let deleted: JobBody = client.read(client.delete(&path)?, &path)?;
    let wish = wait::Wish::new(deleted.job_id.to_string(), "TERMINATED".to_owned(), GONE);
    wait::until(client, &wish).map(|_| ())
}

/// What to try next.
fn next_steps(client: &Client, token: Option<&Path>, job: &str) -> Vec<String> {
    let jobs = format!("{}/api/v1/jobs", client.base());
    let mut lines = vec![
        String::new(),
        format!("The example ({PATH}) runs. To go on, in another terminal:"),
    ];
    let curl = match token {
        Some(path) => {
            lines.push(format!("  TOKEN=$(cat '{}')", path.display()));
            "curl -H \"Authorization: Bearer $TOKEN\""
        }
        None => "curl",
    };
    lines.extend([
        format!("  {curl} {jobs}/{job}"),
        format!("  {curl} --data-binary @sla-examples/two-services.yaml {jobs}"),
        format!("  {curl} -X DELETE {jobs}/{job}"),
        format!("  edgeio --url {} get jobs", client.base()),
        "Ctrl-C stops the system.".to_owned(),
    ]);
    lines
}
