//! The line that tells a starter that the program serves.

use std::io::{self, Write};

use serde::Serialize;

/// Prints `value` as one line of JSON on standard output, and flushes it.
///
/// It is the first and only line there; logs go to standard error.
pub fn ready_line(value: &(impl Serialize + ?Sized)) -> io::Result<()> {
    write_line(&mut io::stdout().lock(), value)
}

fn write_line(out: &mut impl Write, value: &(impl Serialize + ?Sized)) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    out.write_all(&line)?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ready_line_is_one_line_even_with_line_breaks_inside() {
        let mut out = Vec::new();
        write_line(
            &mut out,
            &serde_json::json!({"event": "ready", "dir": "a\nb"}),
        )
        .unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, "{\"dir\":\"a\\nb\",\"event\":\"ready\"}\n");
    }
}
