//! The small parent of one native instance: `node-engine shim <folder>` (protocol, section 6).
//!
//! It outlives the engine. It holds the application's pipe, bounds its output on disk, sets its limits, and records how
//! it ended; a new engine finds all of that in the folder.
//!
//! # Flow
//! 1. A session of its own, so that nothing meant for the engine's group or terminal reaches it.
//! 2. The lock: a second shim of the same folder ends here, so there is never a second copy.
//! 3. The application, in its own process group, within its limits and bounds ([`confine`]); `state.json` says how that went.
//! 4. Standard output, until now a pipe to the engine on which nothing is ever written, becomes `/dev/null`: its end
//!    tells the engine to read `state.json`.
//! 5. When the application ends, all that it left behind is killed; then `exit.json` says how it ended.
//!
//! It has two threads and no async runtime, since there is one for each native instance.
//!
//! `node-engine shim <folder> <program> <args>…` becomes that program within the bounds of the folder's instance: a command
//! that checks its health may do no more than the application.

pub mod cgroup;
pub mod confine;
pub mod output;
pub mod process;
pub mod record;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use model::time::Wall;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitOptions};

use cgroup::Cgroup;
use output::Output;
use record::{ExitRecord, Folder, InMemory, Lock, Running, SpawnFault, Spec, State};

/// How long the remains of an application may take to die, and its output to arrive.
const REMAINS: Duration = Duration::from_secs(5);
/// Between two looks at them.
const LOOK: Duration = Duration::from_millis(5);

/// Runs the shim with the arguments after `shim`; returns when the application has ended and that is recorded.
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.collect();
    let Some((folder, beside)) = args.split_first() else {
        return ExitCode::from(64);
    };
    let folder = Folder::new(PathBuf::from(folder));
    if let Some((program, args)) = beside.split_first() {
        return beside_it(&folder, program, args);
    }
    // Fails only for a leader of a group, which has what is wanted already.
    let _ = rustix::process::setsid();
    // What the application leaves behind becomes ours, so it can be found and ended.
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
    let Ok(Lock::Free(_lock)) = folder.lock() else {
        return ExitCode::from(75);
    };
    let Some(spec) = folder.spec() else {
        return ExitCode::from(66);
    };
    let spawned = spawn(&folder, &spec);
    let state = match &spawned {
        Ok(application) => State::Running(application.running.clone()),
        Err(error) => failed(error),
    };
    let recorded = folder.set_state(&state);
    match (spawned, recorded) {
        (Ok(application), Ok(())) => {
            tell_engine();
            supervise(&folder, application)
        }
        (Ok(application), Err(_)) => {
            // Nobody could ever find it.
            let _ = application.sweep();
            ExitCode::from(74)
        }
        (Err(_), _) => ExitCode::from(69),
    }
}

/// Becomes a program that runs beside the application; returns only when it cannot.
fn beside_it(folder: &Folder, program: &OsString, args: &[OsString]) -> ExitCode {
    let Some(spec) = folder.spec() else {
        return ExitCode::from(66);
    };
    let variables = match environment(&spec) {
        Ok(variables) => variables,
        Err(error) => {
            let _ = writeln!(io::stderr(), "its secrets cannot be read: {error}");
            return ExitCode::from(126);
        }
    };
    let mut command = Command::new(program);
    command
        .args(args)
        .env_clear()
        .envs(variables)
        .current_dir(folder.work());
    // One that an older engine started has no bounds, and neither have its checks.
    let error = match &spec.confinement {
        Some(confinement) => {
            confinement.limit();
            confinement.exec(&folder.work(), &mut command)
        }
        None => command.exec(),
    };
    let _ = writeln!(io::stderr(), "it cannot be run: {error}");
    ExitCode::from(126)
}

/// All variables of an application: none of the engine's own but where programs are found.
///
/// # Errors
/// When its secrets cannot be read.
fn environment(spec: &Spec) -> io::Result<BTreeMap<OsString, OsString>> {
    let path = std::env::var_os("PATH").map(|path| ("PATH".into(), path));
    let mut all: BTreeMap<OsString, OsString> = path.into_iter().collect();
    let own = spec.environment.iter();
    all.extend(own.map(|(name, value)| (name.into(), value.into())));
    if let Some(folder) = &spec.given {
        let given = InMemory::new(folder.clone());
        let variables = fs::read(given.variables())?;
        let variables: BTreeMap<String, String> = serde_json::from_slice(&variables)?;
        let variables = variables.into_iter();
        all.extend(variables.map(|(name, value)| (name.into(), value.into())));
        all.insert("EDGEIO_SECRETS".into(), given.files().into());
    }
    Ok(all)
}

