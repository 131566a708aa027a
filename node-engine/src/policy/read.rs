//! The policy's file: TOML, of which every fault is told with its line.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use model::access::TenantPath;
use model::security::Capability;
use protocol::document::{is_clean_path, is_never_given};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::paths::Root;
use super::{Containers, Policy, Programs, Rule};
use crate::shim::confine::Account;

/// The largest file, in bytes.
const LARGEST: u64 = 256 * 1024;
/// The sections and their settings.
const KNOWN: [(&str, &[&str]); 3] = [
    (
        "containers",
        &[
            "user",
            "allow_root",
            "allow_writable",
            "capabilities",
            "max_pids",
            "host_paths",
        ],
    ),
    (
        "native",
        &["enabled", "user", "write", "max_processes", "max_files"],
    ),
    ("tenants", &["allow"]),
];

/// Reads a file that must be there.
///
/// # Errors
/// All faults, in one text.
pub(super) fn file(path: &Path) -> Result<Policy, String> {
    let text = text(path).map_err(|error| {
        format!(
            "cannot read the policy {}: {error}; name another file with --policy, or correct this one",
            path.display()
        )
    })?;
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let machine = Machine {
        passwd: &passwd,
        own: rustix::process::geteuid().as_raw(),
    };
    policy(path, &text, &machine)
}

/// Reads a file that need not be there.
pub(super) fn file_if_there(path: &Path) -> Result<Option<Policy>, String> {
    match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        // One that cannot be looked at must not be taken for none.
        Ok(_) | Err(_) => file(path).map(Some),
    }
}

fn text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?
        .take(LARGEST + 1)
        .read_to_string(&mut text)?;
    if text.len() as u64 > LARGEST {
        return Err(io::Error::other(format!(
            "it is larger than {LARGEST} bytes"
        )));
    }
    Ok(text)
}

/// What the machine says of its users.
pub(super) struct Machine<'m> {
    /// `/etc/passwd`.
    pub(super) passwd: &'m str,
    /// The user that the engine runs as.
    pub(super) own: u32,
}

/// The policy that a text says.
///
/// # Errors
/// All faults, in one text.
pub(super) fn policy(path: &Path, text: &str, machine: &Machine<'_>) -> Result<Policy, String> {
    let (root, errors) = DeTable::parse_recoverable(text);
    let mut reader = Reader {
        text,
        root: root.get_ref(),
        faults: Vec::new(),
    };
    for error in errors {
        let at = error.span().map_or(0, |span| span.start);
        reader.fault(at, error.message());
    }
    reader.refuse_unknown();
    let policy = Policy {
        file: path.to_owned(),
        is_there: true,
        containers: containers(&mut reader),
        programs: programs(&mut reader, machine),
        tenants: reader.rule("tenants", "allow", None, |value| {
            list(value, |name| {
                TenantPath::new(name).map_err(|error| error.to_string())
            })
            .map(Some)
        }),
        guarded: super::Guarded::default(),
    };
    let mut faults = reader.faults;
    if faults.is_empty() {
        return Ok(policy);
    }
    faults.sort();
    let faults: Vec<String> = faults
        .into_iter()
        .map(|(line, message)| format!("line {line}: {message}"))
        .collect();
    Err(format!(
        "the policy {} is wrong:\n  {}",
        path.display(),
        faults.join("\n  ")
    ))
}

fn containers(reader: &mut Reader<'_>) -> Containers {
    let usual = Containers::default();
    let section = "containers";
    let user = |value: &DeValue<'_>| number(value, 1, 2_147_483_647).map(|it| it as u32);
    let pids = |value: &DeValue<'_>| number(value, 1, 65_536).map(|it| it as u32);
    let capability = |word: &str| {
        Capability::parse(word)
            .ok_or_else(|| format!("{word:?} is none of {}", Capability::words()))
    };
    let capabilities = |value: &DeValue<'_>| list(value, capability);
    let roots = |value: &DeValue<'_>| list_of(value, Root::read);
    Containers {
        user: reader.rule(section, "user", usual.user.value, user),
        allow_root: reader.rule(section, "allow_root", usual.allow_root.value, truth),
        allow_writable: reader.rule(section, "allow_writable", usual.allow_writable.value, truth),
        capabilities: reader.rule(
            section,
            "capabilities",
            usual.capabilities.value,
            capabilities,
        ),
        max_pids: reader.rule(section, "max_pids", usual.max_pids.value, pids),
        host_paths: reader.rule(section, "host_paths", usual.host_paths.value, roots),
    }
}

fn programs(reader: &mut Reader<'_>, machine: &Machine<'_>) -> Programs {
    let usual = Programs::default();
    let section = "native";
    let write = |value: &DeValue<'_>| list_of(value, writable);
    let many = |value: &DeValue<'_>| number(value, 16, 1_000_000_000);
    let user = |value: &DeValue<'_>| account(value, machine).map(Some);
    Programs {
        enabled: reader.rule(section, "enabled", usual.enabled.value, truth),
        user: reader.rule(section, "user", usual.user.value, user),
        write: reader.rule(section, "write", usual.write.value, write),
        max_processes: reader.rule(section, "max_processes", usual.max_processes.value, many),
        max_files: reader.rule(section, "max_files", usual.max_files.value, many),
    }
}

/// What is wrong with a value: a sentence for each fault.
type Wrong = Vec<String>;

