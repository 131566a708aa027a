//! The forms of the values of options; each function is a clap `value_parser`.

use std::time::Duration;

use model::access::{Role, TenantPath};
use model::name::Name;
use protocol::time::{format_duration, format_wall, parse_wall};

/// The states that a job can be in.
const STATES: [&str; 10] = [
    "REQUESTED",
    "SCHEDULED_CLUSTER",
    "SCHEDULED_NODE",
    "RUNNING",
    "FAILED",
    "TERMINATED",
    "MIGRATING",
    "SCALING",
    "NOT_DEPLOYED",
    "UNKNOWN",
];

/// A job's state, in letters of any case.
pub(crate) fn state(text: &str) -> Result<String, String> {
    let word = text.to_ascii_uppercase();
    if STATES.contains(&word.as_str()) {
        Ok(word)
    } else {
        Err(format!("expected one of {}", STATES.join(", ")))
    }
}

/// `job/hello`, `jobs/hello` or `hello`.
pub(crate) fn job(text: &str) -> Result<String, String> {
    named(text, ["job", "jobs"])
}

/// `cluster/garching`, `clusters/garching` or `garching`.
pub(crate) fn cluster(text: &str) -> Result<String, String> {
    named(text, ["cluster", "clusters"])
}

/// `node/e580`, `nodes/e580` or `e580`.
pub(crate) fn node(text: &str) -> Result<String, String> {
    named(text, ["node", "nodes"])
}

/// `secret/db`, `secrets/db` or `db`.
pub(crate) fn secret(text: &str) -> Result<String, String> {
    named(text, ["secret", "secrets"])
}

/// `user/alice`, `users/alice` or `alice`.
pub(crate) fn user(text: &str) -> Result<String, String> {
    let name = named(text, ["user", "users"])?;
    Name::new(&name).map_err(|error| error.to_string())?;
    Ok(name)
}

/// `token/tok_…`, `tokens/tok_…` or `tok_…`.
pub(crate) fn token(text: &str) -> Result<String, String> {
    named(text, ["token", "tokens"])
}

/// `university/lab`, with `tenant/` before it or without.
pub(crate) fn tenant(text: &str) -> Result<TenantPath, String> {
    let path = text.strip_prefix("tenant/").unwrap_or(text);
    TenantPath::new(path).map_err(|error| error.to_string())
}

/// A role.
pub(crate) fn role(text: &str) -> Result<Role, String> {
    let words = || Role::ALL.map(Role::as_str).join(", ");
    Role::parse(text).ok_or_else(|| format!("expected one of {}", words()))
}

/// A role, or none of them.
pub(crate) fn role_or_none(text: &str) -> Result<OrNone<Role>, String> {
    or_none(text, |text| {
        role(text).map_err(|error| format!("{error}, none"))
    })
}

/// How long something lasts.
pub(crate) fn life(text: &str) -> Result<Duration, String> {
    daemon::value::duration(text).map_err(|error| error.to_string())
}

/// The same, or for ever.
pub(crate) fn life_or_never(text: &str) -> Result<OrNone<Duration>, String> {
    match text {
        "never" => Ok(OrNone(None)),
        _ => life(text).map(|life| OrNone(Some(life))),
    }
}

/// A whole number, or no limit.
pub(crate) fn count_or_none(text: &str) -> Result<OrNone<u64>, String> {
    let read = |text: &str| text.parse().ok();
    or_none(text, |text| {
        read(text).ok_or_else(|| "expected a whole number, or none".to_owned())
    })
}

/// Cores, or no limit.
pub(crate) fn cores_or_none(text: &str) -> Result<OrNone<f64>, String> {
    let read = |text: &str| text.parse().ok().filter(|cores: &f64| cores.is_finite());
    or_none(text, |text| {
        read(text).ok_or_else(|| "expected cores, as in 1.5, or none".to_owned())
    })
}

/// A value, or what takes it away.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct OrNone<T>(pub(crate) Option<T>);

fn or_none<T>(text: &str, read: impl Fn(&str) -> Result<T, String>) -> Result<OrNone<T>, String> {
    match text {
        "none" => Ok(OrNone(None)),
        _ => read(text).map(|value| OrNone(Some(value))),
    }
}

/// A name, with or without its kind in the singular or plural before it.
fn named(text: &str, [one, many]: [&str; 2]) -> Result<String, String> {
    let expected = || Err(format!("expected {one}/NAME or NAME"));
    let name = match text.split_once('/') {
        Some((kind, name)) if kind == one || kind == many => name,
        Some(_) => return expected(),
        None => text,
    };
    if name.is_empty() || name.contains('/') || matches!(name, "." | "..") {
        return expected();
    }
    Ok(name.to_owned())
}

/// A time, or how long ago: `2026-11-05T08:30:00Z`, `10m`, `1h30m`; as the API reads it.
pub(crate) fn since(text: &str) -> Result<String, String> {
    if let Ok(ago) = daemon::value::duration(text) {
        return Ok(format_duration(ago));
    }
    match parse_wall(text) {
        Ok(wall) => Ok(format_wall(wall)),
        Err(_) => Err(
            "expected how long ago, as in 10m, or a time, as in 2026-11-05T08:30:00Z".to_owned(),
        ),
    }
}

/// A name of a context: what fits in a file and on a command line.
pub(crate) fn context(text: &str) -> Result<String, String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if (1..=63).contains(&text.len()) && text.bytes().all(fits) {
        Ok(text.to_owned())
    } else {
        Err("expected 1 to 63 characters of A-Z a-z 0-9 _ . -".to_owned())
    }
}

/// An `Idempotency-Key`.
pub(crate) fn key(text: &str) -> Result<String, String> {
    if (1..=255).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(text.to_owned())
    } else {
        Err("expected 1 to 255 visible ASCII characters".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_are_named_with_or_without_their_kind() {
        for text in ["job/a", "jobs/a", "a"] {
            assert_eq!(job(text).as_deref(), Ok("a"));
        }
        for text in ["", "job/", "node/a", "a/b", "job/a/b", "..", "job/."] {
            assert!(job(text).is_err(), "{text}");
        }
        assert_eq!(cluster("cluster/a").as_deref(), Ok("a"));
        assert_eq!(node("nodes/a").as_deref(), Ok("a"));
        assert_eq!(node("job/a"), Err("expected node/NAME or NAME".to_owned()));
        assert_eq!(state("running").as_deref(), Ok("RUNNING"));
        assert!(state("GONE").is_err());
    }

    #[test]
    fn times_are_given_as_they_are_or_as_how_long_ago() {
        assert_eq!(since("1h30m").as_deref(), Ok("90m"));
        assert_eq!(since("90s").as_deref(), Ok("90s"));
        assert_eq!(
            since("2026-11-05T09:30:00+01:00").as_deref(),
            Ok("2026-11-05T08:30:00.000Z")
        );
        for text in ["", "yesterday", "10"] {
            assert!(since(text).is_err(), "{text}");
        }
        assert!(key("").is_err() && key("a b").is_err() && key("a-1").is_ok());
        assert!(context("lab.1").is_ok() && context("a b").is_err());
    }
}
