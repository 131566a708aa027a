//! The built-in algorithms. Each is a score; the least wins, and among equals the first candidate.

use std::str::FromStr;

use model::reason::ReasonCode;

use crate::guard::guarded;
use crate::{Candidate, Offer, Request, Scheduler, Unplaceable};

/// The label of a document's placement at which [`Algorithm::Faulty`] fails; its value says how: `panic`, `garbage` (a number
/// that no candidate has) or `misfit` (a candidate that will not do).
pub const FAULT_LABEL: &str = "scheduler-fault";

/// A built-in algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Algorithm {
    /// The first candidate that fits.
    #[default]
    FirstFit,
    /// The first that fits where the document wants to be, else the first that fits.
    Location,
    /// The first that fits, and a failure where the document's [`FAULT_LABEL`] asks for one: for tests of those who call it.
    Faulty,
}

/// There is no algorithm of that name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownAlgorithm(String);

impl std::fmt::Display for UnknownAlgorithm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = Algorithm::ALL
            .iter()
            .map(|algorithm| algorithm.as_str())
            .collect();
        write!(
            f,
            "there is no scheduler {:?}; choose one of {}",
            self.0,
            names.join(", ")
        )
    }
}

impl std::error::Error for UnknownAlgorithm {}

impl Algorithm {
    /// All that are for use.
    pub const ALL: [Self; 2] = [Self::FirstFit, Self::Location];

    /// Its name, as in options and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FirstFit => "first-fit",
            Self::Location => "location",
            Self::Faulty => "faulty",
        }
    }

    /// Whether it is for tests alone.
    pub const fn is_for_tests(self) -> bool {
        matches!(self, Self::Faulty)
    }

    fn choose<C: Candidate>(
        self,
        request: &Request<'_>,
        candidates: &[C],
    ) -> Result<usize, Unplaceable> {
        let will_do = candidates
            .iter()
            .enumerate()
            .filter(|(_, candidate)| candidate.reject(request).is_none());
        let wish = request.rules.location.as_deref();
        self.best(wish, will_do).ok_or_else(|| {
            let mut unplaceable = Unplaceable::default();
            for candidate in candidates {
                let Some(code) = candidate.reject(request) else {
                    continue;
                };
                unplaceable.rejections.add(code, candidate.name());
                if matches!(
                    code,
                    ReasonCode::InsufficientCpu
                        | ReasonCode::InsufficientMemory
                        | ReasonCode::InsufficientDisk
                ) {
                    unplaceable.most_free = unplaceable.most_free.most(candidate.room());
                }
            }
            unplaceable
        })
    }

    /// Which of those that will do: its position; `None`: there is none.
    pub fn among(self, wish: Option<&str>, offers: &[Offer]) -> Option<usize> {
        self.best(wish, offers.iter().enumerate())
    }

    fn best<'c, C: Candidate + 'c>(
        self,
        wish: Option<&str>,
        will_do: impl Iterator<Item = (usize, &'c C)>,
    ) -> Option<usize> {
        let best = will_do
            .min_by_key(|(_, candidate)| (candidate.replicas(), self.score(wish, *candidate)));
        best.map(|(position, _)| position)
    }

    /// Less is better.
    fn score<C: Candidate>(self, wish: Option<&str>, candidate: &C) -> u32 {
        match self {
            Self::FirstFit | Self::Faulty => 0,
            Self::Location => match wish {
                Some(wish) if !candidate.is_at(wish) => 1,
                Some(_) | None => 0,
            },
        }
    }
}

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    fn from_str(name: &str) -> Result<Self, UnknownAlgorithm> {
        Self::ALL
            .into_iter()
            .chain([Self::Faulty])
            .find(|algorithm| algorithm.as_str() == name)
            .ok_or_else(|| UnknownAlgorithm(name.to_owned()))
    }
}

impl Scheduler for Algorithm {
    fn name(&self) -> &'static str {
        self.as_str()
    }

    fn place<C: Candidate>(
        &self,
        request: &Request<'_>,
        candidates: &[C],
    ) -> Result<usize, Unplaceable> {
        guarded(self.as_str(), request, candidates, || {
            if *self == Self::Faulty
                && let Some(how) = request.rules.labels.get(FAULT_LABEL)
            {
                return fail(how, request, candidates);
            }
            self.choose(request, candidates)
        })
    }
}

/// Does what [`FAULT_LABEL`] says.
#[expect(
    clippy::panic,
    reason = "a panic is what a test of those who call it needs"
)]
fn fail<C: Candidate>(
    how: &str,
    request: &Request<'_>,
    candidates: &[C],
) -> Result<usize, Unplaceable> {
    match how {
        "panic" => panic!("a document asked for it"),
        "misfit" => {
            let misfit = |candidate: &C| candidate.reject(request).is_some();
            let position = candidates.iter().position(misfit);
            position.ok_or_else(Unplaceable::default)
        }
        _ => Ok(candidates.len()),
    }
}
