//! Who chooses: a built-in algorithm, or a program elsewhere.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::{Algorithm, UnknownAlgorithm};

/// How long a remote scheduler has for an answer, where nothing else is said.
pub const DEADLINE: Duration = Duration::from_secs(2);
/// The longest that it may be given.
pub const LONGEST: Duration = Duration::from_mins(1);
/// Bytes of a URL at most.
const URL: usize = 512;
/// The beginning of what names a queue.
const QUEUE: &str = "queue:";
/// Characters of a queue's name at most.
const QUEUE_NAME: usize = 63;

/// Who chooses a place.
///
/// As text a built-in algorithm is its name, and a remote scheduler its URL or `queue:` and the name of its queue, with what differs
/// from the defaults behind it: `http://127.0.0.1:10005/location deadline=500ms fallback=none`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Policy {
    /// An algorithm of this program.
    BuiltIn(Algorithm),
    /// Programs that are asked, over HTTP or by a queue.
    Remote(Remote),
}

/// A scheduler elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// Where questions are posted: a URL, or `queue:NAME`.
    pub url: String,
    /// How long an answer may take.
    pub deadline: Duration,
    /// Who chooses where it does not; `None`: nobody, and what is to be placed waits.
    pub fallback: Option<Algorithm>,
}

/// A text is no policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Neither an algorithm nor a URL.
    #[error("{0}, or the URL of a scheduler, for example http://127.0.0.1:10005, or queue:NAME")]
    Name(UnknownAlgorithm),
    /// A queue's name cannot be one.
    #[error(
        "{0:?} names no queue of schedulers; one looks like queue:edgeio, with 1 to 63 characters of a-z 0-9 - behind the colon"
    )]
    Queue(String),
    /// A URL that cannot be dialled.
    #[error("{0:?} is no URL of a scheduler; one looks like http://127.0.0.1:10005")]
    Url(String),
    /// Something else behind a URL.
    #[error(
        "{0:?} cannot stand behind a scheduler elsewhere; there may be deadline=TIME, of 1ms to 60s, and fallback=NAME or fallback=none"
    )]
    Setting(String),
}

impl Default for Policy {
    fn default() -> Self {
        Self::BuiltIn(Algorithm::default())
    }
}

impl Policy {
    /// The algorithm's name, or the URL.
    pub fn name(&self) -> &str {
        match self {
            Self::BuiltIn(algorithm) => algorithm.as_str(),
            Self::Remote(remote) => &remote.url,
        }
    }

    /// Who chooses where nobody can be waited for: the algorithm, or the declared fallback of a scheduler elsewhere.
    pub fn at_once(&self) -> Algorithm {
        match self {
            Self::BuiltIn(algorithm) => *algorithm,
            Self::Remote(remote) => remote.fallback.unwrap_or_default(),
        }
    }

    /// Whether an algorithm of it is for tests alone.
    pub fn is_for_tests(&self) -> bool {
        match self {
            Self::BuiltIn(algorithm) => algorithm.is_for_tests(),
            Self::Remote(remote) => remote.fallback.is_some_and(Algorithm::is_for_tests),
        }
    }
}

impl Remote {
    /// One of that URL, or of the queue that `queue:NAME` names, with the defaults.
    ///
    /// # Errors
    /// When it is neither.
    pub fn at(url: &str) -> Result<Self, PolicyError> {
        if let Some(name) = url.strip_prefix(QUEUE) {
            if !is_queue(name) {
                return Err(PolicyError::Queue(url.to_owned()));
            }
            return Ok(Self::called(url));
        }
        let rest = url
            .strip_prefix("http://")
            .or_else(|| url.strip_prefix("https://"));
        let fits = rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['/', ':']))
            && url.len() <= URL
            && url
                .chars()
                .all(|c| c.is_ascii_graphic() && !"?#@\\".contains(c));
        if !fits {
            return Err(PolicyError::Url(url.to_owned()));
        }
        Ok(Self::called(url))
    }

    /// The name of the queue by which it is asked, if it is by one.
    pub fn queue(&self) -> Option<&str> {
        self.url.strip_prefix(QUEUE)
    }

    fn called(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            deadline: DEADLINE,
            fallback: Some(Algorithm::default()),
        }
    }
}

