//! The JSON Schema of documents, for editors and other tools.
//!
//! It says what the reader says, as far as a schema can: `document/tests/schema.rs` holds the two together. What only
//! the reader knows (two services of one name, a host port used twice) stands in the descriptions.

/// JSON Schema 2020-12 of one document, both versions.
pub const JOB: &str = include_str!("../../schema/job.schema.json");

/// A document, where a REST interface is described: the schema of [`JOB`].
#[cfg(feature = "openapi")]
#[derive(Debug)]
pub struct JobDocument;

#[cfg(feature = "openapi")]
impl schemars::JsonSchema for JobDocument {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "JobDocument".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let mut schema: serde_json::Value = serde_json::from_str(JOB).unwrap_or_default();
        let place = |name: &str| format!("JobDocument_{name}");
        let definitions = schema.get_mut("$defs").map(serde_json::Value::take);
        if let Some(fields) = schema.as_object_mut() {
            for key in ["$schema", "$id", "$defs"] {
                fields.remove(key);
            }
        }
        if let Some(serde_json::Value::Object(definitions)) = definitions {
            for (name, mut definition) in definitions {
                point_at(&mut definition, &place);
                generator.definitions_mut().insert(place(&name), definition);
            }
        }
        point_at(&mut schema, &place);
        schemars::Schema::try_from(schema).unwrap_or_default()
    }
}

/// Lets references to `$defs` point to where the definitions of an OpenAPI document stand.
#[cfg(feature = "openapi")]
fn point_at(schema: &mut serde_json::Value, place: &impl Fn(&str) -> String) {
    match schema {
        serde_json::Value::Object(fields) => {
            for (key, value) in fields {
                let name = value
                    .as_str()
                    .and_then(|text| text.strip_prefix("#/$defs/"));
                match name {
                    Some(name) if key == "$ref" => {
                        *value = format!("#/components/schemas/{}", place(name)).into();
                    }
                    _ => point_at(value, place),
                }
            }
        }
        serde_json::Value::Array(items) => {
            for item in items {
                point_at(item, place);
            }
        }
        serde_json::Value::Null
        | serde_json::Value::Bool(_)
        | serde_json::Value::Number(_)
        | serde_json::Value::String(_) => {}
    }
}
