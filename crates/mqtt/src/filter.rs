//! Topic filters (MQTT 3.1.1, section 4.7).

/// A valid topic filter: levels parted by `/`, `+` for any one level, a last `#` for all that follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter(Box<str>);

/// Why a text is not a topic filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// The text is empty, or holds the character U+0000.
    #[error("a topic filter has at least one character and no U+0000")]
    Text,
    /// A `+` or `#` shares its level with other characters, or a `#` is not the last level.
    #[error("a wildcard stands alone in its level, and # is the last one")]
    Wildcard,
}

impl Filter {
    /// Reads a filter.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        if text.is_empty() || text.contains('\0') {
            return Err(FilterError::Text);
        }
        let mut levels = text.split('/').peekable();
        while let Some(level) = levels.next() {
            let wild = level.contains(['+', '#']);
            let ended = level == "#" && levels.peek().is_none();
            if wild && level != "+" && !ended {
                return Err(FilterError::Wildcard);
            }
        }
        Ok(Self(text.into()))
    }

    /// The text of the filter.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether messages of this topic pass the filter.
    ///
    /// A filter that begins with a wildcard does not match a topic that begins with `$`, and `a/#` matches `a` itself.
    pub fn matches(&self, topic: &str) -> bool {
        if topic.starts_with('$') && self.0.starts_with(['+', '#']) {
            return false;
        }
        let mut levels = topic.split('/');
        for wanted in self.0.split('/') {
            if wanted == "#" {
                return true;
            }
            match levels.next() {
                Some(level) if wanted == "+" || wanted == level => {}
                Some(_) | None => return false,
            }
        }
        levels.next().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_match_as_the_standard_says() {
        let cases = [
            ("nodes/#", "nodes/a/sync", true),
            ("nodes/#", "nodes", true),
            ("nodes/#", "node", false),
            ("#", "nodes/a/reply/x", true),
            ("#", "$SYS/x", false),
            ("+/a", "$SYS/a", false),
            ("nodes/+/information", "nodes/a/information", true),
            ("nodes/+/information", "nodes/a/b/information", false),
            ("nodes/+", "nodes/a/information", false),
            ("nodes/+/reply/#", "nodes/a/reply/r", true),
            ("nodes/+/+", "nodes//sync", true),
            ("nodes/a/sync", "nodes/a/sync", true),
            ("nodes/a/sync", "nodes/a/sync/", false),
            ("+", "/x", false),
            ("/+", "/x", true),
        ];
        for (filter, topic, expected) in cases {
            assert_eq!(
                Filter::parse(filter).unwrap().matches(topic),
                expected,
                "{filter} on {topic}"
            );
        }
    }

    #[test]
    fn malformed_filters_are_refused() {
        for text in ["nodes/#/a", "nodes/a#", "no+des", "#/", "nodes/++", "##"] {
            assert_eq!(Filter::parse(text), Err(FilterError::Wildcard), "{text}");
        }
        for text in ["", "a\0"] {
            assert_eq!(Filter::parse(text), Err(FilterError::Text), "{text}");
        }
    }
}
