//! One program under test, which can die and come back.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

/// How long a program may take until it is ready; debug builds on a busy machine are slow.
const READY: Duration = Duration::from_secs(20);
/// How long one may take to stop when it is asked to, as the contract says.
const STOP: Duration = Duration::from_secs(10);
/// How much of a log is printed when a test failed, in lines.
const TAIL: usize = 60;

/// The token of the administrator of every orchestrator that a test starts.
pub const TOKEN: &str =
    "eio_pat_00000000000000000000000001_dGhlLXRlc3RzLWFkbWluaXN0cmF0b3ItaGFzLXRoaXM_ed3b8846";

/// A file with [`TOKEN`] in that directory, for its owner alone.
pub fn token_file(directory: &Path) -> PathBuf {
    let path = directory.join("admin.token");
    let mut file = File::options();
    file.write(true).create(true).truncate(true).mode(0o600);
    let mut file = file.open(&path).unwrap();
    file.write_all(TOKEN.as_bytes()).unwrap();
    path
}

/// A program with its arguments, its log, and its process while it runs.
#[derive(Debug)]
pub struct Program {
    name: String,
    path: PathBuf,
    args: Vec<OsString>,
    namespace: Option<String>,
    out: PathBuf,
    log: PathBuf,
    /// What it reads at each of its crash points, from the start after [`Program::let_crash`] on.
    orders: PathBuf,
    may_crash: bool,
    child: Option<Child>,
    ready: Value,
}

impl Program {
    /// Starts `program` under `name`, which is that of its log in `directory`; waits for its ready line. Later starts take
    /// the addresses that this one bound.
    pub fn start(
        program: &str,
        name: &str,
        directory: &Path,
        args: &[String],
        namespace: Option<&str>,
    ) -> Self {
        let mut this = Self::prepare(program, name, directory, args);
        this.namespace = namespace.map(str::to_owned);
        this.again();
        for (option, field) in [("--http", "http"), ("--mqtt", "mqtt")] {
            let at = this.args.iter().position(|arg| arg == option);
            if let (Some(at), Some(bound)) = (at, this.ready.get(field).and_then(Value::as_str)) {
                let (_, address) = bound.split_once("://").unwrap_or(("", bound));
                *this.args.get_mut(at + 1).unwrap() = address.into();
            }
        }
        this
    }

    /// One that was not started yet. An orchestrator has [`TOKEN`] for its administrator's, unless the arguments name the file
    /// of another one.
    pub fn prepare(program: &str, name: &str, directory: &Path, args: &[String]) -> Self {
        let option = "--admin-token-file";
        let has_own = args.iter().any(|arg| arg == option);
        let mut args: Vec<OsString> = args.iter().map(OsString::from).collect();
        if program.ends_with("-orchestrator") && !has_own {
            let token = token_file(directory);
            args.extend([option.into(), token.into_os_string()]);
        }
        Self {
            name: name.to_owned(),
            path: super::programs().join(program),
            args,
            namespace: None,
            out: directory.join(format!("{name}.out")),
            log: directory.join(format!("{name}.log")),
            orders: directory.join(format!("{name}.crash")),
            may_crash: false,
            child: None,
            ready: Value::Null,
        }
    }

    /// Starts it again and waits for its ready line.
    pub fn again(&mut self) {
        self.spawn();
        self.wait_ready();
    }