/// Whether a text may name a queue of schedulers.
pub fn is_queue(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=QUEUE_NAME).contains(&name.len()) && name.chars().all(allowed)
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        let Self::Remote(remote) = self else {
            return Ok(());
        };
        if remote.deadline != DEADLINE {
            write!(f, " deadline={}ms", remote.deadline.as_millis())?;
        }
        match remote.fallback {
            Some(algorithm) if algorithm == Algorithm::default() => Ok(()),
            Some(algorithm) => write!(f, " fallback={}", algorithm.as_str()),
            None => f.write_str(" fallback=none"),
        }
    }
}

impl FromStr for Policy {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, PolicyError> {
        let mut words = text.split_ascii_whitespace();
        let name = words.next().unwrap_or_default();
        if !name.contains("://") && !name.starts_with(QUEUE) {
            let algorithm = text.parse().map_err(PolicyError::Name)?;
            return Ok(Self::BuiltIn(algorithm));
        }
        let mut remote = Remote::at(name)?;
        for word in words {
            let fault = || PolicyError::Setting(word.to_owned());
            match word.split_once('=') {
                Some(("deadline", time)) => {
                    remote.deadline = duration(time).ok_or_else(fault)?;
                }
                Some(("fallback", "none")) => remote.fallback = None,
                Some(("fallback", algorithm)) => {
                    remote.fallback = Some(algorithm.parse().map_err(|_| fault())?);
                }
                Some(_) | None => return Err(fault()),
            }
        }
        Ok(Self::Remote(remote))
    }
}

fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let number = number.parse::<u64>().ok()?;
    let time = match unit {
        "ms" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        _ => return None,
    };
    (Duration::from_millis(1)..=LONGEST)
        .contains(&time)
        .then_some(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Policy, PolicyError> {
        text.parse()
    }

    #[test]
    fn a_policy_survives_its_text() {
        for text in [
            "first-fit",
            "location",
            "http://127.0.0.1:10005",
            "https://scheduler.example/best deadline=500ms",
            "http://[::1]:1/a/b deadline=60000ms fallback=location",
            "http://a fallback=none",
            "queue:edgeio",
            "queue:gpu-2 deadline=500ms fallback=none",
        ] {
            assert_eq!(read(text).unwrap().to_string(), text);
        }
        let Ok(Policy::Remote(remote)) = read("http://a fallback=first-fit deadline=2s") else {
            panic!("it is remote");
        };
        assert_eq!(remote, Remote::at("http://a").unwrap());
        assert_eq!(remote.queue(), None);
        assert_eq!(Remote::at("queue:a").unwrap().queue(), Some("a"));
    }

    #[test]
    fn what_is_no_policy_is_refused_with_what_may_stand_there() {
        for (text, remedy) in [
            ("", "first-fit"),
            ("queue", "queue:NAME"),
            ("queue:", "queue:edgeio"),
            ("queue:A", "queue:edgeio"),
            ("queue:a retries=5", "fallback=none"),
            ("best-guess", "first-fit, location"),
            ("first-fit fallback=none", "first-fit, location"),
            ("ftp://a", "http://127.0.0.1:10005"),
            ("http://", "http://127.0.0.1:10005"),
            ("http:///a", "http://127.0.0.1:10005"),
            ("http://user:password@a", "http://127.0.0.1:10005"),
            ("http://a?b", "http://127.0.0.1:10005"),
            ("http://a deadline=0ms", "1ms to 60s"),
            ("http://a deadline=61s", "1ms to 60s"),
            ("http://a deadline=5", "1ms to 60s"),
            ("http://a fallback=best-guess", "fallback=NAME"),
            ("http://a retries=5", "fallback=none"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(remedy), "{text}: {error}");
        }
    }
}
