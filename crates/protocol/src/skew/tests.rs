use serde_json::{Value, json};

use super::fields::FIELDS;
use super::*;

fn look(message: &Value) -> (u64, Option<String>) {
    let look = Look::at(message).unwrap();
    let text = message.to_string();
    let again = Look::at(&mut serde_json::Deserializer::from_slice(text.as_bytes())).unwrap();
    assert_eq!((look.unknown, &look.first), (again.unknown, &again.first));
    (look.unknown, look.first)
}

#[test]
fn the_list_is_sorted_and_has_each_field_once() {
    assert!(FIELDS.is_sorted_by(|one, next| one < next));
    assert_eq!(fields::known("report", "since"), Some("since"));
    assert_eq!(fields::known("report", "sinse"), None);
    assert_eq!(fields::known("", "since"), Some("since"));
}

#[test]
fn unknown_fields_are_found_at_every_level_and_users_own_keys_are_not() {
    assert_eq!(look(&json!({"version": 1, "online": true})), (0, None));
    let top = json!({"version": 1, "mood": {"deep": {"deeper": [1, 2]}}, "online": true, "weather": null});
    assert_eq!(look(&top), (2, Some("mood".to_owned())));
    let nested =
        json!({"version": 1, "states": [{"instance": "x", "report": {"since": 1, "mood": 2}}]});
    assert_eq!(look(&nested), (1, Some("report.mood".to_owned())));
    let labels = json!({"version": 1, "labels": {"mood": "good"}, "body": {"any": {"thing": 1}}});
    assert_eq!(look(&labels), (0, None));
    let rejections = json!({"version": 1, "copies": [{"rejections": {"no_such_word": {"count": 1, "mood": 1}}}]});
    assert_eq!(
        look(&rejections).0,
        1,
        "an unknown field is not looked into"
    );
    // A long list is of one shape.
    let item = json!({"mood": 1});
    let list = json!({"version": 1, "states": vec![item; 1_000]});
    assert_eq!(look(&list).0, 4);
    let deep = (0..100).fold(json!(1), |inner, _| json!([inner]));
    assert_eq!(look(&json!({"version": 1, "states": deep})).0, 0);
}

#[test]
fn what_is_no_message_is_an_error_as_before() {
    for bad in [
        json!(1),
        json!([]),
        json!({}),
        json!({"version": "1"}),
        json!({"version": -1}),
    ] {
        assert!(Look::at(&bad).is_err(), "{bad}");
    }
    let twice = br#"{"version":1,"version":1}"#;
    assert!(Look::at(&mut serde_json::Deserializer::from_slice(twice)).is_err());
}

#[test]
fn what_is_counted_is_told_in_one_short_line() {
    let before = unknown_fields();
    let name = format!("a\n{}", "x".repeat(500));
    Look::at(&json!({"version": 1, name: 1})).unwrap().count();
    assert!(unknown_fields() > before);
    let last = last_unknown().unwrap();
    assert!(last.starts_with("a\\n") && last.len() <= 64, "{last}");
}
