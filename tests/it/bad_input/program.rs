//! Programs that must end by themselves, and what they say about why.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use edgeio_tests::harness::{pause, programs};

use super::rig::Rig;
use super::row::{Row, Verdict, clipped};

/// How long one may take to say no.
const LIMIT: Duration = Duration::from_secs(8);

/// A program with what it is given.
#[derive(Debug, Clone, Default)]
pub(crate) struct Call {
    program: String,
    args: Vec<String>,
    variables: Vec<(String, String)>,
    input: Vec<u8>,
}

impl Call {
    /// A call with these words; `{}` in them is the rows' directory.
    pub(crate) fn new(line: &str) -> Self {
        let mut words = line.split_whitespace().map(str::to_owned);
        Self {
            program: words.next().unwrap(),
            args: words.collect(),
            ..Self::default()
        }
    }

    /// With one more word, whatever is in it.
    pub(crate) fn arg(mut self, word: &str) -> Self {
        self.args.push(word.to_owned());
        self
    }

    /// With a variable of the environment.
    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With something on its standard input.
    pub(crate) fn input(mut self, bytes: &[u8]) -> Self {
        self.input = bytes.to_vec();
        self
    }

    /// A row: it ends with this code and says all these words (with `|` between them) on standard error.
    pub(crate) fn ends(self, name: &str, code: i32, words: &str) -> Row {
        let words = words.to_owned();
        let name = if name.is_empty() {
            format!("{self}")
        } else {
            name.to_owned()
        };
        Row::new(name, move |rig: &Rig| self.judge(rig, code, &words)).within(LIMIT)
    }

    /// Runs it: whether it ends like that.
    pub(crate) fn judge(&self, rig: &Rig, code: i32, words: &str) -> Verdict {
        let (ended, told) = self.run(rig.directory())?;
        let missing = words.split('|').find(|word| !told.contains(word));
        let panicked = told.contains("panicked");
        if ended != Some(code) || missing.is_some() || panicked {
            return Err(format!(
                "expected {code} and {words:?}, it ended with {ended:?}: {}",
                clipped(&told)
            ));
        }
        Ok(())
    }

    fn run(&self, directory: &Path) -> Result<(Option<i32>, String), String> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let rows = directory.join("rows");
        let own = rows.join(format!("call-{number}"));
        fs::create_dir_all(&own).map_err(|error| error.to_string())?;
        let place = rows.to_str().unwrap_or_default();
        let told = own.join("stderr");
        let mut command = Command::new(programs().join(&self.program));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("EDGEIO_") {
                command.env_remove(name);
            }
        }
        command
            .args(self.args.iter().map(|arg| arg.replace("{}", place)))
            .envs(
                self.variables
                    .iter()
                    .map(|(name, value)| (name, value.replace("{}", place))),
            )
            .env("HOME", &own)
            .env("XDG_CONFIG_HOME", &own)
            .current_dir(&own)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(File::create(&told).map_err(|error| error.to_string())?);
        let mut child = command.spawn().map_err(|error| error.to_string())?;
        if let Some(mut input) = child.stdin.take() {
            // It may have ended without reading.
            let _ = input.write_all(&self.input);
        }
        let begun = Instant::now();
        loop {
            if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
                let told = fs::read(&told).map_err(|error| error.to_string())?;
                return Ok((status.code(), String::from_utf8_lossy(&told).into_owned()));
            }
            if begun.elapsed() > LIMIT {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("it did not end within {LIMIT:?}"));
            }
            pause(Duration::from_millis(3));
        }
    }
}

impl std::fmt::Display for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.program, self.args.join(" "))
    }
}

/// The directory that `{}` stands for.
pub(crate) fn place(rig: &Rig) -> std::path::PathBuf {
    let rows = rig.directory().join("rows");
    fs::create_dir_all(&rows).unwrap();
    rows
}
