//! Answers as YAML, for `Accept: application/yaml` and for people.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::Value;

/// Writes a body as block YAML. Texts that YAML could take for something else are quoted as in JSON.
///
/// # Errors
/// When the body has no JSON: a bug of its type.
pub fn to_yaml<T: Serialize>(body: &T) -> Result<String, serde_json::Error> {
    let mut text = String::new();
    write(&mut text, &serde_json::to_value(body)?, 0, true);
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

/// Writes one value; `fresh` when the line is empty up to the indentation.
fn write(text: &mut String, value: &Value, indent: usize, mut fresh: bool) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (key, value) in fields {
                start_line(text, indent, &mut fresh);
                scalar(text, key);
                text.push(':');
                nested(text, value, indent + 2);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                start_line(text, indent, &mut fresh);
                text.push_str("- ");
                write(text, item, indent + 2, true);
            }
        }
        Value::String(word) => scalar(text, word),
        // Numbers, truth values, null and what is empty look the same in JSON.
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) | Value::Array(_) => {
            let _ = write!(text, "{value}");
        }
    }
}

fn nested(text: &mut String, value: &Value, indent: usize) {
    let empty = value.as_object().is_some_and(serde_json::Map::is_empty)
        || value.as_array().is_some_and(Vec::is_empty);
    if (value.is_object() || value.is_array()) && !empty {
        write(text, value, indent, false);
    } else {
        text.push(' ');
        write(text, value, indent, true);
    }
}

fn start_line(text: &mut String, indent: usize, fresh: &mut bool) {
    if !*fresh {
        text.push('\n');
        text.extend(std::iter::repeat_n(' ', indent));
    }
    *fresh = false;
}

fn scalar(text: &mut String, word: &str) {
    // What begins with a letter, has no mark of YAML's and is no word of it, is itself.
    let plain = word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && word
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/'))
        && !matches!(
            word.to_ascii_lowercase().as_str(),
            "null" | "true" | "false" | "yes" | "no" | "on" | "off" | "y" | "n"
        );
    if plain {
        text.push_str(word);
    } else {
        // A JSON text is a double-quoted YAML scalar; DEL and the C1 controls are the only ones that YAML wants escaped too.
        for c in Value::from(word).to_string().chars() {
            if matches!(
                c,
                '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}'
            ) {
                let _ = write!(text, "\\u{:04x}", u32::from(c));
            } else {
                text.push(c);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::document::read_back;

    #[test]
    fn bodies_look_like_documents() {
        let body = json!({"items": [{"cores": 2.5, "labels": {}, "name": "a b", "pair": [1, 1]}, "no", []], "next": null});
        expect![[r#"
            items:
              - cores: 2.5
                labels: {}
                name: "a b"
                pair:
                  - 1
                  - 1
              - "no"
              - []
            next: null
        "#]]
        .assert_eq(&to_yaml(&body).unwrap());
    }

    fn value() -> impl Strategy<Value = Value> {
        let word = || {
            proptest::collection::vec(any::<char>(), 0..6)
                .prop_map(|chars| chars.into_iter().collect::<String>())
        };
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            word().prop_map(Value::from),
            "[a-z~.0-9:# -]{0,6}".prop_map(Value::from)
        ];
        leaf.prop_recursive(3, 20, 4, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map(word(), inner, 0..4)
                    .prop_map(|map| map.into_iter().collect::<Value>()),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(value in value()) {
            let body = json!({"body": value});
            let text = to_yaml(&body).unwrap();
            prop_assert_eq!(read_back(&text), Some(body), "{}", text);
        }
    }
}
