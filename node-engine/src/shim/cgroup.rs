//! Limits of a native instance by control groups, version 1 or 2, where the engine may make them.
//!
//! A process cannot be put into a group between fork and exec without unsafe code. So the shim enters the group, spawns
//! the application, which inherits it, and goes back: the kernel must not choose the shim when memory runs out.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use model::units::{Bytes, Millicores};
use rustix::process::Signal;

use super::process;

/// The period over which CPU time is granted, in microseconds; the kernel's default.
const PERIOD: u64 = 100_000;

/// The groups of one instance: one for each controller in version 1, a single one in version 2.
#[derive(Debug, Clone, Default)]
pub struct Cgroup {
    paths: Vec<PathBuf>,
}

/// The group in which a process was before it entered another.
#[derive(Debug)]
pub struct Home {
    paths: Vec<PathBuf>,
}

/// A mounted hierarchy.
enum Hierarchy {
    One {
        memory: Option<PathBuf>,
        cpu: Option<PathBuf>,
    },
    Two(PathBuf),
}

impl Cgroup {
    /// Groups that were made earlier.
    pub const fn of(paths: Vec<PathBuf>) -> Self {
        Self { paths }
    }

    /// Where they are.
    pub fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// Makes the groups `edgeio/<name>` with these limits; a zero sets none.
    ///
    /// # Errors
    /// A sentence for people when the machine does not let us; nothing is left then.
    pub fn make(name: &str, memory: Bytes, cpu: Millicores) -> Result<Self, String> {
        let mut group = Self::default();
        let result = match hierarchy() {
            Hierarchy::One {
                memory: for_memory,
                cpu: for_cpu,
            } => group
                .limit_memory_1(for_memory.as_deref(), name, memory)
                .and_then(|()| group.limit_cpu_1(for_cpu.as_deref(), name, cpu)),
            Hierarchy::Two(root) => group.limit_2(&root, name, memory, cpu),
        };
        result
            .map(|()| group.clone())
            .inspect_err(|_| group.remove())
    }

    fn limit_memory_1(
        &mut self,
        root: Option<&Path>,
        name: &str,
        memory: Bytes,
    ) -> Result<(), String> {
        if memory.0 == 0 {
            return Ok(());
        }
        let path = self.add(root.ok_or("this machine has no memory controller")?, name)?;
        put(&path.join("memory.limit_in_bytes"), &memory.0)?;
        // Exists only where swap is accounted.
        let with_swap = path.join("memory.memsw.limit_in_bytes");
        if with_swap.exists() {
            put(&with_swap, &memory.0)
        } else {
            Ok(())
        }
    }

    fn limit_cpu_1(
        &mut self,
        root: Option<&Path>,
        name: &str,
        cpu: Millicores,
    ) -> Result<(), String> {
        if cpu.0 == 0 {
            return Ok(());
        }
        let path = self.add(root.ok_or("this machine has no cpu controller")?, name)?;
        put(&path.join("cpu.cfs_period_us"), &PERIOD)?;
        put(&path.join("cpu.cfs_quota_us"), &quota(cpu))
    }

    fn limit_2(
        &mut self,
        root: &Path,
        name: &str,
        memory: Bytes,
        cpu: Millicores,
    ) -> Result<(), String> {
        let ours = root.join("edgeio");
        make_dir(&ours)?;
        // Already on where systemd runs; the second write decides.
        let _ = put(&root.join("cgroup.subtree_control"), &"+memory +cpu");
        put(&ours.join("cgroup.subtree_control"), &"+memory +cpu")?;
        let path = self.add(root, name)?;
        if memory.0 > 0 {
            put(&path.join("memory.max"), &memory.0)?;
            let swap = path.join("memory.swap.max");
            if swap.exists() {
                put(&swap, &0)?;
            }
        }
        if cpu.0 > 0 {
            put(&path.join("cpu.max"), &format!("{} {PERIOD}", quota(cpu)))?;
        }
        Ok(())
    }

    fn add(&mut self, root: &Path, name: &str) -> Result<PathBuf, String> {
        let path = root.join("edgeio").join(name);
        make_dir(&path)?;
        self.paths.push(path.clone());
        Ok(path)
    }

    /// Moves this process into the groups.
    pub fn enter(&self) -> Result<Home, String> {
        let home = Home {
            paths: self.paths.iter().map(|path| home_in(path)).collect(),
        };
        for path in &self.paths {
            put(&path.join("cgroup.procs"), &std::process::id()).inspect_err(|_| home.enter())?;
        }
        Ok(home)
    }