struct Reader<'t> {
    text: &'t str,
    root: &'t DeTable<'t>,
    faults: Vec<(usize, String)>,
}

impl Reader<'_> {
    fn line(&self, at: usize) -> usize {
        let before = self.text.get(..at).unwrap_or(self.text);
        before.matches('\n').count() + 1
    }

    fn fault(&mut self, at: usize, message: impl Into<String>) {
        let line = self.line(at);
        self.faults.push((line, message.into()));
    }

    fn refuse_unknown(&mut self) {
        for (section, inner) in self.root {
            let at = section.span().start;
            let known = KNOWN.iter().find(|(name, _)| name == section.get_ref());
            let (Some((name, settings)), Some(inner)) = (known, inner.get_ref().as_table()) else {
                let sections = KNOWN.map(|(name, _)| format!("[{name}]")).join(", ");
                let message = format!(
                    "`{}` is no section of a policy; there are {sections}",
                    section.get_ref()
                );
                self.fault(at, message);
                continue;
            };
            for key in inner.keys() {
                if !settings.contains(&key.get_ref().as_ref()) {
                    let message = format!(
                        "`{}` is unknown in [{name}], which has {}; remove it",
                        key.get_ref(),
                        settings.join(", ")
                    );
                    self.fault(key.span().start, message);
                }
            }
        }
    }

    /// A setting, or what holds where it is not given; one that is wrong is told.
    fn rule<T>(
        &mut self,
        section: &str,
        key: &str,
        usual: T,
        read: impl FnOnce(&DeValue<'_>) -> Result<T, Wrong>,
    ) -> Rule<T> {
        let section_of = self.root.get(section).map(Spanned::get_ref);
        let Some(value) = section_of
            .and_then(DeValue::as_table)
            .and_then(|inner| inner.get(key))
        else {
            return Rule::default(usual);
        };
        let at = value.span().start;
        match read(value.get_ref()) {
            Ok(value) => Rule {
                value,
                line: Some(self.line(at)),
            },
            Err(wrong) => {
                for message in wrong {
                    self.fault(at, format!("{section}.{key}: {message}"));
                }
                Rule::default(usual)
            }
        }
    }
}

fn truth(value: &DeValue<'_>) -> Result<bool, Wrong> {
    value
        .as_bool()
        .ok_or_else(|| vec!["write true or false".to_owned()])
}

fn number(value: &DeValue<'_>, least: u64, most: u64) -> Result<u64, Wrong> {
    value
        .as_integer()
        .filter(|number| number.radix() == 10)
        .and_then(|number| number.as_str().replace('_', "").parse().ok())
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| vec![format!("write a whole number from {least} to {most}")])
}

fn list_of<T>(
    value: &DeValue<'_>,
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<Vec<T>, Wrong> {
    let wrong = || "write a list of texts in quotes".to_owned();
    let items = value.as_array().ok_or_else(|| vec![wrong()])?;
    let (mut found, mut faults) = (Vec::new(), Vec::new());
    for item in items {
        match item.get_ref().as_str().ok_or_else(wrong).and_then(&read) {
            Ok(one) => found.push(one),
            Err(fault) => faults.push(fault),
        }
    }
    if faults.is_empty() {
        Ok(found)
    } else {
        Err(faults)
    }
}

fn list<T: Ord>(
    value: &DeValue<'_>,
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<BTreeSet<T>, Wrong> {
    Ok(list_of(value, read)?.into_iter().collect())
}

/// A folder or a file, as a device, that native programs may write.
fn writable(path: &str) -> Result<PathBuf, String> {
    let is_kernel = |path: &str| is_never_given(path) && !path.starts_with("/dev/");
    if is_clean_path(path) && !is_kernel(path) {
        Ok(path.into())
    } else {
        Err(format!(
            "{path:?} is not given to applications for writing; write the absolute path of a folder or of a device"
        ))
    }
}

/// A user of this machine. Directories of users are not asked: such a user is named by number.
fn account(value: &DeValue<'_>, machine: &Machine<'_>) -> Result<Account, Wrong> {
    let wrong = |message: String| Err(vec![message]);
    let found = if value.is_integer() {
        let number = number(value, 1, 4_294_967_294)? as u32;
        let known = users(machine.passwd).find(|(_, account)| account.uid == number);
        known.map_or(
            Account {
                uid: number,
                gid: number,
            },
            |(_, account)| account,
        )
    } else if let Some(name) = value.as_str() {
        match users(machine.passwd).find(|(user, _)| *user == name) {
            Some((_, account)) => account,
            None => {
                return wrong(format!(
                    "/etc/passwd has no user {name:?}; make it (useradd --system {name}), or write its number"
                ));
            }
        }
    } else {
        return wrong("write the name of a user, or its number".to_owned());
    };
    if found.uid == 0 {
        return wrong(
            "root is no user of its own; leave it out to run them as the engine".to_owned(),
        );
    }
    if machine.own != 0 && found.uid != machine.own {
        return wrong(
            "only an engine that runs as root can start programs as another user; run it as root, or leave this out"
                .to_owned(),
        );
    }
    Ok(found)
}

/// `name:x:uid:gid:…` a line.
fn users(passwd: &str) -> impl Iterator<Item = (&str, Account)> {
    passwd.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let mut numbers = fields.skip(1).map(|field| field.parse().ok());
        let (uid, gid) = (numbers.next()??, numbers.next()??);
        Some((name, Account { uid, gid }))
    })
}
