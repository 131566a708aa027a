//! What `edgeio up` notes of a system that it runs, so that the other commands find its token.
//!
//! ```toml
//! ["http://127.0.0.1:10000"]
//! token_file = "/home/me/edgeio-data/admin.token"
//! ```

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::context::Environment;

/// Systems that are remembered at most; those whose token is gone are forgotten first.
const SYSTEMS: usize = 100;

/// The file of those notes.
#[derive(Debug, Clone)]
pub(crate) struct Local(PathBuf);

/// A system, by one of its addresses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    token_file: PathBuf,
}

impl Local {
    /// `$XDG_STATE_HOME/edgeio/local.toml`, or the same below `~/.local/state`; `None` without a home.
    pub(crate) fn of(environment: Environment<'_>) -> Option<Self> {
        // A relative path there is to be ignored (XDG Base Directory Specification, section 2).
        let base = environment("XDG_STATE_HOME")
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
            .or_else(|| Some(Path::new(&environment("HOME")?).join(".local/state")))?;
        Some(Self(base.join("edgeio").join("local.toml")))
    }

    /// Where the token of that address stands.
    pub(crate) fn token_file(&self, url: &str) -> Option<PathBuf> {
        let url = url.trim_end_matches('/');
        Some(self.load().remove(url)?.token_file)
    }

    /// Notes the token of those addresses.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn note<'a>(
        &self,
        urls: impl Iterator<Item = &'a str>,
        token_file: &Path,
    ) -> io::Result<()> {
        let mut notes = self.load();
        let token_file = token_file.to_owned();
        notes.retain(|_, note| note.token_file.exists() && note.token_file != token_file);
        for url in urls {
            let token_file = token_file.clone();
            notes.insert(url.to_owned(), Note { token_file });
        }
        while notes.len() > SYSTEMS {
            notes.pop_first();
        }
        let text = toml::to_string(&notes).map_err(io::Error::other)?;
        let dir = self.0.parent().unwrap_or_else(|| Path::new("."));
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)?;
        let mut file = tempfile::NamedTempFile::new_in(dir)?;
        file.write_all(text.as_bytes())?;
        file.persist(&self.0)?;
        Ok(())
    }

    /// What is noted; what cannot be read says nothing.
    fn load(&self) -> BTreeMap<String, Note> {
        let text = std::fs::read_to_string(&self.0).unwrap_or_default();
        toml::from_str(&text).unwrap_or_default()
    }
}

/// Whether a host of an URL is this machine by its own name for itself.
pub(crate) fn is_this_machine(host: &str) -> bool {
    let address = host.parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost")
        || address.is_ok_and(|it| it.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_is_found_by_its_addresses_until_its_token_is_gone() {
        let home = tempfile::tempdir().unwrap();
        let at = home.path().to_str().unwrap().to_owned();
        let local = Local::of(&|name| (name == "HOME").then(|| at.clone())).unwrap();
        assert_eq!(local.token_file("http://127.0.0.1:1"), None);
        let tokens = ["one", "two"].map(|name| home.path().join(name));
        for token in &tokens {
            std::fs::write(token, "t").unwrap();
        }
        let note = |urls: &[&str], token| local.note(urls.iter().copied(), token).unwrap();
        note(&["http://127.0.0.1:1", "http://127.0.0.1:2"], &tokens[0]);
        note(&["http://127.0.0.1:3"], &tokens[1]);
        let find = |url: &str| local.token_file(url);
        assert_eq!(find("http://127.0.0.1:2/"), Some(tokens[0].clone()));
        assert_eq!(find("http://127.0.0.1:3"), Some(tokens[1].clone()));
        // A system that comes back at other addresses is not at the former ones any more.
        note(&["http://127.0.0.1:4"], &tokens[0]);
        assert_eq!(find("http://127.0.0.1:2"), None);
        std::fs::remove_file(&tokens[1]).unwrap();
        note(&["http://127.0.0.1:5"], &tokens[0]);
        assert_eq!(find("http://127.0.0.1:3"), None);
    }

    #[test]
    fn only_this_machine_is_this_machine() {
        for near in ["localhost", "LOCALHOST", "127.0.0.1", "127.8.8.8", "::1"] {
            assert!(is_this_machine(near), "{near}");
        }
        for far in ["localhost.example", "192.0.2.1", "0.0.0.0", ""] {
            assert!(!is_this_machine(far), "{far}");
        }
    }
}
