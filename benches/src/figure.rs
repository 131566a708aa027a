//! Figures: how they are shown, and how they are written for programs.

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::Context;
use serde::Serialize;
use serde_json::json;

use crate::machine::Machine;

/// What a figure should be.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Goal {
    /// The value, at least.
    AtLeast(f64),
    /// The value, at most.
    AtMost(f64),
    /// The value divided by its floor, at most.
    RatioAtMost(f64),
}

/// One figure.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Figure {
    what: String,
    value: f64,
    unit: &'static str,
    floor: Option<f64>,
    goal: Option<Goal>,
}

impl Figure {
    /// A value alone.
    pub(crate) fn new(what: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self {
            what: what.into(),
            value,
            unit,
            floor: None,
            goal: None,
        }
    }

    /// Beside what is the least that it could cost, or the most that could be had.
    pub(crate) fn floor(mut self, floor: f64) -> Self {
        self.floor = Some(floor);
        self
    }

    /// With what it should be.
    pub(crate) fn goal(mut self, goal: Goal) -> Self {
        self.goal = Some(goal);
        self
    }

    fn ratio(&self) -> Option<f64> {
        self.floor.map(|floor| self.value / floor)
    }

    fn is_met(&self) -> Option<bool> {
        Some(match self.goal? {
            Goal::AtLeast(bound) => self.value >= bound,
            Goal::AtMost(bound) => self.value <= bound,
            Goal::RatioAtMost(bound) => self.ratio()? <= bound,
        })
    }

    fn cells(&self) -> [String; 6] {
        let goal = self.goal.map(|goal| match goal {
            Goal::AtLeast(bound) => format!(">= {}", short(bound)),
            Goal::AtMost(bound) => format!("<= {}", short(bound)),
            Goal::RatioAtMost(bound) => format!("ratio <= {}", short(bound)),
        });
        let met = self.is_met().map(|met| if met { "met" } else { "MISSED" });
        [
            self.what.clone(),
            format!("{} {}", short(self.value), self.unit),
            self.floor.map(short).unwrap_or_default(),
            self.ratio()
                .map(|ratio| format!("{ratio:.3}"))
                .unwrap_or_default(),
            goal.unwrap_or_default(),
            met.unwrap_or_default().to_owned(),
        ]
    }
}

/// The figures of one benchmark.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Section {
    name: &'static str,
    /// The machine when it began.
    machine: Machine,
    figures: Vec<Figure>,
    /// How it was measured, and what one must know to read it.
    notes: Vec<String>,
}

impl Section {
    /// An empty one.
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name,
            machine: Machine::read(),
            figures: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// One that says why there are no figures.
    pub(crate) fn not_measured(name: &'static str, why: &str) -> Self {
        let mut this = Self::new(name);
        this.note(format!("not measured: {why}"));
        this
    }

    /// One more figure.
    pub(crate) fn push(&mut self, figure: Figure) {
        self.figures.push(figure);
    }

    /// One more remark.
    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Prints it as a table.
    pub(crate) fn print(&self) {
        // A closed pipe is the reader's choice.
        let _ = std::io::stdout().write_all(self.text().as_bytes());
    }

    fn text(&self) -> String {
        let head = ["", "value", "floor", "ratio", "goal", ""].map(str::to_owned);
        let rows: Vec<[String; 6]> = std::iter::once(head)
            .chain(self.figures.iter().map(Figure::cells))
            .collect();
        let width = |column: usize| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..6).map(width).collect();
        let line = |row: &[String; 6]| {
            let cells = row.iter().zip(&widths).enumerate();
            let cells = cells.map(|(column, (cell, width))| match column {
                0 => format!("  {cell:<width$}"),
                _ => format!("  {cell:>width$}"),
            });
            cells.collect::<Vec<_>>().concat().trim_end().to_owned()
        };
        let title = format!("\n{}: {}", self.name, self.machine.line());
        let notes = self.notes.iter().map(|note| format!("  - {note}"));
        let lines: Vec<String> = std::iter::once(title)
            .chain(rows.iter().map(line))
            .chain(notes)
            .collect();
        lines.join("\n") + "\n"
    }
}

/// Writes all sections to a file.
pub(crate) fn write(
    file: Option<&Path>,
    before: &Machine,
    sections: &[Section],
) -> anyhow::Result<()> {
    let Some(file) = file else { return Ok(()) };
    let all = json!({"machine": before, "sections": sections});
    let text = serde_json::to_string_pretty(&all).context("cannot write the figures as JSON")?;
    fs::write(file, text + "\n").with_context(|| format!("cannot write {}", file.display()))
}

/// Tells progress, on standard error.
pub(crate) fn tell(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Tells an error, on standard error.
pub(crate) fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "edgeio-bench: {text}");
}

/// Four digits are enough for anyone.
fn short(value: f64) -> String {
    let digits = match value.abs() {
        big if big >= 1_000.0 => 0,
        middle if middle >= 100.0 => 1,
        one if one >= 1.0 => 2,
        _ => 4,
    };
    let text = format!("{value:.digits$}");
    match text.split_once('.') {
        Some((whole, part)) => {
            let part = part.trim_end_matches('0');
            if part.is_empty() {
                whole.to_owned()
            } else {
                format!("{whole}.{part}")
            }
        }
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_held_against_the_value_or_the_ratio() {
        let figure = Figure::new("x", 105.0, "ms").floor(100.0);
        assert_eq!(figure.is_met(), None);
        let met = |goal| figure.clone().goal(goal).is_met();
        assert_eq!(met(Goal::RatioAtMost(1.15)), Some(true));
        assert_eq!(met(Goal::RatioAtMost(1.01)), Some(false));
        assert_eq!(met(Goal::AtLeast(106.0)), Some(false));
        assert_eq!(met(Goal::AtMost(105.0)), Some(true));
    }

    #[test]
    fn values_are_short() {
        assert_eq!(short(12_345.6), "12346");
        assert_eq!(short(2.0), "2");
        assert_eq!(short(0.012_34), "0.0123");
        assert_eq!(short(123.45), "123.5");
    }
}
