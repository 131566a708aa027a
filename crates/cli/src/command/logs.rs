//! `edgeio logs`: what applications print.

use std::fmt::Write as _;
use std::io::{self, BufRead};
use std::time::{Duration, Instant};

use protocol::rest::{InstanceBody, JobBody};

use crate::client::{Client, Stream, segment};
use crate::failure::Failure;
use crate::output;
use crate::values;

use super::{job_path, near};

/// An answer that has an end is given up when nothing of it comes for that long.
const SILENCE: Duration = Duration::from_mins(1);
/// Before the first attempt to come back.
const FIRST: Duration = Duration::from_millis(500);
/// Between two attempts, at most.
const LAST: Duration = Duration::from_secs(10);
/// Longest line that is kept together on a terminal, in bytes.
const LINE: usize = 16 << 10;

/// Shows what the applications of a job print on standard output and standard error.
///
/// Lines of several instances begin with service/index. On a terminal, colours and all else that a terminal could obey
/// are left out; in a pipe everything stays as it is.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  edgeio logs hello
  edgeio logs hello --follow
  edgeio logs pipeline --instance camera/0 --tail 20
  edgeio logs hello --since 10m | grep error")]
pub(crate) struct Options {
    /// The name or id of a job, with or without job/ before it.
    #[arg(value_name = "JOB", value_parser = values::job)]
    job: String,
    /// Goes on with what is printed from now on, until Ctrl-C ends it or the applications are gone.
    #[arg(short, long)]
    follow: bool,
    /// Only of this instance: service/index, or its id.
    #[arg(short, long, value_name = "INSTANCE")]
    instance: Option<String>,
    /// How many lines from the end of each instance's log.
    #[arg(long, value_name = "N", default_value_t = 100)]
    tail: u32,
    /// Only what was printed since: how long ago, as in 10m, or a time, as in 2026-11-05T08:30:00Z.
    #[arg(long, value_name = "TIME", value_parser = values::since)]
    since: Option<String>,
    /// Leaves everything as it is on a terminal too, which whoever wrote the application can then control.
    #[arg(long)]
    raw: bool,
}

/// How a stream ended.
enum End {
    /// The server has said all that it has.
    Done,
    /// Nobody reads what is printed.
    Reader,
    /// The connection is lost.
    Lost(io::Error),
}

/// Shows them.
pub(super) fn run(client: &Client, options: &Options) -> Result<(), Failure> {
    let mut path = path(options, None);
    let mut met = false;
    let mut pause = FIRST;
    let mut heard = Instant::now();
    let silence = (!options.follow).then_some(SILENCE);
    loop {
        let begun = Instant::now();
        match client.text(&path, silence) {
            Ok(stream) => {
                if !stream.media_type.starts_with("text/plain") {
                    let why = format!("it is of the type {:?}", stream.media_type);
                    return Err(client.foreign(&path, 200, &why));
                }
                if met {
                    output::notice("connected again; some lines may be missing or be shown twice");
                }
                met = true;
                let end = copy(stream, options, &mut heard)?;
                match why_again(client, options, end)? {
                    Some(why) => output::notice(&format!("{why}; connecting again")),
                    None => return Ok(()),
                }
            }
            Err(failure) if met && failure.passes() => {}
            Err(failure) => return Err(near::job(client, &options.job, failure)),
        }
        // A stream that ends as soon as it begins is not asked for all the time.
        if begun.elapsed() > LAST {
            pause = FIRST;
        }
        std::thread::park_timeout(pause);
        pause = (pause * 2).min(LAST);
        path = self::path(options, Some(heard.elapsed()));
    }
}

/// Why a stream that ended so is to go on; nothing where it is not.
fn why_again(client: &Client, options: &Options, end: End) -> Result<Option<String>, Failure> {
    match end {
        End::Done if options.follow && still_runs(client, options)? => {
            Ok(Some("the log ended before its applications did".to_owned()))
        }
        End::Done | End::Reader => Ok(None),
        End::Lost(error) if options.follow => Ok(Some(format!(
            "the connection to {} is lost ({error})",
            client.base()
        ))),
        End::Lost(error) => Err(Failure::Wait(format!(
            "the connection to {} is lost, and the log is not complete: {error}",
            client.base()
        ))),
    }
}

/// Whether there is still something to follow. A server that stops ends its streams too; whether it does, shows when
/// it is asked.
fn still_runs(client: &Client, options: &Options) -> Result<bool, Failure> {
    let path = job_path(&options.job);
    let job: JobBody = match client.get(&path) {
        Ok(answer) => client.read(answer, &path)?,
        Err(failure) => return Ok(failure.passes()),
    };
    let wanted = |instance: &&InstanceBody| match &options.instance {
        Some(name) => {
            let id = instance.instance_id.map(|id| id.to_string());
            id.as_ref() == Some(name) || format!("{}/{}", instance.service, instance.index) == *name
        }
        None => true,
    };
    let mut instances = job.instances.iter().filter(wanted);
    // What nobody hears may run.
    Ok(instances.any(|instance| matches!(instance.state.as_str(), "RUNNING" | "UNKNOWN")))
}

/// What is asked for; `missed` is how long ago something was heard before the connection was lost. It is told as a
/// time that has passed, since this machine's clock need not agree with the others.
fn path(options: &Options, missed: Option<Duration>) -> String {
    let mut path = format!(
        "{}/logs?tail={}&follow={}",
        job_path(&options.job),
        options.tail,
        options.follow
    );
    if let Some(instance) = &options.instance {
        let _ = write!(path, "&instance={}", segment(instance));
    }
    let since = match missed {
        Some(missed) => Some(format!("{}ms", missed.as_millis() + 1_000)),
        None => options.since.clone(),
    };
    if let Some(since) = since {
        let _ = write!(path, "&since={}", segment(&since));
    }
    path
}

fn copy(mut stream: Stream, options: &Options, heard: &mut Instant) -> Result<End, Failure> {
    let clean = output::on_terminal() && !options.raw;
    let mut line = Vec::new();
    loop {
        let bytes = match stream.body.fill_buf() {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Ok(End::Lost(error)),
        };
        if bytes.is_empty() {
            if !line.is_empty() {
                output::log(&String::from_utf8_lossy(&line))?;
            }
            return Ok(End::Done);
        }
        *heard = Instant::now();
        if clean {
            lines(bytes, &mut line)?;
        } else {
            output::raw(bytes)?;
        }
        let read = bytes.len();
        stream.body.consume(read);
        if output::reader_is_gone() {
            return Ok(End::Reader);
        }
    }
}

/// Prints the lines that are complete, and keeps the beginning of the one that is not.
fn lines(bytes: &[u8], line: &mut Vec<u8>) -> Result<(), Failure> {
    for part in bytes.split_inclusive(|byte| *byte == b'\n') {
        line.extend_from_slice(part);
        if line.ends_with(b"\n") || line.len() > LINE {
            let text = String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(line));
            output::log(&text)?;
            line.clear();
        }
    }
    Ok(())
}
