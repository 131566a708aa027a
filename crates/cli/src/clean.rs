//! Text of others on a terminal: what could move the cursor, change the title, turn the line around or hide is made visible.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether a terminal could take the character for more than a sign to show, or show nothing for it.
fn is_control(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            // Marks, embeddings and isolates of writing direction; line and paragraph separators.
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{206f}'
            // What has no width: spaces, joiners, invisible operators, fillers, the soft hyphen, the byte-order mark, tags.
                | '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180e}'
                | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2065}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
                | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}'
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

/// A line of an application's log: tabs stay, sequences of the terminal's (colours and all others) are left out, and so
/// is a carriage return at the end; what else it could obey is shown as `\u{fffd}`.
pub(crate) fn log(text: &str) -> Cow<'_, str> {
    let foreign = |c| is_control(c) && c != '\t';
    if !text.contains(foreign) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    let mut rest = text.trim_end_matches('\r');
    while let Some(at) = rest.find(foreign) {
        let (before, after) = rest.split_at(at);
        shown.push_str(before);
        let mut chars = after.chars();
        match chars.next() {
            Some('\u{1b}') => rest = after_escape(chars.as_str()),
            Some('\u{9b}') => rest = after_csi(chars.as_str()),
            Some('\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}') => rest = after_string(chars.as_str()),
            _ => {
                shown.push(char::REPLACEMENT_CHARACTER);
                rest = chars.as_str();
            }
        }
    }
    shown.push_str(rest);
    Cow::Owned(shown)
}

/// What follows a sequence that ESC began (ECMA-48, section 5.3).
fn after_escape(text: &str) -> &str {
    let mut chars = text.chars();
    match chars.next() {
        Some('[') => after_csi(chars.as_str()),
        Some(']' | 'P' | 'X' | '^' | '_') => after_string(chars.as_str()),
        // Intermediate bytes, then a final one.
        Some(' '..='/') => match text.trim_start_matches(|c| matches!(c, ' '..='/')) {
            rest if rest.starts_with(|c| matches!(c, '0'..='~')) => rest.get(1..).unwrap_or(""),
            rest => rest,
        },
        Some('0'..='~') => chars.as_str(),
        Some(_) | None => text,
    }
}

/// What follows a control sequence: parameters, intermediates, a final byte (section 5.4).
fn after_csi(text: &str) -> &str {
    let rest = text.trim_start_matches(|c| matches!(c, ' '..='?'));
    match rest.chars().next() {
        Some('@'..='~') => rest.get(1..).unwrap_or(""),
        Some(_) | None => rest,
    }
}

/// What follows a control string, which BEL or ST ends (section 5.6); one without an end takes the line.
fn after_string(text: &str) -> &str {
    match text.find(['\u{7}', '\u{1b}', '\u{9c}']) {
        None => "",
        Some(at) => {
            let (_, end) = text.split_at(at);
            end.strip_prefix("\u{1b}\\")
                .or_else(|| end.strip_prefix(['\u{7}', '\u{9c}']))
                .unwrap_or(end)
        }
    }
}

/// JSON with its lines, where controls, which stand inside of quoted texts, are escaped as it has it. YAML reads these
/// escapes too, but for pairs, which stand for what is beyond the first plane.
pub(crate) fn escaped(text: &str) -> Cow<'_, str> {
    let foreign = |c| is_control(c) && c != '\n';
    if !text.contains(foreign) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if foreign(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(escaped, "\\u{unit:04x}");
            }
        } else {
            escaped.push(c);
        }
    }
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
            ("he\u{200b}llo\u{e0041}", "he\u{fffd}llo\u{fffd}"),
        ];
        for (text, shown) in table {
            assert_eq!(line(text), shown);
        }
    }

    #[test]
    fn logs_lose_their_colours_and_keep_their_text() {
        let table = [
            ("a\tb", "a\tb"),
            ("\u{1b}[1;31merror\u{1b}[0m: x\r", "error: x"),
            ("\u{1b}]0;title\u{7}a", "a"),
            ("\u{1b}]8;;http://x\u{1b}\\link\u{1b}]8;;\u{1b}\\", "link"),
            ("\u{1b}]no end", ""),
            ("\u{9b}2Ja\u{9d}x\u{9c}b", "ab"),
            ("\u{1b}(Ba\u{1b}cb\u{1b}", "ab"),
            ("50%\rdone\u{8}", "50%\u{fffd}done\u{fffd}"),
            ("\u{1b}[\u{1b}[31mx", "x"),
            ("\u{202e}x\u{1b}é", "\u{fffd}xé"),
        ];
        for (text, shown) in table {
            assert_eq!(log(text), shown, "{text:?}");
        }
    }

    #[test]
    fn json_stays_the_same_json() {
        let value = serde_json::json!({"a": "\u{9b}31m\u{202e}\u{7f}\u{1b}x\n\u{200b}\u{e0041}"});
        let text = serde_json::to_string_pretty(&value).unwrap();
        let shown = escaped(&text);
        assert!(!shown.contains(|c| is_control(c) && c != '\n'), "{shown}");
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&shown).unwrap(),
            value
        );
    }

    fn text() -> impl Strategy<Value = String> {
        let part = prop_oneof![
            any::<char>().prop_map(String::from),
            "[\\x1b\\x07\\x9b\\x9c\\[\\];0-9A-Za-z\\\\]{0,6}",
        ];
        proptest::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn nothing_of_it_is_left(text in text()) {
            prop_assert!(!line(&text).contains(is_control));
            prop_assert!(!log(&text).contains(|c| is_control(c) && c != '\t'));
        }
    }
}
