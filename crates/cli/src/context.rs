//! Contexts: orchestrators with their credentials, by name, in a file of the user's.
//!
//! ```toml
//! current = "lab"
//!
//! [contexts.lab]
//! url = "https://192.0.2.10:10000"
//! token_file = "/home/me/lab.token"
//! ca = "/home/me/lab.pem"
//! ```

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// What the environment says under a name; nothing where it says an empty text.
pub(crate) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The user's contexts.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Contexts {
    /// The one in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) current: Option<String>,
    /// All of them.
    #[serde(default)]
    pub(crate) contexts: BTreeMap<String, Context>,
}

/// One orchestrator, and how it is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Context {
    /// Its address.
    pub(crate) url: String,
    /// Where the credential stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) token_file: Option<PathBuf>,
    /// The credential itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) token: Option<Secret>,
    /// The file of the authority that is believed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ca: Option<PathBuf>,
    /// Whether requests may leave this machine in plain text.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) insecure: bool,
}

/// A credential, which is never shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Secret(pub(crate) String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(hidden)")
    }
}

/// The file that the contexts stand in.
#[derive(Debug, Clone)]
pub(crate) struct File(PathBuf);

impl File {
    /// `$XDG_CONFIG_HOME/edgeio/config.toml`, or the same below `~/.config`.
    ///
    /// # Errors
    /// When there is neither such a directory nor a home.
    pub(crate) fn of(environment: Environment<'_>) -> Result<Self, Failure> {
        // A relative path there is to be ignored (XDG Base Directory Specification, section 2).
        let base = environment("XDG_CONFIG_HOME")
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
            .or_else(|| Some(Path::new(&environment("HOME")?).join(".config")));
        match base {
            Some(base) => Ok(Self(base.join("edgeio").join("config.toml"))),
            None => Err(Failure::Usage(
                "contexts have no place: set HOME or XDG_CONFIG_HOME".to_owned(),
            )),
        }
    }

    /// What stands in it; nothing where there is no such file.
    ///
    /// # Errors
    /// When it cannot be read or understood.
    pub(crate) fn load(&self) -> Result<Contexts, Failure> {
        let text = match std::fs::read_to_string(&self.0) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Contexts::default());
            }
            Err(source) => {
                return Err(Failure::Read {
                    path: self.0.clone(),
                    source,
                });
            }
        };
        let fault = |why: String| Failure::Config {
            path: self.0.clone(),
            why,
        };
        let contexts: Contexts = toml::from_str(&text).map_err(|error| fault(error.to_string()))?;
        let holds = |context: &Context| context.token.is_some();
        if contexts.contexts.values().any(holds) && self.is_open_to_others() {
            let path = self.0.display();
            return Err(fault(format!(
                "it holds a token, and other users may read it; run: chmod 600 {path}"
            )));
        }
        Ok(contexts)
    }

    /// Writes it, for the user alone; a reader sees the old contents or the new ones.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn save(&self, contexts: &Contexts) -> Result<(), Failure> {
        let text = toml::to_string(contexts).map_err(|error| Failure::Config {
            path: self.0.clone(),
            why: error.to_string(),
        })?;
        self.write(&text).map_err(|source| Failure::Write {
            path: self.0.clone(),
            source,
        })
    }

    fn write(&self, text: &str) -> io::Result<()> {
        let dir = self.0.parent().unwrap_or_else(|| Path::new("."));
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)?;
        // Made with mode 0600, and in the same directory, so that it can take the old one's place at once.
        let mut file = tempfile::NamedTempFile::new_in(dir)?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(&self.0)?;
        Ok(())
    }

    fn is_open_to_others(&self) -> bool {
        std::fs::metadata(&self.0).is_ok_and(|data| data.permissions().mode() & 0o077 != 0)
    }
}

impl Contexts {
    /// The context of that name.
    ///
    /// # Errors
    /// When there is none, with the names that there are.
    pub(crate) fn named(&self, name: &str) -> Result<&Context, Failure> {
        self.contexts.get(name).ok_or_else(|| {
            let names: Vec<_> = self.contexts.keys().map(String::as_str).collect();
            let known = if names.is_empty() {
                "there are none; make one with 'edgeio context set NAME --url URL'".to_owned()
            } else {
                format!("there are {}", names.join(", "))
            };
            Failure::Usage(format!("no context is named {name:?}: {known}"))
        })
    }
}

impl Context {
    /// The credential.
    ///
    /// # Errors
    /// When its file cannot be read.
    pub(crate) fn token(&self) -> Result<Option<String>, Failure> {
        match (&self.token, &self.token_file) {
            (Some(Secret(token)), _) => Ok(Some(token.clone())),
            (None, Some(path)) => read_token(path).map(Some),
            (None, None) => Ok(None),
        }
    }
}

/// The credential in a file.
///
/// # Errors
/// When the file cannot be read.
pub(crate) fn read_token(path: &Path) -> Result<String, Failure> {
    let text = std::fs::read_to_string(path).map_err(|source| Failure::Read {
        path: path.to_owned(),
        source,
    })?;
    Ok(text.trim().to_owned())
}
