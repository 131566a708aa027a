//! Where a database is: `mongodb://[user:password@]host[:port][,host…]/[name][?options]`.

use std::fmt::{self, Debug, Display, Formatter};
use std::str::FromStr;

/// The beginning of every such URL.
const SCHEME: &str = "mongodb://";
/// The database where none is named.
const NAME: &str = "edgeio";

/// A URL of a database, as the `MongoDB` manual has it (Connection Strings). It is never shown with its password.
#[derive(Clone, PartialEq, Eq)]
pub struct MongoUrl {
    whole: String,
    shown: String,
    name: String,
}

/// Why a text is no such URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// It begins otherwise.
    #[error("write mongodb://HOST:PORT/DATABASE, for example mongodb://127.0.0.1:27017/edgeio")]
    Scheme,
    /// The list of servers is looked up by DNS, which this program does not do.
    #[error(
        "mongodb+srv:// is not supported; write the servers themselves: mongodb://HOST:PORT,HOST:PORT/DATABASE?replicaSet=NAME&tls=true"
    )]
    Srv,
    /// No host.
    #[error("the URL names no host; write mongodb://HOST:PORT/DATABASE")]
    Host,
    /// The database's name cannot be one.
    #[error("{0:?} cannot name a database; write 1 to 63 characters of A-Z a-z 0-9 _ -")]
    Name(String),
}

impl MongoUrl {
    /// All of it, for the driver alone.
    #[cfg_attr(
        not(feature = "mongodb"),
        expect(dead_code, reason = "there is no driver")
    )]
    pub(crate) fn whole(&self) -> &str {
        &self.whole
    }

    /// The database's name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl FromStr for MongoUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        if text.starts_with("mongodb+srv://") {
            return Err(UrlError::Srv);
        }
        let rest = text.strip_prefix(SCHEME).ok_or(UrlError::Scheme)?;
        // A password may hold any character but these, which are written as %xx there.
        let (before, _options) = rest.split_once('?').unwrap_or((rest, ""));
        let (servers, name) = before.split_once('/').unwrap_or((before, ""));
        let hosts = servers.rsplit_once('@').map_or(servers, |(_, hosts)| hosts);
        if hosts.is_empty() || hosts.split(',').any(str::is_empty) {
            return Err(UrlError::Host);
        }
        let name = if name.is_empty() { NAME } else { name };
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if name.len() > 63 || !name.chars().all(allowed) {
            return Err(UrlError::Name(name.to_owned()));
        }
        Ok(Self {
            // As it was given: where it names no database, users are those of `admin`.
            whole: text.to_owned(),
            shown: format!("{SCHEME}{hosts}/{name}"),
            name: name.to_owned(),
        })
    }
}

/// Without user, password and options.
impl Display for MongoUrl {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl Debug for MongoUrl {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_what_is_secret() {
        for (text, shown) in [
            ("mongodb://127.0.0.1", "mongodb://127.0.0.1/edgeio"),
            ("mongodb://a:1,b:2/x?replicaSet=rs0", "mongodb://a:1,b:2/x"),
            (
                "mongodb://u:p%40ss@h:1/x?authSource=admin",
                "mongodb://h:1/x",
            ),
            ("mongodb://u:p@[::1]:27017", "mongodb://[::1]:27017/edgeio"),
        ] {
            let url: MongoUrl = text.parse().unwrap();
            assert_eq!(url.to_string(), shown);
            assert_eq!(format!("{url:?}"), shown);
        }
        let url: MongoUrl = "mongodb://u:p@h?tls=true".parse().unwrap();
        assert_eq!(url.whole(), "mongodb://u:p@h?tls=true");
        assert_eq!(url.name(), "edgeio");
    }

    #[test]
    fn what_is_no_url_is_refused_with_what_to_write() {
        for (text, error) in [
            ("", UrlError::Scheme),
            ("mongo://h", UrlError::Scheme),
            ("mongodb+srv://h/x", UrlError::Srv),
            ("mongodb://", UrlError::Host),
            ("mongodb://u:p@/x", UrlError::Host),
            ("mongodb://a,,b/x", UrlError::Host),
            ("mongodb://h/a.b", UrlError::Name("a.b".to_owned())),
            ("mongodb://h/a/b", UrlError::Name("a/b".to_owned())),
        ] {
            assert_eq!(text.parse::<MongoUrl>(), Err(error), "{text}");
        }
    }
}