/// An application that runs.
struct Application {
    child: Child,
    running: Running,
    limits: Cgroup,
    output_ended: mpsc::Receiver<()>,
}

impl Application {
    /// Kills the process group, whatever is in the control groups, and what was left to this process, until nothing is.
    fn sweep(mut self) -> io::Result<std::process::ExitStatus> {
        let deadline = Instant::now() + REMAINS;
        // The application is not reaped before its group is killed, so the group's number cannot mean another one.
        let _ = process::signal_group(self.running.pid, Signal::KILL);
        let status = self.child.wait();
        let own = i32::try_from(std::process::id()).unwrap_or_default();
        loop {
            self.limits.kill();
            for pid in process::children(own) {
                let _ = process::signal(pid, Signal::KILL);
            }
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some(_)) => {}
                // No child is left.
                Err(_) => break,
                Ok(None) if Instant::now() >= deadline => break,
                Ok(None) => std::thread::park_timeout(LOOK),
            }
        }
        let _ = self
            .output_ended
            .recv_timeout(deadline.saturating_duration_since(Instant::now()));
        status
    }
}

fn spawn(folder: &Folder, spec: &Spec) -> io::Result<Application> {
    let (limits, unlimited) = limits(spec);
    let (reader, writer) = io::pipe()?;
    let output = Output::open(folder.output());
    let output_start = output.start();
    let output_ended = copy_output(reader, output)?;
    let variables = environment(spec)?;
    let mut command = Command::new(&spec.program);
    command
        .args(&spec.args)
        .env_clear()
        .envs(variables)
        .current_dir(folder.work())
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer);
    let confinement = spec.confinement.clone().unwrap_or_default();
    confinement.limit();
    let (home, unlimited) = match limits.enter() {
        Ok(home) => (Some(home), unlimited),
        Err(why) => (None, Some(why)),
    };
    let spawned = confinement.spawn(&folder.work(), &mut command);
    if let Some(home) = home {
        home.enter();
    }
    // The command holds the writing end; as long as it lives the output never ends.
    drop(command);
    let child = spawned.inspect_err(|_| limits.remove())?;
    let pid = i32::try_from(child.id()).unwrap_or_default();
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    let running = Running {
        pid,
        pid_start: process::start_time(pid).unwrap_or_default(),
        boot_id: process::boot_id(),
        shim_pid: own,
        shim_start: process::start_time(own).unwrap_or_default(),
        since: now(),
        cgroups: limits.paths().to_vec(),
        unlimited,
        output_start,
    };
    Ok(Application {
        child,
        running,
        limits,
        output_ended,
    })
}

/// Begins to copy what the application writes; the receiver hears when nobody can write any more.
fn copy_output(pipe: io::PipeReader, output: Output) -> io::Result<mpsc::Receiver<()>> {
    let (ended, output_ended) = mpsc::sync_channel(1);
    std::thread::Builder::new()
        .name("output".to_owned())
        .stack_size(64 << 10)
        .spawn(move || {
            output.copy(pipe);
            let _ = ended.send(());
        })?;
    Ok(output_ended)
}

fn limits(spec: &Spec) -> (Cgroup, Option<String>) {
    if spec.memory.0 == 0 && spec.cpu.0 == 0 {
        return (Cgroup::default(), None);
    }
    match Cgroup::make(&spec.instance.to_string(), spec.memory, spec.cpu) {
        Ok(limits) => (limits, None),
        Err(why) => (Cgroup::default(), Some(why)),
    }
}

fn failed(error: &io::Error) -> State {
    let fault = match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => SpawnFault::NotFound,
        io::ErrorKind::PermissionDenied => SpawnFault::NotPermitted,
        _ => SpawnFault::Other,
    };
    State::Failed {
        fault,
        message: error.to_string(),
    }
}

/// Closes the pipe to the engine, if there is one.
fn tell_engine() {
    if let Ok(null) = File::options().write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stdout(null);
    }
}

fn supervise(folder: &Folder, application: Application) -> ExitCode {
    if let Some(pid) = Pid::from_raw(application.running.pid) {
        let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while let Err(rustix::io::Errno::INTR) = rustix::process::waitid(WaitId::Pid(pid), ended) {}
    }
    let at = now();
    let limits = application.limits.clone();
    let status = application.sweep();
    let (code, signal) = status.map_or((None, None), |status| (status.code(), status.signal()));
    let killed = signal == Some(9) || code == Some(137);
    let record = ExitRecord {
        code,
        signal,
        oom: killed && limits.ran_out_of_memory(),
        at,
    };
    limits.remove();
    match folder.set_exit(&record) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(74),
    }
}

fn now() -> Wall {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Wall(since.map_or(0, |since| since.as_millis() as i64))
}
