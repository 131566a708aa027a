//! What a scheduler elsewhere was asked and what it said, as both tiers keep it: in memory alone, since whatever is still to
//! be placed after a restart is asked about again.
//!
//! # Flow
//! 1. What is to be placed looks here ([`Questions::look`]). Where nothing is known it waits ([`Questions::wait`]), and a
//!    question goes out ([`Questions::next_to_ask`]).
//! 2. The answer comes ([`Questions::heard`]) and is used by the next look, against what is free then. Where it does not fit
//!    any more it is asked again, [`TRIES`] times.
//! 3. A scheduler that cannot be reached is left alone for a while ([`Note::Rests`]): all that waits for it is placed
//!    otherwise, or waits on.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use model::desired::Desired;
use model::job::PlacementRules;
use model::time::Instant;

/// Questions that are under way at most.
pub const OPEN: usize = 16;
/// How often one place is asked for before its answers are given up, since they fit no longer when they come.
pub const TRIES: u32 = 3;

/// What a scheduler elsewhere is to be asked about something that waits for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Asks<I> {
    /// Tells apart what makes it another question.
    pub key: u64,
    /// Where it may run.
    pub rules: PlacementRules,
    /// Candidates that must not have it.
    pub except: Vec<I>,
}

impl<I: std::fmt::Debug> Asks<I> {
    /// Where `wanted` is to run, by these rules and without those.
    pub fn new(wanted: &Desired, rules: &PlacementRules, except: Vec<I>) -> Self {
        let workload = &wanted.service.workload;
        // Nobody keeps it, so it need not be the same in another version of this program.
        let mut key = DefaultHasher::new();
        format!("{} {rules:?} {except:?}", workload.hash).hash(&mut key);
        Self {
            key: key.finish(),
            rules: rules.clone(),
            except,
        }
    }
}

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

/// What becomes of the questions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note<S> {
    /// The next question went out.
    Asked {
        /// About what.
        of: S,
        /// What makes it another question.
        key: u64,
        /// When it counts as not answered.
        due: Instant,
    },
    /// An answer came.
    Answered {
        /// About what.
        of: S,
        /// Which.
        answer: Answer,
    },
    /// The scheduler cannot be reached, and is left alone.
    Rests {
        /// Until when.
        until: Instant,
        /// What happened.
        why: String,
    },
    /// It is asked again.
    Resumes,
}

#[derive(Debug, Clone)]
struct Question {
    number: u64,
    /// What it was about.
    key: u64,
    tries: u32,
    due: Instant,
    answer: Option<Answer>,
    /// Something became free after it was asked: who declined may not decline now.
    outdated: bool,
}

impl Question {
    const fn is_declined(&self) -> bool {
        matches!(self.answer, Some(Answer::Nobody(_)))
    }
}

/// The questions about places for things of one kind.
#[derive(Debug, Clone)]
pub struct Questions<S> {
    last: u64,
    known: BTreeMap<S, Question>,
    /// Those without an answer.
    open: BTreeSet<(Instant, S)>,
    /// What waits for an answer, by what it is to be asked.
    waits: BTreeMap<S, u64>,
    rests: Option<(Instant, String)>,
}

