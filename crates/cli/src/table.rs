//! Columns for people, without borders.

mod access;
mod context;
mod describe;
mod event;
mod explanation;
mod job;
mod join_token;
mod operation;
mod place;
mod plan;
mod secret;
mod usage;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use comfy_table::{Table, presets};
use model::time::Wall;
use protocol::time::format_wall;

use crate::clean;

pub(crate) use access::{tenant, tenants, tokens, users, whoami};
pub(crate) use context::contexts;
pub(crate) use describe::{cluster, node, scheduler};
pub(crate) use event::{EventNames, event_line, event_titles, events};
pub(crate) use explanation::{Explained, explanation};
pub(crate) use job::{job, jobs};
pub(crate) use join_token::join_tokens;
pub(crate) use operation::{Operated, operated, operation, running_operation};
pub(crate) use place::{Node, clusters, nodes};
pub(crate) use plan::plan;
pub(crate) use secret::secrets;
pub(crate) use usage::{cluster_use, node_use};

/// What stands in a cell that has nothing to say.
const NOTHING: &str = "-";

/// One column: who sees it, its title, and what stands in a row of it.
struct Column<'a, T>(Seen, &'static str, &'a dyn Fn(&T) -> String);

/// When a column is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// Always.
    Always,
    /// With `-o wide`.
    Wide,
}

impl Seen {
    /// Always, or with `-o wide` if not.
    const fn always_if(condition: bool) -> Self {
        if condition { Self::Always } else { Self::Wide }
    }
}

/// The lines of a table.
fn render<T>(columns: &[Column<'_, T>], rows: &[T], wide: bool) -> Vec<String> {
    let shown = || {
        columns
            .iter()
            .filter(|Column(seen, ..)| wide || *seen == Seen::Always)
    };
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(shown().map(|Column(_, title, _)| *title));
    for row in rows {
        table.add_row(shown().map(|Column(_, _, cell)| match cell(row) {
            empty if empty.is_empty() => NOTHING.to_owned(),
            text => clean::line(&text).into_owned(),
        }));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 3));
    }
    table
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect()
}

/// This machine's clock, in milliseconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as i64)
}

/// A moment, and how long ago it was.
pub(crate) fn ago(at: Wall) -> String {
    format!("{} ({} ago)", format_wall(at), age(at.0, now()))
}

/// How long ago that was, in the largest unit that fits; a clock that runs ahead of ours shows as 0s.
fn age(at_ms: i64, now_ms: i64) -> String {
    let age = Duration::from_millis(u64::try_from(now_ms.saturating_sub(at_ms)).unwrap_or(0));
    let seconds = age.as_secs();
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Cores without the dust of floating point: `0.5`, `2`.
fn cores(cores: f64) -> String {
    let text = format!("{cores:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// `3.5/4`: free of all.
fn free_cores(free: f64, all: f64) -> String {
    format!("{}/{}", cores(free), cores(all))
}

/// `900/1000 MB`: free of all.
fn free_memory(free: u64, all: u64) -> String {
    format!("{free}/{all} MB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_cells_stay_on_their_line() {
        let rows = [
            ("a", "RUNNING"),
            ("long-name", "x\n\u{1b}[31my"),
            ("", "東京"),
        ];
        let columns: [Column<'_, (&str, &str)>; 3] = [
            Column(Seen::Always, "NAME", &|row| row.0.to_owned()),
            Column(Seen::Wide, "ID", &|_| "1".to_owned()),
            Column(Seen::Always, "STATE", &|row| row.1.to_owned()),
        ];
        assert_eq!(
            render(&columns, &rows, false),
            [
                "NAME        STATE",
                "a           RUNNING",
                "long-name   x \u{fffd}[31my",
                "-           東京"
            ]
        );
        assert_eq!(render(&columns, &rows, true)[0], "NAME        ID   STATE");
    }

    #[test]
    fn ages_are_short() {
        let table = [
            (0, "0s"),
            (119_000, "119s"),
            (120_000, "2m"),
            (7_200_000, "2h"),
            (172_800_000, "2d"),
            (-5_000, "0s"),
        ];
        for (milliseconds, shown) in table {
            assert_eq!(age(1_000_000, 1_000_000 + milliseconds), shown);
        }
        assert_eq!(free_cores(0.5, 2.0), "0.5/2");
        assert_eq!(cores(0.0), "0");
    }
}
