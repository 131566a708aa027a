//! The machine itself: its disk, its limits, its kernel.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use model::units::{Bytes, Millicores};
use rustix::process::{Resource, getrlimit};

use super::Finding;
use crate::config::Config;
use crate::engine::STORE;
use crate::facts;
use crate::shim::cgroup::Cgroup;

/// With less free disk the store soon cannot grow.
const LITTLE: Bytes = Bytes::from_mb(100);
/// With less, images and logs soon fill it.
const SCARCE: Bytes = Bytes::from_mb(1_024);
/// Open files that an engine with many applications needs.
const FILES: u64 = 4_096;
/// After a boot the other services need so many seconds.
const YOUNG: f64 = 120.0;
/// The oldest kernel that is tried.
const KERNEL: (u32, u32) = (4, 19);

pub(super) fn examine(config: &Config) -> Vec<Finding> {
    let mut findings = vec![name(config), data_dir(&config.data_dir)];
    findings.extend(free(&config.data_dir));
    findings.extend([
        other_engine(&config.data_dir),
        limits(),
        open_files(),
        kernel(),
        uptime(),
    ]);
    findings
}

fn name(config: &Config) -> Finding {
    let hostname = facts::Machine::read(Path::new("/")).hostname;
    match config.worker_name(&hostname) {
        Ok(name) => Finding::ok("name", format!("the worker is called {name}")),
        Err(error) => Finding::bad("name", error.to_string(), "give it a name with --name"),
    }
}

/// What must hold while an engine runs.
pub(super) fn work(config: &Config) -> Vec<Finding> {
    let mut findings = vec![this_engine(&config.data_dir)];
    findings.extend(free(&config.data_dir));
    findings
}

/// An engine that works holds the lock of its store from before it joins to its end.
fn this_engine(data_dir: &Path) -> Finding {
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    let store = fs::metadata(data_dir.join(STORE)).ok();
    match store.and_then(|store| holder(&locks, &format!(":{}", store.ino()))) {
        Some(pid) => Finding::ok("engine", format!("an engine (process {pid}) runs")),
        None => Finding::bad(
            "engine",
            format!("no engine runs on the data folder {}", data_dir.display()),
            "start it; its log says why it ended",
        ),
    }
}

/// Whether the folder can be written, or made.
fn data_dir(path: &Path) -> Finding {
    let shown = path.display();
    let remedy = format!(
        "run it as the user that the engine runs as, give that user {shown}, or choose another folder with --data-dir"
    );
    let existing = path.ancestors().find(|it| {
        let it = if it.as_os_str().is_empty() {
            Path::new(".")
        } else {
            it
        };
        it.exists()
    });
    let existing = match existing {
        Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
        Some(folder) => folder,
        None => Path::new("/"),
    };
    let probe = existing.join(format!(".edgeio-doctor-{}", std::process::id()));
    match File::create_new(&probe).and_then(|file| file.sync_all()) {
        Ok(()) => {
            let _ = fs::remove_file(&probe);
            let will = if existing == path {
                "can be written"
            } else {
                "can be made"
            };
            Finding::ok("data_dir", format!("{shown} {will}"))
        }
        Err(error) => {
            let _ = fs::remove_file(&probe);
            let what = format!("nothing can be written in {}: {error}", existing.display());
            let remedy = if error.kind() == io::ErrorKind::StorageFull {
                "free some space on that disk".to_owned()
            } else {
                remedy
            };
            Finding::bad("data_dir", what, remedy)
        }
    }
}

fn free(path: &Path) -> Option<Finding> {
    let disk = path.ancestors().find_map(|it| {
        facts::disk(if it.as_os_str().is_empty() {
            Path::new(".")
        } else {
            it
        })
    })?;
    let what = format!(
        "{} MB of {} MB are free on the disk of {}",
        disk.free.mb(),
        disk.total.mb(),
        path.display()
    );
    let remedy = "free some space on that disk, or move the data folder to another one";
    Some(if disk.free < LITTLE {
        Finding::bad("disk", what, remedy)
    } else if disk.free < SCARCE {
        Finding::warn("disk", what, remedy)
    } else {
        Finding::ok("disk", what)
    })
}

/// An engine that runs holds the lock of its store, which the kernel's list shows without taking it.
fn other_engine(data_dir: &Path) -> Finding {
    let check = "engine";
    match fs::metadata(data_dir.join(STORE)) {
        Ok(store) => {
            let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
            let what = match holder(&locks, &file(store.dev(), store.ino())) {
                Some(pid) => format!(
                    "an engine (process {pid}) runs on this data folder; a second one would refuse to start"
                ),
                None => "no engine runs on this data folder now".to_owned(),
            };
            Finding::ok(check, what)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Finding::ok(check, "no engine has used this data folder yet")
        }
        Err(error) => {
            let what = format!("the store in the data folder cannot be looked at: {error}");
            Finding::warn(check, what, "run it as the user that the engine runs as")
        }
    }
}

/// A file as the kernel's list of locks names it.
pub(super) fn file(device: u64, inode: u64) -> String {
    format!(
        "{:02x}:{:02x}:{inode}",
        rustix::fs::major(device),
        rustix::fs::minor(device)
    )
}

/// Who holds a lock on a file, by the kernel's list: `1: FLOCK ADVISORY WRITE 4711 fe:01:123456 0 EOF`. Of the file's name its end is
/// enough where its device is known by another number to `stat`, as on btrfs.
pub(super) fn holder(locks: &str, file: &str) -> Option<u32> {
    let line = locks.lines().find(|line| {
        line.contains("FLOCK") && line.split(' ').any(|field| field.ends_with(file))
    })?;
    line.split_whitespace().nth(4)?.parse().ok()
}

/// Makes and removes a group with limits, which is the only way to know.
fn limits() -> Finding {
    let name = format!("doctor-{}", std::process::id());
    match Cgroup::make(&name, Bytes::from_mb(16), Millicores(100)) {
        Ok(group) => {
            group.remove();
            Finding::ok(
                "limits",
                "cpu and memory limits of native applications are set",
            )
        }
        Err(why) => Finding::warn(
            "limits",
            format!("native applications run without their cpu and memory limits: {why}"),
            "run the engine as root, with the memory and cpu controllers on (on a Raspberry Pi: cgroup_enable=memory in cmdline.txt)",
        ),
    }
}

fn open_files() -> Finding {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let what = format!("{limit} files may be open at once");
    if limit < FILES {
        Finding::warn(
            "open_files",
            what,
            format!("raise it to {FILES}: LimitNOFILE in the unit, or ulimit -n"),
        )
    } else {
        Finding::ok("open_files", what)
    }
}

fn kernel() -> Finding {
    let release = rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned();
    let mut numbers = release
        .split(['.', '-', '+'])
        .map(|part| part.parse().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let what = format!("Linux {release}");
    if version < KERNEL {
        Finding::warn(
            "kernel",
            what,
            format!(
                "update it: {}.{} is the oldest that is tried",
                KERNEL.0, KERNEL.1
            ),
        )
    } else {
        Finding::ok("kernel", what)
    }
}

fn uptime() -> Finding {
    let text = fs::read_to_string("/proc/uptime").unwrap_or_default();
    let seconds: f64 = text
        .split(' ')
        .next()
        .and_then(|it| it.parse().ok())
        .unwrap_or(0.0);
    let what = format!("the machine is up for {} s", seconds as u64);
    if seconds < YOUNG {
        let remedy = "look again in two minutes: other services may still be starting";
        Finding::warn("uptime", what, remedy)
    } else {
        Finding::ok("uptime", what)
    }
}
