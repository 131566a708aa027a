//! The outputs of several instances as one text.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use model::book;
use model::id::{InstanceId, JobId};
use protocol::message::reply::End;
use protocol::problem::Problem;
use rest::ApiError;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::lines::Lines;
use super::target::{self, Target, Which};
use super::{FOLLOWED, Holders, Logs, Part, RETRY};
use crate::streams::{Asked, Came, Reader, Wanted};
use crate::{Jobs, clock};

/// How long a child may take to say that it heard a question.
const ANSWER: Duration = Duration::from_secs(5);
/// Between two looks for new instances, and at a child that could not be asked.
const LOOK: Duration = Duration::from_secs(1);

/// A text under way.
pub(super) struct Merge<C: Jobs, H: Holders> {
    logs: Logs<C, H>,
    asked: book::Asked,
    job: JobId,
    which: Which,
    part: Part,
    news: Arc<Notify>,
    /// Instances that were met.
    seen: HashSet<InstanceId>,
    waiting: VecDeque<Target<H::Child>>,
    open: Vec<Source<H>>,
    /// Whose turn it is first.
    turn: usize,
    look_at: Instant,
    is_over: bool,
    /// The last look was not answered.
    is_unanswered: bool,
}

/// One output under way.
struct Source<H: Holders> {
    target: Target<H::Child>,
    lines: Lines,
    state: State<H>,
    /// When the last text came, by our clock; a question that is asked again begins there.
    last: Option<model::time::Wall>,
    /// It was said that it cannot be heard.
    is_told: bool,
}

enum State<H: Holders> {
    /// Asked, and not heard until then.
    Asked(Reader<H::Child>, Instant),
    /// Answered.
    Heard(Reader<H::Child>),
    /// Asked again then.
    Away(Instant),
    /// At its end.
    Over,
}

impl<C: Jobs, H: Holders> Merge<C, H> {
    pub(super) fn new(
        logs: Logs<C, H>,
        (asked, job): (book::Asked, JobId),
        which: Which,
        part: Part,
        targets: Vec<Target<H::Child>>,
    ) -> Self {
        Self {
            logs,
            asked,
            job,
            which,
            part,
            news: Arc::new(Notify::new()),
            seen: targets.iter().map(|target| target.instance).collect(),
            waiting: targets.into(),
            open: Vec::new(),
            turn: 0,
            look_at: Instant::now() + LOOK,
            is_over: false,
            is_unanswered: false,
        }
    }

    /// Asks for the first; where there is only one, waits until it is known whether it can be read.
    ///
    /// # Errors
    /// What the client is told instead of a text.
    pub(super) async fn begin(&mut self) -> Result<(), ApiError> {
        let is_only = self.waiting.len() == 1;
        let Some(first) = self.waiting.pop_front() else {
            return Ok(());
        };
        let mut source = Source::new(first, self.prefix());
        let deadline = Instant::now() + ANSWER;
        loop {
            source
                .ask(&self.logs, self.part, &self.news)
                .map_err(|full| ApiError::from(Problem::unavailable(full)).after(RETRY))?;
            if !is_only {
                break;
            }
            let asked = source.answered(&self.news, deadline).await;
            let who = source.target.holder_name.clone();
            match asked {
                Asked::Heard | Asked::Ended(End::Done) => break,
                Asked::Ended(End::NoSuchInstance) if source.next_holder() => {}
                // It was placed there a moment ago.
                Asked::Ended(End::NoSuchInstance) if source.target.is_there => break,
                Asked::Ended(End::NoSuchInstance) => {
                    let detail =
                        "nothing is kept of its output any more; the end of it is kept for an hour";
                    return Err(Problem::new(404, "no_such_instance", detail).into());
                }
                Asked::Waits | Asked::Ended(End::Gone) => {
                    let detail = format!("{who} cannot be heard now; try again when it is");
                    return Err(Problem::unavailable(detail).into());
                }
                Asked::Ended(End::Busy) => {
                    let detail =
                        format!("{who} answers as many readers as it can; try again later");
                    return Err(ApiError::from(Problem::unavailable(detail)).after(RETRY));
                }
                Asked::Ended(End::Failed | End::Overrun | End::Unknown) => {
                    let detail = format!("{who} cannot read it; its own log says why");
                    return Err(Problem::unavailable(detail).into());
                }
            }
        }
        self.open.push(source);
        Ok(())
    }

