//! Colours, on terminals whose user does not refuse them (<https://no-color.org>).

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, IsTerminal};
use std::sync::LazyLock;

static STDOUT: LazyLock<bool> = LazyLock::new(|| wanted() && io::stdout().is_terminal());
static STDERR: LazyLock<bool> = LazyLock::new(|| wanted() && io::stderr().is_terminal());

/// Words of the contract, with the colour of how that is.
const WORDS: [(&str, &str); 24] = [
    ("RUNNING", GREEN),
    ("ACTIVE", GREEN),
    ("ALIVE", GREEN),
    ("FAILED", RED),
    ("NOT_DEPLOYED", RED),
    ("LOST", RED),
    ("INACTIVE", RED),
    ("UNKNOWN", YELLOW),
    ("REQUESTED", YELLOW),
    ("SCHEDULED_CLUSTER", YELLOW),
    ("SCHEDULED_NODE", YELLOW),
    ("MIGRATING", YELLOW),
    ("SCALING", YELLOW),
    ("SUSPECT", YELLOW),
    ("RECONNECTING", YELLOW),
    ("DEGRADED", YELLOW),
    ("CORDONED", YELLOW),
    ("DRAINING", YELLOW),
    ("QUARANTINED", YELLOW),
    ("TERMINATED", DIM),
    ("(stale)", YELLOW),
    ("(terminating)", DIM),
    ("Reason:", BOLD),
    ("Try:", BOLD),
];
const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";
const DIM: &str = "2";
const BOLD: &str = "1";

/// Whether standard output has colours.
pub(super) fn on_stdout() -> bool {
    *STDOUT
}

/// Whether standard error has colours.
pub(super) fn on_stderr() -> bool {
    *STDERR
}

fn wanted() -> bool {
    let is = |name: &str, meaning: fn(&str) -> bool| {
        std::env::var_os(name).is_some_and(|value| meaning(&value.to_string_lossy()))
    };
    !is("NO_COLOR", |value| !value.is_empty()) && !is("TERM", |value| value == "dumb")
}

/// The beginning of a complaint.
pub(super) fn error(text: &str) -> String {
    format!("\x1b[1;{RED}m{text}\x1b[0m")
}

/// A line with its states in colour. It must be clean: colours are the only sequences in it afterwards.
pub(super) fn states(line: &str) -> Cow<'_, str> {
    let colour = |word: &str| WORDS.iter().find(|(known, _)| *known == word);
    let ends = [' ', ','];
    if !line.split(ends).any(|word| colour(word).is_some()) {
        return Cow::Borrowed(line);
    }
    let mut painted = String::with_capacity(line.len() + 16);
    for part in line.split_inclusive(ends) {
        let word = part.trim_end_matches(ends);
        match colour(word) {
            Some((_, colour)) => {
                let end = part.strip_prefix(word).unwrap_or_default();
                let _ = write!(painted, "\x1b[{colour}m{word}\x1b[0m{end}");
            }
            None => painted.push_str(part),
        }
    }
    Cow::Owned(painted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_painted_and_nothing_else() {
        assert_eq!(
            states("a   ACTIVE,CORDONED   RUNNING_x"),
            "a   \x1b[32mACTIVE\x1b[0m,\x1b[33mCORDONED\x1b[0m   RUNNING_x"
        );
        assert!(matches!(states("no state"), Cow::Borrowed("no state")));
    }
}
