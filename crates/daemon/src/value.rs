//! The forms of option values that programs share; each function is a clap `value_parser`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// A value that is no duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// It is not made of whole numbers, each with a unit.
    #[error("expected whole numbers with units (d, h, m, s, ms), for example 5s, 200ms or 1h30m")]
    Form,
    /// The units do not go from large to small, each at most once.
    #[error("units go from large to small (d, h, m, s, ms), each at most once")]
    Order,
    /// It exceeds what a duration can hold.
    #[error("too long")]
    TooLong,
}

/// Units from large to small, in milliseconds.
const UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

/// Reads `5s`, `200ms`, `1m`, `1h30m`: whole numbers with units, from large to small; zero is `0s`.
pub fn duration(text: &str) -> Result<Duration, DurationError> {
    if text.is_empty() {
        return Err(DurationError::Form);
    }
    let mut rest = text;
    let mut units = UNITS.iter();
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (number, after) = split_while(rest, |c| c.is_ascii_digit());
        let (unit, after) = split_while(after, |c| c.is_ascii_alphabetic());
        rest = after;
        if number.is_empty() || !UNITS.iter().any(|(name, _)| *name == unit) {
            return Err(DurationError::Form);
        }
        // The iterator only goes forwards: a unit that was passed is not found again.
        let (_, millis) = units
            .find(|(name, _)| *name == unit)
            .ok_or(DurationError::Order)?;
        let number: u64 = number.parse().map_err(|_| DurationError::TooLong)?;
        total = number
            .checked_mul(*millis)
            .and_then(|part| total.checked_add(part))
            .ok_or(DurationError::TooLong)?;
    }
    Ok(Duration::from_millis(total))
}

fn split_while(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    let end = text.find(|c| !belongs(c)).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

/// A value that is no address to listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected IP:PORT, for example 127.0.0.1:10000, [::1]:10000 or localhost:10000")]
pub struct AddressError;

/// Reads an address to listen on: `127.0.0.1:10000`, `[::1]:10000`, `localhost:10000`; port 0 asks for a free one.
///
/// Other names are not looked up: what a name means may change, and where a server listens must not.
pub fn listen_address(text: &str) -> Result<SocketAddr, AddressError> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let port = text.strip_prefix("localhost:").ok_or(AddressError)?;
    let port = port.parse().map_err(|_| AddressError)?;
    Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port))
}

/// A value that is not of the form `KEY=VALUE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected KEY=VALUE")]
pub struct PairError;

/// Reads `KEY=VALUE`; the value may be empty and may contain `=`, the key may not.
pub fn pair(text: &str) -> Result<(String, String), PairError> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        Some(_) | None => Err(PairError),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read() {
        let table = [
            ("5s", 5000),
            ("200ms", 200),
            ("1m", 60_000),
            ("1h30m", 5_400_000),
            ("1d2h3m4s5ms", 93_784_005),
            ("90s", 90_000),
            ("0s", 0),
        ];
        for (text, millis) in table {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        use DurationError::{Form, Order, TooLong};
        let table = [
            ("", Form),
            ("5", Form),
            ("s", Form),
            ("5 s", Form),
            ("-5s", Form),
            ("1.5s", Form),
            ("5sec", Form),
            ("5µs", Form),
            ("5s3", Form),
            ("30m1h", Order),
            ("1s1s", Order),
            ("99999999999999999999s", TooLong),
            ("9999999999999999999d", TooLong),
        ];
        for (text, error) in table {
            assert_eq!(duration(text), Err(error), "{text}");
        }
    }

    #[test]
    fn listen_addresses_are_read() {
        let table = [
            ("127.0.0.1:10000", Some("127.0.0.1:10000")),
            ("[::1]:0", Some("[::1]:0")),
            ("localhost:80", Some("127.0.0.1:80")),
            ("localhost", None),
            ("10000", None),
            (":10000", None),
            ("example.org:80", None),
            ("127.0.0.1:99999", None),
        ];
        for (text, address) in table {
            let expected = address.map(|address| address.parse().unwrap());
            assert_eq!(listen_address(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn pairs_are_split_at_the_first_sign() {
        let read = |text| pair(text).ok();
        assert_eq!(read("a=b=c"), Some(("a".to_owned(), "b=c".to_owned())));
        assert_eq!(read("a="), Some(("a".to_owned(), String::new())));
        assert_eq!(read("=b"), None);
        assert_eq!(read("a"), None);
    }
}