    /// Starts it again without waiting.
    pub fn spawn(&mut self) {
        assert!(self.child.is_none(), "{} runs", self.name);
        let mut command = match &self.namespace {
            Some(namespace) => {
                let mut command = Command::new("ip");
                // It executes the program in its place, so the process is the program's.
                command.args(["netns", "exec", namespace]).arg(&self.path);
                command
            }
            None => Command::new(&self.path),
        };
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("EDGEIO_") {
                command.env_remove(name);
            }
        }
        if self.may_crash {
            let mut order = OsString::from("@");
            order.push(&self.orders);
            command.env("EDGEIO_CRASH", order);
        }
        let log = File::options().create(true).append(true).open(&self.log);
        command
            .args(&self.args)
            .stdin(Stdio::null())
            .stdout(File::create(&self.out).unwrap())
            .stderr(log.unwrap());
        self.child = Some(command.spawn().expect("the program can be run"));
    }

    /// Waits for the ready line of the present start.
    pub fn wait_ready(&mut self) {
        let what = format!("{} is ready", self.name);
        let (out, child) = (&self.out, self.child.as_mut().unwrap());
        self.ready = super::wait_until(&what, READY, || {
            let text = fs::read_to_string(out).unwrap_or_default();
            if let Some((line, _)) = text.split_once('\n') {
                return serde_json::from_str(line).map_err(|error| format!("{error}: {line}"));
            }
            match child.try_wait() {
                Ok(Some(status)) => panic!("{what}: it ended with {status}"),
                Ok(None) | Err(_) => Err("no line on standard output".to_owned()),
            }
        });
    }

    /// What its ready line said.
    pub fn ready(&self) -> &Value {
        &self.ready
    }

    /// A text of its ready line; empty if there is none.
    pub fn said(&self, field: &str) -> &str {
        let value = self.ready.get(field).and_then(Value::as_str);
        value.unwrap_or_default()
    }

    /// Its name, which is that of its log.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Starts it where it must not come to serve, and gives how it ended.
    pub fn fails(&mut self) -> ExitStatus {
        self.spawn();
        let ended = self.ended_or_ready();
        ended.unwrap_or_else(|| panic!("{} serves", self.name))
    }

    /// Waits until the present start is ready, or has ended: then how.
    pub fn ended_or_ready(&mut self) -> Option<ExitStatus> {
        let what = format!("{} is ready or has ended", self.name);
        let (out, child) = (&self.out, self.child.as_mut().unwrap());
        let (status, ready) = super::wait_until(&what, READY, || {
            if let Some(status) = child.try_wait().unwrap() {
                return Ok((Some(status), Value::Null));
            }
            let text = fs::read_to_string(out).unwrap_or_default();
            let (line, _) = text.split_once('\n').ok_or("no line on standard output")?;
            let ready = serde_json::from_str(line).map_err(|error| error.to_string())?;
            Ok((None, ready))
        });
        match status {
            Some(_) => self.child = None,
            None => self.ready = ready,
        }
        status
    }

    /// Its process.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.as_ref().unwrap().id()).unwrap()
    }

    /// Where it asks and is asked from.
    pub fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// Sends a signal, as `STOP` and `CONT`.
    pub fn signal(&self, signal: Signal) {
        super::processes::kill(self.pid(), signal);
    }

    /// Kills it with signal 9; one that does not run is fine.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Adds arguments, from its next start on.
    pub fn add_arguments(&mut self, more: &[&str]) {
        self.args.extend(more.iter().map(OsString::from));
    }

    /// The value of an option that it is started with; empty if it has none.
    pub fn argument(&self, option: &str) -> String {
        let at = self.args.iter().position(|arg| arg == option);
        let value = at.and_then(|at| self.args.get(at + 1));
        value
            .map(|value| value.to_string_lossy().into_owned())
            .unwrap_or_default()
    }

    /// Gives an option another value, from its next start on.
    pub fn set_argument(&mut self, option: &str, value: &str) {
        match self.args.iter().position(|arg| arg == option) {
            Some(at) => *self.args.get_mut(at + 1).unwrap() = value.into(),
            None => self.add_arguments(&[option, value]),
        }
    }

    /// From its next start on it dies where [`Program::arm`] says.
    pub const fn let_crash(&mut self) {
        self.may_crash = true;
    }

    /// Orders it to die at a crash point: `name`, or `name:n` for the n-th time from now on.
    pub fn arm(&self, order: &str) {
        // In one step, since it may be read at any time.
        let new = self.orders.with_extension("new");
        fs::write(&new, order).unwrap();
        fs::rename(new, &self.orders).unwrap();
    }

    /// Takes the order back.
    pub fn disarm(&self) {
        let _ = fs::remove_file(&self.orders);
    }

    /// How it ended, if it did by itself; it can be started again then.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.as_mut()?.try_wait().unwrap()?;
        self.child = None;
        Some(status)
    }

    /// All that it logged since its first start.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Asks it to stop, and gives how it ended.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        let mut child = self.child.take().unwrap();
        let begun = Instant::now();
        while begun.elapsed() < STOP {
            if let Some(status) = child.try_wait().unwrap() {
                return status;
            }
            super::pause(Duration::from_millis(10));
        }
        let _ = child.kill();
        let _ = child.wait();
        ExitStatus::from_raw(Signal::KILL.as_raw())
    }

    /// Prints the end of its log.
    pub(super) fn print_tail(&self) {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let from = lines.len().saturating_sub(TAIL);
        eprintln!("--- the last lines of {}:", self.name);
        for line in lines.iter().skip(from) {
            eprintln!("{line}");
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}
