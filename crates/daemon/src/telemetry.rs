//! Logs: `tracing` on standard error, as text or as lines of JSON.

use std::fmt;
use std::io::{self, IsTerminal};
use std::str::FromStr;

use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::SetGlobalDefaultError;
use tracing_subscriber::Registry;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt};

/// The options every program has; `#[command(flatten)]` them.
#[derive(Debug, Clone, clap::Args)]
pub struct LogOptions {
    /// The least level that is logged (off, error, warn, info, debug, trace), and, after commas, exceptions such as
    /// mqtt=debug.
    #[arg(long = "log", value_name = "LEVEL", default_value = "info")]
    pub level: Filter,
    /// Log as text, or as one JSON object a line.
    #[arg(
        long = "log-format",
        value_name = "FORMAT",
        value_enum,
        default_value_t
    )]
    pub format: Format,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// For people; coloured on a terminal.
    #[default]
    Text,
    /// One JSON object a line, the event's fields beside `level`, `target` and `timestamp` (UTC).
    Json,
}

/// Which events are logged: a level for everything, and levels for single targets.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter(Targets);

/// A filter that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{part}` is neither a level (off, error, warn, info, debug, trace) nor TARGET=LEVEL")]
pub struct FilterError {
    part: String,
}

impl FromStr for Filter {
    type Err = FilterError;

    /// Reads `LEVEL`, `TARGET=LEVEL`, or several with commas between them; without a bare level, other targets are off.
    fn from_str(text: &str) -> Result<Self, FilterError> {
        let mut targets = Targets::new();
        for part in text.split(',').map(str::trim) {
            let fault = || FilterError {
                part: part.to_owned(),
            };
            let (target, level) = match part.split_once('=') {
                Some((target, level)) => (Some(target.trim()), level.trim()),
                None => (None, part),
            };
            if level.is_empty() || target.is_some_and(str::is_empty) {
                return Err(fault());
            }
            let level = LevelFilter::from_str(level).map_err(|_| fault())?;
            targets = match target {
                Some(target) => targets.with_target(target, level),
                None => targets.with_default(level),
            };
        }
        Ok(Self(targets))
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// Libraries whose lines are no news of ours, such as one at `error` for each client that leaves: they are logged where the
/// filter names them.
const UNASKED: [&str; 1] = ["rumqttd"];

/// Logs to standard error from now on. Call it once, in `main`.
///
/// # Errors
///
/// Logging was already set up in this process.
pub fn init(filter: &Filter, format: Format) -> Result<(), SetGlobalDefaultError> {
    let colour = io::stderr().is_terminal();
    tracing::subscriber::set_global_default(subscriber(filter, format, colour, io::stderr))
}

fn subscriber<W>(
    filter: &Filter,
    format: Format,
    colour: bool,
    writer: W,
) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match format {
        Format::Text => lines.with_ansi(colour).boxed(),
        Format::Json => lines
            .json()
            .flatten_event(true)
            .with_span_list(false)
            .boxed(),
    };
    let mut targets = filter.0.clone();
    for library in UNASKED {
        if !filter.0.iter().any(|(named, _)| named.starts_with(library)) {
            targets = targets.with_target(library, LevelFilter::OFF);
        }
    }
    tracing_subscriber::registry().with(lines.with_filter(targets))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(filter: &str, format: Format) -> String {
        let sink = Sink::default();
        let writer = sink.clone();
        let filter = filter.parse().unwrap();
        let subscriber = subscriber(&filter, format, false, move || writer.clone());
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(job.id = "j1", "job accepted");
            tracing::debug!(target: "mqtt", "packet");
            tracing::debug!("hidden");
        });
        let bytes = sink.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn the_level_and_its_exceptions_decide_what_is_logged() {
        let text = logged("info,mqtt=debug", Format::Text);
        assert!(
            text.contains("job accepted") && text.contains("job.id=\"j1\""),
            "{text}"
        );
        assert!(
            text.contains("packet") && !text.contains("hidden"),
            "{text}"
        );
        assert_eq!(logged("off", Format::Text), "");
    }

    #[test]
    fn a_library_that_nobody_asked_about_is_silent() {
        let logged = |filter: &str| {
            let sink = Sink::default();
            let writer = sink.clone();
            let filter = filter.parse().unwrap();
            let subscriber = subscriber(&filter, Format::Text, false, move || writer.clone());
            tracing::subscriber::with_default(subscriber, || {
                tracing::error!(target: "rumqttd", "somebody left");
            });
            let bytes = sink.0.lock().unwrap().clone();
            String::from_utf8(bytes).unwrap()
        };
        assert_eq!(logged("debug"), "");
        assert!(logged("info,rumqttd=error").contains("somebody left"));
        assert!(logged("off,rumqttd=warn").contains("somebody left"));
    }

    #[test]
    fn json_lines_have_the_fields_of_the_event_beside_the_message() {
        let text = logged("info", Format::Json);
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["message"], "job accepted");
        assert_eq!(line["job.id"], "j1");
        assert_eq!(line["level"], "INFO");
    }

    #[test]
    fn filters_that_mean_nothing_are_refused() {
        for text in [
            "",
            "verbose",
            "info,",
            "=info",
            "mqtt=",
            "mqtt=loud",
            "mqtt",
        ] {
            assert!(text.parse::<Filter>().is_err(), "{text}");
        }
        for text in ["info", "WARN", " debug , mqtt = trace "] {
            assert!(text.parse::<Filter>().is_ok(), "{text}");
        }
    }
}