    /// Kills whatever is in the groups.
    pub fn kill(&self) {
        for path in &self.paths {
            // Version 2 kills a whole group at once, also one that forks all the time.
            let _ = fs::write(path.join("cgroup.kill"), "1");
            let own = std::process::id().to_string();
            for pid in fs::read_to_string(path.join("cgroup.procs"))
                .unwrap_or_default()
                .lines()
                .filter(|pid| *pid != own)
            {
                if let Ok(pid) = pid.parse() {
                    let _ = process::signal(pid, Signal::KILL);
                }
            }
        }
    }

    /// Whether the kernel killed something in them for memory.
    pub fn ran_out_of_memory(&self) -> bool {
        let kills = |text: String| {
            text.lines()
                .filter_map(|line| line.strip_prefix("oom_kill "))
                .any(|count| count.trim() != "0")
        };
        let files = self
            .paths
            .iter()
            .flat_map(|path| [path.join("memory.oom_control"), path.join("memory.events")]);
        files
            .filter_map(|file| fs::read_to_string(file).ok())
            .any(kills)
    }

    /// Removes the groups; those that are not empty stay, and the next removal tries again.
    pub fn remove(&self) {
        for path in &self.paths {
            let _ = fs::remove_dir(path);
        }
    }

    /// Whether none of them is left.
    pub fn is_gone(&self) -> bool {
        self.paths.iter().all(|path| !path.exists())
    }
}

impl Home {
    /// Moves this process back.
    pub fn enter(&self) {
        for path in &self.paths {
            // The shim then counts towards the application's limit: worse, not wrong.
            let _ = fs::write(path.join("cgroup.procs"), std::process::id().to_string());
        }
    }
}

fn quota(cpu: Millicores) -> u64 {
    // The kernel refuses less than one millisecond.
    (cpu.0 * PERIOD / 1000).max(1000)
}

fn make_dir(path: &Path) -> Result<(), String> {
    fs::create_dir_all(path).map_err(|error| format!("cannot make {}: {error}", path.display()))
}

fn put(path: &Path, value: &dyn ToString) -> Result<(), String> {
    fs::write(path, value.to_string())
        .map_err(|error: io::Error| format!("cannot write {}: {error}", path.display()))
}

fn hierarchy() -> Hierarchy {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let (mut memory, mut cpu, mut two) = (None, None, None);
    for line in mounts.lines() {
        let mut fields = line.split(' ').skip(1);
        let (Some(path), Some(kind), Some(options)) = (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let has = |name: &str| options.split(',').any(|option| option == name);
        match kind {
            "cgroup" if has("memory") => memory = Some(PathBuf::from(path)),
            "cgroup" if has("cpu") => cpu = Some(PathBuf::from(path)),
            "cgroup2" => two = Some(PathBuf::from(path)),
            _ => {}
        }
    }
    match two {
        // On a machine with both, version 2 is mounted without the controllers that version 1 has.
        Some(root) if memory.is_none() && cpu.is_none() => Hierarchy::Two(root),
        Some(_) | None => Hierarchy::One { memory, cpu },
    }
}

/// Where this process is now in the hierarchy to which `group` belongs.
fn home_in(group: &Path) -> PathBuf {
    let root = group.parent().and_then(Path::parent).unwrap_or(group);
    let mount = root
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    // Only hierarchies of version 1 have `tasks`.
    let path = place_in(&own, mount, !root.join("tasks").exists());
    let home = path.map(|path| root.join(path.trim_start_matches('/')));
    home.filter(|path| path.exists())
        .unwrap_or_else(|| root.to_owned())
}

/// The path in `/proc/self/cgroup` for a mount named after its controllers (`cpu` or `cpu,cpuacct`), or for version 2.
fn place_in<'a>(own: &'a str, mount: &str, is_two: bool) -> Option<&'a str> {
    own.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        let has = |one: &str| controllers.split(',').any(|controller| controller == one);
        let ours = if is_two {
            controllers.is_empty()
        } else {
            mount.split(',').any(has)
        };
        ours.then_some(path)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_home_is_found_in_both_versions() {
        let own = "9:name=systemd:/s\n5:cpu,cpuacct:/c\n4:memory:/m/x\n0::/u/v\n";
        assert_eq!(place_in(own, "cpu,cpuacct", false), Some("/c"));
        assert_eq!(place_in(own, "cpu", false), Some("/c"));
        assert_eq!(place_in(own, "memory", false), Some("/m/x"));
        assert_eq!(place_in(own, "pids", false), None);
        assert_eq!(place_in(own, "cgroup", true), Some("/u/v"));
    }

    #[test]
    fn a_share_of_a_core_becomes_a_quota_of_the_period() {
        assert_eq!(quota(Millicores(500)), 50_000);
        assert_eq!(quota(Millicores(2000)), 200_000);
        assert_eq!(quota(Millicores(1)), 1000);
    }
}