    /// The next of the text; `None` at its end. Safe to cancel.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        loop {
            self.fill();
            let text = self.round();
            if !text.is_empty() {
                return Some(Bytes::from(text));
            }
            self.open
                .retain(|source| !matches!(source.state, State::Over));
            let is_idle = self.open.is_empty() && self.waiting.is_empty();
            if is_idle && (!self.part.follow || self.is_over || self.is_one_that_ended()) {
                return None;
            }
            if self.open.is_empty() && !self.waiting.is_empty() {
                continue;
            }
            let deadline = self.deadline();
            tokio::select! {
                () = self.news.notified() => {}
                () = tokio::time::sleep_until(deadline) => {}
            }
            if self.part.follow && Instant::now() >= self.look_at {
                self.look().await?;
            }
        }
    }

    fn prefix(&self) -> fn(&Target<H::Child>) -> String {
        match self.which {
            Which::All => |target| format!("{} | ", target.label),
            Which::Instance(_) | Which::Slot(..) => |_| String::new(),
        }
    }

    /// Of one copy that was asked for, nothing comes after its end.
    fn is_one_that_ended(&self) -> bool {
        matches!(self.which, Which::Instance(_)) && !self.seen.is_empty()
    }

    /// One after another without `follow`, all at once with it.
    fn fill(&mut self) {
        let limit = if self.part.follow { FOLLOWED } else { 1 };
        while self.open.len() < limit
            && let Some(target) = self.waiting.pop_front()
        {
            let mut source = Source::new(target, self.prefix());
            if source.ask(&self.logs, self.part, &self.news).is_err() {
                // Somebody else has to leave first.
                source.state = State::Away(Instant::now() + LOOK);
            }
            self.open.push(source);
        }
    }

    /// What came, of the first that has something, beginning behind the one that had its turn.
    fn round(&mut self) -> String {
        let count = self.open.len();
        for step in 0..count {
            let at = (self.turn + step) % count;
            let Some(source) = self.open.get_mut(at) else {
                continue;
            };
            let text = source.step(&self.logs, self.part, &self.news);
            if !text.is_empty() {
                self.turn = at + 1;
                return text;
            }
        }
        String::new()
    }

    fn deadline(&self) -> Instant {
        let sources = self.open.iter().filter_map(|source| match &source.state {
            State::Asked(_, deadline) | State::Away(deadline) => Some(*deadline),
            // Credit that could not be told is tried again.
            State::Heard(_) => Some(Instant::now() + LOOK),
            State::Over => None,
        });
        let look = self.part.follow.then_some(self.look_at);
        let far = Instant::now() + ANSWER;
        sources.chain(look).min().unwrap_or(far)
    }

    /// Joins in what is new of the job. `None` at the end of the orchestrator.
    async fn look(&mut self) -> Option<()> {
        let key = self.job.to_string();
        let sight = target::look(&self.logs, &self.asked, &key, &self.which).await;
        self.look_at = Instant::now() + LOOK;
        let Ok(sight) = sight else {
            // Once may be overload; the outputs that are open go on meanwhile.
            return (!std::mem::replace(&mut self.is_unanswered, true)).then_some(());
        };
        self.is_unanswered = false;
        let Some(sight) = sight else {
            self.is_over = true;
            return Some(());
        };
        self.is_over = sight.is_over;
        for target in sight.targets {
            if target.is_there && self.seen.insert(target.instance) {
                self.waiting.push_back(target);
            }
        }
        Some(())
    }
}

impl<H: Holders> Source<H> {
    fn new(target: Target<H::Child>, prefix: fn(&Target<H::Child>) -> String) -> Self {
        Self {
            lines: Lines::new(prefix(&target)),
            state: State::Over,
            target,
            last: None,
            is_told: false,
        }
    }

