//! Addresses: which can be used, and what stands in them.

/// A text as one segment of a path (RFC 3986, section 3.3).
pub(crate) fn segment(text: &str) -> String {
    use std::fmt::Write as _;
    let mut segment = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            segment.push(char::from(byte));
        } else {
            let _ = write!(segment, "%{byte:02X}");
        }
    }
    segment
}

/// Where a server is, as far as its URL says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// On this machine.
    pub(super) local: bool,
    /// Behind TLS.
    pub(super) secure: bool,
}

/// Where the server of this URL is; or why the URL cannot be used.
pub(super) fn place(base: &str) -> Result<Place, &'static str> {
    let uri: ureq::http::Uri = base
        .parse()
        .map_err(|_| "write it as http://127.0.0.1:10000")?;
    let secure = match uri.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        Some(_) | None => return Err("it must begin with https:// or http://"),
    };
    if uri.query().is_some() || uri.authority().is_some_and(|a| a.as_str().contains('@')) {
        return Err("it must be no more than http://HOST:PORT; give a token with --token");
    }
    let port = uri.authority().and_then(|a| a.as_str().rsplit_once(':'));
    let is_port = |(_, port): (&str, &str)| port.ends_with(']') || port.parse::<u16>().is_ok();
    if !port.is_none_or(is_port) {
        return Err("its port must be 1 to 65535");
    }
    // A URI keeps the brackets of an IPv6 address; an address does not.
    let host = uri
        .host()
        .map(|host| host.trim_start_matches('[').trim_end_matches(']'));
    let local = host.is_some_and(|host| daemon::dial::plain_allowed(host, false));
    Ok(Place { local, secure })
}

/// Whether a credential can stand in a header.
pub(super) fn is_token(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{Client, Target};
    use crate::failure::Failure;

    fn client(url: &str, token: Option<&str>, insecure: bool) -> Result<Client, Failure> {
        Client::new(&Target {
            url: url.to_owned(),
            token: token.map(str::to_owned),
            insecure,
            ca: None,
            named_by: "named by a test",
        })
    }

    #[test]
    fn urls_that_cannot_be_used_are_told_with_the_remedy() {
        let table = [
            ("127.0.0.1:10000", "http://"),
            ("https://127.0.0.1", "--ca"),
            ("http://192.0.2.1:10000", "--insecure"),
            ("http://user@127.0.0.1", "--token"),
            ("http://127.0.0.1/?a=b", "HOST:PORT"),
            ("ftp://127.0.0.1", "http://"),
            ("", "http://"),
            ("http://127.0.0.1:99999", "65535"),
            ("http://127.0.0.1:", "65535"),
        ];
        for (url, remedy) in table {
            let failure = client(url, None, false).unwrap_err();
            assert_eq!(failure.exit_code(), 2);
            assert!(failure.to_string().contains(remedy), "{url}: {failure}");
        }
        for url in [
            "http://127.0.0.1:10000/",
            "http://[::1]:1",
            "http://localhost",
        ] {
            client(url, Some("abc"), false).unwrap();
        }
        client("http://192.0.2.1", None, true).unwrap();
        assert!(client("http://[::1]", Some("a\nb"), false).is_err());
    }

    #[test]
    fn names_stay_one_segment_of_a_path() {
        assert_eq!(segment("a-b_c.1"), "a-b_c.1");
        assert_eq!(segment("a/b?c d\u{e4}"), "a%2Fb%3Fc%20d%C3%A4");
    }
}
