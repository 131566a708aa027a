//! What an expression of Prometheus names.

use std::collections::BTreeSet;

use serde_json::Value;

/// Words before a list of labels in parentheses.
const LISTS: [&str; 6] = [
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "group_right",
];
/// Other words that name no metric, where no parenthesis follows.
const WORDS: [&str; 20] = [
    "and",
    "or",
    "unless",
    "bool",
    "offset",
    "inf",
    "nan",
    "group_left",
    "group_right",
    "sum",
    "min",
    "max",
    "avg",
    "count",
    "stddev",
    "stdvar",
    "topk",
    "bottomk",
    "quantile",
    "group",
];

/// All selectors of an expression, with their matchers: `up{job="a"}`.
pub(super) fn selectors(expression: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut rest = expression;
    assert!(!expression.starts_with('{'), "without a name: {expression}");
    while let Some(first) = rest.chars().next() {
        match first {
            '"' | '\'' => rest = &rest[quoted(rest)..],
            '[' => rest = &rest[closing(rest, ']')..],
            '0'..='9' => rest = rest.trim_start_matches(is_word),
            _ if is_word(first) => {
                let name = &rest[..rest.find(|c| !is_word(c)).unwrap_or(rest.len())];
                rest = rest[name.len()..].trim_start();
                let is_list = LISTS.contains(&name) && rest.starts_with('(');
                if is_list {
                    rest = &rest[closing(rest, ')')..];
                } else if rest.starts_with('{') {
                    let end = closing(rest, '}');
                    found.insert(format!("{name}{}", &rest[..end]));
                    rest = &rest[end..];
                } else if !rest.starts_with('(') && !WORDS.contains(&name.to_lowercase().as_str()) {
                    found.insert(name.to_owned());
                }
            }
            _ => rest = &rest[first.len_utf8()..],
        }
    }
    found
}

/// What a dashboard asks for, with its variables as a test has them.
pub(super) fn of_dashboard(dashboard: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    collect(dashboard, &mut found);
    found
}

fn collect(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match (name.as_str(), value) {
                    ("expr", Value::String(text)) => drop(found.insert(filled(text))),
                    // `label_values(SELECTOR, LABEL)` of a variable.
                    ("definition", Value::String(text)) => {
                        let inside = text.strip_prefix("label_values(").unwrap();
                        found.insert(filled(inside.rsplit_once(',').unwrap().0));
                    }
                    _ => collect(value, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn filled(text: &str) -> String {
    let text = text.replace("$__rate_interval", "30s");
    let text = text.replace("$cluster", ".*");
    assert!(!text.contains('$'), "a variable that is not known: {text}");
    text
}

const fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | ':')
}

/// How long the text in quotes is that this begins with.
fn quoted(text: &str) -> usize {
    let mut chars = text.char_indices();
    let (_, quote) = chars.next().unwrap();
    loop {
        // A quote that does not end fails the test.
        let (at, c) = chars.next().unwrap();
        if c == '\\' {
            chars.next();
        } else if c == quote {
            return at + 1;
        }
    }
}

/// Where the bracket ends that this begins with.
fn closing(text: &str, close: char) -> usize {
    let mut at = 1;
    loop {
        let c = text[at..].chars().next().unwrap();
        match c {
            '"' | '\'' => at += quoted(&text[at..]),
            _ if c == close => return at + 1,
            _ => at += c.len_utf8(),
        }
    }
}

#[test]
fn selectors_are_found_whatever_stands_around_them() {
    let check = |expression: &str, expected: &[&str]| {
        let expected = expected.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(selectors(expression), expected, "{expression}");
    };
    check("up", &["up"]);
    check(
        "sum by (le, job) (rate(a_bucket{b=~\"x{1}\"}[5m])) / on (job) group_left c:d",
        &["a_bucket{b=~\"x{1}\"}", "c:d"],
    );
    check(
        "histogram_quantile(0.9, sum(rate(a[1m])) by (le)) > 1e3 and absent(b{}) or count (c) == bool 1",
        &["a", "b{}", "c"],
    );
    check("a offset 5m unless ignoring (b) c * -inf", &["a", "c"]);
}
