//! From the bytes of an application to texts that messages carry.

/// Bytes on their way to be texts: UTF-8, whole lines where possible, within a limit.
#[derive(Debug, Default)]
pub(crate) struct Text {
    pending: Vec<u8>,
}

/// Whether to wait for the rest of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Yes.
    Waits,
    /// No: nothing came for a while. The first bytes of a character wait all the same.
    Goes,
    /// No, since nothing comes any more.
    Last,
}

impl Text {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
    }

    pub(crate) fn len(&self) -> usize {
        self.pending.len()
    }

    /// The next text of at most `limit` bytes: up to the end of the last line that fits; a part of a line only where it is
    /// longer than that, or as `rest` says. Bytes that are no UTF-8 become U+FFFD.
    pub(crate) fn take(&mut self, limit: usize, rest: Rest) -> Option<String> {
        let mut text = String::new();
        let mut used = 0;
        let mut lines = None;
        let mut is_full = false;
        for chunk in self.pending.utf8_chunks() {
            let invalid = chunk.invalid();
            let broken =
                (!invalid.is_empty()).then_some((char::REPLACEMENT_CHARACTER, invalid.len()));
            let is_last = used + chunk.valid().len() + invalid.len() == self.pending.len();
            // At the end, it may be the beginning of a character.
            let broken = broken.filter(|_| !is_last || rest == Rest::Last);
            let valid = chunk
                .valid()
                .chars()
                .map(|letter| (letter, letter.len_utf8()));
            for (letter, bytes) in valid.chain(broken) {
                if text.len() + letter.len_utf8() > limit {
                    is_full = true;
                    break;
                }
                text.push(letter);
                used += bytes;
                if letter == '\n' {
                    lines = Some((text.len(), used));
                }
            }
            if is_full {
                break;
            }
        }
        if (!is_full && rest == Rest::Waits) || (is_full && lines.is_some()) {
            let (length, bytes) = lines?;
            text.truncate(length);
            used = bytes;
        }
        self.pending.drain(..used);
        (!text.is_empty()).then_some(text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(bytes: &[u8]) -> Text {
        let mut text = Text::default();
        text.push(bytes);
        text
    }

    #[test]
    fn whole_lines_come_first_and_the_rest_waits() {
        let mut lines = text(b"one\ntwo\nthr");
        assert_eq!(lines.take(100, Rest::Waits).unwrap(), "one\ntwo\n");
        assert_eq!(lines.take(100, Rest::Waits), None);
        lines.push(b"ee\n");
        assert_eq!(lines.take(100, Rest::Waits).unwrap(), "three\n");
        lines.push(b"prompt> ");
        assert_eq!(lines.take(100, Rest::Goes).unwrap(), "prompt> ");
        assert_eq!(lines.take(100, Rest::Goes), None);
    }

    #[test]
    fn a_line_that_is_too_long_is_split_and_lines_that_do_not_fit_are_not() {
        let mut long = text(&[b'x'; 25]);
        assert_eq!(long.take(10, Rest::Waits).unwrap().len(), 10);
        assert_eq!(long.take(10, Rest::Waits).unwrap().len(), 10);
        assert_eq!(long.take(10, Rest::Waits), None);
        assert_eq!(long.take(10, Rest::Last).unwrap(), "xxxxx");
        let mut two = text(b"first\nsecond\n");
        assert_eq!(two.take(10, Rest::Waits).unwrap(), "first\n");
        assert_eq!(two.take(10, Rest::Waits).unwrap(), "second\n");
    }

    #[test]
    fn a_character_in_two_reads_is_whole_and_what_is_none_is_replaced() {
        let euro = "€".as_bytes();
        let mut split = text(&euro[..2]);
        assert_eq!(split.take(100, Rest::Goes), None);
        split.push(&euro[2..]);
        assert_eq!(split.take(100, Rest::Goes).unwrap(), "€");
        let mut broken = text(b"a\xff\xfeb\n\xe2\x82");
        assert_eq!(
            broken.take(100, Rest::Waits).unwrap(),
            "a\u{fffd}\u{fffd}b\n"
        );
        assert_eq!(broken.take(100, Rest::Last).unwrap(), "\u{fffd}");
    }

    proptest! {
        #[test]
        fn nothing_is_lost_or_too_long_however_it_comes(
            parts in prop::collection::vec(prop::collection::vec(prop_oneof![any::<u8>(), Just(b'\n'), Just(b'a')], 0..40), 0..10),
            limit in 4_usize..50,
        ) {
            let mut text = Text::default();
            let mut out = String::new();
            for part in &parts {
                text.push(part);
                while let Some(some) = text.take(limit, Rest::Waits) {
                    prop_assert!(some.len() <= limit);
                    out.push_str(&some);
                }
            }
            while let Some(some) = text.take(limit, Rest::Last) {
                prop_assert!(some.len() <= limit);
                out.push_str(&some);
            }
            prop_assert_eq!(text.len(), 0);
            prop_assert_eq!(out, String::from_utf8_lossy(&parts.concat()).into_owned());
        }
    }
}
