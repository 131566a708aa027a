//! Tests of the layering, through [`load`] alone.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use clap::Parser;
use tempfile::NamedTempFile;

use super::{ConfigError, load};
use crate::telemetry::{Filter, Format, LogOptions};
use crate::value;

/// The options of an imagined program.
#[derive(Debug, Parser)]
#[command(name = "worker", version = "1.2.3")]
struct Cli {
    /// What this worker is called.
    #[arg(long)]
    name: String,
    /// Where to listen.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0", value_parser = value::listen_address)]
    http: SocketAddr,
    /// How long a silent worker is believed in.
    #[arg(long, default_value = "10s", value_parser = value::duration)]
    lost_after: Duration,
    /// A label; may be given several times.
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = value::pair)]
    labels: Vec<(String, String)>,
    /// The runtimes to use.
    #[arg(long, value_delimiter = ',')]
    runtimes: Vec<String>,
    /// Accept plain text.
    #[arg(long, short)]
    insecure: bool,
    /// How many.
    #[arg(long)]
    count: Option<u32>,
    /// An own endpoint.
    #[arg(long, conflicts_with = "broker")]
    mqtt: Option<String>,
    /// An external broker.
    #[arg(long)]
    broker: Option<String>,
    #[command(flatten)]
    log: LogOptions,
}

/// File, environment, arguments, and what comes of them.
type Row<T> = (
    Option<&'static str>,
    &'static [(&'static str, &'static str)],
    &'static [&'static str],
    T,
);

/// One case: the three sources.
#[derive(Default)]
struct Case<'a> {
    file: Option<&'a str>,
    env: &'a [(&'a str, &'a str)],
    args: &'a [&'a str],
}

impl Case<'_> {
    fn load(&self) -> Result<Cli, ConfigError> {
        let mut env: BTreeMap<String, String> = self
            .env
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let file = self.file.map(written);
        if let Some(file) = &file {
            let path = file.path().display().to_string();
            env.insert("EDGEIO_CONFIG".to_owned(), path);
        }
        let args = std::iter::once("worker").chain(self.args.iter().copied());
        load(args, &|name| env.get(name).cloned())
    }

    /// The faults as lines, with the file's path taken out.
    fn faults(&self) -> Vec<String> {
        match self.load() {
            Err(error @ ConfigError::Faults(_)) => {
                assert_eq!(error.exit_code(), 64);
                let text = error.to_string();
                let lines = text.lines().skip(1).map(str::trim);
                lines
                    .map(|line| match line.split_once(".toml: ") {
                        Some((_, message)) => format!("file: {message}"),
                        None => line.to_owned(),
                    })
                    .collect()
            }
            other => panic!("faults expected, not {other:?}"),
        }
    }
}

