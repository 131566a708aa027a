//! `edgeio events`: what happened, and what happens.

use std::collections::{BTreeMap, BTreeSet};

use model::id::{InstanceId, JobId};
use protocol::rest::{EventBody, JobBody};

use crate::client::Client;
use crate::failure::Failure;
use crate::output::{self, Format};
use crate::table::{self, EventNames};
use crate::values;

use super::shown::Shown;
use super::{follow, job_path, near};

/// How many jobs are looked up for their names.
const LOOKED_UP: usize = 50;

/// Shows what happened, the oldest first: every change of a state, with its cause.
///
/// With --watch it goes on, also after the connection was lost, until Ctrl-C ends it. In JSON each event is then a line,
/// and in YAML a document.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  edgeio events
  edgeio events hello
  edgeio events --watch
  edgeio events hello -w -o json")]
pub(crate) struct Options {
    /// Only what happened to this job, by name or id, with or without job/ before it.
    #[arg(value_name = "JOB", value_parser = values::job)]
    job: Option<String>,
    /// Goes on with what happens from now on.
    #[arg(short, long)]
    watch: bool,
}

/// Shows them.
pub(super) fn run(client: &Client, options: &Options, format: Format) -> Result<(), Failure> {
    let job = options.job.as_deref();
    if options.watch {
        watch(client, job, format)
    } else {
        list(client, job, format)
    }
}

/// What happened.
pub(super) fn list(client: &Client, job: Option<&str>, format: Format) -> Result<(), Failure> {
    // There may be a hundred thousand of them.
    let rows = client
        .list(&(path(job) + "?limit=1000"))
        .map_err(|failure| hinted(client, job, failure))?;
    Shown::events(format).list(client, rows, |events: &[EventBody], wide| {
        let mut names = Names::default();
        let jobs: BTreeSet<JobId> = events.iter().map(|event| event.job_id).collect();
        for job in jobs.into_iter().take(LOOKED_UP) {
            names.look_up(client, job);
        }
        table::events(events, &names, wide)
    })
}

fn watch(client: &Client, job: Option<&str>, format: Format) -> Result<(), Failure> {
    let path = path(job) + "?follow=true";
    let mut names = Names::default();
    let shown = Shown::events(format);
    let mut titled = false;
    let followed = follow::events(client, &path, |value| {
        match format {
            Format::Json | Format::Yaml => return output::value_more(&value, format),
            Format::Name => return output::print([shown.named(&value)]),
            Format::Table | Format::Wide => {}
        }
        let event: EventBody = client.read(value, &path)?;
        names.learn(client, &event);
        if !titled {
            titled = true;
            output::print([table::event_titles()])?;
        }
        output::print([table::event_line(&event, &names)])
    });
    followed.map_err(|failure| hinted(client, job, failure))
}

fn path(job: Option<&str>) -> String {
    match job {
        Some(job) => format!("{}/events", job_path(job)),
        None => "/api/v1/events".to_owned(),
    }
}

fn hinted(client: &Client, job: Option<&str>, failure: Failure) -> Failure {
    match job {
        Some(job) => near::job(client, job, failure),
        None => failure,
    }
}

/// The names of what events name by its id.
#[derive(Default)]
pub(super) struct Names {
    /// None where the server does not know the job any more.
    jobs: BTreeMap<JobId, Option<String>>,
    instances: BTreeMap<InstanceId, String>,
}

impl Names {
    /// The names in a job.
    pub(super) fn of(job: &JobBody) -> Self {
        let mut names = Self::default();
        names.add(job);
        names
    }

    /// Asks for what an event names and nothing is known about.
    fn learn(&mut self, client: &Client, event: &EventBody) {
        let known = |names: &Self| {
            let of_job = names.jobs.get(&event.job_id);
            let gone = of_job.is_some_and(Option::is_none);
            let instance = event.instance_id;
            of_job.is_some()
                && (gone || instance.is_none_or(|id| names.instances.contains_key(&id)))
        };
        if !known(self) {
            self.look_up(client, event.job_id);
        }
        // An instance that its job does not have any more is asked for once.
        if let Some(id) = event.instance_id {
            self.instances.entry(id).or_insert_with(|| id.to_string());
        }
    }

    fn look_up(&mut self, client: &Client, job: JobId) {
        let answer = client.get(&job_path(&job.to_string()));
        match answer
            .ok()
            .and_then(|answer| serde_json::from_value(answer).ok())
        {
            Some(body) => self.add(&body),
            None => {
                self.jobs.entry(job).or_insert(None);
            }
        }
    }

    fn add(&mut self, job: &JobBody) {
        self.jobs.insert(job.job_id, Some(job.job_name.clone()));
        for instance in &job.instances {
            if let Some(id) = instance.instance_id {
                let name = format!("{}/{}", instance.service, instance.index);
                self.instances.insert(id, name);
            }
        }
    }
}

impl EventNames for Names {
    fn job(&self, id: JobId) -> String {
        let name = self.jobs.get(&id).cloned().flatten();
        name.unwrap_or_else(|| id.to_string())
    }

    fn instance(&self, id: InstanceId) -> String {
        let name = self.instances.get(&id).cloned();
        name.unwrap_or_else(|| id.to_string())
    }
}
