//! The parameters of a query, from the schema of the type that it is read into.

use schemars::SchemaGenerator;
use serde_json::{Value, json};

use crate::api::operation::Shape;

/// Each field of each of these types is a parameter.
pub(super) fn parameters(shapes: &[Shape], generator: &mut SchemaGenerator) -> Vec<Value> {
    let mut parameters = Vec::new();
    for shape in shapes {
        let mut object = shape(generator).to_value();
        let required = object.get_mut("required").map(Value::take);
        let is_required = |name: &str| {
            let names = required.as_ref().and_then(Value::as_array);
            names.is_some_and(|names| names.iter().any(|each| each == name))
        };
        let fields = object.get_mut("properties").map(Value::take);
        let Some(Value::Object(fields)) = fields else {
            continue;
        };
        for (name, mut schema) in fields {
            let required = is_required(&name);
            let about = schema
                .as_object_mut()
                .and_then(|schema| schema.remove("description"))
                .unwrap_or_else(|| "".into());
            without_null(&mut schema);
            parameters.push(json!({"name": name, "in": "query", "required": required,
                "description": about, "schema": schema}));
        }
    }
    parameters
}

/// A parameter is there or not, and never null.
fn without_null(schema: &mut Value) {
    let Some(object) = schema.as_object_mut() else {
        return;
    };
    if object.get("default").is_some_and(Value::is_null) {
        object.remove("default");
    }
    if let Some(kinds) = object.get_mut("type").and_then(Value::as_array_mut) {
        kinds.retain(|kind| kind != "null");
        if let [only] = kinds.as_slice() {
            let only = only.clone();
            object.insert("type".to_owned(), only);
        }
    }
    if let Some(words) = object.get_mut("enum").and_then(Value::as_array_mut) {
        words.retain(|word| !word.is_null());
    }
    let choices = object.get_mut("anyOf").and_then(Value::as_array_mut);
    let only = choices.and_then(|choices| {
        choices.retain(|choice| choice != &json!({"type": "null"}));
        (choices.len() == 1).then(|| choices.pop()).flatten()
    });
    if let Some(only) = only {
        *schema = only;
    }
}
