//! Lines of one instance among those of others.

/// Bytes of a line that wait for its end; a longer one is given an end.
const LONGEST: usize = 64 << 10;

/// Puts a prefix before each line, and keeps what is not whole yet.
#[derive(Debug)]
pub(super) struct Lines {
    /// Empty: the text goes on as it is.
    prefix: String,
    rest: String,
}

impl Lines {
    pub(super) const fn new(prefix: String) -> Self {
        Self {
            prefix,
            rest: String::new(),
        }
    }

    /// The lines that `text` makes whole; may be empty.
    pub(super) fn push(&mut self, text: &str) -> String {
        if self.prefix.is_empty() {
            // Only so much as tells whether a line is open.
            self.rest.clear();
            self.rest
                .push_str(if text.ends_with('\n') { "" } else { "x" });
            return text.to_owned();
        }
        let mut out = String::with_capacity(text.len() + text.len() / 4);
        for line in text.split_inclusive('\n') {
            self.rest.push_str(line);
            if line.ends_with('\n') {
                out.push_str(&self.prefix);
                out.push_str(&self.rest);
                self.rest.clear();
            } else if self.rest.len() > LONGEST {
                out.push_str(&self.close());
            }
        }
        out
    }

    /// Ends a line that is open; empty where none is.
    pub(super) fn close(&mut self) -> String {
        if self.rest.is_empty() {
            return String::new();
        }
        let rest = std::mem::take(&mut self.rest);
        if self.prefix.is_empty() {
            "\n".to_owned()
        } else {
            format!("{}{rest}\n", self.prefix)
        }
    }

    /// A line of our own.
    pub(super) fn notice(&mut self, text: &str) -> String {
        format!("{}{}[edgeio: {text}]\n", self.close(), self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_gets_its_prefix_once_and_an_open_one_waits() {
        let mut lines = Lines::new("web/0 | ".to_owned());
        assert_eq!(lines.push("one\ntwo\nthr"), "web/0 | one\nweb/0 | two\n");
        assert_eq!(lines.push(""), "");
        assert_eq!(lines.push("ee\n\n"), "web/0 | three\nweb/0 | \n");
        assert_eq!(lines.push("open"), "");
        assert_eq!(
            lines.notice("lost"),
            "web/0 | open\nweb/0 | [edgeio: lost]\n"
        );
        assert_eq!(lines.close(), "");
    }

    #[test]
    fn a_line_without_an_end_does_not_grow_for_ever() {
        let mut lines = Lines::new("a/0 | ".to_owned());
        let mut out = String::new();
        for _ in 0..100 {
            out += &lines.push(&"x".repeat(16 << 10));
            assert!(lines.rest.len() <= LONGEST);
        }
        out += &lines.close();
        assert_eq!(out.matches('x').count(), 100 * (16 << 10));
        assert!(out.lines().all(|line| line.starts_with("a/0 | x")));
    }

    #[test]
    fn one_instance_alone_is_as_it_is() {
        let mut lines = Lines::new(String::new());
        assert_eq!(lines.push("one\ntw"), "one\ntw");
        assert_eq!(lines.notice("lost"), "\n[edgeio: lost]\n");
        assert_eq!(lines.push("o\n"), "o\n");
        assert_eq!(lines.notice("lost"), "[edgeio: lost]\n");
    }
}
