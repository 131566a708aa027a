//! Text of others on a terminal: what could move the cursor, change the title or turn the line around is made visible.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether a terminal could take the character for more than a sign to show.
fn is_control(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            // Marks, embeddings and isolates of writing direction; line and paragraph separators; the byte-order mark.
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
                | '\u{2028}' | '\u{2029}' | '\u{feff}'
        )
}

/// The text on one line: white space of any kind is a space, other controls are shown as `\u{fffd}`.
pub(crate) fn line(text: &str) -> Cow<'_, str> {
    if !text.contains(is_control) {
        return Cow::Borrowed(text);
    }
    let visible = |c| match c {
        '\n' | '\r' | '\t' => ' ',
        c if is_control(c) => char::REPLACEMENT_CHARACTER,
        c => c,
    };
    Cow::Owned(text.chars().map(visible).collect())
}

/// JSON or YAML with its lines, where controls, which stand inside of quoted texts, are escaped as both have it.
pub(crate) fn escaped(text: &str) -> Cow<'_, str> {
    let foreign = |c| is_control(c) && c != '\n';
    if !text.contains(foreign) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if foreign(c) {
            // All of them are in the first plane: four digits are enough.
            let _ = write!(escaped, "\\u{:04x}", u32::from(c));
        } else {
            escaped.push(c);
        }
    }
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_made_visible() {
        let table = [
            ("plain, Straße, 東京", "plain, Straße, 東京"),
            ("a\u{1b}[2Jb", "a\u{fffd}[2Jb"),
            ("a\u{9b}2Jb\u{7f}", "a\u{fffd}2Jb\u{fffd}"),
            ("two\nlines\tand\rmore", "two lines and more"),
            ("\u{202e}drawrof\u{2066}", "\u{fffd}drawrof\u{fffd}"),
            ("\u{1b}]0;title\u{7}", "\u{fffd}]0;title\u{fffd}"),
        ];
        for (text, shown) in table {
            assert_eq!(line(text), shown);
        }
    }

    #[test]
    fn json_stays_the_same_json() {
        let value = serde_json::json!({"a": "\u{9b}31m\u{202e}\u{7f}\u{1b}x\n"});
        let text = serde_json::to_string_pretty(&value).unwrap();
        let shown = escaped(&text);
        assert!(!shown.contains(|c| is_control(c) && c != '\n'), "{shown}");
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&shown).unwrap(),
            value
        );
    }
}