impl<S> Default for Questions<S> {
    fn default() -> Self {
        Self {
            last: 0,
            known: BTreeMap::new(),
            open: BTreeSet::new(),
            waits: BTreeMap::new(),
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
        match known.and_then(|known| Some((known, known.answer.as_ref()?))) {
            Some((known, Answer::Nobody(_))) if known.outdated => Look::Wait,
            Some((known, answer)) => Look::Answered(answer, known.tries),
            None => Look::Wait,
        }
    }

    /// It waits for an answer to that.
    pub fn wait(&mut self, of: &S, key: u64) {
        self.waits.insert(of.clone(), key);
    }

    /// It waits for something else than an answer. That it was declined is remembered.
    pub fn wait_no_longer(&mut self, of: &S) {
        self.waits.remove(of);
        if !self.known.get(of).is_some_and(Question::is_declined) {
            self.drop_question(of);
        }
    }

    /// It waits no more: it is placed, or not wanted.
    pub fn forget(&mut self, of: &S) {
        self.waits.remove(of);
        self.drop_question(of);
    }

    /// Something became free: what was declined is asked about again when it is looked at.
    pub fn reconsider(&mut self) {
        for known in self.known.values_mut() {
            known.outdated = true;
        }
    }

    /// What the next question is about, if one may go out now.
    pub fn next_to_ask(&self) -> Option<&S> {
        // Else all that wait would be looked at in vain, each turn.
        if self.rests.is_some() || self.open.len() >= OPEN {
            return None;
        }
        let is_open = |known: &Question, key| known.answer.is_none() && known.key == key;
        let mut waits = self.waits.iter();
        let next = waits.find(|(of, key)| {
            let known = self.known.get(*of);
            !known.is_some_and(|known| is_open(known, **key))
        });
        next.map(|(of, _)| of)
    }

    /// The number of the next question.
    pub const fn next(&self) -> u64 {
        self.last + 1
    }

    /// What an answer to the question of that number means, if it is waited for still; `until`: where there was none, the
    /// scheduler is left alone until then.
    pub fn heard(&self, of: &S, number: u64, answer: &Answer, until: Instant) -> Option<Note<S>> {
        let known = self.known.get(of)?;
        if known.number != number || known.answer.is_some() {
            return None;
        }
        Some(match answer {
            Answer::Silence(why) => Note::Rests {
                until,
                why: why.clone(),
            },
            Answer::Choose(_) | Answer::Nobody(_) | Answer::Unusable(_) => Note::Answered {
                of: of.clone(),
                answer: answer.clone(),
            },
        })
    }

    /// What time brings: the end of a rest, or a question that nobody answered, after which the scheduler rests until `until`.
    pub fn due(&self, now: Instant, until: Instant) -> Option<Note<S>> {
        if let Some((end, _)) = &self.rests {
            return (*end <= now).then_some(Note::Resumes);
        }
        let (due, _) = self.open.first()?;
        (*due <= now).then(|| Note::Rests {
            until,
            why: "no answer came".to_owned(),
        })
    }

    /// Takes in what became of them: what is to be looked at again.
    pub fn take(&mut self, note: &Note<S>) -> Vec<S> {
        match note {
            Note::Asked { of, key, due } => {
                self.ask(of, *key, *due);
                Vec::new()
            }
            Note::Answered { of, answer } => {
                if let Some(known) = self.known.get_mut(of) {
                    self.open.remove(&(known.due, of.clone()));
                    known.answer = Some(answer.clone());
                }
                vec![of.clone()]
            }
            Note::Rests { until, why } => self.begin_anew(Some((*until, why.clone()))),
            Note::Resumes => {
                self.rests = None;
                Vec::new()
            }
        }
    }

    /// Another scheduler: nothing that this one was asked counts. What is to be looked at again.
    pub fn exchange(&mut self) -> Vec<S> {
        self.begin_anew(None)
    }

    /// When something of it is due.
    pub fn next_at(&self) -> Option<Instant> {
        let rests = self.rests.as_ref().map(|(until, _)| *until);
        let open = self.open.first().map(|(due, _)| *due);
        rests.into_iter().chain(open).min()
    }

    /// Why the scheduler is left alone, if it is.
    pub fn rests(&self) -> Option<&str> {
        self.rests.as_ref().map(|(_, why)| why.as_str())
    }

    fn begin_anew(&mut self, rests: Option<(Instant, String)>) -> Vec<S> {
        self.rests = rests;
        self.open.clear();
        self.known.clear();
        self.waits.keys().cloned().collect()
    }

    fn ask(&mut self, of: &S, key: u64, due: Instant) {
        self.last += 1;
        let tries = match self.known.get(of) {
            Some(known) if known.key == key && !known.is_declined() => known.tries + 1,
            Some(_) | None => 1,
        };
        self.drop_question(of);
        self.open.insert((due, of.clone()));
        let question = Question {
            number: self.last,
            key,
            tries,
            due,
            answer: None,
            outdated: false,
        };
        self.known.insert(of.clone(), question);
    }

    fn drop_question(&mut self, of: &S) {
        if let Some(known) = self.known.remove(of) {
            self.open.remove(&(known.due, of.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> Instant {
        Instant::default().plus(std::time::Duration::from_secs(second))
    }

    fn ask<S: Ord + Clone>(questions: &mut Questions<S>, of: S, key: u64, due: Instant) {
        questions.wait(&of, key);
        questions.take(&Note::Asked { of, key, due });
    }

    fn answer<S: Ord + Clone>(questions: &mut Questions<S>, of: &S, number: u64, answer: &Answer) {
        if let Some(note) = questions.heard(of, number, answer, at(99)) {
            questions.take(&note);
        }
    }

    #[test]
    fn an_answer_is_found_by_what_it_was_asked_for() {
        let mut questions = Questions::default();
        assert_eq!(questions.look(&"a", 1), Look::Wait);
        questions.wait(&"a", 1);
        assert_eq!(questions.next_to_ask(), Some(&"a"));
        ask(&mut questions, "a", 1, at(2));
        assert_eq!(questions.next_to_ask(), None, "it is asked already");
        let there = Answer::Choose("there".to_owned());
        assert_eq!(questions.heard(&"a", 2, &there, at(9)), None);
        answer(&mut questions, &"a", 1, &there);
        assert_eq!(questions.look(&"a", 1), Look::Answered(&there, 1));
        assert_eq!(questions.look(&"a", 2), Look::Wait, "the document changed");
        // It did not fit any more.
        assert_eq!(questions.next_to_ask(), Some(&"a"));
        ask(&mut questions, "a", 1, at(3));
        let late = questions.heard(&"a", 1, &there, at(9));
        assert_eq!(late, None, "an old answer that comes late");
        answer(&mut questions, &"a", 2, &there);
        assert_eq!(questions.look(&"a", 1), Look::Answered(&there, 2));
        questions.forget(&"a");
        assert_eq!(questions.next_at(), None);
        assert_eq!(questions.look(&"a", 1), Look::Wait);
    }

    #[test]
    fn few_questions_are_under_way_and_each_has_its_time() {
        let mut questions = Questions::default();
        for number in 0..OPEN {
            questions.wait(&number, 0);
            assert_eq!(questions.next_to_ask(), Some(&number));
            ask(&mut questions, number, 0, at(10 - number as u64 % 3));
        }
        questions.wait(&OPEN, 0);
        assert_eq!(questions.next_to_ask(), None);
        assert_eq!(questions.due(at(7), at(9)), None);
        assert_eq!(questions.next_at(), Some(at(8)));
        let silent = questions.due(at(8), at(99));
        assert!(matches!(silent, Some(Note::Rests { until, .. }) if until == at(99)));
        answer(&mut questions, &2, 3, &Answer::Nobody(String::new()));
        questions.wait_no_longer(&2);
        assert_eq!(questions.next_to_ask(), Some(&OPEN));
    }

    #[test]
    fn what_is_left_alone_answers_nobody_until_it_is_asked_again() {
        let mut questions = Questions::default();
        ask(&mut questions, "a", 0, at(1));
        ask(&mut questions, "b", 0, at(1));
        let silence = Answer::Silence("it is gone".to_owned());
        let rests = questions.heard(&"a", 1, &silence, at(9)).unwrap();
        assert_eq!(questions.take(&rests), ["a", "b"]);
        assert_eq!(questions.look(&"a", 0), Look::Rests("it is gone"));
        assert_eq!(questions.rests(), Some("it is gone"));
        questions.wait(&"c", 0);
        assert_eq!(questions.next_to_ask(), None);
        assert_eq!(questions.heard(&"b", 2, &silence, at(9)), None);
        assert_eq!(questions.next_at(), Some(at(9)));
        assert_eq!(questions.due(at(8), at(99)), None);
        assert_eq!(questions.due(at(9), at(99)), Some(Note::Resumes));
        questions.take(&Note::Resumes);
        assert_eq!(questions.look(&"a", 0), Look::Wait);
        assert_eq!(questions.next(), 3, "numbers are never used twice");
    }

    #[test]
    fn what_was_declined_is_asked_again_once_something_became_free() {
        let mut questions = Questions::default();
        let nobody = Answer::Nobody("all are asleep".to_owned());
        ask(&mut questions, "a", 0, at(1));
        answer(&mut questions, &"a", 1, &nobody);
        questions.wait_no_longer(&"a");
        let declined = Look::Answered(&nobody, 1);
        assert_eq!(questions.look(&"a", 0), declined, "it is remembered");
        assert_eq!(questions.next_to_ask(), None);
        questions.reconsider();
        assert_eq!(questions.look(&"a", 0), Look::Wait);
        // What became free while it was asked was perhaps not offered.
        ask(&mut questions, "a", 0, at(2));
        questions.reconsider();
        answer(&mut questions, &"a", 2, &nobody);
        assert_eq!(questions.look(&"a", 0), Look::Wait);
        ask(&mut questions, "a", 0, at(3));
        answer(&mut questions, &"a", 3, &nobody);
        assert_eq!(questions.look(&"a", 0), declined);
        // A choice is checked against what is free anyway.
        ask(&mut questions, "a", 0, at(4));
        questions.reconsider();
        let there = Answer::Choose("there".to_owned());
        answer(&mut questions, &"a", 4, &there);
        assert!(matches!(questions.look(&"a", 0), Look::Answered(..)));
    }

    #[test]
    fn another_scheduler_is_asked_anew() {
        let mut questions = Questions::default();
        ask(&mut questions, "a", 0, at(1));
        questions.take(&Note::Rests {
            until: at(9),
            why: "it is gone".to_owned(),
        });
        assert_eq!(questions.exchange(), ["a"]);
        assert_eq!(questions.next_to_ask(), Some(&"a"));
    }
}
