//! The files that a document brings along, put into a container between its making and its start.
//!
//! They go through the engine as a tar archive, so they reach an engine on another machine too, and nothing of them is
//! left on this one: they end with the container.

use std::collections::BTreeMap;

use bollard::errors::Error;
use bollard::query_parameters::UploadToContainerOptionsBuilder;

use crate::runtime::StartError;

use super::fault::start_failed;

/// Blocks of a tar archive (POSIX.1-2001, `pax`, "ustar Interchange Format").
const BLOCK: usize = 512;
/// Longest name in a header; a longer one has an entry of its own before (GNU's `L`).
const NAME: usize = 100;
/// GNU's name of such an entry.
const LONG: &str = "././@LongLink";

/// Puts the files into a container that does not run yet.
pub(super) async fn put(
    docker: &bollard::Docker,
    container: &str,
    files: &BTreeMap<String, String>,
) -> Result<(), StartError> {
    // A folder of the image is not replaced by a file of the same name.
    let options = UploadToContainerOptionsBuilder::new()
        .path("/")
        .no_overwrite_dir_non_dir("true")
        .build();
    let body = bollard::body_full(archive(files).into());
    docker
        .upload_to_container(container, Some(options), body)
        .await
        .map_err(failed)
}

fn failed(error: Error) -> StartError {
    match start_failed("the container with its files", error) {
        StartError::Start {
            subject, source, ..
        } => StartError::Start {
            subject,
            advice: "check the paths in files: each is a file, no folder, of the image",
            source,
        },
        other => other,
    }
}

/// Files as a tar archive. Folders are not named: the engine makes those that are missing, with 0755, and leaves alone
/// those that are there.
fn archive(files: &BTreeMap<String, String>) -> Vec<u8> {
    let mut tar = Vec::new();
    for (path, content) in files {
        let name = path.trim_start_matches('/').as_bytes();
        if name.len() > NAME {
            entry(
                &mut tar,
                LONG.as_bytes(),
                FILE.kind(b'L'),
                &[name, &[0]].concat(),
            );
        }
        entry(&mut tar, name, FILE, content.as_bytes());
    }
    tar.resize(tar.len() + 2 * BLOCK, 0);
    tar
}

/// Folders, which may be there already, as those of a user and of the group of the same number.
pub(super) fn folders(names: &[String], owner: u32) -> Vec<u8> {
    let mut tar = Vec::new();
    let folder = Meta {
        kind: b'5',
        mode: 0o755,
        owner,
    };
    for name in names {
        entry(&mut tar, name.as_bytes(), folder, b"");
    }
    tar.resize(tar.len() + 2 * BLOCK, 0);
    tar
}

/// What a header says beside the name and the size.
#[derive(Clone, Copy)]
struct Meta {
    kind: u8,
    mode: u16,
    owner: u32,
}

/// A plain file, which everybody may read.
const FILE: Meta = Meta {
    kind: b'0',
    mode: 0o644,
    owner: 0,
};

impl Meta {
    const fn kind(self, kind: u8) -> Self {
        Self { kind, ..self }
    }
}

fn entry(tar: &mut Vec<u8>, name: &[u8], meta: Meta, content: &[u8]) {
    let Meta { kind, mode, owner } = meta;
    let mut header = Vec::with_capacity(BLOCK);
    let short = name.get(..NAME).unwrap_or(name);
    field(&mut header, short, NAME);
    field(&mut header, format!("{mode:07o}\0").as_bytes(), 8);
    let owner = id(owner);
    field(&mut header, &owner, 8); // user
    field(&mut header, &owner, 8); // group
    field(
        &mut header,
        format!("{:011o}\0", content.len()).as_bytes(),
        12,
    );
    // A time that is always the same: an archive of the same files is the same archive.
    field(&mut header, b"00000000000\0", 12);
    let sum_at = header.len();
    field(&mut header, b"        ", 8); // what the sum counts in its own place
    field(&mut header, &[kind], 1);
    field(&mut header, b"", 100); // link
    field(&mut header, b"ustar\x0000", 8);
    header.resize(BLOCK, 0);
    let sum: u32 = header.iter().copied().map(u32::from).sum();
    let sum = format!("{sum:06o}\0 ");
    header.splice(sum_at..sum_at + 8, sum.into_bytes());
    tar.extend_from_slice(&header);
    tar.extend_from_slice(content);
    tar.resize(tar.len().next_multiple_of(BLOCK), 0);
}

/// The number of a user: octal digits, or GNU's way for one that has too many of them.
fn id(number: u32) -> [u8; 8] {
    let mut field = [0; 8];
    if number < 0o1000_0000 {
        field
            .iter_mut()
            .zip(format!("{number:07o}").bytes())
            .for_each(|(to, digit)| *to = digit);
    } else {
        let [a, b, c, d] = number.to_be_bytes();
        field = [0x80, 0, 0, 0, a, b, c, d];
    }
    field
}

/// A field of a header, filled up with zeros.
fn field(header: &mut Vec<u8>, text: &[u8], width: usize) {
    let end = header.len() + width;
    header.extend_from_slice(text);
    header.resize(end, 0);
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn an_archive_is_what_tar_reads() {
        let long = format!("/{}/deep.conf", ["folder-of-some-length"; 9].join("/"));
        let files: BTreeMap<String, String> = [
            ("/etc/app.conf", "a = 1\n"),
            ("/empty", ""),
            ("/büro/größe.txt", "ä"),
            (long.as_str(), &"x".repeat(513)),
        ]
        .map(|(path, content)| (path.to_owned(), content.to_owned()))
        .into();
        let folder = tempfile::tempdir().unwrap();
        let mut tar = Command::new("tar")
            .arg("-C")
            .arg(folder.path())
            .arg("-xf-")
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut tar.stdin.take().unwrap(), &archive(&files)).unwrap();
        assert!(tar.wait().unwrap().success());
        for (path, content) in &files {
            let there = std::fs::read_to_string(folder.path().join(&path[1..])).unwrap();
            assert_eq!(&there, content, "{path}");
        }
    }
}
