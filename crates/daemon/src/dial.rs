//! Dialling, and the rule that plain text stays on this machine.

use std::net::IpAddr;

/// An option that names a server to dial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dialled {
    /// The option as it is written, for example `--root`.
    pub option: &'static str,
    /// What its URL may begin with for plain text.
    pub schemes: &'static [&'static str],
    /// What its URL may begin with for TLS.
    pub secure: &'static [&'static str],
    /// Whether a path may follow the host.
    pub path: bool,
    /// A URL that is right.
    pub example: &'static str,
}

/// The host and port of a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// A name or an address; an IPv6 address without its brackets.
    pub host: String,
    /// The port, if one is given.
    pub port: Option<u16>,
    /// Whether TLS is spoken.
    pub secure: bool,
}

/// Why a server must not be dialled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    /// The value is not of the form `SCHEME://HOST[:PORT]`.
    #[error("{option} {url:?} cannot be used; write it as {example}")]
    Form {
        /// The option.
        option: &'static str,
        /// Its value.
        url: String,
        /// What to write.
        example: &'static str,
    },
    /// The server is on another machine, and nobody said that plain text is wanted.
    #[error(
        "{option} {url:?} is another machine, and the connection would be in plain text; \
         {remedy}allow that with --insecure if the network is trusted"
    )]
    Insecure {
        /// The option.
        option: &'static str,
        /// Its value.
        url: String,
        /// What would not be plain text.
        remedy: String,
    },
}

impl Dialled {
    /// The host and port of the option's value; plain text to a host off this machine needs `insecure`.
    ///
    /// # Errors
    /// For a URL that cannot be dialled, and for one that must not be.
    pub fn read(&self, url: &str, insecure: bool) -> Result<Remote, DialError> {
        let remote = self.parse(url).ok_or_else(|| DialError::Form {
            option: self.option,
            url: url.to_owned(),
            example: self.example,
        })?;
        if !remote.secure && !plain_allowed(&remote.host, insecure) {
            let remedy = self
                .secure
                .first()
                .map_or_else(String::new, |scheme| format!("write {scheme}://, or "));
            return Err(DialError::Insecure {
                option: self.option,
                url: url.to_owned(),
                remedy,
            });
        }
        Ok(remote)
    }

    fn parse(&self, url: &str) -> Option<Remote> {
        let (scheme, rest) = url.split_once("://")?;
        let (host_and_port, path) = rest.split_once('/').unwrap_or((rest, ""));
        // A query or a fragment means nothing here.
        let usable = |c: char| c.is_ascii_graphic() && !matches!(c, '?' | '#');
        let secure = self.secure.contains(&scheme);
        if !(secure || self.schemes.contains(&scheme)) || !(path.is_empty() || self.path) {
            return None;
        }
        let (host, port) = authority(host_and_port)?;
        path.chars()
            .all(usable)
            .then_some(Remote { host, port, secure })
    }
}

/// Whether plain text may be spoken to a host, given by name or address: to this machine always, to others with
/// `insecure`.
///
/// Names are not looked up: what a name means may change, and `localhost` is the only one that says where it leads.
pub fn plain_allowed(host: &str, insecure: bool) -> bool {
    let near = host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.to_canonical().is_loopback());
    insecure || near
}

/// Splits `host`, `host:port`, `[v6]` or `[v6]:port`; `None` for anything else, credentials included.
pub fn authority(text: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']')?;
            let port = after.strip_prefix(':');
            (host, port.or_else(|| after.is_empty().then_some(""))?)
        }
        None => text.split_once(':').unwrap_or((text, "")),
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
    if host.is_empty() || !host.chars().all(plain) {
        return None;
    }
    let port = match port {
        "" => None,
        digits => Some(digits.parse().ok()?),
    };
    Some((host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: Dialled = Dialled {
        option: "--root",
        schemes: &["http", "ws"],
        secure: &["https", "wss"],
        path: true,
        example: "http://127.0.0.1:10000",
    };
    const BROKER: Dialled = Dialled {
        option: "--broker",
        schemes: &["mqtt"],
        secure: &[],
        path: false,
        example: "mqtt://127.0.0.1:1883",
    };

    #[test]
    fn this_machine_needs_no_flag_and_others_do() {
        for near in [
            "http://localhost:1",
            "http://LocalHost",
            "http://127.0.0.9/",
            "ws://[::1]:7/x",
            "http://[::ffff:127.0.0.1]:7",
        ] {
            assert!(ROOT.read(near, false).is_ok(), "{near}");
        }
        for far in [
            "http://192.0.2.1:10000",
            "ws://root.example/x",
            "http://0.0.0.0:1",
            "http://[::]:1",
            "http://[2001:db8::1]",
            "http://localhost.example",
            "http://127.0.0.1.example",
        ] {
            let error = ROOT.read(far, false).unwrap_err();
            assert!(matches!(error, DialError::Insecure { .. }), "{far}");
            let text = error.to_string();
            assert!(text.contains("--root") && text.contains("--insecure"));
            assert!(text.contains("write https://, or allow"), "{text}");
            assert!(ROOT.read(far, true).is_ok(), "{far}");
        }
        assert!(BROKER.read("mqtt://192.0.2.1", false).is_err());
        for far in ["https://192.0.2.1:10000", "wss://root.example/x"] {
            assert!(ROOT.read(far, false).unwrap().secure, "{far}");
        }
    }

    #[test]
    fn what_cannot_be_dialled_is_refused_with_what_to_write() {
        for bad in [
            "",
            "localhost:1",
            "ftp://localhost",
            "http://",
            "http:///x",
            "http://[::1",
            "http://[::1]x",
            "http://::1",
            "http://a:b",
            "http://a:70000",
            "http://user@localhost",
            "http://localhost:1@192.0.2.1",
            "http://localhost?x",
            "http://localhost/?x",
            "http://localhost/#x",
            "http://local host",
            "http://localhost\\@192.0.2.1",
        ] {
            let error = ROOT.read(bad, true).unwrap_err();
            assert!(error.to_string().contains(ROOT.example), "{bad}: {error}");
        }
        assert!(BROKER.read("mqtt://localhost/", true).is_ok());
        for bad in [
            "mqtt://localhost/x",
            "http://localhost",
            "mqtts://localhost",
        ] {
            assert!(BROKER.read(bad, true).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_authority_is_split_into_host_and_port() {
        let cases = [
            ("a.example:80", Some(("a.example", Some(80)))),
            ("a.example", Some(("a.example", None))),
            ("[::1]:80", Some(("::1", Some(80)))),
            ("[::1]", Some(("::1", None))),
            ("[::1]x", None),
            (":80", None),
            ("a b", None),
        ];
        for (text, expected) in cases {
            let expected = expected.map(|(host, port)| (host.to_owned(), port));
            assert_eq!(authority(text), expected, "{text}");
        }
    }
}
