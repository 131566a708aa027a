//! Where a Redis is: `redis[s]://[user][:password@]host[:port][/database]`.

use std::fmt::{self, Debug, Display, Formatter};
use std::str::FromStr;

use daemon::dial::Dialled;

/// How its URL is read, without user and password.
pub(super) const REDIS: Dialled = Dialled {
    option: "--redis",
    schemes: &["redis"],
    secure: &["rediss"],
    path: true,
    example: "redis://127.0.0.1:6379",
};

/// A URL of a Redis, as its clients have it. It is never shown with its password.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl {
    whole: String,
    shown: String,
}

/// Why a text is no such URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RedisUrlError {
    /// It is written otherwise. It is not repeated: there may be a password in it.
    #[error(
        "write redis://HOST:PORT/DATABASE, for example redis://127.0.0.1:6379; for TLS rediss://; with a password redis://:PASSWORD@HOST:PORT"
    )]
    Form,
    /// The database is no number.
    #[error("{0:?} is no database of Redis; these have numbers, as in redis://127.0.0.1:6379/0")]
    Database(String),
}

impl RedisUrl {
    /// All of it, for the driver alone.
    #[cfg_attr(
        not(feature = "redis"),
        expect(dead_code, reason = "there is no driver")
    )]
    pub(super) fn whole(&self) -> &str {
        &self.whole
    }

    /// Without user and password.
    pub fn shown(&self) -> &str {
        &self.shown
    }
}

impl FromStr for RedisUrl {
    type Err = RedisUrlError;

    fn from_str(text: &str) -> Result<Self, RedisUrlError> {
        let (scheme, rest) = text.split_once("://").ok_or(RedisUrlError::Form)?;
        let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
        let shown = format!("{scheme}://{place}");
        // Whether it may be plain text is for the options to say.
        REDIS.read(&shown, true).map_err(|_| RedisUrlError::Form)?;
        let database = place.split_once('/').map_or("", |(_, database)| database);
        if !database.is_empty() && database.parse::<u32>().is_err() {
            return Err(RedisUrlError::Database(database.to_owned()));
        }
        Ok(Self {
            whole: text.to_owned(),
            shown,
        })
    }
}

/// Without user and password.
impl Display for RedisUrl {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl Debug for RedisUrl {
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
            ("redis://127.0.0.1", "redis://127.0.0.1"),
            ("redis://h:1/3", "redis://h:1/3"),
            ("rediss://:p%40ss@h:1", "rediss://h:1"),
            ("redis://u:p@[::1]:6379/0", "redis://[::1]:6379/0"),
        ] {
            let url: RedisUrl = text.parse().unwrap();
            assert_eq!(url.to_string(), shown);
            assert_eq!(format!("{url:?}"), shown);
            assert_eq!(url.whole, text);
        }
    }

    #[test]
    fn what_is_no_url_is_refused_with_what_to_write() {
        for text in [
            "",
            "redis",
            "http://h",
            "redis://",
            "redis://:secret@",
            "redis://secret@a b",
            "redis://h?x=secret",
        ] {
            let error = text.parse::<RedisUrl>().unwrap_err();
            assert_eq!(error, RedisUrlError::Form, "{text}");
            assert!(!error.to_string().contains("secret"));
        }
        let error = "redis://h/jobs".parse::<RedisUrl>().unwrap_err();
        assert_eq!(error, RedisUrlError::Database("jobs".to_owned()));
    }
}
