//! Files that a document brings along: small texts that are there when the application starts.

use std::collections::BTreeMap;

use model::workload::{RuntimeKind, Volume};

use super::fault::{Faults, Position, clip, join};
use super::fields::Fields;
use super::mount::{MAX_PATH, is_clean_path};

/// Most files of one service.
const MAX_FILES: usize = 64;
/// Longest content, in bytes.
const MAX_FILE: usize = 64 * 1024;
/// Most bytes of all contents of a service.
const MAX_ALL: usize = 192 * 1024;
/// Longest part of a path between slashes, as Linux has it.
const MAX_PART: usize = 255;
/// Folders of a container that the kernel fills.
const KERNEL: [&str; 3] = ["/proc", "/sys", "/dev"];
/// Files that a container engine puts over whatever the container holds.
const ENGINE: [&str; 3] = ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf"];

/// Reads `files`: absolute paths for a container, relative ones for a native program.
pub(super) fn files(
    fields: &Fields<'_>,
    runtime: RuntimeKind,
    volumes: &[Volume],
    faults: &mut Faults,
) -> BTreeMap<String, String> {
    let Some(spot) = fields.get("files") else {
        return BTreeMap::new();
    };
    let Some(entries) = spot.fields(faults) else {
        return BTreeMap::new();
    };
    let mut files = BTreeMap::new();
    let mut places: Vec<(&str, Position)> = Vec::new();
    for (path, spot, at) in entries.each() {
        let checked = match runtime {
            RuntimeKind::Native => native(path),
            RuntimeKind::Docker | RuntimeKind::Noop => container(path, volumes),
        };
        if let Err(wrong) = checked {
            faults.add(&spot.path, at, wrong);
        }
        let Some(text) = spot.text(faults) else {
            continue;
        };
        if text.len() > MAX_FILE {
            let message = format!(
                "the file has {} bytes, a file of a document has at most {MAX_FILE}; put it into the image or a volume",
                text.len()
            );
            spot.fault(faults, message);
        }
        files.insert(path.to_owned(), text.to_owned());
        places.push((path, at));
    }
    let all: usize = files.values().map(String::len).sum();
    if files.len() > MAX_FILES || all > MAX_ALL {
        let message = format!(
            "a service has at most {MAX_FILES} files with {MAX_ALL} bytes in all; these are {} with {all}: put them into the image or a volume",
            files.len()
        );
        spot.fault(faults, message);
    }
    for (path, at) in places {
        if files.keys().any(|other| is_inside(other, path)) {
            let message = format!(
                "{} is both a file and the folder of another file; rename one of them",
                clip(path)
            );
            faults.add(&join(&spot.path, path), at, message);
        }
    }
    files
}

/// Whether a path lies below a folder.
fn is_inside(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder)
        .is_some_and(|rest| rest.starts_with('/'))
}

fn container(path: &str, volumes: &[Volume]) -> Result<(), String> {
    if !is_clean_path(path) || path == "/" || !has_short_parts(path) {
        return Err(format!(
            "\"{}\" is no path of a file in a container; write an absolute path such as /etc/app.conf, without . and .. and without / at its end",
            clip(path)
        ));
    }
    if KERNEL
        .iter()
        .any(|folder| path == *folder || is_inside(path, folder))
    {
        return Err(format!(
            "{} belongs to the kernel; choose another place",
            clip(path)
        ));
    }
    if ENGINE.contains(&path) {
        return Err(format!(
            "{path} is written by the container engine; choose another place"
        ));
    }
    let volume = volumes.iter().find(|volume| {
        path == volume.target || is_inside(path, &volume.target) || is_inside(&volume.target, path)
    });
    match volume {
        Some(volume) => Err(format!(
            "the volume at {} is mounted over it; choose a place outside of volumes",
            clip(&volume.target)
        )),
        None => Ok(()),
    }
}

fn native(path: &str) -> Result<(), String> {
    if path.starts_with('/') {
        let name = path.rsplit('/').find(|part| !part.is_empty());
        return Err(format!(
            "a native program's files lie in its working folder; write a relative path: \"{}\"",
            clip(name.unwrap_or("app.conf"))
        ));
    }
    let rooted = format!("/{path}");
    if is_clean_path(&rooted) && has_short_parts(&rooted) {
        Ok(())
    } else {
        Err(format!(
            "\"{}\" is no path in the working folder; write one such as conf/app.toml, without . and .. and without / at its end",
            clip(path)
        ))
    }
}

fn has_short_parts(path: &str) -> bool {
    path.len() < MAX_PATH / 4 && path.split('/').all(|part| part.len() <= MAX_PART)
}
