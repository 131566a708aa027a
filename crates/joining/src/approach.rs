//! From options to a server that is dialled: a URL, or what was joined.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use daemon::dial::{DialError, Dialled};
use identity::{Holder, JoinToken, TokenError, TowardsError, TrustError};

use crate::member::{Credentials, Member};
use crate::membership::Membership;

/// Bytes of a token's file that are read.
const TOKEN: u64 = 4_096;

/// A server that is dialled, and what is shown to it.
#[derive(Debug, Clone)]
pub struct Approach {
    /// Its URL.
    pub url: String,
    /// The host in it, without brackets.
    pub host: String,
    /// The port in it, or the usual one.
    pub port: u16,
    /// What is shown there, and who is believed.
    pub credentials: Credentials,
}

/// What the options say about the server.
#[derive(Debug, Clone, Copy)]
pub struct Address<'a> {
    /// The option that names it.
    pub dialled: Dialled,
    /// What it is: `cluster` or `root`.
    pub server: &'static str,
    /// The option's value.
    pub url: &'a str,
    /// `--insecure`.
    pub insecure: bool,
    /// `--ca`.
    pub ca: Option<&'a Path>,
}

/// Why a server cannot be dialled.
#[derive(Debug, thiserror::Error)]
pub enum ApproachError {
    /// Its URL.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// TLS, and nobody to believe.
    #[error(transparent)]
    Towards(#[from] TowardsError),
    /// The certificate is not for the key.
    #[error("what this machine became when it joined cannot be shown")]
    Member(#[from] TrustError),
}

/// Why there is no token where one was named.
#[derive(Debug, thiserror::Error)]
pub enum GivenError {
    /// It is none. The text is not repeated.
    #[error("the join token cannot be used")]
    Token(#[from] TokenError),
    /// Its file cannot be read.
    #[error("cannot read --join-token-file {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Approach {
    /// A server that nobody joined.
    ///
    /// # Errors
    /// A URL that is none, plain text to another machine without `--insecure`, or TLS with nobody to believe.
    pub fn open(address: Address<'_>) -> Result<Self, ApproachError> {
        let Address {
            dialled,
            server,
            url,
            insecure,
            ca,
        } = address;
        let remote = dialled.read(url, insecure)?;
        let (credentials, usual) = if remote.secure {
            let tls = identity::towards((dialled.option, server), ca)?;
            (Credentials::Believing(tls), 443)
        } else {
            (Credentials::Plain, 80)
        };
        Ok(Self {
            url: url.to_owned(),
            host: remote.host,
            port: remote.port.unwrap_or(usual),
            credentials,
        })
    }

    /// The server that was joined, at another URL where one is given. TLS is spoken whatever that begins with: the same port
    /// speaks both.
    ///
    /// # Errors
    /// A URL that is none, or a certificate that is not for the key.
    pub fn joined(
        membership: Membership,
        dialled: Dialled,
        url: Option<&str>,
    ) -> Result<Self, ApproachError> {
        let url = url.map_or_else(
            || format!("https://{}", membership.place()),
            |url| secured(dialled, url),
        );
        let remote = dialled.read(&url, true)?;
        let (host, port) = (remote.host, remote.port.unwrap_or(443));
        let member = Member::new(membership, place(&host, port))?;
        Ok(Self {
            url,
            host,
            port,
            credentials: Credentials::Member(member),
        })
    }

    /// Who one is to the server, where one has joined it.
    pub fn holder(&self) -> Option<Holder> {
        self.credentials.holder()
    }
}

/// The token that was given as a text or as a file; nothing where the file is gone and nobody `needs` it.
///
/// # Errors
/// When the file cannot be read, or the text is no token.
pub fn given(
    text: Option<&str>,
    file: Option<&Path>,
    is_needed: bool,
) -> Result<Option<JoinToken>, GivenError> {
    let text = match (text, file) {
        (Some(text), _) => text.to_owned(),
        (None, Some(path)) => match read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound && !is_needed => return Ok(None),
            Err(source) => {
                let path = path.to_owned();
                return Err(GivenError::File { path, source });
            }
        },
        (None, None) => return Ok(None),
    };
    Ok(Some(text.parse()?))
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(TOKEN).read_to_string(&mut text)?;
    Ok(text)
}

/// The same place by TLS.
fn secured(dialled: Dialled, url: &str) -> String {
    for (plain, secure) in dialled.schemes.iter().zip(dialled.secure) {
        let rest = url.strip_prefix(plain);
        if let Some(rest) = rest.filter(|rest| rest.starts_with("://")) {
            return format!("{secure}{rest}");
        }
    }
    url.to_owned()
}

fn place(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_place_is_named_by_tls() {
        let dialled = Dialled {
            option: "--cluster",
            schemes: &["http", "ws"],
            secure: &["https", "wss"],
            path: true,
            example: "",
        };
        for (url, by_tls) in [
            ("http://a:1/x", "https://a:1/x"),
            ("ws://a", "wss://a"),
            ("https://a", "https://a"),
        ] {
            assert_eq!(secured(dialled, url), by_tls);
        }
        assert_eq!(place("::1", 7), "[::1]:7");
        assert_eq!(place("a", 7), "a:7");
    }

    #[test]
    fn a_token_from_a_file_is_missed_only_where_it_is_needed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        assert!(given(None, Some(&file), false).unwrap().is_none());
        let missed = given(None, Some(&file), true).unwrap_err().to_string();
        assert!(missed.contains("--join-token-file"), "{missed}");
        std::fs::write(&file, "half").unwrap();
        assert!(matches!(
            given(None, Some(&file), false),
            Err(GivenError::Token(_))
        ));
        assert!(given(None, None, true).unwrap().is_none());
    }
}