fn written(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::with_suffix(".toml").unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn pairs(labels: &[(&str, &str)]) -> Vec<(String, String)> {
    labels
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

#[test]
fn a_flag_beats_the_environment_which_beats_the_file_which_beats_the_default() {
    let file = Some("name = 'file'\nlost_after = '1s'");
    let env: &[_] = &[("EDGEIO_NAME", "env"), ("EDGEIO_LOST_AFTER", "2s")];
    let none: &[_] = &[("EDGEIO_NAME", "env")];
    let table: [Row<u64>; 6] = [
        (None, none, &[], 10),
        (file, none, &[], 1),
        (None, env, &[], 2),
        (file, env, &[], 2),
        (file, env, &["--lost-after", "3s"], 3),
        (file, none, &["--lost-after=3s"], 3),
    ];
    for (file, env, args, seconds) in table {
        let cli = Case { file, env, args }.load().unwrap();
        assert_eq!(cli.name, "env");
        assert_eq!(cli.lost_after, Duration::from_secs(seconds), "{args:?}");
    }
}

#[test]
fn a_required_option_may_come_from_any_layer() {
    let file = Case {
        file: Some("name = 'n'"),
        ..Case::default()
    };
    let env = Case {
        env: &[("EDGEIO_NAME", "n")],
        ..Case::default()
    };
    let args = Case {
        args: &["--name", "n"],
        ..Case::default()
    };
    for case in [file, env, args] {
        assert_eq!(case.load().unwrap().name, "n");
    }
}

#[test]
fn lists_are_replaced_as_a_whole_by_the_higher_layer() {
    let file = Some("name = 'n'\nlabel = ['a=1', 'b=x,y']\nruntimes = ['docker', 'native']");
    let cli = Case {
        file,
        ..Case::default()
    }
    .load()
    .unwrap();
    assert_eq!(cli.labels, pairs(&[("a", "1"), ("b", "x,y")]));
    assert_eq!(cli.runtimes, ["docker", "native"]);

    let env: &[_] = &[("EDGEIO_LABEL", "c=3, d=4"), ("EDGEIO_RUNTIMES", "native")];
    let cli = Case {
        file,
        env,
        args: &[],
    }
    .load()
    .unwrap();
    assert_eq!(cli.labels, pairs(&[("c", "3"), ("d", "4")]));
    assert_eq!(cli.runtimes, ["native"]);

    let args: &[_] = &["--label", "e=5", "--label=f=6"];
    let cli = Case { file, env, args }.load().unwrap();
    assert_eq!(cli.labels, pairs(&[("e", "5"), ("f", "6")]));

    let file = Some("name = 'n'\nlabel = []");
    let cli = Case {
        file,
        ..Case::default()
    }
    .load()
    .unwrap();
    assert!(cli.labels.is_empty());
}

#[test]
fn switches_can_be_taken_back_by_the_environment() {
    let on = Some("name = 'n'\ninsecure = true");
    let off = Some("name = 'n'\ninsecure = false");
    let table: [Row<bool>; 6] = [
        (on, &[], &[], true),
        (off, &[], &[], false),
        (on, &[("EDGEIO_INSECURE", "false")], &[], false),
        (off, &[("EDGEIO_INSECURE", "1")], &[], true),
        (on, &[("EDGEIO_INSECURE", "")], &[], true),
        (off, &[("EDGEIO_INSECURE", "no")], &["-i"], true),
    ];
    for (file, env, args, insecure) in table {
        let cli = Case { file, env, args }.load().unwrap();
        assert_eq!(cli.insecure, insecure, "{env:?} {args:?}");
    }
}

#[test]
fn the_file_is_found_by_flag_before_environment() {
    let by_flag = written("name = 'flag'");
    let path = by_flag.path().display().to_string();
    for args in [vec!["--config", &path], vec![&format!("--config={path}")]] {
        let file = Some("name = 'environment'");
        let cli = Case {
            file,
            env: &[],
            args: &args,
        }
        .load()
        .unwrap();
        assert_eq!(cli.name, "flag");
    }
}

#[test]
fn all_faults_of_all_sources_are_listed_together() {
    let case = Case {
        file: Some("lost_aftr = '1s'\ncount = 'many'\nlabel = 'a=1'\nhttp = 'here'"),
        env: &[
            ("EDGEIO_LOST_AFTER", "soon"),
            ("EDGEIO_INSECURE", "perhaps"),
        ],
        args: &["stray", "--bogus", "5", "--count", "-1", "--http=nowhere"],
    };
    let address = "expected IP:PORT, for example 127.0.0.1:10000, [::1]:10000 or localhost:10000";
    let expected = [
        "EDGEIO_INSECURE: --insecure is a switch: expected true or false, not 'perhaps'".to_owned(),
        "file: `label` must be an array, not string".to_owned(),
        "file: unknown key `lost_aftr`".to_owned(),
        "file: invalid value 'many' for '--count <COUNT>': invalid digit found in string".to_owned(),
        format!("file: invalid value 'here' for '--http <ADDR>': {address}"),
        "EDGEIO_LOST_AFTER: invalid value 'soon' for '--lost-after <LOST_AFTER>': expected whole numbers with units \
         (d, h, m, s, ms), for example 5s, 200ms or 1h30m"
            .to_owned(),
        "command line: unexpected argument 'stray' found".to_owned(),
        "command line: unexpected argument '--bogus' found".to_owned(),
        "command line: a value is required for '--count <COUNT>' but none was supplied".to_owned(),
        "command line: unexpected argument '-1' found".to_owned(),
        format!("command line: invalid value 'nowhere' for '--http <ADDR>': {address}"),
        "missing: --name <NAME>".to_owned(),
    ];
    assert_eq!(case.faults(), expected);
}

#[test]
fn a_fault_in_a_url_does_not_say_its_password() {
    for (value, shown) in [
        (
            "redis://:secret@h/jobs",
            "invalid value 'redis://…@h/jobs' for",
        ),
        (
            "a://u:se@cret@h b://secret@i",
            "invalid value 'a://…@h b://…@i' for",
        ),
        ("http://h/x", "invalid value 'http://h/x' for"),
    ] {
        let case = Case {
            env: &[("EDGEIO_HTTP", value)],
            ..Case::default()
        };
        let faults = case.faults().join("\n");
        assert!(
            faults.contains(shown) && !faults.contains("cret"),
            "{faults}"
        );
    }
}

#[test]
fn an_option_whose_value_is_faulty_is_not_called_missing_too() {
    let case = Case {
        file: Some("name = ['n']"),
        ..Case::default()
    };
    assert_eq!(
        case.faults(),
        ["file: `name` must be a single value, not array"]
    );
}

#[test]
fn a_mistyped_option_is_answered_with_the_right_one() {
    let case = Case {
        args: &["--name", "n", "--lost-afte", "1s"],
        ..Case::default()
    };
    let faults = case.faults();
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(faults[0].contains("'--lost-after'"), "{faults:?}");
}

#[test]
fn options_that_exclude_each_other_are_a_fault_across_layers() {
    let case = Case {
        file: Some("name = 'n'\nmqtt = '127.0.0.1:1'"),
        env: &[],
        args: &["--broker", "mqtt://b"],
    };
    let faults = case.faults();
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(faults[0].contains("cannot be used with"), "{faults:?}");
}

#[test]
fn a_flag_given_twice_is_a_fault() {
    let case = Case {
        args: &["--name", "a", "--name", "b"],
        ..Case::default()
    };
    let faults = case.faults();
    assert!(
        faults[0].contains("cannot be used multiple times"),
        "{faults:?}"
    );
}

#[test]
fn the_file_may_not_name_another_file() {
    let case = Case {
        file: Some("name = 'n'\nconfig = 'other.toml'"),
        ..Case::default()
    };
    assert_eq!(case.faults(), ["file: unknown key `config`"]);
}

#[test]
fn a_file_that_is_missing_or_no_toml_is_one_fault_among_the_others() {
    let args = [
        "--config",
        "/nonexistent/edgeio.toml",
        "--name",
        "n",
        "--count",
        "x",
    ];
    let faults = Case {
        args: &args,
        ..Case::default()
    }
    .faults();
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert!(
        faults[0].contains("cannot read the configuration file"),
        "{faults:?}"
    );

    // One without an end is not read to it.
    let args = ["--config", "/dev/zero", "--name", "n"];
    let faults = Case {
        args: &args,
        ..Case::default()
    }
    .faults();
    assert!(faults[0].contains("larger than 262144 bytes"), "{faults:?}");

    let case = Case {
        file: Some("name = 'n'\ncount = = 1"),
        ..Case::default()
    };
    let faults = case.faults();
    assert!(faults[0].starts_with("file: line 2: "), "{faults:?}");
}

#[test]
fn help_and_version_are_no_faults_even_beside_some() {
    for (args, text) in [
        (["--bogus", "--help"], "[env: EDGEIO_LOST_AFTER]"),
        (["--http", "--version"], "worker 1.2.3"),
    ] {
        let error = Case {
            args: &args,
            ..Case::default()
        }
        .load()
        .unwrap_err();
        assert_eq!(error.exit_code(), 0);
        assert!(error.to_string().contains(text), "{error}");
    }
}

#[test]
fn every_option_shows_its_variable_in_the_help_and_the_config_option_is_there() {
    let error = Case {
        args: &["--help"],
        ..Case::default()
    }
    .load()
    .unwrap_err();
    // Lines are wrapped wherever the terminal ends.
    let text = error.to_string();
    let help = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for name in [
        "NAME", "HTTP", "LABEL", "RUNTIMES", "INSECURE", "CONFIG", "BROKER",
    ] {
        assert!(
            help.contains(&format!("[env: EDGEIO_{name}]")),
            "{name} in {help}"
        );
    }
    assert!(!help.contains("EDGEIO_HELP"), "{help}");
}

#[test]
fn what_follows_a_double_dash_is_no_option() {
    let case = Case {
        args: &["--name", "n", "--", "--count"],
        ..Case::default()
    };
    let faults = case.faults();
    assert_eq!(
        faults,
        ["command line: unexpected argument '--count' found"]
    );
}

#[test]
fn the_log_options_are_layered_like_all_others() {
    let case = Case {
        file: Some("name = 'n'\nlog_format = 'json'\nlog = 'error'"),
        env: &[("EDGEIO_LOG", "warn,mqtt=debug")],
        args: &[],
    };
    let cli = case.load().unwrap();
    let level: Filter = "warn,mqtt=debug".parse().unwrap();
    assert_eq!((cli.log.format, cli.log.level), (Format::Json, level));
}
