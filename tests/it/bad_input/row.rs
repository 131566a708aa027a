//! One case, and what became of all.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::rig::Rig;

/// How long a row may take that does not say so itself.
const LIMIT: Duration = Duration::from_secs(5);

/// What was wrong, if anything.
pub(crate) type Verdict = Result<(), String>;

/// Sends something and judges what comes back.
type Act = Box<dyn Fn(&Rig) -> Verdict>;

/// One case.
pub(crate) struct Row {
    name: String,
    act: Act,
    limit: Duration,
    todo: Option<&'static str>,
}

impl Row {
    /// A case by its name.
    pub(crate) fn new(name: impl Into<String>, act: impl Fn(&Rig) -> Verdict + 'static) -> Self {
        Self {
            name: name.into(),
            act: Box::new(act),
            limit: LIMIT,
            todo: None,
        }
    }

    /// With more time.
    pub(crate) fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Known to fail: it is printed, and fails nothing.
    #[expect(dead_code, reason = "used while something is open")]
    pub(crate) fn todo(mut self, why: &'static str) -> Self {
        self.todo = Some(why);
        self
    }

    fn judge(&self, rig: &Rig) -> Verdict {
        let begun = Instant::now();
        (self.act)(rig)?;
        let took = begun.elapsed();
        if took > self.limit {
            return Err(format!("took {took:?}"));
        }
        rig.answers()
    }
}

/// What became of the rows.
#[derive(Default)]
pub(crate) struct Outcome {
    rows: usize,
    failed: Vec<String>,
}

impl Outcome {
    /// Runs a row and keeps what is wrong.
    pub(crate) fn run(&mut self, kind: &str, row: &Row, rig: &Rig) {
        self.rows += 1;
        let verdict = row.judge(rig);
        match (verdict, row.todo) {
            (Ok(()), None) => {}
            (Ok(()), Some(why)) => eprintln!("{kind}: {}: no longer open: {why}", row.name),
            (Err(got), Some(why)) => eprintln!("{kind}: {}: open: {why}: {got}", row.name),
            (Err(got), None) => self.take(&format!("{kind}: {}", row.name), Err(got)),
        }
    }

    /// Keeps what is wrong with something that is no row.
    pub(crate) fn take(&mut self, name: &str, verdict: Verdict) {
        if let Err(got) = verdict {
            self.failed.push(format!("{name}: {got}"));
        }
    }

    /// How many there were.
    pub(crate) const fn rows(&self) -> usize {
        self.rows
    }

    /// Fails if anything did.
    pub(crate) fn finish(self) {
        let failed = self.failed.len();
        let told = self.failed.iter().fold(String::new(), |mut text, one| {
            let _ = write!(text, "\n- {one}");
            text
        });
        assert!(failed == 0, "{failed} of {} rows:{told}", self.rows);
    }
}

/// A text that is not too long to be read.
pub(crate) fn clipped(text: &str) -> String {
    let end = text.floor_char_boundary(600);
    text.get(..end).unwrap_or_default().to_owned()
}
