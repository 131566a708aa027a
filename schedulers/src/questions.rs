//! What a scheduler elsewhere was asked and what it said, as both tiers keep it: in memory alone, since whatever is still to
//! be placed after a restart is asked about again.
//!
//! # Flow
//! 1. What is to be placed looks here ([`Questions::look`]). Where nothing is known it waits, and a question goes out
//!    ([`Questions::ask`]).
//! 2. The answer comes ([`Questions::answer`]) and is used by the next look, against what is free then. Where it does not fit
//!    any more it is asked again, [`TRIES`] times.
//! 3. A scheduler that cannot be reached is left alone for a while ([`Questions::rest`]): all that waits for it is placed
//!    otherwise, or waits on.

use std::collections::{BTreeMap, BTreeSet};

use model::time::Instant;

/// Questions that are under way at most.
pub const OPEN: usize = 16;
/// How often one place is asked for before its answers are given up, since they fit no longer when they come.
pub const TRIES: u32 = 3;

/// What came of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The id or name of a candidate.
    Choose(String),
    /// No candidate, and why.
    Nobody(String),
    /// An answer that cannot be used: what is wrong with it.
    Unusable(String),
    /// None: the scheduler cannot be reached, does not answer in time, or fails.
    Silence(String),
}

/// What is known where something is to be placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look<'q> {
    /// Nothing yet.
    Wait,
    /// This came, to the question that was asked so often.
    Answered(&'q Answer, u32),
    /// The scheduler is left alone, for this reason.
    Rests(&'q str),
}

#[derive(Debug, Clone)]
struct Question {
    number: u64,
    /// What it was about.
    key: u64,
    tries: u32,
    due: Instant,
    answer: Option<Answer>,
}

/// The questions about places for things of one kind.
#[derive(Debug, Clone)]
pub struct Questions<S> {
    last: u64,
    known: BTreeMap<S, Question>,
    /// Those without an answer.
    open: BTreeSet<(Instant, S)>,
    rests: Option<(Instant, String)>,
}

impl<S> Default for Questions<S> {
    fn default() -> Self {
        Self {
            last: 0,
            known: BTreeMap::new(),
            open: BTreeSet::new(),
            rests: None,
        }
    }
}

impl<S: Ord + Clone> Questions<S> {
    /// What is known about a place for `of`; what `key` says may have changed since it was asked.
    pub fn look(&self, of: &S, key: u64) -> Look<'_> {
        if let Some((_, why)) = &self.rests {
            return Look::Rests(why);
        }
        let known = self.known.get(of).filter(|known| known.key == key);
        known
            .and_then(|known| Some(Look::Answered(known.answer.as_ref()?, known.tries)))
            .unwrap_or(Look::Wait)
    }

    /// Whether a question about anything may go out now.
    pub fn has_room(&self) -> bool {
        self.rests.is_none() && self.open.len() < OPEN
    }

    /// Whether a question about it may go out now.
    pub fn may_ask(&self, of: &S, key: u64) -> bool {
        let is_open = |known: &Question| known.answer.is_none() && known.key == key;
        self.has_room() && !self.known.get(of).is_some_and(is_open)
    }

    /// The number of the next question.
    pub const fn next(&self) -> u64 {
        self.last + 1
    }

    /// A question goes out, to be answered by `due`.
    pub fn ask(&mut self, of: &S, key: u64, due: Instant) {
        self.last += 1;
        let tries = match self.known.get(of) {
            Some(known) if known.key == key => known.tries + 1,
            Some(_) | None => 1,
        };
        self.forget(of);
        self.open.insert((due, of.clone()));
        let question = Question {
            number: self.last,
            key,
            tries,
            due,
            answer: None,
        };
        self.known.insert(of.clone(), question);
    }

    /// Whether an answer to that question is still waited for.
    pub fn awaits(&self, of: &S, number: u64) -> bool {
        let known = self.known.get(of);
        known.is_some_and(|known| known.number == number && known.answer.is_none())
    }

    /// An answer came.
    pub fn answer(&mut self, of: &S, answer: &Answer) {
        if let Some(known) = self.known.get_mut(of) {
            self.open.remove(&(known.due, of.clone()));
            known.answer = Some(answer.clone());
        }
    }

    /// Nothing is to be placed any more, or the answer was used.
    pub fn forget(&mut self, of: &S) {
        if let Some(known) = self.known.remove(of) {
            self.open.remove(&(known.due, of.clone()));
        }
    }

    /// The first question that nobody answered in time.
    pub fn overdue(&self, now: Instant) -> Option<&S> {
        let (due, of) = self.open.first()?;
        (*due <= now).then_some(of)
    }

    /// The scheduler is left alone until then. What it was asked is forgotten, and returned.
    pub fn rest(&mut self, until: Instant, why: &str) -> Vec<S> {
        self.rests = Some((until, why.to_owned()));
        self.open.clear();
        std::mem::take(&mut self.known).into_keys().collect()
    }

    /// Whether it has been left alone for long enough.
    pub fn is_rested(&self, now: Instant) -> bool {
        self.rests.as_ref().is_some_and(|(until, _)| *until <= now)
    }

    /// It is asked again.
    pub fn resume(&mut self) {
        self.rests = None;
    }

    /// Another scheduler: nothing that this one was asked counts. What it was asked is returned.
    pub fn clear(&mut self) -> Vec<S> {
        self.rests = None;
        self.open.clear();
        std::mem::take(&mut self.known).into_keys().collect()
    }

    /// When something of it is due.
    pub fn next_at(&self) -> Option<Instant> {
        let rests = self.rests.as_ref().map(|(until, _)| *until);
        let open = self.open.first().map(|(due, _)| *due);
        rests.into_iter().chain(open).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> Instant {
        Instant::default().plus(std::time::Duration::from_secs(second))
    }

    #[test]
    fn an_answer_is_found_by_what_it_was_asked_for() {
        let mut questions = Questions::default();
        assert_eq!(questions.look(&"a", 1), Look::Wait);
        assert!(questions.may_ask(&"a", 1));
        questions.ask(&"a", 1, at(2));
        assert!(!questions.may_ask(&"a", 1), "it is asked already");
        assert!(questions.awaits(&"a", 1) && !questions.awaits(&"a", 2));
        let there = Answer::Choose("there".to_owned());
        questions.answer(&"a", &there);
        assert_eq!(questions.look(&"a", 1), Look::Answered(&there, 1));
        assert_eq!(questions.look(&"a", 2), Look::Wait, "the document changed");
        // It did not fit any more.
        assert!(questions.may_ask(&"a", 1));
        questions.ask(&"a", 1, at(3));
        assert!(!questions.awaits(&"a", 1), "an old answer that comes late");
        questions.answer(&"a", &there);
        assert_eq!(questions.look(&"a", 1), Look::Answered(&there, 2));
        questions.forget(&"a");
        assert_eq!(questions.next_at(), None);
        assert_eq!(questions.look(&"a", 1), Look::Wait);
    }

    #[test]
    fn few_questions_are_under_way_and_each_has_its_time() {
        let mut questions = Questions::default();
        for number in 0..OPEN {
            assert!(questions.may_ask(&number, 0));
            questions.ask(&number, 0, at(10 - number as u64 % 3));
        }
        assert!(!questions.may_ask(&OPEN, 0));
        assert_eq!(questions.overdue(at(7)), None);
        assert_eq!(questions.next_at(), Some(at(8)));
        assert_eq!(questions.overdue(at(8)), Some(&2));
        questions.answer(&2, &Answer::Nobody(String::new()));
        assert!(questions.may_ask(&OPEN, 0));
    }

    #[test]
    fn what_is_left_alone_answers_nobody_until_it_is_asked_again() {
        let mut questions = Questions::default();
        questions.ask(&"a", 0, at(1));
        questions.ask(&"b", 0, at(1));
        assert_eq!(questions.rest(at(9), "it is gone"), ["a", "b"]);
        assert_eq!(questions.look(&"a", 0), Look::Rests("it is gone"));
        assert!(!questions.may_ask(&"c", 0) && !questions.awaits(&"a", 1));
        assert_eq!(
            (questions.next_at(), questions.is_rested(at(8))),
            (Some(at(9)), false)
        );
        assert!(questions.is_rested(at(9)));
        questions.resume();
        assert_eq!(questions.look(&"a", 0), Look::Wait);
        assert_eq!(questions.next(), 3, "numbers are never used twice");
    }
}
