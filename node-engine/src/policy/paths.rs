//! Paths of this machine that containers are given, as they are behind all links.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use protocol::document::{is_clean_path, is_never_given};

/// A folder that the worker's owner gives, with all that is below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Root {
    path: String,
    read_only: bool,
}

impl Root {
    /// Reads `/path` or `/path:ro`.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let (path, read_only) = match text.strip_suffix(":ro") {
            Some(path) => (path, true),
            None => (text, false),
        };
        if is_never_given(path) {
            return Err(format!(
                "{path:?} is given to no application; name a folder that is made for them"
            ));
        }
        if !is_clean_path(path) || path.contains(':') {
            return Err(format!(
                "{text:?} is no folder; write an absolute path without . and .., with :ro where nothing may be written"
            ));
        }
        let path = path.to_owned();
        Ok(Self { path, read_only })
    }
}

impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)?;
        f.write_str(if self.read_only { ":ro" } else { "" })
    }
}

/// Why a path is not given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    /// To nobody.
    #[error("it is given to no application")]
    Never,
    /// The owner did not name it.
    #[error("it is below no folder that is given and there")]
    NotNamed,
    /// The same, and a link leads there.
    #[error("it leads to {real}, which is below no folder that is given")]
    Escapes { real: String },
    /// Only for reading.
    #[error("it is given read-only; write it with :ro")]
    ReadOnly,
    /// It holds, or is in, what controls this worker.
    #[error("it holds {what}")]
    Holds { what: &'static str },
    /// Where it leads cannot be found out.
    #[error("it cannot be looked at: {why}")]
    Unclear { why: String },
}

/// What is given to nobody, whatever the owner wrote.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Guarded {
    /// The container engine's socket.
    socket: Option<PathBuf>,
    /// This engine's own folder.
    data_dir: Option<PathBuf>,
}

impl Guarded {
    pub(super) fn of(docker_host: &str, data_dir: &Path) -> Self {
        let socket = docker_host.strip_prefix("unix://").unwrap_or(docker_host);
        Self {
            socket: Some(socket.into()),
            data_dir: std::path::absolute(data_dir).ok(),
        }
    }

    /// Where a path leads that is below one of these folders.
    pub(super) fn given(
        &self,
        roots: &[Root],
        path: &str,
        read_only: bool,
    ) -> Result<String, Refused> {
        if is_never_given(path) {
            return Err(Refused::Never);
        }
        let unclear = |error: io::Error| Refused::Unclear {
            why: error.to_string(),
        };
        let real = real(Path::new(path)).map_err(unclear)?;
        let text = real.to_str().ok_or_else(|| Refused::Unclear {
            why: "its name is no text".to_owned(),
        })?;
        if is_never_given(text) {
            return Err(Refused::Never);
        }
        self.check(&real)?;
        // One that is not there, as this engine sees the machine, cannot be looked into for links.
        let holds = |root: &&Root| {
            let at = Path::new(&root.path).canonicalize();
            at.is_ok_and(|at| real.starts_with(at))
        };
        let mut holding = roots.iter().filter(holds).peekable();
        if holding.peek().is_none() {
            return Err(if text == path {
                Refused::NotNamed
            } else {
                let real = text.to_owned();
                Refused::Escapes { real }
            });
        }
        if read_only || holding.any(|root| !root.read_only) {
            return Ok(text.to_owned());
        }
        Err(Refused::ReadOnly)
    }

    fn check(&self, path: &Path) -> Result<(), Refused> {
        let at = |guarded: &Option<PathBuf>| guarded.as_deref().and_then(|it| real(it).ok());
        if at(&self.socket).is_some_and(|socket| socket.starts_with(path)) {
            return Err(Refused::Holds {
                what: "the container engine's socket",
            });
        }
        if at(&self.data_dir).is_some_and(|own| own.starts_with(path) || path.starts_with(own)) {
            return Err(Refused::Holds {
                what: "the worker's own folder",
            });
        }
        Ok(())
    }
}

/// A path with all links followed; of what is not there yet, the names as they are.
fn real(path: &Path) -> io::Result<PathBuf> {
    let mut there = path.to_owned();
    let mut missing = Vec::new();
    loop {
        match there.canonicalize() {
            Ok(real) => {
                return Ok(missing
                    .into_iter()
                    .rev()
                    .fold(real, |path, name| path.join(name)));
            }
            // A link that leads to nothing may lead anywhere once that is made.
            Err(error)
                if error.kind() != io::ErrorKind::NotFound || there.symlink_metadata().is_ok() =>
            {
                return Err(error);
            }
            Err(error) => match there.file_name().map(ToOwned::to_owned) {
                Some(name) => {
                    missing.push(name);
                    there.pop();
                }
                None => return Err(error),
            },
        }
    }
}