    fn ask<C: Jobs>(
        &mut self,
        logs: &Logs<C, H>,
        part: Part,
        news: &Arc<Notify>,
    ) -> Result<(), String> {
        let Some(holder) = self.target.holders.first() else {
            self.state = State::Over;
            return Ok(());
        };
        let again = self.last.map(|last| last.0.saturating_sub(1_000));
        let wanted = Wanted {
            instance: self.target.instance,
            follow: part.follow,
            tail: part.tail.filter(|_| again.is_none()),
            since: again.map(model::time::Wall).or(part.since),
        };
        let reader = logs.streams.read(*holder, &wanted, Arc::clone(news));
        let reader = reader.map_err(|full| full.to_string())?;
        self.state = State::Asked(reader, Instant::now() + ANSWER);
        Ok(())
    }

    /// Takes the next holder; `false` where there is none.
    fn next_holder(&mut self) -> bool {
        if self.target.holders.len() < 2 {
            return false;
        }
        self.target.holders.remove(0);
        true
    }

    async fn answered(&self, news: &Notify, deadline: Instant) -> Asked {
        let State::Asked(reader, _) = &self.state else {
            return Asked::Ended(End::NoSuchInstance);
        };
        loop {
            let asked = reader.asked();
            if asked != Asked::Waits || Instant::now() >= deadline {
                return asked;
            }
            tokio::select! {
                () = news.notified() => {}
                () = tokio::time::sleep_until(deadline) => {}
            }
        }
    }

    /// What there is to say now; may be empty.
    fn step<C: Jobs>(&mut self, logs: &Logs<C, H>, part: Part, news: &Arc<Notify>) -> String {
        let came = match &mut self.state {
            State::Over => return String::new(),
            State::Away(at) if Instant::now() < *at => return String::new(),
            State::Away(_) => {
                if self.ask(logs, part, news).is_err() {
                    self.state = State::Away(Instant::now() + LOOK);
                }
                return String::new();
            }
            State::Asked(reader, _) | State::Heard(reader) => reader.take(),
        };
        match came {
            Came::Nothing => match &self.state {
                State::Asked(_, deadline) if Instant::now() >= *deadline => {
                    self.ended(End::Gone, part)
                }
                State::Asked(..) | State::Heard(_) | State::Away(_) | State::Over => String::new(),
            },
            Came::Heard => {
                self.heard();
                String::new()
            }
            Came::Text(text) => {
                self.heard();
                self.last = Some(clock::now().wall);
                self.lines.push(&text)
            }
            Came::Lost => self.lines.notice("a part was lost on the way"),
            Came::End(end) => self.ended(end, part),
        }
    }

    fn heard(&mut self) {
        self.is_told = false;
        self.state = match std::mem::replace(&mut self.state, State::Over) {
            State::Asked(reader, _) => State::Heard(reader),
            other => other,
        };
    }

    fn ended(&mut self, end: End, part: Part) -> String {
        let who = &self.target.holder_name;
        let why = match end {
            End::Done => {
                self.state = State::Over;
                return self.lines.close();
            }
            End::NoSuchInstance => {
                let is_expected = self.target.is_there && part.follow;
                self.state = if self.next_holder() || is_expected {
                    State::Away(Instant::now() + LOOK)
                } else {
                    State::Over
                };
                return String::new();
            }
            End::Gone => format!("{who} cannot be heard now"),
            End::Busy => format!("{who} answers as many readers as it can"),
            End::Failed | End::Overrun | End::Unknown => {
                let why = format!("{who} cannot read it; its own log says why");
                self.state = State::Over;
                return self.lines.notice(&why);
            }
        };
        self.state = if part.follow {
            State::Away(Instant::now() + LOOK)
        } else {
            State::Over
        };
        if std::mem::replace(&mut self.is_told, true) {
            return String::new();
        }
        self.lines.notice(&why)
    }
}
